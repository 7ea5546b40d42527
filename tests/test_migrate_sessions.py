"""A migration of a whole store, beside the bots that use it."""

from __future__ import annotations

import asyncio
import contextvars
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from barback import (
    BotNotRunning,
    ConfigurationError,
    Context,
    LeasedStore,
    ListingUnsupported,
    MemorySessionStore,
    Outcome,
    Record,
    SessionStore,
    SessionStoreUnavailable,
    SessionUnreadable,
    open_store,
)
from barback.record import NEVER
from barback.testing import Clock
from barback.testing.contract_tools import lease_on, leased, put
from tests.every_store import EVERY, own_url
from tests.scripted import ScriptedStore, counting_bot, event, nothing_left, until

if TYPE_CHECKING:
    from pathlib import Path

    from barback import Bot
    from barback.migrating import Migrated


OUTSIDE = contextvars.Context()
"""Where a task is in no turn, though a turn starts it."""


def renaming(store: Any, **options: Any) -> Bot[Any]:
    """A bot of version 2, which calls the number differently."""
    bot = counting_bot(session_store=store, schema_version=2, **options)

    @bot.migrate(1)
    def rename(state: dict[str, Any]) -> dict[str, Any]:
        return {"n": state["number"]}

    return bot


async def filled(store: Any, count: int = 100, namespace: str = "") -> None:
    """So many sessions of version 1."""
    before = f"{namespace}/" if namespace else ""
    await asyncio.gather(
        *(put(store, f"{before}test:{n}", {"number": n}, schema=1) for n in range(count))
    )


async def content(store: SessionStore | LeasedStore) -> dict[str, Record]:
    async with leased(store) as opened:
        return {record.id: record async for record in opened.all()}


@pytest.mark.parametrize("store", EVERY)
async def test_every_older_session_is_migrated_in_every_store(
    store: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    url = own_url(store, request, tmp_path)
    async with leased(open_store(url)) as opened:
        await filled(opened)
        async with renaming(opened) as bot:
            done = await bot.migrate_sessions()
            assert (done.migrated, done.looked_at, done.complete) == (100, 100, True)
            assert nothing_left(bot)
            again = await bot.migrate_sessions()
            assert (again.migrated, again.current) == (0, 100)
        after = await content(opened)
    assert {each.state for each in after.values()} == {b'{"n":%d}' % n for n in range(100)}
    assert {each.schema for each in after.values()} == {2}


async def test_to_be_migrated_is_no_activity() -> None:
    store = MemorySessionStore(expires_in=100)
    await put(
        store,
        "test:tim",
        {"number": 1},
        schema=1,
        created_at=1,
        last_activity=2,
        expires_at=300_000,
        lifetime=86_400_000,
        seen={"test:message:1": 2},
        users=("tim", "ann"),
        address="there",
    )
    before = store._records["test:tim"]
    bot = renaming(store, clock=Clock(200.0))
    assert (await bot.migrate_sessions()).migrated == 1
    after = store._records["test:tim"]
    for field in Record.__struct_fields__:
        if field not in {"version", "state", "schema", "seen"}:
            assert getattr(after, field) == getattr(before, field)
    assert after.version != before.version
    async with bot:
        assert await bot.handle(event(event_id="1")) == Outcome.DUPLICATE


async def test_a_migration_that_changes_nothing_makes_a_session_current() -> None:
    store = MemorySessionStore()
    await put(store, "test:tim", {"n": 1}, schema=1)
    bot = counting_bot(session_store=store, schema_version=2)
    bot.migrate(1)(lambda state: state)
    assert (await bot.migrate_sessions()).migrated == 1
    assert (await bot.migrate_sessions()).current == 1


async def test_a_dry_run_tells_the_same_and_writes_nothing() -> None:
    store = ScriptedStore()
    await filled(store.inner, 10)
    await put(store.inner, "test:odd", {}, schema=1)
    before = await content(store.inner)
    bot = renaming(store)
    done = await bot.migrate_sessions(dry_run=True)
    assert str(done) == "10 would be migrated, 1 failed"
    assert [failure.session_id for failure in done.failures] == ["test:odd"]
    assert store.calls == []
    assert await content(store.inner) == before
    real = await bot.migrate_sessions()
    assert (real.migrated, real.failed, real.failures) == (10, 1, done.failures)


async def test_what_fails_is_left_as_it_is_and_told_with_its_reason() -> None:
    store = MemorySessionStore()
    await filled(store, 10)
    for name in ("a", "b", "c"):
        await put(store, f"test:{name}", {"secret": name}, schema=1)
    before = await content(store)
    bot = renaming(store)

    @bot.on_unreadable
    async def begin_anew(error: SessionUnreadable) -> bool:
        raise AssertionError

    async with bot:
        done = await bot.migrate_sessions(max_failures=2)
        assert nothing_left(bot)
    assert (done.migrated, done.failed, done.complete) == (10, 3, False)
    assert len(done.failures) == 2
    assert "version 1 failed with KeyError" in done.failures[0].reason
    after = await content(store)
    for name in ("a", "b", "c"):
        assert after[f"test:{name}"] == before[f"test:{name}"]
        assert f"test:{name}" not in store._leases._held


async def test_what_newer_code_wrote_what_expired_and_what_is_aside_is_left_alone() -> None:
    store = MemorySessionStore()
    await put(store, "test:newer", {"n": 1}, schema=3)
    await put(store, "test:expired", {"number": 1}, schema=1, expires_at=1)
    await put(store, "unreadable:1f:test:tim", {"number": 1}, schema=1, lifetime=NEVER)
    before = await content(store)
    done = await renaming(store).migrate_sessions()
    assert str(done) == "0 migrated, 1 newer, 2 skipped"
    assert not done.complete
    assert await content(store) == before


@pytest.mark.parametrize(("own", "other"), [("", "shop"), ("shop", ""), ("shop", "shop2")])
async def test_the_sessions_of_other_bots_are_not_touched(own: str, other: str) -> None:
    store = MemorySessionStore()
    await filled(store, 5, own)
    await filled(store, 7, other)
    done = await renaming(store, namespace=own).migrate_sessions()
    assert str(done) == "5 migrated"
    schemas = [record.schema for record in (await content(store)).values()]
    assert (schemas.count(1), schemas.count(2)) == (7, 5)


async def test_a_session_that_is_gone_or_current_meanwhile_is_not_written() -> None:
    store = ScriptedStore()
    await filled(store.inner, 2)
    wait = asyncio.Event()
    store.script("checkout", wait, wait)
    bot = renaming(store)
    task = asyncio.create_task(bot.migrate_sessions())
    await until(lambda: store.calls.count("checkout") == 2)
    await store.inner.destroy("test:0", None)
    async with renaming(store.inner) as other:
        await other.migrate_sessions()
    wait.set()
    done = await task
    assert (done.gone, done.current, done.migrated) == (1, 1, 0)
    assert store.commits == []
    assert list(await content(store.inner)) == ["test:1"]


async def test_a_session_that_expires_meanwhile_is_not_written() -> None:
    store, clock, wait = ScriptedStore(), Clock(1.0), asyncio.Event()
    await put(store.inner, "test:tim", {"number": 1}, schema=1, expires_at=5_000)
    store.script("checkout", wait)
    task = asyncio.create_task(renaming(store, clock=clock).migrate_sessions())
    await until(lambda: store.calls == ["checkout"])
    clock.advance(10)
    wait.set()
    assert str(await task) == "0 migrated, 1 gone"
    assert store.commits == []


async def test_a_turn_that_runs_is_waited_for() -> None:
    store = MemorySessionStore()
    await put(store, "test:tim", {"n": 1}, schema=2)
    await put(store, "test:ann", {"number": 1}, schema=1)
    async with renaming(store) as bot:
        async with bot.conversation("test:ann") as context:
            task = asyncio.create_task(bot.migrate_sessions(), context=OUTSIDE)
            context.set_state(n=5)
            await until(lambda: bot._turns.queue.waiting("test:ann"))  # type: ignore[union-attr]
        done = await task
        assert (done.migrated, done.current) == (0, 2)
        async with bot.conversation("test:ann") as context:
            assert context.state == {"n": 5}


async def test_a_session_that_is_busy_for_too_long_is_counted() -> None:
    store = ScriptedStore()
    await filled(store.inner, 3)
    await store.inner.checkout("test:1", lease_on("test:1"))
    bot = renaming(store)
    bot._rules = type(bot._rules)(lease_wait=0.05)
    done = await bot.migrate_sessions()
    assert (done.migrated, done.busy, done.complete) == (2, 1, False)
    await store.inner.destroy("test:1", None)


async def test_a_store_that_fails_ends_it_and_what_was_done_is_told() -> None:
    store = ScriptedStore()
    await filled(store.inner, 200)
    store.script("commit", *["ok"] * 50, *["unavailable"] * 500)
    bot = renaming(store)
    with pytest.raises(SessionStoreUnavailable) as failed:
        await bot.migrate_sessions()
    assert failed.value.__notes__ == ["Until then: 50 migrated."]
    store._script.clear()
    done = await bot.migrate_sessions()
    assert (done.current, done.migrated) == (50, 150)


async def test_an_answer_that_is_lost_is_found_out() -> None:
    store = ScriptedStore()
    await filled(store.inner, 10)
    store.script("commit", "applied", "unknown", "ok", "applied")
    done = await renaming(store).migrate_sessions()
    assert str(done) == "10 migrated"
    assert {record.schema for record in (await content(store.inner)).values()} == {2}


async def test_a_cancellation_leaves_each_session_whole_and_free() -> None:
    store = ScriptedStore()
    await filled(store.inner, 300)
    done: list[Migrated] = []
    async with renaming(store) as bot:
        task = asyncio.create_task(bot.migrate_sessions(on_progress=done.append))
        await until(lambda: done and done[0].migrated >= 100)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert nothing_left(bot)
        assert all(store.is_free(f"test:{n}") for n in range(300))
        after = await content(store.inner)
        for record in after.values():
            assert (record.schema, b'"n"' in record.state) in {(1, False), (2, True)}
        migrated = sum(record.schema == 2 for record in after.values())
        assert 100 <= migrated < 300
        rest = await bot.migrate_sessions()
        assert (rest.current, rest.migrated) == (migrated, 300 - migrated)


async def test_what_the_store_cannot_read_hides_nothing_else() -> None:
    class Damaged(ScriptedStore):
        async def all(self, prefix: str = "") -> Any:
            async for record in self.inner.all(prefix):
                yield record
            raise SessionUnreadable("It is torn.", session_id="shop/test:torn")

    store = Damaged()
    await filled(store.inner, 5, "shop")
    done = await renaming(store, namespace="shop").migrate_sessions()
    assert (done.migrated, done.failed) == (5, 1)
    assert [(each.session_id, each.reason) for each in done.failures] == [
        ("test:torn", "It is torn.")
    ]


async def test_a_state_that_does_not_fit_its_type_once_it_is_migrated_is_a_failure() -> None:
    @dataclass
    class Profile:
        n: int = 0

        def __post_init__(self) -> None:
            if self.n == 13:
                raise RuntimeError("secret")

    store = MemorySessionStore()
    for name, number in (("tim", 1), ("ann", "many"), ("bob", 13)):
        await put(store, f"test:{name}", {"n": number}, schema=1)
    from barback import Bot  # noqa: PLC0415 - the name is a type above

    bot = Bot(initial_state=Profile, schema_version=2, session_store=store)
    bot.migrate(1)(lambda state: state)
    for dry_run in (True, False):
        done = await bot.migrate_sessions(dry_run=dry_run)
        assert (done.migrated, done.failed) == (1, 2)
        assert "secret" not in str(done.failures)


async def test_a_store_that_cannot_list_says_so(tmp_path: Path) -> None:
    class FourMethods(SessionStore):
        async def init(self) -> Any:
            return self

        async def read(self, session_id: str) -> Record | None:
            return None

        async def write(self, session_id: str, record: Record) -> None: ...

        async def destroy(self, session_id: str) -> None: ...

    with pytest.raises(ListingUnsupported):
        await renaming(FourMethods()).migrate_sessions()


async def test_a_bot_that_is_put_together_wrongly_migrates_nothing() -> None:
    bot = renaming(MemorySessionStore())
    bot._states.schema = 1
    with pytest.raises(ConfigurationError, match="schema_version is 1"):
        await bot.migrate_sessions()


async def test_a_bot_that_stops_ends_its_migration() -> None:
    store = ScriptedStore()
    await filled(store.inner, 300)
    wait = asyncio.Event()
    store.script("commit", *[wait] * 64)
    async with renaming(store, shutdown_timeout=0.01) as bot:
        task = asyncio.create_task(bot.migrate_sessions())
        await until(lambda: store.calls.count("commit") == 64)
        asyncio.get_running_loop().call_later(0.1, wait.set)
    with pytest.raises(BotNotRunning) as stopped:
        await task
    assert stopped.value.__notes__ == ["Until then: 64 migrated."]
    assert all(store.is_free(f"test:{n}") for n in range(300))


async def test_events_find_their_places_while_all_is_migrated() -> None:
    """A migration takes no more than a part of the turns that may run at once."""
    store = ScriptedStore()
    await filled(store.inner, 100)
    wait = asyncio.Event()
    store.script("commit", wait, wait)
    async with renaming(store, max_concurrency=8) as bot:
        task = asyncio.create_task(bot.migrate_sessions())
        await until(lambda: store.calls.count("commit") == 2)
        store.script("checkout", *["ok"] * 100)
        assert await bot.handle(event("new")) == Outcome.COMMITTED
        assert store.calls.count("checkout") == 3
        wait.set()
        assert (await task).migrated == 100


async def test_a_handler_may_migrate_other_sessions_than_its_own() -> None:
    store = MemorySessionStore()
    await filled(store, 10)
    bot = renaming(store)
    told: list[Migrated] = []

    @bot.use
    async def migrate_first(context: Context[Any], call_next: Any) -> None:
        told.append(await bot.migrate_sessions())
        await call_next(context)

    async with bot:
        await bot.handle(event("3"))
    assert (told[0].migrated, told[0].failed) == (9, 1)
    assert told[0].failures[0].session_id == "test:3"
    assert "which waits for that turn" in told[0].failures[0].reason
