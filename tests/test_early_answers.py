"""Turns that take longer than their platform waits: it is answered, and they go on."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from barback import Bot, Context, Event, Redeliver, User
from tests.postbox import BATCH, greeter, serving
from tests.scripted import state_of


async def test_a_turn_that_takes_longer_than_the_platform_waits_is_answered_early() -> None:
    bot, may_end = Bot(initial_state={"done": False}), asyncio.Event()

    @bot.on_event
    async def slow(context: Context[Any]) -> None:
        await may_end.wait()
        context.set_state(done=True)

    async with serving(bot, ack_within=0.01) as world:
        assert (await world.post({"id": "1", "who": "tim"})).status_code == 200
        assert bot.early_answers == 1
        may_end.set()
        assert await state_of(bot, "postbox:tim") == {"done": True}
    assert bot.lost_events == 0


async def test_what_was_answered_early_and_not_done_is_handled_again_here() -> None:
    bot, may_end, calls = Bot(initial_state={"done": False}), asyncio.Event(), 0
    done = asyncio.Event()

    @bot.on_event
    async def slow(context: Context[Any]) -> None:
        nonlocal calls
        calls += 1
        await may_end.wait()
        if calls < 3:
            raise Redeliver("not yet")
        context.set_state(done=True)
        done.set()

    async with serving(bot, ack_within=0.01) as world:
        assert (await world.post({"id": "1", "who": "tim"})).status_code == 200
        may_end.set()
        await done.wait()
        assert await state_of(bot, "postbox:tim") == {"done": True}
    assert (bot.early_answers, bot.lost_events) == (1, 0)


async def test_what_was_answered_early_is_waited_for_when_the_bot_stops() -> None:
    bot, ended = Bot(), []

    @bot.on_event
    async def slow(context: Context[Any]) -> None:
        await asyncio.sleep(0.1)
        ended.append(context.event.id)

    async with serving(bot, ack_within=0.01) as world:
        await world.post({"id": "1", "who": "tim"})
        assert ended == []
    assert ended == ["1"]


async def test_what_is_lost_when_the_bot_stops_is_counted_and_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bot, begun = Bot(shutdown_timeout=0.01), asyncio.Event()

    @bot.on_event
    async def endless(context: Context[Any]) -> None:
        begun.set()
        await asyncio.Event().wait()

    async with serving(bot, ack_within=0.01) as world:
        await world.post({"id": "1", "who": "tim"})
    assert bot.lost_events == 1
    assert "is lost" in caplog.text


async def test_no_more_turns_are_answered_early_than_may_be() -> None:
    bot, may_end, handled = Bot(), asyncio.Event(), []

    @bot.on_event
    async def slow(context: Context[Any]) -> None:
        await may_end.wait()
        handled.append(context.event.id)

    async with serving(bot, ack_within=0.01, max_early=1) as world:
        assert (await world.post({"id": "1", "who": "tim"})).status_code == 200
        refused = await world.post({"id": "2", "who": "ann"})
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        may_end.set()
        async with bot.conversation("postbox:tim"):
            pass  # behind the first turn
        assert handled == ["1"]
        while bot._receptions[0]._early:
            await asyncio.sleep(0)
        assert (await world.post({"id": "2", "who": "ann"})).status_code == 200
        assert handled == ["1", "2"]


async def test_a_batch_with_more_than_may_be_answered_early_comes_again() -> None:
    bot, may_end = Bot(), asyncio.Event()
    said = []

    @bot.on_event
    async def slow(context: Context[Any]) -> None:
        await may_end.wait()
        said.append(context.event.id)

    async with serving(bot, ack_within=0.01, max_early=1) as world:
        assert (await world.post(*BATCH)).status_code == 503
        may_end.set()
        world.box.ack_within = 20.0
        assert (await world.post(*BATCH)).status_code == 200
    assert (bot.early_answers, bot.lost_events) == (0, 0)
    assert {"1", "2", "3"} == set(said)
    assert len(said) == 3


async def test_of_a_batch_with_one_not_done_none_is_answered_early() -> None:
    bot, may_end = Bot(), asyncio.Event()

    @bot.on_event
    async def mixed(context: Context[Any]) -> None:
        if context.event.user == User("ann"):
            raise Redeliver("later")
        await may_end.wait()

    async with serving(bot, ack_within=0.01) as world:
        assert (await world.post(*BATCH)).status_code == 503
        assert bot.early_answers == 0
        may_end.set()


async def test_what_goes_wrong_after_an_early_answer_otherwise_is_lost_and_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bot = greeter()

    async def handle(event: Event, *, remember: bool = False) -> None:
        await asyncio.sleep(0.05)
        raise ValueError("a bug")

    async with serving(bot, ack_within=0.01) as world:
        bot.handle = handle  # type: ignore[method-assign,assignment]
        assert (await world.post({"id": "1", "who": "tim"})).status_code == 200
    assert (bot.early_answers, bot.lost_events) == (1, 1)
    assert "is lost" in caplog.text


async def test_a_platform_that_hangs_up_does_not_cut_a_turn_short() -> None:
    bot, begun, may_end = Bot(initial_state={"n": 0}), asyncio.Event(), asyncio.Event()

    @bot.on_event
    async def slow(context: Context[Any]) -> None:
        begun.set()
        await may_end.wait()
        context.set_state(n=context.state["n"] + 1)

    async with serving(bot) as world:
        request = asyncio.ensure_future(world.post({"id": "1", "who": "tim"}))
        await begun.wait()
        request.cancel()
        await asyncio.wait([request])
        may_end.set()
        assert (await world.post({"id": "1", "who": "tim"})).status_code == 200
        assert await state_of(bot, "postbox:tim") == {"n": 1}
