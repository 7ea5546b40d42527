"""More than a bot can take: what waits is bounded, nobody is kept waiting by another's flood."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from barback import Bot, BotOverloaded, Context, NotDone, Outcome, SessionStoreUnavailable
from tests.scripted import counting_bot, event, nothing_left, state_of

HAND_OVERS = 16  # turns that a session may have in a row while others wait


class Held:
    """A bot whose handlers wait until they are let go, and which notes who came."""

    def __init__(self, **options: Any) -> None:
        self.go = asyncio.Event()
        self.came: list[str] = []
        self.bot = Bot(initial_state={"n": 0}, **options)
        self.bot.on_event(self.handle)

    async def handle(self, context: Context) -> None:
        user = context.event.user
        assert user is not None
        self.came.append(user.id)
        await self.go.wait()
        context.set_state(n=context.state["n"] + 1)

    def deliver(self, user: str, event_id: str) -> asyncio.Task[Outcome]:
        return asyncio.create_task(self.bot.handle(event(user, event_id=event_id)))


async def steps(number: int = 20) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


async def test_one_session_keeps_no_more_waiting_than_it_may() -> None:
    held = Held(max_waiting_for_one=3)
    async with held.bot:
        taken = [held.deliver("tim", f"{n}") for n in range(4)]
        await steps()
        for _ in range(2):
            with pytest.raises(BotOverloaded, match="3 events wait for session 'test:tim'") as told:
                await held.bot.handle(event("tim", event_id="4"))
        assert isinstance(told.value, NotDone)
        assert told.value.session_id == "test:tim"
        assert told.value.retry_after > 0
        other = held.deliver("ann", "1")  # whom it does not concern
        held.go.set()
        assert set(await asyncio.gather(*taken, other)) == {Outcome.COMMITTED}
        assert await held.bot.handle(event("tim", event_id="4")) is Outcome.COMMITTED
        assert await state_of(held.bot) == {"n": 5}
        assert nothing_left(held.bot)


async def test_all_together_keep_no_more_waiting_than_they_may() -> None:
    held = Held(max_concurrency=2, max_waiting=3)
    async with held.bot:
        taken = [held.deliver(f"user{n}", "1") for n in range(5)]
        await steps()
        assert len(held.came) == 2
        with pytest.raises(BotOverloaded, match="3 events wait already"):
            await held.bot.handle(event("tim"))
        with pytest.raises(BotOverloaded):
            async with held.bot.conversation("test:tim"):
                pass
        taken.pop().cancel()  # a place is free
        await steps()
        taken.append(held.deliver("tim", "1"))
        await steps()
        held.go.set()
        assert set(await asyncio.gather(*taken)) == {Outcome.COMMITTED}
        assert nothing_left(held.bot)


async def test_who_was_turned_away_takes_up_no_place() -> None:
    held = Held(max_waiting=2, max_waiting_for_one=2)
    async with held.bot:
        taken = [held.deliver("tim", f"{n}") for n in range(3)]
        await steps()
        refused = [held.deliver("tim", f"more{n}") for n in range(100)]
        await asyncio.wait(refused)
        assert {type(each.exception()) for each in refused} == {BotOverloaded}
        for each in taken:
            each.cancel()
        await asyncio.wait(taken)
        taken = [held.deliver("ann", f"{n}") for n in range(3)]
        held.go.set()
        assert set(await asyncio.gather(*taken)) == {Outcome.COMMITTED}


async def test_a_turn_inside_another_is_never_refused() -> None:
    """The outer one holds a place, and would be refused for keeping others waiting."""
    bot = Bot(max_concurrency=1, max_waiting=1, max_waiting_for_one=1, initial_state={"n": 0})
    inside, go = asyncio.Event(), asyncio.Event()

    @bot.on_event
    async def handle(context: Context) -> None:
        inside.set()
        await go.wait()
        if context.session.id == "test:tim":
            async with bot.conversation("test:ann") as other:
                other.set_state(n=other.state["n"] + 1)
        context.set_state(n=context.state["n"] + 1)

    async with bot:
        first = asyncio.create_task(bot.handle(event("tim")))
        await inside.wait()
        second = asyncio.create_task(bot.handle(event("ann")))
        await steps()
        with pytest.raises(BotOverloaded):
            await bot.handle(event("somebody"))
        go.set()
        assert set(await asyncio.gather(first, second)) == {Outcome.COMMITTED}
        assert await state_of(bot, "test:ann") == {"n": 2}


@pytest.mark.parametrize("limit", [1, 3])
async def test_one_persons_flood_delays_another_by_so_many_turns(limit: int) -> None:
    """A session has so many turns in a row; then it stands behind whoever came meanwhile."""
    bot = Bot(max_concurrency=limit, initial_state={"n": 0})
    order: list[str] = []

    @bot.on_event
    async def handle(context: Context) -> None:
        assert context.event.user is not None
        order.append(context.event.user.id)
        await asyncio.sleep(0)
        context.set_state(n=context.state["n"] + 1)

    async with bot:
        flood = [
            asyncio.create_task(bot.handle(event(f"flooder{n}", event_id=f"{i}")))
            for i in range(200)
            for n in range(limit)
        ]
        await steps()
        before = len(order)
        await bot.handle(event("ann"))
        assert "ann" in order
        assert order.index("ann") - before <= limit * HAND_OVERS
        await asyncio.gather(*flood)
        turns = Counter(order)
        assert {turns[f"flooder{n}"] for n in range(limit)} == {200}


async def test_a_store_that_is_away_is_no_reason_to_pile_up() -> None:
    """What fails is answered: nobody waits for a session whose turns cannot begin."""
    async with counting_bot(max_waiting_for_one=1) as bot:
        assert bot._turns is not None

        async def checkout(session_id: str, lease: object) -> None:
            await asyncio.sleep(0)
            message = "It is away."
            raise SessionStoreUnavailable(message)

        bot._turns.instant = None
        bot._turns.store.checkout = checkout  # type: ignore[method-assign]
        for _ in range(100):
            with pytest.raises(SessionStoreUnavailable):
                await bot.handle(event())
        assert nothing_left(bot)
