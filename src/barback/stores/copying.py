"""Moving house: every session of one store is copied into another."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final, Literal, TypeVar

import msgspec

from barback.backoff import busy_pauses
from barback.errors import (
    BarbackError,
    CommitUnknown,
    ConfigurationError,
    LeaseLost,
    SessionBusy,
    SessionStoreUnavailable,
    SessionUnreadable,
)
from barback.record import Record, new_version
from barback.stores import answers
from barback.stores.base import Lease, LeasedStore, SessionStore, listing
from barback.stores.local import LocalLeases, leased
from barback.stores.url import open_store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

__all__ = ["Copied", "copy_store"]

logger = logging.getLogger("barback")

SIDE_BY_SIDE: Final = 64
"""Sessions under way at once: they share trips where the target can, and bound the memory."""

TERM: Final = 30.0
LEASE_WAIT: Final = 40.0  # seconds; longer than a lease that a killed process left behind
SENDS: Final = 3  # of one commit that was refused, or whose answer was lost
PATIENCE: Final = 10.0  # seconds for what is under way when the copy is stopped
EXAMPLES: Final = 20

T = TypeVar("T")

Outcome = Literal["copied", "replaced", "present", "conflict"]


class Copied(msgspec.Struct, kw_only=True):
    """What a copy has done, or has done so far.

    - `copied`: sessions written to the target; `replaced` of them in place of another record.
    - `present`: sessions that the target had already, of the same version and equal.
    - `conflicts`: sessions of which the target has another record, or one that cannot be read; it
      was left as it is. `in_conflict` are the ids of the first 20.
    """

    copied: int = 0
    replaced: int = 0
    present: int = 0
    conflicts: int = 0
    in_conflict: list[str] = msgspec.field(default_factory=list)

    def count(self, session_id: str, outcome: Outcome) -> None:
        """One more session has come to its end."""
        if outcome == "present":
            self.present += 1
        elif outcome == "conflict":
            self.conflicts += 1
            if len(self.in_conflict) < EXAMPLES:
                self.in_conflict.append(session_id)
        else:
            self.copied += 1
            self.replaced += outcome == "replaced"

    def __str__(self) -> str:
        parts = [f"{self.copied:,} session{'' if self.copied == 1 else 's'} copied"]
        if self.replaced:
            parts[0] += f" ({self.replaced:,} in place of another)"
        if self.present:
            parts.append(f"{self.present:,} already there")
        if self.conflicts:
            parts.append(f"{self.conflicts:,} in conflict")
        return ", ".join(parts)


async def copy_store(  # noqa: PLR0913 - options, by keyword
    source: SessionStore | LeasedStore | str,
    target: SessionStore | LeasedStore | str,
    *,
    prefix: str = "",
    replace: bool = False,
    verify: bool = True,
    progress: Callable[[Copied], object] | None = None,
) -> Copied:
    """Copy every session of `source` into `target`, as it is, and tell what was done.

    A record keeps all it has: id, version, times, lifetime, seen ids, users, address, and its
    state byte for byte. An expired one is copied too, since it still knows the events it has seen.

    - `source`, `target`: stores, or their URLs. They are opened where they are not, and closed.
    - `prefix`: copy only sessions whose id starts with it.
    - `replace`: where the target has another record of a session, put the source's in its place.
      Unless set, such a conflict is left alone and counted. One that cannot be read is never
      replaced.
    - `verify`: read back each record that was written, and compare.
    - `progress`: called after each session with the counts so far, in one object that goes on
      counting; so it also tells how far a copy came that failed or was cancelled.

    It can be stopped and run again: what is there already is not copied twice. A cancellation waits
    (10 seconds at most) for the few sessions under way, and leaves no lease and no half record.

    Stop the bots first. The source is only read, without leases: what a bot writes there after a
    session was read is not in the copy, and what is destroyed there later stays in the target. To
    keep the bots away for a short time only, copy while they run, stop them, and copy again: each
    session that has changed since is now a conflict, and `replace=True` brings it over. Not once
    bots have worked on the target: there, `replace` undoes what they did.

    Raises, with the counts so far as a note:

    - `SessionUnreadable`, after all others have been copied, if the source has records that cannot
      be read.
    - `SessionStoreUnavailable` or another error of a store, at once; also if there is no file or
      folder where the source is said to be, or if the target does not give back what was written.
      `SessionBusy` if one session of the target was in other hands for 40 seconds.
    - `ListingUnsupported` if the source cannot list, `ConfigurationError` if both are one store,
      as far as that can be known.
    """
    if _is_same(source, target):
        message = "The two stores are the same one. Name another store to copy to."
        raise ConfigurationError(message)
    read_from, write_to = _opened(source, "source"), _opened(target, "target")
    done = Copied()
    await _driver(read_from).must_exist()
    async with read_from:
        records = read_from.all(prefix)  # here: who cannot list says so before the target is opened
        async with write_to:
            copy = _Copy(write_to, done, replace=replace, verify=verify, progress=progress)
            try:
                await copy.run(records, read_from.name)
            except Exception as error:
                error.add_note(f"Until then: {done}.")
                raise
    return done


class _Copy:
    """One run: records go through it, so many at a time."""

    def __init__(
        self,
        target: LeasedStore,
        done: Copied,
        *,
        replace: bool,
        verify: bool,
        progress: Callable[[Copied], object] | None,
    ) -> None:
        self._target = target
        self._done = done
        self._replace = replace
        self._verify = verify
        self._progress = progress
        self._under_way: set[asyncio.Task[None]] = set()
        self._failure: BaseException | None = None
        self._stopping = False

    async def run(self, records: AsyncIterator[Record], source: str) -> None:
        """Copy them all; raise the first thing that went wrong."""
        try:
            async with listing(records):
                unreadable = await self._feed(records, source)
            await self._wait_for_room(1)
        finally:
            await self._settle()
        if self._failure is not None:
            raise self._failure
        if unreadable is not None:
            raise unreadable

    async def _feed(self, records: AsyncIterator[Record], source: str) -> SessionUnreadable | None:
        """Start with each record as soon as there is room, until all have been or one failed.

        What the source cannot read hides nothing else: it is returned.
        """
        unreadable = None
        try:
            async for record in records:
                try:
                    # A store that passes on what it holds is found out here, not in the target.
                    Record.decode(record.encode(), session_id=record.id, store=source)
                except SessionUnreadable as error:
                    unreadable = unreadable or error
                    continue
                await self._wait_for_room(SIDE_BY_SIDE)
                if self._failure is not None:
                    break
                task = asyncio.create_task(self._copy(record))
                self._under_way.add(task)
                task.add_done_callback(self._ended)
        except SessionUnreadable as error:
            return unreadable or error
        except BarbackError:
            raise
        except Exception as error:
            raise answers.unavailable(source, "failed to list its sessions") from error
        return unreadable

    async def _wait_for_room(self, limit: int) -> None:
        """Wait until fewer than `limit` records are under way, or one has failed."""
        while len(self._under_way) >= limit and self._failure is None:
            await asyncio.wait(self._under_way, return_when=asyncio.FIRST_COMPLETED)

    async def _settle(self) -> None:
        """Nothing begins any more: let what is under way end, within a bound."""
        self._stopping = True
        try:
            if self._under_way:
                await asyncio.wait(self._under_way, timeout=PATIENCE)
        finally:
            left = list(self._under_way)
            for task in left:
                task.cancel()
            if left:
                await asyncio.wait(left, timeout=1)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        if not task.cancelled():
            self._fail(task.exception())
        elif not self._stopping:
            self._fail(answers.unavailable(self._target.name, "left an operation unanswered"))

    def _fail(self, error: BaseException | None) -> None:
        if self._failure is None:
            self._failure = error

    # One record.

    async def _copy(self, record: Record) -> None:
        token = f"{new_version():x}"
        lease = Lease(session_id=record.id, token=token, term=TERM, closely=True)
        held = True
        try:
            outcome, held = await self._place(record, lease)
        except Exception as error:
            self._fail(error)  # before the lease is given back: from now on nothing begins
            raise
        finally:
            if held:
                await self._release(lease)
        self._done.count(record.id, outcome)
        if self._progress is not None:
            self._progress(self._done)

    async def _place(self, record: Record, lease: Lease) -> tuple[Outcome, bool]:
        """See the record in the target, if it may be there; and whether the lease is still held.

        A commit that was refused or lost its answer is looked at anew, under the same lease.
        """
        sends = 0
        while True:
            try:
                there = await self._checkout(lease)
            except SessionUnreadable:
                return "conflict", True
            if there is not None and _equal(there, record):
                return ("copied" if sends else "present"), True
            if there is not None and not self._replace:
                return "conflict", True
            sends += 1
            try:
                await self._target.commit(record, lease, keep=self._verify)
            except (CommitUnknown, LeaseLost):
                if sends == SENDS or self._stopping:
                    raise
                continue
            if self._verify:
                await self._compare(record, lease)
            return ("copied" if there is None else "replaced"), self._verify

    async def _compare(self, record: Record, lease: Lease) -> None:
        """Raise unless the target gives the record back as it was written."""
        cause = None
        try:
            there = await self._checkout(lease)
        except SessionUnreadable as error:
            there, cause = None, error
        if there is None or not _equal(there, record):
            message = (
                f"The {self._target.name} store does not give session {record.id!r} back as it was "
                f"written. The source still has it: do not use this copy."
            )
            raise SessionStoreUnavailable(
                message, session_id=record.id, store=self._target.name
            ) from cause

    async def _checkout(self, lease: Lease) -> Record | None:
        """Take the lease and read the record; wait while it is busy, but not when stopping."""
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + LEASE_WAIT
        backoff = busy_pauses()
        while True:
            try:
                there = await self._target.checkout(lease.session_id, lease)
            except SessionBusy:
                if self._stopping or loop.time() >= give_up_at:
                    raise
                await asyncio.sleep(next(backoff))
            else:
                lease.version = None if there is None else there.version
                return there

    async def _release(self, lease: Lease) -> None:
        """Give the lease back. Where that fails it is logged: the lease ends by itself."""
        try:
            await self._target.release(lease.session_id, lease)
        except BarbackError as error:
            logger.warning(
                "The lease of session %r could not be given back and will run out: %s",
                lease.session_id,
                error,
            )


def _equal(one: Record, other: Record) -> bool:
    """Equal in everything, the order of the seen ids included."""
    return one.encode() == other.encode()


def _opened(store: SessionStore | LeasedStore | str, what: str) -> LeasedStore:
    if isinstance(store, str):
        store = open_store(store)
    if isinstance(store, (SessionStore, LeasedStore)):
        return leased(store)
    message = (
        f"The {what} must be a SessionStore, a LeasedStore or a URL, not a {type(store).__name__}."
    )
    raise ConfigurationError(message)


def _is_same(source: object, target: object) -> bool:
    """Whether both are known to be one store."""
    if isinstance(source, str) and isinstance(target, str):
        return source == target
    return _driver(source) is _driver(target)


def _driver(store: T) -> T | SessionStore:
    return store.store if isinstance(store, LocalLeases) else store
