"""The parts of a history: copied, read, few and large, and what becomes of them at odd moments."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import msgspec
import pytest

from barback import (
    Context,
    History,
    LeasedStore,
    MemorySessionStore,
    SessionUnreadable,
    copy_store,
)
from barback.chunks import HELD_BY
from barback.orphans import remove_orphans
from barback.stores.local import leased
from barback.stores.url import open_store
from barback.testing import Clock
from barback.testing.contract_tools import lease_on, peek
from tests.every_store import EVERY, own_url
from tests.histories import (
    LATE,
    TIM,
    Strict,
    add,
    keeping,
    orphans,
    parts,
    records,
    say,
    settled,
    values,
)
from tests.scripted import ScriptedStore

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(params=EVERY)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    kind: str = request.param
    return own_url(kind, request, tmp_path)


@pytest.fixture
def store(url: str) -> LeasedStore:
    return leased(open_store(url))


async def test_a_copy_of_a_store_has_the_histories(store: LeasedStore) -> None:
    async with store:
        target = MemorySessionStore()
        async with keeping(store) as bot:
            await add(bot, *range(100))
            await add(bot, "newest")
        await copy_store(store, target)
        async with keeping(target) as bot:
            assert await values(bot) == [*range(100), "newest"]
            record = await peek(store, TIM)
            assert record == target._records[TIM]


async def test_who_was_killed_while_reading_is_in_nobodys_way(store: LeasedStore) -> None:
    async with store:
        async with keeping(store) as bot:
            await add(bot, *range(100))
            (part,) = await parts(store)
            left = lease_on(part)
            left.token = HELD_BY
            await store.checkout(part, left)
            assert await values(bot) == [*range(100)]
            async with bot.conversation(TIM) as context:
                pages = await asyncio.gather(*(context.history.page(50) for _ in range(5)))
            assert [entry.value for entry in pages[0]] == [*range(50, 100)]
            assert pages[1:] == pages[:-1]


async def test_a_page_asks_for_the_parts_it_needs_and_no_more() -> None:
    store = ScriptedStore()
    async with keeping(store) as bot:
        for begin in range(0, 400, 40):
            await add(bot, *("x" * 1000 for _ in range(begin, begin + 40)))
        assert len(await parts(store)) == 10
        async with bot.conversation(TIM) as context:
            history = context.history
            for limit, before, count in (
                (40, None, 1),
                (41, None, 2),
                (400, None, 10),
                (1, 39, 1),
                (10, 45, 2),
                (10, 0, 0),
            ):
                store.calls.clear()
                page = await history.page(limit, before=before)
                last = 400 if before is None else before
                assert [entry.number for entry in page] == [*range(max(0, last - limit), last)]
                assert store.calls.count("checkout") == count
            assert {*store.calls} <= {"checkout", "release"}


async def test_a_turn_that_adds_makes_no_more_trips_until_there_is_a_part_to_write() -> None:
    store = ScriptedStore()
    async with keeping(store) as bot:
        await add(bot, *range(30))
        store.calls.clear()
        await add(bot, 30)
        assert store.calls == ["checkout", "commit"]
        store.calls.clear()
        await add(bot, *range(31, 40))
        assert store.calls == ["checkout", "checkout", "commit", "commit"]


@pytest.mark.parametrize("name", ["history", "unreadable"])
def test_no_channel_has_the_name_of_what_is_beside_sessions(name: str) -> None:
    from barback.record import ASIDE, HISTORY  # noqa: PLC0415
    from barback.scope import is_name  # noqa: PLC0415

    assert name in (ASIDE, HISTORY)
    assert not is_name(name)
    assert is_name(f"{name}s")


async def test_a_full_store_looks_at_no_part_of_a_history_again_and_again() -> None:
    store = MemorySessionStore(max_size=1000)
    async with keeping(store) as bot:
        for number in range(600):
            await add(bot, *range(40), session_id=f"test:{number}")
        assert len(store) <= 1000
        looked = 0
        may_go = store._may_go

        def counting(record_id: str) -> bool:
            nonlocal looked
            looked += 1
            return may_go(record_id)

        store._may_go = counting  # type: ignore[method-assign]
        for number in range(1000, 1300):
            await add(bot, "a", session_id=f"test:{number}")
        assert looked < 2000
        for number in range(1000, 1300):
            assert await values(bot, f"test:{number}") == ["a"]


async def test_parts_become_large_so_that_a_record_names_few() -> None:
    store = ScriptedStore()
    async with keeping(store, history=History(keep=100_000)) as bot:
        for number in range(3000):
            await add(bot, f"{number} {'x' * (number % 300)}")
        await settled(bot)
        written = sum(len(record.state) for record, _ in store.commits)
        kept = sum([len(record.state) async for record in store.all()])
        assert written < 5 * kept
        assert len(await parts(store)) < 20
        assert await orphans(store) == set()
        largest = max(len(record.encode()) for record, _ in store.commits if record.id == TIM)
        assert largest < 12_000
        assert [value.split()[0] for value in await values(bot)] == [*map(str, range(3000))]


async def test_entries_are_added_also_where_the_last_part_is_missing() -> None:
    store = MemorySessionStore()
    async with keeping(store) as bot:
        await add(bot, *range(40))
        (part,) = await parts(store)
        await store.destroy(part, None)
        await add(bot, *range(40, 80))
        async with bot.conversation(TIM) as context:
            assert [entry.value for entry in await context.history.page(40)] == [*range(40, 80)]
            with pytest.raises(SessionUnreadable):
                await context.history.page(41)


async def test_what_on_expired_adds_is_kept_with_a_session_that_goes_on(
    store: LeasedStore,
) -> None:
    clock = Clock()
    store.expires_in = timedelta(hours=1)
    bot = keeping(store, clock=clock)

    @bot.on_expired
    async def remind(context: Context) -> None:
        for number in range(40, 80):
            context.history.append(number)
        context.session.expire_in(timedelta(days=1))

    async with store:
        async with bot:
            await add(bot, *range(40))
            clock.advance(timedelta(hours=2))
            assert await values(bot) == [*range(80)]
            await settled(bot)
            assert await orphans(store) == set()


async def test_a_record_kept_aside_whose_history_cannot_be_read_is_told() -> None:
    store = MemorySessionStore()
    async with keeping(store) as bot:
        await say(bot, "tim", range(100))
        await say(bot, "ann", range(100))
        await store.destroy(TIM, None)
        broken = msgspec.structs.replace(
            store._records["test:ann"], id="unreadable:1f:test:ann", history=b'{"tail":1}'
        )
        store._records[broken.id] = broken
        with pytest.raises(SessionUnreadable):
            await remove_orphans(store, "", LATE)
        done = await bot.forget(TIM)
        assert [failure.session_id for failure in done.failed] == [broken.id]
        await store.destroy(broken.id, None)
        assert (await bot.forget(TIM)).complete
        assert await orphans(store) == set()


async def test_a_session_that_is_destroyed_for_all_takes_parts_from_before_the_person(
    store: LeasedStore,
) -> None:
    async with store:
        async with keeping(store, scope="conversation") as bot:
            await say(bot, "ann", range(50), conversation="g")
            await say(bot, "tim", ["late"], conversation="g")
            assert (await bot.forget(TIM, shared="destroy")).destroyed == ["test:g/"]
            assert await records(store) == []


async def test_a_session_that_expired_and_cannot_be_read_keeps_its_parts_aside() -> None:
    clock, store = Clock(), MemorySessionStore(expires_in=60)
    async with keeping(store, initial_state={"n": 1}, clock=clock) as bot:
        await add(bot, *range(100))
    clock.advance(timedelta(hours=2))
    bot = keeping(store, initial_state=Strict, clock=clock)

    @bot.on_unreadable
    async def begin_anew(error: SessionUnreadable) -> bool:
        return True

    @bot.on_expired
    async def goodbye(context: Context) -> None:
        raise AssertionError

    async with bot:
        await add(bot, "new")
        await settled(bot)
        assert await values(bot) == ["new"]
    assert len(await parts(store)) == 1
    assert await orphans(store) == set()
