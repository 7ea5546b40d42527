"""Where sessions rest while they are measured: real servers, files on the project's own disk."""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.every_store import with_options
from tests.mongo_servers import MongoServer
from tests.postgres_servers import PostgresServer
from tests.valkey_servers import ValkeyServer

__all__ = ["CLIENT_CORES", "SERVER_CORES", "Places", "on_cores"]

ROOT = Path(__file__).resolve().parent.parent
SCRATCH = ROOT / ".benchmarks"

CORES: list[int] = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
CLIENT_CORES = CORES[-1:]
SERVER_CORES = CORES[:-1] or CORES


@contextmanager
def on_cores(cores: list[int]) -> Iterator[None]:
    """While inside, what is started runs on these cores alone; elsewhere, nothing happens."""
    if not cores:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class Places:
    """Gives each measurement a place that nobody has used; starts a server when first asked."""

    def __init__(self) -> None:
        self._started = ExitStack()
        self._numbers = itertools.count(1)
        self._redis: ValkeyServer | None = None
        self._postgres: PostgresServer | None = None
        self._mongo: MongoServer | None = None

    def __enter__(self) -> Self:
        SCRATCH.mkdir(exist_ok=True)
        scratch = tempfile.TemporaryDirectory(dir=SCRATCH, prefix="run-")
        self._folder = Path(self._started.enter_context(scratch))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._started.close()

    @contextmanager
    def fresh(self, store: str) -> Iterator[str]:
        """A folder, or the URL of a server, that is empty; what is in it is removed afterwards."""
        name = f"place{next(self._numbers)}"
        if store in {"file", "sqlite"}:
            folder = self._folder / name
            folder.mkdir()
            try:
                yield str(folder)
            finally:
                shutil.rmtree(folder)
        elif store == "redis":
            server = self.redis()
            server.ask("FLUSHALL")
            yield server.url
        elif store == "postgres":
            yield with_options(self.postgres().url, table=name)
        elif store == "mongo":
            yield with_options(f"{self.mongo().url}/barback", collection_name=name)
        else:
            yield ""

    def redis(self) -> ValkeyServer:
        """A server that writes nothing to disk: the same for everyone, and not what is measured."""
        if self._redis is None:
            folder = self._folder / "valkey"
            with on_cores(SERVER_CORES):
                server = ValkeyServer(folder, "--appendonly", "no")
                self._redis = self._started.enter_context(server)
        return self._redis

    def postgres(self) -> PostgresServer:
        """A server that syncs each commit, as PostgreSQL does unless told otherwise."""
        if self._postgres is None:
            with on_cores(SERVER_CORES):
                self._postgres = self._started.enter_context(PostgresServer(self._folder))
        return self._postgres

    def mongo(self) -> MongoServer:
        """A server of MongoDB's protocol, made for tests and not for throughput."""
        if self._mongo is None:
            with on_cores(SERVER_CORES):
                self._mongo = self._started.enter_context(MongoServer(self._folder / "mongo"))
        return self._mongo
