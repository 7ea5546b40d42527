"""A SQLite file: opened, recognised as a store's, laid out, and waited for. Everything blocks."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from barback.backoff import pauses
from barback.errors import SessionStoreUnavailable
from barback.stores import answers
from barback.stores.folder import make_folder

__all__ = ["MEMORY", "NAME", "DatabaseFile", "code_of"]

NAME: Final = "sqlite"
MEMORY: Final = ":memory:"

OURS: Final = int.from_bytes(b"bbck")
"""`PRAGMA application_id` of a database that a store has made."""

LAYOUT: Final = 1
"""`PRAGMA user_version`: raised when the tables change, so that older code leaves them alone."""

# A lease is no part of its session's row. SQLite writes a row anew when any of it changes: each
# checkout would write the whole state. And who came and set nothing would leave a row behind.
# A record is text, so that SQLite's json functions work on it. Some Pythons come with a SQLite that
# knows neither STRICT nor RETURNING.
TABLES: Final = (
    """
    CREATE TABLE sessions (
        id TEXT PRIMARY KEY NOT NULL,
        version INTEGER NOT NULL,
        expires_at INTEGER,
        record TEXT NOT NULL
    )
    """,
    "CREATE INDEX sessions_due ON sessions (expires_at) WHERE expires_at IS NOT NULL",
    """
    CREATE TABLE leases (
        session_id TEXT PRIMARY KEY NOT NULL,
        token TEXT NOT NULL,
        taken_at REAL NOT NULL,
        term REAL NOT NULL
    ) WITHOUT ROWID
    """,
    f"PRAGMA application_id = {OURS}",
    f"PRAGMA user_version = {LAYOUT}",
)
COLUMNS: Final = (
    "SELECT id, version, expires_at, record FROM sessions LIMIT 0",
    "SELECT session_id, token, taken_at, term FROM leases LIMIT 0",
)

# A file that may only be read is opened all the same while another process has it open, and stays
# so for good, whatever may be done with the file later: it must be refused now.
WRITES_NOTHING: Final = "DELETE FROM leases WHERE 0"

# `fullfsync`: on a Mac, nothing less makes the disk itself write.
SETTINGS: Final = ("PRAGMA fullfsync = ON", "PRAGMA journal_size_limit = 67108864")

SHORTEST_PAUSE: Final = 0.0005  # seconds: a transaction of another process that waits for no disk
LONGEST_PAUSE: Final = 0.010  # SQLite's own waiting sleeps for up to a tenth of a second

DAMAGED: Final = (
    "cannot read {path}: {error}. It is damaged, or no SQLite database; restore it from a copy"
)
WORDS: Final = {
    sqlite3.SQLITE_BUSY: "waited {timeout:g} seconds in vain for {path}, locked by another process",
    sqlite3.SQLITE_CANTOPEN: "cannot open {path}. Name a file that this process may read and write",
    sqlite3.SQLITE_CORRUPT: DAMAGED,
    sqlite3.SQLITE_FULL: "has no room left for {path}. See to its disk",
    sqlite3.SQLITE_IOERR: "could not read or write {path}: {error}. See to its disk",
    sqlite3.SQLITE_NOTADB: DAMAGED,
    sqlite3.SQLITE_READONLY: "may not write to {path}, or beside it",
}
REPLACED: Final = (
    "finds that {path} is not what was opened: it was moved, removed or replaced. Put it back, or "
    "open the store anew"
)

_creating = threading.Lock()


class DatabaseFile:
    """The file at `path`, or a database in memory; `timeout` is in seconds."""

    def __init__(self, path: str, timeout: float) -> None:
        self.path = path
        self.in_memory = path == MEMORY
        self._timeout = timeout
        self._found: os.stat_result | None = None

    def connect(self) -> sqlite3.Connection:
        """A connection, for one thread at a time. The file is made if there is none."""
        with _creating:
            if not self.in_memory:
                make_folder(Path(self.path).parent)
                # Only if there is none: who closes a file gives up all locks that its process has
                # on it. For this user alone; SQLite makes the two files beside it likewise.
                with suppress(FileExistsError):
                    os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
            connection = sqlite3.connect(
                self.path, timeout=0, isolation_level=None, check_same_thread=False
            )
        connection.text_factory = bytes
        if not self.in_memory and self._found is None:
            self._found = os.stat(self.path)  # noqa: PTH116 - as in `_is_there`
        return connection

    def prepare(self, connection: sqlite3.Connection) -> None:
        """Set the connection up, and make the tables where there are none."""
        # Before anything is changed, and at one moment: another may be making the tables now.
        connection.execute("BEGIN")
        self._recognise(connection)
        connection.execute("COMMIT")
        for setting in SETTINGS:
            connection.execute(setting)
        mode = self.patiently(connection, "PRAGMA journal_mode = WAL").fetchone()[0]
        if mode not in {b"wal", b"memory"}:
            what = f"needs a disk of this machine, on which SQLite's WAL works, for {self.path}"
            raise answers.unavailable(NAME, what)
        self.patiently(connection, "BEGIN IMMEDIATE")
        if not self._recognise(connection):
            for statement in TABLES:
                connection.execute(statement)
        for statement in (*COLUMNS, WRITES_NOTHING):
            connection.execute(statement)
        connection.execute("COMMIT")

    def patiently(
        self,
        connection: sqlite3.Connection,
        statement: str,
        parameters: tuple[object, ...] = (),
        *,
        since: float | None = None,
    ) -> sqlite3.Cursor:
        """Execute what another process may stand in the way of, until `timeout` after `since`."""
        since = time.monotonic() if since is None else since
        backoff = None
        while True:
            try:
                return connection.execute(statement, parameters)
            except sqlite3.OperationalError as error:
                if code_of(error) != sqlite3.SQLITE_BUSY:
                    raise
                if time.monotonic() - since >= self._timeout:
                    raise
            if backoff is None:
                backoff = pauses(SHORTEST_PAUSE, LONGEST_PAUSE)
            time.sleep(next(backoff))

    def check(self) -> None:
        """Raise `FileNotFoundError` unless the file is still the one that was opened.

        Whatever is read from or written to one that was removed, nobody will ever see again; and
        in another one put in its place, every session might seem new.
        """
        if not self._is_there():
            raise FileNotFoundError(0, "it is not the one that was opened")

    def refusal(self, error: Exception, session_id: str | None = None) -> SessionStoreUnavailable:
        """What to answer in place of an error of SQLite's, or the system's."""
        words = WORDS.get(code_of(error), "could not use {path}: {error}")
        if not self._is_there():
            words = REPLACED
        said: object = error if isinstance(error, sqlite3.Error) else type(error).__name__
        if isinstance(error, OSError):
            said = error.strerror
        what = words.format(path=self.path, error=said, timeout=self._timeout)
        refusal = answers.unavailable(NAME, what, session_id)
        refusal.__cause__ = error
        return refusal

    def _is_there(self) -> bool:
        if self._found is None:
            return True
        try:
            found = os.stat(self.path)  # noqa: PTH116 - for each trip: a Path costs more
        except OSError:
            return False
        return os.path.samestat(self._found, found)

    def _recognise(self, connection: sqlite3.Connection) -> bool:
        """Whether the database is a store's; False if it is empty. Raises if it is another's."""

        def value(query: str) -> Any:
            return self.patiently(connection, query).fetchone()[0]

        tables = value("SELECT count(*) FROM sqlite_master")  # a read, which starts the moment
        program = value("PRAGMA application_id")
        layout = value("PRAGMA user_version")
        if (program, layout) == (OURS, LAYOUT):
            return True
        if program == OURS:
            what = (
                f"found in {self.path} what a newer version of barback has made (layout {layout}; "
                f"this one knows {LAYOUT}), and left it alone. Update barback on this machine"
            )
            raise answers.unavailable(NAME, what)
        if tables or program or layout:
            what = (
                f"found in {self.path} the database of another program, and left it alone. Name "
                f"a file of its own for the sessions"
            )
            raise answers.unavailable(NAME, what)
        return False


def code_of(error: Exception) -> int:
    """SQLite's primary code for an error; 0 if it is not SQLite's."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF
