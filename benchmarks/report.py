"""The report: tables of medians, spreads and ratios, as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from benchmarks.contenders import Contender, on_store
from benchmarks.goals import TITLES, goals
from benchmarks.results import Kind, Results, with_spread
from benchmarks.suite import IN_FLIGHT, PLUS_ONES, SIZES, STARTING, Plan

__all__ = ["markdown", "short"]

INTRODUCTION = """\
# Benchmarks

The nickname bot of the README, played by barback and by its peers, in turn, in the same run. A
thousand people write one after another; so many events are in flight at once as the columns say.
Each figure is the median of {rounds}, of {seconds:g} s each after a warm-up; what is in brackets
is the least and the greatest. After each run every person's state is looked at: a wrong one would
be no figure but an error.

`python3 dev.py bench` writes this page and the picture; [how it measures](../benchmarks/README.md).

![Events a second of each bot on each store](benchmarks.svg)
"""

NOTES = {
    "memory": "All in one process, and gone with it. barback keeps an encoded copy that no handler "
    "can change; grammY and python-telegram-bot hand out the very object.",
    "file": "barback syncs each file and its folder before it answers; the others leave it to the "
    "system, and lose what it had not written when the power goes.",
    "sqlite": "Write-ahead log, `synchronous=FULL`: each commit is on disk before it is answered. "
    "The floor commits once for each event, or once for all that are in flight.",
    "redis": "barback and aiogram's lock keep two processes from one session; the others do not. "
    "The floor is what barback's own scripts would cost with no bot and no client around them.",
    "postgres": "Each commit is synced. The floor is a prepared read and a prepared write, those "
    "of 16 events in one trip; it protects nothing.",
    "mongo": "Two hundred people, and a server made for tests: compare the CPU of the clients.",
}

EXACT = f'{PLUS_ONES} times "+1" at once'


def markdown(results: Results, plan: Plan, facts: Iterable[tuple[str, str]]) -> str:
    """The whole page; `facts`: what is to be said of the machine, each with its name."""
    rounds = "one round" if plan.rounds == 1 else f"{plan.rounds} rounds"
    parts = [
        INTRODUCTION.format(rounds=rounds, seconds=plan.seconds),
        _table(("On", ""), facts),
        "## Goals\n",
        _goals(results),
    ]
    for store in plan.stores:
        parts += [f"## {TITLES[store]}\n", f"{NOTES[store]}\n", _store(results, store)]
    parts += ["## Many sessions, large states\n", _growth(results, plan), _sizes(results)]
    parts += ["## Starting\n", _starting(results)]
    missing = sorted(set(results.missing.values()))
    if results.failures or missing:
        # Their first lines: what follows tells of this machine.
        lines = [f"- {why.splitlines()[0]}" for why in (*missing, *results.failures)]
        parts += ["## What could not be measured\n", "\n".join(lines), ""]
    return "\n".join(parts)


def _goals(results: Results) -> str:
    words = {True: "yes", False: "**no**", None: "–"}
    rows = [(goal.what, goal.goal, goal.measured, words[goal.met]) for goal in goals(results)]
    return _table(("What", "Goal", "Measured", "Met"), rows)


def _store(results: Results, store: str) -> str:
    heads = ["", "events/s at 1", "at 64", "CPU µs each", "barback is, at 1 / 64", EXACT]
    rows = [_row(results, store, contender) for contender in on_store(store)]
    return _table(heads, rows)


def _row(results: Results, store: str, contender: Contender) -> list[str]:
    if contender.title in results.missing:
        return [contender.title, "not measured", "", "", "", ""]
    kinds = [Kind(f"{store}/{contender.name}", in_flight) for in_flight in IN_FLIGHT]
    cpu = [results.median(kind, "cpu") for kind in kinds]
    return [
        contender.title,
        *(_rate(results, kind) for kind in kinds),
        " / ".join("–" if each is None else f"{each:.1f}" for each in cpu),
        "" if contender.name == "barback" else _ahead(results, store, kinds),
        _counted(results, store, contender),
    ]


def _rate(results: Results, kind: Kind) -> str:
    median, spread = results.median(kind), results.spread(kind)
    if median is None or spread is None:
        return "–"
    return with_spread(short(median), *map(short, spread))


def _ahead(results: Results, store: str, kinds: Iterable[Kind]) -> str:
    """How many times as fast as each of these barback is."""
    told = []
    for kind in kinds:
        ours = results.median(Kind(f"{store}/barback", kind.in_flight))
        theirs = results.median(kind)
        told.append(f"{ours / theirs:.2f} ×" if ours and theirs else "–")
    return " / ".join(told)


def _counted(results: Results, store: str, contender: Contender) -> str:
    """What so many concurrent increments came to, and when the last of them was done."""
    kind = Kind(f"{store}/{contender.name}", variant="+1")
    values, seconds = results.spread(kind, "value"), results.median(kind, "seconds")
    if values is None or seconds is None:
        return ""
    least, greatest = values
    value = f"{least:.0f}" if least == greatest else f"{least:.0f}–{greatest:.0f}"
    return (
        f"{value} in {seconds:.2g} s" if least == PLUS_ONES else f"**{value}** in {seconds:.2g} s"
    )


def _growth(results: Results, plan: Plan) -> str:
    def row(people: int) -> list[str]:
        kind = Kind("memory/barback", variant=f"{people} sessions")
        weight = results.median(Kind("memory/barback", variant=f"{people} weighed"), "bytes")
        return [f"{people:,}", _rate(results, kind), "–" if weight is None else f"{weight:,.0f}"]

    heads = ("Sessions in memory", "events/s at 1", "bytes a session")
    return _table(heads, [row(people) for people in plan.sessions])


def _sizes(results: Results) -> str:
    def row(size: int) -> list[str]:
        each = [
            results.median(Kind(f"memory/{name}", variant=f"{size} KB"), "cpu")
            for name in ("barback", "floor")
        ]
        return [f"{size} KB", *("–" if cpu is None else f"{cpu:,.1f}" for cpu in each)]

    heads = ("State", "CPU µs a turn", "of one decode and one encode")
    return _table(heads, [row(size) for size in SIZES])


def _starting(results: Results) -> str:
    words = (
        "Python itself, from start to end",
        "`import barback`",
        "The nickname bot's first reply",
    )

    def row(what: str, case: str) -> list[str]:
        kind = Kind(case)
        median, spread = results.median(kind, "seconds"), results.spread(kind, "seconds")
        if median is None or spread is None:
            return [what, "–"]
        shown = [f"{seconds * 1000:.0f}" for seconds in (median, *spread)]
        return [what, with_spread(*shown)]

    return _table(("", "ms"), [row(*each) for each in zip(words, STARTING, strict=True)])


def _table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    def lines() -> Iterator[str]:
        names = list(heads)
        yield f"| {' | '.join(names)} |"
        yield f"| --- |{' ---: |' * (len(names) - 1)}" if len(names) > 2 else "| --- | --- |"
        for row in rows:
            yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"

    return "\n".join(lines()) + "\n"


def short(rate: float) -> str:
    """A rate in few digits: 870, 9.4 k, 146 k, 1.3 M."""
    for unit, size in (" M", 1e6), (" k", 1e3):
        if rate >= size * 0.9995:
            scaled = rate / size
            return f"{scaled:.0f}{unit}" if scaled >= 99.5 else f"{scaled:.3g}{unit}"
    return f"{rate:.0f}"
