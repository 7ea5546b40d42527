"""TurnQueue: who of this process may run now, and who waits for whom."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any

import msgspec

from barback.errors import BotOverloaded

if TYPE_CHECKING:
    from collections.abc import Callable

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

    def __init__(
        self,
        limit: int,
        on_unclaimed: Callable[[HandOver], None],
        *,
        most_waiting: int,
        most_for_one: int,
    ) -> None:
        self._limit = limit
        self._most_waiting = most_waiting
        self._most_for_one = most_for_one
        self._waiting = 0
        self._on_unclaimed = on_unclaimed  # a hand-over whose taker was cancelled as it was called
        self._running = 0
        self._lines: dict[str, deque[asyncio.Future[HandOver | None]] | None] = {}
        self._slots: dict[str, asyncio.Future[None]] = {}
        self._urgent: dict[str, int] = {}  # how many in a session's line may not wait for a slot
        self._idle: asyncio.Future[None] | None = None

    def enter_now(self, session_id: str, over_limit: bool = False) -> bool:  # noqa: FBT001, FBT002 - quicker
        """Enter without waiting, if nobody is in the way."""
        lines, running = self._lines, self._running
        if session_id in lines or (running >= self._limit and not over_limit):
            return False
        lines[session_id] = None
        self._running = running + 1
        return True

    async def enter(self, session_id: str, *, over_limit: bool = False) -> HandOver | None:
        """Wait for the session's turn to come; what the turn before handed over, if anything.

        `over_limit`: it does not count against the limit, and nor do those it stands behind.
        Raises `BotOverloaded` where too many wait already; one over the limit may come all the
        same, since its own turn keeps others waiting.
        """
        if not over_limit:
            self._refuse_when_full(session_id)
        self._waiting += 1
        try:
            return await self._enter(session_id, over_limit=over_limit)
        finally:
            self._waiting -= 1

    async def _enter(self, session_id: str, *, over_limit: bool) -> HandOver | None:
        if session_id not in self._lines:
            self._lines[session_id] = None
        else:
            if over_limit:
                self._hurry(session_id)
            try:
                handed = await self._stand_in_line(session_id)
            finally:
                if over_limit:
                    self._hurried(session_id)
            if handed is not None:
                return handed  # and its slot with it
        try:
            await self._take_slot(session_id, over_limit=over_limit)
        except BaseException:
            self._call_next(session_id, None)
            raise
        return None

    def leave(self, session_id: str, handed: HandOver | None = None) -> None:
        """Let the next one in. A hand-over keeps the slot, and needs somebody `waiting`."""
        lines = self._lines
        if lines[session_id] is None and self._idle is None and not self._slots:
            del lines[session_id]  # nobody has waited for it, or for its slot
            self._running -= 1
            return
        taken = self._call_next(session_id, handed)
        if handed is None or not taken:
            self._free_slot()

    def waiting(self, session_id: str) -> bool:
        """Whether somebody of this process waits for the session."""
        line = self._lines[session_id]
        return line is not None and any(not place.done() for place in line)

    async def drained(self) -> None:
        """Wait until nobody runs or waits."""
        while self._lines:
            if self._idle is None or self._idle.done():
                self._idle = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._idle)

    def turn_away(self, refuse: Callable[[], BaseException]) -> None:
        """Answer each who waits with an error; who runs, runs on."""
        waiting: list[asyncio.Future[Any]] = list(self._slots.values())
        for line in self._lines.values():
            waiting += line or ()
        for future in waiting:
            if not future.done():
                future.set_exception(refuse())

    def __len__(self) -> int:
        return len(self._lines)

    def _refuse_when_full(self, session_id: str) -> None:
        line = self._lines.get(session_id)
        if line is not None and len(line) >= self._most_for_one:
            message = (
                f"{len(line)} events wait for session {session_id!r} already. Deliver this one "
                f"again later, or let more wait with max_waiting_for_one."
            )
        elif self._waiting >= self._most_waiting:
            message = (
                f"{self._waiting} events wait already. Deliver the one of session {session_id!r} "
                f"again later, or let more wait with max_waiting."
            )
        else:
            return
        raise BotOverloaded(message, session_id=session_id)

    async def _stand_in_line(self, session_id: str) -> HandOver | None:
        line = self._lines[session_id]
        if line is None:
            line = self._lines[session_id] = deque()
        place: asyncio.Future[HandOver | None] = asyncio.get_running_loop().create_future()
        line.append(place)
        try:
            return await place
        except BaseException:
            if _called(place):  # in the same moment: what it was given goes to the next
                handed = place.result()
                if not self._call_next(session_id, handed) and handed is not None:
                    self._free_slot()
                    self._on_unclaimed(handed)
            elif place in line:
                line.remove(place)
            raise

    def _call_next(self, session_id: str, handed: HandOver | None) -> bool:
        """Call the next one in the session's line; whether there was one."""
        line = self._lines[session_id]
        while line:
            place = line.popleft()
            if not place.done():
                place.set_result(handed)
                return True
        del self._lines[session_id]
        if not self._lines and self._idle is not None and not self._idle.done():
            self._idle.set_result(None)
        return False

    async def _take_slot(self, session_id: str, *, over_limit: bool) -> None:
        if over_limit or session_id in self._urgent or self._running < self._limit:
            self._running += 1
            return
        slot: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._slots[session_id] = slot
        try:
            await slot
        except BaseException:
            if _called(slot):
                self._free_slot()
            raise
        finally:
            self._slots.pop(session_id, None)

    def _free_slot(self) -> None:
        self._running -= 1
        if self._running < self._limit:
            slot = next((slot for slot in self._slots.values() if not slot.done()), None)
            if slot is not None:
                self._running += 1
                slot.set_result(None)

    def _hurry(self, session_id: str) -> None:
        """One who must not wait for a slot comes to stand behind others: nor must they."""
        self._urgent[session_id] = self._urgent.get(session_id, 0) + 1
        slot = self._slots.get(session_id)
        if slot is not None and not slot.done():
            self._running += 1
            slot.set_result(None)

    def _hurried(self, session_id: str) -> None:
        self._urgent[session_id] -= 1
        if not self._urgent[session_id]:
            del self._urgent[session_id]


def _called(future: asyncio.Future[Any]) -> bool:
    return future.done() and not future.cancelled() and future.exception() is None
