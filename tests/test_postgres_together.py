"""Operations on many sessions as one statement, and over which connections they go."""

from __future__ import annotations

import asyncio
import gc
import logging
import time
from random import Random
from typing import Any

import psycopg
import pytest

from barback.errors import (
    BarbackError,
    CommitUnknown,
    LeaseLost,
    SessionBusy,
    SessionStoreUnavailable,
    SessionUnreadable,
)
from barback.record import Record
from barback.stores.base import Lease
from barback.stores.postgres import PostgresSessionStore
from barback.testing.contract_listing import ids
from barback.testing.contract_tools import TIM, lease_on, peek, put, record_of
from tests.postgres_pooler import Pooler, Proxy
from tests.postgres_servers import PostgresServer
from tests.postgres_tables import Table, a_pool, backends, blocked, row_lock

OTHERS = [f"test:{number}" for number in range(9)]
MANY = [*OTHERS[:5], TIM, *OTHERS[5:]]
STATE = b'{"n":2}'
ODD = [
    "é",
    "👋",
    "\0",
    "\\",
    "\\0",
    '"',
    "'",
    "{",
    "}",
    ",",
    "NULL",
    "",
    " ",
    "$1",
    "\n",
    "x" * 500,
]


# What goes together.


async def test_what_goes_together_comes_back_as_it_was(table: Table) -> None:
    names = [f"test:{odd}x" for odd in ODD]
    async with table.store() as store:
        leases = [
            lease_on(name, token=f"token {odd}") for name, odd in zip(names, ODD, strict=True)
        ]
        assert await checkouts(store, leases) == [None] * len(names)
        records = [
            record_of(name, {odd: [odd, number]}, expires_at=number or None, users=(odd,))
            for number, (name, odd) in enumerate(zip(names, ODD, strict=True))
        ]
        await commits(store, records, leases, keep=True)
        for lease, record in zip(leases, records, strict=True):
            lease.version = record.version
        assert await checkouts(store, leases) == records
        assert sorted(names) == sorted(await ids(store))
        await commits(store, records, leases)
        assert await table.run("SELECT DISTINCT token, until FROM {}") == [(None, None)]


async def test_of_a_session_asked_for_twice_at_once_one_is_taken(table: Table) -> None:
    async with table.store() as store:
        for _ in range(2):  # it is new, and then it is not
            leases = [lease_on(name) for name in (*OTHERS, TIM, TIM, TIM)]
            outcomes = await checkouts(store, leases)
            assert not any(isinstance(outcome, Exception) for outcome in outcomes[:9])
            of_tim = [type(outcome) for outcome in outcomes[9:]]
            assert of_tim.count(SessionBusy) == 2
            records = [record_of(lease.session_id) for lease in leases]
            for lease, outcome in zip(leases, outcomes, strict=True):
                lease.version = outcome.version if isinstance(outcome, Record) else None
            told = [type(each) for each in await commits(store, records, leases)]
            assert told[:9] == [type(None)] * 9
            assert told[9:].count(LeaseLost) == 2


async def test_one_record_that_cannot_be_stored_fails_alone(table: Table) -> None:
    with Pooler(table.url) as pooler:
        async with PostgresSessionStore(pooler.url, table=table.name, max_connections=1) as store:
            leases = await held(store, MANY)
            await table.run("ALTER TABLE {} ADD CHECK (record->'state'->>'bad' IS NULL)")
            records = [record_of(name, {"bad": 1} if name == TIM else STATE) for name in MANY]
            before = pooler.transactions
            outcomes = await commits(store, records, leases)
            assert refused(outcomes) == {TIM: SessionStoreUnavailable}
            assert pooler.transactions - before == 1 + len(MANY)  # all at once, and then each alone
            assert await written(table) == set(OTHERS)


async def test_a_number_that_is_too_large_fails_alone(table: Table) -> None:
    async with table.store() as store:
        leases = await held(store, MANY)
        records = [
            record_of(name, STATE, expires_at=2**70 if name == TIM else None) for name in MANY
        ]
        assert refused(await commits(store, records, leases)) == {TIM: SessionStoreUnavailable}
        assert await written(table) == set(OTHERS)


async def test_a_lease_that_was_lost_is_told_alone(table: Table) -> None:
    async with table.store() as store:
        leases = await held(store, MANY)
        await store.destroy(TIM, None)
        assert [lease.session_id for lease in await store.renew(leases)] == [TIM]
        records = [record_of(name, STATE) for name in MANY]
        assert refused(await commits(store, records, leases)) == {TIM: LeaseLost}
        assert await written(table) == set(OTHERS)
        released = await asyncio.gather(*(store.release(each.session_id, each) for each in leases))
        assert set(released) == {None}


async def test_an_unreadable_session_is_told_alone_and_given_back(table: Table) -> None:
    async with table.store() as store:
        await asyncio.gather(*(put(store, name) for name in MANY))
        await table.run("UPDATE {} SET record = '{{}}' WHERE id = %s", TIM)
        leases = [lease_on(name) for name in MANY]
        assert refused(await checkouts(store, leases)) == {TIM: SessionUnreadable}
        free = await table.run("SELECT id FROM {} WHERE token IS NULL")
        assert free == [(TIM,)]


async def test_if_the_answer_is_lost_every_commit_of_it_is_unknown(table: Table) -> None:
    async with Proxy(table.url) as proxy:
        async with PostgresSessionStore(proxy.url, table=table.name) as store:
            leases = await held(store, MANY)
            records = [record_of(name, STATE) for name in MANY]
            proxy.mute = True
            committing = asyncio.ensure_future(commits(store, records, leases))
            await proxy.lost.wait()
            proxy.cut()
            assert set(refused(await committing).values()) == {CommitUnknown}
            assert await written(table) == set(MANY)


async def test_more_than_the_system_takes_at_once_is_sent_bit_by_bit(table: Table) -> None:
    state = {"history": "é" * 10_000_000}
    async with table.store(max_connections=1, timeout=60) as store:
        written = await asyncio.gather(*(put(store, name, state) for name in OTHERS[:2]))
        assert written == await asyncio.gather(*(peek(store, name) for name in OTHERS[:2]))


# Locks.


async def test_one_row_that_is_locked_holds_up_no_other(table: Table) -> None:
    async with table.store(timeout=30) as store:
        leases = await held(store, MANY)
        records = [record_of(name, STATE) for name in MANY]
        async with row_lock(table):
            others = await checkouts(store, [lease_on(each) for each in MANY])
            assert refused(others) == dict.fromkeys(MANY, SessionBusy)
            committing = [
                store.commit(record, lease) for record, lease in zip(records, leases, strict=True)
            ]
            await asyncio.gather(*committing[:5], *committing[6:])
            assert await written(table) == set(OTHERS)
            await blocked(table)
            taken = await checkouts(store, [lease_on(each) for each in MANY])
            assert refused(taken) == {TIM: SessionBusy}
        await committing[5]
        assert await written(table) == set(MANY)


async def test_a_row_that_is_locked_hides_no_lease_that_was_lost(
    table: Table, caplog: pytest.LogCaptureFixture
) -> None:
    async with table.store(timeout=1) as store:
        leases = await held(store, MANY)
        old = await table.run("SELECT id, until FROM {}")
        async with row_lock(table):
            with pytest.raises(SessionStoreUnavailable, match=TIM):
                await store.renew(leases)
            new = await table.run("SELECT id, until FROM {}")
            assert {name for name, _ in set(old) & set(new)} == {TIM}  # the others were renewed
            await store.destroy(OTHERS[0], None)
            lost = await store.renew(leases)
            assert [OTHERS[0]] == [lease.session_id for lease in lost]
            assert TIM in caplog.text
            with pytest.raises(SessionStoreUnavailable, match=TIM):
                await asyncio.gather(*(store.release(each.session_id, each) for each in leases))
        assert await table.run("SELECT id FROM {} WHERE token IS NOT NULL") == [(TIM,)]


async def test_statements_on_the_same_sessions_in_any_order_never_deadlock(
    postgres_server: PostgresServer, table: Table
) -> None:
    """Each session is taken by one of three, and in none of it the server finds a deadlock.

    A hash join would bring the sessions into an order of its own.
    """
    random = Random(7)
    before = deadlocks(postgres_server)
    url = f"{table.url}?options=-c%20enable_hashjoin%3Doff%20-c%20enable_seqscan%3Doff"
    stores = [
        await PostgresSessionStore(url, table=table.name, max_connections=2).init()
        for _ in range(3)
    ]
    try:
        await slow_down(table)
        for number in range(6):
            names = [f"test:{number // 2}:{name}" for name in range(30)]  # new, and then not
            leases = [[lease_on(name) for name in random.sample(names, len(names))] for _ in stores]
            pairs = list(zip(stores, leases, strict=True))
            outcomes = await asyncio.gather(*(checkouts(*pair) for pair in pairs))
            taken = []
            for (store, asked), told in zip(pairs, outcomes, strict=True):
                mine = [
                    (each, outcome)
                    for each, outcome in zip(asked, told, strict=True)
                    if not isinstance(outcome, SessionBusy)
                ]
                for lease, outcome in mine:
                    lease.version = outcome.version if isinstance(outcome, Record) else None
                taken.append((store, [lease for lease, _ in mine]))
            holders = [lease.session_id for _, mine in taken for lease in mine]
            assert len(holders) == len(set(holders))
            done = await asyncio.gather(
                *(
                    commits(store, [record_of(lease.session_id) for lease in mine], mine)
                    for store, mine in taken
                )
            )
            assert {outcome for each in done for outcome in each} == {None}
    finally:
        await asyncio.gather(*(store.close() for store in stores))
    assert deadlocks(postgres_server) == before


# Time.


async def test_what_was_answered_while_the_event_loop_stood_still_is_answered(table: Table) -> None:
    async with table.store(timeout=1) as store:
        leases = await held(store, MANY)
        records = [record_of(name, STATE) for name in MANY]
        committing = asyncio.ensure_future(commits(store, records, leases))
        while not any(store._asking.lines._trips.values()):  # type: ignore[union-attr]
            await asyncio.sleep(0)
        time.sleep(2)  # noqa: ASYNC251 - that is the point
        assert set(await committing) == {None}


async def test_what_had_not_been_sent_when_the_event_loop_stood_still_was_not_done(
    table: Table,
) -> None:
    async with table.store(timeout=2) as store:
        (mine,) = await held(store, [TIM])
        commit = store.commit(record_of(state=STATE), mine)
        time.sleep(2.5)  # noqa: ASYNC251 - that is the point
        with pytest.raises(SessionStoreUnavailable, match="no connection free"):
            await commit
        assert await written(table) == set()


# Connections.


async def test_to_open_it_may_be_cancelled_while_the_server_says_nothing(table: Table) -> None:
    async with Proxy(table.url) as proxy:
        store = PostgresSessionStore(proxy.url, table=table.name, timeout=60)
        opening = asyncio.ensure_future(store.init())
        while not await backends(table):  # it is connected
            pass
        proxy.mute = True
        await proxy.lost.wait()  # and asks something
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        async with asyncio.timeout(10):
            while await backends(table):
                pass


async def test_a_pools_connections_are_borrowed_only_as_long_as_something_waits(
    table: Table,
) -> None:
    async with a_pool(table.url, max_size=2) as pool:
        async with PostgresSessionStore(pool, table=table.name) as store:
            await asyncio.gather(*(put(store, name) for name in MANY))
            async with asyncio.timeout(10), pool.connection(), pool.connection():
                with pytest.raises(SessionStoreUnavailable, match="no connection free"):
                    await short_of_time(store)
            assert await peek(store) is not None


async def test_where_a_connection_cannot_be_had_again_the_others_carry_all(table: Table) -> None:
    role = table.name
    async with table.store():
        await table.run(f"CREATE ROLE {role} LOGIN")
        await table.run(f"GRANT ALL ON {{}} TO {role}")
    try:
        url = table.url.replace("//postgres@", f"//{role}@")
        async with PostgresSessionStore(url, table=table.name, max_connections=3) as store:
            await table.run(f"ALTER ROLE {role} CONNECTION LIMIT 1")
            pids = await backends(table)
            await table.run("SELECT pg_terminate_backend(pid, 10000) FROM unnest(%s) AS pid", pids)
            for _ in range(3):
                await asyncio.gather(*(put(store, f"test:{number}") for number in range(200)))
            assert len(await backends(table)) == 1
    finally:
        await table.run(f"DROP OWNED BY {role}")
        await table.run(f"DROP ROLE {role}")


async def test_an_outage_is_told_by_the_stores_errors_alone(
    postgres_server: PostgresServer, table: Table, caplog: pytest.LogCaptureFixture
) -> None:
    async with table.store() as store:
        await put(store)
        await asyncio.to_thread(postgres_server.kill)
        for _ in range(2):
            with pytest.raises(SessionStoreUnavailable, match="no connection"):
                await peek(store)
        await asyncio.to_thread(postgres_server.start)
        assert await peek(store) is not None
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_what_waits_behind_a_connection_that_is_lost_goes_over_another(table: Table) -> None:
    async with table.store(max_connections=1, timeout=60) as store:
        (mine,) = await held(store, [TIM])
        async with row_lock(table):
            commit = store.commit(record_of(state=STATE), mine)
            (pid,) = await blocked(table)
            behind = asyncio.ensure_future(put(store, OTHERS[0]))
            await asyncio.sleep(0)
            await table.run("SELECT pg_terminate_backend(%s, 10000)", pid)
            with pytest.raises(SessionStoreUnavailable, match="AdminShutdown"):
                await commit
            async with asyncio.timeout(30):
                await behind


def test_what_is_asked_for_while_an_event_loop_ends_holds_up_nobody_on_the_next(
    table: Table, caplog: pytest.LogCaptureFixture
) -> None:
    store = table.store()

    async def last_words() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            for pid in await backends(table):  # and so it has to be opened anew
                await table.run("SELECT pg_terminate_backend(%s, 10000)", pid)
            store.checkout(TIM, lease_on())

    async def leave() -> None:
        await store.init()
        task = asyncio.ensure_future(last_words())
        await asyncio.sleep(0)
        del task

    async def come() -> Record | None:
        async with store:
            return await peek(store)

    asyncio.run(leave())
    assert asyncio.run(come()) is None
    gc.collect()  # which would tell of what never came back
    assert caplog.messages == []


def test_on_another_event_loop_it_is_refused_until_it_is_opened_there(table: Table) -> None:
    store = table.store()

    async def leave_open() -> None:
        await store.init()
        await put(store)

    async def refused() -> None:
        with pytest.raises(SessionStoreUnavailable, match="another event loop"):
            await store.checkout(TIM, lease_on())

    async def used() -> None:
        assert await store.init() is store
        assert await store.init() is store  # which changes nothing
        assert await peek(store) is not None
        await until_there_are(4)  # what the first left behind has been closed

    async def closed() -> None:
        await store.close()
        with pytest.raises(SessionStoreUnavailable, match="not open"):
            await store.due(0, 1)
        await until_there_are(0)

    async def until_there_are(number: int) -> None:
        async with asyncio.timeout(10):
            while len(await backends(table)) != number:
                pass

    asyncio.run(leave_open())
    asyncio.run(refused())
    asyncio.run(used())
    asyncio.run(closed())


async def held(store: PostgresSessionStore, names: list[str]) -> list[Lease]:
    """The leases on sessions that have a record each."""
    records = await asyncio.gather(*(put(store, name, {"n": 1}) for name in names))
    leases = [lease_on(record.id, version=record.version) for record in records]
    assert await checkouts(store, leases) == records
    return leases


async def checkouts(store: PostgresSessionStore, leases: list[Lease]) -> list[Any]:
    asked = [store.checkout(lease.session_id, lease) for lease in leases]
    return await asyncio.gather(*asked, return_exceptions=True)


async def commits(
    store: PostgresSessionStore, records: list[Record], leases: list[Lease], *, keep: bool = False
) -> list[Any]:
    pairs = zip(records, leases, strict=True)
    asked = [store.commit(record, lease, keep=keep) for record, lease in pairs]
    return await asyncio.gather(*asked, return_exceptions=True)


def refused(outcomes: list[Any]) -> dict[str, type]:
    """Whose operation failed, and how."""
    failed = [outcome for outcome in outcomes if isinstance(outcome, BarbackError)]
    return {failure.session_id or "": type(failure) for failure in failed}


async def written(table: Table) -> set[str]:
    """Those whose state is the new one."""
    rows = await table.run("SELECT id FROM {} WHERE record->>'state' = %s", STATE.decode())
    return {name for (name,) in rows}


async def short_of_time(store: PostgresSessionStore) -> None:
    """Ask something, with little time."""
    store._server.timeout = 0.2
    try:
        await peek(store)
    finally:
        store._server.timeout = 5.0


async def slow_down(table: Table) -> None:
    """Have each row take its time when it is made, so that statements do meet."""
    name = f"{table.name}_slowly"
    await table.run(
        f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql "
        "AS 'BEGIN PERFORM pg_sleep(0.003); RETURN NEW; END'"
    )
    await table.run(
        f"CREATE TRIGGER {name} BEFORE INSERT ON {{}} FOR EACH ROW EXECUTE FUNCTION {name}()"
    )


def deadlocks(postgres_server: PostgresServer) -> int:
    query = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    with psycopg.connect(postgres_server.url) as client:
        row = client.execute(query).fetchone()
    assert row is not None
    return int(row[0])
