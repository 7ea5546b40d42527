"""Chunks: the parts of sessions' histories that have records of their own."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import msgspec

from barback.errors import (
    CommitUnknown,
    LeaseLost,
    SessionBusy,
    SessionStoreUnavailable,
    SessionUnreadable,
)
from barback.history import Chunk, Kept, Log, Ref
from barback.record import FORMAT_JSON, NEVER, Record, new_version, parted
from barback.stores.base import Lease
from barback.tails import seal_log

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Sequence

    from barback.history import History
    from barback.operations import Operations
    from barback.states import States
    from barback.stores.base import LeasedStore
    from barback.turn import Turn

__all__ = ["Chunks"]

T = TypeVar("T")

TERM: Final = 30.0
AT_ONCE: Final = 16  # of one session: they share trips where the store can
HELD_BY: Final = "history"
"""The token of every lease on a chunk. Who may read or write it, its session's lease says; and one
that somebody has left behind, who was killed meanwhile, is in nobody's way."""


class Chunks:
    """Reads and writes chunks, for turns that hold their sessions.

    A chunk is written once, under a key that no other has, and is nobody's until a session's record
    names it: so neither a turn that comes to nothing, nor one that lost its session, does harm.

    - `history`: what a bot's sessions keep; None: no entries are added.
    """

    def __init__(
        self,
        store: LeasedStore,
        states: States,
        operations: Operations,
        history: History | None,
        clock: Callable[[], float],
    ) -> None:
        self.history = history
        self._store = store
        self._states = states
        self._operations = operations
        self._clock = clock

    async def read(self, session_id: str, refs: Sequence[Ref]) -> list[list[Kept]]:
        """The entries of each chunk. Raises `SessionUnreadable` if one is not there any more."""
        found: list[list[Kept]] = []
        for begin in range(0, len(refs), AT_ONCE):
            some = refs[begin : begin + AT_ONCE]
            found += await _together([self._read(session_id, ref) for ref in some])
        return found

    async def records(self, record: Record) -> list[Record]:
        """The records of all chunks that a session's names, as they are; who holds the session.

        Raises `SessionUnreadable` if one is not there any more.
        """
        found: list[Record] = []
        ids = [ref.id(parted(record.id)[2]) for ref in Log.of(record).chunks]
        for begin in range(0, len(ids), AT_ONCE):
            some = ids[begin : begin + AT_ONCE]
            for chunk_id, chunk in zip(
                some, await _together(list(map(self._fetch, some))), strict=True
            ):
                if chunk is None:
                    raise self._missing(record.id, chunk_id)
                found.append(chunk)
        return found

    async def put(self, chunks: Sequence[Record]) -> None:
        """Write the records of chunks as they are, before the session's that will name them.

        Raises `NotDone`, also where nobody knows whether one was written.
        """
        for begin in range(0, len(chunks), AT_ONCE):
            await _together([self._put(chunk) for chunk in chunks[begin : begin + AT_ONCE]])

    async def pack(self, turn: Turn, record: Record, log: Log) -> Record:
        """Write the tail of what a turn is about to commit into chunks: the record that names them.

        Raises `NotDone`, also where nobody knows whether one was written: nothing names it then.
        """
        merged = log.to_merge()
        try:
            older = await self.read(record.id, merged)
        except SessionUnreadable:
            merged, older = [], []  # who reads it hears of that; to add to it goes on
        await self._write_all(record, log.cut(older))
        turn.spent = [*turn.spent, *(ref.id(record.id) for ref in merged)]
        return msgspec.structs.replace(record, history=seal_log(self._states, log, record))

    async def rewrite(self, chunk_id: str, change: Callable[[Record], Record]) -> bool:
        """Put what `change` makes of a chunk's record in its place; False if it is not there.

        The entries must stay. Raises `NotDone` and `CommitUnknown`, and what `change` raises.
        """
        lease = _lease(chunk_id)
        record = await self._operations.finish(self._store.checkout(chunk_id, lease))
        try:
            if record is None:
                return False
            lease.version = record.version
            changed = msgspec.structs.replace(change(record), version=new_version())
            await self._operations.finish(self._store.commit(changed, lease))
        finally:
            await self._operations.finish(self._store.release(chunk_id, lease))
        return True

    def is_current(self, record: Record) -> bool:
        """Whether the record of a chunk is encrypted, or not, as it would be now."""
        keys = self._states.keys
        return record.format == FORMAT_JSON if keys is None else keys.is_current(record)

    def resealed(self, record: Record) -> Record:
        """The record of a chunk, encrypted as it would be if it were written now."""
        plain = self._states.plain(record)
        return self._states.sealed(msgspec.structs.replace(record, state=plain, format=FORMAT_JSON))

    async def remove(self, chunk_ids: Iterable[str]) -> None:
        """Remove chunks that no record names any more."""
        for chunk_id in chunk_ids:
            await self._operations.finish(self._store.destroy(chunk_id, None))

    def discard(self, chunk_ids: Iterable[str]) -> None:
        """The same, but that nobody waits for it."""
        for chunk_id in chunk_ids:
            self._operations.start(self._store.destroy(chunk_id, None))

    async def _write_all(self, record: Record, chunks: Sequence[Chunk]) -> None:
        await self.put([self._record(record, chunk) for chunk in chunks])

    async def _read(self, session_id: str, ref: Ref) -> list[Kept]:
        chunk_id = ref.id(session_id)
        record = await self._fetch(chunk_id)
        if record is not None:
            entries = _entries(self._states.plain(record))
            if entries is not None and len(entries) == ref.next - ref.first:
                return entries
        raise self._missing(session_id, chunk_id)

    async def _fetch(self, chunk_id: str) -> Record | None:
        lease = _lease(chunk_id)
        record = await self._operations.finish(self._store.checkout(chunk_id, lease))
        self._operations.start(self._store.release(chunk_id, lease))  # nobody waits for that
        return record

    def _missing(self, session_id: str, chunk_id: str) -> SessionUnreadable:
        message = (
            f"A part of the history of session {session_id!r}, {chunk_id!r}, is not there any more "
            f"or cannot be read. Restore it from a copy, or clear the session's history."
        )
        return SessionUnreadable(message, session_id=session_id, store=self._store.name)

    def _record(self, record: Record, chunk: Chunk) -> Record:
        now = int(self._clock() * 1000)
        return self._states.sealed(
            Record(
                id=chunk.ref.id(record.id),
                version=new_version(),
                state=_encoder.encode({"entries": chunk.entries}),
                created_at=now,
                last_activity=now,
                lifetime=NEVER,
                users=record.users,
                address=record.id,
            )
        )

    async def _put(self, written: Record) -> None:
        lease = _lease(written.id)
        try:
            found = await self._operations.finish(self._store.checkout(written.id, lease))
            lease.version = None if found is None else found.version
            await self._operations.finish(self._store.commit(written, lease))
        except (CommitUnknown, LeaseLost, SessionBusy) as failed:
            message = (
                f"A part of the history of session {written.address!r} could not be written, or "
                f"nobody knows; nothing of the session was changed. Deliver the event again."
            )
            raise SessionStoreUnavailable(
                message, session_id=written.address, store=self._store.name
            ) from failed


async def _together(asked: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """The answer to each; where some fail, the first error, when all have come to their end."""
    if len(asked) == 1:
        return [await asked[0]]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    for answer in answers:
        if isinstance(answer, BaseException):
            raise answer
    return cast("list[T]", answers)


def _lease(chunk_id: str) -> Lease:
    return Lease(session_id=chunk_id, token=HELD_BY, term=TERM)


def _entries(data: bytes) -> list[Kept] | None:
    try:
        return _decoder.decode(data)["entries"]
    except (msgspec.MsgspecError, UnicodeDecodeError, LookupError):
        return None


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(dict[str, list[Kept]])
