"""The size of states: what is refused, and what is warned of."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from barback import Bot, ConfigurationError, Context, MemorySessionStore, Outcome, StateTooLarge
from tests.scripted import event, state_of

if TYPE_CHECKING:
    from typing import Any

EMPTY = len(b'{"text":""}')


def growing(**options: Any) -> Bot:
    bot = Bot(initial_state={"text": ""}, **options)

    @bot.on_event
    async def grow(context: Context) -> None:
        context.state["text"] += context.event.text or ""

    return bot


async def test_a_state_may_be_as_large_as_it_may_and_no_larger() -> None:
    store = MemorySessionStore()
    bot = growing(max_state_size=1000, session_store=store)
    failed: list[Exception] = []

    @bot.on_error
    async def note(context: Context, error: Exception) -> None:
        failed.append(error)

    async with bot:
        assert await bot.handle(event(text="x" * (1000 - EMPTY))) == Outcome.COMMITTED
        before = store._records["test:tim"]
        assert await bot.handle(event(text="x")) == Outcome.FAILED
        assert store._records["test:tim"] == before
        assert isinstance(failed[0], StateTooLarge)
        assert "1,001 bytes, and may have 1,000" in str(failed[0])
        assert failed[0].session_id == "test:tim"


async def test_what_on_error_leaves_is_weighed_as_well(caplog: pytest.LogCaptureFixture) -> None:
    bot = growing(max_state_size=1000)

    @bot.on_error
    async def grow(context: Context, error: Exception) -> None:
        context.set_state(text="x" * 2000)

    async with bot:
        assert await bot.handle(event(text="x" * 2000)) == Outcome.FAILED
        assert await state_of(bot) == {"text": ""}
    assert "on_error of session 'test:tim' failed" in caplog.text


async def test_a_conversation_outside_an_event_raises_it() -> None:
    async with growing(max_state_size=1000) as bot:
        with pytest.raises(StateTooLarge):
            async with bot.conversation("test:tim") as context:
                context.set_state(text="é" * 500)  # of two bytes each
        assert await state_of(bot) == {"text": ""}


async def test_one_that_becomes_large_is_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    async with growing(warn_state_size=1000) as bot:
        for text in ("x" * (1000 - EMPTY), "x", "x"):
            await bot.handle(event(text=text))
    assert len(caplog.records) == 1
    assert "session 'test:tim' has grown to 1001 bytes" in caplog.text


@pytest.mark.parametrize("option", ["max_state_size", "warn_state_size"])
@pytest.mark.parametrize("wrong", [0, -1, 1.5, "8", True])
def test_a_size_is_a_number_of_bytes(option: str, wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match=option):
        growing(**{option: wrong})
