"""`barback sessions diff`: in what two states differ."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from barback.cli.sessions.opening import keys_from, states_with, tending
from barback.cli.sessions.options import json_option, keys_option, store_option
from barback.cli.sessions.paths import json_of, lines_of
from barback.cli.sessions.telling import carried_out, read_status
from barback.cli.sessions.whole import Whole, id_in
from barback.cli.words import note, tell
from barback.differences import differences
from barback.errors import SessionUnreadable
from barback.extras import needs_extra
from barback.record import check_session_id

with needs_extra("cli"):
    import click

if TYPE_CHECKING:
    from barback.record import Record

__all__ = ["diff"]


@click.command()
@click.argument("session_id", metavar="ID")
@click.argument("other", metavar="[OTHER]", required=False)
@click.option(
    "--file",
    type=click.Path(dir_okay=False, exists=True, path_type=Path),
    metavar="FILE",
    help="Look for the first in this file, which export has written.",
)
@store_option
@keys_option
@json_option
def diff(  # noqa: PLR0913 - options, by keyword
    session_id: str,
    other: str | None,
    url: str,
    *,
    file: Path | None,
    keys_file: str | None,
    as_json: bool,
) -> int:
    """Show in what the states of two sessions differ.

    From ID to OTHER; both as list prints them.

    With --file, ID is that of a line of an export: so it is told what has changed since. OTHER is
    the same session then, unless given.

    Each difference is a place, with what the first has there (-), and what the second has (+).

    The exit status is 0 if there is no difference; 1 if there is one, or something failed.
    """
    if other is None and file is None:
        raise click.UsageError("Name two sessions, or one and a --file.")
    states = states_with(keys_from(keys_file))
    ids = [check_session_id(each) for each in (session_id, other or session_id)]
    found: list[Record | None] = []
    if file is not None:
        found.append(_in_file(file, ids.pop(0)))

    async def work() -> None:
        async with tending(url, states) as tender:
            found.extend([await tender.look(each) for each in ids])

    failure = carried_out(work())
    if failure is not None:
        return read_status(failure)
    first, second = found
    for each, name in ((first, session_id), (second, other or session_id)):
        if each is None:
            note(f"There is no session {name!a}.")
    if first is None or second is None:
        return 1
    status = 0
    for difference in differences(states.readable(first), states.readable(second)):
        tell(json_of(difference) if as_json else lines_of(difference))
        status = 1
    return status


def _in_file(file: Path, session_id: str) -> Record | None:
    """The last line of a session there is."""
    found = None
    with file.open("rb") as lines:
        for line in lines:
            try:
                if line.strip() and id_in(line) == session_id:
                    found = line
            except SessionUnreadable:
                continue  # it is of another, most likely: import tells
    return None if found is None else Whole.decode(found).record
