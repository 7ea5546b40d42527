"""`barback dev`: talk to a bot on a web page, and see what its turns do."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

from barback.cli.loading import load_bot, split_name
from barback.errors import ConfigurationError
from barback.extras import needs_extra
from barback.playground.source import Source
from barback.playground.world import Playground
from barback.stores.local import leased
from barback.stores.url import open_store

with needs_extra("serve"):
    import click
    import uvicorn

    from barback.playground.app import LOCAL, playground_app

if TYPE_CHECKING:
    from types import FrameType

__all__ = ["dev"]

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


@click.command()
@click.argument("bot", metavar="MODULE:BOT")
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen.")
@click.option("--port", type=click.IntRange(0, 65535), default=8001, show_default=True)
@click.option("--store", metavar="URL", help="Another store than the bot's own.")
@click.option(
    "--channel",
    default="playground",
    show_default=True,
    metavar="NAME",
    help="The platform that people write from: the first part of their sessions' ids.",
)
@click.option(
    "--token",
    metavar="TEXT",
    help="What the address must have, from another machine. One is made unless given.",
)
def dev(  # noqa: PLR0913 - what the command line says
    bot: str, host: str, port: int, *, store: str | None, channel: str, token: str | None
) -> None:
    """Try a bot on a web page, as several people.

    MODULE:BOT is the bot: its module, here or installed, and its name there, as in shop:bot. The
    page shows what each turn has read and changed, and how long it took. When the code changes it
    is loaded anew, and the sessions stay. Nothing is sent to any platform.

    It is for the machine it runs on. With another --host everybody who can reach it, and knows the
    token, can run the bot.
    """
    split_name(bot)  # what no change of the code could mend
    folder = Path.cwd()
    source = Source(bot, load_bot, folder)
    given = None if store is None else leased(open_store(store))
    playground = Playground(source, store=given, channel=channel)
    hosts = LOCAL
    if host not in LOOPBACK:
        if host in {"0.0.0.0", "::", ""}:  # noqa: S104 - it is refused
            message = (
                "Say by which of its names or addresses this machine is to be called, such as "
                "--host 192.168.1.5: all of them at once would let strangers' pages in."
            )
            raise ConfigurationError(message)
        hosts = LOCAL | {f"[{host}]" if ":" in host else host}
        token = token or secrets.token_urlsafe(24)
    app = playground_app(playground, hosts=hosts, token=token)
    config = uvicorn.Config(
        app, host=host, port=port, lifespan="on", log_level="warning", server_header=False
    )
    try:
        Server(config, playground, token).run()
    except SystemExit as ended:  # it has told why; its own status would say something else
        raise click.exceptions.Exit(1) from ended


class Server(uvicorn.Server):
    """Tells where it is, and lets the pages go when it is to stop."""

    def __init__(self, config: uvicorn.Config, playground: Playground, token: str | None) -> None:
        super().__init__(config)
        self._playground = playground
        self._token = token

    async def startup(self, sockets: Any = None) -> None:
        """See `uvicorn.Server`."""
        await super().startup(sockets)
        if not self.started:
            return
        port = self.servers[0].sockets[0].getsockname()[1]
        host = self.config.host
        shown = f"[{host}]" if ":" in host else host
        query = "" if self._token is None else f"?token={self._token}"
        click.echo(f"The playground of {self._playground.source.name}:")
        click.echo(f"  http://{shown}:{port}/{query}")
        if self._playground.trouble is not None:
            click.echo(self._playground.trouble, err=True)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """See `uvicorn.Server`."""
        # Pages wait for news, and a server waits for pages.
        self._playground.news.end()
        super().handle_exit(sig, frame)
