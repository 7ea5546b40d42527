"""Events of one session wait for each other; leases are handed on, renewed and given back."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from typing import TYPE_CHECKING

import pytest

from barback import (
    Bot,
    Context,
    FileSessionStore,
    Lease,
    LeaseLost,
    MemorySessionStore,
    Outcome,
    Record,
    SessionStoreUnavailable,
    TurnDeadlock,
)
from barback.queue import TurnQueue
from tests.scripted import ScriptedStore, counting_bot, event, nothing_left, state_of, until

if TYPE_CHECKING:
    from pathlib import Path

    from barback.queue import HandOver
    from barback.stores.base import LeasedStore, SessionStore


def store_of(kind: str, folder: Path) -> LeasedStore | SessionStore:
    return MemorySessionStore() if kind == "memory" else FileSessionStore(folder / "sessions")


@pytest.mark.parametrize("kind", ["memory", "file"])
async def test_a_thousand_concurrent_increments_make_a_thousand(kind: str, tmp_path: Path) -> None:
    inside = 0
    most_inside = 0
    most_waiting = 0
    bot = Bot(initial_state={"n": 0}, session_store=store_of(kind, tmp_path))

    @bot.on_event
    async def count(context: Context) -> None:
        nonlocal inside, most_inside, most_waiting
        inside += 1
        n = context.state["n"]
        await asyncio.sleep(0)
        assert bot._turns is not None
        waiting = bot._turns.queue._lines["test:tim"]
        most_inside = max(most_inside, inside)
        most_waiting = max(most_waiting, len(waiting or ()))
        context.set_state(n=n + 1)
        inside -= 1

    async with bot:
        await asyncio.gather(*(bot.handle(event()) for _ in range(1000)))
        assert await state_of(bot) == {"n": 1000}
    assert (most_inside, most_waiting) == (1, 999)


async def test_without_the_queue_increments_would_be_lost() -> None:
    """The test above can fail: the same bot, its turns run over one another, loses updates."""

    class NoQueue(TurnQueue):
        def enter_now(self, session_id: str, over_limit: bool = False) -> bool:  # noqa: FBT001, FBT002
            return True

        def waiting(self, session_id: str) -> bool:
            return False

        def leave(self, session_id: str, handed: HandOver | None = None) -> None:
            pass

    class NoLeases(MemorySessionStore):
        async def checkout(self, session_id: str, lease: Lease) -> Record | None:
            return self._records.get(session_id)

        async def commit(self, record: Record, lease: Lease, *, keep: bool = False) -> None:
            self._records[record.id] = record

    async with counting_bot(session_store=NoLeases()) as bot:
        assert bot._turns is not None
        bot._turns.queue = NoQueue(10, lambda handed: None, most_waiting=10_000, most_for_one=1000)
        await asyncio.gather(*(bot.handle(event()) for _ in range(1000)))
        assert await state_of(bot) == {"n": 1}


async def test_three_events_of_one_person_in_one_batch_are_all_counted() -> None:
    async with counting_bot() as bot:
        await asyncio.gather(*(bot.handle(event(event_id=str(n))) for n in range(3)))
        assert await state_of(bot) == {"n": 3}


async def test_events_of_a_session_run_in_order_of_arrival() -> None:
    bot = Bot(initial_state={"texts": []})

    @bot.on_event
    async def note(context: Context) -> None:
        await asyncio.sleep(0)
        context.state["texts"].append(context.event.text)

    texts = [str(n) for n in range(50)]
    async with bot:
        await asyncio.gather(*(bot.handle(event(text=text)) for text in texts))
        assert await state_of(bot) == {"texts": texts}


async def test_different_sessions_run_side_by_side_up_to_the_limit() -> None:
    bot = Bot(max_concurrency=3)
    inside: set[str] = set()
    most: list[int] = []
    go_on = asyncio.Event()

    @bot.on_event
    async def meet(context: Context) -> None:
        inside.add(context.session.id)
        most.append(len(inside))
        await go_on.wait()
        inside.remove(context.session.id)

    async with bot:
        turns = [asyncio.create_task(bot.handle(event(str(n)))) for n in range(8)]
        await until(lambda: len(inside) == 3)
        go_on.set()
        await asyncio.gather(*turns)
        assert nothing_left(bot)
    assert max(most) == 3


async def test_a_turn_inside_another_does_not_wait_for_the_limit() -> None:
    bot = Bot(max_concurrency=1)

    @bot.on_event
    async def tell(context: Context) -> None:
        async with bot.conversation("test:ann") as other:
            other.set_state(told=True)

    async with bot:
        await asyncio.gather(bot.handle(event("tim")), bot.handle(event("bob")))
        assert await state_of(bot, "test:ann") == {"told": True}
        assert bot._turns is not None
        assert bot._turns.queue._running == 0


async def test_a_lease_is_handed_on_to_those_who_wait_for_sixteen_turns() -> None:
    store = ScriptedStore()
    async with counting_bot(session_store=store) as bot:
        await asyncio.gather(*(bot.handle(event()) for _ in range(33)))
        assert await state_of(bot) == {"n": 33}
    assert store.calls[:-2].count("checkout") == 3
    assert store.calls.count("commit") == 33


async def test_a_failed_turn_hands_the_lease_on_with_the_state_as_it_was() -> None:
    store = ScriptedStore()
    bot = Bot(session_store=store, initial_state={"n": 0})

    @bot.on_event
    async def count(context: Context) -> None:
        await asyncio.sleep(0)
        context.set_state(n=context.state["n"] + 1)
        if context.event.text == "fail":
            raise ValueError

    async with bot:
        texts = [None, "fail", None]
        await asyncio.gather(*(bot.handle(event(text=text)) for text in texts))
        assert await state_of(bot) == {"n": 2}
    assert store.calls[:3] == ["checkout", "commit", "commit"]


@pytest.mark.parametrize("fault", ["unavailable", "applied", "unknown"])
async def test_a_commit_that_goes_wrong_does_not_stop_those_who_wait(fault: str) -> None:
    store = ScriptedStore()
    store.script("commit", fault)
    async with counting_bot(session_store=store) as bot:
        results = await asyncio.gather(
            *(bot.handle(event()) for _ in range(5)), return_exceptions=True
        )
        done = results.count(Outcome.COMMITTED)
        assert done == (4 if fault == "unavailable" else 5)
        assert await state_of(bot) == {"n": done}
        assert store.is_free("test:tim")


async def test_a_lost_lease_is_not_handed_on() -> None:
    store = ScriptedStore()
    async with counting_bot(session_store=store) as bot:
        gate = asyncio.Event()
        store.script("commit", gate)
        turns = [asyncio.create_task(bot.handle(event())) for _ in range(3)]
        await until(lambda: "commit" in store.calls)
        await store.inner.destroy("test:tim", None)
        gate.set()
        results = await asyncio.gather(*turns, return_exceptions=True)
        assert isinstance(results[0], LeaseLost)
        assert results[1:] == [Outcome.COMMITTED] * 2
        assert await state_of(bot) == {"n": 2}


# Turns that wait for themselves.


async def test_a_conversation_with_the_same_session_raises_at_once() -> None:
    bot = Bot()
    errors = []

    @bot.on_event
    async def talk_to_self(context: Context) -> None:
        try:
            async with bot.conversation(context.session.id):
                raise AssertionError
        except TurnDeadlock as error:
            errors.append(str(error))

    async with bot:
        assert await bot.handle(event()) == Outcome.UNCHANGED
    assert "Use the context you have" in errors[0]


async def test_a_conversation_in_a_child_task_of_the_turn_raises_as_well() -> None:
    bot = Bot()

    @bot.on_event
    async def talk_to_self(context: Context) -> None:
        async def child() -> None:
            async with bot.conversation("test:tim"):
                raise AssertionError

        with pytest.raises(TurnDeadlock):
            await asyncio.create_task(child())

    async with bot:
        assert await bot.handle(event()) == Outcome.UNCHANGED


async def test_two_turns_that_wait_for_each_other_are_told_apart() -> None:
    bot = Bot()
    both_in = asyncio.Barrier(2)
    refused = []

    @bot.on_event
    async def visit(context: Context) -> None:
        await both_in.wait()
        other = "test:ann" if context.session.id == "test:tim" else "test:tim"
        try:
            async with bot.conversation(other) as visited:
                visited.set_state(visited=True)
        except TurnDeadlock:
            refused.append(context.session.id)

    async with bot:
        await asyncio.gather(bot.handle(event("tim")), bot.handle(event("ann")))
        assert len(refused) == 1
        assert await state_of(bot, refused[0]) == {"visited": True}
        assert bot._turns is not None
        assert bot._turns._waits._awaited == {}


async def test_a_task_that_outlives_its_turn_may_open_a_conversation() -> None:
    bot = Bot()
    go_on = asyncio.Event()
    tasks = []

    @bot.on_event
    async def remind(context: Context) -> None:
        async def reminder() -> None:
            await go_on.wait()
            async with bot.conversation("test:tim") as later:
                later.set_state(reminded=True)

        tasks.append(asyncio.create_task(reminder()))

    async with bot:
        await bot.handle(event())
        go_on.set()
        await tasks[0]
        assert await state_of(bot) == {"reminded": True}


async def test_what_a_conversation_raises_is_the_callers_and_nothing_is_kept() -> None:
    async with Bot() as bot:
        with pytest.raises(KeyError, match="mine"):  # noqa: PT012 - a block is what is tested
            async with bot.conversation("test:tim") as context:
                context.set_state(n=1)
                raise KeyError("mine")
        assert await state_of(bot) == {}


async def test_a_conversation_has_an_event_with_nothing_in_it() -> None:
    async with Bot() as bot, bot.conversation("test:tim") as context:
        assert (context.event.kind, context.event.text) == ("conversation", None)
        assert context.session.is_new


# Renewal.


async def test_a_lease_is_renewed_while_its_handler_runs() -> None:
    store = ScriptedStore()
    go_on = asyncio.Event()
    bot = Bot(session_store=store)

    @bot.on_event
    async def wait(context: Context) -> None:
        context.set_state(n=1)
        await go_on.wait()

    bot._rules = type(bot._rules)(lease_term=0.03, lease_wait=0.01)
    async with bot, counting_bot(session_store=store.inner) as other:
        assert other._turns is not None
        other._turns._checkouts._rules = type(bot._rules)(lease_wait=0.0)
        turn = asyncio.create_task(bot.handle(event()))
        await until(lambda: store.calls.count("renew") == 5)  # longer than the lease's term
        assert not turn.done()
        go_on.set()
        assert await turn == Outcome.COMMITTED


async def test_a_lease_found_lost_cancels_its_handler_and_the_event_is_not_done() -> None:
    store = ScriptedStore()
    cancelled = []
    bot = Bot(session_store=store)

    @bot.on_event
    async def wait(context: Context) -> None:
        context.set_state(n=1)
        await store.inner.destroy("test:tim", None)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    @bot.on_error
    async def never(context: Context, error: Exception) -> None:
        raise AssertionError

    bot._rules = type(bot._rules)(lease_term=0.03)
    async with bot:
        with pytest.raises(LeaseLost, match="while its handler ran"):
            await bot.handle(event())
        assert await state_of(bot) == {}
    assert cancelled == [True]


async def test_a_renewal_that_fails_is_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    store = ScriptedStore()
    store.script("renew", "unavailable", "unavailable")
    go_on = asyncio.Event()
    bot = Bot(session_store=store)

    @bot.on_event
    async def wait(context: Context) -> None:
        context.set_state(n=1)
        await go_on.wait()

    bot._rules = type(bot._rules)(lease_term=0.03)
    async with bot:
        turn = asyncio.create_task(bot.handle(event()))
        await until(lambda: store.answered.count("renew") == 1)
        go_on.set()
        assert await turn == Outcome.COMMITTED
    assert caplog.text.count("could not be renewed") == 2


async def test_an_uncontended_turn_makes_no_task_and_no_timer_of_its_own() -> None:
    async with counting_bot() as bot:
        await bot.handle(event())
        assert bot._turns is not None
        timer = bot._turns._keeper._timer
        tasks = asyncio.all_tasks()
        for n in range(10):
            await bot.handle(event(str(n)))
        assert bot._turns._keeper._timer is timer
        assert asyncio.all_tasks() == tasks


# Nothing grows.


async def test_nothing_is_left_of_a_session_when_its_last_turn_has_gone() -> None:
    async with counting_bot() as bot:
        await asyncio.gather(*(bot.handle(event(str(n % 50))) for n in range(500)))
        turns = bot._turns
        assert turns is not None
        assert nothing_left(bot)
        assert turns._waits._awaited == {}
        assert turns._keeper._watched == {}
        assert turns._operations._late == set()


@pytest.mark.parametrize(("kind", "people"), [("memory", 20_000), ("file", 8_000)])
async def test_people_who_come_once_and_set_nothing_leave_nothing(
    kind: str, people: int, tmp_path: Path
) -> None:
    bot = Bot(session_store=store_of(kind, tmp_path), initial_state={"n": 0})

    @bot.on_event
    async def look(context: Context) -> None:
        assert context.state == {"n": 0}

    async def come(first: int, last: int) -> int:
        for n in range(first, last):
            await bot.handle(event(f"person {n:09}", event_id=f"event {n:09}"))
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    async with bot:
        tracemalloc.start()
        try:
            before = await come(0, people)  # so many that what is bounded is full
            after = await come(people, 2 * people)
        finally:
            tracemalloc.stop()
    assert after - before < 5 * people  # bytes
    if kind == "file":
        assert list((tmp_path / "sessions").glob("*.json")) == []


# Cancellation.


async def cancelled_after(steps: int, bot: Bot) -> bool:
    """Cancel a turn after so many steps of the loop; whether it was still running."""
    turn = asyncio.create_task(bot.handle(event()))
    for _ in range(steps):
        await asyncio.sleep(0)
    cancelled = turn.cancel()
    (result,) = await asyncio.gather(turn, return_exceptions=True)
    assert isinstance(result, asyncio.CancelledError) == cancelled
    return cancelled


async def test_a_turn_cancelled_anywhere_is_done_or_not_done_and_leaves_nothing_behind() -> None:
    outcomes = set()
    for steps in range(100):
        store = ScriptedStore()
        async with counting_bot(session_store=store) as bot:
            turns = bot._turns
            assert turns is not None
            cancelled = await cancelled_after(steps, bot)
            while turns._operations._late:
                await asyncio.sleep(0)
            assert store.is_free("test:tim")
            assert nothing_left(bot)
            n = (await state_of(bot))["n"]
            outcomes.add((cancelled, n))
        if not cancelled:
            break
    assert outcomes == {(True, 0), (True, 1), (False, 1)}


async def test_a_cancelled_commit_is_awaited_before_the_cancellation_goes_on() -> None:
    store = ScriptedStore()
    answer = asyncio.Event()
    store.script("commit", answer)
    async with counting_bot(session_store=store) as bot:
        turn = asyncio.create_task(bot.handle(event()))
        await until(lambda: "commit" in store.calls)
        turn.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not turn.done()
        answer.set()
        with pytest.raises(asyncio.CancelledError):
            await turn
        assert await state_of(bot) == {"n": 1}


async def test_a_second_cancellation_does_not_wait_and_the_commit_goes_on_by_itself() -> None:
    store = ScriptedStore()
    answer = asyncio.Event()
    store.script("commit", answer)
    async with counting_bot(session_store=store) as bot:
        turn = asyncio.create_task(bot.handle(event()))
        await until(lambda: "commit" in store.calls)
        turn.cancel()
        await asyncio.sleep(0)
        turn.cancel()
        await asyncio.sleep(0)
        turn.cancel()  # while the lease is given back
        with pytest.raises(asyncio.CancelledError):
            await turn
        answer.set()
        await until(lambda: store.answered.count("commit") == 1 or store.is_free("test:tim"))


async def test_a_cancelled_checkout_gives_its_lease_back_when_the_answer_comes() -> None:
    store = ScriptedStore()
    answer = asyncio.Event()
    store.script("checkout", answer)
    async with counting_bot(session_store=store) as bot:
        turn = asyncio.create_task(bot.handle(event()))
        await until(lambda: "checkout" in store.calls)
        turn.cancel()
        with pytest.raises(asyncio.CancelledError):
            await turn
        answer.set()
        await until(lambda: "release" in store.answered)
        assert store.is_free("test:tim")


async def test_an_error_after_a_cancellation_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    store = ScriptedStore()
    store.script("commit", "unavailable")
    async with counting_bot(session_store=store) as bot:
        turn = asyncio.create_task(bot.handle(event()))
        await until(lambda: "commit" in store.calls)
        turn.cancel()
        with pytest.raises(asyncio.CancelledError):
            await turn
    assert "when nobody waited for it any more: scripted: unavailable" in caplog.text


async def test_one_who_is_cancelled_while_waiting_lets_the_next_one_in() -> None:
    async with counting_bot(session_store=ScriptedStore()) as bot:
        turns = [asyncio.create_task(bot.handle(event())) for _ in range(6)]
        await asyncio.sleep(0)
        for turn in turns[1::2]:
            turn.cancel()
        results = await asyncio.gather(*turns, return_exceptions=True)
        assert results[::2] == [Outcome.COMMITTED] * 3
        assert await state_of(bot) == {"n": 3}


@pytest.mark.parametrize("steps", range(20))
@pytest.mark.parametrize(("users", "limit"), [("aaa", 1000), ("aaa", 1), ("abc", 1)])
async def test_one_who_is_cancelled_as_it_is_called_lets_the_next_one_in(
    users: str, limit: int, steps: int
) -> None:
    """Called by the turn before it in the session, or by one that leaves it a slot."""
    async with counting_bot(max_concurrency=limit) as bot:
        turns = [asyncio.create_task(bot.handle(event(user))) for user in users]
        for _ in range(steps):
            await asyncio.sleep(0)
        turns[1].cancel()
        await asyncio.gather(*turns, return_exceptions=True)
        assert [turns[0].result(), turns[2].result()] == [Outcome.COMMITTED] * 2
        assert nothing_left(bot)


async def test_on_error_is_not_run_for_a_cancellation() -> None:
    bot = Bot()
    started = asyncio.Event()

    @bot.on_event
    async def wait(context: Context) -> None:
        context.set_state(n=1)
        started.set()
        await asyncio.Event().wait()

    @bot.on_error
    async def never(context: Context, error: Exception) -> None:
        raise AssertionError

    async with bot:
        turn = asyncio.create_task(bot.handle(event()))
        await started.wait()
        turn.cancel()
        with pytest.raises(asyncio.CancelledError):
            await turn
        assert await state_of(bot) == {}


async def test_a_release_that_fails_is_logged_and_stops_nobody(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = ScriptedStore()
    store.script("release", "unavailable")
    bot = Bot(session_store=store)

    @bot.on_event
    async def look(context: Context) -> None:
        pass

    async with bot:
        assert await bot.handle(event()) == Outcome.UNCHANGED
    assert "scripted: unavailable" in caplog.text
    assert issubclass(SessionStoreUnavailable, ConnectionError)
