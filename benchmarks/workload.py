"""What every subject in Python does around its bot; node/workload.mjs is the same in Node.

A subject's process opens its bot, prints "ready", waits for a line, measures, and prints one line
of JSON. Peers run it in an environment of their own: it needs nothing but the standard library.
"""

from __future__ import annotations

import asyncio
import cProfile
import json
import pstats
import random
import resource
import sys
import time
import tracemalloc
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import cycle, islice
from typing import Any, Literal, Self

ORDER = {"item": "tea", "count": 2, "price": 3.5, "notes": ["no sugar", "with milk"], "paid": True}
FIRST = 100_000  # the id of the first person
CHECKED = 100_000  # people whose states are looked at afterwards, at most
ZIPF_PERIOD = 1 << 16  # how many events until Zipf traffic repeats itself

Events = Iterator[tuple[int, int]]
"""Numbers of events, each with the number of the person it is from; workers share one."""


@dataclass(frozen=True)
class Job:
    """What a subject is to do.

    - `work`: "nickname" is the bot of the README; "count" adds one, `events` times at once, for
      one person; "weigh" gives each person a session, and tells how much memory that takes.
    - `url`: where the store is: a URL, a folder or a file.
    - `first`: the number of the first event; ids of events are made of it.
    - `seconds`, `warm_up`: how long to measure, and how long to run before that.
    - `options`: a contender's own, and `kilobytes`: what each state holds beside the nickname.
    """

    work: Literal["nickname", "count", "weigh"] = "nickname"
    store: str = "memory"
    url: str = ""
    in_flight: int = 1
    people: int = 1000
    traffic: Literal["even", "zipf"] = "even"
    seconds: float = 2.0
    warm_up: float = 0.5
    events: int = 50
    first: int = 0
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def initial(self) -> dict[str, Any]:
        """A new session's state."""
        if self.work == "count":
            return {"n": 0}
        state: dict[str, Any] = {"asking": False, "nickname": None}
        if kilobytes := self.options.get("kilobytes"):
            state["orders"] = [ORDER] * (1000 * kilobytes // len(json.dumps(ORDER)))
        return state


class Subject(ABC):
    """A bot to be measured."""

    replies = 0  # how many times it spoke

    def __init__(self, job: Job) -> None:
        self.job = job

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:  # noqa: B027 - not every subject opens something
        pass

    @abstractmethod
    async def work(self, events: Events) -> None:
        """Settle event after event until there are no more."""

    @abstractmethod
    async def state(self, person: int) -> dict[str, Any]:
        """The person's state as it rests."""


class Handler(Subject):
    """A subject that settles one event at a time by a coroutine."""

    @abstractmethod
    async def handle(self, n: int, person: int) -> None:
        """Settle event number `n`."""

    async def work(self, events: Events) -> None:
        """See `Subject.work`."""
        handle = self.handle
        for n, person in events:
            await handle(n, person)


def update(n: int, person: int) -> dict[str, Any]:
    """Event number `n` as Telegram sends it."""
    whose = FIRST + person
    return {
        "update_id": n,
        "message": {
            "message_id": n,
            "date": 1700000000,
            "chat": {"id": whose, "type": "private", "first_name": "Tim"},
            "from": {"id": whose, "is_bot": False, "first_name": "Tim"},
            "text": f"name{n}",
        },
    }


def main(subject: Callable[[Job], Subject]) -> None:
    """Be the process of a subject: the job is the first argument."""
    job = Job(**json.loads(sys.argv[1]))
    factory = None
    if job.options.get("uvloop"):
        import uvloop  # noqa: PLC0415 - only where it is asked for

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        result = runner.run(_measured(job, subject))
    print(json.dumps(result), flush=True)


async def _measured(job: Job, subject: Callable[[Job], Subject]) -> dict[str, Any]:
    async with subject(job) as opened:
        if job.work == "count":
            return await _count(job, opened)
        if job.work == "weigh":
            return await _weigh(job, opened)
        return await _nicknames(job, opened)


async def _nicknames(job: Job, subject: Subject) -> dict[str, Any]:
    people = list(range(job.people))
    if job.traffic == "zipf":
        chances = [1 / (rank + 1) for rank in people]
        people = random.Random(1).choices(people, chances, k=ZIPF_PERIOD)  # noqa: S311
    run = Runs(subject, people, job.in_flight)
    go()
    left, rate = job.warm_up, 0.0
    while left > 0:
        seconds = await run(job.people)
        rate = job.people / seconds
        left -= seconds
    events = max(1, round(rate * job.seconds / job.people)) * job.people
    cpu = cpu_seconds()
    with profiled(wanted=bool(job.options.get("profile"))):
        seconds = await run(events)
    cpu = cpu_seconds() - cpu
    wrong = await _wrong(subject, people, run.done) + (subject.replies != run.done)
    return {"events": events, "seconds": seconds, "cpu": cpu, "wrong": wrong}


async def _weigh(job: Job, subject: Subject) -> dict[str, Any]:
    go()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    run = Runs(subject, list(range(job.people)), job.in_flight)
    seconds = await run(job.people)
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    each = (after - before) / job.people
    return {"events": job.people, "seconds": seconds, "cpu": 0.0, "bytes": each}


class Runs:
    """Lets a subject settle the next so many events, with a fixed number in flight."""

    def __init__(self, subject: Subject, people: list[int], in_flight: int) -> None:
        self.subject = subject
        self.people = cycle(people)
        self.in_flight = in_flight
        self.done = 0

    async def __call__(self, count: int) -> float:
        """Settle them; returns the seconds it took."""
        numbers = range(self.done, self.done + count)
        events = zip(numbers, islice(self.people, count), strict=True)
        self.done += count
        started = time.perf_counter()
        if self.in_flight == 1:
            await self.subject.work(events)
        else:
            async with asyncio.TaskGroup() as group:
                for _ in range(self.in_flight):
                    group.create_task(self.subject.work(events))
        return time.perf_counter() - started


async def _wrong(subject: Subject, people: list[int], done: int) -> int:
    """How many people's states are not what the nickname bot makes of the events."""
    # Of very many people, some: reading takes longer than measuring did.
    every = max(1, len(people) // CHECKED)
    expected: dict[int, dict[str, Any]] = {}
    for n, person in zip(range(done), cycle(people), strict=False):
        state = expected.setdefault(person, {"asking": False, "nickname": None})
        if state["asking"]:
            state["nickname"] = f"name{n}"
        state["asking"] = not state["asking"]
    wrong = 0
    for person in list(expected)[::every]:
        found, state = await subject.state(person), expected[person]
        wrong += {name: found.get(name) for name in state} != state
    return wrong


async def _count(job: Job, subject: Subject) -> dict[str, Any]:
    go()
    cpu, started = cpu_seconds(), time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for n in range(job.events):
            group.create_task(subject.work(iter([(job.first + n, 0)])))
    seconds = time.perf_counter() - started
    cpu = cpu_seconds() - cpu
    value = (await subject.state(0)).get("n", 0)
    return {"events": job.events, "seconds": seconds, "cpu": cpu, "value": value}


def go() -> None:
    """Say that all is open, and wait for the word to start; end with who was to say it."""
    print("ready", flush=True)
    if not sys.stdin.readline():
        sys.exit("Nobody is there to measure for.")


def cpu_seconds() -> float:
    """What this process has used so far, its threads included."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


@contextmanager
def profiled(*, wanted: bool) -> Iterator[None]:
    """While inside, watch what takes the time, and tell on standard error."""
    if not wanted:
        yield
        return
    profile = cProfile.Profile()
    profile.enable()
    try:
        yield
    finally:
        profile.disable()
        pstats.Stats(profile, stream=sys.stderr).sort_stats("tottime").print_stats(40)
