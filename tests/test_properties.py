"""Whatever happens to a bot, in whatever order, its sessions are what a simple model says.

A machine drives one bot, its store and its clock: people write, alone and all at once, in private
and in a group; handlers change the state in every way, fail, give events back and are cancelled;
platforms deliver events again, however old; time passes; the bot starts anew. After each step the
records in the store are compared with the model's, field by field.
"""

from __future__ import annotations

import asyncio
import copy
import logging
import shutil
import tempfile
from collections.abc import Coroutine, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal, TypeVar, cast

import hypothesis
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from barback import (
    Bot,
    Context,
    Event,
    FileSessionStore,
    LeasedStore,
    MemorySessionStore,
    Outcome,
    Record,
    Redeliver,
    SessionBusy,
    SessionStore,
    SQLiteSessionStore,
    StateValueError,
    User,
)
from barback.state import decode_state
from barback.testing import Clock
from barback.testing.clock import NOON
from barback.testing.contract_tools import leased, peek, same
from tests.scripted import ScriptedStore

T = TypeVar("T")

INITIAL = {"n": 0, "list": []}
SEEN_LIMIT = 4
SEEN_FOR = 3_600_000  # milliseconds
EXPIRES_IN = 600_000
MINUTE = 60_000

Step = tuple[str, Any]
Ending = Literal["returns", "raises", "puts in a tuple", "gives back"]
Settled = Outcome | type[BaseException]


class Broken(Exception):
    """What a handler with a bug raises."""


# What people do.


@dataclass(frozen=True)
class Script:
    """What the handler does with an event, how it ends, and the same of `on_error`."""

    steps: tuple[Step, ...]
    ending: Ending
    rescue: tuple[Step, ...]
    rescue_ending: Ending


@dataclass(frozen=True)
class Post:
    """A new event: from whom, where, with an id or without."""

    user: str
    conversation: str | None
    has_id: bool
    script: Script


VALUES = st.sampled_from([None, 0, 1, True, 1.0, "", "é", [1], {"k": [0]}])
STEPS = st.one_of(
    st.tuples(st.just("count"), st.none()),
    st.tuples(st.just("append"), VALUES),
    st.tuples(st.just("set"), st.dictionaries(st.sampled_from("ab"), VALUES, max_size=2)),
    st.tuples(st.just("remove"), st.sampled_from("ab")),
    st.tuples(st.just("reset"), st.none()),
    st.tuples(st.just("expire"), st.sampled_from([1, 20, None])),
)
SCRIPTS = st.builds(
    Script,
    steps=st.lists(STEPS, max_size=3).map(tuple),
    ending=st.sampled_from(["returns", "returns", "raises", "puts in a tuple", "gives back"]),
    rescue=st.lists(STEPS, max_size=2).map(tuple),
    rescue_ending=st.sampled_from(
        ["returns", "returns", "raises", "puts in a tuple", "gives back"]
    ),
)
POSTS = st.builds(
    Post,
    user=st.sampled_from(["ann", "bob"]),
    conversation=st.sampled_from([None, "club"]),
    has_id=st.sampled_from([True, True, False]),
    script=SCRIPTS,
)
SESSIONS = ("test:ann", "test:bob", "test:club/ann", "test:club/bob")


RAISED: dict[Ending, type[BaseException] | None] = {
    "returns": None,
    "raises": Broken,
    "puts in a tuple": StateValueError,
    "gives back": Redeliver,
}


def id_of(event: Event | None) -> str | None:
    """What a session remembers of the event."""
    return None if event is None or event.id is None else f"test:message:{event.id}"


def session_of(event: Event) -> str:
    assert event.user is not None
    place = "" if event.conversation is None else f"{event.conversation}/"
    return f"test:{place}{event.user.id}"


# What the bot does.


async def perform(context: Context, steps: tuple[Step, ...], ending: Ending) -> None:
    """Do as the script says, with a tick of the loop around each step."""
    await asyncio.sleep(0)
    for word, value in steps:
        match word:
            case "count":
                context.set_state(n=context.state["n"] + 1)
            case "append":
                context.state["list"].append(value)
            case "set":
                context.set_state(value)
            case "remove":
                context.state.pop(value, None)
            case "reset":
                context.reset_state()
            case "expire":
                context.session.expire_in(value)
        await asyncio.sleep(0)
    end(context, ending)


def end(context: Context, ending: Ending) -> None:
    if ending == "raises":
        raise Broken
    if ending == "gives back":
        raise Redeliver
    if ending == "puts in a tuple":
        context.state["list"].append(())


# What is expected of it.


@dataclass
class Draft:
    """What a turn may change."""

    state: dict[str, Any]
    lifetime: int | Literal["for ever"] | None

    def perform(self, steps: tuple[Step, ...]) -> None:
        state = self.state
        for word, value in copy.deepcopy(steps):
            match word:
                case "count":
                    state["n"] += 1
                case "append":
                    state["list"].append(value)
                case "set":
                    state.update(value)
                case "remove":
                    state.pop(value, None)
                case "reset":
                    self.state = state = copy.deepcopy(INITIAL)
                case "expire":
                    self.lifetime = "for ever" if value is None else value * MINUTE


@dataclass
class Expected:
    """One session as it must rest in the store."""

    state: dict[str, Any]
    lifetime: int | Literal["for ever"] | None
    created_at: int
    last_activity: int
    expires_at: int | None
    seen: dict[str, int]
    users: tuple[str, ...]


@dataclass
class Model:
    """What is to be remembered, by the words of the documentation."""

    always: bool
    rescues: bool
    now: int
    expires_in: int = EXPIRES_IN
    sessions: dict[str, Expected] = field(default_factory=dict)
    handled: set[tuple[str, str]] = field(default_factory=set)
    writes: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SESSIONS, 0))

    def handle(self, event: Event) -> Settled:
        """One event, and how it is to be settled."""
        session_id, event_id, script = session_of(event), id_of(event), event.raw
        before = self.sessions.get(session_id)
        if event_id is not None and (
            (before is not None and event_id in before.seen)
            or (session_id, event_id) in self.handled
        ):
            return Outcome.DUPLICATE
        draft = self._draft(session_id)
        if script.ending == "returns":
            draft.perform(script.steps)
            if self._write(session_id, draft, event):
                return Outcome.COMMITTED
            if event_id is not None:
                self.handled.add((session_id, event_id))
            return Outcome.UNCHANGED
        rescue_ending = script.rescue_ending if self.rescues else "raises"
        if "gives back" in {script.ending, rescue_ending}:
            return Redeliver
        if rescue_ending == "returns":
            draft.perform(script.rescue)
            self._write(session_id, draft, event, failed=True)
        return Outcome.FAILED

    def converse(self, session_id: str, script: Script) -> type[BaseException] | None:
        """A turn outside an event, and what it raises."""
        if script.ending == "returns":
            draft = self._draft(session_id)
            draft.perform(script.steps)
            self._write(session_id, draft, None)
        return RAISED[script.ending]

    def _alive(self, session_id: str) -> Expected | None:
        kept = self.sessions.get(session_id)
        if kept is None or (kept.expires_at is not None and kept.expires_at <= self.now):
            return None
        return kept

    def _draft(self, session_id: str) -> Draft:
        kept = self._alive(session_id)
        if kept is None:
            return Draft(copy.deepcopy(INITIAL), None)
        return Draft(copy.deepcopy(kept.state), kept.lifetime)

    def _write(
        self, session_id: str, draft: Draft, event: Event | None, *, failed: bool = False
    ) -> bool:
        """Commit the draft if there is a reason to, and say whether there is."""
        kept, read = self._alive(session_id), self._draft(session_id)
        changed = not same(read.state, draft.state) or read.lifetime != draft.lifetime
        if not changed and (failed or not self._due(session_id, event)):
            return False
        self.writes[session_id] += 1
        lifetime = self.expires_in if draft.lifetime is None else draft.lifetime
        users = () if kept is None else kept.users
        if event is not None and event.user is not None and event.user.id not in users:
            users = (*users, event.user.id)
        self.sessions[session_id] = Expected(
            state=draft.state,
            lifetime=draft.lifetime,
            created_at=self.now if kept is None else kept.created_at,
            last_activity=self.now,
            expires_at=self._expiry(kept, lifetime),
            seen=self._seen_with(session_id, id_of(event) or f"~{self.writes[session_id]}"),
            users=users,
        )
        return True

    def _expiry(self, kept: Expected | None, lifetime: int | Literal["for ever"]) -> int | None:
        """It stays as it was while it is late enough."""
        if lifetime == "for ever":
            return None
        soon, late = self.now + lifetime, self.now + lifetime + lifetime // 100
        if kept is not None and kept.expires_at is not None and soon <= kept.expires_at <= late:
            return kept.expires_at
        return late

    def _due(self, session_id: str, event: Event | None) -> bool:
        """Whether a turn that changed nothing is written: for the event's id, or the expiry."""
        if self.always and id_of(event) is not None:
            return True
        kept = self._alive(session_id)
        if kept is None:
            return False
        lifetime = self.expires_in if kept.lifetime is None else kept.lifetime
        if lifetime == "for ever":
            return False
        soon = self.now + lifetime
        return kept.expires_at is None or not soon <= kept.expires_at <= soon + lifetime // 100

    def _seen_with(self, session_id: str, turn_id: str) -> dict[str, int]:
        """The ids the session remembers; an expired session's are still known."""
        before = self.sessions.get(session_id)
        seen = {} if before is None else dict(before.seen)
        while seen and (
            len(seen) >= SEEN_LIMIT or next(iter(seen.values())) <= self.now - SEEN_FOR
        ):
            del seen[next(iter(seen))]
        return {**seen, turn_id: self.now}


# The machine.


class Machine(RuleBasedStateMachine):
    """Drives a bot and its model; a subclass says on which store."""

    bot: Bot
    model: Model
    store: SessionStore | LeasedStore

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.clock = Clock()
        self.posted: list[Event] = []
        self.versions: dict[str, list[int]] = {session_id: [] for session_id in SESSIONS}
        self.told: list[dict[str, Any]] = []
        self.runner.get_loop().set_exception_handler(lambda _, told: self.told.append(told))

    def opened(self) -> SessionStore | LeasedStore:
        """The store, with what was put into it before."""
        raise NotImplementedError

    @property
    def now(self) -> int:
        return int(self.clock() * 1000)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    # What happens.

    @initialize(always=st.booleans(), rescues=st.booleans())
    def begin(self, always: bool, rescues: bool) -> None:  # noqa: FBT001 - by hypothesis
        self.model = Model(always=always, rescues=rescues, now=self.now)
        self._start()

    @rule(
        posts=st.lists(POSTS, min_size=1, max_size=1)
        | st.lists(POSTS | st.integers(0, 50), min_size=2, max_size=6),
        cancelled=st.none() | st.tuples(st.integers(0, 5), st.integers(0, 12)),
    )
    def people_write(self, posts: list[Post | int], cancelled: tuple[int, int] | None) -> None:
        """Events arrive together, old ones among them; one of them is cancelled after a while."""
        events = [self._event(post) for post in posts]
        results = self.run(self._handle(events, cancelled))
        self._compare(events, results)

    @precondition(lambda self: self.posted)
    @rule(which=st.integers(0, 50))
    def a_platform_delivers_again(self, which: int) -> None:
        event = self._event(which)
        self._compare([event], self.run(self._handle([event], None)))

    @rule(session_id=st.sampled_from(SESSIONS), script=SCRIPTS)
    def the_bot_writes_first(self, session_id: str, script: Script) -> None:
        async def converse() -> type[BaseException] | None:
            try:
                async with self.bot.conversation(session_id) as context:
                    await perform(context, script.steps, script.ending)
            except (Broken, Redeliver, StateValueError) as error:
                return type(error)
            return None

        assert self.model.converse(session_id, script) == self.run(converse())

    @rule(span=st.sampled_from([0.001, 1, 5.999, 6.001, 60, 590, 600, 606, 1200, 3600]))
    def time_passes(self, span: float) -> None:
        """Never a day in all, after which the sweeper would take expired sessions away."""
        if self.clock() + span < NOON + 23 * 3600:
            self.clock.advance(span)
            self.model.now = self.now

    @rule(session_id=st.sampled_from(SESSIONS), by=st.sampled_from([-1, 0, 1]))
    def time_passes_to_the_end_of_a_session(self, session_id: str, by: int) -> None:
        kept = self.model.sessions.get(session_id)
        if kept is not None and kept.expires_at is not None and kept.expires_at + by > self.now:
            self.clock.advance(timedelta(milliseconds=kept.expires_at + by - self.now))
            self.model.now = self.now

    @rule(expires_in=st.sampled_from([EXPIRES_IN, EXPIRES_IN, 2 * EXPIRES_IN]))
    def the_bot_starts_anew(self, expires_in: int) -> None:
        """On the same store; what the process alone remembered is gone."""
        self._stop()
        self.model.handled.clear()
        self.model.expires_in = expires_in
        self._start()

    # What holds.

    @invariant()
    def the_store_holds_what_the_model_says(self) -> None:
        if not hasattr(self, "bot"):
            return
        records = self.run(self._records())
        for session_id in SESSIONS:
            self._compare_record(session_id, records[session_id])
        assert self.bot._turns is not None
        assert len(self.bot._turns.queue) == 0
        assert self.told == []

    def teardown(self) -> None:
        if hasattr(self, "bot"):
            self._stop()
        self.runner.close()
        assert self.told == []

    # Its means.

    def _start(self) -> None:
        self.store = self.opened()
        self.store.expires_in = timedelta(milliseconds=self.model.expires_in)
        self.bot = Bot(
            initial_state=INITIAL,
            session_store=self.store,
            dedupe="always" if self.model.always else "changes",
            dedupe_limit=SEEN_LIMIT,
            dedupe_for=timedelta(milliseconds=SEEN_FOR),
            clock=self.clock,
        )

        @self.bot.on_event
        async def handle(context: Context) -> None:
            await perform(context, context.event.raw.steps, context.event.raw.ending)

        if self.model.rescues:

            @self.bot.on_error
            async def rescue(context: Context, error: Exception) -> None:
                assert isinstance(error, (Broken, StateValueError))
                await perform(context, context.event.raw.rescue, context.event.raw.rescue_ending)

        self.run(self.bot.__aenter__())

    def _stop(self) -> None:
        self.run(self.bot.__aexit__(None, None, None))

    def _event(self, post: Post | int) -> Event:
        """A new event, or an earlier one."""
        if isinstance(post, int):
            if self.posted:
                return self.posted[post % len(self.posted)]
            post = Post("ann", None, has_id=True, script=Script((), "returns", (), "returns"))
        event = Event(
            channel="test",
            id=str(len(self.posted)) if post.has_id else None,
            user=User(post.user),
            conversation=post.conversation,
            raw=post.script,
        )
        self.posted.append(event)
        return event

    async def _handle(
        self, events: list[Event], cancelled: tuple[int, int] | None
    ) -> list[Settled]:
        tasks = [asyncio.create_task(self.bot.handle(event)) for event in events]
        if cancelled is not None:
            which, ticks = cancelled
            for _ in range(ticks):
                await asyncio.sleep(0)
            tasks[which % len(tasks)].cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        return [type(result) if isinstance(result, BaseException) else result for result in results]

    async def _records(self) -> dict[str, Record | None]:
        """What rests; had a turn left a lease, the store would stay busy here.

        For a moment it may: a checkout that was cancelled gives its lease back when it is there.
        """
        store, records = leased(self.store), dict[str, Record | None]()
        async with asyncio.timeout(10):
            while len(records) < len(SESSIONS):
                with suppress(SessionBusy):
                    session_id = SESSIONS[len(records)]
                    records[session_id] = await peek(store, session_id)
                await asyncio.sleep(0)
        return records

    def _compare(self, events: list[Event], results: list[Settled]) -> None:
        """The model takes the same events; of one that was cancelled, it is seen what came."""
        records = self.run(self._records())
        models = list(self._futures(events, results))
        assert models, f"nothing explains how these were settled: {results}"
        fitting = [model for model in models if _explains(model, records)]
        self.model = (fitting or models)[0]  # if none fits, the invariant says why

    def _futures(self, events: list[Event], results: list[Settled]) -> Iterator[Model]:
        """Every course of things in which the events were settled so.

        A commit that was on its way when its turn was cancelled may have been applied.
        """
        for applied in (False, True):
            model = copy.deepcopy(self.model)
            for event, result in zip(events, results, strict=True):
                if result is not asyncio.CancelledError:
                    if model.handle(event) != result:
                        break
                elif applied:
                    handled = set(model.handled)
                    model.handle(event)
                    model.handled = handled
            else:
                yield model

    def _compare_record(self, session_id: str, record: Record | None) -> None:
        expected = self.model.sessions.get(session_id)
        assert (expected is None) == (record is None)
        if expected is None or record is None:
            return
        assert same(expected.state, decode_state(record.state, session_id))
        assert _fields(expected) == _fields_of(record)
        versions = self.versions[session_id]
        if len(versions) == self.model.writes[session_id]:
            assert versions[-1] == record.version
        else:
            assert record.version not in versions
            versions += [record.version] * (self.model.writes[session_id] - len(versions))


def _explains(model: Model, records: dict[str, Record | None]) -> bool:
    return all(
        expected is not None
        and _fields(expected) == _fields_of(record)
        and same(expected.state, decode_state(record.state, session_id))
        if record is not None
        else expected is None
        for session_id, record in records.items()
        for expected in [model.sessions.get(session_id)]
    )


def _fields(expected: Expected) -> tuple[Any, ...]:
    lifetime = -1 if expected.lifetime == "for ever" else expected.lifetime
    return (
        lifetime,
        expected.created_at,
        expected.last_activity,
        expected.expires_at,
        [("~" if seen.startswith("~") else seen, at) for seen, at in expected.seen.items()],
        expected.users,
    )


def _fields_of(record: Record) -> tuple[Any, ...]:
    return (
        record.lifetime,
        record.created_at,
        record.last_activity,
        record.expires_at,
        [("~" if seen.startswith("~") else seen, at) for seen, at in record.seen.items()],
        record.users,
    )


class OnMemory(Machine):
    def opened(self) -> MemorySessionStore:
        store = getattr(self, "store", None)
        return MemorySessionStore() if store is None else cast("MemorySessionStore", store)


class OnTicks(Machine):
    """On memory behind operations that take time, so that a cancellation may come within one."""

    def opened(self) -> ScriptedStore:
        return cast("ScriptedStore", getattr(self, "store", None) or ScriptedStore())


class OnFiles(Machine):
    def __init__(self) -> None:
        super().__init__()
        self.dirname = tempfile.mkdtemp()

    def opened(self) -> FileSessionStore:
        return FileSessionStore(self.dirname)

    def teardown(self) -> None:
        super().teardown()
        shutil.rmtree(self.dirname)


class OnSQLite(OnFiles):
    def opened(self) -> SQLiteSessionStore:  # type: ignore[override]  # another file, another store
        return SQLiteSessionStore(f"{self.dirname}/sessions.db")


@pytest.fixture(autouse=True)
def _silence(caplog: pytest.LogCaptureFixture) -> None:
    """Without it, thousands of bugs in handlers would be written down."""
    caplog.set_level(logging.CRITICAL + 1, "barback")


@pytest.mark.parametrize(
    ("machine", "examples", "steps"),
    [(OnMemory, 100, 30), (OnTicks, 100, 20), (OnFiles, 20, 20), (OnSQLite, 20, 20)],
    ids=["memory", "ticks", "files", "sqlite"],
)
def test_sessions_are_what_the_model_says(
    machine: type[Machine], examples: int, steps: int
) -> None:
    settings = hypothesis.settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        report_multiple_bugs=False,
    )
    run_state_machine_as_test(machine, settings=settings)
