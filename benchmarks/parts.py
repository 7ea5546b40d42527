"""Turns that do more and more: the difference between two is what the one does more.

`python -m benchmarks.parts PART TURNS [URL]` takes so many, for a profiler to watch.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import count

from barback import Bot, Context, Event, LeasedStore, SessionStore, User, open_store
from benchmarks.subjects.barback_bot import Counted, greet

__all__ = ["PARTS", "WHOLE", "opened", "seconds"]

PEOPLE = ("100001", "100002")
FIRST = 100_000
SATURATING = 80  # turns, until the sessions remember as many events as they ever will
LAST = FIRST + SATURATING
RUNS = 50
TURNS = 1_000


async def nothing(context: Context) -> None:
    """Leave everything as it is."""


async def read(context: Context) -> None:
    """Look at the state."""
    assert context.state


async def write(context: Context) -> None:
    """What the README's handler sets, and nothing said."""
    if context.state["asking"]:
        context.set_state(nickname=context.event.text, asking=False)
    else:
        context.set_state(asking=True)


WHOLE = "the README's: it is set, and an answer given"

PARTS: dict[str, Callable[[Context], Awaitable[None]] | None] = {
    "an event is made, and not handled": None,
    "a redelivered event, which ends once its session is read": nothing,
    "a handler that does nothing": nothing,
    "the state is read": read,
    "the state is set, and committed": write,
    WHOLE: greet,
}
REDELIVERED = list(PARTS)[1]


class Turns:
    """Takes turns of a part, one after the other; events are numbered from `first`."""

    def __init__(self, part: str, bot: Bot, first: int) -> None:
        self._part = part
        self._bot = bot
        self._numbers = count(first)

    async def take(self, turns: int) -> None:
        """So many."""
        bot, numbers = self._bot, self._numbers
        handled, redelivered = PARTS[self._part] is not None, self._part == REDELIVERED
        for turn in range(turns):
            number, whose = next(numbers), PEOPLE[turn % len(PEOPLE)]
            event = Event(
                channel="telegram",
                id=str(LAST if redelivered else number),
                text=f"name{number}",
                user=User(whose),
                address=whose,
            )
            if handled:
                await bot.handle(event)


@asynccontextmanager
async def opened(part: str, url: str) -> AsyncIterator[Turns]:
    """Turns with people who have talked to the bot for a while."""
    async with open_store(url) as store:
        async with _bot(store, greet) as bot:
            await Turns(WHOLE, bot, FIRST).take(SATURATING)
            await Turns(REDELIVERED, bot, FIRST).take(len(PEOPLE))  # for the first time
        async with _bot(store, PARTS[part] or nothing) as bot:
            yield Turns(part, bot, LAST + 1)


def _bot(store: SessionStore | LeasedStore, handler: Callable[[Context], Awaitable[None]]) -> Bot:
    bot = Bot(
        initial_state={"asking": False, "nickname": None},
        session_store=store,
        channels=[Counted()],
    )
    bot.on_event(handler)
    return bot


async def seconds() -> dict[str, float]:
    """The least CPU time of one turn in memory, by the part, of many short runs in turn."""
    least = dict.fromkeys(PARTS, float("inf"))
    async with AsyncExitStack() as stack:
        turns = {part: await stack.enter_async_context(opened(part, "memory://")) for part in PARTS}
        for _ in range(RUNS):
            for part in PARTS:
                started = time.process_time()
                await turns[part].take(TURNS)
                least[part] = min(least[part], (time.process_time() - started) / TURNS)
    return least


async def main(part: str, turns: str, url: str = "memory://") -> None:
    """Take the turns."""
    async with opened(part, url) as opened_turns:
        await opened_turns.take(int(turns))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
