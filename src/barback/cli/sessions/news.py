"""`barback sessions watch`: sessions that come, change and go."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from datetime import datetime
from typing import TYPE_CHECKING, Literal, NamedTuple

from barback.cli.sessions.contents import facts_of, line_of
from barback.cli.sessions.opening import states_with, tending
from barback.cli.sessions.options import json_option, store_option
from barback.cli.sessions.selection import Selection, selected, selecting, weight_of
from barback.cli.sessions.telling import carried_out, read_status
from barback.cli.words import complain, named, note, tell
from barback.errors import SessionUnreadable
from barback.extras import needs_extra

with needs_extra("cli"):
    import click

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from barback.record import Record
    from barback.tending import Tender

__all__ = ["watch"]


class News(NamedTuple):
    """What became of a session; there is no record of one that is gone."""

    what: Literal["new", "changed", "gone"]
    session_id: str
    record: Record | None


@click.command()
@store_option
@selecting(by_state=False)
@click.option(
    "--every",
    type=click.FloatRange(min=0.1),
    default=2.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait between two looks.",
)
@json_option
def watch(url: str, selection: Selection, *, every: float, as_json: bool) -> int:
    """Tell of sessions that come, change and go.

    Every so often all sessions are listed, with no lease, and their versions compared with those of
    the time before; of these some 300 bytes each are kept. So a look costs what list does: on a
    large store name a --channel or a --prefix, and look less often. What changes twice between two
    looks is told once; a session that comes and goes in between is not seen.

    The exit status is 130 after Ctrl-C; 1 if the store failed.
    """

    async def work() -> None:
        async with (
            tending(url, states_with()) as tender,
            aclosing(_news(tender, selection, every)) as news,
        ):
            async for each in news:
                tell(_json(each) if as_json else _row(each))

    return read_status(carried_out(work()))


async def _news(tender: Tender, selection: Selection, every: float) -> AsyncGenerator[News]:
    """What is not as it was at the look before; the first look only looks."""
    known: dict[str, int] | None = None
    complained = False
    while True:
        now: dict[str, int] = {}
        hidden: SessionUnreadable | None = None
        try:
            async with aclosing(selected(tender, selection)) as records:
                async for record in records:
                    now[record.id] = record.version
                    if known is None or known.get(record.id) == record.version:
                        continue
                    yield News("changed" if record.id in known else "new", record.id, record)
        except SessionUnreadable as error:
            hidden = error
        if known is None:
            note(f"Watching {len(now):,} sessions.")
        for session_id in (known or {}).keys() - now.keys():
            if hidden is not None and await _is_there(tender, session_id):
                now[session_id] = (known or {})[session_id]
            else:
                yield News("gone", session_id, None)
        if hidden is not None and not complained:
            complain(hidden)
            complained = True
        known = now
        await asyncio.sleep(every)


async def _is_there(tender: Tender, session_id: str) -> bool:
    """Whether what was not listed is only not to be read."""
    try:
        return await tender.look(session_id) is not None
    except SessionUnreadable:
        return True


def _row(news: News) -> str:
    at = datetime.now().astimezone().strftime("%H:%M:%S")
    size = "" if news.record is None else f"{weight_of(news.record):,}"
    return f"{at}  {news.what:<8} {size:>9}  {named(news.session_id)}"


def _json(news: News) -> str:
    if news.record is None:
        return line_of({"what": news.what, "id": news.session_id})
    facts = facts_of(news.record)
    return line_of({"what": news.what, **facts, "bytes": weight_of(news.record)})
