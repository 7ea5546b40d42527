"""aiogram behind its own webhook server, with its lock in Redis, answering at the end."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import sys
from typing import Any

from aiogram.webhook.aiohttp_server import SimpleRequestHandler, setup_application
from aiohttp import web

from benchmarks.served import SECRET, URL, serve_or_look
from benchmarks.subjects.aiogram_bot import AiogramBot
from benchmarks.workload import Job


def serve(port: int, workers: int, *, uvloop: bool) -> None:
    """Serve until SIGTERM, in so many processes that share the port."""
    others = [
        multiprocessing.Process(target=serve_one, args=(port, uvloop), daemon=True)
        for _ in range(workers - 1)
    ]
    for other in others:
        other.start()
    serve_one(port, uvloop)


def serve_one(port: int, uvloop: bool) -> None:  # noqa: FBT001 - multiprocessing passes it
    """One of the processes."""
    loop: Any = None
    if uvloop:
        import uvloop as faster  # noqa: PLC0415 - only where it is asked for

        loop = faster.new_event_loop()
    else:
        loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    job = Job(store="redis", url=os.environ[URL], options={"lock": True})
    subject = AiogramBot(job)
    app = web.Application()
    handler = SimpleRequestHandler(
        subject.dispatcher, subject.bot, handle_in_background=False, secret_token=SECRET
    )
    handler.register(app, path="/telegram")
    setup_application(app, subject.dispatcher, bot=subject.bot)
    web.run_app(
        app,
        host="127.0.0.1",
        port=port,
        reuse_port=True,
        access_log=None,
        print=lambda *_: None,
        loop=loop,
    )


if __name__ == "__main__":
    serve_or_look(sys.argv[1:], serve, AiogramBot)
