"""Migrating: every session of a store becomes one of the version that the code knows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from barback.errors import (
    BotNotRunning,
    BotOverloaded,
    LeaseLost,
    SessionBusy,
    SessionStoreUnavailable,
)
from barback.orphans import named
from barback.record import HISTORY
from barback.tails import is_current, renewed
from barback.tending import Failure, failure_of, place_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from barback.record import Record
    from barback.states import States
    from barback.tending import Tender

__all__ = ["Migrated", "migrate"]

Outcome = Literal["migrated", "current", "newer", "busy", "gone", "skipped", "parts"]


class Migrated(msgspec.Struct, kw_only=True):
    """What a migration of a whole store has done, or has done so far.

    - `migrated`: sessions that are now as the code writes them; in a dry run, that would be.
    - `current`: sessions that were so already.
    - `newer`: sessions of a newer version than the code, which refuses them and left them alone.
    - `failed`: sessions that could not be migrated, and were left as they are; `failures` are the
      first of them, with their reasons.
    - `busy`: sessions that others held for too long. Run it again.
    - `gone`: sessions that were destroyed, or expired, meanwhile.
    - `skipped`: sessions that have expired, and records that are kept aside.
    - `parts`: parts of histories that are records of their own, and were encrypted with another
      key, or not at all. They are no sessions, but may be among the failures.
    """

    dry_run: bool = False
    migrated: int = 0
    current: int = 0
    newer: int = 0
    failed: int = 0
    busy: int = 0
    gone: int = 0
    skipped: int = 0
    parts: int = 0
    failures: list[Failure] = msgspec.field(default_factory=list)

    @property
    def looked_at(self) -> int:
        """How many sessions have come to their end, whatever it was."""
        done = self.migrated + self.current + self.newer + self.failed
        return done + self.busy + self.gone + self.skipped

    @property
    def complete(self) -> bool:
        """Whether the code can handle every session there is."""
        return not (self.failed or self.busy or self.newer)

    def count(self, outcome: Outcome | Failure, max_failures: int) -> None:
        """One more session has come to its end."""
        if not isinstance(outcome, Failure):
            setattr(self, outcome, getattr(self, outcome) + 1)
            return
        self.failed += 1
        if len(self.failures) < max_failures:
            self.failures.append(outcome)

    def __str__(self) -> str:
        parts = [f"{self.migrated:,} {'would be ' if self.dry_run else ''}migrated"]
        for name in ("current", "newer", "failed", "busy", "gone", "skipped"):
            number = getattr(self, name)
            if number:
                parts.append(f"{number:,} {name}")
        if self.parts:
            parts.append(f"{self.parts:,} part{'' if self.parts == 1 else 's'} of histories")
        return ", ".join(parts)


async def migrate(
    tender: Tender,
    states: States,
    done: Migrated,
    *,
    on_progress: Callable[[Migrated], object] | None,
    max_failures: int,
) -> None:
    """Migrate every session that is older than the code, counting in `done`."""

    async def one(record: Record) -> None:
        outcome = await _tried(tender, states, record, dry_run=done.dry_run)
        if outcome is not None:
            done.count(outcome, max_failures)
        if on_progress is not None:
            on_progress(done)

    try:
        unreadable = await tender.each(one)
    except Exception as error:
        error.add_note(f"Until then: {done}.")
        raise
    if unreadable is not None:
        failure = failure_of(tender.shown(unreadable.session_id or ""), unreadable)
        done.count(failure, max_failures)


async def _tried(
    tender: Tender, states: States, record: Record, *, dry_run: bool
) -> Outcome | Failure | None:
    """What became of one session; only what ends the whole migration is raised."""
    try:
        if place_of(record.id).part == HISTORY:
            return await _of_part(tender, record, dry_run=dry_run)
        return await _outcome(tender, states, record, dry_run=dry_run)
    except (SessionStoreUnavailable, BotNotRunning):
        raise
    except (SessionBusy, BotOverloaded, LeaseLost):
        return "busy"
    except Exception as error:  # noqa: BLE001 - of the type of states, most likely
        return failure_of(tender.shown(record.id), error)


async def _outcome(tender: Tender, states: States, record: Record, *, dry_run: bool) -> Outcome:
    if place_of(record.id).part or record.expired(tender.now()):
        return "skipped"
    outcome = _without_change(states, record)
    if outcome is not None:
        return outcome
    if dry_run:
        renewed(states, record)
        return "migrated"
    async with tender.turns.tend(record.id) as turn:
        found = turn.record
        if found is None or found.expired(tender.now()):
            return "gone"
        outcome = _without_change(states, found)
        if outcome is not None:  # an event, or another migration, has been here meanwhile
            return outcome
        turn.tended = renewed(states, found)
    return "migrated"


async def _of_part(tender: Tender, record: Record, *, dry_run: bool) -> Outcome | None:
    """What became of a part of a history, which only the keys concern; None: nothing."""
    chunks, session_id = tender.turns.chunks, record.address
    if session_id is None or chunks.is_current(record):
        return None
    if dry_run:
        chunks.resealed(record)
        return "parts"
    async with tender.turns.tend(session_id) as turn:
        found = turn.record
        if found is None or found.expired(tender.now()) or record.id not in named(found):
            return None  # it goes without that
        return "parts" if await chunks.rewrite(record.id, chunks.resealed) else None


def _without_change(states: States, record: Record) -> Outcome | None:
    """What is to be said of a record that is not to be migrated."""
    if record.schema > states.schema:
        return "newer"
    return "current" if is_current(states, record) else None
