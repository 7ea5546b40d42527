"""Faults: a store over another, whose answers come late, are lost, or say that nothing was done."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar

import msgspec

from barback.errors import CommitUnknown, SessionStoreUnavailable
from barback.stores.base import Lease, LeasedStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
    from typing import Self

    from barback.record import Record

__all__ = ["Chances", "FaultyStore"]

T = TypeVar("T")


class Chances(msgspec.Struct, frozen=True, kw_only=True):
    """How likely each fault is, from 0 to 1.

    - `refused`: nothing is done, and that is said.
    - `lost`: it is done, and the answer is lost.
    - `late`: it is done `lateness` seconds later, up to that; the answer is told to be lost at
      once, as by a client whose patience is over.
    - `slow`: it takes up to `lateness` seconds.
    """

    refused: float = 0.0
    lost: float = 0.0
    late: float = 0.0
    slow: float = 0.0
    lateness: float = 60.0


NONE: Final = Chances()


class FaultyStore(LeasedStore):
    """Everything goes to `inner`, after a moment; whatever `chances` has drawn happens to it.

    What it injects is what a driver may tell of a real fault, and no more. `faults` counts, by
    operation and fault, those that hit. Open `inner` yourself. Its faults come from `chance`, so
    that a seed brings them again. With a mapping, each operation that is in it (such as "commit")
    has chances of its own, and the others none.
    """

    name: ClassVar[str] = "faulty"

    def __init__(
        self,
        inner: LeasedStore,
        chances: Chances | Mapping[str, Chances],
        chance: random.Random,
    ) -> None:
        self.inner = inner
        self.expires_in = inner.expires_in
        self.chances = chances
        self.faults: Counter[str] = Counter()
        self._chance = chance
        self._late: set[asyncio.Future[Any]] = set()

    async def init(self) -> Self:
        """See `LeasedStore.init`."""
        return self

    async def close(self) -> None:
        """Wait for what was late."""
        while self._late:
            await asyncio.wait(self._late)

    async def checkout(self, session_id: str, lease: Lease) -> Record | None:
        """See `LeasedStore.checkout`."""
        return await self._do("checkout", lambda: self.inner.checkout(session_id, lease))

    async def commit(self, record: Record, lease: Lease, *, keep: bool = False) -> None:
        """See `LeasedStore.commit`."""
        # As it stands now: what is late must not take a version that was noted meanwhile.
        sent = msgspec.structs.replace(lease)
        await self._do("commit", lambda: self.inner.commit(record, sent, keep=keep), writes=True)

    async def release(self, session_id: str, lease: Lease) -> None:
        """See `LeasedStore.release`."""
        await self._do("release", lambda: self.inner.release(session_id, lease))

    async def renew(self, leases: Sequence[Lease]) -> list[Lease]:
        """See `LeasedStore.renew`."""
        return await self._do("renew", lambda: self.inner.renew(leases))

    async def destroy(self, session_id: str, lease: Lease | None) -> None:
        """See `LeasedStore.destroy`."""
        await self._do("destroy", lambda: self.inner.destroy(session_id, lease), writes=True)

    async def all(self, prefix: str = "") -> AsyncIterator[Record]:
        """See `LeasedStore.all`."""
        async for record in self.inner.all(prefix):
            yield record

    async def due(self, before: int, limit: int) -> list[Record]:
        """See `LeasedStore.due`."""
        return await self.inner.due(before, limit)

    async def _do(
        self, operation: str, act: Callable[[], Awaitable[T]], *, writes: bool = False
    ) -> T:
        chances = self.chances
        if not isinstance(chances, Chances):
            chances = chances.get(operation, NONE)
        fault = self._drawn(chances)
        if fault is not None:
            self.faults[f"{operation} {fault}"] += 1
        unheard = CommitUnknown if writes else SessionStoreUnavailable
        message = f"The answer of the store to {operation} was lost."
        await asyncio.sleep(0)
        if fault == "refused":
            what = f"The store refused {operation}. Nothing was done."
            raise SessionStoreUnavailable(what, store=self.name)
        if fault == "late":
            late = asyncio.ensure_future(self._later(act, chances.lateness))
            self._late.add(late)
            late.add_done_callback(self._late.discard)
            raise unheard(message, store=self.name)
        if fault == "slow":
            await asyncio.sleep(self._chance.uniform(0, chances.lateness))
        answer = await act()
        await asyncio.sleep(0)
        if fault == "lost":
            raise unheard(message, store=self.name)
        return answer

    async def _later(self, act: Callable[[], Awaitable[object]], lateness: float) -> None:
        await asyncio.sleep(self._chance.uniform(0, lateness))
        try:
            await act()
        except Exception as error:  # noqa: BLE001 - nobody hears it, as over a dead connection
            self.faults[f"unheard {type(error).__name__}"] += 1

    def _drawn(self, chances: Chances) -> str | None:
        drawn = self._chance.random()
        for fault in ("refused", "lost", "late", "slow"):
            likely: float = getattr(chances, fault)
            if drawn < likely:
                return fault
            drawn -= likely
        return None
