"""`barback webhook`: tell a platform where a bot's webhook is."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable
from urllib.parse import urlsplit

from barback.cli.loading import load_bot, with_channels
from barback.cli.words import tell
from barback.errors import ConfigurationError
from barback.extras import needs_extra

with needs_extra("cli"):
    import click

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["webhook"]

bot_argument = click.argument("bot", metavar="MODULE:BOT")
channel_option = click.option(
    "--channel",
    "name",
    metavar="NAME",
    help="Of which channel: needed where there are several, or it is in the environment only.",
)


@runtime_checkable
class Settable(Protocol):
    """A channel whose platform can be told, by its API, where the webhook is."""

    name: str
    path: str

    async def start(self) -> None:
        """See `Channel.start`."""

    async def stop(self) -> None:
        """See `Channel.stop`."""

    async def set_webhook(self, url: str) -> None:
        """Set it."""

    async def webhook_info(self) -> dict[str, Any]:
        """What the platform knows of it."""

    async def delete_webhook(self) -> None:
        """Let the platform call none any more."""


@click.group()
def webhook() -> None:
    """Tell a platform where a bot's webhook is."""


@webhook.command(name="set")
@bot_argument
@click.argument("url")
@channel_option
def set_(bot: str, url: str, name: str | None) -> None:
    """Let a platform send what people do to URL.

    URL is where the bot is served, https:// and its host, and perhaps a path; the path of the
    channel comes behind that unless it is there already. The secret is sent along. Serve the bot
    first: some platforms call it at once, and take the address only if it answers.
    """
    channel = _channel(bot, name)
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        message = "The address of a webhook begins with https:// and the name of a host."
        raise ConfigurationError(message)
    path = parts.path.rstrip("/")
    path = path if path.endswith(channel.path) else path + channel.path
    whole = parts._replace(path=path, fragment="").geturl()
    _do(channel, lambda: channel.set_webhook(whole))
    tell(f"{channel.name} sends what people do to {whole}.")


@webhook.command()
@bot_argument
@channel_option
def show(bot: str, name: str | None) -> None:
    """Show what a platform knows of the webhook, and how it fares."""
    channel = _channel(bot, name)
    info = _do(channel, channel.webhook_info)
    for key, value in sorted(info.items()):
        tell(f"{key}: {value}")


@webhook.command()
@bot_argument
@channel_option
def delete(bot: str, name: str | None) -> None:
    """Let a platform call no webhook any more."""
    channel = _channel(bot, name)
    _do(channel, channel.delete_webhook)
    tell(f"{channel.name} calls no webhook any more.")


def _channel(bot: str, name: str | None) -> Settable:
    """The one channel that is meant."""
    loaded = with_channels(load_bot(bot), () if name is None else (name,))
    able = {one.name: one for one in loaded.channels if isinstance(one, Settable)}
    if name is not None and name in able:
        return able[name]
    if name is None and len(able) == 1:
        return next(iter(able.values()))
    known = ", ".join(able) or "none"
    message = f"Say with --channel of which channel: {known}."
    if not able or name is not None:
        message = f"No such channel has a webhook that can be set from here; there is {known}."
    raise ConfigurationError(message)


def _do(channel: Settable, act: Callable[[], Awaitable[Any]]) -> Any:
    async def work() -> Any:
        await channel.start()
        try:
            return await act()
        finally:
            await channel.stop()

    return asyncio.run(work())
