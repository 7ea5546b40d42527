"""Commits: what a turn writes, and how it is seen written."""

from __future__ import annotations

import asyncio
import logging
import random
from typing import TYPE_CHECKING, Final

import msgspec

from barback.errors import (
    BarbackError,
    CommitUnknown,
    LeaseLost,
    NotDone,
    SessionStoreUnavailable,
    SessionUnreadable,
)
from barback.history import chunk_ids
from barback.record import ASIDE, FORMAT_OVER, NEVER, Record, id_beside, new_version
from barback.seen import Seen
from barback.stores.base import GRACE, milliseconds, new_lease
from barback.tails import open_log, seal_log

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from barback.chunks import Chunks
    from barback.operations import Operations
    from barback.rules import Rules
    from barback.states import States
    from barback.stores.base import LeasedStore
    from barback.turn import Turn

__all__ = ["Commits", "SealingCommits", "not_given_back"]

logger = logging.getLogger("barback")

GRAINS: Final = 100  # an expiry is moved at most a hundred times within its length
SENDS: Final = 3  # of one commit, where the answers are lost
PAUSE: Final = 0.050  # seconds, about, before a store that did not answer is asked again


class Commits:
    """Writes what turns have changed, each in one atomic step that gives the lease back too."""

    def __init__(  # noqa: PLR0913 - what they are made of, and with
        self,
        store: LeasedStore,
        states: States,
        operations: Operations,
        chunks: Chunks,
        *,
        rules: Rules,
        clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._states = states
        self._chunks = chunks
        self._operations = operations
        self._rules = rules
        self._clock = clock
        self._lifetime = milliseconds(store.expires_in)
        self._max_age = milliseconds(store.max_age)
        self._seen_for = int(rules.seen_for * 1000)
        self.closing = False
        """Whether to give up on a store that does not answer."""

    def record_of(self, turn: Turn) -> Record | None:
        """What to write; None if the session is as it was read, and its expiry far enough."""
        kept, draft, state = turn.kept, turn.draft, turn.state
        schema = self._states.schema
        lifetime = self._lifetime if draft.lifetime is None else draft.lifetime
        if lifetime == NEVER:
            lifetime = None
        if state is None:
            if turn.tended is not None:
                return self._tended(turn, turn.tended)
            # An event that is seen already does not come as far as this.
            remember = self._rules.dedupe_always and turn.event_id is not None
            same = (
                draft.lifetime is None and draft.step is None and not draft.fades
                if kept is None
                else draft.lifetime == kept.lifetime
                and draft.fades == kept.fades
                and draft.step == kept.step
            ) and not draft.grows
            if (
                same
                and not (turn.remember and turn.event_id is not None)
                and (turn.failed or not (remember or self._expiry_is_due(kept, lifetime, turn.now)))
            ):
                return None
            if kept is None:
                state = draft.base
            else:
                state, schema = kept.state, kept.schema
        now = int(self._clock() * 1000)
        version = new_version()
        read = turn.record
        turn_id = _id_of(turn, version)
        seen = {turn_id: now} if read is None else self._with(read, turn_id, now)
        user, address = turn.user, turn.address
        users: tuple[str, ...] = () if user is None else (user,)
        created_at, history = now, b""
        if kept is not None:
            created_at = kept.created_at
            history = kept.history
            known = user is None or user in kept.users
            users = kept.users if known else kept.users + users
            address = address or kept.address
        elif read is not None and read.history and not turn.aside:
            turn.spent = chunk_ids(read)  # of what it was before
        record = Record(
            id=turn.session_id,
            version=version,
            state=state,
            created_at=created_at,
            last_activity=now,
            expires_at=self._expiry(kept, lifetime, now, created_at),
            fades=draft.fades,
            step=draft.step,
            history=history,
            schema=schema,
            lifetime=draft.lifetime,
            seen=seen,
            users=users,
            address=address,
        )
        return self._grown(turn, record) if draft.grows else record

    def _grown(self, turn: Turn, record: Record) -> Record:
        """With what the turn has added to the history; if that is too much, `turn.log` has it."""
        history, draft, now = self._chunks.history, turn.draft, record.last_activity
        assert history is not None  # noqa: S101 - or else nothing could be added
        log = open_log(self._states, turn.kept)
        dropped = log.clear() if draft.cleared else []
        dropped += log.add(draft.appended, now, history)
        if dropped:
            turn.spent = [*turn.spent, *(ref.id(record.id) for ref in dropped)]
        if log.full():
            turn.log = log
            return record
        return msgspec.structs.replace(record, history=seal_log(self._states, log, record))

    def _tended(self, turn: Turn, tended: Record) -> Record:
        """What is written of a session that was tended: that is no activity, and no time moves."""
        version = new_version()
        seen = self._with(tended, _id_of(turn, version), int(self._clock() * 1000))
        return msgspec.structs.replace(tended, version=version, seen=seen)

    async def set_aside(self, record: Record) -> None:
        """Keep a copy of a record under an id of its own, for somebody to look into it.

        It does not expire. An encrypted state stays as it is, encrypted for the id it had, which
        its envelope tells: one that was tampered with could not be encrypted anew. Raises
        `NotDone`, or `CommitUnknown`; then it may be there all the same.
        """
        version = new_version()
        aside = msgspec.structs.replace(
            record,
            id=id_beside(record.id, ASIDE, version),
            version=version,
            expires_at=None,
            lifetime=NEVER,
        )
        lease = new_lease(aside.id, self._rules.lease_term)
        await self._operations.finish(self._store.checkout(aside.id, lease))
        await self._operations.finish(self._store.commit(aside, lease))
        logger.warning("Session %r is kept aside as %r.", record.id, aside.id)

    async def release(self, turn: Turn) -> bool:
        """Give the lease back, and tell whether it was; if not it is logged, and ends by itself."""
        try:
            await self._operations.finish(self._store.release(turn.session_id, turn.lease))
        except BarbackError as error:
            not_given_back(turn, error)
            return False
        return True

    def revived(self, turn: Turn) -> Record | None:
        """What to write of a session that had expired; None if its handler changed nothing."""
        kept, draft = turn.kept, turn.draft
        assert kept is not None  # noqa: S101 - it has expired
        untouched = (
            draft.lifetime == kept.lifetime
            and draft.fades == kept.fades
            and draft.step == kept.step
            and not draft.grows
        )
        return None if turn.state is None and untouched else self.record_of(turn)

    def over(self, record: Record) -> Record:
        """What is left of a session that is over: for a while, it knows the events it has seen."""
        return msgspec.structs.replace(
            record,
            version=new_version(),
            format=FORMAT_OVER,
            state=b"{}",
            fades={},
            step=None,
            history=b"",
            address=None,
            expires_at=int(self._clock() * 1000) + GRACE,
        )

    def _with(self, read: Record, turn_id: str, now: int) -> Mapping[str, int]:
        """The ids a session remembers, with the newest last: so many, and not older than so."""
        limit, too_old = self._rules.seen_limit, now - self._seen_for
        if type(read.seen) is not dict:
            try:
                return Seen.of(read.seen).adding(turn_id, now, limit=limit, too_old=too_old)
            except ValueError as error:
                message = f"The ids seen by session {read.id!r} cannot be read. Mend the record."
                raise SessionUnreadable(
                    message, session_id=read.id, store=self._store.name
                ) from error
        seen = read.seen.copy()
        while len(seen) >= limit:
            del seen[next(iter(seen))]
        while seen and seen[oldest := next(iter(seen))] <= too_old:
            del seen[oldest]
        seen[turn_id] = now
        return seen

    async def resolve(self, turn: Turn, record: Record, lost: CommitUnknown) -> bool:
        """The answer to a commit was lost: read again, and see it done or know that it was not.

        The version read at checkout never comes back, so that a record which still has it has
        not been committed to. The turn's id among those seen says that it has; False if that was
        by another copy of its event, in another process, and nothing of this turn was written.
        """
        turn_id = _id_of(turn, record.version)
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + self._rules.lease_wait
        sends = 1
        fenced, unheard = False, turn.lease.known
        while True:
            lease = turn.lease
            lease.closely = True
            try:
                ours = not await self._store.renew([lease])
                stored = await self._store.checkout(turn.session_id, lease)
            except NotDone as error:
                # It may still be on its way, and take a lease again that was given back.
                unheard = unheard or isinstance(error, SessionStoreUnavailable)
                for_good = isinstance(error, SessionUnreadable) or self.closing
                if for_good or loop.time() >= give_up_at:
                    raise self._unknown(turn) from lost
                await asyncio.sleep(PAUSE * random.uniform(0.5, 1))  # noqa: S311
                continue
            if stored is not None and turn_id in stored.seen:
                await self.release(turn)
                return _is_own(record, stored, turn_id)
            # Without a record before, one made and destroyed since looks the same: only the lease,
            # which goes with the commit, tells them apart.
            version = None if stored is None else stored.version
            untouched = version == lease.version and (version is not None or ours or fenced)
            if untouched and not fenced:
                if sends == SENDS:
                    await self._fence(turn, lost)
                    fenced = True
                    continue
                sends += 1
                try:
                    await self._store.commit(record, lease)
                except (CommitUnknown, NotDone):
                    continue  # an earlier copy may have arrived after all: look again
                return True
            await self.release(turn)
            if untouched and not unheard:
                message = (
                    f"The {self._store.name} store did not take the commit of session "
                    f"{turn.session_id!r}, though it was sent {SENDS} times."
                )
                raise SessionStoreUnavailable(
                    message, session_id=turn.session_id, store=self._store.name
                ) from lost
            if untouched or stored is None or not _window_holds(turn.record, stored):
                raise self._unknown(turn) from lost
            message = f"Another turn took session {turn.session_id!r} over. Nothing was written."
            raise LeaseLost(message, session_id=turn.session_id, store=self._store.name) from lost

    async def _fence(self, turn: Turn, lost: CommitUnknown) -> None:
        """Give up a commit of which no copy has been applied yet, but one may be on its way.

        With the lease given back it is refused when it arrives. Only from then on a look, under
        another lease, can be the last.
        """
        spent = turn.lease
        try:
            await self._store.release(turn.session_id, spent)
        except NotDone:
            raise self._unknown(turn) from lost
        turn.lease = new_lease(spent.session_id, spent.term)
        turn.lease.version = spent.version

    def _expiry(
        self, kept: Record | None, lifetime: int | None, now: int, created_at: int
    ) -> int | None:
        """When a record ends that is written now: as before, as long as that is late enough.

        So most commits leave alone the index that a store has of these times.
        """
        if kept is not None and not self._expiry_is_due(kept, lifetime, now):
            return kept.expires_at
        slides_to = None if lifetime is None else now + lifetime + lifetime // GRAINS
        if self._max_age is None:
            return slides_to
        oldest = created_at + self._max_age
        return oldest if slides_to is None else min(oldest, slides_to)

    def _expiry_is_due(self, record: Record | None, lifetime: int | None, now: int) -> bool:
        """Whether a record that did not change must be written to move its expiry."""
        if record is None:
            return False
        if self._max_age is not None:
            oldest = record.created_at + self._max_age
            if lifetime is None or now + lifetime >= oldest:
                return record.expires_at != oldest
        if record.expires_at is None or lifetime is None:
            return (record.expires_at is None) != (lifetime is None)
        left = record.expires_at - now
        return not lifetime <= left <= lifetime + lifetime // GRAINS

    def _unknown(self, turn: Turn) -> CommitUnknown:
        message = (
            f"The answer to the commit of session {turn.session_id!r} was lost, and whether it was "
            f"applied could not be found out. Look at the session before the event is repeated."
        )
        return CommitUnknown(message, session_id=turn.session_id, store=self._store.name)


class SealingCommits(Commits):
    """Those of a bot whose states are encrypted: others pay nothing for that they might be."""

    def record_of(self, turn: Turn) -> Record | None:
        """See `Commits.record_of`. A state that has not changed keeps the envelope it has."""
        record = super().record_of(turn)
        if record is None:
            return None
        if turn.tended is not None:
            return record  # as it is to rest
        if turn.state is None and turn.kept is not None:
            return msgspec.structs.replace(record, format=turn.kept.format)
        return self._states.sealed(record)


def not_given_back(turn: Turn, error: BarbackError) -> None:
    """Log that the store would not take a lease back: it ends by itself."""
    logger.warning(
        "The lease of session %r could not be given back and will run out: %s",
        turn.session_id,
        error,
        extra=turn.told(),
    )


def _id_of(turn: Turn, version: int) -> str:
    """What the session remembers the turn by: its event's id, or one made of its commit's."""
    return turn.event_id or f"~{version:x}"


def _is_own(record: Record, stored: Record, turn_id: str) -> bool:
    """Whether the turn that `stored` remembers under this id is the one that wrote `record`.

    Once other turns have followed only its time is left to tell. A second commit of the same
    event, which waits for the lease of the first, has the same one only by a clock that differs.
    """
    if stored.version == record.version:
        return True
    try:
        return stored.seen[turn_id] == record.seen[turn_id]
    except ValueError:  # the times cannot be read
        return True


def _window_holds(read: Record | None, stored: Record) -> bool:
    """Whether an id added after `read` would surely still be among those `stored` remembers.

    Ids go oldest first, whatever the limits of who lets them go: one from before is still there,
    with its time. Without that, it is of an event that was let go, and has been handled again.
    """
    try:
        return read is not None and not read.seen.items().isdisjoint(stored.seen.items())
    except ValueError:  # they cannot be read
        return False
