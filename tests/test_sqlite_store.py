"""The SQLite store: what it promises beyond the contract."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import sqlite3
import stat
import subprocess
import sys
import tempfile
import time
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pytest

from barback.errors import (
    BarbackError,
    CommitUnknown,
    ConfigurationError,
    LeaseLost,
    SessionBusy,
    SessionStoreUnavailable,
    SessionUnreadable,
)
from barback.stores.base import LeasedStore, SessionStore
from barback.stores.sqlite import SQLiteSessionStore
from barback.stores.sqlite.database import DUE, FIRST_PAGE, KEPT, NEXT_BLOBS, NEXT_PAGE
from barback.stores.sqlite.file import LAYOUT, OURS
from barback.stores.url import open_store
from barback.testing import ListedStoreContract
from barback.testing.contract_tools import TIM, lease_on, now, peek, put, record_of

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork, signals and limits")

PROCESS = Path(__file__).with_name("sqlite_process.py")
HOT = "test:hot"
NOBODY = 65534


def shell(path: Path | str, statement: str, *parameters: object) -> list[Any]:
    """What a person would be answered who has opened the file with SQLite's own shell."""
    with closing(sqlite3.connect(path)) as database, database:
        return database.execute(statement, parameters).fetchall()


def content(path: Path) -> bytes:
    return path.read_bytes()


def overwrite(path: Path, place: int, data: bytes) -> None:
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT), "wb") as file:
        file.seek(place)
        file.write(data)


def move(path: Path, name: str) -> Path:
    return path.rename(path.with_name(name))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


class TestFile(ListedStoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> SQLiteSessionStore:
        return SQLiteSessionStore(tmp_path / "sessions.db")

    async def damage(self, store: SessionStore | LeasedStore, session_id: str) -> None:
        assert isinstance(store, SQLiteSessionStore)
        cut = "UPDATE sessions SET record = substr(record, 1, length(record) / 2) WHERE id = ?"
        shell(store.path, cut, session_id)


class TestMemory(ListedStoreContract):
    durable = False

    @pytest.fixture
    def store(self) -> SQLiteSessionStore:
        return SQLiteSessionStore(":memory:")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sessions.db"


# Paths, URLs and options


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("sqlite:///sessions.db", "sessions.db"),
        ("sqlite:///var/sessions.db", "var/sessions.db"),
        ("sqlite:////var/lib/sessions.db", "/var/lib/sessions.db"),
        ("sqlite:///%C3%A9%3F%23%25.db", "é?#%.db"),
        ("sqlite:///:memory:", ":memory:"),
    ],
)
def test_a_url_names_a_file(url: str, expected: str) -> None:
    assert expected == SQLiteSessionStore.from_url(url).path


def test_a_url_may_hold_the_options() -> None:
    store = open_store("sqlite:///a.db?expires_in=90&synchronous=normal&timeout=0.5")
    assert isinstance(store, SQLiteSessionStore)
    assert timedelta(minutes=90) == store.expires_in
    assert (store._synchronous, store._timeout) == ("normal", 0.5)
    assert SQLiteSessionStore.from_url("sqlite:///a.db?expires_in=never").expires_in is None


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:sessions.db",
        "sqlite:/sessions.db",
        "sqlite://sessions.db",
        "sqlite://:geheim@host/sessions.db",
        "sqlite://",
        "sqlite:///",
        "sqlite:///?expires_in=1",
        "sqlite:///%00",
        "sqlite:///a.db?mode=memory",
        "sqlite:///a.db?timeout=never",
        "sqlite:///a.db?timeout=soon",
        "sqlite:///a.db?timeout=-1",
        "sqlite:///a.db?timeout=inf",
        "sqlite:///a.db?timeout=nan",
        "sqlite:///a.db?synchronous=off",
        "sqlite:///a.db?synchronous=never",
        "sqlite:///a.db?expires_in=0",
    ],
)
def test_a_url_that_makes_no_sense_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        SQLiteSessionStore.from_url(url)
    assert "geheim" not in str(refused.value)


@pytest.mark.parametrize(
    "options",
    [
        {"path": ""},
        {"path": "a\0b"},
        {"path": b"sessions.db"},
        {"synchronous": "FULL"},
        {"synchronous": None},
        {"timeout": True},
        {"timeout": "5"},
        {"timeout": None},
        {"expires_in": "soon"},
    ],
)
def test_an_option_that_makes_no_sense_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        SQLiteSessionStore(**options)


async def test_a_relative_path_starts_where_the_store_was_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = SQLiteSessionStore("here.db")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    async with store:
        assert (tmp_path / "here.db").exists()


async def test_the_file_is_for_its_user_alone(tmp_path: Path) -> None:
    folder = tmp_path / "made" / "here"
    async with SQLiteSessionStore(folder / "sessions.db") as store:
        await put(store)
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    expected = dict.fromkeys(["sessions.db", "sessions.db-shm", "sessions.db-wal"], 0o600)
    assert expected == modes
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


async def test_one_file_is_left_when_the_last_has_closed(path: Path) -> None:
    async with SQLiteSessionStore(path) as first:
        async with SQLiteSessionStore(path) as second:
            written = await put(second)
        assert len(names(path.parent)) == 3
        assert written == await peek(first)
    assert names(path.parent) == [path.name]
    assert shell(path, "PRAGMA integrity_check") == [("ok",)]


async def test_a_database_in_memory_is_seen_by_nobody_and_gone_when_it_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store, other = SQLiteSessionStore(":memory:"), SQLiteSessionStore(":memory:")
    async with store, other:
        await put(store)
        assert await peek(other) is None
    async with store:
        assert await peek(store) is None
    assert names(tmp_path) == []


async def test_a_store_that_is_not_open_says_so(path: Path) -> None:
    store = SQLiteSessionStore(path)
    await store.close()
    for _ in range(2):
        with pytest.raises(SessionStoreUnavailable, match="not open"):
            await store.checkout(TIM, lease_on())
        with pytest.raises(SessionStoreUnavailable, match="not open"):
            await store.due(0, 1)
        assert store is await store.init()
        assert store is await store.init()
        await store.close()


async def test_closing_waits_for_what_was_asked_for(path: Path) -> None:
    store = await SQLiteSessionStore(path).init()
    asked = [put_new(store, f"test:{number}") for number in range(300)]
    await store.close()
    assert all(answer.done() for answer in asked)
    assert await asyncio.gather(*asked) == [None] * 300
    assert shell(path, "SELECT count(*) FROM sessions") == [(300,)]


def put_new(store: SQLiteSessionStore, session_id: str) -> asyncio.Future[None]:
    """Ask for a checkout and, without waiting for its answer, for a commit."""
    lease = lease_on(session_id)
    store.checkout(session_id, lease)  # it is carried out all the same
    return asyncio.ensure_future(store.commit(record_of(session_id), lease))


# What is in the file


async def test_a_person_can_query_the_sessions(path: Path) -> None:
    expires_at = now() + 60_000
    async with SQLiteSessionStore(path) as store:
        written = await put(store, state={"nickname": "Tim é 👋"}, expires_at=expires_at)
        query = "SELECT id, version, expires_at, record ->> '$.state.nickname' FROM sessions"
        expected = [(TIM, written.version, expires_at, "Tim é 👋")]
        assert expected == shell(path, query)
        change = "UPDATE sessions SET record = json_set(record, '$.state.nickname', 'Tom')"
        shell(path, change)
        changed = await peek(store)
    assert changed is not None
    assert changed.state == b'{"nickname":"Tom"}'


async def test_who_set_nothing_leaves_no_row(path: Path) -> None:
    async with SQLiteSessionStore(path) as store:
        lease = lease_on()
        await store.checkout(TIM, lease)
        assert shell(path, "SELECT session_id FROM leases") == [(TIM,)]
        await store.release(TIM, lease)
        await put(store, "test:zoe")
        assert shell(path, "SELECT session_id FROM leases") == []
        assert shell(path, "SELECT id FROM sessions") == [("test:zoe",)]


async def test_a_record_that_is_not_of_its_rows_version_is_unreadable(path: Path) -> None:
    """Nothing could ever be committed to it: better said than told "lost" for ever."""
    async with SQLiteSessionStore(path) as store:
        await put(store, version=7)
        shell(path, "UPDATE sessions SET version = 8")
        for _ in range(2):
            with pytest.raises(SessionUnreadable, match="of version 7, and its row of version 8"):
                await store.checkout(TIM, lease_on())


async def test_a_checkout_that_cannot_be_read_leaves_the_lease_as_it_was(path: Path) -> None:
    async with SQLiteSessionStore(path) as store:
        await put(store)
        shell(path, "UPDATE sessions SET record = 'no record'")
        with pytest.raises(SessionUnreadable):
            await store.checkout(TIM, lease_on())
        assert shell(path, "SELECT * FROM leases") == []
        assert shell(path, "SELECT record FROM sessions") == [("no record",)]


@pytest.mark.parametrize(
    ("query", "index"),
    [
        (DUE, "USING INDEX sessions_due"),
        (FIRST_PAGE, "USING INDEX sqlite_autoindex_sessions_1"),
        (NEXT_PAGE, "USING INDEX sqlite_autoindex_sessions_1"),
        (NEXT_BLOBS, "USING INDEX sqlite_autoindex_sessions_1"),
    ],
)
async def test_lists_go_by_an_index(path: Path, query: str, index: str) -> None:
    async with SQLiteSessionStore(path):
        pass
    parameters = (b"", 1)[: query.count("?")]
    plan = [row[-1] for row in shell(path, f"EXPLAIN QUERY PLAN {query}", *parameters)]
    assert len(plan) == 1  # and nothing is sorted
    assert index in plan[0]


async def test_unreadable_sessions_do_not_keep_others_from_being_due(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with SQLiteSessionStore(path) as store:
        for number in range(5):
            await put(store, f"test:{number}", expires_at=number)
        shell(path, "UPDATE sessions SET record = '' WHERE expires_at < 3")
        assert [record.id for record in await store.due(9, 1)] == ["test:3"]
    assert "3 sessions" in caplog.text
    assert "'test:0'" in caplog.text


# Leases


async def test_a_lease_from_before_the_machine_was_started_anew_is_over(path: Path) -> None:
    async with SQLiteSessionStore(path) as store:
        before = lease_on()
        await store.checkout(TIM, before)
        shell(path, "UPDATE leases SET taken_at = taken_at + 1000000")
        await store.checkout(TIM, lease_on())
        with pytest.raises(LeaseLost):
            await store.commit(record_of(), before)


async def test_a_lease_lasts_no_longer_than_its_term_after_a_start(path: Path) -> None:
    """Taken at 100 s of one start, and it is now 110 s of the next: 20 s of 30 are left."""
    async with SQLiteSessionStore(path) as store:
        await store.checkout(TIM, lease_on(term=30))
        shell(path, "UPDATE leases SET taken_at = taken_at - 10")
        with pytest.raises(SessionBusy):
            await store.checkout(TIM, lease_on())
        shell(path, "UPDATE leases SET taken_at = taken_at - 20")
        await store.checkout(TIM, lease_on())


async def test_a_lease_that_has_ended_commits_unless_another_took_it(path: Path) -> None:
    async with SQLiteSessionStore(path) as store:
        ended = lease_on()
        await store.checkout(TIM, ended)
        shell(path, "UPDATE leases SET taken_at = taken_at - term - 1")
        assert await store.renew([ended]) == []
        shell(path, "UPDATE leases SET taken_at = taken_at - term - 1")
        written = record_of()
        await store.commit(written, ended)
        assert written == await peek(store)


async def test_leases_of_the_dead_are_removed_in_the_end(path: Path) -> None:
    dead, ended, restarted = lease_on("test:a"), lease_on("test:b"), lease_on("test:c")
    ages = {dead: KEPT + 31, ended: KEPT - 60, restarted: -1_000_000}

    async def let_die(store: SQLiteSessionStore) -> None:
        for lease, age in ages.items():
            await store.checkout(lease.session_id, lease)
            change = "UPDATE leases SET taken_at = taken_at - ? WHERE session_id = ?"
            shell(path, change, age, lease.session_id)

    async with SQLiteSessionStore(path) as store:
        await let_die(store)
        assert len(shell(path, "SELECT * FROM leases")) == 3
    async with SQLiteSessionStore(path) as store:
        await put(store)  # the first trip
        assert shell(path, "SELECT session_id FROM leases") == [(ended.session_id,)]
        await store.release(ended.session_id, ended)
        await let_die(store)
        store._database._pruned_at -= 1_000  # a quarter of an hour later
        await put(store)
        assert shell(path, "SELECT session_id FROM leases") == [(ended.session_id,)]


# Trips


@contextmanager
def traced(store: SQLiteSessionStore) -> Iterator[list[str]]:
    """The first words of the statements that the store executes meanwhile."""
    statements: list[str] = []

    def trace(statement: str) -> None:
        statements.append(" ".join(statement.split()[:3]))

    store._database._connection.set_trace_callback(trace)
    try:
        yield statements
    finally:
        store._database._connection.set_trace_callback(None)


def level(store: SQLiteSessionStore) -> int:
    """What the last transaction has waited for; 1 is NORMAL, 2 is FULL."""
    value: int = store._database._connection.execute("PRAGMA synchronous").fetchone()[0]
    return value


async def test_fifty_commits_that_meet_are_one_transaction(path: Path) -> None:
    async with SQLiteSessionStore(path) as store:
        leases = [lease_on(f"test:{number}") for number in range(50)]
        for act in (store.checkout, None, store.release):
            with traced(store) as statements:
                if act is None:
                    records = [record_of(lease.session_id) for lease in leases]
                    each = zip(records, leases, strict=True)
                    asked = [store.commit(*pair, keep=True) for pair in each]
                else:
                    asked = [act(lease.session_id, lease) for lease in leases]  # type: ignore[misc]
                await asyncio.gather(*asked)
            assert statements.count("BEGIN IMMEDIATE") == statements.count("COMMIT") == 1
            assert "SAVEPOINT job" not in statements
            assert level(store) == (2 if act is None else 1)


async def test_what_is_asked_while_a_trip_is_under_way_shares_the_next(path: Path) -> None:
    async with SQLiteSessionStore(path) as store:
        with traced(store) as statements, locked(path):
            first = asyncio.ensure_future(store.checkout("test:0", lease_on("test:0")))
            while store._ferry._waiting:
                await asyncio.sleep(0.001)
            rest = [
                asyncio.ensure_future(store.checkout(f"test:{n}", lease_on(f"test:{n}")))
                for n in range(1, 20)
            ]
            await asyncio.sleep(0)
            unlock(path)
            await asyncio.gather(first, *rest)
        assert statements.count("COMMIT") == 2


async def test_only_what_writes_waits_for_the_disk(path: Path) -> None:
    async with SQLiteSessionStore(path) as store:
        assert shell(path, "PRAGMA journal_mode") == [("wal",)]
        for _ in range(2):  # the level is really set each time, though the words are the same
            lease = lease_on()
            record = await store.checkout(TIM, lease)
            lease.version = None if record is None else record.version
            assert level(store) == 1
            await store.commit(record_of(), lease)
            assert level(store) == 2
            await store.release(TIM, lease)
            assert level(store) == 1
            await store.destroy("test:zoe", None)
            assert level(store) == 2
            assert await store.renew([lease]) == [lease]
            assert level(store) == 1


async def test_a_turn_writes_its_lease_twice_its_record_once_and_an_expiry_only_if_it_moves(
    path: Path,
) -> None:
    def pages() -> int:
        """How many have been written to the WAL, which has not been emptied yet."""
        return (Path(f"{path}-wal").stat().st_size - 32) // (4096 + 24)

    async with SQLiteSessionStore(path) as store:
        await put(store, expires_at=1_000)
        for expires_at, expected in ((1_000, 3), (2_000, 4), (2_000, 3), (None, 4), (None, 3)):
            before = pages()
            record = await put(store, expires_at=expires_at)
            assert pages() - before == expected
            assert record == await peek(store)
            assert shell(path, "SELECT expires_at FROM sessions") == [(expires_at,)]
        await put(store, expires_at=3_000)
        assert await store.due(2_999, 9) == []
        assert [record.id for record in await store.due(3_000, 9)] == [TIM]


async def test_nothing_waits_for_the_disk_where_that_is_wished(path: Path) -> None:
    async with SQLiteSessionStore(path, synchronous="normal") as store:
        for act in (put, peek):
            await act(store)
            assert level(store) == 1


async def test_an_operation_that_fails_fails_alone(path: Path) -> None:
    async with SQLiteSessionStore(path) as store:
        await put(store, "test:damaged")
        shell(path, "UPDATE sessions SET record = ''")
        held, mine, wrong = (lease_on(f"test:{name}") for name in ("held", "mine", "wrong"))
        for lease in (held, mine, wrong):
            await store.checkout(lease.session_id, lease)
        wrong.version = 1
        written = record_of(mine.session_id)
        with traced(store) as statements:
            answers = await asyncio.gather(
                store.checkout("test:damaged", lease_on("test:damaged")),
                store.checkout("test:held", lease_on("test:held")),
                store.commit(record_of("test:wrong"), wrong),
                store.destroy("test:new", lease_on("test:new")),
                store.commit(written, mine),
                store.checkout("test:new", lease_on("test:new")),
                return_exceptions=True,
            )
        assert statements.count("BEGIN IMMEDIATE") == statements.count("COMMIT") == 1
        assert "SAVEPOINT job" not in statements
        kinds = [SessionUnreadable, SessionBusy, LeaseLost, LeaseLost]
        assert [*kinds, type(None), type(None)] == [type(answer) for answer in answers]
        assert written == await peek(store, "test:mine")
        held_by = "SELECT session_id FROM leases ORDER BY session_id"
        assert shell(path, held_by) == [("test:held",), ("test:new",), ("test:wrong",)]


async def test_what_sqlite_refuses_to_one_is_done_for_the_others(path: Path) -> None:
    async with SQLiteSessionStore(path) as store:
        held, mine, zoe = (lease_on(f"test:{name}") for name in ("held", "mine", "zoe"))
        for lease in (held, mine):
            await store.checkout(lease.session_id, lease)
        written = record_of(mine.session_id)
        with traced(store) as statements:
            answers = await asyncio.gather(
                store.commit(written, mine),
                store.commit(record_of("test:held", expires_at=2**64), held),
                store.checkout("test:held", lease_on("test:held")),
                store.checkout("test:zoe", zoe),
                return_exceptions=True,
            )
        assert statements.count("BEGIN IMMEDIATE") == 2  # once together, once each for itself
        assert statements.count("COMMIT") == 1
        kinds = [type(None), SessionStoreUnavailable, SessionBusy, type(None)]
        assert kinds == [type(answer) for answer in answers]
        assert isinstance(answers[1], SessionStoreUnavailable)
        assert isinstance(answers[1].__cause__, OverflowError)
        assert written == await peek(store, "test:mine")
        for lease in (held, zoe):  # what was undone is as it was
            with pytest.raises(SessionBusy):
                await store.checkout(lease.session_id, lease_on(lease.session_id))


def error_of(code: int) -> Exception:
    """How Python tells a code of SQLite's."""
    if code == sqlite3.SQLITE_NOMEM:
        return MemoryError()
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = code
    return error


class Broken:
    """A connection whose COMMIT fails when it is its turn to, and has not come about then."""

    def __init__(self, connection: sqlite3.Connection, *codes: int | None) -> None:
        self._connection = connection
        self.codes = list(codes)

    def execute(self, statement: str, parameters: tuple[object, ...] = ()) -> sqlite3.Cursor:
        if statement == "COMMIT" and self.codes and (code := self.codes.pop(0)) is not None:
            self._connection.execute("ROLLBACK")
            raise error_of(code)
        return self._connection.execute(statement, parameters)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


@pytest.mark.parametrize(
    "code",
    [
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR_WRITE,
        sqlite3.SQLITE_IOERR_SHMSIZE,
        sqlite3.SQLITE_IOERR_SHMMAP,
        sqlite3.SQLITE_IOERR_NOMEM,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_IOERR_FSYNC,
        sqlite3.SQLITE_IOERR_DIR_FSYNC,
    ],
)
@pytest.mark.parametrize("place_taken", [True, False])
async def test_a_commit_that_failed_is_undone_only_if_its_place_in_the_wal_is_taken(
    path: Path,
    code: int,
    place_taken: bool,  # noqa: FBT001
) -> None:
    async with SQLiteSessionStore(path) as store:
        mine, zoe = lease_on(), lease_on("test:zoe")
        await store.checkout(TIM, mine)
        database: Any = store._database
        # The commit, what takes its place, and each of the two operations alone, if they are.
        codes = [code, None, code, None, code] if place_taken else [code, code]
        database._connection = broken = Broken(database._connection, *codes)
        answers = await asyncio.gather(
            store.commit(record_of(), mine),
            store.checkout("test:zoe", zoe),
            return_exceptions=True,
        )
        proven = place_taken and code not in {
            sqlite3.SQLITE_IOERR_FSYNC,
            sqlite3.SQLITE_IOERR_DIR_FSYNC,
        }
        kinds = [SessionStoreUnavailable if proven else CommitUnknown, SessionStoreUnavailable]
        assert kinds == [type(answer) for answer in answers]
        for answer in answers:
            assert isinstance(answer, BarbackError)
            assert type(error_of(code)) is type(answer.__cause__)
        broken.codes = []
        assert await peek(store, "test:zoe") is None
        assert await store.checkout(TIM, mine) is None
        await store.commit(record_of(), mine)


@pytest.mark.parametrize("code", [sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_IOERR_FSYNC])
async def test_no_crash_brings_back_what_was_in_memory(code: int) -> None:
    async with SQLiteSessionStore(":memory:") as store:
        mine = lease_on()
        await store.checkout(TIM, mine)
        database: Any = store._database
        database._connection = Broken(database._connection, code)
        with pytest.raises(SessionStoreUnavailable):
            await store.commit(record_of(), mine)


async def test_operations_that_a_crash_might_bring_back_are_not_tried_again(path: Path) -> None:
    """Alone each might fail before anything is written, and what is in the WAL be forgotten."""
    async with SQLiteSessionStore(path) as store:
        leases = [lease_on(f"test:{number}") for number in range(3)]
        for lease in leases:
            await store.checkout(lease.session_id, lease)
        database: Any = store._database
        database._connection = Broken(database._connection, *[sqlite3.SQLITE_NOMEM] * 2)
        commits = [store.commit(record_of(lease.session_id), lease) for lease in leases]
        answers = await asyncio.gather(*commits, return_exceptions=True)
        assert [CommitUnknown] * 3 == [type(answer) for answer in answers]


@pytest.mark.skipif(sys.platform != "linux", reason="only there is memory counted as needed here")
@pytest.mark.parametrize(
    ("room", "expected"), [(1, "SessionStoreUnavailable"), (0, "CommitUnknown")]
)
def test_a_commit_that_was_not_done_is_not_done_after_a_crash_either(
    path: Path, room: int, expected: str
) -> None:
    """SQLite writes it, syncs it, and then has no memory to enter it in the WAL's index."""
    with Processes("overflow", path, room) as processes:
        processes.go()
        assert processes.heard() == [expected, "SQLITE_IOERR_SHMMAP"]
        processes.all[0].wait(20)
    if expected == "SessionStoreUnavailable":
        assert shell(path, "SELECT id FROM sessions") == []
    assert shell(path, "PRAGMA integrity_check") == [("ok",)]


# Listing


async def test_a_list_waits_for_no_turn_and_no_turn_for_a_list(path: Path) -> None:
    async with SQLiteSessionStore(path) as store:
        for number in range(100):
            await put(store, f"test:{number:03}", expires_at=1)
        records = store.all()
        assert (await anext(records)).id == "test:000"  # of the first page, of two
        with locked(path):
            turn = asyncio.ensure_future(peek(store, "test:new"))
            assert len([record async for record in records]) == 99
            assert len(await store.due(1, 200)) == 100
            assert not turn.done()
            unlock(path)
            await turn


async def test_a_list_under_way_does_not_keep_the_wal_from_being_emptied(path: Path) -> None:
    async with SQLiteSessionStore(path) as store:
        for number in range(100):
            await put(store, f"test:{number:03}")
        records = store.all()
        await anext(records)
        assert shell(path, "PRAGMA wal_checkpoint(TRUNCATE)") == [(0, 0, 0)]
        assert len([record async for record in records]) == 99


@pytest.mark.parametrize("number", [1, 63, 64, 65, 128, 200])
async def test_ids_that_are_no_text_are_told_and_end(path: Path, number: int) -> None:
    async with SQLiteSessionStore(path) as store:
        for session in range(70):
            await put(store, f"test:{session}", expires_at=9)
        shell(
            path,
            "WITH RECURSIVE many (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM many WHERE n < ?)"
            "INSERT INTO sessions (id, version, expires_at, record)"
            "SELECT CAST('test:' || n AS BLOB), version, expires_at, record FROM many, sessions "
            "WHERE id = 'test:1'",
            number,
        )
        ids = {f"test:{session}" for session in range(70)}
        async with asyncio.timeout(20):
            assert ids == {record.id async for record in store.all("test:")}
            records = store.all()
            assert ids == {(await anext(records)).id for _ in ids}
            with pytest.raises(SessionUnreadable, match="cannot be read") as raised:
                await anext(records)
        assert str(raised.value).startswith(f"{number} sessions")
        assert "a BLOB" in str(raised.value.__cause__)
        assert len(await store.due(9, 1_000)) == 70


# Other processes


_LOCKS: dict[Path, sqlite3.Connection] = {}


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Another's transaction is under way, until `unlock`."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        _LOCKS[path] = other
        try:
            yield
        finally:
            unlock(path)


def unlock(path: Path) -> None:
    other = _LOCKS.pop(path, None)
    if other is not None:
        other.execute("ROLLBACK")


async def test_a_database_that_stays_locked_is_unavailable_and_then_works_again(
    path: Path,
) -> None:
    async with SQLiteSessionStore(path, timeout=0.1) as store:
        written = await put(store)
        mine = lease_on(version=written.version)
        await store.checkout(TIM, mine)
        with locked(path):
            for operation in (
                store.commit(record_of(), mine),
                store.destroy(TIM, None),
                store.checkout(TIM, mine),
                store.release(TIM, mine),
                store.renew([mine]),
            ):
                with pytest.raises(SessionStoreUnavailable, match=r"0\.1 seconds") as refused:
                    await operation
                assert isinstance(refused.value.__cause__, sqlite3.OperationalError)
        assert written == await store.checkout(TIM, mine)  # none of it was done
        committed = record_of()
        await store.commit(committed, mine)
        assert committed == await peek(store)


async def test_who_waits_behind_one_that_waits_in_vain_waits_no_longer(path: Path) -> None:
    async with SQLiteSessionStore(path, timeout=4) as store:
        await put(store)
        with locked(path):
            started_at = time.monotonic()
            first = store.checkout(TIM, lease_on())
            while store._ferry._waiting:
                await asyncio.sleep(0.001)
            second = store.checkout(TIM, lease_on())
            answers = await asyncio.gather(first, second, return_exceptions=True)
            waited = time.monotonic() - started_at
        assert [SessionStoreUnavailable] * 2 == [type(answer) for answer in answers]
        assert 4 <= waited < 7.5


async def test_a_database_that_is_locked_while_it_is_opened_is_unavailable(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        store = SQLiteSessionStore(path, timeout=0.05)
        with pytest.raises(SessionStoreUnavailable, match="locked"):
            await store.init()
    async with store:
        assert await peek(store) is None


class Processes:
    """Processes that have opened the database, and wait to be told to go on."""

    def __init__(self, what: str, path: Path, *arguments: object, number: int = 1) -> None:
        command = [sys.executable, str(PROCESS), what, str(path), *map(str, arguments)]
        self.all = [
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            for _ in range(number)
        ]

    def __enter__(self) -> Self:
        for process in self.all:
            assert self.heard(process) == "ready"
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.all:
            process.kill()  # SIGKILL reaches a stopped process too
            process.communicate()

    def go(self) -> None:
        for process in self.all:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()

    def heard(self, process: subprocess.Popen[str] | None = None) -> Any:
        stdout = (process or self.all[0]).stdout
        assert stdout is not None
        return json.loads(stdout.readline())

    def answers(self) -> list[Any]:
        return [self.heard(process) for process in self.all]


@pytest.mark.parametrize(("sessions", "rounds"), [(1, 250), (20, 13)])
def test_four_processes_count_exactly(path: Path, sessions: int, rounds: int) -> None:
    with Processes("count", path, sessions, rounds, number=4) as processes:
        processes.go()
        answers = processes.answers()
    print(answers)  # noqa: T201 - the longest waits, shown with -rP
    assert [sessions * rounds] * 4 == [answer["handled"] for answer in answers]
    assert all(answer["busy"] for answer in answers), "they never met"
    counted = shell(path, "SELECT record ->> '$.state.n' FROM sessions")
    assert [(4 * rounds,)] * sessions == counted
    assert shell(path, "SELECT * FROM leases") == []


def test_a_database_may_be_made_by_many_at_once(tmp_path: Path) -> None:
    for number in range(3):
        path = tmp_path / str(number) / "sessions.db"
        with Processes("opened", path, number=4) as processes:
            processes.go()
            assert processes.answers() == ["opened"] * 4
        assert shell(path, "PRAGMA user_version") == [(LAYOUT,)]


async def test_a_holder_that_was_stopped_past_its_lease_cannot_commit(path: Path) -> None:
    async with SQLiteSessionStore(path) as store:
        await put(store, HOT, {"n": 1})
        with Processes("hold", path, 0.5) as processes:
            os.kill(processes.all[0].pid, signal.SIGSTOP)
            mine = lease_on(HOT)
            record = await taken(store, mine)
            mine.version = record.version
            written = record_of(HOT, {"n": 2})
            await store.commit(written, mine)
            os.kill(processes.all[0].pid, signal.SIGCONT)
            processes.go()
            assert processes.heard() == "LeaseLost"
        assert written == await peek(store, HOT)


async def taken(store: SQLiteSessionStore, lease: Any) -> Any:
    async with asyncio.timeout(20):
        while True:
            try:
                return await store.checkout(lease.session_id, lease)
            except SessionBusy:
                await asyncio.sleep(0.01)


def test_a_holder_that_was_not_taken_over_commits(path: Path) -> None:
    with Processes("hold", path, 0.01) as processes:
        processes.go()
        assert processes.heard() == "committed"


async def test_killed_writers_leave_whole_sessions(path: Path) -> None:
    least = 0
    for number in range(12):
        with Processes("write", path) as processes:
            processes.go()
            acknowledged = [processes.heard() for _ in range(1 + number % 4)]
            process = processes.all[0]
            process.kill()
            assert process.stdout is not None
            acknowledged += [json.loads(line) for line in process.stdout]
        async with SQLiteSessionStore(path) as store:
            (record,) = [record async for record in store.all()]
            n = record.version
            assert n in {acknowledged[-1], acknowledged[-1] + 1}
            assert n > least
            assert record.state == record_of(HOT, {"n": n, "text": f"{n} " * 2_000}).state
            least = n
    assert shell(path, "PRAGMA integrity_check") == [("ok",)]


def test_a_forked_child_is_told_to_open_its_own(path: Path) -> None:
    with Processes("fork", path) as processes:
        processes.go()
        assert "opened before a fork" in processes.heard()


# What may befall a file


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """Let no file of this process grow beyond `size` bytes: the system refuses the rest."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def test_what_cannot_be_written_was_not_done_and_can_be_later(path: Path) -> None:
    async with SQLiteSessionStore(path) as store:
        before = await put(store, state={"n": 1})
        mine = lease_on(version=before.version)
        await store.checkout(TIM, mine)
        size = path.with_name("sessions.db-wal").stat().st_size
        with room_for(size):
            for _ in range(2):
                with pytest.raises(SessionStoreUnavailable, match="See to its disk"):
                    await store.commit(record_of(state={"text": "x" * 2 * size}), mine)
        assert before == await store.checkout(TIM, mine)
        after = record_of(state={"n": 3})
        await store.commit(after, mine)
        assert after == await peek(store)
    assert shell(path, "PRAGMA integrity_check") == [("ok",)]


async def test_where_a_list_keeps_the_wal_and_nothing_can_be_written_a_commit_is_unknown(
    path: Path,
) -> None:
    async with SQLiteSessionStore(path) as store:
        before = await put(store, state={"n": 1})
        mine = lease_on(version=before.version)
        await store.checkout(TIM, mine)
        with closing(sqlite3.connect(path, isolation_level=None)) as reader:
            reader.execute("BEGIN").execute("SELECT * FROM sessions")
            with room_for(path.with_name("sessions.db-wal").stat().st_size):
                with pytest.raises(CommitUnknown):
                    await store.commit(record_of(state={"n": 2}), mine)
                with pytest.raises(SessionStoreUnavailable, match="See to its disk"):
                    await store.checkout("test:zoe", lease_on("test:zoe"))
        assert before == await store.checkout(TIM, mine)


async def test_what_finds_no_room_fails_alone(path: Path) -> None:
    async with SQLiteSessionStore(path) as store:
        small, huge = lease_on("test:small"), lease_on("test:huge")
        for lease in (small, huge):
            await store.checkout(lease.session_id, lease)
        pages = store._database._connection.execute("PRAGMA page_count").fetchone()[0]
        store._database._connection.execute(f"PRAGMA max_page_count = {pages + 8}")
        written = record_of("test:small")
        answers = await asyncio.gather(
            store.commit(record_of("test:huge", {"text": "x" * 100_000}), huge),
            store.commit(written, small),
            return_exceptions=True,
        )
        assert isinstance(answers[0], SessionStoreUnavailable)
        assert "no room" in str(answers[0])
        assert answers[1] is None
        assert written == await peek(store, "test:small")
        assert await store.checkout("test:huge", huge) is None
        await store.commit(record_of("test:huge"), huge)


@contextmanager
def modes(wanted: dict[Path, int]) -> Iterator[None]:
    before = {path: path.stat().st_mode for path in wanted}
    for path, mode in wanted.items():
        path.chmod(mode)
    try:
        yield
    finally:
        for path, mode in before.items():
            path.chmod(mode)


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


async def test_a_file_that_may_not_be_written_to_is_refused_when_it_is_opened() -> None:
    with tempfile.TemporaryDirectory() as name:  # which nobody can reach, unlike pytest's own
        folder = Path(name)
        path = folder / "sessions.db"
        async with SQLiteSessionStore(path) as store:
            written = await put(store)
        with modes({path: 0o444, folder: 0o555}), unprivileged():
            with pytest.raises(SessionStoreUnavailable, match=str(path)):
                await SQLiteSessionStore(path).init()
            with pytest.raises(SessionStoreUnavailable, match="Permission denied"):
                await SQLiteSessionStore(folder / "new.db").init()
        async with store:
            assert written == await peek(store)


async def test_a_file_that_may_not_be_written_to_is_refused_while_another_has_it_open() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "sessions.db"
        async with SQLiteSessionStore(path) as store:
            written = await put(store)
            files = [folder / name for name in names(folder)]
            assert len(files) == 3  # SQLite could open it now, to read
            with modes({**dict.fromkeys(files, 0o444), folder: 0o555}), unprivileged():
                with pytest.raises(SessionStoreUnavailable, match="may not write to"):
                    await SQLiteSessionStore(path).init()
                assert written == await peek(store)
                await put(store, "test:zoe")  # what it has open it may still write
            async with SQLiteSessionStore(path) as other:
                await put(other, "test:ann")


async def test_a_path_that_is_no_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path, tmp_path / "file" / "sessions.db"):
        with pytest.raises(SessionStoreUnavailable, match=str(path)):
            await SQLiteSessionStore(path).init()


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE sessions (id TEXT, data BLOB)",
        "CREATE TABLE people (name TEXT)",
        "PRAGMA application_id = 1",
        "PRAGMA user_version = 1",
    ],
)
async def test_the_database_of_another_program_is_left_alone(path: Path, statement: str) -> None:
    shell(path, statement)
    before = content(path)
    with pytest.raises(SessionStoreUnavailable, match="another program"):
        await SQLiteSessionStore(path).init()
    assert before == content(path)
    assert names(path.parent) == [path.name]


async def test_a_newer_layout_is_left_alone(path: Path) -> None:
    async with SQLiteSessionStore(path) as store:
        await put(store)
    shell(path, f"PRAGMA user_version = {LAYOUT + 1}")
    before = content(path)
    with pytest.raises(SessionStoreUnavailable, match="Update barback"):
        await store.init()
    assert before == content(path)


async def test_tables_that_are_not_as_they_were_made_are_refused(path: Path) -> None:
    shell(path, "CREATE TABLE sessions (id TEXT, data BLOB)")
    shell(path, f"PRAGMA application_id = {OURS}")
    shell(path, f"PRAGMA user_version = {LAYOUT}")
    with pytest.raises(SessionStoreUnavailable, match="no such column"):
        await SQLiteSessionStore(path).init()


async def test_a_file_that_is_no_database_is_refused(path: Path) -> None:
    overwrite(path, 0, b"no database\n" * 1_000)
    with pytest.raises(SessionStoreUnavailable, match="no SQLite database"):
        await SQLiteSessionStore(path).init()
    assert content(path) == b"no database\n" * 1_000


async def test_a_damaged_database_never_answers_missing(path: Path) -> None:
    async with SQLiteSessionStore(path) as store:
        ids = [f"test:{number}" for number in range(200)]
        for session_id in ids:
            await put(store, session_id, {"text": "x" * 500})
    overwrite(path, 4096, b"\xff" * (len(content(path)) - 4096))
    answers = set[type]()
    try:
        async with store:
            for session_id in ids:
                try:
                    answers.add(type(await peek(store, session_id)))
                except BarbackError as error:
                    answers.add(type(error))
            with pytest.raises(SessionStoreUnavailable, match="damaged"):
                [record async for record in store.all()]
    except SessionStoreUnavailable as error:  # it was found out at once
        answers.add(type(error))
    assert answers == {SessionStoreUnavailable}


async def test_a_file_that_is_gone_is_neither_read_nor_written(path: Path) -> None:
    """Not moved, not removed, and not replaced by another; put back, it goes on."""
    async with SQLiteSessionStore(path) as store:
        written = await put(store)
        mine = lease_on(version=written.version)
        await store.checkout(TIM, mine)
        kept = move(path, "kept.db")
        for replaced in (False, True):
            if replaced:
                async with SQLiteSessionStore(path.with_name("new.db")):
                    pass
                move(path.with_name("new.db"), path.name)
            for operation in (
                lambda: store.checkout("test:new", lease_on("test:new")),
                lambda: store.commit(record_of(), mine),
                lambda: store.destroy(TIM, None),
                lambda: store.due(now(), 1),
                lambda: anext(store.all()),
            ):
                with pytest.raises(SessionStoreUnavailable, match="moved, removed or replaced"):
                    await operation()
        move(kept, path.name)
        assert written == await store.checkout(TIM, mine)
        await store.commit(record_of(), mine)


async def test_one_store_of_a_file_may_close_while_another_works(path: Path) -> None:
    """The system would take all of a process's locks on a file with the first that is closed."""
    async with SQLiteSessionStore(path) as first:
        await put(first)
        for _ in range(3):
            async with SQLiteSessionStore(path) as second:
                assert await peek(second) is not None
        with Processes("hold", path, 30) as processes:
            written = await put(first)
            processes.go()
            assert processes.heard() == "committed"
        assert written == await peek(first)
        assert await peek(first, HOT) is not None
    assert shell(path, "PRAGMA integrity_check") == [("ok",)]
