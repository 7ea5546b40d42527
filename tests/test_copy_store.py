"""Moving house: what `copy_store` brings over, what it leaves alone, and how it stops."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec
import pytest

from barback import (
    CommitUnknown,
    ConfigurationError,
    FileSessionStore,
    Lease,
    LeasedStore,
    LeaseLost,
    ListedStore,
    ListingUnsupported,
    LocalLeases,
    MemorySessionStore,
    Record,
    SessionBusy,
    SessionStore,
    SessionStoreUnavailable,
    SessionUnreadable,
    SQLiteSessionStore,
)
from barback.record import NEVER
from barback.stores import copying
from barback.stores.copying import Copied, copy_store
from barback.testing.contract_sessions import HOSTILE_IDS
from barback.testing.contract_tools import TIM, lease_on, leased, now, peek, put, record_of
from tests.every_store import SHARED, own_url
from tests.scripted import ScriptedStore, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path
    from typing import Self

FULL: dict[str, Any] = {
    "schema": 7,
    "lifetime": 86_400_000,
    "seen": {"line:message:9": 5, "line:message:1": 3, "~f00": 4},
    "users": ("line:tim", "line:ann"),
    "address": '{"to": "tim"}',
}


async def many(count: int = 200) -> tuple[MemorySessionStore, dict[str, Record]]:
    """A store with so many sessions, and what is in it."""
    store = MemorySessionStore()
    records = [await put(store, f"test:{number}", {"n": number}, **FULL) for number in range(count)]
    return store, {record.id: record for record in records}


async def content(store: SessionStore | LeasedStore) -> dict[str, Record]:
    async with leased(store) as opened:
        return {record.id: record async for record in opened.all()}


def counts(done: Copied) -> tuple[int, int, int, int]:
    return done.copied, done.replaced, done.present, done.conflicts


def damage(folder: Path, session_id: str) -> None:
    """Cut the end off a session's file."""
    [path] = [
        path
        for path in folder.glob("*.json")
        if msgspec.json.decode(path.read_bytes())["id"] == session_id
    ]
    path.write_bytes(path.read_bytes()[:-20])


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


# What is brought over.


@pytest.mark.parametrize("store", SHARED)
async def test_a_session_keeps_everything_on_every_move(
    store: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    source = MemorySessionStore()
    for session_id in HOSTILE_IDS:
        await put(source, session_id, {"id": session_id}, **FULL, expires_at=now() + 9_999)
    await put(source, "test:expired", expires_at=1, seen={"a": 1})
    await put(source, "test:for-ever", lifetime=NEVER, expires_at=None)
    await put(source, "test:floats", b'{"a":1.0,"b":-0.0,"c":1e300}')
    for number in range(2 * copying.SIDE_BY_SIDE):
        await put(source, f"test:{number}", {"n": number})
    before = await content(source)

    url, back = own_url(store, request, tmp_path), MemorySessionStore()
    for one, other in (
        (source, url),
        (url, f"file:{tmp_path}/back"),
        (f"file:{tmp_path}/back", back),
    ):
        done = await copy_store(one, other)
        assert (len(before), 0, 0, 0) == counts(done)

    after = await content(back)
    assert before == after
    for session_id, record in before.items():
        assert list(record.seen) == list(after[session_id].seen)
    assert (0, 0, len(before), 0) == counts(await copy_store(back, url))


async def test_stores_are_named_by_url_too(tmp_path: Path) -> None:
    source, records = await many(20)
    await copy_store(source, f"file:{tmp_path}/one")
    done = await copy_store(f"file:{tmp_path}/one", f"file:{tmp_path}/two")
    assert counts(done) == (20, 0, 0, 0)
    assert records == await content(FileSessionStore(tmp_path / "two"))


async def test_a_prefix_chooses_whose_sessions_are_copied() -> None:
    source, target = MemorySessionStore(), MemorySessionStore()
    for session_id in ("shop/line:1", "shop/line:2", "test:1"):
        await put(source, session_id)
    done = await copy_store(source, target, prefix="shop/")
    assert counts(done) == (2, 0, 0, 0)
    assert {"shop/line:1", "shop/line:2"} == set(await content(target))


async def test_an_open_store_stays_open_and_another_is_closed_again() -> None:
    class Noting(MemorySessionStore):
        async def init(self) -> Self:
            noted.append("opened")
            return self

        async def close(self) -> None:
            noted.append("closed")

    noted: list[str] = []
    async with Noting() as source:
        await copy_store(source, Noting())
        assert noted == ["opened", "opened", "closed"]
    assert noted == ["opened", "opened", "closed", "closed"]


async def test_the_source_is_only_read() -> None:
    source = ScriptedStore()
    await put(source.inner)
    await copy_store(source, MemorySessionStore())
    assert source.calls == []


async def test_a_copy_that_is_not_verified_takes_two_operations() -> None:
    source, _ = await many(1)
    verified, plain = ScriptedStore(), ScriptedStore()
    await copy_store(source, verified)
    await copy_store(source, plain, verify=False)
    assert verified.calls == ["checkout", "commit", "checkout", "release"]
    assert plain.calls == ["checkout", "commit"]
    assert plain.is_free("test:0")
    assert verified.is_free("test:0")


async def test_progress_is_told_after_each_session() -> None:
    source, _ = await many(100)
    told: list[int] = []
    await copy_store(source, MemorySessionStore(), progress=lambda done: told.append(done.copied))
    assert list(range(1, 101)) == told


async def test_sessions_are_copied_side_by_side_and_never_all_at_once() -> None:
    class Wide(ScriptedStore):
        held = most = read = ahead = ended = 0

        async def checkout(self, session_id: str, lease: Lease) -> Record | None:
            self.held += 1
            self.most = max(self.most, self.held)
            return await super().checkout(session_id, lease)

        async def commit(self, record: Record, lease: Lease, *, keep: bool = False) -> None:
            await super().commit(record, lease, keep=keep)
            self.held -= 1

    class Counted(MemorySessionStore):
        async def all(self, prefix: str = "") -> AsyncIterator[Record]:
            async for record in super().all(prefix):
                target.read += 1
                target.ahead = max(target.ahead, target.read - target.ended)
                yield record

    def ended(done: Copied) -> None:
        target.ended = done.copied

    source, target = Counted(), Wide()
    for number in range(500):
        await put(source, f"test:{number}")
    await copy_store(source, target, verify=False, progress=ended)
    assert target.most == copying.SIDE_BY_SIDE
    assert target.ahead <= copying.SIDE_BY_SIDE + 1


# What is there already, and what is in conflict.


async def test_a_second_run_copies_what_is_missing_and_writes_nothing_else() -> None:
    source, records = await many(50)
    target = ScriptedStore()
    for number in range(30):
        lease = lease_on(f"test:{number}")
        await target.inner.checkout(lease.session_id, lease)
        await target.inner.commit(records[lease.session_id], lease)
    assert counts(await copy_store(source, target)) == (20, 0, 30, 0)
    assert target.calls.count("commit") == 20
    assert counts(await copy_store(source, target)) == (0, 0, 50, 0)
    assert target.calls.count("commit") == 20
    assert records == await content(target)


@pytest.mark.parametrize("same_version", [True, False])
async def test_another_record_is_left_alone_and_named(same_version: bool) -> None:  # noqa: FBT001
    source, target = MemorySessionStore(), MemorySessionStore()
    ours = await put(source, TIM, {"n": 1})
    await put(source, "test:ann")
    fields = {"version": ours.version} if same_version else {}
    theirs = await put(target, TIM, {"n": 2}, **fields)
    done = await copy_store(source, target)
    assert counts(done) == (1, 0, 0, 1)
    assert done.in_conflict == [TIM]
    assert theirs == await peek(target)
    assert str(done) == "1 session copied, 1 in conflict"


async def test_another_record_is_replaced_where_that_is_wanted() -> None:
    source, target = MemorySessionStore(), MemorySessionStore()
    ours = await put(source, TIM, {"n": 1})
    await put(source, "test:ann")
    await put(target, TIM, {"n": 2})
    done = await copy_store(source, target, replace=True)
    assert counts(done) == (2, 1, 0, 0)
    assert ours == await peek(target)
    assert str(done) == "2 sessions copied (1 in place of another)"


async def test_what_changed_during_a_first_run_is_brought_over_by_a_second() -> None:
    source, _ = await many(20)
    target = MemorySessionStore()
    await copy_store(source, target)
    changed = await put(source, "test:3", {"n": "changed"})
    assert counts(await copy_store(source, target)) == (0, 0, 19, 1)
    assert counts(await copy_store(source, target, replace=True)) == (1, 1, 19, 0)
    assert changed == await peek(target, "test:3")


async def test_only_some_of_many_conflicts_are_named() -> None:
    source, _ = await many(100)
    target, _ = await many(100)
    done = await copy_store(source, target)
    assert counts(done) == (0, 0, 0, 100)
    assert len(done.in_conflict) == copying.EXAMPLES


async def test_what_cannot_be_read_in_the_target_is_never_replaced(tmp_path: Path) -> None:
    source = MemorySessionStore()
    await put(source)
    target = leased(FileSessionStore(tmp_path))
    async with target:
        await put(target)
        damage(tmp_path, TIM)
        done = await copy_store(source, target, replace=True)
        assert counts(done) == (0, 0, 0, 1)
        with pytest.raises(SessionUnreadable):
            await peek(target)


# What the source cannot give.


async def test_what_cannot_be_read_is_told_after_all_others_have_been_copied(
    tmp_path: Path,
) -> None:
    source, _ = await many(150)
    await copy_store(source, f"file:{tmp_path}")
    damage(tmp_path, "test:7")
    target = MemorySessionStore()
    with pytest.raises(SessionUnreadable) as raised:
        await copy_store(FileSessionStore(tmp_path), target)
    assert len(await content(target)) == 149
    assert raised.value.__notes__ == ["Until then: 149 sessions copied."]


async def test_a_broken_state_that_a_store_passes_on_does_not_reach_the_target() -> None:
    source, target = MemorySessionStore(), MemorySessionStore()
    await put(source, TIM, b'{"n":')
    await put(source, "test:ann")
    with pytest.raises(SessionUnreadable, match="test:tim"):
        await copy_store(source, target)
    assert {"test:ann"} == set(await content(target))


async def test_a_source_that_cannot_list_says_so_before_the_target_is_opened(
    tmp_path: Path,
) -> None:
    class FourMethods(SessionStore):
        async def init(self) -> Self:
            return self

        async def read(self, session_id: str) -> Record | None:
            return None

        async def write(self, session_id: str, record: Record) -> None: ...

        async def destroy(self, session_id: str) -> None: ...

    with pytest.raises(ListingUnsupported):
        await copy_store(FourMethods(), FileSessionStore(tmp_path / "target"))
    assert not (tmp_path / "target").exists()


class Listing(ListedStore):
    """A driver that lists as its `listed` does."""

    name: ClassVar[str] = "listing"

    def __init__(self, listed: AsyncIterator[Record]) -> None:
        self.listed = listed

    async def init(self) -> Self:
        return self

    async def read(self, session_id: str) -> Record | None:
        return None

    async def write(self, session_id: str, record: Record) -> None: ...

    async def destroy(self, session_id: str) -> None: ...

    def all(self, prefix: str = "") -> AsyncIterator[Record]:
        return self.listed

    async def due(self, before: int, limit: int) -> list[Record]:
        return []


@pytest.mark.parametrize("error", [RuntimeError("broken"), SessionStoreUnavailable("broken")])
async def test_a_source_that_fails_in_the_middle_ends_the_copy(error: Exception) -> None:
    async def listed() -> AsyncIterator[Record]:
        for number in range(100):
            yield record_of(f"test:{number}")
        raise error

    target = MemorySessionStore()
    with pytest.raises(SessionStoreUnavailable) as raised:
        await copy_store(Listing(listed()), target)
    assert error in {raised.value, raised.value.__cause__}
    assert len(await content(target)) == 100  # what was under way came to its end
    assert len(raised.value.__notes__) == 1


# A target that fails, is busy, or lies.


async def test_a_target_that_fails_ends_the_copy_and_the_next_run_goes_on() -> None:
    source, records = await many(300)
    target = ScriptedStore()
    target.script("commit", *["ok"] * 120, "unavailable")
    told = Copied()

    def tell(done: Copied) -> None:
        nonlocal told
        told = done

    with pytest.raises(SessionStoreUnavailable, match="scripted") as raised:
        await copy_store(source, target, progress=tell)
    assert 120 <= told.copied <= 120 + copying.SIDE_BY_SIDE
    assert [f"Until then: {told}."] == raised.value.__notes__
    assert all(target.is_free(session_id) for session_id in records)
    assert (300 - told.copied, 0, told.copied, 0) == counts(await copy_store(source, target))
    assert records == await content(target)


@pytest.mark.parametrize("fault", ["applied", "unknown", "lost"])
@pytest.mark.parametrize("verify", [True, False])
async def test_a_commit_without_an_answer_is_looked_at_again(
    fault: str,
    verify: bool,  # noqa: FBT001
) -> None:
    source, records = await many(10)
    target = ScriptedStore()
    target.script("commit", fault, "ok", fault)
    assert counts(await copy_store(source, target, verify=verify)) == (10, 0, 0, 0)
    assert records == await content(target)
    assert all(target.is_free(session_id) for session_id in records)


@pytest.mark.parametrize(("fault", "error"), [("unknown", CommitUnknown), ("lost", LeaseLost)])
async def test_a_commit_that_never_succeeds_is_an_error(fault: str, error: type[Exception]) -> None:
    source, _ = await many(1)
    target = ScriptedStore()
    target.script("commit", *[fault] * copying.SENDS)
    with pytest.raises(error):
        await copy_store(source, target)
    assert target.calls.count("commit") == copying.SENDS
    assert target.is_free("test:0")


async def test_a_session_in_a_turn_is_waited_for() -> None:
    source, records = await many(10)
    target = ScriptedStore()
    lease = lease_on("test:5")
    await target.inner.checkout("test:5", lease)
    copying_on = asyncio.create_task(copy_store(source, target))
    await until(lambda: target.calls.count("commit") == 9)
    await target.inner.release("test:5", lease)
    assert counts(await copying_on) == (10, 0, 0, 0)
    assert records == await content(target)


async def test_a_session_that_stays_in_a_turn_ends_the_copy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(copying, "LEASE_WAIT", 0.02)
    source, _ = await many(10)
    target = MemorySessionStore()
    await target.checkout("test:5", lease_on("test:5"))
    with pytest.raises(SessionBusy):
        await copy_store(source, target)
    assert len(await content(target)) == 9


async def test_a_lease_that_cannot_be_given_back_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    source, _ = await many(1)
    target = ScriptedStore()
    target.script("release", "unavailable")
    assert counts(await copy_store(source, target)) == (1, 0, 0, 0)
    assert "'test:0' could not be given back" in caplog.text


class Forgetful(MemorySessionStore):
    async def commit(self, record: Record, lease: Lease, *, keep: bool = False) -> None:
        self._leases.renew([lease])


class Altering(MemorySessionStore):
    """Gives records back otherwise than they were written."""

    changes: ClassVar[dict[str, Any]] = {}

    async def commit(self, record: Record, lease: Lease, *, keep: bool = False) -> None:
        altered = msgspec.structs.replace(record, **self.changes)
        await super().commit(altered, lease, keep=keep)


class LosesTheAddress(Altering):
    changes: ClassVar[dict[str, Any]] = {"address": None}


class ReordersSeenIds(Altering):
    changes: ClassVar[dict[str, Any]] = {"seen": dict(sorted(FULL["seen"].items()))}


class RoundsNumbers(Altering):
    changes: ClassVar[dict[str, Any]] = {"state": b'{"n":0.0}'}


class Garbles(MemorySessionStore):
    """What it was given cannot be read any more."""

    async def checkout(self, session_id: str, lease: Lease) -> Record | None:
        if await super().checkout(session_id, lease) is None:
            return None
        raise SessionUnreadable("garbled")


@pytest.mark.parametrize(
    "liar", [Forgetful, LosesTheAddress, ReordersSeenIds, RoundsNumbers, Garbles]
)
async def test_a_store_that_does_not_keep_what_it_was_given_is_found_out(
    liar: type[MemorySessionStore],
) -> None:
    source, _ = await many(1)
    target = liar()
    with pytest.raises(SessionStoreUnavailable, match="does not give session 'test:0' back"):
        await copy_store(source, target)
    assert len(target._leases) == 0
    assert counts(await copy_store(source, liar(), verify=False)) == (1, 0, 0, 0)


async def test_an_error_in_the_progress_callback_is_the_callers() -> None:
    def fail(done: Copied) -> None:
        raise ZeroDivisionError

    source, _ = await many(100)
    target = MemorySessionStore()
    with pytest.raises(ZeroDivisionError):
        await copy_store(source, target, progress=fail)
    assert len(target._leases) == 0


# Stopped.


async def test_a_cancelled_copy_ends_what_is_under_way_and_the_next_goes_on() -> None:
    source, records = await many(300)
    target = ScriptedStore()
    gate = asyncio.Event()
    target.script("commit", *["ok"] * 100, gate)
    told = Copied()

    def tell(done: Copied) -> None:
        nonlocal told
        told = done

    task = asyncio.create_task(copy_store(source, target, progress=tell))
    await until(lambda: target.calls.count("commit") > 100)
    task.cancel()
    await asyncio.sleep(0)
    gate.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert all(target.is_free(session_id) for session_id in records)
    there = await content(target)
    assert told.copied == len(there)
    assert 100 < told.copied < 300
    assert there.items() <= records.items()
    assert (300 - told.copied, 0, told.copied, 0) == counts(await copy_store(source, target))
    assert records == await content(target)


async def test_a_cancelled_copy_does_not_wait_for_a_session_in_a_turn() -> None:
    source, _ = await many(10)
    target = ScriptedStore()
    await target.inner.checkout("test:5", lease_on("test:5"))
    task = asyncio.create_task(copy_store(source, target))
    await until(lambda: target.answered.count("release") == 9)
    task.cancel()
    ended, _ = await asyncio.wait({task}, timeout=copying.PATIENCE / 2)
    assert ended == {task}
    assert task.cancelled()
    assert len(await content(target)) == 9


async def test_a_store_that_never_answers_does_not_hold_a_cancellation_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Stuck(MemorySessionStore):
        asked = 0

        async def commit(self, record: Record, lease: Lease, *, keep: bool = False) -> None:
            self.asked += 1
            await asyncio.Event().wait()

    monkeypatch.setattr(copying, "PATIENCE", 0.02)
    source, _ = await many(10)
    target = Stuck()
    task = asyncio.create_task(copy_store(source, target))
    await until(lambda: target.asked == 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(target._leases) == 0


async def test_an_operation_that_the_store_cancels_is_an_error() -> None:
    class Ending(MemorySessionStore):
        async def commit(self, record: Record, lease: Lease, *, keep: bool = False) -> None:
            raise asyncio.CancelledError

    source, _ = await many(1)
    with pytest.raises(SessionStoreUnavailable, match="unanswered"):
        await copy_store(source, Ending())


# What is refused.


async def test_a_store_is_not_copied_onto_itself(tmp_path: Path) -> None:
    memory, files = MemorySessionStore(), FileSessionStore(tmp_path)
    url = f"file:{tmp_path}"
    four = Listing(MemorySessionStore().all())
    pairs: list[tuple[Any, Any]] = [
        (memory, memory),
        (files, files),
        (LocalLeases(four), four),
        (LocalLeases(four), LocalLeases(four)),
        (url, url),
    ]
    for source, target in pairs:
        with pytest.raises(ConfigurationError, match="same"):
            await copy_store(source, target)


async def test_a_source_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    sources: list[LeasedStore | str] = [
        f"file:{tmp_path}/nosuch",
        FileSessionStore(tmp_path / "nosuch"),
        FileSessionStore(tmp_path / "link"),
        f"sqlite:///{tmp_path}/nosuch.db",
        SQLiteSessionStore(tmp_path / "nosuch" / "sessions.db"),
        SQLiteSessionStore(tmp_path / "link"),
    ]
    for source in sources:
        with pytest.raises(SessionStoreUnavailable, match=rf"no (file|folder) {tmp_path}"):
            await copy_store(source, f"file:{tmp_path}/target")
        assert names(tmp_path) == ["link"]


async def test_a_source_that_is_there_may_be_empty(tmp_path: Path) -> None:
    async with FileSessionStore(tmp_path / "a"), SQLiteSessionStore(tmp_path / "b.db"):
        pass
    for source in (
        f"file:{tmp_path}/a",
        f"sqlite:///{tmp_path}/b.db",
        "sqlite:///:memory:",
        "memory://",
    ):
        assert counts(await copy_store(source, MemorySessionStore())) == (0, 0, 0, 0)


async def test_a_four_method_driver_may_say_that_it_is_not_there() -> None:
    class Absent(Listing):
        async def must_exist(self) -> None:
            raise SessionStoreUnavailable("absent")

    driver = Absent(MemorySessionStore().all())
    for source in (driver, LocalLeases(driver)):
        with pytest.raises(SessionStoreUnavailable, match="absent"):
            await copy_store(source, MemorySessionStore())


async def test_what_is_no_store_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"The source must be .* not a dict"):
        await copy_store({}, MemorySessionStore())  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match=r"The target must be .* not a NoneType"):
        await copy_store(MemorySessionStore(), None)  # type: ignore[arg-type]


def test_counts_are_told_in_words() -> None:
    done = Copied(copied=1_203, replaced=2, present=1, conflicts=4)
    expected = "1,203 sessions copied (2 in place of another), 1 already there, 4 in conflict"
    assert expected == str(done)
    assert str(Copied()) == "0 sessions copied"
