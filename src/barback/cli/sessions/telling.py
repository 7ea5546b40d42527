"""Telling: work is done to its end, and what became of it is said."""

from __future__ import annotations

import asyncio
import io
import sys
from typing import TYPE_CHECKING, Any, Final

import msgspec

from barback.cli.progress import Progress
from barback.cli.running import interrupted, stoppable
from barback.cli.words import INTERRUPTED, TERMINATED, complain, note
from barback.errors import BarbackError, ConfigurationError, ListingUnsupported
from barback.extras import needs_extra
from barback.tending import Failure, failure_of

with needs_extra("cli"):
    import click

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

__all__ = [
    "EXAMPLES",
    "Failing",
    "ask",
    "carried_out",
    "note_failures",
    "read_status",
    "see_who_is_there",
    "started",
    "status_of",
]

EXAMPLES: Final = 20
"""Of how many sessions each is named."""


class Failing(msgspec.Struct, kw_only=True):
    """What goes on though something fails.

    `failed`: how many have; `failures` are the first of them, with the reasons.
    """

    failed: int = 0
    failures: list[Failure] = msgspec.field(default_factory=list)

    def fail(self, session_id: str, error: Exception, where: str = "") -> None:
        """One more has; what is told of it is nothing that a session keeps."""
        self.failed += 1
        if len(self.failures) < EXAMPLES:
            failure = failure_of(session_id, error)
            self.failures.append(Failure(session_id, f"{where}{failure.reason}"))

    def tell_failures(self) -> None:
        """Name what failed, and why."""
        note_failures(self.failures, more=self.failed - len(self.failures))


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


def read_status(failure: BaseException | None, *, complete: bool = True) -> int:
    """The same, of a command that only reads: there is nothing to go on with."""
    if isinstance(failure, BarbackError):
        complain(failure)
        return 1
    if failure is not None:
        return INTERRUPTED if isinstance(failure, KeyboardInterrupt) else TERMINATED
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
