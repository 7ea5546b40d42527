"""A table of one test's own, looked at beside the store; and what several tests need of psycopg."""

from __future__ import annotations

import secrets
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.sql import SQL, Identifier
from psycopg_pool import AsyncConnectionPool

from barback.stores.postgres import PostgresSessionStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


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
