"""What a bot says in the answer to a webhook's request, where its platform takes it there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import msgspec

from barback import Bot, Context, Event, Redeliver, WebhookAnswer, WebhookRequest
from barback.channels.answer import AnsweredEvent
from tests.postbox import Postbox, World


class Doorbell(Postbox):
    """A platform that takes the first words in its answer, and the others as calls."""

    def events(self, request: WebhookRequest) -> Sequence[Event]:
        (event,) = super().events(request)
        return [AnsweredEvent(channel=event.channel, id=event.id, user=event.user)]

    async def send_text(self, context: Context[Any], text: str) -> None:
        event = context.event
        assert isinstance(event, AnsweredEvent)
        if not event.answer.say(WebhookAnswer(200, text.encode())):
            self.sent.append(text)


@asynccontextmanager
async def serving(bot: Bot[Any], ack_within: float = 20.0) -> AsyncIterator[World]:
    bell = Doorbell()
    bell.ack_within = ack_within
    app = bot.asgi(bell)
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://bot") as client:
        async with app.router.lifespan_context(app):
            yield World(bot, bell, client)


async def test_what_is_said_first_is_in_the_answer() -> None:
    bot = Bot()

    @bot.on_event
    async def greet(context: Context[Any]) -> None:
        await context.send_text("Welcome")
        await context.send_text("and more")

    async with serving(bot) as world:
        answer = await world.post({"id": "1", "who": "tim"})
        assert (answer.status_code, answer.content) == (200, b"Welcome")
        assert world.box.sent == ["and more"]


async def test_who_says_nothing_is_answered_as_ever() -> None:
    bot = Bot()

    @bot.on_event
    async def ignore(context: Context[Any]) -> None:
        pass

    async with serving(bot) as world:
        answer = await world.post({"id": "1", "who": "tim"})
        assert (answer.status_code, answer.content) == (200, b"")


async def test_what_is_to_come_again_is_answered_503_and_said_when_it_is_done() -> None:
    bot, tries = Bot(), 0

    @bot.on_event
    async def greet(context: Context[Any]) -> None:
        nonlocal tries
        tries += 1
        await context.send_text(f"Welcome, {tries}")
        if tries == 1:
            raise Redeliver("once more")

    async with serving(bot) as world:
        answer = await world.post({"id": "1", "who": "tim"})
        assert (answer.status_code, answer.content) == (503, b"")
        answer = await world.post({"id": "1", "who": "tim"})
        assert (answer.status_code, answer.content) == (200, b"Welcome, 2")


async def test_after_an_early_answer_the_words_go_the_other_way() -> None:
    bot, may_end, done = Bot(), asyncio.Event(), asyncio.Event()

    @bot.on_event
    async def slow(context: Context[Any]) -> None:
        if context.event.id == "1":
            await context.send_text("Welcome")
        await may_end.wait()
        await context.send_text("late")
        done.set()

    async with serving(bot, ack_within=0.01) as world:
        first = await world.post({"id": "1", "who": "tim"})
        second = await world.post({"id": "2", "who": "ann"})
        assert (first.status_code, first.content) == (200, b"Welcome")
        assert (second.status_code, second.content) == (200, b"")
        may_end.set()
        await done.wait()
    assert world.box.sent == ["late", "late"]


async def test_a_platform_that_hangs_up_is_answered_nothing() -> None:
    bot, begun, may_end, done = Bot(), asyncio.Event(), asyncio.Event(), asyncio.Event()

    @bot.on_event
    async def slow(context: Context[Any]) -> None:
        begun.set()
        await may_end.wait()
        await context.send_text("late")
        done.set()

    async with serving(bot) as world:
        request = asyncio.ensure_future(world.post({"id": "1", "who": "tim"}))
        await begun.wait()
        request.cancel()
        await asyncio.wait([request])
        may_end.set()
        await done.wait()
    assert world.box.sent == ["late"]


def test_without_a_request_there_is_no_answer_to_say_anything_in() -> None:
    event = AnsweredEvent(channel="postbox", conversation="bot")
    assert not event.answer.say(WebhookAnswer(200, msgspec.json.encode("Welcome")))
    assert event.answer.close() is None
