"""Sweeping: records that expired long ago are removed from the stores that keep them."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final

from barback.errors import BarbackError, ListingUnsupported, NotDone
from barback.history import chunk_ids
from barback.record import new_version
from barback.stores.base import GRACE, Lease

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from barback.stores.base import LeasedStore

__all__ = ["remove", "sweep", "sweeping"]

logger = logging.getLogger("barback")

EVERY: Final = 3600.0
PAGE: Final = 100
TERM: Final = 30.0


@asynccontextmanager
async def sweeping(store: LeasedStore, clock: Callable[[], float]) -> AsyncIterator[None]:
    """While inside, sweep the store at once and then every hour.

    A store that sweeps itself is left alone. At the end it is let finish what it is about, so that
    it leaves no lease behind.
    """
    if store.sweeps_itself:
        yield
        return
    stop = asyncio.Event()
    task = asyncio.create_task(_sweep_on(store, clock, stop))
    try:
        yield
    finally:
        stop.set()
        if not (await asyncio.wait([task], timeout=TERM))[0]:
            task.cancel()
            logger.error("The %s store was still being swept when the bot closed.", store.name)


async def sweep(store: LeasedStore, now: int, stop: asyncio.Event | None = None) -> int:
    """Remove the records that expired more than a day before `now` (milliseconds); how many.

    Each under its lease, and only if it is still expired then: a session that somebody has come
    back to, or is in a turn, is left alone.
    """
    removed = 0
    while True:
        due = await store.due(now - GRACE, PAGE)
        removed_now = 0
        for record in due:
            if stop is not None and stop.is_set():
                return removed + removed_now
            removed_now += await remove(store, record.id, now - GRACE)
        removed += removed_now
        if len(due) < PAGE or removed_now == 0:
            return removed


async def remove(store: LeasedStore, session_id: str, before: int) -> bool:
    """Remove a record that expired before then, and its history, unless somebody came back."""
    lease = Lease(session_id=session_id, token=f"{new_version():x}", term=TERM)
    try:
        record = await store.checkout(session_id, lease)
    except NotDone:  # in a turn, and so not idle; or not to be had now, and so next time
        return False
    try:
        if record is None or not record.expired(before):
            return False
        lease.version = record.version
        await store.destroy(session_id, lease)
        for chunk_id in chunk_ids(record):
            await store.destroy(chunk_id, None)
        return True
    finally:
        await store.release(session_id, lease)


async def _sweep_on(store: LeasedStore, clock: Callable[[], float], stop: asyncio.Event) -> None:
    while not stop.is_set():
        try:
            removed = await sweep(store, int(clock() * 1000), stop)
            if removed:
                logger.info("Swept %d sessions that had expired.", removed)
        except ListingUnsupported:
            return  # a driver of four methods looks after its own
        except BarbackError as error:
            logger.warning("The %s store could not be swept: %s", store.name, error)
        except Exception:  # a driver's own: sweeping goes on all the same
            logger.exception("The %s store could not be swept.", store.name)
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), EVERY)
