"""What strangers send, and what rests or is typed wrongly: made up by a fuzzer, and taken for that.

No crash but barback's own errors, no id that reaches another's place, no secret in any message.
"""

from __future__ import annotations

import asyncio
import copy
import pickle
import re
import sqlite3
import traceback
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hiredis
import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from barback import (
    BarbackError,
    Bot,
    ConfigurationError,
    Context,
    Event,
    FileSessionStore,
    InvalidEvent,
    InvalidSessionId,
    MemorySessionStore,
    Outcome,
    SessionUnreadable,
    StateValueError,
    User,
)
from barback.record import MAX_ID_BYTES, Record, check_session_id
from barback.seen import Seen
from barback.state import decode_state, encode_state
from barback.stores.file.records import file_name
from barback.stores.mongo.document import document_of
from barback.stores.mongo.document import record_of as record_of_document
from barback.stores.postgres.sql import Statements, after, text, untext
from barback.stores.redis import RedisSessionStore
from barback.stores.redis.commands import form, pack
from barback.stores.sqlite import SQLiteSessionStore
from barback.stores.url import open_store
from barback.testing.contract_tools import peek, put, record_of
from tests.values import values_of

if TYPE_CHECKING:
    from collections.abc import Callable

SECRET = "s3cr3tW0rd"  # noqa: S105 - that is looked for where it must not be

anything = st.text(st.characters(), max_size=40)  # lone surrogates too
NASTY = "ab/\\%{}[]:;.,?&=#@$*\"'`\0\n\r\t é\u0301ß\U0001f600\ud800"
nasty = st.text(st.sampled_from(NASTY), max_size=12)
texts = st.text(max_size=40) | nasty.filter(lambda value: "\ud800" not in value)
ids = st.builds("test:{}".format, texts.filter(bool)).filter(
    lambda value: len(value.encode()) <= MAX_ID_BYTES
)
values = values_of(texts)
states = st.dictionaries(texts, values, max_size=5)


# Ids.


PARTS = ["id", "channel", "kind", "text", "payload"]


@given(st.dictionaries(st.sampled_from(PARTS), anything), anything)
def test_an_event_is_taken_whole_or_refused(parts: dict[str, str], user: str) -> None:
    try:
        event = Event(**{"channel": "test", **parts}, user=User(user))
        session_id = Bot().session_id(event)
    except (InvalidEvent, InvalidSessionId, ConfigurationError):
        return
    assert check_session_id(session_id) == session_id
    assert len(session_id.encode()) <= MAX_ID_BYTES


@given(texts, texts, texts.filter(bool), texts.filter(bool))
@example("a", "b", "c", "b/c")
@example("a/", "b", "a", "/b")
def test_who_writes_where_else_has_another_session(
    group: str, other: str, user: str, somebody: str
) -> None:
    assume((group, user) != (other, somebody))
    events = [
        Event(channel="test", conversation=group or None, user=User(user)),
        Event(channel="test", conversation=other or None, user=User(somebody)),
    ]
    assume((events[0].conversation, user) != (events[1].conversation, somebody))
    try:
        one, two = map(Bot().session_id, events)
    except InvalidSessionId:
        return
    assert one != two


@given(ids, ids)
def test_no_two_ids_have_one_place(one: str, other: str) -> None:
    assume(one != other)
    redis = RedisSessionStore()
    places: list[Callable[[str], object]] = [file_name, text, redis._asking.keys]
    for place in places:
        assert place(one) != place(other)
    # A key of one is not the other's lease either.
    assert not {*redis._asking.keys(one)} & {*redis._asking.keys(other)}


@given(ids)
def test_a_place_is_found_back_from_and_leads_nowhere_else(session_id: str) -> None:
    redis = RedisSessionStore()
    key, lease = redis._asking.keys(session_id)
    assert redis._asking.session_id(key) == session_id
    tag = re.search(rb"\{(.*?)\}", key, re.DOTALL)
    assert tag is not None
    assert tag[1] == key[len("barback:{") : -1]  # up to the last brace: nobody's own closes it
    assert lease == key + b":lease"
    name = file_name(session_id)
    assert re.fullmatch(r"[a-z0-9_][a-z0-9_-]*\.json", name)
    assert len(name) < 255
    assert untext(text(session_id)) == session_id
    assert b"\0" not in text(session_id)


@given(texts, st.lists(ids, max_size=6))
def test_a_prefix_is_not_a_pattern(prefix: str, session_ids: list[str]) -> None:
    start = text(prefix)
    end = after(start)
    for session_id in session_ids:
        own = text(session_id)
        assert (start <= own and (end is None or own < end)) == session_id.startswith(prefix)


@given(st.lists(st.binary(max_size=30), min_size=1, max_size=5))
def test_what_is_in_a_command_stays_in_its_argument(arguments: list[bytes]) -> None:
    reader = hiredis.Reader()
    reader.feed(pack("X", *arguments))
    assert reader.gets() == [b"X", *arguments]
    wanted = [b"$%d\r\n%b\r\n"] * len(arguments)
    filled = form("X", *wanted) % tuple(part for each in arguments for part in (len(each), each))
    reader.feed(filled)
    assert reader.gets() == [b"X", *arguments]


@given(nasty.filter(bool))
def test_a_table_is_quoted_or_refused(table: str) -> None:
    try:
        statements = Statements(table, lock_timeout=1)
    except (ConfigurationError, UnicodeEncodeError):
        return
    quoted = r'"(?:[^"]|"")+"'
    assert re.search(rf"FROM (?:{quoted}\.)?{quoted}\n", statements.all.decode()) is not None


# What rests.


@given(states)
def test_a_state_comes_back_from_every_form_of_a_record(state: dict[str, Any]) -> None:
    record = record_of("test:tim", encode_state(state))
    read = Record.decode(record.encode(), session_id="test:tim")
    assert decode_state(read.state, "test:tim") == state
    again = record_of_document(copy.deepcopy(document_of(record)), store="mongodb")
    assert again.state == record.state


@given(st.binary(max_size=200) | st.text().map(lambda value: value.encode("utf-8", "replace")))
@example(b"")
@example(b"[" * 100_000)
@example(b'{"id":"test:tim","format":1,"version":1,"created_at":0,"last_activity":0,"state":{}}')
def test_bytes_are_a_record_or_unreadable(data: bytes) -> None:
    with suppress(SessionUnreadable):
        assert Record.decode(data, session_id="test:tim").id == "test:tim"


@given(st.data())
def test_a_record_that_was_tampered_with_is_a_record_or_unreadable(data: st.DataObject) -> None:
    seen = Seen.of({"a": 1, "b": 2})
    good = bytearray(record_of("test:tim", {"n": 1, "t": "é"}, seen=seen, users=("u",)).encode())
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, max(0, len(good) - 1)))
        action = data.draw(st.sampled_from(["change", "remove", "insert", "cut"]))
        if action == "change":
            good[place : place + 1] = bytes([data.draw(st.integers(0, 255))])
        elif action == "remove":
            del good[place : place + 1]
        elif action == "insert":
            good.insert(place, data.draw(st.integers(0, 255)))
        else:
            del good[max(place, 1) :]
    try:
        record = Record.decode(bytes(good), session_id="test:tim")
        decode_state(record.state, "test:tim")
        record.encode()
    except SessionUnreadable:
        pass


FIELDS = [
    *("version", "format", "schema", "created_at", "last_activity", "expires_at", "seen"),
    *("lifetime", "users", "address", "state", "data", "lease"),
]


@given(st.dictionaries(st.sampled_from(FIELDS), values | st.binary()))
def test_a_document_is_a_record_or_unreadable(fields: dict[str, Any]) -> None:
    document = {**document_of(record_of("test:tim", {"n": 1})), **fields}
    with suppress(SessionUnreadable):
        assert record_of_document(document, store="mongodb").id == "test:tim"


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=300))
def test_a_file_of_anything_is_unreadable_and_left(data: bytes, tmp_path: Path) -> None:
    asyncio.run(file_of(data, tmp_path))


async def file_of(data: bytes, tmp_path: Path) -> None:
    async with FileSessionStore(tmp_path / "sessions") as store:
        await put(store)
        path = tmp_path / "sessions" / file_name("test:tim")
        path.write_bytes(data)
        with pytest.raises(SessionUnreadable):
            await peek(store)
        assert path.read_bytes() == data
        await store.destroy("test:tim", None)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=300))
def test_a_row_of_anything_is_unreadable_and_left(data: bytes, tmp_path: Path) -> None:
    asyncio.run(row_of(data, tmp_path))


async def row_of(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "sessions.db"
    async with SQLiteSessionStore(path) as store:
        await put(store)
        with sqlite3.connect(path) as other:
            other.execute("UPDATE sessions SET record = ?", (data,))
        other.close()
        with pytest.raises(SessionUnreadable):
            await peek(store)
        await store.destroy("test:tim", None)


# States that handlers make, texts that people send.


@settings(max_examples=60)
@given(st.lists(anything, min_size=1, max_size=4), anything, anything)
def test_a_bot_keeps_what_it_is_sent_or_says_why_not(said: list[str], key: str, user: str) -> None:
    asyncio.run(sent(said, key, user))


async def sent(said: list[str], key: str, user: str) -> None:
    store = MemorySessionStore()
    bot = Bot(session_store=store, initial_state={"texts": []})
    told: list[Exception] = []

    @bot.on_event
    async def remember(context: Context) -> None:
        context.state["texts"].append(context.event.text)
        context.set_state({key: context.event.payload})

    @bot.on_error
    async def note(_: Context, error: Exception) -> None:
        told.append(error)

    kept: list[str] = []
    async with bot:
        for each in said:
            try:
                event = Event(channel="test", user=User(user), text=each, payload=each)
                outcome = await bot.handle(event)
            except (InvalidEvent, InvalidSessionId):
                continue
            if outcome is Outcome.COMMITTED:
                kept.append(each)
            else:
                assert outcome is Outcome.FAILED
                assert isinstance(told.pop(), StateValueError)
        if kept and key != "texts":
            record = await peek(store, next(iter(store._records)))
            assert record is not None
            assert decode_state(record.state, record.id)["texts"] == kept


# Addresses with secrets in them.

PATHS = ["sqlite", "file", "memory", "unix", "redis+unix"]  # where such a thing is no password
SCHEMES = [
    *("redis", "rediss", "valkey", "redis+cluster", "redis+sentinel"),
    *("mongodb", "mongodb+srv", "postgresql", "postgres", "nobody"),
    *PATHS,
]


@settings(max_examples=600, deadline=None)
@given(st.sampled_from(SCHEMES), nasty, nasty, nasty, nasty)
@example("redis", "", "[", "", "")
@example("mongodb", "", "a:b", "", "?tls=x&tls=y")
@example("postgresql", "", "a", "", "?sslmode=x")
@example("redis+sentinel", ";/", "", "", "")
@example("redis", "", "x?", "", "")
@example("sqlite", "", "?", "", "")
def test_a_url_is_a_store_or_refused_and_tells_no_secret(
    scheme: str, user: str, before: str, host: str, rest: str
) -> None:
    url = f"{scheme}://{user}:{before}{SECRET}@{host}/{rest}"
    try:
        store = open_store(url)
        told = repr(store) + str(getattr(store, "where", ""))
    except BarbackError as error:
        told = "".join(traceback.format_exception(error))
    assert scheme in PATHS or SECRET not in told


@given(anything)
def test_whatever_is_no_url_is_refused(url: str) -> None:
    with suppress(BarbackError):
        open_store(url)


async def test_no_error_of_a_bot_tells_what_was_said() -> None:
    """Of states and texts, whatever goes wrong."""
    store = MemorySessionStore()
    bot = Bot(session_store=store, initial_state={"said": ""})

    @bot.on_event
    async def remember(context: Context) -> None:
        context.set_state(said=context.event.text)
        raise RuntimeError

    event = Event(channel="test", user=User("tim"), text=SECRET, payload=SECRET, raw={"x": SECRET})
    context: list[Context] = []

    @bot.on_error
    async def note(told: Context, error: Exception) -> None:
        context.append(told)
        told.set_state(said=SECRET)

    async with bot:
        assert await bot.handle(event) is Outcome.FAILED
    record = store._records["test:tim"]
    assert SECRET.encode() in record.state
    for thing in (bot, store, event, context[0], context[0].session):
        assert SECRET not in repr(thing), type(thing)


@given(st.sampled_from(BarbackError.__subclasses__()), texts)
def test_errors_travel_between_processes(kind: type[BarbackError], said: str) -> None:
    error = kind(said, session_id="test:tim", store="memory")
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
    assert (type(again), str(again), again.session_id) == (kind, said, "test:tim")
