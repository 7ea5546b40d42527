"""Server: the connections to a PostgreSQL server, and whether what is there will do."""

from __future__ import annotations

import asyncio
import math
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl

from barback.errors import ConfigurationError, SessionStoreUnavailable
from barback.extras import needs_extra
from barback.stores import answers
from barback.stores.postgres.pipeline import Lost, Outcome, Refused, Statement, exchange, is_alive

with needs_extra("postgres"):
    import psycopg
    from psycopg.conninfo import conninfo_to_dict, make_conninfo
    from psycopg.errors import UndefinedTable
    from psycopg.pq import Conninfo
    from psycopg_pool import AsyncConnectionPool, PoolTimeout

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from psycopg.pq.abc import PGconn, PGresult

    from barback.stores.postgres.sql import Statements

__all__ = ["Server", "rows_of"]

TRY_FOR: Final = 0.5  # seconds after which a server that takes no connection is unavailable
ENDING: Final = 60.0  # seconds for which closing waits for tries to connect; they end before

NO_URL: Final = (
    "A postgresql store needs postgresql://user:password@host:port/database?option=value, in "
    "which what is special in a name or a password is percent-encoded."
)


class Server:
    """A pool of connections, the store's own or a given one.

    `address` is how messages call the server, `size` how many connections are used at most.
    """

    def __init__(
        self,
        url: str | AsyncConnectionPool[Any],
        *,
        timeout: float,
        connect_timeout: float,
        max_connections: int,
    ) -> None:
        self._timeout = timeout
        self._connect_timeout = connect_timeout
        self._pool: AsyncConnectionPool[Any] | None = None
        self._waiting: set[asyncio.Timeout] = set()
        self._ours = not isinstance(url, AsyncConnectionPool)
        if isinstance(url, AsyncConnectionPool):
            self._pool = url
            self.size = url.max_size or max_connections  # 0: one that has no limit
            self.address = "the server of its pool"
        else:
            self.size = max_connections
            self._conninfo, self.address = _parsed(url, math.ceil(connect_timeout))

    async def open(self, table: str, sql: Statements) -> None:
        """Connect, and make the table where it is absent. Raises `SessionStoreUnavailable`."""
        _check_loop()
        if not self._ours:
            try:
                async with self.connection(self._soon()) as pgconn:
                    await self._prepare(pgconn, table, sql)
            except psycopg.Error as error:
                raise _unavailable(f"got no connection from its pool: {error}") from error
            return
        # A connection of its own tells what is wrong; a pool would try, and try again.
        try:
            connection = await psycopg.AsyncConnection.connect(self._conninfo, autocommit=True)
        except psycopg.Error as error:
            reason = str(error).partition("\n")[0].rpartition("failed: ")[2]
            raise _unavailable(f"could not connect to {self.address}: {reason}") from error
        try:
            await self._prepare(connection.pgconn, table, sql)
        finally:
            await connection.close()
        self._pool = await self._opened_pool()

    async def close(self) -> None:
        """Close the connections, unless the pool was given."""
        if self._ours and self._pool is not None:
            pool, self._pool = self._pool, None
            await pool.close(timeout=ENDING)

    @asynccontextmanager
    async def connection(self, deadline: float) -> AsyncIterator[PGconn]:
        """A connection on which nothing is under way. Raises psycopg's `PoolTimeout`, `PoolClosed`.

        One that was closed while it rested is replaced, which is seen without asking the server:
        so nothing is ever sent on it, and nothing that was must be taken for lost.
        """
        pool = self._pool
        assert pool is not None  # noqa: S101 - who asks has opened it
        while True:
            connection = await self._free_one(pool, deadline)
            if is_alive(connection.pgconn):
                break
            connection.pgconn.finish()
            await pool.putconn(connection)
        try:
            yield connection.pgconn
        finally:
            await pool.putconn(connection)

    def told(self, error: Exception) -> str:
        """What went wrong in an exchange, in words that go on from "The postgres store"."""
        if isinstance(error, TimeoutError):
            return f"had no answer from {self.address} in time"
        code = getattr(error, "sqlstate", None)
        if code is not None:
            return f"was refused by {self.address}: {type(error).__name__} ({code})"
        return f"lost its connection to {self.address}"

    async def _free_one(
        self, pool: AsyncConnectionPool[Any], deadline: float
    ) -> psycopg.AsyncConnection[Any]:
        waiting = asyncio.timeout(None)
        self._waiting.add(waiting)
        left = deadline - asyncio.get_running_loop().time()
        try:
            async with waiting:
                connection: psycopg.AsyncConnection[Any] = await pool.getconn(timeout=left)
                return connection
        except TimeoutError as error:
            message = "The server takes no connection."
            raise PoolTimeout(message) from error
        finally:
            self._waiting.discard(waiting)

    def _gave_up(self, pool: AsyncConnectionPool[Any]) -> None:
        """The server takes no connection: whoever waits for one is told so, if there is none."""
        if pool.get_stats()["pool_size"] == 0:
            told, self._waiting = self._waiting, set()
            for waiting in told:
                waiting.reschedule(asyncio.get_running_loop().time())

    async def _opened_pool(self) -> AsyncConnectionPool[Any]:
        pool = AsyncConnectionPool(
            self._conninfo,
            kwargs={"autocommit": True, "prepare_threshold": None},
            min_size=self.size,
            max_size=self.size,
            open=False,
            name="barback",
            # A connection that was closed just before may still count on the server.
            reconnect_timeout=self._connect_timeout,
            reconnect_failed=self._gave_up,
        )
        try:
            await pool.open(wait=True, timeout=self._connect_timeout)
        except PoolTimeout as error:
            what = (
                f"could not open {self.size} connections to {self.address} within "
                f"{self._connect_timeout:g} seconds: lower max_connections, or let the server "
                f"take more"
            )
            raise _unavailable(what) from error
        except BaseException:
            await pool.close(timeout=ENDING)
            raise
        pool.reconnect_timeout = TRY_FOR  # between the first try and the second, which is the last
        return pool

    async def _prepare(self, pgconn: PGconn, table: str, sql: Statements) -> None:
        """See that the server will do, and that the table is there."""
        deadline = self._soon()
        asked = [Statement(sql.server), Statement(sql.columns, (), sql.patient)]
        server, columns = await exchange(pgconn, asked, deadline=deadline)
        ((*encodings, read_only),) = rows_of(self._applied(server))
        if encodings != [b"UTF8", b"UTF8"]:
            what = f"needs the encoding UTF8, of the database and the connection to {self.address}"
            raise _unavailable(what)
        if read_only == b"on":
            what = f"cannot write to {self.address}, which is read-only: name the primary server"
            raise _unavailable(what)
        if isinstance(columns, Refused) and isinstance(columns.error, UndefinedTable):
            (made,) = await exchange(pgconn, [Statement(sql.create)], deadline=deadline)
            hint = f": have the table {table} made by who may, with the SQL of the store's ddl()"
            self._applied(made, hint)
        else:
            hint = f": the table {table} is not the store's, or not for this user"
            ((kind, *_),) = rows_of(self._applied(columns, hint))
            if kind != b"json":
                what = f"needs the type json, which keeps every text, for record in {table}"
                raise _unavailable(what)

    def _soon(self) -> float:
        return asyncio.get_running_loop().time() + self._timeout

    def _applied(self, outcome: Outcome, hint: str = "") -> PGresult:
        if isinstance(outcome, (Refused, Lost)):
            raise _unavailable(f"{self.told(outcome.error)}{hint}") from outcome.error
        return outcome


def rows_of(result: PGresult) -> list[tuple[Any, ...]]:
    """The rows of a result, their values as the server wrote them."""
    columns = range(result.nfields)
    return [
        tuple([result.get_value(row, column) for column in columns])
        for row in range(result.ntuples)
    ]


def _unavailable(what: str) -> SessionStoreUnavailable:
    return answers.unavailable("postgres", what)


def _check_loop() -> None:
    if isinstance(asyncio.get_running_loop(), getattr(asyncio, "ProactorEventLoop", ())):
        message = (
            "A postgres store cannot use this event loop, which is the usual one on Windows. Run "
            "the bot in asyncio.Runner(loop_factory=asyncio.SelectorEventLoop)."
        )
        raise ConfigurationError(message)


def _parsed(url: str, connect_timeout: int) -> tuple[str, str]:
    """What libpq is told, and how messages call the server."""
    if not isinstance(url, str):
        raise ConfigurationError(NO_URL)
    try:
        parts = {key: str(value) for key, value in conninfo_to_dict(url).items()}
        conninfo = make_conninfo(
            url,
            client_encoding="UTF8",
            connect_timeout=connect_timeout,
            fallback_application_name="barback",
        )
    except (psycopg.Error, UnicodeError):
        raise ConfigurationError(_what_is_wrong(url)) from None
    hosts = (parts.get("host") or parts.get("hostaddr") or "localhost").split(",")
    ports = [port or "5432" for port in parts.get("port", "").split(",")]
    if any("@" in host for host in hosts) or not all(port.isdigit() for port in ports):
        raise ConfigurationError(NO_URL)  # these are pieces of a password
    ports *= len(hosts) if len(ports) == 1 else 1
    address = ", ".join(f"{host}:{port}" for host, port in zip(hosts, ports, strict=False))
    return conninfo, address


def _what_is_wrong(url: str) -> str:
    """Why libpq does not take a URL; its own words may hold a password."""
    query = url.partition("?")[2]
    known = {option.keyword.decode() for option in Conninfo.get_defaults()}
    unknown = [key for key, _ in parse_qsl(query, keep_blank_values=True) if key not in known]
    if unknown and "@" not in query:
        return f"A postgresql store has no option {unknown[0]!r}, and neither has libpq."
    return NO_URL
