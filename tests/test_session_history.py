"""What grows beside a state: added to with the turn, read in pages, trimmed, forgotten with it."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from barback import (
    Bot,
    ConfigurationError,
    Context,
    Entry,
    History,
    Keys,
    LeasedStore,
    LeaseLost,
    MemorySessionStore,
    NotDone,
    Outcome,
    SessionUnreadable,
    StateTooLarge,
    StateValueError,
    TurnEnded,
)
from barback.stores.local import leased
from barback.stores.url import open_store
from barback.testing import Clock
from barback.testing.contract_tools import peek
from tests.every_store import EVERY, own_url
from tests.histories import TIM, add, keeping, records, settled, values
from tests.scripted import ScriptedStore, event

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(params=EVERY)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> LeasedStore:
    kind: str = request.param
    return leased(open_store(own_url(kind, request, tmp_path)))


async def test_entries_are_read_in_pages_in_the_order_they_were_added(store: LeasedStore) -> None:
    async with store, keeping(store) as bot:
        for number in range(0, 100, 2):
            await add(bot, number, number + 1)
        async with bot.conversation(TIM) as context:
            history = context.history
            assert history.count == 100
            newest = await history.page(10)
            assert [entry.value for entry in newest] == [*range(90, 100)]
            assert [entry.number for entry in newest] == [*range(90, 100)]
            seen: list[Any] = []
            before = None
            while page := await history.page(7, before=before):
                seen = [entry.value for entry in page] + seen
                before = page[0].number
            assert seen == [*range(100)]
            assert [entry.value async for entry in history] == [*range(99, -1, -1)]
    async with store, keeping(store) as bot:  # another process would see the same
        assert await values(bot) == [*range(100)]


async def test_a_turn_sees_what_it_has_added(store: LeasedStore) -> None:
    async with store, keeping(store) as bot:
        await add(bot, *range(50))
        async with bot.conversation(TIM) as context:
            context.history.append("a")
            context.history.append("b")
            assert context.history.count == 52
            assert [entry.value for entry in await context.history.page(3)] == [49, "a", "b"]


async def test_entries_are_added_with_the_turn_or_not_at_all(store: LeasedStore) -> None:
    async with store, keeping(store) as bot:
        await add(bot, "kept")
        for count in (1, 500):  # with chunks as well
            with pytest.raises(ZeroDivisionError):
                await fail(bot, count)
        assert await values(bot) == ["kept"]
        assert await records(store) == [TIM]


async def fail(bot: Bot[Any], count: int) -> None:
    async with bot.conversation(TIM) as context:
        for number in range(count):
            context.history.append(number)
        raise ZeroDivisionError


async def test_what_a_turn_costs_does_not_grow_with_the_history(store: LeasedStore) -> None:
    async with store, keeping(store, history=History(keep=5000)) as bot:
        sizes = []
        for number in range(60):
            await add(bot, *({"text": "x" * 100, "number": number} for _ in range(20)))
            record = await peek(store, TIM)
            assert record is not None
            sizes.append(len(record.encode()))
        assert max(sizes) < 10_000
        assert len(await values(bot)) == 1200


async def test_the_oldest_go_when_they_are_too_many(store: LeasedStore) -> None:
    async with store, keeping(store, history=History(keep=100)) as bot:
        for number in range(0, 1000, 40):
            await add(bot, *range(number, number + 40))
            expected = [*range(max(0, number - 60), number + 40)]
            assert await values(bot) == expected
        async with bot.conversation(TIM) as context:
            assert context.history.count == 100
    async with store:
        assert len(await records(store)) <= 6  # and their chunks with them


async def test_the_oldest_go_when_they_are_too_old() -> None:
    clock, store = Clock(), MemorySessionStore()
    history = History(keep_for=timedelta(days=1))
    async with keeping(store, history=history, clock=clock) as bot:
        await add(bot, *range(50))
        clock.advance(timedelta(hours=20))
        await add(bot, *range(50, 60))
        assert await values(bot) == [*range(60)]
        clock.advance(timedelta(hours=5))
        assert await values(bot) == [*range(50, 60)]
        assert len(store._records) == 2  # nothing was written
        await add(bot, 60)
        await settled(bot)
        assert await values(bot) == [*range(50, 61)]
        assert [*store._records] == [TIM]
        clock.advance(timedelta(days=2))
        assert await values(bot) == []


async def test_entries_know_when_they_were_added() -> None:
    clock = Clock()
    async with keeping(clock=clock) as bot:
        await add(bot, "a")
        clock.advance(timedelta(minutes=5))
        await add(bot, "b")
        async with bot.conversation(TIM) as context:
            first, second = await context.history.page()
            assert second.at - first.at == timedelta(minutes=5)
            assert second == Entry(1, datetime.fromtimestamp(clock(), UTC), "b")


async def test_a_history_is_of_its_own_session_and_life(store: LeasedStore) -> None:
    clock = Clock()
    store.expires_in = timedelta(hours=1)
    async with store, keeping(store, clock=clock) as bot:
        await add(bot, *range(100))
        await add(bot, "ann", session_id="test:ann")
        assert await values(bot, "test:ann") == ["ann"]
        clock.advance(timedelta(hours=2))
        assert await values(bot) == []
        await add(bot, "new")
        await settled(bot)
        assert await values(bot) == ["new"]
        assert await records(store) == ["test:ann", TIM]


async def test_it_is_cleared(store: LeasedStore) -> None:
    async with store, keeping(store) as bot:
        await add(bot, *range(100))
        async with bot.conversation(TIM) as context:
            context.history.append("gone as well")
            context.history.clear()
            context.history.append("first")
            assert [entry.value async for entry in context.history] == ["first"]
        await settled(bot)
        assert await values(bot) == ["first"]
        assert await records(store) == [TIM]


async def test_a_reset_of_the_state_leaves_it() -> None:
    async with keeping() as bot:
        await add(bot, "kept")
        async with bot.conversation(TIM) as context:
            context.reset_state()
        assert await values(bot) == ["kept"]


async def test_many_people_and_processes_add_to_one_history_and_none_is_lost(
    store: LeasedStore,
) -> None:
    async with store, keeping(store) as one, keeping(store) as other:
        await asyncio.gather(
            *(random.choice([one, other]).handle(event(text=f"{n} {n}")) for n in range(100))
        )
        said = [int(value["said"]) for value in await values(one)]
        assert said[::2] == said[1::2]  # those of a turn stand together
        assert sorted(said[::2]) == [*range(100)]


async def test_a_redelivered_event_adds_nothing_again() -> None:
    async with keeping() as bot:
        assert await bot.handle(event(text="a", event_id="1")) == Outcome.COMMITTED
        assert await bot.handle(event(text="a", event_id="1")) == Outcome.DUPLICATE
        assert await values(bot) == [{"said": "a"}]


async def test_what_on_error_adds_is_kept_and_what_the_handler_added_is_not() -> None:
    bot = Bot(history=History())

    @bot.on_event
    async def fail_after(context: Context) -> None:
        context.history.append("lost")
        raise ZeroDivisionError

    @bot.on_error
    async def note(context: Context, error: Exception) -> None:
        context.history.append("failed")

    async with bot:
        assert await bot.handle(event()) == Outcome.FAILED
        assert await values(bot) == ["failed"]


async def test_on_expired_reads_it_and_then_it_is_gone() -> None:
    clock, store = Clock(), MemorySessionStore(expires_in=60)
    bot = keeping(store, clock=clock)
    told: list[Any] = []

    @bot.on_expired
    async def goodbye(context: Context) -> None:
        told.extend([entry.value async for entry in context.history])

    async with bot:
        await add(bot, *range(50))
        clock.advance(timedelta(minutes=61))
        assert await values(bot) == []
        assert told == [*range(49, -1, -1)]
        await settled(bot)
        assert [*store._records] == [TIM]


# What goes wrong.


@pytest.mark.parametrize("fault", ["unavailable", "unknown", "applied", "lost"])
async def test_a_chunk_that_is_not_written_is_a_turn_that_is_not_done(fault: str) -> None:
    store = ScriptedStore()
    async with keeping(store) as bot:
        await add(bot, *range(20))
        store.script("commit", fault)
        with pytest.raises(NotDone):
            await add(bot, *range(20, 60))
        assert store.is_free(TIM)
        assert await values(bot) == [*range(20)]
        await add(bot, *range(20, 60))
        assert await values(bot) == [*range(60)]


async def test_a_commit_that_is_refused_after_its_chunks_leaves_the_history_as_it_was() -> None:
    store = ScriptedStore()
    async with keeping(store) as bot:
        await add(bot, *range(20))
        store.script("commit", "ok", "lost")
        with pytest.raises(LeaseLost):
            await add(bot, *range(20, 60))
        await store.inner.release(TIM, store.commits[-1][1])  # which ends by itself
        assert await values(bot) == [*range(20)]


async def test_a_commit_whose_answer_was_lost_is_found_out_with_its_chunks() -> None:
    store = ScriptedStore()
    async with keeping(store) as bot:
        store.script("commit", "ok", "applied")
        await add(bot, *range(60))
        assert await values(bot) == [*range(60)]


async def test_a_part_that_is_not_there_any_more_is_told() -> None:
    store = MemorySessionStore()
    async with keeping(store) as bot:
        await add(bot, *range(60))
        await add(bot, "newest")
        chunk = next(each for each in store._records if each.startswith("history:"))
        await store.destroy(chunk, None)
        async with bot.conversation(TIM) as context:
            assert [entry.value for entry in await context.history.page(1)] == ["newest"]
        with pytest.raises(SessionUnreadable, match="part of the history of session 'test:tim'"):
            await values(bot)
        async with bot.conversation(TIM) as context:
            context.history.clear()
        assert await values(bot) == []


async def test_a_history_that_cannot_be_read_is_told_and_left_as_it_is() -> None:
    import msgspec  # noqa: PLC0415

    store = MemorySessionStore()
    async with keeping(store) as bot:
        await add(bot, "a")
        broken = msgspec.structs.replace(store._records[TIM], history=b'{"tail":"secret"}')
        store._records[TIM] = broken
        for act in (values(bot), add(bot, "b")):
            with pytest.raises(SessionUnreadable, match="history") as refused:
                await act
            assert "secret" not in str(refused.value)
        assert store._records[TIM] is broken


async def test_a_store_that_is_full_forgets_no_part_of_a_history_before_its_session() -> None:
    store = MemorySessionStore(max_size=10)
    async with keeping(store) as bot:
        await add(bot, *range(200))
        for number in range(30):
            await bot.handle(event(f"user{number}", text="a"))
            if TIM in store._records:
                assert await values(bot) == [*range(200)]


async def test_after_the_turn_it_is_over() -> None:
    async with keeping() as bot:
        async with bot.conversation(TIM) as context:
            history = context.history
        for use in (lambda: history.append("late"), history.clear, lambda: history.count):
            with pytest.raises(TurnEnded):
                use()
        with pytest.raises(TurnEnded):
            await history.page()


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ({1, 2}, "entry"),
        ({"a": [1, object()]}, "entry['a'][1]"),
        (float("nan"), "entry"),
        ("\ud800", "entry"),
    ],
)
async def test_an_entry_that_cannot_be_kept_is_refused_with_its_path(value: Any, path: str) -> None:
    async with keeping() as bot:
        async with bot.conversation(TIM) as context:
            with pytest.raises(StateValueError) as refused:
                context.history.append(value)
            assert refused.value.path == path
            assert refused.value.session_id == TIM
        assert await values(bot) == []


async def test_an_entry_is_a_copy() -> None:
    async with keeping() as bot:
        async with bot.conversation(TIM) as context:
            value = ["a"]
            context.history.append(value)
            value.append("b")
            (entry,) = await context.history.page()
            entry.value.append("c")
        assert await values(bot) == [["a"]]


@dataclass
class Message:
    role: str
    at: datetime
    parts: tuple[bytes, ...] = ()


async def test_entries_may_have_a_type() -> None:
    message = Message("user", datetime(2026, 1, 1, tzinfo=UTC), (b"\xff", b""))
    async with keeping(history=History(of=Message)) as bot:
        await add(bot, *[message] * 50)
        assert await values(bot) == [message] * 50
        async with bot.conversation(TIM) as context:
            with pytest.raises(StateValueError, match="Message"):
                context.history.append("hello")


@dataclass
class LaterMessage:
    role: str
    sent: datetime | None = None
    language: str = "en"


async def test_an_entry_of_another_year_that_does_not_fit_is_told() -> None:
    store = leased(MemorySessionStore())
    async with store:
        async with keeping(store, history=History(of=Message)) as bot:
            await add(bot, Message("user", datetime(2026, 1, 1, tzinfo=UTC)))
        async with keeping(store, history=History(of=LaterMessage)) as bot:
            await add(bot, LaterMessage("user"))
            with pytest.raises(SessionUnreadable, match=r"entry\.\w+ is no field of LaterMessage"):
                await values(bot)
            async with bot.conversation(TIM) as context:
                assert [each.value for each in await context.history.page(1)] == [
                    LaterMessage("user")
                ]


async def test_it_is_encrypted_with_the_state(store: LeasedStore) -> None:
    keys = Keys({"one": Keys.generate()})
    async with store, keeping(store, encryption=keys) as bot:
        await add(bot, *(f"secret {number}" for number in range(100)))
        await add(bot, "secret too")
        keys.add("two", Keys.generate())
        keys.use("two")
        await add(bot, "secret as well")
        assert len(await values(bot)) == 102
        async for record in store.all():
            assert b"secret" not in record.encode()


@pytest.mark.parametrize(
    "wrong",
    [
        {"keep": 0},
        {"keep": 100_001},
        {"keep": "10"},
        {"keep_for": 0},
        {"keep_for": "day"},
        {"of": int},
        {"of": 5},
    ],
)
def test_what_a_history_cannot_be_is_refused(wrong: Any) -> None:
    with pytest.raises(ConfigurationError):
        History(**wrong)


@pytest.mark.parametrize("wrong", [True, 500, History])
def test_what_is_no_history_is_refused_when_the_bot_is_made(wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"history must be a barback\.History"):
        Bot(history=wrong)


async def test_a_bot_without_one_says_so() -> None:
    async with Bot() as bot, bot.conversation(TIM) as context:
        with pytest.raises(ConfigurationError, match=r"history=History"):
            context.history.append("a")


async def test_an_entry_is_no_larger_than_a_state_may_be() -> None:
    async with keeping(max_state_size=1000, warn_state_size=1000) as bot:
        async with bot.conversation(TIM) as context:
            context.history.append("x" * 998)
            with pytest.raises(StateTooLarge, match="1,001 bytes"):
                context.history.append("x" * 999)
        assert await values(bot) == ["x" * 998]


async def test_a_turn_that_adds_far_too_many_is_quick() -> None:
    async with keeping(history=History(keep=1000)) as bot:
        await add(bot, *range(200_000))
        assert await values(bot) == [*range(199_000, 200_000)]
