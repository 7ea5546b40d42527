"""Orphans: parts of histories that no session names any more, found and removed.

A chunk is written before the session that names it, and removed after the session that named it. So
whoever is killed in between leaves one behind; as does a session that its store removed by itself.
"""

from __future__ import annotations

import logging
import random
from collections import defaultdict
from contextlib import asynccontextmanager
from itertools import chain, repeat
from typing import TYPE_CHECKING, Final

from barback.errors import SessionBusy, SessionUnreadable
from barback.history import Log, chunk_ids
from barback.record import ASIDE, HISTORY, parted
from barback.rounds import rounds
from barback.stores.base import listing, new_lease

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence

    from barback.record import Record
    from barback.stores.base import LeasedStore

__all__ = ["kept_aside", "named", "remove_orphans", "removing_orphans"]

logger = logging.getLogger("barback")

FIRST: Final = 3600.0  # seconds after a bot's start, about
EVERY: Final = 24 * 3600.0  # and from then on, about
AGE: Final = 3600 * 1000  # milliseconds: younger ones may be about to be named
AT_ONCE: Final = 1000  # chunks that are looked into together, a session once for all of its own
TERM: Final = 30.0


@asynccontextmanager
async def removing_orphans(
    store: LeasedStore, clock: Callable[[], float], prefix: str
) -> AsyncIterator[None]:
    """While inside, look through a bot's histories about once a day.

    `prefix`: what stands before the bot's ids in the store. At the end, what is under way is let
    finish, so that it leaves no lease behind.
    """

    async def go(stop: asyncio.Event) -> None:
        removed = await remove_orphans(store, prefix, int(clock() * 1000) - AGE, stop)
        if removed:
            logger.info("Removed %d parts of histories that no session had.", removed)

    async with rounds(
        go,
        _pauses(),
        failed="Histories could not be looked through",
        unfinished="Histories were still being looked through when the bot closed.",
    ):
        yield


async def remove_orphans(
    store: LeasedStore, prefix: str, before: int, stop: asyncio.Event | None = None
) -> int:
    """Remove the chunks from before then (milliseconds) that no session names; how many.

    Each session is looked at under its lease: so no turn is about to name what it does not name
    then, and none will afterwards. One that is in a turn, or cannot be read, is left alone.
    """
    removed = found = 0
    batch: defaultdict[str, list[str]] = defaultdict(list)
    try:
        async with listing(store.all(f"{prefix}{HISTORY}:")) as records:
            async for record in records:
                if stop is not None and stop.is_set():
                    return removed
                if record.created_at < before and record.address is not None:
                    batch[record.address].append(record.id)
                    found += 1
                if found == AT_ONCE:
                    removed += await _remove(store, prefix, batch, stop)
                    batch.clear()
                    found = 0
    except SessionUnreadable:
        pass  # of the last: what cannot be read hides no other
    return removed + await _remove(store, prefix, batch, stop)


def named(record: Record | None) -> set[str]:
    """The ids of the chunks that a session's record names. Raises `SessionUnreadable`."""
    if record is None:
        return set()
    Log.of(record)
    return set(chunk_ids(record))


async def kept_aside(store: LeasedStore, prefix: str | None) -> dict[str, tuple[str, ...]]:
    """The numbers of the chunks that records name which were kept aside, each with its users.

    `prefix`: what stands before the ids of a bot; None: of every bot. Raises `SessionUnreadable` if
    one cannot be read: nobody knows what that names.
    """
    users: dict[str, tuple[str, ...]] = {}
    async with listing(store.all("" if prefix is None else f"{prefix}{ASIDE}:")) as records:
        async for record in records:
            if parted(record.id)[0] != ASIDE:
                continue
            users |= {f"{ref.key:x}": record.users for ref in Log.of(record).chunks}
    return users


async def _remove(
    store: LeasedStore, prefix: str, batch: Mapping[str, Sequence[str]], stop: asyncio.Event | None
) -> int:
    """Remove those of some chunks that no session names; by session; how many."""
    unnamed: list[str] = []
    for session_id, ids in batch.items():
        if stop is not None and stop.is_set():
            break
        unnamed += await _unnamed(store, session_id, ids)
    if not unnamed:
        return 0
    # Looked at after the sessions: one that was put aside meanwhile has its copy by then.
    aside = await kept_aside(store, prefix)
    orphans = [each for each in unnamed if parted(each)[1] not in aside]
    for orphan in orphans:
        await store.destroy(orphan, None)
    return len(orphans)


async def _unnamed(store: LeasedStore, session_id: str, ids: Sequence[str]) -> list[str]:
    """Those of a session's chunks that it does not name."""
    lease = new_lease(session_id, TERM)
    try:
        record = await store.checkout(session_id, lease)
    except (SessionBusy, SessionUnreadable):
        return []  # next time
    await store.release(session_id, lease)
    try:
        still = named(record)
    except SessionUnreadable:
        return []
    return [each for each in ids if each not in still]


def _pauses() -> Iterator[float]:
    """About: not all processes look at the same time."""
    for pause in chain([FIRST], repeat(EVERY)):
        yield pause * random.uniform(0.75, 1.25)  # noqa: S311
