"""barback behind its webhook, served by uvicorn: what `barback run` does."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import uvicorn

from barback import Bot, TelegramChannel
from barback.channels.http import HttpAnswer, HttpRequest
from benchmarks.served import SECRET, TOKEN, URL, serve_or_look
from benchmarks.subjects.barback_bot import BarbackBot, greet

if TYPE_CHECKING:
    from starlette.applications import Starlette

DONE = HttpAnswer(200, {}, b'{"ok": true, "result": true}')


class Counted:
    """A connection to Telegram that answers each call as done."""

    async def fetch(self, request: HttpRequest) -> HttpAnswer:  # noqa: ARG002 - of `Http`
        """See `barback.channels.http.Http`."""
        return DONE

    async def close(self) -> None:
        """Nothing to close."""


def app() -> Starlette:
    """What each worker serves."""
    bot = Bot(
        initial_state={"asking": False, "nickname": None},
        session_store=os.environ[URL],
        channels=[TelegramChannel(TOKEN, secret=SECRET, http=Counted())],
    )
    bot.on_event(greet)
    return bot.asgi()


def serve(port: int, workers: int, *, uvloop: bool) -> None:
    """Serve until SIGTERM."""
    uvicorn.run(
        "benchmarks.subjects.barback_webhook:app",
        factory=True,
        port=port,
        workers=workers,
        loop="uvloop" if uvloop else "asyncio",
        access_log=False,
        log_level="warning",
        server_header=False,
    )


if __name__ == "__main__":
    serve_or_look(sys.argv[1:], serve, BarbackBot)
