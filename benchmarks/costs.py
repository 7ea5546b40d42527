"""Count what turns cost on each store, beside what is recorded of it, or record it anew.

What is recorded is tests/costs.toml, by which the tests judge, and the tables of
docs/performance.md that count. Its other tables are measured, which wants a quiet machine.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import islice

from benchmarks.commands import as_command
from benchmarks.contenders import STORES
from benchmarks.measured import MEASURED, measured
from benchmarks.places import ROOT, Places
from benchmarks.tables import TITLES, table, write_tables
from tests.cost_bounds import VERSION, Bounds, exceeded, undercut
from tests.costs import SHARED, Costs, alone, in_bytecode, together

__all__ = ["PAGE", "TABLES"]

PAGE = ROOT / "docs" / "performance.md"
OLDEST = "3.11"  # where the most functions are entered: what others count is less
TRIES = 21

ALONE = {
    "round trips": "trips",
    "writes to a socket": "writes",
    "bytes sent": "sent",
    "bytes received": "received",
    "commands": "commands",
    "statements": "statements",
    "transactions": "transactions",
    "transactions that wait for the disk": "durable",
    "fsync": "fsyncs",
    "messages to a thread": "to_threads",
    "messages from a thread": "from_threads",
    "tasks": "tasks",
    "futures": "futures",
    "timers": "timers",
    "callbacks of the event loop": "callbacks",
    "records encoded": "record_encodes",
    "records decoded": "record_decodes",
    "JSON encoded": "json_encodes",
    "JSON decoded": "json_decodes",
    "Python functions of barback's": "functions",
    "builtins these call": "builtins",
    "Python functions of libraries": "library_functions",
}
TOGETHER = {title: name for title, name in ALONE.items() if name in set().union(*SHARED.values())}


def main(arguments: list[str]) -> int:
    """Run the command line; 1 if something differs from what was recorded."""
    parser = argparse.ArgumentParser(prog="python3 dev.py costs", description=__doc__)
    parser.add_argument("--record", action="store_true", help="write down what was counted")
    parser.add_argument(
        "--measure",
        nargs="*",
        choices=MEASURED,
        metavar="TABLE",
        help=f"measure, and write that down: {', '.join(MEASURED)}, or all, some ten minutes",
    )
    options = parser.parse_args(arguments)
    if options.measure is not None:
        for name, measured_table in measured(options.measure or MEASURED):
            write_tables(PAGE, {name: measured_table})
        return 0
    bounds = Bounds()
    differences = list(_count(bounds, others=VERSION == OLDEST or not options.record))
    print("\n".join(differences) or "Everything costs what was recorded.")
    if options.record:
        bounds.write()
        write_tables(PAGE, {name: made(bounds) for name, made in TABLES.items()})
        return 0
    return 1 if differences else 0


def _count(bounds: Bounds, *, others: bool) -> Iterator[str]:
    """Put what is counted into `bounds`, and tell what was other than there.

    `others`: not only the bytecode, which each Python has its own of.
    """
    executed = sum(in_bytecode().values())
    before, reserve = bounds.bytecode()
    if abs(executed - before) > before * reserve or VERSION not in bounds.instructions:
        yield f"memory: instructions: {executed:g}, and {before:g} recorded."
    bounds.count_bytecode(executed)
    with Places() as places:
        for store in STORES if others else ():
            with places.fresh(store) as url:
                counted = alone(store, url)
            recorded = bounds.alone.get(store, {})
            found = {*exceeded(counted, recorded), *undercut(counted, recorded)}
            if found:
                bounds.alone[store] = counted
                yield from (f"{store}: {words}" for words in sorted(found))
        for store in SHARED if others else ():
            with places.fresh(store) as url:
                tries = _tries(store, url)
            least, usual = _by_name(min, tries), _by_name(statistics.median, tries)
            more = exceeded(least, bounds.together.get(store, {}), by_chance=True)
            if more:
                bounds.together[store] = usual
                yield from (f"{store}, 64 at once: {words}" for words in more)


def _tries(store: str, url: str) -> list[Costs]:
    """What 64 turns cost, many times: it is chance who meets."""
    with closing(together(store, url)) as tries:
        return list(islice(tries, TRIES))


def _by_name(choose: Callable[[list[float]], float], tries: list[Costs]) -> Costs:
    return {name: choose([one[name] for one in tries]) for name in tries[0]}


def _alone(bounds: Bounds) -> str:
    return _table("One turn", STORES, ALONE, bounds.alone)


def _together(bounds: Bounds) -> str:
    return _table("64 turns at once", tuple(SHARED), TOGETHER, bounds.together)


TABLES: dict[str, Callable[[Bounds], str]] = {"one turn": _alone, "64 turns": _together}
"""The tables of the page, by the words between which each stands."""


def _table(
    title: str, stores: tuple[str, ...], rows: dict[str, str], costs: dict[str, Costs]
) -> str:
    lines = []
    for words, name in rows.items():
        cells = [costs[store].get(name, 0) for store in stores]
        lines.append([words, *(f"{round(cell):,}" if cell else "" for cell in cells)])
    return table([title, *(TITLES[store] for store in stores)], lines)


if __name__ == "__main__":
    as_command(main)
