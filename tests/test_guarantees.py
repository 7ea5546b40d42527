"""What barback promises, on every store, from outside: a bot, its events, and what is kept.

docs/guarantees.md says which test is which promise's. Faults are in test_fault_cells.py, and
interleavings in test_guarantees_explored.py.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from barback import (
    Bot,
    Context,
    LeasedStore,
    LeaseLost,
    Outcome,
    Redeliver,
    SessionBusy,
    TurnEnded,
)
from barback.stores.local import leased
from barback.stores.url import open_store
from barback.testing import Clock
from barback.testing.contract_tools import peek
from barback.testing.faults import Chances, FaultyStore
from tests.every_store import EVERY, own_url, with_options
from tests.scripted import event, nothing_left, until

TIM = "test:tim"
Opened = Callable[..., AbstractAsyncContextManager[Bot]]


@pytest.fixture(params=EVERY)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A store of the test's own; of the memory's there is one for each bot that opens it."""
    store: str = request.param
    return own_url(store, request, tmp_path)


@pytest.fixture
def store(url: str) -> LeasedStore:
    return leased(open_store(url))


@asynccontextmanager
async def running(
    store: LeasedStore, handler: Any, *, term: float = 30.0, **options: Any
) -> AsyncIterator[Bot]:
    """A bot on the store, from whose end nothing is left: no turn, no lease.

    `term`: seconds of a lease.
    """
    bot = Bot(session_store=store, **{"initial_state": {"n": 0}, **options})
    bot._rules = msgspec.structs.replace(bot._rules, lease_term=term)
    bot.on_event(handler)
    async with store, bot:
        yield bot
        assert nothing_left(bot)
        async with asyncio.timeout(10):  # less than a lease's term
            await peek(store, TIM)


async def plus_one(context: Context) -> None:
    n = context.state["n"]
    await asyncio.sleep(0)
    context.set_state(n=n + 1)


async def state(store: LeasedStore, session_id: str = TIM) -> str:
    record = await peek(store, session_id)
    return "" if record is None else record.state.decode()


# 1. One at a time, in the order of arrival.


async def test_events_of_a_session_run_one_at_a_time_in_the_order_they_came(
    store: LeasedStore,
) -> None:
    inside = 0
    order: list[str] = []

    async def note(context: Context) -> None:
        nonlocal inside
        inside += 1
        assert inside == 1
        assert context.event.text is not None
        await asyncio.sleep(0)
        order.append(context.event.text)
        context.set_state(texts=[*context.state["texts"], context.event.text])
        inside -= 1

    async with running(store, note, initial_state={"texts": []}) as bot:
        texts = [f"{number}" for number in range(40)]
        await asyncio.gather(*(bot.handle(event(text=text)) for text in texts))
        assert order == texts
        assert await state(store) == '{"texts":[' + ",".join(f'"{text}"' for text in texts) + "]}"


# 2. No change is lost, none is applied twice.


async def test_increments_of_two_bots_at_once_all_count(store: LeasedStore) -> None:
    async with running(store, plus_one) as one, running(store, plus_one) as other:
        await asyncio.gather(
            *(bot.handle(event(event_id=f"{n}")) for n in range(30) for bot in (one,)),
            *(bot.handle(event(event_id=f"{n}")) for n in range(30, 60) for bot in (other,)),
        )
        assert await state(store) == '{"n":60}'


async def test_a_change_inside_the_state_is_kept(store: LeasedStore) -> None:
    async def append(context: Context) -> None:
        context.state["cart"].append(len(context.state["cart"]))

    async with running(store, append, initial_state={"cart": []}) as bot:
        for _ in range(3):
            assert await bot.handle(event()) is Outcome.COMMITTED
        assert await state(store) == '{"cart":[0,1,2]}'


async def test_sessions_share_nothing(store: LeasedStore) -> None:
    async def append(context: Context) -> None:
        context.state["cart"].append(context.session.id)

    async with running(store, append, initial_state={"cart": []}) as bot:
        for user in ("tim", "ann"):
            await bot.handle(event(user))
        assert await state(store, "test:ann") == '{"cart":["test:ann"]}'


# 3. An event that comes again changes nothing again.


@pytest.mark.parametrize("bots", [1, 2])
async def test_an_event_delivered_up_to_ten_times_counts_once(
    store: LeasedStore, bots: int
) -> None:
    chance = random.Random(bots)
    deliveries = [f"{n}" for n in range(20) for _ in range(chance.randint(1, 10))]
    chance.shuffle(deliveries)
    async with running(store, plus_one) as one, running(store, plus_one) as other:
        asked = [one, other][:bots]
        outcomes = await asyncio.gather(
            *(chance.choice(asked).handle(event(event_id=each)) for each in deliveries)
        )
        assert await state(store) == '{"n":20}'
    told = Counter(outcomes)
    assert told == {Outcome.COMMITTED: 20, Outcome.DUPLICATE: len(deliveries) - 20}


async def test_a_copy_waits_for_the_first_and_is_answered_as_handled(store: LeasedStore) -> None:
    inside, go = asyncio.Event(), asyncio.Event()

    async def wait(context: Context) -> None:
        inside.set()
        await go.wait()
        await plus_one(context)

    async with running(store, wait) as one, running(store, wait) as other:
        first = asyncio.create_task(one.handle(event(event_id="1")))
        await inside.wait()
        copies = [asyncio.create_task(bot.handle(event(event_id="1"))) for bot in (one, other)]
        done, _ = await asyncio.wait(copies, timeout=0.2)
        assert not done
        go.set()
        assert await first is Outcome.COMMITTED
        assert set(await asyncio.gather(*copies)) == {Outcome.DUPLICATE}
        assert await state(store) == '{"n":1}'


async def test_an_event_that_was_not_done_is_handled_when_it_comes_again(
    store: LeasedStore,
) -> None:
    tries = 0

    async def not_at_first(context: Context) -> None:
        nonlocal tries
        tries += 1
        await plus_one(context)
        if tries == 1:
            raise Redeliver

    async with running(store, not_at_first) as bot:
        with pytest.raises(Redeliver):
            await bot.handle(event(event_id="1"))
        assert await state(store) == ""
        assert await bot.handle(event(event_id="1")) is Outcome.COMMITTED
        assert await bot.handle(event(event_id="1")) is Outcome.DUPLICATE
        assert await state(store) == '{"n":1}'


async def test_a_conversation_in_a_handler_is_a_turn_of_its_own(store: LeasedStore) -> None:
    """The limit of it all: what it changes elsewhere stays, and is done again with the event."""
    tries = 0

    async def tell_ann(context: Context) -> None:
        nonlocal tries
        tries += 1
        async with bot.conversation("test:ann") as ann:
            await plus_one(ann)
        await plus_one(context)
        if tries == 1:
            raise Redeliver

    async with running(store, tell_ann) as bot:
        with pytest.raises(Redeliver):
            await bot.handle(event(event_id="1"))
        for outcome in (Outcome.COMMITTED, Outcome.DUPLICATE):
            assert await bot.handle(event(event_id="1")) is outcome
        assert await state(store) == '{"n":1}'
        assert await state(store, "test:ann") == '{"n":2}'


async def test_what_a_session_remembers_of_events_is_bounded(store: LeasedStore) -> None:
    async with running(store, plus_one) as bot:
        for number in range(100):
            await bot.handle(event(event_id=f"{number}"))
        record = await peek(store, TIM)
        assert record is not None
        assert len(record.seen) == 32


# 4. A turn is all or nothing.


async def test_a_handler_that_fails_leaves_the_session_as_it_was(store: LeasedStore) -> None:
    async def fail(context: Context) -> None:
        await plus_one(context)
        if context.event.text == "fail":
            message = "on purpose"
            raise RuntimeError(message)

    async with running(store, fail) as bot:
        await bot.handle(event())
        before = await peek(store, TIM)
        assert await bot.handle(event(text="fail")) is Outcome.FAILED
        assert await peek(store, TIM) == before


async def test_a_handler_that_runs_too_long_is_ended_and_changes_nothing(
    store: LeasedStore,
) -> None:
    async def for_ever(context: Context) -> None:
        context.set_state(n=-1)
        await asyncio.get_running_loop().create_future()

    async with running(store, for_ever, handler_timeout=0.05) as bot:
        async with asyncio.timeout(10):
            assert await bot.handle(event()) is Outcome.FAILED
        assert await state(store) == ""


async def test_after_the_turn_nothing_can_be_changed(store: LeasedStore) -> None:
    contexts: list[Context] = []

    async def keep(context: Context) -> None:
        contexts.append(context)
        await plus_one(context)

    async with running(store, keep) as bot:
        await bot.handle(event())
        with pytest.raises(TurnEnded):
            contexts[0].set_state(n=9)
        assert await state(store) == '{"n":1}'


# 5. Whose session was taken over, or destroyed, writes nothing.


async def test_a_turn_whose_session_was_destroyed_writes_nothing(store: LeasedStore) -> None:
    async def destroyed(context: Context) -> None:
        await plus_one(context)
        await store.destroy(TIM, None)

    async with running(store, destroyed) as bot:
        with pytest.raises(LeaseLost):
            await bot.handle(event(event_id="1"))
        assert await state(store) == ""


async def test_of_many_that_commit_at_once_those_do_whose_session_it_still_is(
    store: LeasedStore,
) -> None:
    people = [f"user{number}" for number in range(30)]
    destroyed, taken_over = people[::3], people[1::3]
    inside = 0
    go = asyncio.Event()

    async def wait(context: Context) -> None:
        nonlocal inside
        await plus_one(context)
        inside += 1
        await go.wait()

    async with running(store, wait) as bot, running(store, plus_one) as other:
        turns = [asyncio.create_task(bot.handle(event(user))) for user in people]
        await until(lambda: inside == len(people))
        for user in destroyed + taken_over:
            await store.destroy(f"test:{user}", None)
        for user in taken_over * 2:
            await other.handle(event(user))
        go.set()
        told = await asyncio.gather(*turns, return_exceptions=True)
        for user, outcome in zip(people, told, strict=True):
            lost = user in destroyed + taken_over
            assert isinstance(outcome, LeaseLost) if lost else outcome is Outcome.COMMITTED
            left = "" if user in destroyed else '{"n":2}' if user in taken_over else '{"n":1}'
            assert await state(store, f"test:{user}") == left


async def test_who_waits_behind_one_that_loses_its_session_does_not_lose_it_too(
    store: LeasedStore,
) -> None:
    async def lose(context: Context) -> None:
        await plus_one(context)
        if context.event.text == "lose":
            await store.destroy(TIM, None)
            await asyncio.get_running_loop().create_future()  # until it is told

    async with running(store, lose, term=3.0) as bot:  # of which a third passes until it is told
        first = asyncio.create_task(bot.handle(event(text="lose")))
        second = asyncio.create_task(bot.handle(event()))
        with pytest.raises(LeaseLost):
            await first
        assert await second is Outcome.COMMITTED
        assert await state(store) == '{"n":1}'


# Expiry.


async def test_a_session_that_has_expired_is_a_new_one(url: str) -> None:
    clock = Clock()
    store = leased(open_store(url))
    async with running(store, plus_one, clock=clock) as bot:
        for _ in range(2):
            await bot.handle(event())
        clock.advance(days=364)
        await bot.handle(event())
        assert await state(store) == '{"n":3}'
        clock.advance(days=380)
        await bot.handle(event())
        assert await state(store) == '{"n":1}'


async def test_an_event_is_known_again_after_its_session_has_expired(url: str) -> None:
    clock = Clock()
    store = leased(open_store(with_options(url, expires_in="1")))
    async with running(store, plus_one, clock=clock) as bot:
        await bot.handle(event(event_id="1"))
        clock.advance(minutes=3)
        assert await bot.handle(event(event_id="2")) is Outcome.COMMITTED
        assert await state(store) == '{"n":1}'
        for event_id in ("1", "2"):
            assert await bot.handle(event(event_id=event_id)) is Outcome.DUPLICATE


# 8. Shutdown.


async def test_a_bot_that_stops_lets_its_turns_end(store: LeasedStore) -> None:
    inside, go = asyncio.Event(), asyncio.Event()

    async def wait(context: Context) -> None:
        inside.set()
        await go.wait()
        await plus_one(context)

    bot = Bot(session_store=store, initial_state={"n": 0})
    bot.on_event(wait)
    async with store:
        async with bot:
            turn = asyncio.create_task(bot.handle(event()))
            await inside.wait()
            asyncio.get_running_loop().call_later(0.05, go.set)
        assert await turn is Outcome.COMMITTED
        assert await state(store) == '{"n":1}'


# Cancellation.


async def test_a_commit_on_its_way_is_waited_for_when_its_delivery_is_cancelled(
    store: LeasedStore,
) -> None:
    slow = FaultyStore(store, Chances(slow=1.0, lateness=0.05), random.Random(1))
    async with store, running(slow, plus_one) as bot:
        turn = asyncio.create_task(bot.handle(event()))
        while not (slow.faults["commit slow"] or turn.done()):
            await asyncio.sleep(0)
        turn.cancel()
        await asyncio.wait([turn])
        assert turn.cancelled()
        assert await state(store) == '{"n":1}'


async def test_a_delivery_that_is_cancelled_at_any_moment_leaves_its_session_free(
    store: LeasedStore,
) -> None:
    slow = FaultyStore(store, Chances(slow=1.0, lateness=0.004), random.Random(1))
    ended: Counter[bool] = Counter()
    async with store, running(slow, plus_one) as bot:
        for number in range(40):
            turn = asyncio.create_task(bot.handle(event(event_id=f"{number}")))
            await asyncio.sleep(number * 0.0004)
            turn.cancel()
            await asyncio.wait([turn])
            ended[turn.cancelled()] += 1
            await settled(store)
    assert ended[True] >= 5


@pytest.mark.parametrize("behind", [0, 1])
async def test_who_is_cancelled_as_it_is_called_keeps_nobody_waiting(
    store: LeasedStore, behind: int
) -> None:
    async with running(store, plus_one) as bot:

        async def handle_and_cancel() -> None:
            await bot.handle(event())
            second.cancel()  # in the very step in which it has been called

        first = asyncio.create_task(handle_and_cancel())
        second = asyncio.create_task(bot.handle(event()))
        others = [asyncio.create_task(bot.handle(event())) for _ in range(behind)]
        await asyncio.wait([first, second])
        assert second.cancelled()
        async with asyncio.timeout(10):
            assert await asyncio.gather(*others) == [Outcome.COMMITTED] * behind
        assert await settled(store) == f'{{"n":{1 + behind}}}'


async def settled(store: LeasedStore) -> str:
    """The state, once nobody holds the session: sooner than a lease would end by itself."""
    async with asyncio.timeout(10):
        while True:
            try:
                return await state(store)
            except SessionBusy:
                await asyncio.sleep(0.001)
