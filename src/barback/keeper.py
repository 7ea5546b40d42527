"""LeaseKeeper: the one timer of a bot, which renews leases and ends handlers that run too long."""

from __future__ import annotations

import asyncio
import logging
from contextvars import Context
from typing import TYPE_CHECKING, Any, Final

from barback.errors import HandlerTimeout, LeaseLost, NotDone
from barback.stores.base import Lease

if TYPE_CHECKING:
    from collections.abc import Callable

    from barback.operations import Operations
    from barback.stores.base import LeasedStore

__all__ = ["Guarded", "LeaseKeeper"]

logger = logging.getLogger("barback")

RENEWALS_IN_A_TERM: Final = 3
INFINITY: Final = float("inf")
INSISTENCE = 1.0  # seconds between one cancellation and the next of a handler that ignores it


class Guarded:
    """Something that runs in a task under a lease, and can be interrupted for a reason."""

    session_id: str
    lease: Lease
    task: asyncio.Task[Any] | None = None
    deadline = INFINITY
    lost = False
    _interrupted: BaseException | None = None
    _cancelling = 0
    _cancels = 0

    def told(self) -> dict[str, object]:
        """Who it is, for what is logged of it."""
        return {"session_id": self.session_id}

    def begin(self, task: asyncio.Task[Any] | None, deadline: float) -> None:
        """It runs in `task` from now on; cancellations before this are not its own."""
        self.task = task
        self.deadline = deadline
        if task is not None:
            self._cancelling = task.cancelling()

    def renewal_due(self) -> float:
        """When its lease is to be renewed, by the event loop's clock."""
        return self.lease.renewed_at + self.lease.term / RENEWALS_IN_A_TERM

    def due(self) -> float:
        """When the keeper has to look at it next."""
        return min(self.renewal_due(), self.deadline)

    def interrupt(self, reason: BaseException) -> None:
        """Cancel the task; what comes of it will be `reason`. The first reason counts."""
        if self._interrupted is None and self.task is not None:
            self._interrupted = reason
            self._cancels = 1
            self.lost = isinstance(reason, LeaseLost)
            self.task.cancel()

    def insist(self, next_at: float) -> None:
        """Cancel once more what did not end, and look again at `next_at`."""
        if self.task is not None:
            self._cancels += 1
            self.deadline = next_at
            self.task.cancel()

    @property
    def cancelled(self) -> bool:
        """Whether anybody has cancelled the task since it began."""
        return self.task is not None and self.task.cancelling() > self._cancelling

    @property
    def interrupted(self) -> bool:
        """Whether a reason has been given."""
        return self._interrupted is not None

    def reason(self, error: BaseException | None) -> BaseException | None:
        """The reason it was interrupted for, if that is why it ended with `error`.

        None where it was not, or where somebody else cancelled the task as well: a cancellation
        from outside goes before. Takes back its own cancellation, as `asyncio.timeout` does.
        """
        reason, self._interrupted = self._interrupted, None
        if reason is None or self.task is None:
            return None
        left = self._cancelling
        for _ in range(self._cancels):
            left = self.task.uncancel()
        others = left > self._cancelling
        return None if others and isinstance(error, asyncio.CancelledError) else reason


class LeaseKeeper:
    """Looks after running handlers with a single timer, set for the first that is due."""

    def __init__(
        self,
        store: LeasedStore,
        operations: Operations,
        *,
        handler_timeout: float | None,
        lease_term: float,
    ) -> None:
        self._store = store
        self._operations = operations
        # No limit is one that never comes.
        self._handler_timeout = INFINITY if handler_timeout is None else handler_timeout
        # A timer that comes too soon finds nothing to do, and is set anew.
        self._soonest = min(lease_term / RENEWALS_IN_A_TERM, self._handler_timeout)
        self._watched: dict[Guarded, None] = {}
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._looks_at = INFINITY
        self._renewal: asyncio.Future[None] | None = None

    def watch(self, turn: Guarded, now: float) -> None:
        """From `now` on: renew its lease, and interrupt it when its time is over."""
        turn.begin(asyncio.current_task(self._loop), now + self._handler_timeout)
        self._watched[turn] = None
        soonest = turn.lease.renewed_at + self._soonest
        if soonest < self._looks_at:
            self._set_timer(soonest)

    def unwatch(self, turn: Guarded) -> None:
        """It has ended."""
        del self._watched[turn]

    def interrupt_all(self, reason: Callable[[], BaseException]) -> None:
        """Interrupt every running handler, each for a reason of its own."""
        for turn in list(self._watched):
            turn.interrupt(reason())

    def close(self) -> None:
        """Stop the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._looks_at = INFINITY

    def _set_timer(self, due: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._looks_at = due
        # In no turn's context: the timer would keep that turn, with its state, alive.
        self._timer = self._loop.call_at(due, self._look, context=Context())

    def _look(self) -> None:
        self._timer, self._looks_at = None, INFINITY
        now = self._loop.time()
        to_renew = []
        for turn in self._watched:
            if turn.interrupted:  # it goes on all the same, and no longer keeps its lease
                if turn.deadline <= now:
                    turn.insist(now + INSISTENCE)
                    logger.error(
                        "The handler of session %r ignores its end.",
                        turn.session_id,
                        extra=turn.told(),
                    )
            elif turn.deadline <= now:
                turn.interrupt(self._too_long(turn))
                turn.deadline = now + INSISTENCE
            elif turn.renewal_due() <= now:
                to_renew.append(turn)
        if to_renew and self._renewal is None:
            self._renewal = self._operations.start(self._renew(to_renew))
            self._renewal.add_done_callback(self._renewed)
        self._set_next_timer()

    def _renewed(self, _: asyncio.Future[None]) -> None:
        self._renewal = None
        self._set_next_timer()

    def _set_next_timer(self) -> None:
        """For the first that is due; while a renewal is on its way, only deadlines are."""
        dues = [
            turn.deadline if turn.interrupted or self._renewal is not None else turn.due()
            for turn in self._watched
        ]
        first = min(dues, default=INFINITY)
        if first < INFINITY:
            self._set_timer(first)

    async def _renew(self, turns: list[Guarded]) -> None:
        asked_at = self._loop.time()
        by_lease = {turn.lease: turn for turn in turns}
        for lease in by_lease:  # should it fail: again after a tenth of the term
            lease.renewed_at = asked_at - lease.term * (1 / RENEWALS_IN_A_TERM - 1 / 10)
        try:
            lost = await self._store.renew(list(by_lease))
        except NotDone as error:
            # Whether the lease was still good, the commit will tell.
            logger.warning("Leases could not be renewed, and will be tried again: %s", error)
            return
        for lease in by_lease:
            lease.renewed_at = asked_at
        for lease in lost:
            turn = by_lease[lease]
            if turn in self._watched and turn.lease is lease:
                turn.interrupt(self._lost(turn))

    def _too_long(self, turn: Guarded) -> HandlerTimeout:
        message = (
            f"The handler of session {turn.session_id!r} ran longer than {self._handler_timeout:g} "
            f"seconds and was cancelled. Set handler_timeout to allow it more."
        )
        return HandlerTimeout(message, session_id=turn.session_id)

    def _lost(self, turn: Guarded) -> LeaseLost:
        message = (
            f"Session {turn.session_id!r} passed to another turn, or was destroyed, while its "
            f"handler ran. Nothing was written."
        )
        return LeaseLost(message, session_id=turn.session_id, store=self._store.name)
