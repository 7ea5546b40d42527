"""What a Redis or Valkey server runs for a store: each script is one step that nobody interrupts.

KEYS are a session's record and lease, or its lease alone; ARGV[1] is the lease's token. A record's
value begins with its version, in 16 hexadecimal digits; a lease's is its token, a colon, and its
term in milliseconds. Whatever may fail comes before the record is written, or is done by `pcall`: a
script that is answered by an error has left it as it was.
"""

from __future__ import annotations

import hashlib
from typing import Final

from barback.stores.base import SKEW
from barback.stores.redis.commands import form, pack

__all__ = ["CHECKOUT", "COMMIT", "DESTROY", "RELEASE", "RENEW", "Script", "setup"]


HOLDER: Final = """\
local held = redis.call('GET', KEYS[#KEYS])
local holder, term = string.match(held or '', '^(.*):(%d+)$')
"""


class Script:
    """A script of the server's, called by its digest."""

    def __init__(self, keys: int, source: str) -> None:
        self.keys = keys
        self.load = pack("SCRIPT", "LOAD", source)
        self._digest = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()

    def call(self, *arguments: bytes | str | int) -> bytes:
        """The command that runs it: its keys, and then the rest."""
        return pack("EVALSHA", self._digest, self.keys, *arguments)

    def form(self, *arguments: bytes) -> bytes:
        """The same, to be filled in."""
        return form("EVALSHA", self._digest, f"{self.keys}", *arguments)


CHECKOUT: Final = Script(
    2,
    HOLDER
    + f"""\
if held and holder ~= ARGV[1] then
  -- with more left than its whole term it is over: the clock was set back
  if not (term and redis.call('PTTL', KEYS[2]) > term + {SKEW}) then return 0 end
end
local record = redis.call('GET', KEYS[1])
redis.call('SET', KEYS[2], ARGV[1] .. ':' .. ARGV[2], 'PX', ARGV[2])
return record""",
)
COMMIT: Final = Script(
    2,
    HOLDER
    + """\
if holder ~= ARGV[1] then return 0 end
if redis.call('GETRANGE', KEYS[1], 0, 15) ~= ARGV[2] then return 0 end
if ARGV[5] ~= '' then redis.call('SET', KEYS[2], ARGV[1] .. ':' .. ARGV[5], 'PX', ARGV[5]) end
if ARGV[4] == '' then redis.call('SET', KEYS[1], ARGV[3])
else redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[4]) end
if ARGV[5] == '' then redis.pcall('DEL', KEYS[2]) end -- or else it ends by itself
return 1""",
)
RELEASE: Final = Script(
    1,
    HOLDER
    + """\
if holder ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])""",
)
RENEW: Final = Script(
    1,
    HOLDER
    + """\
if holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1] .. ':' .. ARGV[2], 'PX', ARGV[2])
return 1""",
)
DESTROY: Final = Script(
    2,
    HOLDER
    + """\
if holder ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1], KEYS[2])
return 1""",
)
PERMITTED: Final = Script(
    0,
    """\
local record, lease = ARGV[1], ARGV[2]
local needed = {{'GET', record}, {'GETRANGE', record, 0, 15}, {'SET', record, '', 'PX', 1},
                {'GET', lease}, {'SET', lease, '', 'PX', 1, 'GET'}, {'PTTL', lease},
                {'DEL', record, lease}}
for _, command in ipairs(redis.acl_check_cmd and needed or {}) do -- it is there from Redis 7
  if not redis.acl_check_cmd(unpack(command)) then
    return redis.error_reply('NOPERM the scripts use ' .. command[1])
  end
end
return 1""",
)
"""Asks whether the user may do what the others do, to a record and a lease like those given."""


def setup(keys: tuple[bytes, bytes]) -> list[bytes]:
    """The commands that get a server ready; an error in reply to one means that it cannot be."""
    scripts = (CHECKOUT, COMMIT, RELEASE, RENEW, DESTROY, PERMITTED)
    return [*(script.load for script in scripts), PERMITTED.call(*keys)]
