"""Talks of several steps: where a session is rests in it, and is committed with the turn."""

from __future__ import annotations

import asyncio
import logging
import os
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from barback import (
    Bot,
    ConfigurationError,
    Context,
    HandlerRefused,
    History,
    Keys,
    LeasedStore,
    MemorySessionStore,
    Outcome,
    Redeliver,
    SessionStoreUnavailable,
    SessionTooNew,
    TurnEnded,
    copy_store,
)
from barback.record import FORMAT_OVER, FORMAT_SEALED, Record
from barback.stores.local import leased
from barback.stores.url import open_store
from barback.testing import Clock, CrashPoints, Simulator, crashes
from barback.testing.contract_tools import peek, put
from tests.every_store import EVERY, own_url
from tests.scripted import ScriptedStore, event

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from barback import Event

TIM = "test:tim"
FIRST = {"name": None, "age": None}


@pytest.fixture(params=EVERY)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> LeasedStore:
    kind: str = request.param
    return leased(open_store(own_url(kind, request, tmp_path)))


def asking(**options: Any) -> Bot:
    """A bot that asks for a name, then for an age, and notes what comes otherwise."""
    bot = Bot(**{"initial_state": FIRST, **options})

    @bot.command("begin")
    async def begin(context: Context) -> None:
        context.next_step("ask_name")

    @bot.step("ask_name")
    async def ask_name(context: Context) -> None:
        context.set_state(name=context.event.text)
        context.next_step(ask_age)

    @bot.step("ask_age")
    async def ask_age(context: Context) -> None:
        if context.event.text == "secret":
            raise ValueError
        context.set_state(age=context.event.text)
        context.end_steps()

    @bot.on_event
    async def otherwise(context: Context) -> None:
        if context.event.kind == "message":
            context.set_state(otherwise=[context.step, context.event.text])

    return bot


async def said(bot: Bot[Any], *texts: str) -> list[Outcome]:
    return [await bot.handle(event(text=text)) for text in texts]


async def where(bot: Bot[Any]) -> tuple[Any, str | None]:
    async with bot.conversation(TIM) as context:
        return context.state, context.step


# It rests in the session.


async def test_a_talk_goes_on_at_its_step_in_another_process(store: LeasedStore) -> None:
    async with store:
        for text, state, step in [
            ("/begin", FIRST, "ask_name"),
            ("Tim", {**FIRST, "name": "Tim"}, "ask_age"),
            ("7", {"name": "Tim", "age": "7"}, None),
            ("Hi", {"name": "Tim", "age": "7", "otherwise": [None, "Hi"]}, None),
        ]:
            async with asking(session_store=store) as bot:
                assert await said(bot, text) == [Outcome.COMMITTED]
                assert await where(bot) == (state, step)


async def test_a_step_alone_is_a_change_and_the_same_step_is_none(store: LeasedStore) -> None:
    async with store, asking(session_store=store) as bot:
        assert await said(bot, "/begin") == [Outcome.COMMITTED]
        first = await peek(store)
        assert first is not None
        assert (first.state, first.step) == (b'{"age":null,"name":null}', "ask_name")
        assert await said(bot, "/begin") == [Outcome.UNCHANGED]
        assert await peek(store) == first
        async with bot.conversation(TIM) as context:
            context.end_steps()
        last = await peek(store)
        assert last is not None
        assert (last.state, last.step) == (first.state, None)
        assert b"step" not in last.encode()


async def test_a_handler_that_fails_leaves_the_step_as_it_was(store: LeasedStore) -> None:
    bot = asking(session_store=store)
    seen = []

    @bot.step("fail")
    async def fail(context: Context) -> None:
        context.next_step("ask_age")
        raise ValueError

    @bot.on_error
    async def on_error(context: Context, error: Exception) -> None:
        seen.append(context.step)
        if isinstance(error, ValueError) and context.step == "ask_age":
            context.next_step("ask_name")

    async with store, bot:
        async with bot.conversation(TIM) as context:
            context.next_step(fail)
        assert await said(bot, "Hi") == [Outcome.FAILED]
        assert await where(bot) == (FIRST, "fail")
        async with bot.conversation(TIM) as context:
            context.next_step("ask_age")
        assert await said(bot, "secret") == [Outcome.FAILED]  # and what on_error sets is kept
        assert await where(bot) == (FIRST, "ask_name")
    assert seen == ["fail", "ask_age"]


async def test_events_that_come_at_once_are_each_for_the_step_before_it(store: LeasedStore) -> None:
    async with store, asking(session_store=store) as bot:
        await asyncio.gather(*(said(bot, text) for text in ("/begin", "Tim", "7", "Hi")))
        assert await where(bot) == ({"name": "Tim", "age": "7", "otherwise": [None, "Hi"]}, None)


async def test_an_event_that_comes_again_goes_no_further(store: LeasedStore) -> None:
    async with store, asking(session_store=store) as bot:
        await said(bot, "/begin")
        twice = event(event_id="1", text="Tim")
        assert [await bot.handle(twice) for _ in range(2)] == [
            Outcome.COMMITTED,
            Outcome.DUPLICATE,
        ]
        assert await where(bot) == ({**FIRST, "name": "Tim"}, "ask_age")


async def test_an_encrypted_state_stays_as_it_is_where_only_the_step_changes(
    store: LeasedStore,
) -> None:
    keys = Keys({"2026-11": bytes(range(32))})
    async with store:
        async with asking(session_store=store, encryption=keys) as bot:
            await said(bot, "/begin", "Tim")
            before = await peek(store)
            await said(bot, "/begin")
            after = await peek(store)
        assert before is not None
        assert after is not None
        assert (before.step, after.step) == ("ask_age", "ask_name")
        assert (before.format, before.state) == (FORMAT_SEALED, after.state)
        async with asking(session_store=store, encryption=keys) as bot:
            assert await where(bot) == ({**FIRST, "name": "Tim"}, "ask_name")


async def test_a_step_moves_house_with_its_session(store: LeasedStore, tmp_path: Path) -> None:
    target = leased(open_store(f"sqlite:///{tmp_path}/target.db"))
    async with store, target:
        async with asking(session_store=store) as bot:
            await said(bot, "/begin")
        await copy_store(store, target)
        assert await peek(target) == await peek(store)
        async with asking(session_store=target) as bot:
            await said(bot, "Tim")
            assert await where(bot) == ({**FIRST, "name": "Tim"}, "ask_age")


def test_a_record_at_no_step_is_written_as_it_always_was() -> None:
    record = Record(id=TIM, version=1, state=b"{}", created_at=2, last_activity=3)
    plain = b'"version":1,"created_at":2,"last_activity":3,'
    assert record.encode() == b'{"id":"test:tim","format":1,%b"state":{}}' % plain
    at_one = msgspec.structs.replace(record, step="a")
    assert at_one.encode() == b'{"id":"test:tim","format":1,%b"step":"a","state":{}}' % plain
    assert Record.decode(at_one.encode(), session_id=TIM) == at_one


# Killed at any point, it has changed with the state, or not at all.


def stepping(url: str) -> Bot:
    bot = Bot(initial_state={"n": 0}, session_store=leased(open_store(url)))

    @bot.step("one")
    @bot.on_event
    async def count(context: Context) -> None:
        context.set_state(n=context.state["n"] + 1)
        await asyncio.sleep(0)
        context.next_step("one")

    return bot


async def one_step(url: str, points: CrashPoints) -> None:
    async with stepping(url) as bot:
        with points:
            await bot.handle(event(f"user{points.nth}"))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")
@pytest.mark.parametrize("kind", ["file", "sqlite"])
def test_killed_anywhere_a_turn_leaves_state_and_step_of_one_moment(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    url = own_url(kind, request, tmp_path)
    died = len([*crashes(lambda points: one_step(url, points))])

    async def left() -> list[tuple[bytes, str | None]]:
        async with leased(open_store(url)) as store:
            return [(record.state, record.step) async for record in store.all()]

    found = asyncio.run(left())
    assert set(found) == {(b'{"n":1}', "one")}
    assert 0 < len(found) < died  # some died before their commit


# What ends it.


async def test_reset_state_ends_it() -> None:
    @dataclass
    class Profile:
        name: str = ""

    for initial_state in (FIRST, Profile):
        async with asking(initial_state=initial_state) as bot:
            await said(bot, "/begin")
            async with bot.conversation(TIM) as context:
                context.reset_state()
                assert context.step is None
            assert (await where(bot))[1] is None


async def test_it_is_over_with_the_session() -> None:
    clock, store = Clock(), MemorySessionStore(expires_in=1)
    async with asking(session_store=store, clock=clock) as bot:
        await said(bot, "/begin")
        clock.advance(minutes=2)
        assert await where(bot) == (FIRST, None)
        await said(bot, "Tim")
        assert await where(bot) == ({**FIRST, "otherwise": [None, "Tim"]}, None)


async def test_on_expired_sees_it_and_may_go_on_with_another() -> None:
    clock, store = Clock(), MemorySessionStore(expires_in=1)
    bot, seen = asking(session_store=store, clock=clock), []

    @bot.on_expired
    async def on_expired(context: Context) -> None:
        seen.append(context.step)
        if context.step == "ask_name":
            context.next_step("ask_age")

    async def until(number: int) -> None:
        clock.advance(minutes=2)
        while len(seen) < number:
            await asyncio.sleep(0.01)

    async with bot:
        await said(bot, "/begin")
        await until(1)
        assert await where(bot) == (FIRST, "ask_age")  # it is alive
        await until(2)
        assert await where(bot) == (FIRST, None)
        record = store._records[TIM]
        assert (record.format, record.step) == (FORMAT_OVER, None)
    assert seen == ["ask_name", "ask_age"]


async def test_a_turn_that_is_not_done_leaves_it() -> None:
    store = ScriptedStore()
    bot = asking(session_store=store)

    @bot.step("again")
    async def again(context: Context) -> None:
        context.next_step("ask_age")
        raise Redeliver

    async with bot:
        await said(bot, "/begin")
        store.script("commit", "unavailable")
        with pytest.raises(SessionStoreUnavailable):
            await said(bot, "Tim")
        assert await where(bot) == (FIRST, "ask_name")
        async with bot.conversation(TIM) as context:
            context.next_step("again")
        with pytest.raises(Redeliver):
            await said(bot, "Tim")
        assert await where(bot) == (FIRST, "again")


async def test_an_answer_that_was_lost_is_looked_for() -> None:
    store = ScriptedStore()
    async with asking(session_store=store) as bot:
        store.script("commit", "applied")
        assert await said(bot, "/begin") == [Outcome.COMMITTED]
        assert await where(bot) == (FIRST, "ask_name")


async def test_nothing_is_changed_after_the_turn() -> None:
    async with asking() as bot:
        async with bot.conversation(TIM) as context:
            context.next_step("ask_age")
        with pytest.raises(TurnEnded):
            context.next_step("ask_name")
        with pytest.raises(TurnEnded):
            context.end_steps()
        assert context.step == "ask_age"


# What comes to it.


async def test_only_what_is_said_or_pressed_is_for_a_step() -> None:
    bot, taken = Bot(), []

    @bot.step("here")
    async def here(context: Context) -> None:
        taken.append(context.event.kind)

    async with Simulator(bot) as chat:
        async with bot.conversation("simulator:you") as context:
            context.next_step(here)
        await chat.say("Hi")
        await chat.press("yes")
        for kind in ("join", "edited_message", "conversation"):
            await chat.send(msgspec.structs.replace(of_you(chat), kind=kind, id=kind))
        assert await chat.step() == "here"
    assert taken == ["message", "payload"]


def of_you(chat: Simulator[Any]) -> Event:
    return chat.person("you")._event(text="Hi")


async def test_a_command_comes_before_the_step_and_leaves_it_alone() -> None:
    bot = asking()

    @bot.command("help")
    async def help_(context: Context) -> None:
        context.set_state(helped=context.step)

    async with bot:
        await said(bot, "/begin", "/help", "/unknown")
        assert await where(bot) == (
            {"name": "/unknown", "age": None, "helped": "ask_name"},
            "ask_age",
        )


async def test_a_conversation_may_begin_a_talk() -> None:
    async with asking() as bot:
        async with bot.conversation(TIM) as context:
            context.next_step("ask_age")
        await said(bot, "7")
        assert await where(bot) == ({"name": None, "age": "7"}, None)


async def test_middleware_sees_it_before_and_after() -> None:
    bot, seen = asking(), []

    @bot.use
    async def look(context: Context, call_next: Callable[[Context], Awaitable[None]]) -> None:
        before = context.step
        await call_next(context)
        seen.append((before, context.step))

    async with bot:
        await said(bot, "/begin", "Tim", "7", "Hi")
    assert seen == [(None, "ask_name"), ("ask_name", "ask_age"), ("ask_age", None), (None, None)]


async def test_it_changes_nothing_about_histories_and_keys_that_fade() -> None:
    clock = Clock()
    bot = asking(history=History(), clock=clock)

    @bot.step("note")
    async def note(context: Context) -> None:
        context.history.append(context.event.text)
        context.set_state(code=1, expires_in=1)

    async with bot:
        async with bot.conversation(TIM) as context:
            context.next_step(note)
        await said(bot, "a", "b")
        clock.advance(timedelta(minutes=2))
        async with bot.conversation(TIM) as context:
            assert [entry.value for entry in await context.history.page(9)] == ["a", "b"]
            assert (context.state, context.step) == (FIRST, "note")


async def test_it_outlives_a_migration() -> None:
    store = leased(MemorySessionStore())
    async with store:
        await put(store, state={"n": 1}, step="ask_age")
        bot = asking(session_store=store, schema_version=1)
        bot.migrate(0)(lambda state: {"name": "Tim", "age": state["n"]})
        async with bot:
            assert (await bot.migrate_sessions()).migrated == 1
            record = await peek(store)
            assert record is not None
            assert (record.schema, record.step) == (1, "ask_age")
            await said(bot, "8")
            assert await where(bot) == ({"name": "Tim", "age": "8"}, None)


async def test_older_code_refuses_a_newer_step_where_the_state_is_newer_too() -> None:
    store = leased(MemorySessionStore())
    async with store:
        async with asking(session_store=store) as older:
            await said(older, "/begin")
        newer = asking(session_store=store, schema_version=1)
        newer.migrate(0)(lambda state: {**state, "version": 1})

        @newer.step("newer")
        async def ask(context: Context) -> None:
            context.set_state(asked=context.event.text)

        @newer.command("newer")
        async def begin(context: Context) -> None:
            context.next_step(ask)

        async with newer:
            await said(newer, "/newer")
        async with asking(session_store=store) as older:
            with pytest.raises(SessionTooNew):
                await said(older, "Tim")
        async with newer:
            await said(newer, "Tim")
            assert await where(newer) == ({**FIRST, "version": 1, "asked": "Tim"}, "newer")


async def test_it_is_told_to_whose_it_is_and_of_a_shared_session_to_nobody() -> None:
    store = MemorySessionStore()
    async with asking(session_store=store) as bot:
        await said(bot, "/begin")
        await bot.handle(event(text="/begin", conversation="g"))
        sessions = (await bot.export(TIM))["sessions"]
        assert {each["id"]: each["step"] for each in sessions} == {
            TIM: "ask_name",
            "test:g/tim": "ask_name",
        }
        (forgotten := await bot.forget(TIM)).destroyed.sort()
        assert forgotten.destroyed == ["test:g/tim", TIM]
    async with asking(session_store=store, scope="conversation") as bot:
        await bot.handle(event(text="/begin", conversation="g"))
        await bot.handle(event("ann", text="Ann", conversation="g"))
        (told,) = (await bot.export(TIM))["sessions"]
        assert (told["shared"], told["step"]) == (True, None)
        (told,) = (await bot.export(TIM, include_shared=True))["sessions"]
        assert told["step"] == "ask_age"


# Steps that are not there.


async def test_a_step_that_the_code_does_not_know_is_told_once_and_handled_otherwise(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = leased(MemorySessionStore())
    async with store:
        for name in ("tim", "ann"):
            await put(store, f"test:{name}", state=FIRST, step="gone")
        async with asking(session_store=store) as bot:
            for user in ("tim", "ann", "tim"):
                await bot.handle(event(user, text="Hi"))
            assert await where(bot) == ({**FIRST, "otherwise": ["gone", "Hi"]}, "gone")
            await said(bot, "/begin", "Tim")
            assert await where(bot) == (
                {"name": "Tim", "age": None, "otherwise": ["gone", "Hi"]},
                "ask_age",
            )
    (warning,) = [one for one in caplog.records if one.levelno == logging.WARNING]
    assert warning.getMessage().startswith("Session 'test:tim' is at step 'gone', which this bot ")


async def test_a_bot_without_steps_tells_of_them_too(caplog: pytest.LogCaptureFixture) -> None:
    store = leased(MemorySessionStore())
    async with store:
        await put(store, state={}, step="gone")
        bot = Bot(session_store=store)

        @bot.on_event
        async def note(context: Context) -> None:
            context.set_state(step=context.step)

        async with bot:
            await said(bot, "Hi")
            assert await where(bot) == ({"step": "gone"}, "gone")
    assert "does not know" in caplog.text


async def test_names_that_were_told_of_are_bounded(caplog: pytest.LogCaptureFixture) -> None:
    store = leased(MemorySessionStore())
    async with store:
        for number in range(250):
            await put(store, f"test:{number}", state={}, step=f"gone {number}")
        async with asking(session_store=store) as bot:
            for number in range(250):
                await bot.handle(event(str(number), text="Hi"))
            assert len(bot._steps._told) <= 100
    assert caplog.text.count("does not know") == 250


async def test_a_step_with_two_names_is_both() -> None:
    bot = Bot()

    @bot.step("new")
    @bot.step("old")
    async def ask(context: Context) -> None:
        context.set_state(at=context.step)
        context.next_step("new")

    async with bot:
        async with bot.conversation(TIM) as context:
            context.next_step("old")
            with pytest.raises(ConfigurationError, match="ask handles the steps 'old', 'new'"):
                context.next_step(ask)
        await said(bot, "Hi")
        assert await where(bot) == ({"at": "old"}, "new")


async def test_a_step_that_is_none_is_refused_at_once() -> None:
    async def elsewhere(context: Context) -> None: ...

    bot = asking()
    async with bot:
        async with bot.conversation(TIM) as context:
            with pytest.raises(ConfigurationError, match="no step 'ask_nmae'"):
                context.next_step("ask_nmae")
            with pytest.raises(ConfigurationError, match="elsewhere handles no step"):
                context.next_step(elsewhere)
            for wrong in (None, 5, ""):
                with pytest.raises(ConfigurationError):
                    context.next_step(wrong)  # type: ignore[arg-type]
            assert context.step is None
        assert await where(bot) == (FIRST, None)


def test_what_can_be_no_step_is_refused() -> None:
    bot = asking()

    async def handler(context: Context) -> None: ...

    for name in ("", "a\nb", "\ud800", "x" * 201, 5, None, handler):
        with pytest.raises(ConfigurationError, match="printable"):
            bot.step(name)  # type: ignore[arg-type]
    with pytest.raises(HandlerRefused, match="step 'ask_name' already"):
        bot.step("ask_name")(handler)
    with pytest.raises(HandlerRefused, match="not async"):
        bot.step("other")(lambda context: None)  # type: ignore[type-var]
    assert "other" not in bot._steps.handlers


async def test_methods_are_steps_as_functions_are() -> None:
    class Shop:
        def __init__(self) -> None:
            self.bot = Bot()
            self.bot.on_event(self.begin)
            self.bot.step("ask")(self.ask)

        async def begin(self, context: Context) -> None:
            context.next_step(self.ask)

        async def ask(self, context: Context) -> None:
            context.set_state(asked=True)
            context.end_steps()

    async with Shop().bot as bot:
        await said(bot, "Hi", "Tim")
        assert await where(bot) == ({"asked": True}, None)
