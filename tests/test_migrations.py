"""Migrations: sessions that are older than the code, newer, or not to be read at all."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from barback import (
    Bot,
    ConfigurationError,
    Context,
    HandlerRefused,
    MemorySessionStore,
    MigrationFailed,
    Outcome,
    SessionTooNew,
    SessionUnreadable,
)
from tests.scripted import event

if TYPE_CHECKING:
    from barback import Record


def first(store: MemorySessionStore) -> Bot[Any]:
    """The bot as it was at first: version 1."""
    return counting(
        Bot(initial_state={"n": 0, "name": "Tim"}, schema_version=1, session_store=store)
    )


def second(store: MemorySessionStore) -> Bot[Any]:
    bot = counting(Bot(initial_state={"n": 0, "names": []}, schema_version=2, session_store=store))
    bot.migrate(1)(names_of)
    return bot


def names_of(state: dict[str, Any]) -> dict[str, Any]:
    state["names"] = [state.pop("name")]
    return state


def counting(bot: Bot[Any]) -> Bot[Any]:
    @bot.on_event
    async def count(context: Context[Any]) -> None:
        context.set_state(n=context.state["n"] + 1)

    return bot


@dataclass
class Third:
    n: int = 0
    names: tuple[str, ...] = ()
    likes: set[str] = field(default_factory=set)


def third(store: MemorySessionStore) -> Bot[Third]:
    bot = Bot(initial_state=Third, schema_version=3, session_store=store)
    bot.migrate(1)(names_of)

    @bot.migrate(2)
    def likes_of(state: dict[str, Any]) -> dict[str, Any]:
        return {**state, "likes": ["tea"]}

    @bot.on_event
    async def count(context: Context[Third]) -> None:
        context.state.n += 1

    return bot


def record(store: MemorySessionStore, session_id: str = "test:tim") -> Record:
    return store._records[session_id]


async def test_an_older_session_is_migrated_step_by_step_and_committed_with_the_turn() -> None:
    store = MemorySessionStore()
    async with first(store) as bot:
        await bot.handle(event())
    assert record(store).schema == 1
    async with third(store) as bot:
        assert await bot.handle(event()) == Outcome.COMMITTED
        async with bot.conversation("test:tim") as context:
            assert context.state == Third(n=2, names=("Tim",), likes={"tea"})
    assert record(store).schema == 3


async def test_what_a_migration_changed_is_committed_by_a_turn_that_changes_nothing() -> None:
    store = MemorySessionStore()
    async with first(store) as bot:
        await bot.handle(event())
    async with second(store) as bot, bot.conversation("test:tim"):
        pass
    assert record(store).schema == 2
    assert b'"names":["Tim"]' in record(store).state


async def test_a_new_session_is_of_the_version_of_the_code() -> None:
    store = MemorySessionStore()
    async with third(store) as bot:
        await bot.handle(event())
    assert record(store).schema == 3


async def test_a_turn_that_fails_leaves_an_older_session_as_it_is() -> None:
    store = MemorySessionStore()
    async with first(store) as bot:
        await bot.handle(event())
    before = record(store)
    async with second(store) as bot:
        with pytest.raises(ZeroDivisionError):
            async with bot.conversation("test:tim"):
                raise ZeroDivisionError
    assert record(store) == before


async def test_on_error_sees_the_migrated_state() -> None:
    store = MemorySessionStore()
    async with first(store) as bot:
        await bot.handle(event())
    bot = Bot(initial_state={"names": []}, schema_version=2, session_store=store)
    bot.migrate(1)(names_of)

    @bot.on_event
    async def fail(context: Context) -> None:
        context.state["names"].append("lost")
        raise ZeroDivisionError

    @bot.on_error
    async def note(context: Context, error: Exception) -> None:
        context.set_state(noted=len(context.state["names"]))

    async with bot:
        assert await bot.handle(event()) == Outcome.FAILED
        async with bot.conversation("test:tim") as context:
            assert (context.state["names"], context.state["noted"]) == (["Tim"], 1)


async def test_a_session_newer_than_the_code_is_refused_and_stays_as_it_is() -> None:
    store = MemorySessionStore()
    async with third(store) as bot:
        await bot.handle(event())
    before = record(store)
    bot = second(store)

    @bot.on_unreadable
    async def reset(error: SessionUnreadable) -> bool:
        raise AssertionError

    async with bot:
        with pytest.raises(SessionTooNew, match="version 3, and this code knows 2") as refused:
            await bot.handle(event())
        assert refused.value.session_id == "test:tim"
        assert refused.value.store == "memory"
        with pytest.raises(SessionTooNew):
            async with bot.conversation("test:tim"):
                raise AssertionError
    assert record(store) == before
    async with third(store) as bot:
        assert await bot.handle(event()) == Outcome.COMMITTED


async def test_a_migration_that_fails_leaves_the_session_as_it_is() -> None:
    store = MemorySessionStore()
    async with first(store) as bot:
        await bot.handle(event())
    before = record(store)
    wrongs: list[Any] = [
        lambda state: state["secret"],
        lambda state: None,
        lambda state: {"at": object()},
        lambda state: {"n": "secret"},  # which does not fit the type
    ]
    for wrong in wrongs:
        bot = Bot(initial_state=Third, schema_version=2, session_store=store)
        bot.on_event(lambda_that_never_runs)
        bot.migrate(1)(wrong)
        async with bot:
            with pytest.raises(SessionUnreadable) as refused:
                await bot.handle(event())
            assert "test:tim" in str(refused.value)
            assert "secret" not in str(refused.value).replace("KeyError: 'secret'", "")
        assert record(store) == before


async def test_a_migration_that_forgets_to_return_is_told_so() -> None:
    store = MemorySessionStore()
    async with first(store) as bot:
        await bot.handle(event())
    bot = Bot(schema_version=2, session_store=store)
    bot.migrate(1)(lambda state: state.update(n=1))  # type: ignore[arg-type,return-value]
    bot.on_event(lambda_that_never_runs)
    async with bot:
        with pytest.raises(
            MigrationFailed, match=r"It returned NoneType, not the newer state, a dict\. It is left"
        ):
            await bot.handle(event())


async def lambda_that_never_runs(context: Context[Any]) -> None:
    raise AssertionError


async def test_a_version_that_nobody_can_migrate_is_told() -> None:
    store = MemorySessionStore()
    async with counting(Bot(initial_state={"n": 0}, session_store=store)) as bot:
        await bot.handle(event())
    async with second(store) as bot:
        with pytest.raises(MigrationFailed, match="version 0, and the bot has no migration"):
            await bot.handle(event())


# Putting a bot together.


async def test_a_gap_between_migrations_is_refused_when_the_bot_starts() -> None:
    bot = Bot(schema_version=4)
    bot.migrate(1)(names_of)
    bot.migrate(3)(names_of)
    with pytest.raises(ConfigurationError, match="no migration from version 2 to 3"):
        async with bot:
            pass


async def test_a_migration_beyond_the_version_is_refused_when_the_bot_starts() -> None:
    bot = Bot(schema_version=1)
    bot.migrate(1)(names_of)
    with pytest.raises(ConfigurationError, match=r"schema_version is 1\. Set it to 2"):
        async with bot:
            pass


def test_migrations_are_plain_functions_one_from_each_version() -> None:
    bot = Bot(schema_version=2)
    bot.migrate(1)(names_of)
    with pytest.raises(HandlerRefused, match="already"):
        bot.migrate(1)(names_of)

    async def later(state: dict[str, Any]) -> dict[str, Any]:
        return state

    with pytest.raises(HandlerRefused, match="plain function"):
        bot.migrate(0)(later)  # type: ignore[arg-type]
    for wrong in (-1, "1", 1.0, True):
        with pytest.raises(ConfigurationError, match="whole number"):
            bot.migrate(wrong)  # type: ignore[arg-type]
        with pytest.raises(ConfigurationError, match="whole number"):
            Bot(schema_version=wrong)  # type: ignore[arg-type]


# What cannot be read.


def unreadable(store: MemorySessionStore, *, start_anew: bool) -> tuple[Bot[Third], list[Any]]:
    bot = third(store)
    told: list[Any] = []

    @bot.on_unreadable
    async def report(error: SessionUnreadable) -> bool:
        told.append(error)
        return start_anew

    return bot, told


async def broken(store: MemorySessionStore, namespace: str = "") -> None:
    bot = Bot(
        initial_state={"n": "many"}, schema_version=3, session_store=store, namespace=namespace
    )
    async with bot, bot.conversation("test:tim") as context:
        context.set_state(more=1)


async def test_an_unreadable_session_is_reported_and_raises() -> None:
    store = MemorySessionStore()
    await broken(store)
    before = record(store)
    bot, told = unreadable(store, start_anew=False)
    async with bot:
        with pytest.raises(SessionUnreadable, match=r"state\.n"):
            await bot.handle(event())
    assert [error.session_id for error in told] == ["test:tim"]
    assert record(store) == before


@pytest.mark.parametrize("namespace", ["", "shop"])
async def test_an_unreadable_session_is_kept_aside_if_it_is_to_begin_anew(namespace: str) -> None:
    store = MemorySessionStore()
    await broken(store, namespace)
    prefix = f"{namespace}/" if namespace else ""
    before = record(store, f"{prefix}test:tim")
    bot = Bot(initial_state=Third, schema_version=3, session_store=store, namespace=namespace)

    @bot.on_event
    async def count(context: Context[Third]) -> None:
        context.state.n += 1

    @bot.on_unreadable
    async def report(error: SessionUnreadable) -> bool:
        return True

    async with bot:
        assert await bot.handle(event(event_id="1")) == Outcome.COMMITTED
        assert await bot.handle(event(event_id="1")) == Outcome.DUPLICATE
        async with bot.conversation("test:tim") as context:
            assert context.state == Third(n=1)
    aside = [each for each in store._records if "unreadable:" in each]
    assert len(aside) == 1
    assert aside[0].startswith(f"{prefix}unreadable:")
    assert aside[0].endswith(":test:tim")
    kept = record(store, aside[0])
    assert (kept.state, kept.schema, kept.expires_at) == (before.state, before.schema, None)
    assert not store._leases._held


async def test_what_the_report_itself_raises_comes_out_and_nothing_is_held() -> None:
    store = MemorySessionStore()
    await broken(store)
    bot = third(store)

    @bot.on_unreadable
    async def report(error: SessionUnreadable) -> bool:
        raise ZeroDivisionError

    async with bot:
        with pytest.raises(ZeroDivisionError):
            await bot.handle(event())
        assert not store._leases._held


async def test_the_longest_id_is_kept_aside_under_one_that_is_not_longer() -> None:
    store = MemorySessionStore()
    long = "test:" + "é" * 253
    old = Bot(initial_state={"n": "many"}, schema_version=3, session_store=store)
    async with old, old.conversation(long) as context:
        context.set_state(more=1)
    bot, _ = unreadable(store, start_anew=True)
    async with bot, bot.conversation(long) as typed:
        typed.state.n = 5
    aside = [each for each in store._records if each.startswith("unreadable:")]
    assert 500 < len(aside[0].encode()) <= 512
