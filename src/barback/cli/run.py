"""`barback run`: serve a bot's webhooks, with uvicorn."""

from __future__ import annotations

import asyncio
import os
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Final

from barback.cli.loading import load_bot, with_channels
from barback.cli.words import complain
from barback.errors import ConfigurationError, SessionStoreUnavailable
from barback.extras import needs_extra
from barback.stores.base import InstantStore
from barback.stores.local import LocalLeases

with needs_extra("serve"):
    import click
    import uvicorn

    from barback.cli.arriving import BoundedHttp

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.applications import Starlette

    from barback.stores.base import LeasedStore

__all__ = ["app", "run", "worker"]

BOT: Final = "BARBACK_RUN_BOT"
CHANNELS: Final = "BARBACK_RUN_CHANNELS"
TELEMETRY: Final = "BARBACK_RUN_TELEMETRY"
"""The environment variables in which the processes that serve find what they are to serve."""

DRAIN: Final = 60  # seconds for requests under way when it is to stop


@click.command()
@click.argument("bot", metavar="MODULE:BOT")
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True)
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    metavar="N",
    help="How many processes serve. More than one need a store that processes may share.",
)
@click.option(
    "--channel",
    "channels",
    multiple=True,
    metavar="NAME",
    help="A channel beside those of the bot, as the environment tells of it. May be repeated.",
)
@click.option(
    "--telemetry",
    is_flag=True,
    help="Make spans and metrics, for OpenTelemetry's SDK as it is set up; see docs/telemetry.md.",
)
@click.option("--access-log", is_flag=True, help="Log each request.")
@click.option(
    "--proxy",
    "proxies",
    default="127.0.0.1",
    show_default=True,
    metavar="ADDRESSES",
    help="The proxies that are believed whom a request is from, with commas; '*' is all.",
)
def run(  # noqa: PLR0913 - what the command line says
    bot: str,
    host: str,
    port: int,
    workers: int,
    *,
    channels: tuple[str, ...],
    telemetry: bool,
    access_log: bool,
    proxies: str,
) -> None:
    """Serve the webhooks of a bot.

    MODULE:BOT is the bot: its module, here or installed, and its name there, as in shop:bot. Each
    of its channels has its webhook at its own path, such as /telegram; /healthz and /readyz tell
    how the bot is.

    SIGTERM and Ctrl-C stop it in good order: no new requests, and those under way are answered.
    """
    os.environ[BOT], os.environ[CHANNELS] = bot, ",".join(channels)
    os.environ[TELEMETRY] = "1" if telemetry else ""
    served = app()  # what is wrong is told at once, and here
    store = served.state.bot._store  # noqa: SLF001 - as the bot uses it, it is leased
    if workers > 1:
        _refuse_unshared(store)
    asyncio.run(_see_it_open(store))
    try:
        uvicorn.run(
            served if workers == 1 else "barback.cli.run:worker",
            factory=workers > 1,
            http=BoundedHttp,
            ws="none",  # no bot has a WebSocket
            host=host,
            port=port,
            workers=workers,
            lifespan="on",
            access_log=access_log,
            forwarded_allow_ips=proxies,
            timeout_graceful_shutdown=DRAIN,
            server_header=False,
        )
    except SystemExit as ended:  # it has told why; its own status would say something else
        raise click.exceptions.Exit(1) from ended


async def _see_it_open(store: LeasedStore) -> None:
    """Fail with a sentence, before a server does with all that it knows."""
    await store.acquire()
    await store.relinquish()


def _refuse_unshared(store: LeasedStore) -> None:
    """Several processes need a store of which each sees what the others have written."""
    if isinstance(store, (InstantStore, LocalLeases)):
        message = (
            f"Each worker would have sessions of its own in the {store.name} store: serve with one "
            f"worker, or give the bot a store that processes may share."
        )
        raise ConfigurationError(message)


def app() -> Starlette:
    """The app of the bot that the environment names."""
    channels = filter(None, os.environ.get(CHANNELS, "").split(","))
    bot = with_channels(load_bot(os.environ[BOT]), channels)
    if os.environ.get(TELEMETRY):
        from barback.telemetry import Telemetry  # noqa: PLC0415 - it needs an extra

        bot.observe(Telemetry())
    return bot.asgi()


def worker() -> Starlette:
    """The app, as each of several processes serves it."""
    served = app()
    lifespan = served.router.lifespan_context

    @asynccontextmanager
    async def started_again(app: Starlette) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            try:
                await stack.enter_async_context(lifespan(app))
            except SessionStoreUnavailable as error:
                # One that was started anew, while the store is away. uvicorn takes a start that
                # failed for a fault of the app's, and stops all the others as well; one that just
                # ended it starts again, until the store is back.
                complain(error, "This worker is started again.")
                os._exit(1)
            yield

    served.router.lifespan_context = started_again
    return served
