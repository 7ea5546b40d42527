"""TurnQueue: who of this process may run now, and who waits for whom."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from barback.record import Record
    from barback.stores.base import Lease

__all__ = ["HandOver", "TurnQueue"]


class HandOver(msgspec.Struct, frozen=True):
    """What one turn leaves to the next of its session: the lease it still holds, and the record.

    `turns` counts how many turns have run under this lease.
    """

    lease: Lease
    record: Record | None
    turns: int


class TurnQueue:
    """First in, first out within a session; sessions side by side, up to `limit` at once.

    An uncontended turn costs one entry in a dict. A session's line exists while somebody waits in
    it, and nothing is left of a session when its last turn has gone.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._running = 0
        self._lines: dict[str, deque[asyncio.Future[HandOver | None]] | None] = {}
        self._slots: deque[asyncio.Future[None]] = deque()
        self._idle: asyncio.Future[None] | None = None

    def enter_now(self, session_id: str, *, over_limit: bool = False) -> bool:
        """Enter without waiting, if nobody is in the way."""
        if session_id in self._lines or (self._running >= self._limit and not over_limit):
            return False
        self._lines[session_id] = None
        self._running += 1
        return True

    async def enter(self, session_id: str, *, over_limit: bool = False) -> HandOver | None:
        """Wait for the session's turn to come; what the turn before handed over, if anything."""
        if session_id not in self._lines:
            self._lines[session_id] = None
        else:
            handed = await self._stand_in_line(session_id)
            if handed is not None:
                return handed  # and its slot with it
        try:
            await self._take_slot(over_limit=over_limit)
        except BaseException:
            self._call_next(session_id, None)
            raise
        return None

    def leave(self, session_id: str, handed: HandOver | None = None) -> None:
        """Let the next one in. A hand-over keeps the slot; without one, it goes to who waits."""
        if handed is None:
            self._free_slot()
        self._call_next(session_id, handed)

    def waiting(self, session_id: str) -> bool:
        """Whether somebody of this process waits for the session."""
        return bool(self._lines.get(session_id))

    def occupied(self, session_id: str) -> bool:
        """Whether somebody of this process is in a turn of the session."""
        return session_id in self._lines

    async def drained(self) -> None:
        """Wait until nobody runs or waits."""
        while self._lines:
            if self._idle is None or self._idle.done():
                self._idle = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._idle)

    def turn_away(self, error: BaseException) -> None:
        """Answer all who wait with `error`; who runs, runs on."""
        for session_id, line in list(self._lines.items()):
            if line:
                self._lines[session_id] = None
                _fail(line, error)
        slots, self._slots = self._slots, deque()
        _fail(slots, error)

    def __len__(self) -> int:
        return len(self._lines)

    async def _stand_in_line(self, session_id: str) -> HandOver | None:
        line = self._lines[session_id]
        if line is None:
            line = self._lines[session_id] = deque()
        place: asyncio.Future[HandOver | None] = asyncio.get_running_loop().create_future()
        line.append(place)
        try:
            return await place
        except asyncio.CancelledError:
            if _called(place):  # in the same moment: what it was given goes to the next
                handed = place.result()
                self._call_next(session_id, handed)
            elif place in line:
                line.remove(place)
            raise

    def _call_next(self, session_id: str, handed: HandOver | None) -> None:
        line = self._lines[session_id]
        while line:
            place = line.popleft()
            if not place.done():
                place.set_result(handed)
                return
        del self._lines[session_id]
        if not self._lines and self._idle is not None and not self._idle.done():
            self._idle.set_result(None)

    async def _take_slot(self, *, over_limit: bool) -> None:
        if over_limit or self._running < self._limit:
            self._running += 1
            return
        slot: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._slots.append(slot)
        try:
            await slot
        except asyncio.CancelledError:
            if _called(slot):
                self._free_slot()
            elif slot in self._slots:
                self._slots.remove(slot)
            raise

    def _free_slot(self) -> None:
        while self._slots and self._running <= self._limit:
            slot = self._slots.popleft()
            if not slot.done():
                slot.set_result(None)
                return
        self._running -= 1


def _called(future: asyncio.Future[Any]) -> bool:
    return future.done() and not future.cancelled() and future.exception() is None


def _fail(waiting: deque[asyncio.Future[Any]], error: BaseException) -> None:
    for future in waiting:
        if not future.done():
            future.set_exception(error)
