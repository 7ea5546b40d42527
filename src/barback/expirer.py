"""Expirer: sees to it that `on_expired` has each session that has expired, soon after."""

from __future__ import annotations

import asyncio
import logging
import random
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from barback.errors import (
    BarbackError,
    ListingUnsupported,
    NotDone,
    SessionBusy,
    SessionUnreadable,
)
from barback.events import Event
from barback.record import FORMAT_OVER
from barback.sweeper import remove
from barback.tending import is_own
from barback.turn import Turn, Turns

if TYPE_CHECKING:
    from collections.abc import Callable

    from barback.record import Record

__all__ = ["Expirer"]

logger = logging.getLogger("barback")

EVERY: Final = 1.0  # seconds from one look at the store to the next
SHARE: Final = 20  # and so many times as long as a look took: a store without an index takes long
PAGE: Final = 100
LARGEST_PAGE: Final = 10_000
AT_ONCE: Final = 16
AGAIN: Final = 60.0  # seconds until one that could not be read is tried again, and told of again


class Expirer:
    """Looks again and again for sessions that have expired, and runs a turn of each.

    The turn comes upon the expired record, as an event's would, and lets `on_expired` have it.
    Several processes may do so at once: the lease lets one of them, and the others find it done.
    """

    def __init__(self, turns: Turns, clock: Callable[[], float], prefix: str) -> None:
        self._turns = turns
        self._clock = clock
        self._prefix = prefix
        self._stopped = asyncio.Event()
        self._places = asyncio.Semaphore(AT_ONCE)
        self._unreadable: dict[str, float] = {}  # until when, by the loop's time
        self._task = asyncio.create_task(self._look_on())

    def stop(self) -> None:
        """Begin no more turns."""
        self._stopped.set()

    async def close(self) -> None:
        """Stop, and wait for what runs: turns, which end in their own time."""
        self.stop()
        await asyncio.wait([self._task])

    async def _look_on(self) -> None:
        loop, page = asyncio.get_running_loop(), PAGE
        while not self._stopped.is_set():
            began, done, found = loop.time(), 0, 0
            try:
                due = await self._turns.store.due(int(self._clock() * 1000), page)
                found = len(due)
                done = await self._end_all(due)
            except ListingUnsupported:
                logger.warning(
                    "The %s store cannot list its sessions: on_expired runs for one only when an "
                    "event comes upon it.",
                    self._turns.store.name,
                )
                return
            except BarbackError as error:
                logger.warning("Sessions that have expired could not be looked for: %s", error)
            except Exception:  # a driver's own: it is looked for all the same
                logger.exception("Sessions that have expired could not be looked for.")
            if found == page and done:
                continue
            # Where all that was found is others', or cannot be done now, there may be more behind.
            page = min(page * 2, LARGEST_PAGE) if found == page else PAGE
            with suppress(TimeoutError):
                pause = max(EVERY, SHARE * (loop.time() - began))
                await asyncio.wait_for(self._stopped.wait(), pause)

    async def _end_all(self, due: list[Record]) -> int:
        """Run a turn of each that is this bot's; how many are done with."""
        now = asyncio.get_running_loop().time()
        self._unreadable = {each: at for each, at in self._unreadable.items() if at > now}
        own = [
            record
            for record in due
            if is_own(record.id, self._prefix) and record.id not in self._unreadable
        ]
        random.shuffle(own)  # other processes look at the same
        return sum(await asyncio.gather(*map(self._end, own)))

    async def _end(self, record: Record) -> bool:
        async with self._places:
            if self._stopped.is_set():
                return False
            try:
                if record.format == FORMAT_OVER:
                    now = int(self._clock() * 1000)
                    return await remove(self._turns.store, record.id, now)
                channel = record.id.removeprefix(self._prefix).partition(":")[0]
                turn = Turn(self._turns, record.id, Event(channel=channel, kind="expired"))
                turn.impatient, turn.origin = True, "expired"
                await self._turns.run(turn, _nothing)
            except SessionBusy:
                return False  # somebody is about it
            except (NotDone, BarbackError) as error:
                if isinstance(error, SessionUnreadable):  # of newer code, say: that may stay so
                    loop = asyncio.get_running_loop()
                    self._unreadable[record.id] = loop.time() + AGAIN
                logger.warning("on_expired of session %r is put off: %s", record.id, error)
                return False
            except Exception:
                logger.exception("on_expired of session %r is put off.", record.id)
                return False
            return True


async def _nothing(turn: Turn) -> None:
    """What else a turn does that only has to come upon its session."""
