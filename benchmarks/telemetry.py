"""What observing costs a turn in memory: the README's bot with more and more of it.

`python -m benchmarks.telemetry` takes rounds in turn, so that whatever else the machine is about
strikes all alike, and renews the table of docs/telemetry.md. It wants a quiet machine, and some
minutes.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from itertools import count
from platform import python_version

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import TraceIdRatioBased

from barback import Bot, Observer
from barback.telemetry import Telemetry
from benchmarks.facts import processor
from benchmarks.places import ROOT
from benchmarks.subjects.barback_bot import BarbackBot
from benchmarks.tables import table, write_tables
from benchmarks.workload import Job

__all__ = ["WAYS", "measured"]

PAGE = ROOT / "docs" / "telemetry.md"
PEOPLE = 2
SATURATING = 80
TURNS = 500
ROUNDS = 200


class Nowhere(SpanExporter):
    """Takes spans, as an exporter would that has all the time of another thread."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:  # noqa: ARG002
        """See `SpanExporter.export`."""
        return SpanExportResult.SUCCESS


class Idle(Observer):
    """Hears of every turn, and does nothing about it."""

    def turn_ended(self, turn: object) -> None:
        """See `Observer.turn_ended`."""


def _without_a_provider(bot: Bot) -> None:
    bot.observe(Telemetry())


def _idle(bot: Bot) -> None:
    bot.observe(Idle())


def _metrics(bot: Bot) -> None:
    bot.observe(Telemetry(meter_provider=_meters()))


def _sampled(bot: Bot) -> None:
    bot.observe(Telemetry(tracer_provider=_tracers(0.01), meter_provider=_meters()))


def _all(bot: Bot) -> None:
    bot.observe(Telemetry(tracer_provider=_tracers(1), meter_provider=_meters()))


def _meters() -> MeterProvider:
    return MeterProvider([InMemoryMetricReader()], shutdown_on_exit=False)


def _tracers(share: float) -> TracerProvider:
    tracers = TracerProvider(sampler=TraceIdRatioBased(share), shutdown_on_exit=False)
    tracers.add_span_processor(SimpleSpanProcessor(Nowhere()))
    return tracers


PLAIN = "no telemetry"
WAYS: dict[str, Callable[[Bot], None]] = {
    PLAIN: lambda _: None,
    "`Telemetry()`, the API alone: no provider is set": _without_a_provider,
    "an observer that does nothing": _idle,
    "`Telemetry()`, the SDK: metrics": _metrics,
    "`Telemetry()`, the SDK: metrics, and spans of a turn in a hundred": _sampled,
    "`Telemetry()`, the SDK: metrics, and spans of every turn": _all,
}


@asynccontextmanager
async def _opened(way: str) -> AsyncIterator[BarbackBot]:
    subject = BarbackBot(Job(store="memory"))
    WAYS[way](subject.bot)
    async with subject:
        yield subject


async def measured(rounds: int = ROUNDS, turns: int = TURNS) -> dict[str, list[float]]:
    """The CPU seconds of one turn, by the way it is observed: one of each round."""
    numbers = count(100_000)
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}

    async def take(subject: BarbackBot, turns: int) -> None:
        await subject.work(iter([(next(numbers), turn % PEOPLE) for turn in range(turns)]))

    async with AsyncExitStack() as stack:
        subjects = {way: await stack.enter_async_context(_opened(way)) for way in WAYS}
        for subject in subjects.values():
            await take(subject, SATURATING)
        ways = list(subjects)
        for _ in range(rounds):
            random.shuffle(ways)  # who comes after one that fills the caches is chance
            for way in ways:
                started = time.process_time()
                await take(subjects[way], turns)
                seconds[way].append((time.process_time() - started) / turns)
    return seconds


def _table(seconds: dict[str, list[float]]) -> str:
    plain = seconds[PLAIN]
    rows = []
    for way, each in seconds.items():
        # Of each round the difference, and of these the one in the middle.
        more = statistics.median(one / other - 1 for one, other in zip(each, plain, strict=True))
        rows.append(
            [
                way,
                f"{statistics.median(each) * 1e6:.2f}",
                "" if way == PLAIN else f"{more:+.1%}".replace("%", " %"),
            ]
        )
    where = f"Measured on {datetime.now(UTC).date()}: {processor()}, Python {python_version()}."
    heads = ["A turn in memory", "µs of CPU", "more"]
    return f"{where}\n\n{table(heads, rows)}"


def main() -> None:
    """Measure, and write it down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--show", action="store_true", help="print the table, and write nothing")
    options = parser.parse_args()
    made = _table(asyncio.run(measured(options.rounds)))
    print(made)
    if not options.show:
        write_tables(PAGE, {"telemetry": made})


if __name__ == "__main__":
    main()
