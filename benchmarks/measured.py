"""What turns cost in time, in instructions of the processor and in memory, and which part of it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Collection, Iterator
from datetime import UTC, datetime
from platform import python_version

from benchmarks import callgrind
from benchmarks.contenders import STORES, find
from benchmarks.facts import processor
from benchmarks.parts import WHOLE, seconds
from benchmarks.places import Places
from benchmarks.results import Kind
from benchmarks.subjects.barback_bot import url_of
from benchmarks.suite import IN_FLIGHT, PEOPLE, Task, perform
from benchmarks.tables import TITLES, table
from benchmarks.workload import Job
from tests.costs import in_bytecode
from tests.every_store import with_options

__all__ = ["MEASURED", "measured"]

ROUNDS = 5
SECONDS = 1.0
FUNCTIONS = 15  # that are listed
MANY_PEOPLE = 1_000
NOT_COUNTED = "–"


def measured(names: Collection[str]) -> Iterator[tuple[str, str]]:
    """These tables of the page, one after the other. What it does is told on standard error."""
    for name, made in MEASURED.items():
        if name in names:
            yield name, made()


def _by_store() -> str:
    where = f"Measured on {datetime.now(UTC).date()}: {processor()}, Python {python_version()}."
    rows = []
    with Places() as places:
        for store in STORES:
            times = [_least_cpu(places, store, "barback", count) for count in IN_FLIGHT]
            floors = [_least_cpu(places, store, "floor", count) for count in IN_FLIGHT]
            cells = [f"{time:.1f}" if time else NOT_COUNTED for time in (*times, *floors)]
            with places.fresh(store) as place:
                rows.append([TITLES[store], *cells, *_executed(WHOLE, _patient(store, place))])
    heads = ["CPU of the client, µs a turn", *(f"{count} in flight" for count in IN_FLIGHT)]
    heads += [f"floor, {count} in flight" for count in IN_FLIGHT]
    heads += ["instructions, 1 in flight", "allocations"]
    return f"{where}\n\n{table(heads, rows)}"


def _patient(store: str, place: str) -> str:
    """The store's URL, with time enough for a client that is fifty times slower than it is."""
    if store == "memory":
        return "memory://"
    if store in {"file", "sqlite"}:
        return url_of(Job(store=store, url=place))
    return with_options(place, timeout="60", connect_timeout="60")


def _least_cpu(places: Places, store: str, name: str, in_flight: int) -> float | None:
    """Microseconds of a turn, the least of some rounds; None where there is no such thing."""
    case = f"{store}/{name}"
    try:
        contender = find(case)
    except LookupError:
        return None
    job = Job(seconds=SECONDS, people=PEOPLE.get(store, MANY_PEOPLE))
    _tell(f"{case}, {in_flight} in flight")
    task = Task(Kind(case, in_flight), contender, job)
    return min(perform(places, task).cpu for _ in range(ROUNDS))


def _by_part() -> str:
    rows, before = [], 0.0
    for part, took in asyncio.run(seconds()).items():
        nanoseconds = took * 1e9
        more = nanoseconds - before
        rows.append([part, f"{nanoseconds:,.0f}", f"{more:,.0f}", *_executed(part, "memory://")])
        before = nanoseconds
    heads = ["A turn in memory", "ns", "more than the last", "instructions", "allocations"]
    return table(heads, rows)


def _by_function() -> str:
    functions = in_bytecode()
    listed = list(functions.items())[:FUNCTIONS]
    rest = sum(functions.values()) - sum(count for _, count in listed)
    rows = [[f"`{name}`", f"{count:.0f}"] for name, count in listed]
    rows.append([f"{len(functions) - FUNCTIONS} others", f"{rest:.0f}"])
    return table(
        [
            f"Function, on Python {sys.version_info[0]}.{sys.version_info[1]}",
            "bytecode instructions a turn",
        ],
        rows,
    )


def _executed(part: str, url: str) -> list[str]:
    if not callgrind.is_there():
        return [NOT_COUNTED, NOT_COUNTED]
    _tell(f"instructions on {url.partition(':')[0]}: {part}")
    executed = callgrind.executed(part, url)
    return [f"{executed.instructions:,.0f}", f"{executed.allocations:,.0f}"]


MEASURED = {"functions": _by_function, "parts": _by_part, "stores": _by_store}
"""What makes each table, by its name in the page."""


def _tell(what: str) -> None:
    print(what, file=sys.stderr)
