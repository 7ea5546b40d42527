"""Checkouts: how a turn comes to its lease, and to the record it reads under it."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import TYPE_CHECKING

from barback.backoff import busy_pauses
from barback.errors import SessionBusy, SessionStoreUnavailable
from barback.operations import Operations, asked_of
from barback.record import Record, new_version
from barback.stores.base import Lease

if TYPE_CHECKING:
    from collections.abc import Callable

    from barback.rules import Rules
    from barback.stores.base import LeasedStore
    from barback.stores.operation import Operation

__all__ = ["Checkouts"]


class Checkouts:
    """Takes leases, and waits for those that are held elsewhere.

    `refuse` is called before each attempt, and raises when there is to be none.
    """

    def __init__(
        self,
        store: LeasedStore,
        operations: Operations,
        rules: Rules,
        refuse: Callable[[], None],
    ) -> None:
        self._store = store
        self._operations = operations
        self._rules = rules
        self._refuse = refuse
        self._tokens: OrderedDict[str, str] = OrderedDict()

    def new_lease(self, session_id: str, asked_at: float) -> Lease:
        """A lease to be taken. A store that may have given one unseen knows it by its token."""
        token = self._tokens.pop(session_id, None) if self._tokens else None
        return Lease(
            session_id=session_id,
            token=f"{new_version():x}" if token is None else token,
            term=self._rules.lease_term,
            renewed_at=asked_at,
            known=token is not None,
        )

    def keep_token(self, lease: Lease) -> None:
        """Nobody knows whether this lease still holds: let the session's next turn take the same.

        With one of its own it would have to wait for this one's end.
        """
        self._tokens[lease.session_id] = lease.token
        if len(self._tokens) > self._rules.handled_limit:
            self._tokens.popitem(last=False)

    async def take(self, lease: Lease) -> Record | None:
        """Take the lease and read the record. Raises `SessionBusy` at once."""
        asked = asked_of(self._store.checkout(lease.session_id, lease))
        try:
            return await asked.answer
        except (SessionStoreUnavailable, asyncio.CancelledError) as error:
            self.failed(asked, lease, error)
            raise

    def failed(self, asked: Operation[Record | None], lease: Lease, error: BaseException) -> None:
        """A checkout had no answer, or none that its turn will use: see that nothing is left."""
        if isinstance(error, SessionStoreUnavailable):
            self.keep_token(lease)
        elif isinstance(error, asyncio.CancelledError):
            self._operations.undo(
                asked,
                lambda: self._store.release(lease.session_id, lease),
                lambda: self.keep_token(lease),
            )

    async def wait(self, lease: Lease, busy: SessionBusy) -> Record | None:
        """Try again, with a jittered back-off, as long as the session is in another's hands."""
        loop = asyncio.get_running_loop()
        give_up_at = lease.renewed_at + self._rules.lease_wait
        lease.closely = True
        for pause in busy_pauses():
            if lease.renewed_at >= give_up_at:
                break
            await asyncio.sleep(pause)
            self._refuse()
            lease.renewed_at = loop.time()
            try:
                return await self.take(lease)
            except SessionBusy as again:
                busy = again
        message = (
            f"Session {lease.session_id!r} was in another turn for the "
            f"{self._rules.lease_wait:g} seconds this one may wait."
        )
        raise SessionBusy(message, session_id=lease.session_id, store=self._store.name) from busy
