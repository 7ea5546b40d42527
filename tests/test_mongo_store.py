"""The MongoDB store keeps the contract, and what it promises beyond."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import time
import traceback
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import bson
import msgspec
import pymongo
import pytest
from bson.int64 import Int64
from hypothesis import given, settings
from hypothesis import strategies as st
from pymongo.monitoring import CommandListener, CommandStartedEvent

from barback import Bot, Keys
from barback.errors import (
    BarbackError,
    CommitUnknown,
    ConfigurationError,
    LeaseLost,
    SessionBusy,
    SessionStoreUnavailable,
    SessionTooNew,
    SessionUnreadable,
)
from barback.record import FORMATS, Record
from barback.state import encode_state
from barback.stores.base import GRACE, Lease, LeasedStore, SessionStore
from barback.stores.mongo import MongoSessionStore
from barback.stores.mongo.document import document_of, record_of
from barback.stores.mongo.failures import discreet
from barback.stores.url import open_store
from barback.testing.contract import ListedStoreContract
from barback.testing.contract_tools import TIM, lease_on, now, peek, put
from barback.testing.contract_tools import record_of as new_record
from tests.mongo_servers import Document, Documents, MongoServer
from tests.slack import SLACK


@pytest.fixture
def store(mongodb_url: str, mongo_database: str) -> MongoSessionStore:
    return MongoSessionStore(mongodb_url, database=mongo_database)


class TestMongo(ListedStoreContract):
    short_term = 0.5

    @pytest.fixture
    def store(self, mongodb_url: str, mongo_database: str) -> MongoSessionStore:
        return MongoSessionStore(mongodb_url, database=mongo_database)

    async def damage(self, store: SessionStore | LeasedStore, session_id: str) -> None:
        assert isinstance(store, MongoSessionStore)
        assert store._asking is not None
        await store._asking.sessions.update_one(
            {"_id": session_id}, {"$set": {"created_at": "yesterday"}}
        )


# The document.


async def test_a_state_is_fields_that_can_be_queried(
    store: MongoSessionStore, documents: Documents
) -> None:
    async with Bot(session_store=store) as bot:
        for user, nickname in (("telegram:1", "Tim"), ("telegram:2", "Zoe")):
            async with bot.conversation(user) as context:
                context.set_state(nickname=nickname, cart=[{"tea": 2}])
    found = list(documents.find({"state.nickname": "Tim", "state.cart.tea": {"$gt": 1}}))
    assert [document["_id"] for document in found] == ["telegram:1"]
    assert found[0]["state"] == {"cart": [{"tea": 2}], "nickname": "Tim"}


async def test_every_field_rests_in_its_place_and_type(
    store: MongoSessionStore, documents: Documents
) -> None:
    async with store:
        await put(
            store,
            state={"n": 1},
            version=7,
            created_at=1,
            last_activity=2,
            expires_at=2**50,
            lifetime=-1,
            schema=3,
            seen={"b": 5, "a": 4},
            users=("zoe", "adam"),
            address="here",
        )
    document = documents.find_one()
    assert document is not None
    del document["sweep_at"]
    assert document == {
        "_id": TIM,
        "version": 7,
        "format": 1,
        "schema": 3,
        "created_at": 1,
        "last_activity": 2,
        "expires_at": 2**50,
        "lifetime": -1,
        "seen": "b 5, a 4",
        "users": ["zoe", "adam"],
        "address": "here",
        "state": {"n": 1},
    }
    for name in ("version", "created_at", "last_activity", "expires_at", "lifetime"):
        assert isinstance(document[name], Int64), name


async def test_keys_that_mongodb_treats_specially_are_escaped(
    store: MongoSessionStore, documents: Documents
) -> None:
    rests_as = {
        "": "%",
        "%": "%25",
        "%%": "%25%25",
        "%24": "%2524",
        "$where": "%24where",
        "a$": "a$",
        "a.b": "a%2Eb",
        ".": "%2E",
        "\0": "%00",
        "naïve 👋": "naïve 👋",
        "_id": "_id",
        "0": "0",
    }
    state = {**dict.fromkeys(rests_as, 1), "inside": [dict.fromkeys(rests_as, 2)]}
    async with store:
        written = await put(store, state=state)
        assert written == await peek(store)
    document = documents.find_one()
    assert document is not None
    assert {*rests_as.values(), "inside"} == document["state"].keys()
    assert set(rests_as.values()) == document["state"]["inside"][0].keys()


async def test_integers_of_64_bits_and_floats_keep_their_value_and_type(
    store: MongoSessionStore, documents: Documents
) -> None:
    numbers = [0, 2**31, -(2**31) - 1, 2**63 - 1, -(2**63), 1.0, -0.0, 5e-324, 1.7e308]
    async with store:
        written = await put(store, state={"numbers": numbers})
        record = await peek(store)
    assert written == record
    document = documents.find_one()
    assert document is not None
    kept = document["state"]["numbers"]
    assert list(map(repr, numbers)) == list(map(repr, kept))
    assert [isinstance(number, float) for number in kept] == [False] * 5 + [True] * 4


async def test_text_that_looks_like_an_expression_is_text(store: MongoSessionStore) -> None:
    state = {"a": "$version", "b": ["$$NOW", "$$REMOVE"], "c": {"$add": ["$$NOW", 1]}}
    async with store:
        mine = lease_on("test:$_id", token="$mine")  # noqa: S106 - a lease's
        await store.checkout("test:$_id", mine)
        for token in ("$lease.token", "$$NOW", "$$ROOT"):
            with pytest.raises(SessionBusy):
                await store.checkout("test:$_id", lease_on("test:$_id", token=token))
        written = new_record(
            "test:$_id", state, address="$$NOW", users=("$users",), seen={"$seen": 1}
        )
        await store.commit(written, mine, keep=True)
        with pytest.raises(SessionBusy):
            await store.checkout("test:$_id", lease_on("test:$_id"))
        assert written == await store.checkout("test:$_id", mine)


@pytest.mark.parametrize(
    "state",
    [
        pytest.param(b'{"a": 1}', id="spaces"),
        pytest.param(b'{\n "a":1\n}', id="lines"),
        pytest.param(rb'{"a":"\u00e9"}', id="escapes"),
        pytest.param(b'{"a":1,"a":2}', id="a-key-twice"),
        pytest.param(b'{"a":18446744073709551615}', id="more-than-64-bits"),
        pytest.param(b'{"a":' + b"[" * 120 + b"]" * 120 + b"}", id="levels"),
    ],
)
async def test_a_state_that_fields_would_change_rests_as_its_bytes(
    store: MongoSessionStore, documents: Documents, state: bytes
) -> None:
    async with store:
        await put(store, state=state)
        record = await peek(store)
    assert record is not None
    assert state == record.state
    document = documents.find_one()
    assert document is not None
    assert state == document["state"]


async def test_a_state_keeps_the_order_of_its_keys(
    store: MongoSessionStore, documents: Documents
) -> None:
    async with store:
        written = await put(store, state=b'{"b":1,"a":{"d":1,"c":2}}')
        assert written == await peek(store)
    assert documents.find_one({"state.a.c": 2}) is not None


async def test_a_state_of_another_format_rests_as_binary(
    store: MongoSessionStore, documents: Documents
) -> None:
    envelope = bytes(range(256))
    async with store:
        await put(store, state=envelope, format=max(FORMATS) + 1)
        for _ in range(2):  # and holds no lease
            with pytest.raises(SessionTooNew):
                await store.checkout(TIM, lease_on())
        with pytest.raises(SessionTooNew):
            [record async for record in store.all()]
    document = documents.find_one()
    assert document is not None
    assert envelope == document["state"]


async def test_an_encrypted_state_rests_as_fields_that_tell_its_key(
    store: MongoSessionStore, documents: Documents
) -> None:
    keys = Keys({"2026-11": Keys.generate()})
    async with Bot(session_store=store, encryption=keys) as bot:
        async with bot.conversation(TIM) as context:
            context.set_state(nickname="Tim")
        document = documents.find_one({"format": 2, "state.key": "2026-11"})
        assert document is not None
        assert list(document["state"]) == ["data", "key", "key_check", "nonce", "session"]
        async with bot.conversation(TIM) as context:
            assert context.state == {"nickname": "Tim"}


async def test_what_is_changed_in_the_shell_is_what_the_next_turn_reads(
    store: MongoSessionStore, documents: Documents
) -> None:
    async with Bot(session_store=store) as bot:
        async with bot.conversation(TIM) as context:
            context.set_state(nickname="Tim", big=2**40)
        documents.update_one({}, {"$set": {"state.nickname": "Tom", "state.added": [1, None]}})
        async with bot.conversation(TIM) as context:
            assert context.state == {"nickname": "Tom", "big": 2**40, "added": [1, None]}


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"$set": {"state.when": bson.ObjectId()}}, id="a-type-that-is-not-json"),
        pytest.param({"$currentDate": {"state.when": True}}, id="a-date"),
        pytest.param({"$set": {"state.n": float("nan")}}, id="no-number"),
        pytest.param({"$set": {"state": "gone"}}, id="state-is-text"),
        pytest.param({"$set": {"state": b'{"n":'}}, id="state-is-cut-off"),
        pytest.param({"$unset": {"state": ""}}, id="no-state"),
        pytest.param({"$unset": {"version": ""}}, id="no-version"),
        pytest.param({"$unset": {"format": ""}}, id="no-format"),
        pytest.param({"$set": {"seen": "all"}}, id="seen-has-no-times"),
        pytest.param({"$set": {"seen": [{"id": 1}]}}, id="seen-is-something-else"),
        pytest.param({"$set": {"users": [1]}}, id="users-are-numbers"),
        pytest.param({"$set": {"expires_at": "soon"}}, id="expires-at-some-time"),
    ],
)
async def test_a_document_that_is_no_record_any_more_is_unreadable(
    store: MongoSessionStore, documents: Documents, change: Document
) -> None:
    async with store:
        await put(store, state={"n": 1})
        documents.update_one({}, change)
        for _ in range(2):  # never missing, and never busy
            with pytest.raises(SessionUnreadable):
                await store.checkout(TIM, lease_on())
        await put(store, "test:zoe")
        listed = []
        with pytest.raises(SessionUnreadable):  # noqa: PT012 - after the others
            async for record in store.all():
                listed.append(record.id)  # noqa: PERF401 - the list ends in an error
    assert listed == ["test:zoe"]


_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.text("%$.\0024E5"), inner),
    max_leaves=20,
)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.text() | st.text("%$.\0024E5"), _values))
def test_any_state_makes_the_trip_through_a_document(state: Document) -> None:
    record = new_record(TIM, encode_state(state))
    document = document_of(record)
    assert isinstance(document["state"], dict)
    assert record == record_of(bson.decode(bson.encode(document)), store="mongodb")


@settings(max_examples=60, deadline=None)
@given(st.binary() | st.text().map(str.encode))
def test_any_bytes_come_back_or_are_unreadable(state: bytes) -> None:
    record = new_record(TIM, state)
    kept = bson.decode(bson.encode(document_of(record)))
    try:
        read = record_of(kept, store="mongodb")
    except SessionUnreadable:
        with pytest.raises(SessionUnreadable):
            Record.decode(record.encode(), session_id=TIM)
    else:
        assert record == read


# Sweeping.


async def test_the_indexes_are_made(store: MongoSessionStore, documents: Documents) -> None:
    async with store:
        pass
    async with store:  # and made again without complaint
        indexes = documents.index_information()
    assert indexes["sweep_at_1"]["expireAfterSeconds"] == 0
    assert indexes["expires_at_1"]["sparse"] is True


def sweep_at(documents: Documents, session_id: str = TIM) -> int | None:
    """When MongoDB may remove the session, in milliseconds."""
    (document,) = documents.aggregate(
        [{"$match": {"_id": session_id}}, {"$project": {"at": {"$toLong": "$sweep_at"}}}]
    )
    at: int | None = document["at"]
    return at


async def test_a_session_is_swept_a_day_after_it_expired(
    store: MongoSessionStore, documents: Documents
) -> None:
    async with store:
        expires_at = now() + 60_000
        await put(store, expires_at=expires_at)
        assert expires_at + GRACE == sweep_at(documents)


async def test_a_session_written_when_it_had_expired_stays_a_day_too(
    store: MongoSessionStore, documents: Documents
) -> None:
    async with store:
        before = now()
        await put(store, expires_at=before - 10 * GRACE)
        at = sweep_at(documents)
    assert at is not None
    assert before + GRACE <= at <= now() + GRACE


async def test_a_session_that_never_expires_is_never_swept(
    store: MongoSessionStore, documents: Documents
) -> None:
    async with store:
        await put(store, expires_at=now())
        await put(store, expires_at=None)
        assert sweep_at(documents) is None
        mine = lease_on()
        await store.checkout(TIM, mine)
        await store.renew([mine])
        assert sweep_at(documents) is None


async def test_a_session_is_not_swept_while_it_is_held(
    store: MongoSessionStore, documents: Documents
) -> None:
    async with store:
        await put(store, "test:old", expires_at=now() - 10 * GRACE)
        documents.update_one({}, {"$set": {"sweep_at": bson.DatetimeMS(now() + 1_000)}})
        for session_id in ("test:old", "test:new"):
            mine = lease_on(session_id, term=30)
            before = now()
            await store.checkout(session_id, mine)
            at = sweep_at(documents, session_id)
            assert at is not None
            assert before + 30_000 + GRACE <= at <= now() + 30_000 + GRACE
            mine.term = 600
            await store.renew([mine])
            at = sweep_at(documents, session_id)
            assert at is not None
            assert at >= before + 600_000 + GRACE


async def test_a_busy_checkout_changes_nothing(
    store: MongoSessionStore, documents: Documents
) -> None:
    async with store:
        await put(store, state={"n": 1}, expires_at=now() + 60_000)
        await store.checkout(TIM, lease_on())
        before = documents.find_one()
        with pytest.raises(SessionBusy):
            await store.checkout(TIM, lease_on(term=3600))
        assert before == documents.find_one()


async def test_unreadable_sessions_do_not_hide_those_that_are_due(
    store: MongoSessionStore, documents: Documents
) -> None:
    async with store:
        for number in range(10):
            await put(store, f"test:{number}", expires_at=number)
        documents.update_many({"_id": {"$lt": "test:7"}}, {"$set": {"state": 5}})
        due = await store.due(now(), 2)
        assert [record.id for record in due] == ["test:7", "test:8"]
        assert len(await store.due(now(), 5)) == 3
        assert await store.due(now(), 0) == []


async def test_half_a_character_is_the_prefix_of_no_id(store: MongoSessionStore) -> None:
    async with store:
        await put(store, "test:👋")
        assert [record async for record in store.all("test:\ud83d")] == []
        assert [record.id async for record in store.all("test:👋")] == ["test:👋"]


async def test_a_session_that_set_nothing_leaves_no_document(
    store: MongoSessionStore, documents: Documents
) -> None:
    async with store:
        await peek(store)
    assert documents.count_documents({}) == 0


def test_bots_leave_the_sweeping_to_mongodb() -> None:
    assert MongoSessionStore.sweeps_itself


# Leases.


async def test_leases_go_by_the_servers_clock(
    store: MongoSessionStore, documents: Documents, monkeypatch: pytest.MonkeyPatch
) -> None:
    true_time, true_time_ns = time.time, time.time_ns
    async with store:
        for off in (-3600, 3600):
            mine = lease_on(f"test:{off}", term=60)
            monkeypatch.setattr(time, "time", lambda off=off: true_time() + off)
            monkeypatch.setattr(time, "time_ns", lambda off=off: true_time_ns() + off * 10**9)
            await store.checkout(mine.session_id, mine)
            monkeypatch.undo()
            document = documents.find_one({"_id": mine.session_id})
            assert document is not None
            assert abs(document["lease"]["until"] - now() - 60_000) < 30_000
            monkeypatch.setattr(time, "time", lambda: true_time() + 7200)
            with pytest.raises(SessionBusy):
                await store.checkout(mine.session_id, lease_on(mine.session_id))
            monkeypatch.undo()


async def test_a_lease_whose_term_nobody_noted_ends_when_it_was_to_end(
    store: MongoSessionStore, documents: Documents
) -> None:
    async with store:
        await store.checkout(TIM, lease_on())
        documents.update_one({}, {"$unset": {"lease.term": ""}, "$inc": {"lease.until": 3_600_000}})
        with pytest.raises(SessionBusy):
            await store.checkout(TIM, lease_on())
        documents.update_one({}, {"$set": {"lease.until": now()}})
        assert await store.checkout(TIM, lease_on()) is None


async def test_of_many_that_want_a_new_session_at_once_exactly_one_gets_it(
    mongodb_url: str, mongo_database: str
) -> None:
    first, second = (MongoSessionStore(mongodb_url, database=mongo_database) for _ in range(2))
    async with first, second:
        for number in range(5):
            session_id = f"test:{number}"
            leases = [lease_on(session_id) for _ in range(30)]
            results = await asyncio.gather(
                *(
                    (first, second)[index % 2].checkout(session_id, lease)
                    for index, lease in enumerate(leases)
                ),
                return_exceptions=True,
            )
            winners = [
                lease for lease, result in zip(leases, results, strict=True) if result is None
            ]
            assert len(winners) == 1
            assert sum(isinstance(result, SessionBusy) for result in results) == 29
            await first.commit(new_record(session_id), winners[0])


async def test_a_commit_replaces_the_document(
    store: MongoSessionStore, documents: Documents
) -> None:
    async with store:
        await put(store, users=("tim",), expires_at=now())
        documents.update_one({}, {"$set": {"note": "by hand"}})
        await put(store)
    document = documents.find_one()
    assert document is not None
    assert document.keys().isdisjoint({"users", "expires_at", "sweep_at", "lease", "note"})


# Trips and what they ask for.


class Commands(CommandListener):
    """Notes what a client asks of its server."""

    def __init__(self) -> None:
        self.asked: list[Document] = []

    def started(self, event: CommandStartedEvent) -> None:
        if event.command_name in {"update", "delete", "findAndModify", "find", "createIndexes"}:
            self.asked.append(dict(event.command))

    def succeeded(self, event: object) -> None: ...

    def failed(self, event: object) -> None: ...

    def names(self) -> list[str]:
        names = [next(iter(command)) for command in self.asked]
        self.asked.clear()
        return names


async def test_an_operation_is_one_command(mongodb_url: str, mongo_database: str) -> None:
    commands = Commands()
    client = pymongo.AsyncMongoClient[Document](mongodb_url, event_listeners=[commands])
    async with client, MongoSessionStore(client, database=mongo_database) as store:
        commands.names()
        mine = lease_on()
        await store.checkout(TIM, mine)
        assert commands.names() == ["findAndModify"]
        await store.release(TIM, mine)
        assert commands.names() == ["delete"]
        await store.checkout(TIM, mine)
        record = new_record(expires_at=now())
        commands.names()
        await store.commit(record, mine, keep=True)
        assert commands.names() == ["update"]
        mine.version = record.version
        others = [lease_on(f"test:{number}") for number in range(20)]
        for other in others:
            await store.checkout(other.session_id, other)
        commands.names()
        assert await store.renew([mine, *others]) == []
        assert commands.names() == ["update"]
        await store.release(TIM, mine)
        assert commands.names() == ["update"]
        assert await store.due(now(), 10) == [record]
        assert commands.names() == ["find"]
        assert [each async for each in store.all()] == [record]
        assert commands.names() == ["find"]
        await store.destroy(TIM, None)
        assert commands.names() == ["delete"]


@pytest.mark.parametrize(
    ("options", "expected", "level"),
    [
        ("", {"w": "majority", "j": True}, "majority"),
        ("w=majority", {"w": "majority"}, "majority"),
        ("w=1", {"w": 1}, "local"),  # or a commit would not be read by the next turn
        ("w=1&readConcernLevel=majority", {"w": 1}, "local"),
    ],
)
async def test_what_is_written_is_on_a_majority_unless_told_otherwise(
    mongodb_url: str, mongo_database: str, options: str, expected: Document, level: str
) -> None:
    commands = Commands()
    url = f"{mongodb_url}{'&' if '?' in mongodb_url else '/?'}{options}"
    client = pymongo.AsyncMongoClient[Document](url, event_listeners=[commands])
    async with client, MongoSessionStore(client, database=mongo_database) as store:
        commands.names()
        await put(store)
        await store.destroy(TIM, None)
        assert [expected] * 3 == [command["writeConcern"] for command in commands.asked]
        commands.names()
        assert [each async for each in store.all()] == []
        assert commands.asked[0]["readConcern"] == {"level": level}


async def test_a_client_from_a_url_does_not_retry(mongodb_url: str, mongo_database: str) -> None:
    url = f"{mongodb_url}{'&' if '?' in mongodb_url else '/?'}retryWrites=true&retryReads=true"
    async with MongoSessionStore(url, database=mongo_database) as store:
        assert store._client is not None
        assert not store._client.options.retry_writes
        assert not store._client.options.retry_reads


# What goes wrong.


@contextmanager
def fault(server: MongoServer, command: str, **data: Any) -> Iterator[None]:
    """Inside, the server does something wrong with the next `command`."""
    with closing(pymongo.MongoClient[Document](server.url)) as client:
        point = {"configureFailPoint": "failCommand"}
        client.admin.command(
            {**point, "mode": {"times": 1}, "data": {"failCommands": [command], **data}}
        )
        try:
            yield
        finally:
            client.admin.command({**point, "mode": "off"})


NOT_APPLIED: dict[str, Document] = {
    "not-primary": {"errorCode": 10107},
    "not-allowed": {"errorCode": 13},
    "invalid": {"errorCode": 121},
}
NETWORK = [6, 7, 9001, 317, 384]
LIMITS = [89, 202, 50, 262, 64]
ENDED = [90, 279, 355, 453, 11601, 46841, 91331, 10045600]
UNKNOWN: dict[str, Document] = {
    "connection-lost": {"closeConnection": True},
    "no-answer": {"blockConnection": True, "blockTimeMS": 3_000},
    "shutting-down": {"errorCode": 11600},
    "stepped-down": {"errorCode": 11602},
    "out-of-time": {"errorCode": 50},
    "router-lost-its-shard": {"errorCode": 6},
    "no-majority": {"writeConcernError": {"code": 64, "errmsg": "no majority"}},
}


def operations(store: LeasedStore, mine: Lease) -> dict[str, Callable[[], Awaitable[object]]]:
    return {
        "findAndModify": lambda: store.checkout(TIM, mine),
        "update": lambda: store.commit(new_record(), mine),
        "delete": lambda: store.destroy(TIM, mine),
    }


@pytest.mark.parametrize("command", ["findAndModify", "update", "delete"])
@pytest.mark.parametrize(
    ("what", "unknown"),
    [pytest.param(what, False, id=name) for name, what in NOT_APPLIED.items()]
    + [pytest.param(what, True, id=name) for name, what in UNKNOWN.items()],
)
async def test_a_fault_is_unknown_if_a_write_may_have_been_applied(
    faulty_mongo: MongoServer, command: str, what: Document, *, unknown: bool
) -> None:
    database = f"barback_test_{secrets.token_hex(6)}"
    async with MongoSessionStore(faulty_mongo.url, database=database, timeout=2) as store:
        mine = lease_on()
        await store.checkout(TIM, mine)
        wrote = unknown and command != "findAndModify"
        with fault(faulty_mongo, command, **what):
            with pytest.raises(CommitUnknown if wrote else SessionStoreUnavailable) as raised:
                await operations(store, mine)[command]()
        error = raised.value
        assert isinstance(error, BarbackError)
        assert error.__cause__ is not None
        assert (error.store, error.session_id) == ("mongodb", TIM)


async def test_what_ended_half_way_in_the_server_is_unknown(faulty_mongo: MongoServer) -> None:
    database = f"barback_test_{secrets.token_hex(6)}"
    async with MongoSessionStore(faulty_mongo.url, database=database) as store:
        for code in (*NETWORK, *LIMITS, *ENDED):
            with fault(faulty_mongo, "update", errorCode=code):
                with pytest.raises(CommitUnknown):
                    await store.commit(new_record(), lease_on())


async def test_a_clients_second_try_does_not_tell_of_the_first(faulty_mongo: MongoServer) -> None:
    """The first was lost, and may have been applied, before there was no primary any more."""
    fail = {"configureFailPoint": "failCommand"}
    lost = {"failCommands": ["update", "delete"], "closeConnection": True}
    no_primary = {"failCommands": ["update", "delete"], "errorCode": 10107}
    with pymongo.MongoClient[Document](faulty_mongo.url) as shell:

        class Failover(Commands):
            def failed(self, event: object) -> None:
                shell.admin.command({**fail, "mode": "alwaysOn", "data": no_primary})

        client = pymongo.AsyncMongoClient[Document](
            faulty_mongo.url, retryWrites=True, event_listeners=[Failover()]
        )
        database = f"barback_test_{secrets.token_hex(6)}"
        async with client, MongoSessionStore(client, database=database) as store:
            mine = lease_on()
            await store.checkout(TIM, mine)
            try:
                for write in (store.commit(new_record(), mine), store.destroy(TIM, mine)):
                    shell.admin.command({**fail, "mode": {"times": 1}, "data": lost})
                    with pytest.raises(CommitUnknown):
                        await write
            finally:
                shell.admin.command({**fail, "mode": "off"})
            await store.commit(new_record(), mine)


@pytest.mark.parametrize("what", [UNKNOWN["connection-lost"], UNKNOWN["no-majority"]])
async def test_a_turn_whose_commit_was_lost_finds_out(
    faulty_mongo: MongoServer, what: Document
) -> None:
    database = f"barback_test_{secrets.token_hex(6)}"
    async with MongoSessionStore(faulty_mongo.url, database=database) as store:
        async with Bot(session_store=store, initial_state={"n": 0}) as bot:
            for _ in range(2):
                with fault(faulty_mongo, "update", **what):
                    async with bot.conversation(TIM) as context:
                        context.set_state(n=context.state["n"] + 1)
            async with bot.conversation(TIM) as context:
                assert context.state == {"n": 2}


async def test_a_document_that_is_too_large_is_refused(store: MongoSessionStore) -> None:
    async with store:
        written = await put(store, state={"n": 1})
        mine = lease_on(version=written.version)
        await store.checkout(TIM, mine)
        with pytest.raises(SessionStoreUnavailable, match="16 MB"):
            await store.commit(new_record(TIM, {"text": "x" * 2**24}), mine)
        await store.release(TIM, mine)
        assert written == await peek(store)


async def test_a_server_that_was_killed_and_started_again_is_used_again(tmp_path: Path) -> None:
    with MongoServer(tmp_path) as server:
        async with MongoSessionStore(server.url, timeout=1) as store:
            written = await put(store, state={"n": 1})
            mine = lease_on(version=written.version)
            await store.checkout(TIM, mine)
            server.kill()
            with pytest.raises((CommitUnknown, SessionStoreUnavailable)):
                await store.commit(new_record(TIM, {"n": 2}), mine)
            for operation in operations(store, lease_on()).values():
                with pytest.raises((SessionStoreUnavailable, CommitUnknown)):
                    await operation()
            with pytest.raises(SessionStoreUnavailable):
                await store.renew([mine])
            with pytest.raises(SessionStoreUnavailable):
                [record async for record in store.all()]
            server.start()
            assert await store.renew([mine]) == []
            assert written == await store.checkout(TIM, mine)
            await store.commit(new_record(TIM, {"n": 2}), mine)
            assert await put(store, state={"n": 3}) == await peek(store)


async def test_turns_go_on_after_the_server_was_killed_between_and_during_them(
    tmp_path: Path,
) -> None:
    with MongoServer(tmp_path) as server:
        async with Bot(
            session_store=MongoSessionStore(server.url, timeout=1), initial_state={"n": 0}
        ) as bot:

            async def turn(meanwhile: Callable[[], None]) -> None:
                async with bot.conversation(TIM) as context:
                    context.set_state(n=context.state["n"] + 1)
                    meanwhile()

            def restart() -> None:
                server.kill()
                server.start()

            await turn(lambda: None)
            restart()
            await repeated_until_done(lambda: turn(lambda: None))
            await repeated_until_done(lambda: turn(restart), times=1)
            async with bot.conversation(TIM) as context:
                assert context.state == {"n": 3}


async def repeated_until_done(turn: Callable[[], Awaitable[None]], *, times: int = 5) -> None:
    """A turn that is not done is delivered again."""
    for _ in range(times):
        try:
            await turn()
        except SessionStoreUnavailable:
            continue
        return
    pytest.fail("The turn was never done.")


async def test_a_stopped_server_is_an_error_within_the_timeout(tmp_path: Path) -> None:
    with MongoServer(tmp_path) as server:
        async with MongoSessionStore(server.url, timeout=1, max_connections=1) as store:
            written = await put(store, state={"n": 1})
            mine = lease_on(version=written.version)
            await store.checkout(TIM, mine)
            assert server.process is not None
            os.kill(server.process.pid, signal.SIGSTOP)
            try:
                began = time.monotonic()
                sent = store.commit(new_record(TIM, {"n": 2}), mine)
                await asyncio.sleep(0)  # it departs, and the next has no connection to go by
                waiting = store.commit(new_record("test:zoe"), lease_on("test:zoe"))
                answers = await asyncio.gather(sent, waiting, return_exceptions=True)
                assert time.monotonic() - began < SLACK
            finally:
                os.kill(server.process.pid, signal.SIGCONT)
            assert isinstance(answers[0], CommitUnknown)
            assert isinstance(answers[1], SessionStoreUnavailable)  # it had no connection
            assert "no connection free" in str(answers[1])
            await store.release(TIM, mine)
            assert await peek(store) is not None


# PyMongo leaves the socket of a connection that it stops to make to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_a_server_that_is_not_there_is_told_of_at_once(tmp_path: Path) -> None:
    port = MongoServer(tmp_path).port
    store = MongoSessionStore(f"mongodb://tim:sesame@localhost:{port}/shop", connect_timeout=0.2)
    began = time.monotonic()
    with pytest.raises(SessionStoreUnavailable, match=f"cannot be reached at localhost:{port}") as (
        raised
    ):
        await store.init()
    assert time.monotonic() - began < SLACK  # and not PyMongo's own 30 seconds
    assert "sesame" not in "".join(traceback.format_exception(raised.value))
    with pytest.raises(SessionStoreUnavailable, match="not open"):
        await store.checkout(TIM, lease_on())


async def test_a_wrong_password_is_told_of_and_not_repeated(tmp_path: Path) -> None:
    with MongoServer(tmp_path) as server:
        with pymongo.MongoClient[Document](server.url) as client:
            client.admin.command("createUser", "tim", pwd="op:en@1", roles=["root"])  # noqa: S106
        server.stop()
    with MongoServer(tmp_path, "--auth") as server:
        right = server.url.replace("//", "//tim:op%3Aen%401@")
        async with MongoSessionStore(f"{right}/?authSource=admin") as store:
            await put(store)
        wrong = server.url.replace("//", "//tim:sesame@")
        with pytest.raises(SessionStoreUnavailable, match="refused") as raised:
            await MongoSessionStore(f"{wrong}/?authSource=admin").init()
        assert "sesame" not in "".join(traceback.format_exception(raised.value))


async def test_a_cancelled_operation_leaves_its_connection_to_nobody(
    mongodb_url: str, mongo_database: str
) -> None:
    async with MongoSessionStore(mongodb_url, database=mongo_database, max_connections=1) as store:
        written = await put(store, state={"n": 1})
        for steps in range(0, 60, 3):
            task = asyncio.ensure_future(peek(store, f"test:{steps}"))
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
            assert written == await peek(store)


async def test_closing_waits_for_what_is_under_way(
    mongodb_url: str, mongo_database: str, documents: Documents
) -> None:
    store = await MongoSessionStore(mongodb_url, database=mongo_database).init()
    leases = [lease_on(f"test:{number}") for number in range(10)]
    for lease in leases:
        await store.checkout(lease.session_id, lease)
    commits = [
        asyncio.ensure_future(store.commit(new_record(lease.session_id), lease)) for lease in leases
    ]
    await asyncio.sleep(0)
    await store.close()
    assert await asyncio.gather(*commits) == [None] * 10
    assert documents.count_documents({"version": {"$exists": True}}) == 10


async def test_a_close_that_is_cancelled_closes_its_client_still(
    faulty_mongo: MongoServer,
) -> None:
    store = await MongoSessionStore(faulty_mongo.url, timeout=5).init()
    client = store._client
    assert client is not None
    with fault(faulty_mongo, "find", blockConnection=True, blockTimeMS=1_000):
        listing = asyncio.ensure_future(anext(store.all()))
        await asyncio.sleep(0)
        closing = asyncio.ensure_future(store.close())
        await asyncio.sleep(0)
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
        await asyncio.wait([listing])
        assert listing.exception() is not None
    with pytest.raises(pymongo.errors.InvalidOperation, match="after close"):
        await client.admin.command("ping")


# Opening.


async def test_a_client_that_was_given_is_left_open(mongodb_url: str, mongo_database: str) -> None:
    client = pymongo.AsyncMongoClient[Document](f"{mongodb_url.rstrip('/')}/{mongo_database}")
    async with client:
        for _ in range(2):
            async with MongoSessionStore(client) as store:
                await put(store)
        assert await client[mongo_database]["sessions"].count_documents({}) == 1


def test_a_client_of_another_event_loop_is_refused(mongodb_url: str, mongo_database: str) -> None:
    async def opened(client: pymongo.AsyncMongoClient[Document]) -> None:
        async with MongoSessionStore(client, database=mongo_database):
            pass

    with asyncio.Runner() as first, asyncio.Runner() as second:
        client = pymongo.AsyncMongoClient[Document](mongodb_url)
        first.run(opened(client))
        with pytest.raises(ConfigurationError, match="another event loop"):
            second.run(opened(client))
        first.run(client.close())


async def test_a_url_has_the_stores_options_among_those_of_pymongo(
    mongodb_url: str, mongo_database: str
) -> None:
    with pymongo.MongoClient[Document](mongodb_url) as client:
        url = (
            f"{mongodb_url.rstrip('/')}/?database={mongo_database}&collection_name=talks&expires_in=5"
            f"&timeout=2.5&connect_timeout=1.5&max_connections=7&appName=shop"
        )
        store = open_store(url)
        assert isinstance(store, MongoSessionStore)
        assert store.expires_in is not None
        assert store.expires_in.total_seconds() == 300
        assert (store.timeout, store.connect_timeout) == (2.5, 1.5)
        async with store:
            await put(store)
            assert store._client is not None
            assert store._client.options.pool_options.max_pool_size == 7
            assert store._client.options.pool_options.connect_timeout == 1.5
        assert client[mongo_database]["talks"].count_documents({}) == 1


async def test_the_database_is_the_options_or_the_urls_or_our_own(
    mongodb_url: str, mongo_database: str
) -> None:
    url = mongodb_url.rstrip("/")
    for where, options, expected in (
        (url, {}, "barback"),
        (f"{url}/{mongo_database}", {}, mongo_database),
        (f"{url}/other", {"database": mongo_database}, mongo_database),
    ):
        store = MongoSessionStore(where, **options)  # type: ignore[arg-type]
        client = store._connect()
        assert expected == store._collection(client).database.name
        await client.close()


def test_a_url_of_an_atlas_cluster_is_taken() -> None:
    store = open_store(
        "mongodb+srv://tim:sesame@cluster0.example.net/shop?retryWrites=true&w=majority"
        "&expires_in=never"
    )
    assert isinstance(store, MongoSessionStore)
    assert store.expires_in is None
    assert store.where == "cluster0.example.net"


@pytest.mark.parametrize(
    "url",
    [
        "mongodb://",
        "mongodb://tim:sesame@",
        "mongodb://tim:ses:ame@localhost",
        "mongodb://tim:sesame/x@localhost",
        "mongodb://tim:12?sesame=3@localhost",
        "mongodb://tim:sesame%@localhost",
        "mongodb://tim:sesame@localhost:port",
        "mongodb://tim:sesame@localhost/?unknown=sesame",
        "mongodb://tim:sesame@localhost/?maxPoolSize=sesame",
        "mongodb://tim:sesame@localhost/?sesame",
        "mongodb://tim:sesame@localhost/?expires_in=x",
        "mongodb://tim:sesame@localhost/?timeout=0",
        "mongodb://tim:sesame@localhost/?timeout=never",
        "mongodb://tim:sesame@localhost/?timeout=inf",
        "mongodb://tim:sesame@localhost/?connect_timeout=-1",
        "mongodb://tim:sesame@localhost/?max_connections=0",
        "mongodb://tim:sesame@localhost/?max_connections=never",
        "mongodb+srv://tim:sesame@cluster0.example.net/?unknown=1",
    ],
)
def test_a_url_that_cannot_be_used_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        MongoSessionStore.from_url(url)
    if not url.endswith("?sesame"):  # a parameter's name is told
        assert "sesame" not in "".join(traceback.format_exception_only(raised.value))
    assert raised.value.__cause__ is None


def test_an_unknown_option_is_named() -> None:
    with pytest.raises(ConfigurationError, match="'expire_in'"):
        MongoSessionStore.from_url("mongodb://localhost/?expire_in=5")


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("mongodb://localhost/?w=0", {}),
        ("mongodb://localhost/?tls=true&ssl=false", {}),
        ("mongodb://localhost", {"database": "a.b"}),
        ("mongodb://localhost", {"database": ""}),
        ("mongodb://localhost", {"database": 7}),
        ("mongodb://localhost", {"collection_name": ""}),
        ("mongodb://localhost", {"collection_name": "a$b"}),
        ("mongodb://localhost", {"collection_name": None}),
    ],
)
async def test_what_cannot_be_is_refused_before_anything_is_asked(
    url: str, options: Document
) -> None:
    with pytest.raises(ConfigurationError):
        await MongoSessionStore(url, **options).init()


@pytest.mark.parametrize("number", [True, 0, 1.5])
def test_a_number_of_connections_is_a_whole_one(number: Any) -> None:
    with pytest.raises(ConfigurationError, match="max_connections"):
        MongoSessionStore(max_connections=number)


@pytest.mark.parametrize("url", [None, 27017, "localhost", "redis://localhost", b"mongodb://h"])
def test_what_is_no_url_and_no_client_is_refused(url: Any) -> None:
    with pytest.raises(ConfigurationError):
        MongoSessionStore(url)


def test_a_store_does_not_show_its_password() -> None:
    assert "sesame" not in repr(MongoSessionStore("mongodb://tim:sesame@localhost"))


async def test_no_error_shows_a_state_or_a_token(store: MongoSessionStore) -> None:
    async with store:
        mine = lease_on(token="open-sesame")  # noqa: S106 - a lease's
        await store.checkout(TIM, mine)
        refused: list[Awaitable[object]] = [
            store.checkout(TIM, lease_on()),
            store.commit(new_record(TIM, {"text": "sesame" * 2**22}), mine),
            store.commit(new_record(TIM, {"text": "sesame"}), lease_on()),
            store.destroy(TIM, lease_on()),
        ]
        for operation in refused:
            with pytest.raises(BarbackError) as raised:
                await operation
            assert "sesame" not in "".join(traceback.format_exception(raised.value))


async def test_no_error_shows_what_the_server_quotes_of_a_document(
    store: MongoSessionStore, documents: Documents
) -> None:
    async with store:
        documents.create_index("state.word", unique=True, sparse=True)
        await put(store, "test:zoe", {"word": "sesame"})
        mine = lease_on(token="open-sesame")  # noqa: S106 - a lease's
        await store.checkout(TIM, mine)
        commit = store.commit(new_record(TIM, {"word": "sesame"}), mine)
        with pytest.raises(SessionStoreUnavailable, match="11000") as raised:
            await commit
    assert isinstance(raised.value.__cause__, pymongo.errors.DuplicateKeyError)
    assert "sesame" not in "".join(traceback.format_exception(raised.value))


@pytest.mark.parametrize(
    "error",
    [
        pymongo.errors.WriteError("sesame", 121, {"errInfo": {"word": "sesame"}}),
        pymongo.errors.OperationFailure("sesame", 121, {"codeName": "X", "errmsg": "sesame"}),
        pymongo.errors.WriteConcernError("sesame", 64, {"errInfo": "sesame"}),
        pymongo.errors.BulkWriteError({"writeErrors": [{"op": "sesame"}]}),
        bson.errors.InvalidDocument("sesame", {"word": "sesame"}),
    ],
)
def test_a_discreet_error_tells_its_kind_and_no_more(error: Exception) -> None:
    told = discreet(error)
    assert isinstance(error, type(told))
    assert getattr(error, "code", None) == getattr(told, "code", None)
    assert "sesame" not in repr(told) + str(vars(told))


async def test_a_record_that_another_took_over_is_not_written(store: MongoSessionStore) -> None:
    async with store:
        written = await put(store, state={"n": 1})
        stalled = lease_on(version=written.version, term=0.01)
        await store.checkout(TIM, stalled)
        contract = TestMongo()
        other = lease_on()
        await contract.taken(store, other)
        with pytest.raises(LeaseLost):
            await store.commit(new_record(TIM, {"n": "late"}), stalled)
        committed = msgspec.structs.replace(new_record(TIM, {"n": 2}), seen={"a": 1})
        await store.commit(committed, other)
        assert committed == await peek(store)
