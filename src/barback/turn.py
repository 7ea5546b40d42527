"""The turn: one event handled against one session. The only path from a handler to a store.

    queue     events of one session wait for each other; different sessions run side by side
    checkout  take the lease and read the record, in one trip; while it is busy, try again
    dedupe    an event the session has already seen ends here
    handle    middleware and handler, with a lease that is renewed and a time that is limited
    commit    state, version, times and the event's id, and the lease given back, in one trip
    settle    only now does the caller get its answer

A turn ends in one of four ways: committed; the handler failed (its state is thrown away); not
done (`NotDone` or a cancellation: nothing was committed); unknown (`CommitUnknown`).
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from contextlib import asynccontextmanager
from contextvars import ContextVar
from enum import StrEnum
from typing import TYPE_CHECKING

from barback.backoff import busy_pauses
from barback.commit import Commits
from barback.errors import (
    BotNotRunning,
    CommitUnknown,
    HandlerCancelled,
    LeaseLost,
    NotDone,
    SessionBusy,
    TurnDeadlock,
)
from barback.keeper import Guarded, LeaseKeeper
from barback.operations import Operations
from barback.queue import HandOver, TurnQueue
from barback.record import Record, new_version
from barback.rules import Rules
from barback.state import Draft, InitialState
from barback.stores.base import Lease, LeasedStore, milliseconds

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from barback.events import Event

__all__ = ["Outcome", "Turn", "Turns"]

logger = logging.getLogger("barback")


class Outcome(StrEnum):
    """How an event was settled; in each case the platform need not deliver it again."""

    COMMITTED = "committed"
    UNCHANGED = "unchanged"
    DUPLICATE = "duplicate"
    FAILED = "failed"


class Turn(Guarded):
    """One turn: what was read, what may be changed, and how far it has come."""

    __slots__ = (
        "address",
        "ancestors",
        "draft",
        "event",
        "event_id",
        "failed",
        "hand_overs",
        "now",
        "record",
        "state",
        "turns",
        "users",
    )

    draft: Draft
    record: Record | None
    now: int
    state: bytes | None

    def __init__(  # noqa: PLR0913 - it is made in one place
        self,
        turns: Turns,
        session_id: str,
        event: Event,
        *,
        event_id: str | None = None,
        user: str | None = None,
        address: str | None = None,
    ) -> None:
        super().__init__(session_id)
        self.turns = turns
        self.event = event
        self.event_id = event_id
        self.users = () if user is None else (user,)
        self.address = address
        self.hand_overs = 0
        self.failed = False
        self.ancestors: tuple[Turn, ...] = ()

    @property
    def kept(self) -> Record | None:
        """The session's record; None for a new session, be there no record or an expired one."""
        record = self.record
        return None if record is None or record.expired(self.now) else record

    def start_over(self, initial: InitialState) -> None:
        """A new draft of what was read; the one before, if any, is closed."""
        if hasattr(self, "draft"):
            self.draft.closed = True
        self.state = None
        kept = self.kept
        if kept is None:
            self.draft = Draft(None, initial, self.session_id, None)
        else:
            self.draft = Draft(kept.state, initial, self.session_id, kept.lifetime)


_inside: ContextVar[tuple[Turn, ...]] = ContextVar("barback_turns", default=())


class Turns:
    """Runs the turns of one bot against one store."""

    def __init__(
        self,
        store: LeasedStore,
        initial: InitialState,
        rules: Rules,
        clock: Callable[[], float],
    ) -> None:
        self.store = store
        self.initial = initial
        self.rules = rules
        self.queue = TurnQueue(rules.concurrency, self._return_unclaimed)
        self._stopped = False
        self._clock = clock
        self._operations = Operations(instant=store.instant, bound=rules.patience)
        self._keeper = LeaseKeeper(store, self._operations, rules.handler_timeout)
        self._handled: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._tokens: OrderedDict[str, str] = OrderedDict()
        self._awaited: dict[str, list[str]] = {}
        self.lifetime = milliseconds(store.expires_in)
        self._commits = Commits(store, self._operations, rules, self._now, self.lifetime)

    # The turn, top-down.

    async def run(
        self,
        turn: Turn,
        handle: Callable[[Turn], Awaitable[None]],
        rescue: Callable[[Turn, Exception], Awaitable[None]] | None = None,
    ) -> Outcome:
        """One whole turn. Raises `NotDone`, `CommitUnknown` or a cancellation; else it is settled.

        An exception of `handle` is given to `rescue`, with the state as it was before the turn.
        """
        await self.begin(turn)
        if self._seen(turn):  # and so nothing is written: a redelivery is no activity
            await self.abandon(turn)
            return Outcome.DUPLICATE
        outcome = Outcome.COMMITTED
        try:
            try:
                await self._work(turn, handle)
            except NotDone:
                raise
            except Exception as error:
                if (asked := _all_not_done(error)) is not None:
                    raise asked from error
                outcome = Outcome.FAILED
                turn.failed = True
                await self._rescue(turn, error, rescue)
        except BaseException as error:
            await self.abandon(turn, error)
            raise
        written = await self.commit(turn)
        if outcome is Outcome.COMMITTED and not written:
            self._remember(turn)
            return Outcome.UNCHANGED
        return outcome

    @asynccontextmanager
    async def hold(self, turn: Turn) -> AsyncIterator[None]:
        """One whole turn around the caller's own code, whose exceptions are the caller's too."""
        await self.begin(turn)
        error: BaseException | None = None
        self.enter(turn)
        try:
            yield
        except BaseException as raised:  # noqa: BLE001 - raised again, below
            error = raised
        error = self.exit(turn, error)
        if error is not None:
            await self.abandon(turn, error)
            raise error
        await self.commit(turn)

    async def begin(self, turn: Turn) -> None:
        """Queue and checkout: when it returns, the session is this turn's and has been read."""
        handed = None
        turn.ancestors = tuple(outer for outer in _inside.get() if not outer.draft.closed)
        self._refuse_when_stopped()
        # A turn inside another has no limit to wait for: the outer one would wait with it.
        if not self.queue.enter_now(turn.session_id, over_limit=bool(turn.ancestors)):
            handed = await self._wait_in_line(turn)
        if handed is not None:
            turn.lease, turn.record, turn.hand_overs = handed.lease, handed.record, handed.turns
        else:
            turn.lease = self._new_lease(turn.session_id)
            try:
                turn.record = await self._checkout(turn.lease)
            except BaseException:
                self.queue.leave(turn.session_id)
                raise
        try:
            self._refuse_when_stopped()
            turn.now = self._now()
            turn.start_over(self.initial)
        except BaseException:
            await self._give_back(turn)
            raise

    def enter(self, turn: Turn) -> None:
        """What handles the event starts, in the current task."""
        _inside.set((*turn.ancestors, turn))
        self._keeper.watch(turn)

    def exit(self, turn: Turn, error: BaseException | None) -> BaseException | None:
        """What handled the event has ended, with `error`; returns what it ended with in truth."""
        self._keeper.unwatch(turn)
        _inside.set(turn.ancestors)
        reason = turn.reason(error)
        if reason is not None:
            reason.__cause__ = error
            error = reason
        if error is None:
            try:
                turn.state = turn.draft.changed()
            except Exception as refused:  # noqa: BLE001 - returned, as what the handler came to
                error = refused
        turn.draft.closed = True
        return error

    async def commit(self, turn: Turn) -> bool:
        """Write what has changed, give the lease back or hand it on; whether it was written."""
        try:
            record = self._commits.record_of(turn)
            if record is not None:
                keep = self._may_hand_over(turn)
                keep = await self._commits.write(turn, record, keep=keep)
        except (LeaseLost, CommitUnknown):
            self.queue.leave(turn.session_id)
            raise
        except BaseException:
            await self._give_back(turn)
            raise
        if record is None:
            await self.abandon(turn)
            return False
        if not keep:
            self.queue.leave(turn.session_id)
            return True
        turn.record = record
        turn.lease.version = record.version
        turn.lease.renewed_at = asyncio.get_running_loop().time()
        await self.abandon(turn)  # which hands it on, unless who waited has gone meanwhile
        return True

    async def abandon(self, turn: Turn, error: BaseException | None = None) -> None:
        """Write nothing; give the lease back, or hand it on with the record as it was read."""
        turn.draft.closed = True
        turn.lost = turn.lost or isinstance(error, LeaseLost)
        if self._may_hand_over(turn):
            handed = HandOver(turn.lease, turn.record, turn.hand_overs + 1)
            self.queue.leave(turn.session_id, handed)
        else:
            await self._give_back(turn)

    async def close(self, patience: float) -> None:
        """Let turns end for `patience` seconds, then interrupt them: they are not done."""
        try:
            if not await self._drained(patience):
                self._stop()
                if not await self._drained(self.rules.patience):
                    left = len(self.queue)
                    logger.error("%d sessions were still in a turn when the bot closed.", left)
        finally:
            self._stop()
            self._keeper.close()
        await self._operations.close()

    async def _drained(self, seconds: float) -> bool:
        """Whether every turn has ended, within so many seconds."""
        try:
            await asyncio.wait_for(self.queue.drained(), seconds)
        except TimeoutError:
            return False
        return True

    def _stop(self) -> None:
        """No turn begins any more; who waits is turned away, who runs is interrupted."""
        self._stopped = self._commits.closing = True
        self.queue.turn_away(_shutting_down)
        self._keeper.interrupt_all(_shutting_down)

    def _refuse_when_stopped(self) -> None:
        if self._stopped:
            raise _shutting_down()

    # Its steps.

    async def _wait_in_line(self, turn: Turn) -> HandOver | None:
        """Wait behind others of this process, unless one of them waits for this turn."""
        holders = [outer.session_id for outer in turn.ancestors if outer.turns is self]
        if not holders:
            return await self.queue.enter(turn.session_id, over_limit=bool(turn.ancestors))
        if self._awaits(turn.session_id, set(holders)):
            message = (
                f"A turn of session {holders[-1]!r} asked for session {turn.session_id!r}, which "
                f"waits for that turn: neither would ever end. Use the context you have, or start "
                f"the conversation after the turn."
            )
            raise TurnDeadlock(message, session_id=turn.session_id)
        for holder in holders:
            self._awaited.setdefault(holder, []).append(turn.session_id)
        try:
            return await self.queue.enter(turn.session_id, over_limit=True)
        finally:
            for holder in holders:
                self._awaited[holder].remove(turn.session_id)
                if not self._awaited[holder]:
                    del self._awaited[holder]

    def _awaits(self, session_id: str, holders: set[str]) -> bool:
        """Whether a turn of `session_id` waits, at however many removes, for one of `holders`."""
        reached, frontier = set[str](), [session_id]
        while frontier:
            awaited = frontier.pop()
            if awaited in holders:
                return True
            if awaited not in reached:
                reached.add(awaited)
                frontier += self._awaited.get(awaited, ())
        return False

    def _new_lease(self, session_id: str) -> Lease:
        """A lease to be taken. A store that may have given one unseen knows it by its token."""
        token = self._tokens.pop(session_id, None) if self._tokens else None
        return Lease(
            session_id=session_id,
            token=f"{new_version():x}" if token is None else token,
            term=self.rules.lease_term,
        )

    def _keep_token(self, lease: Lease) -> None:
        """Nobody knows whether this lease still holds: let the session's next turn take the same.

        With one of its own it would have to wait for this one's end.
        """
        self._tokens[lease.session_id] = lease.token
        if len(self._tokens) > self.rules.handled_limit:
            self._tokens.popitem(last=False)

    async def _checkout(self, lease: Lease) -> Record | None:
        """Take the lease and read the record; wait, with a jittered back-off, while it is busy."""
        loop = asyncio.get_running_loop()
        give_up_at = None
        backoff = busy_pauses()
        while True:
            self._refuse_when_stopped()
            lease.renewed_at = asked_at = loop.time()
            try:
                record = await self._operations.obtain(
                    self.store.checkout(lease.session_id, lease),
                    undo=lambda: self.store.release(lease.session_id, lease),
                    unanswered=lambda: self._keep_token(lease),
                )
            except SessionBusy as busy:
                if give_up_at is None:
                    give_up_at = asked_at + self.rules.lease_wait
                if asked_at >= give_up_at:
                    message = (
                        f"Session {lease.session_id!r} was in another turn for the "
                        f"{self.rules.lease_wait:g} seconds this one may wait."
                    )
                    raise SessionBusy(
                        message, session_id=lease.session_id, store=self.store.name
                    ) from busy
                await asyncio.sleep(next(backoff))
            else:
                lease.version = None if record is None else record.version
                return record

    def _seen(self, turn: Turn) -> bool:
        """Whether the event has been handled before, as far as is remembered."""
        if turn.event_id is None:
            return False
        if turn.record is not None and turn.event_id in turn.record.seen:
            return True
        return (turn.session_id, turn.event_id) in self._handled

    def _remember(self, turn: Turn) -> None:
        """An event that changed nothing is remembered here only, and not for ever."""
        if turn.event_id is not None:
            self._handled[turn.session_id, turn.event_id] = None
            if len(self._handled) > self.rules.handled_limit:
                self._handled.popitem(last=False)

    async def _work(self, turn: Turn, handle: Callable[[Turn], Awaitable[None]]) -> None:
        self.enter(turn)
        error: BaseException | None = None
        try:
            await handle(turn)
        except BaseException as raised:  # noqa: BLE001 - raised again, below
            error = raised
        if isinstance(error, asyncio.CancelledError) and not turn.cancelled:
            error = _cancelled_itself(turn, error)
        error = self.exit(turn, error)
        if error is not None:
            raise error

    async def _rescue(
        self,
        turn: Turn,
        error: Exception,
        rescue: Callable[[Turn, Exception], Awaitable[None]] | None,
    ) -> None:
        """The handler failed: once more, with the state as it was, for `on_error` alone."""
        turn.start_over(self.initial)
        if rescue is None:
            turn.draft.closed = True
            logger.error(
                "The handler of session %r failed; its changes were thrown away.",
                turn.session_id,
                exc_info=error,
            )
            return
        try:
            await self._work(turn, lambda turn: rescue(turn, error))
        except NotDone:
            raise
        except Exception as second:  # a bug in on_error, whatever it is
            second.__context__ = error
            turn.start_over(self.initial)  # its expire_in is thrown away as well
            turn.draft.closed = True
            logger.exception(
                "on_error of session %r failed; its changes were thrown away.", turn.session_id
            )

    def _may_hand_over(self, turn: Turn) -> bool:
        """Whether the lease may go on to somebody of this process, rather than back."""
        return (
            not turn.lost
            and turn.hand_overs + 1 < self.rules.hand_overs
            and self.queue.waiting(turn.session_id)
        )

    def _return_unclaimed(self, handed: HandOver) -> None:
        lease = handed.lease
        self._operations.start(self.store.release(lease.session_id, lease))

    async def _give_back(self, turn: Turn) -> None:
        """The lease to the store, then the place in the queue to the next."""
        try:
            if not await self._commits.release(turn):
                self._keep_token(turn.lease)
        finally:
            self.queue.leave(turn.session_id)

    def inside(self) -> bool:
        """Whether the current task is in one of these turns."""
        return any(turn.turns is self and not turn.draft.closed for turn in _inside.get())

    def _now(self) -> int:
        return int(self._clock() * 1000)


def _all_not_done(error: Exception) -> NotDone | None:
    """The `NotDone` of a task group in which nothing else went wrong."""
    if not isinstance(error, ExceptionGroup) or error.split(NotDone)[1] is not None:
        return None
    leaf: BaseException = error
    while isinstance(leaf, BaseExceptionGroup):
        leaf = leaf.exceptions[0]
    return leaf if isinstance(leaf, NotDone) else None


def _shutting_down() -> BotNotRunning:
    message = "The bot is shutting down. Deliver the event again."
    return BotNotRunning(message)


def _cancelled_itself(turn: Turn, cancelled: asyncio.CancelledError) -> HandlerCancelled:
    message = (
        f"The handler of session {turn.session_id!r} awaited something that was cancelled, though "
        f"nobody cancelled the handler."
    )
    error = HandlerCancelled(message, session_id=turn.session_id)
    error.__cause__ = cancelled
    return error
