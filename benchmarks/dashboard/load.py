"""Two minutes of bots at work, in which everything happens that the dashboard has a panel for.

Telegram's bot runs twice, as two processes behind a load balancer do, with its sessions in one
Redis; LINE's once, in memory, where there is not room for everybody. People write more and less.
Now and then a handler fails, an event comes twice, a platform refuses a message, or a turn takes
longer than the platform waits. For some seconds Redis is away, and LINE's bot is started anew.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx2
from opentelemetry.sdk.metrics import MeterProvider
from starlette.applications import Starlette

from barback import (
    Bot,
    ChannelError,
    Context,
    NotDone,
    Redeliver,
    RedisSessionStore,
    WebhookChannel,
)
from barback.channels.http import HttpAnswer, HttpRequest
from barback.telemetry import Telemetry
from barback.testing import FakeLine, FakePlatform, FakeTelegram, FaultProxy, telegram_error
from barback.testing.platform import Call
from tests.valkey_servers import ValkeyServer

__all__ = ["work"]

SECONDS = 120.0
OUTAGE = (50.0, 58.0)
RESTART = 92.0
PEOPLE = 30  # on each platform
ROOM = 12  # for sessions in memory
ACK_WITHIN = 0.8
PLATFORM_TAKES = (0.01, 0.08)
SECRET = "of-a-webhook-that-nobody-else-calls"  # noqa: S105 - it opens nothing


class SlowTelegram(FakeTelegram):
    """Telegram, as far away as it is."""

    async def answer(self, call: Call, request: HttpRequest) -> HttpAnswer:
        """See `FakePlatform.answer`."""
        await asyncio.sleep(chance.uniform(*PLATFORM_TAKES))
        return await super().answer(call, request)


class SlowLine(FakeLine):
    """LINE, as far away as it is."""

    async def answer(self, call: Call, request: HttpRequest) -> HttpAnswer:
        """See `FakePlatform.answer`."""
        await asyncio.sleep(chance.uniform(*PLATFORM_TAKES))
        return await super().answer(call, request)


chance = random.Random(7)  # noqa: S311 - it is for traffic, and for no secret


class Balancer(httpx2.AsyncBaseTransport):
    """Hands each request to one of the apps, whichever."""

    def __init__(self, *apps: Starlette) -> None:
        self._ways = [httpx2.ASGITransport(app=app) for app in apps]

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """See `httpx2.AsyncBaseTransport`."""
        return await chance.choice(self._ways).handle_async_request(request)


async def work(meters: MeterProvider, server: ValkeyServer, seconds: float = SECONDS) -> None:
    """Let the bots work that long, and tell `meters` of it."""
    logging.getLogger("barback").setLevel(logging.CRITICAL)  # what fails here is meant to
    async with AsyncExitStack() as stack:
        proxy = await stack.enter_async_context(FaultProxy("127.0.0.1", server.port))
        telegram = await stack.enter_async_context(SlowTelegram(secret=SECRET))
        line = await stack.enter_async_context(SlowLine())
        url = f"redis://127.0.0.1:{proxy.port}/0"
        twins = [_shop(meters, url) for _ in range(2)]
        apps = [bot.asgi(_channel(telegram, secret=SECRET)) for bot in twins]
        for app in apps:
            await stack.enter_async_context(app.router.lifespan_context(app))
        other = _shop(meters, f"memory://?max_size={ROOM}", shutdown_timeout=0.2)
        waiter = other.asgi(_channel(line))
        _reach(telegram, await stack.enter_async_context(_client(*apps)), "telegram")
        _reach(line, await stack.enter_async_context(_client(waiter)), "line")
        async with asyncio.TaskGroup() as group:
            for task in (
                _people(telegram, lambda: chance.randrange(1, PEOPLE), 9.0, seconds),
                _people(line, lambda: f"U{chance.randrange(1, PEOPLE):032x}", 5.0, seconds),
                _every(2.0, seconds, lambda: _remind(twins[0])),
                _every(7.0, seconds, lambda: _refuse(telegram)),
                _every(11.0, seconds, lambda: _delete(server)),
                _outage(proxy, seconds),
                _started_anew(waiter, line, seconds),
            ):
                group.create_task(task)


def _shop(meters: MeterProvider, store: str, **options: Any) -> Bot[Any]:
    bot = Bot(
        observers=[Telemetry(meter_provider=meters)],
        session_store=store,
        initial_state={"cart": [], "visits": 0},
        **options,
    )

    @bot.on_event
    async def serve(context: Context[Any]) -> None:
        about = context.event.text or ""
        await context.typing()
        await asyncio.sleep(chance.lognormvariate(-3.5, 0.6))  # it looks something up
        if about == "what?":
            raise ValueError
        if about == "later":
            await asyncio.sleep(ACK_WITHIN * 3)
            raise Redeliver
        if about == "think":
            await asyncio.sleep(ACK_WITHIN * 1.5)
        if about != "look":
            context.state["cart"] = [*context.state["cart"], about][-20:]
            context.set_state(visits=context.state["visits"] + 1)
        await context.send_text("There it is.")

    return bot


def _channel(platform: FakePlatform, **options: Any) -> WebhookChannel:
    channel = platform.channel(**options)
    channel.ack_within = ACK_WITHIN
    return channel


def _reach(platform: FakePlatform, client: httpx2.AsyncClient, name: str) -> None:
    platform.webhook = f"http://bot/{name}"
    platform.reach_by(client)


@asynccontextmanager
async def _client(*apps: Starlette) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(transport=Balancer(*apps), timeout=60) as client:
        yield client


# What happens.


async def _people(
    platform: FakePlatform, who: Callable[[], Any], rate: float, seconds: float
) -> None:
    """Somebody says something; at most that often a second, and at times much less often."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with asyncio.TaskGroup() as group:
        while (passed := loop.time() - began) < seconds:
            busy = 0.6 + 0.4 * math.sin(passed / seconds * 4 * math.pi)
            await asyncio.sleep(chance.expovariate(rate * busy))
            twice = 2 if chance.random() < 0.05 else 1
            group.create_task(_say(platform, _words(), who(), twice))


async def _say(platform: FakePlatform, text: str, user: Any, times: int) -> None:
    try:
        await platform.say(text, user=user, times=times)
    except RuntimeError:  # the app was being started anew: platforms try again
        await asyncio.sleep(1)
        await platform.say(text, user=user, times=times)


def _words() -> str:
    kinds = {"look": 20, "tea": 40, "a very large pot of coffee": 36, "think": 1, "what?": 3}
    return chance.choices([*kinds, "later"], [*kinds.values(), 0.4])[0]


async def _every(pause: float, seconds: float, happens: Callable[[], Awaitable[None]]) -> None:
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    while loop.time() < until:
        await asyncio.sleep(pause)
        await happens()


async def _remind(bot: Bot[Any]) -> None:
    try:
        async with bot.conversation(f"telegram:{chance.randrange(1, PEOPLE)}") as context:
            await context.send_text("Your tea is getting cold.")
    except (NotDone, ChannelError):
        return  # Redis is away, or the person has blocked the bot


async def _refuse(telegram: FakeTelegram) -> None:
    telegram.answer_next(telegram_error(403, "Forbidden: bot was blocked by the user"))


async def _delete(server: ValkeyServer) -> None:
    """Somebody deletes sessions by force, whatever runs."""
    async with RedisSessionStore(server.url) as store:
        for person in range(1, PEOPLE, 2):
            await store.destroy(f"telegram:{person}", None)


async def _outage(proxy: FaultProxy, seconds: float) -> None:
    begins, ends = (moment / SECONDS * seconds for moment in OUTAGE)
    await asyncio.sleep(begins)
    proxy.refuse()
    proxy.cut()
    await asyncio.sleep(ends - begins)
    proxy.go_on()


async def _started_anew(app: Starlette, line: FakeLine, seconds: float) -> None:
    """While turns go on whose events are answered already: those are lost."""
    moment = RESTART / SECONDS * seconds
    async with app.router.lifespan_context(app):
        await asyncio.sleep(moment - 2 * ACK_WITHIN)
        await asyncio.gather(*(line.say("later", user=f"U{who:032x}") for who in range(1, 4)))
        await asyncio.sleep(ACK_WITHIN)
    async with app.router.lifespan_context(app):
        await asyncio.sleep(seconds - moment + 5)
