"""Asking: what a Redis store asks with, and what it makes of answers that are errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from barback.errors import BarbackError, SessionUnreadable
from barback.extras import needs_extra
from barback.record import Record
from barback.stores import answers
from barback.stores.redis.wire import LinkDown

with needs_extra("redis"):
    from hiredis import ReplyError

if TYPE_CHECKING:
    from barback.stores.redis.servers import Servers

__all__ = ["AGAIN", "KNOWN", "Asking", "code_of"]

REFUSALS: Final = {
    "LOADING": "is still loading its data",
    "READONLY": "is a replica, which takes no writes",
    "MASTERDOWN": "is a replica without its primary",
    "OOM": "is out of memory, and refuses to write",
    "MISCONF": "cannot save to its disk, and refuses to write",
    "NOREPLICAS": "has too few replicas, and refuses to write",
    "CLUSTERDOWN": "is a cluster that is down",
    "TRYAGAIN": "is a cluster that is moving the session",
    "BUSY": "is busy with somebody's script",
    "NOAUTH": "wants a password",
    "WRONGPASS": "does not accept the password",
    "NOPERM": "does not permit its user to do this",
}
AGAIN: Final = frozenset({"NOSCRIPT", "MOVED", "ASK", "TRYAGAIN"})
"""Errors after which the same command may do: elsewhere, later, or with its script."""

KNOWN: Final = frozenset({*REFUSALS, *AGAIN, "WRONGTYPE"})
"""Errors that a server answers with before it has written anything."""


class Asking:
    """The servers of a store, its keys and values, and its words for what fails.

    Keys begin with `prefix`; `store` is the store's name.
    """

    def __init__(self, servers: Servers, *, prefix: str, store: str) -> None:
        self.servers = servers
        self.prefix = prefix
        self.store = store
        self.tells_holder = True
        """Whether a `SET` that takes no lease may tell who holds it, as it does from Redis 7 on."""

    def keys(self, session_id: str) -> tuple[bytes, bytes]:
        """The keys of a session's record and lease: what is between the braces tells the slot."""
        if "%" in session_id or "{" in session_id or "}" in session_id:
            session_id = _encoded(session_id)
        key = f"{self.prefix}{{{session_id}}}".encode()
        return key, key + b":lease"

    def begins(self, session_ids: str) -> str:
        """What the keys begin with of those sessions whose ids begin with `session_ids`."""
        return f"{self.prefix}{{{_encoded(session_ids)}"

    def session_id(self, key: bytes) -> str:
        """Whose record's key it is."""
        start = len(self.prefix.encode()) + 1
        return _decoded(key[start:-1].decode(errors="backslashreplace"))

    def record(self, value: bytes, session_id: str) -> Record:
        """The record in a value, which begins with its version. Raises `SessionUnreadable`."""
        record = Record.decode(value[16:], session_id=session_id, store=self.store)
        if not value.startswith(b"%016x" % record.version):
            message = f"The record of session {session_id!r} is not of the version before it."
            raise SessionUnreadable(message, session_id=session_id, store=self.store)
        return record

    def failure(
        self, error: LinkDown | ReplyError, session_id: str | None = None, *, writes: bool = False
    ) -> BarbackError:
        """What to raise for an answer that is none, or an error; the client's is its cause.

        `writes`: without a reply, or with one that is no server's own (a proxy's, say, that lost
        its server), it may have been written or not.
        """
        failure = self._unknown(error, session_id) if writes else None
        failure = failure or self._refused(error, session_id)
        failure.__cause__ = error.__cause__ or error
        return failure

    def _unknown(self, error: LinkDown | ReplyError, session_id: str | None) -> BarbackError | None:
        sure = not error.sent if isinstance(error, LinkDown) else code_of(error) in KNOWN
        return None if sure or session_id is None else answers.unknown(self.store, session_id)

    def _refused(self, error: LinkDown | ReplyError, session_id: str | None) -> BarbackError:
        if isinstance(error, LinkDown):
            return answers.unavailable(self.store, error.what, session_id)
        code = code_of(error)
        if code == "WRONGTYPE" and session_id is not None:
            message = f"Under the key of session {session_id!r} there is something else."
            return SessionUnreadable(message, session_id=session_id, store=self.store)
        what = f"at {self.servers.where} {REFUSALS.get(code, f'refused to work ({code})')}"
        return answers.unavailable(self.store, what, session_id)


def code_of(reply: object) -> str:
    """The kind of error the server answered with; a script's may have it inside, from Redis 6."""
    if not isinstance(reply, ReplyError):
        return ""
    words = str(reply).replace("-", " ").split()
    known = (word for word in words if word in REFUSALS or word == "WRONGTYPE")
    return next(known, words[0]) if words and words[0] == "ERR" else (words or [""])[0]


def _encoded(session_id: str) -> str:
    return session_id.replace("%", "%25").replace("{", "%7B").replace("}", "%7D")


def _decoded(text: str) -> str:
    return text.replace("%7B", "{").replace("%7D", "}").replace("%25", "%")
