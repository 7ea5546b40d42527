"""A platform of the tests' own, and bots that are on it, behind their web app in this process."""

from __future__ import annotations

import hmac
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import msgspec

from barback import (
    Bot,
    Context,
    Event,
    User,
    WebhookAnswer,
    WebhookChannel,
    WebhookMalformed,
    WebhookRefused,
    WebhookRequest,
)

BATCH = [{"id": "1", "who": "tim"}, {"id": "2", "who": "tim"}, {"id": "3", "who": "ann"}]


class Postbox(WebhookChannel):
    """A platform that sends lists of what people did, with a secret in a header."""

    name = "postbox"

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.seen: list[WebhookRequest] = []

    def handshake(self, request: WebhookRequest) -> WebhookAnswer | None:
        self.seen.append(request)
        if request.method == "GET" and request.query.get("token") == "right":
            return WebhookAnswer(200, request.query["challenge"].encode())
        if request.body == b"hello?":
            return WebhookAnswer(200, b"yes", "text/x-greeting")
        return None

    def verify(self, request: WebhookRequest) -> None:
        if not hmac.compare_digest(request.headers.get("secret", ""), "right"):
            raise WebhookRefused("no")

    def events(self, request: WebhookRequest) -> Sequence[Event]:
        try:
            told = msgspec.json.decode(request.body, type=list[dict[str, str]])
        except msgspec.DecodeError:
            raise WebhookMalformed("no list") from None
        return [
            Event(channel=self.name, id=one["id"], user=User(one["who"]), text=one.get("text"))
            for one in told
        ]

    async def send_text(self, context: Context[Any], text: str) -> None:
        self.sent.append(text)


class World:
    """A bot, its channel, and somebody who calls it."""

    def __init__(self, bot: Bot[Any], box: Postbox, client: httpx2.AsyncClient) -> None:
        self.bot, self.box, self.client = bot, box, client

    async def post(self, *events: dict[str, str], signed: str = "right") -> httpx2.Response:
        body = msgspec.json.encode(events)
        return await self.client.post("/postbox", content=body, headers={"secret": signed})


@asynccontextmanager
async def serving(
    bot: Bot[Any], *, running: bool = True, ack_within: float = 20.0, **options: Any
) -> AsyncIterator[World]:
    box = Postbox()
    box.ack_within = ack_within
    app = bot.asgi(box, **options)
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://bot") as client:
        if not running:
            yield World(bot, box, client)
            return
        async with app.router.lifespan_context(app):
            yield World(bot, box, client)


def greeter(**options: Any) -> Bot[Any]:
    """Replies to each event with its id, and keeps nothing."""
    bot = Bot(**options)

    @bot.on_event
    async def reply(context: Context[Any]) -> None:
        await context.send_text(str(context.event.id))

    return bot


def failing(error: Exception) -> Any:
    async def handle(event: Event, *, remember: bool = False) -> None:
        raise error

    return handle
