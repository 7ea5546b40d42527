"""Processes that are killed at every point of a turn: what they leave, and who is found by it."""

from __future__ import annotations

import asyncio
import os
import re
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import ClassVar

import msgspec
import pytest

from barback import (
    BarbackError,
    Bot,
    ConfigurationError,
    Context,
    Event,
    Outcome,
    Record,
    SessionStore,
    SessionUnreadable,
    User,
)
from barback.stores.local import leased
from barback.stores.url import open_store
from barback.testing import Crash, CrashPoints, CrashRunError, crash_at, crashes
from barback.testing.contract_tools import record_of
from tests.every_store import SHARED, own_url

TERM = 0.5  # seconds of a lease
NAMES = ["before", "after"]

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")


def event_of(user: str) -> Event:
    return Event(channel="test", user=User(user), id="1")


def bot_at(url: str) -> Bot:
    bot = Bot(initial_state={"n": 0, "text": ""}, session_store=leased(open_store(url)))
    bot._rules = msgspec.structs.replace(bot._rules, lease_term=TERM)

    @bot.on_event
    async def plus_one(context: Context) -> None:
        n = context.state["n"]
        await asyncio.sleep(0)
        context.set_state(n=n + 1, text="x" * 1000)

    return bot


# A turn, on every store.


async def one_turn(url: str, points: CrashPoints) -> None:
    async with bot_at(url) as bot:
        with points:
            await bot.handle(event_of(f"user{points.nth}"))


async def counted(url: str) -> dict[str, int]:
    """The sessions there are, each whole, and what they count."""
    async with leased(open_store(url)) as store:
        found = [record async for record in store.all()]
    states = {record.id: msgspec.json.decode(record.state) for record in found}
    assert {len(state["text"]) for state in states.values()} <= {1000}
    return {session_id: state["n"] for session_id, state in states.items()}


async def deliver_again(url: str, users: list[str]) -> list[Outcome]:
    """As the platform does, of which nothing was heard: each lease ends by itself."""
    async with bot_at(url) as bot:
        return await asyncio.gather(*(bot.handle(event_of(user)) for user in users))


@pytest.mark.parametrize("store", SHARED)
def test_a_bot_killed_at_every_await_and_store_call_leaves_a_turn_done_or_not(
    store: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    url = own_url(store, request, tmp_path)
    open_store(url)  # imports its driver, once for all of them
    every = 9 if store == "mongodb" else 1  # PyMongo has hundreds of coroutines in a turn
    dead = list(crashes(partial(one_turn, url), every=every))
    users = [f"user{crash.nth}" for crash in dead]
    assert len(users) > 10
    done = {session.removeprefix("test:"): n for session, n in asyncio.run(counted(url)).items()}
    assert {*done.values()} == {1}
    before, after = {*users} - done.keys(), {*users} & done.keys()
    assert before, "none died before its commit: that shows nothing"
    assert after, "none died after its commit: that shows nothing"
    outcomes = asyncio.run(deliver_again(url, users))
    assert outcomes == [
        Outcome.COMMITTED if user in before else Outcome.DUPLICATE for user in users
    ]
    assert {*asyncio.run(counted(url)).values()} == {1}


# Drivers of one's own, and what is wrong with them.


class OneFile(SessionStore):
    """Nothing is wrong with it: a record is written aside, and put in place in one step."""

    name: ClassVar[str] = "one file"

    def __init__(self, path: Path) -> None:
        self.path = path

    async def init(self) -> OneFile:
        return self

    async def read(self, session_id: str) -> Record | None:
        if not self.path.exists():
            return None
        return Record.decode(self.path.read_bytes(), session_id=session_id, store=self.name)

    async def write(self, session_id: str, record: Record) -> None:
        aside = self.path.with_suffix(".aside")
        aside.write_bytes(record.encode())
        await asyncio.sleep(0)
        aside.replace(self.path)

    async def destroy(self, session_id: str) -> None:
        self.path.unlink(missing_ok=True)


class TwoHalves(OneFile):
    """It lets others have their turn between two halves of a record."""

    async def write(self, session_id: str, record: Record) -> None:
        data = record.encode()
        with self.path.open("wb", buffering=0) as file:
            file.write(data[:50])
            await asyncio.sleep(0)
            file.write(data[50:])


class TwoLines(OneFile):
    """It writes in two halves as well, but in one go."""

    async def write(self, session_id: str, record: Record) -> None:
        data = record.encode()
        with self.path.open("wb", buffering=0) as file:
            file.write(data[:50])
            file.write(data[50:])


async def rename(store: OneFile, points: CrashPoints) -> None:
    await store.destroy("test:tim")
    async with Bot(initial_state={"name": "", "text": ""}, session_store=store) as bot:
        async with bot.conversation("test:tim") as context:
            context.set_state(name=NAMES[0], text="x")
        with points:
            async with bot.conversation("test:tim") as context:
                context.set_state(name=NAMES[1])


async def write_over(store: OneFile, points: CrashPoints) -> None:
    """The driver alone, without a bot."""
    before, after = (record_of("test:tim", {"name": name}) for name in NAMES)
    await store.write("test:tim", before)
    with points:
        await store.write("test:tim", after)


def left_by(store: OneFile, crash: Crash) -> str:
    try:
        record = asyncio.run(store.read("test:tim"))
    except SessionUnreadable:
        return f"broken at {crash.where}"
    assert record is not None
    name: str = msgspec.json.decode(record.state)["name"]
    return name


def test_a_driver_that_writes_in_one_step_leaves_one_or_the_other(tmp_path: Path) -> None:
    store = OneFile(tmp_path / "tim.json")
    here = sys.modules[__name__]
    for points in (
        crashes(partial(rename, store)),
        crashes(partial(write_over, store), at=["lines"], of=[here]),
    ):
        left = [left_by(store, crash) for crash in points]
        assert left == sorted(left, key=NAMES.index)
        assert {*left} == {*NAMES}


def test_a_driver_that_writes_in_two_halves_is_found(tmp_path: Path) -> None:
    store = TwoHalves(tmp_path / "tim.json")
    broken = {left_by(store, crash) for crash in crashes(partial(rename, store))} - {*NAMES}
    assert broken
    assert any("a store's method ends or waits: TwoHalves.write" in where for where in broken)


def test_two_halves_with_no_await_between_are_found_by_the_lines_of_the_driver(
    tmp_path: Path,
) -> None:
    store = TwoLines(tmp_path / "tim.json")
    assert {left_by(store, crash) for crash in crashes(partial(rename, store))} == {*NAMES}
    by_lines = crashes(partial(write_over, store), at=["lines"], of=[Path(__file__)])
    broken = {left_by(store, crash) for crash in by_lines} - {*NAMES}
    # At the second write, and, as `open` has emptied the file, at the first.
    assert len(broken) == 2
    where = re.compile(r"a line: TwoLines\.write, .*test_crashing\.py:\d+, in write_over,")
    assert all(map(where.search, broken))


# What is told of a run.


async def three_naps(points: CrashPoints, end: Callable[[], None]) -> None:
    await asyncio.sleep(0)
    with points:
        for _ in range(3):
            await asyncio.sleep(0)
    await asyncio.sleep(0)
    end()


def test_points_are_counted_and_each_is_died_at_once(tmp_path: Path) -> None:
    ended = tmp_path / "ended"
    run = partial(three_naps, end=ended.touch)
    counted = crash_at(run, 0, at=["awaits"])
    # Each nap begins, and then it goes on; so does who awaits it, and is awaited itself.
    assert counted == (0, False, 12, "")
    ended.unlink()
    dead = [crash_at(run, nth, at=["awaits"]) for nth in range(1, 13)]
    assert [(crash.nth, crash.died, crash.points) for crash in dead] == [
        (nth, True, nth) for nth in range(1, 13)
    ]
    assert all("a coroutine begins or goes on: " in crash.where for crash in dead)
    assert not ended.exists()
    assert crash_at(run, 13, at=["awaits"]) == (13, False, 12, "")
    some = crashes(run, at=["awaits"], every=5)
    assert [crash.nth for crash in some] == [1, 6, 11]


def in_a_thread(points: CrashPoints) -> None:
    with points:
        thread = threading.Thread(target=in_the_thread)
        thread.start()
        thread.join()


def in_the_thread() -> None:
    pass


def test_a_line_may_be_in_any_thread_and_the_run_need_not_be_asynchronous() -> None:
    dead = list(crashes(in_a_thread, at=["lines"], of=[__file__]))
    assert any("in_the_thread" in crash.where for crash in dead)


def test_a_run_that_fails_by_itself_is_told_as_it_was() -> None:
    def fail(points: CrashPoints) -> None:
        message = "on purpose"
        raise ValueError(message)

    with pytest.raises(CrashRunError, match=r"(?s)failed by itself.*in fail.*on purpose"):
        crash_at(fail, 1)


def test_a_run_that_ends_of_something_else_is_told() -> None:
    def end(points: CrashPoints) -> None:
        os._exit(3)

    with pytest.raises(CrashRunError, match="ended of something else"):
        crash_at(end, 1)


def test_a_run_that_hangs_is_ended() -> None:
    def wait(points: CrashPoints) -> None:
        threading.Event().wait()

    began = time.monotonic()
    with pytest.raises(CrashRunError, match=r"had not ended after 0\.2 seconds"):
        crash_at(wait, 1, within=0.2)
    assert time.monotonic() - began < 10


def test_a_run_without_a_point_shows_nothing() -> None:
    with pytest.raises(CrashRunError, match="inside `with points:`"):
        list(crashes(lambda points: None))


async def test_inside_an_event_loop_it_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="An event loop runs here"):
        crash_at(lambda points: None, 0)


@pytest.mark.parametrize("wrong", [{"at": ["await"]}, {"at": []}, {"every": 0}])
def test_what_makes_no_points_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(BarbackError):
        list(crashes(lambda points: None, **wrong))  # type: ignore[arg-type]
