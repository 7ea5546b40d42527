"""Sessions in files: their names, what they hold, and what happens when a disk or a file is bad."""

from __future__ import annotations

import asyncio
import errno
import json
import logging
import os
import shutil
import stat
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barback.errors import (
    CommitUnknown,
    ConfigurationError,
    LeaseLost,
    SessionBusy,
    SessionStoreUnavailable,
    SessionTooNew,
    SessionUnreadable,
)
from barback.record import Record
from barback.stores.base import ONE_YEAR, Lease
from barback.stores.file import FileSessionStore
from barback.stores.file.records import OURS, RecordFiles, file_name
from barback.stores.folder import sync, try_lock
from barback.testing.contract_tools import lease_on, peek

if sys.platform == "win32":
    pytest.skip("needs users, permissions and limits of POSIX", allow_module_level=True)
else:
    import resource

if TYPE_CHECKING:
    from collections.abc import Iterator

NOBODY = 65534
TIM = "test:tim"


def record_of(
    session_id: str = TIM, state: dict[str, Any] | None = None, expires_at: int | None = None
) -> Record:
    return Record(
        id=session_id,
        version=1,
        state=msgspec.json.encode(state or {}),
        created_at=1_000,
        last_activity=2_000,
        expires_at=expires_at,
    )


def file_of(folder: Path, session_id: str = TIM) -> Path:
    return folder / file_name(session_id)


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def asides(folder: Path) -> list[Path]:
    return list(folder.glob("*.tmp"))


async def write(store: FileSessionStore, record: Record) -> None:
    """A turn that writes `record`."""
    lease = await held(store, record.id)
    try:
        await store.commit(record, lease)
    finally:
        await store.release(record.id, lease)


async def read(store: FileSessionStore, session_id: str = TIM) -> Record | None:
    return await peek(store, session_id)


async def held(store: FileSessionStore, session_id: str = TIM) -> Lease:
    """A lease on the session, which is free."""
    lease = lease_on(session_id)
    record = await store.checkout(session_id, lease)
    lease.version = None if record is None else record.version
    return lease


async def all_of(store: FileSessionStore, prefix: str = "") -> list[Record]:
    return [record async for record in store.all(prefix)]


@contextmanager
def unprivileged() -> Iterator[None]:
    """Be nobody for a moment, if one is root: permissions mean nothing to root."""
    was_root = os.geteuid() == 0
    if was_root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if was_root:
            os.seteuid(0)


@contextmanager
def mode(path: Path, bits: int) -> Iterator[None]:
    before = path.stat().st_mode
    path.chmod(bits)
    try:
        with unprivileged():
            yield
    finally:
        path.chmod(before)


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """Let no file of this process grow beyond `size` bytes: the system refuses the rest."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that an unprivileged user can reach, which pytest's own are not."""
    with tempfile.TemporaryDirectory() as parent:
        path = Path(parent) / "sessions"
        path.mkdir()
        if os.geteuid() == 0:
            os.chown(parent, NOBODY, NOBODY)
            os.chown(path, NOBODY, NOBODY)
        yield path


# What a file holds


async def test_a_session_is_a_file_that_a_person_can_read(tmp_path: Path) -> None:
    async with FileSessionStore(tmp_path) as store:
        await write(store, record_of(state={"nickname": "Tim", "cart": [1, 2]}))
    text = file_of(tmp_path).read_text()
    assert text.endswith("}\n")
    assert '  "state": {\n    "nickname": "Tim",\n' in text
    assert json.loads(text)["id"] == TIM


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.text(), json_values, max_size=5), st.sampled_from([0, 2, -1]))
def test_a_record_comes_back_as_it_was_byte_for_byte(state: dict[str, Any], indent: int) -> None:
    async def there_and_back(folder: str) -> None:
        encoded = msgspec.json.encode(state)
        if indent == 0:  # white space within one line, as other encoders write it
            encoded = msgspec.json.format(encoded, indent=0)
        record = msgspec.structs.replace(
            record_of(expires_at=4),
            seen={"test:text:1": 3},
            users=("1", "2"),
            address="x",
            state=encoded,
        )
        async with FileSessionStore(folder) as store:
            await write(store, record)
            assert record == await read(store)
            assert [record] == await all_of(store)

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(there_and_back(folder))


# Names

AWKWARD = [
    "../../etc/passwd",
    "/etc/passwd",
    "..",
    "a/b",
    "a\\b",
    "test:nul\0inside",
    "test:😀",
    "test:Tim",
    "test:tim",
    "test:TIM",
    "CON",
    "nul.txt",
    "com1:x",
    "test:dot.",
    "test:space ",
    "-rf",
    "~root",
    "x" * 512,
    "x" * 511 + "y",
    "é" * 256,
    "e\u0301",
    "\u00e9",
    "K",  # the Kelvin sign, whose lower case is an ordinary k
    "k",
]


async def test_awkward_ids_stay_in_the_folder_and_apart(tmp_path: Path) -> None:
    inside = tmp_path / "a" / "b" / "sessions"
    async with FileSessionStore(inside) as store:
        for number, session_id in enumerate(AWKWARD):
            await write(store, record_of(session_id, {"n": number}))
        for number, session_id in enumerate(AWKWARD):
            assert record_of(session_id, {"n": number}) == await read(store, session_id)
        assert sorted(AWKWARD) == sorted([record.id for record in await all_of(store)])
    leases = {inside / ".leases" / f"{shard:02x}" for shard in range(64)}
    written = set(files_below(tmp_path)) - leases
    assert len(AWKWARD) + 2 == len(written)  # and the lock and the .gitignore
    assert {inside} == {path.parent for path in written}


session_ids = st.text(max_size=512).filter(lambda text: 0 < len(text.encode()) <= 512)


@given(session_ids)
def test_a_name_is_short_plain_and_begins_readably(session_id: str) -> None:
    name = file_name(session_id)
    assert OURS.fullmatch(name)
    assert len(name) <= 40 + 1 + 64 + len(".json")
    assert not name.startswith("-")


def test_a_name_shows_the_beginning_of_the_id() -> None:
    assert file_name("telegram:164230").startswith("telegram_164230-")
    assert file_name("-rf").startswith("_rf-")


@settings(max_examples=40, deadline=None)
@given(st.lists(session_ids, unique=True, min_size=1, max_size=8))
def test_every_id_has_a_file_of_its_own(ids: list[str]) -> None:
    async def there_and_back(folder: str) -> None:
        async with FileSessionStore(folder) as store:
            for session_id in ids:
                assert await read(store, session_id) is None
                await write(store, record_of(session_id, {"id": session_id}))
            for session_id in ids:
                assert record_of(session_id, {"id": session_id}) == await read(store, session_id)
                await store.destroy(session_id, None)
                assert await read(store, session_id) is None

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(there_and_back(folder))


@settings(max_examples=40, deadline=None)
@given(st.lists(session_ids, unique=True, min_size=1, max_size=6), st.data())
def test_a_prefix_finds_what_begins_with_it(ids: list[str], data: st.DataObject) -> None:
    whole = data.draw(st.sampled_from(ids))
    prefix = whole[: data.draw(st.integers(0, len(whole)))]

    async def list_them(folder: str) -> None:
        async with FileSessionStore(folder) as store:
            for session_id in ids:
                await write(store, record_of(session_id))
            expected = sorted(session_id for session_id in ids if session_id.startswith(prefix))
            assert expected == sorted([record.id for record in await all_of(store, prefix)])

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(list_them(folder))


# The folder


async def test_the_folder_is_made_private_and_hidden_from_git(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "sessions"
    async with FileSessionStore(path) as store:
        await write(store, record_of())
        assert path.stat().st_mode & 0o777 == 0o700
        assert {0o600} == {entry.stat().st_mode & 0o777 for entry in files_below(path)}
        assert {0o700} == {
            entry.stat().st_mode & 0o777 for entry in path.iterdir() if entry.is_dir()
        }
        assert (path / ".gitignore").read_text() == "*\n"


async def test_a_gitignore_that_is_there_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / ".gitignore").write_text("*.tmp\n")
    async with FileSessionStore(tmp_path):
        assert (tmp_path / ".gitignore").read_text() == "*.tmp\n"


async def test_files_of_others_are_left_alone(tmp_path: Path) -> None:
    others = {tmp_path / name for name in ["notes.json", "x.tmp", "a.json.tmp", "tim-12.json"]}
    for path in others:
        path.write_text("mine")
    async with FileSessionStore(tmp_path) as store:
        assert await all_of(store) == []
        assert await store.due(10_000, 10) == []
    assert {"mine"} == {path.read_text() for path in others}


async def test_two_stores_share_a_folder_and_exclude_each_other(tmp_path: Path) -> None:
    async with FileSessionStore(tmp_path) as first, FileSessionStore(tmp_path) as second:
        mine = await held(first)
        with pytest.raises(SessionBusy):
            await held(second)
        await held(second, "test:zoe")
        await first.commit(record_of(), mine)
        assert record_of() == await read(second)
        other = await held(second)
        with pytest.raises(SessionBusy):
            await held(first)
        with pytest.raises(LeaseLost):
            await first.commit(record_of(state={"n": 2}), mine)
        await second.destroy(TIM, other)
        assert await read(first) is None


async def test_a_store_that_closes_leaves_the_others_their_locks_and_leases(tmp_path: Path) -> None:
    async with FileSessionStore(tmp_path) as first:
        async with FileSessionStore(tmp_path) as second:
            mine = await held(second)
        with pytest.raises(SessionBusy):
            await held(first)
        await first.commit(record_of(), mine)
        assert record_of() == await read(first)


async def test_two_stores_can_be_opened_at_once(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "sessions"
    for _ in range(20):
        stores = [FileSessionStore(folder) for _ in range(4)]
        await asyncio.gather(*(store.init() for store in stores))
        await asyncio.gather(
            *(write(store, record_of(f"test:{n}")) for n, store in enumerate(stores))
        )
        assert [len(await all_of(store)) for store in stores] == [4] * 4
        await asyncio.gather(*(store.close() for store in stores))
        shutil.rmtree(folder.parent)


async def test_a_closed_store_can_be_opened_again(tmp_path: Path) -> None:
    store = await FileSessionStore(tmp_path).init()
    assert store is await store.init()
    await write(store, record_of())
    await store.close()
    await store.close()
    with pytest.raises(SessionStoreUnavailable, match="is not open: use `async with store`"):
        await read(store)
    await store.init()
    assert record_of() == await read(store)
    await store.close()


async def test_no_thread_is_left_after_closing(tmp_path: Path) -> None:
    async with FileSessionStore(tmp_path) as store:
        leases = [await held(store, f"test:{number}") for number in range(20)]
        written = [record_of(lease.session_id) for lease in leases]
        pairs = zip(written, leases, strict=True)
        await asyncio.gather(*(store.commit(*pair) for pair in pairs))
        await all_of(store)
        opened = threads()
        assert {one.name.rpartition("-")[2] for one in opened} >= {"file", "list", "flush"}
    with pytest.raises(SessionStoreUnavailable):
        await FileSessionStore(tmp_path / ".lock").init()
    await ended(opened + threads())
    assert threads() == []


async def test_a_folder_is_free_though_a_copy_of_its_lock_file_is_open(tmp_path: Path) -> None:
    store = await FileSessionStore(tmp_path).init()
    inherited = os.dup(store._files._records._home._lock)  # as a fork has
    await store.close()
    stray(tmp_path)
    async with FileSessionStore(tmp_path):
        assert asides(tmp_path) == [], "it was not alone"
    os.close(inherited)


async def test_every_operation_needs_an_open_store(tmp_path: Path) -> None:
    store = FileSessionStore(tmp_path)
    for operation in (
        store.checkout(TIM, lease_on()),
        store.commit(record_of(), lease_on()),
        store.release(TIM, lease_on()),
        store.renew([lease_on()]),
        store.destroy(TIM, lease_on()),
        store.destroy(TIM, None),
        store.due(0, 1),
        all_of(store),
    ):
        with pytest.raises(SessionStoreUnavailable, match="is not open"):
            await operation


async def test_a_file_where_the_folder_should_be_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(SessionStoreUnavailable, match="cannot hold sessions") as caught:
            await FileSessionStore(path).init()
        assert isinstance(caught.value.__cause__, OSError)
        assert "Name a folder" in str(caught.value)


async def test_a_folder_that_takes_no_files_is_found_out_when_opened(folder: Path) -> None:
    async with FileSessionStore(folder):
        pass
    for name in (".lock", ".gitignore"):
        (folder / name).chmod(0o666)
    refused = pytest.raises(SessionStoreUnavailable, match="cannot hold sessions")
    with mode(folder, 0o500), refused as caught:
        await FileSessionStore(folder).init()
    assert isinstance(caught.value.__cause__, PermissionError)
    async with FileSessionStore(folder):  # the lock was given back
        pass


def stray(folder: Path) -> list[Path]:
    """Temporary files as a crash leaves them."""
    paths = [
        folder / f"{name}.0123456789abcdef.tmp"
        for name in (file_name(TIM), ".gitignore", f"{file_of(folder).stem}.{'a' * 16}.json")
    ]
    for path in paths:
        path.write_text("{")
    return paths


async def test_temporary_files_of_a_crash_are_cleared_away(tmp_path: Path) -> None:
    stray(tmp_path)
    async with FileSessionStore(tmp_path) as store:
        assert asides(tmp_path) == []
        assert await all_of(store) == []


async def test_temporary_files_of_a_store_that_is_open_are_not_cleared_away(tmp_path: Path) -> None:
    async with FileSessionStore(tmp_path) as first:
        paths = stray(tmp_path)
        async with FileSessionStore(tmp_path):
            assert sorted(paths) == sorted(asides(tmp_path))
        old = time.time() - 3700
        os.utime(paths[0], (old, old))  # but what has been there for an hour is
        async with FileSessionStore(tmp_path):
            assert sorted(paths[1:]) == sorted(asides(tmp_path))
        assert await all_of(first) == []
    async with FileSessionStore(tmp_path):
        assert asides(tmp_path) == []


async def test_a_folder_that_went_away_is_an_outage_and_not_new_users(tmp_path: Path) -> None:
    path = tmp_path / "sessions"
    async with FileSessionStore(path) as store:
        await write(store, record_of())
        lease = await held(store)
        path.rename(tmp_path / "moved")
        await assert_unavailable(store, lease)
        path.mkdir()  # as a mount point is, without the disk
        await assert_unavailable(store, lease)
        assert list(path.iterdir()) == []
        for operation in (store.renew([lease]), store.release(TIM, lease)):
            with pytest.raises(SessionStoreUnavailable, match="cannot lock"):
                await operation
        path.rmdir()
        (tmp_path / "moved").rename(path)
        await store.commit(record_of(state={"n": 2}), lease)
        assert record_of(state={"n": 2}) == await read(store)


async def test_a_folder_that_took_anothers_place_is_not_written_to(tmp_path: Path) -> None:
    path = tmp_path / "sessions"
    async with FileSessionStore(path) as store:
        lease = await held(store)
        path.rename(tmp_path / "moved")
        async with FileSessionStore(path) as other:
            await write(other, record_of(state={"other": True}))
            await assert_unavailable(store, lease)
            assert record_of(state={"other": True}) == await read(other)
        path.rename(tmp_path / "other")
        (tmp_path / "moved").rename(path)
        async with FileSessionStore(path) as third:
            with pytest.raises(SessionBusy):  # both know the lease: they lock the same file again
                await held(third)
            await store.commit(record_of(), lease)
            assert record_of() == await read(third)


async def test_a_folder_whose_lock_file_was_removed_is_not_written_to(tmp_path: Path) -> None:
    async with FileSessionStore(tmp_path) as store:
        await write(store, record_of())
        lease = await held(store)
        (tmp_path / ".lock").unlink()
        async with FileSessionStore(tmp_path) as other:
            await assert_unavailable(store, lease)
            await store.release(TIM, lease)
            assert record_of() == await read(other)


async def assert_unavailable(store: FileSessionStore, lease: Lease) -> None:
    """What the store says of a session on which it once gave the lease."""
    for operation in (
        store.checkout(TIM, lease),
        store.checkout("test:new", lease_on("test:new")),
        store.commit(record_of(state={"new": True}), lease),
        store.destroy(TIM, lease),
        store.due(10_000, 1),
        all_of(store),
    ):
        with pytest.raises(SessionStoreUnavailable):
            await operation


# Writes that fail


async def test_a_disk_without_room_leaves_the_old_session(tmp_path: Path) -> None:
    old, new = record_of(state={"n": 1}), record_of(state={"text": "x" * 100_000})
    async with FileSessionStore(tmp_path) as store:
        await write(store, old)
        refused = pytest.raises(SessionStoreUnavailable, match="It is as it was")
        with room_for(20_000), refused as caught:
            await write(store, new)
        assert caught.value.session_id == TIM
        assert caught.value.store == "file"
        assert isinstance(caught.value.__cause__, OSError)
        assert caught.value.__cause__.errno == errno.EFBIG
        assert "xxx" not in str(caught.value)
        assert asides(tmp_path) == []
        assert old == await read(store)
        await write(store, new)
        assert new == await read(store)


async def test_a_folder_that_turns_read_only_leaves_the_old_session(folder: Path) -> None:
    with unprivileged():
        store = await FileSessionStore(folder).init()
        await write(store, record_of())
        lease = await held(store)
    with mode(folder, 0o500):
        with pytest.raises(SessionStoreUnavailable, match="was not written") as written:
            await store.commit(record_of(state={"n": 2}), lease)
        refusals = [written]
        for how in (lease, None):
            with pytest.raises(SessionStoreUnavailable, match="was not destroyed") as destroyed:
                await store.destroy(TIM, how)
            refusals.append(destroyed)
        assert record_of() == await read(store)
    for caught in refusals:
        assert isinstance(caught.value.__cause__, PermissionError)
    await store.close()


async def test_a_file_that_may_not_be_read_is_an_outage_and_not_a_new_user(folder: Path) -> None:
    with unprivileged():
        store = await FileSessionStore(folder).init()
        await write(store, record_of())
        lease = await held(store)
    with mode(file_of(folder), 0o000):
        for operation in (
            store.checkout(TIM, lease),
            all_of(store),
            store.commit(record_of(), lease),
            store.destroy(TIM, lease),
        ):
            with pytest.raises(SessionStoreUnavailable, match="cannot be read now") as caught:
                await operation
            assert isinstance(caught.value.__cause__, PermissionError)
    await store.release(TIM, lease)
    assert record_of() == await read(store)
    await store.close()


async def test_a_folder_that_may_not_be_entered_is_an_outage(folder: Path) -> None:
    with unprivileged():
        store = await FileSessionStore(folder).init()
        await write(store, record_of())
        lease = await held(store)
    with mode(folder, 0o000):
        for operation in (
            store.checkout(TIM, lease),
            store.checkout("test:tom", lease_on("test:tom")),
            store.release(TIM, lease),
            all_of(store),
        ):
            with pytest.raises(SessionStoreUnavailable, match=r"cannot (be|lock)") as caught:
                await operation
            assert isinstance(caught.value.__cause__, PermissionError)
        with pytest.raises(SessionStoreUnavailable, match="was not written"):
            await store.commit(record_of(state={"n": 2}), lease)
    await store.release(TIM, lease)
    assert record_of() == await read(store)
    await store.close()


async def test_a_folder_that_may_not_be_listed_is_an_outage(folder: Path) -> None:
    with unprivileged():
        store = await FileSessionStore(folder).init()
    with mode(folder, 0o300), pytest.raises(SessionStoreUnavailable, match="cannot be listed"):
        await all_of(store)
    await store.close()


def store_on(files: type[RecordFiles], folder: Path) -> FileSessionStore:
    """A store that does with files as `files` does."""
    store = FileSessionStore(folder)
    store._new_files = partial(store._new_files, records=files)
    return store


class Observed(RecordFiles):
    """Notes the order in which the steps of a write are done."""

    steps: list[str]

    def _put_in_place(self, aside: str, path: str) -> None:
        super()._put_in_place(aside, path)
        self.steps.append("replace")


async def test_a_write_is_flushed_before_it_takes_its_place_and_so_is_the_name_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flush = os.fsync

    def noted(descriptor: int) -> None:
        flush(descriptor)
        folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        steps.append("flush the folder" if folder else "flush the file")

    steps: list[str] = []
    monkeypatch.setattr(Observed, "steps", steps, raising=False)
    async with store_on(Observed, tmp_path) as store:
        monkeypatch.setattr(os, "fsync", noted)
        steps.clear()
        await write(store, record_of())
        assert steps == ["flush the file", "replace", "flush the folder"]
        steps.clear()
        await read(store)  # a lease needs no flush
        assert steps == []
        await store.destroy(TIM, None)
        assert steps == ["flush the folder"]


class LosesFolder(RecordFiles):
    """Its folder is moved away between a file's replacement and the flush of the folder."""

    def _put_in_place(self, aside: str, path: str) -> None:
        super()._put_in_place(aside, path)
        if ".gitignore" not in path:
            self._folder.rename(f"{self._folder}-moved")


async def test_a_write_that_may_not_last_is_unknown(tmp_path: Path) -> None:
    async with store_on(LosesFolder, tmp_path / "sessions") as store:
        lease = await held(store)
        with pytest.raises(CommitUnknown, match="is not known") as caught:
            await store.commit(record_of(), lease)
        assert caught.value.session_id == TIM
        assert isinstance(caught.value.__cause__, FileNotFoundError)
    async with FileSessionStore(tmp_path / "sessions-moved") as store:
        assert [record_of()] == await all_of(store)
        await store.release(TIM, lease)  # it was not given back, so that the turn may look again
        assert record_of() == await read(store)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder that cannot be flushed")
def test_a_file_system_that_cannot_flush_folders_is_no_failure() -> None:
    descriptor = os.open("/proc", os.O_RDONLY)
    try:
        with pytest.raises(OSError, match=os.strerror(errno.EINVAL)):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
    sync(Path("/proc"))


# Destroying


async def test_a_destroyed_session_is_gone_and_twice_is_no_error(tmp_path: Path) -> None:
    async with FileSessionStore(tmp_path) as store:
        await write(store, record_of())
        await store.destroy(TIM, None)
        assert not file_of(tmp_path).exists()
        assert await read(store) is None
        await store.destroy(TIM, None)


# Files that cannot be understood

WHOLE = record_of(state={"secret": "swordfish"}).encode()
BAD = {
    "empty": b"",
    "truncated": WHOLE[: len(WHOLE) // 2],
    "not JSON": b"swordfish",
    "not UTF-8": WHOLE.replace(b"swordfish", b"\xff\xfe"),
    "no object": b"[]",
    "no record": b'{"id": "test:tim", "secret": "swordfish"}',
    "another's": WHOLE.replace(b"test:tim", b"test:tom"),
    "zeros": bytes(len(WHOLE)),
    "two": WHOLE + WHOLE,
    "deep": b"[" * 100_000,
}


@pytest.mark.parametrize("kind", BAD)
async def test_a_bad_file_is_reported_kept_and_never_overwritten(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    path = file_of(tmp_path)
    async with FileSessionStore(tmp_path) as store:
        lease = await held(store)
        path.write_bytes(BAD[kind])
        for operation in (
            store.checkout(TIM, lease),
            store.checkout(TIM, lease),
            store.commit(record_of(), lease),
        ):
            with pytest.raises(SessionUnreadable) as caught:
                await operation
            assert str(path) in str(caught.value)
            assert "restore the file from a copy, or destroy the session" in str(caught.value)
            assert caught.value.session_id == TIM
            assert caught.value.store == "file"
            assert "swordfish" not in str(caught.value)
        assert BAD[kind] == path.read_bytes()
        (kept,) = (tmp_path / "unreadable").iterdir()
        assert BAD[kind] == kept.read_bytes()
        ((name, level, message),) = caplog.record_tuples
        assert (name, level) == ("barback", logging.WARNING)
        assert str(path) in message
        assert str(kept) in message
        assert "swordfish" not in message

        await store.release(TIM, lease)
        with pytest.raises(SessionUnreadable):  # and so to a turn that begins
            await read(store)
        await store.destroy(TIM, None)
        assert not path.exists()
        assert [kept] == list((tmp_path / "unreadable").iterdir())
        assert BAD[kind] == kept.read_bytes()
        assert await read(store) is None
        await write(store, record_of())
        assert record_of() == await read(store)
        assert asides(tmp_path) == []


@settings(max_examples=60, deadline=None)
@given(st.integers(0, len(WHOLE) - 1), st.integers(0, 2), st.binary(max_size=2))
def test_a_damaged_file_is_a_record_or_unreadable(at: int, length: int, damage: bytes) -> None:
    async def read_it(folder: Path) -> None:
        damaged = WHOLE[:at] + damage + WHOLE[at + length :]
        async with FileSessionStore(folder) as store:
            file_of(folder).write_bytes(damaged)
            try:
                record = await read(store)
            except SessionUnreadable:
                assert damaged == file_of(folder).read_bytes()
            else:
                assert record is not None
                msgspec.json.decode(record.state)

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(read_it(Path(folder)))


async def test_mending_a_bad_file_in_place_does_not_change_the_copy(tmp_path: Path) -> None:
    async with FileSessionStore(tmp_path) as store:
        await write(store, record_of())
        good = file_of(tmp_path).read_bytes()
        file_of(tmp_path).write_bytes(good[:-10])
        with pytest.raises(SessionUnreadable):
            await read(store)
        with file_of(tmp_path).open("r+b") as file:
            file.write(good)
        assert record_of() == await read(store)
    (kept,) = (tmp_path / "unreadable").iterdir()
    assert good[:-10] == kept.read_bytes()


async def test_each_bad_content_is_kept_once(tmp_path: Path) -> None:
    for content in (b"one", b"one", b"two"):
        file_of(tmp_path).write_bytes(content)
        async with FileSessionStore(tmp_path) as store:
            with pytest.raises(SessionUnreadable):
                await read(store)
    kept = (tmp_path / "unreadable").iterdir()
    assert sorted(path.read_bytes() for path in kept) == [b"one", b"two"]


async def test_a_folder_in_place_of_the_file_is_a_bad_file(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = file_of(tmp_path)
    (path / "inside").mkdir(parents=True)
    async with FileSessionStore(tmp_path) as store:
        path.rename(tmp_path / "away")
        lease = await held(store)
        (tmp_path / "away").rename(path)
        for operation in (store.checkout(TIM, lease), store.commit(record_of(), lease)):
            with pytest.raises(SessionUnreadable, match="is left as it is: restore"):
                await operation
        assert (path / "inside").is_dir()
        assert len(caplog.records) == 1
        await store.destroy(TIM, None)
        assert await read(store) is None
        (kept,) = (tmp_path / "unreadable").iterdir()
        assert (kept / "inside").is_dir()


async def test_a_bad_file_is_reported_even_if_it_cannot_be_copied(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "unreadable").write_text("in the way")
    async with FileSessionStore(tmp_path) as store:
        file_of(tmp_path).write_bytes(b"{")
        with pytest.raises(SessionUnreadable):
            await read(store)
        with pytest.raises(SessionStoreUnavailable, match="was not destroyed"):
            await store.destroy(TIM, None)
    assert "could not be copied" in caplog.text
    assert file_of(tmp_path).read_bytes() == b"{"


async def test_a_session_of_newer_code_is_neither_bad_nor_overwritten(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    newer = msgspec.structs.replace(record_of(), format=99).encode()
    async with FileSessionStore(tmp_path) as store:
        lease = await held(store)
        file_of(tmp_path).write_bytes(newer)
        for operation in (store.checkout(TIM, lease), store.commit(record_of(), lease)):
            with pytest.raises(SessionTooNew, match="Update barback") as caught:
                await operation
            assert str(file_of(tmp_path)) in str(caught.value)
        assert newer == file_of(tmp_path).read_bytes()
        assert not (tmp_path / "unreadable").exists()
        assert caplog.records == []
        await store.destroy(TIM, None)
        assert await read(store) is None


# Listing


async def test_listing_goes_page_by_page(tmp_path: Path) -> None:
    ids = {f"test:{number}" for number in range(150)}
    async with FileSessionStore(tmp_path) as store:
        await asyncio.gather(*(write(store, record_of(one)) for one in ids))
        listing = store.all()
        first = [(await anext(listing)).id for _ in range(64)]
        for session_id in ids.difference(first):  # what is destroyed meanwhile is not read ahead
            await store.destroy(session_id, None)
        assert [record.id async for record in listing] == []
        assert set(first) == {record.id for record in await all_of(store)}


async def test_a_bad_file_hides_no_other_session_from_a_listing(tmp_path: Path) -> None:
    ids = [f"test:{number}" for number in range(70)]
    async with FileSessionStore(tmp_path) as store:
        for session_id in ids:
            await write(store, record_of(session_id, expires_at=5_000))
        file_of(tmp_path, ids[0]).write_bytes(b"")
        shutil.copy(file_of(tmp_path, ids[2]), file_of(tmp_path, ids[1]))
        listed = set()

        async def list_them() -> None:
            async for record in store.all("test:"):
                listed.add(record.id)

        with pytest.raises(SessionUnreadable, match=r"^2 sessions in .*; the first is ") as caught:
            await list_them()
        assert set(ids[2:]) == listed
        assert str(tmp_path) in str(caught.value)
        assert set(ids[2:]) == {record.id for record in await store.due(5_000, 100)}
        assert await all_of(store, "other:") == []


async def test_due_are_those_whose_time_is_over(tmp_path: Path) -> None:
    async with FileSessionStore(tmp_path) as store:
        for number in range(100):
            session_id = f"test:{number}"
            await write(store, record_of(session_id, expires_at=number))
        await write(store, record_of("test:ever", expires_at=None))
        due = await store.due(9, 100)
        assert set(range(10)) == {record.expires_at for record in due}
        assert len(await store.due(99, 3)) == 3
        assert await store.due(99, 0) == []
        assert len(await all_of(store)) == 101


# Cancellation


class Gated(RecordFiles):
    """Its writes wait at a gate, between the temporary file's content and its flush."""

    arrived: ClassVar[threading.Semaphore]
    gate: ClassVar[threading.Event]

    def _fill(self, descriptor: int, data: bytes) -> None:
        super()._fill(descriptor, data)
        self.arrived.release()
        assert self.gate.wait(30)


@pytest.fixture
def gated(tmp_path: Path) -> FileSessionStore:
    Gated.arrived, Gated.gate = threading.Semaphore(0), threading.Event()
    Gated.gate.set()
    return store_on(Gated, tmp_path)


async def close_the_gate() -> None:
    await asyncio.to_thread(Gated.arrived.acquire)  # the .gitignore has gone through
    Gated.gate.clear()


async def test_a_cancelled_commit_is_finished_before_the_next_operation(
    gated: FileSessionStore, tmp_path: Path
) -> None:
    async with gated as store:
        lease = await held(store)
        await close_the_gate()
        task = asyncio.ensure_future(store.commit(record_of(state={"n": 1}), lease))
        await asyncio.to_thread(Gated.arrived.acquire)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        mine, next_one = lease_on(version=1), lease_on()
        after = asyncio.gather(
            store.checkout(TIM, mine),
            store.commit(record_of(state={"n": 2}), mine),
            store.checkout(TIM, next_one),
        )
        Gated.gate.set()
        first, _, second = await after
    assert record_of(state={"n": 1}) == first
    assert record_of(state={"n": 2}) == second
    assert asides(tmp_path) == []


async def test_a_commit_cancelled_in_the_queue_is_carried_out(gated: FileSessionStore) -> None:
    async with gated as store:
        lease = await held(store)
        await close_the_gate()
        first = asyncio.ensure_future(store.commit(record_of(state={"n": 1}), lease, keep=True))
        await asyncio.to_thread(Gated.arrived.acquire)
        lease = lease_on(token=lease.token, version=1)
        second = asyncio.ensure_future(store.commit(record_of(state={"n": 2}), lease))
        await asyncio.sleep(0)  # it is queued
        second.cancel()
        Gated.gate.set()
        await first
        with pytest.raises(asyncio.CancelledError):
            await second
        assert record_of(state={"n": 2}) == await read(store)


async def test_closing_waits_for_a_write_on_its_way(
    gated: FileSessionStore, tmp_path: Path
) -> None:
    store = await gated.init()
    lease = await held(store)
    await close_the_gate()
    writing = asyncio.ensure_future(store.commit(record_of(), lease))
    await asyncio.to_thread(Gated.arrived.acquire)
    closing = asyncio.create_task(store.close())
    await asyncio.sleep(0)  # it has begun
    assert store._worker is None
    async with FileSessionStore(tmp_path):
        assert len(asides(tmp_path)) == 1, "the folder was not held until the end"
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    Gated.gate.set()
    await writing
    await store.close()  # waits for the cancelled one, which goes on by itself
    stray(tmp_path)
    async with FileSessionStore(tmp_path) as reopened:
        assert asides(tmp_path) == [], "the folder was not given back"
        assert record_of() == await read(reopened)


def test_a_loop_that_ends_leaves_its_commit_to_the_store(
    gated: FileSessionStore, tmp_path: Path
) -> None:
    async def begin() -> None:
        await gated.init()
        lease = await held(gated)
        await close_the_gate()
        begun = asyncio.ensure_future(gated.commit(record_of(), lease))
        await asyncio.to_thread(Gated.arrived.acquire)
        assert not begun.done()

    async def look() -> Record | None:
        async with FileSessionStore(tmp_path) as store:
            return await read(store)

    asyncio.run(begin())
    Gated.gate.set()
    asyncio.run(gated.close())
    assert record_of() == asyncio.run(look())


async def test_a_cancelled_opening_gives_the_folder_back(
    gated: FileSessionStore, tmp_path: Path
) -> None:
    Gated.gate.clear()
    opening = asyncio.create_task(gated.init())
    await asyncio.to_thread(Gated.arrived.acquire)
    opening.cancel()
    Gated.gate.set()
    with pytest.raises(asyncio.CancelledError):
        await opening
    stray(tmp_path)
    async with FileSessionStore(tmp_path):
        assert asides(tmp_path) == []


async def test_what_a_cancelled_closing_still_does_is_nothing_to_the_next_opening(
    tmp_path: Path,
) -> None:
    store = await FileSessionStore(tmp_path).init()
    lease = await held(store)
    lease_file = os.open(tmp_path / ".leases" / f"{store._place(TIM).shard:02x}", os.O_RDWR)
    assert try_lock(lease_file)
    writing = store.commit(record_of(), lease)
    await cancelled(asyncio.create_task(store.close()))
    earlier = threads()
    await store.init()
    os.close(lease_file)
    await writing
    await ended(earlier)  # the closing, which has given back what was its own
    await assert_open(store, tmp_path)
    assert record_of() == await read(store)
    await store.close()
    async with FileSessionStore(tmp_path):
        assert asides(tmp_path) == [], "the folder was not given back"


async def test_what_a_cancelled_opening_still_does_is_nothing_to_the_next_one(
    gated: FileSessionStore, tmp_path: Path
) -> None:
    Gated.gate.clear()
    opening = asyncio.create_task(gated.init())
    await asyncio.to_thread(Gated.arrived.acquire)
    opening.cancel()
    await asyncio.sleep(0)  # it waits until it can give the folder back
    assert not opening.done()
    await cancelled(opening)
    earlier = threads()
    next_one = asyncio.create_task(gated.init())
    await asyncio.to_thread(Gated.arrived.acquire)
    Gated.gate.set()
    store = await next_one
    await ended(earlier)
    await assert_open(store, tmp_path)
    await store.close()
    async with FileSessionStore(tmp_path):
        assert asides(tmp_path) == [], "the folder was not given back"


async def cancelled(task: asyncio.Task[Any]) -> None:
    """Cancel what has begun."""
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def threads() -> list[threading.Thread]:
    return [one for one in threading.enumerate() if one.name.startswith("barback")]


async def ended(some: list[threading.Thread]) -> None:
    """They answer first, and then end."""
    for thread in some:
        await asyncio.to_thread(thread.join, 10)
        assert not thread.is_alive()


async def assert_open(store: FileSessionStore, folder: Path) -> None:
    """The store has its share in the folder's lock, and does its work."""
    paths = stray(folder)
    async with FileSessionStore(folder):
        assert sorted(paths) == sorted(asides(folder)), "the folder is not held"
    await write(store, record_of("test:ann", {"n": 1}))
    assert record_of("test:ann", {"n": 1}) == await read(store, "test:ann")


# Threads


@contextmanager
def no_more_threads() -> Iterator[None]:
    """No thread can be started: each would have more stack than there are addresses."""
    before = threading.stack_size(1 << 47)
    try:
        yield
    finally:
        threading.stack_size(before)


async def test_a_store_that_is_open_does_without_more_threads(tmp_path: Path) -> None:
    async with FileSessionStore(tmp_path) as store:
        leases = [await held(store, f"test:{number}") for number in range(20)]
        written = [record_of(lease.session_id) for lease in leases]
        with no_more_threads():
            pairs = zip(written, leases, strict=True)
            await asyncio.gather(*(store.commit(*pair) for pair in pairs))
            with pytest.raises(SessionStoreUnavailable, match="cannot start a thread") as caught:
                await all_of(store)
            assert isinstance(caught.value.__cause__, RuntimeError)
        found = await all_of(store)
        assert sorted(written, key=attrgetter("id")) == sorted(found, key=attrgetter("id"))


async def test_a_store_that_fails_to_open_for_want_of_a_thread_may_be_opened_later(
    tmp_path: Path,
) -> None:
    store = FileSessionStore(tmp_path)
    with no_more_threads(), pytest.raises(SessionStoreUnavailable, match="cannot start a thread"):
        await store.init()
    async with asyncio.timeout(10), store:
        await write(store, record_of())


# Making one


def test_a_store_has_documented_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = FileSessionStore()
    assert store.name == "file"
    assert store.dirname == ".sessions"
    assert store.expires_in == ONE_YEAR
    assert store.timeout == 5
    assert FileSessionStore(tmp_path, expires_in=None).expires_in is None
    assert FileSessionStore(tmp_path, expires_in=1.5).expires_in == timedelta(seconds=90)


async def test_a_relative_folder_stays_where_it_was_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = FileSessionStore("sessions")
    monkeypatch.chdir("/")
    async with store:
        assert (tmp_path / "sessions" / ".lock").exists()


@pytest.mark.parametrize("dirname", ["", "a\0b", b"sessions", 5, None])
def test_a_folder_needs_a_name(dirname: Any) -> None:
    with pytest.raises(ConfigurationError, match="needs the name of a folder"):
        FileSessionStore(dirname)


@pytest.mark.parametrize(
    ("url", "dirname", "expires_in"),
    [
        ("file:.sessions", ".sessions", ONE_YEAR),
        ("file:rel/path?expires_in=30", "rel/path", timedelta(minutes=30)),
        ("file:///abs/path", "/abs/path", ONE_YEAR),
        ("file:/abs/path?expires_in=never", "/abs/path", None),
        ("file:with%20space/%C3%A9%3F", "with space/é?", ONE_YEAR),
    ],
)
def test_a_url_names_the_folder(url: str, dirname: str, expires_in: timedelta | None) -> None:
    store = FileSessionStore.from_url(url)
    assert store.dirname == dirname
    assert store.expires_in == expires_in
    assert store.timeout == 5


def test_a_url_may_say_how_long_to_wait() -> None:
    store = FileSessionStore.from_url("file:.sessions?timeout=0.5&expires_in=30")
    assert store.timeout == 0.5
    assert store.expires_in == timedelta(minutes=30)


async def test_a_wait_may_be_a_timedelta(tmp_path: Path) -> None:
    timeout: Any = timedelta(seconds=2)
    async with FileSessionStore(tmp_path, timeout=timeout) as store:
        assert store.timeout == 2
        await write(store, record_of())


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf"), "5", None, True])
def test_a_wait_is_a_number_of_seconds(timeout: Any) -> None:
    with pytest.raises(ConfigurationError, match="timeout must be a number of seconds"):
        FileSessionStore(timeout=timeout)


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("file:", "needs the name of a folder"),
        ("file:x?expire_in=3", "no option 'expire_in'; it has expires_in"),
        ("file:x?timeout=never", "option timeout cannot be 'never'"),
        ("file:x?expires_in=soon", "expires_in cannot be 'soon'"),
        ("file:x?expires_in=0", "expires_in must be more than zero"),
        ("file:x?expires_in=nan", "expires_in must be a finite number"),
        ("file://host/path", "Write file:folder .* or file:///folder"),
        ("file://.sessions", "Write file:folder for one"),
        ("file:a%00b", "needs the name of a folder"),
    ],
)
def test_a_url_that_cannot_be_meant_is_refused(url: str, sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        FileSessionStore.from_url(url)
