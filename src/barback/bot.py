"""Bot: handlers, middleware and policy. It knows no platform."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal, TypedDict, overload

from barback.channels.base import Channel
from barback.complaints import Complaints
from barback.context import Context
from barback.errors import (
    BotNotRunning,
    ConfigurationError,
    InvalidEvent,
    InvalidSessionId,
    SessionUnreadable,
)
from barback.events import Event
from barback.expirer import Expirer
from barback.handlers import Handlers, version
from barback.history import History
from barback.options import count, seconds
from barback.orphans import removing_orphans
from barback.record import MAX_ID_BYTES, check_session_id
from barback.rules import Rules
from barback.scope import Scope, check_name, key_function
from barback.serving import Serving
from barback.speaking import Speaking
from barback.state import InitialState, S, State, type_of
from barback.states import States
from barback.stores.base import LeasedStore, SessionStore
from barback.stores.local import leased
from barback.stores.memory import MemorySessionStore
from barback.stores.url import open_store
from barback.sweeper import sweeping
from barback.turn import Outcome, Turn, Turns
from barback.upkeep import Upkeep

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from types import TracebackType
    from typing import Self, Unpack

    from barback.encryption import Keys
    from barback.handlers import Handler
    from barback.observing import Observer
    from barback.observing.turns import Observation
    from barback.state import Made

__all__ = ["Bot", "BotOptions"]


class BotOptions(TypedDict, total=False):
    """What every bot takes, by keyword, beside its states; `Bot` says what each means."""

    schema_version: int
    encryption: Keys | None
    session_store: SessionStore | LeasedStore | str | None
    channels: Sequence[Channel]
    scope: Scope
    namespace: str
    handler_timeout: float | timedelta | None
    shutdown_timeout: float | timedelta
    max_concurrency: int
    max_waiting: int
    max_waiting_for_one: int
    dedupe: Literal["changes", "always"]
    dedupe_limit: int
    dedupe_for: float | timedelta
    history: History | None
    max_state_size: int
    warn_state_size: int
    observers: Sequence[Observer]
    clock: Callable[[], float]


class Bot(Handlers[S], Speaking[S], Serving, Upkeep):
    """A bot that remembers whom it talks to.

    - `initial_state`: what a new session starts from: a mapping, or a function that returns one.
      Each session has a copy of its own. Or the class of which states are instances: a dataclass,
      a msgspec Struct, a TypedDict or a pydantic model, which is made without arguments for a new
      session; or an instance.
    - `state_type`: that class, where `initial_state` is a function, a mapping or an instance.
    - `schema_version`: of the shape of states, 0 unless set. Count it up when the shape changes,
      and say with `migrate` what becomes of older states.
    - `encryption`: the `barback.Keys` with which states are encrypted before they reach the store.
      Unless set they are not.
    - `session_store`: where sessions rest: a store or its URL. In memory unless set.
    - `channels`: the platforms it is on.
    - `scope`: what a session's key is made of; see `barback.Scope`. The member of a conversation
      unless set.
    - `namespace`: part of every id in the store, so that bots with different ones may share it.
    - `handler_timeout`: seconds, or a timedelta, that a handler may run: 120 s unless set; None:
      no limit.
    - `shutdown_timeout`: seconds, or a timedelta, that running turns have to end when the bot
      stops: 30 s unless set. They are cancelled afterwards, and are not done.
    - `max_concurrency`: how many turns run at once, 1,000 unless set; others wait.
    - `max_waiting`, `max_waiting_for_one`: how many events may wait, in all (10,000 unless set) and
      for one session (1,000 unless set). More are refused with `BotOverloaded`.
    - `dedupe`: "changes" keeps an event's id with the session if its turn changed something, and
      otherwise in this process only; "always" keeps it with the session in any case.
    - `dedupe_limit`, `dedupe_for`: how many ids a session keeps (32 unless set), and for how long
      (a timedelta, or seconds; a day unless set).
    - `history`: a `barback.History`, where sessions are to have one; none unless set.
    - `max_state_size`: how many bytes of JSON a state may be, 8 MiB unless set. A turn that leaves
      more fails with `StateTooLarge`, as if its handler had raised it.
    - `warn_state_size`: from how many bytes on a warning is logged, 256 KiB unless set.
    - `observers`: who is told of what it does; see `observe`.
    - `clock`: the time of day, in seconds since the Unix epoch.

    Start it with `async with bot:`, with `bot.run()`, or as a web app: `bot.asgi()`. Raises
    `ConfigurationError` for what cannot work.
    """

    @overload
    def __init__(self, *, initial_state: type[S], **options: Unpack[BotOptions]) -> None: ...
    @overload
    def __init__(
        self,
        *,
        state_type: type[S],
        initial_state: S | Mapping[str, Any] | Callable[[], S | Mapping[str, Any]] | None = None,
        **options: Unpack[BotOptions],
    ) -> None: ...
    @overload
    def __init__(
        self: Bot[State],
        *,
        initial_state: Mapping[str, Any] | Callable[[], Mapping[str, Any]] | None = None,
        **options: Unpack[BotOptions],
    ) -> None: ...
    @overload
    def __init__(
        self: Bot[Made], *, initial_state: Made, **options: Unpack[BotOptions]
    ) -> None: ...
    def __init__(  # noqa: PLR0913 - a bot's whole policy, by keyword
        self,
        *,
        initial_state: Any = None,
        state_type: type[S] | None = None,
        schema_version: int = 0,
        encryption: Keys | None = None,
        session_store: SessionStore | LeasedStore | str | None = None,
        channels: Sequence[Channel] = (),
        scope: Scope = "member",
        namespace: str = "",
        handler_timeout: float | timedelta | None = 120.0,
        shutdown_timeout: float | timedelta = 30.0,
        max_concurrency: int = 1000,
        max_waiting: int = 10_000,
        max_waiting_for_one: int = 1000,
        dedupe: Literal["changes", "always"] = "changes",
        dedupe_limit: int = 32,
        dedupe_for: float | timedelta = timedelta(days=1),
        history: History | None = None,
        max_state_size: int = 8 * 1024 * 1024,
        warn_state_size: int = 256 * 1024,
        observers: Sequence[Observer] = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__()
        if not callable(clock):
            message = "clock must be a function that returns seconds since the Unix epoch."
            raise ConfigurationError(message)
        if dedupe not in ("changes", "always"):
            message = f"dedupe must be 'changes' or 'always', not {dedupe!r}."
            raise ConfigurationError(message)
        self._rules = Rules(
            handler_timeout=(
                None if handler_timeout is None else seconds(handler_timeout, "handler_timeout")
            ),
            concurrency=count(max_concurrency, "max_concurrency"),
            waiting=count(max_waiting, "max_waiting"),
            waiting_for_one=count(max_waiting_for_one, "max_waiting_for_one"),
            seen_limit=count(dedupe_limit, "dedupe_limit"),
            seen_for=seconds(dedupe_for, "dedupe_for"),
            dedupe_always=dedupe == "always",
            state_limit=count(max_state_size, "max_state_size"),
            state_warning=min(count(warn_state_size, "warn_state_size"), max_state_size),
        )
        self._turns: Turns | None = None
        self._closing = False
        self._stack: AsyncExitStack | None = None
        self._shutdown_timeout = seconds(shutdown_timeout, "shutdown_timeout")
        self._state_type = state_type or type_of(initial_state)
        self._states = States(
            self._initial_state(initial_state),
            version(schema_version),
            None if encryption is None else _keys(encryption),
        )
        self._store = _leased(session_store)
        self._scope = scope
        self._key = key_function(scope)
        self._prefix = f"{check_name(namespace, 'namespace')}/" if namespace else ""
        self._clock = clock
        self._history = _checked_history(history)
        self._channels: dict[str, Channel] = {}
        self._receptions = []
        self._complaints = Complaints()
        for channel in channels:
            self.add_channel(channel)
        self._observers: list[Observer] = []
        for observer in observers:
            self.observe(observer)
        self._expirer: Expirer | None = None

    # Putting it together.

    def set_initial_state(
        self, initial_state: S | Mapping[str, Any] | Callable[[], S | Mapping[str, Any]]
    ) -> None:
        """What sessions start from that are new, or reset, from now on. The type stays."""
        self._states.initial = self._initial_state(initial_state)

    def add_channel(self, channel: Channel) -> None:
        """Put the bot on one more platform. Raises `ConfigurationError` if it runs, or is there."""
        if not isinstance(channel, Channel):
            message = f"A channel derives from barback.Channel; {type(channel).__name__} does not."
            raise ConfigurationError(message)
        check_name(channel.name, "channel's name")
        if channel.name in self._channels:
            message = f"The bot has a channel {channel.name!r} already."
            raise ConfigurationError(message)
        self._refuse_while_running("A channel is added")
        self._channels[channel.name] = channel

    def observe(self, observer: Observer) -> None:
        """Let somebody be told of what the bot does, such as `barback.telemetry.Telemetry`.

        Raises `ConfigurationError` if the bot runs, or for what is no `barback.Observer`.
        """
        from barback.observing import Observer  # noqa: PLC0415 - who has none needs none

        if not isinstance(observer, Observer):
            message = f"An observer derives from barback.Observer; {observer!r} does not."
            raise ConfigurationError(message)
        self._refuse_while_running("An observer is added")
        self._observers.append(observer)

    # Handling events.

    async def handle(self, event: Event, *, remember: bool = False) -> Outcome:
        """Handle one event, in one turn, and say how it was settled.

        `remember`: keep the event's id with the session whatever comes of the turn, even if it
        changed nothing or its handler failed. For events that a platform delivers again with
        others, of which one was not done.

        Returns when the turn is over: only now may the platform be told that the event arrived.
        An exception of the handler does not come out of here: `on_error` gets it, or the log.

        Raises `NotDone` (nothing was committed; deliver the event again), `CommitUnknown`,
        `InvalidSessionId` and `ConfigurationError`. A `SessionIdTooLong` among these is the event's
        own fault: it can never be handled, see `leave_out`.
        """
        turns = self._turns
        if turns is None or self._closing:
            turns = self._running()
        session_id = self.session_id(event)
        if self._prefix:
            session_id = self._stored_id(session_id)
        if self._handler is None and not self._router:
            message = "The bot has no handler: give it one with @bot.on_event."
            raise ConfigurationError(message)
        user = event.user
        turn = Turn(
            turns,
            session_id,
            event,
            None if event.id is None else f"{event.channel}:{event.kind}:{event.id}",
            None if user is None else user.id,
            event.address,
        )
        if remember:
            turn.remember = True
        rescue = None if self._on_error is None else self._rescue
        return await turns.run(turn, self._work, rescue)

    def session_id(self, event: Event) -> str:
        """The id of the session that `event` belongs to, as `conversation` takes it.

        Raises `InvalidSessionId` and `ConfigurationError`.
        """
        if not isinstance(event, Event):
            message = f"A bot handles a barback.Event, not {type(event).__name__}."
            raise InvalidEvent(message)
        channel = event.channel
        if channel not in self._channels:  # those are checked
            check_name(channel, "channel's name")
        key = self._key(event)
        if not isinstance(key, str) or not key:
            message = f"The scope made {key!r} of {event!r}; a key is text, and not empty."
            raise InvalidSessionId(message)
        session_id = f"{channel}:{key}"
        if session_id.isascii() and len(session_id) <= MAX_ID_BYTES:
            return session_id
        return check_session_id(session_id)

    # Starting and stopping.

    async def __aenter__(self) -> Self:
        """Open the store and the channels. Raises `SessionStoreUnavailable` with a sentence."""
        self._refuse_while_running("A bot is started")
        self._states.check()
        async with AsyncExitStack() as stack:
            await self._store.acquire()
            stack.push_async_callback(self._store.relinquish)
            for channel in self._channels.values():
                await channel.start()
                stack.push_async_callback(channel.stop)
            self._observation = observation = self._observed()
            turns = Turns(
                self._store if observation is None else observation.over(self._store),
                self._states,
                self._rules,
                self._clock,
                on_unreadable=self._report,
                on_expired=None if self._on_expired is None else self._expire,
                history=self._history,
                steps=self._steps,
            )
            if observation is not None:
                stack.enter_context(observation.of(turns, self._unlink))
            if self._on_expired is not None:
                self._expirer = Expirer(turns, self._clock, self._prefix)
                stack.push_async_callback(self._expirer.close)
            await stack.enter_async_context(sweeping(self._store, self._clock))
            if self._history is not None:
                looking = removing_orphans(self._store, self._clock, self._prefix)
                await stack.enter_async_context(looking)
            for reception in self._receptions:
                reception.open()
                stack.push_async_callback(reception.close)
            self._stack = stack.pop_all()
        self._turns = turns
        self._router.tell_of_strays(self._channels)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """No new events; running turns end; leases and connections are given back."""
        turns, stack = self._turns, self._stack
        if turns is None or stack is None:
            return
        self._closing = True
        if self._expirer is not None:
            self._expirer.stop()
        try:
            async with stack:
                await turns.close(self._shutdown_timeout)
        finally:
            self._turns = self._stack = self._expirer = None
            self._closing = False

    @property
    def channels(self) -> tuple[Channel, ...]:
        """The platforms it is on."""
        return tuple(self._channels.values())

    @property
    def is_running(self) -> bool:
        """Whether it has been started, and takes events."""
        return self._turns is not None and not self._closing

    # Inside a turn.

    def _work(self, turn: Turn) -> Awaitable[None]:
        if self._chain is None:  # for the first time, or anew
            self._chain = self._linked()
        event, session_id = turn.event, turn.session_id
        if self._prefix:
            session_id = session_id.removeprefix(self._prefix)
        channel = self._channels.get(event.channel)
        return self._chain(Context(event, turn, turn.draft, session_id, channel))

    async def _rescue(self, turn: Turn, error: Exception) -> None:
        assert self._on_error is not None  # noqa: S101 - handle has looked
        await self._on_error(self._context(turn), error)

    def _initial_state(self, source: Any) -> InitialState:
        if self._state_type is None:
            return InitialState(source)
        from barback.typed import TypedInitialState  # noqa: PLC0415 - who has no type needs none

        return TypedInitialState(self._state_type, source)

    async def _expire(self, turn: Turn) -> None:
        assert self._on_expired is not None  # noqa: S101 - or else nobody asks for it
        await self._on_expired(self._context(turn))

    async def _report(self, error: SessionUnreadable) -> bool:
        return self._on_unreadable is not None and await self._on_unreadable(error) is True

    def _stored_id(self, session_id: str) -> str:
        """A session's id, checked, as the store knows it: with the bot's namespace."""
        return check_session_id(f"{self._prefix}{session_id}") if self._prefix else session_id

    def _context(self, turn: Turn) -> Context[S]:
        event = turn.event
        session_id = turn.session_id.removeprefix(self._prefix) if self._prefix else turn.session_id
        context: Context[S] = Context(
            event, turn, turn.draft, session_id, self._channels.get(event.channel)
        )
        return context if self._observation is None else self._observation.context(context)

    def _observed(self) -> Observation | None:
        """The observers for as long as the bot runs from now on; None if there are none."""
        self._unlink()
        if not self._observers:
            return None
        from barback.observing.turns import Observation  # noqa: PLC0415 - who has none needs none

        return Observation(self._observers, self._prefix)

    def _unlink(self) -> None:
        self._chain = None

    def _linked(self) -> Handler[S]:
        chain = super()._linked()
        return chain if self._observation is None else self._observation.linked(chain)

    def _running(self) -> Turns:
        turns = self._turns
        if turns is None:
            message = "The bot is not running: start it with `async with bot:`."
            raise BotNotRunning(message)
        if self._closing and not turns.inside():
            message = "The bot is shutting down and takes no more events."
            raise BotNotRunning(message)
        return turns

    def _refuse_while_running(self, what: str) -> None:
        if self._turns is not None:
            message = f"{what} while the bot runs. Stop it first."
            raise ConfigurationError(message)

    @contextmanager
    def _borrowed(
        self,
        store: SessionStore | LeasedStore | str | None,
        channel: Channel,
        clock: Callable[[], float],
        on_error: Callable[[Context[Any], Exception], Awaitable[None]],
    ) -> Iterator[None]:
        """For a simulation: another store and clock, one channel for all, an `on_error` at need."""
        self._refuse_while_running("A bot is borrowed")
        own = self._store, self._clock, self._channels, self._on_error
        fresh = MemorySessionStore(expires_in=self._store.expires_in)
        self._store, self._clock = _leased(fresh if store is None else store), clock
        self._channels = dict.fromkeys((*self._channels, channel.name), channel)
        self._on_error = self._on_error or on_error
        try:
            yield
        finally:
            self._store, self._clock, self._channels, self._on_error = own

    def __repr__(self) -> str:
        return f"<{type(self).__name__} on {', '.join(self._channels) or 'no channel'}>"


def _leased(store: SessionStore | LeasedStore | str | None) -> LeasedStore:
    if store is None:
        return MemorySessionStore()
    if isinstance(store, str):
        store = open_store(store)
    if isinstance(store, (SessionStore, LeasedStore)):
        return leased(store)
    message = (
        f"session_store must be a SessionStore, a LeasedStore or a URL, not a "
        f"{type(store).__name__}. Derive your driver from barback.SessionStore."
    )
    raise ConfigurationError(message)


def _checked_history(history: History | None) -> History | None:
    if history is not None and not isinstance(history, History):
        message = f"history must be a barback.History(...), not {history!r}."
        raise ConfigurationError(message)
    return history


def _keys(keys: Keys) -> Keys:
    from barback.encryption import Keys  # noqa: PLC0415 - it needs an extra

    if not isinstance(keys, Keys):
        message = f"encryption must be barback.Keys, not {type(keys).__name__}."
        raise ConfigurationError(message)
    return keys
