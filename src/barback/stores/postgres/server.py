"""Server: how a store comes to connections to PostgreSQL, and whether what is there will do."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl

from barback.errors import ConfigurationError, SessionStoreUnavailable
from barback.extras import needs_extra
from barback.stores import answers
from barback.stores.postgres.line import Line, exchange
from barback.stores.postgres.pipeline import Lost, Outcome, Refused, Statement
from barback.stores.url import may_hold_password

with needs_extra("postgres"):
    import psycopg
    from psycopg.conninfo import conninfo_to_dict, make_conninfo
    from psycopg.errors import UndefinedTable
    from psycopg.pq import Conninfo
    from psycopg_pool import AsyncConnectionPool

if TYPE_CHECKING:
    from psycopg.pq.abc import PGresult

    from barback.stores.postgres.sql import Statements

__all__ = ["PAUSE", "Server", "rows_of"]

PAUSE: Final = 0.05  # seconds between two tries to connect

NO_URL: Final = (
    "A postgresql store needs postgresql://user:password@host:port/database?option=value, in "
    "which what is special in a name or a password is percent-encoded."
)


class Server:
    """How to come to connections, the store's own or those of a given pool.

    `address` is how messages call the server, `size` how many connections are used at most,
    `pooled` whether they are a given pool's, and only borrowed.
    """

    def __init__(
        self,
        url: str | AsyncConnectionPool[Any],
        *,
        timeout: float,
        connect_timeout: float,
        max_connections: int,
    ) -> None:
        self.timeout = timeout
        self._connect_timeout = connect_timeout
        self._pool: AsyncConnectionPool[Any] | None = None
        self._conninfo = ""
        if isinstance(url, AsyncConnectionPool):
            self._pool = url
            self.size = url.max_size or max_connections  # 0: one that has no limit
            self.address = "the server of its pool"
        else:
            self.size = max_connections
            self._conninfo, self.address = _parsed(url, math.ceil(connect_timeout))

    @property
    def pooled(self) -> bool:
        """See `Server`."""
        return self._pool is not None

    async def open(self, table: str, sql: Statements) -> list[Line]:
        """Connect, and make the table where it is absent. Raises `SessionStoreUnavailable`."""
        _check_loop()
        lines = [await self._first()]
        try:
            await self._prepare(lines[0], table, sql)
            if self.pooled:
                await self.let_go(lines.pop())
            else:
                give_up_at = asyncio.get_running_loop().time() + self._connect_timeout
                while len(lines) < self.size:
                    lines.append(await self._one_more(give_up_at))
        except BaseException:
            for line in lines:
                await self.let_go(line)
            raise
        return lines

    async def line(self) -> Line:
        """Another connection. Raises `psycopg.Error`, of a pool also its `PoolTimeout`."""
        if self._pool is not None:
            return Line(await self._pool.getconn(timeout=self.timeout))
        return Line(await psycopg.AsyncConnection.connect(self._conninfo, autocommit=True))

    async def let_go(self, line: Line) -> None:
        """Close a connection on which nothing is under way, or give it back to its pool."""
        connection = line.leave()
        if self._pool is None:
            await connection.close()
        else:
            await self._pool.putconn(connection)

    def told(self, error: Exception) -> str:
        """What went wrong on the way, in words that go on from "The postgres store"."""
        if isinstance(error, TimeoutError):
            return f"had no answer from {self.address} in time"
        code = getattr(error, "sqlstate", None)
        if code is not None:
            return f"was refused by {self.address}: {type(error).__name__} ({code})"
        return f"lost its connection to {self.address}"

    async def _first(self) -> Line:
        """One that tells what is wrong if it cannot be had, or if there is nobody."""
        try:
            return await self.line()
        except psycopg.Error as error:
            if self.pooled:
                raise _unavailable(f"got no connection from its pool: {error}") from error
            reason = str(error).partition("\n")[0].rpartition("failed: ")[2]
            raise _unavailable(f"could not connect to {self.address}: {reason}") from error

    async def _one_more(self, give_up_at: float) -> Line:
        """A connection that was closed just before may still count on the server."""
        while True:
            try:
                return await self.line()
            except psycopg.Error as error:
                if asyncio.get_running_loop().time() >= give_up_at:
                    what = (
                        f"could not open {self.size} connections to {self.address} within "
                        f"{self._connect_timeout:g} seconds: lower max_connections, or let the "
                        f"server take more"
                    )
                    raise _unavailable(what) from error
            await asyncio.sleep(PAUSE)

    async def _prepare(self, line: Line, table: str, sql: Statements) -> None:
        """See that the server will do, and that the table is there."""
        deadline = self._soon()
        asked = [Statement(sql.server), Statement(sql.columns, (), sql.patient)]
        server, columns = await exchange(line, asked, deadline=deadline)
        ((*encodings, read_only),) = rows_of(self._applied(server))
        if encodings != [b"UTF8", b"UTF8"]:
            what = f"needs the encoding UTF8, of the database and the connection to {self.address}"
            raise _unavailable(what)
        if read_only == b"on":
            what = f"cannot write to {self.address}, which is read-only: name the primary server"
            raise _unavailable(what)
        if isinstance(columns, Refused) and isinstance(columns.error, UndefinedTable):
            (made,) = await exchange(line, [Statement(sql.create)], deadline=deadline)
            hint = f": have the table {table} made by who may, with the SQL of the store's ddl()"
            self._applied(made, hint)
        else:
            hint = f": the table {table} is not the store's, or not for this user"
            ((kind, *_),) = rows_of(self._applied(columns, hint))
            if kind != b"json":
                what = f"needs the type json, which keeps every text, for record in {table}"
                raise _unavailable(what)

    def _soon(self) -> float:
        return asyncio.get_running_loop().time() + self.timeout

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
    pieces = (*hosts, parts.get("dbname", ""))
    if any("@" in piece for piece in pieces) or not all(port.isdigit() for port in ports):
        raise ConfigurationError(NO_URL)  # these are pieces of a password
    ports *= len(hosts) if len(ports) == 1 else 1
    address = ", ".join(f"{host}:{port}" for host, port in zip(hosts, ports, strict=False))
    return conninfo, address


def _what_is_wrong(url: str) -> str:
    """Why libpq does not take a URL; its own words may hold a password."""
    query = url.partition("?")[2]
    known = {option.keyword.decode() for option in Conninfo.get_defaults()}
    unknown = [key for key, _ in parse_qsl(query, keep_blank_values=True) if key not in known]
    if unknown and not may_hold_password(query):
        return f"A postgresql store has no option {unknown[0]!r}, and neither has libpq."
    return NO_URL
