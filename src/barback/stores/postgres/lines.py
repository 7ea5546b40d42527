"""Lines: the connections of a store, what waits for one, and what goes over which.

What is asked for in one step of the event loop leaves at the end of it, if a connection is free;
else it waits, and goes with all that has met meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from contextvars import Context
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from barback.extras import needs_extra
from barback.stores.forks import tell_when_forked
from barback.stores.postgres.pipeline import Lost, Outcome, Refused
from barback.stores.postgres.requests import Joint
from barback.stores.postgres.server import PAUSE

with needs_extra("postgres"):
    import psycopg
    from psycopg_pool import PoolTimeout

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable, Sequence

    from barback.stores.postgres.line import Line
    from barback.stores.postgres.pipeline import Statement
    from barback.stores.postgres.requests import Request
    from barback.stores.postgres.server import Server

__all__ = ["Lines"]

logger = logging.getLogger("barback")

TOGETHER: Final = 64  # requests in a statement
BYTES: Final = 1_000_000  # which a statement carries, or little more
ALONE: Final = 16  # statements in a trip: each waits for the disk by itself, one after another
TRY_FOR: Final = 0.5  # seconds after which a server that takes no connection is unavailable
REST: Final = 1.0  # seconds until another is tried for, as long as there are others


_GONE: Final = object()


class Load(NamedTuple):
    """A statement, and the requests that it is to answer."""

    statement: Statement
    requests: Sequence[Request]


class Trip(NamedTuple):
    """What is under way on a line, and when the last of it must have been answered."""

    loads: Sequence[Load]
    deadline: float

    @property
    def requests(self) -> list[Request]:
        """All that it carries."""
        return [request for load in self.loads for request in load.requests]


class Lines:
    """Carries requests over as many connections as a server may be asked over at once.

    `lines` are those that are open. One that is lost is opened again when something waits for it,
    and a given pool's are borrowed only as long as something does.
    """

    def __init__(self, server: Server, lines: Iterable[Line]) -> None:
        self.loop = asyncio.get_running_loop()
        self.inherited = False
        """Whether they are those of a process that has forked this one."""
        tell_when_forked(self)
        self._server = server
        self._trips: dict[Line, Trip | None] = dict.fromkeys(lines)
        self._waiting: dict[str, deque[Request]] = {}  # none of them is empty
        self._departing = False
        self._opening: asyncio.Task[None] | None = None
        self._open_at = 0.0
        self._leaving: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = inf
        self._change: asyncio.Future[None] | None = None
        self._closing = False
        self._told = False  # that there are less than there may be

    def ask(self, request: Request) -> None:
        """Have it answered in time; that is its own, if it has one already."""
        if not request.deadline:
            request.deadline = self.loop.time() + self._server.timeout
        self._put(request.kind, request)
        if request.deadline < self._timer_at:
            self._look_at(request.deadline)

    async def close(self) -> None:
        """Wait until everything that was asked for has been answered, and let go of all lines."""
        self._closing = True
        try:
            while self._waiting or any(self._trips.values()):
                self._change = self.loop.create_future()
                await self._change
        finally:
            # Whoever is still under way, should this be cancelled, lets go of itself.
            for line in [line for line, trip in self._trips.items() if trip is None]:
                self._let_go(line)
            if not self._waiting:
                self._stop_opening()
            if not self._waiting and not self._trips and self._timer is not None:
                self._timer.cancel()
        while self._leaving:
            await asyncio.wait(list(self._leaving))

    @property
    def _keeps(self) -> bool:
        """Whether lines on which nothing is under way stay open."""
        return not (self._closing or self._server.pooled)

    @property
    def here(self) -> bool:
        """Whether they are the running event loop's, and not those of a parent that forked."""
        return not self.inherited and self.loop is asyncio.get_running_loop()

    def forked(self) -> None:
        """In a child: take no more requests. The loop may be the parent's as well."""
        self.inherited = True

    def abandon(self) -> None:
        """Leave them to their event loop; if it has ended, they do.

        In a forked child they are the parent's, and nothing may be said on them, not even good-bye.
        """
        if self.loop.is_closed() and not self.inherited:
            for line in self._trips:
                line.leave().pgconn.finish()

    # Departures.

    def _put(self, kind: str, request: Request) -> None:
        queue = self._waiting.get(kind)
        if queue is None:
            queue = self._waiting[kind] = deque()
        queue.append(request)
        self._depart_soon()

    def _depart_soon(self) -> None:
        if not self._departing:
            self._departing = True
            self.loop.call_soon(self._depart)

    def _depart(self) -> None:
        """Have every line that is free carry something."""
        self._departing = False
        for line in [line for line, trip in self._trips.items() if trip is None]:
            if not self._waiting:
                return
            if line.usable:
                self._carry(line)
            else:
                self._let_go(line)
        if self._waiting and self._opening is None and len(self._trips) < self._server.size:
            self._open_more()

    def _carry(self, line: Line) -> None:
        if (now := self.loop.time()) >= self._timer_at:  # the event loop stood still
            self._drop_overdue(now)
        if not self._waiting:
            return
        if not (loads := self._next_loads()):
            self._depart_soon()
            return
        deadline = max(request.deadline for load in loads for request in load.requests)
        self._trips[line] = Trip(loads, deadline)
        line.send(
            [load.statement for load in loads],
            partial(self._heard, loads),
            partial(self._arrived, line),
        )

    def _next_loads(self) -> list[Load]:
        """Those of the kind of which one has waited longest."""
        kind, queue = min(self._waiting.items(), key=_first_deadline)
        if isinstance(queue[0], Joint) and queue[0].kind == kind:
            groups: list[Sequence[Request]] = [_taken_together(queue)]
        else:
            groups = [[queue.popleft()] for _ in range(min(len(queue), ALONE))]
        if not queue:
            del self._waiting[kind]
        return [load for group in groups if (load := self._load_of(group)) is not None]

    def _load_of(self, requests: Sequence[Request]) -> Load | None:
        """One statement for all of them. A value that cannot be sent fails alone."""
        try:
            if len(requests) == 1:
                return Load(requests[0].statement(), requests)
            joint = [request for request in requests if isinstance(request, Joint)]
            return Load(type(joint[0]).together(joint[0].asking, joint), requests)
        except Exception as error:  # noqa: BLE001 - it is the answer
            if len(requests) == 1:
                requests[0].fail(error)
            else:
                self._again(requests)
            return None

    # Answers.

    def _heard(self, loads: Sequence[Load], number: int, outcome: Outcome) -> None:
        requests = loads[number].requests
        try:
            self._answer(requests, outcome)
        except Exception as error:  # noqa: BLE001 - it is the answer of those that have none
            for request in requests:
                request.fail(error)

    def _answer(self, requests: Sequence[Request], outcome: Outcome) -> None:
        if isinstance(outcome, (Refused, Lost)):
            if len(requests) > 1 and isinstance(outcome, Refused) and outcome.rolled_back:
                self._again(requests)  # it may be only one of them that cannot be done
                return
            for request in requests:
                request.failed(outcome)
        elif len(requests) == 1:
            requests[0].heard(outcome)
        else:
            joint = [request for request in requests if isinstance(request, Joint)]
            self._again(type(joint[0]).heard_together(joint, outcome))

    def _again(self, requests: Iterable[Request]) -> None:
        """Ask for each by itself, unless it was answered meanwhile that its time is over."""
        now = self.loop.time()
        for request in requests:
            if request.deadline > now:
                self._put("again", request)
            else:
                request.failed(Refused(TimeoutError()))

    def _arrived(self, line: Line) -> None:
        """The line is free, or closed."""
        self._trips[line] = None
        if self._waiting and line.open:
            self._carry(line)
        self._settle(line)
        if self._waiting:  # for another line, perhaps one that has to be opened
            self._depart_soon()
        self._changed()

    def _settle(self, line: Line) -> None:
        """A line that nothing goes over is kept, if it may be."""
        if self._trips.get(line, _GONE) is None and not (line.open and self._keeps):
            self._let_go(line)

    def _changed(self) -> None:
        if self._change is not None and not self._change.done():
            self._change.set_result(None)

    # Coming and going.

    def _open_more(self) -> None:
        if not self._trips or self.loop.time() >= self._open_at:
            self._opening = self._start(self._open())

    async def _open(self) -> None:
        """Open lines as long as something waits for one, and none is too many."""
        give_up_at = self.loop.time() + (0 if self._server.pooled else TRY_FOR)
        try:
            while self._waiting and len(self._trips) < self._server.size:
                try:
                    line = await self._server.line()
                except PoolTimeout:
                    continue  # whoever waits has a time of his own
                except psycopg.Error as error:
                    if self._trips or self.loop.time() >= give_up_at:
                        self._gave_up(error)
                        break
                    await asyncio.sleep(PAUSE)
                else:
                    self._told = False
                    self._trips[line] = None
                    self._depart()
                    self._settle(line)  # whoever waited may not do so any more
        except asyncio.CancelledError:  # the event loop is ending, or there is nothing to wait for
            for request in self._taken_all():
                request.give_up()
            raise
        except Exception as error:  # noqa: BLE001 - it is the answer of those that wait
            self._gave_up(error)
        finally:
            self._opening = None

    def _gave_up(self, error: Exception) -> None:
        """There is no other line to be had: whoever waits for one is told so, if there is none."""
        self._open_at = self.loop.time() + REST
        if self._trips:
            if not self._told:
                logger.warning(
                    "No more than %d of %d connections to %s can be had: %s",
                    *(len(self._trips), self._server.size, self._server.address),
                    type(error).__name__,
                )
            self._told = True
        else:
            for request in self._taken_all():
                request.unsent(f"had no connection to {self._server.address} in time", error)

    def _taken_all(self) -> list[Request]:
        waiting, self._waiting = self._waiting, {}
        self._changed()
        return [request for queue in waiting.values() for request in queue]

    def _stop_opening(self) -> None:
        if self._opening is not None:
            self._opening.cancel()
            self._leaving.add(self._opening)
            self._opening.add_done_callback(self._leaving.discard)

    def _let_go(self, line: Line) -> None:
        del self._trips[line]
        going = self._start(self._server.let_go(line))
        self._leaving.add(going)
        going.add_done_callback(self._leaving.discard)

    def _start(self, coming_or_going: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self.loop.create_task(coming_or_going, context=Context())
        # An event loop that is ending cancels its tasks only once: who asks later than that is left
        # behind, as all tasks of his are, and this one is no failure to tell of.
        task._log_destroy_pending = False  # type: ignore[attr-defined]  # noqa: SLF001
        return task

    # Deadlines: one timer, for the first of them.

    def _look_at(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = when
        self._timer = self.loop.call_at(when, self._look, context=Context())

    def _look(self) -> None:
        """Answer what is overdue, and set the timer for what is not.

        What came while the event loop stood still is read first: nothing fails that was answered.
        """
        self._timer, self._timer_at = None, inf
        for line in [line for line, trip in self._trips.items() if trip is not None]:
            line.look()
        now = self.loop.time()
        self._drop_overdue(now)
        for line, trip in [(line, trip) for line, trip in self._trips.items() if trip is not None]:
            for request in trip.requests:
                if request.deadline <= now:
                    request.failed(Lost(TimeoutError()))
            if trip.deadline <= now:
                line.cut(TimeoutError())
        soonest = min(self._deadlines_after(now), default=inf)
        if soonest < inf:
            self._look_at(soonest)

    def _drop_overdue(self, now: float) -> None:
        """What has waited for too long is not sent any more."""
        what = f"had no connection free for {self._server.timeout:g} seconds"
        for kind, queue in list(self._waiting.items()):
            for request in queue:
                if request.deadline <= now:
                    request.unsent(what)
            left = deque(request for request in queue if request.deadline > now)
            if left:
                self._waiting[kind] = left
            else:
                del self._waiting[kind]
        self._changed()

    def _deadlines_after(self, now: float) -> list[float]:
        waiting = [request for queue in self._waiting.values() for request in queue]
        under_way = [request for trip in self._trips.values() if trip for request in trip.requests]
        return [each.deadline for each in waiting + under_way if each.deadline > now]


def _first_deadline(item: tuple[Any, deque[Request]]) -> float:
    return item[1][0].deadline


def _taken_together(queue: deque[Request]) -> list[Joint]:
    """The first of a kind, each of another session, as many as go in one statement."""
    taken: dict[bytes, Joint] = {}
    later: list[Request] = []
    size = 0
    while queue and len(taken) < TOGETHER and size < BYTES:
        request = queue.popleft()
        assert isinstance(request, Joint)  # noqa: S101 - as all of its kind are
        if request.id in taken:
            later.append(request)
        else:
            taken[request.id] = request
            size += request.size
    queue.extendleft(reversed(later))
    return list(taken.values())
