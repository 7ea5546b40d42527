"""Changes: the same is done to many sessions, each in a turn of its own, under its lease."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec

from barback.cli.sessions.opening import states_with, tending
from barback.cli.sessions.selection import Selection
from barback.cli.sessions.telling import (
    EXAMPLES,
    Failing,
    ask,
    carried_out,
    see_who_is_there,
    started,
    status_of,
)
from barback.cli.words import named, note, shown, tell
from barback.errors import (
    BarbackError,
    BotNotRunning,
    ConfigurationError,
    SessionStoreUnavailable,
)
from barback.record import check_session_id

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from barback.cli.progress import Progress
    from barback.record import Record
    from barback.tending import Tender
    from barback.turn import Turn

__all__ = ["Change", "Changed", "Wanted", "change", "wanted"]


class Change(NamedTuple):
    """What is done to each session.

    - `name`: the command's; `done`: what the session is afterwards, as in "deleted".
    - `act`: does it, in a turn that has found the session.
    - `may`: whether there is anything to do, at a time in milliseconds.
    """

    name: str
    done: str
    act: Callable[[Turn], Awaitable[None]]
    may: Callable[[Record, int], bool]


class Wanted(NamedTuple):
    """The sessions that are meant: by their ids, or else by what they are like."""

    ids: tuple[str, ...]
    selection: Selection

    def has(self, record: Record, now: int) -> bool:
        """Whether a session is still meant, now that it is held."""
        return bool(self.ids) or self.selection.has(record, now)


class Changed(Failing, kw_only=True):
    """What was done, or has been done so far.

    - `changed`: sessions; `examples` are the ids of the first 20.
    - `gone`: sessions that were not there, or not what they should be like, when they were held.
    - `failed`: sessions that are as they were.
    """

    looked_at: int = 0
    changed: int = 0
    gone: int = 0
    examples: list[str] = msgspec.field(default_factory=list)

    def count(self, session_id: str) -> None:
        """One more was changed."""
        self.changed += 1
        if len(self.examples) < EXAMPLES:
            self.examples.append(session_id)

    def told(self, done: str) -> str:
        """In one line; `done` as `Change.done`."""
        parts = [f"{self.changed:,} {done}"]
        if self.gone:
            parts.append(f"{self.gone:,} not there any more")
        if self.failed:
            parts.append(f"{self.failed:,} failed")
        return f"{', '.join(parts)}; {self.looked_at:,} looked at"


def wanted(ids: tuple[str, ...], selection: Selection, *, every: bool) -> Wanted:
    """Who is meant. Raises `ConfigurationError` where nobody is, or nobody knows."""
    if ids and (selection or every):
        raise ConfigurationError("Say either which ids, or what the sessions are like.")
    if not (ids or selection or every):
        raise ConfigurationError("Say which sessions: their ids, what they are like, or --all.")
    if every and selection:
        raise ConfigurationError("--all is every session: leave away what they are like.")
    for each in ids:
        check_session_id(each)
    return Wanted(tuple(dict.fromkeys(ids)), selection)


def change(url: str, whom: Wanted, what: Change, *, dry_run: bool, yes: bool) -> int:
    """Do it to all who are meant, having asked; the exit status."""
    if not (dry_run or yes):
        see_who_is_there()
    if dry_run or not yes:
        would, status = _once(url, whom, what, dry_run=True)
        if dry_run or status not in (0, 1) or not would.changed:
            return status
        if not ask(f"{what.name.capitalize()} {would.changed:,} in {shown(url)}?"):
            return 1
    return _once(url, whom, what, dry_run=False)[1]


def _once(url: str, whom: Wanted, what: Change, *, dry_run: bool) -> tuple[Changed, int]:
    done, progress = Changed(), started()
    outcome = f"would be {what.done}" if dry_run else what.done

    async def work() -> None:
        async with tending(url, states_with()) as tender:
            run = _Run(tender, whom, what, done, dry_run=dry_run)
            await run.all(lambda: progress.tell(done.told(outcome), done.looked_at))

    failure = carried_out(work(), progress)
    try:
        _tell(done, outcome, failure, progress, dry_run=dry_run)
    finally:
        done.tell_failures()
    return done, status_of(failure, complete=not done.failed)


def _tell(
    done: Changed,
    outcome: str,
    failure: BaseException | None,
    progress: Progress,
    *,
    dry_run: bool,
) -> None:
    if failure is not None and not done.looked_at:
        return
    if dry_run:
        for session_id in done.examples:
            tell(f"{outcome:<20} {named(session_id)}")
        if done.changed > len(done.examples):
            note(f"And {done.changed - len(done.examples):,} more, which list names.")
    tell(f"{done.told(outcome)}, in {progress.seconds:.1f} s.")


class _Run:
    """One going over the sessions that are meant."""

    def __init__(
        self, tender: Tender, whom: Wanted, what: Change, done: Changed, *, dry_run: bool
    ) -> None:
        self._tender = tender
        self._whom = whom
        self._what = what
        self._done = done
        self._dry_run = dry_run

    async def all(self, on_progress: Callable[[], object]) -> None:
        """Every one of them."""
        if self._whom.ids:
            await self._named(on_progress)
            return
        unreadable = await self._tender.each(
            lambda record: self._listed(record, on_progress), self._whom.selection.begin
        )
        if unreadable is not None:
            self._done.fail(unreadable.session_id or "", unreadable)

    async def _named(self, on_progress: Callable[[], object]) -> None:
        async def one(session_id: str) -> None:
            self._done.looked_at += 1
            await self._change(session_id)
            on_progress()

        async def ids() -> AsyncGenerator[str]:
            for session_id in self._whom.ids:
                yield session_id

        await self._tender.side_by_side(ids(), one)

    async def _listed(self, record: Record, on_progress: Callable[[], object]) -> None:
        self._done.looked_at += 1
        if self._means(record):
            await self._change(record.id, record)
        on_progress()

    def _means(self, record: Record) -> bool:
        now = self._tender.now()
        return self._whom.has(record, now) and self._what.may(record, now)

    async def _change(self, session_id: str, record: Record | None = None) -> None:
        try:
            if self._dry_run:
                found = record or await self._tender.look(session_id)
                changed = found is not None and self._means(found)
            else:
                changed = await self._tender.change(session_id, self._act)
        except (SessionStoreUnavailable, BotNotRunning):
            raise
        except BarbackError as error:
            self._done.fail(session_id, error)
            return
        if changed:
            self._done.count(session_id)
        else:
            self._done.gone += 1

    async def _act(self, turn: Turn) -> bool:
        """Under the lease, look again: an event may have come meanwhile."""
        if turn.record is None or not self._means(turn.record):
            return False
        await self._what.act(turn)
        return True
