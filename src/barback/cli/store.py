"""`barback store`: copy sessions from store to store, and prepare a store for a bot."""

from __future__ import annotations

import asyncio
import io
import sys
from typing import Final

from barback.cli.progress import Progress
from barback.cli.running import interrupted, stoppable
from barback.cli.words import complain, note, shown, tell
from barback.errors import (
    BarbackError,
    ConfigurationError,
    ListingUnsupported,
    SessionUnreadable,
)
from barback.extras import needs_extra
from barback.stores.copying import Copied, copy_store
from barback.stores.local import leased
from barback.stores.url import open_store

with needs_extra("cli"):
    import click

__all__ = ["store"]

URLS: Final = """\b
A store is named by its URL, as a bot's is:
  file:.sessions
  sqlite:///sessions.db
  redis://host:6379/0
  mongodb://host/database
  postgresql://host/database
Put it in quotes if it has options: "file:.sessions?expires_in=30"."""


@click.group(epilog=URLS)
def store() -> None:
    """Copy and prepare stores of sessions."""


@store.command(epilog=URLS)
@click.argument("source")
@click.argument("target")
@click.option("--prefix", default="", metavar="TEXT", help="Only sessions whose id starts with it.")
@click.option(
    "--replace",
    is_flag=True,
    help="Put SOURCE's record in place of another one that TARGET has of the same session.",
)
@click.option("--no-verify", is_flag=True, help="Do not read back what was written.")
def copy(source: str, target: str, *, prefix: str, replace: bool, no_verify: bool) -> int:
    """Copy every session of SOURCE to TARGET, and verify the copy.

    Stop the bots first: what they write to SOURCE during the copy may not be in it. SOURCE is only
    read. Nothing is lost by stopping the copy: run again, it goes on with what is not there yet.

    A session of which TARGET has another record is in conflict: it is left alone and named. To keep
    the bots away for a moment only, copy while they run, stop them, and copy again with --replace:
    that brings over what has changed since. Never do so once bots have worked on TARGET.

    The exit status is 0 if every session is in TARGET now; 1 if there are conflicts, sessions that
    cannot be read, or none at all, or if a store failed; 2 if the command line is wrong; 130 after
    Ctrl-C.
    """
    done = Copied()
    progress = Progress(sys.stderr or io.StringIO())  # it may have been closed

    def advance(now: Copied) -> None:
        nonlocal done
        done = now
        progress.tell(now, now.copied + now.present + now.conflicts)

    failure: BaseException | None = None
    try:
        asyncio.run(
            stoppable(
                copy_store(
                    source,
                    target,
                    prefix=prefix,
                    replace=replace,
                    verify=not no_verify,
                    progress=advance,
                )
            )
        )
    except (ConfigurationError, ListingUnsupported):
        raise
    except (BarbackError, KeyboardInterrupt, asyncio.CancelledError) as error:
        failure = error
    finally:
        progress.end()
    try:
        tell(f"{shown(source)} to {shown(target)}: {done}, in {progress.seconds:.1f} s.")
    finally:
        status = _status(failure, done, replace=replace)
    if status == 0 and not prefix and done == Copied():
        note(f"{shown(source)} has no sessions. See whether it is the one that was meant.")
        return 1
    return status


@store.command(epilog=URLS)
@click.argument("url")
@click.option(
    "--print-sql",
    is_flag=True,
    help="Print the SQL that makes what the store needs, and connect to nothing.",
)
def init(url: str, *, print_sql: bool) -> None:
    """Make a store's tables, indexes or folders.

    The store at URL is opened once, as a bot does when it starts. Do it beforehand where the bot
    may not make tables, or to see that the store can be reached.
    """
    opened = open_store(url)
    if print_sql:
        ddl = getattr(opened, "ddl", None)
        if ddl is None:
            note(f"The {opened.name} store needs no SQL to be prepared.")
        else:
            tell(ddl())
        return

    async def open_once() -> None:
        async with leased(opened):
            pass

    asyncio.run(open_once())
    tell(f"The {opened.name} store {shown(url)} is ready.")


def _status(failure: BaseException | None, done: Copied, *, replace: bool) -> int:
    """Say on standard error what is wrong with the copy, if anything; the exit status."""
    if done.conflicts:
        # Ids come from strangers: written so that they cannot talk to the terminal.
        named = ", ".join(ascii(session_id) for session_id in done.in_conflict)
        more = done.conflicts - len(done.in_conflict)
        who = f"{named}{f' and {more:,} more' if more else ''}"
        if replace:
            note(f"What the target has of {who} cannot be read. It was left as it is.")
        else:
            note(
                f"The target has another record of {who}. It was left as it is; --replace puts "
                f"the source's in its place."
            )
    if isinstance(failure, BarbackError):
        complain(failure)
        if done.copied and not isinstance(failure, SessionUnreadable):
            note("Run it again to go on with what is not there yet.")
        return 1
    if failure is not None:
        return interrupted(failure)
    return 1 if done.conflicts else 0
