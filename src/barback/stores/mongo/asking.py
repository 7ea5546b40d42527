"""Asking: PyMongo is asked, within a time, and what it raises becomes an error of barback's."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from barback.errors import BarbackError, ConfigurationError
from barback.extras import needs_extra
from barback.stores import answers
from barback.stores.mongo.failures import discreet, may_be_applied, words_for

with needs_extra("mongo"):
    import pymongo
    from bson.errors import BSONError
    from pymongo import errors as mongo_errors

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pymongo.asynchronous.collection import AsyncCollection

__all__ = ["FAILURES", "Asking"]

FAILURES: Final = (mongo_errors.PyMongoError, BSONError)


class Asking:
    """The collection of the sessions, and how it is asked.

    `store` and `where` are the store's name and place, for its errors; `timeout` is the seconds
    within which an answer must be there, unless less are given.
    """

    def __init__(
        self, sessions: AsyncCollection[dict[str, Any]], *, store: str, where: str, timeout: float
    ) -> None:
        self.sessions = sessions
        self.store = store
        self.timeout = timeout
        self._where = where
        self._under_way: set[asyncio.Future[None]] = set()

    @contextmanager
    def within(self, seconds: float) -> Iterator[AsyncCollection[dict[str, Any]]]:
        """Inside, PyMongo is asked, in so many seconds altogether. Raises `FAILURES`.

        A task that is cancelled in here costs its connection, which PyMongo then closes.
        """
        try:
            with pymongo.timeout(seconds):
                yield self.sessions
        except RuntimeError as error:
            message = f"The {self.store} store's client belongs to another event loop."
            raise ConfigurationError(message) from error

    @contextmanager
    def once(
        self, session_id: str | None = None, *, writing: bool = False, seconds: float | None = None
    ) -> Iterator[AsyncCollection[dict[str, Any]]]:
        """Inside, PyMongo is asked for one thing. Raises what barback has for its errors."""
        answered = asyncio.get_running_loop().create_future()
        self._under_way.add(answered)
        try:
            with self.within(self.timeout if seconds is None else seconds) as sessions:
                yield sessions
        except FAILURES as error:
            failure = self.failure(error, session_id, writing=writing, seconds=seconds)
            raise failure from failure.__cause__
        finally:
            self._under_way.discard(answered)
            answered.set_result(None)

    async def wait(self) -> None:
        """Until nothing that was asked for once is under way any more."""
        while self._under_way:
            await asyncio.wait(list(self._under_way))

    def failure(
        self,
        error: Exception,
        session_id: str | None,
        *,
        writing: bool = False,
        seconds: float | None = None,
    ) -> BarbackError:
        """What barback has for an error of PyMongo's; its cause tells nothing of a document.

        `writing`: whether it matters if what was asked for has been applied unseen.
        """
        failure: BarbackError
        if writing and session_id is not None and may_be_applied(error):
            failure = answers.unknown(self.store, session_id)
        else:
            limit = self.timeout if seconds is None else seconds
            what = words_for(error, where=self._where, seconds=limit)
            failure = answers.unavailable(self.store, what, session_id)
        failure.__cause__ = discreet(error)
        return failure
