"""The guarantees, in interleavings that chance draws, over a store on which nothing is sure.

Two bots, as two processes would, on one store; events of few people, each delivered several times
and again until it is done; answers that are late, lost or refusals; tasks that are cancelled. The
history of it all must be one that turns one after another could have had.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from barback import (
    Bot,
    CommitUnknown,
    Context,
    MemorySessionStore,
    NotDone,
    Outcome,
    Redeliver,
)
from barback.testing.faults import Chances, FaultyStore
from barback.testing.history import Effect, TurnRecord, check_history
from barback.testing.interleaving import explore
from tests.scripted import event, nothing_left

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

SEEDS = range(60)
PEOPLE = ["tim", "ann"]
EVENTS = 6  # of each
COPIES = 3  # of an event, at most

WEATHERS = {
    "fair": Chances(),
    "refusing": Chances(refused=0.3),
    "losing": Chances(lost=0.3),
    "late": Chances(late=0.2),
    "a moment late": Chances(late=0.4, lateness=0.02),
    "slow": Chances(slow=0.3),
    "all at once": Chances(refused=0.1, lost=0.1, late=0.1, slow=0.1),
}

EFFECTS = {
    Outcome.COMMITTED: Effect.DONE,
    Outcome.UNCHANGED: Effect.DONE,
    Outcome.FAILED: Effect.NONE,
    Outcome.DUPLICATE: Effect.SEEN,
}


class World:
    """Two bots on one store, and what was asked of them."""

    def __init__(self, chances: Chances | Mapping[str, Chances], seed: int, **options: Any) -> None:
        self.chance = random.Random(seed)
        self.fair = chances == Chances()
        self.inner = MemorySessionStore()
        self.stores = [FaultyStore(self.inner, chances, self.chance) for _ in range(2)]
        milliseconds = count(1)
        self.bots = [
            Bot(
                session_store=store,
                initial_state={"mark": None},
                clock=lambda: next(milliseconds) / 1000,  # no two commits have the same
                **options,
            )
            for store in self.stores
        ]
        for bot in self.bots:
            bot.on_event(self.handle)
        self.turns: dict[str, dict[str, Any]] = {}
        self.marks = count()
        self.told: Counter[str] = Counter()

    async def handle(self, context: Context) -> None:
        mark = context.event.text
        assert mark is not None
        self.turns[mark].update(ran=True, read=context.state["mark"])
        for _ in range(self.chance.randrange(3)):
            await asyncio.sleep(0)
        if self.chance.random() < 0.05:
            await asyncio.sleep(45)  # longer than a lease
        context.set_state(mark=mark)

    async def deliver(self, user: str, event_id: str) -> Effect:
        """Hand an event to one of the bots, and note what is heard of it."""
        loop, mark = asyncio.get_running_loop(), f"m{next(self.marks)}"
        turn: dict[str, Any] = {"session": f"test:{user}", "event": event_id, "began": loop.time()}
        self.turns[mark] = turn
        bot = self.chance.choice(self.bots)
        try:
            outcome = await bot.handle(event(user, event_id=event_id, text=mark))
            effect = EFFECTS[outcome]
            self.told[outcome] += 1
        except (NotDone, CommitUnknown) as error:
            effect = Effect.UNKNOWN if isinstance(error, CommitUnknown) else Effect.NONE
            self.told[type(error).__name__] += 1
        except asyncio.CancelledError:
            self.told["cancelled"] += 1
            effect = Effect.UNKNOWN
        if effect is not Effect.UNKNOWN:
            turn.update(effect=effect, ended=loop.time())
        return effect

    async def redeliver(self, user: str, event_id: str) -> None:
        """As a platform does: until it is answered."""
        for _ in range(200):
            if await self.deliver(user, event_id) in {Effect.DONE, Effect.SEEN}:
                return
            await asyncio.sleep(self.chance.uniform(0, 5))
        pytest.fail(f"event {event_id} was never done")

    async def run(self, *, cancels: bool) -> None:
        async with self.bots[0], self.bots[1]:
            talking = [
                asyncio.create_task(self.redeliver(user, f"{user}{number}"))
                for user in PEOPLE
                for number in range(EVENTS)
                for _ in range(self.chance.randint(1, COPIES))
            ]
            if cancels:
                await asyncio.gather(*(self.cut_off() for _ in range(6)))
            await asyncio.gather(*talking)
            assert all(map(nothing_left, self.bots))
        for store in self.stores:
            await store.close()
        if self.fair:  # or else who cannot give a lease back leaves it to its end
            assert not self.inner._leases._held
            assert self.told.keys() <= {*EFFECTS, "cancelled", "SessionBusy"}  # who waits too long

    async def cut_off(self) -> None:
        """A delivery that is cancelled at some step of it, as by a platform that hangs up."""
        user = self.chance.choice(PEOPLE)
        task = asyncio.create_task(self.deliver(user, f"{user}{self.chance.randrange(EVENTS)}"))
        for _ in range(self.chance.randrange(40)):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])

    def check(self, *, window: bool) -> None:
        turns = [TurnRecord(mark=mark, **turn) for mark, turn in self.turns.items()]
        last: dict[str, str | None] = {}
        for user in PEOPLE:
            session = f"test:{user}"
            record = self.inner._records.get(session)
            last[session] = None if record is None else record.state.decode().split('"')[3]
        check_history(turns, last, window=window)


@pytest.mark.parametrize("weather", WEATHERS)
@pytest.mark.parametrize("cancels", [False, True], ids=["calm", "cancelled"])
def test_every_history_could_have_been_one_turn_after_another(
    weather: str,
    cancels: bool,  # noqa: FBT001
) -> None:
    told: Counter[str] = Counter()
    faults: Counter[str] = Counter()
    explore(scenario(WEATHERS[weather], told, faults, cancels=cancels), seeds=SEEDS)
    told_of(weather, told, faults)


@pytest.mark.parametrize("weather", ["late", "a moment late"])
def test_beyond_the_window_of_ids_too_nothing_is_told_that_is_not_so(weather: str) -> None:
    """A session that remembers one event handles others again; it still says what it did."""
    told: Counter[str] = Counter()
    faults: Counter[str] = Counter()
    play = scenario(WEATHERS[weather], told, faults, cancels=False, dedupe_limit=1)
    explore(play, seeds=[*SEEDS, 99, 123, 139])  # where one that was let go had come anew
    told_of(weather, told, faults)


LATE = Chances(late=0.7, lateness=0.2)
AFTERWARDS = {
    "what gives its lease back is late too": {"release": Chances(slow=0.7, lateness=0.2)},
    "its lease is not given back": {"release": Chances(refused=0.4)},
    "its lease is taken again": {"checkout": Chances(late=0.2, lateness=0.5)},
}


@pytest.mark.parametrize("meanwhile", AFTERWARDS)
def test_a_copy_on_its_way_does_not_arrive_after_its_turn_was_told_not_done(meanwhile: str) -> None:
    """Commits are late, and so is what would fence them off: nothing is told too early."""
    told: Counter[str] = Counter()
    faults: Counter[str] = Counter()
    weather = {"commit": LATE, **AFTERWARDS[meanwhile]}
    explore(scenario(weather, told, faults, cancels=False), seeds=SEEDS)
    assert told["SessionStoreUnavailable"] > len(SEEDS)
    assert faults["unheard LeaseLost"] > len(SEEDS)  # a copy that came when it was over


def test_a_cancelled_turn_changes_nothing_any_more_once_it_is_over() -> None:
    """What it had sent is waited for: nobody who hears of the end sees it arrive afterwards."""
    changed: Counter[bool] = Counter()

    async def play() -> None:
        inner = MemorySessionStore()
        slow = {"commit": Chances(slow=1.0, lateness=5), "release": Chances(refused=1.0)}
        store = FaultyStore(inner, slow, random.Random(random.getrandbits(32)))
        async with Bot(session_store=store) as bot:
            bot.on_event(change)
            turn = asyncio.create_task(bot.handle(event()))
            while not store.faults["commit slow"]:
                await asyncio.sleep(0)
            turn.cancel()
            with pytest.raises(asyncio.CancelledError):
                await turn
            told = dict(inner._records)
            await asyncio.sleep(60)
            assert inner._records == told
            changed[bool(told)] += 1

    explore(play, seeds=SEEDS)
    assert changed[True] > len(SEEDS) / 2


def test_a_conversation_of_which_nobody_knows_fails_the_handler_it_is_in() -> None:
    """Of the handler's own turn it is known: nothing was committed. `on_error` may ask for more."""

    async def play() -> None:
        inner = MemorySessionStore()
        away = {"commit": Chances(late=1.0), "release": Chances(refused=1.0)}
        store = FaultyStore(inner, away, random.Random(random.getrandbits(32)))
        failed: list[Exception] = []

        async def tell_ann(context: Context) -> None:
            context.set_state(n=1)
            async with bot.conversation("test:ann") as ann:
                ann.set_state(n=ann.state["n"] + 1)

        async def again(_: Context, error: Exception) -> None:
            failed.append(error)
            if len(failed) == 2:
                raise Redeliver

        async with Bot(session_store=store, initial_state={"n": 0}) as bot:
            bot.on_event(tell_ann)
            bot.on_error(again)
            assert await bot.handle(event(event_id="1")) is Outcome.FAILED
            with pytest.raises(Redeliver):
                await bot.handle(event(event_id="1"))
        await store.close()
        for error in failed:
            assert isinstance(error, CommitUnknown)
            assert error.session_id == "test:ann"
        assert inner._records.keys() == {"test:ann"}

    explore(play, seeds=SEEDS)


async def change(context: Context) -> None:
    context.set_state(n=1)


def told_of(weather: str, told: Counter[str], faults: Counter[str]) -> None:
    """The faults of the weather did hit, and yet most got done."""
    print(f"{weather}: {dict(told)}\n  {dict(faults)}")  # noqa: T201 - shown with a failure
    assert told["committed"] >= len(SEEDS) * len(PEOPLE) * EVENTS * 0.5
    for fault in "refused", "lost", "late", "slow":
        if getattr(WEATHERS[weather], fault):
            assert sum(n for what, n in faults.items() if what.endswith(fault)) > len(SEEDS)


def scenario(
    chances: Chances | Mapping[str, Chances],
    told: Counter[str],
    faults: Counter[str],
    *,
    cancels: bool,
    **options: Any,
) -> Callable[[], Coroutine[Any, Any, None]]:
    async def play() -> None:
        world = World(chances, random.getrandbits(32), **options)
        await world.run(cancels=cancels)
        world.check(window=not options)
        told.update(world.told)
        for store in world.stores:
            faults.update(store.faults)

    return play
