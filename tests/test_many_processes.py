"""Several processes on one store: exact counts, events handled once, stopped holders refused."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import msgspec
import pytest

from barback import Bot, Lease
from barback.record import new_version
from tests.every_store import SHARED, own_url
from tests.many_processes_worker import Batch, Held, Report, store_at
from tests.scripted import state_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

WORKER = Path(__file__).with_name("many_processes_worker.py")
PROCESSES = 4
IDS = [f"{number}" for number in range(1_000)]  # of the events that are counted
TWICE = IDS[:100]  # of those that are delivered to two processes

# The Mongo-wire server of these tests is slow, and four processes and a server share a machine.
takes_long = pytest.mark.timeout(300)
every_store = pytest.mark.parametrize("store", SHARED)
needs_stopping = pytest.mark.skipif(os.name == "nt", reason="Windows cannot stop a process")


class Worker:
    """The program `many_processes_worker.py` as a process; it ends with its context."""

    def __init__(self, url: str, name: str, *, lease_term: float = 30.0) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(WORKER), name, url, str(lease_term)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def hear(self) -> str:
        """The next line it writes."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the process ended by itself"
        return line.strip()

    def tell(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def handle(self, batch: Batch) -> None:
        self.tell(msgspec.json.encode(batch).decode())

    def report(self) -> Report:
        return msgspec.json.decode(self.hear(), type=Report)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self.process:
            try:
                if kind is None:
                    self.process.communicate(timeout=60)  # the end of its input is its own
            finally:
                self.process.kill()
        if kind is None:
            assert self.process.returncode == 0


@contextmanager
def workers(url: str) -> Iterator[list[Worker]]:
    """Four processes that are ready to start."""
    with ExitStack() as stack:
        crowd = [stack.enter_context(Worker(url, f"worker{n}")) for n in range(PROCESSES)]
        assert [worker.hear() for worker in crowd] == ["ready"] * PROCESSES
        yield crowd


def shares_of(sessions: int, *, at_once: int, ids: list[str] = IDS) -> list[tuple[Batch, Batch]]:
    """The events, for so many sessions, each process with a quarter of each session's.

    A process's first batch it shares with others: each event of it is delivered to two.
    """
    shares = [
        (Batch([], at_once=at_once, tells_busy=True), Batch([], at_once=at_once))
        for _ in range(PROCESSES)
    ]
    for number, event_id in enumerate(ids):
        event = (f"user{number % sessions}", event_id)
        nth = number // sessions  # of its session
        if number < len(TWICE):
            shares[(nth + 1) % PROCESSES][0].events.append(event)
            shares[nth % PROCESSES][0].events.append(event)
        else:
            shares[nth % PROCESSES][1].events.append(event)
    return shares


async def count(url: str, shares: list[tuple[Batch, Batch]]) -> list[Report]:
    """Let the processes handle their shares, all at once.

    The first session that each asks for is held until all have found it busy: that they start
    together, and that each meets contention, is left to no chance.
    """
    with workers(url) as crowd:
        async with store_at(url) as store:
            lease = Lease(session_id="test:user0", token=f"{new_version()}", term=60.0)
            await store.checkout(lease.session_id, lease)
            for worker, (first, _) in zip(crowd, shares, strict=True):
                worker.handle(first)
            assert [worker.hear() for worker in crowd] == ["busy"] * PROCESSES
            await store.release(lease.session_id, lease)
        before = [worker.report() for worker in crowd]
        for worker, (_, second) in zip(crowd, shares, strict=True):
            worker.handle(second)
        return [worker.report() + first for worker, first in zip(crowd, before, strict=True)]


def all_of(reports: list[Report], outcome: str) -> list[str]:
    return sorted(event_id for report in reports for event_id in report.outcomes.get(outcome, []))


async def states(url: str, sessions: int) -> list[dict[str, Any]]:
    async with Bot(initial_state={"n": 0}, session_store=store_at(url)) as bot:
        return [await state_of(bot, f"test:user{number}") for number in range(sessions)]


def check_handled_once(reports: list[Report], ids: list[str] = IDS) -> None:
    assert [report.errors for report in reports] == [{}] * PROCESSES
    assert sorted(ids) == all_of(reports, "committed")
    assert sorted(TWICE) == all_of(reports, "duplicate")
    assert sorted(ids) == sorted(event_id for report in reports for event_id in report.handled)


def check_contention(
    reports: list[Report], tell: Callable[[str, object], None], store: str
) -> None:
    """Every process found sessions held by others; the longest that each waited is told."""
    assert all(report.busy for report in reports), [report.busy for report in reports]
    waits = ", ".join(f"{report.longest_wait:.3f}" for report in reports)
    told = f"{store}: longest waits {waits} s, busy {[report.busy for report in reports]} times"
    tell("longest waits", told)
    print(told)  # noqa: T201 - for whoever measures: pytest -rP


@takes_long
@every_store
async def test_a_thousand_increments_of_one_session_from_four_processes_are_a_thousand(
    store: str, request: pytest.FixtureRequest, tmp_path: Path, record_property: Any
) -> None:
    url = own_url(store, request, tmp_path)
    reports = await count(url, shares_of(1, at_once=1))
    check_handled_once(reports)
    assert [state["n"] for state in await states(url, 1)] == [1_000]
    check_contention(reports, record_property, store)


@takes_long
@every_store
async def test_fifty_increments_of_each_of_twenty_sessions_from_four_processes_are_fifty(
    store: str, request: pytest.FixtureRequest, tmp_path: Path, record_property: Any
) -> None:
    url = own_url(store, request, tmp_path)
    reports = await count(url, shares_of(20, at_once=5))
    check_handled_once(reports)
    assert [state["n"] for state in await states(url, 20)] == [50] * 20
    check_contention(reports, record_property, store)


@takes_long
@every_store
async def test_turns_handed_on_within_each_of_four_processes_are_counted_as_exactly(
    store: str, request: pytest.FixtureRequest, tmp_path: Path, record_property: Any
) -> None:
    url, ids = own_url(store, request, tmp_path), IDS[:300]
    reports = await count(url, shares_of(1, at_once=10, ids=ids))
    check_handled_once(reports, ids)
    assert [state["n"] for state in await states(url, 1)] == [300]
    check_contention(reports, record_property, store)


async def test_without_leases_that_processes_share_increments_are_lost(tmp_path: Path) -> None:
    url = f"unshared:{tmp_path}/sessions.db"
    with workers(url) as crowd:
        for worker, (_, share) in zip(crowd, shares_of(1, at_once=1), strict=True):
            worker.handle(share)
        reports = [worker.report() for worker in crowd]
    found = await states(url, 1)
    assert found[0]["n"] < len(all_of(reports, "committed"))


@needs_stopping
@pytest.mark.parametrize("known", [True, False], ids=["known", "new"])
@every_store
async def test_a_commit_of_a_holder_stopped_past_its_lease_is_refused(
    store: str, request: pytest.FixtureRequest, tmp_path: Path, *, known: bool
) -> None:
    url = own_url(store, request, tmp_path)
    await take_over_from_a_stopped_holder(url, "for a line", known=known)


@needs_stopping
@every_store
async def test_a_handler_of_a_holder_stopped_past_its_lease_is_ended(
    store: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    url = own_url(store, request, tmp_path)
    await take_over_from_a_stopped_holder(url, "for ever", known=True)


async def take_over_from_a_stopped_holder(url: str, held: Held, *, known: bool) -> None:
    before = int(known)
    with Worker(url, "first", lease_term=0.5) as first, Worker(url, "second") as second:
        assert [first.hear(), second.hear()] == ["ready", "ready"]
        if known:
            first.handle(Batch([("user0", "before")]))
            assert first.report().outcomes == {"committed": ["before"]}

        first.handle(Batch([("user0", "held")], held=held))
        assert first.hear() == "inside"
        first.process.send_signal(signal.SIGSTOP)
        second.handle(Batch([("user0", "taken over")]))
        taken_over = second.report()
        assert taken_over.outcomes == {"committed": ["taken over"]}
        assert taken_over.busy > 0
        assert [{"n": before + 1, "by": "second"}] == await states(url, 1)

        first.process.send_signal(signal.SIGCONT)
        if held == "for a line":
            first.tell("go on")
        refused = first.report()
        assert refused.errors == {"LeaseLost": ["held"]}
        assert refused.outcomes == {}
        assert [{"n": before + 1, "by": "second"}] == await states(url, 1)

        first.handle(Batch([("user0", "held")]))
        assert first.report().outcomes == {"committed": ["held"]}
        assert [{"n": before + 2, "by": "first"}] == await states(url, 1)
