"""Turns at their edges: cancelled as they are called, written late, shut down half-way."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from msgspec import structs

from barback import (
    Bot,
    BotNotRunning,
    CommitUnknown,
    ConfigurationError,
    Context,
    Event,
    HandlerCancelled,
    InvalidEvent,
    InvalidSessionId,
    LeaseLost,
    MemorySessionStore,
    Outcome,
    Record,
    Redeliver,
    SessionStore,
    SessionStoreUnavailable,
    User,
)
from tests.scripted import ScriptedStore, counting_bot, event, nothing_left, state_of, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from typing import Self


@asynccontextmanager
async def held(bot: Bot) -> AsyncIterator[None]:
    """While inside, a turn of another task has Tim's session."""
    inside, leave = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        async with bot.conversation("test:tim"):
            inside.set()
            await leave.wait()

    task = asyncio.create_task(hold())
    await inside.wait()
    yield
    leave.set()
    await task


class SlowDriver(SessionStore):
    """A driver of four methods whose writes and destroys wait for a gate, if there is one."""

    def __init__(self) -> None:
        self.records: dict[str, Record] = {}
        self.gates: list[asyncio.Event] = []
        self.under_way = 0
        self.started = 0

    async def init(self) -> Self:
        return self

    async def read(self, session_id: str) -> Record | None:
        assert not self.under_way
        return self.records.get(session_id)

    async def write(self, session_id: str, record: Record) -> None:
        await self._pass()
        self.records[session_id] = record

    async def destroy(self, session_id: str) -> None:
        await self._pass()
        self.records.pop(session_id, None)

    async def _pass(self) -> None:
        assert not self.under_way
        self.under_way += 1
        self.started += 1
        if self.gates:
            await self.gates.pop(0).wait()
        self.under_way -= 1


# A hand-over that nobody takes.


async def test_a_waiter_cancelled_in_the_moment_the_turn_ends_takes_nothing_along() -> None:
    bot = counting_bot(max_concurrency=1)
    async with bot:
        tasks: list[asyncio.Task[Outcome]] = []

        async def first() -> None:
            await bot.handle(event())
            tasks[0].cancel()

        running = asyncio.create_task(first())
        tasks.append(asyncio.create_task(bot.handle(event())))
        await asyncio.gather(running, *tasks, return_exceptions=True)
        await until(lambda: nothing_left(bot))
        assert bot._store._leases._held == {}  # type: ignore[attr-defined]
        assert await bot.handle(event("ann")) == Outcome.COMMITTED
        assert await bot.handle(event()) == Outcome.COMMITTED


@pytest.mark.parametrize("steps", range(30))
async def test_the_only_waiter_may_be_cancelled_at_any_time(steps: int) -> None:
    store = ScriptedStore()
    async with counting_bot(session_store=store, max_concurrency=1) as bot:
        first = asyncio.create_task(bot.handle(event()))
        second = asyncio.create_task(bot.handle(event()))
        for _ in range(steps):
            await asyncio.sleep(0)
        second.cancel()
        await asyncio.gather(first, second, return_exceptions=True)
        assert first.result() == Outcome.COMMITTED
        await until(lambda: nothing_left(bot) and store.is_free("test:tim"))


async def test_a_turn_whose_coroutine_is_closed_leaves_its_place() -> None:
    async with counting_bot() as bot:
        async with held(bot):
            waiting = bot.handle(event())
            waiting.send(None)
            waiting.close()
        assert nothing_left(bot)


# Errors outside the handler.


async def test_an_error_while_the_record_is_made_frees_the_session() -> None:
    calls: list[int] = []

    def initial() -> dict[str, Any]:
        calls.append(1)
        if len(calls) == 1:
            raise RuntimeError("not yet")
        return {}

    bot = Bot(initial_state=initial, dedupe="always")

    @bot.on_event
    async def look(context: Context) -> None:
        pass

    async with bot:
        with pytest.raises(RuntimeError, match="not yet"):
            await bot.handle(event(event_id="1"))
        assert nothing_left(bot)
        assert await bot.handle(event(event_id="1")) == Outcome.COMMITTED


async def test_a_clock_that_fails_frees_the_session() -> None:
    times = iter([1.0])

    def clock() -> float:
        return next(times)

    store = MemorySessionStore()
    bot = counting_bot(session_store=store)
    async with bot:
        assert bot._turns is not None
        bot._turns._clock = clock
        next(times)
        with pytest.raises((StopIteration, RuntimeError)):
            await bot.handle(event())
        assert nothing_left(bot)
        assert not store._leases._held


# Writes that arrive late.


async def test_a_write_on_its_way_is_waited_for_though_its_lease_ran_out() -> None:
    driver = SlowDriver()
    gate = asyncio.Event()
    driver.gates.append(gate)
    bots = [counting_bot(session_store=driver) for _ in range(2)]
    bots[0]._rules = type(bots[0]._rules)(lease_term=0.001)
    async with bots[0], bots[1]:
        first = asyncio.create_task(bots[0].handle(event()))
        await until(lambda: driver.started == 1)
        second = asyncio.create_task(bots[1].handle(event()))
        await asyncio.sleep(0.01)  # past the lease's term: what is waited for is the time itself
        assert not second.done()
        gate.set()
        assert await second == Outcome.COMMITTED
        await asyncio.gather(first, return_exceptions=True)
        assert driver.records["test:tim"].state == b'{"n":2}'


async def test_a_checkout_that_arrives_when_its_turn_is_over_holds_the_session_for_a_term() -> None:
    store = ScriptedStore()
    store.script("checkout", "unavailable")
    bot = counting_bot(session_store=store)
    bot._rules = structs.replace(bot._rules, lease_term=0.2)
    async with bot:
        with pytest.raises(SessionStoreUnavailable):
            await bot.handle(event())
        assert await bot.handle(event()) == Outcome.COMMITTED  # by the same token
        ((_, lease),) = store.commits
        await store.inner.checkout("test:tim", lease)  # it was on its way all the time
        assert not store.is_free("test:tim")
        async with asyncio.timeout(20):
            assert await bot.handle(event()) == Outcome.COMMITTED
        assert await state_of(bot) == {"n": 2}


async def test_a_write_whose_turn_was_cancelled_twice_does_not_land_on_a_later_one() -> None:
    driver = SlowDriver()
    gate = asyncio.Event()
    driver.gates.append(gate)
    async with counting_bot(session_store=driver) as bot:
        first = asyncio.create_task(bot.handle(event()))
        await until(lambda: driver.started == 1)
        for _ in range(3):
            first.cancel()
            await asyncio.sleep(0)
        second = asyncio.create_task(bot.handle(event()))
        for _ in range(20):
            await asyncio.sleep(0)
        gate.set()
        assert await second == Outcome.COMMITTED
        assert driver.records["test:tim"].state == b'{"n":2}'
        with pytest.raises(asyncio.CancelledError):
            await first


async def test_a_session_destroyed_by_force_does_not_come_back() -> None:
    driver = SlowDriver()
    async with counting_bot(session_store=driver) as bot:
        await bot.handle(event())
        gate = asyncio.Event()
        driver.gates.append(gate)
        destroying = asyncio.ensure_future(bot._store.destroy("test:tim", None))
        await until(lambda: driver.under_way == 1)
        turn = asyncio.create_task(bot.handle(event()))
        for _ in range(20):
            await asyncio.sleep(0)
        gate.set()
        await destroying
        assert await turn == Outcome.COMMITTED
        assert driver.records["test:tim"].state == b'{"n":1}'


# Cancellations.


async def test_a_cancellation_is_not_mistaken_for_a_timeout() -> None:
    bot = Bot(handler_timeout=0.02)
    started = asyncio.Event()

    @bot.on_event
    async def slow_to_end(context: Context) -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.Event().wait()  # until the timeout cancels it as well

    @bot.on_error
    async def never(context: Context, error: Exception) -> None:
        raise AssertionError

    async with bot:
        turn = asyncio.create_task(bot.handle(event()))
        await started.wait()
        turn.cancel()
        with pytest.raises(asyncio.CancelledError):
            await turn
        assert nothing_left(bot)


async def test_a_timeout_around_handle_is_the_callers() -> None:
    bot = Bot()

    @bot.on_event
    async def wait(context: Context) -> None:
        await asyncio.Event().wait()

    async with bot:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await bot.handle(event())


async def test_a_handler_whose_own_subtask_was_cancelled_has_failed() -> None:
    bot = Bot()
    errors: list[Exception] = []

    @bot.on_event
    async def cancel_own(context: Context) -> None:
        subtask = asyncio.create_task(asyncio.Event().wait())
        subtask.cancel()
        await subtask

    @bot.on_error
    async def note(context: Context, error: Exception) -> None:
        errors.append(error)

    async with bot:
        assert await bot.handle(event()) == Outcome.FAILED
    assert [type(error) for error in errors] == [HandlerCancelled]


async def test_a_handler_that_ignores_its_end_is_cancelled_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("barback.keeper.INSISTENCE", 0.01)
    bot = Bot(handler_timeout=0.01)
    cancellations: list[int] = []

    @bot.on_event
    async def ignore(context: Context) -> None:
        while len(cancellations) < 4:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancellations.append(1)

    async with bot:
        assert await bot.handle(event()) == Outcome.FAILED
    assert "'test:tim' ignores its end" in caplog.text
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_a_lost_lease_is_not_handed_on_by_one_who_is_cancelled_too() -> None:
    store = ScriptedStore()
    async with counting_bot(session_store=store) as bot:
        gate = asyncio.Event()
        store.script("checkout", gate)
        first = asyncio.create_task(bot.handle(event()))
        second = asyncio.create_task(bot.handle(event()))
        gate.set()
        await until(lambda: bot._turns is not None and bool(bot._turns._keeper._watched))
        assert bot._turns is not None
        (turn,) = bot._turns._keeper._watched
        await store.inner.destroy("test:tim", None)
        turn.interrupt(LeaseLost("lost"))
        first.cancel()
        results = await asyncio.gather(first, second, return_exceptions=True)
        assert isinstance(results[0], asyncio.CancelledError)
        assert results[1] == Outcome.COMMITTED
        assert store.calls.count("checkout") == 2


# Turns inside turns.


async def test_a_turn_inside_another_is_not_held_up_by_one_that_waits_for_its_slot() -> None:
    bot = Bot(max_concurrency=1)
    inside = asyncio.Event()
    go_on = asyncio.Event()

    @bot.on_event
    async def visit(context: Context) -> None:
        context.set_state(came=True)
        if context.session.id == "test:tim":
            inside.set()
            await go_on.wait()
            async with bot.conversation("test:ann") as ann:
                ann.set_state(visited=True)

    async with bot:
        outer = asyncio.create_task(bot.handle(event("tim")))
        await inside.wait()
        waiting = asyncio.create_task(bot.handle(event("ann")))
        await asyncio.sleep(0)
        go_on.set()
        assert {await outer, await waiting} == {Outcome.COMMITTED}
        assert await state_of(bot, "test:ann") == {"came": True, "visited": True}
        assert nothing_left(bot)


async def test_a_reminder_that_sets_the_next_one_remembers_no_turns_of_the_past() -> None:
    ancestors: list[int] = []
    async with Bot() as bot:

        async def remind(left: int) -> None:
            async with bot.conversation("test:tim"):
                assert bot._turns is not None
                (turn,) = bot._turns._keeper._watched
                ancestors.append(len(turn.ancestors))  # type: ignore[attr-defined]
                task = asyncio.create_task(remind(left - 1)) if left else None
            if task is not None:
                await task

        await remind(5)
    assert ancestors == [0] * 6


# Shutdown.


async def test_a_turn_that_waits_for_a_busy_session_ends_with_the_bot() -> None:
    store = MemorySessionStore()
    handled: list[str] = []
    async with counting_bot(session_store=store) as other, other.conversation("test:tim"):
        bot = Bot(session_store=store, shutdown_timeout=0.01)

        @bot.on_event
        async def note(context: Context) -> None:
            handled.append(context.session.id)

        async with bot:
            waiting = asyncio.create_task(bot.handle(event()))
            await asyncio.sleep(0)
        with pytest.raises(BotNotRunning):
            await waiting
    assert handled == []


async def test_a_nested_turn_gives_way_to_the_shutdown_of_its_outer_turn() -> None:
    bot = Bot(shutdown_timeout=0.01)
    inside = asyncio.Event()

    @bot.on_event
    async def visit(context: Context) -> None:
        try:
            async with bot.conversation("test:ann"):
                inside.set()
                await asyncio.Event().wait()
        except BotNotRunning:
            await asyncio.Event().wait()  # only an end of its own gets it out of here

    async with asyncio.timeout(20):
        async with bot:
            turn = asyncio.create_task(bot.handle(event()))
            await inside.wait()
    with pytest.raises(BotNotRunning):
        await turn


async def test_a_shutdown_that_is_cancelled_leaves_no_turn_running() -> None:
    bot = Bot()
    started = asyncio.Event()

    @bot.on_event
    async def wait(context: Context) -> None:
        context.set_state(n=1)
        started.set()
        await asyncio.Event().wait()

    await bot.__aenter__()
    turn = asyncio.create_task(bot.handle(event()))
    await started.wait()
    stopping = asyncio.create_task(bot.__aexit__(None, None, None))
    await asyncio.sleep(0)
    stopping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stopping
    with pytest.raises(BotNotRunning):
        await turn


async def test_a_turn_of_another_bot_is_no_way_into_one_that_is_closing() -> None:
    closing = asyncio.Event()
    go_on = asyncio.Event()

    class SlowToClose(MemorySessionStore):
        async def close(self) -> None:
            closing.set()
            await go_on.wait()

    async with Bot() as other:
        bot = counting_bot(session_store=SlowToClose())
        await bot.__aenter__()
        stopping = asyncio.create_task(bot.__aexit__(None, None, None))
        await closing.wait()
        async with other.conversation("test:tim"):
            with pytest.raises(BotNotRunning):
                await bot.handle(event())
        go_on.set()
        await stopping


async def test_a_store_that_closes_is_opened_again_only_when_it_has_closed() -> None:
    log: list[str] = []
    closing = asyncio.Event()
    go_on = asyncio.Event()

    class Noted(MemorySessionStore):
        async def init(self) -> Self:
            log.append("opened")
            return self

        async def close(self) -> None:
            closing.set()
            await go_on.wait()
            log.append("closed")

    store = Noted()
    await store.acquire()
    leaving = asyncio.create_task(store.relinquish())
    await closing.wait()
    coming = asyncio.create_task(store.acquire())
    await asyncio.sleep(0)
    go_on.set()
    await asyncio.gather(leaving, coming)
    await store.relinquish()
    assert log == ["opened", "closed", "opened", "closed"]


async def test_sweeping_goes_on_after_a_drivers_own_error(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("barback.sweeper.EVERY", 0.001)
    sweeps: list[int] = []

    class Failing(MemorySessionStore):
        async def due(self, before: int, limit: int) -> list[Record]:
            sweeps.append(1)
            raise ZeroDivisionError

    async with counting_bot(session_store=Failing()):
        await until(lambda: len(sweeps) == 3)
    assert "ZeroDivisionError" in caplog.text


# Endings.


async def test_a_read_that_fails_otherwise_while_an_answer_is_lost_is_no_proof() -> None:
    store = ScriptedStore()
    store.script("commit", "applied")
    store.script("checkout", "ok", "lost", "ok")
    async with counting_bot(session_store=store) as bot:
        assert await bot.handle(event()) == Outcome.COMMITTED
        assert await state_of(bot) == {"n": 1}


async def test_a_session_destroyed_and_made_anew_while_an_answer_was_lost_is_unknown() -> None:
    store = ScriptedStore()
    lost = asyncio.Event()
    async with counting_bot(session_store=store) as bot:
        await bot.handle(event())
        store.script("renew", lost)
        store.script("commit", "applied")
        turn = asyncio.create_task(bot.handle(event()))
        await until(lambda: "renew" in store.calls)
        await store.inner.destroy("test:tim", None)
        async with counting_bot(session_store=store.inner) as other:
            await other.handle(event())
        lost.set()
        with pytest.raises(CommitUnknown):
            await turn


async def test_a_lifetime_set_by_an_on_error_that_fails_is_thrown_away() -> None:
    store = MemorySessionStore()
    bot = Bot(session_store=store)

    @bot.on_event
    async def fail(context: Context) -> None:
        raise ValueError

    @bot.on_error
    async def fail_too(context: Context, error: Exception) -> None:
        context.session.expire_in(1)
        raise ValueError

    async with bot:
        assert await bot.handle(event()) == Outcome.FAILED
    assert len(store) == 0


async def test_middleware_added_while_an_event_waits_does_not_lose_it() -> None:
    bot = counting_bot()
    async with bot:
        async with held(bot):
            waiting = asyncio.create_task(bot.handle(event()))
            await asyncio.sleep(0)

            @bot.use
            async def late(context: Context, call_next: Any) -> None:
                await call_next(context)

        assert await waiting == Outcome.COMMITTED


async def test_redeliver_from_a_task_group_is_redeliver() -> None:
    bot = Bot()

    @bot.on_event
    async def many(context: Context) -> None:
        async def one() -> None:
            raise Redeliver

        async with asyncio.TaskGroup() as group:
            group.create_task(one())
            group.create_task(one())

    async with bot:
        with pytest.raises(Redeliver):
            await bot.handle(event())


async def test_a_bug_beside_redeliver_in_a_task_group_is_a_failure() -> None:
    bot = Bot()

    @bot.on_event
    async def many(context: Context) -> None:
        raise ExceptionGroup("both", [Redeliver(), ValueError()])

    async with bot:
        assert await bot.handle(event()) == Outcome.FAILED


# Hostile or mistaken input.


@pytest.mark.parametrize(
    "fields",
    [
        {"id": 5},
        {"address": 42},
        {"kind": None},
        {"conversation": -100},
        {"thread": 1},
        {"text": b"hi"},
        {"payload": {}},
        {"user": "tim"},
        {"id": "\ud800"},
        {"address": "x" * 2049},
    ],
    ids=str,
)
def test_an_event_that_could_not_be_remembered_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidEvent, match=r"Event\."):
        Event(channel="test", **fields)


def test_a_users_id_is_text() -> None:
    with pytest.raises(InvalidEvent, match=r"User\.id is int, and must be text: use str\(\)"):
        User(42)  # type: ignore[arg-type]


def test_a_user_without_an_id_would_share_the_groups_session() -> None:
    with pytest.raises(InvalidEvent, match=r"User\.id is empty"):
        User("")


@pytest.mark.parametrize("key", [None, "", 5])
async def test_a_scope_that_makes_no_key_shares_no_session(key: Any) -> None:
    async with counting_bot(scope=lambda _: key) as bot:
        with pytest.raises(InvalidSessionId, match="a key is text"):
            await bot.handle(event())


def test_a_scope_is_no_coroutine() -> None:
    async def scope(event: Event) -> str:
        return "key"

    with pytest.raises(ConfigurationError, match="not `async def`"):
        Bot(scope=scope)  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", ["Hi", None, {}])
async def test_what_is_no_event_is_refused(wrong: Any) -> None:
    async with counting_bot() as bot:
        with pytest.raises(InvalidEvent):
            await bot.handle(wrong)
        with pytest.raises(InvalidSessionId):
            async with bot.conversation(wrong):
                raise AssertionError


async def test_a_store_with_a_shorter_lifetime_shortens_sessions_as_they_are_used() -> None:
    now = [1_000_000.0]
    store = MemorySessionStore()
    async with counting_bot(session_store=store, clock=lambda: now[0]) as bot:
        await bot.handle(event())
    shorter = MemorySessionStore(expires_in=1)
    shorter._records = store._records
    async with Bot(session_store=shorter, clock=lambda: now[0]) as bot:
        await state_of(bot)
        assert store._records["test:tim"].expires_at == 1_000_060_600
