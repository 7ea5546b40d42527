"""A table of one test's own, looked at beside the store; and what several tests need of psycopg."""

from __future__ import annotations

import asyncio
import secrets
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.sql import SQL, Composed, Identifier
from psycopg_pool import AsyncConnectionPool

from barback.stores.postgres import PostgresSessionStore
from barback.testing.contract_tools import TIM

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager


class Table:
    """A table of one test's own, and a way to look at it beside the store."""

    def __init__(self, url: str, name: str | None = None) -> None:
        self.url = url
        self.name = f"test_{secrets.token_hex(6)}" if name is None else name

    def store(self, **options: Any) -> PostgresSessionStore:
        return PostgresSessionStore(self.url, table=self.name, **options)

    async def run(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """Run a statement in which {} is the table."""
        async with await psycopg.AsyncConnection.connect(self.url, autocommit=True) as connection:
            cursor = await connection.execute(SQL(sql).format(self.identifier), values or None)
            return await cursor.fetchall() if cursor.description else []

    @property
    def identifier(self) -> Identifier:
        return Identifier(*self.name.split("."))

    def drop(self) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(SQL("DROP TABLE IF EXISTS {}").format(self.identifier))


async def watch(table: Table, body: str) -> None:
    """Do `body`, in PL/pgSQL, at the end of every transaction, for each row that changed in it."""
    name = f"{table.name}_watch"
    function = f"BEGIN {body}; RETURN NULL; END".replace("{", "{{").replace("}", "}}")
    await table.run(f"DROP FUNCTION IF EXISTS {name} CASCADE")
    await table.run(
        f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $watch${function}$watch$"
    )
    await table.run(
        f"CREATE CONSTRAINT TRIGGER {name} AFTER INSERT OR UPDATE OR DELETE ON {{}} "
        f"DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION {name}()"
    )


@asynccontextmanager
async def a_pool(url: str, *, max_size: int = 2) -> AsyncIterator[AsyncConnectionPool[Any]]:
    async with AsyncConnectionPool(url, min_size=1, max_size=max_size, open=False) as pool:
        yield pool


def row_lock(table: Table) -> AbstractAsyncContextManager[None]:
    """Inside, who wants to change Tim's row has to wait."""
    sql = SQL("SELECT * FROM {} WHERE id = {} FOR UPDATE")
    return _holding(table, sql.format(table.identifier, TIM))


def table_lock(table: Table) -> AbstractAsyncContextManager[None]:
    """Inside, who wants anything of the table has to wait."""
    return _holding(table, SQL("LOCK TABLE {}").format(table.identifier))


@asynccontextmanager
async def _holding(table: Table, lock: Composed) -> AsyncIterator[None]:
    connection = await psycopg.AsyncConnection.connect(table.url)
    try:
        await connection.execute(lock)
        yield
    finally:
        await connection.close()  # the server may be gone


async def backends(table: Table) -> list[int]:
    rows = await table.run("SELECT pid FROM pg_stat_activity WHERE application_name = 'barback'")
    return [pid for (pid,) in rows]


async def blocked(table: Table, by: str = "Lock") -> list[int]:
    """Those of the store that wait for a lock, or a `Timeout`; one at least does, or will."""
    async with asyncio.timeout(10):
        while True:
            rows = await table.run(
                "SELECT pid FROM pg_stat_activity "
                "WHERE application_name = 'barback' AND wait_event_type = %s",
                by,
            )
            if rows:
                return [pid for (pid,) in rows]
