"""The SQLite store: sessions in one file, for any number of processes of one machine."""

from __future__ import annotations

import asyncio
import logging
import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar, TypeVarTuple
from urllib.parse import unquote

from barback.errors import ConfigurationError, SessionUnreadable
from barback.options import seconds
from barback.stores import answers
from barback.stores.base import ONE_YEAR, Lease, LeasedStore, duration
from barback.stores.ferry import Ferry
from barback.stores.sqlite.database import Database, Job
from barback.stores.sqlite.file import MEMORY, NAME
from barback.stores.url import parse_url
from barback.stores.worker import Worker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
    from datetime import timedelta
    from typing import Self

    from barback.record import Record
    from barback.stores.operation import Operation
    from barback.stores.sqlite.database import Row

__all__ = ["SQLiteSessionStore"]

logger = logging.getLogger("barback")

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class SQLiteSessionStore(LeasedStore):
    """Sessions in a SQLite database: the durable choice for one machine.

    - `path`: the file, `sessions.db` unless set; made if it is absent, as are the folders above
      it. A relative one starts at the working directory of the moment the store is made. The file
      is the store's alone: another program's database is refused. `:memory:` is a database that
      nobody else sees, and that is gone when the store is closed.
    - `expires_in`: minutes or a timedelta after a session's last activity, one year unless set;
      None is never.
    - `synchronous`: "full" unless set, or "normal"; see below.
    - `timeout`: seconds, 5 unless set, for which another process may keep the database locked
      until what was asked raises `SessionStoreUnavailable`. Nothing of it was done then.

    Durability: with "full", a commit that has returned survives a crash of the process and, as far
    as the disk keeps what it is given, of the machine. With "normal", a crash of the machine may
    undo the last commits: sessions are then as they were some moments before, each of them whole.
    Leases need not survive the machine, and checkouts wait for the disk only now and then, when
    SQLite moves what it has logged into the file.

    Operations that meet travel together, in one transaction that waits for the disk once. Any
    number of processes may use the file; a lease goes by the clock that the machine's processes
    have in common, which nobody sets. They must be on one machine, and the file on its own disk:
    on a network file system, SQLite's locks and its WAL do not work. Open the store after a fork,
    not before: a child has no use of its parent's connections.
    """

    name: ClassVar[str] = NAME

    def __init__(
        self,
        path: str | os.PathLike[str] = "sessions.db",
        *,
        expires_in: float | timedelta | None = ONE_YEAR,
        max_age: float | timedelta | None = None,
        synchronous: Literal["full", "normal"] = "full",
        timeout: float = 5.0,
    ) -> None:
        self.path = self.where = os.fspath(path)
        if not isinstance(self.path, str) or not self.path or "\0" in self.path:
            message = f"A SQLite store needs the name of a file, not {self.path!r}."
            raise ConfigurationError(message)
        if self.path.startswith("sqlite:"):
            message = "A SQLite store is made of a file's name; open_store opens a URL."
            raise ConfigurationError(message)
        if synchronous not in {"full", "normal"}:
            message = f"synchronous must be 'full' or 'normal', not {synchronous!r}."
            raise ConfigurationError(message)
        self.expires_in = duration(expires_in)
        self.max_age = duration(max_age, "max_age")
        self._place = MEMORY if self.path == MEMORY else str(Path(self.path).absolute())
        self._synchronous = synchronous
        self._timeout = seconds(timeout, "timeout")
        self._process = 0  # the one that has opened it; 0: none has
        self._closing: Operation[None] | None = None

    @classmethod
    def from_url(cls, url: str) -> SQLiteSessionStore:
        """Open `sqlite:///relative.db`, `sqlite:////absolute/path.db` or `sqlite:///:memory:`.

        Percent-encoded where needed, with `expires_in` (minutes, or `never`), `synchronous` and
        `timeout` (seconds) as parameters. Raises `ConfigurationError`.
        """
        allowed = {"expires_in": float, "max_age": float, "synchronous": str, "timeout": float}
        address, options = parse_url(url, allowed=allowed)
        if not url.partition(":")[2].startswith("///"):
            message = (  # without the rest: it may hold a password
                "A SQLite URL has three slashes before the name of its file: sqlite:///sessions.db "
                "is relative to the working directory, sqlite:////var/sessions.db absolute."
            )
            raise ConfigurationError(message)
        return cls(unquote(address[1:]), **options)

    async def init(self) -> Self:
        """Open the file, or make one.

        Raises `SessionStoreUnavailable` if it cannot be written to, is damaged, is not a store's,
        or was made by a newer version of barback.
        """
        if self._process:
            self._check_open()
            return self
        database = Database(self._place, synchronous=self._synchronous, timeout=self._timeout)
        worker = Worker("barback-sqlite")
        # Lists are read beside the turns; but a database in memory has one connection only.
        lister = worker if self._place == MEMORY else Worker("barback-sqlite-list")
        opening = self._on(worker, database.open)
        try:
            await opening
        except BaseException:
            await worker.finish(_shut, database, worker, lister)
            raise
        if self._process:  # somebody else has opened it meanwhile
            await worker.finish(_shut, database, worker, lister)
            return self
        self._database, self._worker, self._lister = database, worker, lister
        self._ferry = Ferry(worker, database.carry)
        self._process = os.getpid()
        return self

    async def close(self) -> None:
        """Finish what was asked for, then close the file; `-wal` and `-shm` go with the last.

        A closing that is cancelled goes on by itself, and the next one waits for it.
        """
        if self._process == os.getpid():
            self._process = 0
            shut = partial(_shut, self._database, self._worker, self._lister)
            self._closing = self._ferry.close(shut)
            await self._closing
        elif self._closing is not None:
            await self._closing.done()

    async def must_exist(self) -> None:
        """See `LeasedStore.must_exist`. A database in memory is always made anew, and may be."""
        if self._place != MEMORY and not await asyncio.to_thread(os.path.exists, self._place):
            what = f"finds no file {self._place}. Name one that is there"
            raise answers.unavailable(self.name, what)

    def checkout(self, session_id: str, lease: Lease) -> Awaitable[Record | None]:
        """See `LeasedStore.checkout`."""
        return self._ask(Database.checkout, session_id, lease.token, lease.term)

    def commit(self, record: Record, lease: Lease, *, keep: bool = False) -> Awaitable[None]:
        """See `LeasedStore.commit`."""
        row = (record.version, record.expires_at, record.encode())
        term = lease.term if keep else None
        return self._ask(Database.commit, record.id, lease.token, term, lease.version, row)

    def release(self, session_id: str, lease: Lease) -> Awaitable[None]:
        """See `LeasedStore.release`."""
        return self._ask(Database.release, session_id, lease.token)

    async def renew(self, leases: Sequence[Lease]) -> list[Lease]:
        """See `LeasedStore.renew`."""
        asked = [(lease.term, lease.session_id, lease.token) for lease in leases]
        lost = await self._ask(Database.renew, None, asked)
        return [leases[place] for place in lost]

    def destroy(self, session_id: str, lease: Lease | None) -> Awaitable[None]:
        """See `LeasedStore.destroy`."""
        return self._ask(Database.destroy, session_id, None if lease is None else lease.token)

    async def all(self, prefix: str = "") -> AsyncIterator[Record]:
        """See `LeasedStore.all`. It holds the records of one page."""
        unreadable: list[SessionUnreadable] = []
        place: Row | None = None
        while True:
            records, more, place = await self._list(Database.page, prefix, place)
            unreadable += more
            for record in records:
                yield record
            if place is None:
                break
        if unreadable:
            message = (
                f"{len(unreadable)} sessions in {self._place} cannot be read; the first is "
                f"{unreadable[0].session_id!r}. Restore them from a copy, or destroy them."
            )
            raise SessionUnreadable(message, store=self.name) from unreadable[0]

    async def due(self, before: int, limit: int) -> list[Record]:
        """See `LeasedStore.due`. Unreadable sessions are passed over, with a warning."""
        records, unreadable = await self._list(Database.due, before, limit)
        if unreadable:
            logger.warning(
                "%d sessions in %s are due and unreadable; the first is %r.",
                len(unreadable),
                self._place,
                unreadable[0].session_id,
            )
        return records

    def _ask(
        self, do: Callable[..., object], session_id: str | None, *arguments: object
    ) -> Operation[Any]:
        self._check_open()
        job = Job(asyncio.get_running_loop(), do, session_id, arguments)
        return self._ferry.ask(job)

    def _list(self, do: Callable[[Database, *Ts], T], *arguments: *Ts) -> Operation[T]:
        self._check_open()
        return self._on(self._lister, do, self._database, *arguments)

    def _on(self, worker: Worker, do: Callable[[*Ts], T], *arguments: *Ts) -> Operation[T]:
        try:
            return worker.do(do, *arguments)
        except RuntimeError as error:
            what = f"cannot start a thread ({error}): see whether this process is at its limit"
            raise answers.unavailable(self.name, what) from error

    def _check_open(self) -> None:
        if self._process == os.getpid():
            return
        what = f"of {self._place} is not open: use `async with store`, or await its `init()` first"
        if self._process:
            what = f"of {self._place} was opened before a fork: open one in each process, after it"
        raise answers.unavailable(self.name, what)


def _shut(database: Database, worker: Worker, lister: Worker) -> None:
    """On the worker's own thread, as its last job."""
    if lister is not worker:
        lister.close()
    database.close()
