"""Which of a bot's handlers an event is for."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barback import (
    Bot,
    ConfigurationError,
    Context,
    Event,
    HandlerRefused,
    Outcome,
    TelegramChannel,
    User,
)
from barback.testing import FakeTelegram
from tests.scripted import event, state_of

Decorators = Callable[[Bot], Any]


def noting(*decorators: Decorators, **options: Any) -> Bot:
    """A bot with a handler for each of these, which notes that it was called, and with what."""
    bot = Bot(initial_state={"taken": []}, **options)
    for number, decorator in enumerate(decorators):
        decorator(bot)(taker(number))
    return bot


def taker(number: int) -> Callable[[Context], Awaitable[None]]:
    async def take(context: Context) -> None:
        found = context.match[0] if context.match else None
        context.state["taken"].append([number, found, context.arguments])

    return take


async def taken(bot: Bot, *events: Event) -> list[Any]:
    """What took each of them, all in one session."""
    async with bot:
        for each in events:
            await bot.handle(each)
        return list((await state_of(bot))["taken"])


# Commands.


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ("/start", ""),
        ("/start ", ""),
        ("/start Tim", "Tim"),
        ("/start  Tim and\nAnn\n", "Tim and\nAnn"),
        ("/start\nTim", "Tim"),
        ("/start@this_bot", ""),
        ("/start@this_bot Tim", "Tim"),
        ("/START Tim", "Tim"),
        ("/start /start", "/start"),
        ("/start \0", "\0"),
    ],
)
async def test_a_command_is_taken_with_what_follows(text: str, arguments: str) -> None:
    bot = noting(lambda bot: bot.command("start"))
    assert await taken(bot, event(text=text)) == [[0, None, arguments]]


@pytest.mark.parametrize(
    "text",
    [
        *("start", " /start", "/starter", "/star", "/start.", "/ start", "//start", "/start@"),
        *("/start@this_bot@other", "/start/x", "/\u017ftart", "\\start", "/", "", None),
        pytest.param("/start" + "t" * 100_000, id="long"),
    ],
)
async def test_what_is_no_command_is_left_to_the_others(text: str | None) -> None:
    bot = noting(lambda bot: bot.command("start"), lambda bot: bot.on_event)
    assert await taken(bot, event(text=text)) == [[1, None, ""]]


async def test_commands_are_told_apart_by_their_whole_names() -> None:
    names = ["a", "a-b", "a.b", "a_b", "B7"]
    bot = noting(*(lambda bot, name=name: bot.command(name) for name in names))
    texts = ["/a_b 3", "/a.b 2", "/a-b 1", "/b7@bot 4", "/a 0", "/ab", "/"]
    assert await taken(bot, *(event(text=text) for text in texts)) == [
        [3, None, "3"],
        [2, None, "2"],
        [1, None, "1"],
        [4, None, "4"],
        [0, None, "0"],
    ]


@pytest.mark.parametrize("kind", ["edited_message", "inline_query", "channel_post"])
async def test_only_what_is_said_or_pressed_is_a_command_or_a_text(kind: str) -> None:
    bot = noting(
        lambda bot: bot.command("start"),
        lambda bot: bot.on_text(),
        lambda bot: bot.on_payload(),
        lambda bot: bot.on_kind("message", kind),
    )
    assert await taken(bot, event(kind=kind, text="/start", payload="x")) == [[3, None, ""]]


async def test_a_platform_may_have_a_kind_of_event_for_commands() -> None:
    bot = noting(lambda bot: bot.on_text(), lambda bot: bot.command("weather"))
    said = event(kind="command", text="/weather 94070")
    assert await taken(bot, said) == [[1, None, "94070"]]


async def test_a_command_for_another_bot_is_none() -> None:
    async with FakeTelegram() as telegram:
        channel = telegram.channel(username="@Shop_bot")
        bot = noting(lambda bot: bot.command("start"), lambda bot: bot.on_event, channels=[channel])
        async with bot:
            for text in ("/start", "/start@shop_bot a", "/start@SHOP_BOT", "/start@other_bot"):
                update = telegram.update(message=telegram.message(text=text))
                told = channel.event_of(update)
                assert told is not None
                await bot.handle(told)
            found = (await state_of(bot, "telegram:42"))["taken"]
    assert found == [[0, None, ""], [0, None, "a"], [0, None, ""], [1, None, ""]]


def test_telegram_is_told_the_bots_name_by_the_environment() -> None:
    environ = {"TELEGRAM_TOKEN": "1:a"}
    assert TelegramChannel.from_environment(environ).username is None
    environ["TELEGRAM_USERNAME"] = "@shop_bot"
    assert TelegramChannel.from_environment(environ).username == "shop_bot"


# Routes.


async def test_a_text_is_searched_and_what_was_found_is_there() -> None:
    bot = noting(
        lambda bot: bot.on_text(r"^hi"),
        lambda bot: bot.on_text(re.compile(r"\bBYE\b", re.IGNORECASE)),
        lambda bot: bot.on_text(r"(?P<n>\d+)"),
        lambda bot: bot.on_text(),
    )
    texts = ["hi there", "Hi there", "good bye", "goodbye", "in 7 days", "", "a\nhi"]
    assert await taken(bot, *(event(text=text) for text in texts)) == [
        [0, "hi", ""],
        [3, None, ""],
        [1, "bye", ""],
        [3, None, ""],
        [2, "7", ""],
        [3, None, ""],
        [3, None, ""],
    ]


async def test_a_payload_is_searched_likewise() -> None:
    bot = noting(
        lambda bot: bot.on_payload(r"^buy:(\d+)\Z"),
        lambda bot: bot.on_payload(),
        lambda bot: bot.on_text(),
    )
    events = [
        event(kind="payload", payload="buy:7"),
        event(kind="payload", payload="sell:7"),
        event(payload="buy:8", text="Buy"),  # as a quick reply may be
        event(text="buy:7"),
    ]
    assert await taken(bot, *events) == [
        [0, "buy:7", ""],
        [1, None, ""],
        [0, "buy:8", ""],
        [2, None, ""],
    ]


async def test_an_empty_match_is_a_match() -> None:
    bot = noting(lambda bot: bot.on_text(r"^"), lambda bot: bot.on_text())
    assert await taken(bot, event(text="hi"), event(text="")) == [[0, "", ""]] * 2


async def test_kinds_are_taken_by_their_names() -> None:
    bot = noting(lambda bot: bot.on_kind("join", "leave"), lambda bot: bot.on_kind("poll"))
    events = [event(kind=kind) for kind in ("poll", "join", "other", "leave", "message")]
    assert [number for number, *_ in await taken(bot, *events)] == [1, 0, 0]


async def test_the_first_that_was_registered_takes_it() -> None:
    orders = [[0, 1, 2], [2, 1, 0], [1, 2, 0]]
    ways: list[Decorators] = [
        lambda bot: bot.on_text(),
        lambda bot: bot.on_text(r"hi"),
        lambda bot: bot.on_kind("message"),
    ]
    for order in orders:
        bot = noting(*(ways[way] for way in order))
        ((number, *_),) = await taken(bot, event(text="hi"))
        assert number == 0


async def test_a_channel_may_have_handlers_of_its_own() -> None:
    bot = noting(
        lambda bot: bot.command("start", channel="test"),
        lambda bot: bot.command("start"),
        lambda bot: bot.on_text(channel="other"),
        lambda bot: bot.on_text(channel="test"),
        lambda bot: bot.on_payload(channel="other"),
        lambda bot: bot.on_kind("payload", channel="test"),
        lambda bot: bot.on_event,
        scope=lambda event: "tim",
    )
    other = Event(channel="other", user=User("tim"), text="/start")
    async with bot:
        for text in ("/start", "Hi"):
            await bot.handle(event(text=text))
            await bot.handle(Event(channel="other", user=User("tim"), text=text))
        for channel in ("test", "other"):
            await bot.handle(Event(channel=channel, user=User("tim"), kind="payload", payload="x"))
        here, there = await state_of(bot), await state_of(bot, bot.session_id(other))
    assert [number for number, *_ in here["taken"]] == [0, 3, 5]
    assert [number for number, *_ in there["taken"]] == [1, 2, 4]


async def test_one_handler_may_stand_under_several() -> None:
    bot = Bot(initial_state={"taken": []})

    @bot.command("hello")
    @bot.on_text(r"^hi")
    @bot.on_kind("join")
    @bot.on_event
    async def greet(context: Context) -> None:
        context.state["taken"].append(context.match is not None)

    events = [event(text="/hello"), event(text="hi"), event(kind="join"), event(text="bye")]
    assert await taken(bot, *events) == [False, True, False, False]


# What is left, and what stands around.


async def test_what_nothing_takes_goes_by_and_leaves_no_trace() -> None:
    bot = noting(lambda bot: bot.on_text(r"^hi"))
    async with bot:
        assert await bot.handle(event(text="bye")) == Outcome.UNCHANGED
        assert await bot.handle(event(kind="join")) == Outcome.UNCHANGED
        async with bot.conversation("test:tim") as context:
            assert context.session.is_new


async def test_on_event_has_what_is_left() -> None:
    bot = noting(lambda bot: bot.on_event, lambda bot: bot.on_text(r"^hi"))
    events = [event(text="hi"), event(text="bye"), event(kind="join")]
    assert [number for number, *_ in await taken(bot, *events)] == [1, 0, 0]


async def test_middleware_stands_around_all_of_it() -> None:
    bot, seen = noting(lambda bot: bot.command("a"), lambda bot: bot.on_text(r"hi")), []

    @bot.use
    async def look(context: Context, call_next: Callable[[Context], Awaitable[None]]) -> None:
        before = context.match, context.arguments
        await call_next(context)
        seen.append((before, context.match and context.match[0], context.arguments))

    await taken(bot, event(text="/a b"), event(text="hi"), event(kind="join"))
    assert seen == [((None, ""), None, "b"), ((None, ""), "hi", ""), ((None, ""), None, "")]


async def test_a_middleware_that_goes_on_twice_finds_each_time_what_is_so() -> None:
    bot = noting(lambda bot: bot.on_text(r"hi"), lambda bot: bot.on_event)

    @bot.step("second")
    async def second(context: Context) -> None:
        context.state["taken"].append(["second", context.match, context.arguments])

    @bot.use
    async def twice(context: Context, call_next: Callable[[Context], Awaitable[None]]) -> None:
        await call_next(context)
        context.next_step("second")
        await call_next(context)

    assert await taken(bot, event(text="hi")) == [[0, "hi", ""], ["second", None, ""]]


async def test_an_error_of_any_of_them_is_on_errors() -> None:
    bot, errors = Bot(), []

    @bot.command("fail")
    @bot.on_text(r"fail")
    async def fail(context: Context) -> None:
        context.set_state(n=1)
        raise ValueError

    @bot.on_error
    async def on_error(context: Context, error: Exception) -> None:
        errors.append((context.state, context.match, context.arguments))

    async with bot:
        assert await bot.handle(event(text="/fail")) == Outcome.FAILED
        assert await bot.handle(event(text="to fail")) == Outcome.FAILED
    assert errors == [({}, None, "")] * 2


async def test_a_bot_needs_one_handler_of_any_sort() -> None:
    async def handler(context: Context) -> None: ...

    decorators: list[Decorators] = [
        lambda bot: bot.command("a"),
        lambda bot: bot.step("a"),
        lambda bot: bot.on_text(),
        lambda bot: bot.on_payload(),
        lambda bot: bot.on_kind("join"),
    ]
    for decorator in decorators:
        async with Bot() as bot:
            with pytest.raises(ConfigurationError, match="no handler"):
                await bot.handle(event(text="hi"))
            decorator(bot)(handler)  # and while it runs, as on_event
            assert await bot.handle(event(text="other")) == Outcome.UNCHANGED


def test_a_bot_with_on_event_alone_has_nothing_before_it() -> None:
    bot = Bot()

    @bot.on_event
    async def handler(context: Context) -> None: ...

    assert bot._linked() is bot._handler


# Mistakes.


async def nothing(context: Context) -> None: ...


MISTAKES: dict[str, Callable[[Any], Any]] = {
    "command with a slash": lambda bot: bot.command("/start"),
    "nothing": lambda bot: bot.command(""),
    "two words": lambda bot: bot.command("two words"),
    "too long": lambda bot: bot.command("a" * 65),
    "other letters": lambda bot: bot.command("größe"),
    "a command without parentheses": lambda bot: bot.command(nothing),
    "no channel": lambda bot: bot.command("a", channel="no channel"),
    "a text without parentheses": lambda bot: bot.on_text(nothing),
    "no pattern": lambda bot: bot.on_text("("),
    "no bounds": lambda bot: bot.on_text("a{1,99999999999999999999}"),
    "bytes": lambda bot: bot.on_text(re.compile(b"bytes")),
    "a number": lambda bot: bot.on_text(7),
    "a payload without parentheses": lambda bot: bot.on_payload(nothing),
    "no set": lambda bot: bot.on_payload("["),
    "no kinds": lambda bot: bot.on_kind(),
    "kinds without parentheses": lambda bot: bot.on_kind(nothing),
    "an empty kind": lambda bot: bot.on_kind("join", ""),
    "an empty channel": lambda bot: bot.on_kind("join", channel=""),
    "not async": lambda bot: bot.on_text()(lambda context: None),
    "taken": lambda bot: bot.command("taken")(nothing),
    "taken in capitals": lambda bot: bot.command("TAKEN")(nothing),
    "taken on every channel": lambda bot: bot.command("taken", channel="test")(nothing),
}


@pytest.mark.parametrize("wrong", MISTAKES.values(), ids=MISTAKES)
def test_what_cannot_work_is_refused_as_it_is_registered(wrong: Callable[[Any], Any]) -> None:
    bot = Bot()
    bot.command("taken")(nothing)
    commands, routes = [*bot._router._commands], [*bot._router._routes]
    with pytest.raises(ConfigurationError):
        wrong(bot)
    assert (bot._router._commands, bot._router._routes) == (commands, routes)


def test_a_decorator_without_its_parentheses_says_so() -> None:
    with pytest.raises(ConfigurationError, match=r"@bot\.on_text\(\) is for any text"):
        Bot().on_text(nothing)  # type: ignore[arg-type]
    with pytest.raises(HandlerRefused, match="Put `async` before its `def`"):
        Bot().on_text()(lambda context: None)  # type: ignore[type-var]


# Whatever a bot is made of, the order is that of a model of a few lines.


class Given(NamedTuple):
    """What one handler stands under."""

    sort: str
    what: Any = None
    channel: str | None = None


CHANNELS = st.sampled_from([None, "one", "two"])
PATTERNS = st.sampled_from([None, "i", "^h", "yes|no"])
GIVEN = st.one_of(
    st.builds(Given, st.just("command"), st.sampled_from(["a", "b", "A"]), CHANNELS),
    st.builds(Given, st.sampled_from(["text", "payload"]), PATTERNS, CHANNELS),
    st.builds(
        Given,
        st.just("kind"),
        st.lists(st.sampled_from(["message", "payload", "join"]), min_size=1, unique=True),
        CHANNELS,
    ),
    st.builds(Given, st.just("step"), st.sampled_from(["first", "second"]), st.none()),
    st.just(Given("event")),
)
EVENTS = st.builds(
    Event,
    channel=st.sampled_from(["one", "two"]),
    kind=st.sampled_from(["message", "payload", "join", "edited_message"]),
    text=st.sampled_from([None, "hi", "bye", "/a", "/B x", "/a@bot", "/c", "/hi a", ""]),
    payload=st.sampled_from([None, "yes", "no", "hint"]),
    user=st.just(User("tim")),
)
STEPS = st.sampled_from([None, "first", "second", "gone"])


def decorated(bot: Bot, given: Given) -> Any:
    match given.sort:
        case "command":
            return bot.command(given.what, channel=given.channel)
        case "text":
            return bot.on_text(given.what, channel=given.channel)
        case "payload":
            return bot.on_payload(given.what, channel=given.channel)
        case "kind":
            return bot.on_kind(*given.what, channel=given.channel)
        case "step":
            return bot.step(given.what)
        case _:
            return bot.on_event


def never_reached(given: Given, before: list[Given]) -> bool:
    """Whether it is refused, for what was registered before it."""
    if given.sort == "command":
        return any(
            one.what.lower() == given.what.lower() and one.channel in (None, given.channel)
            for one in before
            if one.sort == "command"
        )
    return given.sort in ("step", "event") and given in before


def expected(registered: list[Given], event: Event, step: str | None) -> int | None:
    """The number of who takes an event of a session at a step; None: nobody."""
    talk = event.kind in ("message", "payload")
    numbered = [
        (number, one)
        for number, one in enumerate(registered)
        if one.channel is None or one.channel == event.channel
    ]
    if talk and event.text is not None and event.text.startswith("/"):
        command = event.text.split()[0][1:].split("@")[0].lower()
        for number, one in numbered:
            if one.sort == "command" and one.what.lower() == command:
                return number
    if talk:
        for number, one in numbered:
            if one.sort == "step" and one.what == step:
                return number
    for number, one in numbered:
        if one.sort == "kind" and event.kind in one.what:
            return number
        said = {"text": event.text, "payload": event.payload}.get(one.sort)
        if talk and said is not None and (one.what is None or re.search(one.what, said)):
            return number
    return next((number for number, one in numbered if one.sort == "event"), None)


@settings(max_examples=300)
@given(given=st.lists(GIVEN, max_size=8), events=st.lists(st.tuples(EVENTS, STEPS), max_size=6))
def test_whoever_the_model_says_takes_an_event(
    given: list[Given], events: list[tuple[Event, str | None]]
) -> None:
    bot, registered, found = Bot(), list[Given](), list[int | None]()

    def noting_that(number: int) -> Callable[[Context], Awaitable[None]]:
        async def take(context: Context) -> None:
            found[-1] = number

        return take

    for one in given:
        handler = noting_that(len(registered))
        if never_reached(one, registered):
            with pytest.raises(HandlerRefused):
                decorated(bot, one)(handler)
        else:
            decorated(bot, one)(handler)
            registered.append(one)
    if not registered:
        return

    async def handled() -> None:
        async with bot:
            for event, step in events:
                async with bot.conversation(bot.session_id(event)) as context:
                    context._draft.step = step  # "gone" is none of the bot's
                found.append(None)
                await bot.handle(event)

    asyncio.run(handled())
    assert found == [expected(registered, event, step) for event, step in events]
