"""Several processes on one folder of files: stopped, killed, torn, and in each other's way."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from barback.errors import CommitUnknown, LeaseLost, SessionBusy, SessionStoreUnavailable
from barback.stores.file import FileSessionStore
from barback.stores.file.leases import LeaseFiles, Locked
from barback.stores.file.records import RecordFiles
from barback.stores.folder import try_lock, unlock
from barback.testing.contract_tools import TIM, lease_on, peek, put, record_of
from tests.slack import SLACK

if sys.platform == "win32":
    pytest.skip("needs SIGSTOP and SIGKILL", allow_module_level=True)
else:
    import resource

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Self

    from barback.record import Record
    from barback.stores.base import Lease

SCRIPT = Path(__file__).with_name("file_process.py")


class Process:
    """Another process that has the folder open, and does as it is told."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __enter__(self) -> Self:
        self.popen = subprocess.Popen(
            [sys.executable, str(SCRIPT), str(self.folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        self.popen.kill()
        self.popen.communicate()

    def tell(self, what: str, **arguments: Any) -> None:
        assert self.popen.stdin is not None
        self.popen.stdin.write(json.dumps([what, arguments]) + "\n")
        self.popen.stdin.flush()

    def hear(self) -> dict[str, Any]:
        assert self.popen.stdout is not None
        answer: dict[str, Any] = json.loads(self.popen.stdout.readline())
        return answer

    def ask(self, what: str, **arguments: Any) -> dict[str, Any]:
        self.tell(what, **arguments)
        return self.hear()

    def stop(self) -> None:
        self.popen.send_signal(signal.SIGSTOP)
        self.wait_until_stopped()

    def wait_until_stopped(self) -> None:
        _, status = os.waitpid(self.popen.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)

    def go_on(self) -> None:
        self.popen.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        self.popen.kill()
        self.popen.wait()


async def taken(store: FileSessionStore, lease: Lease) -> Record | None:
    """The record, as soon as the session is free."""
    async with asyncio.timeout(SLACK):
        while True:
            try:
                record = await store.checkout(lease.session_id, lease)
            except SessionBusy:
                await asyncio.sleep(0.005)
            else:
                lease.version = None if record is None else record.version
                return record


def lease_file(folder: Path, session_id: str = TIM) -> Path:
    return folder / ".leases" / f"{shard_of(folder, session_id):02x}"


def shard_of(folder: Path, session_id: str) -> int:
    return FileSessionStore(folder)._place(session_id).shard


def stranger_to(folder: Path, session_id: str) -> str:
    """A session that shares no lock with this one."""
    shard = shard_of(folder, session_id)
    return next(each for n in range(2000) if shard_of(folder, each := f"test:{n}") != shard)


def asides(folder: Path) -> list[Path]:
    return list(folder.glob("*.tmp"))


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Somebody else has locked the file."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        assert try_lock(descriptor)
        yield
        unlock(descriptor)
    finally:
        os.close(descriptor)


# One at a time


async def test_two_processes_share_a_folder_and_exclude_each_other(tmp_path: Path) -> None:
    with Process(tmp_path) as process:
        async with FileSessionStore(tmp_path) as store:
            assert process.ask("checkout", session_id=TIM, term=30) == {"state": None}
            with pytest.raises(SessionBusy):
                await store.checkout(TIM, lease_on())
            assert process.ask("commit", session_id=TIM, state={"n": 1}) == {}
            mine = lease_on()
            record = await taken(store, mine)
            assert record is not None
            assert record.state == b'{"n":1}'
            answer = process.ask("checkout", session_id=TIM, term=30)
            assert answer == {"error": "SessionBusy"}
            await store.commit(record_of(state={"n": 2}), mine)
            assert process.ask("checkout", session_id=TIM, term=30) == {"state": {"n": 2}}


@pytest.mark.parametrize(("users", "times"), [(["tim"], 250), ([f"u{n}" for n in range(20)], 13)])
async def test_four_processes_count_to_the_sum(
    tmp_path: Path, users: list[str], times: int
) -> None:
    with ExitStack() as stack:
        processes = [stack.enter_context(Process(tmp_path)) for _ in range(4)]
        for process in processes:
            process.ask("renew")  # it has opened the folder
        for process in processes:
            process.tell("count", users=users, times=times)
        answers = [process.hear() for process in processes]
    assert all(answer["busy"] for answer in answers), "one met no other"
    longest = max(answer["longest"] for answer in answers)
    print(f"the longest turn took {longest:.3f} s")  # noqa: T201 - shown with a failure
    assert longest < 30
    async with FileSessionStore(tmp_path) as store:
        states = {record.id: record.state async for record in store.all()}
    assert {f"test:{user}": b'{"n":%d}' % (4 * times) for user in users} == states


# Stopped


async def test_a_stopped_holder_loses_its_lease_and_cannot_commit(tmp_path: Path) -> None:
    with Process(tmp_path) as process:
        async with FileSessionStore(tmp_path) as store:
            await put(store, state={"n": 1})
            process.ask("checkout", session_id=TIM, term=0.5)
            process.stop()
            with pytest.raises(SessionBusy):
                await store.checkout(TIM, lease_on())
            mine = lease_on()
            await taken(store, mine)
            written = record_of(state={"n": "mine"})
            await store.commit(written, mine)
            process.go_on()
            answer = process.ask("commit", session_id=TIM, state={"n": "stalled"})
            assert answer == {"error": "LeaseLost"}
            assert process.ask("renew") == {"lost": [TIM]}
            assert written == await peek(store)


async def test_a_stopped_holder_whom_nobody_replaced_may_commit(tmp_path: Path) -> None:
    with Process(tmp_path) as process:
        async with FileSessionStore(tmp_path) as store:
            process.ask("checkout", session_id=TIM, term=0.05)
            process.stop()
            hourglass = lease_on("test:hourglass", term=0.05)
            await store.checkout(hourglass.session_id, hourglass)
            await taken(store, lease_on("test:hourglass"))
            process.go_on()
            assert process.ask("commit", session_id=TIM, state={"n": 1}) == {}
            record = await peek(store)
            assert record is not None
            assert record.state == b'{"n":1}'


async def test_a_process_stopped_in_the_middle_of_a_commit_is_an_outage_and_no_hang(
    tmp_path: Path,
) -> None:
    shard = shard_of(tmp_path, TIM)
    others = {shard_of(tmp_path, f"test:{n}"): f"test:{n}" for n in range(2000)}
    same_thread = [others[near] for near in range(shard % 4, 64, 4) if near != shard]
    assert len(same_thread) == 15
    with Process(tmp_path) as process:
        async with FileSessionStore(tmp_path, timeout=0.3) as store:
            before = await put(store, state={"n": 1})
            process.ask("checkout", session_id=TIM, term=0.05)
            process.ask("stop_in_the_next_commit")
            process.tell("commit", session_id=TIM, state={"n": 2})
            process.wait_until_stopped()

            for operation in (
                store.checkout(TIM, lease_on()),
                store.commit(record_of(), lease_on()),
                store.release(TIM, lease_on()),
                store.renew([lease_on()]),
                store.destroy(TIM, None),
            ):
                began = time.monotonic()
                with pytest.raises(SessionStoreUnavailable, match="has been stopped") as caught:
                    await operation
                assert isinstance(caught.value.__cause__, BlockingIOError)
                assert time.monotonic() - began < SLACK
            assert len(asides(tmp_path)) == 1, "one that is not the process's is left"
            # Who has nothing to do with it is served: even at once, and by the same thread.
            refused = store.checkout(TIM, lease_on())
            served = [put(store, session_id, {"n": 1}) for session_id in same_thread]
            answers = await asyncio.gather(refused, *served, return_exceptions=True)
            assert isinstance(answers[0], SessionStoreUnavailable)
            assert not any(isinstance(answer, Exception) for answer in answers[1:])
            assert {record.id: record async for record in store.all()}[TIM] == before

            process.go_on()
            assert process.hear() == {}, "nobody could take the session over meanwhile"
            record = await peek(store)
            assert record is not None
            assert record.state == b'{"n":2}'


async def test_the_first_to_wait_for_a_lock_waits_for_the_timeout_and_the_next_briefly(
    tmp_path: Path,
) -> None:
    async with FileSessionStore(tmp_path, timeout=3) as store:
        waits = []
        with locked(lease_file(tmp_path)):
            for _ in range(2):
                began = time.monotonic()
                with pytest.raises(SessionStoreUnavailable):
                    await store.checkout(TIM, lease_on())
                waits.append(time.monotonic() - began)
        assert waits[0] >= 3
        assert waits[1] < 3
        await put(store)
        with locked(lease_file(tmp_path)):  # and once it was free, it is worth waiting for again
            began = time.monotonic()
            with pytest.raises(SessionStoreUnavailable):
                await store.checkout(TIM, lease_on())
            assert time.monotonic() - began >= 3


async def test_those_that_wait_for_one_lock_wait_together_and_hold_up_nobody_else(
    tmp_path: Path,
) -> None:
    other = stranger_to(tmp_path, TIM)
    async with FileSessionStore(tmp_path, timeout=3) as store:
        with locked(lease_file(tmp_path)):
            for longest in (3, 0.05):  # the second time, the lock is known to be stuck
                began = time.monotonic()
                refused = [
                    asyncio.ensure_future(store.release(TIM, lease_on())) for _ in range(800)
                ]
                await put(store, other)
                assert not any(each.done() for each in refused) or longest < 3
                answers = await asyncio.gather(*refused, return_exceptions=True)
                assert {SessionStoreUnavailable} == set(map(type, answers))
                assert longest <= time.monotonic() - began < longest + SLACK  # in turn: 40


async def test_what_waits_for_a_lock_is_done_in_its_order(tmp_path: Path) -> None:
    async with FileSessionStore(tmp_path) as store:
        first, second = lease_on(), lease_on()
        with locked(lease_file(tmp_path)):
            asked = [store.checkout(TIM, first), store.commit(record_of(), first)]
            while not store._files._leases._files:  # it has not come to the lock yet
                await asyncio.sleep(0)
            asked.append(store.checkout(TIM, second))
            await put(store, stranger_to(tmp_path, TIM))  # which does not wait
        found, written, found_later = await asyncio.gather(*asked)
        assert (found, written) == (None, None)
        assert found_later is not None


async def test_a_lease_that_cannot_be_given_back_at_once_is_when_it_can(tmp_path: Path) -> None:
    class Hindered(RecordFiles):
        """Another process locks the shard between the two halves of a commit."""

        def make_durable(self, session_ids: Iterable[str]) -> dict[str, CommitUnknown]:
            ids = list(session_ids)
            unknown = super().make_durable(ids)
            if TIM in ids:
                hindrance.enter_context(locked(lease_file(tmp_path)))
            return unknown

    store = FileSessionStore(tmp_path)
    store._new_files = partial(store._new_files, records=Hindered)
    async with store:
        lease = lease_on()
        await store.checkout(TIM, lease)
        with ExitStack() as hindrance:
            written = asyncio.ensure_future(store.commit(record_of(), lease))
            await put(store, stranger_to(tmp_path, TIM))
            assert not written.done()
        await written
        assert await store.checkout(TIM, lease_on()) is not None


async def test_a_lock_is_waited_for(tmp_path: Path) -> None:
    async with FileSessionStore(tmp_path) as store:
        with locked(lease_file(tmp_path)):
            waiting = asyncio.ensure_future(store.checkout(TIM, lease_on()))
            while not store._files._leases._files:  # it has not come to the lock yet
                await asyncio.sleep(0)
        assert await waiting is None


async def test_a_process_stopped_while_it_opens_the_folder_is_an_outage_and_no_hang(
    tmp_path: Path,
) -> None:
    with locked(tmp_path / ".lock"):
        began = time.monotonic()
        refused = pytest.raises(SessionStoreUnavailable, match="is being opened by another process")
        with refused as caught:
            await FileSessionStore(tmp_path, timeout=0.2).init()
        assert 0.2 <= time.monotonic() - began < SLACK
        assert isinstance(caught.value.__cause__, BlockingIOError)
    async with FileSessionStore(tmp_path) as store:
        await put(store)


# Killed


async def test_the_lease_of_a_killed_process_frees_itself(tmp_path: Path) -> None:
    with Process(tmp_path) as process:
        async with FileSessionStore(tmp_path) as store:
            written = await put(store, state={"n": 1})
            process.ask("checkout", session_id=TIM, term=2)
            process.kill()
            with pytest.raises(SessionBusy):
                await store.checkout(TIM, lease_on())
            assert written == await taken(store, lease_on())


async def test_a_process_killed_in_the_middle_of_a_commit_leaves_the_session_as_it_was(
    tmp_path: Path,
) -> None:
    with Process(tmp_path) as process:
        async with FileSessionStore(tmp_path) as store:
            written = await put(store, state={"n": 1})
            process.ask("checkout", session_id=TIM, term=0.2)
            process.ask("stop_in_the_next_commit")
            process.tell("commit", session_id=TIM, state={"n": 2})
            process.wait_until_stopped()
            process.kill()
            assert written == await taken(store, lease_on())


async def test_a_lock_does_not_outlive_its_process_in_a_child_that_was_forked(
    tmp_path: Path,
) -> None:
    with Process(tmp_path) as process:
        async with FileSessionStore(tmp_path, timeout=0.5) as store:
            process.ask("checkout", session_id=TIM, term=0.2)  # its lock file is open from now on
            child = process.ask("fork")["pid"]
            try:
                process.ask("stop_in_the_next_commit")
                process.tell("commit", session_id=TIM, state={"n": 2})
                process.wait_until_stopped()
                with pytest.raises(SessionStoreUnavailable):
                    await store.checkout(TIM, lease_on())
                process.kill()
                assert await taken(store, lease_on()) is None
            finally:
                os.kill(child, signal.SIGKILL)


FORKING = """
import asyncio, os, sys
from barback.errors import SessionStoreUnavailable
from barback.stores.file import FileSessionStore
from barback.testing.contract_tools import lease_on, peek, put

store = FileSessionStore(sys.argv[1])

async def in_the_child():
    try:
        await store.checkout("test:tim", lease_on())
    except SessionStoreUnavailable as error:
        print("closed:", "is not open: use `async with store`" in str(error))
    for n in (2, 3):
        async with store:
            print((await peek(store)).state)
            await put(store, state={"n": n})

async def in_the_parent():
    async with store:
        print((await peek(store)).state)
    await store.relinquish()

asyncio.run(store.acquire())
asyncio.run(put(store, state={"n": 1}))
child = os.fork()
if child:
    assert os.waitpid(child, 0)[1] == 0
    asyncio.run(in_the_parent())
else:
    asyncio.run(in_the_child())
"""


def test_a_forked_child_finds_the_store_closed_and_can_open_it(tmp_path: Path) -> None:
    command = [sys.executable, "-c", FORKING, str(tmp_path)]
    process = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    said = ["closed: True", """b'{"n":1}'""", """b'{"n":2}'""", """b'{"n":3}'"""]
    assert said == process.stdout.splitlines()


# What the lease files hold

TORN = {
    "zeros": bytes(100),
    "half": b'{"test:tim":["a',
    "end of an older one": b'{}"30.0]}',
    "no table": b"[1]",
    "no leases": b'{"test:tim":7}',
    "not UTF-8": b'{"\xff":["a",1,1]}',
    "deep": b"[" * 100_000,
}


@pytest.mark.parametrize("kind", TORN)
async def test_leases_that_were_torn_have_ended_and_do_no_harm(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    async with FileSessionStore(tmp_path) as store:
        written = await put(store, state={"n": 1})
        holder = lease_on(version=written.version)
        await store.checkout(TIM, holder)
        lease_file(tmp_path).write_bytes(TORN[kind])
        with pytest.raises(LeaseLost):
            await store.commit(record_of(state={"n": "torn"}), holder)
        assert await store.renew([holder]) == [holder]
        next_one = lease_on()
        assert written == await taken(store, next_one)
        with pytest.raises(LeaseLost):
            await store.commit(record_of(state={"n": "torn"}), holder)
        committed = record_of(state={"n": 2})
        await store.commit(committed, next_one)
        assert committed == await peek(store)
    assert "were torn, and have ended" in caplog.text
    assert {logging.WARNING} == {record.levelno for record in caplog.records}


async def test_who_set_nothing_leaves_no_trace(tmp_path: Path) -> None:
    async with FileSessionStore(tmp_path) as store:
        for number in range(500):
            await peek(store, f"test:{number}")
            await put(store, "test:gone", {"n": number})
            await store.destroy("test:gone", None)
    left = files_below(tmp_path)
    leases = [path for path in left if path.parent.name == ".leases"]
    assert {".lock", ".gitignore"} == {path.name for path in left if path not in leases}
    assert len(leases) == 64
    assert {b"{}"} == {path.read_bytes().strip() for path in leases}
    assert max(path.stat().st_size for path in leases) < 200


async def test_a_large_lease_file_shrinks_again(tmp_path: Path) -> None:
    async with FileSessionStore(tmp_path) as store:
        leases = [lease_on(session_id) for session_id in neighbours(tmp_path, 30)]
        for lease in leases:
            await store.checkout(lease.session_id, lease)
        path = lease_file(tmp_path, leases[0].session_id)
        assert path.stat().st_size > 12_000
        for lease in leases:
            await store.release(lease.session_id, lease)
        assert path.stat().st_size <= 4096
        assert path.read_bytes().strip() == b"{}"


def neighbours(folder: Path, count: int) -> list[str]:
    """Long ids of sessions that share a lock with Tim's."""
    shard = shard_of(folder, TIM)
    found: list[str] = []
    number = 0
    while len(found) < count:
        session_id = f"test:{number:0400}"
        if shard_of(folder, session_id) == shard:
            found.append(session_id)
        number += 1
    return found


class Hands:
    """A clock that is set by hand."""

    now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Hands:
    return Hands()


@pytest.fixture
def files(tmp_path: Path, clock: Hands) -> Iterator[LeaseFiles]:
    files = LeaseFiles("file", tmp_path, timeout=1, clock=clock)
    yield files
    files.close()


def take(files: LeaseFiles, lease: Lease) -> None:
    with files.locked(0, time.monotonic()) as leases:
        leases.take(lease.session_id, lease)
        leases.save()


def test_a_lease_holds_until_its_term_is_over(files: LeaseFiles, clock: Hands) -> None:
    mine = lease_on(term=30)
    take(files, mine)
    clock.now += 29.9
    with pytest.raises(SessionBusy):
        take(files, lease_on())
    clock.now += 0.1
    take(files, lease_on())
    with files.locked(0, time.monotonic()) as leases, pytest.raises(LeaseLost):
        leases.check(TIM, mine)


@pytest.mark.parametrize("now", [0.0, 5.0, 999.9, 1030.0, 1e9])
def test_no_lease_outlives_a_start_of_the_machine(
    files: LeaseFiles, clock: Hands, now: float
) -> None:
    take(files, lease_on(term=30))
    clock.now = now  # the clock starts anew
    take(files, lease_on())


def test_a_lease_that_ended_may_be_committed_for_a_while_and_is_then_forgotten(
    files: LeaseFiles, clock: Hands, tmp_path: Path
) -> None:
    brief, long = lease_on("test:brief", term=1), lease_on("test:long", term=100)
    take(files, brief)
    take(files, long)
    for seconds, expected in ((60, {brief, long}), (2, {long}), (130, {long}), (10, set())):
        clock.now += seconds
        take(files, lease_on("test:other", term=1))
        with files.locked(0, time.monotonic()) as leases:
            held = {lease for lease in (brief, long) if leases.holds(lease.session_id, lease)}
        assert expected == held
    assert {"test:other"} == msgspec.json.decode((tmp_path / "00").read_bytes()).keys()


def test_a_lock_is_waited_for_a_little_though_the_operation_was_asked_for_long_ago(
    files: LeaseFiles, tmp_path: Path
) -> None:
    began = time.monotonic()
    asked_at = files.late(began - 100)
    with locked(tmp_path / "00"):
        with pytest.raises(Locked), files.locked(0, asked_at):
            pass  # pragma: no cover
        while time.monotonic() < began + 0.06:
            time.sleep(0.01)
        with pytest.raises(SessionStoreUnavailable), files.locked(0, asked_at):
            pass  # pragma: no cover


# Lease files that somebody removes


async def test_stores_that_are_open_agree_on_a_lease_file_that_was_removed(tmp_path: Path) -> None:
    async with FileSessionStore(tmp_path) as first, FileSessionStore(tmp_path) as second:
        mine = lease_on()
        await first.checkout(TIM, mine)
        await peek(second, neighbours(tmp_path, 1)[0])  # both have the file open
        lease_file(tmp_path).rename(tmp_path / "away")
        other = lease_on()
        await second.checkout(TIM, other)
        with pytest.raises(LeaseLost):
            await first.commit(record_of(state={"n": "lost"}), mine)
        with pytest.raises(SessionBusy):
            await first.checkout(TIM, lease_on())
        await second.commit(record_of(), other)


async def test_a_removed_folder_of_leases_is_an_outage_until_a_store_is_opened(
    tmp_path: Path,
) -> None:
    async with FileSessionStore(tmp_path) as store:
        await put(store)
        (tmp_path / ".leases").rename(tmp_path / "away")
        with pytest.raises(SessionStoreUnavailable, match="cannot lock") as caught:
            await store.checkout(TIM, lease_on())
        assert isinstance(caught.value.__cause__, FileNotFoundError)
        async with FileSessionStore(tmp_path) as other:
            await put(other)
        await put(store)


async def test_a_commit_that_was_made_is_made_though_its_lease_cannot_be_given_back(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with FileSessionStore(tmp_path) as store:
        written = await put(store, state={"n": 1})
        for session_id in neighbours(tmp_path, 30):
            await store.checkout(session_id, lease_on(session_id))
        mine = lease_on(version=written.version, term=0.2)
        await store.checkout(TIM, mine)
        assert lease_file(tmp_path).stat().st_size > 12_000
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (8_000, before[1]))  # a disk without room
        try:
            committed = record_of(state={"n": 2})
            await store.commit(committed, mine)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert "was not given back, and will run out" in caplog.text
        assert [committed] == [record async for record in store.all()]
        assert committed == await taken(store, lease_on())


async def test_a_lease_that_cannot_be_written_is_an_outage(tmp_path: Path) -> None:
    async with FileSessionStore(tmp_path) as store:
        for session_id in neighbours(tmp_path, 30):
            await store.checkout(session_id, lease_on(session_id))
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (8_000, before[1]))
        try:
            with pytest.raises(SessionStoreUnavailable, match="cannot write the leases") as caught:
                await store.checkout(TIM, lease_on())
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert isinstance(caught.value.__cause__, OSError)
        assert await taken(store, lease_on()) is None
