"""Sessions in PostgreSQL: rows, statements, listing, and a pooler in front.

What it shares with every other store is the contract. How it is opened is in
test_postgres_opening.py, what it knows after something went wrong in test_postgres_outages.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from barback import Bot
from barback.errors import (
    LeaseLost,
    SessionBusy,
    SessionStoreUnavailable,
    SessionUnreadable,
)
from barback.stores.base import GRACE, LeasedStore, SessionStore
from barback.stores.postgres import PostgresSessionStore
from barback.stores.postgres.sql import after, text, untext
from barback.sweeper import sweep
from barback.testing.contract import ListedStoreContract
from barback.testing.contract_leases import LeasesContract
from barback.testing.contract_listing import ListingContract, ids
from barback.testing.contract_tools import TIM, lease_on, now, peek, put, record_of
from barback.testing.contract_turns import TurnsContract
from tests.postgres_pooler import Pooler, Proxy
from tests.postgres_servers import PostgresServer
from tests.postgres_tables import Table, a_pool, watch


@pytest.fixture
def table(postgres_url: str) -> Iterator[Table]:
    table = Table(postgres_url)
    yield table
    table.drop()


@pytest.fixture
def own_table(postgres_server: PostgresServer) -> Iterator[Table]:
    table = Table(postgres_server.url)
    yield table
    table.drop()


@pytest.fixture(scope="module")
def pooler(postgres_server: PostgresServer) -> Iterator[Pooler]:
    with Pooler(postgres_server.url) as pooler:
        yield pooler


class Damage:
    """A row that somebody changed by hand."""

    async def damage(self, store: SessionStore | LeasedStore, session_id: str) -> None:
        await self.table.run("UPDATE {} SET record = '{{}}' WHERE id = %s", session_id)

    table: Table


class TestPostgres(Damage, ListedStoreContract):
    @pytest.fixture
    def store(self, table: Table) -> PostgresSessionStore:
        self.table = table
        return table.store()


class TestBehindATransactionPooler(Damage, LeasesContract, ListingContract, TurnsContract):
    @pytest.fixture
    def store(self, own_table: Table, pooler: Pooler) -> PostgresSessionStore:
        self.table = own_table
        return PostgresSessionStore(pooler.url, table=own_table.name)


# Rows.


async def test_a_state_is_readable_in_sql(table: Table) -> None:
    async with table.store() as store:
        await put(store, state={"nickname": "Tim"})
        rows = await table.run("SELECT id, record->'state'->>'nickname' FROM {}")
    assert rows == [(TIM, "Tim")]


async def test_a_nul_in_an_id_and_in_a_state_survive(table: Table) -> None:
    session_id, other = "test:a\0b\\0", "test:a\\0b\0"
    async with table.store() as store:
        written = await put(store, session_id, {"nul\0": "\0"})
        await put(store, other)
        assert written == await peek(store, session_id)
        assert [other] == await ids(store, "test:a\\")
        assert [session_id] == await ids(store, "test:a\0")


async def test_people_who_set_nothing_leave_no_row(table: Table) -> None:
    async with table.store() as store, Bot(session_store=store) as bot:
        for number in range(10):
            async with bot.conversation(f"test:{number}"):
                pass
        assert await table.run("SELECT * FROM {}") == []


async def test_megabytes_share_a_trip_in_both_directions(table: Table) -> None:
    state = {"history": "é" * 500_000}
    async with table.store(max_connections=1, timeout=30) as store:
        names = [f"test:{number}" for number in range(16)]
        written = await asyncio.gather(*(put(store, name, state) for name in names))
        assert written == await asyncio.gather(*(peek(store, name) for name in names))
        leases = [lease_on(record.id, version=record.version) for record in written]
        await asyncio.gather(*(store.checkout(lease.session_id, lease) for lease in leases))
        again = [record_of(name, state) for name in names]
        # Half of them write a megabyte while the others read one.
        operations = [
            store.commit(record, lease) if number % 2 else store.checkout(lease.session_id, lease)
            for number, (record, lease) in enumerate(zip(again, leases, strict=True))
        ]
        answers = await asyncio.gather(*operations)
        assert written[::2] == answers[::2]


@pytest.mark.parametrize("start", ["", "a", "a\\", "a\0", "é", "\ud7ff", "a\U0010ffff", "👋"])
def test_the_end_of_a_prefix_is_right_after_all_that_start_with_it(start: str) -> None:
    end = after(text(start))
    assert end is None or end.decode() > text(start + "\U0010ffff" * 100).decode()
    assert (end is None) == (start == "")
    assert start == untext(text(start))


# Statements.


async def test_only_commits_wait_for_the_disk(table: Table) -> None:
    """What a transaction's synchronous_commit is when it ends, a deferred trigger sees."""
    log = Table(table.url, f"{table.name}_log")
    async with table.store() as store:
        await log.run("CREATE TABLE {} (what text, setting text)")
        await watch(table, f"INSERT INTO {log.name} VALUES (TG_OP, {SETTING})")  # noqa: S608
        try:
            written = await put(store, state={"n": 1})  # INSERT, and UPDATE by the commit
            mine = lease_on(version=written.version)
            await store.checkout(TIM, mine)
            await store.renew([mine])
            await store.release(TIM, mine)
            await store.checkout(TIM, mine)
            await store.destroy(TIM, mine)
            await peek(store, "test:nobody")
            settings = await log.run("SELECT what, setting FROM {}")
        finally:
            log.drop()
    expected = [
        *(("INSERT", "off"), ("UPDATE", "on")),  # put
        *(("UPDATE", "off"), ("UPDATE", "off"), ("UPDATE", "off")),  # checkout, renew, release
        *(("UPDATE", "off"), ("DELETE", "on")),  # checkout, destroy
        *(("INSERT", "off"), ("DELETE", "off")),  # peek
    ]
    assert expected == settings


async def test_only_commits_wait_for_the_disk_also_where_many_are_one_statement(
    table: Table,
) -> None:
    names = [f"test:{number}" for number in range(5)]
    leases = [lease_on(name) for name in names]
    log = Table(table.url, f"{table.name}_log")
    async with table.store() as store:
        await log.run("CREATE TABLE {} (step bigint, setting text)")
        await watch(table, f"INSERT INTO {log.name} VALUES (txid_current(), {SETTING})")  # noqa: S608
        try:
            for commit in (True, False):
                await asyncio.gather(*(store.checkout(each.session_id, each) for each in leases))
                await store.renew(leases)
                if commit:
                    records = [record_of(name) for name in names]
                    pairs = zip(records, leases, strict=True)
                    await asyncio.gather(*(store.commit(*pair) for pair in pairs))
            await asyncio.gather(*(store.release(each.session_id, each) for each in leases))
            rows = await log.run("SELECT step, setting, count(*) FROM {} GROUP BY 1, 2 ORDER BY 1")
        finally:
            log.drop()
    # checkout, renew, commit; checkout, renew, release
    settings = [(setting, number) for _, setting, number in rows]
    assert settings == [("off", 5), ("off", 5), ("on", 5), ("off", 5), ("off", 5), ("off", 5)]


async def test_nothing_of_it_stays_in_a_session(table: Table) -> None:
    session = """
        SELECT ARRAY(SELECT name || setting FROM pg_settings ORDER BY name),
            (SELECT count(*) FROM pg_prepared_statements),
            (SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory')
    """
    async with a_pool(table.url, max_size=1) as pool:
        async with pool.connection() as connection:
            await connection.execute("DO 'BEGIN END'")  # PL/pgSQL, once used, has settings
            before = await (await connection.execute(session)).fetchone()
        async with PostgresSessionStore(pool, table=table.name) as store:
            for number in range(20):
                await put(store, f"test:{number}")
            await ids(store)
            await store.due(now(), 10)
        async with pool.connection() as connection:
            assert before == await (await connection.execute(session)).fetchone()


async def test_an_operation_that_fails_fails_alone(table: Table) -> None:
    async with table.store(max_connections=1) as store:
        await watch(table, "IF NEW.id = 'test:2' THEN RAISE disk_full; END IF")
        leases = [lease_on(f"test:{number}") for number in range(4)]
        await asyncio.gather(*(store.checkout(lease.session_id, lease) for lease in leases[:2]))
        with pytest.raises(SessionStoreUnavailable):
            await store.checkout("test:2", leases[2])
        leases[1].version = 1  # and so its commit is refused
        operations = [
            *(store.commit(record_of(lease.session_id), lease) for lease in leases[:2]),
            *(store.checkout(lease.session_id, lease) for lease in leases[2:]),
            store.checkout("test:1", lease_on("test:1")),
        ]
        answers = await asyncio.gather(*operations, return_exceptions=True)
    expected = [type(None), LeaseLost, SessionStoreUnavailable, type(None), SessionBusy]
    assert expected == [type(answer) for answer in answers]


async def test_operations_that_meet_cost_one_round_trip(own_table: Table) -> None:
    async with Proxy(own_table.url, delay=0.02) as proxy:
        async with PostgresSessionStore(proxy.url, table=own_table.name) as store:
            proxy.trips = 0
            await put(store)
            assert proxy.trips == 2  # the checkout, and the commit
            proxy.trips = 0
            await asyncio.gather(*(put(store, f"test:{number}") for number in range(64)))
            assert proxy.trips == 2
            proxy.trips = 0
            await asyncio.gather(*(put(store, f"test:{number}") for number in range(250)))
            assert proxy.trips == 2 * 4  # on four connections, side by side


async def test_operations_of_one_kind_that_meet_are_one_transaction(
    own_table: Table, pooler: Pooler
) -> None:
    async with PostgresSessionStore(pooler.url, table=own_table.name) as store:
        await asyncio.gather(*(put(store, f"test:{number}") for number in range(20)))
        leases = [lease_on(f"test:{number}") for number in range(20)]
        before = pooler.transactions
        await asyncio.gather(*(store.checkout(lease.session_id, lease) for lease in leases))
        assert pooler.transactions - before == 1
        assert await store.renew(leases) == []
        assert pooler.transactions - before == 2
        await asyncio.gather(*(store.release(lease.session_id, lease) for lease in leases))
        assert pooler.transactions - before == 3
        await asyncio.gather(*(put(store, f"test:{number}") for number in range(20)))
        assert pooler.transactions - before == 5


async def test_a_session_that_is_lent_out_is_not_waited_for(table: Table) -> None:
    async with table.store() as one, table.store() as other:
        await one.checkout(TIM, lease_on())
        with pytest.raises(SessionBusy):
            await other.checkout(TIM, lease_on())
        assert await other.checkout("test:zoe", lease_on("test:zoe")) is None


async def test_of_many_that_want_a_session_at_once_all_but_one_are_told_that_it_is_busy(
    table: Table,
) -> None:
    """Though each transaction is serializable, and the server refuses those that are not."""
    url = f"{table.url}{'&' if '?' in table.url else '?'}{SERIALIZABLE}"
    stores = [await PostgresSessionStore(url, table=table.name).init() for _ in range(3)]
    try:
        for number in range(40):
            session_id = f"test:{number % 2}"
            leases = [lease_on(session_id) for _ in stores]
            answers = await asyncio.gather(
                *(
                    store.checkout(session_id, lease)
                    for store, lease in zip(stores, leases, strict=True)
                ),
                return_exceptions=True,
            )
            assert {type(None), SessionBusy} >= {type(answer) for answer in answers}
            for lease in leases:
                await stores[0].release(session_id, lease)
    finally:
        await asyncio.gather(*(store.close() for store in stores))


async def test_an_unreadable_session_is_given_back_at_once(table: Table) -> None:
    async with table.store() as store:
        await put(store)
        await table.run("UPDATE {} SET record = '{{}}'")
        leases = [lease_on() for _ in range(4)]
        answers = await asyncio.gather(
            *(store.checkout(TIM, lease) for lease in leases), return_exceptions=True
        )
        assert SessionUnreadable in map(type, answers)
        assert {SessionUnreadable, SessionBusy} >= {type(answer) for answer in answers}
        assert await table.run("SELECT token, until FROM {}") == [(None, None)]


async def test_a_commit_whose_asker_was_cancelled_is_carried_out(table: Table) -> None:
    async with table.store() as store:
        mine = lease_on()
        await store.checkout(TIM, mine)
        commit = asyncio.ensure_future(store.commit(record_of(state={"n": 1}), mine))
        commit.cancel()
    async with table.store() as store:
        record = await peek(store)
        assert record is not None
        assert record.state == b'{"n":1}'


async def test_a_lease_whose_term_nobody_noted_ends_when_it_was_to_end(table: Table) -> None:
    async with table.store() as store:
        await store.checkout(TIM, lease_on())
        await table.run("UPDATE {} SET token = 'abc123', until = until + interval '1 hour'")
        with pytest.raises(SessionBusy):
            await store.checkout(TIM, lease_on())
        await table.run("UPDATE {} SET until = clock_timestamp()")
        assert await store.checkout(TIM, lease_on()) is None


# Listing and sweeping.


async def test_between_pages_no_transaction_is_open(table: Table) -> None:
    async with table.store() as store:
        await asyncio.gather(*(put(store, f"test:{number}") for number in range(150)))
        records = store.all()
        await anext(records)
        open_ones = await table.run(
            "SELECT * FROM pg_stat_activity "
            "WHERE application_name = 'barback' AND state LIKE 'idle in transaction%%'"
        )
        assert open_ones == []
        assert len([record async for record in records]) == 149


async def test_what_dead_holders_left_of_new_sessions_is_swept(table: Table) -> None:
    async with table.store() as store:
        await put(store, "test:written")
        for session_id in ("test:written", "test:dead", "test:renewed", "test:new"):
            await store.checkout(session_id, lease_on(session_id))
        old = "UPDATE {} SET until = until - interval '1 day', expires_at = expires_at - 86400000 "
        await table.run(f"{old} WHERE id <> 'test:new'")
        await table.run("UPDATE {} SET until = clock_timestamp() WHERE id = 'test:renewed'")
        assert await store.due(now(), 10) == []
        rows = await table.run("SELECT id FROM {} ORDER BY id")
        assert rows == [("test:new",), ("test:renewed",), ("test:written",)]


async def test_the_sweeper_works_through_all_that_is_due(table: Table) -> None:
    long_ago = now() - GRACE - 1_000
    async with table.store() as store:
        for number in range(120):
            await put(store, f"test:{number:03}", expires_at=long_ago + number % 7)
        await put(store, "test:alive", expires_at=now())
        await table.run("UPDATE {} SET record = '{{}}' WHERE id < 'test:015'")
        assert await sweep(store, now()) == 105
        assert await table.run("SELECT count(*) FROM {}") == [(16,)]


async def test_unreadable_sessions_do_not_hide_those_that_are_due(table: Table) -> None:
    async with table.store() as store:
        for number in range(10):
            await put(store, f"test:{number}", expires_at=number)
        await table.run("UPDATE {} SET record = '{{}}' WHERE id < 'test:7'")
        due = await store.due(now(), 2)
        assert [record.id for record in due] == ["test:7", "test:8"]


async def test_half_a_character_is_the_prefix_of_no_id(table: Table) -> None:
    async with table.store() as store:
        await put(store, "test:👋")
        assert await ids(store, "test:\ud83d") == []
        assert await ids(store, "test:👋") == ["test:👋"]


SERIALIZABLE = "options=-c%20default_transaction_isolation%3Dserializable"
SETTING = "current_setting('synchronous_commit')"
