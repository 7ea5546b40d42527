"""A store that fails as it is told to, over a real one; and the bots the tests of turns use."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from barback import (
    Bot,
    CommitUnknown,
    Context,
    Event,
    Lease,
    LeasedStore,
    LeaseLost,
    MemorySessionStore,
    Record,
    SessionBusy,
    SessionStoreUnavailable,
    SessionUnreadable,
    User,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Sequence
    from typing import Self

T = TypeVar("T")

FAULTS = {
    "busy": SessionBusy,
    "lost": LeaseLost,
    "unavailable": SessionStoreUnavailable,
    "unreadable": SessionUnreadable,
    "unknown": CommitUnknown,
}


class ScriptedStore(LeasedStore):
    """Every operation takes a tick of the loop, is noted in `calls`, and may go wrong.

    `script(operation, *steps)` says what becomes of the next calls of an operation, in order:

    - `"ok"`, `"busy"`, `"lost"`, `"unavailable"`, `"unreadable"`, `"unknown"`: nothing is applied,
      but for "ok"
    - `"applied"`: it is applied, and its answer is lost
    - `"unheard"`: the same, of what writes nothing
    - an `asyncio.Event`: it waits for that before it is applied
    """

    name: ClassVar[str] = "scripted"

    def __init__(self, inner: LeasedStore | None = None) -> None:
        self.inner = MemorySessionStore() if inner is None else inner
        self.calls: list[str] = []
        self.answered: list[str] = []
        self.commits: list[tuple[Record, Lease]] = []
        self._script: dict[str, deque[str | asyncio.Event]] = defaultdict(deque)

    def script(self, operation: str, *steps: str | asyncio.Event) -> None:
        self._script[operation].extend(steps)

    async def _do(self, operation: str, act: Awaitable[T]) -> T:
        self.calls.append(operation)
        script = self._script[operation]
        step = script.popleft() if script else "ok"
        await asyncio.sleep(0)
        if isinstance(step, asyncio.Event):
            await step.wait()
        elif step in FAULTS:
            act.close()  # type: ignore[attr-defined]  # a coroutine that shall not run
            raise FAULTS[step](f"scripted: {step}")
        answer = await act
        await asyncio.sleep(0)
        self.answered.append(operation)
        if step == "applied":
            raise CommitUnknown("scripted: applied, and the answer lost")
        if step == "unheard":
            raise SessionStoreUnavailable("scripted: no answer")
        return answer

    async def init(self) -> Self:
        await self.inner.init()
        return self

    async def checkout(self, session_id: str, lease: Lease) -> Record | None:
        return await self._do("checkout", self.inner.checkout(session_id, lease))

    async def commit(self, record: Record, lease: Lease, *, keep: bool = False) -> None:
        self.commits.append((record, lease))
        await self._do("commit", self.inner.commit(record, lease, keep=keep))

    async def release(self, session_id: str, lease: Lease) -> None:
        await self._do("release", self.inner.release(session_id, lease))

    async def renew(self, leases: Sequence[Lease]) -> list[Lease]:
        return await self._do("renew", self.inner.renew(leases))

    async def destroy(self, session_id: str, lease: Lease | None) -> None:
        await self._do("destroy", self.inner.destroy(session_id, lease))

    async def all(self, prefix: str = "") -> AsyncIterator[Record]:
        async for record in self.inner.all(prefix):
            yield record

    async def due(self, before: int, limit: int) -> list[Record]:
        return await self.inner.due(before, limit)

    def is_free(self, session_id: str) -> bool:
        assert isinstance(self.inner, MemorySessionStore)
        return session_id not in self.inner._leases


def counting_bot(**options: Any) -> Bot:
    """A bot that counts a person's events, with an await between reading and writing."""
    bot = Bot(initial_state={"n": 0}, **options)

    @bot.on_event
    async def count(context: Context) -> None:
        n = context.state["n"]
        await asyncio.sleep(0)
        context.set_state(n=n + 1)

    return bot


def event(user: str = "tim", *, event_id: str | None = None, **fields: Any) -> Event:
    return Event(channel="test", user=User(user), id=event_id, **fields)


def nothing_left(bot: Bot) -> bool:
    """Whether nobody runs, waits or is waited for."""
    turns = bot._turns
    assert turns is not None
    return (len(turns.queue), turns.queue._running, turns.queue._urgent) == (0, 0, {})


async def state_of(bot: Bot, session_id: str = "test:tim") -> dict[str, Any]:
    async with bot.conversation(session_id) as context:
        return context.state


async def until(condition: Any, *, seconds: float = 10) -> None:
    """Let the loop turn until `condition()` holds."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0)
