"""Statements that share a trip to a PostgreSQL server, and what is known of each afterwards.

They leave together, in libpq's pipeline mode, each followed by a Sync of its own: so each is a
transaction of its own, one that fails does so alone, and all of them cost one round trip.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from barback.extras import needs_extra

with needs_extra("postgres"):
    import psycopg
    from psycopg.pq import ConnStatus, DiagnosticField, ExecStatus, TransactionStatus

if TYPE_CHECKING:
    from collections.abc import Sequence

    from psycopg.pq.abc import PGconn, PGresult

__all__ = ["Lost", "Outcome", "Refused", "Statement", "exchange", "is_alive"]

DONE = (ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK)
DEADLY = (b"FATAL", b"PANIC")  # an error after which the server closes the connection
TOLD_TO_END = ("25P", "57P")  # somebody, or a limit, ended it: codes of the server's alone


class Statement(NamedTuple):
    """SQL, and its parameters as text; the SQL says their types.

    `settings`: SQL of which nothing is read, that goes before it in the same transaction.
    """

    sql: bytes
    values: Sequence[bytes | None] = ()
    settings: bytes | None = None


class Refused(NamedTuple):
    """Surely not applied: never sent, or an error that the server rolled back."""

    error: Exception


class Lost(NamedTuple):
    """Sent, and not answered: it may have been applied, or not."""

    error: Exception


Outcome: TypeAlias = "PGresult | Refused | Lost"


def is_alive(pgconn: PGconn) -> bool:
    """Whether a connection that has rested can be used, by what has arrived on it meanwhile.

    It asks the server nothing. A server that shut down has said so, and closed its end.
    """
    try:
        pgconn.consume_input()  # its last words
        pgconn.consume_input()  # and the end of what it had to say
    except psycopg.Error:
        return False
    return pgconn.status == ConnStatus.OK and pgconn.transaction_status == TransactionStatus.IDLE


async def exchange(
    pgconn: PGconn, statements: Sequence[Statement], *, deadline: float
) -> list[Outcome]:
    """Send the statements, and wait for their outcomes until `deadline`, of the loop's clock.

    A connection on which an answer is still to come is closed: nobody must take it for another's.
    """
    trip = _Trip(pgconn, statements)
    whole = False
    try:
        async with asyncio.timeout_at(deadline):
            await trip.make()
        whole = True
    except (psycopg.Error, OSError) as error:  # a TimeoutError is an OSError
        trip.interrupted(error)
    finally:
        if not whole:
            pgconn.finish()
    return [outcome for outcome in trip.outcomes if outcome is not None]


class _Trip:
    """One exchange; `outcomes` has one for each statement, None as long as it is not known."""

    def __init__(self, pgconn: PGconn, statements: Sequence[Statement]) -> None:
        self.pgconn = pgconn
        self.statements = statements
        self.outcomes: list[Outcome | None] = [None] * len(statements)
        self.sent = 0

    async def make(self) -> None:
        """Send everything, then read everything."""
        self.pgconn.enter_pipeline_mode()
        for statement in self.statements:
            self.sent += 1  # once libpq has it, it may be on its way
            if statement.settings is not None:
                self.pgconn.send_query_params(statement.settings, ())
            self.pgconn.send_query_params(statement.sql, statement.values)
            self.pgconn.pipeline_sync()
        while self.pgconn.flush():
            await _until_ready(self.pgconn, to_write=True)
            self.pgconn.consume_input()
        for number in range(len(self.statements)):
            await self._read(number)
        self.pgconn.exit_pipeline_mode()

    def interrupted(self, error: Exception) -> None:
        """Give each statement that has no outcome the one that can be told."""
        for number, outcome in enumerate(self.outcomes):
            if outcome is None:
                self.outcomes[number] = Lost(error) if number < self.sent else Refused(error)

    async def _read(self, number: int) -> None:
        """Read up to the Sync: a transaction ends with it, not with its statement."""
        done: list[PGresult] = []
        while (result := await self._next()).status != ExecStatus.PIPELINE_SYNC:
            if result.status in DONE:
                done.append(result)
            elif result.status != ExecStatus.PIPELINE_ABORTED:  # by an error that was read before
                self._failed(number, result, at_the_end=len(done) == self._asked(number))
        if self.outcomes[number] is None:
            self.outcomes[number] = done[-1]

    def _failed(self, number: int, result: PGresult, *, at_the_end: bool) -> None:
        """Note that one was refused; raise what ended the connection, and whom it left unsure."""
        error = _error(result)
        severity = result.error_field(DiagnosticField.SEVERITY_NONLOCALIZED)
        code = error.sqlstate or ""
        # A pooler that lost the server says so in its own name, and knows no more than that.
        if severity is None or code.startswith("08"):
            raise error
        if severity not in DEADLY:
            self.outcomes[number] = Refused(error)
            return
        if code.startswith(TOLD_TO_END):
            # It ended here: what comes later was not begun. Only a statement that was done, and
            # so in the middle of its transaction's commit, may have been applied or not.
            self.sent = number + 1 if at_the_end else number
        raise error

    def _asked(self, number: int) -> int:
        """How many results a transaction has before its end."""
        return 1 if self.statements[number].settings is None else 2

    async def _next(self) -> PGresult:
        """The next result; None, of which there is one after each statement's, is passed over."""
        for _ in range(3):
            while self.pgconn.is_busy():
                await _until_ready(self.pgconn)
                self.pgconn.consume_input()
            result = self.pgconn.get_result()
            if result is not None:
                return result
        message = "The connection ended."
        raise psycopg.OperationalError(message)


async def _until_ready(pgconn: PGconn, *, to_write: bool = False) -> None:
    """Wait until there is something to read; `to_write`: or until something can be written."""
    loop = asyncio.get_running_loop()
    ready = loop.create_future()
    socket = pgconn.socket

    def wake() -> None:
        if not ready.done():
            ready.set_result(None)

    loop.add_reader(socket, wake)
    if to_write:
        loop.add_writer(socket, wake)
    try:
        await ready
    finally:
        loop.remove_reader(socket)
        if to_write:
            loop.remove_writer(socket)


def _error(result: PGresult) -> psycopg.Error:
    """The server's error, by its code and first sentence: what details follow may hold a state."""
    code = (result.error_field(DiagnosticField.SQLSTATE) or b"").decode(errors="replace")
    words = (result.error_field(DiagnosticField.MESSAGE_PRIMARY) or b"").decode(errors="replace")
    try:
        kind = psycopg.errors.lookup(code)
    except KeyError:
        kind = psycopg.DatabaseError
    error = kind(words or f"The server answered {ExecStatus(result.status).name}.")
    error.sqlstate = code or None
    return error
