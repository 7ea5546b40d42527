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
from pathlib import Path
from typing import BinaryIO

import msgspec

from barback.record import Record
from barback.stores.file import FileSessionStore

SESSION = "test:hot"


class Logged(FileSessionStore):
    """Logs the steps of each write, as soon as they are done."""

    number = 0  # of the write under way; none is while the store opens
    held_at = (0, "")

    def _fill(self, file: BinaryIO, data: bytes) -> None:
        super()._fill(file, data)
        self.log("aside")

    def _put_in_place(self, aside: str, path: str) -> None:
        self.log("flushed")
        super()._put_in_place(aside, path)
        self.log("replaced")

    def log(self, step: str) -> None:
        if self.number:
            os.write(1, f"{step} {self.number}\n".encode())
            if self.held_at == (self.number, step):
                threading.Event().wait()


class Torn(Logged):
    """What the file store must not be: it writes over the old session where that lies."""

    def _write_aside(self, aside: str, data: bytes) -> None:
        self.target = Path(aside.split(".json", maxsplit=1)[0] + ".json")
        half = len(data) // 2
        with self.target.open("wb") as file:
            file.write(data[:half])
            file.flush()
            self.log("aside")
            file.write(data[half:])

    def _put_in_place(self, aside: str, path: str) -> None:
        if ".gitignore" in aside:
            return
        self.log("flushed")
        assert Path(path) == self.target
        self.log("replaced")


def record_of(number: int) -> Record:
    state = {"n": number, "text": f"{number} " * 2_000}
    return Record(
        id=SESSION,
        version=number,
        state=msgspec.json.encode(state),
        created_at=0,
        last_activity=number,
    )


async def write_on(store: Logged, nth: int, step: str) -> None:
    async with store:
        found = await store.read(SESSION)
        assert found is not None
        number = found.version
        if nth:
            store.held_at = (number + nth, step)
        while True:
            number += 1
            store.number = number
            store.log("begun")
            await store.write(SESSION, record_of(number))
            store.log("acknowledged")


def main(folder: str, kind: str) -> None:
    stores = {"whole": Logged, "torn": Torn}
    for line in sys.stdin:
        nth, step = line.split()
        # Here is neither a loop nor a thread yet, so that a fork is a whole process.
        child = os.fork()
        if child == 0:
            os.write(1, f"born {os.getpid()}\n".encode())
            asyncio.run(write_on(stores[kind](folder), int(nth), step))
        os.waitpid(child, 0)
        os.write(1, b"dead 0\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
