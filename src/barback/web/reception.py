"""Reception: from a platform's request to the answer it gets.

An event is answered when its turn is over and committed. What was not done is answered with 503, so
that the platform delivers it again. There is one exception: a turn that takes longer than the
platform waits (`ack_within`) goes on after the answer. If the process is killed then, the event is
lost: nobody will deliver it again. Such answers are counted. Everything else that goes wrong with
such a turn is met by handling the event again, here.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import math
import random
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final

from barback.channels.answer import AnsweredEvent
from barback.channels.unfit import UnfitEvent
from barback.channels.webhook import WebhookAnswer, WebhookChannel, WebhookRequest
from barback.complaints import Complaints
from barback.errors import (
    BotNotRunning,
    BotOverloaded,
    CommitUnknown,
    InvalidEvent,
    NotDone,
    SessionIdTooLong,
    WebhookMalformed,
    WebhookRefused,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from barback.events import Event
    from barback.serving import Serving
    from barback.turn import Outcome

__all__ = ["Reception", "Reply"]

logger = logging.getLogger("barback")

DONE: Final = WebhookAnswer()
SOON: Final = (1.0, 5.0)  # seconds, by chance, so that not all come again at once
FIRST_PAUSE: Final = 0.5
LONGEST_PAUSE: Final = 30.0
GIVE_UP_AFTER: Final = 600.0  # seconds for which an event is handled again that nobody redelivers

Begin = Callable[[], "asyncio.Future[Outcome]"]
"""What has the bot handle an event, and may be called again."""

Reply = tuple[WebhookAnswer, int | None]
"""An answer, and the seconds of its Retry-After."""


class Reception:
    """Takes the requests of all channels of a bot."""

    def __init__(self, bot: Serving, *, max_early: int) -> None:
        self._bot = bot
        self._max_early = max_early
        self._early: set[asyncio.Task[None]] = set()
        self._unheard: set[asyncio.Future[Outcome]] = set()  # or else nobody would hold them
        self._closing: asyncio.Event | None = None
        self._complaints = Complaints()

    def open(self) -> None:
        """The bot starts."""
        self._closing = asyncio.Event()

    async def close(self) -> None:
        """The bot's turns are over: what is still to be handled again is given up."""
        if self._closing is not None:
            self._closing.set()
        while self._early:
            await asyncio.wait(self._early)
        while self._unheard:
            await asyncio.wait(self._unheard)

    async def answer(self, channel: WebhookChannel, request: WebhookRequest) -> Reply:
        """Do what a request asks for, and give the answer to it."""
        try:
            events = self._events(channel, request)
        except WebhookRefused as error:
            self._complaints.tell(_request_to(channel), "was refused", error)
            return WebhookAnswer(401), None
        except (WebhookMalformed, InvalidEvent) as error:
            self._complaints.tell(_request_to(channel), "was not understood", error)
            return WebhookAnswer(400), None
        if isinstance(events, WebhookAnswer):
            return events, None
        unfit = [each for each in events if isinstance(each, UnfitEvent)]
        if unfit:
            events = [each for each in events if not isinstance(each, UnfitEvent)]
        reply = await self._take(channel, events, request) if events else (DONE, None)
        if reply[0].status == DONE.status:  # or else all of them come again
            for each in unfit:
                self._bot.leave_out(each, each.error)
        return reply

    def _events(
        self, channel: WebhookChannel, request: WebhookRequest
    ) -> Sequence[Event] | WebhookAnswer:
        """What people did; or the answer, where a request is of another kind."""
        if request.method == "GET":
            return channel.handshake(request) or WebhookAnswer(405)
        channel.verify(request)
        return channel.handshake(request) or channel.events(request)

    async def _take(
        self, channel: WebhookChannel, events: Sequence[Event], request: WebhookRequest
    ) -> Reply:
        """Have the events handled, and give what is said in the answer, if it can be."""
        answer = AnsweredEvent.answer_among(events)
        if answer is None:
            return await self._handle(channel, events, request)
        answer.open()
        try:
            reply = await self._handle(channel, events, request)
        finally:
            said = answer.close()
        return reply if said is None or reply[0] is not DONE else (said, None)

    async def _handle(
        self, channel: WebhookChannel, events: Sequence[Event], request: WebhookRequest
    ) -> Reply:
        """Hand all events to the bot, in order; those of different sessions run side by side."""
        if len(self._early) >= self._max_early:
            return _again(None)
        batch = len(events) > 1
        context = self._context(request)
        begins = [
            partial(self._begin, event, context, remember=batch or channel.comes_twice(event))
            for event in events
        ]
        # Tasks begin in the order they are made, and stand in line for their session with that.
        # They are not the request's: a platform that hangs up does not cut a turn short.
        tasks = [begin() for begin in begins]
        try:
            _, running = await asyncio.wait(tasks, timeout=channel.ack_within)
        except asyncio.CancelledError:
            # Nobody waits for the answer, and the platform delivers it all again.
            self._let_go_on(tasks)
            raise
        if running and len(self._early) + len(running) > self._max_early:
            self._let_go_on(running)
            return _again(None)
        replies = [
            self._settled(channel, event, task)
            for event, task in zip(events, tasks, strict=True)
            if task.done()
        ]
        worst = max(replies, key=_severity, default=(DONE, None))
        if worst[0].status != DONE.status:
            # All of them come again, those that still run as well: each will be found handled.
            self._let_go_on(running)
            return worst
        for event, task, begin in zip(events, tasks, begins, strict=True):
            if task in running:
                self._answer_early(event, task, begin)
            elif isinstance(error := task.exception(), SessionIdTooLong):
                self._bot.leave_out(event, error)
        return DONE, None

    def _context(self, request: WebhookRequest) -> contextvars.Context | None:
        """What turns of a request's events run in; None if that is what runs here."""
        observation = self._bot._observation  # noqa: SLF001 - the bot's, and so ours
        return None if observation is None else observation.arrived(request)

    def _begin(
        self, event: Event, context: contextvars.Context | None, *, remember: bool
    ) -> asyncio.Future[Outcome]:
        handling = self._bot.handle(event, remember=remember)
        own = None if context is None else context.copy()
        return asyncio.get_running_loop().create_task(handling, context=own)

    def _tell(self, hook: str, event: Event) -> None:
        observation = self._bot._observation  # noqa: SLF001 - the bot's, and so ours
        if observation is not None:
            observation.observers.tell(hook, event)

    def _settled(
        self, channel: WebhookChannel, event: Event, task: asyncio.Future[Outcome]
    ) -> Reply:
        """The answer for one event whose turn is over."""
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        if error is None or isinstance(error, SessionIdTooLong):
            return DONE, None  # it could never be handled, however often it comes
        if isinstance(error, (NotDone, CommitUnknown)):
            what = "was not done, and is to come again"
            self._complaints.tell(_request_to(channel), what, error)
            return _again(error)
        logger.error("%r could not be given to the bot.", event, exc_info=error)
        return WebhookAnswer(500), None

    def _let_go_on(self, tasks: Iterable[asyncio.Future[Outcome]]) -> None:
        """Turns whose answer nobody waits for, and whose events come again."""
        for task in tasks:
            self._unheard.add(task)
            task.add_done_callback(self._unheard.discard)
            task.add_done_callback(_heard)

    # Answers that go out before the turn is over.

    def _answer_early(self, event: Event, task: asyncio.Future[Outcome], again: Begin) -> None:
        self._bot.early_answers += 1
        self._tell("answered_early", event)
        logger.warning(
            "%r takes longer than its platform waits: it is answered while its turn still runs.",
            event,
        )
        going_on = asyncio.ensure_future(self._see_done(event, task, again))
        self._early.add(going_on)
        going_on.add_done_callback(self._early.discard)

    async def _see_done(self, event: Event, task: asyncio.Future[Outcome], again: Begin) -> None:
        """An event that the platform will not deliver again is handled until it is done."""
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + GIVE_UP_AFTER
        pause = FIRST_PAUSE
        while True:
            try:
                await task
            except (NotDone, CommitUnknown) as error:
                hopeless = isinstance(error, BotNotRunning) or loop.time() > give_up_at
                if hopeless or await self._closed_within(pause):
                    self._lose(event, error)
                    return
            except Exception as error:  # noqa: BLE001 - it is told, and nobody else is
                self._lose(event, error)
                return
            else:
                return
            pause = min(pause * 2, LONGEST_PAUSE)
            task = again()

    def _lose(self, event: Event, error: Exception) -> None:
        self._bot.lost_events += 1
        self._tell("event_lost", event)
        logger.error(
            "%r is lost: its platform was answered early, and its turn was not done.",
            event,
            exc_info=error,
        )

    async def _closed_within(self, seconds: float) -> bool:
        assert self._closing is not None  # noqa: S101 - the bot has been running
        try:
            await asyncio.wait_for(self._closing.wait(), seconds)
        except TimeoutError:
            return False
        return True


def _request_to(channel: WebhookChannel) -> str:
    return f"A request to {channel.path}"


def _again(error: BaseException | None) -> Reply:
    """503, and when to deliver it again."""
    if error is None:
        return WebhookAnswer(503), math.ceil(BotOverloaded.retry_after)
    wait = getattr(error, "retry_after", None)
    return WebhookAnswer(503), math.ceil(random.uniform(*SOON) if wait is None else wait)  # noqa: S311


def _severity(reply: Reply) -> tuple[int, int]:
    """What comes again for sure goes before what is only a failure; the longest wait first."""
    answer, wait = reply
    return answer.status, wait or 0


def _heard(task: asyncio.Future[Outcome]) -> None:
    """What a turn ends with whose answer nobody waits for: it was logged, or comes again."""
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.warning("A turn was not done, and its event is to come again: %s", error)
