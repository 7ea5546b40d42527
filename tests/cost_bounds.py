"""Bounds: what turns cost when they were last looked at, as `costs.toml` has it.

`python3 dev.py costs` counts anew and tells what differs; with `--record`, it writes that down.
What is not in the file is not done at all.
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.costs import Costs

__all__ = ["FILE", "VERSION", "Bounds", "exceeded", "undercut"]

FILE = Path(__file__).with_name("costs.toml")
VERSION = f"{sys.version_info[0]}.{sys.version_info[1]}"

HOW = "Find out why; if it is to be so: python3 dev.py costs --record"

MORE: Final = {
    "functions": 0.02,
    "builtins": 0.05,
    "instructions": 0.02,
    "library_functions": 0.10,
    "callbacks": 0.10,
    "sent": 0.05,
    "received": 0.05,
}
"""By how much a cost may be more than was recorded; what is not here, by nothing.

Numbers in a record have a digit more or less, and other people's code has other ways with another
Python.
"""

LESS: Final = MORE | {
    "functions": 0.15,  # since 3.12 a comprehension is no function
    "builtins": 0.10,
    "library_functions": 1,
    "callbacks": 0.30,
    "futures": 0.20,
    "tasks": 0.30,
}
"""By how much it may be less, until somebody is to be told that it can be recorded."""

BY_CHANCE: Final = (
    0.5  # how many turns meet, at the most lucky of many tries, is chance all the same
)
UNKNOWN: Final = 0.15  # for bytecode of a Python that nobody has counted on


class Bounds:
    """Costs as they are recorded, which may be changed, and written down.

    - `alone`, `together`: by the store.
    - `instructions`: of a turn in memory, by Python's version.
    """

    def __init__(self) -> None:
        recorded = tomllib.loads(FILE.read_text())
        self.alone: dict[str, Costs] = recorded["alone"]
        self.together: dict[str, Costs] = recorded["together"]
        self.instructions: Costs = recorded["instructions"]

    def bytecode(self) -> tuple[float, float]:
        """The instructions for this Python, and the reserve that is due to them."""
        if VERSION in self.instructions:
            return self.instructions[VERSION], MORE["instructions"]
        return self.instructions[max(self.instructions, key=_by_number)], UNKNOWN

    def count_bytecode(self, executed: float) -> None:
        """Record it for this Python, and what is to be expected of it for others."""
        change = executed / self.bytecode()[0]
        for version in self.instructions:
            self.instructions[version] = round(self.instructions[version] * change)
        self.instructions[VERSION] = executed

    def write(self) -> None:
        """Write all of it to the file."""
        FILE.write_text("\n".join(self._lines()))

    def _lines(self) -> Iterable[str]:
        yield "# What turns of the README's bot cost: written by `python3 dev.py costs --record`.\n"
        yield "# One turn in memory, in bytecode instructions of barback's, by Python's version."
        yield from _table("instructions", {f'"{key}"': n for key, n in self.instructions.items()})
        yield "# One turn, when there is no other."
        for store, costs in self.alone.items():
            yield from _table(f"alone.{store}", costs)
        yield "# 64 turns of as many people at once, altogether."
        for store, costs in self.together.items():
            yield from _table(f"together.{store}", costs)


def exceeded(costs: Costs, bounds: Costs, *, by_chance: bool = False) -> list[str]:
    """What costs more than was recorded, in words."""
    found = []
    for name, cost in costs.items():
        bound = bounds.get(name, 0)
        reserve = BY_CHANCE if by_chance else MORE.get(name, 0)
        if cost > bound * (1 + reserve):
            found.append(f"{name}: {cost:g}, and {bound:g} recorded. {HOW}")
    return found


def undercut(costs: Costs, bounds: Costs) -> list[str]:
    """What costs less than was recorded, in words."""
    found = []
    for name, bound in bounds.items():
        cost = costs.get(name, 0)
        if cost < bound * (1 - LESS.get(name, 0)):
            found.append(f"{name}: {cost:g}, and {bound:g} recorded. {HOW}")
    return found


def _table(name: str, costs: Costs) -> Iterable[str]:
    yield f"[{name}]"
    for each, cost in sorted(costs.items()):
        yield f"{each} = {round(cost, 1):g}"
    yield ""


def _by_number(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))
