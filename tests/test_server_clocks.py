"""Leases end within their term also where the clock of the server is set meanwhile."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from barback import LeasedStore, LeaseLost, Outcome, SessionBusy, open_store
from barback.stores.base import SKEW
from barback.testing.contract_tools import TIM, lease_on, now, peek, put, record_of
from tests.every_store import own_place
from tests.mongo_servers import MongoServer
from tests.postgres_servers import PostgresServer
from tests.scripted import counting_bot, event, state_of
from tests.server_clocks import Clock, KeptTimes, ServerClock
from tests.valkey_servers import ValkeyCluster, ValkeyServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from barback import Lease

SOON = 10.0  # seconds, which is less than a lease's term
HOUR = 3600.0
SERVERS: dict[str, Callable[[Path, ServerClock], AbstractContextManager[Any]]] = {
    "redis": lambda folder, clock: ValkeyServer(folder, clock=clock),
    "redis_cluster": lambda folder, clock: ValkeyCluster(folder, clock=clock),
    "mongodb": lambda folder, _: MongoServer(folder),
    "postgres": lambda folder, clock: PostgresServer(folder, clock=clock),
}


class Clocked(NamedTuple):
    """A server, by its URL, and the clock it goes by."""

    url: str
    clock: Clock


@pytest.fixture(scope="module", params=SERVERS)
def started(request: pytest.FixtureRequest, tmp_path_factory: Any) -> Iterator[Clocked]:
    folder = tmp_path_factory.mktemp(request.param)
    with ServerClock() as clock, SERVERS[request.param](folder, clock) as server:
        yield Clocked(server.url, KeptTimes(server.url) if request.param == "mongodb" else clock)


@pytest.fixture
def clock(started: Clocked) -> Iterator[Clock]:
    yield started.clock
    started.clock.set(0)


@pytest.fixture
def url(started: Clocked) -> str:
    return own_place(started.url)


async def test_a_bot_need_not_wait_for_who_died_before_the_clock_was_set_back(
    url: str, clock: Clock
) -> None:
    async with opened(url) as store:
        bot = counting_bot(session_store=store)
        async with bot:
            await bot.handle(event("known"))
            for user in ("known", "new"):
                await store.checkout(f"test:{user}", lease_on(f"test:{user}"))  # and dies
            clock.set(-HOUR)
            async with asyncio.timeout(SOON):
                for user in ("known", "new"):
                    assert await bot.handle(event(user)) is Outcome.COMMITTED
            assert await state_of(bot, "test:known") == {"n": 2}
            assert await state_of(bot, "test:new") == {"n": 1}


async def test_the_leases_of_many_who_died_are_free_at_once(url: str, clock: Clock) -> None:
    names = [f"test:{number}" for number in range(10)]
    async with opened(url) as store:
        await put(store, names[0])
        await asyncio.gather(*(store.checkout(name, lease_on(name)) for name in names))
        clock.set(-HOUR)
        mine = [closely(name) for name in names]
        records = await asyncio.gather(*(store.checkout(each.session_id, each) for each in mine))
        assert [record is None for record in records] == [False] + [True] * 9


async def test_who_lives_and_has_lost_the_session_to_another_cannot_write(
    url: str, clock: Clock
) -> None:
    async with opened(url) as store:
        before = await put(store, state={"n": 1})
        stalled = lease_on(version=before.version)
        await store.checkout(TIM, stalled)
        clock.set(-HOUR)
        mine = closely(version=before.version)
        assert before == await store.checkout(TIM, mine)
        with pytest.raises(LeaseLost):
            await store.commit(record_of(state={"n": 99}), stalled)
        assert await store.renew([stalled]) == [stalled]
        written = record_of(state={"n": 2})
        await store.commit(written, mine)
        assert written == await peek(store)


async def test_who_has_renewed_since_the_clock_was_set_keeps_the_session(
    url: str, clock: Clock
) -> None:
    async with opened(url) as store:
        mine = lease_on()
        await store.checkout(TIM, mine)
        clock.set(-HOUR)
        assert await store.renew([mine]) == []
        with pytest.raises(SessionBusy):
            await store.checkout(TIM, closely())
        written = record_of()
        await store.commit(written, mine, keep=True)
        with pytest.raises(SessionBusy):
            await store.checkout(TIM, closely())
        await store.release(TIM, mine)
        assert written == await peek(store)


async def test_who_holds_a_session_for_longer_than_others_would_keeps_it(
    url: str, clock: Clock
) -> None:
    long, longer = lease_on("test:long", term=600), lease_on("test:longer", term=60)
    async with opened(url) as store:
        await asyncio.gather(*(store.checkout(each.session_id, each) for each in (long, longer)))
        longer.term = 600
        assert await store.renew([longer]) == []
        for held in (long, longer):
            with pytest.raises(SessionBusy):
                await store.checkout(held.session_id, closely(held.session_id, term=1))


async def test_a_clock_that_is_put_right_by_little_takes_no_session_away(
    url: str, clock: Clock
) -> None:
    async with opened(url) as store:
        mine = lease_on()
        await store.checkout(TIM, mine)
        clock.set(-SKEW / 2000)
        with pytest.raises(SessionBusy):
            await store.checkout(TIM, closely())
        await store.commit(record_of(), mine)


async def test_a_clock_that_is_set_forward_ends_leases_and_no_session(
    url: str, clock: Clock
) -> None:
    async with opened(url) as store:
        kept = await put(store, expires_at=now() + 60_000)
        for session_id in (TIM, "test:new"):
            await store.checkout(session_id, lease_on(session_id))
        clock.set(HOUR)
        assert kept == await store.checkout(TIM, closely())
        assert await store.checkout("test:new", closely("test:new")) is None


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[LeasedStore]:
    store = open_store(url)
    assert isinstance(store, LeasedStore)
    async with store:
        yield store


def closely(session_id: str = TIM, **fields: Any) -> Lease:
    """A lease of who asks again."""
    lease = lease_on(session_id, **fields)
    lease.closely = True
    return lease
