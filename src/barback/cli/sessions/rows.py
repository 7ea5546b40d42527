"""`barback sessions list`: a line for each session, as the store names them."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Final

from barback.cli.sessions.contents import facts_of, line_of
from barback.cli.sessions.opening import states_with, tending
from barback.cli.sessions.options import json_option, store_option
from barback.cli.sessions.selection import Selection, is_over, selected, selecting, weight_of
from barback.cli.sessions.telling import carried_out, read_status
from barback.cli.sessions.times import ago, away
from barback.cli.words import named, tell
from barback.extras import needs_extra

with needs_extra("cli"):
    import click

if TYPE_CHECKING:
    from barback.record import Record

__all__ = ["list_command"]

HEAD: Final = f"{'ACTIVE':<10}  {'ENDS':<10}  {'BYTES':>9}  {'SCHEMA':>6}  ID"


@click.command(name="list")
@store_option
@selecting()
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="The first N that come.")
@json_option
def list_command(url: str, selection: Selection, *, limit: int | None, as_json: bool) -> int:
    """List sessions, their times and sizes.

    In the order in which the store has them, and as soon as it names them, however many there are.
    No state is shown, and no lease is taken. With --json, a line of JSON for each.

    The exit status is 0 if all were listed; 1 if some cannot be read, or the store failed.
    """

    async def work() -> None:
        shown = 0
        async with tending(url, states_with()) as tender:
            if not as_json:
                tell(HEAD)
            async with aclosing(selected(tender, selection)) as records:
                async for record in records:
                    now = tender.now()
                    tell(_json(record, now) if as_json else _row(record, now))
                    shown += 1
                    if shown == limit:
                        return

    return read_status(carried_out(work()))


def _row(record: Record, now: int) -> str:
    ends = "over" if is_over(record, now) else away(record.expires_at, now)
    return (
        f"{ago(record.last_activity, now):<10}  {ends:<10}  {weight_of(record):>9,}  "
        f"{record.schema:>6}  {named(record.id)}"
    )


def _json(record: Record, now: int) -> str:
    facts = facts_of(record)
    return line_of({**facts, "bytes": weight_of(record), "over": is_over(record, now)})
