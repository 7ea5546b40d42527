"""The soak: what memory a bot holds after very many turns, some of which fail or are cancelled.

`python -m tests.soak [STORE…]` runs a million turns of a hundred thousand people in memory, and
fewer, of which more go wrong, on SQLite and Redis. It prints the memory in use after each tenth
and, with all of them run, puts it into docs/guarantees.md. It ends with 1 if that grows.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from tests.soak_worker import Sample, Soak
from tests.unmeasured import unmeasured
from tests.valkey_servers import ValkeyServer

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["SOAKS", "Curve", "soak", "soaked"]

WORKER = Path(__file__).with_name("soak_worker.py")
DOCUMENT = Path(__file__).parent.parent / "docs" / "guarantees.md"
MARKS = ("<!-- the soak begins -->", "<!-- the soak ends -->")
RISE = 0.02  # of the blocks after the first tenth, which is none
ROUGH_RISE = 0.05  # the same where few are in use, and of them many by the turns under way
MIB = 1 << 20

SOAKS = {
    "memory": Soak("", turns=1_000_000, people=100_000),
    "SQLite": Soak("", turns=200_000, people=20_000, rough=True),
    "Redis": Soak("", turns=200_000, people=20_000, rough=True),
}


class Curve(NamedTuple):
    """What memory was in use after each tenth of a soak's turns, and how these ended."""

    soak: Soak
    samples: list[Sample]
    told: Counter[str]

    def check(self) -> None:
        """Raise an AssertionError unless it is flat, and all kinds of turns have been."""
        assert len(self.samples) == 10
        first, *later = self.samples
        rise = ROUGH_RISE if self.soak.rough else RISE
        assert max(each.blocks for each in later) <= first.blocks * (1 + rise), self.samples
        assert self.told.keys() == {"committed", "unchanged", "failed", "cancelled"}
        assert min(self.told.values()) > self.told.total() / 100, self.told


def soak(what: Soak, *, within: float) -> Curve:
    """Run it in a process of its own, which may take so many seconds."""
    done = subprocess.run(
        [sys.executable, str(WORKER), msgspec.json.encode(what).decode()],
        # What is measured is memory, and coverage's would be in it.
        env=unmeasured(),
        capture_output=True,
        text=True,
        timeout=within,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    *samples, told = done.stdout.splitlines()
    return Curve(
        what,
        [msgspec.json.decode(line, type=Sample) for line in samples],
        Counter(msgspec.json.decode(told, type=dict[str, int])),
    )


@contextmanager
def soaked(store: str, folder: Path) -> Iterator[str]:
    """The URL of a store of this kind."""
    if store == "memory":
        yield "memory://"
    elif store == "SQLite":
        yield f"sqlite:///{folder}/sessions.db"
    else:
        with ValkeyServer(folder) as server:
            yield server.url


# The command.


def main(names: list[str]) -> int:
    """Run the soaks of the stores that are named; without any, all."""
    unknown = set(names) - SOAKS.keys()
    if unknown:
        sys.stderr.write(f"There are {[*SOAKS]}, and not {sorted(unknown)}.\n")
        return 2
    curves, grows = {}, False
    for store in names or SOAKS:
        with tempfile.TemporaryDirectory() as folder, soaked(store, Path(folder)) as url:
            curve = soak(msgspec.structs.replace(SOAKS[store], url=url), within=3600)
        curves[store] = curve
        try:
            curve.check()
        except AssertionError as error:
            sys.stderr.write(f"{store}: {error}\n")
            grows = True
    sys.stdout.write(table(curves))
    if not (names or grows):
        write(table(curves))
    return int(grows)


def table(curves: dict[str, Curve]) -> str:
    """Blocks of memory and the process's size, a row for each tenth; and what the turns were."""
    lines = [
        "| turns done |" + "".join(f" {store} |" for store in curves),
        "| --- |" + " --- |" * len(curves),
    ]
    for tenth in range(10):
        cells = [in_short(curve.samples[tenth]) for curve in curves.values()]
        lines.append(f"| {tenth + 1}0 % | " + " | ".join(cells) + " |")
    lines.append("")
    for store, curve in curves.items():
        what = curve.soak
        told = ", ".join(f"{curve.told[each]:,} {each}" for each in sorted(curve.told))
        lines.append(f"- {store}: {what.turns:,} turns of {what.people:,} people; {told}")
    return "\n".join(lines) + "\n"


def in_short(sample: Sample) -> str:
    blocks = f"{sample.blocks:,} blocks"
    return blocks if sample.resident is None else f"{blocks}, {sample.resident / MIB:.1f} MiB"


def write(text: str) -> None:
    """Put the table into the document that keeps it."""
    before, rest = DOCUMENT.read_text().split(MARKS[0])
    after = rest.split(MARKS[1])[1]
    DOCUMENT.write_text(f"{before}{MARKS[0]}\n\n{text}\n{MARKS[1]}{after}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
