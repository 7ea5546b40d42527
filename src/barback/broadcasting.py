"""Broadcasting: one message to many sessions, no faster than their platforms bear."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable
from contextlib import aclosing
from typing import TYPE_CHECKING, Final

import msgspec

from barback.errors import (
    BotNotRunning,
    BotOverloaded,
    ChannelError,
    ChannelUnreachable,
    CommitUnknown,
    SessionBusy,
    SessionStoreUnavailable,
)
from barback.stores.base import listing
from barback.tending import Failure, failure_of
from barback.turn import Outcome

if TYPE_CHECKING:
    from barback.errors import BarbackError

__all__ = ["Broadcast", "Broadcaster", "Pace", "Said", "Sessions"]

Sessions = Iterable[str] | AsyncIterable[str]

UNDER_WAY: Final = 100  # sessions at once, so that a slow one keeps nobody waiting
TRIES: Final = 5  # of one session
PAUSE: Final = 1.0  # seconds before the second of them, then twice as long each time


class Broadcast(msgspec.Struct, kw_only=True):
    """What a broadcast has done, or has done so far.

    - `sent`: sessions that were told.
    - `repeated`: sessions that had been told before, by a broadcast of the same `once`.
    - `failed`: sessions that were not told, or of which nobody knows; `failures` are the first of
      them, with their reasons.
    """

    sent: int = 0
    repeated: int = 0
    failed: int = 0
    failures: list[Failure] = msgspec.field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether everybody was told."""
        return not self.failed

    def __str__(self) -> str:
        parts = [f"{self.sent:,} sent"]
        parts += [f"{self.repeated:,} told before"] if self.repeated else []
        parts += [f"{self.failed:,} failed"] if self.failed else []
        return ", ".join(parts)


class Said(msgspec.Struct):
    """How far telling one session has come: whether anything may have been said already.

    `looking`: only see whether it was told before; nothing is said.
    """

    looking: bool = False
    begun: bool = False


class Pace:
    """When the next message to one platform may go out: so many a second, one after another."""

    def __init__(self, per_second: float) -> None:
        self._gap = 1 / per_second
        self._next = 0.0
        self._closed_until = 0.0

    async def turn(self) -> None:
        """Wait for a place of one's own, and as long as the platform has asked to."""
        loop = asyncio.get_running_loop()
        while True:
            at = max(self._next, loop.time())
            self._next = at + self._gap
            await asyncio.sleep(at - loop.time())
            if loop.time() >= self._closed_until:
                return

    def close_for(self, seconds: float) -> None:
        """The platform takes nothing for so long."""
        self._closed_until = max(self._closed_until, asyncio.get_running_loop().time() + seconds)
        self._next = max(self._next, self._closed_until)


class Broadcaster:
    """Tells many sessions.

    - `tell`: tell one, in a turn of its own; it is given the session's id. None: it only looked.
    - `looks`: look first whether a session was told before, which then takes no time of the pace.
    - `pace_of`: the pace of a session's platform.
    """

    def __init__(  # noqa: PLR0913 - by keyword but for what it is about
        self,
        tell: Callable[[str, Said], Awaitable[Outcome | None]],
        pace_of: Callable[[str], Pace],
        *,
        looks: bool,
        max_failures: int,
        on_progress: Callable[[Broadcast], object] | None,
        on_failure: Callable[[str, Exception], object] | None,
    ) -> None:
        self.done = Broadcast()
        self._tell = tell
        self._looks = looks
        self._pace_of = pace_of
        self._max_failures = max_failures
        self._on_progress = on_progress
        self._on_failure = on_failure

    async def tell_all(self, sessions: Sessions) -> None:
        """Tell all of them, several at once. What was done is a note of whatever ends it."""
        room = asyncio.Semaphore(UNDER_WAY)

        async def one(session_id: str) -> None:
            try:
                await self._one(session_id)
            finally:
                room.release()

        try:
            async with aclosing(_each(sessions)) as each, asyncio.TaskGroup() as group:
                async for session_id in each:
                    await room.acquire()
                    group.create_task(one(session_id))
        except BaseExceptionGroup as several:
            first = several.exceptions[0]
            first.add_note(f"Until then: {self.done}.")
            raise first from first.__cause__
        except Exception as error:
            error.add_note(f"Until then: {self.done}.")
            raise

    async def _one(self, session_id: str) -> None:
        try:
            outcome = await self._told(session_id)
        except BotNotRunning:
            raise
        except Exception as error:  # noqa: BLE001 - it is counted, and told
            self._count_failure(session_id, error)
        else:
            if outcome is Outcome.DUPLICATE:
                self.done.repeated += 1
            else:
                self.done.sent += 1
        if self._on_progress is not None:
            self._on_progress(self.done)

    def _count_failure(self, session_id: str, error: Exception) -> None:
        self.done.failed += 1
        if len(self.done.failures) < self._max_failures:
            self.done.failures.append(failure_of(str(session_id), error))
        if self._on_failure is not None:
            self._on_failure(session_id, error)

    async def _told(self, session_id: str) -> Outcome | None:
        """Tell one session, and again where it was surely not told, and may be in a while."""
        pace = self._pace_of(session_id)
        for tries in range(1, TRIES + 1):
            said = Said()
            try:
                if self._looks:
                    found = await self._tell(session_id, Said(looking=True))
                    if found is not None:
                        return found
                await pace.turn()
                return await self._tell(session_id, said)
            except ChannelError as error:
                pause = _pause_of(error, tries)
                if pause is None or tries == TRIES:
                    raise
                pace.close_for(pause)
            except (SessionBusy, SessionStoreUnavailable, BotOverloaded, CommitUnknown):
                if said.begun or tries == TRIES:
                    raise
                await asyncio.sleep(PAUSE * 2 ** (tries - 1))
        raise AssertionError  # the last try has raised, or returned


def _pause_of(error: BarbackError, tries: int) -> float | None:
    """For how many seconds a platform is to be left alone that has taken nothing; None: it has."""
    if isinstance(error, ChannelUnreachable):
        return None if error.sent else PAUSE * 2 ** (tries - 1)
    retry_after: float | None = getattr(error, "retry_after", None)
    return retry_after


async def _each(sessions: Sessions) -> AsyncGenerator[str]:
    if isinstance(sessions, AsyncIterable):
        async with listing(sessions):
            async for session_id in sessions:
                yield session_id
        return
    for session_id in sessions:
        yield session_id
