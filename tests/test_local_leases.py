"""Leases inside one process, and what LocalLeases makes of a driver of four methods."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import AsyncGenerator, AsyncIterator
from typing import ClassVar, Self

import pytest

from barback import Bot
from barback.errors import (
    CommitUnknown,
    LeaseLost,
    ListingUnsupported,
    SessionBusy,
    SessionStoreUnavailable,
    SessionUnreadable,
)
from barback.record import Record
from barback.stores.base import ListedStore, SessionStore
from barback.stores.local import LeaseTable, LocalLeases
from barback.testing.contract_tools import TIM, lease_on, peek, put, record_of


class Driver(SessionStore):
    """Four methods over a dict. `error` is what the next operation fails with."""

    name: ClassVar[str] = "driver"

    def __init__(self) -> None:
        self.records: dict[str, Record] = {}
        self.error: BaseException | None = None
        self.opened = 0
        self.closed = 0

    async def init(self) -> Self:
        self.opened += 1
        return self

    async def close(self) -> None:
        self.closed += 1

    async def read(self, session_id: str) -> Record | None:
        self.fail()
        return self.records.get(session_id)

    async def write(self, session_id: str, record: Record) -> None:
        self.fail()
        self.records[session_id] = record

    async def destroy(self, session_id: str) -> None:
        self.fail()
        self.records.pop(session_id, None)

    def fail(self) -> None:
        error, self.error = self.error, None
        if error is not None:
            raise error


class ListedDriver(Driver, ListedStore):
    def __init__(self) -> None:
        super().__init__()
        self.left = 0

    async def all(self, prefix: str = "") -> AsyncIterator[Record]:
        self.fail()
        try:
            for session_id, record in self.records.items():
                if session_id.startswith(prefix):
                    yield record
        finally:
            self.left += 1

    async def due(self, before: int, limit: int) -> list[Record]:
        self.fail()
        return [record for record in self.records.values() if record.expired(before)][:limit]


class Clock:
    def __init__(self) -> None:
        self.time = 1_000.0

    def __call__(self) -> float:
        return self.time


# The table.


def test_a_lease_ends_when_its_term_is_over_and_not_before() -> None:
    clock = Clock()
    table = LeaseTable("test", clock)
    table.take(TIM, lease_on(term=30))
    clock.time += 29.9
    with pytest.raises(SessionBusy):
        table.take(TIM, lease_on())
    clock.time += 0.1
    table.take(TIM, lease_on())


def test_each_lease_has_a_term_of_its_own() -> None:
    clock = Clock()
    table = LeaseTable("test", clock)
    table.take("test:short", lease_on(term=1))
    table.take("test:long", lease_on(term=10))
    clock.time += 5
    table.take("test:short", lease_on())
    with pytest.raises(SessionBusy):
        table.take("test:long", lease_on())


def test_a_lease_that_is_over_is_still_held_until_another_takes_the_session() -> None:
    clock = Clock()
    table = LeaseTable("test", clock)
    stalled = lease_on(term=30)
    table.take(TIM, stalled)
    clock.time += 1_000
    table.check(TIM, stalled)
    table.take(TIM, lease_on())
    with pytest.raises(LeaseLost):
        table.check(TIM, stalled)


def test_renewing_counts_from_now() -> None:
    clock = Clock()
    table = LeaseTable("test", clock)
    mine = lease_on(term=30)
    table.take(TIM, mine)
    clock.time += 20
    assert table.renew([mine]) == []
    clock.time += 20
    with pytest.raises(SessionBusy):
        table.take(TIM, lease_on())
    clock.time += 10
    table.take(TIM, lease_on())


def test_renewing_brings_no_lost_lease_back() -> None:
    clock = Clock()
    table = LeaseTable("test", clock)
    stalled, other = lease_on(term=30), lease_on()
    table.take(TIM, stalled)
    clock.time += 30
    table.take(TIM, other)
    assert table.renew([stalled, other]) == [stalled]
    table.give_back(TIM, other)
    assert table.renew([other]) == [other]
    assert TIM not in table


def test_nothing_is_left_of_a_session_that_is_free() -> None:
    table = LeaseTable("test")
    for number in range(100):
        lease = lease_on(f"test:{number}")
        table.take(lease.session_id, lease)
        assert lease.session_id in table
        if number % 2:
            table.give_back(lease.session_id, lease)
        else:
            table.free(lease.session_id)
    assert len(table) == 0


def test_its_errors_say_which_session_of_which_store() -> None:
    table = LeaseTable("test", Clock())
    table.take(TIM, lease_on())
    with pytest.raises(SessionBusy) as busy:
        table.take(TIM, lease_on())
    with pytest.raises(LeaseLost) as lost:
        table.check(TIM, lease_on())
    for error in (busy.value, lost.value):
        assert (error.session_id, error.store) == (TIM, "test")


# A driver's failures.


async def test_a_driver_that_cannot_read_is_unavailable() -> None:
    driver = Driver()
    store = LocalLeases(driver)
    driver.error = cause = OSError("the disk is on fire")
    with pytest.raises(SessionStoreUnavailable, match="driver store failed to read") as raised:
        await store.checkout(TIM, lease_on())
    assert cause is raised.value.__cause__
    assert (raised.value.session_id, raised.value.store) == (TIM, "driver")


async def test_a_driver_that_fails_to_write_leaves_the_commit_unknown() -> None:
    driver = Driver()
    store = LocalLeases(driver)
    mine = lease_on()
    await store.checkout(TIM, mine)
    driver.error = cause = OSError("the disk is on fire")
    with pytest.raises(CommitUnknown, match="driver store failed while it wrote") as raised:
        await store.commit(record_of(), mine)
    assert cause is raised.value.__cause__
    assert (raised.value.session_id, raised.value.store) == (TIM, "driver")


async def test_a_commit_that_is_unknown_keeps_its_lease_to_find_out() -> None:
    driver = Driver()
    store = LocalLeases(driver)
    mine = lease_on()
    await store.checkout(TIM, mine)
    driver.error = OSError()
    with pytest.raises(CommitUnknown):
        await store.commit(record_of(), mine)
    with pytest.raises(SessionBusy):
        await store.checkout(TIM, lease_on())
    assert await store.checkout(TIM, mine) is None


@pytest.mark.parametrize("forced", [True, False])
async def test_a_driver_that_fails_to_destroy_leaves_it_unknown(*, forced: bool) -> None:
    driver = Driver()
    store = LocalLeases(driver)
    written = await put(store)
    mine = lease_on(version=written.version)
    await store.checkout(TIM, mine)
    driver.error = cause = OSError("the disk is on fire")
    with pytest.raises(CommitUnknown) as raised:
        await store.destroy(TIM, None if forced else mine)
    assert cause is raised.value.__cause__


async def test_errors_of_barback_pass_as_they_are() -> None:
    driver = Driver()
    store = LocalLeases(driver)
    mine = lease_on()
    driver.error = unreadable = SessionUnreadable("broken")
    with pytest.raises(SessionUnreadable) as raised:
        await store.checkout(TIM, mine)
    assert unreadable is raised.value
    await store.checkout(TIM, mine)
    for operation in (store.commit(record_of(), mine), store.destroy(TIM, mine)):
        driver.error = unavailable = SessionStoreUnavailable("gone")
        with pytest.raises(SessionStoreUnavailable) as refused:
            await operation
        assert unavailable is refused.value


@pytest.mark.parametrize("error", [OSError(), SessionUnreadable(), asyncio.CancelledError()])
async def test_a_read_that_fails_holds_no_lease(error: BaseException) -> None:
    driver = Driver()
    store = LocalLeases(driver)
    driver.error = error
    with pytest.raises((SessionStoreUnavailable, SessionUnreadable, asyncio.CancelledError)):
        await store.checkout(TIM, lease_on())
    assert await store.checkout(TIM, lease_on()) is None


async def test_a_bot_finds_out_that_a_failed_write_was_not_done_and_sends_it_again() -> None:
    driver = Driver()
    async with Bot(session_store=driver) as bot:
        async with bot.conversation(TIM) as context:
            context.set_state(n=1)
            driver.error = OSError()
    assert driver.records[TIM].state == b'{"n":1}'


# A driver shared.


async def test_two_over_the_same_driver_see_each_others_leases() -> None:
    driver = Driver()
    one, two = LocalLeases(driver), LocalLeases(driver)
    mine = lease_on()
    await one.checkout(TIM, mine)
    with pytest.raises(SessionBusy):
        await two.checkout(TIM, lease_on())
    await two.destroy(TIM, None)
    with pytest.raises(LeaseLost):
        await one.commit(record_of(), mine)


async def test_two_drivers_share_nothing() -> None:
    one, two = LocalLeases(Driver()), LocalLeases(Driver())
    await one.checkout(TIM, lease_on())
    assert await two.checkout(TIM, lease_on()) is None


async def test_a_driver_is_opened_by_its_first_user_and_closed_by_its_last() -> None:
    driver = Driver()
    async with LocalLeases(driver):
        async with LocalLeases(driver), Bot(session_store=driver):
            assert (driver.opened, driver.closed) == (1, 0)
        assert (driver.opened, driver.closed) == (1, 0)
    assert (driver.opened, driver.closed) == (1, 1)
    async with LocalLeases(driver):
        assert (driver.opened, driver.closed) == (2, 1)


async def test_a_driver_that_nobody_uses_any_more_is_not_kept() -> None:
    driver = Driver()
    async with LocalLeases(driver) as store:
        await put(store)
    kept = weakref.ref(driver)
    del driver, store
    gc.collect()
    assert kept() is None


def test_it_goes_by_its_drivers_name_and_lifetime() -> None:
    driver = Driver()
    driver.expires_in = None
    store = LocalLeases(driver)
    assert store.name == "driver"
    assert store.expires_in is None


# Listing.


async def test_a_driver_of_four_methods_cannot_list_and_says_how_it_could() -> None:
    store = LocalLeases(Driver())
    with pytest.raises(ListingUnsupported, match="derive Driver from ListedStore") as all_refused:
        await anext(store.all())
    with pytest.raises(ListingUnsupported, match="driver store") as due_refused:
        await store.due(0, 1)
    assert all_refused.value.store == due_refused.value.store == "driver"


async def test_a_bot_does_not_mind_a_driver_that_cannot_list() -> None:
    async with Bot(session_store=Driver()) as bot:
        async with bot.conversation(TIM) as context:
            context.set_state(n=1)


async def test_a_driver_that_lists_is_listed() -> None:
    store = LocalLeases(ListedDriver())
    tim = await put(store, TIM, expires_at=1)
    zoe = await put(store, "test:zoe")
    assert [tim, zoe] == [record async for record in store.all()]
    assert [zoe] == [record async for record in store.all("test:z")]
    assert [tim] == await store.due(1, 10)
    assert zoe == await peek(store, "test:zoe")


async def test_what_a_driver_raises_while_it_lists_is_barbacks_own_error() -> None:
    driver = ListedDriver()
    store = LocalLeases(driver)
    await put(store)
    driver.error = ZeroDivisionError()
    with pytest.raises(SessionStoreUnavailable, match="driver store failed to list") as listed:
        async for _ in store.all():
            pass
    driver.error = ZeroDivisionError()
    with pytest.raises(SessionStoreUnavailable, match="driver store failed to list") as due:
        await store.due(1, 10)
    assert isinstance(listed.value.__cause__, ZeroDivisionError)
    assert isinstance(due.value.__cause__, ZeroDivisionError)


async def test_who_leaves_a_list_early_leaves_the_drivers_too() -> None:
    driver = ListedDriver()
    store = LocalLeases(driver)
    await put(store, TIM)
    await put(store, "test:zoe")
    records = store.all()
    await anext(records)
    assert isinstance(records, AsyncGenerator)
    await records.aclose()
    assert driver.left == 1


async def test_a_lease_that_ended_while_its_destroy_waited_destroys_nothing() -> None:
    gate = asyncio.Event()

    class Slow(Driver):
        async def write(self, session_id: str, record: Record) -> None:
            await gate.wait()
            await super().write(session_id, record)

    store = LocalLeases(Slow())
    mine = lease_on()
    await store.checkout(TIM, mine)
    committing = asyncio.ensure_future(store.commit(record_of(), mine))
    await asyncio.sleep(0)
    destroying = asyncio.ensure_future(store.destroy(TIM, mine))
    await asyncio.sleep(0)
    gate.set()
    await committing  # which gives the lease back
    with pytest.raises(LeaseLost):
        await destroying
    assert await peek(store) is not None
