"""A bot's store, with somebody who sees what it is asked and what it answers."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from barback.errors import LeaseLost
from barback.observing.turn_seen import StepName, StoreCall, TurnSeen, current, size_of
from barback.operations import asked_of
from barback.record import Record
from barback.stores.base import InstantStore, LeasedStore

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator, Awaitable, Sequence
    from typing import Self

    from barback.observing.observer import Observers
    from barback.stores.base import Lease
    from barback.stores.operation import Operation

__all__ = ["ObservedInstantStore", "ObservedStore", "observed"]

T = TypeVar("T")

ASKED: Final = ("checkout", "commit", "release", "renew", "destroy")
"""What is told of."""


def observed(store: LeasedStore, observers: Observers) -> ObservedStore:
    """The same store. One whose answers are there at once remains one."""
    if isinstance(store, InstantStore) and store.overrides_nothing():
        return ObservedInstantStore(store, observers)
    return ObservedStore(store, observers)


class _Call:
    """What the store is asked, from now on until it answers."""

    def __init__(
        self, operation: str, store: LeasedStore, observers: Observers, session_id: str, size: int
    ) -> None:
        self._operation = operation
        self._store = store
        self._observers = observers
        self._session_id = session_id
        self._size = size
        seen = current.get()
        # A turn asks for records beside its session's too, such as parts of a history.
        self._seen: TurnSeen | None = None
        if seen is not None and seen.turn.session_id == session_id and operation != "renew":
            self._seen = seen
            seen.asking(self._step, size)
        self._since = time.perf_counter()

    @property
    def _step(self) -> StepName:
        return cast("StepName", self._operation)

    def ended(self, error: BaseException | None, answer: Any = None) -> None:
        seconds = time.perf_counter() - self._since
        record = answer if isinstance(answer, Record) else None
        size = self._size if record is None else size_of(record)
        if self._seen is not None:
            self._seen.answered(self._step, error, record)
        call = StoreCall(self._operation, self._store.name, self._session_id, seconds, error, size)
        self._observers.tell("store_answered", call)
        if isinstance(error, LeaseLost):
            self._observers.tell("lease_lost", self._session_id)
        if self._operation == "renew" and isinstance(answer, list):
            for lease in answer:
                self._observers.tell("lease_lost", lease.session_id)

    def answered(self, future: asyncio.Future[Any]) -> None:
        if not future.cancelled():  # who asked has gone, and nobody hears the answer
            error = future.exception()
            self.ended(error, None if error is not None else future.result())


class ObservedStore(LeasedStore):
    """Hands everything on to `inner`, and tells observers of it once it is to `listen`."""

    inner: LeasedStore

    def __init__(self, inner: LeasedStore, observers: Observers) -> None:
        self.inner = inner
        self._observers = observers
        self.name = inner.name  # type: ignore[misc]  # it stands for one store, not for a class
        self.expires_in, self.max_age = inner.expires_in, inner.max_age
        self.where = inner.where
        self.sweeps_itself = inner.sweeps_itself  # type: ignore[misc]  # the same
        for name in ASKED:  # until somebody listens, not even a call stands between
            setattr(self, name, getattr(inner, name))

    def listen(self) -> None:
        """Tell observers from now on."""
        for name in ASKED:
            delattr(self, name)

    async def init(self) -> Self:
        """See `LeasedStore.init`."""
        await self.inner.init()
        return self

    async def close(self) -> None:
        """See `LeasedStore.close`."""
        await self.inner.close()

    def checkout(self, session_id: str, lease: Lease) -> Awaitable[Record | None]:
        """See `LeasedStore.checkout`."""
        call = self._call("checkout", session_id)
        return _seen(call, self.inner.checkout(session_id, lease))

    def commit(self, record: Record, lease: Lease, *, keep: bool = False) -> Awaitable[None]:
        """See `LeasedStore.commit`."""
        call = self._call("commit", record.id, size_of(record))
        return _seen(call, self.inner.commit(record, lease, keep=keep))

    def release(self, session_id: str, lease: Lease) -> Awaitable[None]:
        """See `LeasedStore.release`."""
        call = self._call("release", session_id)
        return _seen(call, self.inner.release(session_id, lease))

    def renew(self, leases: Sequence[Lease]) -> Awaitable[list[Lease]]:
        """See `LeasedStore.renew`."""
        return _seen(self._call("renew"), self.inner.renew(leases))

    def destroy(self, session_id: str, lease: Lease | None) -> Awaitable[None]:
        """See `LeasedStore.destroy`."""
        call = self._call("destroy", session_id)
        return _seen(call, self.inner.destroy(session_id, lease))

    def all(self, prefix: str = "") -> AsyncIterator[Record]:
        """See `LeasedStore.all`."""
        return self.inner.all(prefix)

    def due(self, before: int, limit: int) -> Awaitable[list[Record]]:
        """See `LeasedStore.due`."""
        return self.inner.due(before, limit)

    def _call(self, operation: str, session_id: str = "", size: int = 0) -> _Call:
        return _Call(operation, self.inner, self._observers, session_id, size)


class ObservedInstantStore(ObservedStore, InstantStore):
    """The same for a store of which no operation has to wait."""

    inner: InstantStore

    # What is awaitable is made of what is not, as in any store of this kind.
    checkout = InstantStore.checkout
    commit = InstantStore.commit
    release = InstantStore.release

    def take(self, session_id: str, lease: Lease) -> Record | None:
        """See `InstantStore.take`."""
        call = self._call("checkout", session_id)
        try:
            record = self.inner.take(session_id, lease)
        except BaseException as error:
            call.ended(error)
            raise
        call.ended(None, record)
        return record

    def put(self, record: Record, lease: Lease, *, keep: bool = False) -> None:
        """See `InstantStore.put`."""
        before = getattr(self.inner, "evictions", 0)
        call = self._call("commit", record.id, size_of(record))
        try:
            self.inner.put(record, lease, keep=keep)
        except BaseException as error:
            call.ended(error)
            raise
        call.ended(None)
        evicted = getattr(self.inner, "evictions", 0) - before
        if evicted:
            self._observers.tell("evicted", evicted)

    def give_back(self, session_id: str, lease: Lease) -> None:
        """See `InstantStore.give_back`."""
        call = self._call("release", session_id)
        try:
            self.inner.give_back(session_id, lease)
        except BaseException as error:
            call.ended(error)
            raise
        call.ended(None)


def _seen(call: _Call, operation: Awaitable[T]) -> Operation[T]:
    """What a driver returned, with somebody who hears of the answer before the turn does."""
    asked = asked_of(operation)
    if asked.answer.done():
        call.answered(asked.answer)
    else:
        asked.answer.add_done_callback(call.answered)
    return asked
