"""A server of MongoDB's protocol, as a process: SecantusDB, which says it is MongoDB 8.2."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pymongo

from tests.ports import free_port

Document = dict[str, Any]
Documents = pymongo.collection.Collection[Document]

PATIENCE = 30.0  # seconds for a start or a stop


class MongoServer:
    """Keeps its data in `folder`; started again after `kill`, it has port and data as before.

    `options` are more options of its command line.
    """

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self.options = options
        self.port = free_port()
        self.url = f"mongodb://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        assert self.process is None
        self.folder.mkdir(parents=True, exist_ok=True)
        # An empty configuration keeps it from looking for one on this machine.
        configuration = self.folder / "secantusd.toml"
        configuration.touch()
        command = [
            *(sys.executable, "-m", "secantus", "--config", str(configuration)),
            *("--host", "127.0.0.1", "--port", str(self.port)),
            *("--storage-path", str(self.folder / "data"), "--cache-size", "64M"),
            *self.options,
        ]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder
            )
        give_up_at = time.monotonic() + PATIENCE
        while not self._listens():
            if self.process.poll() is not None or time.monotonic() > give_up_at:
                self.stop()
                log_text = (self.folder / "log").read_text(errors="replace")
                raise RuntimeError(f"The MongoDB server did not start:\n{log_text[-2000:]}")
            time.sleep(0.01)

    def kill(self) -> None:
        """End it in the middle of whatever it does; nothing happens if it does not run."""
        if self.process is None:
            return
        self.process.kill()
        self.process.wait(PATIENCE)
        self.process = None

    def stop(self) -> None:
        """Let it end by itself; nothing happens if it does not run."""
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(PATIENCE)
        self.process = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()  # nobody needs it any more, and letting it end takes seconds

    def _listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True
