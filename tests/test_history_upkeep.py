"""A history is of its session: it goes with it, is copied, handed out and encrypted with it."""

from __future__ import annotations

import asyncio
import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from barback import (
    Bot,
    Context,
    History,
    Keys,
    LeasedStore,
    MemorySessionStore,
    NotDone,
    SessionNotEncrypted,
    SessionTampered,
    SessionUnreadable,
)
from barback import orphans as looking
from barback.orphans import remove_orphans
from barback.stores.base import GRACE
from barback.stores.local import leased
from barback.stores.url import open_store
from barback.sweeper import sweep
from barback.testing import Clock
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
from tests.scripted import ScriptedStore, until

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(params=EVERY)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    kind: str = request.param
    return own_url(kind, request, tmp_path)


@pytest.fixture
def store(url: str) -> LeasedStore:
    return leased(open_store(url))


# Its end.


async def test_it_goes_with_a_session_that_is_swept(store: LeasedStore) -> None:
    async with store:
        clock = Clock()
        store.expires_in = timedelta(hours=1)
        async with keeping(store, clock=clock) as bot:
            await add(bot, *range(100))
            await add(bot, *range(100), session_id="test:ann")
            clock.advance(timedelta(minutes=50))
            await add(bot, 100, session_id="test:ann")
            now = int(clock() * 1000)
        assert await sweep(store, now + GRACE + 15 * 60_000) == 1
        assert [each for each in await records(store) if each.endswith("tim")] == []
        async with keeping(store, clock=clock) as bot:
            assert await values(bot, "test:ann") == [*range(101)]


async def test_it_goes_with_a_session_that_is_over(store: LeasedStore) -> None:
    async with store:
        clock, told = Clock(), []
        store.expires_in = timedelta(hours=1)
        bot = keeping(store, clock=clock)

        @bot.on_expired
        async def goodbye(context: Context) -> None:
            told.append([entry.value for entry in await context.history.page(100)])

        async with bot:
            await add(bot, *range(100))
            clock.advance(timedelta(hours=2))
            async with asyncio.timeout(20):
                while not told:
                    await asyncio.sleep(0.01)
            await values(bot)  # waits for its turn
            await settled(bot)
            assert told == [[*range(100)]]
            assert await parts(store) == []


async def test_it_goes_also_where_a_bot_without_histories_comes_upon_its_end() -> None:
    clock, store = Clock(), MemorySessionStore(expires_in=60)
    async with keeping(store, clock=clock) as bot:
        await add(bot, *range(100))
    clock.advance(timedelta(hours=2))
    async with Bot(session_store=store, clock=clock) as bot:
        async with bot.conversation(TIM) as context:
            context.set_state(n=1)
        await settled(bot)
    assert [*store._records] == [TIM]


# Parts that no session has.


async def test_what_a_destroyed_session_left_is_found(store: LeasedStore) -> None:
    async with store:
        async with keeping(store) as bot, keeping(store, namespace="shop") as other:
            await add(bot, *range(100))
            await add(bot, *range(100), session_id="test:ann")
            await add(other, *range(100))
            await store.destroy("shop/" + TIM, None)
            await store.destroy(TIM, None)  # as a store may by itself, or an operator
            left = await orphans(store)
            assert len(left) == 2
            assert await remove_orphans(store, "", LATE) == 1
            assert len(await orphans(store)) == 1
            assert await remove_orphans(store, "shop/", LATE) == 1
            assert await orphans(store) == set()
            assert await values(bot, "test:ann") == [*range(100)]
            assert await values(bot) == []


async def test_young_ones_and_those_of_sessions_in_a_turn_are_left_alone() -> None:
    store = MemorySessionStore()
    async with keeping(store) as bot:
        await add(bot, *range(100))
        await store.destroy(TIM, None)
        (part,) = await parts(store)
        assert await remove_orphans(store, "", store._records[part].created_at) == 0
        async with bot.conversation(TIM):
            assert await remove_orphans(store, "", LATE) == 0
        assert await remove_orphans(store, "", LATE) == 1


async def test_what_a_turn_wrote_that_was_not_done_is_found() -> None:
    store = ScriptedStore()
    async with keeping(store) as bot:
        await add(bot, *range(100))
        store.script("commit", "ok", "lost")
        with pytest.raises(NotDone):
            await add(bot, *range(100, 200))
        await store.inner.release(TIM, store.commits[-1][1])  # which ends by itself
        assert len(await orphans(store)) == 1
        assert await remove_orphans(store, "", LATE) == 1
        assert await values(bot) == [*range(100)]


async def test_a_turn_whose_session_is_looked_at_after_its_part_was_written_is_not_done() -> None:
    store, written = ScriptedStore(), asyncio.Event()
    async with keeping(store) as bot:
        await add(bot, "before")
        store.script("commit", "ok", written)
        turn = asyncio.create_task(add(bot, *range(100)))
        await until(lambda: store.calls[-2:] == ["commit", "commit"])
        await store.inner.release(TIM, store.commits[-1][1])  # as if its lease had ended
        assert await remove_orphans(store.inner, "", LATE) == 1
        written.set()
        with pytest.raises(NotDone):
            await turn
        assert await values(bot) == ["before"]


async def test_those_of_a_session_that_cannot_be_read_stay() -> None:
    store = MemorySessionStore()
    async with keeping(store) as bot:
        await add(bot, *range(100))
        whole = store._records[TIM]
        store._records[TIM] = msgspec.structs.replace(whole, history=b'{"tail":1}')
        assert await remove_orphans(store, "", LATE) == 0
        store._records[TIM] = whole
        assert await values(bot) == [*range(100)]


async def test_those_of_a_record_that_is_kept_aside_stay(store: LeasedStore) -> None:
    async with store:
        async with keeping(store, initial_state={"n": 1}) as bot:
            await add(bot, *range(100))
        bot = keeping(store, initial_state=Strict)

        @bot.on_unreadable
        async def begin_anew(error: SessionUnreadable) -> bool:
            return True

        async with bot:
            await add(bot, "new")
            await settled(bot)
            assert await values(bot) == ["new"]
            assert await remove_orphans(store, "", LATE) == 0
            assert await orphans(store) == set()
            assert len(await parts(store)) == 1
            found = await bot.export(TIM)
            aside, session = sorted(found["sessions"], key=lambda each: each["id"] == TIM)
            assert [each["value"] for each in aside["history"]] == [*range(100)]
            assert [each["value"] for each in session["history"]] == ["new"]
            done = await bot.forget(TIM)
            assert len(done.destroyed) == 2
            assert await records(store) == []


async def test_a_bot_looks_for_them_while_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, store = Clock(), MemorySessionStore()
    monkeypatch.setattr(looking, "FIRST", 0.01)
    monkeypatch.setattr(looking, "EVERY", 0.01)
    async with keeping(store, clock=clock) as bot:
        await add(bot, *range(100))
        await store.destroy(TIM, None)
        await asyncio.sleep(0.05)
        assert len(store) == 1  # not older than an hour
        clock.advance(timedelta(hours=2))
        await until(lambda: len(store) == 0)


async def test_a_bot_that_closes_does_not_wait_for_the_next_look() -> None:
    async with asyncio.timeout(5):
        async with keeping() as bot:
            await add(bot, 1)


# Forgotten, and handed out.


async def test_nothing_of_a_forgotten_person_is_left(store: LeasedStore) -> None:
    async with store:
        async with keeping(store) as bot:
            await say(bot, "tim", range(100))
            await say(bot, "ann", range(100))
            await say(bot, "tim", range(100), conversation="g")
            await store.destroy("test:g/tim", None)
            assert len(await orphans(store)) == 1  # of Tim's as well
            would = await bot.forget(TIM, dry_run=True)
            assert (would.destroyed, would.looked_at) == ([TIM], 2)
            assert len(await records(store)) == 5
            done = await bot.forget(TIM)
            assert (done.destroyed, done.failed, done.looked_at) == ([TIM], [], 2)
            async for record in store.all():
                assert not re.search(rb"\btim\b", record.encode())
            assert len(await values(bot, "test:ann")) == 100


async def test_who_is_taken_out_of_a_session_is_taken_out_of_all_its_records(
    store: LeasedStore,
) -> None:
    async with store:
        async with keeping(store, scope="conversation", namespace="shop") as bot:
            await say(bot, "tim", range(50), conversation="g")
            await say(bot, "ann", range(50, 100), conversation="g")
            assert (await bot.forget(TIM, shared="keep")).kept == ["test:g/"]
            async for record in store.all():
                assert "tim" in record.users
            assert (await bot.forget(TIM)).left == ["test:g/"]
            async for record in store.all():
                assert not re.search(rb"\btim\b", record.encode())
            assert [each["said"] for each in await values(bot, "test:g/")] == [
                *map(str, range(100))
            ]
            assert (await bot.forget("test:ann")).destroyed == ["test:g/"]
            assert await records(store) == []


async def test_what_is_kept_is_handed_out_with_its_history(store: LeasedStore) -> None:
    async with store:
        keys, clock = Keys({"one": Keys.generate()}), Clock()
        history = History(keep=90)
        async with keeping(store, history=history, encryption=keys, clock=clock) as bot:
            await say(bot, "tim", range(100))
            await say(bot, "tim", ["last"])
            (session,) = (await bot.export(TIM))["sessions"]
            told = [each["value"]["said"] for each in session["history"]]
            assert told == [*map(str, range(11, 100)), "last"]
            assert [each["number"] for each in session["history"]] == [*range(11, 101)]
            assert session["history"][0]["at"] == session["last_activity"]
            assert "error" not in session


async def test_of_a_shared_session_no_entry_is_handed_out_unless_it_is_asked_for() -> None:
    async with keeping(scope="conversation") as bot:
        await say(bot, "tim", range(100), conversation="g")
        await say(bot, "ann", range(100), conversation="g")
        (session,) = (await bot.export(TIM))["sessions"]
        assert session["history"] == []
        (session,) = (await bot.export(TIM, include_shared=True))["sessions"]
        assert len(session["history"]) == 200


async def test_a_part_that_is_missing_is_told_where_it_is_handed_out() -> None:
    store = MemorySessionStore()
    async with keeping(store) as bot:
        await say(bot, "tim", range(100))
        (part,) = await parts(store)
        await store.destroy(part, None)
        (session,) = (await bot.export(TIM))["sessions"]
        assert (session["state"], session["history"]) == ({}, [])
        assert "part of the history" in session["error"]


# Another key.


async def test_all_is_encrypted_with_the_new_key_so_that_the_old_one_can_go(
    store: LeasedStore,
) -> None:
    async with store:
        keys = Keys({"one": Keys.generate()})
        async with keeping(store, encryption=keys) as bot:
            await add(bot, *range(100))
            await add(bot, "newest")
            await add(bot, "only", session_id="test:ann")
            keys.add("two", Keys.generate())
            keys.use("two")
            would = await bot.migrate_sessions(dry_run=True)
            assert (would.migrated, would.parts) == (2, 1)
            done = await bot.migrate_sessions()
            assert (done.migrated, done.parts, done.failed) == (2, 1, 0)
            assert str(done) == "2 migrated, 1 part of histories"
            again = await bot.migrate_sessions()
            assert (again.current, again.migrated, again.parts) == (2, 0, 0)
            keys.remove("one")
            assert await values(bot) == [*range(100), "newest"]
            assert await values(bot, "test:ann") == ["only"]


async def test_a_tail_alone_of_an_older_key_is_migrated_too() -> None:
    keys = Keys({"one": Keys.generate()})
    async with keeping(encryption=keys) as bot:
        await add(bot, "a")
        keys.add("two", Keys.generate())
        keys.use("two")
        async with bot.conversation(TIM) as context:
            context.set_state(n=1)  # the state is of the new key, the tail is not
        assert (await bot.migrate_sessions()).migrated == 1
        keys.remove("one")
        assert await values(bot) == ["a"]


async def test_a_store_that_is_in_use_is_encrypted_with_all_its_histories() -> None:
    store = MemorySessionStore()
    async with keeping(store) as bot:
        await add(bot, *(f"secret {n}" for n in range(100)))
        await add(bot, "secret")
    keys = Keys({"one": Keys.generate()}, accept_plain=True)
    async with keeping(store, encryption=keys) as bot:
        assert len(await values(bot)) == 101
        done = await bot.migrate_sessions()
        assert (done.migrated, done.parts) == (1, 1)
        assert not any(b"secret" in record.encode() for record in store._records.values())
        keys.accept_plain = False
        assert len(await values(bot)) == 101


async def test_entries_that_were_put_in_plain_or_moved_are_refused() -> None:
    store, keys = MemorySessionStore(), Keys({"one": Keys.generate()})
    async with keeping(store) as bot:
        await add(bot, "forged")
    forged = store._records[TIM].history
    await store.destroy(TIM, None)
    async with keeping(store, encryption=keys) as bot:
        await add(bot, "true")
        await add(bot, "hers", session_id="test:ann")
        sound = store._records[TIM]
        store._records[TIM] = msgspec.structs.replace(sound, history=forged)
        with pytest.raises(SessionNotEncrypted):
            await values(bot)
        hers = store._records["test:ann"].history
        store._records[TIM] = msgspec.structs.replace(sound, history=hers)
        with pytest.raises(SessionTampered):
            await values(bot)


async def test_a_new_shape_of_states_leaves_histories_as_they_are(store: LeasedStore) -> None:
    async with store:
        async with keeping(store, schema_version=1) as bot:
            await add(bot, *range(100))
        bot = keeping(store, schema_version=2)

        @bot.migrate(1)
        def more(state: dict[str, Any]) -> dict[str, Any]:
            return {**state, "more": True}

        async with bot:
            done = await bot.migrate_sessions()
            assert (done.migrated, done.looked_at, done.parts) == (1, 1, 0)
            assert await values(bot) == [*range(100)]
