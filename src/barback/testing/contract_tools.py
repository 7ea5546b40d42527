"""What the parts of the store contract share: the author's hooks, and a few short words."""

from __future__ import annotations

import asyncio
import time
from typing import Any, ClassVar

import msgspec

from barback.errors import SessionBusy
from barback.record import Record, new_version
from barback.state import encode_state
from barback.stores.base import Lease, LeasedStore, SessionStore
from barback.stores.local import leased

__all__ = [
    "LONG",
    "TIM",
    "AnyStore",
    "Contract",
    "lease_on",
    "leased",
    "now",
    "peek",
    "put",
    "record_of",
    "same",
]

AnyStore = SessionStore | LeasedStore
"""What the fixture `store` may give."""

TIM = "test:tim"
"""A session's id."""

LONG = 30.0
"""The term, in seconds, of a lease that does not end within a test."""


class Contract:
    """The hooks by which a store's author tells the contract about the store."""

    durable: ClassVar[bool] = True
    """Whether a store that was closed and opened again still has what it was given."""

    patience: ClassVar[float] = 10.0
    """Seconds within which a thing that must happen by itself has to have happened."""

    short_term: ClassVar[float] = 0.1
    """Seconds of a lease whose end is waited for. The contract waits for some six of them."""

    async def damage(self, store: AnyStore, session_id: str) -> None:
        """Make the session's record, which exists, unreadable. `store` is the fixture's, and open.

        Override it with what would happen to this store in truth: a file cut off, a row changed
        by hand. Unless overridden, the state is replaced by broken JSON.
        """
        opened = leased(store)
        lease = lease_on(session_id)
        record = await opened.checkout(session_id, lease)
        assert record is not None
        lease.version = record.version
        broken = msgspec.structs.replace(record, version=new_version(), state=b'{"n":')
        await opened.commit(broken, lease)

    async def taken(self, store: LeasedStore, lease: Lease) -> Record | None:
        """Check out as soon as the session is free, which it must be within `patience`."""
        async with asyncio.timeout(self.patience):
            while True:
                try:
                    record = await store.checkout(lease.session_id, lease)
                except SessionBusy:
                    await asyncio.sleep(self.short_term / 20)
                else:
                    lease.version = None if record is None else record.version
                    return record

    async def wait_for_short_leases_to_end(self, store: LeasedStore) -> None:
        """Wait for the end of every lease of `short_term` that was taken before."""
        session_id = "test:hourglass"
        await store.checkout(session_id, lease_on(session_id, term=self.short_term))
        last = lease_on(session_id)
        await self.taken(store, last)
        await store.release(session_id, last)


def lease_on(
    session_id: str = TIM,
    *,
    term: float = LONG,
    token: str | None = None,
    version: int | None = None,
) -> Lease:
    """A lease of its own; with `token`, the one that has it."""
    token = f"{new_version():x}" if token is None else token
    return Lease(session_id=session_id, token=token, term=term, version=version)


def record_of(
    session_id: str = TIM, state: dict[str, Any] | bytes = b"{}", **fields: Any
) -> Record:
    """A record as a turn of this moment would write it; `fields` in place of its own."""
    usual = {
        "version": new_version(),
        "state": state if isinstance(state, bytes) else encode_state(state),
        "created_at": now(),
        "last_activity": now(),
    }
    return Record(id=session_id, **{**usual, **fields})


async def put(
    store: LeasedStore, session_id: str = TIM, state: dict[str, Any] | bytes = b"{}", **fields: Any
) -> Record:
    """Write a record in place of the one there is, under a lease; what was written."""
    lease = lease_on(session_id)
    before = await store.checkout(session_id, lease)
    lease.version = None if before is None else before.version
    record = record_of(session_id, state, **fields)
    await store.commit(record, lease)
    return record


async def peek(store: LeasedStore, session_id: str = TIM) -> Record | None:
    """The record, read under a lease that is given back."""
    lease = lease_on(session_id)
    record = await store.checkout(session_id, lease)
    await store.release(session_id, lease)
    return record


def now() -> int:
    """The true time, in the milliseconds of records."""
    return time.time_ns() // 1_000_000


def same(expected: object, actual: object) -> bool:
    """Equal, and of equal types all the way down: 1 is not True, 1.0 not 1, and 0.0 not -0.0."""
    if type(expected) is not type(actual):
        return False
    if isinstance(expected, dict) and isinstance(actual, dict):
        return expected.keys() == actual.keys() and all(
            same(value, actual[key]) for key, value in expected.items()
        )
    if isinstance(expected, list) and isinstance(actual, list):
        return len(expected) == len(actual) and all(map(same, expected, actual))
    if isinstance(expected, float) and isinstance(actual, float):
        return expected.hex() == actual.hex()
    return expected == actual
