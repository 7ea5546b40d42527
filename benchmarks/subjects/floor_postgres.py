"""The floor on PostgreSQL: a prepared read and a prepared write, pipelined. It protects nothing.

Each write is a transaction of its own, as a store's must be that lets one fail alone: with more in
flight there are more connections, each with a share of the events.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import islice
from typing import Self
from urllib.parse import urlsplit

from psycopg.pq import ExecStatus, PGconn
from psycopg.pq.abc import PGresult

from benchmarks.subjects.floor import Floor
from benchmarks.workload import Events, Job, main

TOGETHER = 16  # events of a connection that share its trips
TABLE = "DROP TABLE IF EXISTS floor; CREATE TABLE floor (id text PRIMARY KEY, record json)"
READ = "SELECT record FROM floor WHERE id = $1"
WRITE = "INSERT INTO floor VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET record = excluded.record"


class Line:
    """A connection in libpq's pipeline mode, with both statements prepared."""

    def __init__(self, url: str) -> None:
        self.pgconn = PGconn.connect(url.encode())
        self._more = asyncio.Event()

    async def open(self, table: str = "") -> None:
        """Prepare it, with a table that is empty if one is given."""
        for result in (
            self.pgconn.exec_(table.encode()),
            self.pgconn.prepare(b"read", READ.encode()),
            self.pgconn.prepare(b"write", WRITE.encode()),
        ):
            assert result.status in {ExecStatus.COMMAND_OK, ExecStatus.EMPTY_QUERY}
        self.pgconn.nonblocking = 1
        self.pgconn.enter_pipeline_mode()
        asyncio.get_running_loop().add_reader(self.pgconn.socket, self._more.set)

    def close(self) -> None:
        """End it."""
        asyncio.get_running_loop().remove_reader(self.pgconn.socket)
        self.pgconn.finish()

    async def ask(self, statement: bytes, rows: Sequence[Sequence[bytes]]) -> list[bytes | None]:
        """One trip, with a transaction for each row of values; the first value of each answer."""
        for values in rows:
            self.pgconn.send_query_prepared(statement, values)
            self.pgconn.pipeline_sync()
        while self.pgconn.flush():  # noqa: ASYNC110 - which hardly ever has anything left
            await asyncio.sleep(0)
        found: list[bytes | None] = []
        for _ in rows:
            result = await self._next()
            assert result.status in {ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK}
            found.append(result.get_value(0, 0) if result.ntuples else None)
            assert (await self._next()).status == ExecStatus.PIPELINE_SYNC
        return found

    async def _next(self) -> PGresult:
        while True:
            while self.pgconn.is_busy():
                self._more.clear()
                await self._more.wait()
                self.pgconn.consume_input()
            # There is a None between two results.
            if (result := self.pgconn.get_result()) is not None:
                return result


class PostgresFloor(Floor):
    """Two trips for as many events as share them."""

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        url = urlsplit(job.url)._replace(query="").geturl()
        self.lines = [Line(url) for _ in range(max(1, job.in_flight // TOGETHER))]
        self.free: asyncio.Queue[Line] = asyncio.Queue()

    async def __aenter__(self) -> Self:
        for table, line in zip([TABLE] + [""] * len(self.lines), self.lines, strict=False):
            await line.open(table)
            self.free.put_nowait(line)
        return self

    async def __aexit__(self, *_: object) -> None:
        for line in self.lines:
            line.close()

    async def work(self, events: Events) -> None:
        """See `Subject.work`: as many workers as there are connections have something to do."""
        line = await self.free.get()
        together = min(TOGETHER, self.job.in_flight)
        while group := list(islice(events, together)):
            ids = [b"telegram:%d" % person for _, person in group]
            found = await line.ask(b"read", [(each,) for each in ids])
            rows = [
                (each, self.answer(record, n))
                for each, record, (n, _) in zip(ids, found, group, strict=True)
            ]
            await line.ask(b"write", rows)
        self.free.put_nowait(line)

    async def read(self, person: int) -> bytes | None:
        """See `Floor.read`."""
        (record,) = await self.lines[0].ask(b"read", [(b"telegram:%d" % person,)])
        return record


if __name__ == "__main__":
    main(PostgresFloor)
