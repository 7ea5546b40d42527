"""Clocks that servers go by, and that tests set.

libfaketime stands between a server and the system's clock by which one tells the time of day. Those
that only measure how long something takes stay what they are, as on a machine whose clock is set.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from pymongo import MongoClient

PACKAGE = find_spec("libfaketime")  # which is not imported: only what it brings is of use
assert PACKAGE is not None
assert PACKAGE.submodule_search_locations is not None
VENDORED = Path(PACKAGE.submodule_search_locations[0]) / "vendor" / "libfaketime" / "src"
LIBRARY = "libfaketime.so.1"
SHARED = Path("/dev/shm")  # noqa: S108 - where the library keeps two files for each process
PATIENCE = 20.0  # seconds


class Clock(Protocol):
    """A server's clock."""

    def set(self, ahead: float) -> None:
        """Let it be so many seconds ahead of the true time, from now on."""


class ServerClock:
    """A clock of one's own, from entering until leaving, for servers that end before it does.

    `environment` is what a server is to be started with; `started` is told of it. The library is
    made for processes of one thread, as those of Valkey and PostgreSQL are as good as.
    """

    def __init__(self) -> None:
        # Where any user can reach it: a server may not run as root.
        self._folder = Path(tempfile.mkdtemp(prefix="barback-clock-"))
        self._servers: dict[int, Callable[[], float] | None] = {}

    @property
    def environment(self) -> dict[str, str]:
        return {
            "LD_PRELOAD": str(self._folder / LIBRARY),
            "FAKETIME_TIMESTAMP_FILE": str(self._folder / "ahead"),
            "FAKETIME_NO_CACHE": "1",  # or else it would be looked at every ten seconds
            "DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def set(self, ahead: float) -> None:
        """See `Clock.set`. Every server goes by it then: some keep the time for a little."""
        new = self._folder / "new"
        new.write_text(f"{ahead:+}")
        new.chmod(0o644)
        new.replace(self._folder / "ahead")
        give_up_at = time.monotonic() + PATIENCE
        for told in self._servers.values():
            while told is not None and abs(told() - time.time() - ahead) > 0.1:
                assert time.monotonic() < give_up_at, "A server goes by another clock."

    def started(self, pid: int, told: Callable[[], float] | None = None) -> None:
        """A server goes by it; `told` is what it says the time is, if it does not always look."""
        self._servers[pid] = told

    def __enter__(self) -> Self:
        self._folder.chmod(0o755)
        shutil.copy(VENDORED / LIBRARY, self._folder)
        (self._folder / LIBRARY).chmod(0o755)
        self.set(0)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        shutil.rmtree(self._folder)
        for pid in self._servers:  # who was killed has left them behind
            for name in (f"faketime_shm_{pid}", f"sem.faketime_sem_{pid}"):
                (SHARED / name).unlink(missing_ok=True)


class KeptTimes:
    """What is as good as the clock of a server of MongoDB's protocol, whose own cannot be set.

    SecantusDB is one process of many threads. So not its clock is set back, but the times that it
    keeps of leases are set forward: to what tells whether one is over, that is the same.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._ahead = 0.0

    def set(self, ahead: float) -> None:
        """See `Clock.set`."""
        later = int((self._ahead - ahead) * 1000)
        self._ahead = ahead
        with MongoClient[dict[str, object]](self._url) as client:
            database = client["barback"]
            for name in database.list_collection_names():
                leased = {"lease.until": {"$exists": True}}
                database[name].update_many(leased, {"$inc": {"lease.until": later}})


def environment_of(clock: ServerClock | None) -> dict[str, str] | None:
    """The environment of a server that goes by `clock`; as the tests' own, if by the system's."""
    return None if clock is None else os.environ | clock.environment
