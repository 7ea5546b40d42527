"""Stores that work on threads: what becomes of them when an event loop or a process ends."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
import threading
from contextlib import ExitStack, closing, contextmanager
from typing import TYPE_CHECKING

import pytest

from barback.stores.file import FileSessionStore
from barback.stores.folder import try_lock
from barback.stores.sqlite import SQLiteSessionStore
from barback.stores.url import open_store
from barback.testing.contract_tools import TIM, lease_on, peek, put, record_of
from tests.every_store import own_url, with_options

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterator
    from pathlib import Path

    from barback.record import Record

    Store = FileSessionStore | SQLiteSessionStore

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and its locks")


@pytest.fixture(params=["file", "sqlite"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return with_options(own_url(request.param, request, tmp_path), timeout="30")


@pytest.fixture
def store(url: str) -> Store:
    made = open_store(url)
    assert isinstance(made, FileSessionStore | SQLiteSessionStore)
    return made


@contextmanager
def locked(store: Store) -> Iterator[None]:
    """Somebody else keeps the store's thread waiting."""
    with ExitStack() as stack:
        if isinstance(store, SQLiteSessionStore):
            other = stack.enter_context(closing(sqlite3.connect(store.path)))
            other.execute("BEGIN IMMEDIATE")
        else:
            shard = store._place(TIM).shard
            lock = os.open(store._folder / ".leases" / f"{shard:02x}", os.O_RDWR)
            stack.callback(os.close, lock)
            assert try_lock(lock)
        yield


def threads() -> list[threading.Thread]:
    return [one for one in threading.enumerate() if one.name.startswith("barback")]


def assert_ended(some: list[threading.Thread]) -> None:
    assert some
    for thread in some:
        thread.join(20)
        assert not thread.is_alive()


async def commit_in(store: Store, stack: ExitStack) -> tuple[Record, Awaitable[None]]:
    """A commit in an open store that has been asked for, and waits until the stack is closed."""
    lease, record = lease_on(), record_of()
    await store.checkout(TIM, lease)
    stack.enter_context(locked(store))
    return record, store.commit(record, lease)


async def found(store: Store) -> Record | None:
    async with store:
        return await peek(store)


# Closing


def test_a_closing_whose_event_loop_ends_is_done_all_the_same(store: Store) -> None:
    stack = ExitStack()

    async def leave() -> tuple[Record, asyncio.Task[None]]:
        await store.init()
        record, _ = await commit_in(store, stack)
        closing = asyncio.create_task(store.close())
        await asyncio.sleep(0)
        return record, closing

    record, closing = asyncio.run(leave())
    assert closing.cancelled()
    opened = threads()
    stack.close()
    assert_ended(opened)
    asyncio.run(asyncio.wait_for(store.close(), 20))
    assert record == asyncio.run(found(store))


async def test_who_closes_again_waits_for_a_closing_that_was_cancelled(store: Store) -> None:
    stack = ExitStack()
    await store.init()
    record, writing = await commit_in(store, stack)
    opened = threads()
    first = asyncio.create_task(store.close())
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    others = [asyncio.create_task(store.close()) for _ in range(3)]
    await asyncio.sleep(0)
    others.pop().cancel()
    await asyncio.sleep(0)
    assert not any(other.done() for other in others)
    stack.close()
    await asyncio.wait_for(asyncio.gather(*others), 20)
    await writing
    await asyncio.to_thread(assert_ended, opened)
    await store.close()
    assert record == await found(store)


# Event loops


def test_a_store_that_an_event_loop_left_open_is_of_use_in_the_next(store: Store) -> None:
    stack = ExitStack()

    async def leave() -> Record:
        await store.acquire()
        record, writing = await commit_in(store, stack)
        asyncio.ensure_future(writing)  # noqa: RUF006 - nobody holds it, as where a loop ends
        await asyncio.sleep(0)
        return record

    async def go_on() -> Record | None:
        stack.close()
        async with asyncio.timeout(20):
            record = await peek(store)
            await put(store, "test:ann")
            await store.relinquish()
        return record

    record = asyncio.run(leave())
    opened = threads()
    assert record == asyncio.run(go_on())
    assert_ended(opened)


def test_an_opening_that_an_event_loop_left_half_done_keeps_nobody_waiting(store: Store) -> None:
    stopped = asyncio.new_event_loop()
    opening = stopped.create_task(store.acquire())
    stopped.run_until_complete(asyncio.sleep(0))
    assert not opening.done()
    assert asyncio.run(asyncio.wait_for(found(store), 20)) is None
    stopped.run_until_complete(asyncio.wait_for(opening, 20))  # it may go on all the same
    assert stopped.run_until_complete(peek(store)) is None
    stopped.run_until_complete(store.relinquish())
    stopped.close()


# Processes

LEAVING = """
import asyncio, sys
from barback import open_store
from barback.testing.contract_tools import lease_on

async def leave():
    store = await open_store(sys.argv[1]).init()
    print("open", flush=True)
    sys.stdin.readline()
    asking = asyncio.ensure_future(store.checkout("test:tim", lease_on()))
    await asyncio.sleep(0)
    assert not asking.done()

asyncio.run(leave())
"""


def test_a_process_that_ends_waits_for_no_store_that_it_has_left_open(
    store: Store, url: str
) -> None:
    asyncio.run(found(store))
    command = [sys.executable, "-c", LEAVING, url]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == b"open\n"
        with locked(store):
            process.stdin.write(b"\n")
            process.stdin.flush()
            assert process.wait(20) == 0  # less than the store would wait
    assert asyncio.run(found(store)) is None


FORKING = """
import asyncio, os, sys
from barback import open_store
from barback.errors import SessionStoreUnavailable
from barback.testing.contract_tools import TIM, lease_on, peek, put, record_of

store = open_store(sys.argv[1])
asyncio.run(store.acquire())
asyncio.run(put(store))

async def refused(what):
    try:
        await asyncio.wait_for(what(), 10)
    except SessionStoreUnavailable as error:
        return str(error).partition(" of ")[0] + " " + str(error).partition(": ")[2]
    return "done"

async def in_the_child():
    lease = lease_on()

    async def due():
        await store.due(0, 1)

    async def commit():
        await store.commit(record_of(), lease)

    async def checkout():
        await store.checkout(TIM, lease)

    async def use():
        async with store:
            await peek(store)

    for what in (checkout, commit, due, store.close, use, store.close):
        print(what.__name__, await refused(what), flush=True)
    async with open_store(sys.argv[1]) as own:
        await put(own, "test:ann")

async def in_the_parent():
    async with asyncio.timeout(10):
        assert await peek(store) is not None
        assert await peek(store, "test:ann") is not None
        await put(store)
        await store.relinquish()

child = os.fork()
if child == 0:
    asyncio.run(in_the_child())
    sys.exit()  # with all that Python does at its end
assert os.waitpid(child, 0)[1] == 0
asyncio.run(in_the_parent())
"""


def test_a_forked_child_is_told_what_to_do_and_does_its_parent_no_harm(
    store: Store, url: str
) -> None:
    # Newer Pythons warn of a fork where there are threads, and there are: that is the point.
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORKING, url]
    process = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert process.stderr == ""
    assert process.returncode == 0
    if isinstance(store, FileSessionStore):  # closed, and may be opened
        told = "The file store use `async with store`, or await its `init()` first."
        use = "done"
    else:
        told = use = "The sqlite store open one in each process, after it."
    said = [line.partition(" ") for line in process.stdout.splitlines()]
    assert [(what, words) for what, _, words in said] == [
        ("checkout", told),
        ("commit", told),
        ("due", told),
        ("close", "done"),
        ("use", use),
        ("close", "done"),
    ]
    assert asyncio.run(found(store)) is not None
