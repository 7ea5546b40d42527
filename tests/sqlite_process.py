"""A process that shares a SQLite database with others: `python sqlite_process.py WHAT PATH …`.

It writes "ready" when it has opened the store, goes on at the next line it reads, and writes what
came of it as JSON, each on a line.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Callable, Coroutine
from typing import Any

from barback import Bot, Context, Event, Lease, Record, SessionBusy, User
from barback.errors import BarbackError
from barback.stores.sqlite import SQLiteSessionStore
from barback.testing.contract_tools import lease_on, record_of

SESSION = "test:hot"


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
        job.__name__: job for job in (count, hold, write, fork, opened)
    }
    asyncio.run(jobs[sys.argv[1]](*sys.argv[2:]))
