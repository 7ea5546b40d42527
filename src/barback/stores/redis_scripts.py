"""What a Redis or Valkey server runs for a store: each script is one step that nobody interrupts.

KEYS are a session's record and lease, or its lease alone; ARGV[1] is the lease's token. A record's
value begins with its version, in 16 hexadecimal digits. Whatever may fail comes before the first
write: a script that is answered by an error has written nothing.
"""

from __future__ import annotations

import hashlib
from typing import Final

from barback.stores.redis_servers import pack

__all__ = ["CHECKOUT", "COMMIT", "DESTROY", "RELEASE", "RENEW", "Script"]


class Script:
    """A script of the server's, called by its digest."""

    def __init__(self, keys: int, source: str) -> None:
        self.keys = keys
        self.load = pack("SCRIPT", "LOAD", source)
        self._digest = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()

    def call(self, *arguments: bytes | str | int) -> bytes:
        """The command that runs it: its keys, and then the rest."""
        return pack("EVALSHA", self._digest, self.keys, *arguments)


CHECKOUT: Final = Script(
    2,
    """\
local holder = redis.call('GET', KEYS[2])
if holder and holder ~= ARGV[1] then return 0 end
local record = redis.call('GET', KEYS[1])
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
return record""",
)
COMMIT: Final = Script(
    2,
    """\
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
if redis.call('GETRANGE', KEYS[1], 0, 15) ~= ARGV[2] then return 0 end
if ARGV[4] == '' then redis.call('SET', KEYS[1], ARGV[3])
else redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[4]) end
if ARGV[5] == '' then redis.call('DEL', KEYS[2])
else redis.call('PEXPIRE', KEYS[2], ARGV[5]) end
return 1""",
)
RELEASE: Final = Script(
    1,
    """\
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])""",
)
RENEW: Final = Script(
    1,
    """\
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])""",
)
DESTROY: Final = Script(
    2,
    """\
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1], KEYS[2])
return 1""",
)
