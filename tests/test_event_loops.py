"""A store, and a bot, outlive the event loop that they were opened on, and the process that forked.

What was opened there and not closed is of no use elsewhere; each loop, and each process, opens it
for itself, and closes what it has opened.
"""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from barback import Outcome
from barback.stores.base import LeasedStore
from barback.stores.url import open_store
from barback.testing.contract_tools import TIM, peek, put
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
