"""A bot as a part of another web app, as docs/web.md says."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
from fastapi import FastAPI

from barback import Bot, Context
from barback.testing import FakeTelegram


async def test_webhooks_are_mounted_in_fastapi_and_run_while_its_lifespan_does() -> None:
    bot = Bot(initial_state={"n": 0})

    @bot.on_event
    async def count(context: Context[Any]) -> None:
        context.set_state(n=context.state["n"] + 1)
        await context.send_text(f"{context.state['n']}")

    async with FakeTelegram(webhook="http://bot/bots/telegram") as telegram:
        webhooks = bot.asgi(telegram.channel())

        @asynccontextmanager
        async def lifespan(_: FastAPI) -> AsyncIterator[None]:
            async with bot:
                yield

        app = FastAPI(lifespan=lifespan)

        @app.get("/visitors")
        async def visitors() -> dict[str, int]:
            async with bot.conversation("telegram:42") as context:
                return {"n": context.state["n"]}

        app.mount("/bots", webhooks)
        client = httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://bot")
        telegram.reach_by(client)
        async with client:
            body = b'{"update_id": 1}'
            assert (await telegram.post(body)).status == 503  # nobody has started the bot
            async with app.router.lifespan_context(app):
                await telegram.say("Hi", times=2)
                assert telegram.texts(42) == ["1"]
                assert (await client.get("/visitors")).json() == {"n": 1}
                assert (await client.get("/bots/readyz")).status_code == 200
                assert (await client.get("/docs")).status_code == 200
            assert (await telegram.post(body)).status == 503
