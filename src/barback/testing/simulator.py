"""Simulator: talk to a bot from a test, or from a script."""

from __future__ import annotations

from contextlib import AsyncExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any, Generic

import msgspec

from barback.channels.base import Channel
from barback.channels.silent import SilentClient
from barback.events import Event, User
from barback.record import new_version
from barback.scope import check_name
from barback.state import S
from barback.testing.clock import Clock

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from types import TracebackType
    from typing import Self

    from barback.bot import Bot
    from barback.context import Context
    from barback.stores.base import LeasedStore, SessionStore
    from barback.turn import Outcome

__all__ = ["Person", "Sent", "SilentClient", "Simulator"]


class Sent(msgspec.Struct, frozen=True):
    """Something a bot said unasked, from `bot.conversation`.

    - `session_id`: whose turn it was said in.
    - `address`: where to: the last address the session was written from; None if it has none.
    - `text`: what was said.
    """

    session_id: str
    address: str | None
    text: str


class Simulator(Generic[S]):
    """A bot in a world of its own: `async with Simulator(bot) as chat: await chat.say("Hi")`.

    Any bot will do, a `ConsoleBot` too, and it need not be made for it. While inside, it runs with
    an empty store, a clock that stands still, and the simulator in place of its channels; then it
    gets its own back. So tests that use one bot share nothing. The rest of the bot is as it is:
    handlers, middleware, policy, and for how long its store keeps a session.

    - `store`: a store or its URL, to talk to sessions that outlive the simulation. An empty one
      in memory unless set.
    - `clock`: the time of day, a `Clock` unless set.
    - `channel`: the name of the platform that people write from: "simulator" unless set.
    - `client`: what `context.client` is: None unless set; a `SilentClient` takes every call.

    What the bot says is text. Other things it sends are noted as text too, after the name they
    are sent by: `context.send_image("cat.png", caption="Tom")` is `[send_image] cat.png
    caption='Tom'`. `context.typing()` leaves no trace.

    An exception that the handler raises comes out of `say`, `press` and `send`, unless the bot has
    an `on_error`, which then gets it. What `Bot.handle` raises comes out in any case: `NotDone`,
    if the event was not handled and may come again.

    Entering raises `ConfigurationError` if the bot runs already.
    """

    def __init__(
        self,
        bot: Bot[S],
        *,
        store: SessionStore | LeasedStore | str | None = None,
        clock: Clock | None = None,
        channel: str = "simulator",
        client: Any = None,
    ) -> None:
        self.bot = bot
        self.clock = clock or Clock()
        self.sent: list[Sent] = []
        """What the bot said outside events, from `bot.conversation`, in order."""
        self.outcome: Outcome | None = None
        """How the event was settled that was settled last; None if it was not done."""
        self._store = store
        self._stage = _Stage(check_name(channel, "channel's name"), client, self.sent)
        self._last: Event | None = None
        self._stack: AsyncExitStack | None = None

    async def __aenter__(self) -> Self:
        """Start the bot. Raises what starting it with `async with bot:` raises."""
        async with AsyncExitStack() as stack:
            stack.enter_context(
                self.bot._borrowed(  # noqa: SLF001 - made for this
                    self._store, self._stage, self.clock, self._stage.keep_error
                )
            )
            await stack.enter_async_context(self.bot)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop the bot, as it would stop anywhere, and give it back what is its own."""
        if self._stack is not None:
            stack, self._stack = self._stack, None
            await stack.__aexit__(kind, error, trace)

    def person(
        self, name: str, conversation: str | None = None, *, thread: str | None = None
    ) -> Person[S]:
        """Somebody to talk as; in a group, if a conversation is named.

        `name` is the id of the user, too.
        """
        return Person(self, name, conversation, thread)

    async def say(
        self,
        text: str,
        *,
        user: str = "you",
        conversation: str | None = None,
        id: str | None = None,  # noqa: A002 - as in Event
    ) -> list[str]:
        """Say `text` to the bot, and return what it says to that, when its turn is over.

        - `user`: who says it; `conversation`: in which group, if in one.
        - `id`: the event's id. Each event has one of its own unless set.
        """
        return await self.person(user, conversation).say(text, id=id)

    async def press(
        self,
        payload: str,
        *,
        user: str = "you",
        conversation: str | None = None,
        id: str | None = None,  # noqa: A002 - as in Event
    ) -> list[str]:
        """Press a button that carries `payload`, and return what the bot says; see `say`."""
        return await self.person(user, conversation).press(payload, id=id)

    async def send(self, event: Event) -> list[str]:
        """Give the bot any event, as it is, and return what it says in answer to it.

        Several may be on their way at once: each gets its own answers.
        """
        # A copy, so that the answers to two deliveries of one object are told apart.
        event = self._last = msgspec.structs.replace(event)
        self.outcome = None
        with self._stage.answers_to(event) as answers:
            outcome = await self.bot.handle(event)
        self.outcome = outcome
        if answers.error is not None:
            raise answers.error
        return answers.texts

    async def redeliver(self) -> list[str]:
        """Give the bot the last event once more, with the same id; see `send`.

        Raises `LookupError` if there was none.
        """
        if self._last is None:
            message = "There is no event to deliver again: say something first."
            raise LookupError(message)
        return await self.send(self._last)

    async def state(self, *, user: str = "you", conversation: str | None = None) -> S:
        """A copy of the state of the session that what `user` says would belong to.

        Nothing is written, and looking is no activity. It waits for a turn that is under way.
        """
        return await self.person(user, conversation).state()

    async def step(self, *, user: str = "you", conversation: str | None = None) -> str | None:
        """The step that the session of `user` is at, None for none; looking is as with `state`."""
        return await self.person(user, conversation).step()

    @property
    def channel(self) -> str:
        """The name of the platform that people write from."""
        return self._stage.name

    def __repr__(self) -> str:
        return f"<Simulator of {self.bot!r}>"


class Person(Generic[S]):
    """Somebody who talks to a bot; `Simulator.person` makes one. Several may talk at once."""

    def __init__(
        self, chat: Simulator[S], name: str, conversation: str | None, thread: str | None
    ) -> None:
        self.name = name
        self._chat = chat
        self._user = User(name, name)
        self._conversation = conversation
        self._thread = thread

    async def say(self, text: str, *, id: str | None = None) -> list[str]:  # noqa: A002 - as in Event
        """Say `text` to the bot, and return what it says to that; see `Simulator.say`."""
        return await self._chat.send(self._event(text=text, id=id))

    async def press(self, payload: str, *, id: str | None = None) -> list[str]:  # noqa: A002 - as in Event
        """Press a button that carries `payload`, and return what the bot says to that."""
        return await self._chat.send(self._event("payload", payload=payload, id=id))

    async def state(self) -> S:
        """A copy of the state of this person's session; see `Simulator.state`."""
        return (await self._looked())[0]

    async def step(self) -> str | None:
        """The step that this person's session is at; see `Simulator.step`."""
        return (await self._looked())[1]

    async def _looked(self) -> tuple[S, str | None]:
        bot = self._chat.bot
        with suppress(_SeenEnough):
            async with bot.conversation(bot.session_id(self._event())) as context:
                seen = context.state, context.step
                raise _SeenEnough  # so that nothing is written, not even a new expiry
        return seen

    def _event(
        self,
        kind: str = "message",
        *,
        id: str | None = None,  # noqa: A002 - as in Event
        text: str | None = None,
        payload: str | None = None,
    ) -> Event:
        return Event(
            channel=self._chat.channel,
            # Never used before, not even by another simulation on the same store.
            id=f"{new_version():x}" if id is None else id,
            kind=kind,
            text=text,
            payload=payload,
            user=self._user,
            conversation=self._conversation,
            thread=self._thread,
            address=self.name if self._conversation is None else self._conversation,
        )

    def __repr__(self) -> str:
        return f"<Person {self.name!r}>"


class _SeenEnough(Exception):
    """Ends a turn that was only to look."""


class _Answers:
    """What a bot answers to one event: texts, and what its handler raised."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.error: Exception | None = None


class _Stage(Channel):
    """The simulator as the bot's channel: it takes down what is sent."""

    def __init__(self, name: str, client: Any, sent: list[Sent]) -> None:
        self.name = name
        self.client = client
        self._sent = sent
        self._events: dict[int, _Answers] = {}

    @contextmanager
    def answers_to(self, event: Event) -> Iterator[_Answers]:
        """Take down, while inside, what is sent in answer to this very event."""
        answers = self._events[id(event)] = _Answers()
        try:
            yield answers
        finally:
            del self._events[id(event)]

    async def send_text(self, context: Context[Any], text: str) -> None:
        """Take down `text`: an answer, or else something said unasked."""
        answers = self._events.get(id(context.event))
        if answers is None:
            self._sent.append(Sent(context.session.id, context.address, text))
        else:
            answers.texts.append(text)

    def sender(self, name: str) -> Callable[..., Awaitable[Any]] | None:
        """Whatever is sent, on whatever platform, is taken down."""
        return super().sender(name) or self.as_text(name)

    async def keep_error(self, context: Context[Any], error: Exception) -> None:
        """An `on_error` for a bot without: whoever sent the event gets the error."""
        answers = self._events.get(id(context.event))
        if answers is None:  # an event that the test gave to the bot itself
            raise error
        answers.error = error
