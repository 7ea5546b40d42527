"""Chunks: the parts of sessions' histories that have records of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from barback.errors import (
    CommitUnknown,
    LeaseLost,
    SessionBusy,
    SessionStoreUnavailable,
    SessionUnreadable,
)
from barback.history import Chunk, History, Kept, Log, Ref
from barback.record import FORMAT_JSON, FORMAT_SEALED, NEVER, Record, new_version
from barback.stores.base import Lease

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from barback.operations import Operations
    from barback.states import States
    from barback.stores.base import LeasedStore

__all__ = ["Chunks"]

TERM: Final = 30.0


class Chunks:
    """Reads and writes histories, for turns that hold their sessions.

    A chunk is written once, under a key that no other has, and is nobody's until a session's record
    names it: so neither a turn that comes to nothing, nor one that lost its session, does harm.
    """

    def __init__(
        self,
        store: LeasedStore,
        states: States,
        operations: Operations,
        history: History,
        clock: Callable[[], float],
    ) -> None:
        self.history = history
        self._store = store
        self._states = states
        self._operations = operations
        self._clock = clock

    def log(self, record: Record | None) -> Log:
        """The history that a record has, its tail readable. Raises `SessionUnreadable`."""
        log = Log.of(record)
        if record is not None and log.has_sealed():
            sealed = _tail_record(record, bytes(log.sealed), sealed=True)
            log.tail = _tail.decode(self._states.plain(sealed))
            log.sealed = msgspec.UNSET  # type: ignore[assignment]
        return log

    def encoded(self, log: Log, record: Record) -> bytes:
        """A history as the session's record is to have it."""
        if not log.tail or self._states.keys is None:
            return log.encode()
        sealed = self._states.sealed(_tail_record(record, _tail_encoder.encode(log.tail)))
        kept = msgspec.structs.replace(log, tail=[], sealed=msgspec.Raw(sealed.state))
        return kept.encode()

    async def read(self, session_id: str, ref: Ref) -> list[Kept]:
        """The entries of a chunk. Raises `SessionUnreadable` if it is not there any more."""
        chunk_id = ref.id(session_id)
        lease = self._lease(chunk_id)
        record = await self._operations.finish(self._store.checkout(chunk_id, lease))
        await self._operations.finish(self._store.release(chunk_id, lease))
        if record is not None:
            entries = _entries(self._states.plain(record))
            if entries is not None and len(entries) == ref.next - ref.first:
                return entries
        message = (
            f"A part of the history of session {session_id!r}, {chunk_id!r}, is not there any more "
            f"or cannot be read. Restore it from a copy, or clear the session's history."
        )
        raise SessionUnreadable(message, session_id=session_id, store=self._store.name)

    async def write(self, record: Record, chunks: Sequence[Chunk]) -> None:
        """Write chunks that a session's record is about to name.

        Raises `NotDone`, also where nobody knows whether one was written: nothing names it then.
        """
        for chunk in chunks:
            await self._write(record, chunk)

    async def _write(self, record: Record, chunk: Chunk) -> None:
        now = int(self._clock() * 1000)
        written = self._states.sealed(
            Record(
                id=chunk.ref.id(record.id),
                version=new_version(),
                state=_chunk_encoder.encode({"entries": chunk.entries}),
                created_at=now,
                last_activity=now,
                lifetime=NEVER,
                users=record.users,
                address=record.id,
            )
        )
        lease = self._lease(written.id)
        try:
            await self._operations.finish(self._store.checkout(written.id, lease))
            await self._operations.finish(self._store.commit(written, lease))
        except (CommitUnknown, LeaseLost, SessionBusy) as failed:
            message = (
                f"A part of the history of session {record.id!r} could not be written, or nobody "
                f"knows; nothing of the session was changed. Deliver the event again."
            )
            raise SessionStoreUnavailable(
                message, session_id=record.id, store=self._store.name
            ) from failed

    def discard(self, chunk_ids: Sequence[str]) -> None:
        """Have chunks removed that no record names any more; nobody waits for it."""
        for chunk_id in chunk_ids:
            self._operations.start(self._store.destroy(chunk_id, None))

    def _lease(self, chunk_id: str) -> Lease:
        return Lease(session_id=chunk_id, token=f"{new_version():x}", term=TERM)


def _tail_record(record: Record, tail: bytes, *, sealed: bool = False) -> Record:
    """The newest entries as a record that can be encrypted, bound to the session they are of."""
    return Record(
        id=f"{record.id}#history",
        version=record.version,
        state=tail,
        created_at=0,
        last_activity=0,
        format=FORMAT_SEALED if sealed else FORMAT_JSON,
    )


def _entries(data: bytes) -> list[Kept] | None:
    try:
        return _chunk_decoder.decode(data)["entries"]
    except (msgspec.MsgspecError, UnicodeDecodeError, LookupError):
        return None


_tail = msgspec.json.Decoder(list[Kept])
_tail_encoder = msgspec.json.Encoder()
_chunk_encoder = msgspec.json.Encoder()
_chunk_decoder = msgspec.json.Decoder(dict[str, list[Kept]])
