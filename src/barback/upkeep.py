"""Upkeep: what a bot does with all of its sessions, rather than with one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from barback.migrating import Migrated
    from barback.people import Forgotten, Shared
    from barback.rules import Rules
    from barback.scope import Scope
    from barback.states import States
    from barback.stores.base import LeasedStore
    from barback.tending import Tender
    from barback.turn import Turns

__all__ = ["Upkeep"]


class Upkeep(ABC):
    """The part of a bot that goes over its store.

    Each method works while the bot runs, and then shares its turns; and while it does not, and then
    opens the store, and no channel, for as long as it takes. Other processes may use the store
    meanwhile.

    Each raises `ListingUnsupported` for a driver that cannot list, and `SessionStoreUnavailable`,
    with what was done until then as a note. Run it again: what is done is not done twice.
    """

    _store: LeasedStore
    _states: States
    _rules: Rules
    _scope: Scope
    _prefix: str
    _clock: Callable[[], float]
    _turns: Turns | None

    async def migrate_sessions(
        self,
        *,
        dry_run: bool = False,
        on_progress: Callable[[Migrated], object] | None = None,
        max_failures: int = 20,
    ) -> Migrated:
        """Migrate every session that is older than the code, and tell how many there were.

        Each in a turn of its own, as an event would migrate it, but that no time of the session
        moves: to be migrated is no activity. A session that cannot be migrated is left as it is,
        and counted; `on_unreadable` is not called. Sessions that have expired, and records that are
        kept aside, are left alone. What is encrypted with another key than the current one, or is
        not encrypted and should be, is encrypted anew, histories as well.

        - `dry_run`: read the sessions, migrate copies of them, and write nothing.
        - `on_progress`: called after each session with the counts so far, in one object that goes
          on counting.
        - `max_failures`: of how many failures the reasons are kept.

        It can be cancelled, and begun again: what is current by then is skipped.
        """
        from barback.migrating import Migrated, migrate  # noqa: PLC0415 - most bots never need it

        done = Migrated(dry_run=dry_run)
        async with self._tender() as tender:
            await migrate(
                tender, self._states, done, on_progress=on_progress, max_failures=max_failures
            )
        return done

    async def forget(
        self,
        user: str,
        *,
        shared: Shared = "leave_out",
        dry_run: bool = False,
        on_progress: Callable[[Forgotten], object] | None = None,
    ) -> Forgotten:
        """Destroy every session of a person, and tell which.

        - `user`: "telegram:42", the person that has the id 42 on the channel telegram; or an id
          alone, of whoever has it on any channel. An id with a colon needs its channel before it.
        - `shared`: what becomes of a session in which others have written too: the person is taken
          out of its `users`, and its state stays ("leave_out"); it is destroyed for all of them
          ("destroy"); or it is kept as it is ("keep").
        - `dry_run`: only tell what would be done.
        - `on_progress`: called after each session with the report so far.

        A session is a person's if they are among its `users`, which are those whose events have
        changed it. Where it has none, as after a `conversation`, its key tells, unless the bot's
        scope is a function. Expired sessions, and records that are kept aside, are among them.

        A turn that runs is waited for, and whatever was committed before is gone then. An event
        that comes later, or waits in line, begins a new session. Call it outside of the turns of
        the person's sessions: it cannot wait for the turn that waits for it.

        No store has an index of people: every session of the bot is looked at. Raises
        `ConfigurationError` for what names nobody.
        """
        from barback.people import Forgotten, Person, forget  # noqa: PLC0415 - as above

        person = Person.of(user, self._scope)
        done = Forgotten(dry_run=dry_run)
        async with self._tender() as tender:
            await forget(tender, person, done, shared=shared, on_progress=on_progress)
        return done

    async def export(self, user: str, *, include_shared: bool = False) -> dict[str, Any]:
        """All that is kept of a person, as values that JSON has; `user` is as for `forget`.

        Its `sessions` are a list of dicts: id, times (ISO 8601, UTC), schema, users, address, and
        the state as it was kept. Of sessions that others share only the id and the times are told,
        unless `include_shared`: the rest may be about others. `unreadable` tells of records that
        cannot be read, and may be the person's. `history` are a session's entries. No lease is
        taken, but of sessions with older entries, for as long as these are read.
        """
        from barback.people import Person, export  # noqa: PLC0415 - as above

        person = Person.of(user, self._scope)
        async with self._tender() as tender:
            return await export(tender, person, self._states, include_shared=include_shared)

    async def session_ids(self, channel: str | None = None) -> AsyncIterator[str]:
        """The ids of all sessions that have not expired, in no order that means anything.

        `channel`: only those of one, such as "telegram". Whom to `broadcast` to, for one. Sessions
        that come or go meanwhile may be among them, or not. Those that cannot be read are left out,
        and logged.
        """
        async with self._tender() as tender:
            async for session_id in tender.session_ids(channel):
                yield session_id

    @asynccontextmanager
    async def _tender(self) -> AsyncIterator[Tender]:
        from barback.tending import Tender, turns_on  # noqa: PLC0415 - as above

        if self._turns is not None:
            yield Tender(self._running(), self._prefix, self._clock)
            return
        self._states.check()
        async with turns_on(self._store, self._states, self._rules, self._clock) as turns:
            yield Tender(turns, self._prefix, self._clock)

    @abstractmethod
    def _running(self) -> Turns:
        """The turns of the bot. Raises `BotNotRunning` if it is not, or is about to stop."""
