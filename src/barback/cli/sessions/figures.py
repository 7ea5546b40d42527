"""`barback sessions stats`: how many sessions there are, how large, and when they end."""

from __future__ import annotations

import math
from collections import Counter
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final

from barback.cli.sessions.contents import line_of
from barback.cli.sessions.opening import states_with, tending
from barback.cli.sessions.options import json_option, store_option
from barback.cli.sessions.selection import Selection, is_over, selected, selecting, weight_of
from barback.cli.sessions.telling import carried_out, read_status, started
from barback.cli.words import complain, named, printable, tell
from barback.errors import SessionUnreadable
from barback.extras import needs_extra
from barback.history import chunk_ids
from barback.tending import place_of

with needs_extra("cli"):
    import click

if TYPE_CHECKING:
    from barback.record import Record

__all__ = ["Figures", "Sizes", "stats"]

HOUR: Final = 3_600_000
DAY: Final = 24 * HOUR
ENDS: Final = (
    ("within an hour", HOUR),
    ("within a day", DAY),
    ("within a week", 7 * DAY),
    ("within 30 days", 30 * DAY),
    ("within 90 days", 90 * DAY),
    ("within 13 months", 395 * DAY),
)
OVER, LATER, NEVER = "over already", "later", "never"
LABELS: Final = (OVER, *(label for label, _ in ENDS), LATER, NEVER)
WIDTH: Final = 40  # of the longest bar
PERCENTILES: Final = (50, 90, 99)


class Sizes:
    """Many sizes, in a room that does not grow with them: each within one per cent."""

    GROWTH: Final = 1.02

    def __init__(self) -> None:
        self.number = self.sum = self.largest = 0
        self._steps: Counter[int] = Counter()

    def add(self, size: int) -> None:
        """One more."""
        self.number += 1
        self.sum += size
        self.largest = max(self.largest, size)
        self._steps[round(math.log(max(size, 1), self.GROWTH))] += 1

    def percentile(self, percent: float) -> int:
        """So many of a hundred are not larger; 0 if there are none."""
        wanted = math.ceil(self.number * percent / 100)
        for step in sorted(self._steps):
            wanted -= self._steps[step]
            if wanted <= 0:
                return min(round(self.GROWTH**step), self.largest)
        return 0


class Figures:
    """What is to be told of sessions, counted while they pass by."""

    def __init__(self) -> None:
        self.sessions = self.parts = 0
        self.channels: Counter[str] = Counter()
        self.schemas: Counter[int] = Counter()
        self.ends: Counter[str] = Counter()
        self.sizes = Sizes()

    def add(self, record: Record, now: int) -> None:
        """One more."""
        place = place_of(record.id)
        self.sessions += 1
        self.channels[f"{place.namespace}/{place.channel}".removeprefix("/")] += 1
        self.schemas[record.schema] += 1
        self.sizes.add(weight_of(record))
        self.parts += len(chunk_ids(record))
        self.ends[_end_of(record, now)] += 1

    def json(self) -> dict[str, Any]:
        """For programs."""
        sizes = self.sizes
        return {
            "sessions": self.sessions,
            "channels": dict(sorted(self.channels.items())),
            "schemas": {str(each): number for each, number in sorted(self.schemas.items())},
            "bytes": {
                "sum": sizes.sum,
                "largest": sizes.largest,
                **{f"p{percent}": sizes.percentile(percent) for percent in PERCENTILES},
            },
            "history_parts": self.parts,
            "ends": {label: self.ends[label] for label in LABELS},
        }

    def lines(self) -> list[str]:
        """For people."""
        sizes = self.sizes
        told = [f"{self.sessions:,} sessions, {self.parts:,} more records with history", ""]
        told += _bars({named(each): number for each, number in self.channels.most_common()})
        told += ["", f"bytes of a session's record; {sizes.sum:,} in all"]
        for percent in PERCENTILES:
            told.append(f"  {percent:>3} % up to  {sizes.percentile(percent):>12,}")
        told += [f"  the largest  {sizes.largest:>12,}", "", "schema"]
        told += _bars({str(each): number for each, number in sorted(self.schemas.items())})
        told += ["", "ends"]
        return told + _bars({label: self.ends[label] for label in LABELS})


@click.command()
@store_option
@selecting()
@json_option
def stats(url: str, selection: Selection, *, as_json: bool) -> int:
    """Count sessions, their sizes and ends.

    Every session is looked at once, with no lease, and none is kept in memory; so percentiles of
    sizes are within one per cent.

    The exit status is 0 if all were counted; 1 if some cannot be read, or the store failed.
    """
    figures, progress = Figures(), started()
    unreadable: list[SessionUnreadable] = []

    async def work() -> None:
        async with tending(url, states_with()) as tender:
            try:
                async with aclosing(selected(tender, selection)) as records:
                    async for record in records:
                        figures.add(record, tender.now())
                        progress.tell(f"{figures.sessions:,} sessions", figures.sessions)
            except SessionUnreadable as error:
                unreadable.append(error)

    failure = carried_out(work(), progress)
    if failure is not None:
        return read_status(failure)
    if as_json:
        tell(line_of(figures.json()))
    else:
        for line in figures.lines():
            tell(line)
    for error in unreadable:
        complain(error)
    return int(bool(unreadable))


def _end_of(record: Record, now: int) -> str:
    if is_over(record, now):
        return OVER
    if record.expires_at is None:
        return NEVER
    left = record.expires_at - now
    return next((label for label, length in ENDS if left <= length), LATER)


def _bars(numbers: dict[str, int]) -> list[str]:
    most = max(numbers.values(), default=0)
    width = max(map(len, numbers), default=0)
    block = "█" if printable("█") == "█" else "#"
    lines = []
    for label, number in numbers.items():
        bar = block * math.ceil(WIDTH * number / most) if most else ""
        lines.append(f"  {label:<{width}}  {number:>12,}  {bar}".rstrip())
    return lines
