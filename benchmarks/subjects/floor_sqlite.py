"""The floor on SQLite: WAL, synchronous=FULL; a commit for an event, or for all in flight."""

from __future__ import annotations

import sqlite3
from itertools import islice
from typing import Self

from benchmarks.subjects.floor import Floor
from benchmarks.workload import Events, Job, main

READ = "SELECT record FROM sessions WHERE id = ?"
WRITE = "INSERT OR REPLACE INTO sessions VALUES (?, ?)"


class SQLiteFloor(Floor):
    """A read and a write for an event, on the loop's own thread."""

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self.database = sqlite3.connect(f"{job.url}/floor.db", isolation_level=None)

    async def __aenter__(self) -> Self:
        self.database.execute("PRAGMA journal_mode=WAL")
        self.database.execute("PRAGMA synchronous=FULL")
        self.database.execute("CREATE TABLE sessions (id TEXT PRIMARY KEY, record BLOB)")
        return self

    async def __aexit__(self, *_: object) -> None:
        self.database.close()

    async def work(self, events: Events) -> None:
        """See `Subject.work`."""
        execute, answer = self.database.execute, self.answer
        while group := list(islice(events, self.job.in_flight)):
            execute("BEGIN IMMEDIATE")
            for n, person in group:
                session_id = f"telegram:{person}"
                found = execute(READ, (session_id,)).fetchone()
                execute(WRITE, (session_id, answer(found and found[0], n)))
            execute("COMMIT")

    async def read(self, person: int) -> bytes | None:
        """See `Floor.read`."""
        found = self.database.execute(READ, (f"telegram:{person}",)).fetchone()
        return None if found is None else bytes(found[0])


if __name__ == "__main__":
    main(SQLiteFloor)
