"""What barback sets out to reach, as ratios within one run, and how far it is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.results import Kind, Ratio, Results, ratio, with_spread
from benchmarks.suite import PLUS_ONES, SIZES

__all__ = ["TITLES", "Goal", "goals"]

TITLES = {
    "memory": "Memory",
    "file": "Files, synced",
    "sqlite": "SQLite, synced",
    "redis": "Redis",
    "postgres": "PostgreSQL",
    "mongo": "MongoDB",
}


@dataclass(frozen=True)
class Goal:
    """A goal and what was measured of it; `met` is None if nothing was."""

    what: str
    goal: str
    measured: str
    met: bool | None


def goals(results: Results) -> list[Goal]:
    """Every goal, in the order of the stores."""
    return [
        *_memory(results),
        *_redis(results),
        *_durable(results),
        *_servers(results),
        *_crowds(results),
        *_growth(results),
        *_start(results),
    ]


def _memory(results: Results) -> Iterator[Goal]:
    for in_flight in 1, 64:
        ours = Kind("memory/barback", in_flight)
        yield _faster(results, ours, 1.5, "grammY", "memory/grammy")
        yield _faster(results, ours, 12, "aiogram", "memory/aiogram")
    cost = results.median(Kind("memory/barback"), "cpu")
    yield _most("Memory: CPU of a turn, the making of its event included", cost, 5, "µs")


def _redis(results: Results) -> Iterator[Goal]:
    crowd = Kind("redis/barback", 64)
    yield _faster(results, crowd, 1.2, "grammY", "redis/grammy")
    yield _faster(results, crowd, 20, "aiogram with its lock", "redis/aiogram-lock")
    yield _faster(results, Kind("redis/barback"), 1.2, "Bottender 1.5", "redis/bottender-1")
    yield _faster(results, Kind("redis/barback-uvloop"), 0.9, "grammY", "redis/grammy")


def _durable(results: Results) -> Iterator[Goal]:
    unsynced = ("file/bottender-1", "file/bottender-0")
    files = "the faster Bottender's files, never synced"
    yield _faster(results, Kind("sqlite/barback", 64), 4, files, *unsynced)
    yield _faster(results, Kind("sqlite/barback"), 0.7, "the floor", "sqlite/floor")
    yield _faster(results, Kind("file/barback", 64), 1, files, *unsynced)


def _servers(results: Results) -> Iterator[Goal]:
    yield _faster(results, Kind("postgres/barback", 64), 0.6, "the floor", "postgres/floor")
    ours, floor = Kind("mongo/barback", 64), Kind("mongo/floor", 64)
    cost = ratio(results, ours, [floor], "cpu")
    yield _ratio("MongoDB, 64 in flight: CPU by the floor's", cost, 1.2, at_most=True)


def _crowds(results: Results) -> Iterator[Goal]:
    hot = Kind("redis/barback", variant="+1")
    what = f'Redis: {PLUS_ONES} times "+1" for one person from 4 processes'
    value, seconds = results.spread(hot, "value"), results.spread(hot, "seconds")
    if value is None or seconds is None:
        yield Goal(what, f"{PLUS_ONES}, ≤ 0.5 s", "–", None)
    else:
        exact = value == (PLUS_ONES, PLUS_ONES)
        median = results.median(hot, "seconds") or 0.0
        shown = (f"{each:.2f}" for each in (median, *seconds))
        measured = f"{value[0]:.0f}, {with_spread(*shown)} s"
        yield Goal(what, f"{PLUS_ONES}, ≤ 0.5 s", measured, exact and median <= 0.5)
    for store, title in ("memory", "Memory"), ("redis", "Redis"):
        even = Kind(f"{store}/barback", 64)
        zipf = ratio(results, Kind(f"{store}/barback", 64, "zipf"), [even])
        yield _ratio(f"{title}, 64 in flight: Zipf traffic by even traffic", zipf, 0.8)


def _growth(results: Results) -> Iterator[Goal]:
    few = Kind("memory/barback", variant="1000 sessions")
    for people in 100_000, 1_000_000:
        many = Kind("memory/barback", variant=f"{people} sessions")
        what = f"Memory, {people:,} sessions: rate by the rate at 1,000"
        yield _ratio(what, ratio(results, many, [few]), 0.9)
        weight = Kind("memory/barback", variant=f"{people} weighed")
        light = Kind("memory/barback", variant="1000 weighed")
        what = f"Memory, {people:,} sessions: bytes a session by those at 1,000"
        yield _ratio(what, ratio(results, weight, [light], "bytes"), 1.1, at_most=True)
    for size in SIZES:
        large, floor = (
            Kind(f"memory/{name}", variant=f"{size} KB") for name in ("barback", "floor")
        )
        own = ratio(results, large, [floor], "cpu")
        what = f"State of {size} KB: CPU by that of one decode and one encode"
        yield Goal(what, "near 1", _shown(own), None)


def _start(results: Results) -> Iterator[Goal]:
    seconds = results.median(Kind("start/import"), "seconds")
    yield _most("`import barback`", _thousand(seconds), 60, "ms")
    seconds = results.median(Kind("start/reply"), "seconds")
    yield _most(
        "The nickname bot, from its start to its first reply", _thousand(seconds), 150, "ms"
    )


def _faster(results: Results, ours: Kind, least: float, whom: str, *cases: str) -> Goal:
    store, name = ours.case.split("/")
    on = " on uvloop" if name == "barback-uvloop" else ""
    what = f"{TITLES[store]}{on}, {ours.in_flight} in flight: rate by that of {whom}"
    theirs = [Kind(case, ours.in_flight) for case in cases]
    return _ratio(what, ratio(results, ours, theirs), least)


def _ratio(what: str, found: Ratio | None, bound: float, *, at_most: bool = False) -> Goal:
    met = None
    if found is not None:
        met = found.median <= bound if at_most else found.median >= bound
    return Goal(what, f"{'≤' if at_most else '≥'} {bound:g} ×", _shown(found), met)


def _most(what: str, found: float | None, bound: float, unit: str) -> Goal:
    measured = "–" if found is None else f"{found:.3g} {unit}"
    return Goal(what, f"≤ {bound:g} {unit}", measured, None if found is None else found <= bound)


def _shown(found: Ratio | None) -> str:
    if found is None:
        return "–"
    shown = (f"{each:.2f}" for each in (found.median, found.least, found.greatest))
    return f"{with_spread(*shown)} ×"


def _thousand(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1000
