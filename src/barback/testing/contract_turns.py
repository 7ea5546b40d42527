"""The contract's part about turns: what a bot does with a store, all at once and interrupted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator
from itertools import count
from typing import Any

import pytest

from barback.bot import Bot
from barback.context import Context
from barback.events import Event, User
from barback.state import State, decode_state
from barback.stores.base import LeasedStore
from barback.testing.contract_tools import (
    TIM,
    AnyStore,
    Contract,
    lease_on,
    leased,
    peek,
    put,
    record_of,
    same,
)

__all__ = ["TurnsContract"]

_LINEAR_STEPS = 64


class TurnsContract(Contract):
    """A turn is all or nothing, and none is lost, whatever else runs."""

    # Merging.

    async def test_set_state_sets_each_key_and_leaves_the_others(self, store: AnyStore) -> None:
        """The merge is shallow: a dict that is set replaces the one before whole."""
        initial = {"a": {"x": 1}, "b": {"x": 1}, "c": None}
        async with leased(store) as opened:
            async with Bot(session_store=opened, initial_state=initial) as bot:
                async with bot.conversation(TIM) as context:
                    context.set_state(a={"y": 2}, d=[])
                async with bot.conversation(TIM) as context:
                    expected: State = {"a": {"y": 2}, "b": {"x": 1}, "c": None, "d": []}
                    assert same(expected, context.state)

    async def test_reset_state_brings_the_initial_state_back(self, store: AnyStore) -> None:
        """Nothing that was set before a reset is left after it."""
        async with leased(store) as opened:
            async with Bot(session_store=opened, initial_state={"n": 0, "list": []}) as bot:
                async with bot.conversation(TIM) as context:
                    context.set_state(n=1, list=[1], more={"a": 1})
                async with bot.conversation(TIM) as context:
                    context.reset_state()
                async with bot.conversation(TIM) as context:
                    assert same({"n": 0, "list": []}, context.state)

    async def test_a_nested_change_is_a_change(self, store: AnyStore) -> None:
        """What is appended to a list in the state is kept, as what is set is."""
        async with leased(store) as opened:
            async with Bot(session_store=opened, initial_state={"cart": {"items": []}}) as bot:
                for item in ("tea", "milk"):
                    async with bot.conversation(TIM) as context:
                        context.state["cart"]["items"].append(item)
                async with bot.conversation(TIM) as context:
                    assert same({"cart": {"items": ["tea", "milk"]}}, context.state)

    async def test_a_turn_that_changed_nothing_writes_nothing(self, store: AnyStore) -> None:
        """The version stays, and of a session that is new nothing is kept."""
        async with leased(store) as opened, Bot(session_store=opened) as bot:
            async with bot.conversation(TIM) as context:
                context.set_state(n=1.0, list=[{}])
            written = await peek(opened)
            assert written is not None
            for session_id in (TIM, "test:new"):
                async with bot.conversation(session_id) as context:
                    context.set_state(context.state)
            assert written == await peek(opened)
            assert await peek(opened, "test:new") is None

    # All at once.

    async def test_two_hundred_events_of_one_session_all_count(self, store: AnyStore) -> None:
        """No increment is lost or counted twice: 200 events at once make 200."""
        async with leased(store) as opened:
            async with counting(opened) as bot:
                await asyncio.gather(*(bot.handle(event_of("tim")) for _ in range(200)))
            assert await counted(opened, "test:tim") == 200

    async def test_sessions_run_side_by_side(self, store: AnyStore) -> None:
        """20 events in each of 20 sessions at once make 20 in each."""
        users = [f"user{number}" for number in range(20)]
        async with leased(store) as opened:
            async with counting(opened) as bot:
                await asyncio.gather(*(bot.handle(event_of(user)) for user in users * 20))
            assert [await counted(opened, f"test:{user}") for user in users] == [20] * 20

    async def test_two_bots_on_one_store_take_turns(self, store: AnyStore) -> None:
        """Two bots know of each other only by the store's leases; together they count right."""
        async with leased(store) as first, leased(store) as second:
            async with counting(first) as one, counting(second) as other:
                await asyncio.gather(
                    *(bot.handle(event_of("tim")) for bot in (one, other) * 30),
                )
            assert await counted(first, "test:tim") == 60

    async def test_bots_of_different_namespaces_never_meet(self, store: AnyStore) -> None:
        """Two bots may share a store; the same person has a session with each."""
        async with leased(store) as opened:
            async with (
                counting(opened, namespace="one") as one,
                counting(opened, namespace="two") as two,
            ):
                await asyncio.gather(*(bot.handle(event_of("tim")) for bot in (one, two, two)))
            assert await counted(opened, "one/test:tim") == 1
            assert await counted(opened, "two/test:tim") == 2

    # Interrupted.

    async def test_a_turn_that_fails_leaves_the_session_as_it_was(self, store: AnyStore) -> None:
        """What a handler changed before it raised is thrown away, nested changes too."""

        class Failure(Exception):
            pass

        async with leased(store) as opened, Bot(session_store=opened) as bot:
            written = await put(opened, state={"n": 1, "list": []})
            with pytest.raises(Failure):  # noqa: PT012 - it is the block that raises
                async with bot.conversation(TIM) as context:
                    context.set_state(n=2)
                    context.state["list"].append(1)
                    raise Failure
            assert written == await peek(opened)

    async def test_a_turn_cancelled_at_any_await_is_whole(self, store: AnyStore) -> None:
        """Cancelled where it awaits for the first time, the second…: before or after, and free."""

        async def cancelled(turn: Coroutine[Any, Any, object], place: int) -> bool:
            interrupted = _Interrupted(turn, place)
            task = asyncio.ensure_future(_awaited(interrupted))
            await asyncio.wait([task])
            return not interrupted.reached

        await self._cancel_everywhere(store, count(1), cancelled)

    async def test_a_turn_cancelled_at_any_moment_is_whole(self, store: AnyStore) -> None:
        """Cancelled after 0, 1, 2… steps of the event loop: before or after, and free."""

        async def cancelled(turn: Coroutine[Any, Any, object], steps: int) -> bool:
            task = asyncio.ensure_future(turn)
            for _ in range(steps):
                await asyncio.sleep(0)
            ended = task.done()
            task.cancel()
            await asyncio.wait([task])
            return ended

        await self._cancel_everywhere(store, _growing(), cancelled)

    async def _cancel_everywhere(
        self,
        store: AnyStore,
        places: Generator[int] | count[int],
        cancelled: Callable[[Coroutine[Any, Any, object], int], Coroutine[Any, Any, bool]],
    ) -> None:
        """Cancel a turn at each place, until there is one that it does not come to."""
        tasks = asyncio.all_tasks()
        before, after = (record_of(state={"n": n, "same": [n] * 99}).state for n in (0, 1))
        async with leased(store) as opened, counting(opened) as bot:
            for place in places:
                session_id = f"test:{place}"
                await put(opened, session_id, before)
                async with asyncio.timeout(2 * self.patience):
                    ended = await cancelled(bot.handle(event_of(str(place))), place)
                record = await self._free_again(opened, session_id)
                assert record in ({after} if ended else {before, after}), place
                if ended:
                    break
        async with asyncio.timeout(self.patience):
            while left := asyncio.all_tasks() - tasks:  # a closed connection may say good-bye
                await asyncio.wait(left)

    async def _free_again(self, store: LeasedStore, session_id: str) -> bytes | None:
        """The state, once the turn's lease is given back; its term is longer than patience."""
        lease = lease_on(session_id)
        record = await self.taken(store, lease)
        await store.release(session_id, lease)
        return None if record is None else record.state


def counting(store: LeasedStore, namespace: str = "") -> Bot:
    """A bot that counts events in the state's `n`, and tries to be overtaken while it does."""
    bot = Bot(session_store=store, initial_state={"n": 0, "same": []}, namespace=namespace)

    @bot.on_event
    async def count_one(context: Context[Any]) -> None:
        n = context.state["n"]
        await asyncio.sleep(0)
        context.set_state(n=n + 1)
        await asyncio.sleep(0)
        context.set_state(same=[n + 1] * 99)

    return bot


async def counted(store: LeasedStore, session_id: str) -> int:
    """What a counting bot has counted to."""
    record = await peek(store, session_id)
    if record is None:
        return 0
    n: int = decode_state(record.state, session_id)["n"]
    return n


def event_of(user: str) -> Event:
    """Something that a person wrote, without an id: each is an event of its own."""
    return Event(channel="test", text="Hi", user=User(user))


def _growing() -> Generator[int]:
    """0, 1, 2…, and later in strides of a quarter: a store may take many steps to answer."""
    steps = 0
    while True:
        yield steps
        steps += 1 if steps < _LINEAR_STEPS else steps // 4


class _Interrupted:
    """A coroutine whose task is cancelled in the moment it awaits for the n-th time."""

    def __init__(self, coroutine: Coroutine[Any, Any, object], place: int) -> None:
        self._coroutine = coroutine
        self._place = place
        self.reached = False

    def __await__(self) -> Generator[Any, Any, object]:
        error: BaseException | None = None
        for place in count(1):
            try:
                awaited = (
                    self._coroutine.send(None) if error is None else self._coroutine.throw(error)
                )
            except StopIteration as stop:
                return stop.value
            task = asyncio.current_task()
            if place == self._place and task is not None:
                self.reached = True
                task.cancel()
            error = None
            try:
                yield awaited
            except BaseException as raised:  # noqa: BLE001 - it is thrown on, into the coroutine
                error = raised
        return None


async def _awaited(awaitable: _Interrupted) -> object:
    return await awaitable
