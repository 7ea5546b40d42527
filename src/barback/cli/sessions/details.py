"""`barback sessions show`: one session, its state included."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from barback.cli.sessions.contents import facts_of, line_of, pretty
from barback.cli.sessions.opening import keys_from, states_with, tending
from barback.cli.sessions.options import json_option, keys_option, store_option
from barback.cli.sessions.selection import is_over, weight_of
from barback.cli.sessions.telling import carried_out, read_status
from barback.cli.sessions.times import ago, away
from barback.cli.words import complain, named, note, tell
from barback.errors import SessionUnreadable
from barback.extras import needs_extra
from barback.record import FORMAT_OVER, check_session_id

with needs_extra("cli"):
    import click

if TYPE_CHECKING:
    from barback.record import Record
    from barback.states import States

__all__ = ["show"]


@click.command()
@click.argument("session_id", metavar="ID")
@store_option
@keys_option
@json_option
def show(session_id: str, url: str, *, keys_file: str | None, as_json: bool) -> int:
    """Show a session: times, people, sizes, and its state.

    ID is the whole one, as list prints it. A state that is encrypted needs the bot's keys. A turn
    that is under way is not waited for: what is shown is what was committed.

    The exit status is 0; 1 if there is no such session, or it cannot be read.
    """
    check_session_id(session_id)
    states = states_with(keys_from(keys_file))
    found: list[tuple[Record, int]] = []

    async def work() -> None:
        async with tending(url, states) as tender:
            record = await tender.look(session_id)
            if record is not None:
                found.append((record, tender.now()))

    failure = carried_out(work())
    if failure is not None:
        return read_status(failure)
    if not found:
        note(f"There is no session {session_id!a}.")
        return 1
    return _told(states, *found[0], as_json=as_json)


def _told(states: States, record: Record, now: int, *, as_json: bool) -> int:
    state, error = None, None
    try:
        state = None if record.format == FORMAT_OVER else states.readable(record)
    except SessionUnreadable as unreadable:
        error = unreadable
    if as_json:
        facts = {**facts_of(record), "bytes": weight_of(record), "over": is_over(record, now)}
        tell(line_of({**facts, "state": state}))
    else:
        for line in _lines(record, now):
            tell(line)
        if record.format != FORMAT_OVER and error is None:
            tell(f"\n{pretty(state)}")
    if error is not None:
        complain(error)
    return int(error is not None)


def _lines(record: Record, now: int) -> list[str]:
    facts = facts_of(record)
    ends = "never"
    if record.expires_at is not None:
        ends = f"{facts['expires_at']} ({away(record.expires_at, now)})"
    if record.format == FORMAT_OVER:
        ends = f"over; the events it has seen are known until {ends}"
    elif is_over(record, now):
        ends = f"over since {ends}"
    rows: list[tuple[str, Any]] = [
        ("id", named(record.id)),
        ("began", f"{facts['created_at']} ({ago(record.created_at, now)})"),
        ("last active", f"{facts['last_activity']} ({ago(record.last_activity, now)})"),
        ("ends", ends),
        ("schema", record.schema),
        ("people", " ".join(map(named, record.users)) or "nobody yet"),
        ("address", "none" if record.address is None else named(record.address)),
        ("events seen", len(record.seen)),
        ("state", f"{len(record.state):,} bytes{', encrypted' if facts['encrypted'] else ''}"),
        ("record", f"{weight_of(record):,} bytes"),
    ]
    if record.history:
        rows.append(("history", _history(facts)))
    return [f"{what:<12} {value}" for what, value in rows]


def _history(facts: dict[str, Any]) -> str:
    if facts["history_entries"] is None:
        return "cannot be read"
    return (
        f"{facts['history_entries']:,} entries, {facts['history_bytes']:,} bytes, in "
        f"{facts['history_parts']} more records"
    )
