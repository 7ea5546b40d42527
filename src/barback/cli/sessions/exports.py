"""`barback sessions export`: whole sessions, as JSON Lines."""

from __future__ import annotations

import os
import sys
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from barback.cli.sessions.opening import keys_from, states_with, tending
from barback.cli.sessions.options import keys_option, store_option
from barback.cli.sessions.selection import Selection, selecting
from barback.cli.sessions.telling import Failing, carried_out, read_status, started
from barback.cli.sessions.whole import Whole
from barback.cli.words import note, printable, tell
from barback.errors import (
    BarbackError,
    BotNotRunning,
    ConfigurationError,
    SessionStoreUnavailable,
)
from barback.extras import needs_extra

with needs_extra("cli"):
    import click

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from barback.cli.progress import Progress
    from barback.record import Record
    from barback.states import States
    from barback.tending import Tender

__all__ = ["export"]


class Exported(Failing, kw_only=True):
    """What has been written, and what could not be."""

    sessions: int = 0


@click.command()
@store_option
@selecting()
@click.option(
    "--output",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    metavar="FILE",
    help="Into a file, which is there when all is in it; standard output unless given.",
)
@click.option("--decrypt", is_flag=True, help="States as plain JSON, read with the bot's keys.")
@keys_option
def export(
    url: str, selection: Selection, *, output: Path | None, decrypt: bool, keys_file: str | None
) -> int:
    """Write whole sessions, a line of JSON for each.

    All that a store keeps of them, histories too. What is encrypted stays so, unless --decrypt is
    given. Bots may run meanwhile: each session is as it was at some moment. A lease is taken only
    of those whose history has records of its own, while these are read. FILE is for its owner
    alone: it holds what people have said.

    The exit status is 0 if all were written; 1 if some could not be read.
    """
    keys = keys_from(keys_file)
    if decrypt and keys is None:
        raise ConfigurationError("--decrypt needs --keys FILE, or BARBACK_KEYS.")
    states, done, progress = states_with(keys), Exported(), started()

    with _destination(output) as write:
        run = _Export(selection, states if decrypt else None, done, write)

        async def work() -> None:
            async with tending(url, states) as tender:
                await run.all(tender, progress)

        failure = carried_out(work(), progress)
        if failure is not None:
            raise click.exceptions.Exit(read_status(failure))
    note(f"{done.sessions:,} sessions, in {progress.seconds:.1f} s.")
    done.tell_failures()
    return int(done.failed > 0)


class _Export:
    """One going over the sessions that are meant; `decrypting`: with whose keys, if at all."""

    def __init__(
        self,
        selection: Selection,
        decrypting: States | None,
        done: Exported,
        write: Callable[[bytes], object],
    ) -> None:
        self._selection = selection
        self._decrypting = decrypting
        self._done = done
        self._write = write

    async def all(self, tender: Tender, progress: Progress) -> None:
        """Every one of them."""

        async def one(record: Record) -> None:
            if self._selection.has(record, tender.now()):
                await self._export(tender, record)
                progress.tell(f"{self._done.sessions:,} sessions", self._done.sessions)

        unreadable = await tender.each(one, self._selection.begin)
        if unreadable is not None:
            self._done.fail(unreadable.session_id or "", unreadable)

    async def _export(self, tender: Tender, record: Record) -> None:
        try:
            whole = await Whole.read(tender, record)
            if whole is not None and self._decrypting is not None:
                whole = whole.opened(self._decrypting)
        except (SessionStoreUnavailable, BotNotRunning):
            raise
        except BarbackError as error:
            self._done.fail(record.id, error)
            return
        if whole is not None:
            self._write(whole.encode() + b"\n")
            self._done.sessions += 1


@contextmanager
def _destination(output: Path | None) -> Iterator[Callable[[bytes], object]]:
    """What writes lines: on standard output, or into a file, named so when all went well."""
    if output is None:
        yield _tell
        sys.stdout.flush()
        return
    number, beside = tempfile.mkstemp(prefix=f".{output.name}.", dir=output.parent)  # its owner's
    try:
        with os.fdopen(number, "wb") as file:
            yield file.write
            file.flush()
            os.fsync(number)
        Path(beside).replace(output)
    except BaseException:
        with suppress(OSError):
            Path(beside).unlink()
        raise


def _tell(line: bytes) -> None:
    if sys.stdout.isatty():
        tell(printable(line.decode().rstrip("\n")))
        return
    stdout: Any = sys.stdout.buffer
    click.echo(line, nl=False, file=stdout)
