"""A bot that fetches its updates from Telegram."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from barback import Bot, ChannelError, ConfigurationError, Context, Redeliver
from barback.testing import FakeTelegram, telegram_error


@asynccontextmanager
async def polling(bot: Bot[Any], telegram: FakeTelegram) -> AsyncIterator[asyncio.Task[None]]:
    channel = telegram.channel()
    bot.add_channel(channel)
    async with bot:
        task = asyncio.ensure_future(channel.serve(bot))
        try:
            yield task
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError, ChannelError, ConfigurationError):
                await task


async def until(is_so: Any) -> None:
    async with asyncio.timeout(20):
        while not is_so():
            await asyncio.sleep(0.005)


def wait_for(telegram: FakeTelegram, *texts: str) -> None:
    for text in texts:
        telegram.waiting.append(telegram.update(message=telegram.message(text=text)))


def noting() -> tuple[Bot[Any], list[str | None]]:
    """A bot, and what people have said to it."""
    bot, said = Bot(), list[str | None]()

    @bot.on_event
    async def note(context: Context[Any]) -> None:
        said.append(context.event.text)

    return bot, said


async def test_updates_are_handled_in_order_and_confirmed_when_committed() -> None:
    bot = Bot(initial_state={"n": 0})

    @bot.on_event
    async def echo(context: Context[Any]) -> None:
        context.set_state(n=context.state["n"] + 1)
        await context.send_text(f"{context.state['n']} {context.event.text}")

    async with FakeTelegram() as telegram:
        wait_for(telegram, "a", "b", "c")
        async with polling(bot, telegram):
            await until(lambda: not telegram.waiting)
        assert telegram.texts(42) == ["1 a", "2 b", "3 c"]


async def test_nothing_is_confirmed_before_it_is_committed() -> None:
    bot, may_end = Bot(initial_state={"done": False}), asyncio.Event()

    @bot.on_event
    async def slow(context: Context[Any]) -> None:
        await may_end.wait()
        context.set_state(done=True)

    async with FakeTelegram() as telegram:
        wait_for(telegram, "a")
        async with polling(bot, telegram):
            await until(lambda: telegram.called("getUpdates"))
            await asyncio.sleep(0.2)
            assert len(telegram.waiting) == 1
            may_end.set()
            await until(lambda: not telegram.waiting)


async def test_what_was_not_done_is_handled_again_and_the_others_are_not() -> None:
    bot = Bot()
    said: list[str | None] = []

    @bot.on_event
    async def fails_once(context: Context[Any]) -> None:
        said.append(context.event.text)
        if context.event.text == "a" and said.count("a") == 1:
            raise Redeliver("once more")

    async with FakeTelegram() as telegram:
        wait_for(telegram, "a", "b")
        async with polling(bot, telegram):
            await until(lambda: not telegram.waiting)
    assert (said.count("a"), said.count("b")) == (2, 1)


async def test_a_bot_that_was_killed_gets_the_same_again_and_does_it_once() -> None:
    """What was handled and not confirmed comes again, from the same or another process."""
    bot, said = noting()
    async with FakeTelegram() as telegram:
        wait_for(telegram, "a")
        again = list(telegram.waiting)
        async with polling(bot, telegram):
            await until(lambda: not telegram.waiting)
            telegram.waiting.extend(again)
            calls = len(telegram.calls)
            await until(lambda: len(telegram.calls) > calls + 1)
    assert said == ["a"]


async def test_a_platform_that_fails_is_asked_again() -> None:
    bot, said = noting()
    async with FakeTelegram() as telegram:
        wait_for(telegram, "a")
        telegram.answer_next(telegram_error(502), None)
        async with polling(bot, telegram):
            await until(lambda: said)


async def test_where_a_webhook_is_set_nothing_can_be_fetched_and_that_is_said() -> None:
    bot = Bot()
    async with FakeTelegram(webhook="https://bot.example/telegram") as telegram:
        async with polling(bot, telegram) as task:
            with pytest.raises(ConfigurationError, match="barback webhook delete"):
                await task


async def test_where_somebody_else_fetches_it_is_said_and_tried_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bot, said = noting()
    async with FakeTelegram() as telegram:
        wait_for(telegram, "a")
        telegram.answer_next(telegram_error(409, "Conflict: terminated by other getUpdates"))
        async with polling(bot, telegram):
            await until(lambda: said)
    assert "Somebody else fetches" in caplog.text


async def test_a_wrong_token_ends_it() -> None:
    bot = Bot()
    async with FakeTelegram() as telegram:
        telegram.answer_next(telegram_error(401, "Unauthorized"))
        async with polling(bot, telegram) as task:
            with pytest.raises(ChannelError, match="401"):
                await task
