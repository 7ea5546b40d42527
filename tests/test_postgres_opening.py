"""A PostgreSQL store's table, how the store is opened, and its options."""

from __future__ import annotations

import asyncio
import logging
import secrets
import traceback
from datetime import timedelta
from typing import Any

import pytest
from psycopg_pool import AsyncNullConnectionPool

from barback.errors import ConfigurationError, SessionStoreUnavailable
from barback.stores.base import ONE_YEAR
from barback.stores.postgres import PostgresSessionStore
from barback.stores.url import open_store
from barback.testing.contract_listing import ids
from barback.testing.contract_tools import TIM, lease_on, peek, put, record_of
from tests.postgres_servers import PostgresServer
from tests.postgres_tables import Table, a_pool, backends, blocked, row_lock

SECRET = "hunter2"  # noqa: S105 - of nobody
COLUMNS = "id text, version bigint, expires_at bigint, token text, until timestamptz"
ODD_NAMES = [
    *("Größe", "select", "with space", 'quo"ted', '"', "'", "a'b", "{}", "{table}", "%s", "$$"),
    *("$1", "back\\slash", "; DROP TABLE x; --", "/*", "👋" * 13, "\n", "x" * 52),
]


# The table.


async def test_four_may_make_the_table_at_once(table: Table) -> None:
    for _ in range(5):
        stores = [table.store(max_connections=1) for _ in range(4)]
        try:
            await asyncio.gather(*(store.init() for store in stores))
        finally:
            await asyncio.gather(*(store.close() for store in stores))
        await table.run("DROP TABLE {}")


@pytest.mark.parametrize("name", ODD_NAMES)
async def test_a_table_may_have_an_odd_name(postgres_server: PostgresServer, name: str) -> None:
    schema = f"test_{secrets.token_hex(6)}"
    table = Table(postgres_server.url, f"{schema}.{name}")
    await table.run(f"CREATE SCHEMA {schema}")
    try:
        async with table.store() as store:
            written = await put(store)
            assert written == await peek(store)
        rows = await table.run("SELECT id FROM {}")
        indexes = await table.run(
            "SELECT count(*) FROM pg_indexes WHERE schemaname = %s AND tablename = %s", schema, name
        )
    finally:
        await table.run(f"DROP SCHEMA {schema} CASCADE")
    assert rows == [(TIM,)]
    assert indexes == [(2,)]


@pytest.mark.parametrize("name", ["", ".", "a.", ".a", "a\0b", "x" * 53, "é" * 27, None, 7])
def test_a_name_that_no_table_can_have_is_refused(name: Any) -> None:
    with pytest.raises(ConfigurationError, match="table"):
        PostgresSessionStore(table=name)


async def test_its_ddl_makes_the_table_and_may_be_repeated(table: Table) -> None:
    store = table.store()
    for _ in range(2):
        await table.run(store.ddl().replace("{", "{{").replace("}", "}}"))
    async with store:
        written = await put(store)
        assert written == await peek(store)


async def test_who_may_not_make_tables_can_use_one_that_is_there(table: Table) -> None:
    async with table.store():
        pass
    role = table.name
    await table.run(f"CREATE ROLE {role} LOGIN")
    try:
        url = table.url.replace("//postgres@", f"//{role}@")
        store = PostgresSessionStore(url, table=table.name)
        with pytest.raises(SessionStoreUnavailable, match=rf"InsufficientPrivilege.*{table.name}"):
            await store.init()
        await table.run(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {{}} TO {role}")
        async with store:
            written = await put(store)
            assert written == await peek(store)
            assert await ids(store) == [TIM]
        missing = PostgresSessionStore(url, table="missing")
        with pytest.raises(SessionStoreUnavailable, match=r"InsufficientPrivilege.*missing.*ddl"):
            await missing.init()
    finally:
        await table.run(f"DROP OWNED BY {role}")
        await table.run(f"DROP ROLE {role}")


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ("id text", "UndefinedColumn"),
        (f"{COLUMNS}, record jsonb", "json, which keeps every text"),
    ],
)
async def test_a_table_that_is_not_the_stores_is_refused(
    table: Table, columns: str, words: str
) -> None:
    await table.run(f"CREATE TABLE {{}} ({columns})")
    with pytest.raises(SessionStoreUnavailable, match=words):
        await table.store().init()


# Opening.


async def test_a_given_pool_is_used_and_not_closed(table: Table) -> None:
    async with a_pool(table.url) as pool:
        async with PostgresSessionStore(pool, table=table.name) as store:
            written = await put(store)
        async with PostgresSessionStore(pool, table=table.name) as store:
            assert written == await peek(store)
        assert not pool.closed
        assert pool.get_stats()["pool_available"] == pool.get_stats()["pool_size"]
    with pytest.raises(SessionStoreUnavailable, match="closed"):
        await store.init()


async def test_a_given_pool_may_keep_no_connection_and_have_no_limit(table: Table) -> None:
    async with AsyncNullConnectionPool(table.url, open=False) as pool:
        async with PostgresSessionStore(pool, table=table.name, max_connections=2) as store:
            assert store._server.size == 2
            written = await asyncio.gather(*(put(store, f"test:{number}") for number in range(40)))
            assert written == await asyncio.gather(*(peek(store, each.id) for each in written))
    limited = AsyncNullConnectionPool(table.url, max_size=7, open=False)
    assert PostgresSessionStore(limited)._server.size == 7


async def test_a_pool_that_closes_meanwhile_makes_the_store_unavailable(table: Table) -> None:
    async with a_pool(table.url) as pool:
        store = await PostgresSessionStore(pool, table=table.name).init()
    with pytest.raises(SessionStoreUnavailable):
        await store.checkout(TIM, lease_on())
    await store.close()


async def test_closing_waits_for_what_is_under_way_and_leaves_no_connection(table: Table) -> None:
    store = await table.store().init()
    mine = lease_on()
    await store.checkout(TIM, mine)
    commit = store.commit(record_of(state={"n": 1}), mine)
    await store.close()
    await commit
    with pytest.raises(SessionStoreUnavailable, match="not open"):
        await store.checkout(TIM, mine)


async def test_a_close_that_is_cancelled_closes_its_connections_still(table: Table) -> None:
    async with table.store() as store:
        await put(store)
    store = await table.store().init()
    async with row_lock(table):
        checkout = store.checkout(TIM, lease_on())
        closing = asyncio.ensure_future(store.close())
        await blocked(table)
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
    assert await checkout is not None
    async with asyncio.timeout(10):
        while await backends(table):
            pass


def test_it_can_be_used_in_one_event_loop_after_another(table: Table) -> None:
    store = table.store()

    async def turn() -> Any:
        async with store:
            return await put(store) if (record := await peek(store)) is None else record

    assert asyncio.run(turn()) == asyncio.run(turn())


async def test_the_first_of_several_hosts_that_answers_is_taken(table: Table) -> None:
    host = table.url.partition("@")[2].partition("/")[0]
    url = table.url.replace(host, f"127.0.0.1:1,{host}")
    async with PostgresSessionStore(url, table=table.name) as store:
        assert await peek(store) is None


async def test_where_nobody_listens_init_says_so() -> None:
    url = f"postgresql://tim:{SECRET}@127.0.0.1:1/x"
    with pytest.raises(SessionStoreUnavailable, match=r"127\.0\.0\.1:1: Connection refused") as got:
        await PostgresSessionStore(url).init()
    assert SECRET not in "".join(traceback.format_exception(got.value))


async def test_a_server_that_takes_too_few_connections_is_refused(table: Table) -> None:
    role = table.name
    async with table.store():
        await table.run(f"CREATE ROLE {role} LOGIN CONNECTION LIMIT 1")
        await table.run(f"GRANT ALL ON {{}} TO {role}")
    try:
        url = table.url.replace("//postgres@", f"//{role}@")
        with pytest.raises(SessionStoreUnavailable, match="lower max_connections"):
            await PostgresSessionStore(
                url, table=table.name, max_connections=2, connect_timeout=1
            ).init()
        async with PostgresSessionStore(url, table=table.name, max_connections=1) as store:
            await put(store)
    finally:
        await table.run(f"DROP OWNED BY {role}")
        await table.run(f"DROP ROLE {role}")


async def test_a_read_only_server_is_refused(table: Table) -> None:
    url = f"{table.url}?options=-c%20default_transaction_read_only%3Don"
    with pytest.raises(SessionStoreUnavailable, match="read-only"):
        await PostgresSessionStore(url, table=table.name).init()


async def test_a_loop_that_psycopg_cannot_use_is_told_of(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = type(asyncio.get_running_loop())
    monkeypatch.setattr(asyncio, "ProactorEventLoop", loop, raising=False)
    with pytest.raises(ConfigurationError, match="SelectorEventLoop"):
        await table.store().init()


async def test_no_secret_shows(table: Table, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    host = table.url.partition("@")[2]
    url = f"postgresql://postgres:{SECRET}@{host}"
    async with PostgresSessionStore(url, table=table.name) as store:
        await table.run("ALTER TABLE {} ADD CHECK (record->'state'->>'password' IS NULL)")
        with pytest.raises(SessionStoreUnavailable) as got:
            await put(store, state={"password": SECRET})
        with pytest.raises(SessionStoreUnavailable) as broken:
            await put(store, "test:zoe", f'{{"password": {SECRET}'.encode())
    shown = [repr(store), str(store._server), *caplog.messages]
    shown += traceback.format_exception(got.value) + traceback.format_exception(broken.value)
    assert SECRET not in "".join(shown)


# Options.


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://", ("barback_sessions", ONE_YEAR, "localhost:5432", 4)),
        ("postgres://tim@db:5433/x", ("barback_sessions", ONE_YEAR, "db:5433", 4)),
        ("postgresql://db?expires_in=never", ("barback_sessions", None, "db:5432", 4)),
        ("postgresql://db/x?table=a.b&expires_in=1", ("a.b", timedelta(minutes=1), "db:5432", 4)),
        ("postgresql://a,b/x", ("barback_sessions", ONE_YEAR, "a:5432, b:5432", 4)),
        ("postgresql://a:1,b:2/?sslmode=require", ("barback_sessions", ONE_YEAR, "a:1, b:2", 4)),
        (
            "postgresql:///x?host=/run/pg&timeout=1&connect_timeout=.5&max_connections=7",
            ("barback_sessions", ONE_YEAR, "/run/pg:5432", 7),
        ),
        ("postgresql://tim:a%40b%2F%3F@db", ("barback_sessions", ONE_YEAR, "db:5432", 4)),
    ],
)
def test_its_url_opens_it(url: str, expected: tuple[Any, ...]) -> None:
    store = open_store(url)
    assert isinstance(store, PostgresSessionStore)
    server = store._server
    assert expected == (store.table, store.expires_in, server.address, server.size)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("postgresql://tim:hunter2@db/x?colour=red", "no option 'colour'"),
        ("postgresql://tim:hunter2@db/x?colour", "no option 'colour'"),
        ("postgresql://tim:hunter2@db/x?timeout=soon", "timeout cannot be 'soon'"),
        ("postgresql://tim:hunter2@db/x?timeout=0", "timeout must be"),
        ("postgresql://tim:hunter2@db/x?timeout=inf", "timeout must be"),
        ("postgresql://tim:hunter2@db/x?timeout=never", "timeout cannot be 'never'"),
        ("postgresql://tim:hunter2@db/x?connect_timeout=-1", "connect_timeout must be"),
        ("postgresql://tim:hunter2@db/x?max_connections=0", "max_connections must be"),
        ("postgresql://tim:hunter2@db/x?max_connections=1.5", "max_connections cannot be"),
        ("postgresql://tim:hunter2@db/x?table=", "table"),
        ("postgresql://tim:hunter2@db/x?expires_in=0", "expires_in must be"),
        ("postgresql://tim:%zz@db/x", "percent-encoded"),
        ("postgresql://tim:hunt@er2@db/x", "percent-encoded"),
        ("postgresql://tim:hunt/er2@db/x", "percent-encoded"),
        ("postgresql://tim:hunter2@db:port/x", "percent-encoded"),
    ],
)
def test_a_url_that_says_nothing_sensible_is_refused_without_its_secrets(
    url: str, words: str
) -> None:
    with pytest.raises(ConfigurationError, match=words) as got:
        open_store(url)
    shown = "".join(traceback.format_exception(got.value, chain=False)).replace(url, "")
    assert not any(part in str(got.value) for part in (SECRET, "hunt", "er2"))
    assert got.value.__cause__ is None
    assert shown


@pytest.mark.parametrize("url", [None, 5432, b"postgresql://db"])
def test_what_is_neither_a_url_nor_a_pool_is_refused(url: Any) -> None:
    with pytest.raises(ConfigurationError, match="postgresql://"):
        PostgresSessionStore(url)
