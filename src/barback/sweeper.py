"""Sweeping: records that expired long ago are removed from the stores that keep them."""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from barback.errors import NotDone
from barback.history import chunk_ids
from barback.rounds import rounds
from barback.stores.base import GRACE, new_lease

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator, Callable, Iterator

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

    async def go(stop: asyncio.Event) -> None:
        removed = await sweep(store, int(clock() * 1000), stop)
        if removed:
            logger.info("Swept %d sessions that had expired.", removed)

    async with rounds(
        go,
        _pauses(),
        failed=f"The {store.name} store could not be swept",
        unfinished=f"The {store.name} store was still being swept when the bot closed.",
    ):
        yield


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
    lease = new_lease(session_id, TERM)
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


def _pauses() -> Iterator[float]:
    yield 0.0
    while True:
        yield EVERY
