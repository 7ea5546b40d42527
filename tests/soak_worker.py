"""A bot that does very many turns, and tells what memory it holds meanwhile.

`python soak_worker.py SOAK`, which is a `Soak` as JSON, writes a `Sample` as a line of JSON after
each tenth of the turns, and at the end how many of them ended in which way.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import random
import sys
from collections import Counter
from pathlib import Path

import msgspec

from barback import Bot, Context, Event, User

WORKERS = 64  # who deliver events, one after another each
PAGES = Path("/proc/self/statm")  # of memory; the second number is of those in use
REMEMBERED = 256  # ids of events that changed nothing: soon as many as there may be

# Of turns, one as likely as the other.
USUAL = ["counts"] * 16 + ["says nothing"] * 2 + ["fails", "is cut off"]
ROUGH = ["counts"] * 2 + ["says nothing", "fails", "is cut off"]


class Soak(msgspec.Struct, frozen=True):
    """So many turns of so many people, on the store at the URL.

    - `rough`: of five turns one fails, one is cancelled and one changes nothing; otherwise of
      twenty one, one and two.
    """

    url: str
    turns: int
    people: int
    rough: bool = False
    seed: int = 1


class Sample(msgspec.Struct, frozen=True):
    """What memory is in use after so many turns, once what is garbage has been collected.

    - `blocks`: of Python's. - `resident`: bytes of the process; None where nobody tells.
    """

    turns: int
    blocks: int
    resident: int | None


class Worker:
    """The bot, and what becomes of its turns."""

    def __init__(self, soak: Soak) -> None:
        self.soak = soak
        self.kinds = ROUGH if soak.rough else USUAL
        self.chance = random.Random(soak.seed)
        self.told: Counter[str] = Counter()
        self.bot = Bot(initial_state={"n": 0}, session_store=soak.url)
        self.bot._rules = msgspec.structs.replace(self.bot._rules, handled_limit=REMEMBERED)
        self.bot.on_event(self.handle)

    async def handle(self, context: Context) -> None:
        n = context.state["n"]
        await asyncio.sleep(0.001 if context.event.text == "is cut off" else 0)
        if context.event.text == "fails":
            message = "It fails on purpose."
            raise RuntimeError(message)
        if context.event.text != "says nothing":
            context.set_state(n=n + 1)

    async def deliver(self, number: int) -> None:
        kind = self.kinds[int(self.chance.random() * len(self.kinds))]
        user = User(str(int(self.chance.random() * self.soak.people)))
        event = Event(channel="test", user=user, id=f"{number}", text=kind)
        if kind != "is cut off":
            self.told[await self.bot.handle(event)] += 1
            return
        turn = asyncio.create_task(self.bot.handle(event))
        await asyncio.wait([turn], timeout=self.chance.choice([0, 0.001, 0.003]))
        turn.cancel()
        await asyncio.wait([turn])
        self.told["cancelled" if turn.cancelled() else turn.result()] += 1

    async def run(self) -> None:
        numbers = iter(range(self.soak.turns))
        tenth = self.soak.turns // 10

        async def work() -> None:
            for number in numbers:
                await self.deliver(number)
                if (number + 1) % tenth == 0:
                    say(sample(number + 1))

        async with self.bot:
            await asyncio.gather(*(work() for _ in range(WORKERS)))
        say(self.told)


def sample(turns: int) -> Sample:
    gc.collect()
    resident = None
    if PAGES.exists():
        resident = int(PAGES.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return Sample(turns, sys.getallocatedblocks(), resident)


def say(what: Sample | Counter[str]) -> None:
    sys.stdout.write(f"{msgspec.json.encode(what).decode()}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    logging.getLogger("barback").setLevel(logging.CRITICAL)  # of the handlers that fail
    asyncio.run(Worker(msgspec.json.decode(sys.argv[1], type=Soak)).run())
