"""Encryption: states that rest encrypted and are read again, and rings that change."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from barback import (
    Bot,
    ConfigurationError,
    ConsoleBot,
    Context,
    KeyMissing,
    Keys,
    MemorySessionStore,
    Outcome,
)
from barback.record import FORMAT_JSON, FORMAT_SEALED
from barback.testing import Clock, Simulator
from barback.testing.contract_tools import record_of
from tests.scripted import ScriptedStore, counting_bot, event, nothing_left, state_of
from tests.sealed import HIDDEN, NEW, OLD, TIM, hidden_in, remembering, stored
from tests.values import values_of


async def test_a_state_rests_encrypted_and_is_read_again() -> None:
    store, keys = MemorySessionStore(), Keys({"new": NEW})
    record = await remembering(store, keys)
    assert (record.format, hidden_in(record)) == (FORMAT_SEALED, False)
    assert list(msgspec.json.decode(record.state)) == [
        *("data", "key", "key_check", "nonce", "session"),
    ]
    async with Bot(session_store=store, encryption=Keys({"new": NEW})) as bot:
        assert await state_of(bot) == {"name": HIDDEN}


@given(state=st.dictionaries(st.text(), values_of(st.text())), schema=st.integers(0, 2**31))
def test_any_state_comes_out_as_it_went_in(state: dict[str, Any], schema: int) -> None:
    keys = Keys({"new": NEW})
    record = record_of(TIM, state, schema=schema)
    sealed = keys.seal(record)
    assert keys.open(sealed) == record.state
    assert sealed == msgspec.structs.replace(record, state=sealed.state, format=FORMAT_SEALED)


async def test_a_new_session_of_which_only_the_lifetime_was_set_is_encrypted_too() -> None:
    store, keys = MemorySessionStore(), Keys({"new": NEW})
    bot = Bot(initial_state={"name": HIDDEN}, session_store=store, encryption=keys)
    async with bot, bot.conversation(TIM) as context:
        context.session.expire_in(5)
    assert (stored(store).format, hidden_in(stored(store))) == (FORMAT_SEALED, False)
    assert HIDDEN.encode() in keys.open(stored(store))


async def test_a_turn_that_changes_nothing_writes_nothing() -> None:
    store, keys = MemorySessionStore(), Keys({"new": NEW})
    before = await remembering(store, keys)
    async with Bot(session_store=store, encryption=keys) as bot:
        async with bot.conversation(TIM) as context:
            context.set_state(name=HIDDEN)
    assert stored(store) == before


async def test_a_state_that_has_not_changed_keeps_its_envelope() -> None:
    """Its record is written for another reason: an old key, and an old format, stay."""
    clock = Clock()
    for before_keys in (Keys({"old": OLD}), None):
        store = MemorySessionStore(expires_in=60)
        before = await remembering(store, before_keys, clock=clock)
        keys = Keys({"new": NEW, "old": OLD}, accept_plain=True)
        clock.advance(minutes=30)
        async with Bot(session_store=store, encryption=keys, clock=clock) as bot:
            assert await state_of(bot) == {"name": HIDDEN}
            after = stored(store)
            assert after.version != before.version
            assert (after.state, after.format) == (before.state, before.format)
            assert await state_of(bot) == {"name": HIDDEN}


@dataclass
class Profile:
    name: str = ""
    likes: set[str] = field(default_factory=set)


async def test_typed_and_migrated_states_are_encrypted_too() -> None:
    store, keys = MemorySessionStore(), Keys({"new": NEW})
    await remembering(store, keys, schema_version=1)
    bot = Bot(initial_state=Profile, schema_version=2, session_store=store, encryption=keys)
    bot.migrate(1)(lambda state: {**state, "likes": ["tea"]})
    async with bot:
        async with bot.conversation(TIM) as context:
            assert context.state == Profile(HIDDEN, {"tea"})
        record = stored(store)
        assert (record.schema, record.format, hidden_in(record)) == (2, FORMAT_SEALED, False)
        async with bot.conversation(TIM) as context:
            context.state.likes.add("milk")
        async with bot.conversation(TIM) as context:
            assert context.state == Profile(HIDDEN, {"tea", "milk"})


async def test_a_migration_sees_a_plain_state_of_a_store_that_goes_over() -> None:
    store, keys = MemorySessionStore(), Keys({"new": NEW}, accept_plain=True)
    await remembering(store, None, schema_version=1)
    bot = Bot(schema_version=2, session_store=store, encryption=keys)
    bot.migrate(1)(lambda state: {"names": [state["name"]]})
    async with bot:
        assert await state_of(bot) == {"names": [HIDDEN]}
    assert (stored(store).format, hidden_in(stored(store))) == (FORMAT_SEALED, False)


async def test_a_handler_that_fails_leaves_its_state_to_on_error() -> None:
    store, keys = MemorySessionStore(), Keys({"new": NEW})
    await remembering(store, keys)
    bot = Bot(session_store=store, encryption=keys)

    @bot.on_event
    async def fail(context: Context) -> None:
        context.set_state(name="lost")
        raise ZeroDivisionError

    @bot.on_error
    async def note(context: Context, error: Exception) -> None:
        context.set_state(failed=context.state["name"])

    async with bot:
        assert await bot.handle(event()) == Outcome.FAILED
        assert await state_of(bot) == {"name": HIDDEN, "failed": HIDDEN}


@pytest.mark.parametrize("step", ["applied", "unknown"])
async def test_a_lost_answer_is_resolved(step: str) -> None:
    store = ScriptedStore()
    async with counting_bot(session_store=store, encryption=Keys({"new": NEW})) as bot:
        await bot.handle(event(event_id="1"))
        store.script("commit", step)
        assert await bot.handle(event(event_id="2")) == Outcome.COMMITTED
        assert await bot.handle(event(event_id="2")) == Outcome.DUPLICATE
        assert await state_of(bot) == {"n": 2}


async def test_a_simulated_bot_is_encrypted_as_well() -> None:
    bot = ConsoleBot(initial_state={"n": 0}, encryption=Keys({"new": NEW}))

    @bot.on_event
    async def count(context: Context) -> None:
        context.set_state(n=context.state["n"] + 1)

    async with Simulator(bot) as chat:
        await chat.say("one")
        await chat.say("two")
        assert await chat.state() == {"n": 2}


def test_what_is_no_ring_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"must be barback\.Keys, not str") as refused:
        Bot(encryption=NEW)  # type: ignore[call-overload]
    assert NEW not in str(refused.value)


# Rings that change.


async def test_what_is_written_is_encrypted_anew() -> None:
    store, keys = MemorySessionStore(), Keys({"old": OLD})
    async with counting_bot(session_store=store, encryption=keys) as bot:
        await bot.handle(event())
        keys.add("new", NEW)
        assert await state_of(bot) == {"n": 1}
        assert keys.is_current(stored(store))
        keys.use("new")
        assert not keys.is_current(stored(store))
        await bot.handle(event())
        assert keys.is_current(stored(store))
        keys.remove("old")
        await bot.handle(event())
        assert await state_of(bot) == {"n": 3}


async def test_the_ring_may_change_within_a_turn() -> None:
    store, keys = MemorySessionStore(), Keys({"old": OLD, "new": NEW})
    await remembering(store, keys)
    async with Bot(session_store=store, encryption=keys) as bot:
        async with bot.conversation(TIM) as context:
            keys.use("new")
            keys.remove("old")
            context.set_state(n=1)
        assert await state_of(bot) == {"name": HIDDEN, "n": 1}
    assert keys.is_current(stored(store))


async def test_a_key_removed_too_early_within_a_turn_that_fails_is_told() -> None:
    """`on_error` would get the state as it was, which cannot be read any more."""
    store, keys = MemorySessionStore(), Keys({"old": OLD, "new": NEW})
    before = await remembering(store, keys)
    bot = Bot(session_store=store, encryption=keys)

    @bot.on_event
    async def fail(context: Context) -> None:
        keys.use("new")
        keys.remove("old")
        raise ZeroDivisionError

    async with bot:
        with pytest.raises(KeyMissing):
            await bot.handle(event())
        assert nothing_left(bot)
    assert stored(store) == before
    assert not store._leases._held


async def test_events_at_once_are_counted_while_keys_change() -> None:
    store, keys = MemorySessionStore(), Keys({"0": Keys.generate()})
    async with counting_bot(session_store=store, encryption=keys) as bot:

        async def rotate() -> None:
            for number in range(1, 20):
                keys.add(f"{number}", Keys.generate())
                keys.use(f"{number}")
                await asyncio.sleep(0)

        people = [f"user{number % 7}" for number in range(350)]
        await asyncio.gather(rotate(), *(bot.handle(event(person)) for person in people))
        assert [await state_of(bot, f"test:user{n}") for n in range(7)] == [{"n": 50}] * 7
    assert {keys.open(record) for record in store._records.values()} == {b'{"n":50}'}


async def test_a_store_goes_over_to_keys_while_plain_text_is_accepted() -> None:
    store, keys = MemorySessionStore(), Keys({"new": NEW}, accept_plain=True)
    await remembering(store, None)
    async with Bot(session_store=store, encryption=keys) as bot:
        async with bot.conversation(TIM) as context:
            assert context.state == {"name": HIDDEN}
            context.set_state(n=1)
    assert not hidden_in(stored(store))
    async with Bot(session_store=store, encryption=Keys({"new": NEW})) as bot:
        assert await state_of(bot) == {"name": HIDDEN, "n": 1}


RENEWALS = {
    "plain": (None, None),
    "encrypted": (None, Keys({"new": NEW}, accept_plain=True)),
    "with-a-new-key": (Keys({"old": OLD}), Keys({"new": NEW, "old": OLD})),
}


@pytest.mark.parametrize(("before_keys", "keys"), RENEWALS.values(), ids=RENEWALS.keys())
@pytest.mark.parametrize(("schema", "likes"), [(1, ["tea"]), (2, [])])
async def test_a_record_can_be_written_anew_outside_of_a_turn(
    before_keys: Keys | None, keys: Keys | None, schema: int, likes: list[str]
) -> None:
    """As somebody does who goes over a store: older shapes, older keys and none are alike."""
    store = MemorySessionStore()
    before = await remembering(store, before_keys, schema_version=schema)
    bot = Bot(initial_state=Profile, schema_version=2, session_store=store, encryption=keys)
    bot.migrate(1)(lambda state: {**state, "likes": ["tea"]})
    states = bot._states
    assert states.is_current(before) == (keys is None and schema == 2)
    after = states.renewed(before)
    assert states.is_current(after)
    assert hidden_in(after) == (keys is None)
    assert msgspec.json.decode(states.plain(after)) == {"name": HIDDEN, "likes": likes}
    as_before = {"state": before.state, "format": before.format, "schema": before.schema}
    assert msgspec.structs.replace(after, **as_before) == before


def test_what_is_encrypted_is_not_encrypted_twice() -> None:
    keys = Keys({"new": NEW})
    with pytest.raises(ConfigurationError, match="'test:tim' is encrypted already"):
        keys.seal(keys.seal(record_of(TIM)))


async def test_an_expired_session_needs_no_key_to_begin_anew() -> None:
    clock, store = Clock(), MemorySessionStore(expires_in=60)
    await remembering(store, Keys({"old": OLD}), clock=clock)
    clock.advance(minutes=61)
    options = {"session_store": store, "clock": clock}
    async with counting_bot(encryption=Keys({"new": NEW}), **options) as bot:
        await bot.handle(event())
        assert await state_of(bot) == {"n": 1}


def test_states_tell_which_records_are_to_be_written_anew() -> None:
    keys = Keys({"new": NEW, "old": OLD}, current="old")
    plain = record_of(TIM, {"name": HIDDEN}, schema=2)
    old = keys.seal(plain)
    keys.use("new")
    new = keys.seal(plain)
    wrong = Keys({"new": OLD}).seal(plain)
    broken = msgspec.structs.replace(new, state=b"{}")
    older = keys.seal(msgspec.structs.replace(plain, schema=1))
    sealing = Bot(schema_version=2, encryption=keys)._states
    states = Bot(schema_version=2)._states
    for record, if_sealed, if_plain in (
        (plain, False, True),
        (msgspec.structs.replace(plain, schema=1), False, False),
        (old, False, False),
        (new, True, False),
        (older, False, False),
        (wrong, False, False),
        (broken, False, False),
    ):
        assert (sealing.is_current(record), states.is_current(record)) == (if_sealed, if_plain)
    assert states.sealed(plain) is plain
    assert sealing.is_current(sealing.sealed(plain))
    assert plain.format == FORMAT_JSON
    assert sealing.plain(old) == states.plain(plain) == plain.state
