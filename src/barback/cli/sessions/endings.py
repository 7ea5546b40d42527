"""`barback sessions expire` and `delete`: two ways in which sessions come to their end."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgspec

from barback.cli.sessions.changes import Change, change, wanted
from barback.cli.sessions.opening import states_with, tending
from barback.cli.sessions.options import dry_run_option, store_option, yes_option
from barback.cli.sessions.selection import Selection, is_over, selecting
from barback.cli.sessions.telling import ask, carried_out, see_who_is_there, status_of
from barback.cli.words import named, shown, tell
from barback.errors import ConfigurationError
from barback.extras import needs_extra

with needs_extra("cli"):
    import click

if TYPE_CHECKING:
    from barback.turn import Turn

__all__ = ["delete", "expire"]

ids_argument = click.argument("ids", nargs=-1, metavar="[ID]...")
all_option = click.option("--all", "every", is_flag=True, help="Every session of the store.")


@click.command()
@ids_argument
@store_option
@selecting()
@all_option
@dry_run_option
@yes_option
def expire(  # noqa: PLR0913 - options, by keyword
    ids: tuple[str, ...],
    url: str,
    selection: Selection,
    *,
    every: bool,
    dry_run: bool,
    yes: bool,
) -> int:
    """End sessions now, as if their time were over.

    Each ID is a whole one, as list prints it; or say what the sessions are like. A bot's on_expired
    has their last state, soon, if a bot runs. The next event begins a new session.

    A turn that is under way is waited for. Nothing is lost by stopping it: run it again.

    The exit status is 0 if all of them are over; 1 if some are not, or who was asked said no.
    """
    what = Change(
        name="end",
        done="ended",
        act=_end,
        may=lambda record, now: not is_over(record, now),
    )
    return change(url, wanted(ids, selection, every=every), what, dry_run=dry_run, yes=yes)


@click.command()
@ids_argument
@store_option
@selecting()
@all_option
@click.option(
    "--force",
    is_flag=True,
    help="By their ids only: also what cannot be read, and without waiting for a turn, which then "
    "comes to nothing.",
)
@dry_run_option
@yes_option
def delete(  # noqa: PLR0913 - options, by keyword
    ids: tuple[str, ...],
    url: str,
    selection: Selection,
    *,
    every: bool,
    force: bool,
    dry_run: bool,
    yes: bool,
) -> int:
    """Delete sessions, with their histories.

    Each ID is a whole one, as list prints it; or say what the sessions are like. Nothing is called,
    and an event that is delivered again is handled again. To forget a person, use forget.

    A turn that is under way is waited for. Nothing is lost by stopping it: run it again.

    The exit status is 0 if all of them are gone; 1 if some are not, or who was asked said no.
    """
    whom = wanted(ids, selection, every=every)
    if force:
        if not whom.ids:
            raise ConfigurationError("--force is for sessions that are named by their ids.")
        return _by_force(url, whom.ids, dry_run=dry_run, yes=yes)
    what = Change(name="delete", done="deleted", act=_destroy, may=lambda _record, _now: True)
    return change(url, whom, what, dry_run=dry_run, yes=yes)


async def _end(turn: Turn) -> None:
    assert turn.record is not None  # noqa: S101 - it was looked at
    turn.tended = msgspec.structs.replace(turn.record, expires_at=int(time.time() * 1000))


async def _destroy(turn: Turn) -> None:
    await turn.turns.destroy(turn)


def _by_force(url: str, ids: tuple[str, ...], *, dry_run: bool, yes: bool) -> int:
    if dry_run:
        for each in ids:
            tell(f"would be deleted by force  {named(each)}")
        return 0
    if not yes:
        see_who_is_there()
        if not ask(f"Delete {len(ids):,} by force in {shown(url)}?"):
            return 1
    gone = 0

    async def work() -> None:
        nonlocal gone
        async with tending(url, states_with()) as tender:
            for each in ids:
                await tender.turns.store.destroy(each, None)
                gone += 1

    failure = carried_out(work())
    tell(f"{gone:,} deleted by force.")
    return status_of(failure, complete=True)
