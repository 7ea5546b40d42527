"""What the SQLite store does with its database. Everything here blocks."""

from __future__ import annotations

import sqlite3
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from barback.errors import BarbackError, SessionUnreadable
from barback.record import Record
from barback.stores import answers
from barback.stores.operation import Operation
from barback.stores.sqlite.file import LAYOUT, NAME, DatabaseFile

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable, Iterator, Sequence

__all__ = ["Database", "Job"]

Row: TypeAlias = tuple[bytes, bytes, int, bytes]  # as it is read: everything text is bytes

# A lease holds while the clock is within its term. The clock is one for all processes, and starts
# anew with the machine: what was taken later than now was taken before that.
TAKE: Final = """
    INSERT INTO leases (session_id, token, taken_at, term) VALUES (?, ?, ?, ?)
    ON CONFLICT (session_id) DO UPDATE
    SET token = excluded.token, taken_at = excluded.taken_at, term = excluded.term
    WHERE token = excluded.token
    OR excluded.taken_at < taken_at OR excluded.taken_at >= taken_at + term
"""
RENEW: Final = "UPDATE leases SET taken_at = ?, term = ? WHERE session_id = ? AND token = ?"
GIVE_BACK: Final = "DELETE FROM leases WHERE session_id = ? AND token = ?"
FREE: Final = "DELETE FROM leases WHERE session_id = ?"
PRUNE: Final = "DELETE FROM leases WHERE taken_at > ? OR taken_at + term < ?"

READ: Final = "SELECT id, typeof(id), version, record FROM sessions WHERE id = ?"
# The session is the lease's, and the record the one that was read, or nothing is written.
INSERT: Final = """
    INSERT INTO sessions (version, expires_at, record, id)
    SELECT ?, ?, CAST(? AS TEXT), session_id FROM leases WHERE session_id = ? AND token = ?
    ON CONFLICT (id) DO NOTHING
"""
UPDATE: Final = """
    UPDATE sessions SET version = ?, expires_at = ?, record = CAST(? AS TEXT)
    WHERE id = ? AND EXISTS (SELECT 1 FROM leases WHERE session_id = sessions.id AND token = ?)
    AND version = ?
"""
# Most often the expiry stays: where it is set to what it is, SQLite writes its index anew.
UPDATE_UNMOVED: Final = """
    UPDATE sessions SET version = ?, record = CAST(? AS TEXT)
    WHERE id = ? AND EXISTS (SELECT 1 FROM leases WHERE session_id = sessions.id AND token = ?)
    AND version = ? AND expires_at IS ?
"""
DESTROY: Final = "DELETE FROM sessions WHERE id = ?"
FIRST_PAGE: Final = """
    SELECT id, typeof(id), version, record FROM sessions
    WHERE id >= CAST(? AS TEXT) ORDER BY id LIMIT ?
"""
NEXT_PAGE: Final = """
    SELECT id, typeof(id), version, record FROM sessions
    WHERE id > CAST(? AS TEXT) ORDER BY id LIMIT ?
"""
# Ids that were put there by hand may be BLOBs, which come after every text.
NEXT_BLOBS: Final = """
    SELECT id, typeof(id), version, record FROM sessions WHERE id > ? ORDER BY id LIMIT ?
"""
DUE: Final = """
    SELECT id, typeof(id), version, record FROM sessions
    WHERE expires_at <= ? ORDER BY expires_at
"""
# It changes nothing, and is written all the same: a page, in one frame of the WAL.
NOTHING: Final = f"PRAGMA user_version = {LAYOUT}"

PAGE: Final = 64
KEPT: Final = 3600.0
"""Seconds for which an ended lease that nobody took over may still commit."""

PRUNE_EVERY: Final = 600.0
TOO_MUCH: Final = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_NOMEM}
FAILURES: Final = (sqlite3.Error, MemoryError)
FSYNC_FAILED: Final = {sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_DIR_FSYNC}


class Job(Operation[Any]):
    """One operation: a method of `Database`, and what it is given after the time.

    `writes`: whether it must outlive a crash of the machine once it is answered.
    """

    __slots__ = ("arguments", "asked_at", "do", "session_id", "writes")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        do: Callable[..., object],
        session_id: str | None,
        arguments: tuple[object, ...],
    ) -> None:
        super().__init__(loop.create_future())
        self.do = do
        self.session_id = session_id
        self.arguments = arguments
        self.asked_at = time.monotonic()
        self.writes = do in WRITES


class Database:
    """A connection that does all the work and one that lists, each used by one thread at a time.

    Only a transaction with a commit or a destroy waits for the disk: `synchronous` is set anew
    before each that differs from the last. In WAL mode NORMAL flushes nothing but at a checkpoint,
    and FULL flushes at its own end also what came before it. Two connections, one for each, would
    wait no less, and each lose what it has cached whenever the other has written.
    """

    def __init__(self, path: str, *, synchronous: str, timeout: float) -> None:
        self._file = DatabaseFile(path, timeout)
        self._levels = {False: "NORMAL", True: synchronous.upper()}
        self._level = ""
        self._connections: list[sqlite3.Connection] = []
        self._begun_at = 0.0
        self._pruned_at = -PRUNE_EVERY

    def open(self) -> None:
        """Open the file, or make one. Raises `SessionStoreUnavailable`; it is to be closed then."""
        try:
            self._connection = self._reader = self._connect()
            self._file.prepare(self._connection)
            if not self._file.in_memory:
                self._reader = self._connect()
                self._reader.execute("PRAGMA query_only = ON")
        except BarbackError:
            raise
        except (OSError, sqlite3.Error) as error:
            raise self._file.refusal(error) from error

    def close(self) -> None:
        """Close the file; where it was open nowhere else, one file is left of three."""
        while self._connections:
            with suppress(sqlite3.Error):  # what was committed is in the file, or beside it
                self._connections.pop().close()

    def carry(self, jobs: Sequence[Job]) -> list[object]:
        """Do the jobs in one transaction; the answer of each: what it returns, or its error.

        Where one finds no room, SQLite undoes all of them: each is then tried alone, unless a crash
        might still bring back what they have done together.
        """
        committing = durable = False
        try:
            for job in jobs:
                durable = durable or job.writes
            self._set_level(durable=durable)
            # Where one trip has waited in vain, those who waited behind it need not wait as long.
            since = max(self._begun_at, jobs[0].asked_at)
            done = self._do_all(jobs, since)
            self._file.check()
            committing = True
            self._connection.execute("COMMIT")
        except Exception as error:  # noqa: BLE001 - it is the answer of all
            self._roll_back()
            doubtful = committing and durable and not self._surely_undone(error)
            if len(jobs) > 1 and _extended(error) in TOO_MUCH and not doubtful:
                return [answer for job in jobs for answer in self.carry([job])]
            return [self._answer(error, job, doubtful=doubtful) for job in jobs]
        return done

    # Jobs: each is given the time, and the session it is about. One that raises an error of ours
    # has left everything as it was.

    def checkout(self, now: float, session_id: str, token: str, term: float) -> Record | None:
        """The record, under a lease that was taken or renewed."""
        if not self._changed(TAKE, session_id, token, now, term):
            raise answers.busy(NAME, session_id)
        row = self._connection.execute(READ, (session_id,)).fetchone()
        if row is None:
            return None
        try:
            return _record(*row)
        except BarbackError:
            self._changed(GIVE_BACK, session_id, token)
            raise

    def commit(  # noqa: PLR0913, PLR0917 - what a row is made of
        self,
        now: float,
        session_id: str,
        token: str,
        term: float | None,
        before: int | None,
        row: tuple[int, int | None, bytes],
    ) -> None:
        """Put `row` in place of version `before`; a `term` keeps the lease, None gives it back."""
        if before is None:
            written = self._changed(INSERT, *row, session_id, token)
        else:
            version, expires_at, record = row
            written = self._changed(
                UPDATE_UNMOVED, version, record, session_id, token, before, expires_at
            ) or self._changed(UPDATE, *row, session_id, token, before)
        if not written:
            raise answers.lost(NAME, session_id)
        if term is None:
            self._changed(GIVE_BACK, session_id, token)
        else:
            self._changed(RENEW, now, term, session_id, token)

    def release(self, _: float, session_id: str, token: str) -> None:
        """Give a lease back."""
        self._changed(GIVE_BACK, session_id, token)

    def renew(self, now: float, _: None, leases: list[tuple[float, str, str]]) -> list[int]:
        """Start the terms of leases anew; the places of those that were lost."""
        return [at for at, lease in enumerate(leases) if not self._changed(RENEW, now, *lease)]

    def destroy(self, _: float, session_id: str, token: str | None) -> None:
        """Remove a record and its lease, which must be this one unless it is None."""
        if token is None:
            self._changed(FREE, session_id)
        elif not self._changed(GIVE_BACK, session_id, token):
            raise answers.lost(NAME, session_id)
        self._changed(DESTROY, session_id)

    # Listing: no read transaction outlasts its call, so that none keeps the WAL from being reset.

    def page(
        self, prefix: str, after: Row | None
    ) -> tuple[list[Record], list[SessionUnreadable], Row | None]:
        """The next records whose ids start with `prefix`, and where to go on (None: nowhere)."""
        start = prefix.encode(errors="surrogatepass")
        query, place = FIRST_PAGE, start
        if after is not None:
            query, place = (NEXT_PAGE if after[1] == b"text" else NEXT_BLOBS), after[0]
        with self._rows(query, place, PAGE) as rows:
            # Ids are sorted as their bytes are: those with the prefix stand together. What is no
            # text has none, and comes to light where everything is listed.
            ours = [
                row for row in rows if row[0].startswith(start) and (row[1] == b"text" or not start)
            ]
        return *_records(ours, PAGE), ours[-1] if len(ours) == PAGE else None

    def due(self, before: int, limit: int) -> tuple[list[Record], list[SessionUnreadable]]:
        """At most `limit` records that expire by `before`, and what stood between them."""
        with self._rows(DUE, before) as rows:
            return _records(rows, limit)

    @contextmanager
    def _rows(self, query: str, *parameters: object) -> Iterator[sqlite3.Cursor]:
        try:
            rows = self._file.patiently(self._reader, query, parameters)
            try:
                yield rows
            finally:
                rows.close()
            self._file.check()
        except (sqlite3.Error, FileNotFoundError) as error:
            raise self._file.refusal(error) from error

    # Helpers.

    def _connect(self) -> sqlite3.Connection:
        connection = self._file.connect()
        self._connections.append(connection)
        return connection

    def _do_all(self, jobs: Sequence[Job], since: float) -> list[object]:
        """Begin a transaction, and do the jobs; the answers of each."""
        now = self._begin(since)
        try:
            return [self._do(job, now) for job in jobs]
        except Exception:
            if len(jobs) == 1 or not self._connection.in_transaction:
                raise  # SQLite has undone everything by itself
            # Rare enough that no job needs a savepoint as long as SQLite refuses none.
            self._connection.execute("ROLLBACK")
        now = self._begin(since)
        return [self._do_apart(job, now) for job in jobs]

    def _begin(self, since: float) -> float:
        self._file.patiently(self._connection, "BEGIN IMMEDIATE", since=since)
        now = self._begun_at = time.monotonic()  # nobody can have taken a lease later
        self._prune(now)
        return now

    def _do(self, job: Job, now: float) -> object:
        try:
            return job.do(self, now, job.session_id, *job.arguments)
        except BarbackError as error:
            return error

    def _do_apart(self, job: Job, now: float) -> object:
        """The answer of one job: what fails is undone, and the others are not."""
        self._connection.execute("SAVEPOINT job")
        try:
            answer = self._do(job, now)
        except Exception as error:
            if not self._connection.in_transaction:
                raise  # SQLite has undone everything by itself
            self._connection.execute("ROLLBACK TO job")
            answer = self._answer(error, job)
        self._connection.execute("RELEASE job")
        return answer

    def _changed(self, statement: str, *parameters: object) -> bool:
        return self._connection.execute(statement, parameters).rowcount > 0

    def _prune(self, now: float) -> None:
        """Now and then: remove the leases of who died long ago, or before the machine's start."""
        if now - self._pruned_at > PRUNE_EVERY:
            self._connection.execute(PRUNE, (now, now - KEPT))
            self._pruned_at = now

    def _set_level(self, *, durable: bool) -> None:
        level = self._levels[durable]
        if level != self._level:
            # As a script: it may take effect only when compiled, which `execute` does but once.
            self._connection.executescript(f"PRAGMA synchronous = {level}")
            self._level = level

    def _surely_undone(self, error: Exception) -> bool:
        """Make sure that a transaction which could not be committed does not come back.

        SQLite writes all of it to the WAL, waits for the disk, and only then enters it in the
        index that processes read by. Where that fails for want of room or memory, nobody sees the
        transaction; but who reads the WAL after a crash finds it whole. Nor does a write that
        failed prove that it is not whole: what is missing of its end may stand there from before.
        So the next transaction is one that changes nothing. It takes the place in the WAL, where
        room is made for it: what is in the file already need not stay in the WAL.
        """
        if self._file.in_memory:
            return True
        if _extended(error) in FSYNC_FAILED:  # such a disk's next answer proves nothing either
            return False
        with suppress(*FAILURES):
            self._connection.execute("PRAGMA wal_checkpoint").fetchall()
        try:
            self._file.patiently(self._connection, "BEGIN IMMEDIATE", since=self._begun_at)
            self._connection.execute(NOTHING)
            self._connection.execute("COMMIT")
        except FAILURES:
            self._roll_back()
            return False
        return True

    def _roll_back(self) -> None:
        with suppress(*FAILURES):
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")

    def _answer(self, error: Exception, job: Job, *, doubtful: bool = False) -> BarbackError:
        """What a job is answered in place of an error; `doubtful`: a crash might bring it back."""
        if isinstance(error, BarbackError):
            return error
        if doubtful and job.writes:
            unknown = answers.unknown(NAME, job.session_id or "")
            unknown.__cause__ = error
            return unknown
        return self._file.refusal(error, job.session_id)


WRITES: Final = {Database.commit, Database.destroy}


def _extended(error: Exception) -> int:
    """SQLite's extended code for an error; 0 if it is not SQLite's."""
    if isinstance(error, MemoryError):  # which is how Python tells it
        return sqlite3.SQLITE_NOMEM
    return getattr(error, "sqlite_errorcode", 0)


def _record(session_id: bytes, kind: bytes, version: int, data: bytes) -> Record:
    found_for = session_id.decode(errors="replace")
    if kind != b"text":  # put there by hand; no checkout would ever find it
        message = (
            f"The id {found_for!r} is no text in the database, but a BLOB, which is another id. "
            f"Make a text of it there, or delete its row."
        )
        raise SessionUnreadable(message, session_id=found_for, store=NAME)
    record = Record.decode(data, session_id=found_for, store=NAME)
    if record.version != version:  # put there by hand; no commit to it would ever be accepted
        message = (
            f"The record of session {found_for!r} is of version {record.version}, and its row of "
            f"version {version}. Set the row's version to the record's, or destroy the session."
        )
        raise SessionUnreadable(message, session_id=found_for, store=NAME)
    return record


def _records(rows: Iterable[Row], limit: int) -> tuple[list[Record], list[SessionUnreadable]]:
    """At most `limit` records, and what is unreadable of as many rows as they took."""
    records: list[Record] = []
    unreadable: list[SessionUnreadable] = []
    for row in rows:
        if len(records) >= limit:
            break
        try:
            records.append(_record(*row))
        except SessionUnreadable as error:
            unreadable.append(error)
    return records, unreadable
