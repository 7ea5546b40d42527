"""Requests: what a store asks its server for, a class for each operation on a session.

One is made by a plain call, and waits until a connection is free; those of one kind that meet then
go as one statement. Where that has failed, or has not been done for one, it is asked for again by
itself: only this tells what the matter is.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Final

from barback.errors import BarbackError, SessionUnreadable
from barback.record import Record
from barback.stores import answers
from barback.stores.operation import Operation
from barback.stores.postgres import arrays
from barback.stores.postgres.pipeline import Lost, Refused, Statement
from barback.stores.postgres.sql import number, text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Self

    from psycopg.pq.abc import PGresult

    from barback.stores.base import Lease
    from barback.stores.postgres.asking import Asking

__all__ = ["Checkout", "Commit", "Destroy", "Joint", "Query", "Release", "Renewal", "Request"]

# A checkout waited for a lock, or met another in the midst of it: somebody has the session.
CONTENDED: Final = frozenset({"55P03", "40001", "40P01"})


class Request(Operation[Any], ABC):
    """An operation on its way. It must be answered before `deadline`, by the event loop's clock."""

    __slots__ = ("asking", "deadline", "session_id")

    kind: ClassVar[str] = "alone"
    """Requests wait in line with others of their kind."""

    writes: ClassVar[bool] = False
    """Whether without an answer it is unknown what has become of the session."""

    def __init__(self, asking: Asking, session_id: str | None) -> None:
        self.answer = asyncio.get_running_loop().create_future()
        self._late = None
        self.asking = asking
        self.session_id = session_id
        self.deadline = 0.0

    @abstractmethod
    def statement(self) -> Statement:
        """What asks for this alone."""

    @abstractmethod
    def result(self, result: PGresult) -> Any:
        """The answer, by the statement's result; raises if it is an error."""

    def heard(self, result: PGresult) -> None:
        """Its statement's result has come."""
        try:
            self.succeed(self.result(result))
        except BarbackError as error:
            self.refused(error)

    def refused(self, error: BarbackError) -> None:
        """What it asked for is not to be had."""
        self.fail(error)

    def failed(self, outcome: Refused | Lost) -> None:
        """It has none."""
        error = self._failure(outcome)
        error.__cause__ = outcome.error
        self.fail(error)

    def unsent(self, what: str, cause: BaseException | None = None) -> None:
        """It has not been sent; `what` goes on from "The postgres store"."""
        error = answers.unavailable(self.asking.store, what, self.session_id)
        error.__cause__ = cause
        self.fail(error)

    def _failure(self, outcome: Refused | Lost) -> BarbackError:
        asking = self.asking
        if self.writes and isinstance(outcome, Lost):
            return answers.unknown(asking.store, self.session_id or "")
        what = asking.told(outcome.error)
        return answers.unavailable(asking.store, what, self.session_id)


class Query(Request):
    """What is read or removed of many sessions; `answer` makes of the result what is wanted."""

    __slots__ = ("_answer", "_statement")

    def __init__(
        self, asking: Asking, statement: Statement, answer: Callable[[PGresult], Any]
    ) -> None:
        super().__init__(asking, None)
        self._statement = statement
        self._answer = answer

    def statement(self) -> Statement:
        """See `Request.statement`."""
        return self._statement

    def result(self, result: PGresult) -> Any:
        """See `Request.result`."""
        return self._answer(result)


class Joint(Request):
    """A request on one session, which may go in one statement with others on other sessions."""

    __slots__ = ("id", "token")

    done: ClassVar[Any] = None
    """The answer, where it was done."""

    def __init__(self, asking: Asking, session_id: str, token: str) -> None:
        super().__init__(asking, session_id)
        self.id = text(session_id)
        self.token = text(f"{token}:")  # as it rests, with the term after it

    @property
    def size(self) -> int:
        """How many bytes it adds to a statement, beside a few."""
        return 0

    @classmethod
    @abstractmethod
    def together(cls, asking: Asking, requests: Sequence[Self]) -> Statement:
        """What asks for all of them."""

    @classmethod
    def heard_together(cls, requests: Sequence[Self], result: PGresult) -> list[Self]:
        """The result of `together` has come. Return those which it does not answer."""
        left = dict(enumerate(requests, 1))
        for row in range(result.ntuples):
            left.pop(_number_in(result, row)).succeed(cls.done)
        return list(left.values())


class Checkout(Joint):
    """Takes the lease, and reads the record."""

    __slots__ = ("term",)

    kind: ClassVar[str] = "checkout"

    def __init__(self, asking: Asking, session_id: str, lease: Lease) -> None:
        super().__init__(asking, session_id, lease.token)
        self.term = lease.term

    def statement(self) -> Statement:
        """See `Request.statement`."""
        sql = self.asking.sql
        return Statement(sql.checkout, (self.id, self.token, number(self.term)), sql.quick)

    @classmethod
    def together(cls, asking: Asking, requests: Sequence[Self]) -> Statement:
        """See `Joint.together`."""
        values = [*_held(requests), arrays.floats([each.term for each in requests])]
        return Statement(asking.sql.many_checkouts, values, asking.sql.quick, binary=True)

    @classmethod
    def heard_together(cls, requests: Sequence[Self], result: PGresult) -> list[Self]:
        """See `Joint.heard_together`. It answers all: whoever has no row is in other hands."""
        left = dict(enumerate(requests, 1))
        for row in range(result.ntuples):
            request = left.pop(_number_in(result, row))
            try:
                request.succeed(request.record(result.get_value(row, 1)))
            except BarbackError as error:
                request.refused(error)
        for request in left.values():
            request.refused(request.busy())
        return []

    def result(self, result: PGresult) -> Record | None:
        """See `Request.result`."""
        if result.ntuples == 0:
            raise self.busy()
        return self.record(result.get_value(0, 0))

    def record(self, data: bytes | None) -> Record | None:
        """What rests; raises `SessionUnreadable`."""
        if data is None:
            return None
        return Record.decode(data, session_id=self.session_id or "", store=self.asking.store)

    def refused(self, error: BarbackError) -> None:
        """See `Request.refused`. A lease that was taken for nothing is given back first."""
        if isinstance(error, SessionUnreadable):
            self.asking.ask(_GivesBack(self, error))
        else:
            self.fail(error)

    def busy(self) -> BarbackError:
        """Another has the session."""
        return answers.busy(self.asking.store, self.session_id or "")

    def _failure(self, outcome: Refused | Lost) -> BarbackError:
        code = getattr(outcome.error, "sqlstate", None)
        if isinstance(outcome, Refused) and code in CONTENDED:
            return self.busy()
        return super()._failure(outcome)


class Commit(Joint):
    """Writes the record and gives the lease back, or keeps it for another term."""

    __slots__ = ("data", "expires_at", "read", "term", "version")

    kind: ClassVar[str] = "commit"
    writes: ClassVar[bool] = True

    def __init__(self, asking: Asking, record: Record, lease: Lease, *, keep: bool) -> None:
        super().__init__(asking, record.id, lease.token)
        self.read = lease.version
        self.version = record.version
        self.expires_at = record.expires_at
        self.data = record.encode()
        self.term = lease.term if keep else None

    @property
    def size(self) -> int:
        """See `Joint.size`."""
        return len(self.data)

    def statement(self) -> Statement:
        """See `Request.statement`."""
        values = (
            *(self.id, self.token, number(self.read)),
            *(number(self.version), number(self.expires_at), self.data, number(self.term)),
        )
        return Statement(self.asking.sql.commit, values, self.asking.sql.patient)

    @classmethod
    def together(cls, asking: Asking, requests: Sequence[Self]) -> Statement:
        """See `Joint.together`."""
        values = [
            *_held(requests),
            arrays.integers([each.read for each in requests]),
            arrays.integers([each.version for each in requests]),
            arrays.integers([each.expires_at for each in requests]),
            arrays.jsons([each.data for each in requests]),
            arrays.floats([each.term for each in requests]),
        ]
        return Statement(asking.sql.many_commits, values, asking.sql.patient, binary=True)

    def result(self, result: PGresult) -> None:
        """See `Request.result`."""
        if result.command_tuples == 0:
            raise answers.lost(self.asking.store, self.session_id or "")


class Release(Joint):
    """Gives the lease back."""

    __slots__ = ()

    kind: ClassVar[str] = "release"

    def statement(self) -> Statement:
        """See `Request.statement`."""
        return Statement(self.asking.sql.release, (self.id, self.token), self.asking.sql.quick)

    @classmethod
    def together(cls, asking: Asking, requests: Sequence[Self]) -> Statement:
        """See `Joint.together`."""
        sql = asking.sql
        return Statement(sql.many_releases, _held(requests), sql.quick, binary=True)

    def result(self, result: PGresult) -> None:
        """See `Request.result`. It is none of ours if somebody else has the lease by now."""


class _GivesBack(Release):
    """Gives back the lease of a checkout, which fails when that is done, or cannot be."""

    __slots__ = ("_checkout", "_error")

    def __init__(self, checkout: Checkout, error: SessionUnreadable) -> None:
        Request.__init__(self, checkout.asking, checkout.session_id)
        self.id, self.token, self.deadline = checkout.id, checkout.token, checkout.deadline
        self._checkout = checkout
        self._error = error

    def succeed(self, result: object) -> None:  # noqa: ARG002 - there is nothing in it
        """See `Operation.succeed`."""
        self._checkout.fail(self._error)

    def fail(self, error: BaseException) -> None:  # noqa: ARG002 - the lease ends by itself
        """See `Operation.fail`."""
        self._checkout.fail(self._error)

    def give_up(self) -> None:
        """See `Operation.give_up`."""
        self._checkout.give_up()


class Renewal(Joint):
    """Starts the lease's term anew; the answer is whether it still holds."""

    __slots__ = ("term",)

    kind: ClassVar[str] = "renewal"
    done: ClassVar[Any] = True

    def __init__(self, asking: Asking, lease: Lease) -> None:
        super().__init__(asking, lease.session_id, lease.token)
        self.term = lease.term

    def statement(self) -> Statement:
        """See `Request.statement`."""
        sql = self.asking.sql
        return Statement(sql.renew, (self.id, self.token, number(self.term)), sql.quick)

    @classmethod
    def together(cls, asking: Asking, requests: Sequence[Self]) -> Statement:
        """See `Joint.together`."""
        values = [*_held(requests), arrays.floats([each.term for each in requests])]
        return Statement(asking.sql.many_renewals, values, asking.sql.quick, binary=True)

    def result(self, result: PGresult) -> bool:
        """See `Request.result`."""
        return result.command_tuples != 0


class Destroy(Request):
    """Removes the record and its lease, if the lease still holds, or by force."""

    __slots__ = ("_values",)

    writes: ClassVar[bool] = True

    def __init__(self, asking: Asking, session_id: str, lease: Lease | None) -> None:
        super().__init__(asking, session_id)
        self._values = text(session_id), None if lease is None else text(f"{lease.token}:")

    def statement(self) -> Statement:
        """See `Request.statement`."""
        return Statement(self.asking.sql.destroy, self._values, self.asking.sql.patient)

    def result(self, result: PGresult) -> None:
        """See `Request.result`."""
        if result.command_tuples == 0 and self._values[1] is not None:
            raise answers.lost(self.asking.store, self.session_id or "")


def _held(requests: Sequence[Joint]) -> list[bytes]:
    """The arrays of ids and tokens."""
    return [
        arrays.texts([each.id for each in requests]),
        arrays.texts([each.token for each in requests]),
    ]


def _number_in(result: PGresult, row: int) -> int:
    """The first value of a row, which is a number."""
    return int(result.get_value(row, 0) or b"")
