"""The memory store: sessions of this process, the least recently used forgotten first."""

from __future__ import annotations

import logging
from collections import OrderedDict
from typing import TYPE_CHECKING, ClassVar

from barback.errors import ConfigurationError
from barback.options import count
from barback.record import HISTORY, parted
from barback.stores import answers
from barback.stores.base import ONE_YEAR, InstantStore, Lease, duration
from barback.stores.local import LeaseTable
from barback.stores.url import parse_url

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from datetime import timedelta
    from typing import Self

    from barback.record import Record

__all__ = ["MemorySessionStore"]

logger = logging.getLogger("barback")


class MemorySessionStore(InstantStore):
    """Sessions in this process's memory; the default of every bot.

    - `max_size`: how many sessions it keeps, 10,000 unless set; each part of a history that is a
      record of its own counts as one too. When there are more, the least recently used is
      forgotten, but never one in use, nor a history before its session. `evictions` counts the
      sessions, and the first is logged as a warning.
    - `expires_in`: minutes or a timedelta after a session's last activity; None is never.

    Durability: none. What it holds lives as long as this object; closing it does not empty it.
    """

    name: ClassVar[str] = "memory"

    def __init__(
        self,
        max_size: int = 10_000,
        *,
        expires_in: float | timedelta | None = ONE_YEAR,
        max_age: float | timedelta | None = None,
    ) -> None:
        self.max_size = count(max_size, "max_size")
        self.expires_in = duration(expires_in)
        self.max_age = duration(max_age, "max_age")
        self.evictions = 0
        self._records: OrderedDict[str, Record] = OrderedDict()
        self._leases = LeaseTable(self.name)

    @classmethod
    def from_url(cls, url: str) -> MemorySessionStore:
        """Open `memory://`, with `max_size`, and `expires_in` and `max_age` in minutes."""
        allowed = {"max_size": int, "expires_in": float, "max_age": float}
        address, options = parse_url(url, allowed=allowed)
        if address:
            message = "A memory store has no address: write memory://, with ?max_size=… if wanted."
            raise ConfigurationError(message)
        return cls(**options)

    async def init(self) -> Self:
        """Nothing to open."""
        return self

    def take(self, session_id: str, lease: Lease) -> Record | None:
        """See `LeasedStore.checkout`."""
        self._leases.take(session_id, lease)
        records = self._records
        record = records.get(session_id)
        if record is not None:
            records.move_to_end(session_id)
        return record

    def put(self, record: Record, lease: Lease, *, keep: bool = False) -> None:
        """See `LeasedStore.commit`."""
        session_id, leases, records = record.id, self._leases, self._records
        stored = records.get(session_id)
        if (None if stored is None else stored.version) != lease.version:
            raise answers.lost(self.name, session_id)
        if keep:
            leases.check(session_id, lease)
            leases.renew([lease])
        else:
            leases.end(session_id, lease)
        records[session_id] = record
        if stored is None and len(records) > self.max_size:
            self._evict(session_id)

    def give_back(self, session_id: str, lease: Lease) -> None:
        """See `LeasedStore.release`."""
        self._leases.give_back(session_id, lease)

    async def renew(self, leases: Sequence[Lease]) -> list[Lease]:
        """See `LeasedStore.renew`."""
        return self._leases.renew(leases)

    async def destroy(self, session_id: str, lease: Lease | None) -> None:
        """See `LeasedStore.destroy`."""
        if lease is not None:
            self._leases.check(session_id, lease)
        self._leases.free(session_id)
        self._records.pop(session_id, None)

    async def all(self, prefix: str = "") -> AsyncIterator[Record]:
        """See `LeasedStore.all`."""
        for session_id in list(self._records):
            record = self._records.get(session_id)
            if record is not None and session_id.startswith(prefix):
                yield record

    async def due(self, before: int, limit: int) -> list[Record]:
        """See `LeasedStore.due`."""
        expired = (record for record in self._records.values() if record.expired(before))
        return [record for record, _ in zip(expired, range(limit), strict=False)]

    def __len__(self) -> int:
        return len(self._records)

    def __bool__(self) -> bool:
        return True  # an empty store is a store: `store or another` must not drop it

    def _may_go(self, record_id: str) -> bool:
        """Whether a record is in no turn, and no part of a history whose session is still there."""
        if record_id in self._leases:
            return False
        session_id = self._records[record_id].address if _is_part(record_id) else None
        return session_id is None or session_id not in self._records

    def _evict(self, newest: str) -> None:
        """Forget the least recently used session that no turn holds, and that is not the newest.

        Where all are held, the store is over its size until a later commit finds one that is not.
        """
        while len(self._records) > self.max_size:
            victim = self._least_recently_used(newest)
            if victim == newest:
                return
            del self._records[victim]
            if not _is_part(victim):
                self._count_eviction()

    def _least_recently_used(self, newest: str) -> str:
        """The first record that may go, or else the newest."""
        passed: list[str] = []
        victim = newest
        for record_id in self._records:
            if record_id == newest or self._may_go(record_id):
                victim = record_id
                break
            if _is_part(record_id):
                passed.append(record_id)
        for record_id in passed:  # so that nobody comes upon it again soon
            self._records.move_to_end(record_id)
        return victim

    def _count_eviction(self) -> None:
        self.evictions += 1
        if self.evictions == 1:
            logger.warning(
                "The memory store is full (%d sessions): it forgets the least recently used. "
                "Raise max_size, or use a store that keeps more.",
                self.max_size,
            )


def _is_part(record_id: str) -> bool:
    return parted(record_id)[0] == HISTORY
