"""The contract's part about listing: every session once, and which ones are due."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest

from barback.errors import SessionUnreadable
from barback.record import Record
from barback.stores.base import LeasedStore
from barback.testing.contract_sessions import HOSTILE_IDS
from barback.testing.contract_tools import (
    TIM,
    AnyStore,
    Contract,
    lease_on,
    leased,
    now,
    peek,
    put,
)

__all__ = ["ListingContract"]

MANY = 250


class ListingContract(Contract):
    """`all` streams what there is; `due` names what has expired."""

    # All.

    async def test_an_empty_store_lists_nothing(self, store: AnyStore) -> None:
        """No records, no error."""
        async with leased(store) as opened:
            assert await ids(opened) == []
            assert await opened.due(now(), 10) == []

    async def test_all_lists_every_record_once(self, store: AnyStore) -> None:
        """However many pages it takes, each record comes once, as it was written."""
        async with leased(store) as opened:
            written = [await put(opened, f"test:{n}", {"n": n}) for n in range(MANY)]
            listed = [record async for record in opened.all()]
            assert sorted(written, key=_id) == sorted(listed, key=_id)

    async def test_all_lists_every_id_there_can_be(self, store: AnyStore) -> None:
        """An id comes out of a list as it went in."""
        async with leased(store) as opened:
            for session_id in HOSTILE_IDS:
                await put(opened, session_id)
            assert sorted(HOSTILE_IDS) == await ids(opened)

    @pytest.mark.parametrize("character", "*?[%_\\]^$.{}()+|\0'\"/é👋 ")
    async def test_a_prefix_is_taken_literally(self, store: AnyStore, character: str) -> None:
        """What is a wildcard to a shell, a regular expression or SQL is itself in a prefix."""
        prefix = f"test:a{character}"
        starting = sorted([prefix, f"{prefix}b", f"{prefix}{character}", f"{prefix}/c"])
        others = [f"test:{key}" for key in ("a", "ab", "abb", "axb", "xa", "aa", "a-", "A", "b")]
        async with leased(store) as opened:
            for session_id in starting + others:
                await put(opened, session_id)
            assert starting == await ids(opened, prefix)

    @pytest.mark.parametrize(
        ("prefix", "expected"),
        [
            ("", ["shop/line:1", "test:Tim", "test:tim", "test:timothy"]),
            ("test:", ["test:Tim", "test:tim", "test:timothy"]),
            ("test:t", ["test:tim", "test:timothy"]),
            ("test:tim", ["test:tim", "test:timothy"]),
            ("test:timothy", ["test:timothy"]),
            ("test:timothy!", []),
            ("shop/", ["shop/line:1"]),
            ("shop", ["shop/line:1"]),
            ("im", []),
            ("[a-z]*", []),
        ],
    )
    async def test_all_lists_what_starts_with_the_prefix(
        self, store: AnyStore, prefix: str, expected: list[str]
    ) -> None:
        """A prefix is the beginning of the id, in upper and lower case, and nothing else."""
        async with leased(store) as opened:
            for session_id in ("test:tim", "test:Tim", "test:timothy", "shop/line:1"):
                await put(opened, session_id)
            assert expected == await ids(opened, prefix)

    async def test_all_goes_on_while_records_change(self, store: AnyStore) -> None:
        """Records written and destroyed meanwhile may be listed or not; no other is left out."""
        async with leased(store) as opened:
            for number in range(MANY):
                await put(opened, f"test:{number}")
            listed: set[str] = set()
            async for record in opened.all():
                if not listed:
                    for number in range(0, MANY, 5):
                        await opened.destroy(f"test:{number}", None)
                        await put(opened, f"test:{number + 1}", {"changed": True})
                        await put(opened, f"test:{number}000")
                listed.add(record.id)
            untouched = {f"test:{number}" for number in range(MANY) if number % 5 > 1}
            assert untouched <= listed

    async def test_a_list_may_be_left_early(self, store: AnyStore) -> None:
        """Who stops in the middle of a list holds nothing and hinders nobody."""
        async with leased(store) as opened:
            for number in range(MANY):
                await put(opened, f"test:{number}")
            records = opened.all()
            await anext(records)
            if isinstance(records, AsyncGenerator):
                await records.aclose()
            written = await put(opened, "test:0", {"n": 1})
            assert written == await peek(opened, "test:0")

    async def test_a_session_in_a_turn_is_listed_like_others(self, store: AnyStore) -> None:
        """Listing asks for no lease; a lease without a record is not listed."""
        async with leased(store) as opened:
            await put(opened, "test:held")
            for session_id in ("test:held", "test:new"):
                await opened.checkout(session_id, lease_on(session_id))
            assert await ids(opened) == ["test:held"]

    async def test_expired_records_are_listed_and_destroyed_ones_not(self, store: AnyStore) -> None:
        """A record is listed as long as it is there."""
        async with leased(store) as opened:
            await put(opened, "test:expired", expires_at=now() - 1_000)
            await put(opened, "test:destroyed")
            await opened.destroy("test:destroyed", None)
            assert await ids(opened) == ["test:expired"]

    async def test_an_unreadable_record_hides_no_other(self, store: AnyStore) -> None:
        """`all` lists the others first, and may only then raise `SessionUnreadable`."""
        async with leased(store) as opened:
            healthy = [f"test:{number}" for number in range(20)]
            for session_id in (*healthy[:10], TIM):
                await put(opened, session_id, expires_at=now() - 1_000)
            await self.damage(store, TIM)
            for session_id in healthy[10:]:
                await put(opened, session_id, expires_at=now() - 1_000)
            listed = set()
            try:
                async for record in opened.all():
                    listed.add(record.id)
            except SessionUnreadable:
                assert TIM not in listed
            assert set(healthy) == listed - {TIM}
            due = {record.id for record in await opened.due(now(), 100)}
            assert set(healthy) == due - {TIM}

    # Due.

    async def test_due_names_what_has_expired_by_then(self, store: AnyStore) -> None:
        """`expires_at` at the moment itself counts; a millisecond later, or never, does not."""
        moment = now() + 60_000
        expiries = {
            "test:long-ago": moment - 30_000,
            "test:just-before": moment - 1,
            "test:at-the-moment": moment,
            "test:just-after": moment + 1,
            "test:never": None,
        }
        async with leased(store) as opened:
            for session_id, expires_at in expiries.items():
                await put(opened, session_id, expires_at=expires_at)
            due = await opened.due(moment, 10)
            expected = ["test:at-the-moment", "test:just-before", "test:long-ago"]
            assert expected == sorted(record.id for record in due)
            assert all(expiries[record.id] == record.expires_at for record in due)

    async def test_due_names_no_more_than_the_limit(self, store: AnyStore) -> None:
        """At most `limit`, different ones; in no order that is promised."""
        async with leased(store) as opened:
            for number in range(20):
                await put(opened, f"test:{number}", expires_at=now() + number)
                await put(opened, f"test:later-{number}", expires_at=now() + 60_000 + number)
            for limit, expected in ((1, 1), (7, 7), (20, 20), (21, 20)):
                due = {record.id for record in await opened.due(now() + 30_000, limit)}
                assert expected == len(due)
                assert not any("later" in session_id for session_id in due)

    async def test_due_goes_by_the_record_as_it_is_now(self, store: AnyStore) -> None:
        """A session that somebody came back to, or that was destroyed, is due no more."""
        async with leased(store) as opened:
            ids_of_three = ("test:back", "test:for-ever", "test:gone", "test:shortened")
            for session_id in ids_of_three:
                await put(opened, session_id, expires_at=now() + 1_000)
            await put(opened, "test:back", expires_at=now() + 90_000)
            await put(opened, "test:for-ever", expires_at=None)
            await put(opened, "test:shortened", expires_at=now() + 500)
            await opened.destroy("test:gone", None)
            due = await opened.due(now() + 60_000, 10)
            assert [record.id for record in due] == ["test:shortened"]


async def ids(store: LeasedStore, prefix: str = "") -> list[str]:
    """The ids of what is listed, sorted."""
    return sorted([record.id async for record in store.all(prefix)])


def _id(record: Record) -> str:
    return record.id
