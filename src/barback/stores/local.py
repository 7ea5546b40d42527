"""LocalLeases: a `LeasedStore` made of a driver of four methods, for one process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, ClassVar

from barback.errors import (
    BarbackError,
    CommitUnknown,
    ListingUnsupported,
    SessionStoreUnavailable,
)
from barback.stores import answers
from barback.stores.base import Lease, LeasedStore, ListedStore, SessionStore, listing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence
    from typing import Self

    from barback.record import Record

__all__ = ["LeaseTable", "LocalLeases", "leased"]


class LeaseTable:
    """Who holds which session, inside one process. It has an entry for held sessions only.

    `clock` is in seconds and must not go back; `usual_clock` unless given.
    """

    usual_clock: ClassVar[Callable[[], float]] = time.monotonic
    """What tables that are made from now on go by: the machine's clock, but for tests."""

    def __init__(self, store: str, clock: Callable[[], float] | None = None) -> None:
        self._store = store
        self._clock = LeaseTable.usual_clock if clock is None else clock
        self._held: dict[str, tuple[str, float]] = {}
        self._under_way: dict[str, asyncio.Future[None] | None] = {}

    def take(self, session_id: str, lease: Lease) -> bool:
        """Give the session to `lease`, or renew it; whether it was not its own before.

        Raises `SessionBusy` if another holds it, or if an operation on it is still under way.
        """
        held, now, own = self._held, self._clock(), False
        if session_id in held:
            token, until = held[session_id]
            own = token == lease.token
            if not own and until > now:
                raise answers.busy(self._store, session_id)
        if self._under_way and session_id in self._under_way:
            raise answers.busy(self._store, session_id)
        held[session_id] = (lease.token, now + lease.term)
        return not own

    @asynccontextmanager
    async def alone(self, session_id: str) -> AsyncIterator[None]:
        """While inside, no other operation on the session is under way, whoever asks for it.

        Not even if the lease ran out, was given back or taken away meanwhile: a write that is still
        on its way must not land on top of the next turn's.
        """
        while session_id in self._under_way:
            ended = self._under_way[session_id]
            if ended is None:
                ended = self._under_way[session_id] = asyncio.get_running_loop().create_future()
            await asyncio.shield(ended)
        self._under_way[session_id] = None
        try:
            yield
        finally:
            waited_for = self._under_way.pop(session_id)
            if waited_for is not None and not waited_for.done():
                waited_for.set_result(None)

    def holds(self, session_id: str, lease: Lease) -> bool:
        """Whether the session is still this lease's: until its end, and after it until taken."""
        holder = self._held.get(session_id)
        return holder is not None and holder[0] == lease.token

    def check(self, session_id: str, lease: Lease) -> None:
        """Raise `LeaseLost` unless the session is still this lease's."""
        holder = self._held.get(session_id)
        if holder is None or holder[0] != lease.token:
            raise answers.lost(self._store, session_id)

    def end(self, session_id: str, lease: Lease) -> None:
        """Free the session. Raises `LeaseLost` unless it is still this lease's."""
        holder = self._held.pop(session_id, None)
        if holder is None or holder[0] != lease.token:
            if holder is not None:
                self._held[session_id] = holder
            raise answers.lost(self._store, session_id)

    def give_back(self, session_id: str, lease: Lease) -> None:
        """Free the session, if it is still this lease's."""
        holder = self._held.get(session_id)
        if holder is not None and holder[0] == lease.token:
            del self._held[session_id]

    def renew(self, leases: Sequence[Lease]) -> list[Lease]:
        """Start each lease's term anew; return those that were lost."""
        lost = []
        for lease in leases:
            if self.holds(lease.session_id, lease):
                self._held[lease.session_id] = (lease.token, self._clock() + lease.term)
            else:
                lost.append(lease)
        return lost

    def free(self, session_id: str) -> None:
        """Free the session by force."""
        self._held.pop(session_id, None)

    def __contains__(self, session_id: object) -> bool:
        return session_id in self._held

    def __len__(self) -> int:
        return len(self._held)


class LocalLeases(LeasedStore):
    """Leases inside this process over a `SessionStore`; a `Bot` applies it by itself.

    Every `LocalLeases` over the same driver object shares one table, so that several bots may use
    the driver at once. Processes do not see each other's leases: a driver for several processes
    implements `LeasedStore`.

    A driver's own exceptions become barback's: from `read`, `SessionStoreUnavailable`; from
    `write` and `destroy`, `CommitUnknown`, since only the driver could know what was applied.
    """

    def __init__(self, store: SessionStore) -> None:
        self.store = store
        self.name = store.name  # type: ignore[misc]  # it goes by its driver's name
        self.expires_in = store.expires_in
        self.max_age = store.max_age
        if store.leases is None:
            store.leases = LeaseTable(store.name)
        self._table = store.leases

    async def init(self) -> Self:
        """Open the driver, unless another user of it has done so."""
        try:
            await self.store.acquire()
        except BarbackError:
            raise
        except Exception as error:
            message = f"The {self.name} store could not be opened: {type(error).__name__}."
            raise SessionStoreUnavailable(message, store=self.name) from error
        return self

    async def close(self) -> None:
        """Close the driver, if this was its last user."""
        await self.store.relinquish()

    async def checkout(self, session_id: str, lease: Lease) -> Record | None:
        """See `LeasedStore.checkout`."""
        taken = self._table.take(session_id, lease)
        try:
            with self._translated(SessionStoreUnavailable, "failed to read", session_id):
                async with self._table.alone(session_id):
                    return await self.store.read(session_id)
        except BaseException:
            if taken:
                self._table.give_back(session_id, lease)
            raise

    async def commit(self, record: Record, lease: Lease, *, keep: bool = False) -> None:
        """See `LeasedStore.commit`.

        Nobody but the lease's holder writes, so a lease still held is a version still read.
        """
        with self._translated(CommitUnknown, "failed while it wrote", record.id):
            async with self._table.alone(record.id):
                self._table.check(record.id, lease)
                await self.store.write(record.id, record)
        if keep:
            self._table.renew([lease])
        else:
            self._table.give_back(record.id, lease)

    async def release(self, session_id: str, lease: Lease) -> None:
        """See `LeasedStore.release`."""
        self._table.give_back(session_id, lease)

    async def renew(self, leases: Sequence[Lease]) -> list[Lease]:
        """See `LeasedStore.renew`."""
        return self._table.renew(leases)

    async def destroy(self, session_id: str, lease: Lease | None) -> None:
        """See `LeasedStore.destroy`."""
        if lease is None:
            self._table.free(session_id)  # first: a turn's commit from now on is refused
        with self._translated(CommitUnknown, "failed while it wrote", session_id):
            async with self._table.alone(session_id):
                if lease is not None:
                    self._table.check(session_id, lease)
                await self.store.destroy(session_id)
        if lease is not None:
            self._table.give_back(session_id, lease)

    def all(self, prefix: str = "") -> AsyncIterator[Record]:
        """See `LeasedStore.all`. Raises `ListingUnsupported` if the driver cannot list."""
        return self._records(self._listed().all(prefix))

    async def due(self, before: int, limit: int) -> list[Record]:
        """See `LeasedStore.due`. Raises `ListingUnsupported` if the driver cannot list."""
        listed = self._listed()
        with self._translated(SessionStoreUnavailable, "failed to list what is due"):
            return await listed.due(before, limit)

    async def _records(self, listed: AsyncIterator[Record]) -> AsyncIterator[Record]:
        with self._translated(SessionStoreUnavailable, "failed to list its sessions"):
            async with listing(listed) as records:
                async for record in records:
                    yield record

    def _listed(self) -> ListedStore:
        if isinstance(self.store, ListedStore):
            return self.store
        message = (
            f"The {self.name} store cannot list its sessions: derive {type(self.store).__name__} "
            f"from ListedStore and give it `all` and `due`."
        )
        raise ListingUnsupported(message, store=self.name)

    @contextmanager
    def _translated(
        self, kind: type[BarbackError], what: str, session_id: str | None = None
    ) -> Iterator[None]:
        """Inside, a driver's own exception becomes one of `kind`; barback's stay as they are."""
        try:
            yield
        except BarbackError:
            raise
        except Exception as error:
            which = "" if session_id is None else f" session {session_id!r}"
            message = f"The {self.name} store {what}{which}."
            raise kind(message, session_id=session_id, store=self.name) from error


def leased(store: SessionStore | LeasedStore) -> LeasedStore:
    """The store as a turn speaks to it."""
    return LocalLeases(store) if isinstance(store, SessionStore) else store
