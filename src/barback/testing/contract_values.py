"""The contract's part about values: what was put in comes out, whatever it is."""

from __future__ import annotations

from typing import Any

import pytest

from barback.bot import Bot
from barback.record import FORMAT_OVER, FORMAT_SEALED, NEVER
from barback.testing.contract_tools import (
    TIM,
    AnyStore,
    Contract,
    leased,
    peek,
    put,
    same,
)

__all__ = ["ValuesContract"]


def _nested(depth: int, innermost: object) -> object:
    """Lists and dicts in turn, `depth` of them, around a value."""
    for level in range(depth):
        innermost = [innermost] if level % 2 else {"in": innermost}
    return innermost


VALUES: dict[str, object] = {
    "none": None,
    "true": True,
    "false": False,
    "zero": 0,
    "one": 1,
    "largest-int": 2**63 - 1,
    "smallest-int": -(2**63),
    "beyond-a-double": 2**53 + 1,
    "float-one": 1.0,
    "float-zero": 0.0,
    "minus-zero": -0.0,
    "tenth": 0.1,
    "huge-float": 1e300,
    "tiniest-float": 5e-324,
    "largest-float": 1.7976931348623157e308,
    "empty-text": "",
    "nul": "a\0b",
    "control-characters": "".join(map(chr, range(32))) + "\x7f\x80\x9f",
    "line-separators": "a\u2028b\u2029c\r\nd\u0085e",
    "emoji": "👋🏽 👩‍👩‍👧",
    "composed-and-not": ["é", "e\u0301"],
    "byte-order-mark": "\ufeffa\ufffe\uffff",
    "quotes": "\"'`\\/\\u0041\\n",
    "spaces": "  a\tb  ",
    "looks-like-json": '{"a": null}',
    "looks-like-an-id": "507f1f77bcf86cd799439011",
    "looks-like-a-date": "2024-02-30T25:00:00Z",
    "empty-list": [],
    "empty-dict": {},
    "empties": [[], {}, [[]], {"a": {}}, ""],
    "mixed-list": [None, True, 1, 1.0, "1", [1], {"1": 1}],
    "true-beside-one": [True, 1, 1.0, False, 0, 0.0],
    "empty-key": {"": 1},
    "keys-with-dots": {"a.b": 1, "a": {"b": 2}, ".": 3, "..": 4},
    "keys-with-dollars": {"$set": {"a": 1}, "$": 2, "a$b": 3},
    "keys-with-nul": {"a\0": 1, "a": 2, "\0": 3},
    "keys-of-odd-text": {"é": 1, "e\u0301": 2, "👋": 3, "\u2028": 4, " ": 5, "A": 6, "a": 7},
    "keys-like-numbers": {"1": 1, "01": 2, "-1": 3, "1.0": 4},
    "keys-of-records": {"_id": 1, "id": 2, "state": 3, "version": 4, "__proto__": 5},
    "long-key": {"k" * 10_000: 1},
    "many-keys": {f"key {number}": number for number in range(1_000)},
    "deepest": _nested(63, "bottom"),
    "deepest-and-empty": _nested(62, []),
}

STATES: dict[str, bytes] = {
    "empty": b"{}",
    "whole-float": b'{"a":1.0,"b":1e300,"c":-0.0}',
    "keys-out-of-order": b'{"b":1,"a":2}',
    "spaces": b'{"a": 1, "b": [ ]}',
    "escapes": rb'{"a":"\u00e9\/\u0000","\u0062":1}',
    "unescaped": '{"a":"é\u2028👋","ключ":"\x7f"}'.encode(),
}


class ValuesContract(Contract):
    """A store changes nothing about what it is given."""

    @pytest.mark.parametrize("value", VALUES.values(), ids=VALUES.keys())
    async def test_a_value_comes_back_equal_and_of_the_same_type(
        self, store: AnyStore, value: object
    ) -> None:
        """A store is transparent: what a handler set, a later turn reads."""
        async with leased(store) as opened, Bot(session_store=opened) as bot:
            async with bot.conversation(TIM) as context:
                context.set_state(value=value)
            async with bot.conversation(TIM) as context:
                assert same({"value": value}, context.state)

    async def test_keys_of_the_state_itself_may_be_any_text(self, store: AnyStore) -> None:
        """The outermost keys are as free as those further in."""
        keys = [key for value in VALUES.values() if isinstance(value, dict) for key in value]
        state = dict.fromkeys(keys, "kept")
        async with leased(store) as opened, Bot(session_store=opened) as bot:
            async with bot.conversation(TIM) as context:
                context.set_state(state)
            async with bot.conversation(TIM) as context:
                assert same(state, context.state)

    @pytest.mark.parametrize("state", STATES.values(), ids=STATES.keys())
    async def test_the_bytes_of_a_state_come_back_as_they_are(
        self, store: AnyStore, state: bytes
    ) -> None:
        """A store does not look inside `state`, and returns it byte for byte."""
        async with leased(store) as opened:
            await put(opened, state=state)
            record = await peek(opened)
            assert record is not None
            assert state == record.state

    async def test_an_encrypted_state_comes_back_as_it_is(self, store: AnyStore) -> None:
        """To a store it is a state like any other; its record tells that it is encrypted."""
        state = b'{"data":"3q2+7w==","key":"2026-11","session":"test:tim \xc3\xa9"}'
        async with leased(store) as opened:
            written = await put(opened, state=state, format=FORMAT_SEALED)
            assert written == await peek(opened)

    @pytest.mark.parametrize("size", [1_000, 100_000, 1_000_000])
    async def test_a_large_state_comes_back(self, store: AnyStore, size: int) -> None:
        """A state of a megabyte is kept whole: histories grow."""
        state = {"history": ["é" * (size // 20)] * 10}
        async with leased(store) as opened, Bot(session_store=opened) as bot:
            async with bot.conversation(TIM) as context:
                context.set_state(state)
            async with bot.conversation(TIM) as context:
                assert same(state, context.state)

    @pytest.mark.parametrize(
        "fields",
        [
            pytest.param({}, id="plain"),
            pytest.param({"expires_at": None}, id="never-expires"),
            pytest.param({"expires_at": 253_402_300_799_999}, id="expires-in-the-year-9999"),
            pytest.param({"lifetime": NEVER}, id="lives-for-ever"),
            pytest.param({"lifetime": 1}, id="lives-for-a-millisecond"),
            pytest.param({"version": 2**63 - 1}, id="largest-version"),
            pytest.param({"version": 0}, id="version-zero"),
            pytest.param({"schema": 12}, id="schema"),
            pytest.param({"fades": {"code": 2**53, "a.$b\0é": 0, "": 3}}, id="fades"),
            pytest.param({"step": "ask_name"}, id="step"),
            pytest.param({"step": "a.$b\0é👋"}, id="step-of-odd-text"),
            pytest.param({"format": FORMAT_OVER, "state": b"{}"}, id="over"),
            pytest.param({"address": "C024\0é👋"}, id="address"),
            pytest.param({"address": ""}, id="empty-address"),
            pytest.param({"users": ("zoe", "adam", "é\0", "zoé")}, id="users-in-order"),
            pytest.param(
                {"seen": {"test:message:9": 1, "test:message:10": 2**53, "a.$b\0é": 0, "": 3}},
                id="seen-in-order",
            ),
        ],
    )
    async def test_every_field_of_a_record_comes_back(
        self, store: AnyStore, fields: dict[str, Any]
    ) -> None:
        """A record read equals the record written, in all its fields and their order."""
        async with leased(store) as opened:
            written = await put(opened, **{"state": {"n": 1}, **fields})
            read = await peek(opened)
            assert written == read
            assert read is not None
            assert list(written.seen.items()) == list(read.seen.items())
            assert list(written.fades.items()) == list(read.fades.items())
            assert isinstance(read.state, bytes)
            assert isinstance(read.users, tuple)

    async def test_a_record_is_replaced_whole(self, store: AnyStore) -> None:
        """Nothing of the record before remains in the one that takes its place."""
        async with leased(store) as opened:
            await put(
                opened,
                state={"a": 1, "b": {"c": 2}},
                expires_at=253_402_300_799_999,
                lifetime=60_000,
                fades={"a": 1},
                step="ask_name",
                seen={"test:message:1": 1},
                users=("adam",),
                address="here",
                schema=3,
            )
            written = await put(opened, state={"b": {}})
            assert written == await peek(opened)
