"""`barback sessions import`: whole sessions, from JSON Lines."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal

import msgspec

from barback.cli.sessions.opening import keys_from, states_with, tending
from barback.cli.sessions.options import dry_run_option, keys_option, store_option, yes_option
from barback.cli.sessions.telling import (
    EXAMPLES,
    Failing,
    ask,
    carried_out,
    see_who_is_there,
    started,
    status_of,
)
from barback.cli.sessions.whole import Whole
from barback.cli.words import named, note, shown, tell
from barback.errors import BarbackError, BotNotRunning, SessionStoreUnavailable
from barback.extras import needs_extra
from barback.history import chunk_ids
from barback.tails import opened

with needs_extra("cli"):
    import click

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from barback.record import Record
    from barback.states import States
    from barback.tending import Tender
    from barback.turn import Turn

__all__ = ["import_command"]

Outcome = Literal["imported", "replaced", "present", "skipped", "conflicts"]
Existing = Literal["overwrite", "skip"]


class Imported(Failing, kw_only=True):
    """What was done, or would be.

    - `imported`: sessions that were not there; `replaced`: that were another.
    - `present`: that were there, and the same; `skipped`, `conflicts`: another, and left as it is.
    - `failed`: lines of which nothing came, where something was wrong with them.
    """

    imported: int = 0
    replaced: int = 0
    present: int = 0
    skipped: int = 0
    conflicts: int = 0
    in_conflict: list[str] = msgspec.field(default_factory=list)

    @property
    def lines(self) -> int:
        """How many lines have come to their end."""
        kept = self.present + self.skipped + self.conflicts
        return self.imported + self.replaced + kept + self.failed

    def count(self, session_id: str, outcome: Outcome) -> None:
        """One more has come to its end."""
        setattr(self, outcome, getattr(self, outcome) + 1)
        if outcome == "conflicts" and len(self.in_conflict) < EXAMPLES:
            self.in_conflict.append(session_id)

    def told(self, *, dry_run: bool) -> str:
        """In one line."""
        would = "would be " if dry_run else ""
        parts = [f"{self.imported:,} {would}imported"]
        for number, what in (
            (self.replaced, f"{would}put in place of another"),
            (self.present, "there already"),
            (self.skipped, "skipped"),
            (self.conflicts, "in conflict"),
            (self.failed, "failed"),
        ):
            if number:
                parts.append(f"{number:,} {what}")
        return ", ".join(parts)


@click.command(name="import")
@click.argument(
    "file", type=click.Path(dir_okay=False, exists=True, allow_dash=True), metavar="FILE"
)
@store_option
@click.option(
    "--overwrite",
    "existing",
    flag_value="overwrite",
    help="Put a session in place of another that the store has.",
)
@click.option(
    "--skip", "existing", flag_value="skip", help="Leave one alone that the store has another of."
)
@click.option("--no-verify", is_flag=True, help="Do not read back what was written.")
@keys_option
@dry_run_option
@yes_option
def import_command(  # noqa: PLR0913 - options, by keyword
    file: str,
    url: str,
    *,
    existing: Existing | None,
    no_verify: bool,
    keys_file: str | None,
    dry_run: bool,
    yes: bool,
) -> int:
    """Read back what export has written.

    Sessions and their histories; FILE may be - .

    Each as it is, times included, in a turn of its own: either all of it, or nothing. What is plain
    is encrypted, if the bot's keys are given. A session of which the store has another is left
    alone and named, unless it is said otherwise. What was written is read back.

    Nothing is lost by stopping it: run it again, what is there already is not written twice.

    The exit status is 0 if all are there; 1 if some are not, or another.
    """
    states = states_with(keys_from(keys_file))
    how = _How(file, url, states, existing, verify=not no_verify)
    if not (dry_run or yes):
        if file == "-":
            raise click.UsageError("Standard input is read once, and nobody can be asked: --yes.")
        see_who_is_there()
    if dry_run or not yes:
        would, status = _once(how, dry_run=True)
        if dry_run or status not in (0, 1) or not (would.imported or would.replaced):
            return status
        if not ask(f"Do so in {shown(url)}?"):
            return 1
    return _once(how, dry_run=False)[1]


class _How(msgspec.Struct, frozen=True):
    file: str
    url: str
    states: States
    existing: Existing | None
    verify: bool


def _once(how: _How, *, dry_run: bool) -> tuple[Imported, int]:
    done, progress = Imported(), started()

    async def work() -> None:
        async with tending(how.url, how.states) as tender:
            run = _Import(tender, how, done, dry_run=dry_run)
            with _opened(how.file) as file:
                await run.all(file, lambda: progress.tell(done.told(dry_run=dry_run), done.lines))

    failure = carried_out(work(), progress)
    try:
        if failure is None or done.lines:
            tell(f"{done.told(dry_run=dry_run)}, in {progress.seconds:.1f} s.")
    finally:
        done.tell_failures()
    if done.in_conflict:
        more = done.conflicts - len(done.in_conflict)
        who = f"{', '.join(map(named, done.in_conflict))}{f' and {more:,} more' if more else ''}"
        note(f"The store has another session of {who}: say --overwrite or --skip.")
    return done, status_of(failure, complete=not (done.failed or done.conflicts))


def _opened(file: str) -> BinaryIO:
    return sys.stdin.buffer if file == "-" else Path(file).open("rb")


class _Import:
    """One going through a file."""

    def __init__(self, tender: Tender, how: _How, done: Imported, *, dry_run: bool) -> None:
        self._tender = tender
        self._how = how
        self._done = done
        self._dry_run = dry_run

    async def all(self, file: BinaryIO, on_progress: Callable[[], object]) -> None:
        """Every line."""

        async def one(line: tuple[int, bytes]) -> None:
            await self._line(*line)
            on_progress()

        await self._tender.side_by_side(_lines(file), one)

    async def _line(self, number: int, line: bytes) -> None:
        session_id = ""
        try:
            whole = Whole.decode(line)
            session_id = whole.record.id
            outcome = await self._import(whole)
        except (SessionStoreUnavailable, BotNotRunning):
            raise
        except BarbackError as error:
            self._done.fail(session_id, error, f"Line {number}: ")
            return
        self._done.count(session_id, outcome)

    async def _import(self, whole: Whole) -> Outcome:
        session_id = whole.record.id
        if self._dry_run:
            return self._outcome(await self._tender.look(session_id), whole.record)
        outcome: Outcome | None = None

        async def act(turn: Turn) -> Outcome:
            nonlocal outcome
            now = self._outcome(turn.record, whole.record)
            if now not in {"imported", "replaced"}:
                return outcome or now  # it was written by a try whose answer was lost
            outcome = now
            written = whole.closed(self._how.states)
            await self._tender.turns.chunks.put(written.parts)
            if turn.record is not None:
                turn.spent = sorted({*chunk_ids(turn.record)} - {*chunk_ids(written.record)})
            turn.tended = written.record
            return outcome

        done = await self._tender.change(session_id, act)
        if self._how.verify and done in {"imported", "replaced"}:
            await self._verify(whole)
        return done

    async def _verify(self, whole: Whole) -> None:
        there = await self._tender.look(whole.record.id)
        if there is not None and self._same(there, whole.record):
            found = await Whole.read(self._tender, there)
            if found is not None and _content(self._how.states, found) == _content(
                self._how.states, whole
            ):
                return
        message = "It is not there as it was written. Does a bot work on it meanwhile?"
        raise _NotAsWritten(message, session_id=whole.record.id)

    def _outcome(self, there: Record | None, wanted: Record) -> Outcome:
        if there is None:
            return "imported"
        if self._same(there, wanted):
            return "present"
        if self._how.existing is None:
            return "conflicts"
        return "replaced" if self._how.existing == "overwrite" else "skipped"

    def _same(self, there: Record, wanted: Record) -> bool:
        """But for what a turn writes of itself: the version, and that it was there."""
        return _bare(self._how.states, there) == _bare(self._how.states, wanted)


class _NotAsWritten(BarbackError):
    pass


async def _lines(file: BinaryIO) -> AsyncGenerator[tuple[int, bytes]]:
    for number, line in enumerate(file, 1):
        if line.strip():
            yield number, line


def _bare(states: States, record: Record) -> Record:
    with suppress(BarbackError):  # there is no key: it is compared as it rests
        record = opened(states, record)
    return msgspec.structs.replace(record, version=0, seen={})


def _content(states: States, whole: Whole) -> list[bytes]:
    """The entries of the parts of a history."""
    with suppress(BarbackError):
        whole = whole.opened(states)
    return sorted(part.state for part in whole.parts)
