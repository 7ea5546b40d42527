"""Processes that write a session over and over, to be killed while they do.

`python killed_writer.py FOLDER STORE` makes one for each line it reads, and writes "dead" when it
is. The line says where the process is to wait for its death: at which of its writes (0: nowhere),
and at which step of it. What the process does it logs to standard output, which it shares.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from functools import partial
from pathlib import Path
from typing import ClassVar

import msgspec

from barback.errors import SessionBusy
from barback.record import Record, new_version
from barback.stores.base import Lease
from barback.stores.file import FileSessionStore
from barback.stores.file.records import RecordFiles, file_path

SESSION = "test:hot"
TERM = 0.1


class Logged(RecordFiles):
    """Logs the steps of each write, as soon as they are done."""

    number: ClassVar[int] = 0  # of the write under way; none is while the store opens
    held_at: ClassVar[tuple[int, str]] = (0, "")

    def _fill(self, descriptor: int, data: bytes) -> None:
        super()._fill(descriptor, data)
        log("aside")

    def _put_in_place(self, aside: str, path: str) -> None:
        log("flushed")
        super()._put_in_place(aside, path)
        log("replaced")


class Torn(Logged):
    """What the file store must not be: it writes over the old session where that lies."""

    def _fill(self, descriptor: int, data: bytes) -> None:
        if not Logged.number:  # while the store opens
            RecordFiles._fill(self, descriptor, data)
            return
        half = len(data) // 2
        with Path(file_path(str(self._folder), SESSION)).open("wb") as file:
            file.write(data[:half])
            file.flush()
            log("aside")
            file.write(data[half:])

    def _put_in_place(self, aside: str, path: str) -> None:
        if not Logged.number:
            RecordFiles._put_in_place(self, aside, path)
            return
        log("flushed")
        Path(aside).unlink()
        log("replaced")


def log(step: str) -> None:
    if Logged.number:
        os.write(1, f"{step} {Logged.number}\n".encode())
        if Logged.held_at == (Logged.number, step):
            threading.Event().wait()


def record_of(number: int) -> Record:
    state = {"n": number, "text": f"{number} " * 2_000}
    return Record(
        id=SESSION,
        version=number,
        state=msgspec.json.encode(state),
        created_at=0,
        last_activity=number,
    )


def new_lease() -> Lease:
    return Lease(session_id=SESSION, token=f"{new_version():x}", term=TERM)


async def first_checkout(store: FileSessionStore, lease: Lease) -> Record | None:
    """The one before died with the lease, perhaps: it frees itself."""
    async with asyncio.timeout(20 * TERM):
        while True:
            try:
                return await store.checkout(SESSION, lease)
            except SessionBusy:
                await asyncio.sleep(TERM / 50)


async def write_on(store: FileSessionStore, nth: int, step: str) -> None:
    async with store:
        lease = new_lease()
        found = await first_checkout(store, lease)
        assert found is not None
        number = found.version
        await store.release(SESSION, lease)
        if nth:
            Logged.held_at = (number + nth, step)
        while True:
            number += 1
            Logged.number = number
            log("begun")
            lease = new_lease()
            found = await store.checkout(SESSION, lease)
            assert found is not None
            assert found.version == number - 1
            lease.version = found.version
            log("taken")
            await store.commit(record_of(number), lease)
            log("acknowledged")


def main(folder: str, kind: str) -> None:
    files = {"whole": Logged, "torn": Torn}
    for line in sys.stdin:
        nth, step = line.split()
        # Here is neither a loop nor a thread yet, so that a fork is a whole process.
        child = os.fork()
        if child == 0:
            os.write(1, f"born {os.getpid()}\n".encode())
            store = FileSessionStore(folder)
            store._new_files = partial(store._new_files, records=files[kind])
            asyncio.run(write_on(store, int(nth), step))
        os.waitpid(child, 0)
        os.write(1, b"dead 0\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
