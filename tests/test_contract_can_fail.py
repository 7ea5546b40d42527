"""The contract can fail: a store that breaks one of its rules fails the test of that rule."""

from __future__ import annotations

import asyncio
import fnmatch
import json
import re
from collections.abc import AsyncIterator, Sequence
from typing import Any, ClassVar, Self

import msgspec
import pytest

from barback.errors import BarbackError, SessionUnreadable
from barback.record import Record
from barback.stores.base import Lease, LeasedStore, SessionStore
from barback.stores.local import LeaseTable
from barback.stores.memory import MemorySessionStore
from barback.testing.contract import ListedStoreContract, StoreContract
from barback.testing.contract_tools import now


class FourMethods(SessionStore):
    """Nothing is wrong with it: what is broken differs from it, or from memory, in one thing."""

    name: ClassVar[str] = "four methods"

    def __init__(self) -> None:
        self.data: dict[str, bytes] = {}

    async def init(self) -> Self:
        self.data = {}
        return self

    async def read(self, session_id: str) -> Record | None:
        data = self.data.get(session_id)
        return None if data is None else Record.decode(data, session_id=session_id)

    async def write(self, session_id: str, record: Record) -> None:
        self.data[session_id] = record.encode()

    async def destroy(self, session_id: str) -> None:
        self.data.pop(session_id, None)


class TestFourMethods(StoreContract):
    durable = False

    @pytest.fixture
    def store(self) -> SessionStore:
        return FourMethods()


# Each of these breaks the contract in one way.


class Aliases(MemorySessionStore):
    async def commit(self, record: Record, lease: Lease, *, keep: bool = False) -> None:
        shared = self._records.get(record.id)
        await super().commit(record, lease, keep=keep)
        if shared is not None:
            for field in record.__struct_fields__:
                msgspec.structs.force_setattr(shared, field, getattr(record, field))
            self._records[record.id] = shared


class IgnoresLeases(MemorySessionStore):
    async def checkout(self, session_id: str, lease: Lease) -> Record | None:
        return self._records.get(session_id)

    async def commit(self, record: Record, lease: Lease, *, keep: bool = False) -> None:
        self._records[record.id] = record


class TakesUnreadableForMissing(FourMethods):
    async def read(self, session_id: str) -> Record | None:
        try:
            return await super().read(session_id)
        except SessionUnreadable:
            return None


class HoldsTheUnreadable(MemorySessionStore):
    async def checkout(self, session_id: str, lease: Lease) -> Record | None:
        record = await super().checkout(session_id, lease)
        return None if record is None else Record.decode(record.encode(), session_id=session_id)


class DropsTheExpired(MemorySessionStore):
    async def checkout(self, session_id: str, lease: Lease) -> Record | None:
        record = await super().checkout(session_id, lease)
        return None if record is None or record.expired(now()) else record


class CommitsWithoutLease(MemorySessionStore):
    async def commit(self, record: Record, lease: Lease, *, keep: bool = False) -> None:
        self._records[record.id] = record
        self._leases.give_back(record.id, lease)


class CommitsAnyVersion(MemorySessionStore):
    async def commit(self, record: Record, lease: Lease, *, keep: bool = False) -> None:
        stored = self._records.get(record.id)
        lease.version = None if stored is None else stored.version
        await super().commit(record, lease, keep=keep)


class MakesFloatsOfInts(FourMethods):
    async def write(self, session_id: str, record: Record) -> None:
        state = json.dumps(json.loads(record.state, parse_int=float)).encode()
        await super().write(session_id, msgspec.structs.replace(record, state=state))


class MangledKeys(FourMethods):
    async def write(self, session_id: str, record: Record) -> None:
        state = record.state.replace(b".", b"_")
        await super().write(session_id, msgspec.structs.replace(record, state=state))


class SortsWhatWasSeen(FourMethods):
    async def write(self, session_id: str, record: Record) -> None:
        seen = dict(sorted(record.seen.items()))
        await super().write(session_id, msgspec.structs.replace(record, seen=seen))


class HoldsForEver(MemorySessionStore):
    def __init__(self) -> None:
        super().__init__()
        self._leases = LeaseTable(self.name, clock=lambda: 0.0)


class NeverGivesBack(MemorySessionStore):
    async def release(self, session_id: str, lease: Lease) -> None:
        pass


class FreesAnyones(MemorySessionStore):
    async def release(self, session_id: str, lease: Lease) -> None:
        self._leases.free(session_id)


class LeavesTraces(MemorySessionStore):
    async def checkout(self, session_id: str, lease: Lease) -> Record | None:
        record = await super().checkout(session_id, lease)
        blank = Record(id=session_id, version=1, state=b"{}", created_at=0, last_activity=0)
        return self._records.setdefault(session_id, blank) if record is None else record


class RenewsNothing(MemorySessionStore):
    async def renew(self, leases: Sequence[Lease]) -> list[Lease]:
        return []


class DoesNotKeep(MemorySessionStore):
    async def commit(self, record: Record, lease: Lease, *, keep: bool = False) -> None:
        await super().commit(record, lease)


class LeavesTheLease(MemorySessionStore):
    async def destroy(self, session_id: str, lease: Lease | None) -> None:
        self._records.pop(session_id, None)


class ForgetsWhenClosed(MemorySessionStore):
    async def close(self) -> None:
        self._records.clear()


class FoldsCase(FourMethods):
    async def read(self, session_id: str) -> Record | None:
        record = await super().read(session_id.lower())
        return None if record is None else msgspec.structs.replace(record, id=session_id)

    async def write(self, session_id: str, record: Record) -> None:
        folded = session_id.lower()
        await super().write(folded, msgspec.structs.replace(record, id=folded))


class CutsIds(FourMethods):
    async def destroy(self, session_id: str) -> None:
        for each in fnmatch.filter(list(self.data), session_id):
            del self.data[each]


class GivesBackBeforeItWrites(MemorySessionStore):
    async def commit(self, record: Record, lease: Lease, *, keep: bool = False) -> None:
        self._leases.check(record.id, lease)
        self._leases.give_back(record.id, lease)
        await asyncio.sleep(0)
        self._records[record.id] = record


class ListsByPattern(MemorySessionStore):
    async def all(self, prefix: str = "") -> AsyncIterator[Record]:
        for session_id in fnmatch.filter(list(self._records), f"{prefix}*"):
            yield self._records[session_id]


class ListsWhatItCanRead(MemorySessionStore):
    async def all(self, prefix: str = "") -> AsyncIterator[Record]:
        for session_id, record in list(self._records.items()):
            if session_id.startswith(prefix):
                yield Record.decode(record.encode(), session_id=session_id)


class FailsWhileRecordsChange(MemorySessionStore):
    async def all(self, prefix: str = "") -> AsyncIterator[Record]:
        for number, session_id in enumerate(list(self._records)):
            if len(self._records) > number and re.match(re.escape(prefix), session_id):
                yield self._records[session_id]


class IsLateByAMillisecond(MemorySessionStore):
    async def due(self, before: int, limit: int) -> list[Record]:
        return await super().due(before - 1, limit)


class KnowsNoLimit(MemorySessionStore):
    async def due(self, before: int, limit: int) -> list[Record]:
        return await super().due(before, 1_000)


class RemembersTheFirstExpiry(MemorySessionStore):
    def __init__(self) -> None:
        super().__init__()
        self.expiries: dict[str, int] = {}

    async def commit(self, record: Record, lease: Lease, *, keep: bool = False) -> None:
        await super().commit(record, lease, keep=keep)
        if record.expires_at is not None:
            self.expiries.setdefault(record.id, record.expires_at)

    async def due(self, before: int, limit: int) -> list[Record]:
        due = [session_id for session_id, at in self.expiries.items() if at <= before]
        return [self._records[each] for each in due[:limit] if each in self._records]


class Hasty(ListedStoreContract):
    """The contract, for stores that will fail it: it does not wait long for them to keep it."""

    patience = 0.3
    short_term = 0.02


BROKEN: list[tuple[type[SessionStore | LeasedStore], str, dict[str, Any]]] = [
    (Aliases, "a_record_that_was_read_changes_no_more", {}),
    (IgnoresLeases, "only_one_of_two_gets_the_session", {}),
    (IgnoresLeases, "a_session_that_is_held_is_busy", {}),
    (IgnoresLeases, "every_id_has_a_lease_of_its_own", {}),
    (IgnoresLeases, "two_bots_on_one_store_take_turns", {}),
    (TakesUnreadableForMissing, "an_unreadable_session_is_never_a_new_user", {}),
    (TakesUnreadableForMissing, "a_checkout_that_failed_holds_no_lease", {}),
    (HoldsTheUnreadable, "a_checkout_that_failed_holds_no_lease", {}),
    (DropsTheExpired, "an_expired_record_is_still_returned", {}),
    (CommitsWithoutLease, "a_commit_without_a_lease_is_refused", {}),
    (CommitsWithoutLease, "who_lost_the_lease_cannot_commit", {}),
    (CommitsWithoutLease, "who_lost_the_lease_cannot_commit_afterwards_either", {}),
    (CommitsWithoutLease, "a_lease_that_was_given_back_cannot_commit", {}),
    (CommitsWithoutLease, "destroying_by_force_stops_the_turn_that_runs", {}),
    (CommitsAnyVersion, "a_commit_needs_the_version_that_was_read", {}),
    (CommitsAnyVersion, "a_commit_to_a_record_that_is_gone_is_refused", {}),
    (MakesFloatsOfInts, "a_value_comes_back_equal_and_of_the_same_type", {"value": 2**63 - 1}),
    (MakesFloatsOfInts, "a_value_comes_back_equal_and_of_the_same_type", {"value": 1}),
    (MangledKeys, "a_value_comes_back_equal_and_of_the_same_type", {"value": {"a.b": 1}}),
    (MangledKeys, "keys_of_the_state_itself_may_be_any_text", {}),
    (MangledKeys, "the_bytes_of_a_state_come_back_as_they_are", {"state": b'{"a":1.0}'}),
    (
        SortsWhatWasSeen,
        "every_field_of_a_record_comes_back",
        {"fields": {"seen": {"b": 1, "a": 2}}},
    ),
    (HoldsForEver, "the_lease_of_a_dead_holder_ends_by_itself", {}),
    (NeverGivesBack, "a_release_writes_nothing", {}),
    (FreesAnyones, "releasing_a_lost_lease_frees_nobody_elses", {}),
    (FreesAnyones, "releasing_what_was_never_held_is_harmless", {}),
    (LeavesTraces, "a_release_leaves_no_trace", {}),
    (LeavesTraces, "a_missing_session_is_none", {}),
    (RenewsNothing, "renewing_starts_the_term_anew", {}),
    (RenewsNothing, "renew_tells_which_leases_were_lost", {}),
    (DoesNotKeep, "keep_holds_the_session_for_the_next_turn", {}),
    (DoesNotKeep, "keep_renews", {}),
    (LeavesTheLease, "destroying_by_force_frees_the_session", {}),
    (LeavesTheLease, "destroying_by_force_stops_the_turn_that_runs", {}),
    (LeavesTheLease, "destroying_with_a_lease_gives_it_back", {}),
    (LeavesTheLease, "destroying_with_a_lost_lease_is_refused", {}),
    (ForgetsWhenClosed, "a_store_that_was_closed_can_be_opened_again", {}),
    (ForgetsWhenClosed, "a_closed_store_never_says_missing", {}),
    (FoldsCase, "every_id_is_a_session_of_its_own", {}),
    (CutsIds, "destroying_a_session_destroys_no_other", {}),
    (GivesBackBeforeItWrites, "two_bots_on_one_store_take_turns", {}),
    (ListsByPattern, "a_prefix_is_taken_literally", {"character": "*"}),
    (ListsByPattern, "a_prefix_is_taken_literally", {"character": "?"}),
    (ListsWhatItCanRead, "an_unreadable_record_hides_no_other", {}),
    (FailsWhileRecordsChange, "all_goes_on_while_records_change", {}),
    (IsLateByAMillisecond, "due_names_what_has_expired_by_then", {}),
    (KnowsNoLimit, "due_names_no_more_than_the_limit", {}),
    (RemembersTheFirstExpiry, "due_goes_by_the_record_as_it_is_now", {}),
]

FAILURES = (AssertionError, pytest.fail.Exception, BarbackError, TimeoutError, KeyError)


@pytest.mark.parametrize(
    ("broken", "rule", "arguments"),
    BROKEN,
    ids=[f"{broken.__name__}-{rule}-{n}" for n, (broken, rule, _) in enumerate(BROKEN)],
)
async def test_a_store_that_breaks_a_rule_fails_its_test(
    broken: type[SessionStore | LeasedStore], rule: str, arguments: dict[str, Any]
) -> None:
    test = getattr(Hasty(), f"test_{rule}")
    with pytest.raises(FAILURES):
        await test(broken(), **arguments)


@pytest.mark.parametrize("rule", sorted({rule for broken, rule, _ in BROKEN}))
def test_the_rules_that_broken_stores_fail_are_rules_of_the_contract(rule: str) -> None:
    assert hasattr(ListedStoreContract, f"test_{rule}")
