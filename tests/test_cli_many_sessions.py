"""`barback sessions` on stores of a hundred thousand: memory, first rows, and interruptions."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import msgspec
import pytest

from barback import Record, open_store
from barback.stores.local import leased
from tests.every_store import own_url
from tests.many_sessions import fill
from tests.test_cli import environment

if TYPE_CHECKING:
    from pathlib import Path

MANY, FEW = 100_000, 1_000
COMMAND = """if True:
    import os, signal, sys
    from barback.cli import main
    from barback.cli.progress import Progress

    signal.signal(signal.SIGINT, signal.default_int_handler)
    left, tell = int(os.environ.get("STOP_AFTER", 0)), Progress.tell

    def counted(self, done, number):
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGINT)
        tell(self, done, number)

    Progress.tell = counted
    status = main(sys.argv[1:])
    with open("/proc/self/status") as file:
        peak = next(line.split()[1] for line in file if line.startswith("VmHWM"))
    with open("peak", "w") as file:
        file.write(peak)
    sys.exit(status)
"""
"""The command, which tells what memory it needed, and is stopped when so many sessions are done."""

GROWS: dict[str, int] = {
    "sqlite": 6,
    "postgres": 6,
    "redis": 16,  # keys that were named once: the server may name them twice
    "file": 28,  # the names of the files
}
"""MiB that a command may take more of for a hundred thousand sessions than for a thousand."""


class Command:
    """`barback sessions`, as a process whose memory is measured."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.url = url

    def start(self, *arguments: str, stop_after: int = 0) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-c", COMMAND, "sessions", *arguments, "--store", self.url],
            cwd=self.folder,
            env={**environment(None), "STOP_AFTER": str(stop_after)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def run(self, *arguments: str, stop_after: int = 0) -> tuple[int, str]:
        process = self.start(*arguments, stop_after=stop_after)
        out, _ = process.communicate(timeout=100)
        return process.returncode, out.decode()

    @property
    def peak(self) -> int:
        """MiB that the last one had in use at most."""
        return int((self.folder / "peak").read_text()) // 1024


def left_in(url: str) -> dict[str, Record]:
    """Each record there is, which must be whole."""

    async def read() -> dict[str, Record]:
        async with leased(open_store(url)) as store:
            return {record.id: record async for record in store.all()}

    return asyncio.run(read())


@pytest.mark.parametrize("store", GROWS)
def test_a_hundred_thousand_sessions_need_no_more_memory_and_come_at_once(
    store: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    usual = 0
    for number in (FEW, MANY):
        folder = tmp_path / str(number)
        folder.mkdir()
        command = Command(folder, own_url(store, request, folder))
        fill(command.url, number)
        began = time.monotonic()
        process = command.start("list")
        assert process.stdout is not None
        assert process.stdout.readline().split()[-1] == b"ID"
        assert process.stdout.readline().count(b":") == 1
        first = time.monotonic() - began
        assert sum(1 for _ in process.stdout) == number - 1
        whole = time.monotonic() - began
        process.stdout.close()
        assert process.wait() == 0
        if number == FEW:
            usual = command.peak
    assert command.peak <= usual + GROWS[store], (usual, command.peak)
    assert first < whole / 2, (first, whole)

    if store == "sqlite":  # who goes over all of them, several at a time, needs little more
        assert command.run("expire", "--larger-than", "1M", "--yes")[0] == 0
        assert command.peak <= usual + GROWS[store] + 8, (usual, command.peak)


@pytest.mark.parametrize("store", ["file", "sqlite", "redis"])
def test_what_is_stopped_leaves_nothing_half_done_and_is_gone_on_with(
    store: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    command = Command(tmp_path, own_url(store, request, tmp_path))
    fill(command.url, FEW)
    before = left_in(command.url)
    assert command.run("export", "--output", "all.jsonl")[0] == 0

    def stopped(*arguments: str) -> dict[str, Record]:
        status, told = command.run(*arguments, stop_after=random.randrange(1, FEW - 100))
        assert status == 130, told
        assert "Run it again" in told
        assert "Traceback" not in told
        return left_in(command.url)

    def gone_on_with(*arguments: str) -> dict[str, Record]:
        status, told = command.run(*arguments)
        assert status == 0, told
        return left_in(command.url)

    left = stopped("delete", "--all", "--yes")
    assert 0 < len(left) < FEW
    assert left.items() <= before.items()
    assert not gone_on_with("delete", "--all", "--yes")

    asked = ("import", "all.jsonl", "--yes")
    there = stopped(*asked)
    assert 0 < len(there) < FEW
    assert _bare(there).items() <= _bare(before).items()
    assert _bare(gone_on_with(*asked)) == _bare(before)

    soon = int(time.time() * 1000)
    there = stopped("expire", "--all", "--yes")
    assert 0 < sum(each.expired(soon + 100_000) for each in there.values()) < FEW
    after = gone_on_with("expire", "--all", "--yes")
    assert all(each.expired(soon + 100_000) for each in after.values())
    assert _bare(after, ends=False) == _bare(before, ends=False)


def _bare(records: dict[str, Record], *, ends: bool = True) -> dict[str, Record]:
    """What is left of them without what a turn writes of itself."""
    return {
        each.id: msgspec.structs.replace(
            each, version=0, seen={}, expires_at=each.expires_at if ends else None
        )
        for each in records.values()
    }
