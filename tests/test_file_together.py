"""Commits that meet in a folder wait for its disk together, and fail each alone."""

from __future__ import annotations

import asyncio
import errno
import os
import stat
import time
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from barback.errors import (
    CommitUnknown,
    LeaseLost,
    SessionBusy,
    SessionStoreUnavailable,
    SessionUnreadable,
)
from barback.stores.file import FileSessionStore
from barback.stores.file.records import RecordFiles, file_name
from barback.stores.folder import content_and_status, sync, try_lock, unlock
from barback.testing.contract_tools import TIM, lease_on, peek, put, record_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from barback.record import Record
    from barback.stores.base import Lease

NAMES = [f"test:{number}" for number in range(12)]


@pytest.fixture
def flushed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is flushed, as it is: "file" or "folder"."""
    steps: list[str] = []
    flush = os.fsync

    def noted(descriptor: int) -> None:
        flush(descriptor)
        is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        steps.append("folder" if is_folder else "file")

    monkeypatch.setattr(os, "fsync", noted)
    return steps


@pytest.fixture
def refusing(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """How often the folder will not be flushed from now on."""
    left: list[int] = [0]

    def refuse(folder: Path) -> None:
        if left[0]:
            left[0] -= 1
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        sync(folder)

    monkeypatch.setattr("barback.stores.file.records.sync", refuse)
    yield left
    assert left[0] == 0


def file_of(folder: Path, session_id: str) -> Path:
    return folder / file_name(session_id)


def asides(folder: Path) -> list[Path]:
    return list(folder.glob("*.tmp"))


async def held(store: FileSessionStore, names: list[str]) -> list[Lease]:
    leases = [lease_on(name) for name in names]
    for lease in leases:
        record = await store.checkout(lease.session_id, lease)
        lease.version = None if record is None else record.version
    return leases


async def committed(
    store: FileSessionStore, leases: list[Lease]
) -> tuple[list[Record], list[BaseException | None]]:
    """What was to be written, and what that was answered; all of it was asked for at once."""
    written = [record_of(lease.session_id) for lease in leases]
    asked = [store.commit(*each) for each in zip(written, leases, strict=True)]
    return written, await asyncio.gather(*asked, return_exceptions=True)


async def test_commits_that_meet_flush_the_folder_once(tmp_path: Path, flushed: list[str]) -> None:
    async with FileSessionStore(tmp_path) as store:
        leases = await held(store, NAMES)
        flushed.clear()
        written, answers = await committed(store, leases)
        assert answers == [None] * 12
        # The first may be on its way before the others are asked for.
        assert flushed.count("file") == 12
        assert 1 <= flushed.count("folder") <= 2
        assert flushed[-1] == "folder"
        assert [await peek(store, name) for name in NAMES] == written
        assert await held(store, NAMES)  # each lease was given back


async def test_of_commits_that_meet_each_fails_alone(tmp_path: Path) -> None:
    class Full(RecordFiles):
        def _fill(self, descriptor: int, data: bytes) -> None:
            if b'"test:full"' in data:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            super()._fill(descriptor, data)

    store = FileSessionStore(tmp_path)
    store._new_files = partial(store._new_files, records=Full)
    async with store:
        await put(store, "test:bad")
        leases = await held(store, ["test:good", "test:full", "test:bad", "test:lost", TIM])
        good, full, bad, *_ = leases
        await store.destroy("test:lost", None)
        file_of(tmp_path, "test:bad").write_bytes(b"")
        _, answers = await committed(store, leases)
        kinds = [type(None), SessionStoreUnavailable, SessionUnreadable, LeaseLost, type(None)]
        assert kinds == [type(answer) for answer in answers]
        assert asides(tmp_path) == []
        assert await peek(store, "test:lost") is None
        await store.release("test:good", good)  # which has been given back
        for lease in (full, bad):
            with pytest.raises(SessionBusy):
                await store.checkout(lease.session_id, lease_on(lease.session_id))


async def test_a_record_of_which_no_text_can_be_made_is_nothing_to_the_others(
    tmp_path: Path,
) -> None:
    async with FileSessionStore(tmp_path) as store:
        first, bad, last = await held(store, NAMES[:3])
        written = [record_of(NAMES[0]), record_of(NAMES[2])]
        asked = [store.commit(written[0], first)]
        with pytest.raises(msgspec.DecodeError):
            await store.commit(msgspec.structs.replace(record_of(NAMES[1]), state=b'{"n":'), bad)
        asked.append(store.commit(written[1], last))
        assert await asyncio.gather(*asked) == [None, None]
        assert written == [await peek(store, name) for name in (NAMES[0], NAMES[2])]
        assert asides(tmp_path) == []


@pytest.mark.parametrize("step", ["fill", "flush"])
async def test_a_file_aside_that_fails_unforeseen_fails_alone_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Memory may run out anywhere."""
    doomed: set[int] = set()
    flush = os.fsync

    class Short(RecordFiles):
        def _fill(self, descriptor: int, data: bytes) -> None:
            if b'"test:5"' in data:
                doomed.add(descriptor)
                if step == "fill":
                    raise MemoryError
            super()._fill(descriptor, data)

    def fsync(descriptor: int) -> None:
        if descriptor in doomed:
            doomed.remove(descriptor)
            raise MemoryError
        flush(descriptor)

    store = FileSessionStore(tmp_path)
    store._new_files = partial(store._new_files, records=Short)
    async with store:
        leases = await held(store, NAMES)
        if step == "flush":
            monkeypatch.setattr(os, "fsync", fsync)
        written, answers = await asyncio.wait_for(committed(store, leases), 30)
        refused = answers.pop(5)
        assert isinstance(refused, SessionStoreUnavailable)
        assert "MemoryError" in str(refused)
        assert answers == [None] * 11
        assert asides(tmp_path) == []
        del written[5]
        assert [await peek(store, name) for name in NAMES if name != "test:5"] == written


async def test_a_session_whose_lock_another_holds_keeps_none_of_the_others_locked(
    tmp_path: Path,
) -> None:
    async with FileSessionStore(tmp_path, timeout=0.3) as store:
        leases = await held(store, NAMES)
        shards = {name: store._place(name).shard for name in NAMES}
        stuck = shards[NAMES[0]]
        descriptor = os.open(tmp_path / ".leases" / f"{stuck:02x}", os.O_RDWR)
        assert try_lock(descriptor)
        written, answers = await committed(store, leases)
        unlock(descriptor)
        os.close(descriptor)
        for name, record, answer in zip(NAMES, written, answers, strict=True):
            if shards[name] == stuck:
                assert isinstance(answer, SessionStoreUnavailable)
            else:
                assert answer is None
                assert await peek(store, name) == record
        assert asides(tmp_path) == []


async def test_commits_whose_folder_was_not_flushed_are_unknown_and_their_leases_kept(
    tmp_path: Path, refusing: list[int]
) -> None:
    async with FileSessionStore(tmp_path) as store:
        leases = await held(store, [TIM])
        refusing[0] = 1
        _, (answer,) = await committed(store, leases)
        assert isinstance(answer, CommitUnknown)
        assert answer.session_id == TIM
        assert isinstance(answer.__cause__, OSError)
        leases = await held(store, NAMES)
        refusing[0] = 2
        _, answers = await committed(store, leases)
        unknown = [answer for answer in answers if answer is not None]
        assert unknown
        assert {CommitUnknown} == {type(answer) for answer in unknown}
        for lease, answer in zip(leases, answers, strict=True):
            if answer is not None:
                assert isinstance(answer, CommitUnknown)
                assert answer.session_id == lease.session_id
                with pytest.raises(SessionBusy):
                    await store.checkout(lease.session_id, lease_on(lease.session_id))
        refusing[0] = 0


@pytest.mark.parametrize("change", ["commit", "destroy"])
async def test_a_folder_that_was_not_flushed_is_flushed_before_the_next_look_answers(
    tmp_path: Path, refusing: list[int], flushed: list[str], change: str
) -> None:
    """Who looks whether his commit was done would else be told of one that a crash undoes."""
    async with FileSessionStore(tmp_path) as store:
        await put(store)
        (lease,) = await held(store, [TIM])
        record = record_of()
        refusing[0] = 2
        with pytest.raises(CommitUnknown):
            await (store.commit(record, lease) if change == "commit" else store.destroy(TIM, lease))
        with pytest.raises(SessionStoreUnavailable, match="outlive a crash") as refused:
            await store.checkout(TIM, lease)
        assert isinstance(refused.value.__cause__, OSError)
        flushed.clear()
        found = await store.checkout(TIM, lease)
        assert found == (record if change == "commit" else None)
        assert flushed == ["folder"]
        await store.checkout(TIM, lease)  # and only once
        assert flushed == ["folder"]


# Who died in the midst of a commit may have made it seen, and not durable. Whoever comes after him
# tells of it as done, and so has the folder flushed first.


async def test_who_takes_a_session_over_flushes_the_folder_first(
    tmp_path: Path, refusing: list[int], flushed: list[str]
) -> None:
    async with FileSessionStore(tmp_path) as store:
        dead = lease_on(term=0.001)
        await store.checkout(TIM, dead)
        later(store, 1)
        flushed.clear()
        refusing[0] = 1
        heir = lease_on()
        with pytest.raises(SessionStoreUnavailable, match="outlive a crash"):
            await store.checkout(TIM, heir)
        assert flushed == []
        assert await store.checkout(TIM, heir) is None
        assert flushed == ["folder"]
        await store.checkout(TIM, heir)
        await store.release(TIM, heir)
        await store.checkout(TIM, lease_on())
        assert flushed == ["folder"]  # there is nobody dead any more


async def test_a_lease_is_not_forgotten_before_the_folder_is_flushed(
    tmp_path: Path, refusing: list[int], flushed: list[str]
) -> None:
    async with FileSessionStore(tmp_path) as store:
        await store.checkout(TIM, lease_on())
        neighbour = neighbour_of(store, TIM)
        later(store, 1000)
        flushed.clear()
        refusing[0] = 1
        for _ in range(3):
            lease = lease_on(neighbour)
            await store.checkout(neighbour, lease)
            await store.release(neighbour, lease)
        assert flushed == ["folder"]
        assert refusing == [0]


async def test_leases_that_were_torn_may_have_been_of_the_dead(
    tmp_path: Path, flushed: list[str]
) -> None:
    async with FileSessionStore(tmp_path) as store:
        await store.checkout(TIM, lease_on())
        (tmp_path / ".leases" / f"{store._place(TIM).shard:02x}").write_bytes(b"torn")
        flushed.clear()
        for _ in range(2):
            lease = lease_on()
            await store.checkout(TIM, lease)
            await store.release(TIM, lease)
        assert flushed == ["folder"]


def later(store: FileSessionStore, seconds: float) -> None:
    """Have the store see leases as so many seconds later."""
    store._files._leases._clock = lambda: time.monotonic() + seconds


def neighbour_of(store: FileSessionStore, session_id: str) -> str:
    """Another session, whose lease is in the same file."""
    shard = store._place(session_id).shard
    names = (f"test:{number}" for number in count())
    return next(name for name in names if store._place(name).shard == shard)


# A file that was read under the lease is not read again


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths that are read."""
    paths: list[str] = []

    def noted(path: str) -> Any:
        paths.append(path)
        return content_and_status(path)

    monkeypatch.setattr("barback.stores.file.records.content_and_status", noted)
    return paths


async def test_a_commit_does_not_read_again_what_its_turn_has_read(
    tmp_path: Path, read: list[str]
) -> None:
    async with FileSessionStore(tmp_path) as store:
        await put(store)
        (lease,) = await held(store, [TIM])
        read.clear()
        for _ in range(2):  # nor do those that the lease is handed on to
            record = record_of()
            await store.commit(record, lease, keep=True)
            lease.version = record.version
        assert read == []
        assert len(store._files._seen) == 1
        await store.release(TIM, lease)
        assert store._files._seen == {}


async def test_a_commit_sees_what_a_person_has_changed_meanwhile(
    tmp_path: Path, read: list[str]
) -> None:
    async with FileSessionStore(tmp_path) as store:
        await put(store)
        (lease,) = await held(store, [TIM])
        path, mine = file_of(tmp_path, TIM), record_of()
        path.write_bytes(mine.encode())
        read.clear()
        with pytest.raises(LeaseLost):
            await store.commit(record_of(), lease)
        assert read == [str(path)]
        lease.version = mine.version
        await store.commit(record_of(), lease)


async def test_what_was_read_is_not_remembered_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("barback.stores.file.sessions.NOTED", 5)
    async with FileSessionStore(tmp_path) as store:
        for name in NAMES:
            await put(store, name)
        leases = await held(store, NAMES)
        assert len(store._files._seen) == 5
        _, answers = await committed(store, leases)
        assert answers == [None] * 12
        assert store._files._seen == {}
