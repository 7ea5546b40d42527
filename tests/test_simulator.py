"""The simulator and its clock: what the author of a bot writes tests with."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest

import barback.testing
from barback import (
    Bot,
    BotNotRunning,
    Channel,
    ConfigurationError,
    ConsoleBot,
    Context,
    Event,
    FileSessionStore,
    HandlerTimeout,
    MemorySessionStore,
    Outcome,
    Redeliver,
    SessionStoreUnavailable,
    User,
)
from barback.testing import Clock, Sent, Simulator
from tests.scripted import ScriptedStore, counting_bot, until


class Broken(Exception):
    """What a handler with a bug raises."""


def greeter(bot: Bot) -> Bot:
    """The first bot of the README."""
    bot.set_initial_state({"asking": False, "nickname": None})

    @bot.on_event
    async def greet(context: Context) -> None:
        if context.state["asking"]:
            context.set_state(nickname=context.event.text, asking=False)
            await context.send_text(f"Hello {context.state['nickname']}")
        else:
            context.set_state(asking=True)
            await context.send_text("Hi, what's your nickname?")

    return bot


def bot_that(handler: Callable[[Context], Awaitable[None]], **options: Any) -> Bot:
    bot = Bot(**options)
    bot.on_event(handler)
    return bot


async def count(context: Context) -> None:
    context.set_state(n=context.state.get("n", 0) + 1)
    await context.send_text(str(context.state["n"]))


async def fail(context: Context) -> None:
    context.set_state(n=1)
    await context.send_text("almost")
    raise Broken(context.event.text)


MODULE_BOT = greeter(ConsoleBot())


# Talking.


@pytest.mark.parametrize("kind", [Bot, ConsoleBot])
async def test_say_returns_what_the_bot_says_to_it(kind: type[Bot]) -> None:
    async with Simulator(greeter(kind())) as chat:
        assert await chat.say("Hi") == ["Hi, what's your nickname?"]
        assert await chat.say("Tim") == ["Hello Tim"]


async def test_every_text_of_an_answer_is_there_in_order() -> None:
    async def chatter(context: Context) -> None:
        for word in ("one", "two", "three"):
            await context.send_text(word)

    async with Simulator(bot_that(chatter)) as chat:
        assert await chat.say("go") == ["one", "two", "three"]


async def test_an_event_without_an_answer_has_none() -> None:
    async def keep_quiet(context: Context) -> None:
        pass

    async with Simulator(bot_that(keep_quiet)) as chat:
        assert await chat.say("anybody?") == []
        assert chat.outcome == Outcome.UNCHANGED


async def test_press_is_a_button_with_a_payload() -> None:
    async def repeat(context: Context) -> None:
        event = context.event
        await context.send_text(f"{event.kind} {event.payload} {event.text}")

    async with Simulator(bot_that(repeat)) as chat:
        assert await chat.press("buy:1") == ["payload buy:1 None"]
        assert await chat.person("ann").press("buy:2") == ["payload buy:2 None"]


async def test_the_bot_sees_who_says_what_where() -> None:
    seen: list[Event] = []

    async def look(context: Context) -> None:
        seen.append(context.event)

    async with Simulator(bot_that(look), channel="telegram") as chat:
        await chat.say("hi", user="ann", conversation="club", id="m1")
        await chat.person("bob", thread="t").say("ho")
    first, second = seen
    assert first == Event(
        channel="telegram",
        id="m1",
        kind="message",
        text="hi",
        user=User("ann", "ann"),
        conversation="club",
        address="club",
    )
    assert (second.user, second.thread, second.address) == (User("bob", "bob"), "t", "bob")


async def test_send_takes_any_event() -> None:
    async def welcome(context: Context) -> None:
        await context.send_text(f"{context.event.kind} {context.event.raw['by']}")

    async with Simulator(bot_that(welcome)) as chat:
        joined = Event(channel="simulator", kind="join", user=User("tim"), raw={"by": "ann"})
        assert await chat.send(joined) == ["join ann"]


async def test_each_person_has_a_session_and_a_state() -> None:
    async with Simulator(bot_that(count)) as chat:
        ann, bob = chat.person("ann"), chat.person("bob")
        assert await ann.say("x") == ["1"]
        assert await ann.say("x") == ["2"]
        assert await bob.say("x") == ["1"]
        assert await chat.say("x", user="ann", conversation="club") == ["1"]
        assert await ann.state() == {"n": 2}
        assert await chat.state(user="bob") == {"n": 1}
        assert await chat.state(user="ann", conversation="club") == {"n": 1}
        assert await chat.state() == {}


async def test_answers_go_to_whom_they_are_for_however_many_talk_at_once() -> None:
    gate = asyncio.Event()

    async def answer_late(context: Context) -> None:
        await context.send_text(f"heard {context.event.text}")
        await gate.wait()
        await context.send_text(f"answer {context.event.text}")

    async with Simulator(bot_that(answer_late)) as chat:
        texts = [str(n) for n in range(20)]
        # Four people: five events of each wait for one another, and the people do not.
        talks = [
            asyncio.create_task(chat.person(f"p{n % 4}").say(text)) for n, text in enumerate(texts)
        ]
        await until(lambda: len(chat._stage._events) == len(texts))
        gate.set()
        assert await asyncio.gather(*talks) == [[f"heard {n}", f"answer {n}"] for n in texts]


async def test_the_same_event_object_sent_twice_at_once_has_two_answers() -> None:
    async with Simulator(bot_that(count)) as chat:
        event = Event(channel="simulator", user=User("tim"), text="x")
        answers = await asyncio.gather(chat.send(event), chat.send(event))
        assert sorted(answers) == [["1"], ["2"]]


# Redelivery.


async def test_every_event_has_an_id_of_its_own_also_across_simulations() -> None:
    store = MemorySessionStore()
    for n in range(3):
        async with Simulator(bot_that(count), store=store) as chat:
            assert await chat.say("x") == [str(2 * n + 1)]
            assert await chat.say("x") == [str(2 * n + 2)]


async def test_redeliver_gives_the_last_event_again_which_changes_nothing() -> None:
    async with Simulator(bot_that(count)) as chat:
        assert await chat.say("x") == ["1"]
        outcomes = [chat.outcome]
        assert await chat.redeliver() == []
        outcomes.append(chat.outcome)
        assert outcomes == [Outcome.COMMITTED, Outcome.DUPLICATE]
        assert await chat.state() == {"n": 1}


async def test_an_id_that_is_given_twice_is_a_redelivery() -> None:
    async with Simulator(bot_that(count)) as chat:
        assert await chat.say("x", id="7") == ["1"]
        assert await chat.say("y", id="7") == []


async def test_there_is_nothing_to_redeliver_before_the_first_event() -> None:
    async with Simulator(bot_that(count)) as chat:
        with pytest.raises(LookupError, match="say something first"):
            await chat.redeliver()


# Errors.


async def test_an_exception_of_the_handler_comes_out_of_say() -> None:
    async with Simulator(bot_that(fail)) as chat:
        with pytest.raises(Broken, match="hello") as raised:
            await chat.say("hello")
        assert any(step.name == "fail" for step in raised.traceback)
        assert chat.outcome == Outcome.FAILED
        assert await chat.state() == {}


async def test_exceptions_come_out_where_they_belong_however_many_talk_at_once() -> None:
    async with Simulator(bot_that(fail)) as chat:
        talks = [chat.say(str(n), user=f"p{n % 2}") for n in range(6)]
        raised = await asyncio.gather(*talks, return_exceptions=True)
    assert [str(error) for error in raised] == [str(n) for n in range(6)]
    assert {type(error) for error in raised} == {Broken}


async def test_a_bot_with_an_on_error_keeps_its_exceptions_to_itself() -> None:
    bot = bot_that(fail)

    @bot.on_error
    async def apologise(context: Context, error: Exception) -> None:
        context.set_state(error=str(error))
        await context.send_text("Sorry")

    async with Simulator(bot) as chat:
        assert await chat.say("hello") == ["almost", "Sorry"]
        assert chat.outcome == Outcome.FAILED
        assert await chat.state() == {"error": "hello"}


async def test_a_handler_that_takes_too_long_comes_out_of_say() -> None:
    async def dawdle(context: Context) -> None:
        await asyncio.Event().wait()

    async with Simulator(bot_that(dawdle, handler_timeout=0.01)) as chat:
        with pytest.raises(HandlerTimeout):
            await chat.say("hello")


async def test_what_is_not_done_comes_out_of_say_and_may_come_again() -> None:
    attempts = []

    async def reluctant(context: Context) -> None:
        attempts.append(context.event.id)
        if len(attempts) == 1:
            raise Redeliver
        await count(context)

    async with Simulator(bot_that(reluctant)) as chat:
        with pytest.raises(Redeliver):
            await chat.say("x")
        assert chat.outcome is None
        assert await chat.redeliver() == ["1"]
    assert attempts[0] == attempts[1]


async def test_a_store_that_is_away_comes_out_of_say() -> None:
    store = ScriptedStore()
    store.script("checkout", "unavailable")
    async with Simulator(bot_that(count), store=store) as chat:
        with pytest.raises(SessionStoreUnavailable):
            await chat.say("x")
        assert await chat.redeliver() == ["1"]


async def test_nothing_can_be_said_outside_the_simulation() -> None:
    chat = Simulator(bot_that(count))
    with pytest.raises(BotNotRunning):
        await chat.say("x")
    async with chat:
        await chat.say("x")
    with pytest.raises(BotNotRunning):
        await chat.say("x")


# What else is sent.


async def test_other_things_that_are_sent_are_noted_as_text() -> None:
    async def show(context: Context) -> None:
        await context.typing()
        await context.send_image("cat.png", caption="Tom")
        await context.send_location(1.5, 2)

    async with Simulator(bot_that(show)) as chat:
        assert await chat.say("show") == [
            "[send_image] cat.png caption='Tom'",
            "[send_location] 1.5 2",
        ]


async def test_what_is_said_outside_events_is_kept_apart_with_its_address() -> None:
    bot = bot_that(count)
    async with Simulator(bot) as chat:
        await chat.say("x", user="ann", conversation="club")
        async with bot.conversation("simulator:club/ann") as context:
            await context.send_text("Time to go")
        async with bot.conversation("simulator:stranger") as context:
            await context.send_image("map.png")
        assert chat.sent == [
            Sent("simulator:club/ann", "club", "Time to go"),
            Sent("simulator:stranger", None, "[send_image] map.png"),
        ]


async def test_what_a_handler_says_to_somebody_else_is_no_answer() -> None:
    bot = Bot()

    @bot.on_event
    async def tell_on(context: Context) -> None:
        async with bot.conversation("simulator:teacher") as other:
            await other.send_text("It was him")
        await context.send_text("I said nothing")

    async with Simulator(bot) as chat:
        assert await chat.say("psst") == ["I said nothing"]
        assert [sent.text for sent in chat.sent] == ["It was him"]


async def test_the_client_of_the_platform_may_be_stood_in_for() -> None:
    async def ask_platform(context: Context) -> None:
        await context.send_text(context.client.name)

    bot = bot_that(ask_platform)
    async with Simulator(bot, client=SimpleNamespace(name="a stand-in")) as chat:
        assert await chat.say("who?") == ["a stand-in"]


# A world of its own.


@pytest.mark.parametrize("turn", ["first", "second"])
async def test_two_tests_of_one_bot_share_nothing(turn: str) -> None:
    async with Simulator(MODULE_BOT) as chat:
        assert await chat.say(turn) == ["Hi, what's your nickname?"]
        assert await chat.state() == {"asking": True, "nickname": None}


async def test_the_bot_gets_everything_back_and_its_own_store_is_not_touched() -> None:
    store = ScriptedStore()
    bot = ConsoleBot(session_store=store)
    bot.on_event(count)
    own = dict(vars(bot))
    async with Simulator(bot) as chat:
        await chat.say("x")
    assert {name: vars(bot)[name] for name in own} == {**own, "_chain": bot._chain}
    assert store.calls == []


async def test_the_bot_gets_everything_back_when_its_start_fails() -> None:
    class Away(MemorySessionStore):
        async def init(self) -> NoReturn:
            message = "nobody there"
            raise SessionStoreUnavailable(message)

    bot = bot_that(count)
    own = bot._store
    with pytest.raises(SessionStoreUnavailable):
        await Simulator(bot, store=Away()).__aenter__()
    assert bot._store is own
    async with Simulator(bot) as chat:
        assert await chat.say("x") == ["1"]


async def test_the_bot_gets_everything_back_when_the_test_fails() -> None:
    bot = bot_that(count)
    own = bot._store
    with pytest.raises(Broken):
        async with Simulator(bot):
            raise Broken
    assert bot._store is own


async def test_a_bot_that_runs_cannot_be_simulated() -> None:
    bot = bot_that(count)
    async with bot:
        with pytest.raises(ConfigurationError, match="Stop it first"):
            await Simulator(bot).__aenter__()


async def test_the_channels_of_the_bot_are_neither_started_nor_spoken_through() -> None:
    class Loud(Channel):
        name = "loud"
        used = False

        async def start(self) -> None:
            self.used = True

        async def send_text(self, context: Context, text: str) -> None:
            self.used = True

    loud = Loud()
    bot = bot_that(count, channels=[loud])
    async with Simulator(bot) as chat:
        assert await chat.send(Event(channel="loud", user=User("tim"), text="x")) == ["1"]
        assert await chat.say("x") == ["1"]
    assert not loud.used


async def test_a_channels_name_that_cannot_be_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="channel's name"):
        Simulator(bot_that(count), channel="a:b")


async def test_a_store_may_outlive_the_simulation(tmp_path: Path) -> None:
    url = f"file:{tmp_path / 'sessions'}"
    async with Simulator(bot_that(count), store=url) as chat:
        assert await chat.say("x") == ["1"]
    async with Simulator(bot_that(count), store=FileSessionStore(tmp_path / "sessions")) as chat:
        assert await chat.say("x") == ["2"]


async def test_an_empty_store_that_is_given_is_used() -> None:
    store = MemorySessionStore()
    async with Simulator(bot_that(count), store=store) as chat:
        await chat.say("x")
    assert len(store) == 1


# Time.


async def test_a_session_expires_when_the_clock_says_so() -> None:
    bot = bot_that(count, session_store=MemorySessionStore(expires_in=timedelta(hours=1)))
    async with Simulator(bot) as chat:
        assert await chat.say("x") == ["1"]
        chat.clock.advance(hours=1)
        assert await chat.say("x") == ["2"]
        chat.clock.advance(hours=1, minutes=2)
        assert await chat.say("x") == ["1"]


async def test_looking_at_a_state_is_no_activity() -> None:
    bot = bot_that(count, session_store=MemorySessionStore(expires_in=timedelta(hours=1)))
    async with Simulator(bot) as chat:
        await chat.say("x")
        chat.clock.advance(minutes=50)
        assert await chat.state() == {"n": 1}
        chat.clock.advance(minutes=50)
        assert await chat.state() == {}


async def test_the_state_is_a_copy() -> None:
    async with Simulator(bot_that(count)) as chat:
        await chat.say("x")
        state = await chat.state()
        state["n"] = 7
        assert await chat.state() == {"n": 1}


async def test_the_bot_is_told_the_time_of_the_clock() -> None:
    moments: list[datetime] = []

    async def look(context: Context) -> None:
        moments.append(context.session.created_at)

    async with Simulator(bot_that(look), clock=Clock(1000)) as chat:
        await chat.say("x")
    assert moments == [datetime(1970, 1, 1, 0, 16, 40, tzinfo=UTC)]


def test_a_clock_stands_still_until_it_is_moved() -> None:
    clock = Clock()
    assert clock() == datetime(2100, 1, 1, 12, tzinfo=UTC).timestamp()
    assert clock() == clock()
    assert repr(clock) == "<Clock at 2100-01-01 12:00:00 UTC>"


def test_a_clock_moves_by_what_it_is_told() -> None:
    clock = Clock(at=0)
    clock.advance(1.5)
    assert clock() == 1.5
    clock.advance(timedelta(minutes=1))
    assert clock() == 61.5
    clock.advance(days=1, hours=1, minutes=1, seconds=1)
    assert clock() == 61.5 + 86400 + 3600 + 60 + 1
    clock.advance(hours=-26)
    assert clock() < 0


# In a script.


def test_it_works_in_a_plain_script() -> None:
    async def talk() -> list[str]:
        async with Simulator(MODULE_BOT) as chat:
            return [*await chat.say("Hi"), *await chat.say("Tim")]

    assert asyncio.run(talk()) == ["Hi, what's your nickname?", "Hello Tim"]


async def test_it_tells_what_it_is() -> None:
    chat = Simulator(counting_bot(), channel="line")
    assert repr(chat) == "<Simulator of <Bot on no channel>>"
    assert repr(chat.person("ann")) == "<Person 'ann'>"
    assert chat.channel == "line"


def test_the_names_of_the_package_are_loaded_when_asked_for() -> None:
    loaded = {name: getattr(barback.testing, name) for name in barback.testing.__all__}
    assert {name: kind.__name__ for name, kind in loaded.items()} == {
        name: name for name in barback.testing.__all__
    }
    with pytest.raises(AttributeError, match="Simulater"):
        _ = barback.testing.Simulater  # type: ignore[attr-defined]  # which is the point
