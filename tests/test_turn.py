"""A turn and its four endings: committed, handler failed, not done, unknown."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from barback import (
    Bot,
    CommitUnknown,
    Context,
    HandlerTimeout,
    LeaseLost,
    MemorySessionStore,
    NotDone,
    Outcome,
    Redeliver,
    SessionBusy,
    SessionStoreUnavailable,
    SessionUnreadable,
    TurnEnded,
)
from tests.scripted import ScriptedStore, counting_bot, event, state_of, until

if TYPE_CHECKING:
    from collections.abc import Callable


class Broken(Exception):
    """What a handler with a bug raises."""


async def version_of(bot: Bot, session_id: str = "test:tim") -> int | None:
    async with bot.conversation(session_id) as context:
        return context.session.version


# Committed.


async def test_a_turn_that_changes_something_costs_one_checkout_and_one_commit() -> None:
    store = ScriptedStore()
    async with counting_bot(session_store=store) as bot:
        assert await bot.handle(event()) == Outcome.COMMITTED
    assert store.calls == ["checkout", "commit"]


async def test_a_turn_that_changes_nothing_gives_the_lease_back_and_writes_nothing() -> None:
    store = ScriptedStore()
    bot = Bot(session_store=store, initial_state={"n": 0})

    @bot.on_event
    async def look(context: Context) -> None:
        context.set_state(n=context.state["n"])

    async with bot:
        outcomes = {await bot.handle(event()) for _ in range(100)}
    assert outcomes == {Outcome.UNCHANGED}
    assert store.calls == ["checkout", "release"] * 100
    assert len(store.inner) == 0  # type: ignore[arg-type]  # it is a MemorySessionStore


async def test_a_nested_change_is_committed() -> None:
    bot = Bot(initial_state={"cart": {"items": []}})

    @bot.on_event
    async def add(context: Context) -> None:
        context.state["cart"]["items"].append(context.event.text)

    async with bot:
        assert await bot.handle(event(text="tea")) == Outcome.COMMITTED
        assert await bot.handle(event(text="rum")) == Outcome.COMMITTED
        assert await state_of(bot) == {"cart": {"items": ["tea", "rum"]}}


async def test_every_commit_has_a_version_of_its_own() -> None:
    async with counting_bot() as bot:
        versions = []
        for _ in range(3):
            await bot.handle(event())
            versions.append(await version_of(bot))
        assert len(set(versions)) == 3


# The handler failed.


async def test_a_failed_handler_changes_nothing_and_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bot = Bot(initial_state={"n": 0})

    @bot.on_event
    async def fail(context: Context) -> None:
        context.set_state(n=5)
        if context.event.text == "fail":
            raise Broken

    async with bot:
        await bot.handle(event())
        before = await version_of(bot)
        assert await bot.handle(event(text="fail", event_id="1")) == Outcome.FAILED
        assert await version_of(bot) == before
    assert [Broken] == [r.exc_info[0] for r in caplog.records if r.exc_info]


async def test_on_error_sees_the_state_as_it_was_and_what_it_sets_is_committed() -> None:
    bot = Bot(initial_state={"n": 0, "failures": 0})
    seen: list[object] = []

    @bot.on_event
    async def fail(context: Context) -> None:
        context.set_state(n=5)
        context.state["junk"] = object()
        raise Broken("why")

    @bot.on_error
    async def sorry(context: Context, error: Exception) -> None:
        seen.append((context.state["n"], str(error), context.event.text))
        context.set_state(failures=context.state["failures"] + 1)

    async with bot:
        assert await bot.handle(event(text="hi", event_id="1")) == Outcome.FAILED
        assert await state_of(bot) == {"n": 0, "failures": 1}
        assert await bot.handle(event(text="hi", event_id="1")) == Outcome.DUPLICATE
        assert await state_of(bot) == {"n": 0, "failures": 1}
    assert seen == [(0, "why", "hi")]


async def test_a_failed_event_of_which_nothing_was_kept_is_handled_again() -> None:
    bot = Bot(dedupe="always")
    attempts = []

    @bot.on_event
    async def fail_once(context: Context) -> None:
        attempts.append(1)
        if len(attempts) == 1:
            raise Broken
        context.set_state(done=True)

    @bot.on_error
    async def ignore(context: Context, error: Exception) -> None:
        pass

    async with bot:
        assert await bot.handle(event(event_id="1")) == Outcome.FAILED
        assert await bot.handle(event(event_id="1")) == Outcome.COMMITTED


async def test_an_on_error_that_fails_itself_commits_nothing_and_both_are_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bot = Bot()

    @bot.on_event
    async def fail(context: Context) -> None:
        raise Broken("first")

    @bot.on_error
    async def fail_too(context: Context, error: Exception) -> None:
        context.set_state(n=1)
        raise Broken("second")

    async with bot:
        assert await bot.handle(event()) == Outcome.FAILED
        assert await state_of(bot) == {}
    assert "first" in caplog.text
    assert "second" in caplog.text


async def test_on_error_may_ask_for_the_event_to_come_again() -> None:
    bot = Bot()

    @bot.on_event
    async def fail(context: Context) -> None:
        raise Broken

    @bot.on_error
    async def again(context: Context, error: Exception) -> None:
        context.set_state(n=1)
        raise Redeliver

    async with bot:
        with pytest.raises(Redeliver):
            await bot.handle(event())
        assert await state_of(bot) == {}


async def test_a_nested_value_that_cannot_be_kept_is_the_handlers_failure() -> None:
    bot = Bot(initial_state={"list": []})
    errors = []

    @bot.on_event
    async def put(context: Context) -> None:
        context.state["list"].append({1, 2})

    @bot.on_error
    async def note(context: Context, error: Exception) -> None:
        errors.append(str(error))

    async with bot:
        assert await bot.handle(event()) == Outcome.FAILED
        assert await state_of(bot) == {"list": []}
    assert "state['list'][0] is of type set (use a list)" in errors[0]


async def test_one_session_in_a_hundred_fails_and_the_others_are_committed() -> None:
    store = MemorySessionStore()
    bot = counting_bot(session_store=store)

    async def fail_for_one(context: Context, call_next: object) -> None:
        await call_next(context)  # type: ignore[operator]
        if context.session.id == "test:42" and context.state["n"] == 2:
            raise Broken

    bot.use(fail_for_one)
    async with bot:
        await asyncio.gather(*(bot.handle(event(str(n))) for n in range(100)))
        before = store._records["test:42"].encode()
        await asyncio.gather(*(bot.handle(event(str(n))) for n in range(100)))
        after = dict(store._records)
    assert after.pop("test:42").encode() == before
    assert {record.state for record in after.values()} == {b'{"n":2}'}
    assert len(after) == 99


async def test_a_handler_that_takes_too_long_is_cancelled_and_has_failed() -> None:
    bot = Bot(handler_timeout=0.01)
    ends: list[object] = []

    @bot.on_event
    async def dawdle(context: Context) -> None:
        context.set_state(n=1)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ends.append("cancelled")
            raise

    @bot.on_error
    async def note(context: Context, error: Exception) -> None:
        ends.append(type(error))

    async with bot:
        assert await bot.handle(event()) == Outcome.FAILED
        assert await state_of(bot) == {}
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    assert ends == ["cancelled", HandlerTimeout]


async def test_a_handler_that_swallows_its_cancellation_has_failed_all_the_same() -> None:
    bot = Bot(handler_timeout=timedelta(milliseconds=10))

    @bot.on_event
    async def stubborn(context: Context) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            context.set_state(n=1)

    async with bot:
        assert await bot.handle(event()) == Outcome.FAILED
        assert await state_of(bot) == {}


async def test_on_error_has_a_time_limit_of_its_own() -> None:
    bot = Bot(handler_timeout=0.01)

    @bot.on_event
    async def fail(context: Context) -> None:
        raise Broken

    @bot.on_error
    async def dawdle(context: Context, error: Exception) -> None:
        await asyncio.Event().wait()

    async with bot:
        assert await bot.handle(event()) == Outcome.FAILED


# Not done.


@pytest.mark.parametrize(
    ("operation", "fault", "error"),
    [
        ("checkout", "unavailable", SessionStoreUnavailable),
        ("commit", "unavailable", SessionStoreUnavailable),
        ("commit", "lost", LeaseLost),
    ],
)
async def test_what_the_store_refuses_is_not_done_and_can_be_delivered_again(
    operation: str, fault: str, error: type[NotDone]
) -> None:
    store = ScriptedStore()
    store.script(operation, fault)
    async with counting_bot(session_store=store) as bot:
        with pytest.raises(error):
            await bot.handle(event(event_id="1"))
        if fault == "lost":
            await store.inner.destroy("test:tim", None)  # the lease somebody else would have
        assert await bot.handle(event(event_id="1")) == Outcome.COMMITTED
        assert await state_of(bot) == {"n": 1}
        assert len(bot._turns.queue) == 0  # type: ignore[union-attr]


async def test_redeliver_gives_the_event_back_without_on_error() -> None:
    bot = Bot()
    attempts: list[int] = []

    @bot.on_event
    async def later(context: Context) -> None:
        context.set_state(n=len(attempts))
        attempts.append(1)
        if len(attempts) == 1:
            raise Redeliver

    @bot.on_error
    async def never(context: Context, error: Exception) -> None:
        raise AssertionError

    async with bot:
        with pytest.raises(Redeliver):
            await bot.handle(event(event_id="1"))
        assert await bot.handle(event(event_id="1")) == Outcome.COMMITTED
        assert await state_of(bot) == {"n": 1}


async def test_a_busy_session_is_asked_for_again_until_it_is_free() -> None:
    store = ScriptedStore()
    store.script("checkout", "busy", "busy", "busy")
    async with counting_bot(session_store=store) as bot:
        assert await bot.handle(event()) == Outcome.COMMITTED
    assert store.calls == ["checkout"] * 4 + ["commit"]


async def test_a_session_busy_for_too_long_is_not_done() -> None:
    store = MemorySessionStore()
    async with counting_bot(session_store=store) as one, counting_bot(session_store=store) as two:
        assert two._turns is not None
        two._turns._checkouts._rules = type(two._turns.rules)(lease_wait=0.01)
        async with one.conversation("test:tim"):
            with pytest.raises(SessionBusy, match=r"'test:tim' was in another turn for the 0\.01"):
                await two.handle(event())
        assert await two.handle(event()) == Outcome.COMMITTED


async def test_an_unreadable_state_is_never_a_new_user() -> None:
    store = MemorySessionStore()
    async with counting_bot(session_store=store) as bot:
        await bot.handle(event())
        record = store._records["test:tim"]
        fields = {name: getattr(record, name) for name in record.__struct_fields__}
        broken = type(record)(**{**fields, "state": b'{"n":'})
        store._records["test:tim"] = broken
        for _ in range(2):
            with pytest.raises(SessionUnreadable, match="'test:tim' cannot be read"):
                await bot.handle(event())
        assert store._records["test:tim"] is broken


# Unknown.


async def test_a_commit_whose_answer_was_lost_but_was_applied_is_done() -> None:
    store = ScriptedStore()
    store.script("commit", "applied")
    async with counting_bot(session_store=store) as bot:
        assert await bot.handle(event()) == Outcome.COMMITTED
        assert store.calls.count("commit") == 1
        assert await state_of(bot) == {"n": 1}
        assert store.is_free("test:tim")


@pytest.mark.parametrize("earlier", [0, 1])
async def test_a_commit_that_did_not_arrive_is_sent_again(earlier: int) -> None:
    store = ScriptedStore()
    async with counting_bot(session_store=store) as bot:
        for _ in range(earlier):
            await bot.handle(event())
        store.script("commit", "unknown")
        assert await bot.handle(event()) == Outcome.COMMITTED
        assert await state_of(bot) == {"n": earlier + 1}
        assert store.is_free("test:tim")


async def test_a_commit_that_never_arrives_is_not_done() -> None:
    store = ScriptedStore()
    store.script("commit", "unknown", "unknown", "unknown")
    async with counting_bot(session_store=store) as bot:
        with pytest.raises(SessionStoreUnavailable, match="sent 3 times"):
            await bot.handle(event(event_id="1"))
        assert store.is_free("test:tim")
        assert await bot.handle(event(event_id="1")) == Outcome.COMMITTED
        assert await state_of(bot) == {"n": 1}


async def test_a_commit_that_cannot_be_fenced_off_is_unknown() -> None:
    # Copies of it may still be on their way, and would be applied: the lease has not been given
    # back, as far as is known.
    store = ScriptedStore()
    store.script("commit", "unknown", "unknown", "unknown")
    store.script("release", "unavailable")
    async with counting_bot(session_store=store) as bot:
        with pytest.raises(CommitUnknown):
            await bot.handle(event(event_id="1"))


async def test_a_commit_is_unknown_if_a_look_that_went_unheard_may_take_its_lease_again() -> None:
    store = ScriptedStore()
    store.script("commit", "unknown", "unknown", "unknown")
    store.script("checkout", "ok", "unavailable")
    async with counting_bot(session_store=store) as bot:
        with pytest.raises(CommitUnknown):
            await bot.handle(event(event_id="1"))
        assert store.is_free("test:tim")


async def test_a_copy_that_is_refused_as_unreadable_is_looked_at_again() -> None:
    store = ScriptedStore()
    store.script("commit", "unknown", "unreadable")
    async with counting_bot(session_store=store) as bot:
        assert await bot.handle(event()) == Outcome.COMMITTED
        assert store.calls.count("commit") == 3
        assert await state_of(bot) == {"n": 1}


@pytest.mark.parametrize("earlier", [0, 1])
async def test_a_copy_that_arrives_before_it_is_fenced_off_is_done(earlier: int) -> None:
    store = ScriptedStore()
    async with counting_bot(session_store=store) as bot:
        for _ in range(earlier):
            await bot.handle(event())
        released = asyncio.Event()
        store.script("commit", "unknown", "unknown", "unknown")
        store.script("release", released)
        turn = asyncio.create_task(bot.handle(event(event_id="1")))
        await until(lambda: "release" in store.calls)
        record, lease = store.commits[-1]
        await store.inner.commit(record, lease)  # the copy that was on its way
        released.set()
        assert await turn == Outcome.COMMITTED
        assert await state_of(bot) == {"n": earlier + 1}
        assert store.is_free("test:tim")


async def test_a_copy_that_arrives_after_it_was_fenced_off_is_refused() -> None:
    store = ScriptedStore()
    store.script("commit", "unknown", "unknown", "unknown")
    async with counting_bot(session_store=store) as bot:
        with pytest.raises(SessionStoreUnavailable, match="sent 3 times"):
            await bot.handle(event(event_id="1"))
        for record, lease in store.commits:
            with pytest.raises(LeaseLost):
                await store.inner.commit(record, lease)
        assert await state_of(bot) == {"n": 0}


async def test_a_checkout_whose_answer_was_lost_holds_up_nobody() -> None:
    store = ScriptedStore()
    store.script("checkout", "unheard")
    async with counting_bot(session_store=store) as bot:
        with pytest.raises(SessionStoreUnavailable):
            await bot.handle(event(event_id="1"))
        assert not store.is_free("test:tim")
        assert await asyncio.wait_for(bot.handle(event(event_id="1")), 20) == Outcome.COMMITTED
        assert store.calls.count("checkout") == 2
        assert store.is_free("test:tim")
        assert not bot._turns._checkouts._tokens  # type: ignore[union-attr]


async def test_a_cancelled_checkout_whose_answer_was_lost_holds_up_nobody() -> None:
    store = ScriptedStore()
    store.script("checkout", "unheard")
    async with counting_bot(session_store=store) as bot:
        turn = asyncio.create_task(bot.handle(event()))
        await until(lambda: "checkout" in store.calls)
        turn.cancel()
        await asyncio.wait([turn])
        await until(lambda: bot._turns._checkouts._tokens)  # type: ignore[union-attr]
        assert await asyncio.wait_for(bot.handle(event()), 20) == Outcome.COMMITTED
        assert store.is_free("test:tim")


async def test_a_release_that_failed_holds_up_nobody() -> None:
    store = ScriptedStore()
    store.script("release", "unavailable")
    async with counting_bot(session_store=store) as bot:
        assert await state_of(bot) == {"n": 0}
        assert not store.is_free("test:tim")
        assert await asyncio.wait_for(bot.handle(event()), 20) == Outcome.COMMITTED
        assert store.is_free("test:tim")


async def test_tokens_of_unanswered_checkouts_are_kept_within_bounds() -> None:
    store = ScriptedStore()
    async with counting_bot(session_store=store) as bot:
        assert bot._turns is not None
        bot._turns._checkouts._rules = type(bot._rules)(handled_limit=2)
        for user in ("adam", "tim", "zoe"):
            store.script("checkout", "unavailable")
            with pytest.raises(SessionStoreUnavailable):
                await bot.handle(event(user))
        assert [*bot._turns._checkouts._tokens] == ["test:tim", "test:zoe"]


async def test_a_second_copy_that_meets_the_first_applied_is_done_once() -> None:
    store = ScriptedStore()
    store.script("commit", "unknown", "applied")
    async with counting_bot(session_store=store) as bot:
        assert await bot.handle(event()) == Outcome.COMMITTED
        assert await state_of(bot) == {"n": 1}


async def test_a_lost_answer_is_found_out_after_the_store_is_back() -> None:
    store = ScriptedStore()
    store.script("commit", "applied")
    store.script("renew", "unavailable", "ok")
    store.script("checkout", "ok", "unavailable", "busy", "ok")
    async with counting_bot(session_store=store) as bot:
        assert await bot.handle(event()) == Outcome.COMMITTED
        assert await state_of(bot) == {"n": 1}


async def test_a_session_taken_over_while_the_answer_was_lost_was_not_committed() -> None:
    store = ScriptedStore()
    async with counting_bot(session_store=store) as bot:
        await bot.handle(event())
        lost = asyncio.Event()
        store.script("renew", lost)
        store.script("commit", "unknown")
        turn = asyncio.create_task(bot.handle(event()))
        await until(lambda: "renew" in store.calls)
        store.inner._leases.free("test:tim")  # type: ignore[attr-defined]  # as if it had run out
        async with counting_bot(session_store=store.inner) as other:
            await other.handle(event())
        lost.set()
        with pytest.raises(LeaseLost, match="took session 'test:tim' over"):
            await turn
        assert await state_of(bot) == {"n": 2}


async def test_a_session_destroyed_while_the_answer_was_lost_is_unknown() -> None:
    store = ScriptedStore()
    lost = asyncio.Event()
    store.script("renew", lost)
    store.script("commit", "applied")
    async with counting_bot(session_store=store) as bot:
        turn = asyncio.create_task(bot.handle(event()))
        await until(lambda: "renew" in store.calls)
        await store.inner.destroy("test:tim", None)
        lost.set()
        with pytest.raises(CommitUnknown, match="could not be found out"):
            await turn
        assert store.is_free("test:tim")
        assert len(bot._turns.queue) == 0  # type: ignore[union-attr]


async def test_a_lost_answer_past_the_window_of_remembered_ids_is_unknown() -> None:
    store = ScriptedStore()
    async with counting_bot(session_store=store, dedupe_limit=2) as bot:
        await bot.handle(event())
        lost = asyncio.Event()
        store.script("renew", lost)
        store.script("commit", "applied")
        turn = asyncio.create_task(bot.handle(event()))
        await until(lambda: "renew" in store.calls)
        async with counting_bot(session_store=store.inner, dedupe_limit=2) as other:
            for _ in range(2):
                await other.handle(event())
        lost.set()
        with pytest.raises(CommitUnknown):
            await turn


async def test_an_answer_lost_in_an_outage_longer_than_the_wait_is_unknown() -> None:
    store = ScriptedStore()
    store.script("commit", "applied")
    store.script("renew", *["unavailable"] * 3)
    async with counting_bot(session_store=store) as bot:
        assert bot._turns is not None
        bot._turns._commits._rules = type(bot._rules)(lease_wait=0.0)
        with pytest.raises(CommitUnknown) as raised:
            await bot.handle(event())
    assert isinstance(raised.value.__cause__, CommitUnknown)


# Redelivery.


async def test_an_event_delivered_again_changes_the_state_once() -> None:
    async with counting_bot() as bot:
        first = await bot.handle(event(event_id="7"))
        again = [await bot.handle(event(event_id="7")) for _ in range(3)]
        assert (first, set(again)) == (Outcome.COMMITTED, {Outcome.DUPLICATE})
        assert await state_of(bot) == {"n": 1}


async def test_copies_that_arrive_together_change_the_state_once() -> None:
    async with counting_bot() as bot:
        outcomes = await asyncio.gather(*(bot.handle(event(event_id="7")) for _ in range(10)))
        assert sorted(outcomes) == [Outcome.COMMITTED] + [Outcome.DUPLICATE] * 9
        assert await state_of(bot) == {"n": 1}


async def test_ids_are_unique_within_a_kind_only() -> None:
    async with counting_bot() as bot:
        await bot.handle(event(event_id="7"))
        await bot.handle(event(event_id="7", kind="payload"))
        assert await state_of(bot) == {"n": 2}


async def test_a_session_remembers_so_many_ids_and_no_more() -> None:
    store = MemorySessionStore()
    async with counting_bot(session_store=store, dedupe_limit=3) as bot:
        for n in range(10):
            await bot.handle(event(event_id=str(n)))
        seen = list(store._records["test:tim"].seen)
        assert seen == ["test:message:7", "test:message:8", "test:message:9"]


async def test_a_session_forgets_ids_that_are_too_old() -> None:
    now = [1_000_000.0]
    store = MemorySessionStore()
    options = {"session_store": store, "dedupe_for": 60, "clock": lambda: now[0]}
    async with counting_bot(**options) as bot:
        await bot.handle(event(event_id="1"))
        now[0] += 61
        await bot.handle(event(event_id="2"))
        assert list(store._records["test:tim"].seen) == ["test:message:2"]


async def test_an_event_that_changed_nothing_is_remembered_in_the_process() -> None:
    store = ScriptedStore()
    bot = Bot(session_store=store)
    handled: list[str | None] = []

    @bot.on_event
    async def look(context: Context) -> None:
        handled.append(context.event.id)

    async with bot:
        assert await bot.handle(event(event_id="1")) == Outcome.UNCHANGED
        assert await bot.handle(event(event_id="1")) == Outcome.DUPLICATE
    assert handled == ["1"]
    assert "commit" not in store.calls


async def test_dedupe_always_keeps_the_id_with_the_session() -> None:
    store = MemorySessionStore()
    for expected in (Outcome.COMMITTED, Outcome.DUPLICATE):
        bot = Bot(session_store=store, dedupe="always")

        @bot.on_event
        async def look(context: Context) -> None:
            pass

        async with bot:
            assert await bot.handle(event(event_id="1")) == expected


async def test_an_expired_session_still_knows_the_events_it_has_seen() -> None:
    now = [1_000_000.0]
    store = MemorySessionStore(expires_in=1)
    async with counting_bot(session_store=store, clock=lambda: now[0]) as bot:
        await bot.handle(event(event_id="1"))
        now[0] += 120
        assert await bot.handle(event(event_id="1")) == Outcome.DUPLICATE
        assert await bot.handle(event(event_id="2")) == Outcome.COMMITTED
        assert await bot.handle(event(event_id="1")) == Outcome.DUPLICATE
        assert await state_of(bot) == {"n": 1}


# After the turn.


async def test_a_context_used_after_its_turn_says_so() -> None:
    bot = Bot()
    kept: list[Context] = []

    @bot.on_event
    async def keep(context: Context) -> None:
        kept.append(context)

    async with bot:
        await bot.handle(event())
        context = kept[0]
        late_changes: list[Callable[[], None]] = [
            lambda: context.set_state(n=1),
            context.reset_state,
            lambda: context.session.expire_in(5),
        ]
        for late in late_changes:
            with pytest.raises(TurnEnded, match=r"bot\.conversation\('test:tim'\)"):
                late()


async def test_the_context_of_a_failed_handler_cannot_reach_into_on_error() -> None:
    bot = Bot()
    failed: list[Context] = []

    @bot.on_event
    async def fail(context: Context) -> None:
        failed.append(context)
        raise Broken

    @bot.on_error
    async def note(context: Context, error: Exception) -> None:
        with pytest.raises(TurnEnded):
            failed[0].set_state(n=1)
        context.set_state(m=1)

    async with bot:
        await bot.handle(event())
        assert await state_of(bot) == {"m": 1}


async def test_errors_of_the_log_hold_no_state(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    store = ScriptedStore()
    store.script("commit", "unavailable")
    bot = Bot(session_store=store)

    @bot.on_event
    async def put(context: Context) -> None:
        context.set_state(drink="hunter2")

    async with bot:
        with pytest.raises(SessionStoreUnavailable) as raised:
            await bot.handle(event(text="hunter2"))
    assert "hunter2" not in caplog.text + str(raised.value) + repr(event(text="hunter2"))


async def test_what_is_said_by_a_task_that_comes_too_late_is_refused() -> None:
    bot = Bot()
    late: list[asyncio.Task[None]] = []

    @bot.on_event
    async def speak(context: Context) -> None:
        late.append(asyncio.create_task(context.send_text("too late")))
        raise Redeliver

    async with bot:
        with pytest.raises(Redeliver):
            await bot.handle(event())
        with pytest.raises(TurnEnded):
            await late[0]
