"""Tending: a whole store is gone over, one session after another, beside the bots that use it."""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

import msgspec

from barback.errors import (
    BarbackError,
    CommitUnknown,
    LeaseLost,
    SessionBusy,
    SessionUnreadable,
)
from barback.record import parted
from barback.stores.base import listing
from barback.turn import Turns

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable

    from barback.record import Record
    from barback.rules import Rules
    from barback.states import States
    from barback.stores.base import LeasedStore
    from barback.turn import Turn

__all__ = ["Failure", "Place", "Tender", "failure_of", "is_own", "place_of", "turns_on"]

logger = logging.getLogger("barback")

SIDE_BY_SIDE: Final = 64
"""Sessions under way at once: they share trips where the store can, and bound the memory."""

SHARE: Final = 4  # at most this part of the turns that may run at once is tending
PATIENCE: Final = 10.0  # seconds
TRIES: Final = 3  # where somebody took the session over, or an answer was lost

T = TypeVar("T")


class Failure(msgspec.Struct, frozen=True):
    """A session with which something could not be done, and the reason."""

    session_id: str
    reason: str


class Place(NamedTuple):
    """What the id of a record tells.

    - `part`: "" of a session; "unreadable" of a record that was kept aside, and "history" of a part
      of a history, each of the session that the rest tells.
    """

    namespace: str
    channel: str
    key: str
    part: str


class Tender:
    """Goes over the sessions of a bot.

    - `prefix`: what stands before their ids in the store; None: those of every bot.
    """

    def __init__(self, turns: Turns, prefix: str | None, clock: Callable[[], float]) -> None:
        self.turns = turns
        self.prefix = prefix
        self._clock = clock

    def now(self) -> int:
        """The time of day, in milliseconds."""
        return int(self._clock() * 1000)

    def shown(self, record_id: str) -> str:
        """A session's id as the bot knows it."""
        return record_id.removeprefix(self.prefix or "")

    async def each(
        self, tend: Callable[[Record], Awaitable[None]], begin: str = ""
    ) -> SessionUnreadable | None:
        """Call `tend` with every record whose id starts with `begin`, several at once.

        Returns the error of the first that the store cannot read: it hides no other. What `tend`
        raises ends the going over, as a cancellation does; what is under way comes to its end.
        """
        unreadable = None

        async def records() -> AsyncGenerator[Record]:
            nonlocal unreadable
            try:
                async with aclosing(self.records(begin)) as found:
                    async for record in found:
                        yield record
            except SessionUnreadable as error:
                unreadable = error

        await self.side_by_side(records(), tend)
        return unreadable

    async def side_by_side(
        self, things: AsyncGenerator[T], tend: Callable[[T], Awaitable[None]]
    ) -> None:
        """Call `tend` with each of them, several at once, as `each` does."""
        most = min(SIDE_BY_SIDE, max(1, self.turns.rules.concurrency // SHARE))
        room = asyncio.Semaphore(most)

        async def one(thing: T) -> None:
            try:
                await tend(thing)
            finally:
                room.release()

        try:
            async with asyncio.TaskGroup() as group, aclosing(things):
                async for thing in things:
                    await room.acquire()
                    group.create_task(one(thing))
        except BaseExceptionGroup as several:
            raise several.exceptions[0] from several.exceptions[0].__cause__

    async def session_ids(self, channel: str | None = None) -> AsyncIterator[str]:
        """The ids of sessions that have not expired, as the bot knows them; of one channel, or all.

        What cannot be read is left out, and logged.
        """
        begin = "" if channel is None else f"{channel}:"
        records = self.records(begin)
        try:
            async with aclosing(records):
                async for record in records:
                    if not place_of(record.id).part and not record.expired(self.now()):
                        yield self.shown(record.id)
        except SessionUnreadable as error:
            logger.warning("A session was left out, which cannot be read: %s", error)

    async def look(self, record_id: str) -> Record | None:
        """One record, of which nobody else's turn is waited for; None if there is none.

        Where another process holds the session it is looked for in the listing, which needs no
        lease, and may take its time.
        """
        try:
            async with self.turns.tend(record_id, impatient=True) as turn:
                return turn.record
        except SessionBusy:
            async with aclosing(self.records(record_id)) as records:
                async for record in records:
                    if record.id == record_id:
                        return record
        return None

    async def change(self, record_id: str, act: Callable[[Turn], Awaitable[T]]) -> T:
        """What `act` returns, in a turn that tends the session; tried again where that was lost.

        So it is called again after a change of which nobody knows whether it was made.
        """
        for _ in range(TRIES - 1):
            try:
                async with self.turns.tend(record_id) as turn:
                    done = await act(turn)
            except (LeaseLost, CommitUnknown):
                continue
            return done
        async with self.turns.tend(record_id) as turn:
            return await act(turn)

    async def records(self, begin: str = "") -> AsyncGenerator[Record]:
        """Every record of the bot whose id starts so, sessions or not, streamed, with no lease."""
        async with listing(self.turns.store.all(f"{self.prefix or ''}{begin}")) as records:
            async for record in records:
                if self.prefix is None or is_own(record.id, self.prefix):
                    yield record


@asynccontextmanager
async def turns_on(
    store: LeasedStore, states: States, rules: Rules, clock: Callable[[], float]
) -> AsyncIterator[Turns]:
    """Turns of a store that is opened for them."""
    async with store:
        turns = Turns(store, states, rules, clock)
        try:
            yield turns
        finally:
            await turns.close(PATIENCE)


def place_of(record_id: str) -> Place:
    """What the id of a record tells."""
    part, _, session_id = parted(record_id)
    channel, _, key = session_id.partition(":")
    namespace, _, channel = channel.rpartition("/")
    return Place(namespace, channel, key, part)


def is_own(record_id: str, prefix: str) -> bool:
    """Whether a record is of the bot before whose ids in the store stands `prefix`.

    That of a bot without a namespace, "", stands before the ids of every other as well.
    """
    return record_id.startswith(prefix) and not place_of(record_id.removeprefix(prefix)).namespace


def failure_of(session_id: str, error: Exception) -> Failure:
    """A failure with a reason that tells nothing which a session keeps."""
    told = str(error) if isinstance(error, BarbackError) else type(error).__name__
    return Failure(session_id, told)
