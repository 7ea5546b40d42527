"""Encrypted states that are not what they should be: each time an error of its own."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from barback import (
    Bot,
    KeyMissing,
    Keys,
    MemorySessionStore,
    Outcome,
    SessionNotEncrypted,
    SessionTampered,
    SessionTooNew,
    SessionUnreadable,
    WrongKey,
)
from barback.record import FORMAT_JSON, FORMAT_SEALED
from barback.testing.contract_tools import record_of
from tests.scripted import counting_bot, event, nothing_left, state_of
from tests.sealed import HIDDEN, NEW, OLD, TIM, remembering, replaced, stored


async def refused(
    store: MemorySessionStore,
    keys: Keys | None,
    expected: type[SessionUnreadable],
    match: str,
    **options: Any,
) -> SessionUnreadable:
    """What Tim's event gets; that it is told at each try, and nothing is changed."""
    before = stored(store)
    async with counting_bot(session_store=store, encryption=keys, **options) as bot:
        for _ in range(2):
            with pytest.raises(expected, match=match) as raised:
                await bot.handle(event())
            assert type(raised.value) is expected
        assert nothing_left(bot)
    assert not store._leases._held
    assert stored(store) == before
    assert (raised.value.session_id, raised.value.store) == (TIM, "memory")
    assert HIDDEN not in str(raised.value)
    return raised.value


async def test_an_encrypted_state_and_no_keys() -> None:
    store = MemorySessionStore()
    await remembering(store, Keys({"old": OLD}))
    await refused(store, None, KeyMissing, r"is encrypted, and this bot has no keys\. .*=Keys\(")


async def test_a_key_that_was_removed() -> None:
    store, keys = MemorySessionStore(), Keys({"old": OLD, "new": NEW})
    await remembering(store, keys)
    keys.use("new")
    keys.remove("old")
    error = await refused(store, keys, KeyMissing, "with the key 'old', and there are only 'new'")
    assert isinstance(error, KeyMissing)
    assert error.key == "old"
    keys.add("old", OLD)
    async with Bot(session_store=store, encryption=keys) as bot:
        assert await state_of(bot) == {"name": HIDDEN}


async def test_another_key_of_the_same_name() -> None:
    store = MemorySessionStore()
    await remembering(store, Keys({"key": OLD}))
    error = await refused(store, Keys({"key": NEW}), WrongKey, "named 'key', and .* is another")
    assert isinstance(error, WrongKey)
    assert error.key == "key"


async def test_a_state_that_is_not_encrypted() -> None:
    store = MemorySessionStore()
    await remembering(store, None)
    message = "is not encrypted, and this bot's are.*accept_plain=True"
    await refused(store, Keys({"new": NEW}), SessionNotEncrypted, message)


async def test_a_state_of_another_session() -> None:
    store, keys = MemorySessionStore(), Keys({"new": NEW})
    await remembering(store, keys)
    async with Bot(session_store=store, encryption=keys) as bot:
        async with bot.conversation("test:ann") as context:
            context.set_state(name="Ann")
    replaced(store, state=stored(store, "test:ann").state)
    await refused(store, keys, SessionTampered, "is one of session 'test:ann', and was moved here")
    # Nor if it is made to say that it is Tim's.
    replaced(store, state=stored(store).state.replace(b"test:ann", b"test:tim"))
    await refused(store, keys, SessionTampered, "was changed since")


async def test_the_namespace_is_a_part_of_whose_it_is() -> None:
    store, keys = MemorySessionStore(), Keys({"new": NEW})
    async with Bot(session_store=store, encryption=keys, namespace="shop") as bot:
        async with bot.conversation(TIM) as context:
            context.set_state(name="Ann")
    await remembering(store, keys)
    replaced(store, state=stored(store, f"shop/{TIM}").state)
    await refused(store, keys, SessionTampered, "is one of session 'shop/test:tim'")


async def test_another_version_of_its_shape() -> None:
    """Nobody can have an older state migrated twice, or a newer one not at all."""
    store, keys = MemorySessionStore(), Keys({"new": NEW})
    await remembering(store, keys, schema_version=2)
    replaced(store, schema=1)
    await refused(store, keys, SessionTampered, "was changed since", schema_version=1)


async def test_a_session_newer_than_the_code_is_that_before_all_else() -> None:
    store = MemorySessionStore()
    await remembering(store, Keys({"new": NEW}), schema_version=2)
    await refused(store, Keys({"old": OLD}), SessionTooNew, "version 2", schema_version=1)


def test_every_bit_counts() -> None:
    keys = Keys({"new": NEW})
    sealed = keys.seal(record_of(TIM, {"name": HIDDEN}))
    found = set()
    for bit in range(8 * len(sealed.state)):
        flipped = bytearray(sealed.state)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises((SessionTampered, KeyMissing, WrongKey)) as raised:
            keys.open(msgspec.structs.replace(sealed, state=bytes(flipped)))
        assert HIDDEN not in str(raised.value)
        found.add(type(raised.value).__name__)
    assert found == {"SessionTampered", "KeyMissing", "WrongKey"}


WRITTEN_OTHERWISE = {
    "spaces": lambda state: state.replace(b",", b", "),
    "another-order": lambda state: msgspec.json.encode(
        dict(reversed(msgspec.json.decode(state).items()))
    ),
    "one-more-field": lambda state: state.replace(b"}", b',"z":1}'),
    "a-field-twice": lambda state: state.replace(b"}", b',"session":"test:tim"}'),
    "a-field-less": lambda state: state.replace(b',"session":"test:tim"', b""),
    "an-escape": lambda state: state.replace(b"test:tim", b"test:t\\u0069m"),
    "a-shorter-nonce": lambda state: shortened(state, "nonce"),
    "shorter-data": lambda state: shortened(state, "data"),
    "no-data": lambda state: msgspec.json.encode({**msgspec.json.decode(state), "data": ""}),
    "no-nonce": lambda state: msgspec.json.encode({**msgspec.json.decode(state), "nonce": ""}),
    "a-list": lambda state: b"[" + state + b"]",
    "a-plain-state": lambda state: b'{"name":"Tim"}',
    "nothing": lambda state: b"",
}


def shortened(state: bytes, name: str) -> bytes:
    envelope = msgspec.json.decode(state)
    return msgspec.json.encode({**envelope, name: envelope[name][:-4]})


@pytest.mark.parametrize("change", WRITTEN_OTHERWISE.values(), ids=WRITTEN_OTHERWISE.keys())
def test_an_envelope_that_is_written_otherwise_was_changed(change: Any) -> None:
    keys = Keys({"new": NEW})
    sealed = keys.seal(record_of(TIM, {"name": HIDDEN}))
    changed = msgspec.structs.replace(sealed, state=change(sealed.state))
    with pytest.raises(SessionTampered, match="was changed since"):
        keys.open(changed)
    assert change(sealed.state) != sealed.state


@given(state=st.binary() | st.text().map(str.encode))
@example(state=b"[" * 100_000)
@example(state=b'{"data":"","key":"","key_check":"","nonce":"","session":"\\ud800"}')
@example(state=b'{"data":"","key":"\xff","key_check":"","nonce":"","session":""}')
def test_whatever_stands_in_place_of_an_envelope_is_refused(state: bytes) -> None:
    keys = Keys({"new": NEW})
    record = record_of(TIM, state, format=FORMAT_SEALED)
    with pytest.raises(SessionTampered, match="was changed since"):
        keys.open(record)
    assert not keys.is_current(record)


# Sessions that begin anew.


@pytest.mark.parametrize("wrong", ["no-keys", "missing", "wrong", "plain"])
async def test_what_the_right_key_would_read_never_begins_anew(wrong: str) -> None:
    store = MemorySessionStore()
    await remembering(store, None if wrong == "plain" else Keys({"old": OLD}))
    keys = {"no-keys": None, "wrong": Keys({"old": NEW})}.get(wrong, Keys({"new": NEW}))
    before = stored(store)
    bot = counting_bot(session_store=store, encryption=keys)

    @bot.on_unreadable
    async def reset(error: SessionUnreadable) -> bool:
        raise AssertionError

    async with bot:
        with pytest.raises((KeyMissing, WrongKey, SessionNotEncrypted)):
            await bot.handle(event())
    assert (stored(store), list(store._records)) == (before, [TIM])


async def test_a_state_that_was_tampered_with_is_kept_aside_and_can_be_looked_at() -> None:
    store, keys = MemorySessionStore(), Keys({"new": NEW})
    sealed = await remembering(store, keys)
    replaced(store, schema=7)
    bot = counting_bot(session_store=store, encryption=keys, schema_version=7)

    @bot.on_unreadable
    async def reset(error: SessionUnreadable) -> bool:
        return isinstance(error, SessionTampered)

    async with bot:
        assert await bot.handle(event()) == Outcome.COMMITTED
        assert await state_of(bot) == {"n": 1}
    (aside,) = [each for each in store._records.values() if each.id.startswith("unreadable:")]
    assert (aside.state, aside.format) == (sealed.state, FORMAT_SEALED)
    with pytest.raises(SessionTampered, match="is one of session 'test:tim'"):
        keys.open(aside)
    with pytest.raises(SessionTampered, match="was changed since"):
        keys.open(aside, session_id=TIM)
    mended = msgspec.structs.replace(aside, schema=0)
    assert HIDDEN.encode() in keys.open(mended, session_id=TIM)


# Nothing shows.


async def test_neither_keys_nor_states_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    store, keys = MemorySessionStore(), Keys({"new": NEW, "old": OLD})
    await remembering(store, keys)
    bot = counting_bot(session_store=store, encryption=keys)

    @bot.on_unreadable
    async def reset(error: SessionUnreadable) -> bool:
        return True

    replaced(store, state=stored(store).state.replace(b'"nonce":"', b'"nonce":"A'))
    async with bot:
        await bot.handle(event())
        replaced(store, format=FORMAT_JSON, state=b'{"name":"%s"}' % HIDDEN.encode())
        with pytest.raises(SessionNotEncrypted) as raised:
            await bot.handle(event())
    assert "kept aside" in caplog.text
    for shown in (caplog.text, str(raised.value), repr(bot), repr(bot._states.keys)):
        assert HIDDEN not in shown
        assert NEW not in shown
        assert OLD not in shown
