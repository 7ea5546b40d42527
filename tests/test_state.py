"""State: which values a session keeps, how it refuses others, and whose copy is whose."""

from __future__ import annotations

import asyncio
import collections
import enum
import math
import string
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from barback import (
    Bot,
    ConfigurationError,
    Context,
    Outcome,
    SessionUnreadable,
    StateValueError,
    TurnEnded,
)
from barback.state import MAX_DEPTH, Draft, InitialState, checked, decode_state, encode_state
from barback.stores.memory import MemorySessionStore
from barback.testing import Simulator
from barback.testing.contract_tools import put, same
from tests.scripted import event
from tests.values import values_of


class Shout(str):
    __slots__ = ()


class Count(int):
    pass


class Ratio(float):
    pass


class Basket(dict[str, Any]):
    pass


class Queue(list[Any]):
    pass


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    LOW = 1


class Word(enum.StrEnum):
    YES = "yes"


class Point(NamedTuple):
    x: int


class Thing:
    pass


def nested(depth: int, kind: type[list[Any] | dict[str, Any]] = list) -> Any:
    """A value that is `depth` lists, or dicts, inside one another."""
    value: Any = 1
    for _ in range(depth):
        value = [value] if kind is list else {"k": value}
    return value


def knot(kind: type[list[Any] | dict[str, Any]]) -> Any:
    """A value that is inside itself."""
    if kind is list:
        items: list[Any] = []
        items.append(items)
        return items
    table: dict[str, Any] = {}
    table["k"] = table
    return table


def bot_that(act: Callable[[Context], None], **options: Any) -> Bot:
    bot = Bot(**options)

    @bot.on_event
    async def handle(context: Context) -> None:
        act(context)

    return bot


async def kept(value: Any) -> Any:
    """What a second turn reads of a value that a first one set."""
    async with Simulator(bot_that(lambda context: context.set_state(value=value))) as chat:
        await chat.say("set it")
        return (await chat.state())["value"]


# What is kept.

ALLOWED = {
    "none": None,
    "true": True,
    "false": False,
    "zero": 0,
    "smallest integer": -(2**63),
    "largest integer": 2**63 - 1,
    "float": 0.1,
    "whole float": 1.0,
    "negative zero": -0.0,
    "largest float": 1.7976931348623157e308,
    "smallest float": 5e-324,
    "empty text": "",
    "NUL": "a\0b",
    "text beyond the first plane": "🍸",
    "text of a noncharacter": "\uffff",
    "line separators": "\u2028\u2029\x85\r\n",
    "quotes": '"\\/',
    "empty list": [],
    "empty dict": {},
    "mixed list": [1, 1.0, True, None, "1"],
    "empty key": {"": 1},
    "odd keys": {"a.b": 1, "$set": 2, "\0": 3, "ключ": 4, "🍸": 5},
    "lists as deep as may be": nested(MAX_DEPTH - 1),
    "dicts as deep as may be": nested(MAX_DEPTH - 1, dict),
}


@pytest.mark.parametrize("value", ALLOWED.values(), ids=ALLOWED)
async def test_what_is_allowed_comes_back_equal_and_of_its_type(value: Any) -> None:
    assert same(value, await kept(value))


TEXT = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = values_of(TEXT)
STATES = st.dictionaries(TEXT, VALUES, max_size=5)


@given(VALUES)
@example({"a": [-0.0, 2**63 - 1, "\0"]})
@settings(max_examples=100, deadline=None)
def test_any_value_survives_a_turn(value: Any) -> None:
    assert same(value, asyncio.run(kept(value)))


@given(STATES)
def test_any_state_survives_encoding(state: dict[str, Any]) -> None:
    assert same(state, decode_state(encode_state(state), "test:tim"))


@given(STATES, st.randoms(use_true_random=False))
def test_equal_states_are_equal_bytes_in_whatever_order_their_keys_came(
    state: dict[str, Any], random: Any
) -> None:
    def shuffled(value: Any) -> Any:
        if isinstance(value, list):
            return [shuffled(item) for item in value]
        if isinstance(value, dict):
            keys = list(value)
            random.shuffle(keys)
            return {key: shuffled(value[key]) for key in keys}
        return value

    assert encode_state(state) == encode_state(shuffled(state))


# What is refused.

REFUSED = {
    "tuple": ((1, 2), "of type tuple (use a list)"),
    "named tuple": (Point(1), "of type Point"),
    "set": ({1}, "of type set (use a list)"),
    "frozenset": (frozenset({1}), "of type frozenset (use a list)"),
    "datetime": (datetime(2100, 1, 1, tzinfo=UTC), "of type datetime (use .isoformat())"),
    "date": (date(2100, 1, 1), "of type date (use .isoformat())"),
    "decimal": (Decimal("0.1"), "of type Decimal (use str())"),
    "uuid": (uuid.UUID(int=1), "of type UUID (use str())"),
    "bytes": (b"\0", "of type bytes (use base64 text)"),
    "bytearray": (bytearray(1), "of type bytearray"),
    "not a number": (math.nan, "a float that is not finite (keep None instead)"),
    "infinity": (math.inf, "a float that is not finite"),
    "negative infinity": (-math.inf, "a float that is not finite"),
    "64 bits and one more": (2**63, "an integer of more than 64 bits (keep it as text)"),
    "as many below zero": (-(2**63) - 1, "an integer of more than 64 bits"),
    "a hundred digits": (10**100, "an integer of more than 64 bits"),
    "lone surrogate": ("a\ud800", "text with a lone surrogate"),
    "half a smile": ("\ude00", "text with a lone surrogate"),
    "kind of str": (Shout("hey"), "of type Shout (use str())"),
    "kind of int": (Count(1), "of type Count (use int())"),
    "kind of float": (Ratio(0.5), "of type Ratio (use float())"),
    "kind of dict": (Basket(a=1), "of type Basket (use dict())"),
    "kind of list": (Queue([1]), "of type Queue (use list())"),
    "ordered dict": (collections.OrderedDict(a=1), "of type OrderedDict (use dict())"),
    "view of a mapping": (MappingProxyType({"a": 1}), "of type mappingproxy"),
    "enum": (Colour.RED, "of type Colour"),
    "enum of numbers": (Level.LOW, "of type Level (use int())"),
    "enum of texts": (Word.YES, "of type Word (use str())"),
    "object": (Thing(), "of type Thing"),
    "complex": (1j, "of type complex"),
    "function": (len, "of type builtin_function_or_method"),
    "class": (int, "of type type"),
    "lists too deep": (nested(MAX_DEPTH), "more than 64 levels deep, or inside itself"),
    "dicts too deep": (nested(MAX_DEPTH, dict), "more than 64 levels deep, or inside itself"),
    "far too deep": (nested(100_000), "more than 64 levels deep, or inside itself"),
    "list inside itself": (knot(list), "more than 64 levels deep, or inside itself"),
    "dict inside itself": (knot(dict), "more than 64 levels deep, or inside itself"),
}
SHALLOW = {name: case for name, case in REFUSED.items() if "levels deep" not in case[1]}


@pytest.mark.parametrize(("value", "reason"), REFUSED.values(), ids=REFUSED)
async def test_what_cannot_be_kept_is_refused_at_set_state_with_a_remedy(
    value: Any, reason: str
) -> None:
    async with Simulator(bot_that(lambda context: context.set_state(value=value))) as chat:
        with pytest.raises(StateValueError) as refused:
            await chat.say("set it")
        assert await chat.state() == {}
    assert f" is {reason}" in str(refused.value)
    assert str(refused.value).startswith("state['value']")
    assert refused.value.path.startswith("state['value']")
    assert refused.value.session_id == "simulator:you"


@pytest.mark.parametrize(("value", "reason"), SHALLOW.values(), ids=SHALLOW)
def test_the_path_leads_to_the_value(value: Any, reason: str) -> None:
    with pytest.raises(StateValueError) as refused:
        checked({"cart": [{"size": 1}, {"size": value}]})
    assert refused.value.path == "state['cart'][1]['size']"
    assert str(refused.value).startswith(f"state['cart'][1]['size'] is {reason}")


@pytest.mark.parametrize(("value", "reason"), REFUSED.values(), ids=REFUSED)
async def test_what_a_nested_change_puts_in_is_refused_at_the_commit(
    value: Any, reason: str
) -> None:
    def put_in(context: Context) -> None:
        context.state["items"].append(value)

    async with Simulator(bot_that(put_in, initial_state={"items": [0]})) as chat:
        with pytest.raises(StateValueError) as refused:
            await chat.say("put it in")
        assert chat.outcome == Outcome.FAILED
        assert await chat.state() == {"items": [0]}
    assert f" is {reason}" in str(refused.value)
    assert refused.value.path.startswith("state['items'][1]")


KEYS = {
    "integer": (1, "has a key that is not text"),
    "none": (None, "has a key that is not text"),
    "boolean": (True, "has a key that is not text"),
    "float": (1.5, "has a key that is not text"),
    "bytes": (b"k", "has a key that is not text"),
    "tuple": (("a", "b"), "has a key that is not text"),
    "kind of str": (Shout("k"), "has a key that is of type Shout (use str)"),
    "enum of texts": (Word.YES, "has a key that is of type Word (use str)"),
    "lone surrogate": ("\udfff", "has a key that is text with a lone surrogate"),
}


@pytest.mark.parametrize(("key", "reason"), KEYS.values(), ids=KEYS)
async def test_a_key_that_cannot_be_kept_is_refused(key: Any, reason: str) -> None:
    for change, path in (({key: 1}, "state"), ({"a": [{key: 1}]}, "state['a'][0]")):
        with pytest.raises(StateValueError) as refused:
            checked(change)
        assert refused.value.path == path
        assert f"{path} {reason}: keys must be str" in str(refused.value)


@pytest.mark.parametrize(("key", "reason"), KEYS.values(), ids=KEYS)
async def test_a_key_that_a_nested_change_puts_in_is_refused_at_the_commit(
    key: Any, reason: str
) -> None:
    def put_in(context: Context) -> None:
        context.state["table"][key] = 1

    async with Simulator(bot_that(put_in, initial_state={"table": {}})) as chat:
        with pytest.raises(StateValueError) as refused:
            await chat.say("put it in")
        assert await chat.state() == {"table": {}}
    assert f"state['table'] {reason}" in str(refused.value)


def test_no_message_holds_what_people_said() -> None:
    with pytest.raises(StateValueError) as refused:
        checked({"note": "my secret\ud800"})
    assert "secret" not in str(refused.value)


def test_a_long_path_is_shortened_in_the_message_only() -> None:
    key = "k" * 500
    with pytest.raises(StateValueError) as refused:
        checked({key: {"deep": b""}})
    assert refused.value.path == f"state['{key}']['deep']"
    assert len(str(refused.value)) < 400
    assert "…" in str(refused.value)


@pytest.mark.parametrize("mapping", [1, [("a", 1)], "text", {1}], ids=repr)
async def test_set_state_takes_a_mapping_or_keywords(mapping: Any) -> None:
    async with Simulator(bot_that(lambda context: context.set_state(mapping))) as chat:
        with pytest.raises(StateValueError, match="takes a mapping or keywords"):
            await chat.say("set it")


# Changes.


async def test_set_state_merges_at_the_top_only() -> None:
    initial = {"keep": 1, "change": 1, "nest": {"a": 1}}
    change = bot_that(
        lambda context: context.set_state({"change": 2, "both": 1}, both=2, nest={"b": 2}),
        initial_state=initial,
    )
    async with Simulator(change) as chat:
        await chat.say("change")
        assert await chat.state() == {"keep": 1, "change": 2, "both": 2, "nest": {"b": 2}}


async def test_any_mapping_and_any_key_can_be_set() -> None:
    def change(context: Context) -> None:
        context.set_state(MappingProxyType({"mapping": 1, "self": 2, "not a name": 3}))
        context.set_state(mapping=4)

    async with Simulator(bot_that(change)) as chat:
        await chat.say("change")
        assert await chat.state() == {"mapping": 4, "self": 2, "not a name": 3}


async def test_set_state_sets_all_or_nothing() -> None:
    def change(context: Context) -> None:
        with pytest.raises(StateValueError):
            context.set_state(good=1, bad={1})
        with pytest.raises(StateValueError):
            context.set_state({"fine": 1, 2: 2})  # type: ignore[dict-item]  # which is the point
        context.set_state(after=1)

    async with Simulator(bot_that(change)) as chat:
        await chat.say("change")
        assert await chat.state() == {"after": 1}


async def test_a_change_inside_the_state_is_a_change() -> None:
    def grow(context: Context) -> None:
        context.state["cart"].append({"n": len(context.state["cart"])})

    async with Simulator(bot_that(grow, initial_state={"cart": []})) as chat:
        await chat.say("grow")
        assert chat.outcome == Outcome.COMMITTED
        await chat.say("grow")
        assert await chat.state() == {"cart": [{"n": 0}, {"n": 1}]}


async def test_a_key_can_be_removed() -> None:
    async with Simulator(
        bot_that(lambda context: context.state.pop("a", None), initial_state={"a": 1, "b": 2})
    ) as chat:
        await chat.say("remove")
        assert await chat.state() == {"b": 2}


def there_and_back(context: Context) -> None:
    context.set_state(n=2)
    context.set_state(n=1)


NO_CHANGES: dict[str, Callable[[Context], None]] = {
    "looking": lambda context: context.state.get("list"),
    "the same value": lambda context: context.set_state(n=1),
    "an equal list": lambda context: context.set_state(list=[1, {"a": 1, "b": 2}]),
    "another order of keys": lambda context: context.set_state(list=[1, {"b": 2, "a": 1}]),
    "there and back": there_and_back,
    "out and in again": lambda context: context.state.update(n=context.state.pop("n")),
    "a reset to what it was": lambda context: context.reset_state(),
    "nothing to set": lambda context: context.set_state(),
}


@pytest.mark.parametrize("act", NO_CHANGES.values(), ids=NO_CHANGES)
async def test_what_ends_as_it_began_is_no_change(act: Callable[[Context], None]) -> None:
    bot = bot_that(act, initial_state={"n": 1, "list": [1, {"a": 1, "b": 2}]})
    async with Simulator(bot) as chat:
        await chat.say("act")
        assert chat.outcome == Outcome.UNCHANGED


@pytest.mark.parametrize("other", [1.0, True, "1", [1], None], ids=repr)
async def test_another_type_is_a_change(other: Any) -> None:
    bot = bot_that(lambda context: context.set_state(n=other), initial_state={"n": 1})
    async with Simulator(bot) as chat:
        await chat.say("act")
        assert chat.outcome == Outcome.COMMITTED
        assert same({"n": other}, await chat.state())


async def test_reset_goes_back_to_the_initial_state() -> None:
    def act(context: Context) -> None:
        if context.event.text == "reset":
            context.reset_state()
            assert context.state == {"n": [0]}
        else:
            context.state["n"].append(1)
            context.set_state(more=2)

    async with Simulator(bot_that(act, initial_state={"n": [0]})) as chat:
        await chat.say("change")
        assert await chat.state() == {"n": [0, 1], "more": 2}
        await chat.say("reset")
        assert await chat.state() == {"n": [0]}


async def test_a_change_after_a_reset_counts_from_the_initial_state() -> None:
    def act(context: Context) -> None:
        context.set_state(gone=1)
        context.reset_state()
        context.set_state(kept=1)

    async with Simulator(bot_that(act, initial_state={"n": 0})) as chat:
        await chat.say("act")
        assert await chat.state() == {"n": 0, "kept": 1}


async def test_nothing_can_be_changed_after_the_turn() -> None:
    contexts: list[Context] = []
    async with Simulator(bot_that(contexts.append)) as chat:
        await chat.say("x")
        with pytest.raises(TurnEnded):
            contexts[0].set_state(late=1)
        with pytest.raises(TurnEnded):
            contexts[0].reset_state()
        assert await chat.state() == {}


# Whose copy is whose.


async def test_what_is_set_is_copied() -> None:
    mine = {"list": [1]}

    def act(context: Context) -> None:
        if context.event.text == "set":
            context.set_state(mine)
            mine["list"].append(2)
            assert context.state == {"list": [1]}

    async with Simulator(bot_that(act)) as chat:
        await chat.say("set")
        mine["list"].append(3)
        assert await chat.state() == {"list": [1]}


async def test_what_is_read_is_a_copy_of_each_turns_own() -> None:
    seen: list[dict[str, Any]] = []

    def act(context: Context) -> None:
        seen.append(context.state)

    async with Simulator(bot_that(act, initial_state={"list": [1]})) as chat:
        await chat.say("look")
        seen[0]["list"].append("scribbled after the turn")
        await chat.say("look")
        assert seen[1] == {"list": [1]}


async def test_one_value_set_twice_is_two_values() -> None:
    shared: list[int] = []

    def act(context: Context) -> None:
        context.set_state(a=shared, b=shared)
        context.state["a"].append(1)

    async with Simulator(bot_that(act)) as chat:
        await chat.say("x")
        assert await chat.state() == {"a": [1], "b": []}


async def test_sessions_do_not_share_the_initial_state() -> None:
    initial: dict[str, Any] = {"list": []}

    def act(context: Context) -> None:
        context.state["list"].append(context.event.text)

    async with Simulator(bot_that(act, initial_state=initial)) as chat:
        await chat.say("a", user="ann")
        await chat.say("b", user="bob")
        assert await chat.state(user="ann") == {"list": ["a"]}
        assert await chat.state(user="bob") == {"list": ["b"]}
    assert initial == {"list": []}


async def test_a_failed_turn_leaves_nothing_in_the_state_of_on_error() -> None:
    def act(context: Context) -> None:
        context.state["list"].append("half")
        message = "a bug"
        raise LookupError(message)

    bot = bot_that(act, initial_state={"list": []})

    @bot.on_error
    async def note(context: Context, error: Exception) -> None:
        context.set_state(seen=context.state["list"], error=str(error))

    async with Simulator(bot) as chat:
        await chat.say("x")
        assert await chat.state() == {"list": [], "seen": [], "error": "a bug"}


# The initial state.


async def test_a_bot_without_an_initial_state_starts_from_an_empty_one() -> None:
    async with Simulator(bot_that(lambda _: None)) as chat:
        assert await chat.state() == {}


async def test_the_initial_state_may_be_any_mapping() -> None:
    bot = bot_that(lambda _: None, initial_state=MappingProxyType({"n": 1}))
    async with Simulator(bot) as chat:
        assert await chat.state() == {"n": 1}


async def test_a_later_change_of_the_mapping_is_not_seen() -> None:
    initial = {"list": [1]}
    bot = bot_that(lambda _: None, initial_state=initial)
    initial["list"].append(2)
    async with Simulator(bot) as chat:
        assert await chat.state() == {"list": [1]}


async def test_the_initial_state_may_be_a_function_called_for_each_new_session() -> None:
    calls: list[None] = []

    def initial() -> Mapping[str, Any]:
        calls.append(None)
        return {"number": len(calls)}

    bot = bot_that(lambda context: context.set_state(seen=True), initial_state=initial)
    assert calls == []
    async with Simulator(bot) as chat:
        for user in ("ann", "bob", "ann"):
            await chat.say("x", user=user)
        assert await chat.state(user="ann") == {"number": 1, "seen": True}
        assert await chat.state(user="bob") == {"number": 2, "seen": True}
    assert len(calls) == 2


async def test_one_mapping_that_a_function_gives_again_and_again_is_not_shared() -> None:
    shared: dict[str, Any] = {"list": []}
    bot = bot_that(
        lambda context: context.state["list"].append(context.event.text),
        initial_state=lambda: shared,
    )
    async with Simulator(bot) as chat:
        await chat.say("a", user="ann")
        await chat.say("b", user="bob")
        assert await chat.state(user="bob") == {"list": ["b"]}
    assert shared == {"list": []}


@pytest.mark.parametrize("initial", [1, "text", [("a", 1)], {"a"}], ids=repr)
def test_an_initial_state_that_is_none_is_refused_when_the_bot_is_made(initial: Any) -> None:
    with pytest.raises(ConfigurationError, match="must be a mapping or a function"):
        Bot(initial_state=initial)


def test_an_initial_state_that_cannot_be_kept_is_refused_when_the_bot_is_made() -> None:
    with pytest.raises(StateValueError, match=r"state\['when'\] is of type date"):
        Bot(initial_state={"when": date(2100, 1, 1)})


@pytest.mark.parametrize(
    ("made", "reason"),
    [(None, "returned NoneType"), ([1], "returned list"), ({"a": {1}}, "is of type set")],
    ids=repr,
)
async def test_a_function_that_makes_no_state_fails_the_turn(made: Any, reason: str) -> None:
    bot = bot_that(lambda context: context.set_state(n=1), initial_state=lambda: made)
    async with Simulator(bot) as chat:
        with pytest.raises(StateValueError, match=reason):
            await chat.say("x")
        assert chat.outcome == Outcome.FAILED


# What rests.


def test_what_rests_is_sorted_and_readable() -> None:
    assert encode_state({"b": [1, 2.5, None], "a": {"d": True, "c": "é"}}) == (
        '{"a":{"c":"é","d":true},"b":[1,2.5,null]}'.encode()
    )


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b"1", b"\xff", b'{"a":\xff}', b'{"a":NaN}', b"[" * 10**6], ids=repr
)
def test_a_state_that_cannot_be_read_is_an_error_and_no_new_state(data: bytes) -> None:
    with pytest.raises(SessionUnreadable, match="test:tim") as raised:
        decode_state(data, "test:tim")
    assert raised.value.session_id == "test:tim"
    assert raised.value.__cause__ is not None


def test_a_state_that_cannot_be_read_tells_nothing_of_what_is_in_it() -> None:
    with pytest.raises(SessionUnreadable) as raised:
        decode_state(b'{"password":"hunter2\xff"}', "test:tim")
    error, cause = raised.value, raised.value.__cause__
    assert "hunter2" not in f"{error!r} {error} {cause!r} {cause}"


def test_a_state_that_nobody_looked_at_is_not_even_decoded() -> None:
    draft = Draft(b"unreadable", InitialState(None), "test:tim", None)
    assert draft.changed() is None
    with pytest.raises(SessionUnreadable):
        _ = draft.value


@given(STATES, st.dictionaries(st.text(string.ascii_lowercase, max_size=2), VALUES))
def test_a_merge_is_what_update_does_to_a_dict(
    state: dict[str, Any], changes: dict[str, Any]
) -> None:
    draft = Draft(encode_state(state), InitialState(None), "test:tim", None)
    draft.merge(changes)
    expected = {**state, **changes}
    assert same(expected, draft.value)
    encoded = draft.changed()
    assert (encoded is None) == same(expected, state)
    assert encoded is None or same(expected, decode_state(encoded, "test:tim"))


class Paint(enum.Enum):
    RED = "red"


SAME_BYTES = {
    "NaN over None": (None, float("nan")),
    "infinity over None": (None, float("inf")),
    "tuple over list": ([1], (1,)),
    "set over list": ([1], {1}),
    "bytes over text": ("YQ==", b"a"),
    "date over text": ("2020-01-01", date(2020, 1, 1)),
    "decimal over text": ("1.5", Decimal("1.5")),
    "enum over text": ("red", Paint.RED),
}


@pytest.mark.parametrize(("before", "after"), SAME_BYTES.values(), ids=SAME_BYTES)
async def test_what_would_be_written_as_what_was_there_is_refused_at_the_commit(
    before: Any, after: Any
) -> None:
    async with Bot(initial_state={"deep": [{"v": before}]}) as bot:
        with pytest.raises(StateValueError) as refused:
            async with bot.conversation("test:tim") as context:
                context.state["deep"][0]["v"] = after
        assert refused.value.path == "state['deep'][0]['v']"


@pytest.mark.parametrize("value", [2**63, -(2**70), pytest.param("[" * 70 + "]" * 70, id="deep")])
async def test_what_was_written_under_wider_limits_can_be_read_and_left(value: int | str) -> None:
    """An older barback may have allowed more; only what is set now must be within today's."""
    store = MemorySessionStore(expires_in=None)
    await put(store, state=f'{{"n":1,"old":{value}}}'.encode())
    seen: list[Any] = []
    bot = Bot(session_store=store)

    @bot.on_event
    async def look(context: Context) -> None:
        seen.append(context.state["n"])
        if context.event.text == "set":
            context.set_state(n=2)

    async with bot:
        assert await bot.handle(event()) is Outcome.UNCHANGED
        assert await bot.handle(event(text="set")) is Outcome.FAILED
        assert await bot.handle(event()) is Outcome.UNCHANGED
    assert seen == [1, 1, 1]
