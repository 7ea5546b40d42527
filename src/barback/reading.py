"""Reading: what a turn makes of a record that it cannot take as it stands.

It is older than the code, of another format, or expired; or it cannot be read at all.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from barback.errors import (
    CommitUnknown,
    NotDone,
    SessionStoreUnavailable,
    SessionUnreadable,
)
from barback.history import chunk_ids
from barback.record import FORMAT_OVER

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from barback.commit import Commits
    from barback.operations import Operations
    from barback.record import Record
    from barback.state import Draft
    from barback.states import States
    from barback.steps import Steps
    from barback.stores.base import LeasedStore
    from barback.turn import Turn

__all__ = ["Reading"]

logger = logging.getLogger("barback")


class Reading:
    """Makes drafts of records that need a closer look, and ends sessions that have expired.

    - `attempt`: runs a handler within a turn, and returns what it ended with.
    - `report`: is told of a session that cannot be read, and says whether it begins anew.
    - `on_expired`: has the last state of a session that has expired.
    """

    def __init__(  # noqa: PLR0913 - what a turn works with
        self,
        store: LeasedStore,
        states: States,
        steps: Steps,
        operations: Operations,
        commits: Commits,
        *,
        attempt: Callable[
            [Turn, Callable[[Turn], Awaitable[None]]], Awaitable[BaseException | None]
        ],
        report: Callable[[SessionUnreadable], Awaitable[bool]] | None,
        on_expired: Callable[[Turn], Awaitable[None]] | None,
    ) -> None:
        self._store = store
        self._states = states
        self._steps = steps
        self._operations = operations
        self._commits = commits
        self._attempt = attempt
        self._report = report
        self._on_expired = on_expired
        self.has_on_expired = on_expired is not None

    async def draft(self, turn: Turn, record: Record) -> Draft:
        """The draft of a record: as of a new session, if it is over.

        One that cannot be read is kept aside, if whoever it is reported to will have it so.
        """
        if turn.upkeep:
            return self._states.draft(None, turn.session_id, turn.now)
        turn.kept = None if record.format == FORMAT_OVER else record
        if record.step is not None:
            self._steps.meet(record.step, turn.session_id)
        try:
            return self._states.draft(turn.kept, turn.session_id, turn.now)
        except SessionUnreadable as error:
            error.store = self._store.name
            if not await self.report(error):
                raise
            await self._commits.set_aside(record)
            turn.kept, turn.aside = None, True
            return self._states.draft(None, turn.session_id, turn.now)

    async def report(self, error: SessionUnreadable) -> bool:
        """Tell of a session that cannot be read, and hear whether it is to begin anew."""
        if self._report is None or not error.may_begin_anew:
            return False
        return await self._report(error)

    async def ended(self, turn: Turn, record: Record) -> Record:
        """Let `on_expired` have the last state of a session, once: what is left of it then.

        It is a turn of its own, inside of the one that has come upon the session. What it changes
        keeps the session alive; otherwise the session is over, and its record knows it. Where that
        could not be written, or nobody knows, the other turn is not done either.
        """
        if record.format == FORMAT_OVER or self._on_expired is None:
            return record
        ending = turn.inside("expired")
        ending.draft = await self.draft(ending, record)
        if ending.kept is None:  # it could not be read, and is kept aside
            turn.aside = True
            return self._commits.over(record)
        error = await self._attempt(ending, self._on_expired)
        if error is not None:
            self._look_at(ending, error)
        chunks = turn.turns.chunks
        left = self._commits.revived(ending) or self._commits.over(record)
        if ending.log is not None:
            left = await chunks.pack(ending, left, ending.log)
        try:
            await self._operations.finish(self._store.commit(left, turn.lease, keep=True))
        except CommitUnknown as unknown:
            message = (
                f"Whether session {turn.session_id!r}, which has expired, is over could not be "
                f"found out. Deliver the event again."
            )
            raise SessionStoreUnavailable(
                message, session_id=turn.session_id, store=self._store.name
            ) from unknown
        chunks.discard(ending.spent if left.history else chunk_ids(record))
        turn.record = left
        turn.lease.version = left.version
        return left

    def _look_at(self, ending: Turn, error: BaseException) -> None:
        """`on_expired` has failed: it ends the session all the same, unless it asked for another.

        What it was not given the time to do is not done, as with any handler.
        """
        if isinstance(error, NotDone) or not isinstance(error, Exception):
            raise error
        ending.start_over(self._states)
        ending.draft.closed = True
        logger.error(
            "on_expired of session %r failed; its changes were thrown away.",
            ending.session_id,
            exc_info=error,
            extra=ending.told(),
        )
