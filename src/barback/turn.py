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
from typing import TYPE_CHECKING, Literal

from barback.checkout import Checkouts
from barback.chunks import Chunks
from barback.commit import Commits, SealingCommits, not_given_back
from barback.errors import (
    BarbackError,
    BotNotRunning,
    CommitUnknown,
    HandlerCancelled,
    LeaseLost,
    NotDone,
    SessionBusy,
    SessionUnreadable,
    StateTooLarge,
)
from barback.events import Event
from barback.history import chunk_ids
from barback.keeper import Guarded, LeaseKeeper
from barback.operations import Operations, asked_of
from barback.parking import Parking
from barback.queue import HandOver, TurnQueue
from barback.reading import Reading
from barback.record import Record, without_namespace
from barback.rules import Rules
from barback.state import Draft
from barback.states import States
from barback.steps import Steps
from barback.stores.base import InstantStore, LeasedStore, milliseconds
from barback.waits import Waits

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from barback.history import History, Log
    from barback.observing import TurnSeen

__all__ = ["Origin", "Outcome", "Turn", "Turns", "innermost"]

logger = logging.getLogger("barback")


class Outcome(StrEnum):
    """How an event was settled; in each case the platform need not deliver it again."""

    COMMITTED = "committed"
    UNCHANGED = "unchanged"
    DUPLICATE = "duplicate"
    FAILED = "failed"


Origin = Literal["event", "conversation", "broadcast", "expired", "upkeep"]
"""What a turn is for: something a person did, or something of the bot's own."""


class Turn(Guarded):
    """One turn: what was read, what may be changed, and how far it has come.

    - `user`, `address`: whose event it is, and where replies go, to be remembered.
    - `record`: what was read; `kept`: the same, or None if there is none or an expired one.
    - `state`: what is to be written, None if that is what was read.
    - `held`: it is around code of the caller's own, rather than a handler.
    - `impatient`: it does not wait for a session that another process holds.
    - `log`: its history, if some of that is to be written into chunks before the session is;
      `spent`: ids of chunks that go when it has been.
    - `aside`: what was read could not be, and is kept aside with all its history.
    - `remember`: its event's id is kept with the session, whatever comes of the turn.
    - `upkeep`: it tends the session, whatever state that is in; `tended`: what it writes then.
    - `origin`: what it is for; `seen`: what observers see of it, while it runs.
    """

    ancestors: tuple[Turn, ...] = ()
    record: Record | None = None
    kept: Record | None = None
    now: int
    draft: Draft
    state: bytes | None = None
    hand_overs = 0
    failed = False
    held = False
    impatient = False
    aside = False
    remember = False
    upkeep = False
    tended: Record | None = None
    log: Log | None = None
    spent: Sequence[str] = ()
    origin: Origin = "event"
    seen: TurnSeen | None = None

    def __init__(  # noqa: PLR0913, PLR0917 - it is made in two places
        self,
        turns: Turns,
        session_id: str,
        event: Event,
        event_id: str | None = None,
        user: str | None = None,
        address: str | None = None,
    ) -> None:
        self.turns = turns
        self.session_id = session_id
        self.event = event
        self.event_id = event_id
        self.user = user
        self.address = address

    @property
    def name(self) -> str:
        """What no other turn is called; "" before it has a lease."""
        lease = getattr(self, "lease", None)
        return "" if lease is None else f"{lease.token}-{self.hand_overs}"

    def told(self) -> dict[str, object]:
        """Who it is, for what is logged of it."""
        return {
            "session_id": without_namespace(self.session_id),
            "channel": self.event.channel,
            "event_id": self.event.id,
            "turn": self.name,
        }

    def inside(self, kind: str) -> Turn:
        """A turn of its own within this one, of the same session and under the same lease."""
        turn = Turn(self.turns, self.session_id, Event(channel=self.event.channel, kind=kind))
        turn.lease, turn.record, turn.ancestors = self.lease, self.record, self.ancestors
        turn.now, turn.seen = self.now, self.seen
        return turn

    def start_over(self, states: States) -> None:
        """A new draft of what was read, in place of the one before."""
        self.draft.closed = True
        self.state = None
        self.draft = states.draft(self.kept, self.session_id, self.now)


_inside: ContextVar[tuple[Turn, ...]] = ContextVar("barback_turns", default=())


def innermost() -> Turn | None:
    """The turn whose handler runs in the current task; the innermost, where there are several."""
    turns = _inside.get()
    return turns[-1] if turns and not turns[-1].draft.closed else None


class Turns:
    """Runs the turns of one bot against one store."""

    def __init__(  # noqa: PLR0913 - what a bot is made of
        self,
        store: LeasedStore,
        states: States,
        rules: Rules,
        clock: Callable[[], float],
        *,
        on_unreadable: Callable[[SessionUnreadable], Awaitable[bool]] | None = None,
        on_expired: Callable[[Turn], Awaitable[None]] | None = None,
        history: History | None = None,
        steps: Steps | None = None,
    ) -> None:
        self.store = store
        self.states = states
        self.steps = Steps() if steps is None else steps
        self.rules = rules
        self.queue = TurnQueue(
            rules.concurrency,
            self._return_unclaimed,
            most_waiting=rules.waiting,
            most_for_one=rules.waiting_for_one,
        )
        self._stopped = False
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self.instant: InstantStore | None = None
        if isinstance(store, InstantStore) and store.overrides_nothing():
            self.instant = store
        self._operations = Operations(rules.patience)
        self._keeper = LeaseKeeper(
            store,
            self._operations,
            handler_timeout=rules.handler_timeout,
            lease_term=rules.lease_term,
        )
        self._checkouts = Checkouts(store, self._operations, rules, self._refuse_when_stopped)
        self._waits = Waits()
        self._handled: OrderedDict[tuple[str, str], None] = OrderedDict()
        self.lifetime = milliseconds(store.expires_in)
        self.max_age = milliseconds(store.max_age)
        self.chunks = Chunks(store, states, self._operations, history, clock)
        commits = Commits if states.keys is None else SealingCommits
        self._commits = commits(
            store, states, self._operations, self.chunks, rules=rules, clock=clock
        )
        self._reading = Reading(
            store,
            states,
            self.steps,
            self._operations,
            self._commits,
            attempt=self._attempt,
            report=on_unreadable,
            on_expired=on_expired,
        )

    # The turn, top-down.

    async def run(  # noqa: C901, PLR0912, PLR0915 - the turn, in one place; each call costs
        self,
        turn: Turn,
        handle: Callable[[Turn], Awaitable[None]],
        rescue: Callable[[Turn, Exception], Awaitable[None]] | None = None,
    ) -> Outcome:
        """One whole turn. Raises `NotDone`, `CommitUnknown` or a cancellation; else it is settled.

        An exception of `handle` is given to `rescue`, with the state as it was before the turn.
        """
        queue, states, session_id, record = self.queue, self.states, turn.session_id, None
        # queue
        outer = _inside.get()
        if outer:
            turn.ancestors = tuple(one for one in outer if not one.draft.closed)
        if self._stopped:
            raise _shutting_down()
        handed = None
        # A turn inside another has no limit to wait for: the outer one would wait with it.
        if not queue.enter_now(session_id, turn.ancestors != ()):
            handed = await self._wait_in_line(turn)

        # checkout
        now = self._loop.time()
        if handed is not None:
            turn.lease, turn.record, turn.hand_overs = handed.lease, handed.record, handed.turns
            record = turn.record
        else:
            turn.lease = lease = self._checkouts.new_lease(session_id, now)
            asked = None
            try:
                try:
                    if self.instant is not None:
                        record = self.instant.take(session_id, lease)
                    else:
                        asked = asked_of(self.store.checkout(session_id, lease))
                        record = await asked.answer
                        now = self._loop.time()
                except SessionBusy as busy:
                    asked = None
                    if turn.impatient:
                        raise
                    record = await self._checkouts.wait(lease, busy)
                    now = self._loop.time()
            except BaseException as failure:
                if asked is not None:
                    self._checkouts.failed(asked, lease, failure)
                queue.leave(session_id)
                if isinstance(failure, SessionUnreadable):
                    await self._reading.report(failure)
                raise
            if record is not None:
                turn.record = record
                lease.version = record.version
        try:
            if self._stopped:
                raise _shutting_down()  # noqa: TRY301 - the same end as for an error
            turn.now = read_at = int(self._clock() * 1000)
            if record is not None and (record.expires_at is None or record.expires_at > read_at):
                turn.kept = record
                if (
                    record.format == states.plain_format
                    and record.schema == states.schema
                    and not record.fades
                    and record.step is None
                ):
                    draft = Draft(record.state, states.initial, session_id, record.lifetime)
                else:
                    draft = await self._reading.draft(turn, record)
            elif record is not None and self._reading.has_on_expired and not turn.upkeep:
                record = await self._reading.ended(turn, record)
                draft = await self._reading.draft(turn, record)
            else:
                draft = states.initial.draft(None, states.initial, session_id, None)
            turn.draft = draft
        except BaseException:
            await self._give_back(turn)
            raise

        # dedupe
        event_id = turn.event_id
        if event_id is not None and (
            (record is not None and event_id in record.seen)
            or (session_id, event_id) in self._handled
        ):
            await self._abandon(turn)  # nothing is written: a redelivery is no activity
            return Outcome.DUPLICATE

        # handle
        error: BaseException | None = None
        self._enter(turn, now)
        try:
            await handle(turn)
        except BaseException as raised:  # noqa: BLE001 - it is looked at in a moment
            error = raised
        error = self._exit(turn, error)
        if error is not None:
            await self._fail(turn, error, rescue)

        # commit
        own = True
        try:
            record = self._commits.record_of(turn)
            if record is not None:
                if turn.log is not None:
                    record = await self.chunks.pack(turn, record, turn.log)
                keep = queue.waiting(session_id) and self._may_hand_over(turn)
                try:
                    if self.instant is not None:
                        self.instant.put(record, turn.lease, keep=keep)
                    else:
                        writing = asked_of(self.store.commit(record, turn.lease, keep=keep))
                        try:
                            await writing.answer
                        except asyncio.CancelledError:
                            await self._operations.outlast(writing)
                            raise
                except CommitUnknown as lost:
                    keep = False
                    own = await self._operations.finish(self._commits.resolve(turn, record, lost))
        except (LeaseLost, CommitUnknown):
            queue.leave(session_id)
            raise
        except BaseException:
            await self._give_back(turn)
            raise

        # settle
        if record is None:
            await self._abandon(turn)
            if turn.failed:
                return Outcome.FAILED
            self._remember(turn)
            return Outcome.UNCHANGED
        if keep:
            turn.record = record
            turn.lease.version = record.version
            turn.lease.renewed_at = self._loop.time()
            await self._abandon(turn)  # which hands it on, unless who waited has gone meanwhile
        else:
            queue.leave(session_id)
        if not own:
            return Outcome.DUPLICATE
        if turn.spent:
            self.chunks.discard(turn.spent)
        return Outcome.FAILED if turn.failed else Outcome.COMMITTED

    @asynccontextmanager
    async def hold(self, turn: Turn) -> AsyncIterator[None]:
        """One whole turn around the caller's own code, whose exceptions are the caller's too."""
        turn.held = True
        parking = Parking(self.run(turn, lambda _: Parking.place()))
        await parking.enter()
        try:
            yield
        except BaseException as raised:  # noqa: BLE001 - the turn raises it again
            await parking.leave(raised)
        else:
            await parking.leave()

    @asynccontextmanager
    async def tend(self, session_id: str, *, impatient: bool = False) -> AsyncIterator[Turn]:
        """One whole turn of a session that is nobody's activity: no time of it moves.

        `turn.record` is what is there, as it is: expired, of another version, or None. What is put
        into `turn.tended` is written in its place; otherwise nothing is. If it is `impatient`, it
        raises `SessionBusy` at once where another process holds the session.
        """
        turn = Turn(self, session_id, Event(channel="upkeep", kind="upkeep"))
        turn.upkeep, turn.origin, turn.impatient = True, "upkeep", impatient
        async with self.hold(turn):
            turn.kept, turn.draft = None, self.states.draft(None, session_id, turn.now)
            yield turn

    async def destroy(self, turn: Turn) -> None:
        """Remove what a turn has read, and its history, while it holds the session."""
        turn.lost = True  # the lease goes with the record, and is handed to nobody
        await self._operations.finish(self.store.destroy(turn.session_id, turn.lease))
        if turn.record is not None and turn.record.history:
            await self.chunks.remove(chunk_ids(turn.record))

    async def _abandon(self, turn: Turn, error: BaseException | None = None) -> None:
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
        with self._waits.waiting(holders, turn.session_id):
            return await self.queue.enter(turn.session_id, over_limit=True)

    def _remember(self, turn: Turn) -> None:
        """An event that changed nothing is remembered here only, and not for ever."""
        if turn.event_id is not None:
            self._handled[turn.session_id, turn.event_id] = None
            if len(self._handled) > self.rules.handled_limit:
                self._handled.popitem(last=False)

    def _enter(self, turn: Turn, now: float) -> None:
        """What handles the event starts, in the current task."""
        _inside.set((*turn.ancestors, turn))
        self._keeper.watch(turn, now)

    def _exit(self, turn: Turn, error: BaseException | None) -> BaseException | None:
        """What handled the event has ended, with `error`; returns what it ended with in truth."""
        self._keeper.unwatch(turn)
        _inside.set(turn.ancestors)
        if error is not None or turn.interrupted:
            error = _truth(turn, error)
        if error is None:
            try:
                turn.state = state = turn.draft.changed()
                if state is not None and len(state) > self.rules.state_warning:
                    self._weigh(turn, state)
            except Exception as refused:  # noqa: BLE001 - as if the handler had raised it
                error = refused
        turn.draft.closed = True
        return error

    def _weigh(self, turn: Turn, state: bytes) -> None:
        """Refuse a state that is too large, and warn of one that has become large."""
        size, rules = len(state), self.rules
        if size > rules.state_limit:
            turn.state = None
            message = (
                f"The state of session {turn.session_id!r} is of {size:,} bytes, and may have "
                f"{rules.state_limit:,}. Keep less in it, or raise the bot's max_state_size."
            )
            raise StateTooLarge(message, session_id=turn.session_id)
        if len(turn.draft.base) <= rules.state_warning:
            logger.warning(
                "The state of session %r has grown to %d bytes: each of its turns reads and writes "
                "them all.",
                turn.session_id,
                size,
                extra=turn.told(),
            )

    async def _fail(
        self,
        turn: Turn,
        error: BaseException,
        rescue: Callable[[Turn, Exception], Awaitable[None]] | None,
    ) -> None:
        """The handler failed; where it was interrupted or asked so, the turn is not done."""
        try:
            if turn.held or isinstance(error, NotDone) or not isinstance(error, Exception):
                raise error  # noqa: TRY301 - the same end for both
            if (asked := _all_not_done(error)) is not None:
                raise asked from error  # noqa: TRY301
            turn.failed = True
            await self._rescue(turn, error, rescue)
        except BaseException as not_done:
            await self._abandon(turn, not_done)
            raise

    async def _rescue(
        self,
        turn: Turn,
        error: Exception,
        rescue: Callable[[Turn, Exception], Awaitable[None]] | None,
    ) -> None:
        """The handler failed: once more, with the state as it was, for `on_error` alone."""
        turn.start_over(self.states)
        if rescue is None:
            turn.draft.closed = True
            logger.error(
                "The handler of session %r failed; its changes were thrown away.",
                turn.session_id,
                exc_info=error,
                extra=turn.told(),
            )
            return
        second = await self._attempt(turn, lambda turn: rescue(turn, error))
        if second is None:
            return
        if isinstance(second, NotDone) or not isinstance(second, Exception):
            raise second
        second.__context__ = error
        turn.start_over(self.states)  # its expire_in is thrown away as well
        turn.draft.closed = True
        logger.error(
            "on_error of session %r failed; its changes were thrown away.",
            turn.session_id,
            exc_info=second,
            extra=turn.told(),
        )

    async def _attempt(
        self, turn: Turn, handle: Callable[[Turn], Awaitable[None]]
    ) -> BaseException | None:
        """Run what handles the turn; what it ended with."""
        error: BaseException | None = None
        self._enter(turn, self._loop.time())
        try:
            await handle(turn)
        except BaseException as raised:  # noqa: BLE001 - who asked looks at it
            error = raised
        return self._exit(turn, error)

    def _may_hand_over(self, turn: Turn) -> bool:
        """Whether the lease may go on to somebody of this process, rather than back."""
        return (
            self.queue.waiting(turn.session_id)
            and turn.hand_overs + 1 < self.rules.hand_overs
            and not turn.lost
        )

    def _return_unclaimed(self, handed: HandOver) -> None:
        lease = handed.lease
        self._operations.start(self.store.release(lease.session_id, lease))

    async def _give_back(self, turn: Turn) -> None:
        """The lease to the store, then the place in the queue to the next."""
        try:
            if self.instant is None:
                given_back = await self._commits.release(turn)
            else:
                given_back = _gave_back(self.instant, turn)
            if not given_back:
                self._checkouts.keep_token(turn.lease)
        finally:
            self.queue.leave(turn.session_id)

    def inside(self) -> bool:
        """Whether the current task is in one of these turns."""
        return any(turn.turns is self and not turn.draft.closed for turn in _inside.get())


def _gave_back(store: InstantStore, turn: Turn) -> bool:
    try:
        store.give_back(turn.session_id, turn.lease)
    except BarbackError as error:
        not_given_back(turn, error)
        return False
    return True


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


def _truth(turn: Turn, error: BaseException | None) -> BaseException | None:
    """What a handler ended with: the reason it was interrupted for, if that is why it ended."""
    if isinstance(error, asyncio.CancelledError) and not (turn.cancelled or turn.held):
        error = _cancelled_itself(turn, error)
    reason = turn.reason(error)
    if reason is None:
        return error
    reason.__cause__ = error
    return reason


def _cancelled_itself(turn: Turn, cancelled: asyncio.CancelledError) -> HandlerCancelled:
    message = (
        f"The handler of session {turn.session_id!r} awaited something that was cancelled, though "
        f"nobody cancelled the handler."
    )
    error = HandlerCancelled(message, session_id=turn.session_id)
    error.__cause__ = cancelled
    return error
