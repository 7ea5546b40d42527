"""The PostgreSQL store: sessions as rows of one table, for any number of processes."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, ClassVar, Final

from barback.errors import BarbackError, ConfigurationError, SessionUnreadable
from barback.options import count, seconds
from barback.record import Record
from barback.stores.base import ONE_YEAR, Lease, LeasedStore, duration
from barback.stores.postgres.asking import Asking
from barback.stores.postgres.lines import Lines
from barback.stores.postgres.pipeline import Statement
from barback.stores.postgres.requests import (
    Checkout,
    Commit,
    Destroy,
    Query,
    Release,
    Renewal,
    Request,
)
from barback.stores.postgres.server import Server, rows_of
from barback.stores.postgres.sql import Statements, after, number, text, untext
from barback.stores.url import take_options

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Sequence
    from datetime import timedelta
    from typing import Self

    from psycopg_pool import AsyncConnectionPool

    from barback.stores.operation import Operation

__all__ = ["PostgresSessionStore"]

logger = logging.getLogger("barback")

PAGE: Final = 100  # records that are listed at a time
PATIENCE: Final = 0.25  # of an operation's time may be spent on a lock: others wait behind it


class PostgresSessionStore(LeasedStore):
    """Sessions in a table of PostgreSQL, 12 or later, shared by any number of processes.

    - `url`: as libpq understands it, `postgresql://user:password@host:port/database`; with several
      hosts the first that answers is taken. Or a ready `psycopg_pool.AsyncConnectionPool`, which
      is used as it is and not closed.
    - `table`: NAME or SCHEMA.NAME, `barback_sessions` unless set. `init` makes it where it is
      absent; `ddl()` is the SQL for it.
    - `expires_in`: minutes or a timedelta after a session's last activity, one year unless set;
      None is never.
    - `timeout`: seconds within which an operation must be answered, 5 unless set. Waiting for a
      connection is part of it; a server that refuses them is tried for half a second. A quarter of
      it is spent on waiting for a lock that somebody holds on a row, or on the table.
    - `connect_timeout`: seconds within which each host must take a connection, 5 unless set; libpq
      knows whole seconds, of which it waits at least two.
    - `max_connections`: how many connections are kept, 4 unless set; of a ready pool that sets no
      limit, how many are used.

    The two timeouts are the store's own also for a ready pool, the rest of connecting is its.

    Durability: a commit that has returned is on disk, and on those replicas for which the server's
    `synchronous_commit` and `synchronous_standby_names` make it wait; a server with
    `synchronous_commit=off` may lose the last second. Checkouts wait for no disk: a turn whose
    lease was lost in a crash of the server is refused at its commit, and not done. A failover to a
    replica that lags loses commits.

    It works behind a pooler that gives each transaction another connection.
    """

    name: ClassVar[str] = "postgres"

    def __init__(  # noqa: PLR0913 - each is an option of its own
        self,
        url: str | AsyncConnectionPool[Any] = "postgresql://localhost",
        *,
        table: str = "barback_sessions",
        expires_in: float | timedelta | None = ONE_YEAR,
        max_age: float | timedelta | None = None,
        timeout: float = 5.0,
        connect_timeout: float = 5.0,
        max_connections: int = 4,
    ) -> None:
        if not isinstance(table, str):
            message = f"table must be a name, not {table!r}."
            raise ConfigurationError(message)
        self.table = table
        self.expires_in = duration(expires_in)
        self.max_age = duration(max_age, "max_age")
        self._timeout = seconds(timeout, "timeout")
        self._sql = Statements(table, lock_timeout=self._timeout * PATIENCE)
        self._server = Server(
            url,
            timeout=self._timeout,
            connect_timeout=seconds(connect_timeout, "connect_timeout"),
            max_connections=count(max_connections, "max_connections"),
        )
        self.where = f"{self._server.address}, table {table}"
        self._asking = self._not_opened()

    @classmethod
    def from_url(cls, url: str) -> PostgresSessionStore:
        """Open `postgresql://…`, with the store's options as parameters beside libpq's.

        `expires_in` is in minutes. Raises `ConfigurationError`.
        """
        address, options = take_options(
            url,
            allowed={
                "table": str,
                "expires_in": float,
                "max_age": float,
                "timeout": float,
                "connect_timeout": float,
                "max_connections": int,
            },
        )
        return cls(address, **options)

    def ddl(self) -> str:
        """The SQL by which the table is made; it may be run where the table is there already."""
        return self._sql.ddl

    async def init(self) -> Self:
        """Connect, and make the table where it is absent.

        Raises `SessionStoreUnavailable` if the server is not to be had, is read-only, or has
        something else under the table's name. On another event loop it connects anew, and leaves
        the connections of the first to it.
        """
        lines = self._asking.lines
        if lines is not None and lines.here:
            return self
        opened = Lines(self._server, await self._server.open(self.table, self._sql))
        if self._asking.lines is not lines:  # somebody else has opened it meanwhile
            await opened.close()
            return self
        if lines is not None:
            lines.abandon()
        self._asking = Asking(self._sql, self._server, self.name, opened)
        return self

    async def close(self) -> None:
        """Wait for what is under way, then close the connections, unless the pool was given.

        On another event loop, or in a forked child, it lets go of the connections as they are.
        """
        lines, self._asking = self._asking.lines, self._not_opened()
        if lines is not None and lines.here:
            await lines.close()
        elif lines is not None:
            lines.abandon()

    def checkout(self, session_id: str, lease: Lease) -> Awaitable[Record | None]:
        """See `LeasedStore.checkout`."""
        return self._ask(Checkout(self._asking, session_id, lease))

    def commit(self, record: Record, lease: Lease, *, keep: bool = False) -> Awaitable[None]:
        """See `LeasedStore.commit`."""
        return self._ask(Commit(self._asking, record, lease, keep=keep))

    def release(self, session_id: str, lease: Lease) -> Awaitable[None]:
        """See `LeasedStore.release`."""
        return self._ask(Release(self._asking, session_id, lease.token))

    async def renew(self, leases: Sequence[Lease]) -> list[Lease]:
        """See `LeasedStore.renew`.

        A row that somebody has locked hides no lease that was lost: only where there is none, it
        is told of, and the leases whose rows are free have been renewed.
        """
        asked = [self._ask(Renewal(self._asking, lease)) for lease in leases]
        held = await asyncio.gather(*(each.answer for each in asked), return_exceptions=True)
        lost = [lease for lease, outcome in zip(leases, held, strict=True) if outcome is False]
        for outcome in held:
            if isinstance(outcome, BaseException):
                if not lost or not isinstance(outcome, BarbackError):
                    raise outcome
                logger.warning("A lease could not be renewed, and will be tried again: %s", outcome)
        return lost

    def destroy(self, session_id: str, lease: Lease | None) -> Awaitable[None]:
        """See `LeasedStore.destroy`."""
        return self._ask(Destroy(self._asking, session_id, lease))

    async def all(self, prefix: str = "") -> AsyncIterator[Record]:
        """See `LeasedStore.all`. Between pages it holds no connection and no transaction."""
        try:
            start = text(prefix)
        except UnicodeEncodeError:  # half a character, with which no id starts
            return
        last: bytes | None = None
        unreadable: list[SessionUnreadable] = []
        while True:
            values = start, after(start), last, number(PAGE)
            rows = await self._query(Statement(self._sql.all, values, self._sql.patient))
            for session_id, data in rows:
                record = self._listed(session_id, data, unreadable)
                if record is not None:
                    yield record
            if len(rows) < PAGE:
                break
            last = rows[-1][0]
        if unreadable:
            raise unreadable[0]

    async def due(self, before: int, limit: int) -> list[Record]:
        """See `LeasedStore.due`. It also removes what holders who died have left of new sessions.

        Unreadable sessions are passed over.
        """
        await self._query(Statement(self._sql.abandoned, (number(PAGE),), self._sql.quick))
        due: list[Record] = []
        last: tuple[bytes, bytes] = (b"%d" % -(2**63), b"")
        while len(due) < limit:
            values = (number(before), *last, number(limit - len(due)))
            rows = await self._query(Statement(self._sql.due, values, self._sql.patient))
            if not rows:
                break
            decoded = [self._listed(session_id, data, []) for session_id, data, _ in rows]
            due += [record for record in decoded if record is not None]
            last = (rows[-1][2], rows[-1][0])
        return due

    def _ask(self, request: Request) -> Request:
        self._asking.ask(request)
        return request

    def _query(self, statement: Statement) -> Operation[list[tuple[Any, ...]]]:
        return self._ask(Query(self._asking, statement, rows_of))

    def _not_opened(self) -> Asking:
        return Asking(self._sql, self._server, self.name)

    def _listed(
        self, session_id: bytes, data: bytes, unreadable: list[SessionUnreadable]
    ) -> Record | None:
        try:
            return Record.decode(data, session_id=untext(session_id), store=self.name)
        except SessionUnreadable as error:
            unreadable.append(error)
            return None
