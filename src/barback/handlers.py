"""Handlers: what a bot is told to do, and when."""

from __future__ import annotations

import inspect
import re
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from barback.context import Context
from barback.errors import ConfigurationError, HandlerRefused, SessionUnreadable
from barback.routing import (
    Handler,
    Route,
    Router,
    channel_name,
    command_name,
    kinds_of,
    pattern_of,
)
from barback.state import S
from barback.states import Migration
from barback.steps import Steps, check_step

if TYPE_CHECKING:
    from barback.states import States

__all__ = [
    "Decorator",
    "ErrorHandler",
    "Handler",
    "Handlers",
    "Middleware",
    "UnreadableHandler",
    "check_async",
    "version",
]

# What a decorated function returns, so that to a type checker it stays a coroutine, to be awaited.
A = TypeVar("A", bound=Awaitable[None])
B = TypeVar("B", bound=Awaitable[bool])

ErrorHandler = Callable[[Context[S], Exception], Awaitable[None]]
UnreadableHandler = Callable[[SessionUnreadable], Awaitable[bool]]
Middleware = Callable[[Context[S], Handler[S]], Awaitable[None]]


class Decorator(Protocol[S]):
    """What a handler is put under: it stays what it is."""

    def __call__(self, handler: Callable[[Context[S]], A], /) -> Callable[[Context[S]], A]:
        """Take the handler."""
        ...


class Handlers(ABC, Generic[S]):
    """The part of a bot that is given its handlers, by decorators."""

    _states: States

    def __init__(self) -> None:
        self._handler: Handler[S] | None = None
        self._steps = Steps()
        self._router: Router[S] = Router(self._steps)
        self._middleware: list[Middleware[S]] = []
        self._chain: Handler[S] | None = None
        self._on_error: ErrorHandler[S] | None = None
        self._on_unreadable: UnreadableHandler | None = None
        self._on_expired: Handler[S] | None = None

    def on_event(self, handler: Callable[[Context[S]], A]) -> Callable[[Context[S]], A]:
        """The bot's handler: `async def handler(context)`. Works as a decorator.

        It has every event that no command, step or route takes. Raises `HandlerRefused` for a
        second handler, or one that is not `async def`.
        """
        check_async(handler, "A handler", "async def handler(context)")
        if self._handler is not None:
            message = (
                "The bot has a handler already. Handle every event in one, and call other "
                "functions from there; or give it routes, with @bot.on_text(...) and the like."
            )
            raise HandlerRefused(message)
        self._handler = handler
        self._chain = None
        return handler

    def command(self, name: str, *, channel: str | None = None) -> Decorator[S]:
        """A handler of what begins with `/name`: `@bot.command("start")`.

        Also of `/name@bot`, unless the channel knows that this is another bot; small letters and
        capitals are the same. `context.arguments` is what follows. Commands come before everything
        else, steps too. `channel`: the name of the only one it is for; any unless set.

        Raises `ConfigurationError` for what can be no name, and for a second command of a name.
        """
        named, place = command_name(name), channel_name(channel)
        return self._adding(lambda handler: self._router.add_command(named, handler, place))

    def step(self, name: str) -> Decorator[S]:
        """A handler of what a person says, or presses, while their session is at a step.

        `context.next_step(name)` brings it there, and it stays there until that is called again, or
        `context.end_steps()`. It comes before all routes, and has events of the kinds "message" and
        "payload" only. The name rests in sessions: a step that gets a new one keeps the old as a
        second, with a decorator of its own, as long as sessions are at it.

        Raises `ConfigurationError` for what can be no name, and for a second step of a name.
        """
        named = check_step(name)
        return self._adding(lambda handler: self._steps.add(named, handler))

    def on_text(
        self, pattern: str | re.Pattern[str] | None = None, *, channel: str | None = None
    ) -> Decorator[S]:
        """A handler of what is said: of any text, or where a regular expression is found in it.

        `@bot.on_text(r"^hi")`: it may be anywhere, unless `^` says where it begins, and capitals
        are told from small letters, unless it is `re.compile(r"^hi", re.IGNORECASE)`.
        `context.match` is what was found. Of all routes, whether by text, payload or kind, the one
        that stands first takes an event. Events of other kinds than "message" and "payload", such
        as a text that was edited, are for `on_kind`.

        `channel`: the name of the only one it is for; any unless set. Raises `ConfigurationError`
        for what is no regular expression.
        """
        found, place = pattern_of(pattern, "on_text"), channel_name(channel)
        return self._adding(
            lambda handler: self._router.add(Route(handler, place, part="text", pattern=found))
        )

    def on_payload(
        self, pattern: str | re.Pattern[str] | None = None, *, channel: str | None = None
    ) -> Decorator[S]:
        """A handler of pressed buttons: of any, or by what they carry; see `on_text`."""
        found, place = pattern_of(pattern, "on_payload"), channel_name(channel)
        return self._adding(
            lambda handler: self._router.add(Route(handler, place, part="payload", pattern=found))
        )

    def on_kind(self, *kinds: str, channel: str | None = None) -> Decorator[S]:
        """A handler of events of these kinds: "join", or whatever else `event.kind` may be.

        It is a route as those of `on_text` are. Raises `ConfigurationError` where no kind is told.
        """
        named, place = kinds_of(kinds), channel_name(channel)
        return self._adding(lambda handler: self._router.add(Route(handler, place, named)))

    def on_error(
        self, handler: Callable[[Context[S], Exception], A]
    ) -> Callable[[Context[S], Exception], A]:
        """What is to be done about an exception of the handler.

        `async def on_error(context, error)`.

        The state is as it was before the turn; what `on_error` sets is committed. Without one,
        the error is logged. Works as a decorator. Raises `HandlerRefused` as `on_event` does.
        """
        _check_only(handler, self._on_error, "on_error", "async def on_error(context, error)")
        self._on_error = handler
        return handler

    def migrate(self, from_version: int) -> Callable[[Migration], Migration]:
        """What makes a state of one version one of the next: `def migration(state) -> state`.

        It is given the older state as a dict, which it may change, and returns the newer one. When
        an older session is read, migrations run one after another; what comes of them is committed
        with the turn. Works as a decorator: `@bot.migrate(1)` is from version 1 to 2. Raises
        `ConfigurationError` for a second one from a version, or one that is `async def`.
        """
        begins = version(from_version)

        def add(migration: Migration) -> Migration:
            if inspect.iscoroutinefunction(migration) or not callable(migration):
                message = "A migration is a plain function of a state, `def migration(state)`."
                raise HandlerRefused(message)
            if begins in self._states.migrations:
                message = f"The bot has a migration from version {begins} already."
                raise HandlerRefused(message)
            self._refuse_while_running("A migration is added")
            self._states.migrations[begins] = migration
            return migration

        return add

    def on_unreadable(
        self, handler: Callable[[SessionUnreadable], B]
    ) -> Callable[[SessionUnreadable], B]:
        """What is to be done about a session that cannot be read.

        `async def on_unreadable(error) -> bool`; `error` is the `SessionUnreadable` that tells
        which and why. It is called each time that somebody asks for the session. If it returns
        True, the record is kept aside, under an id that begins with "unreadable:" and is logged,
        and the session begins anew. Otherwise, and without such a handler, the error is raised,
        the event not done, and the record left as it is. So it is in any case where the store
        cannot make a record of what it holds. Where newer code or the right key would read the
        session (`SessionTooNew`, `KeyMissing`, `WrongKey`, `SessionNotEncrypted`) nobody is asked.

        Works as a decorator. Raises `HandlerRefused` as `on_event` does.
        """
        _check_only(handler, self._on_unreadable, "on_unreadable", "async def on_unreadable(error)")
        self._on_unreadable = handler
        return handler

    def on_expired(self, handler: Callable[[Context[S]], A]) -> Callable[[Context[S]], A]:
        """What is to be done when a session has expired.

        `async def on_expired(context)` has the last state, in a turn of its own, and may send a
        message. It is called by one process at a time, soon after the expiry while a bot runs; or
        before an event is handled that comes upon the session. The session is over when it has
        ended, in whichever way: so it runs once, and again only where a process, or the store,
        failed meanwhile. What it changes in the state, or `context.session.expire_in`, keeps the
        session alive instead. If it raises, that is logged; raise `Redeliver` to have it called
        again later.

        Works as a decorator. Raises `HandlerRefused` as `on_event` does.
        """
        _check_only(handler, self._on_expired, "on_expired", "async def on_expired(context)")
        self._refuse_while_running("An on_expired is set")
        self._on_expired = handler
        return handler

    def use(
        self, middleware: Callable[[Context[S], Handler[S]], A]
    ) -> Callable[[Context[S], Handler[S]], A]:
        """Put `async def middleware(context, call_next)` around the handler.

        It goes on with `await call_next(context)`. The first that is used is the outermost. Works
        as a decorator. Raises `HandlerRefused` if it is not `async def`.
        """
        check_async(middleware, "A middleware", "async def middleware(context, call_next)")
        self._middleware.append(middleware)
        self._chain = None
        return middleware

    def _linked(self) -> Handler[S]:
        chain = self._router.leading_to(self._handler)
        for middleware in reversed(self._middleware):
            chain = partial(_call, middleware, chain)
        return chain

    def _adding(self, add: Callable[[Handler[S]], None]) -> Decorator[S]:
        """A decorator that adds a handler, and leaves it as it is."""

        def decorate(handler: Callable[[Context[S]], A]) -> Callable[[Context[S]], A]:
            check_async(handler, "A handler", "async def handler(context)")
            add(handler)
            self._chain = None
            return handler

        return decorate

    @abstractmethod
    def _refuse_while_running(self, what: str) -> None:
        """Raise `ConfigurationError` if the bot runs."""


async def _call(
    middleware: Middleware[S],
    call_next: Handler[S],
    context: Context[S],
) -> None:
    await middleware(context, call_next)


def _check_only(function: Callable[..., Any], before: object, name: str, form: str) -> None:
    """Refuse what is not `async def`, and a second one of its name."""
    check_async(function, name, form)
    if before is not None:
        message = f"The bot has an {name} already."
        raise HandlerRefused(message)


def version(number: int) -> int:
    """The version of a schema. Raises `ConfigurationError` for what is none."""
    if type(number) is not int or number < 0:
        message = f"A version of a schema is a whole number from 0 on, not {number!r}."
        raise ConfigurationError(message)
    return number


def check_async(function: Callable[..., Any], what: str, form: str) -> None:
    """Refuse what is not `async def`: a plain function would block every other session."""
    call = getattr(function, "__call__", None)  # noqa: B004 - an object may have an async one
    if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(call):
        return
    name = getattr(function, "__name__", type(function).__name__)
    message = f"{what} must be `{form}`; {name} is not async. Put `async` before its `def`."
    raise HandlerRefused(message)
