"""A process that shares a SQLite database with others: `python sqlite_process.py WHAT PATH …`.

It writes "ready" when it has opened the store, goes on at the next line it reads, and writes what
came of it as JSON, each on a line.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import sqlite3
import sys
import time
from collections.abc import Callable, Coroutine
from contextlib import closing
from pathlib import Path
from typing import Any

from barback import Bot, Context, Event, Lease, Record, SessionBusy, User
from barback.errors import BarbackError
from barback.stores.sqlite import SQLiteSessionStore
from barback.testing.contract_tools import lease_on, record_of

SESSION = "test:hot"
FRAME = 4096 + 24
FRAMES_OF_AN_INDEX = 4062  # that fit into the first 32 KB of `-shm`


class Counted(SQLiteSessionStore):
    """Counts how often a session was in another's turn."""

    busy = 0

    async def checkout(self, session_id: str, lease: Lease) -> Record | None:
        try:
            return await super().checkout(session_id, lease)
        except SessionBusy:
            self.busy += 1
            raise


def say(what: Any) -> None:
    sys.stdout.write(f"{json.dumps(what)}\n")
    sys.stdout.flush()


async def go() -> None:
    say("ready")
    await asyncio.to_thread(sys.stdin.readline)


async def count(path: str, sessions: str, rounds: str) -> None:
    """Count `rounds` events in each of so many sessions, one event at a time in each."""
    store = Counted(path)
    bot = Bot(session_store=store, initial_state={"n": 0})
    waits = []
    handled = 0

    @bot.on_event
    async def count_one(context: Context) -> None:
        nonlocal handled
        handled += 1
        n = context.state["n"]
        await asyncio.sleep(0)
        context.set_state(n=n + 1)

    async def count_in(session: int) -> None:
        for number in range(int(rounds)):
            event = Event(channel="test", id=f"{os.getpid()}:{number}", user=User(str(session)))
            asked_at = time.perf_counter()
            await bot.handle(event)
            waits.append(time.perf_counter() - asked_at)

    async with bot:
        await go()
        started_at = time.perf_counter()
        await asyncio.gather(*(count_in(session) for session in range(int(sessions))))
        took = time.perf_counter() - started_at
    say({"handled": handled, "busy": store.busy, "longest": max(waits), "took": took})


async def hold(path: str, term: str) -> None:
    """Take a lease, be told to go on, and commit."""
    async with SQLiteSessionStore(path) as store:
        lease = lease_on(SESSION, term=float(term))
        record = await store.checkout(SESSION, lease)
        lease.version = None if record is None else record.version
        await go()
        try:
            await store.commit(record_of(SESSION, {"n": "late"}), lease)
        except BarbackError as error:
            say(type(error).__name__)
        else:
            say("committed")


async def write(path: str) -> None:
    """Write versions 1, 2, 3… of a session for ever, and say which have been acknowledged."""
    async with SQLiteSessionStore(path) as store:
        lease = lease_on(SESSION, token=SESSION)  # the same after each death
        record = await store.checkout(SESSION, lease)
        number = lease.version = 0 if record is None else record.version
        if record is None:
            lease.version = None
        await go()
        while True:
            number += 1
            state = {"n": number, "text": f"{number} " * 2_000}
            await store.commit(record_of(SESSION, state, version=number), lease, keep=True)
            lease.version = number
            say(number)


async def overflow(path: str, room: str) -> None:
    """Commit while the WAL's index must grow and cannot, with room left for so many frames.

    Say what that was answered and why, and be killed.
    """
    store = await SQLiteSessionStore(path).init()
    lease = lease_on(SESSION)
    await store.checkout(SESSION, lease)
    connection = store._database._connection
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    with closing(sqlite3.connect(path)) as reader:  # who keeps the WAL from starting anew
        reader.execute("BEGIN").execute("SELECT * FROM sessions")
        while frames(path) < FRAMES_OF_AN_INDEX - int(room):
            connection.execute("PRAGMA user_version = 1")  # one frame
        await go()
        before = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (memory(), before[1]))
        error = await asyncio.gather(
            store.commit(record_of(SESSION), lease), return_exceptions=True
        )
        resource.setrlimit(resource.RLIMIT_AS, before)
    cause = error[0].__cause__ if error[0] else None
    say([type(error[0]).__name__, getattr(cause, "sqlite_errorname", None)])
    os.kill(os.getpid(), signal.SIGKILL)


def frames(path: str) -> int:
    """How many frames there are in a WAL that has never started anew."""
    return (Path(f"{path}-wal").stat().st_size - 32) // FRAME


def memory() -> int:
    """What this process has of it, in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


async def fork(path: str) -> None:
    """Open the store, fork, and say what a child is answered."""
    async with SQLiteSessionStore(path) as store:
        await go()
        read, written = os.pipe()
        if os.fork() == 0:
            try:
                store.checkout(SESSION, lease_on(SESSION))
            except BarbackError as error:
                os.write(written, str(error).encode())
            os._exit(0)
        say(os.read(read, 1000).decode())  # the child is ended, and its remains with this process


async def opened(path: str) -> None:
    """Open the store at once with others, and close it again."""
    say("ready")
    sys.stdin.readline()
    async with SQLiteSessionStore(path):
        say("opened")


if __name__ == "__main__":
    jobs: dict[str, Callable[..., Coroutine[Any, Any, None]]] = {
        job.__name__: job for job in (count, hold, write, overflow, fork, opened)
    }
    asyncio.run(jobs[sys.argv[1]](*sys.argv[2:]))
