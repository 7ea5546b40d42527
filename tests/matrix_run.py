"""A run of the fault matrix: two bots at work on one place, and the check of what they left."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections import Counter
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import msgspec

from barback.testing.history import (
    NEVER,
    Effect,
    HistoryError,
    TurnHistory,
    TurnRecord,
    check_history,
)
from tests.matrix_worker import (
    OUTAGES,
    REMEMBERED,
    Asked,
    Deliver,
    End,
    Left,
    Look,
    Report,
    Setup,
    Talk,
)
from tests.unmeasured import unmeasured

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from tests.matrix_worker import Order

__all__ = [
    "TERM",
    "USERS",
    "Process",
    "Run",
    "Struck",
    "check_left",
    "process",
    "refused",
    "start",
    "working",
]

T = TypeVar("T")

WORKER = Path(__file__).with_name("matrix_worker.py")
USERS = [f"user{number}" for number in range(6)]
TERM = 1.0  # seconds of a lease
ANSWERED = 90.0  # seconds within which an order must have been carried out
PROGRESS = 25  # turns that each worker is to end between two faults
TWICE = 20  # events of each user, the last ones, that are delivered again when all is over


class Struck(NamedTuple):
    """When a fault came, and when it was over; how many bots could not start meanwhile."""

    since: float
    until: float
    refused: int = 0


class Process:
    """One bot: `matrix_worker.py` as a process."""

    def __init__(self, setup: Setup, process: asyncio.subprocess.Process) -> None:
        self.setup = setup
        self.process = process

    @property
    def turns(self) -> Path:
        return Path(self.setup.folder) / f"{self.setup.name}.turns"

    def asked(self) -> list[Asked]:
        """What its store has been asked so far."""
        path = Path(self.setup.folder) / f"{self.setup.name}.asked"
        lines = path.read_bytes().splitlines() if path.exists() else []
        found = (msgspec.json.decode(line, type=Asked) for line in lines)
        return list({asked.number: asked for asked in found}.values())

    async def tell(self, order: Order) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(msgspec.json.encode(order) + b"\n")
        await self.process.stdin.drain()

    async def ask(self, order: Order, kind: type[T]) -> T:
        """Have an order carried out, and return its answer."""
        await self.tell(order)
        return msgspec.json.decode(await self.hear(), type=kind)

    async def hear(self) -> bytes:
        assert self.process.stdout is not None
        async with asyncio.timeout(ANSWERED):
            line = await self.process.stdout.readline()
        if not line:
            log = Path(self.setup.folder) / f"{self.setup.name}.log"
            message = f"{self.setup.name} ended by itself:\n{log.read_text()[-2000:]}"
            raise AssertionError(message)
        return line

    def stop(self) -> None:
        """SIGSTOP, and it is stopped."""
        os.kill(self.process.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        os.kill(self.process.pid, signal.SIGCONT)


async def start(setup: Setup) -> Process:
    """A process that is to be a bot, and will say when it is ready."""
    with (Path(setup.folder) / f"{setup.name}.log").open("ab") as log:
        started = await asyncio.create_subprocess_exec(
            *(sys.executable, str(WORKER), msgspec.json.encode(setup).decode()),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
            limit=1 << 24,
            env=unmeasured(),  # a bot whose user has become nobody could write down no coverage
        )
    return Process(setup, started)


async def refused(setup: Setup) -> bool:
    """Whether a bot cannot start now, and says that its store is not to be had."""
    one = await start(setup)
    told, _ = await one.process.communicate()  # the end of its input is its own
    if told == b"ready\n":
        return False
    log = (Path(setup.folder) / f"{setup.name}.log").read_text()
    assert log.splitlines()[-1].startswith("SessionStoreUnavailable: "), log
    return True


@asynccontextmanager
async def process(setup: Setup) -> AsyncIterator[Process]:
    """A bot that runs; it ends with the context."""
    one = await start(setup)
    started = one.process
    try:
        assert await one.hear() == b"ready\n"
        yield one
        assert started.stdin is not None
        started.stdin.close()  # the end of its input is its own
        async with asyncio.timeout(ANSWERED):
            assert await started.wait() == 0
    finally:
        if started.returncode is None:
            started.kill()
            await started.wait()


class Run:
    """Bots at work, and the faults that have struck them."""

    def __init__(self, workers: list[Process]) -> None:
        self.workers = workers
        self.struck: list[Struck] = []

    async def progress(self) -> None:
        """Until each bot has ended some more turns, whatever has become of them."""
        before = [self._ended(worker) for worker in self.workers]
        async with asyncio.timeout(ANSWERED):
            for worker, ended in zip(self.workers, before, strict=True):
                while self._ended(worker) < ended + PROGRESS:
                    await asyncio.sleep(0.005)

    def turns(self) -> list[TurnRecord]:
        return TurnHistory.load(*(worker.turns for worker in self.workers))

    def asked(self) -> list[Asked]:
        return [asked for worker in self.workers for asked in worker.asked()]

    @staticmethod
    def _ended(worker: Process) -> int:
        return worker.turns.read_bytes().count(b'"ended"') if worker.turns.exists() else 0

    # What faults hit, by when the operations and the turns were under way.

    def failed_under_way(self, struck: Struck) -> int:
        """Operations that had been asked for when it came, and failed; or had surely been sent."""
        return self.commits_unheard(struck) + sum(
            asked.asked < struck.since < asked.ended
            and asked.error in OUTAGES
            and asked.error != "CommitUnknown"
            for asked in self.asked()
        )

    def failed_or_outlasted(self, struck: Struck) -> int:
        """Operations that failed meanwhile, or were under way from before it until after it."""
        return self.failed_meanwhile(struck) + sum(
            asked.asked < struck.since and struck.until <= asked.ended and not asked.error
            for asked in self.asked()
        )

    def failed_meanwhile(self, struck: Struck) -> int:
        """Operations that were asked for before it was over, and failed after it came."""
        return sum(
            asked.asked < struck.until and struck.since < asked.ended and asked.error in OUTAGES
            for asked in self.asked()
        )

    def failed_or_refused(self, struck: Struck) -> int:
        """Operations that failed meanwhile, and bots that could not start."""
        return self.failed_meanwhile(struck) + struck.refused

    def commits_unheard(self, struck: Struck) -> int:
        """Commits that were sent while it was, and whose answers did not come."""
        return sum(
            asked.asked < struck.until
            and struck.since < asked.ended
            and asked.error == "CommitUnknown"
            for asked in self.asked()
        )

    def unheard(self) -> int:
        """Commits that were sent and not answered, in all."""
        return sum(asked.error == "CommitUnknown" for asked in self.asked())

    def turns_under_way(self, struck: Struck) -> int:
        """Turns whose handler had begun when it came, and which had not ended when it was over."""
        return sum(
            turn.ran and turn.began < struck.since and turn.ended >= struck.until
            for turn in self.turns()
        )

    def turns_overtaken(self, struck: Struck) -> int:
        """Those of them that had lost their session to another by then.

        Nobody takes over from a bot that is alone: of its turns, all.
        """
        if len(self.workers) == 1:
            return self.turns_under_way(struck)
        return sum(
            turn.ran
            and turn.began < struck.since
            and struck.until <= turn.ended < NEVER
            and turn.effect is Effect.NONE
            for turn in self.turns()
        )


@asynccontextmanager
async def working(setups: list[Setup]) -> AsyncIterator[Run]:
    """Bots that handle everybody's events, both the same ones, until the context ends."""
    async with process(setups[0]) as first:
        if len(setups) == 1:
            yield Run([first])
            return
        async with process(setups[1]) as second:
            yield Run([first, second])


async def end(run: Run) -> list[Report]:
    """Let all that was begun be done, however often it has to be delivered."""
    return [await worker.ask(End(), Report) for worker in run.workers]


async def begin(run: Run) -> None:
    for worker in run.workers:
        await worker.tell(Talk(USERS))


async def check_run(
    run: Run, reports: list[Report], last: Process, *, may_lose: bool
) -> tuple[Counter[str], int]:
    """Check what is left once all has been done; what was told, and what was lost of it.

    `last` is a bot that had no part in it, or, where there is no other, the one that had.
    """
    left = await last.ask(Look(USERS), list[Left])  # and every lease is free by now
    events = {
        user: list(dict.fromkeys(each for report in reports for each in report.events[user]))
        for user in USERS
    }
    some = 0 if may_lose else -TWICE  # what was lost is to be done again
    again = [(user, each) for user in USERS for each in events[user][some:]]
    ended = await last.ask(Deliver(again), Report)
    wrong = [each for report in (*reports, ended) for each in report.wrong]
    assert not wrong, wrong
    after = await last.ask(Look(USERS), list[Left])
    if not may_lose:
        assert left == after, "events that had been done were done again"
    counts = Counter({user: len(each) for user, each in events.items()})
    assert max(counts.values()) < REMEMBERED, "a session has not remembered all of its events"
    turns = TurnHistory.load(*{worker.turns for worker in (*run.workers, last)})
    lost = check_left(turns, after, counts, may_lose=may_lose)
    told: Counter[str] = Counter()
    for report in reports:
        told.update(report.told)
    return told, lost


def check_left(
    turns: list[TurnRecord],
    left: Iterable[Left],
    events: Counter[str],
    *,
    may_lose: bool = False,
) -> int:
    """Check what was told against what is left, where each event has been done in the end.

    Where a failover `may_lose` what was told to be done, how many turns it has lost is returned;
    that nothing was done twice or by halves is checked all the same.
    """
    found = {f"test:{each.user}": each for each in left}
    if may_lose:
        turns, lost = without_promises(turns, found)
    else:
        lost = 0
    check_history(turns, {session: each.mark for session, each in found.items()})
    for session, each in found.items():
        if each.n != events[each.user]:
            message = f"{session}: it counts {each.n}, and had {events[each.user]} events."
            raise HistoryError(message)
        if each.n > 1 and each.born != each.created:
            message = f"{session}: it was made anew."
            raise HistoryError(message)
    return lost


def without_promises(
    turns: list[TurnRecord], found: dict[str, Left]
) -> tuple[list[TurnRecord], int]:
    """The turns as if nobody had been told what is done; and how many were, and are lost."""
    by_mark = {turn.mark: turn for turn in turns}
    effective = set()
    for each in found.values():
        mark = each.mark
        while mark is not None and mark in by_mark and mark not in effective:
            effective.add(mark)
            mark = by_mark[mark].read
    lost = sum(turn.effect is Effect.DONE and turn.mark not in effective for turn in turns)
    changed: dict[str, Any] = {"effect": Effect.UNKNOWN, "ended": float("inf")}
    kept = [turn for turn in turns if turn.effect is not Effect.SEEN]
    return [
        msgspec.structs.replace(turn, **changed) if turn.effect is Effect.DONE else turn
        for turn in kept
    ], lost


def now() -> float:
    return time.monotonic()
