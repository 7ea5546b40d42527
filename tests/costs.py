"""What a turn costs, in things that are counted: the same on a quick machine and on a slow one.

The bot is the README's, as the benchmarks have it. Two people talk to it, one event after the
other, until their sessions remember as many events as they ever will; then turns are counted.
"""

from __future__ import annotations

import asyncio
import gc
import sys
from collections import Counter
from contextlib import ExitStack, contextmanager
from itertools import count
from typing import TYPE_CHECKING, TypeAlias

from barback import SQLiteSessionStore
from benchmarks.subjects.barback_bot import BarbackBot
from benchmarks.workload import Job
from tests.counters import CountingLoop, Profile, Statements, instructions, on_the_wire
from tests.every_store import with_options
from tests.relay import Relay, relayed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator, Iterator

    from barback import Bot

__all__ = ["SHARED", "Costs", "alone", "in_bytecode", "left_behind", "together"]

PEOPLE = 2
SATURATING = 40 * PEOPLE  # turns, until each session remembers as many as it will
BATCH = 2 * PEOPLE  # each asks once, and answers once
BATCHES = 20
MANY = 100 * PEOPLE
READINGS = 3
AT_ONCE = 64

Costs: TypeAlias = "dict[str, float]"

SHARED: dict[str, tuple[str, ...]] = {
    "file": ("to_threads", "from_threads", "fsyncs"),
    "sqlite": ("to_threads", "from_threads", "transactions", "durable"),
    "redis": ("trips", "writes", "commands"),
    "postgres": ("trips", "statements", "transactions"),
    "mongo": ("trips", "writes", "commands"),
}
"""What turns that meet have in common, by the store; in others they share nothing."""

numbers = count(100_000)  # of events, of as many digits whatever is counted


def alone(store: str, url: str, spoil: Callable[[Bot], None] | None = None) -> Costs:
    """What one turn costs, with no other beside it: by each count, the least of some batches.

    Now and then something else happens beside the turns, such as a timer that goes off: it can only
    add to a count, and not in every batch. `spoil` may do something to the bot beforehand.
    """
    with _opened(store, url, spoil) as counted:
        counted.run(SATURATING)
        batches = [counted.run(BATCH) for _ in range(BATCHES)]
    names = sorted(set().union(*batches))
    return {name: min(batch[name] for batch in batches) / BATCH for name in names}


def together(
    store: str, url: str, spoil: Callable[[Bot], None] | None = None
) -> Generator[Costs, None, None]:
    """What the turns of 64 people cost, all at once, time after time: what they can share."""
    with _opened(store, url, spoil) as counted:
        counted.run_at_once(AT_ONCE)
        while True:
            counts = counted.run_at_once(AT_ONCE)
            yield {name: counts[name] for name in SHARED[store]}


def left_behind(store: str, url: str, spoil: Callable[[Bot], None] | None = None) -> Costs:
    """What a turn leaves in memory: `blocks`, and `cycles`, objects that only the collector frees.

    Libraries fill caches, and empty them: the least of a few readings.
    """
    blocks, cycles = [], []
    with _opened(store, url, spoil, profiled=False) as counted:
        counted.run(SATURATING)
        for _ in range(READINGS):
            gc.collect()
            before = sys.getallocatedblocks()
            counted.run(MANY)
            cycles.append(gc.collect() / MANY)
            blocks.append((sys.getallocatedblocks() - before) / MANY)
    return {"blocks": min(blocks), "cycles": min(cycles)}


def in_bytecode(spoil: Callable[[Bot], None] | None = None) -> Costs:
    """The bytecode instructions of a turn in memory, function by function."""
    with _opened("memory", "", spoil, profiled=False) as counted:
        counted.run(SATURATING)
        with instructions() as counts:
            counted.run(BATCH)
    return {name: executed / BATCH for name, executed in counts.most_common()}


class _Counted:
    """A bot on a store, and everything that counts what its turns do."""

    def __init__(
        self,
        runner: asyncio.Runner,
        subject: BarbackBot,
        profile: Profile | None,
        relay: Relay | None,
    ) -> None:
        self._runner = runner
        self._subject = subject
        self._profile = profile
        self._relay = relay
        self._statements = Statements()
        store = subject.bot._store
        if isinstance(store, SQLiteSessionStore) and profile is not None:
            store._database._connection.set_trace_callback(self._statements)

    def run(self, turns: int) -> Counter[str]:
        """So many turns, one after the other; how often each thing was done."""
        return self._runner.run(self._run(turns))

    def run_at_once(self, people: int) -> Counter[str]:
        """A turn of each of so many people, at once."""
        return self._runner.run(self._run_at_once(people))

    async def _run(self, turns: int) -> Counter[str]:
        events = iter([(next(numbers), turn % PEOPLE) for turn in range(turns)])
        return await self._counted(self._subject.work(events))

    async def _run_at_once(self, people: int) -> Counter[str]:
        each = [self._subject.work(iter([(next(numbers), one)])) for one in range(people)]
        return await self._counted(asyncio.gather(*each))

    async def _counted(self, work: Awaitable[object]) -> Counter[str]:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, CountingLoop)
        loop.counts.clear()
        self._statements.counts.clear()
        if self._relay is not None:
            self._relay.clear()
        if self._profile is None:
            await work
            return Counter()
        with self._profile:
            await work
        counts = loop.counts + self._statements.counts + self._profile.counts
        if self._relay is not None:
            counts += on_the_wire(self._subject.job.store, self._relay)
        return counts


@contextmanager
def _opened(
    store: str, url: str, spoil: Callable[[Bot], None] | None = None, *, profiled: bool = True
) -> Iterator[_Counted]:
    """The README's bot on a store, reached through a relay if it is a server."""
    profile = Profile() if profiled else None
    with ExitStack() as stack:
        relay = None
        if store == "mongo":
            # It would leave the relay for the address that the server gives as its own, and ask
            # after its health now and then.
            url = with_options(url, directConnection="true", heartbeatFrequencyMS="600000")
        if "@" in url or "//" in url:
            url, relay = stack.enter_context(relayed(url))
        runner = stack.enter_context(asyncio.Runner(loop_factory=CountingLoop, debug=False))
        if profile is not None:
            stack.enter_context(profile.threads())
        subject = BarbackBot(Job(store=store, url=url))
        if spoil is not None:
            spoil(subject.bot)
        runner.run(subject.__aenter__())
        stack.callback(lambda: runner.run(subject.__aexit__()))
        stack.enter_context(_no_collector())
        yield _Counted(runner, subject, profile, relay)


@contextmanager
def _no_collector() -> Iterator[None]:
    """While inside, the garbage collector runs only when it is told to."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
