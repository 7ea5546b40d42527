"""Expiry: of keys, by age, and what `on_expired` is told; on every store, by the test's clock."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypedDict

import pytest

from barback import (
    Bot,
    ConfigurationError,
    Context,
    HandlerRefused,
    LeasedStore,
    MemorySessionStore,
    Outcome,
    Record,
    Redeliver,
    SessionBusy,
    SessionStore,
    SessionStoreUnavailable,
    expirer,
)
from barback.record import FORMAT_OVER
from barback.stores.local import leased
from barback.stores.url import open_store
from barback.testing import Clock
from barback.testing.contract_tools import peek
from tests.every_store import EVERY, own_url
from tests.scripted import ScriptedStore, event, nothing_left, until

HOUR = timedelta(hours=1)


@pytest.fixture(params=EVERY)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> LeasedStore:
    kind: str = request.param
    return leased(open_store(own_url(kind, request, tmp_path)))


class World:
    """A bot that counts a person's events, whose sessions live an hour, and what became of them."""

    def __init__(self, store: LeasedStore, **options: Any) -> None:
        self.clock = Clock()
        self.store = store
        store.expires_in = HOUR
        self.bot: Bot[Any] = Bot(
            **{"initial_state": {"n": 0}, **options}, session_store=store, clock=self.clock
        )
        self.bot.on_event(self.count)
        self.ended: list[tuple[str, int]] = []

    async def count(self, context: Context[Any]) -> None:
        context.set_state(n=context.state["n"] + 1)

    async def note(self, context: Context[Any]) -> None:
        assert context.event.kind == "expired"
        self.ended.append((context.session.id, context.state["n"]))

    def advance(self, **span: float) -> None:
        self.clock.advance(timedelta(**span))

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.clock(), UTC)

    async def state(self, user: str = "tim") -> Any:
        async with self.bot.conversation(f"test:{user}") as context:
            return context.state

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Bot[Any]]:
        async with self.store, self.bot as bot:
            yield bot
            await until(lambda: nothing_left(bot))  # it may be looking itself

    async def all_ended(self, count: int) -> None:
        async with asyncio.timeout(20):
            while len(self.ended) < count:
                await asyncio.sleep(0.01)


# By key.


async def test_a_key_is_taken_back_when_its_time_is_over(store: LeasedStore) -> None:
    world = World(store)
    async with world.running() as bot:
        async with bot.conversation("test:tim") as context:
            context.set_state(code="1234", expires_in=10)
            context.set_state({"n": 5}, expires_in=timedelta(minutes=20))
        world.advance(minutes=9, seconds=59)
        assert await world.state() == {"n": 5, "code": "1234"}
        world.advance(seconds=1)
        assert await world.state() == {"n": 5}
        world.advance(minutes=10)
        assert await world.state() == {"n": 0}  # as it is initially
        record = await peek(store, "test:tim")
        assert record is not None
        assert (record.fades, record.state) == ({}, b'{"n":0}')


async def test_a_key_that_is_set_again_stays_or_has_a_new_time(store: LeasedStore) -> None:
    world = World(store)
    async with world.running() as bot:
        for again in ({}, {"expires_in": 30}):
            async with bot.conversation("test:tim") as context:
                context.set_state(code="1", other="2", expires_in=10)
            async with bot.conversation("test:tim") as context:
                context.set_state(code="1", **again)
            world.advance(minutes=11)
            assert await world.state() == {"n": 0, "code": "1"}
        world.advance(minutes=20)
        assert await world.state() == {"n": 0}


async def test_a_reset_takes_the_times_with_it() -> None:
    world = World(MemorySessionStore())
    async with world.running() as bot:
        async with bot.conversation("test:tim") as context:
            context.set_state(n=5, expires_in=10)
            context.reset_state()
            context.set_state(n=6)
        world.advance(minutes=11)
        assert await world.state() == {"n": 6}


async def test_a_turn_that_fails_sets_no_time() -> None:
    world = World(MemorySessionStore())
    async with world.running() as bot:
        async with bot.conversation("test:tim") as context:
            context.set_state(n=5)
        turn = bot.conversation("test:tim")
        context = await turn.__aenter__()
        context.set_state(n=5, expires_in=10)
        await turn.__aexit__(ZeroDivisionError, ZeroDivisionError(), None)
        world.advance(minutes=11)
        assert await world.state() == {"n": 5}


@dataclass
class Login:
    n: int = 0
    code: str | None = None


@dataclass(frozen=True)
class FrozenLogin:
    n: int = 0
    code: str | None = None


class DictLogin(TypedDict, total=False):
    n: int
    code: str


@pytest.mark.parametrize("kind", [Login, FrozenLogin, DictLogin])
async def test_a_field_goes_back_to_its_default(kind: Any) -> None:
    world = World(MemorySessionStore(), initial_state=kind)
    async with world.running() as bot:
        async with bot.conversation("test:tim") as context:
            context.set_state(n=1)
            context.set_state(code="1234", expires_in=10)
        world.advance(minutes=9)
        assert await world.state() == kind(n=1, code="1234")
        world.advance(minutes=1)
        assert await world.state() == kind(n=1)


@pytest.mark.parametrize("wrong", ["10", True, -1, 0, float("nan")])
async def test_a_time_that_is_none_is_refused_and_nothing_changed(wrong: Any) -> None:
    world = World(MemorySessionStore())
    async with world.running() as bot:
        async with bot.conversation("test:tim") as context:
            with pytest.raises(ConfigurationError):
                context.set_state(code="1", expires_in=wrong)
            assert context.state == {"n": 0}


# By age.


async def test_a_session_ends_at_its_age_whatever_happens(store: LeasedStore) -> None:
    world = World(store)
    store.max_age = timedelta(minutes=150)
    async with world.running() as bot:
        for _ in range(3):  # an hour without an event it never is
            await bot.handle(event())
            world.advance(minutes=45)
        await bot.handle(event())
        record = await peek(store, "test:tim")
        assert record is not None
        assert record.expires_at == record.created_at + 150 * 60_000
        world.advance(minutes=14, seconds=59)
        assert (await world.state())["n"] == 4
        world.advance(seconds=1)
        assert (await world.state())["n"] == 0


async def test_an_age_is_a_limit_for_sessions_that_live_for_ever_too() -> None:
    world = World(MemorySessionStore())
    world.store.expires_in, world.store.max_age = None, timedelta(days=1)
    async with world.running() as bot:
        await bot.handle(event())
        world.advance(hours=23)
        await bot.handle(event())
        world.advance(hours=1)
        assert (await world.state())["n"] == 0


async def test_a_session_tells_its_end_by_age_before_it_is_written() -> None:
    world = World(MemorySessionStore())
    world.store.max_age = timedelta(minutes=90)
    async with world.running() as bot:
        for minutes in (30, 20):  # of a new session, and of one that is kept
            async with bot.conversation("test:tim") as context:
                session = context.session
                for lifetime in (timedelta(days=5), None):
                    session.expire_in(lifetime)
                    assert session.expires_at == session.created_at + timedelta(minutes=90)
                session.expire_in(minutes)
                assert session.expires_at == world.now() + timedelta(minutes=minutes)
            world.advance(minutes=10)


async def test_turns_that_change_nothing_do_not_write_it_again_and_again() -> None:
    world = World(MemorySessionStore())
    world.store.max_age = timedelta(minutes=30)
    async with world.running() as bot:
        await bot.handle(event())
        before = await peek(world.store, "test:tim")
        for _ in range(5):
            world.advance(minutes=5)
            await world.state()
        assert await peek(world.store, "test:tim") == before


def test_every_store_takes_an_age(tmp_path: Path) -> None:
    for url in (
        "memory://?max_age=60",
        f"file:{tmp_path}/sessions?max_age=60",
        f"sqlite:///{tmp_path}/sessions.db?max_age=60",
        "redis://127.0.0.1:1?max_age=60",
        "mongodb://127.0.0.1:1/a?max_age=60",
        "postgresql://127.0.0.1:1/a?max_age=60",
    ):
        assert open_store(url).max_age == HOUR
        assert open_store(url.replace("60", "never")).max_age is None
        with pytest.raises(ConfigurationError):
            open_store(url.replace("60", "0"))


async def looked(store: LeasedStore) -> Record | None:
    """Tim's record, once nobody holds it."""
    while True:
        try:
            return await peek(store, "test:tim")
        except SessionBusy:
            await asyncio.sleep(0.01)


# What on_expired is told.


async def test_on_expired_has_the_last_state_soon_after_the_expiry(store: LeasedStore) -> None:
    world = World(store)
    world.bot.on_expired(world.note)
    async with world.running() as bot:
        for user in ("tim", "ann", "tim"):
            await bot.handle(event(user))
        await asyncio.sleep(1.2)  # it looks every second
        assert world.ended == []
        world.advance(minutes=61)
        await world.all_ended(2)
        assert sorted(world.ended) == [("test:ann", 1), ("test:tim", 2)]
        await asyncio.sleep(1.2)
        assert len(world.ended) == 2
        assert await world.state() == {"n": 0}


async def test_an_event_that_comes_upon_the_session_delivers_that_first(
    store: LeasedStore,
) -> None:
    world = World(store)
    order: list[str] = []

    @world.bot.on_expired
    async def goodbye(context: Context[Any]) -> None:
        order.append(f"ended with {context.state['n']}")

    async with world.running() as bot:
        await bot.handle(event(event_id="1"))
        world.advance(minutes=61)
        assert await bot.handle(event(event_id="2")) == Outcome.COMMITTED
        assert order == ["ended with 1"]
        assert await bot.handle(event(event_id="1")) == Outcome.DUPLICATE
        assert await bot.handle(event(event_id="2")) == Outcome.DUPLICATE
        assert await world.state() == {"n": 1}


async def test_what_is_left_of_a_session_knows_its_events_for_a_day_and_goes(
    store: LeasedStore,
) -> None:
    world = World(store)
    world.bot.on_expired(world.note)
    async with world.running() as bot:
        await bot.handle(event(event_id="1"))
        world.advance(minutes=61)
        await world.all_ended(1)
        record = await looked(store)
        assert record is not None
        assert (record.format, record.state) == (FORMAT_OVER, b"{}")
        assert await bot.handle(event(event_id="1")) == Outcome.DUPLICATE
        world.advance(hours=25)
        async with asyncio.timeout(20):
            while await looked(store) is not None:
                await asyncio.sleep(0.01)
        assert len(world.ended) == 1


async def test_what_on_expired_changes_keeps_the_session_alive(store: LeasedStore) -> None:
    world = World(store)

    @world.bot.on_expired
    async def remind(context: Context[Any]) -> None:
        world.ended.append((context.session.id, context.state["n"]))
        if context.state["n"] < 3:
            context.set_state(n=context.state["n"] + 1)

    async with world.running() as bot:
        await bot.handle(event())
        for expected in (1, 2):
            world.advance(minutes=61)
            await world.all_ended(expected)
            assert await world.state() == {"n": expected + 1}
        world.advance(minutes=61)
        await world.all_ended(3)
        assert await world.state() == {"n": 0}


async def test_on_expired_may_give_the_session_more_time() -> None:
    world = World(MemorySessionStore())

    @world.bot.on_expired
    async def extend(context: Context[Any]) -> None:
        context.session.expire_in(None)

    async with world.running() as bot:
        await bot.handle(event())
        world.advance(minutes=61)
        await bot.handle(event())
        assert await world.state() == {"n": 2}


async def test_one_that_fails_is_logged_and_the_session_over(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World(MemorySessionStore())

    @world.bot.on_expired
    async def fail(context: Context[Any]) -> None:
        world.ended.append((context.session.id, context.state["n"]))
        context.set_state(n=99)
        raise ZeroDivisionError

    async with world.running() as bot:
        await bot.handle(event())
        world.advance(minutes=61)
        assert await bot.handle(event()) == Outcome.COMMITTED
        assert await world.state() == {"n": 1}
        assert len(world.ended) == 1
    assert "on_expired of session 'test:tim' failed" in caplog.text


async def test_one_that_asks_for_it_is_called_again_and_the_event_waits() -> None:
    world = World(MemorySessionStore())
    world.bot.on_expired(world.note)
    tries = 0

    async def not_yet(context: Context[Any]) -> None:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise Redeliver
        await world.note(context)

    world.bot._on_expired = not_yet
    async with world.running() as bot:
        await bot.handle(event())
        world.advance(minutes=61)
        with pytest.raises(Redeliver):
            await bot.handle(event())
        await world.all_ended(1)
        assert world.ended == [("test:tim", 1)]
        assert tries == 3


async def test_it_says_something_through_the_channel() -> None:
    from barback.testing import Simulator  # noqa: PLC0415

    store = MemorySessionStore(expires_in=60)
    bot = Bot(initial_state={"n": 0}, session_store=store)

    @bot.on_event
    async def count(context: Context) -> None:
        context.set_state(n=context.state["n"] + 1)

    @bot.on_expired
    async def goodbye(context: Context) -> None:
        await context.send_text(f"Goodbye after {context.state['n']}")

    async with Simulator(bot) as chat:
        await chat.say("Hi", user="tim")
        chat.clock.advance(timedelta(minutes=61))
        async with asyncio.timeout(20):
            while not chat.sent:
                await asyncio.sleep(0.01)
        assert [sent.text for sent in chat.sent] == ["Goodbye after 1"]


async def test_it_is_a_turn_of_its_own_for_deadlocks_and_the_end() -> None:
    world = World(MemorySessionStore())
    contexts: list[Context[Any]] = []

    @world.bot.on_expired
    async def other(context: Context[Any]) -> None:
        contexts.append(context)
        async with world.bot.conversation("test:stats") as stats:
            stats.set_state(n=stats.state["n"] + 1)

    async with world.running() as bot:
        await bot.handle(event())
        world.advance(minutes=61)
        await bot.handle(event())
        assert await world.state("stats") == {"n": 1}
        with pytest.raises(Exception, match="has ended"):
            contexts[0].set_state(n=1)


async def test_without_on_expired_an_expired_session_is_a_new_one(store: LeasedStore) -> None:
    world = World(store)
    async with world.running() as bot:
        await bot.handle(event())
        world.advance(minutes=61)
        await bot.handle(event())
        assert await world.state() == {"n": 1}


async def test_a_commit_that_fails_or_is_unknown_leaves_it_to_the_next() -> None:
    store = ScriptedStore()
    world = World(store)
    world.bot.on_expired(world.note)
    async with world.running() as bot:
        bot._expirer.stop()  # type: ignore[union-attr]
        await bot.handle(event())
        world.advance(minutes=61)
        for fault in ("unavailable", "unknown", "applied"):
            store.script("commit", fault)
            with pytest.raises(SessionStoreUnavailable):
                await bot.handle(event())
            assert store.is_free("test:tim")
        assert await bot.handle(event()) == Outcome.COMMITTED
        assert await world.state() == {"n": 1}
    assert world.ended == [("test:tim", 1)] * 3  # at least once


async def test_a_cancelled_one_gives_the_lease_back() -> None:
    world = World(MemorySessionStore())

    @world.bot.on_expired
    async def slow(context: Context[Any]) -> None:
        await asyncio.sleep(3600)

    async with world.running() as bot:
        await bot.handle(event())
        bot._expirer.stop()  # type: ignore[union-attr]
        world.advance(minutes=61)
        turn = asyncio.create_task(bot.handle(event()))
        for _ in range(10):
            await asyncio.sleep(0)
        turn.cancel()
        with pytest.raises(asyncio.CancelledError):
            await turn
        assert "test:tim" not in world.store._leases._held  # type: ignore[attr-defined]


async def test_closing_waits_for_one_that_runs_and_begins_no_more() -> None:
    world = World(MemorySessionStore())
    begun = asyncio.Event()

    @world.bot.on_expired
    async def slow(context: Context[Any]) -> None:
        begun.set()
        await asyncio.sleep(0.2)
        await world.note(context)

    async with world.bot as bot:
        for number in range(40):
            await bot.handle(event(f"user{number}"))
        world.advance(minutes=61)
        await begun.wait()
    assert 1 <= len(world.ended) <= 20


@pytest.mark.parametrize("namespace", ["own", ""])
async def test_sessions_of_another_namespace_are_not_its_own(namespace: str) -> None:
    store = MemorySessionStore()
    other = World(store, namespace="other")
    async with other.running() as bot:
        for number in range(150):  # more than are looked at at once
            await bot.handle(event(f"user{number}"))
    world = World(store, namespace=namespace)
    world.bot.on_expired(world.note)
    world.clock = other.clock
    world.bot._clock = other.clock
    async with world.running() as bot:
        await bot.handle(event())
        world.advance(minutes=61)
        await world.all_ended(1)
        await asyncio.sleep(1.2)  # it looks every second
    assert world.ended == [("test:tim", 1)]


async def test_one_that_cannot_be_read_is_not_tried_and_told_each_second(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    newer = World(MemorySessionStore(), schema_version=1)
    async with newer.running() as bot:
        await bot.handle(event())
    world = World(newer.store)
    world.bot.on_expired(world.note)
    told = "on_expired of session 'test:tim' is put off"
    world.advance(minutes=61)
    async with world.running():
        await until(lambda: told in caplog.text)
        await asyncio.sleep(2.4)  # it looks every second
        assert caplog.text.count(told) == 1
    monkeypatch.setattr(expirer, "AGAIN", 0.5)
    async with world.running():
        await until(lambda: caplog.text.count(told) == 3)
    assert world.ended == []


class FourMethods(SessionStore):
    def __init__(self) -> None:
        self.records: dict[str, Any] = {}

    async def init(self) -> Any:
        return self

    async def read(self, session_id: str) -> Any:
        return self.records.get(session_id)

    async def write(self, session_id: str, record: Any) -> None:
        self.records[session_id] = record

    async def destroy(self, session_id: str) -> None:
        self.records.pop(session_id, None)


async def test_a_store_that_cannot_list_tells_so_and_events_deliver_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World(leased(FourMethods()))
    world.bot.on_expired(world.note)
    async with world.running() as bot:
        await bot.handle(event())
        world.advance(minutes=61)
        await bot.handle(event())
    assert world.ended == [("test:tim", 1)]
    assert "cannot list its sessions" in caplog.text


def test_one_on_expired_that_is_async() -> None:
    bot = Bot()

    async def first(context: Context) -> None: ...

    bot.on_expired(first)
    with pytest.raises(HandlerRefused, match="already"):
        bot.on_expired(first)
    with pytest.raises(HandlerRefused, match="async"):
        Bot().on_expired(lambda context: None)  # type: ignore[type-var]
