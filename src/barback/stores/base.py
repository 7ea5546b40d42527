"""The two interfaces a store can have, on one page.

`SessionStore` is what the author of a driver writes: four methods, one process. `LeasedStore` is
what a turn speaks to, and what a driver for many processes implements itself. `LocalLeases` makes
the second of the first.

Rules for every driver:

- A record comes back as it was written, its `state` byte for byte.
- "Missing" (None) means just that. A record that cannot be understood raises `SessionUnreadable`;
  a store that cannot be reached, or cannot do its work, raises `SessionStoreUnavailable`.
- A `commit` or `write` whose outcome the driver cannot know raises `CommitUnknown`.
- A driver does not decide expiry: it returns expired records like others. Its own expiry, if it
  has any, only sweeps, with grace.
"""

from __future__ import annotations

import asyncio
import os
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager, nullcontext
from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar, Final, TypeVar
from weakref import ref

import msgspec

from barback.errors import ConfigurationError
from barback.record import new_version

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Sequence
    from types import TracebackType
    from typing import Self
    from weakref import ReferenceType

    from barback.record import Record
    from barback.stores.local import LeaseTable

__all__ = [
    "GRACE",
    "ONE_YEAR",
    "SKEW",
    "InstantStore",
    "Lease",
    "LeasedStore",
    "ListedStore",
    "SessionStore",
    "duration",
    "listing",
    "milliseconds",
    "new_lease",
]

ONE_YEAR: Final = timedelta(days=365)
GRACE: Final = 24 * 3600 * 1000
"""Milliseconds for which an expired record is kept: it still knows the events it has seen."""

SKEW: Final = 1000
"""Milliseconds by which the clocks of servers that stand for each other may differ.

A server keeps the end of a lease. One that has more of its time left than its whole term, and this,
was taken before the clock was set back, and is over. Less than this is no sign of that: servers of
one store hand over to each other, and clocks are put right by a little all the time.
"""

LONGEST: Final = 1000 * ONE_YEAR  # what a date can still tell


class Lease(msgspec.Struct, kw_only=True, eq=False):
    """The exclusive right to one session for one turn.

    - `session_id`: the session's id, with the bot's namespace.
    - `token`: tells this lease from every other; it is made by the turn.
    - `term`: seconds after its checkout or last renewal at which it ends by itself.
    - `version`: the version of the record read under it, None where there was none. The turn
      notes it; `commit` compares it.
    - `renewed_at`: when it was taken or renewed, by the event loop's clock. The turn's own.
    - `known`: an earlier checkout by the same token was not answered, and may still be on its way.
      The turn's own.
    - `closely`: a checkout is to find out whether a lease that is in its way is over because the
      server's clock was set back (see `SKEW`). Without it a store may say "busy" more quickly; the
      turn sets it before it asks again.
    """

    session_id: str
    token: str
    term: float
    version: int | None = None
    renewed_at: float = 0.0
    known: bool = False
    closely: bool = False


def new_lease(session_id: str, term: float) -> Lease:
    """A lease to be taken, whose token no other has."""
    return Lease(session_id=session_id, token=f"{new_version():x}", term=term)


Listed = TypeVar("Listed")


@asynccontextmanager
async def listing(listed: Listed) -> AsyncIterator[Listed]:
    """What `all` returned, while it is wanted: who leaves it early leaves the driver's too."""
    async with aclosing(listed) if isinstance(listed, AsyncGenerator) else nullcontext():
        yield listed


class _Store(ABC):
    """What both kinds have in common: a name, a lifetime for sessions, opening and closing."""

    name: ClassVar[str] = "store"
    """How errors call it."""

    expires_in: timedelta | None = ONE_YEAR
    """How long a session lives after its last activity; None: for ever."""

    max_age: timedelta | None = None
    """How long a session lives in all, whatever happens; None: as long as something does."""

    where: str = ""
    """Its place, as a repr shows it: a folder, a server's address; no password."""

    _users: int = 0
    _home: tuple[int, ReferenceType[asyncio.AbstractEventLoop]] | None = None
    _door: _Door | None = None

    @abstractmethod
    async def init(self) -> Self:
        """Connect, and make tables, folders or indexes.

        Raises `SessionStoreUnavailable`, with a sentence, if the store cannot be used. It may be
        called again: where the store is open, nothing happens; on another event loop, or in a
        child that was forked, it opens anew what is of no use there.
        """

    async def close(self) -> None:  # noqa: B027 - a driver that holds nothing open needs none
        """Give back what `init` opened. `init` may be called again afterwards."""

    async def must_exist(self) -> None:  # noqa: B027 - only where a name alone makes a store
        """Raise `SessionStoreUnavailable` if nothing is there, and `init` would make it anew.

        For who only wants to read, and has perhaps mistyped a name. The store need not be open.
        """

    async def acquire(self) -> None:
        """`init` for the first user; each later one shares it. Bots call this, not `init`."""
        async with self._one_at_a_time():
            if self._users == 0:
                await self.init()
            self._users += 1

    async def relinquish(self) -> None:
        """The end of one user's `acquire`; the last one closes the store."""
        async with self._one_at_a_time():
            self._users = max(0, self._users - 1)
            if self._users == 0:
                await self.close()

    @asynccontextmanager
    async def _one_at_a_time(self) -> AsyncIterator[None]:
        """Opening waits for closing, and the other way about."""
        loop, door = asyncio.get_running_loop(), self._door
        self._forget_who_is_gone(loop)
        if door is None or door.loop is not loop:
            # Who stood in it on another event loop, which has ended, keeps nobody waiting.
            door = self._door = _Door(loop)
        door.interested += 1
        try:
            async with door.lock:
                yield
        finally:
            door.interested -= 1
            if door.interested == 0 and door is self._door:
                self._door = None

    def _forget_who_is_gone(self, running: asyncio.AbstractEventLoop) -> None:
        """Users whose event loop has ended without them, or is a parent's, are users no more."""
        home = os.getpid(), ref(running)
        if home == self._home:
            return
        if self._home is not None:
            process, loop = self._home
            theirs = loop()
            if process == home[0] and theirs is not None and not theirs.is_closed():
                return
            self._users = 0
        self._home = home

    def __repr__(self) -> str:
        place = f" {self.where}" if self.where else ""
        return f"<{type(self).__name__}{place}>"

    async def __aenter__(self) -> Self:
        await self.acquire()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.relinquish()


class _Door:
    """Through which users of one event loop come and go, one at a time."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.lock = asyncio.Lock()
        self.interested = 0


class SessionStore(_Store):
    """A driver for one process: four methods, and `close` if there is something to close.

    A driver need not think of concurrency: operations on one session never overlap.
    """

    leases: LeaseTable | None = None
    """Who holds which session: `LocalLeases` keeps it here, for every bot that uses the driver."""

    @abstractmethod
    async def read(self, session_id: str) -> Record | None:
        """The session's record; None if there is none."""

    @abstractmethod
    async def write(self, session_id: str, record: Record) -> None:
        """Put `record` in place of the session's record, all or nothing."""

    @abstractmethod
    async def destroy(self, session_id: str) -> None:
        """Remove the session's record; nothing happens if there is none."""


class ListedStore(SessionStore):
    """A driver for one process that can also list what it holds."""

    @abstractmethod
    def all(self, prefix: str = "") -> AsyncIterator[Record]:
        """Every record whose id starts with `prefix`, streamed, in no particular order.

        Records written or destroyed meanwhile may or may not be among them. An unreadable record
        does not hide the others: `SessionUnreadable` is raised after the last of them.
        """

    @abstractmethod
    async def due(self, before: int, limit: int) -> list[Record]:
        """At most `limit` records with `expires_at` at or before `before` (milliseconds)."""


class LeasedStore(_Store):
    """What a turn speaks to; a driver for any number of processes implements it itself.

    Methods may be `async def`, or plain functions that return an `Operation`: what was once asked
    for is carried out even if the task that awaits it is cancelled. Where the event loop or the
    process ends, nobody is left to be answered: what was on its way then is done or is not, as in
    a crash, each operation all or nothing.
    """

    sweeps_itself: ClassVar[bool] = False
    """True if the store removes records by itself, not sooner than `GRACE` after their expiry.

    Bots leave the sweeping to it then.
    """

    @abstractmethod
    def checkout(self, session_id: str, lease: Lease) -> Awaitable[Record | None]:
        """Take the lease and read the record, in one trip.

        Raises `SessionBusy` if another lease holds the session. A lease that holds it already is
        recognised by its token, renewed and given the record again.
        """

    @abstractmethod
    def commit(self, record: Record, lease: Lease, *, keep: bool = False) -> Awaitable[None]:
        """Write the record and give the lease back, in one atomic step.

        Applied if, and only if, the session's lease is still this one and the stored version is
        `lease.version`; raises `LeaseLost` otherwise. `keep`: the lease is renewed instead of
        given back, for the next turn of the same process.
        """

    @abstractmethod
    def release(self, session_id: str, lease: Lease) -> Awaitable[None]:
        """Give the lease back with nothing written; nothing happens if it is lost already."""

    @abstractmethod
    def renew(self, leases: Sequence[Lease]) -> Awaitable[list[Lease]]:
        """Start the term of each lease anew; return those that were lost."""

    @abstractmethod
    def destroy(self, session_id: str, lease: Lease | None) -> Awaitable[None]:
        """Remove the record and its lease.

        With a lease: `LeaseLost` unless it still holds the session. With None, by force: the
        commit of a turn that is running then raises `LeaseLost`.
        """

    @abstractmethod
    def all(self, prefix: str = "") -> AsyncIterator[Record]:
        """Every record whose id starts with `prefix`, as `ListedStore.all` says."""

    @abstractmethod
    def due(self, before: int, limit: int) -> Awaitable[list[Record]]:
        """At most `limit` records with `expires_at` at or before `before` (milliseconds)."""


class InstantStore(LeasedStore):
    """A `LeasedStore` in this process's memory, of which no operation has to wait for anything.

    A driver implements `take`, `put` and `give_back`; a turn calls them without awaiting. What is
    awaitable is made of them. Should a subclass put something of its own in the place of
    `checkout`, `commit` or `release`, turns call these, as they do with any other store.
    """

    @abstractmethod
    def take(self, session_id: str, lease: Lease) -> Record | None:
        """What `checkout` does."""

    @abstractmethod
    def put(self, record: Record, lease: Lease, *, keep: bool = False) -> None:
        """What `commit` does."""

    @abstractmethod
    def give_back(self, session_id: str, lease: Lease) -> None:
        """What `release` does."""

    async def checkout(self, session_id: str, lease: Lease) -> Record | None:
        """See `LeasedStore.checkout`."""
        return self.take(session_id, lease)

    async def commit(self, record: Record, lease: Lease, *, keep: bool = False) -> None:
        """See `LeasedStore.commit`."""
        self.put(record, lease, keep=keep)

    async def release(self, session_id: str, lease: Lease) -> None:
        """See `LeasedStore.release`."""
        self.give_back(session_id, lease)

    def overrides_nothing(self) -> bool:
        """Whether what is awaitable is still made of what is not."""
        awaitable = ("checkout", "commit", "release")
        own = getattr(self, "__dict__", {})
        return not any(
            name in own or getattr(type(self), name) is not getattr(InstantStore, name)
            for name in awaitable
        )


def duration(value: float | timedelta | None, name: str = "expires_in") -> timedelta | None:
    """A documented duration: a number of minutes, a timedelta, or None for never."""
    if value is None or isinstance(value, timedelta):
        span = value
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            span = timedelta(minutes=value)
        except (OverflowError, ValueError):
            message = f"{name} must be a finite number of minutes, a timedelta or None."
            raise ConfigurationError(message) from None
    else:
        message = f"{name} must be minutes, a timedelta or None, not {type(value).__name__}."
        raise ConfigurationError(message)
    if span is not None and span > LONGEST:
        message = f"{name} must be at most {LONGEST.days} days (None means never)."
        raise ConfigurationError(message)
    if span is not None and span < timedelta(milliseconds=1):
        message = f"{name} must be more than zero (None means never), not {value!r}."
        raise ConfigurationError(message)
    return span


def milliseconds(span: timedelta | None) -> int | None:
    """A timedelta in whole milliseconds."""
    return None if span is None else span // timedelta(milliseconds=1)
