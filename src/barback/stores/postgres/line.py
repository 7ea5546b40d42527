"""Line: one connection to a PostgreSQL server, on which one trip at a time is under way."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from barback.extras import needs_extra
from barback.stores.postgres.pipeline import Exchange, Outcome, Statement, is_alive

with needs_extra("postgres"):
    import psycopg

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from psycopg.pq.abc import PGconn

__all__ = ["Line", "exchange"]


class Line:
    """A connection that psycopg has opened, as libpq, without psycopg.

    It is read by the event loop's own means: no task, and no future, is on the way.
    """

    def __init__(self, connection: psycopg.AsyncConnection[Any]) -> None:
        self.connection = connection
        self._pgconn: PGconn = connection.pgconn
        self._loop = asyncio.get_running_loop()
        self._socket = self._pgconn.socket
        self._exchange: Exchange | None = None
        self._ended: Callable[[], None] | None = None
        self._writing = False
        self._reading = True
        self._loop.add_reader(self._socket, self.look)

    @property
    def busy(self) -> bool:
        """Whether a trip is under way."""
        return self._exchange is not None

    @property
    def open(self) -> bool:
        """Whether it has not ended, as far as is known."""
        return self._reading

    @property
    def usable(self) -> bool:
        """Whether a trip may begin: nothing is under way, and it has not ended while it rested."""
        return self._reading and not self.busy and is_alive(self._pgconn)

    def send(
        self,
        statements: Sequence[Statement],
        heard: Callable[[int, Outcome], None],
        ended: Callable[[], None],
    ) -> None:
        """Begin a trip. `heard` tells the outcome of each statement, `ended` comes after all."""
        self._exchange = exchange = Exchange(self._pgconn, statements, heard)
        self._ended = ended
        try:
            exchange.send()
            self._flush()
        except Exception as error:  # noqa: BLE001 - whatever it is, what comes next is unknown
            self.cut(error)

    def look(self) -> None:
        """Take what has arrived."""
        exchange = self._exchange
        try:
            self._pgconn.consume_input()
            if self._writing:
                self._flush()
            if exchange is None:
                return
            if exchange.read():
                self._exchange = None
                self._finished()
        except Exception as error:  # noqa: BLE001 - whatever it is, what comes next is unknown
            self.cut(error)

    def cut(self, error: Exception) -> None:
        """End the connection, because of `error`: an answer that is to come must be nobody's."""
        exchange, self._exchange = self._exchange, None
        self.leave()
        self._pgconn.finish()
        if exchange is not None:
            exchange.interrupted(error)
            self._finished()

    def leave(self) -> psycopg.AsyncConnection[Any]:
        """Take no more notice of the connection, which may be another's from now on."""
        if self._reading:
            self._reading = False
            self._loop.remove_reader(self._socket)
            self._stop_writing()
        return self.connection

    def _finished(self) -> None:
        ended, self._ended = self._ended, None
        if ended is not None:
            ended()

    def _flush(self) -> None:
        if not self._pgconn.flush():
            self._stop_writing()
        elif not self._writing:
            self._writing = True
            # Reading goes on meanwhile: a server that has not been read from may read no more.
            self._loop.add_writer(self._socket, self.look)

    def _stop_writing(self) -> None:
        if self._writing:
            self._writing = False
            self._loop.remove_writer(self._socket)


async def exchange(
    line: Line, statements: Sequence[Statement], *, deadline: float
) -> list[Outcome]:
    """Send the statements, and wait for their outcomes until `deadline`, of the loop's clock."""
    loop = asyncio.get_running_loop()
    ended = loop.create_future()
    outcomes: list[Outcome] = []
    alarm = loop.call_at(deadline, line.cut, TimeoutError())
    try:
        line.send(statements, lambda _, outcome: outcomes.append(outcome), lambda: _set(ended))
        await ended
    finally:
        alarm.cancel()
        if not ended.done() or ended.cancelled():
            line.cut(ConnectionAbortedError())
    return outcomes


def _set(ended: asyncio.Future[None]) -> None:
    if not ended.done():
        ended.set_result(None)
