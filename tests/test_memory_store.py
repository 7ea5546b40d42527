"""Sessions in memory: how many are kept, which are forgotten, and how the store is opened.

What it shares with every other store is in test_store_contract.py.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from typing import Any

import pytest

from barback import Bot, Context, Lease, Outcome, Record
from barback.errors import (
    ConfigurationError,
    LeaseLost,
    SessionBusy,
    SessionStoreUnavailable,
)
from barback.stores.base import ONE_YEAR
from barback.stores.memory import MemorySessionStore
from barback.stores.url import open_store
from barback.testing.contract_tools import lease_on, peek, put, record_of
from tests.scripted import event


def kept(store: MemorySessionStore) -> list[str]:
    return list(store._records)


# How many, and which.


async def test_the_least_recently_used_session_is_forgotten_first() -> None:
    store = MemorySessionStore(max_size=3)
    for session_id in ("test:a", "test:b", "test:c"):
        await put(store, session_id)
    await peek(store, "test:a")
    await put(store, "test:d")
    assert kept(store) == ["test:c", "test:a", "test:d"]


async def test_writing_to_a_session_that_is_kept_forgets_none() -> None:
    store = MemorySessionStore(max_size=2)
    for session_id in ("test:a", "test:b", "test:a", "test:b"):
        await put(store, session_id)
    assert kept(store) == ["test:a", "test:b"]
    assert store.evictions == 0


async def test_a_session_in_use_is_never_forgotten() -> None:
    store = MemorySessionStore(max_size=2)
    held = lease_on("test:held")
    held.version = (await put(store, "test:held", {"n": 1})).version
    await store.checkout("test:held", held)
    for number in range(10):
        await put(store, f"test:{number}")
    assert kept(store) == ["test:held", "test:9"]
    await store.commit(record_of("test:held", {"n": 2}), held)
    assert kept(store) == ["test:held", "test:9"]


async def test_where_all_sessions_are_in_use_the_store_grows_until_one_is_not() -> None:
    store = MemorySessionStore(max_size=2)
    leases = [lease_on(f"test:{number}") for number in range(4)]
    for lease in leases:
        await store.checkout(lease.session_id, lease)
        record = record_of(lease.session_id)
        await store.commit(record, lease, keep=True)
        lease.version = record.version
    assert len(store) == 4
    assert store.evictions == 0
    for lease in leases:
        await store.release(lease.session_id, lease)
    await put(store, "test:new")
    assert len(store) == 2
    assert store.evictions == 3
    assert "test:new" in kept(store)


async def test_a_store_of_one_keeps_the_last() -> None:
    store = MemorySessionStore(max_size=1)
    await put(store, "test:a")
    await put(store, "test:b")
    assert kept(store) == ["test:b"]


async def test_who_is_forgotten_starts_anew_and_can_be_remembered_again() -> None:
    store = MemorySessionStore(max_size=1)
    async with Bot(session_store=store, initial_state={"n": 0}) as bot:
        for session_id in ("test:a", "test:b", "test:a"):
            async with bot.conversation(session_id) as context:
                assert context.state == {"n": 0}
                context.set_state(n=1)
        async with bot.conversation("test:a") as context:
            assert context.state == {"n": 1}


async def test_evictions_are_counted_and_the_first_is_warned_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = MemorySessionStore(max_size=2)
    with caplog.at_level(logging.WARNING, logger="barback"):
        for number in range(2):
            await put(store, f"test:{number}")
        assert caplog.messages == []
        for number in range(2, 7):
            await put(store, f"test:{number}")
    assert store.evictions == 5
    assert len(caplog.messages) == 1
    assert "max_size" in caplog.messages[0]
    assert "(2 sessions)" in caplog.messages[0]


async def test_people_who_set_nothing_take_no_room() -> None:
    store = MemorySessionStore()
    async with Bot(session_store=store) as bot:
        for number in range(100):
            async with bot.conversation(f"test:{number}"):
                pass
    assert len(store) == 0
    assert len(store._leases) == 0


async def test_a_session_that_was_forgotten_while_a_stalled_turn_had_it_is_not_written() -> None:
    store = MemorySessionStore(max_size=1)
    stalled = lease_on("test:a", term=0)
    stalled.version = (await put(store, "test:a")).version
    await store.checkout("test:a", stalled)
    await put(store, "test:b")
    await store.destroy("test:a", None)
    with pytest.raises(LeaseLost):
        await store.commit(record_of("test:a"), stalled)
    assert kept(store) == ["test:b"]


async def test_what_it_holds_outlives_its_closing() -> None:
    store = MemorySessionStore()
    async with store:
        written = await put(store, "test:a")
    async with store:
        assert written == await peek(store, "test:a")


async def test_two_stores_share_nothing() -> None:
    one, two = MemorySessionStore(), MemorySessionStore()
    await one.checkout("test:a", lease_on("test:a"))
    await two.checkout("test:a", lease_on("test:a"))
    with pytest.raises(SessionBusy):
        await one.checkout("test:a", lease_on("test:a"))


async def test_what_a_subclass_puts_in_place_of_an_operation_is_what_turns_use() -> None:
    class Noting(MemorySessionStore):
        noted = 0

        async def commit(self, record: Record, lease: Lease, *, keep: bool = False) -> None:
            await asyncio.sleep(0)
            self.noted += 1
            await super().commit(record, lease, keep=keep)

    store = Noting()
    async with Bot(session_store=store) as bot:
        async with bot.conversation("test:a") as context:
            context.set_state(n=1)
    assert store.noted == 1


# Options.


def test_its_defaults_are_ten_thousand_sessions_for_a_year() -> None:
    store = MemorySessionStore()
    assert store.max_size == 10_000
    assert store.expires_in == ONE_YEAR == timedelta(days=365)


@pytest.mark.parametrize("max_size", [0, -1, 1.5, "10", None, True])
def test_a_size_that_is_none_is_refused(max_size: Any) -> None:
    with pytest.raises(ConfigurationError, match="max_size"):
        MemorySessionStore(max_size=max_size)


@pytest.mark.parametrize(
    ("expires_in", "expected"),
    [
        (10, timedelta(minutes=10)),
        (0.5, timedelta(seconds=30)),
        (timedelta(hours=1), timedelta(hours=1)),
        (timedelta(milliseconds=1), timedelta(milliseconds=1)),
        (None, None),
    ],
)
def test_expires_in_is_minutes_or_a_timedelta_or_none(
    expires_in: float | timedelta | None, expected: timedelta | None
) -> None:
    assert expected == MemorySessionStore(expires_in=expires_in).expires_in


@pytest.mark.parametrize(
    "expires_in",
    [
        *(0, -1, 1e-9, float("nan"), float("inf"), 1e300, "10", True, [10]),
        *(timedelta(0), timedelta(days=-1), timedelta(microseconds=1)),
    ],
)
def test_an_expires_in_that_cannot_be_is_refused(expires_in: Any) -> None:
    with pytest.raises(ConfigurationError, match="expires_in"):
        MemorySessionStore(expires_in=expires_in)


@pytest.mark.parametrize(
    ("url", "max_size", "expires_in"),
    [
        ("memory://", 10_000, ONE_YEAR),
        ("memory:", 10_000, ONE_YEAR),
        ("memory://?max_size=7", 7, ONE_YEAR),
        ("memory://?expires_in=1.5", 10_000, timedelta(seconds=90)),
        ("memory://?expires_in=never&max_size=1", 1, None),
    ],
)
def test_its_url_opens_it(url: str, max_size: int, expires_in: timedelta | None) -> None:
    store = open_store(url)
    assert isinstance(store, MemorySessionStore)
    assert (max_size, expires_in) == (store.max_size, store.expires_in)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("memory://localhost", "no address"),
        ("memory:///tmp/x", "no address"),
        ("memory://?size=1", "no option 'size'"),
        ("memory://?max_size=many", "max_size cannot be 'many'"),
        ("memory://?max_size=", "max_size cannot be ''"),
        ("memory://?max_size=never", "max_size"),
        ("memory://?max_size=0", "max_size"),
        ("memory://?expires_in=soon", "expires_in cannot be 'soon'"),
        ("memory://?expires_in=0", "expires_in must be more than zero"),
        ("memory://?expires_in=nan", "finite"),
    ],
)
def test_a_url_that_says_nothing_sensible_is_refused(url: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        open_store(url)


# A store that answers at once, of somebody's own.


class Stubborn(MemorySessionStore):
    """It has a bad day."""

    trouble = False

    def give_back(self, session_id: str, lease: Lease) -> None:
        if self.trouble:
            message = "The disk has gone."
            raise SessionStoreUnavailable(message, session_id=session_id, store=self.name)
        super().give_back(session_id, lease)


async def test_a_lease_that_is_not_taken_back_is_told_and_known_by_its_token(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = Stubborn()
    bot = Bot(session_store=store)
    bot.on_event(look)
    async with bot, asyncio.timeout(10):  # a lease ends after thirty
        store.trouble = True
        assert await bot.handle(event()) is Outcome.UNCHANGED
        store.trouble = False
        assert "could not be given back and will run out: The disk has gone." in caplog.text
        assert await bot.handle(event()) is Outcome.UNCHANGED


async def look(context: Context) -> None:
    """Change nothing."""
    assert context.state == {}


async def test_what_is_put_upon_one_store_alone_is_asked_too() -> None:
    store, asked = MemorySessionStore(), list[str]()

    async def noted(session_id: str, lease: Lease) -> Record | None:
        asked.append(session_id)
        return await MemorySessionStore.checkout(store, session_id, lease)

    assert store.overrides_nothing()
    store.checkout = noted  # type: ignore[method-assign]
    assert not store.overrides_nothing()
    bot = Bot(session_store=store)
    bot.on_event(look)
    async with bot:
        await bot.handle(event())
    assert asked == ["test:tim"]
