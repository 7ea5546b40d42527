"""`barback doctor`: what is wrong with a bot, its store, or where it is served."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from barback.cli.doctor.findings import Findings
from barback.cli.doctor.installation import EXTRA_OF_STORE, look_at_installation
from barback.cli.doctor.store import driver_of, look_at_store
from barback.cli.doctor.web import channels_of, look_at_platform, look_at_url
from barback.cli.loading import load_bot
from barback.cli.words import without_secrets
from barback.errors import BarbackError, ConfigurationError
from barback.extras import needs_extra
from barback.stores.local import leased
from barback.stores.url import open_store

with needs_extra("cli"):
    import click

if TYPE_CHECKING:
    from barback.bot import Bot
    from barback.channels.base import Channel
    from barback.stores.base import LeasedStore

__all__ = ["doctor"]

KEYS = "BARBACK_KEYS"


@click.command()
@click.argument("bot", metavar="[MODULE:BOT]", required=False)
@click.option("--store", metavar="URL", help="The store; the bot's own unless given.")
@click.option("--url", metavar="URL", help="Where the bot is served: https:// and its host.")
@click.option(
    "--channel",
    "names",
    multiple=True,
    metavar="NAME",
    help="A channel beside those of the bot, as the environment tells of it. May be repeated.",
)
@click.option("--offline", is_flag=True, help="Ask no platform.")
@click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")
def doctor(  # noqa: PLR0913 - options, by keyword
    bot: str | None,
    store: str | None,
    url: str | None,
    names: tuple[str, ...],
    *,
    offline: bool,
    as_json: bool,
) -> int:
    """Find out what is wrong with a bot, its store, or where it is served.

    MODULE:BOT is the bot: its module, here or installed, and its name there, as in shop:bot. Its
    store is opened as the bot does it, tables included; five sessions are written and destroyed,
    whose ids begin with doctor: . Each line is ok, or something to think about (warn), or to be put
    right (fail), with what to do.

    The exit status is 0 if nothing is to be put right, and 1 if something is.
    """
    if url is not None and urlsplit(url).scheme not in {"http", "https"}:
        raise ConfigurationError("--url begins with https:// and the name of a host.")
    findings = Findings(as_json=as_json)
    loaded = None if bot is None else _bot(findings, bot)
    opened = _store(findings, loaded, store)
    channels = [*(() if loaded is None else loaded.channels), *channels_of(findings, names)]
    look_at_installation(findings, _extras(loaded, opened, channels, url))
    _look_at_keys(findings)

    async def look() -> None:
        if opened is not None:
            await look_at_store(findings, opened, "" if loaded is None else loaded._prefix)  # noqa: SLF001
        if url is not None:
            await look_at_url(findings, url)
        for channel in () if offline else channels:
            await look_at_platform(findings, channel, None if url is None else url.rstrip("/"))

    asyncio.run(look())
    return findings.end()


def _bot(findings: Findings, name: str) -> Bot[Any] | None:
    try:
        bot = load_bot(name)
        bot._states.check()  # noqa: SLF001 - as it does when it is started
    except BarbackError as error:
        findings.fail("bot", without_secrets(error))
        return None
    what = [f"channel {channel.name}" for channel in bot.channels] or ["no channel of its own"]
    if bot._states.keys is not None:  # noqa: SLF001
        what.append(f"encrypted with {bot._states.keys.current}")  # noqa: SLF001
    findings.ok("bot", f"{name}: {', '.join(what)}")
    return bot


def _store(findings: Findings, bot: Bot[Any] | None, url: str | None) -> LeasedStore | None:
    if url is None:
        return None if bot is None else bot._store  # noqa: SLF001 - as the bot uses it
    try:
        return leased(open_store(url))
    except BarbackError as error:
        findings.fail("store", without_secrets(error))
        return None


def _extras(
    bot: Bot[Any] | None, store: LeasedStore | None, channels: list[Channel], url: str | None
) -> set[str]:
    """Those that are needed."""
    needed = {"cli"}
    if store is not None and driver_of(store).name in EXTRA_OF_STORE:
        needed.add(EXTRA_OF_STORE[driver_of(store).name])
    if bot is not None and bot._states.keys is not None:  # noqa: SLF001
        needed.add("encryption")
    if any(channel.name != "console" for channel in channels):
        needed.add("http")
    if url is not None:
        needed.add("serve")
    return needed


def _look_at_keys(findings: Findings) -> None:
    if KEYS not in os.environ:
        return
    try:
        from barback.encryption import Keys  # noqa: PLC0415 - it needs an extra

        keys = Keys.from_environment(KEYS)
    except BarbackError as error:
        findings.fail("keys", str(error))
    else:
        findings.ok("keys", f"{KEYS} has {', '.join(keys.names)}; {keys.current} is current")
