"""Bots as processes that are killed and started again, and a platform that delivers until told.

Each event comes in up to ten copies, in any order, to any of the bots; each copy comes again until
it was answered as done. Some handlers fail at the first delivery.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import Counter
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import msgspec

from barback.testing.history import NEVER, Effect, TurnHistory, TurnRecord
from tests.matrix_run import ANSWERED, Process, check_left, start
from tests.matrix_worker import Hand, Heard, Left, Look, Setup

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.matrix_worker import Order

__all__ = ["Told", "redeliver"]

T = TypeVar("T")

USERS = [f"user{number}" for number in range(6)]
TERM = 0.5  # seconds of a lease
REMEMBERED = 32  # ids of events, as in any bot
AT_ONCE = 8  # events of a person whose copies come mixed
COPIES = 10  # of an event, at most
FAILING = 0.25  # of the events fail when they come first
SPREAD = 0.1  # seconds over which the copies of some events come
THINKING = 0.05  # seconds that a handler takes, at most
LEAST = 2 * AT_ONCE  # events of each person
KILLS, MOST_KILLS = 4, 20  # that there are in any case, and until enough of them have hit
HITS = 2  # kills that hit turns in flight
PROGRESS = 20  # answers that are to have come between two kills


class Told(NamedTuple):
    """What a run was: how many events and copies of them, and what else shows that it was one.

    - `failed`: deliveries whose handler failed. - `kills`, `hits`: of bots, and of those that had
      handlers at work or had not told what became of them.
    - `waited`: copies that came while the event was being handled, and were told it was.
    """

    events: int
    copies: int
    failed: int
    kills: int
    hits: int
    waited: int


class RunningBot:
    """A bot's process, and what it is asked and has not answered."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self._numbers = itertools.count()
        self._handed: dict[int, asyncio.Future[Heard | None]] = {}
        self._others: asyncio.Queue[bytes] = asyncio.Queue()
        self._reading = asyncio.create_task(self._read())

    async def hand(self, user: str, event: str, *, fails: bool) -> Heard | None:
        """Deliver it once; None if the bot died before anything was heard."""
        number = next(self._numbers)
        heard: asyncio.Future[Heard | None] = asyncio.get_running_loop().create_future()
        self._handed[number] = heard
        if self._reading.done():
            return None
        try:
            await self.process.tell(Hand(number, user, event, fails))
        except ConnectionError:
            return None
        return await heard

    async def ask(self, order: Order, kind: type[T]) -> T:
        await self.process.tell(order)
        return msgspec.json.decode(await self._others.get(), type=kind)

    async def kill(self) -> bool:
        """SIGKILL; whether handlers were at work then, or had ended and their ends been unheard."""
        self.process.process.kill()
        await self.process.process.wait()
        await self._reading
        turns = TurnHistory.load(self.process.turns)
        return any(turn.ran and turn.ended == NEVER for turn in turns)

    async def stop(self) -> None:
        """In good order."""
        process = self.process.process
        assert process.stdin is not None
        process.stdin.close()
        async with asyncio.timeout(ANSWERED):
            assert await process.wait() == 0
            await self._reading

    async def _read(self) -> None:
        output = self.process.process.stdout
        assert output is not None
        while (line := await output.readline()).endswith(b"\n"):  # the last may be cut off
            answer: Any = msgspec.json.decode(line)
            if isinstance(answer, dict) and answer.get("type") == "Heard":
                heard = msgspec.convert(answer, Heard)
                self._tell(heard.number, heard)
            else:
                self._others.put_nowait(line)
        for number in [*self._handed]:
            self._tell(number, None)

    def _tell(self, number: int, heard: Heard | None) -> None:
        handed = self._handed.pop(number)
        if not handed.done():  # or nobody waits for it any more, since the run has failed
            handed.set_result(heard)


class Platform:
    """Delivers to whichever bots there are, and kills them, and starts others in their place."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.chance = random.Random(setup.seed)
        self.bots: list[RunningBot] = []
        self.turns: list[Path] = []
        self.events: Counter[str] = Counter()
        self.copies = self.answers = self.kills = self.hits = 0
        self.over = False

    async def start(self) -> RunningBot:
        name = f"bot{len(self.turns)}"
        started = await start(msgspec.structs.replace(self.setup, name=name))
        self.turns.append(started.turns)
        try:
            assert await started.hear() == b"ready\n"
        except BaseException:
            started.process.kill()
            await started.process.wait()
            raise
        bot = RunningBot(started)
        self.bots.append(bot)
        return bot

    async def talk(self, user: str) -> None:
        """Deliver events of a person, some at once, until it is over."""
        while not self.over or self.events[user] < LEAST:
            first = self.events[user]
            self.events[user] += AT_ONCE
            copies = [
                self.deliver(user, f"{event}", fails=copy == 0 and self.chance.random() < FAILING)
                for event in range(first, first + AT_ONCE)
                for copy in range(self.chance.randint(1, COPIES))
            ]
            self.chance.shuffle(copies)
            self.copies += len(copies)
            async with asyncio.TaskGroup() as group:
                for copy in copies:
                    group.create_task(copy)

    async def deliver(self, user: str, event: str, *, fails: bool) -> None:
        """Until it is told done; its handler fails once, if it comes to run."""
        while True:
            await asyncio.sleep(self.chance.uniform(0, SPREAD))
            heard = await self.chance.choice(self.bots).hand(user, event, fails=fails)
            self.answers += 1
            if heard is not None:
                assert not heard.wrong, heard.wrong
                if heard.done:
                    return
                fails = False

    async def kill_and_start(self) -> None:
        """Again and again, in the middle of whatever they do."""
        while self.kills < KILLS or (self.hits < HITS and self.kills < MOST_KILLS):
            await self.progress()
            bot = self.chance.choice(self.bots)
            self.bots.remove(bot)
            self.kills += 1
            self.hits += await bot.kill()
            await self.start()

    async def progress(self) -> None:
        before = self.answers
        async with asyncio.timeout(ANSWERED):
            while self.answers < before + PROGRESS:
                await asyncio.sleep(0.005)


@asynccontextmanager
async def platform(setup: Setup, bots: int) -> AsyncIterator[Platform]:
    """One with so many bots; none of them outlives it."""
    one = Platform(setup)
    try:
        for _ in range(bots):
            await one.start()
        yield one
        for bot in one.bots:
            await bot.stop()
    finally:
        for bot in one.bots:
            if bot.process.process.returncode is None:
                await bot.kill()


async def redeliver(url: str, folder: Path, *, bots: int, killed: bool, seed: int) -> Told:
    """Let events be delivered to so many bots, `killed` again and again, and check what is left.

    Raises `HistoryError` where an event changed its session not once, or was called handled before
    it was.
    """
    setup = Setup(url, str(folder), "", seed, TERM, THINKING, REMEMBERED)
    async with platform(setup, bots) as one:
        async with asyncio.TaskGroup() as group:
            for user in USERS:
                group.create_task(one.talk(user))
            if killed:
                await one.kill_and_start()
            one.over = True
        left = await one.bots[0].ask(Look(USERS), list[Left])
    turns = TurnHistory.load(*one.turns)
    check_left(turns, left, one.events)
    failed = sum(turn.ran and turn.effect is Effect.NONE for turn in turns)
    return Told(one.events.total(), one.copies, failed, one.kills, one.hits, waited(turns))


def waited(turns: list[TurnRecord]) -> int:
    """Copies that came while their event was being handled, and were told that it had been."""
    done = {(turn.session, turn.event): turn for turn in turns if turn.effect is Effect.DONE}
    return sum(
        (first := done.get((turn.session, turn.event))) is not None
        and first.began < turn.began < first.ran_at
        for turn in turns
        if turn.effect is Effect.SEEN
    )
