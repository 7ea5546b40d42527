"""Record: what rests in a store.

Drivers move records and never look inside `state`. A record is immutable and holds only immutable
values (its `seen`, a dict or a `Seen`, is copied, never changed), so one object may be shared
between a store and any number of turns.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from barback.errors import (
    InvalidSessionId,
    SessionIdTooLong,
    SessionTooNew,
    SessionUnreadable,
    without_bytes,
)
from barback.seen import Seen

__all__ = [
    "ASIDE",
    "FORMATS",
    "FORMAT_JSON",
    "FORMAT_OVER",
    "FORMAT_SEALED",
    "HISTORY",
    "MAX_ID_BYTES",
    "NEVER",
    "Record",
    "check_session_id",
    "id_beside",
    "new_version",
    "parted",
    "without_namespace",
]

FORMAT_JSON: Final = 1
"""`Record.format` of a state that is plain JSON text."""

FORMAT_SEALED: Final = 2
"""`Record.format` of a state that is encrypted: a JSON object too, as `barback.envelope` has it."""

FORMAT_OVER: Final = 3
"""`Record.format` of a session that is over: `on_expired` has had its state, and nothing is left.

Its `expires_at` is when the record goes: until then it still knows the events it has seen.
"""

FORMATS: Final = frozenset({FORMAT_JSON, FORMAT_SEALED, FORMAT_OVER})
"""Those that a record may have. In each of them `state` is one JSON object."""

NEVER: Final = -1
"""`Record.lifetime` of a session that does not expire."""

ASIDE: Final = "unreadable"
"""In the place of a channel, in the id of a record that is kept aside."""

HISTORY: Final = "history"
"""In the place of a channel, in the id of a record that is a part of a session's history."""

MAX_ID_BYTES: Final = 512
"""The longest session id, in bytes of UTF-8, its namespace included."""


def _unspaced(data: bytes) -> bytes:
    """Without the white space that a pretty-printed file has around its tokens."""
    return msgspec.json.format(data, indent=-1) if b"\n" in data else data


_NOTHING: Final[Any] = msgspec.UNSET  # a field with this value is left out


class Record(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One session as a store keeps it. Times are whole milliseconds since the Unix epoch.

    - `id`: the session's id, with the bot's namespace: at most 512 bytes of UTF-8.
    - `format`: how `state` is written (1: JSON; 2: JSON around what is encrypted; 3: the session is
      over, and the state empty).
    - `version`: changed by every commit and never used twice for a session, even after a delete.
    - `schema`: the version of the state's shape.
    - `created_at`, `last_activity`, `expires_at`: `expires_at` is None for a session that does
      not expire. `last_activity` is when the record was last written.
    - `lifetime`: milliseconds this one session lives after its last activity; None: as long as
      the store says; -1: for ever.
    - `history`: the newest entries of its history, and where the others are: one JSON object, or
      nothing; see `barback.history`.
    - `fades`: keys of the state that end on their own, each with its time.
    - `step`: where it is in a talk of several steps, by the name that the bot has for that.
    - `seen`: the ids of the turns this session has committed, oldest first, each with its time.
    - `users`: the ids of the people whose session it is; `address`: how its channel speaks to
      them first, in the channel's own words.
    - `state`: deterministic JSON. A driver returns the very bytes it was given.
    """

    id: str
    version: int
    state: bytes
    created_at: int
    last_activity: int
    expires_at: int | None = None
    format: int = FORMAT_JSON
    schema: int = 0
    lifetime: int | None = None
    history: bytes = b""
    fades: Mapping[str, int] = {}
    step: str | None = None
    seen: Mapping[str, int] = {}
    users: tuple[str, ...] = ()
    address: str | None = None

    def expired(self, now: int) -> bool:
        """Whether the session's time is over at `now` (milliseconds)."""
        return self.expires_at is not None and self.expires_at <= now

    def encode(self) -> bytes:
        """The record as one JSON object, in which the state is readable."""
        return _encoder.encode(
            _Wire(
                id=self.id,
                format=self.format,
                version=self.version,
                schema=self.schema,
                created_at=self.created_at,
                last_activity=self.last_activity,
                expires_at=self.expires_at,
                lifetime=self.lifetime,
                history=msgspec.Raw(self.history) if self.history else _NOTHING,
                fades=self.fades,
                step=self.step,
                seen=Seen.of(self.seen).text,
                users=self.users,
                address=self.address,
                state=msgspec.Raw(self.state),
            )
        )

    @classmethod
    def decode(cls, data: bytes | str, *, session_id: str, store: str | None = None) -> Record:
        """Read what `encode` wrote.

        Raises `SessionUnreadable` if it is not a record or belongs to another session, and
        `SessionTooNew` if a newer barback wrote it.
        """
        try:
            if isinstance(data, bytes) and not data.isascii():
                data.decode()  # the state is taken as it stands, and must be text all the same
            wire = _decoder.decode(data)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            # The decoder's words tell positions and types, never values.
            message = (
                f"The record of session {session_id!r} cannot be read. It is left as it is: "
                f"restore it from a copy, or destroy the session to let it start anew."
            )
            cause = without_bytes(error)
            raise SessionUnreadable(message, session_id=session_id, store=store) from cause
        if wire.id != session_id:
            message = f"The record found for session {session_id!r} belongs to another session."
            raise SessionUnreadable(message, session_id=session_id, store=store)
        if wire.format not in FORMATS:
            message = (
                f"The record of session {session_id!r} is of format {wire.format}, which this "
                f"version of barback does not know. Update barback on this machine."
            )
            raise SessionTooNew(message, session_id=session_id, store=store)
        state = _unspaced(bytes(wire.state))
        if not state.startswith(b"{"):
            message = f"The state in the record of session {session_id!r} is not a JSON object."
            raise SessionUnreadable(message, session_id=session_id, store=store)
        seen = Seen(wire.seen)
        if not seen.is_sound():
            message = f"The ids seen by session {session_id!r} cannot be read. Mend the record."
            raise SessionUnreadable(message, session_id=session_id, store=store)
        return cls(
            id=session_id,
            version=wire.version,
            state=state,
            created_at=wire.created_at,
            last_activity=wire.last_activity,
            expires_at=wire.expires_at,
            format=wire.format,
            schema=wire.schema,
            lifetime=wire.lifetime,
            history=b"" if wire.history is _NOTHING else _unspaced(bytes(wire.history)),
            fades=wire.fades,
            step=wire.step,
            seen=seen,
            users=wire.users,
            address=wire.address,
        )


class _Wire(msgspec.Struct, kw_only=True, omit_defaults=True, gc=False):
    """A record as JSON: the same fields, the state embedded as it is, `seen` as its text."""

    id: str
    format: int
    version: int
    schema: int = 0
    created_at: int
    last_activity: int
    expires_at: int | None = None
    lifetime: int | None = None
    history: msgspec.Raw = _NOTHING
    fades: Mapping[str, int] = {}
    step: str | None = None
    seen: str = ""
    users: tuple[str, ...] = ()
    address: str | None = None
    state: msgspec.Raw


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(_Wire)


def _from_a_random_start() -> itertools.count[int]:
    return itertools.count(int.from_bytes(os.urandom(8)) >> 2)  # 62 bits


_versions = _from_a_random_start()


def _restart_versions() -> None:
    global _versions  # noqa: PLW0603 - a forked child must not repeat its parent's numbers
    _versions = _from_a_random_start()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_restart_versions)


def new_version() -> int:
    """A number, at most 63 bits, that no record of any process has had before.

    A counter from a random start: as unlikely to repeat as 62 random bits, at the cost of an
    addition. It owes nothing to the clock or to `random.seed`.
    """
    return next(_versions)


def id_beside(session_id: str, kind: str, number: int) -> str:
    """The id of a record that belongs to a session, `kind` in the place of its channel.

    It has the session's namespace, tells the session's id as far as there is room, and is no longer
    than an id may be.
    """
    channel, _, key = session_id.partition(":")
    namespace, slash, channel = channel.rpartition("/")
    beside = f"{namespace}{slash}{kind}:{number:x}:{channel}:{key}"
    return beside.encode()[:MAX_ID_BYTES].decode(errors="ignore")


def parted(record_id: str) -> tuple[str, str, str]:
    """What `id_beside` made an id of: the kind, the number, and the session's id as far as it told.

    Of a session's own id: nothing, nothing, and that id.
    """
    channel, _, key = record_id.partition(":")
    namespace, slash, kind = channel.rpartition("/")
    if kind not in (ASIDE, HISTORY):
        return "", "", record_id
    number, _, session_id = key.partition(":")
    return kind, number, f"{namespace}{slash}{session_id}"


def without_namespace(session_id: str) -> str:
    """A session's id as its bot knows it: names of namespaces and channels hold no `/` or `:`."""
    channel, colon, key = session_id.partition(":")
    return f"{channel.rpartition('/')[2]}{colon}{key}"


def check_session_id(session_id: str) -> str:
    """Return `session_id` if a store may be asked for it; raise `InvalidSessionId` otherwise."""
    if session_id.isascii():
        size = len(session_id)
    else:
        try:
            size = len(session_id.encode())
        except UnicodeEncodeError:
            message = f"Session id {session_id!a} holds a lone surrogate, which is not text."
            raise InvalidSessionId(message) from None
    if size > MAX_ID_BYTES:
        message = (
            f"A session id of {size} bytes is longer than {MAX_ID_BYTES} bytes "
            f"(it begins {session_id[:40]!r}). Use a `scope` that makes shorter keys."
        )
        raise SessionIdTooLong(message)
    channel, colon, key = session_id.partition(":")
    if not (channel and colon and key):
        message = f"Session id {session_id!r} is not of the form 'channel:key'."
        raise InvalidSessionId(message, session_id=session_id)
    return session_id
