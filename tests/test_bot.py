"""Putting a bot together, starting it and stopping it."""

from __future__ import annotations

import asyncio
import functools
import os
import pickle
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from importlib.metadata import requires
from pathlib import Path
from typing import Any

import pytest

import barback
from barback import (
    BarbackError,
    Bot,
    BotNotRunning,
    CannotSend,
    Channel,
    ConfigurationError,
    Context,
    Event,
    FileSessionStore,
    HandlerRefused,
    LocalLeases,
    MemorySessionStore,
    Outcome,
    SessionStoreUnavailable,
    TurnEnded,
    User,
    open_store,
)
from tests.scripted import ScriptedStore, counting_bot, event, state_of, until
from tests.unmeasured import unmeasured


class Diary(Channel):
    """A channel that writes down what is sent."""

    def __init__(self, name: str = "test") -> None:
        self.name = name
        self.client = {"the": "client"}
        self.sent: list[object] = []

    def __repr__(self) -> str:
        return f"Diary({self.name!r})"

    async def start(self) -> None:
        self.sent.append("start")

    async def stop(self) -> None:
        self.sent.append("stop")

    async def send_text(self, context: Context, text: str) -> None:
        self.sent.append((context.address, text))

    async def typing(self, context: Context) -> None:
        self.sent.append("typing")

    async def send_photo(self, context: Context, url: str, *, width: int = 0) -> str:
        self.sent.append((context.event.channel, url, width))
        return "message id"


# Handlers.


def plain(context: Context) -> None: ...


@pytest.mark.parametrize("register", ["on_event", "on_error", "use"])
@pytest.mark.parametrize("function", [plain, lambda context: None, functools.partial(plain), 5])
def test_what_is_not_async_is_refused_when_it_is_registered(register: str, function: Any) -> None:
    with pytest.raises(HandlerRefused, match="Put `async` before its `def`"):
        getattr(Bot(), register)(function)


class AsyncObject:
    async def __call__(self, context: Context) -> None:
        context.set_state(called=True)


async def awaited(extra: int, context: Context) -> None:
    context.set_state(called=bool(extra))


@pytest.mark.parametrize("handler", [AsyncObject(), functools.partial(awaited, 1)])
async def test_anything_async_is_a_handler(handler: Any) -> None:
    bot = Bot()
    assert bot.on_event(handler) is handler
    async with bot:
        await bot.handle(event())
        assert await state_of(bot) == {"called": True}


def test_a_second_handler_is_refused_with_the_remedy() -> None:
    with pytest.raises(HandlerRefused, match="Handle every event in one"):
        counting_bot().on_event(AsyncObject())


def test_a_second_on_error_is_refused() -> None:
    bot = Bot()

    @bot.on_error
    async def first(context: Context, error: Exception) -> None: ...

    with pytest.raises(HandlerRefused):
        bot.on_error(first)


async def test_a_bot_without_a_handler_says_so() -> None:
    async with Bot() as bot:
        with pytest.raises(ConfigurationError, match=r"@bot\.on_event"):
            await bot.handle(event())


async def test_middleware_goes_around_the_handler_the_first_outermost() -> None:
    bot = Bot()
    steps: list[str] = []

    @bot.use
    async def outer(context: Context, call_next: Any) -> None:
        steps.append("outer in")
        await call_next(context)
        steps.append("outer out")

    @bot.use
    async def inner(context: Context, call_next: Any) -> None:
        steps.append("inner in")
        if context.event.text != "stop":
            await call_next(context)
        steps.append("inner out")

    @bot.on_event
    async def handle(context: Context) -> None:
        steps.append("handler")

    async with bot:
        await bot.handle(event())
        await bot.handle(event(text="stop"))
    around = ["outer in", "inner in", "handler", "inner out", "outer out"]
    assert steps == [*around, *(step for step in around if step != "handler")]


# Options.


@pytest.mark.parametrize(
    "options",
    [
        {"handler_timeout": 0},
        {"handler_timeout": "5"},
        {"handler_timeout": True},
        {"shutdown_timeout": -1},
        {"shutdown_timeout": timedelta(0)},
        {"max_concurrency": 0},
        {"max_concurrency": 1.5},
        {"max_waiting": 0},
        {"max_waiting_for_one": "many"},
        {"dedupe": "never"},
        {"dedupe_limit": 0},
        {"dedupe_for": float("nan")},
        {"scope": "person"},
        {"scope": 5},
        {"namespace": "a/b"},
        {"namespace": "a:b"},
        {"namespace": "x" * 65},
        {"initial_state": 5},
        {"initial_state": [1]},
        {"session_store": 5},
        {"session_store": {}},
        {"session_store": "nonsense://"},
        {"session_store": "nonsense"},
        {"channels": [5]},
        {"channels": [Diary(), Diary()]},
        {"channels": [Diary("a:b")]},
        {"channels": [Diary("")]},
    ],
    ids=str,
)
def test_options_that_cannot_work_are_refused_when_the_bot_is_made(options: Any) -> None:
    with pytest.raises(ConfigurationError):
        Bot(**options)


@pytest.mark.parametrize("timeout", [None, 5, 0.5, timedelta(minutes=1)])
def test_a_handler_timeout_is_seconds_a_timedelta_or_none(timeout: Any) -> None:
    assert isinstance(Bot(handler_timeout=timeout), Bot)


def test_a_custom_driver_of_four_methods_gets_leases_by_itself() -> None:
    class Driver(barback.SessionStore):
        async def init(self) -> Driver:
            return self

        async def read(self, session_id: str) -> None: ...

        async def write(self, session_id: str, record: barback.Record) -> None: ...

        async def destroy(self, session_id: str) -> None: ...

    assert isinstance(Bot(session_store=Driver())._store, LocalLeases)


def test_an_unknown_kind_of_store_names_the_known_and_hides_the_rest() -> None:
    with pytest.raises(ConfigurationError) as raised:
        open_store("mystery://tim:hunter2@host/0")
    assert "'mystery'" in str(raised.value)
    assert "file, memory" in str(raised.value)
    assert "hunter2" not in str(raised.value)


# Starting and stopping.


async def test_a_bot_that_does_not_run_takes_no_events() -> None:
    bot = counting_bot()
    with pytest.raises(BotNotRunning, match="async with bot"):
        await bot.handle(event())
    async with bot:
        await bot.handle(event())
    with pytest.raises(BotNotRunning):
        async with bot.conversation("test:tim"):
            raise AssertionError


async def test_a_bot_runs_once_at_a_time_and_may_run_again() -> None:
    bot = counting_bot()
    async with bot:
        await bot.handle(event())
        with pytest.raises(ConfigurationError, match="while the bot runs"):
            async with bot:
                raise AssertionError
        with pytest.raises(ConfigurationError):
            bot.add_channel(Diary())
    async with bot:
        await bot.handle(event())
        assert await state_of(bot) == {"n": 2}


def test_a_bot_may_run_in_one_event_loop_after_another() -> None:
    bot = counting_bot()

    async def come() -> Outcome:
        async with bot:
            return await bot.handle(event())

    assert [asyncio.run(come()) for _ in range(2)] == [Outcome.COMMITTED] * 2


async def test_two_bots_on_one_store_close_it_when_both_have_ended() -> None:
    closed = []

    class Closing(MemorySessionStore):
        async def close(self) -> None:
            closed.append(True)

    store = Closing()
    async with counting_bot(session_store=store):
        async with counting_bot(session_store=store):
            pass
        assert closed == []
    assert closed == [True]


async def test_a_store_that_is_open_already_is_left_open() -> None:
    closed = []

    class Closing(MemorySessionStore):
        async def close(self) -> None:
            closed.append(True)

    async with Closing() as store:
        async with counting_bot(session_store=store) as bot:
            await bot.handle(event())
        assert closed == []
    assert closed == [True]


async def test_a_store_that_cannot_open_leaves_the_bot_stopped_and_nothing_open() -> None:
    class Refusing(MemorySessionStore):
        async def init(self) -> Refusing:
            raise SessionStoreUnavailable("no")

    diary = Diary()
    bot = counting_bot(session_store=Refusing(), channels=[diary])
    for _ in range(2):
        with pytest.raises(SessionStoreUnavailable):
            await bot.__aenter__()
    assert diary.sent == []


async def test_a_channel_that_cannot_start_closes_what_was_opened_before() -> None:
    class Broken(Diary):
        async def start(self) -> None:
            raise OSError("no network")

    diary, broken = Diary("a"), Broken("b")
    store = ScriptedStore()
    bot = counting_bot(session_store=store, channels=[diary, broken])
    with pytest.raises(OSError, match="no network"):
        await bot.__aenter__()
    assert diary.sent == ["start", "stop"]
    assert store._users == 0


async def test_shutdown_lets_running_turns_end_and_takes_no_more() -> None:
    go_on = asyncio.Event()
    bot = Bot()

    @bot.on_event
    async def wait(context: Context) -> None:
        await go_on.wait()
        async with bot.conversation("test:other") as other:  # inside a turn: still allowed
            other.set_state(told=True)
        context.set_state(done=True)

    await bot.__aenter__()
    turns = bot._turns
    turn = asyncio.create_task(bot.handle(event()))
    await asyncio.sleep(0)
    stopping = asyncio.create_task(bot.__aexit__(None, None, None))
    await asyncio.sleep(0)
    with pytest.raises(BotNotRunning, match="shutting down"):
        await bot.handle(event("ann"))
    assert not stopping.done()
    go_on.set()
    await stopping
    assert turn.done()
    assert await turn == Outcome.COMMITTED
    assert turns is not None
    async with bot:
        assert await state_of(bot, "test:other") == {"told": True}


async def test_turns_that_do_not_end_in_time_are_cancelled_and_not_done() -> None:
    store = ScriptedStore()
    bot = Bot(session_store=store, shutdown_timeout=0.01)

    @bot.on_event
    async def wait(context: Context) -> None:
        context.set_state(n=1)
        await asyncio.Event().wait()

    async with bot:
        turns = [asyncio.create_task(bot.handle(event())) for _ in range(3)]
        await until(lambda: "checkout" in store.answered)
    for turn in turns:
        with pytest.raises(BotNotRunning, match="Deliver the event again"):
            await turn
    assert store.is_free("test:tim")
    assert "commit" not in store.calls


async def test_a_handler_that_never_ends_does_not_hold_up_the_shutdown_for_ever(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bot = Bot(shutdown_timeout=0.01)
    end = asyncio.Event()

    @bot.on_event
    async def stubborn(context: Context) -> None:
        while not end.is_set():
            try:
                await end.wait()
            except asyncio.CancelledError:
                continue

    bot._rules = type(bot._rules)(patience=0.01)
    async with bot:
        turn = asyncio.create_task(bot.handle(event()))
        await asyncio.sleep(0)
    assert "1 sessions were still in a turn" in caplog.text
    end.set()
    with pytest.raises(BotNotRunning):
        await turn


def test_a_bot_with_nothing_to_serve_says_so() -> None:
    with pytest.raises(ConfigurationError, match="ConsoleBot"):
        counting_bot().run()


SERVE = """
import asyncio, os, signal, sys
from barback import Bot, Context, Event, ServingChannel, User

class Forever(ServingChannel):
    name = "test"

    async def send_text(self, context, text): ...

    async def serve(self, bot):
        await bot.handle(Event(channel="test", user=User("tim")))
        print("serving", flush=True)
        await asyncio.Event().wait()

    async def stop(self):
        print("stopped", flush=True)

bot = Bot(channels=[Forever()])

@bot.on_event
async def handle(context): ...

bot.run()
print("ended", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_bot_in_good_order(number: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", SERVE], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "serving\n"
        os.kill(process.pid, number)
        out, err = process.communicate(timeout=30)
    assert (out, err, process.returncode) == ("stopped\nended\n", "", 0)


# The context.


async def test_replies_go_through_the_channel_to_the_events_address() -> None:
    diary = Diary()
    bot = Bot(channels=[diary])
    answers = []

    @bot.on_event
    async def reply(context: Context) -> None:
        await context.typing()
        await context.send_text("hello")
        answers.append(await context.send_photo("cat.png", width=3))
        answers.append(context.client)
        assert context.channel is diary
        with pytest.raises(AttributeError, match="no send_hologram"):
            await context.send_hologram()
        with pytest.raises(AttributeError, match="'Context' object has no attribute 'nonsense'"):
            context.nonsense  # noqa: B018

    async with bot:
        await bot.handle(event(address="room 5"))
    assert answers == ["message id", {"the": "client"}]
    assert diary.sent == [
        "start",
        "typing",
        ("room 5", "hello"),
        ("test", "cat.png", 3),
        "stop",
    ]


async def test_a_conversation_speaks_to_the_address_the_session_keeps() -> None:
    diary = Diary()
    bot = counting_bot(channels=[diary])
    async with bot:
        await bot.handle(event(address="room 5"))
        async with bot.conversation("test:tim") as context:
            await context.send_text("reminder")
        with pytest.raises(TurnEnded):
            await context.send_text("too late")
    assert ("room 5", "reminder") in diary.sent
    assert "too late" not in str(diary.sent)


async def test_without_a_channel_there_is_no_way_to_send() -> None:
    async with Bot() as bot, bot.conversation("test:tim") as context:
        with pytest.raises(CannotSend, match="no channel 'test'"):
            await context.send_text("hello")


async def test_the_record_knows_whose_session_it_is() -> None:
    store = MemorySessionStore()
    async with counting_bot(session_store=store, scope="conversation") as bot:
        for user in ("tim", "ann", "tim"):
            await bot.handle(event(user, conversation="pub"))
        assert store._records["test:pub/"].users == ("tim", "ann")


@pytest.mark.parametrize(
    ("kind", "is_talk"),
    [
        ("message", True),
        ("payload", True),
        ("command", False),
        ("edited_message", False),
        ("message_changed", False),
        ("inline_query", False),
        ("pre_checkout_query", False),
    ],
)
async def test_an_event_is_a_text_or_a_payload_where_routes_find_one(
    kind: str, *, is_talk: bool
) -> None:
    for part in ("text", "payload"):
        bot = Bot()
        found: list[bool] = []

        async def note(_: Context[Any], found: list[bool] = found) -> None:
            found.append(True)

        (bot.on_text() if part == "text" else bot.on_payload())(note)
        told = Event(channel="test", kind=kind, user=User("tim"), **{part: "tea"})
        async with bot:
            await bot.handle(told)
        expected = (is_talk and part == "text", is_talk and part == "payload")
        assert (told.is_text, told.is_payload) == expected
        assert bool(found) is is_talk


def test_an_event_says_what_it_is() -> None:
    said = Event(channel="test", text="", user=User("tim"))
    pressed = Event(channel="test", payload="BUY", raw={"id": 5})
    assert (said.is_text, said.is_payload) == (True, False)
    assert (pressed.is_text, pressed.is_payload) == (False, True)


# Expiry.


def at(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


async def test_a_session_ends_after_its_last_activity_and_a_new_one_begins() -> None:
    now = [1_000_000.0]
    store = MemorySessionStore(expires_in=10)
    async with counting_bot(session_store=store, clock=lambda: now[0]) as bot:
        await bot.handle(event())
        async with bot.conversation("test:tim") as context:
            session = context.session
            assert session.channel == "test"
            assert session.created_at == session.last_activity == at(1_000_000)
            assert session.expires_at == at(1_000_000 + 600 + 6)  # and the grain
        now[0] += 599
        await bot.handle(event())
        now[0] += 599
        assert await state_of(bot) == {"n": 2}
        async with bot.conversation("test:tim") as context:
            assert context.session.created_at == at(1_000_000)
        now[0] += 700
        assert await state_of(bot) == {"n": 0}
        async with bot.conversation("test:tim") as context:
            assert context.session.is_new
            assert context.session.created_at == at(now[0])


async def test_activity_that_changes_nothing_moves_the_expiry_once_a_grain() -> None:
    now = [1_000_000.0]
    store = ScriptedStore(MemorySessionStore(expires_in=10))
    store.expires_in = store.inner.expires_in
    bot = Bot(session_store=store, initial_state={"n": 0}, clock=lambda: now[0])

    @bot.on_event
    async def set_once(context: Context) -> None:
        context.set_state(n=1)

    async with bot:
        for _ in range(1000):
            await bot.handle(event())
            now[0] += 1
        assert store.calls.count("commit") == 1 + 142  # one in seven seconds: a grain is six
        now[0] += 598
        assert await state_of(bot) == {"n": 1}


async def test_what_is_written_anyway_moves_the_expiry_no_more_often() -> None:
    now = [1_000_000.0]
    store = MemorySessionStore(expires_in=10)
    seen: list[int | None] = []
    async with Bot(session_store=store, initial_state={"n": 0}, clock=lambda: now[0]) as bot:
        for n in range(1, 9):
            async with bot.conversation("test:tim") as context:
                context.set_state(n=n)
            seen.append(store._records["test:tim"].expires_at)
            now[0] += 2
    assert seen == [1_000_606_000] * 4 + [1_000_614_000] * 4


@pytest.mark.parametrize(
    ("span", "lasts"),
    [(1, timedelta(minutes=1)), (timedelta(hours=2), timedelta(hours=2)), (None, None)],
)
async def test_a_session_may_have_a_lifetime_of_its_own(span: Any, lasts: timedelta | None) -> None:
    now = [1_000_000.0]
    store = MemorySessionStore(expires_in=10)
    async with Bot(session_store=store, clock=lambda: now[0]) as bot:
        async with bot.conversation("test:tim") as context:
            context.session.expire_in(span)
        for _ in range(2):  # it is kept, and slides as any
            async with bot.conversation("test:tim") as context:
                context.state["n"] = context.state.get("n", 0) + 1
            now[0] += 50
        if lasts is not None:
            now[0] += lasts.total_seconds() - 50
            assert await state_of(bot) == {"n": 2}
            now[0] += lasts.total_seconds() * 1.02  # looking at it was activity as well
            assert await state_of(bot) == {}
        else:
            now[0] += 10**9
            assert await state_of(bot) == {"n": 2}


async def test_a_stores_new_lifetime_is_given_to_sessions_as_they_are_used() -> None:
    now = [1_000_000.0]
    store = MemorySessionStore(expires_in=None)
    async with counting_bot(session_store=store, clock=lambda: now[0]) as bot:
        await bot.handle(event())
        assert store._records["test:tim"].expires_at is None
    store.expires_in = timedelta(minutes=1)
    async with Bot(session_store=store, clock=lambda: now[0]) as bot:
        await state_of(bot)
        assert store._records["test:tim"].expires_at == 1_000_060_600


@pytest.mark.parametrize("span", [0, -1, "5", True, float("nan"), float("inf"), timedelta(0)])
async def test_a_lifetime_that_cannot_be_is_refused(span: Any) -> None:
    async with Bot() as bot, bot.conversation("test:tim") as context:
        with pytest.raises(ConfigurationError):
            context.session.expire_in(span)


@pytest.mark.parametrize("kind", ["memory", "file"])
async def test_records_that_expired_a_day_ago_are_swept_and_others_are_not(
    kind: str, tmp_path: Path
) -> None:
    now = [1_000_000.0]
    store: MemorySessionStore | FileSessionStore
    if kind == "memory":
        store = MemorySessionStore(expires_in=1)
    else:
        store = FileSessionStore(tmp_path, expires_in=1)
    async with counting_bot(session_store=store, clock=lambda: now[0]) as bot:
        for n in range(250):
            await bot.handle(event(str(n)))
        now[0] += 3600
        await bot.handle(event("ann"))
    now[0] += 24 * 3600 - 1800
    async with counting_bot(session_store=store, clock=lambda: now[0]) as bot:
        while len(left := [record.id async for record in bot._store.all()]) > 1:
            await asyncio.sleep(0)
    assert left == ["test:ann"]


async def test_a_store_that_cannot_be_swept_is_no_reason_to_stop(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Failing(MemorySessionStore):
        async def due(self, before: int, limit: int) -> list[barback.Record]:
            raise SessionStoreUnavailable("down")

    async with counting_bot(session_store=Failing()) as bot:
        assert await bot.handle(event()) == Outcome.COMMITTED
        await until(lambda: "could not be swept: down" in caplog.text)


# The package.


def test_every_error_is_a_barback_error_and_says_what_it_is() -> None:
    errors = [getattr(barback.errors, name) for name in barback.errors.__all__]
    assert all(issubclass(error, BarbackError) for error in errors)
    assert all(error.__doc__ for error in errors)
    assert {error.__name__ for error in errors} <= set(barback.__all__)


def test_errors_survive_a_trip_between_processes() -> None:
    sent = barback.StateValueError("no", path="state['a']", session_id="test:tim")
    came = pickle.loads(pickle.dumps(sent))  # noqa: S301 - our own
    assert (str(came), came.path, came.session_id) == ("no", "state['a']", "test:tim")


def test_importing_barback_loads_no_driver_no_server_and_few_dependencies() -> None:
    code = "import sys, barback; print(*sorted(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=unmeasured(),
    )
    loaded = done.stdout.split()
    ours = {name for name in loaded if name.startswith("barback.")}
    assert ours.isdisjoint({"barback.testing", "barback.web", "barback.cli"})
    stores = {name.split(".")[2] for name in ours if name.startswith("barback.stores.")}
    assert stores == {"answers", "base", "local", "memory", "operation", "url"}
    assert {name for name in ours if name.startswith("barback.channels.")} == {
        "barback.channels.base"
    }
    foreign = {
        name.partition(".")[0]
        for name in loaded
        if name.partition(".")[0] not in {*sys.stdlib_module_names, "barback", "sitecustomize"}
        and not name.startswith(("_", "__"))
    }
    assert foreign - {"a1_coverage"} <= {"msgspec", "typing_extensions"}


def test_barback_needs_one_package() -> None:
    needed = [name for name in requires("barback") or () if "extra ==" not in name]
    assert [name.partition(">")[0] for name in needed] == ["msgspec"]


def test_the_package_has_no_attribute_it_does_not_have() -> None:
    assert barback.FileSessionStore.name == "file"
    with pytest.raises(AttributeError, match="'barback' has no attribute 'Nonsense'"):
        barback.Nonsense  # type: ignore[attr-defined]  # noqa: B018 - it has none, as is tested
    assert all(hasattr(barback, name) for name in barback.__all__)
    assert set(barback.__all__) <= set(dir(barback))


def test_the_package_has_every_store() -> None:
    assert barback.SQLiteSessionStore.name == "sqlite"
    assert barback.RedisSessionStore.name == "redis"
    assert barback.MongoSessionStore.name == "mongodb"
    assert barback.PostgresSessionStore.name == "postgres"


def test_the_package_is_whole_without_its_extras() -> None:
    code = """if True:
        import sys
        extras = "click cryptography httpx2 psycopg psycopg_pool pymongo redis hiredis starlette"
        for name in extras.split():
            sys.modules[name] = None  # as if it were not installed
        from barback import *
        from barback import SQLiteSessionStore, copy_store
        import barback
        names = ("Keys", "MongoSessionStore", "PostgresSessionStore", "RedisSessionStore")
        needs = [lambda name=name: getattr(barback, name) for name in names]
        channel = TelegramChannel("1:x")
        needs += [channel.client.open, Bot(channels=[channel]).asgi]
        for need in needs:
            try:
                need()
            except MissingExtra as error:
                print(str(error).rpartition(": ")[2])
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        f"python -m pip install 'barback[{extra}]'"
        for extra in ("encryption", "mongo", "postgres", "redis", "http", "web")
    ]
