"""What a PostgreSQL store knows after something went wrong: surely not applied, or unknown."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager

import psycopg
import pytest

from barback import Bot, Context, Outcome
from barback.errors import CommitUnknown, SessionBusy, SessionStoreUnavailable
from barback.stores.base import Lease
from barback.stores.postgres import PostgresSessionStore
from barback.testing.contract_tools import TIM, lease_on, now, peek, put, record_of
from tests.postgres_pooler import Pooler, Proxy
from tests.postgres_servers import PostgresServer
from tests.postgres_tables import Table, a_pool, backends, blocked, row_lock, table_lock, watch
from tests.scripted import event
from tests.slack import SLACK

ZOE = "test:zoe"
STATE = b'{"n":2}'


# The server says no.


@pytest.mark.parametrize(
    "code", ["53100", "40001", "40P01", "25006", "57014", "55P03", "XX000", "58030", "ZZ999"]
)
async def test_what_the_server_refused_was_not_applied(table: Table, code: str) -> None:
    """Though it be at the very end of the transaction, after the statement itself was done."""
    async with table.store() as store:
        mine = await held(store)
        await watch(table, f"RAISE EXCEPTION 'no' USING ERRCODE = '{code}'")
        with pytest.raises(SessionStoreUnavailable, match=rf"{code}.*is as it was") as got:
            await store.commit(record_of(state=STATE), mine)
        with pytest.raises(SessionStoreUnavailable):
            await store.destroy(TIM, mine)
        assert isinstance(got.value.__cause__, psycopg.Error)
        assert await applied(table) is False


async def test_a_server_that_turned_read_only_refuses(table: Table) -> None:
    async with a_pool(table.url, max_size=1) as pool:
        async with PostgresSessionStore(pool, table=table.name) as store:
            mine = await held(store)
            async with pool.connection() as connection:
                await connection.execute("SET default_transaction_read_only = on")
            with pytest.raises(SessionStoreUnavailable, match="ReadOnlySqlTransaction"):
                await store.commit(record_of(state=STATE), mine)


# The server ends the connection.


async def test_what_waited_when_the_server_ended_it_was_not_applied(table: Table) -> None:
    """The server said that it ends, and had not yet begun to commit. So it is for those behind."""
    async with table.store(max_connections=1, timeout=30) as store:
        mine, zoes = await held(store), await held(store, ZOE)
        async with row_lock(table):
            behind = [
                store.destroy(TIM, mine),
                store.destroy(ZOE, zoes),
                store.destroy("test:nobody", None),
            ]
            await terminate(table, await blocked(table))
            for each in behind:
                with pytest.raises(SessionStoreUnavailable, match="AdminShutdown"):
                    await each
            commit = store.commit(record_of(state=STATE), mine)
            await terminate(table, await blocked(table))
            with pytest.raises(SessionStoreUnavailable, match="AdminShutdown"):
                await commit
        assert [await applied(table), await applied(table, ZOE)] == [False, False]
        await store.commit(record_of(state=STATE), mine)


async def test_what_was_answered_before_the_server_ended_it_stands(table: Table) -> None:
    async with table.store(max_connections=1, timeout=30) as store:
        mine, zoes = await held(store), await held(store, ZOE)
        async with row_lock(table):
            first = store.commit(record_of(ZOE, state=STATE), zoes)
            second = store.commit(record_of(state=STATE), mine)
            await terminate(table, await blocked(table))
            await first
            with pytest.raises(SessionStoreUnavailable):
                await second
        assert [await applied(table), await applied(table, ZOE)] == [False, True]


async def test_what_the_server_ended_in_its_midst_is_unknown(table: Table) -> None:
    """The statement was done; whether its transaction was, nobody said."""
    async with table.store(max_connections=1) as store:
        mine, zoes = await held(store), await held(store, ZOE)
        await watch(table, "PERFORM pg_terminate_backend(pg_backend_pid()), pg_sleep(10)")
        commits = [
            store.commit(record_of(state=STATE), mine),
            store.commit(record_of(ZOE, state=STATE), zoes),
        ]
        for commit in commits:  # they are one transaction
            with pytest.raises(CommitUnknown):
                await commit
        destroy, behind = store.destroy(TIM, mine), store.destroy(ZOE, zoes)
        with pytest.raises(CommitUnknown):
            await destroy
        with pytest.raises(SessionStoreUnavailable):
            await behind


async def test_a_connection_that_ended_while_it_rested_is_replaced(table: Table) -> None:
    """Nothing is sent on it, and so nobody hears of it."""
    async with table.store() as store:
        mine = await held(store)
        await terminate(table, await backends(table))
        await store.commit(record_of(state=STATE), mine)
        assert await applied(table)


@pytest.mark.parametrize(
    "last_words",
    [
        {"S": "FATAL", "C": "08P01", "M": "server conn crashed?"},
        {"S": "FATAL", "V": "FATAL", "C": "08P01", "M": "server conn crashed?"},
        {"S": "FATAL", "V": "FATAL", "C": "58000", "M": "server lost"},
        {"S": "ERROR", "C": "58000", "M": "server lost"},
    ],
)
async def test_what_was_under_way_when_a_pooler_lost_the_server_is_unknown(
    postgres_server: PostgresServer, table: Table, last_words: dict[str, str]
) -> None:
    """The pooler knows no more than we do: the server may have gone on."""
    with Pooler(postgres_server.url, connections=1) as pooler:
        async with PostgresSessionStore(pooler.url, table=table.name, max_connections=1) as store:
            mine, zoes = await held(store), await held(store, ZOE)
            pooler.last_words = last_words
            commits = [
                store.commit(record_of(state=STATE), mine),
                store.commit(record_of(ZOE, state=STATE), zoes),
            ]
            checkout = store.checkout("test:new", lease_on("test:new"))
            for commit in commits:
                with pytest.raises(CommitUnknown):
                    await commit
            assert await checkout is None  # it had not been sent, and went over another connection
            assert [await applied(table), await applied(table, ZOE)] == [True, True]


# The server is gone.


async def test_a_server_that_was_killed_and_came_back_while_nobody_asked_is_not_noticed(
    postgres_server: PostgresServer, table: Table
) -> None:
    async with table.store() as store:
        mine = await held(store)
        await asyncio.to_thread(postgres_server.kill)
        await asyncio.to_thread(postgres_server.start)
        await store.release(TIM, mine)
        mine = lease_on()
        record = await store.checkout(TIM, mine)
        assert record is not None
        mine.version = record.version
        await store.commit(record_of(state=STATE), mine)
        assert await applied(table)


async def test_while_the_server_is_down_nothing_is_missing_and_nothing_is_unknown(
    postgres_server: PostgresServer, table: Table
) -> None:
    async with table.store(timeout=30) as store:
        mine = await held(store)
        await asyncio.to_thread(postgres_server.kill)
        operations = [
            *(store.checkout(TIM, lease_on()), store.checkout("test:new", lease_on("test:new"))),
            *(store.commit(record_of(state=STATE), mine), store.release(TIM, mine)),
            *(store.renew([mine]), store.destroy(TIM, None), store.due(now(), 1)),
            anext(aiter(store.all())),
        ]
        started = asyncio.get_running_loop().time()
        answers = await asyncio.gather(*operations, return_exceptions=True)
        assert {SessionStoreUnavailable} == {type(answer) for answer in answers}
        assert asyncio.get_running_loop().time() - started < SLACK  # it was not waited for
        await asyncio.to_thread(postgres_server.start)
        record = await store.checkout(TIM, mine)  # whether or not the lease was on the disk
        assert record is not None
        assert record.version == mine.version


async def test_a_server_that_is_starting_is_waited_for(
    postgres_server: PostgresServer, table: Table
) -> None:
    async with table.store(timeout=30) as store:
        written = await put(store)
        await asyncio.to_thread(postgres_server.kill)
        loop = asyncio.get_running_loop()
        starting = loop.run_in_executor(None, postgres_server.start)
        async with asyncio.timeout(30):
            while True:
                asked = loop.time()
                try:
                    assert written == await peek(store)
                    break
                except SessionStoreUnavailable:
                    assert loop.time() - asked > 0.3  # it was tried for half a second
        await starting


async def test_a_commit_under_way_when_the_server_was_killed_is_unknown(
    postgres_server: PostgresServer, table: Table
) -> None:
    async with table.store(timeout=30) as store:
        mine = await held(store)
        async with row_lock(table):
            commit = store.commit(record_of(state=STATE), mine)
            await blocked(table)
            waiting = [store.checkout(TIM, lease_on()), store.renew([mine])]
            async with asyncio.timeout(10):
                while len(await blocked(table)) < 2:
                    pass
            await asyncio.to_thread(postgres_server.kill)
            with pytest.raises(CommitUnknown):
                await commit
            for each in waiting:
                with pytest.raises(SessionStoreUnavailable):
                    await each
        await asyncio.to_thread(postgres_server.start)
        assert not await applied(table)


async def test_closing_while_the_server_is_down_leaves_nothing(
    postgres_server: PostgresServer, table: Table
) -> None:
    store = await table.store(timeout=0.2).init()
    await asyncio.to_thread(postgres_server.kill)
    checkouts = [store.checkout(TIM, lease_on()) for _ in range(4)]
    await store.close()
    for checkout in checkouts:
        with pytest.raises(SessionStoreUnavailable):
            await checkout


# No answer.


async def test_a_commit_whose_answer_was_lost_is_unknown(table: Table) -> None:
    async with Proxy(table.url) as proxy:
        async with PostgresSessionStore(proxy.url, table=table.name) as store:
            mine = await held(store)
            proxy.mute = True
            commit = store.commit(record_of(state=STATE), mine)
            await proxy.lost.wait()
            proxy.cut()
            with pytest.raises(CommitUnknown, match="may have been written"):
                await commit
            proxy.mute = False
            assert await applied(table)


async def test_a_turn_whose_commit_lost_its_answer_finds_that_it_was_done(table: Table) -> None:
    async with Proxy(table.url) as proxy:
        store = PostgresSessionStore(proxy.url, table=table.name)
        async with Bot(session_store=store, initial_state={"n": 0}) as bot:

            @bot.on_event
            async def count(context: Context) -> None:
                context.set_state(n=context.state["n"] + 1)
                proxy.mute = context.event.id == "2"

            await bot.handle(event(event_id="1"))
            handling = asyncio.ensure_future(bot.handle(event(event_id="2")))
            await proxy.lost.wait()
            proxy.mute = False
            proxy.cut()
            assert await handling is Outcome.COMMITTED
            rows = await table.run("SELECT record->'state'->>'n' FROM {}")
            assert rows == [("2",)]


@pytest.mark.parametrize("writes", [True, False])
async def test_an_operation_that_takes_too_long_is_given_up_and_its_connection_too(
    table: Table,
    writes: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """A late answer is nobody else's."""
    async with table.store(timeout=1, max_connections=1) as store:
        mine = await held(store)
        await put(store, ZOE, {"n": 7})
        (before,) = await backends(table)
        await watch(table, f"IF NEW.id = '{TIM}' THEN PERFORM pg_sleep(8); END IF")
        started = asyncio.get_running_loop().time()
        if writes:
            with pytest.raises(CommitUnknown):
                await store.commit(record_of(state=STATE), mine)
        else:
            with pytest.raises(SessionStoreUnavailable, match="no answer"):
                await store.checkout(TIM, lease_on(token=mine.token))
        assert asyncio.get_running_loop().time() - started < 7
        record = await peek(store, ZOE)
        assert record is not None
        assert record.state == b'{"n":7}'
        while before in await backends(table):
            assert asyncio.get_running_loop().time() - started < 8 + SLACK


async def test_each_operation_has_its_own_time_whoever_it_travels_with(table: Table) -> None:
    async with table.store(timeout=6, max_connections=1) as store:
        mine, zoes = await held(store), await held(store, ZOE)
        await watch(table, f"IF NEW.id = '{TIM}' THEN PERFORM pg_sleep(4); END IF")
        loop = asyncio.get_running_loop()
        before = asyncio.ensure_future(store.renew([mine]))
        await blocked(table, by="Timeout")
        asked = loop.time()
        early = store.commit(record_of(state=STATE), mine)
        await asyncio.sleep(3)  # and soon these two depart together
        late = asyncio.ensure_future(store.commit(record_of(ZOE, state=STATE), zoes))
        with pytest.raises(CommitUnknown):
            await early
        assert loop.time() - asked > 5.9
        assert not late.done()
        await late
        assert await before == []
        assert [await applied(table), await applied(table, ZOE)] == [True, True]


# Somebody holds a lock.


async def test_who_waits_for_a_lock_too_long_is_refused_alone(table: Table) -> None:
    async with table.store(timeout=4, max_connections=1) as store:
        mine, zoes = await held(store), await held(store, ZOE)
        async with row_lock(table):
            operations = [
                store.checkout(TIM, lease_on()),
                store.commit(record_of(state=STATE), mine),
                store.commit(record_of(ZOE, state=STATE), zoes),
            ]
            answers = await asyncio.gather(*operations, return_exceptions=True)
        expected = [SessionBusy, SessionStoreUnavailable, type(None)]
        assert expected == [type(answer) for answer in answers]
        assert [await applied(table), await applied(table, ZOE)] == [False, True]
        rows = await table.run("SELECT token FROM {} WHERE id = %s", TIM)
        assert rows == [(f"{mine.token}:{mine.term * 1000:.0f}",)]  # and nobody took it afterwards


@pytest.mark.parametrize("lock", [row_lock, table_lock])
async def test_nothing_waits_on_for_a_lock_after_it_was_answered(
    table: Table, lock: Callable[[Table], AbstractAsyncContextManager[None]]
) -> None:
    async with table.store(timeout=2, max_connections=1) as store:
        mine = await held(store)
        operations: list[Callable[[], Awaitable[object]]] = [
            lambda: store.checkout(TIM, mine),
            lambda: store.commit(record_of(state=STATE), mine),
            lambda: store.renew([mine]),
            lambda: store.release(TIM, mine),
            lambda: store.destroy(TIM, None),
        ]
        if lock is table_lock:
            operations += [lambda: store.due(now(), 1), lambda: anext(aiter(store.all()))]
        connections = set(await backends(table))
        async with lock(table):
            for operation in operations:
                with pytest.raises((SessionBusy, SessionStoreUnavailable)) as got:
                    await operation()
                assert isinstance(got.value.__cause__, psycopg.errors.LockNotAvailable)
                assert connections >= set(await backends(table))
        assert await store.checkout(TIM, mine) is not None


@pytest.mark.parametrize("code", ["55P03", "40001", "40P01"])
async def test_a_checkout_that_met_another_in_its_midst_is_busy(table: Table, code: str) -> None:
    async with table.store() as store:
        await watch(table, f"RAISE EXCEPTION 'no' USING ERRCODE = '{code}'")
        with pytest.raises(SessionBusy):
            await store.checkout(TIM, lease_on())


async def test_who_gets_no_connection_in_time_has_asked_nothing(table: Table) -> None:
    async with a_pool(table.url, max_size=1) as pool:
        async with PostgresSessionStore(pool, table=table.name, timeout=1) as store:
            mine = await held(store)
            async with pool.connection():
                started = asyncio.get_running_loop().time()
                commits = [store.commit(record_of(state=STATE), mine)]
                await asyncio.sleep(0)  # one is on its way to the pool, one waits for its return
                commits.append(store.destroy(TIM, mine))
                for commit in commits:
                    with pytest.raises(SessionStoreUnavailable, match="no connection"):
                        await commit
                assert asyncio.get_running_loop().time() - started < SLACK  # and not the pool's 30
            assert not await applied(table)
            await store.commit(record_of(state=STATE), mine)


async def held(store: PostgresSessionStore, session_id: str = TIM) -> Lease:
    """The lease on a session that has a record."""
    written = await put(store, session_id, {"n": 1})
    lease = lease_on(session_id, version=written.version)
    await store.checkout(session_id, lease)
    return lease


async def applied(table: Table, session_id: str = TIM) -> bool:
    rows = await table.run("SELECT record->>'state' FROM {} WHERE id = %s", session_id)
    assert rows[0][0] in {'{"n":1}', STATE.decode()}
    return bool(rows == [(STATE.decode(),)])


async def terminate(table: Table, pids: list[int]) -> None:
    """End these connections, and wait until they have ended."""
    await table.run("SELECT pg_terminate_backend(pid, 10000) FROM unnest(%s) AS pid", pids)
