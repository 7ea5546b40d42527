"""What sessions ask of the MongoDB store in one step travels together, and each has its answer."""

from __future__ import annotations

import asyncio
import secrets

import pymongo
import pytest
from pymongo.errors import ProtocolError, WriteConcernError
from pymongo.monitoring import CommandListener, CommandStartedEvent

from barback import Bot, Context, Event, User
from barback.errors import (
    CommitUnknown,
    LeaseLost,
    SessionBusy,
    SessionStoreUnavailable,
    SessionUnreadable,
)
from barback.record import Record
from barback.stores.base import Lease
from barback.stores.mongo import MongoSessionStore, outcomes
from barback.testing.contract_tools import lease_on, peek, put
from barback.testing.contract_tools import record_of as new_record
from tests.mongo_servers import Document, Documents, MongoServer
from tests.test_mongo_store import fault

PEOPLE = [str(number) for number in range(6)]
IDS = [f"test:{who}" for who in PEOPLE]


class Commands(CommandListener):
    """Notes the names of what a client asks of its server, and how many milliseconds it has."""

    def __init__(self) -> None:
        self._names: list[str] = []
        self.times: list[int] = []

    def started(self, event: CommandStartedEvent) -> None:
        self._names.append(event.command_name)
        self.times.append(event.command.get("maxTimeMS", 0))

    def names(self) -> list[str]:
        names, self._names = self._names, []
        return names


@pytest.fixture
def store(mongodb_url: str, mongo_database: str) -> MongoSessionStore:
    return MongoSessionStore(mongodb_url, database=mongo_database)


async def taken(store: MongoSessionStore, *session_ids: str) -> list[Lease]:
    """A lease of each, noting the version that was read."""
    leases = [lease_on(session_id) for session_id in session_ids]
    records = await asyncio.gather(*(store.checkout(each.session_id, each) for each in leases))
    for lease, record in zip(leases, records, strict=True):
        lease.version = None if record is None else record.version
    return leases


def said_by(who: str, number: int) -> Event:
    return Event(channel="test", id=f"{who} {number}", user=User(who))


async def outcomes_of(
    store: MongoSessionStore, records: list[Record], leases: list[Lease]
) -> list[type | None]:
    """What became of commits that are asked for together: None, or the kind of the error."""
    commits = [store.commit(record, lease) for record, lease in zip(records, leases, strict=True)]
    answers = await asyncio.gather(*commits, return_exceptions=True)
    return [None if answer is None else type(answer) for answer in answers]


async def test_a_turn_is_two_commands_and_many_at_once_are_three(
    mongodb_url: str, mongo_database: str
) -> None:
    commands = Commands()
    client = pymongo.AsyncMongoClient[Document](mongodb_url, event_listeners=[commands])
    store = MongoSessionStore(client, database=mongo_database)
    async with client, Bot(session_store=store, initial_state={"n": 0}) as bot:

        @bot.on_event
        async def count(context: Context) -> None:
            context.set_state(n=context.state["n"] + 1)

        commands.names()
        for number in range(2):
            await bot.handle(said_by("tim", number))
            assert commands.names() == ["findAndModify", "update"]
        for number in range(2):
            await asyncio.gather(*(bot.handle(said_by(who, number)) for who in PEOPLE))
            assert commands.names() == ["update", "find", "update"]
        async with bot.conversation("test:5") as context:
            assert context.state == {"n": 2}


async def test_each_checkout_has_its_own_answer(
    store: MongoSessionStore, documents: Documents
) -> None:
    new, known, held, broken, half, whole = IDS
    half = "test:\ud83d"
    async with store:
        record = await put(store, known, {"n": 1})
        other = await put(store, whole, {"n": 2})
        await put(store, broken)
        documents.update_one({"_id": broken}, {"$set": {"created_at": "yesterday"}})
        (holder,) = await taken(store, held)
        mine = [lease_on(each) for each in (new, known, held, broken, half, whole)]
        answers = await asyncio.gather(
            *(store.checkout(lease.session_id, lease) for lease in mine), return_exceptions=True
        )
        assert answers[:2] == [None, record]
        assert [type(answer) for answer in answers[2:5]] == [
            SessionBusy,
            SessionUnreadable,
            SessionStoreUnavailable,
        ]
        assert answers[5] == other
        leased = documents.find({"lease": {"$exists": True}}).sort("_id", 1).to_list()
        assert [(each["_id"], each["lease"]["token"]) for each in leased] == [
            (new, mine[0].token),
            (known, mine[1].token),
            (held, holder.token),
            (whole, mine[5].token),
        ]


async def test_of_two_that_want_a_session_in_one_command_the_first_gets_it(
    store: MongoSessionStore,
) -> None:
    async with store:
        answers = await asyncio.gather(
            *(store.checkout(IDS[0], lease_on(IDS[0])) for _ in range(5)), return_exceptions=True
        )
        assert answers[0] is None
        assert [type(answer) for answer in answers[1:]] == [SessionBusy] * 4


async def test_each_commit_has_its_own_outcome(
    store: MongoSessionStore, documents: Documents
) -> None:
    fine, stale, taken_over, destroyed, new, never = IDS
    async with store:
        for session_id in (fine, stale, taken_over, destroyed):
            await put(store, session_id, {"n": 1})
        leases = await taken(store, fine, stale, taken_over, destroyed, new, never)
        leases[1].version = 7
        leases[2].token = "another's"  # noqa: S105
        await store.destroy(destroyed, None)
        await store.destroy(never, None)
        records = [new_record(lease.session_id, {"n": 2}) for lease in leases]
        assert await outcomes_of(store, records, leases) == [
            *(None, LeaseLost, LeaseLost, LeaseLost),
            *(None, LeaseLost),
        ]
        found = documents.find({}, {"state": 1}).sort("_id", 1).to_list()
        assert [(each["_id"], each.get("state")) for each in found] == [
            (fine, {"n": 2}),
            (stale, {"n": 1}),
            (taken_over, {"n": 1}),
            (new, {"n": 2}),
        ]


async def test_the_leases_of_many_that_cannot_be_read_are_given_back_in_one_command(
    mongodb_url: str, mongo_database: str, documents: Documents
) -> None:
    commands = Commands()
    client = pymongo.AsyncMongoClient[Document](mongodb_url, event_listeners=[commands])
    async with client, MongoSessionStore(client, database=mongo_database) as store:
        for session_id in IDS:
            await put(store, session_id)
        documents.update_many({"_id": {"$in": IDS[1:]}}, {"$set": {"created_at": "yesterday"}})
        commands.names()
        answers = await asyncio.gather(
            *(store.checkout(each, lease_on(each)) for each in IDS), return_exceptions=True
        )
        assert [type(answer) for answer in answers] == [Record] + [SessionUnreadable] * 5
        assert commands.names() == ["update", "find", "update"]
        assert [each["_id"] for each in documents.find({"lease": {"$exists": True}})] == IDS[:1]


async def test_a_lease_that_somebody_has_maimed_is_lost_and_its_record_is_not(
    store: MongoSessionStore, documents: Documents
) -> None:
    async with store:
        for session_id in IDS:
            await put(store, session_id, {"n": 1})
        leases = await taken(store, *IDS)
        documents.update_one({"_id": IDS[2]}, {"$unset": {"lease.until": ""}})
        records = [new_record(session_id, {"n": 2}) for session_id in IDS]
        assert await outcomes_of(store, records, leases) == [
            LeaseLost if session_id == IDS[2] else None for session_id in IDS
        ]
        found = documents.find().sort("_id", 1).to_list()
        assert [each["state"]["n"] for each in found] == [2, 2, 1, 2, 2, 2]


async def test_many_leases_are_given_back_in_one_command_or_two(
    mongodb_url: str, mongo_database: str, documents: Documents
) -> None:
    commands = Commands()
    client = pymongo.AsyncMongoClient[Document](mongodb_url, event_listeners=[commands])
    async with client, MongoSessionStore(client, database=mongo_database) as store:

        async def released(*leases: Lease) -> list[str]:
            commands.names()
            await asyncio.gather(*(store.release(each.session_id, each) for each in leases))
            return commands.names()

        known, new = IDS[:3], IDS[3:]
        for session_id in known:
            await put(store, session_id)
        leases = await taken(store, *known)
        other = lease_on(known[0], version=leases[0].version)
        assert await released(*leases[1:], other) == ["update"]
        assert [each["_id"] for each in documents.find({"lease": {"$exists": True}})] == known[:1]
        assert await released(leases[0], *await taken(store, *new)) == ["delete", "update"]
        assert documents.count_documents({}) == len(known)
        # Nobody noted a version: what is there is kept, and what the lease has made is not.
        leases = await taken(store, known[0], new[0])
        leases[0].version = None
        assert await released(*leases) == ["delete", "update"]
        assert documents.count_documents({"lease": {"$exists": False}}) == len(known)
        assert documents.count_documents({}) == len(known)


async def test_leases_that_could_not_be_given_back_are_told_of_each_by_itself(
    faulty_mongo: MongoServer,
) -> None:
    database = f"barback_test_{secrets.token_hex(6)}"
    async with MongoSessionStore(faulty_mongo.url, database=database) as store:
        leases = await taken(store, *IDS)
        with fault(faulty_mongo, "delete", closeConnection=True):
            answers = await asyncio.gather(
                *(store.release(each.session_id, each) for each in leases), return_exceptions=True
            )
        assert [getattr(answer, "session_id", None) for answer in answers] == IDS
        assert {type(answer) for answer in answers} == {SessionStoreUnavailable}
        await asyncio.gather(*(store.release(each.session_id, each) for each in leases))
        assert await asyncio.gather(*(peek(store, each) for each in IDS)) == [None] * len(IDS)


async def test_a_commit_after_a_destruction_can_not_be_sent_again_to_more_effect(
    store: MongoSessionStore, documents: Documents
) -> None:
    """What it makes for a moment is nobody's: it does not look like a lease that still holds."""
    async with store:
        (lease,) = await taken(store, IDS[0])
        await store.destroy(IDS[0], None)
        for _ in range(2):
            with pytest.raises(LeaseLost):
                await store.commit(new_record(IDS[0]), lease)
            assert await store.renew([lease]) == [lease]
        assert documents.count_documents({}) == 0


async def test_what_a_commit_leaves_of_a_destroyed_session_is_free_and_swept(
    faulty_mongo: MongoServer,
) -> None:
    database = f"barback_test_{secrets.token_hex(6)}"
    store = MongoSessionStore(faulty_mongo.url, database=database)
    with pymongo.MongoClient[Document](faulty_mongo.url) as client:
        async with store:
            (lease,) = await taken(store, IDS[0])
            await store.destroy(IDS[0], None)
            with fault(faulty_mongo, "delete", errorCode=13):
                with pytest.raises(LeaseLost):
                    await store.commit(new_record(IDS[0]), lease, keep=True)
            (left,) = client[database]["sessions"].find().to_list()
            assert left.keys() == {"_id", "sweep_at"}
            assert [record async for record in store.all()] == []
            assert await peek(store, IDS[0]) is None
        assert client[database]["sessions"].count_documents({}) == 0


@pytest.mark.parametrize("unreadable", [True, False])
async def test_what_is_put_in_order_afterwards_has_only_the_time_that_is_left(
    faulty_mongo: MongoServer, *, unreadable: bool
) -> None:
    """A lease that is given back, or what a commit has made of nothing: the answer waits for it."""
    commands = Commands()
    client = pymongo.AsyncMongoClient[Document](faulty_mongo.url, event_listeners=[commands])
    database = f"barback_test_{secrets.token_hex(6)}"
    async with client, MongoSessionStore(client, database=database, timeout=30) as store:
        await put(store, IDS[0])
        (lease,) = await taken(store, IDS[0])
        if unreadable:
            await store.release(IDS[0], lease)
            await client[database]["sessions"].update_one({}, {"$set": {"created_at": "never"}})
        else:
            await store.destroy(IDS[0], None)
        commands.times.clear()
        blocked = "findAndModify" if unreadable else "update"
        with fault(faulty_mongo, blocked, blockConnection=True, blockTimeMS=500):
            if unreadable:
                with pytest.raises(SessionUnreadable):
                    await store.checkout(IDS[0], lease_on(IDS[0]))
            else:
                with pytest.raises(LeaseLost):
                    await store.commit(new_record(IDS[0]), lease)
        _, afterwards = commands.times
        assert 0 < afterwards <= 29_500


async def test_what_is_too_large_or_against_a_rule_fails_alone(
    store: MongoSessionStore, documents: Documents
) -> None:
    async with store:
        documents.create_index("state.nickname", unique=True, sparse=True)
        await put(store, "test:tim", {"nickname": "Tim"})
        leases = await taken(store, *IDS[:5])
        states: list[Document] = [
            {"n": 1},
            {"text": "x" * 2**24},
            {"nickname": "Tim"},
            {"text": "x" * 2**22},
            {"n": 2},
        ]
        records = [
            new_record(session_id, state) for session_id, state in zip(IDS[:5], states, strict=True)
        ]
        expected = [None, SessionStoreUnavailable, SessionStoreUnavailable, None, None]
        assert await outcomes_of(store, records, leases) == expected
        for lease, error in zip(leases, expected, strict=True):
            if error is not None:
                await store.release(lease.session_id, lease)
        assert [
            None if error is not None else record
            for record, error in zip(records, expected, strict=True)
        ] == [await peek(store, session_id) for session_id in IDS[:5]]


@pytest.mark.parametrize(
    "what",
    [
        {"closeConnection": True},
        {"errorCode": 13},
        {"errorCode": 11602},
        {"writeConcernError": {"code": 64, "errmsg": "no majority"}},
    ],
    ids=["connection-lost", "refused-as-a-whole", "stepped-down", "no-majority"],
)
async def test_what_stopped_a_command_may_have_stopped_it_half_way(
    faulty_mongo: MongoServer, what: Document
) -> None:
    database = f"barback_test_{secrets.token_hex(6)}"
    async with MongoSessionStore(faulty_mongo.url, database=database) as store:
        leases = await taken(store, *IDS)
        records = [new_record(session_id, {"n": 1}) for session_id in IDS]
        with fault(faulty_mongo, "update", **what):
            assert await outcomes_of(store, records, leases) == [CommitUnknown] * len(IDS)


@pytest.mark.parametrize(
    "what",
    [{"closeConnection": True}, {"writeConcernError": {"code": 64, "errmsg": "no majority"}}],
    ids=["not-applied", "applied"],
)
async def test_turns_whose_commits_were_lost_together_find_out(
    faulty_mongo: MongoServer, what: Document
) -> None:
    database = f"barback_test_{secrets.token_hex(6)}"
    store = MongoSessionStore(faulty_mongo.url, database=database)
    async with Bot(session_store=store, initial_state={"n": 0}) as bot:
        ready = asyncio.Barrier(len(IDS) + 1)

        async def turn(session_id: str) -> None:
            async with bot.conversation(session_id) as context:
                await ready.wait()
                context.set_state(n=context.state["n"] + 1)

        turns = [asyncio.create_task(turn(session_id)) for session_id in IDS]
        while ready.n_waiting < len(IDS):
            await asyncio.sleep(0.01)
        with fault(faulty_mongo, "update", **what):
            await ready.wait()
            await asyncio.gather(*turns)
        for session_id in IDS:
            async with bot.conversation(session_id) as context:
                assert context.state == {"n": 1}


@pytest.mark.parametrize("command", ["update", "find"])
async def test_checkouts_that_failed_together_are_taken_again_by_the_same_leases(
    faulty_mongo: MongoServer, command: str
) -> None:
    database = f"barback_test_{secrets.token_hex(6)}"
    async with MongoSessionStore(faulty_mongo.url, database=database) as store:
        leases = [lease_on(session_id) for session_id in IDS]
        with fault(faulty_mongo, command, closeConnection=True):
            answers = await asyncio.gather(
                *(store.checkout(lease.session_id, lease) for lease in leases),
                return_exceptions=True,
            )
        assert [type(answer) for answer in answers] == [SessionStoreUnavailable] * len(IDS)
        assert len({id(answer) for answer in answers}) == len(IDS)
        for lease in leases:
            assert await store.checkout(lease.session_id, lease) is None


async def test_a_cancelled_checkout_takes_nothing_from_the_others(
    store: MongoSessionStore,
) -> None:
    async with store, Bot(session_store=store, initial_state={"n": 0}) as bot:

        async def turn(session_id: str) -> None:
            async with bot.conversation(session_id) as context:
                context.set_state(n=context.state["n"] + 1)

        for steps in range(12):
            tasks = [asyncio.create_task(turn(session_id)) for session_id in IDS]
            for _ in range(steps):
                await asyncio.sleep(0)
            tasks[0].cancel()
            await asyncio.gather(*tasks[1:])
            await asyncio.wait(tasks)
        await turn(IDS[0])  # nobody holds it
        for session_id in IDS[1:]:
            async with bot.conversation(session_id) as context:
                assert context.state == {"n": 12}


def test_a_reply_that_does_not_tell_of_all_tells_of_none() -> None:
    refused = {"index": 1, "code": 121, "errmsg": "a rule"}
    told = outcomes._read({"ok": 1, "n": 1, "writeErrors": [refused]}, 2)
    assert told[0] is True
    assert isinstance(told[1], pymongo.errors.WriteError)
    for reply in ({"ok": 1, "n": 0, "writeErrors": [refused]}, {"ok": 1}, {"ok": 1, "n": 3}):
        with pytest.raises(ProtocolError):
            outcomes._read(reply, 2)


def test_what_is_on_no_majority_is_said_of_what_was_applied_alone() -> None:
    concern = {"code": 64, "errmsg": "no majority"}
    refused = {"index": 0, "code": 11000, "errmsg": "…", "keyPattern": {"_id": 1}}
    reply = {"ok": 1, "n": 1, "writeErrors": [refused], "writeConcernError": concern}
    lost, unsure = outcomes._read(reply, 2)
    assert outcomes.is_taken(lost)
    assert isinstance(unsure, WriteConcernError)
