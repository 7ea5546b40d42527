"""A store, and a bot, outlive the event loop that they were opened on, and the process that forked.

What was opened there and not closed is of no use elsewhere; each loop, and each process, opens it
for itself, and closes what it has opened.
"""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import pytest

from barback import Outcome
from barback.stores.base import LeasedStore
from barback.stores.url import open_store
from barback.testing.contract_tools import TIM, lease_on, peek, put
from tests.every_store import SHARED, own_url
from tests.scripted import counting_bot, event

FORKABLE = [store for store in SHARED if store != "sqlite"]
"""SQLite's own locks do not bear a fork: its store refuses, as its tests show."""

FORKED = """\
import asyncio, os, sys

from barback import Bot, Event, User
from barback.stores.url import open_store
from barback.testing.contract_tools import peek

store = open_store(sys.argv[1])


async def count(n):
    bot = Bot(session_store=store, initial_state={"n": 0})

    @bot.on_event
    async def plus_one(context):
        context.set_state(n=context.state["n"] + 1)

    async with bot:
        for _ in range(n):
            await bot.handle(Event(channel="test", user=User("tim")))


async def in_parent():
    async with store:
        await count(20)
        child = os.fork()
        if child == 0:  # it leaves by `_exit`, as multiprocessing does: the loop is its parent's
            code = 1
            try:
                asyncio.run(count(20))
                code = 0
            finally:
                os._exit(code)
        await count(20)
        _, status = await asyncio.to_thread(os.waitpid, child, 0)
        assert status == 0, status
        await count(20)
        print((await peek(store)).state.decode())


asyncio.run(in_parent())
"""


@pytest.mark.parametrize("store", SHARED)
def test_a_store_that_one_loop_left_open_is_opened_by_the_next(
    store: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    opened = open_store(own_url(store, request, tmp_path))
    assert isinstance(opened, LeasedStore)
    bot = counting_bot(session_store=opened)

    async def leave_open() -> None:
        await opened.acquire()
        await put(opened, state={"n": 1})

    async def go_on() -> None:
        async with asyncio.timeout(20), bot:
            assert await bot.handle(event("tim")) is Outcome.COMMITTED

    async def read() -> bytes:
        async with asyncio.timeout(20), opened:
            record = await peek(opened, TIM)
            assert record is not None
            return record.state

    asyncio.run(leave_open())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # connections of a loop that has ended
        asyncio.run(go_on())
        state = asyncio.run(read())
        gc.collect()
    assert state == b'{"n":2}'


@pytest.mark.parametrize("store", FORKABLE)
def test_a_child_that_was_forked_opens_the_store_for_itself(
    store: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    url = own_url(store, request, tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", FORKED, url], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout == '{"n":80}\n'


SAME_LOOP = """\
import asyncio, os, sys

from barback import SessionStoreUnavailable
from barback.stores.url import open_store
from barback.testing.contract_tools import peek, put

loop, store = asyncio.new_event_loop(), open_store(sys.argv[1])
loop.run_until_complete(store.acquire())
loop.run_until_complete(put(store))
if os.fork() == 0:
    try:
        loop.run_until_complete(peek(store))
    except SessionStoreUnavailable as error:
        os._exit(0 if "fork" in str(error) else 1)
    os._exit(2)
_, status = os.wait()
for _ in range(50):
    assert loop.run_until_complete(peek(store)) is not None
loop.run_until_complete(store.relinquish())
print(status)
"""


@pytest.mark.parametrize("store", ["redis", "redis_cluster", "redis_sentinel", "postgres"])
def test_a_child_on_its_parents_own_loop_is_refused(
    store: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Such a loop is of no use to a child anyway; but neither may it do harm to the parent."""
    url = own_url(store, request, tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", SAME_LOOP, url],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "0\n"), done.stderr


@pytest.mark.parametrize("store", SHARED)
async def test_to_open_twice_is_to_open_once(
    store: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """One after another, or at once; and what was opened is closed once."""
    opened = open_store(own_url(store, request, tmp_path))
    assert isinstance(opened, LeasedStore)
    await asyncio.gather(opened.init(), opened.init())
    await opened.init()
    before = handles()
    await opened.init()
    assert handles() == before
    await put(opened)
    assert await peek(opened) is not None
    await opened.close()
    await opened.close()


def handles() -> int:
    """How many files and connections are open, where the system tells."""
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.is_dir() else 0


def own_threads() -> list[str]:
    return [each.name for each in threading.enumerate() if each.name.startswith("barback")]


@pytest.mark.parametrize("store", ["file", "sqlite"])
async def test_who_closes_second_waits_though_the_first_is_cancelled(
    store: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    opened = open_store(own_url(store, request, tmp_path))
    assert isinstance(opened, LeasedStore)
    await opened.init()
    for number in range(50):
        opened.release(f"test:{number}", lease_on(f"test:{number}"))
    first = asyncio.create_task(opened.close())
    await asyncio.sleep(0)
    second = asyncio.create_task(opened.close())
    await asyncio.sleep(0)
    first.cancel()
    await second
    async with asyncio.timeout(20):  # the last thing a thread does is to answer
        while own_threads():
            await asyncio.sleep(0.001)
    await opened.init()
    assert all([await peek(opened, f"test:{number}") is None for number in range(50)])
    await opened.close()
