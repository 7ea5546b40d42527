"""Where the sessions of the fault matrix rest: a server of a cell's own, or a folder.

Each says with which settings it runs, since what survives is the settings' doing as well.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import sqlite3
import time
from abc import ABC, abstractmethod
from contextlib import AsyncExitStack, ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from barback.testing.proxy import FaultProxy
from tests.every_store import own_place, with_options
from tests.matrix_worker import NOBODY
from tests.mongo_servers import MongoServer
from tests.ports import free_port
from tests.postgres_servers import PostgresServer
from tests.server_clocks import Clock, KeptTimes, ServerClock
from tests.valkey_servers import ValkeyCluster, ValkeySentinel, ValkeyServer, wait_until

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

__all__ = ["PLACES", "Clocked", "DiskPlace", "FailingOver", "Place", "Restarting", "kind_of"]

FIRST = "{test:user0}"  # of the first person's key, which says who keeps it in a Cluster
DELAY = 0.002  # seconds that the network takes one way, so that something is always under way
SMALL = 1 << 30  # bytes that a disk may have to be filled up
KEPT_AWAY = 0.1  # seconds that a killed server stays away


class Place(ABC):
    """A place where sessions rest, from entering until leaving.

    - `settings`: what its durability depends on.
    - `disk`: the folder of what rests on a disk of this machine.
    - `proxies`: of the network between each worker and it; the same ones in two workers' lists
      if they share them.
    - `clock`: the one its servers go by, if it is `clocked`.
    """

    settings: ClassVar[str]

    def __init__(
        self,
        folder: Path,
        *,
        networked: bool,
        timeout: str,
        disk: Path | None = None,
        clocked: bool = False,
    ) -> None:
        self.folder = folder
        self.disk = disk or folder
        self.networked = networked
        self.clocked = clocked
        self.clock: Clock | None = None
        self.timeout = timeout
        self.proxies: list[list[FaultProxy]] = [[], []]
        self._stack = AsyncExitStack()

    @abstractmethod
    def url(self, worker: int) -> str:
        """The URL that a worker is to open."""

    async def start(self, stack: AsyncExitStack) -> None:  # noqa: B027 - some need nothing
        """Bring it up; `stack` takes it down."""

    def own_clock(self, stack: AsyncExitStack) -> ServerClock | None:
        """A clock for its servers, which must end before it does."""
        if not self.clocked:
            return None
        self.clock = clock = stack.enter_context(ServerClock())
        return clock

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            await self.start(stack)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stack.aclose()


class Restarting(Protocol):
    """A place with a server that can die."""

    async def kill_and_restart(self) -> None:
        """End the server in the middle of whatever it does, and bring it up again."""


class FailingOver(Protocol):
    """A place with a primary that others can take the place of."""

    async def fail_over(self) -> None:
        """Kill the primary; wait until another has its place, and it has come back below that."""


class Clocked(Protocol):
    """A place with servers whose clock can be set."""

    clock: Clock

    def url(self, worker: int) -> str:
        """The URL that a worker is to open."""


class MemoryPlace(Place):
    settings = "in the process; nothing survives it"

    def url(self, worker: int) -> str:
        return "memory://"


class DiskPlace(Place):
    """A place on a disk of this machine."""

    @abstractmethod
    def hold(self, seconds: float) -> None:
        """Keep everybody from writing for so long, as another process could."""

    def fill(self) -> None:
        """Take all room that is left, of a disk that is nobody else's."""
        assert shutil.disk_usage(self.disk).total <= SMALL, "it is to be a small disk of its own"
        with (self.disk / "filler").open("ab", buffering=0) as file:
            for size in (1 << 20, 1 << 12, 1):
                with suppress(OSError):
                    while True:
                        file.write(bytes(size))

    def make_room(self) -> None:
        (self.disk / "filler").unlink()

    def give_away(self) -> None:
        """Everything there is nobody's, if one is root: what it may do is what the modes say."""
        if os.getuid() == 0:
            for path in self._all():
                with suppress(FileNotFoundError):  # it was replaced just now
                    os.chown(path, NOBODY, NOBODY)

    def forbid(self, *, forbidden: bool) -> None:
        """Let nobody write to folders and files; or let their owner again."""
        folders, files = (0o555, 0o444) if forbidden else (0o755, 0o600)
        for path in self._all():
            with suppress(FileNotFoundError):
                path.chmod(folders if path.is_dir() else files)

    def _all(self) -> list[Path]:
        return [self.disk, *self.disk.rglob("*")]


class FilePlace(DiskPlace):
    settings = "`fsync` of each file and of the folder"

    def url(self, worker: int) -> str:
        return f"file:{self.disk}/sessions?timeout={self.timeout}"

    def hold(self, seconds: float) -> None:
        with ExitStack() as stack:
            for path in sorted((self.disk / "sessions" / ".leases").iterdir()):
                file = stack.enter_context(path.open("rb"))
                fcntl.flock(file, fcntl.LOCK_EX)
            time.sleep(seconds)  # it is a fault's length, and waits for nothing


class SQLitePlace(DiskPlace):
    settings = "WAL, `synchronous=full`"

    def url(self, worker: int) -> str:
        return f"sqlite:///{self.disk}/sessions.db?timeout={self.timeout}"

    def hold(self, seconds: float) -> None:
        connection = sqlite3.connect(self.disk / "sessions.db", isolation_level=None, timeout=10)
        try:
            connection.execute("BEGIN IMMEDIATE")
            time.sleep(seconds)  # the same
        finally:
            connection.close()


class ServerPlace(Place):
    """One server, behind a proxy for each worker if it is `networked`."""

    server: ValkeyServer | MongoServer | PostgresServer

    async def start(self, stack: AsyncExitStack) -> None:
        self.server = self.new_server(stack)
        await asyncio.to_thread(self.server.__enter__)
        stack.push_async_callback(asyncio.to_thread, self.server.__exit__, None, None, None)
        self.own = with_options(own_place(self.server.url), timeout=self.timeout)
        if self.networked:
            for number in range(2):
                proxy = FaultProxy("127.0.0.1", self.server.port, delay=DELAY)
                self.proxies[number] = [await stack.enter_async_context(proxy)]

    @abstractmethod
    def new_server(self, stack: AsyncExitStack) -> ValkeyServer | MongoServer | PostgresServer:
        """One that has not been started."""

    def url(self, worker: int) -> str:
        if not self.networked:
            return self.own
        (proxy,) = self.proxies[worker]
        return self.own.replace(f":{self.server.port}", f":{proxy.port}", 1)

    async def kill_and_restart(self) -> None:
        await asyncio.to_thread(self.server.kill)
        await asyncio.sleep(KEPT_AWAY)
        await asyncio.to_thread(self.server.start)


class RedisPlace(ServerPlace):
    settings = "valkey-server, `appendonly yes`, `appendfsync always`"

    def new_server(self, stack: AsyncExitStack) -> ValkeyServer:
        return ValkeyServer(self.folder / "valkey", clock=self.own_clock(stack))


class MongoPlace(ServerPlace):
    settings = "SecantusDB, `w=majority`, `j=true`"

    def new_server(self, stack: AsyncExitStack) -> MongoServer:
        server = MongoServer(self.folder / "mongo")
        self.clock = KeptTimes(server.url)
        return server

    def url(self, worker: int) -> str:
        # Or else the driver would ask the server where it is, and pass by the proxy.
        return with_options(super().url(worker), directConnection="true")


class PostgresPlace(ServerPlace):
    settings = "PostgreSQL, `fsync=on`, `synchronous_commit=on`"

    def new_server(self, stack: AsyncExitStack) -> PostgresServer:
        return PostgresServer(self.folder, clock=self.own_clock(stack))


class SentinelPlace(Place):
    """A primary and its replica; which of the two is the primary changes."""

    settings = "a primary and a replica, replication asynchronous, `appendfsync always`"

    async def start(self, stack: AsyncExitStack) -> None:
        self.sentinel = ValkeySentinel(self.folder / "sentinel")
        await asyncio.to_thread(self.sentinel.__enter__)
        stack.push_async_callback(asyncio.to_thread, self.sentinel.__exit__, None, None, None)
        self.own = with_options(own_place(self.sentinel.url), timeout=self.timeout)
        self.pair = [self.sentinel.primary, self.sentinel.replica]

    def url(self, worker: int) -> str:
        return self.own

    async def fail_over(self) -> None:
        primary, replica = self.pair
        await asyncio.to_thread(primary.kill)
        await asyncio.to_thread(self.sentinel.wait_for_primary, replica)
        await asyncio.to_thread(primary.start)
        # As the Sentinel would say as well, in its own time.
        await asyncio.to_thread(primary.ask, "REPLICAOF", "127.0.0.1", replica.port)
        await asyncio.to_thread(wait_until, lambda: follows(primary), "the old primary follows")
        self.pair.reverse()


class ClusterPlace(Place):
    """Three primaries, each behind a proxy that all share; for a failover, the first has a replica.

    Clients go where the Cluster sends them, so that the proxies' ports are those it announces.
    """

    settings = "three valkey-servers, `appendonly yes`, `appendfsync always`"

    async def start(self, stack: AsyncExitStack) -> None:
        self.cluster = ValkeyCluster(self.folder / "cluster", clock=self.own_clock(stack))
        hosts = []
        for server in self.cluster.servers if self.networked else []:
            server.port = free_port()
            proxy = FaultProxy("127.0.0.1", server.port, delay=DELAY)
            await stack.enter_async_context(proxy)
            server.announced = proxy.port
            hosts.append(f"127.0.0.1:{proxy.port}")
            for shared in self.proxies:
                shared.append(proxy)
        await asyncio.to_thread(self.cluster.__enter__)
        stack.push_async_callback(asyncio.to_thread, self.cluster.__exit__, None, None, None)
        url = f"redis+cluster://{','.join(hosts)}" if hosts else self.cluster.url
        self.own = with_options(own_place(url), timeout=self.timeout)
        self.first: Any = await asyncio.to_thread(self.cluster.keeper_of, FIRST)

    def url(self, worker: int) -> str:
        return self.own

    async def kill_and_restart(self) -> None:
        await asyncio.to_thread(self.first.kill)
        await asyncio.sleep(KEPT_AWAY)
        await asyncio.to_thread(self.first.start)


class FailingOverCluster(ClusterPlace):
    settings = (
        "three valkey-servers and a replica of one, replication asynchronous, `appendfsync always`"
    )

    async def start(self, stack: AsyncExitStack) -> None:
        await super().start(stack)
        replica = self.cluster.replica_of(self.first, self.folder / "replica")
        self.pair = [self.first, await asyncio.to_thread(replica.__enter__)]
        stack.push_async_callback(asyncio.to_thread, replica.__exit__, None, None, None)

    async def fail_over(self) -> None:
        primary, replica = self.pair
        await asyncio.to_thread(primary.kill)
        await asyncio.to_thread(
            wait_until, lambda: replica.ask("ROLE")[0] == "master", "the replica takes over"
        )
        await asyncio.to_thread(primary.start)
        await asyncio.to_thread(wait_until, lambda: follows(primary), "the old primary follows")
        self.pair.reverse()


def follows(server: ValkeyServer) -> bool:
    role = server.ask("ROLE")
    return bool(role[0] == "slave" and role[3] == "connected")


PLACES: dict[str, type[Place]] = {
    "memory": MemoryPlace,
    "file": FilePlace,
    "SQLite": SQLitePlace,
    "Redis": RedisPlace,
    "Redis Cluster": ClusterPlace,
    "MongoDB": MongoPlace,
    "PostgreSQL": PostgresPlace,
}


def kind_of(store: str, *, failing_over: bool = False) -> type[Place]:
    """The place for a store's sessions; one with a replica, if a primary is to fail."""
    if failing_over:
        return SentinelPlace if store == "Redis" else FailingOverCluster
    return PLACES[store]
