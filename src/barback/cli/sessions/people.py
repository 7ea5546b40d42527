"""`barback sessions forget` and `export-user`: all that is kept of a person."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from barback.cli.sessions.opening import keys_from, prefix_of, states_with, tending
from barback.cli.sessions.options import (
    dry_run_option,
    keys_option,
    namespace_option,
    scope_option,
    store_option,
    yes_option,
)
from barback.cli.sessions.telling import (
    ask,
    carried_out,
    note_failures,
    see_who_is_there,
    started,
    status_of,
)
from barback.cli.words import complain, shown, tell
from barback.extras import needs_extra
from barback.people import Forgotten, Person, export, forget
from barback.stores.url import open_store

with needs_extra("cli"):
    import click

if TYPE_CHECKING:
    from barback.people import Shared
    from barback.scope import Scope

__all__ = ["export_user", "forget_command"]

SHARED: Final = ("leave_out", "destroy", "keep")


@click.command(name="forget")
@click.argument("user")
@store_option
@namespace_option
@scope_option
@click.option(
    "--shared",
    type=click.Choice(SHARED),
    default="leave_out",
    show_default=True,
    help="What becomes of sessions that are other people's too: the person is left out of those "
    "they are said to be of, all is destroyed, or all is kept.",
)
@dry_run_option
@yes_option
def forget_command(  # noqa: PLR0913 - options, by keyword
    user: str,
    url: str,
    *,
    namespace: str | None,
    scope: Scope,
    shared: Shared,
    dry_run: bool,
    yes: bool,
) -> int:
    """Destroy every session of a person.

    USER is the person's channel and id, as in telegram:42; or an id alone, of whoever has it on any
    channel. Bots may run meanwhile: a turn of the person is waited for, and whatever was kept
    before it is gone afterwards.

    Every session in the store is looked at. First it is told which would be destroyed, and asked.

    The exit status is 0 if nothing of the person is left, or nothing was there; 1 if something may
    be left, or who was asked said no; 2 if the command line is wrong; 130 after Ctrl-C.
    """
    person, store = Person.of(user, scope), open_store(url)
    if not (dry_run or yes):
        see_who_is_there()

    def once(*, dry: bool) -> tuple[Forgotten, int]:
        done = Forgotten(dry_run=dry)
        progress = started()

        async def work() -> None:
            async with tending(store, states_with(), prefix_of(namespace)) as tender:
                await forget(
                    tender,
                    person,
                    done,
                    shared=shared,
                    on_progress=lambda now: progress.tell(now, now.looked_at),
                )

        failure = carried_out(work(), progress)
        if failure is None or done.looked_at:
            _tell_forgotten(done)
        return done, status_of(failure, complete=done.complete)

    if not yes or dry_run:
        would, status = once(dry=True)
        if dry_run or status not in (0, 1) or not (would.destroyed or would.left):
            return status
        if not ask(f"Do so in {shown(url)}?"):
            return 1
    return once(dry=False)[1]


@click.command(name="export-user")
@click.argument("user")
@store_option
@namespace_option
@scope_option
@click.option(
    "--include-shared",
    is_flag=True,
    help="Also the state and the people of sessions that others share.",
)
@keys_option
def export_user(  # noqa: PLR0913 - options, by keyword
    user: str,
    url: str,
    *,
    namespace: str | None,
    scope: Scope,
    include_shared: bool,
    keys_file: str | None,
) -> int:
    """Print, as JSON, all that is kept of a person.

    USER is as for forget. Of sessions that others share only the id and the times are told, unless
    it is said otherwise. States are as they were kept, whatever their version; with the bot's keys,
    those that are encrypted are read as well.

    The exit status is 0 if all could be read; 1 if something could not.
    """
    person, store = Person.of(user, scope), open_store(url)
    states = states_with(keys_from(keys_file))
    found: dict[str, Any] = {}

    async def work() -> None:
        async with tending(store, states, prefix_of(namespace)) as tender:
            found.update(await export(tender, person, states, include_shared=include_shared))

    failure = carried_out(work())
    if failure is not None:
        return status_of(failure, complete=False)
    tell(json.dumps(found, indent=2))  # in ASCII, which says nothing to a terminal
    for each in found["unreadable"]:
        complain(each)
    return int(bool(found["unreadable"]) or any("error" in each for each in found["sessions"]))


def _tell_forgotten(done: Forgotten) -> None:
    would = "would be " if done.dry_run else ""
    for what, ids in (
        (f"{would}destroyed", done.destroyed),
        (f"shared, {would}left out of", done.left),
        ("shared, kept", done.kept),
    ):
        for session_id in ids:
            tell(f"{what:<30}{session_id!a}")
    tell(f"{done}.")
    note_failures(done.failed)
