"""A process that does with a file store what it is told, one line of JSON after the other.

`python file_process.py FOLDER` answers each line with one: what came of it, or the error's name.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import threading
import time
from functools import partial
from typing import Any, ClassVar

from barback.bot import Bot
from barback.context import Context
from barback.errors import BarbackError, SessionBusy
from barback.events import Event, User
from barback.record import Record
from barback.stores.base import Lease
from barback.stores.file import FileSessionStore
from barback.stores.file.records import RecordFiles
from barback.testing.contract_tools import record_of


class Stopping(RecordFiles):
    """Stops its process, if it is told to, between a temporary file and its replacement."""

    stop: ClassVar[bool] = False

    def _put_in_place(self, aside: str, path: str) -> None:
        if Stopping.stop:
            Stopping.stop = False
            signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)  # here, and not soon
        super()._put_in_place(aside, path)


class Counted(FileSessionStore):
    """Counts how often it had to say that a session is held elsewhere."""

    busy = 0

    async def checkout(self, session_id: str, lease: Lease) -> Record | None:
        try:
            return await super().checkout(session_id, lease)
        except SessionBusy:
            self.busy += 1
            raise


class Process:
    """The store, the leases taken on it, and a method for each thing that one can be told."""

    def __init__(self, store: Counted) -> None:
        self.store = store
        self.leases: dict[str, Lease] = {}

    async def checkout(self, session_id: str, term: float) -> dict[str, Any]:
        lease = Lease(session_id=session_id, token=f"{os.getpid()}-{time.time_ns()}", term=term)
        record = await self.store.checkout(session_id, lease)
        lease.version = None if record is None else record.version
        self.leases[session_id] = lease
        return {"state": None if record is None else json.loads(record.state)}

    async def commit(self, session_id: str, state: dict[str, Any]) -> dict[str, Any]:
        await self.store.commit(record_of(session_id, state), self.leases[session_id])
        return {}

    async def renew(self) -> dict[str, Any]:
        lost = await self.store.renew(list(self.leases.values()))
        return {"lost": [lease.session_id for lease in lost]}

    async def stop_in_the_next_commit(self) -> dict[str, Any]:
        Stopping.stop = True
        return {}

    async def fork(self) -> dict[str, Any]:
        child = os.fork()
        if child == 0:
            signal.pause()
        return {"pid": child}

    async def count(self, users: list[str], times: int) -> dict[str, Any]:
        """Handle so many events of each user; how long each took, and how many were handled."""
        bot = Bot(session_store=self.store, initial_state={"n": 0})

        @bot.on_event
        async def count_one(context: Context) -> None:
            n = context.state["n"]
            await asyncio.sleep(0)
            context.set_state(n=n + 1)

        async def handle(user: str, number: int) -> float:
            began = time.monotonic()
            event_id = f"{os.getpid()}-{number}"
            outcome = await bot.handle(
                Event(channel="test", text="Hi", user=User(user), id=event_id)
            )
            assert outcome == "committed"
            return time.monotonic() - began

        async def one_after_the_other(user: str) -> list[float]:
            return [await handle(user, number) for number in range(times)]

        async with bot:
            took = await asyncio.gather(*map(one_after_the_other, users))
        return {"longest": max(map(max, took)), "busy": self.store.busy}


async def main(folder: str) -> None:
    store = Counted(folder)
    store._new_files = partial(store._new_files, records=Stopping)
    async with store:
        process = Process(store)
        while line := await asyncio.to_thread(sys.stdin.readline):
            what, arguments = json.loads(line)
            try:
                answer = await getattr(process, what)(**arguments)
            except BarbackError as error:
                answer = {"error": type(error).__name__}
            print(json.dumps(answer), flush=True)  # noqa: T201 - it is the answer


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
