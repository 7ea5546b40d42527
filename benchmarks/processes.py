"""A contender's process: started on the client's core, told to go, heard, and always ended."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import dev
from benchmarks import node_peers
from benchmarks.contenders import Contender
from benchmarks.places import CLIENT_CORES, ROOT, SCRATCH, on_cores
from benchmarks.workload import Job

__all__ = ["Failed", "Process", "run"]

PATIENCE = 120.0  # seconds that a process may take in all
A_SECOND = 5000  # or more people have a session made for them


class Failed(Exception):
    """A contender's process ended without a result, or with states that are wrong."""


class Process:
    """One process of a contender, which has opened its bot when the context is entered."""

    def __init__(self, contender: Contender, job: Job) -> None:
        self.contender = contender
        self.job = job
        self.profile = bool(job.options.get("profile"))

    def __enter__(self) -> Self:
        self._errors = tempfile.TemporaryFile()
        # A session of its own: Ctrl-C is for whoever watches over it.
        with on_cores(CLIENT_CORES):
            self._process = subprocess.Popen(
                [*command(self.contender, profile=self.profile), json.dumps(asdict(self.job))],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=None if self.profile else self._errors,
                text=True,
                start_new_session=True,
            )
        patience = PATIENCE + self.job.people / A_SECOND
        self._alarm = threading.Timer(patience, self._process.kill)
        try:
            self._alarm.start()
            self._hear()  # that it is ready
        except BaseException:
            self._end(patience=0)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end(patience=5 if kind is None else 0)

    def _end(self, *, patience: float) -> None:
        self._alarm.cancel()
        with self._errors, self._process:
            try:
                self._process.wait(patience)
            except subprocess.TimeoutExpired:
                self._process.kill()

    def go(self) -> None:
        """Let it begin to measure."""
        assert self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()

    def result(self) -> dict[str, Any]:
        """What it measured. Raises `Failed`."""
        result: dict[str, Any] = json.loads(self._hear())
        if result.get("wrong"):
            message = f"{self.contender.title}: {result['wrong']} states are wrong"
            raise Failed(message)
        return result

    def _hear(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._process.kill()
            self._process.wait()
            self._errors.seek(0)
            told = self._errors.read().decode(errors="replace")[-3000:]
            message = f"{self.contender.title} ended by itself:\n{self.job}\n{told}"
            raise Failed(message)
        return line


def run(contender: Contender, jobs: list[Job]) -> list[dict[str, Any]]:
    """Run the jobs side by side, each in a process, started together. Raises `Failed`."""
    with ExitStack() as stack:
        processes = [stack.enter_context(Process(contender, job)) for job in jobs]
        for process in processes:
            process.go()
        return [process.result() for process in processes]


def command(contender: Contender, *, profile: bool) -> list[str]:
    """What starts a contender; its environment is made when it is first asked for.

    Python's profile is made in the process itself, Node's is a file for a browser's tools.
    """
    if contender.home == "node":
        program = str(Path("benchmarks", "node", contender.program))
        options = ["--cpu-prof", f"--cpu-prof-dir={SCRATCH}"] if profile else []
        return [node_peers.prepared(), *options, program]
    module = ["-m", f"benchmarks.subjects.{contender.program}"]
    if contender.home == "ours":
        return [sys.executable, *module]
    return [str(dev.environment(".venv-peers", ["-r", str(dev.PEERS)])), *module]
