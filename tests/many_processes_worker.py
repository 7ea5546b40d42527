"""A bot as a process of its own, which counts the events it is told of.

`python many_processes_worker.py NAME URL LEASE_TERM` writes "ready" when the bot runs. Then each
line it reads is a batch of events, as JSON; what became of them it writes as a line of JSON.
Meanwhile it may write "busy", when it first finds a session in another process's turn, and
"inside", in a handler that is to be held.
"""

from __future__ import annotations

import asyncio
import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from barback import (
    BarbackError,
    Bot,
    Context,
    Event,
    Lease,
    LeasedStore,
    LocalLeases,
    Record,
    SessionBusy,
    User,
    open_store,
)
from barback.stores.local import leased

if TYPE_CHECKING:
    from collections.abc import Iterator

THINKING = 0.001  # seconds: a handler takes its time, and other processes find the session busy
REMEMBERED = 128  # ids of events: more than are delivered to two processes
EXAMPLE = Path(__file__).parent.parent / "examples" / "custom_store.py"


Held = Literal["no", "for a line", "for ever"]


class Batch(msgspec.Struct):
    """Events to handle, each a user's id and an id of its own, so many of them `at_once`.

    `held`: each handler says "inside", and waits: "for a line", blocking the event loop, or, in
    good order, "for ever".
    `tells_busy`: the process says so when it first finds a session busy.
    """

    events: list[tuple[str, str]]
    at_once: int = 1
    held: Held = "no"
    tells_busy: bool = False


class Report(msgspec.Struct):
    """What became of a batch: ids of events by their outcome, and by the error of the others.

    `handled`: the ids for which the handler ran, in order. `busy`: how often a checkout found the
    session in another process's turn. `longest_wait`: seconds from a turn's first checkout to the
    one that succeeded.
    """

    outcomes: dict[str, list[str]] = {}
    errors: dict[str, list[str]] = {}
    handled: list[str] = []
    busy: int = 0
    longest_wait: float = 0.0

    def __add__(self, other: Report) -> Report:
        return Report(
            outcomes=_joined(self.outcomes, other.outcomes),
            errors=_joined(self.errors, other.errors),
            handled=self.handled + other.handled,
            busy=self.busy + other.busy,
            longest_wait=max(self.longest_wait, other.longest_wait),
        )


def _joined(one: dict[str, list[str]], other: dict[str, list[str]]) -> dict[str, list[str]]:
    return {key: one.get(key, []) + other.get(key, []) for key in one | other}


class Worker:
    def __init__(self, name: str, store: LeasedStore, lease_term: float) -> None:
        self.name = name
        self.batch = Batch([])
        self.report = Report()
        self.bot = Bot(
            initial_state={"n": 0, "by": None}, session_store=store, dedupe_limit=REMEMBERED
        )
        self.bot._rules = msgspec.structs.replace(self.bot._rules, lease_term=lease_term)
        self.bot.on_event(self.count)
        self.watch(store)

    async def count(self, context: Context) -> None:
        assert context.event.id is not None
        self.report.handled.append(context.event.id)
        n = context.state["n"]
        if self.batch.held == "no":
            await asyncio.sleep(THINKING)
        else:
            say("inside")
            if self.batch.held == "for a line":
                sys.stdin.readline()
            else:
                await asyncio.get_running_loop().create_future()
        context.set_state(n=n + 1, by=self.name)

    def watch(self, store: LeasedStore) -> None:
        """Measure how long turns wait for sessions that other processes hold."""
        checkout = store.checkout
        asked_at: dict[str, float] = {}

        async def watched(session_id: str, lease: Lease) -> Record | None:
            now = asyncio.get_running_loop().time
            since = asked_at.setdefault(lease.token, now())
            try:
                record = await checkout(session_id, lease)
            except SessionBusy:
                self.report.busy += 1
                if self.batch.tells_busy and self.report.busy == 1:
                    say("busy")
                raise
            self.report.longest_wait = max(self.report.longest_wait, now() - since)
            del asked_at[lease.token]
            return record

        store.checkout = watched  # type: ignore[method-assign]

    async def serve(self) -> None:
        async with self.bot:
            say("ready")
            while line := await asyncio.to_thread(sys.stdin.readline):
                self.batch = msgspec.json.decode(line, type=Batch)
                self.report = Report()
                events = iter(self.batch.events)
                async with asyncio.TaskGroup() as group:
                    for _ in range(self.batch.at_once):
                        group.create_task(self.handle(events))
                say(msgspec.json.encode(self.report).decode())

    async def handle(self, events: Iterator[tuple[str, str]]) -> None:
        for user, event_id in events:
            event = Event(channel="test", user=User(user), id=event_id)
            try:
                outcome = await self.bot.handle(event)
            except BarbackError as error:
                self.report.errors.setdefault(type(error).__name__, []).append(event_id)
            else:
                self.report.outcomes.setdefault(outcome, []).append(event_id)


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def store_at(url: str) -> LeasedStore:
    if not url.startswith("unshared:"):
        return leased(open_store(url))
    # What no store of ours may be: its file is shared, and who holds a session is not.
    spec = importlib.util.spec_from_file_location("custom_store", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return LocalLeases(module.TableStore(url.removeprefix("unshared:")))


def main(name: str, url: str, lease_term: str) -> None:
    asyncio.run(Worker(name, store_at(url), float(lease_term)).serve())


if __name__ == "__main__":
    main(*sys.argv[1:])
