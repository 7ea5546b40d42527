"""One message to many sessions: everybody once, no faster than a platform bears."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from barback import (
    Bot,
    BotNotRunning,
    CannotSend,
    ChannelError,
    ChannelUnreachable,
    ConfigurationError,
    Context,
    HandlerRefused,
    HandlerTimeout,
    InvalidEvent,
    MemorySessionStore,
    Record,
    SessionUnreadable,
)
from barback.broadcasting import Broadcast
from barback.channels.http import HttpAnswer
from barback.testing import Clock, FakeTelegram, telegram_error
from barback.testing.platform import Call
from tests.scripted import ScriptedStore, state_of

PEOPLE = 20
IDS = [f"telegram:{user}" for user in range(1, PEOPLE + 1)]
NEWS = "We are open again."


class Choosy(FakeTelegram):
    """Telegram, on which some people have blocked the bot."""

    blocked: frozenset[int] = frozenset()

    async def answer(self, call: Call, request: Any) -> HttpAnswer:
        if call.params.get("chat_id") in self.blocked:
            return telegram_error(403, "Forbidden: bot was blocked by the user")
        return await super().answer(call, request)


@asynccontextmanager
async def on_telegram(**options: Any) -> AsyncIterator[tuple[Bot[Any], Choosy]]:
    async with Choosy() as telegram:
        channel = telegram.channel(retry_within=0.001)
        channel.sends_per_second = 1000
        async with Bot(channels=[channel], **options) as bot:
            yield bot, telegram


def told(telegram: FakeTelegram) -> list[int]:
    """Whom the bot has told something, in order of their numbers."""
    return sorted(call.params["chat_id"] for call in telegram.called("sendMessage"))


async def test_everybody_is_told_once_and_progress_is_counted() -> None:
    seen = []
    async with on_telegram() as (bot, telegram):
        done = await bot.broadcast(IDS, NEWS, on_progress=lambda so_far: seen.append(so_far.sent))
        assert told(telegram) == list(range(1, PEOPLE + 1))
        assert telegram.texts(7) == [NEWS]
    assert (done.sent, done.failed, done.complete) == (PEOPLE, 0, True)
    assert seen == list(range(1, PEOPLE + 1))
    assert str(done) == "20 sent"


async def test_a_plain_text_leaves_no_session_behind() -> None:
    async with on_telegram() as (bot, _):
        await bot.broadcast(IDS, NEWS)
        assert [session async for session in bot.session_ids()] == []


async def test_what_says_it_may_set_state_and_see_that_of_each() -> None:
    async with on_telegram(initial_state={"name": "you", "asked": 0}) as (bot, telegram):
        async with bot.conversation(IDS[0]) as context:
            context.set_state(name="Tim")

        async def ask(context: Context[Any]) -> None:
            assert context.event.kind == "broadcast"
            await context.send_text(f"How are {context.state['name']}?")
            context.set_state(asked=context.state["asked"] + 1)

        await bot.broadcast(bot.session_ids("telegram"), ask)
        assert telegram.texts(1) == ["How are Tim?"]
        assert await state_of(bot, IDS[0]) == {"name": "Tim", "asked": 1}


async def test_who_cannot_be_told_is_counted_and_keeps_nobody_from_it() -> None:
    failures: dict[str, Exception] = {}
    async with on_telegram() as (bot, telegram):
        telegram.blocked = frozenset({3, 5, 8})
        done = await bot.broadcast(
            IDS, NEWS, on_failure=failures.__setitem__, max_failures=2, once="opening"
        )
        assert len(told(telegram)) == PEOPLE - 3
        assert (done.sent, done.failed, len(done.failures)) == (PEOPLE - 3, 3, 2)
        assert not done.complete
        assert sorted(failures) == ["telegram:3", "telegram:5", "telegram:8"]
        assert all(isinstance(error, ChannelError) for error in failures.values())
        # They have unblocked it: only they are told then.
        telegram.blocked = frozenset()
        done = await bot.broadcast(IDS, NEWS, once="opening")
        assert (done.sent, done.repeated) == (3, PEOPLE - 3)
        assert str(done) == "3 sent, 17 told before"
        assert told(telegram) == list(range(1, PEOPLE + 1))


@pytest.mark.parametrize("dedupe", ["changes", "always"])
async def test_a_broadcast_that_was_cancelled_and_begins_again_tells_nobody_twice(
    dedupe: Any,
) -> None:
    async with on_telegram(dedupe=dedupe) as (bot, telegram):
        told_so_far: list[Broadcast] = []
        telling = asyncio.ensure_future(
            bot.broadcast(IDS, NEWS, once="opening", per_second=100, on_progress=told_so_far.append)
        )
        while len(told_so_far) < 4:
            await asyncio.sleep(0.001)
        telling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await telling
        settled = [session async for session in bot.session_ids()]
        assert len(settled) >= 4
        done = await bot.broadcast(IDS, NEWS, once="opening", per_second=1000)
        assert done.repeated == len(settled)
        assert set(told(telegram)) == set(range(1, PEOPLE + 1))
        for session in settled:
            assert len(telegram.texts(int(session.partition(":")[2]))) == 1


async def test_another_broadcast_is_another() -> None:
    async with on_telegram() as (bot, telegram):
        for name in ("opening", "closing", "opening"):
            await bot.broadcast(IDS[:1], name, once=name)
        assert telegram.texts(1) == ["opening", "closing"]


async def test_where_a_platform_asks_to_wait_everybody_waits_and_is_told_once() -> None:
    async with on_telegram() as (bot, telegram):
        telegram.answer_next(telegram_error(429, "Too Many Requests", retry_after=0.3))
        done = await bot.broadcast(IDS, NEWS)
        assert done.sent == PEOPLE
        assert told(telegram) == list(range(1, PEOPLE + 1))
        refused, *others = telegram.calls
        late = [call for call in others if call.at > refused.at + 0.1]
        assert all(call.at >= refused.at + 0.29 for call in late)
        assert refused.params["chat_id"] in [call.params["chat_id"] for call in late]


async def test_what_may_have_been_said_is_not_said_again() -> None:
    failures: list[Exception] = []
    async with on_telegram() as (bot, telegram):
        telegram.answer_next(None)  # it hangs up without an answer
        done = await bot.broadcast(
            IDS[:1], NEWS, on_failure=lambda _, error: failures.append(error)
        )
        assert (done.sent, done.failed) == (0, 1)
        assert len(telegram.calls) == 1
    (error,) = failures
    assert isinstance(error, ChannelUnreachable)
    assert error.sent


async def test_it_is_no_faster_than_it_may_be() -> None:
    async with on_telegram() as (bot, telegram):
        await bot.broadcast(IDS[:11], NEWS, per_second=50)
        first, last = telegram.calls[0], telegram.calls[-1]
        assert last.at - first.at >= 10 / 50 - 0.03  # a call takes a while to arrive


async def test_a_session_that_is_busy_for_a_while_is_told_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("barback.broadcasting.PAUSE", 0.001)
    store = ScriptedStore()
    async with on_telegram(session_store=store) as (bot, telegram):
        store.script("checkout", "unavailable", "unavailable")
        done = await bot.broadcast(IDS[:1], NEWS)
        assert (done.sent, telegram.texts(1)) == (1, [NEWS])
        store.script("checkout", *["unavailable"] * 5)
        done = await bot.broadcast(IDS[:1], NEWS)
        assert (done.sent, done.failed) == (0, 1)


async def test_a_commit_that_failed_after_the_message_is_told_and_not_repeated() -> None:
    store = ScriptedStore()
    async with on_telegram(session_store=store) as (bot, telegram):
        store.script("commit", "lost")
        done = await bot.broadcast(IDS[:1], NEWS, once="opening")
        assert (done.sent, done.failed, telegram.texts(1)) == (0, 1, [NEWS])


async def test_a_failure_of_what_says_it_leaves_the_session_as_it_was() -> None:
    async def fail(context: Context[Any]) -> None:
        context.set_state(n=1)
        raise ZeroDivisionError

    async def hang(_: Context[Any]) -> None:
        await asyncio.sleep(60)

    failures: list[Exception] = []
    async with on_telegram(initial_state={"n": 0}, handler_timeout=0.05) as (bot, _):
        for say in (fail, hang):
            done = await bot.broadcast(
                IDS[:1], say, once="x", on_failure=lambda _, error: failures.append(error)
            )
            assert (done.sent, done.failed) == (0, 1)
        assert await state_of(bot, IDS[0]) == {"n": 0}
    assert [type(error) for error in failures] == [ZeroDivisionError, HandlerTimeout]


async def test_ids_that_are_none_are_failures_and_keep_nobody_from_it() -> None:
    failures: list[tuple[str, type[Exception]]] = []
    wrong: list[Any] = ["viber:1", "", "no colon", 42]
    async with on_telegram() as (bot, _):
        done = await bot.broadcast(
            [*wrong, IDS[0]], NEWS, on_failure=lambda who, e: failures.append((who, type(e)))
        )
        assert (done.sent, done.failed) == (1, 4)
    assert [who for who, _ in failures] == wrong
    assert failures[0][1] is CannotSend


async def test_who_was_told_takes_no_time_of_those_who_were_not() -> None:
    async with on_telegram() as (bot, telegram):
        await bot.broadcast(IDS[:-1], NEWS, once="opening", per_second=1000)
        began = asyncio.get_running_loop().time()
        done = await bot.broadcast(IDS, NEWS, once="opening", per_second=0.5)
        assert (done.sent, done.repeated) == (1, PEOPLE - 1)
        # At a message in two seconds they would take 38.
        assert asyncio.get_running_loop().time() - began < 30
        assert told(telegram) == list(range(1, PEOPLE + 1))


async def test_what_is_no_broadcast_is_refused() -> None:
    async with on_telegram() as (bot, telegram):
        with pytest.raises(ConfigurationError, match="to one, use"):
            await bot.broadcast("telegram:42", NEWS)
        with pytest.raises(HandlerRefused):
            await bot.broadcast(IDS, print)  # type: ignore[arg-type]
        with pytest.raises(ConfigurationError, match="once"):
            await bot.broadcast(IDS, NEWS, once="")
        for wrong in (0, -1, float("nan"), "5"):
            with pytest.raises(ConfigurationError, match="per_second"):
                await bot.broadcast(IDS, NEWS, per_second=wrong)  # type: ignore[arg-type]
        with pytest.raises(ConfigurationError, match="to one, use"):
            await bot.broadcast(None, NEWS)  # type: ignore[arg-type]
        with pytest.raises(ConfigurationError, match="max_failures"):
            await bot.broadcast(IDS, NEWS, max_failures="a")  # type: ignore[arg-type]
        with pytest.raises(InvalidEvent):
            await bot.broadcast(IDS, NEWS, once="x" * 3000)

        async def progress(_: Broadcast) -> None:
            """Nobody would await it."""

        with pytest.raises(HandlerRefused, match="on_progress"):
            await bot.broadcast(IDS, NEWS, on_progress=progress)
        with pytest.raises(HandlerRefused, match="on_failure"):
            await bot.broadcast(IDS, NEWS, on_failure=5)  # type: ignore[arg-type]
        assert told(telegram) == []
    with pytest.raises(BotNotRunning):
        await bot.broadcast(IDS, NEWS)


async def test_a_bot_that_stops_ends_it_and_tells_how_far_it_had_come() -> None:
    async with on_telegram() as (bot, telegram):
        telling = asyncio.ensure_future(bot.broadcast(IDS, NEWS, per_second=100))
        while len(telegram.calls) < 3:
            await asyncio.sleep(0.001)
    with pytest.raises(BotNotRunning) as caught:
        await telling
    assert any("Until then: " in note for note in caught.value.__notes__)


async def test_a_source_of_ids_that_fails_ends_it_and_leaves_nothing_under_way() -> None:
    left = []

    async def ids() -> AsyncIterator[str]:
        try:
            yield IDS[0]
            message = "the list is gone"
            raise OSError(message)
        finally:
            left.append(True)

    async with on_telegram() as (bot, _):
        with pytest.raises(OSError, match="the list is gone"):
            await bot.broadcast(ids(), NEWS)
        assert left == [True]


async def test_session_ids_are_those_of_the_bot_that_have_not_expired() -> None:
    clock = Clock()
    store = MemorySessionStore()
    async with Bot(session_store=store, clock=clock) as bot:
        for session in ("telegram:1", "telegram:2", "line:3"):
            async with bot.conversation(session) as context:
                context.set_state(n=1)
        async with bot.conversation("telegram:2") as context:
            context.session.expire_in(1)
        clock.advance(61)
        async with Bot(session_store=store, namespace="other", clock=clock) as other:
            async with other.conversation("telegram:9") as context:
                context.set_state(n=1)
            assert [session async for session in other.session_ids()] == ["telegram:9"]
        assert sorted([session async for session in bot.session_ids()]) == ["line:3", "telegram:1"]
        assert [session async for session in bot.session_ids("telegram")] == ["telegram:1"]
        assert [session async for session in bot.session_ids("tele")] == []


async def test_a_session_that_cannot_be_read_is_left_out_of_the_ids_and_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Broken(ScriptedStore):
        async def all(self, prefix: str = "") -> AsyncIterator[Record]:
            async for record in super().all(prefix):
                yield record
            message = "session 'telegram:9' cannot be read"
            raise SessionUnreadable(message)

    async with Bot(session_store=Broken()) as bot:
        async with bot.conversation("telegram:1") as context:
            context.set_state(n=1)
        assert [session async for session in bot.session_ids()] == ["telegram:1"]
    assert "telegram:9" in caplog.text
