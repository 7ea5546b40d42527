"""Observers: what they are told of a turn, in each of its endings, and what they cannot do."""

from __future__ import annotations

import asyncio
import gc
import logging
from typing import TYPE_CHECKING, Any

import pytest

from barback import (
    Bot,
    CommitUnknown,
    ConfigurationError,
    Context,
    LeaseLost,
    MemorySessionStore,
    Observer,
    Outcome,
    Redeliver,
    SessionBusy,
    SessionStoreUnavailable,
)
from barback.observing import turns as observed_turns
from barback.observing.turns import ObservedTurns
from barback.rules import Rules
from barback.testing import Simulator
from barback.turn import Turns
from tests.postbox import greeter, serving
from tests.scripted import ScriptedStore, counting_bot, event, until

if TYPE_CHECKING:
    from barback.events import Event
    from barback.observing import Step, StoreCall, TurnSeen


class Notes(Observer):
    """Notes all that it is told."""

    def __init__(self) -> None:
        self.turns: list[TurnSeen] = []
        self.calls: list[StoreCall] = []
        self.words: list[str] = []
        self.listens = True

    def listening(self) -> bool:
        return self.listens

    def turn_began(self, turn: TurnSeen) -> None:
        assert turn.settled is None
        self.words.append("turn")

    def turn_ended(self, turn: TurnSeen) -> None:
        assert all(step.seconds is not None for step in turn.steps)
        self.turns.append(turn)
        self.words.append(f"{turn.settled}.")

    def step_began(self, turn: TurnSeen, step: Step) -> None:
        assert turn.steps[-1] is step
        self.words.append(step.method or step.name)

    def step_ended(self, turn: TurnSeen, step: Step) -> None:
        self.words.append(f"/{step.method or step.name}")

    def store_answered(self, call: StoreCall) -> None:
        self.calls.append(call)

    def lease_lost(self, session_id: str) -> None:
        self.words.append(f"lost {session_id}")

    def evicted(self, count: int) -> None:
        self.words.append(f"evicted {count}")

    def answered_early(self, event: Event) -> None:
        self.words.append(f"early {event.id}")

    def event_lost(self, event: Event) -> None:
        self.words.append(f"gone {event.id}")

    @property
    def last(self) -> TurnSeen:
        return self.turns[-1]

    def steps(self) -> list[str]:
        return [step.method or step.name for step in self.last.steps]


async def test_a_turn_is_told_from_its_beginning_to_its_end() -> None:
    notes = Notes()
    async with counting_bot(observers=[notes]) as bot:
        await bot.handle(event())
    assert notes.words == (
        ["turn", "checkout", "/checkout", "handle", "/handle", "commit", "/commit", "committed."]
    )
    turn = notes.last
    assert (turn.session_id, turn.origin, turn.outcome) == ("test:tim", "event", Outcome.COMMITTED)
    assert turn.event.user is not None
    assert turn.seconds is not None
    assert turn.seconds >= sum(step.seconds or 0 for step in turn.steps)
    assert turn.ended_at > turn.began_at
    assert "committed" in repr(turn)
    assert "ms" in repr(turn.steps[0])


async def test_states_are_told_as_they_were_read_and_as_they_are_left() -> None:
    notes = Notes()
    async with counting_bot(observers=[notes]) as bot:
        await bot.handle(event())
        assert (notes.last.found, notes.last.before, notes.last.after) == (
            False,
            {"n": 0},
            {"n": 1},
        )
        await bot.handle(event())
        assert (notes.last.found, notes.last.before, notes.last.after) == (True, {"n": 1}, {"n": 2})
    checkout, _, commit = notes.last.steps
    assert (checkout.found, checkout.size, commit.size) == (True, len(b'{"n":1}'), len(b'{"n":2}'))


async def test_sessions_are_told_as_the_bot_knows_them() -> None:
    notes = Notes()
    async with counting_bot(observers=[notes], namespace="shop") as bot:
        await bot.handle(event())
    assert notes.last.session_id == "test:tim"
    assert {call.session_id for call in notes.calls} == {"shop/test:tim"}


async def test_a_redelivery_and_a_turn_that_changes_nothing_give_the_lease_back() -> None:
    notes = Notes()
    bot = Bot(observers=[notes])

    @bot.on_event
    async def nothing(context: Context[Any]) -> None:
        pass

    async with bot:
        await bot.handle(event(event_id="1"))
        assert (notes.last.settled, notes.steps()) == (
            "unchanged",
            ["checkout", "handle", "release"],
        )
        await bot.handle(event(event_id="1"))
        assert (notes.last.settled, notes.steps()) == ("duplicate", ["checkout", "release"])


async def test_a_failure_is_told_with_its_place_in_the_code() -> None:
    notes = Notes()
    bot = Bot(observers=[notes], initial_state={"n": 0})

    @bot.on_event
    async def fail(context: Context[Any]) -> None:
        context.set_state(n=1)
        context.state["missing"]

    @bot.on_error
    async def mend(context: Context[Any], error: Exception) -> None:
        context.set_state(n=2)

    async with bot:
        assert await bot.handle(event()) is Outcome.FAILED
    assert notes.steps() == ["checkout", "handle", "on_error", "commit"]
    turn = notes.last
    assert isinstance(turn.failure, KeyError)
    assert (turn.settled, turn.after) == ("failed", {"n": 2})
    place = turn.steps[1].place
    assert place is not None
    assert place.file == __file__
    assert place.function.endswith("fail")
    assert str(place).startswith(f"{__file__}:")


async def test_what_was_not_done_is_told_with_its_reason() -> None:
    notes = Notes()
    bot = Bot(observers=[notes])

    @bot.on_event
    async def again(context: Context[Any]) -> None:
        raise Redeliver

    async with bot:
        with pytest.raises(Redeliver):
            await bot.handle(event())
    assert (notes.last.settled, notes.last.outcome) == ("not_done", None)
    assert isinstance(notes.last.error, Redeliver)


async def test_a_store_that_is_away_is_told() -> None:
    notes, store = Notes(), ScriptedStore()
    store.script("checkout", "unavailable")
    async with counting_bot(observers=[notes], session_store=store) as bot:
        with pytest.raises(SessionStoreUnavailable):
            await bot.handle(event())
        checkout = notes.last.steps[0]
    assert isinstance(checkout.error, SessionStoreUnavailable)
    assert notes.last.before is None
    assert notes.calls[0].error is checkout.error
    assert (notes.calls[0].operation, notes.calls[0].store) == ("checkout", "scripted")


async def test_a_session_that_is_busy_is_asked_for_in_one_step() -> None:
    notes, store = Notes(), ScriptedStore()
    store.script("checkout", "busy", "busy")
    async with counting_bot(observers=[notes], session_store=store) as bot:
        await bot.handle(event())
    checkout = notes.last.steps[0]
    assert (checkout.tries, checkout.error, notes.last.settled) == (3, None, "committed")
    assert notes.steps() == ["checkout", "handle", "commit"]
    assert [type(call.error) for call in notes.calls[:3]] == [SessionBusy, SessionBusy, type(None)]


async def test_a_commit_whose_answer_is_lost_is_one_step_until_it_is_known() -> None:
    notes, store = Notes(), ScriptedStore()
    store.script("commit", "applied")
    async with counting_bot(observers=[notes], session_store=store) as bot:
        assert await bot.handle(event()) is Outcome.COMMITTED
    assert notes.steps() == ["checkout", "handle", "commit"]
    commit = notes.last.steps[-1]
    assert (commit.unanswered, commit.error, notes.last.settled) == (True, None, "committed")


async def test_a_commit_that_was_not_applied_is_tried_again_in_the_same_step() -> None:
    notes, store = Notes(), ScriptedStore()
    store.script("commit", "unknown")
    async with counting_bot(observers=[notes], session_store=store) as bot:
        assert await bot.handle(event()) is Outcome.COMMITTED
    assert notes.steps() == ["checkout", "handle", "commit"]
    assert (notes.last.steps[-1].tries, notes.last.steps[-1].error) == (2, None)


async def test_a_commit_of_which_nobody_knows_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    notes, store = Notes(), ScriptedStore()
    store.script("commit", "unknown")
    store.script("checkout", "ok", "unreadable")
    async with counting_bot(observers=[notes], session_store=store) as bot:
        with pytest.raises(CommitUnknown):
            await bot.handle(event())
    assert notes.last.settled == "unknown"
    assert isinstance(notes.last.steps[-1].error, CommitUnknown)


async def test_a_lease_that_is_lost_is_told() -> None:
    notes, store = Notes(), ScriptedStore()
    store.script("commit", "lost")
    async with counting_bot(observers=[notes], session_store=store) as bot:
        with pytest.raises(LeaseLost):
            await bot.handle(event())
    assert notes.last.settled == "not_done"
    assert "lost test:tim" in notes.words


async def test_a_lease_that_is_lost_while_the_handler_runs_is_told() -> None:
    notes, store = Notes(), MemorySessionStore()
    bot = Bot(observers=[notes], session_store=store)
    bot._rules = Rules(lease_term=0.03)

    @bot.on_event
    async def lose(context: Context[Any]) -> None:
        await store.destroy("test:tim", None)
        await asyncio.sleep(60)

    async with bot:
        with pytest.raises(LeaseLost):
            await bot.handle(event())
    assert "lost test:tim" in notes.words
    assert isinstance(notes.last.failure, LeaseLost)
    assert "renew" in {call.operation for call in notes.calls}


async def test_a_cancelled_turn_is_told() -> None:
    notes = Notes()
    bot = Bot(observers=[notes])
    begun = asyncio.Event()

    @bot.on_event
    async def wait(context: Context[Any]) -> None:
        begun.set()
        await asyncio.sleep(60)

    async with bot:
        task = asyncio.ensure_future(bot.handle(event()))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert notes.last.settled == "cancelled"


async def test_who_waits_and_what_is_handed_on_is_told() -> None:
    notes = Notes()
    async with counting_bot(observers=[notes]) as bot:
        await asyncio.gather(bot.handle(event()), bot.handle(event()))
    first, second = notes.turns
    assert [step.name for step in first.steps] == ["checkout", "handle", "commit"]
    assert [step.name for step in second.steps] == ["wait", "handle", "commit"]
    assert (first.handed_on, second.handed_on) == (False, True)
    assert first.id != second.id


async def test_what_is_sent_is_told_and_what_it_could_not() -> None:
    notes = Notes()
    bot = Bot(observers=[notes])

    @bot.on_event
    async def say(context: Context[Any]) -> None:
        await context.typing()
        await context.send_text("hello")
        await context.send_photo("cat.png")
        assert not hasattr(context, "sing")

    async with Simulator(bot) as simulator:
        await simulator.say("hi")
    assert [step.method for step in notes.turns[0].steps if step.name == "send"] == (
        ["typing", "send_text", "send_photo"]
    )


async def test_a_platform_that_fails_is_told() -> None:
    notes = Notes()
    bot = greeter()
    bot.observe(notes)
    async with serving(bot) as world:

        async def fail(*_: object) -> None:
            raise ConnectionError

        world.box.send_text = fail  # type: ignore[assignment,method-assign]
        await world.post({"id": "1", "who": "tim"})
    (send,) = [step for step in notes.last.steps if step.name == "send"]
    assert isinstance(send.error, ConnectionError)
    assert send.place is not None


async def test_a_context_that_is_over_tells_nothing() -> None:
    notes = Notes()
    bot = Bot(observers=[notes])
    kept: list[Context[Any]] = []

    @bot.on_event
    async def keep(context: Context[Any]) -> None:
        kept.append(context)

    async with Simulator(bot) as simulator:
        await simulator.say("hi")
        with pytest.raises(RuntimeError):
            await kept[0].send_text("too late")
    assert "send_text" not in notes.words


async def test_conversations_are_turns_of_their_own_even_inside_of_another() -> None:
    notes = Notes()
    bot = Bot(observers=[notes], initial_state={"n": 0})

    @bot.on_event
    async def both(context: Context[Any]) -> None:
        async with bot.conversation("test:kim") as other:
            other.set_state(n=1)
        context.set_state(n=2)

    async with bot:
        await bot.handle(event())
    inner, outer = notes.turns
    assert (inner.session_id, inner.origin, inner.settled) == (
        "test:kim",
        "conversation",
        "committed",
    )
    assert [step.name for step in inner.steps] == ["checkout", "handle", "commit"]
    assert (outer.session_id, outer.origin) == ("test:tim", "event")
    assert [step.name for step in outer.steps] == ["checkout", "handle", "commit"]


async def test_the_end_of_a_session_is_told() -> None:
    notes = Notes()
    bot = counting_bot(observers=[notes], session_store=MemorySessionStore(expires_in=1))

    @bot.on_expired
    async def over(context: Context[Any]) -> None:
        await context.send_text("Good-bye")

    async with Simulator(bot) as simulator:
        await simulator.say("hi")
        simulator.clock.advance(3600)
        await simulator.say("hi")
    ended = next(turn for turn in notes.turns if len(turn.steps) > 3)
    assert [step.method or step.name for step in ended.steps][:4] == (
        ["checkout", "on_expired", "send_text", "commit"]
    )


async def test_evictions_are_told() -> None:
    notes = Notes()
    async with counting_bot(observers=[notes], session_store="memory://?max_size=1") as bot:
        await bot.handle(event("tim"))
        await bot.handle(event("kim"))
    assert notes.words.count("evicted 1") == 1


async def test_early_answers_are_told() -> None:
    notes, go = Notes(), asyncio.Event()
    bot = Bot(observers=[notes])

    @bot.on_event
    async def wait(context: Context[Any]) -> None:
        await go.wait()

    async with serving(bot, ack_within=0.01) as world:
        await world.post({"id": "7", "who": "tim"})
        go.set()
    assert notes.words.count("early 7") == 1


# What observers cannot do, and when they are not there.


class Clumsy(Observer):
    """Raises whatever it is told."""

    def turn_began(self, turn: TurnSeen) -> None:
        raise ValueError("began")

    def turn_ended(self, turn: TurnSeen) -> None:
        raise ValueError("ended")

    def step_began(self, turn: TurnSeen, step: Step) -> None:
        raise ValueError("step began")

    def step_ended(self, turn: TurnSeen, step: Step) -> None:
        raise ValueError("step ended")

    def store_answered(self, call: StoreCall) -> None:
        raise ValueError("answered")


@pytest.mark.parametrize("store", [MemorySessionStore, ScriptedStore])
async def test_an_observer_that_raises_changes_no_turn(
    store: type[MemorySessionStore | ScriptedStore], caplog: pytest.LogCaptureFixture
) -> None:
    notes = Notes()
    async with counting_bot(observers=[Clumsy(), notes], session_store=store()) as bot:
        assert await bot.handle(event(event_id="1")) is Outcome.COMMITTED
        assert await bot.handle(event(event_id="1")) is Outcome.DUPLICATE
    assert [turn.settled for turn in notes.turns] == ["committed", "duplicate"]
    assert "An observer failed" in caplog.text


async def test_an_observer_that_looks_at_a_cancelled_task_changes_no_turn() -> None:
    class Curious(Notes):
        def store_answered(self, call: StoreCall) -> None:
            super().store_answered(call)
            raise asyncio.CancelledError  # as `task.result()` does

    notes = Curious()
    async with counting_bot(observers=[notes]) as bot:
        assert await bot.handle(event()) is Outcome.COMMITTED
    assert [call.operation for call in notes.calls] == ["checkout", "commit"]


async def test_an_observer_that_cannot_say_whether_it_listens_is_left_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Unsure(Notes):
        def listening(self) -> bool:
            raise ValueError

    notes = Unsure()
    async with counting_bot(observers=[notes]) as bot:
        assert await bot.handle(event()) is Outcome.COMMITTED
    assert notes.words == []
    assert caplog.text.count("is left out") == 1


def test_what_is_no_observer_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"barback\.Observer"):
        Bot(observers=[object()])  # type: ignore[list-item]


async def test_a_bot_that_runs_takes_no_observer() -> None:
    async with counting_bot() as bot:
        with pytest.raises(ConfigurationError):
            bot.observe(Notes())


async def test_without_an_observer_turns_are_plain() -> None:
    async with counting_bot() as bot:
        assert type(bot._turns) is Turns


async def test_nothing_is_observed_until_somebody_listens(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(observed_turns, "LOOK_EVERY", 0.01)
    notes = Notes()
    notes.listens = False
    store = MemorySessionStore()
    async with counting_bot(observers=[notes], session_store=store) as bot:
        turns = bot._turns
        assert turns is not None
        assert (type(turns), turns.instant) == (Turns, store)
        await bot.handle(event())
        assert notes.words == []
        notes.listens = True
        await until(lambda: type(turns) is ObservedTurns)
        await bot.handle(event())
        assert notes.last.settled == "committed"
    async with bot:  # and again, from the start
        await bot.handle(event())
        assert len(notes.turns) == 2


async def test_a_turn_under_way_when_somebody_begins_to_listen_ends_as_it_began(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(observed_turns, "LOOK_EVERY", 0.01)
    notes = Notes()
    notes.listens = False
    bot = Bot(observers=[notes], initial_state={"n": 0})

    @bot.on_event
    async def wait(context: Context[Any]) -> None:
        notes.listens = True
        await until(lambda: type(bot._turns) is ObservedTurns)
        context.set_state(n=1)

    async with bot:
        assert await bot.handle(event()) is Outcome.COMMITTED
    assert notes.turns == []


async def test_observed_turns_leave_no_cycles_behind() -> None:
    class Looking(Observer):
        def turn_ended(self, turn: TurnSeen) -> None:
            assert turn.before != turn.after

    async with counting_bot(observers=[Looking()]) as bot:
        await bot.handle(event())
        gc.collect()
        gc.disable()
        try:
            for _ in range(20):
                await bot.handle(event())
            assert gc.collect() == 0
        finally:
            gc.enable()


async def test_no_word_of_a_person_is_in_a_repr(caplog: pytest.LogCaptureFixture) -> None:
    notes = Notes()
    caplog.set_level(logging.DEBUG)
    async with counting_bot(observers=[notes]) as bot:
        await bot.handle(event(text="a secret"))
    told = repr(notes.turns) + repr(notes.last.steps) + repr(notes.calls) + caplog.text
    assert "secret" not in told
