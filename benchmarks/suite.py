"""The whole: ours and theirs in turn, round after round."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from benchmarks import startup
from benchmarks.contenders import STORES, Contender, find, on_store
from benchmarks.node_peers import NoNode
from benchmarks.places import Places
from benchmarks.processes import Failed, run
from benchmarks.results import Kind, Results, Sample
from benchmarks.workload import Job

__all__ = ["FULL", "IN_FLIGHT", "PLUS_ONES", "QUICK", "SIZES", "Plan", "Task", "measure", "perform"]

IN_FLIGHT = (1, 64)
PLUS_ONES = 200
PROCESSES = 4
SIZES = (1, 10, 100)  # KB of state
PEOPLE = {"mongo": 200}  # a thousand would take that server minutes
FEW = 3  # rounds of what takes long, or hardly varies
STARTS = 5  # of a Python, in each round

STARTING: dict[str, Callable[[], float]] = {
    "start/python": startup.bare_python,
    "start/import": startup.import_barback,
    "start/reply": startup.first_reply,
}


@dataclass(frozen=True)
class Plan:
    """How long the whole may take: rounds, seconds of each measurement, and how many sessions."""

    rounds: int
    seconds: float
    warm_up: float
    sessions: tuple[int, ...]
    stores: tuple[str, ...] = STORES


FULL = Plan(rounds=5, seconds=2.0, warm_up=0.5, sessions=(1_000, 100_000, 1_000_000))
QUICK = Plan(rounds=1, seconds=0.5, warm_up=0.3, sessions=(1_000, 100_000))


@dataclass(frozen=True)
class Task:
    """One measurement of a contender; the job's place and events in flight are still to be set."""

    kind: Kind
    contender: Contender
    job: Job = field(default_factory=Job)


def measure(plan: Plan) -> Results:
    """Measure everything, and tell on standard error how far it has come."""
    results = Results()
    began = time.monotonic()

    def tell(number: int, what: str) -> None:
        minutes, seconds = divmod(int(time.monotonic() - began), 60)
        print(f"{minutes:3}:{seconds:02} {number + 1}/{plan.rounds} {what}", file=sys.stderr)

    with Places() as places:
        for number in range(plan.rounds):
            for task in _tasks(plan, number):
                tell(number, _words(task.kind))
                _try(places, task, results)
            for case, start in STARTING.items():
                tell(number, case)
                for _ in range(STARTS):
                    results.samples.append(Sample(Kind(case), seconds=start()))
    return results


def perform(places: Places, task: Task) -> Sample:
    """One measurement, in a place of its own. Raises `Failed` and `NoNode`."""
    job = replace(
        task.job,
        store=task.kind.case.partition("/")[0],
        in_flight=task.kind.in_flight,
        options=task.contender.options | task.job.options,
    )
    with places.fresh(job.store) as url:
        job = replace(job, url=url)
        if job.work == "count":
            return _plus_ones(task, job)
        (result,) = run(task.contender, [job])
    return Sample(
        task.kind,
        rate=result["events"] / result["seconds"],
        cpu=result["cpu"] / result["events"] * 1e6,
        bytes=result.get("bytes", 0.0),
    )


def _plus_ones(task: Task, job: Job) -> Sample:
    """Where processes can share the store, a quarter of them from each of four."""
    processes = 1 if job.store == "memory" else PROCESSES
    each = PLUS_ONES // processes
    jobs = [replace(job, events=each, first=number * each) for number in range(processes)]
    told = run(task.contender, jobs)
    if processes > 1:
        told += run(task.contender, [replace(job, events=0)])  # which only reads what came of it
    seconds = max(result["seconds"] for result in told)
    return Sample(task.kind, value=told[-1]["value"], seconds=seconds)


def _tasks(plan: Plan, number: int) -> Iterator[Task]:
    for store in plan.stores:
        job = Job(seconds=plan.seconds, warm_up=plan.warm_up, people=PEOPLE.get(store, 1000))
        zipf = replace(job, traffic="zipf")
        for in_flight in IN_FLIGHT:
            for contender in on_store(store):
                yield Task(Kind(f"{store}/{contender.name}", in_flight), contender, job)
                if contender.name == "barback" and in_flight > 1 and store in {"memory", "redis"}:
                    yield Task(Kind(f"{store}/barback", in_flight, "zipf"), contender, zipf)
        for contender in on_store(store) if number < FEW else ():
            if contender.counts:
                kind = Kind(f"{store}/{contender.name}", variant="+1")
                yield Task(kind, contender, Job(work="count"))
    if number < FEW and "memory" in plan.stores:
        yield from _in_memory(plan, number)


def _in_memory(plan: Plan, number: int) -> Iterator[Task]:
    """How cost grows with the number of sessions, and with the size of a state."""
    barback, floor = find("memory/barback"), find("memory/floor")
    # The largest takes so long that once must do.
    for people in plan.sessions if number == 0 else plan.sessions[:2]:
        growing = Job(people=people, seconds=plan.seconds, warm_up=0.01)
        yield Task(Kind("memory/barback", variant=f"{people} sessions"), barback, growing)
        if number == 0:
            weighed = Kind("memory/barback", variant=f"{people} weighed")
            yield Task(weighed, barback, replace(growing, work="weigh"))
    for size in SIZES:
        large = Job(people=100, seconds=plan.seconds, options={"kilobytes": size})
        for contender in barback, floor:
            yield Task(Kind(f"memory/{contender.name}", variant=f"{size} KB"), contender, large)


def _try(places: Places, task: Task, results: Results) -> None:
    """Measure, or note why there is no figure: one that fails does not keep others from it."""
    if task.contender.title in results.missing:
        return
    try:
        results.samples.append(perform(places, task))
    except NoNode as error:
        results.missing[task.contender.title] = str(error)
    except Failed as error:
        results.failures.append(f"{_words(task.kind)}: {error}")


def _words(kind: Kind) -> str:
    return f"{kind.case} {kind.variant or f'{kind.in_flight} in flight'}"
