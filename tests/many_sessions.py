"""Very many sessions in a store, put there by the quickest way that its server, or disk, has."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import psycopg
import redis

from barback import Record, open_store
from barback.record import new_version
from barback.stores.file.records import file_path
from barback.testing.contract_tools import now

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["fill", "name_of"]

STATE = b'{"asking":false,"cart":[{"name":"tea","price":250}],"nickname":"Tim"}'
AT_ONCE = 5000


def name_of(number: int) -> str:
    """A session's id: every second is of another channel."""
    return f"{'line' if number % 2 else 'telegram'}:{number:07}"


def fill(url: str, number: int) -> None:
    """Put so many sessions into a store where there are none."""
    asyncio.run(_made(url))
    FILLERS[url.partition(":")[0]](url, _records(number))


async def _made(url: str) -> None:
    async with open_store(url):
        pass


def _records(number: int) -> Iterator[Record]:
    begun = now() - 1_000_000
    for each in range(number):
        yield Record(
            id=name_of(each),
            version=new_version(),
            state=STATE,
            created_at=begun - each,
            last_activity=begun - each,
            expires_at=begun + 86_400_000 * (each % 400 + 1),
            users=(f"{each:07}",),
            seen={f"telegram:message:{each}": begun},
        )


def _fill_sqlite(url: str, records: Iterator[Record]) -> None:
    rows = ((each.version, each.expires_at, each.encode().decode(), each.id) for each in records)
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as database, database:
        database.executemany(
            "INSERT INTO sessions (version, expires_at, record, id) VALUES (?, ?, ?, ?)", rows
        )


def _fill_files(url: str, records: Iterator[Record]) -> None:
    folder = url.removeprefix("file:")
    for record in records:
        Path(file_path(folder, record.id)).write_bytes(record.encode())


def _fill_redis(url: str, records: Iterator[Record]) -> None:
    address, _, options = url.partition("?")
    prefix = parse_qs(options)["prefix"][0]
    with redis.Redis.from_url(address) as client:
        pipeline = client.pipeline(transaction=False)
        for number, record in enumerate(records, 1):
            value = b"%016x%b" % (record.version, record.encode())
            pipeline.set(f"{prefix}{{{record.id}}}", value)
            if number % AT_ONCE == 0:
                pipeline.execute()
        pipeline.execute()


def _fill_postgres(url: str, records: Iterator[Record]) -> None:
    parts = urlsplit(url)
    options = parse_qs(parts.query)
    table = options["table"][0]
    address, _, _ = url.rpartition("table=")
    with psycopg.connect(address.rstrip("?&")) as connection, connection.cursor() as cursor:
        with cursor.copy(f"COPY {table} (id, version, expires_at, record) FROM STDIN") as copy:
            for each in records:
                copy.write_row((each.id, each.version, each.expires_at, each.encode().decode()))


FILLERS = {
    "file": _fill_files,
    "sqlite": _fill_sqlite,
    "redis": _fill_redis,
    "valkey": _fill_redis,
    "postgresql": _fill_postgres,
}
