"""Playground: a bot, the people who talk to it, and what its turns do."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections import Counter, deque
from contextlib import AsyncExitStack, suppress
from itertools import count
from typing import TYPE_CHECKING, Any, Final

import msgspec

from barback.errors import BarbackError, BotNotRunning, ConfigurationError
from barback.events import Event, User
from barback.observing import Observer
from barback.playground import sessions
from barback.playground.moved_clock import MovedClock
from barback.playground.news import News
from barback.playground.report import report_of
from barback.playground.stage import Stage
from barback.playground.transcript import Advanced, Edited, Found, Said, Transcript
from barback.record import new_version
from barback.scope import check_name
from barback.stores.base import InstantStore

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType
    from typing import Self

    from barback.bot import Bot
    from barback.context import Context
    from barback.observing.turn_seen import TurnSeen
    from barback.playground.source import Source
    from barback.stores.base import LeasedStore

__all__ = ["Message", "Playground"]

logger = logging.getLogger("barback")

MOST_TURNS: Final = 500  # that are kept for a page that comes later
MOST_LINES: Final = 2000
LOOK_EVERY: Final = 0.4  # seconds, at the files
PATIENCE: Final = 2.0  # seconds that turns have to end, when code is loaded anew or it all ends


class Message(msgspec.Struct, kw_only=True):
    """Something a person does: says `text`, or presses a button that carries `payload`."""

    person: str
    conversation: str | None = None
    text: str | None = None
    payload: str | None = None


class Playground(Observer):
    """A bot of which all that it does is seen: `async with` it.

    - `source`: its code; `store`: where its sessions rest, in place of its own store.
    - `channel`: the name of the platform that people write from.
    """

    def __init__(
        self, source: Source, *, store: LeasedStore | None = None, channel: str = "playground"
    ) -> None:
        self.source = source
        self.clock = MovedClock()
        self.trouble: str | None = None
        """Why the code could not be loaded, or the bot not be started; None if all is well."""
        self.transcript = Transcript()
        self.turns: deque[dict[str, Any]] = deque(maxlen=MOST_TURNS)
        self.lines: deque[dict[str, Any]] = deque(maxlen=MOST_LINES)
        """What was said, by people and by the bot, in order."""
        self.bot: Bot[Any] | None = None
        self._given_store = store
        self._stage = Stage(check_name(channel, "channel's name"), self._heard)
        self._numbers = count(1)
        self._groups = count(1)
        self._answers: dict[int, Said] = {}
        self._sent: dict[int, list[str]] = {}
        self._busy: Counter[str] = Counter()
        self._under_way: set[asyncio.Task[list[str]]] = set()
        self._known: set[str] = set()
        self.news = News()
        self._tell = self.news.tell
        self._changing = asyncio.Lock()
        self._stack: AsyncExitStack | None = None
        self._watch: asyncio.Task[None] | None = None

    # Its life.

    async def __aenter__(self) -> Self:
        """Load the bot and start it; from then on the code is watched."""
        await self.reload()
        self._watch = asyncio.create_task(self._watching())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop the bot, as it would stop anywhere."""
        if self._watch is not None:
            self._watch.cancel()
            with suppress(asyncio.CancelledError):
                await self._watch
        self.news.end()
        async with self._changing:
            await self._stop()
        if self._under_way:
            await asyncio.wait(self._under_way)

    async def reload(self) -> None:
        """Load the code, and put the bot in the place of the one before, with its sessions.

        Where that does not work, `trouble` says why, and the bot before goes on.
        """
        async with self._changing:
            try:
                bot = self.source.load()
            except Exception as error:  # noqa: BLE001 - of any code; the page shows it
                self._trouble(error)
                return
            store = self._store_for(bot)
            await self._stop()
            try:
                await self._start(bot, store)
            except Exception as error:  # noqa: BLE001 - of a store that is away, or a channel
                self._trouble(error)
                return
            self.trouble = None
            self._tell({"type": "loaded", **self.about()})

    def _store_for(self, bot: Bot[Any]) -> LeasedStore:
        if self._given_store is not None:
            return self._given_store
        store = bot._store  # noqa: SLF001 - the bot is the playground's for now
        before = None if self.bot is None else self.bot._store  # noqa: SLF001
        if isinstance(store, InstantStore) and type(before) is type(store):
            before.expires_in, before.max_age = store.expires_in, store.max_age
            return before  # with the sessions, which are nowhere else
        return store

    async def _start(self, bot: Bot[Any], store: LeasedStore) -> None:
        async with AsyncExitStack() as stack:
            stack.enter_context(
                bot._borrowed(store, self._stage, self.clock, _leave_to_be_seen)  # noqa: SLF001
            )
            bot._shutdown_timeout = min(bot._shutdown_timeout, PATIENCE)  # noqa: SLF001
            if self not in bot._observers:  # noqa: SLF001
                bot.observe(self)
            await stack.enter_async_context(bot)
            self._stack = stack.pop_all()
        self.bot = bot

    async def _stop(self) -> None:
        stack, self._stack = self._stack, None
        if stack is not None:
            # The store outlives a bot that is loaded anew.
            store = None if self.bot is None else self.bot._store  # noqa: SLF001
            await stack.aclose()
            if self.bot is not None and store is not None:
                self.bot._store = store  # noqa: SLF001

    def _trouble(self, error: Exception) -> None:
        cause = error.__cause__ or error
        self.trouble = "".join(traceback.format_exception(cause))
        if isinstance(error, ConfigurationError):
            self.trouble = f"{error}\n\n{self.trouble}"
        logger.warning("The bot could not be loaded: %s", error)
        self._tell({"type": "trouble", **self.about()})

    async def _watching(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY)
            if await asyncio.to_thread(self.source.has_changed):
                await self.reload()

    # What the page is told.

    def about(self) -> dict[str, Any]:
        """What there is to say of it as a whole."""
        bot = self.bot
        return {
            "name": self.source.name,
            "channel": self._stage.name,
            "store": None if bot is None else bot._store.name,  # noqa: SLF001
            "trouble": self.trouble,
            "running": self._stack is not None,
            "now": int(self.clock() * 1000),
            "ahead": self.clock.ahead,
            "busy": dict(self._busy),
        }

    def _say(self, by: str, session_id: str, event: Event, text: str | None) -> None:
        line = {
            "number": next(self._numbers),
            "by": by,
            "session": session_id,
            "user": None if event.user is None else event.user.id,
            "conversation": event.conversation,
            "text": text,
            "payload": event.payload if by == "person" else None,
        }
        self.lines.append(line)
        self._tell({"type": "line", "line": line})

    def turn_began(self, turn: TurnSeen) -> None:
        """See `Observer.turn_began`."""
        if not _is_own(turn):
            self._count(turn.session_id, 1)

    def _count(self, session_id: str, change: int) -> None:
        """So many turns of a session are under way, or wait, more than before."""
        self._busy[session_id] += change
        turns = self._busy[session_id]
        if not turns:
            del self._busy[session_id]
        self._tell({"type": "busy", "session": session_id, "turns": turns})

    def turn_ended(self, turn: TurnSeen) -> None:
        """See `Observer.turn_ended`."""
        if _is_own(turn):
            return
        self._count(turn.session_id, -1)
        self._keep_what_was_there(turn)
        sent = self._sent.pop(id(turn.event), [])
        said = self._answers.get(id(turn.event))
        # The page's own stands in for an `on_error` that the bot does not have.
        unseen = self.bot is not None and self.bot._on_error is _leave_to_be_seen  # noqa: SLF001
        if said is not None and turn.failure is not None and unseen:
            said.error = type(turn.failure)
        hidden = ("on_error",) if unseen else ()
        report = report_of(turn, next(self._numbers), sent=sent, hidden=hidden)
        self.turns.append(report)
        self._tell({"type": "turn", "turn": report})

    def _keep_what_was_there(self, turn: TurnSeen) -> None:
        """So that a test can begin with a session that the page has found."""
        session_id, said = turn.session_id, self._answers.get(id(turn.event))
        if session_id not in self._known:
            self._known.add(session_id)
            kept = turn.turn.kept
            if kept is not None and said is not None and turn.before is not None:
                self.transcript.put_before(said, Found(session_id, turn.before, kept.step))

    def _heard(self, session_id: str, event: Event, text: str) -> None:
        """The bot has said something."""
        said = self._answers.get(id(event))
        if said is not None:
            said.replies.append(text)
        self._sent.setdefault(id(event), []).append(text)
        self._say("bot", session_id, event, text)

    # What people do.

    async def give(self, messages: Sequence[Message], *, copies: int = 1) -> list[str]:
        """Give the bot messages, all at the same time; each so often, with the same id."""
        return await self.begin(messages, copies=copies)

    def begin(self, messages: Sequence[Message], *, copies: int = 1) -> asyncio.Task[list[str]]:
        """The same, without waiting for what comes of it; that is told as news too.

        What is wrong with the messages is raised at once.
        """
        self._running()
        events = [self._event(message) for message in messages]
        own = [self._session_of(event) for event in events]
        for event, session_id in zip(events, own, strict=True):
            self._say("person", session_id, event, event.text)
        return self._spawn([event for event in events for _ in range(copies)])

    async def again(self, number: int) -> list[str]:
        """Give the bot the event of a turn once more, as a platform does that saw no answer."""
        return await self.begin_again(number)

    def begin_again(self, number: int) -> asyncio.Task[list[str]]:
        """The same, without waiting for what comes of it."""
        self._running()
        for act in self.transcript.acts:
            if isinstance(act, Said) and act.event.id == self._id_of(number):
                return self._spawn([msgspec.structs.replace(act.event)])
        message = f"There is no event of turn {number} to be sent again."
        raise ConfigurationError(message)

    def _spawn(self, events: list[Event]) -> asyncio.Task[list[str]]:
        task = asyncio.create_task(self._handle(events))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return task

    def _id_of(self, number: int) -> str | None:
        for report in self.turns:
            if report["number"] == number and report["origin"] == "event":
                own: str | None = report["event"]["id"]
                return own
        return None

    async def _handle(self, events: list[Event]) -> list[str]:
        group = next(self._groups)
        said = []
        for event in events:
            one = Said(event=msgspec.structs.replace(event), group=group)
            self._answers[id(one.event)] = one
            self.transcript.add(one)
            said.append(one)
        try:
            outcomes = list(await asyncio.gather(*(self._outcome(one.event) for one in said)))
            self._tell({"type": "settled", "outcomes": outcomes})
            return outcomes
        finally:
            for one in said:
                del self._answers[id(one.event)]

    async def _outcome(self, event: Event) -> str:
        try:
            return (await self._running().handle(event)).value
        except BarbackError as error:
            return f"{type(error).__name__}: {error}"

    def _event(self, message: Message) -> Event:
        own = f"{new_version():x}"
        return Event(
            channel=self._stage.name,
            id=own,
            kind="message" if message.payload is None else "payload",
            text=message.text,
            payload=message.payload,
            user=User(message.person, message.person),
            conversation=message.conversation,
            address=message.conversation or message.person,
        )

    def session_of(self, person: str, conversation: str | None) -> str:
        """The session of what a person says, by the bot's scope."""
        return self._session_of(self._event(Message(person=person, conversation=conversation)))

    def _session_of(self, event: Event) -> str:
        return self._running().session_id(event)

    # Time.

    def advance(self, minutes: float) -> None:
        """Put the bot's clock forward. Raises `ConfigurationError` for what is no such time."""
        if not 0 < minutes < 10_000 * 24 * 60:
            message = "The clock goes forward, by some minutes, and by 10,000 days at most."
            raise ConfigurationError(message)
        self.clock.ahead += minutes * 60
        self.transcript.add(Advanced(minutes))
        self._tell({"type": "clock", "now": int(self.clock() * 1000), "ahead": self.clock.ahead})

    # Sessions.

    async def session(self, session_id: str) -> dict[str, Any]:
        """A session as it rests; looking is no activity. Raises `Conflict`."""
        return await sessions.read(self._running(), session_id)

    async def edit(
        self, session_id: str, state: dict[str, Any], version: str | None
    ) -> dict[str, Any]:
        """Set a session's state, under its lease, if it is still of this version.

        Raises `Conflict`, and what setting a state raises.
        """
        edited = await sessions.edit(self._running(), session_id, state, version)
        self._known.add(session_id)
        self.transcript.add(Edited(session_id, state))
        self._tell({"type": "edited", "session": session_id})
        return edited

    async def delete(self, session_id: str) -> None:
        """Destroy a session, under its lease. Raises `Conflict`."""
        await sessions.delete(self._running(), session_id)
        self._tell({"type": "edited", "session": session_id})

    # The test.

    @property
    def is_typed(self) -> bool:
        """Whether states are instances of a class."""
        return self.bot is not None and self.bot._state_type is not None  # noqa: SLF001

    def as_test(self) -> str:
        """All that was done, as a test in Python."""
        client = self._stage.client_used
        return self.transcript.as_test(self.source.name, typed=self.is_typed, client=client)

    def forget(self) -> None:
        """Begin anew with turns and transcript; sessions stay."""
        self.turns.clear()
        self.lines.clear()
        self.transcript.acts.clear()
        self._known.clear()
        self._tell({"type": "cleared"})

    def _running(self) -> Bot[Any]:
        if self.bot is None or self._stack is None:
            message = "The bot is not running: it could not be loaded, or not be started."
            raise BotNotRunning(message)
        return self.bot


async def _leave_to_be_seen(_: Context[Any], error: Exception) -> None:
    """An `on_error` for a bot without: the page shows the error."""


def _is_own(turn: TurnSeen) -> bool:
    return sessions.looks.get() or turn.origin == "upkeep"
