"""History: what grows beside a state, such as messages; added to, read in pages, trimmed.

The newest entries rest in the session's record. When they have become many, or large, they move to
a chunk: a record of its own, written before the session's is committed, which alone says that the
chunk is there. So a turn adds all of its entries or none, and what it costs does not grow with the
history.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

import msgspec

from barback.errors import ConfigurationError, SessionUnreadable, StateValueError
from barback.options import count
from barback.record import HISTORY, id_beside, new_version, parted
from barback.state import decode_state, encode_state
from barback.stores.base import duration, milliseconds

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from barback.record import Record
    from barback.shapes import Shape

__all__ = ["Chunk", "Entry", "History", "Log", "Ref", "chunk_ids"]

TAIL: Final = 4096  # bytes of entries that rest in the session's record
CHUNK: Final = 64 * 1024  # and in one of their own, if it is not a single one that has more
LEAST: Final = 128  # for how many bytes an entry counts at least
MOST: Final = 100_000  # entries of one session: the record names their chunks

Kept = tuple[int, msgspec.Raw]
"""An entry at rest: its time in milliseconds, and its value."""


class History:
    """That sessions have a history, and how much of it is kept.

        bot = Bot(history=History(keep=200, keep_for=timedelta(days=30)))

    - `keep`: how many entries a session keeps, the newest: 1,000 unless set, at most 100,000.
    - `keep_for`: how long an entry is kept: minutes or a timedelta; None: as long as its session.
    - `of`: the type of entries, as of a typed state; unless set they are what a state may hold.

    Raises `ConfigurationError`.
    """

    def __init__(
        self,
        *,
        keep: int = 1000,
        keep_for: float | timedelta | None = None,
        of: type | None = None,
    ) -> None:
        self.keep = count(keep, "keep")
        if keep > MOST:
            message = f"keep must be at most {MOST:,} entries of a session."
            raise ConfigurationError(message)
        self.keep_for = milliseconds(duration(keep_for, "keep_for"))
        self._shape: Shape[Any] | None = None
        if of is not None:
            from barback.shapes import shape_of  # noqa: PLC0415 - who has no type needs none

            self._shape = shape_of(of)

    def encode(self, value: Any, session_id: str) -> bytes:
        """An entry as JSON. Raises `StateValueError`, with a path that begins with "entry"."""
        try:
            if self._shape is not None:
                return self._shape.encode(value)
            return encode_state({"": value})[4:-1]
        except StateValueError as error:
            message, path = _of_entry(error)
            raise StateValueError(message, path=path, session_id=session_id) from error

    def decode(self, data: bytes, session_id: str) -> Any:
        """What was encoded so. Raises `SessionUnreadable`."""
        if self._shape is None:
            return decode_state(b'{"":%s}' % data, session_id)[""]
        try:
            return self._shape.decode(data)
        except StateValueError as error:
            told, _ = _of_entry(error)
            message = (
                f"An entry in the history of session {session_id!r} does not fit its type: {told} "
                f"It is left as it is: let the type have what older entries have."
            )
            raise SessionUnreadable(message, session_id=session_id) from error

    def since(self, now: int) -> int:
        """Entries from before this time are not kept any more."""
        return 0 if self.keep_for is None else now - self.keep_for

    def __repr__(self) -> str:
        return f"<History of {self.keep} entries>"


def _of_entry(error: StateValueError) -> tuple[str, str]:
    """What an error of a state says of an entry, and the path that begins with "entry"."""
    path = "entry" + error.path.removeprefix("state").removeprefix("['']")
    return str(error).replace(error.path, path, 1), path


class Entry(msgspec.Struct, frozen=True):
    """Something in a session's history.

    - `number`: its place, counted from 0 since the session began.
    - `at`: when it was added; a datetime in UTC.
    - `value`: what was added.
    """

    number: int
    at: datetime
    value: Any


class Ref(msgspec.Struct, frozen=True, array_like=True):
    """A chunk, as a record knows it.

    The numbers of its entries, its key, the time of its last entry, and how much all of them are.
    """

    first: int
    next: int
    key: int
    last_at: int
    weight: int

    def id(self, session_id: str) -> str:
        """The id of the chunk's record."""
        return id_beside(session_id, HISTORY, self.key)


class Log(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The history, as a session's record has it.

    - `first`: the number of the oldest entry that is kept; `next`: of the next to be added.
    - `chunks`: where older ones are, oldest first; `tail`: the newest ones.
    - `sealed`: the tail, where it is encrypted.
    """

    first: int = 0
    next: int = 0
    chunks: list[Ref] = []
    tail: list[Kept] = []
    sealed: msgspec.Raw = msgspec.UNSET  # type: ignore[assignment]  # and then it is left out

    @classmethod
    def of(cls, record: Record | None) -> Log:
        """The history of a record, whose tail is not encrypted. Raises `SessionUnreadable`."""
        if record is None or not record.history:
            return cls()
        try:
            log = _decoder.decode(record.history)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            message = (
                f"The history in the record of session {record.id!r} cannot be read. It is left as "
                f"it is: restore it from a copy, or destroy the session to let it start anew."
            )
            raise SessionUnreadable(message, session_id=record.id) from error
        return log

    def encode(self) -> bytes:
        """As it rests; nothing, where there is nothing."""
        return _encoder.encode(self) if self.next else b""

    def add(self, values: Sequence[bytes], now: int, history: History) -> list[Ref]:
        """Add entries, and let go of those that are too many, or too old; chunks that are to go."""
        self.tail += [(now, msgspec.Raw(value)) for value in values]
        self.next += len(values)
        self.first = max(self.first, self.next - history.keep)
        since = history.since(now)
        # The oldest go first, whatever the clock was meanwhile: what is left has no gaps.
        going = 0
        for ref in self.chunks:
            if not (ref.next <= self.first or ref.last_at < since):
                break
            going += 1
        dropped, self.chunks = self.chunks[:going], self.chunks[going:]
        if not self.chunks:
            number = self.next - len(self.tail)
            going = max(0, self.first - number)
            while going < len(self.tail) and self.tail[going][0] < since:
                going += 1
            del self.tail[:going]
        begins = self.chunks[0].first if self.chunks else self.next - len(self.tail)
        self.first = max(self.first, begins)
        return dropped

    def clear(self) -> list[Ref]:
        """Let go of all entries; chunks that are to go."""
        dropped, self.chunks, self.tail = self.chunks, [], []
        self.first = self.next
        return dropped

    def has_sealed(self) -> bool:
        """Whether the tail is encrypted."""
        sealed: object = self.sealed
        return sealed is not msgspec.UNSET

    def full(self) -> bool:
        """Whether the tail has become so much that it is to be a chunk."""
        return _weight(self.tail) > TAIL

    def to_merge(self) -> list[Ref]:
        """The last chunks, if they are no more than what they are to be one chunk with.

        So there are never many small ones: an entry is written anew some four times, and then no
        more; and what a record has to name is small beside what it names.
        """
        weight, count = _weight(self.tail), 0
        for ref in reversed(self.chunks):
            if ref.weight > weight or weight + ref.weight > CHUNK:
                break
            weight += ref.weight
            count += 1
        return self.chunks[len(self.chunks) - count :]

    def cut(self, older: Sequence[list[Kept]]) -> list[Chunk]:
        """Make chunks of the tail, and of the entries of the last chunks; name these instead."""
        entries = [*chain.from_iterable(older), *self.tail]
        self.chunks = self.chunks[: len(self.chunks) - len(older)]
        self.tail = []
        number = self.next - len(entries)
        if not self.chunks and number < self.first:
            del entries[: self.first - number]
            number = self.first
        chunks: list[Chunk] = []
        for part in _parts(entries):
            ref = Ref(number, number + len(part), new_version(), part[-1][0], _weight(part))
            chunks.append(Chunk(ref, part))
            number = ref.next
        self.chunks = [*self.chunks, *(chunk.ref for chunk in chunks)]
        return chunks


def chunk_ids(record: Record) -> list[str]:
    """The ids of all the records in which a session's older entries are.

    The record may be one that is kept aside: its history is the one its session had.
    """
    if not record.history:
        return []
    try:
        log = Log.of(record)
    except SessionUnreadable:
        return []  # nobody knows; they are found when chunks that nobody names are looked for
    session_id = parted(record.id)[2]
    return [ref.id(session_id) for ref in log.chunks]


class Chunk(msgspec.Struct, frozen=True):
    """Entries that have a record of their own."""

    ref: Ref
    entries: list[Kept]


def _parts(entries: list[Kept]) -> list[list[Kept]]:
    """The entries, in order, in parts that are not too large."""
    parts: list[list[Kept]] = []
    weight = CHUNK
    for kept in entries:
        own = _weight([kept])
        if weight + own > CHUNK:
            parts.append([])
            weight = 0
        parts[-1].append(kept)
        weight += own
    return parts


def _weight(entries: Iterable[Kept]) -> int:
    """What entries count for: their bytes, and the shortest as some all the same."""
    return sum(max(LEAST, len(bytes(value))) for _, value in entries)


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Log)
