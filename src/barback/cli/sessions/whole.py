"""Whole: a session with all parts of its history, as one line of JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Self

import msgspec

from barback.errors import BarbackError, SessionUnreadable
from barback.history import Log, chunk_ids
from barback.record import FORMAT_JSON, Record, check_session_id
from barback.state import decode_state, encode_state
from barback.tails import closed, opened

if TYPE_CHECKING:
    from barback.states import States
    from barback.tending import Tender

__all__ = ["Whole", "id_in"]


class Whole(NamedTuple):
    """A session's record, and the records of those parts of its history that have their own."""

    record: Record
    parts: list[Record]

    @classmethod
    async def read(cls, tender: Tender, record: Record) -> Self | None:
        """What belongs to a record that was listed; None if it is gone meanwhile.

        A record is whole by itself. Parts are read under the session's lease, so that no turn lets
        go of one meanwhile. Raises `SessionUnreadable`.
        """
        if not Log.of(record).chunks:
            return cls(record, [])
        async with tender.turns.tend(record.id) as turn:
            if turn.record is None:
                return None
            return cls(turn.record, await tender.turns.chunks.records(turn.record))

    @classmethod
    def decode(cls, line: bytes) -> Self:
        """What `encode` made, perhaps laid out otherwise since. It is looked at closely.

        Raises `SessionUnreadable`, which tells what is wrong, and nothing of a state.
        """
        outline = _outline(line)
        record = Record.decode(line, session_id=outline.id)
        Log.of(record)
        parts = [_part(bytes(raw), record) for raw in outline.parts]
        if sorted(part.id for part in parts) != sorted(chunk_ids(record)):
            message = f"The parts of the history of session {record.id!r} are not all there."
            raise SessionUnreadable(message, session_id=record.id)
        if record.format == FORMAT_JSON:
            # However it was laid out: equal states are equal bytes.
            state = encode_state(decode_state(record.state, record.id))
            record = msgspec.structs.replace(record, state=state)
        return cls(record, parts)

    def encode(self) -> bytes:
        """As one line, with no line feed: the record as a file of the file store has it."""
        line = self.record.encode()
        if not self.parts:
            return line
        return b'%b,"parts":[%b]}' % (line[:-1], b",".join(part.encode() for part in self.parts))

    def opened(self, states: States) -> Self:
        """With nothing encrypted. Raises `SessionUnreadable`."""
        parts = [_opened_part(states, part) for part in self.parts]
        return self._replace(record=opened(states, self.record), parts=parts)

    def closed(self, states: States) -> Self:
        """With all encrypted that is plain, if there are keys."""
        parts = [states.sealed(part) if part.format == FORMAT_JSON else part for part in self.parts]
        return self._replace(record=closed(states, self.record), parts=parts)


def id_in(line: bytes) -> str:
    """Which session a line is of. Raises `SessionUnreadable`."""
    return _outline(line).id


class _Outline(msgspec.Struct):
    """What a line must have before it is looked at more closely."""

    id: str
    parts: list[msgspec.Raw] = []


def _outline(line: bytes) -> _Outline:
    try:
        outline = _decoder.decode(line)
        check_session_id(outline.id)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, BarbackError):
        raise SessionUnreadable("This is not a session as export writes it.") from None
    return outline


def _part(data: bytes, record: Record) -> Record:
    part = Record.decode(data, session_id=_outline(data).id)
    if part.address != record.id:
        message = f"A part of the history of session {record.id!r} belongs to another session."
        raise SessionUnreadable(message, session_id=record.id)
    return part


def _opened_part(states: States, part: Record) -> Record:
    return msgspec.structs.replace(part, state=states.plain(part), format=FORMAT_JSON)


_decoder = msgspec.json.Decoder(_Outline)
