"""Telling: work is done to its end, and what became of it is said."""

from __future__ import annotations

import asyncio
import io
import sys
from typing import TYPE_CHECKING, Any

from barback.cli.progress import Progress
from barback.cli.running import interrupted, stoppable
from barback.cli.words import complain, note
from barback.errors import BarbackError, ConfigurationError, ListingUnsupported
from barback.extras import needs_extra

with needs_extra("cli"):
    import click

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

    from barback.tending import Failure

__all__ = ["ask", "carried_out", "note_failures", "see_who_is_there", "started", "status_of"]


def started() -> Progress:
    """How far a command has come, from now on, on standard error."""
    return Progress(sys.stderr or io.StringIO())  # it may have been closed


def carried_out(
    work: Coroutine[Any, Any, object], progress: Progress | None = None
) -> BaseException | None:
    """Do it to its end; what stopped it, unless that is the command line's fault."""
    try:
        asyncio.run(stoppable(work))
    except (ConfigurationError, ListingUnsupported):
        raise
    except (BarbackError, KeyboardInterrupt, asyncio.CancelledError) as error:
        return error
    finally:
        if progress is not None:
            progress.end()
    return None


def status_of(failure: BaseException | None, *, complete: bool) -> int:
    """Say what stopped the work, if anything has; the exit status."""
    if isinstance(failure, BarbackError):
        complain(failure)
        note("Run it again to go on with what is not done yet.")
        return 1
    if failure is not None:
        return interrupted(failure)
    return 0 if complete else 1


def note_failures(failures: Sequence[Failure], more: int = 0) -> None:
    """Name what failed, and why."""
    for failure in failures:
        # Ids come from strangers: written so that they cannot talk to the terminal.
        which = f"{failure.session_id!a}: " if failure.session_id else ""
        complain(f"{which}{failure.reason}")
    if more > 0:
        note(f"{more:,} more failed.")


def see_who_is_there() -> None:
    """Refuse to go on where a question could not be answered."""
    if not sys.stdin.isatty():
        raise click.UsageError("There is nobody to be asked: say --yes, or --dry-run.")


def ask(question: str) -> bool:
    """Whether who is there says yes."""
    return click.confirm(question, err=True)
