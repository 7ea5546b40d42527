"""The PostgreSQL store: sessions as rows of one table, for any number of processes."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final

import msgspec

from barback.errors import BarbackError, ConfigurationError, SessionUnreadable
from barback.extras import needs_extra
from barback.options import count, seconds
from barback.record import Record
from barback.stores import answers
from barback.stores.base import ONE_YEAR, Lease, LeasedStore, duration
from barback.stores.operation import Operation
from barback.stores.postgres.pipeline import Lost, Outcome, Refused, Statement, exchange, is_alive
from barback.stores.postgres.server import Server, rows_of
from barback.stores.postgres.sql import Statements, after, text, untext
from barback.stores.trips import Asked, Trips
from barback.stores.url import take_options

with needs_extra("postgres"):
    import psycopg

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
    from datetime import timedelta
    from typing import Self

    from psycopg.pq.abc import PGconn, PGresult
    from psycopg_pool import AsyncConnectionPool

__all__ = ["PostgresSessionStore"]

PAGE: Final = 100  # records that are listed at a time
TOGETHER: Final = 16  # operations in a trip: each waits for the disk by itself, one after another
PATIENCE: Final = 0.25  # of an operation's time may be spent on a lock: others wait behind it

# A checkout waited for a lock, or met another in the midst of it: somebody has the session.
CONTENDED: Final = frozenset({"55P03", "40001", "40P01"})


class PostgresSessionStore(LeasedStore):
    """Sessions in a table of a PostgreSQL database, shared by any number of processes.

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
        timeout: float = 5.0,
        connect_timeout: float = 5.0,
        max_connections: int = 4,
    ) -> None:
        if not isinstance(table, str):
            message = f"table must be a name, not {table!r}."
            raise ConfigurationError(message)
        self.table = table
        self.expires_in = duration(expires_in)
        self._timeout = seconds(timeout, "timeout")
        self._sql = Statements(table, lock_timeout=self._timeout * PATIENCE)
        self._server = Server(
            url,
            timeout=self._timeout,
            connect_timeout=seconds(connect_timeout, "connect_timeout"),
            max_connections=count(max_connections, "max_connections"),
        )
        self.where = f"{self._server.address}, table {table}"
        self._trips: Trips[_Request] | None = None

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
        something else under the table's name.
        """
        if self._trips is None:
            await self._server.open(self.table, self._sql)
            self._trips = Trips(self._carry, side_by_side=self._server.size, size=TOGETHER)
        return self

    async def close(self) -> None:
        """Wait for what is under way, then close the connections, unless the pool was given."""
        trips, self._trips = self._trips, None
        if trips is not None:
            try:
                await trips.close()
            finally:
                await self._server.close()

    def checkout(self, session_id: str, lease: Lease) -> Awaitable[Record | None]:
        """See `LeasedStore.checkout`."""
        held = text(session_id), text(lease.token)
        return self._ask(
            Statement(self._sql.checkout, (*held, _number(lease.term)), self._sql.quick),
            partial(self._taken, session_id),
            session_id,
            undo=Statement(self._sql.release, held, self._sql.quick),
        )

    def commit(self, record: Record, lease: Lease, *, keep: bool = False) -> Awaitable[None]:
        """See `LeasedStore.commit`."""
        values = (
            *(text(record.id), text(lease.token), _number(lease.version)),
            *(_number(record.version), _number(record.expires_at), record.encode()),
            _number(lease.term if keep else None),
        )
        statement = Statement(self._sql.commit, values, self._sql.patient)
        return self._ask(statement, partial(self._written, record.id), record.id, writes=True)

    def release(self, session_id: str, lease: Lease) -> Awaitable[None]:
        """See `LeasedStore.release`."""
        held = text(session_id), text(lease.token)
        statement = Statement(self._sql.release, held, self._sql.quick)
        return self._ask(statement, _nothing, session_id)

    async def renew(self, leases: Sequence[Lease]) -> list[Lease]:
        """See `LeasedStore.renew`."""
        if not leases:
            return []
        rows = [
            {
                "number": number,
                "id": text(lease.session_id).decode(),
                "token": text(lease.token).decode(),
                "term": lease.term,
            }
            for number, lease in enumerate(leases)
        ]
        statement = Statement(self._sql.renew, (msgspec.json.encode(rows),), self._sql.quick)
        renewed = {int(number) for (number,) in await self._ask(statement, rows_of)}
        return [lease for number, lease in enumerate(leases) if number not in renewed]

    def destroy(self, session_id: str, lease: Lease | None) -> Awaitable[None]:
        """See `LeasedStore.destroy`."""
        token = None if lease is None else text(lease.token)
        values = text(session_id), token
        statement = Statement(self._sql.destroy, values, self._sql.patient)
        answer = _nothing if lease is None else partial(self._written, session_id)
        return self._ask(statement, answer, session_id, writes=True)

    async def all(self, prefix: str = "") -> AsyncIterator[Record]:
        """See `LeasedStore.all`. Between pages it holds no connection and no transaction."""
        try:
            start = text(prefix)
        except UnicodeEncodeError:  # half a character, with which no id starts
            return
        last: bytes | None = None
        unreadable: list[SessionUnreadable] = []
        while True:
            values = start, after(start), last, _number(PAGE)
            rows = await self._ask(Statement(self._sql.all, values, self._sql.patient), rows_of)
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
        abandoned = Statement(self._sql.abandoned, (_number(PAGE),), self._sql.quick)
        await self._ask(abandoned, _nothing)
        due: list[Record] = []
        last: tuple[bytes, bytes] = (b"%d" % -(2**63), b"")
        while len(due) < limit:
            values = (_number(before), *last, _number(limit - len(due)))
            rows = await self._ask(Statement(self._sql.due, values, self._sql.patient), rows_of)
            if not rows:
                break
            decoded = [self._listed(session_id, data, []) for session_id, data, _ in rows]
            due += [record for record in decoded if record is not None]
            last = (rows[-1][2], rows[-1][0])
        return due

    # Asking.

    def _ask(
        self,
        statement: Statement,
        answer: Callable[[PGresult], Any],
        session_id: str | None = None,
        *,
        writes: bool = False,
        undo: Statement | None = None,
    ) -> Operation[Any]:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._timeout
        if self._trips is None:
            closed = Operation[Any](loop.create_future())
            what = "is not open: use `async with store`, or await its `init()` first"
            closed.fail(answers.unavailable(self.name, what))
            return closed
        return self._trips.ask(_Request(statement, answer, session_id, writes, undo, deadline))

    async def _carry(self, operations: list[Asked[_Request]]) -> None:
        """One trip, which has until the last of its operations must have been answered.

        Those who cannot wait so long are answered before it is back.
        """
        loop = asyncio.get_running_loop()
        alarms = [loop.call_at(each.request.deadline, self._give_up, each) for each in operations]
        deadline = max(each.request.deadline for each in operations)
        try:
            async with self._server.connection(deadline) as pgconn:
                await self._travel(pgconn, operations, deadline)
        except psycopg.Error as error:  # of the pool: an exchange raises none
            what = f"had no connection to {self._server.address} in time"
            for operation in operations:
                self._fail(operation, what, error)
        finally:
            for alarm in alarms:
                alarm.cancel()

    async def _travel(
        self, pgconn: PGconn, operations: list[Asked[_Request]], deadline: float
    ) -> None:
        now = asyncio.get_running_loop().time()
        going: list[Asked[_Request]] = []
        for operation in operations:
            if operation.request.deadline <= now:
                self._give_up(operation)
            else:
                operation.request.sent = True
                going.append(operation)
        statements = [operation.request.statement for operation in going]
        outcomes = await exchange(pgconn, statements, deadline=deadline)
        unreadable: list[tuple[Asked[_Request], SessionUnreadable]] = []
        for operation, outcome in zip(going, outcomes, strict=True):
            try:
                operation.succeed(self._answer(operation.request, outcome))
            except SessionUnreadable as error:
                unreadable.append((operation, error))
            except BarbackError as error:
                operation.fail(error)
        undo = [operation.request.undo for operation, _ in unreadable]
        if undo and is_alive(pgconn):  # should it fail, their leases end by themselves
            await exchange(pgconn, [each for each in undo if each is not None], deadline=deadline)
        for operation, unread in unreadable:
            operation.fail(unread)

    def _answer(self, request: _Request, outcome: Outcome) -> Any:
        if not isinstance(outcome, (Refused, Lost)):
            return request.answer(outcome)
        error, session_id = outcome.error, request.session_id or ""
        if isinstance(outcome, Lost) and request.writes:
            raise answers.unknown(self.name, session_id) from error
        if (
            isinstance(outcome, Refused)
            and request.undo is not None
            and getattr(error, "sqlstate", None) in CONTENDED
        ):
            raise answers.busy(self.name, session_id) from error
        what = self._server.told(error)
        raise answers.unavailable(self.name, what, request.session_id) from error

    def _give_up(self, operation: Asked[_Request]) -> None:
        """Answer an operation whose time is over. It may be on its way, with others that go on."""
        if not operation.request.sent:
            self._fail(operation, f"had no connection free for {self._timeout:g} seconds")
            return
        try:
            self._answer(operation.request, Lost(TimeoutError()))
        except BarbackError as error:
            operation.fail(error)

    def _fail(self, operation: Asked[_Request], what: str, cause: Exception | None = None) -> None:
        """Answer an operation that was never sent."""
        error = answers.unavailable(self.name, what, operation.request.session_id)
        error.__cause__ = cause
        operation.fail(error)

    # Reading answers.

    def _taken(self, session_id: str, result: PGresult) -> Record | None:
        if result.ntuples == 0:
            raise answers.busy(self.name, session_id)
        data = result.get_value(0, 0)
        return None if data is None else self._decode(session_id, data)

    def _written(self, session_id: str, result: PGresult) -> None:
        if result.command_tuples == 0:
            raise answers.lost(self.name, session_id)

    def _decode(self, session_id: str, data: bytes) -> Record:
        return Record.decode(data, session_id=session_id, store=self.name)

    def _listed(
        self, session_id: bytes, data: bytes, unreadable: list[SessionUnreadable]
    ) -> Record | None:
        try:
            return self._decode(untext(session_id), data)
        except SessionUnreadable as error:
            unreadable.append(error)
            return None


@dataclass(slots=True)
class _Request:
    """What travels: a statement, what its result means, and when it must be answered.

    `writes`: whether it matters if it was applied unseen. `undo`: for a checkout, its release.
    """

    statement: Statement
    answer: Callable[[PGresult], Any]
    session_id: str | None
    writes: bool
    undo: Statement | None
    deadline: float
    sent: bool = False


def _nothing(_: PGresult) -> None:
    return None


def _number(value: float | None) -> bytes | None:
    return None if value is None else str(value).encode()
