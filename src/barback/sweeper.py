"""Sweeping: records that expired long ago are removed from the stores that keep them."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from barback.errors import ListingUnsupported, NotDone
from barback.record import new_version
from barback.stores.base import Lease

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from barback.stores.base import LeasedStore

__all__ = ["GRACE", "sweep", "sweeping"]

logger = logging.getLogger("barback")

GRACE: Final = 24 * 3600 * 1000
"""Milliseconds for which an expired record is kept: it still knows the events it has seen."""

EVERY: Final = 3600.0
PAGE: Final = 100
TERM: Final = 30.0


@asynccontextmanager
async def sweeping(store: LeasedStore, clock: Callable[[], float]) -> AsyncIterator[None]:
    """While inside, sweep the store at once and then every hour."""
    task = asyncio.create_task(_sweep_on(store, clock))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def sweep(store: LeasedStore, now: int) -> int:
    """Remove the records that expired more than a day before `now` (milliseconds); how many.

    Each under its lease, and only if it is still expired then: a session that somebody has come
    back to, or is in a turn, is left alone.
    """
    removed = 0
    while True:
        due = await store.due(now - GRACE, PAGE)
        removed_now = 0
        for record in due:
            removed_now += await _remove(store, record.id, now - GRACE)
        removed += removed_now
        if len(due) < PAGE or removed_now == 0:
            return removed


async def _remove(store: LeasedStore, session_id: str, before: int) -> bool:
    lease = Lease(session_id=session_id, token=f"{new_version():x}", term=TERM)
    try:
        record = await store.checkout(session_id, lease)
    except NotDone:  # in a turn, and so not idle; or not to be had now, and so next time
        return False
    if record is None or not record.expired(before):
        await store.release(session_id, lease)
        return False
    lease.version = record.version
    await store.destroy(session_id, lease)
    return True


async def _sweep_on(store: LeasedStore, clock: Callable[[], float]) -> None:
    while True:
        try:
            removed = await sweep(store, int(clock() * 1000))
            if removed:
                logger.info("Swept %d sessions that had expired.", removed)
        except ListingUnsupported:
            return  # a driver of four methods looks after its own
        except NotDone as error:
            logger.warning("The %s store could not be swept: %s", store.name, error)
        await asyncio.sleep(EVERY)
