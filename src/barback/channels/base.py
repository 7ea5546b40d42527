"""Channel: a platform, as the bot sees it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from barback.bot import Bot
    from barback.context import Context

__all__ = ["Channel", "ServingChannel"]


class Channel(ABC):
    """A platform: it turns what people do into events, and replies into its own calls.

    `name` is the first part of its sessions' ids: letters, digits, `_`, `.` and `-`. `client` is
    the platform's own client, if there is one. `sends_per_second`: how many messages to different
    people the platform bears, for `bot.broadcast`; 20 unless a class or an instance sets another.
    `username`: what the bot is called where commands say whom they are for, as in
    `/start@shop_bot`; None: not known, and whatever they say is taken for the bot.
    """

    name: str
    client: Any = None
    sends_per_second: float = 20.0
    username: str | None = None

    async def start(self) -> None:  # noqa: B027 - a channel that opens nothing needs none
        """Open what is needed to send. The bot calls it when it starts."""

    async def stop(self) -> None:  # noqa: B027 - likewise
        """Close what `start` opened. The bot calls it when its last turn has ended."""

    @abstractmethod
    async def send_text(self, context: Context[Any], text: str) -> None:
        """Say `text` where `context.address` is, in answer to `context.event`."""

    def address_of(self, key: str) -> str | None:  # noqa: ARG002 - not every platform can tell
        """Where a session is spoken to that keeps no address, by its key, as a scope makes it.

        So that a bot can speak first. None where the key does not tell, or is of a scope of the
        bot's own.
        """
        return None

    async def typing(self, context: Context[Any]) -> None:  # noqa: B027 - not every platform can
        """Show that the bot is about to say something."""

    def sender(self, name: str) -> Callable[..., Awaitable[Any]] | None:
        """What `context.<name>(...)` calls, with the context before its arguments.

        `name` starts with `send_`. None if the channel has no such thing to send.
        """
        method: Callable[..., Awaitable[Any]] | None = getattr(self, name, None)
        return method

    # A tool.

    def as_text(self, name: str) -> Callable[..., Awaitable[Any]]:
        """What `sender` may return for anything at all: it says such a call as text."""
        return partial(self._send_as_text, name)

    async def _send_as_text(
        self, name: str, context: Context[Any], /, *args: object, **options: object
    ) -> None:
        await self.send_text(context, _call_as_text(name, args, options))


class ServingChannel(Channel):
    """A channel that fetches its events itself, instead of being called with them."""

    @abstractmethod
    async def serve(self, bot: Bot[Any]) -> None:
        """Give the bot its events until there are no more, or until it is cancelled."""


def _call_as_text(name: str, args: Sequence[object], options: Mapping[str, object]) -> str:
    """A call such as `send_image("cat.png", width=3)`, where only text can be shown."""
    parts = [value if isinstance(value, str) else repr(value) for value in args]
    parts += [f"{key}={value!r}" for key, value in options.items()]
    return " ".join([f"[{name}]", *parts])
