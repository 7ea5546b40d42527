"""Routing: which of a bot's handlers an event is for.

commands     what begins with one, wherever a talk has come to, so that /cancel always works
steps        what is said, or pressed, while the session is at one
routes       by text, payload or kind: the first that takes the event
on_event     whatever is left
"""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Generic, Literal

import msgspec

from barback.context import Context
from barback.errors import ConfigurationError, HandlerRefused
from barback.events import COMMAND, TALK
from barback.scope import check_name
from barback.state import S

if TYPE_CHECKING:
    from barback.channels.base import Channel
    from barback.events import Event
    from barback.steps import Steps

__all__ = [
    "Handler",
    "Route",
    "Router",
    "channel_name",
    "command_name",
    "kinds_of",
    "pattern_of",
]

logger = logging.getLogger("barback")

Handler = Callable[[Context[S]], Awaitable[None]]

GIVEN: Final = TALK | {COMMAND}
"""Kinds in which a command may be: some platforms have a kind of event for it."""

_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_COMMAND: Final = re.compile(r"/([A-Za-z0-9_.-]{1,64}+)(?:@(\w{1,64}+))?(?:\s(.*))?", re.DOTALL)


class Route(msgspec.Struct, Generic[S], frozen=True, eq=False):
    """A handler, and the events it takes: of `kinds`, on `channel` (None: any).

    `part`: what of the event must be there, and have `pattern` in it, if there is one.
    """

    handler: Handler[S]
    channel: str | None
    kinds: frozenset[str] = TALK
    part: Literal["text", "payload"] | None = None
    pattern: re.Pattern[str] | None = None

    def takes(self, event: Event) -> re.Match[str] | bool:
        """Whether it takes the event, and what its pattern found there."""
        if self.channel not in (None, event.channel) or event.kind not in self.kinds:
            return False
        if self.part is None:
            return True
        found: str | None = getattr(event, self.part)
        if found is None:
            return False
        return True if self.pattern is None else self.pattern.search(found) or False


class Command(msgspec.Struct, Generic[S], frozen=True, eq=False):
    """A handler of what begins with `/name`, on `channel` (None: any)."""

    name: str
    handler: Handler[S]
    channel: str | None

    def hides(self, name: str, channel: str | None) -> bool:
        """Whether another command could never be reached behind this one."""
        return self.name == name and self.channel in (None, channel)


class Router(Generic[S]):
    """A bot's commands and routes, in the order in which they were given, and its steps."""

    def __init__(self, steps: Steps) -> None:
        self._commands: list[Command[S]] = []
        self._steps = steps
        self._routes: list[Route[S]] = []

    # What it is given. All of it raises `ConfigurationError`.

    def add_command(self, name: str, handler: Handler[S], channel: str | None) -> None:
        """One more command, by a name that `command_name` has looked at."""
        if any(command.hides(name, channel) for command in self._commands):
            message = f"The bot has a command {name!r} already."
            raise HandlerRefused(message)
        self._commands.append(Command(name, handler, channel))

    def add(self, route: Route[S]) -> None:
        """One more route, which takes what none before it does."""
        self._routes.append(route)

    def tell_of_strays(self, channels: Mapping[str, Channel]) -> None:
        """Log which handlers are for channels that a bot has not: as it is, nothing gets there.

        Only where it is on a platform. In a console, and in tests, it may be without any of those
        that it is for.
        """
        wanted = {command.channel for command in self._commands}
        wanted |= {route.channel for route in self._routes}
        strays = sorted(filter(None, wanted - channels.keys()))
        if not strays:
            return
        from barback.channels.webhook import WebhookChannel  # noqa: PLC0415 - seldom wanted

        if not any(isinstance(channel, WebhookChannel) for channel in channels.values()):
            return
        for name in strays:
            logger.warning(
                "The bot has handlers for the channel %r, and no such channel. It has: %s.",
                name,
                ", ".join(channels),
            )

    # What it does.

    def leading_to(self, otherwise: Handler[S] | None) -> Handler[S]:
        """What finds the handler of an event, and runs it; `otherwise`, if nothing is to be found.

        Where that is None, an event that nothing takes goes by.
        """
        if otherwise is not None and not self:
            return otherwise
        return partial(self._handle, _let_go_by if otherwise is None else otherwise)

    def __bool__(self) -> bool:
        return bool(self._commands or self._routes or self._steps.handlers)

    async def _handle(self, otherwise: Handler[S], context: Context[S]) -> None:
        context.match, context.arguments = None, ""  # a middleware may have called before
        for find in (self._of_command, self._of_step, self._of_route):
            handler = find(context)
            if handler is not None:
                await handler(context)
                return
        await otherwise(context)

    def _of_command(self, context: Context[S]) -> Handler[S] | None:
        event = context.event
        if event.kind not in GIVEN or event.text is None or not self._commands:
            return None
        given = _COMMAND.fullmatch(event.text)
        if given is None or not _is_addressed(context, given[2]):
            return None
        name = given[1].lower()
        for command in self._commands:
            if command.hides(name, event.channel):
                context.arguments = (given[3] or "").strip()
                return command.handler
        return None

    def _of_step(self, context: Context[S]) -> Handler[S] | None:
        if context.step is None or context.event.kind not in TALK:
            return None
        return self._steps.handlers.get(context.step)

    def _of_route(self, context: Context[S]) -> Handler[S] | None:
        for route in self._routes:
            taken = route.takes(context.event)
            if taken:
                context.match = None if taken is True else taken
                return route.handler
        return None


def _is_addressed(context: Context[Any], name: str | None) -> bool:
    """Whether it is the bot that has this name, as in `/start@shop_bot`, as far as is known."""
    channel = context._channel  # noqa: SLF001 - a context that can send nothing has none
    own = None if channel is None else channel.username
    return name is None or own is None or name.lower() == own.lower()


async def _let_go_by(context: Context[S]) -> None:
    """What the bot has no handler for changes nothing."""


# What decorators are given: each raises `ConfigurationError` for what is no such thing.


def command_name(name: object) -> str:
    """The name of a command, in small letters."""
    if isinstance(name, str) and _NAME.fullmatch(name) is not None:
        return name.lower()
    message = (
        f"A command is 1 to 64 letters, digits, '_', '.' or '-', without its slash, as in "
        f'@bot.command("start"), not {name!r}.'
    )
    raise ConfigurationError(message)


def channel_name(name: str | None) -> str | None:
    """The name of a channel; None: any."""
    return None if name is None else check_name(name, "channel's name")


def pattern_of(pattern: object, decorator: str) -> re.Pattern[str] | None:
    """A regular expression; None: there is none."""
    if pattern is None:
        return None
    if isinstance(pattern, str):
        try:
            return re.compile(pattern)
        except (re.error, RecursionError, OverflowError) as error:
            message = f"{pattern!r} is no regular expression: {error}."
            raise ConfigurationError(message) from error
    if isinstance(pattern, re.Pattern) and isinstance(pattern.pattern, str):
        return pattern
    message = (
        f'@bot.{decorator}() is for any {decorator.removeprefix("on_")}; @bot.{decorator}(r"^hi") '
        f"and @bot.{decorator}(re.compile(...)) are for those that match. It takes no {pattern!r}."
    )
    raise ConfigurationError(message)


def kinds_of(kinds: tuple[object, ...]) -> frozenset[str]:
    """Kinds of events."""
    named = [kind for kind in kinds if isinstance(kind, str) and kind]
    if named and len(named) == len(kinds):
        return frozenset(named)
    message = f'Kinds of events are told by their names, as in @bot.on_kind("join"), not {kinds!r}.'
    raise ConfigurationError(message)
