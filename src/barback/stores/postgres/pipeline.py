"""Statements that share a trip to a PostgreSQL server, and what is known of each afterwards.

They leave together, in libpq's pipeline mode, each followed by a Sync of its own: so each is a
transaction of its own, one that fails does so alone, and all of them cost one round trip.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from barback.extras import needs_extra

with needs_extra("postgres"):
    import psycopg
    from psycopg.pq import ConnStatus, DiagnosticField, ExecStatus, TransactionStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from psycopg.pq.abc import PGconn, PGresult

__all__ = ["Exchange", "Lost", "Outcome", "Refused", "Statement", "is_alive"]

DONE = (ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK)
DEADLY = (b"FATAL", b"PANIC")  # an error after which the server closes the connection
TOLD_TO_END = ("25P", "57P")  # somebody, or a limit, ended it: codes of the server's alone


class Statement(NamedTuple):
    """SQL, and its parameters as text, or all of them `binary`; the SQL says their types.

    `settings`: SQL of which nothing is read, that goes before it in the same transaction.
    """

    sql: bytes
    values: Sequence[bytes | None] = ()
    settings: bytes | None = None
    binary: bool = False


class Refused(NamedTuple):
    """Surely not applied: never sent, or an error that the server rolled back.

    `rolled_back`: the latter, and the connection goes on.
    """

    error: Exception
    rolled_back: bool = False


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


class Exchange:
    """One trip; `heard` is called with each statement's number and outcome, in their order.

    It waits for nothing: who has it sends, and reads whenever there is something to read. What it
    raises, or whatever else ends it before its time, it is to be told by `interrupted`.
    """

    def __init__(
        self,
        pgconn: PGconn,
        statements: Sequence[Statement],
        heard: Callable[[int, Outcome], None],
    ) -> None:
        self._pgconn = pgconn
        self._statements = statements
        self._heard = heard
        self._sent = 0
        self._number = 0  # of the statement whose outcome comes next
        self._results: list[PGresult] = []  # of its transaction
        self._refused: Refused | None = None
        self._nothing = 0

    def send(self) -> None:
        """Give everything to libpq, which has it until it is flushed."""
        pgconn = self._pgconn
        pgconn.enter_pipeline_mode()
        for sql, values, settings, binary in self._statements:
            self._sent += 1  # once libpq has it, it may be on its way
            if settings is not None:
                pgconn.send_query_params(settings, ())
            formats = [1] * len(values) if binary else None
            pgconn.send_query_params(sql, values, param_formats=formats)
            pgconn.pipeline_sync()

    def read(self) -> bool:
        """Take what has arrived; whether that was all.

        A transaction ends with its Sync, not with its statement.
        """
        pgconn = self._pgconn
        while not pgconn.is_busy():
            result = pgconn.get_result()
            if result is None:  # of which there is one after each statement's
                self._nothing += 1
                if self._nothing > 2:  # noqa: PLR2004 - no more than that, as long as there is a server
                    message = "The connection ended."
                    raise psycopg.OperationalError(message)
                continue
            self._nothing = 0
            status = result.status
            if status == ExecStatus.PIPELINE_SYNC:
                if self._number + 1 == len(self._statements):
                    pgconn.exit_pipeline_mode()
                self._tell(self._refused or self._results[-1])
                if self._number == len(self._statements):
                    return True
            elif status in DONE:
                self._results.append(result)
            elif status != ExecStatus.PIPELINE_ABORTED:  # by an error that was read before
                self._failed(result)
        return False

    def interrupted(self, error: Exception) -> None:
        """Tell each statement that has no outcome the one that can be told."""
        while self._number < len(self._statements):
            unheard = Lost(error) if self._number < self._sent else Refused(error)
            self._tell(self._refused or unheard)

    def _tell(self, outcome: Outcome) -> None:
        number = self._number
        self._number += 1
        self._results = []
        self._refused = None
        self._heard(number, outcome)

    def _failed(self, result: PGresult) -> None:
        """Note that one was refused; raise what ended the connection, and whom it left unsure."""
        error = _error(result)
        severity = result.error_field(DiagnosticField.SEVERITY_NONLOCALIZED)
        code = error.sqlstate or ""
        # A pooler that lost the server says so in its own name, and knows no more than that.
        if severity is None or code.startswith("08"):
            raise error
        if severity not in DEADLY:
            self._refused = Refused(error, rolled_back=True)
            return
        if code.startswith(TOLD_TO_END):
            # It ended here: what comes later was not begun. Only a statement that was done, and
            # so in the middle of its transaction's commit, may have been applied or not.
            at_the_end = len(self._results) == self._asked()
            self._sent = self._number + 1 if at_the_end else self._number
        raise error

    def _asked(self) -> int:
        """How many results the transaction has before its end."""
        return 1 if self._statements[self._number].settings is None else 2


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
