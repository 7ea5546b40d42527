"""`barback sessions`: migrate sessions, forget a person, export what is kept of one."""

from __future__ import annotations

import asyncio
import io
import json
import os
import sys
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from barback.cli.loading import load_bot
from barback.cli.progress import Progress
from barback.cli.running import interrupted, stoppable
from barback.cli.words import complain, note, shown, tell
from barback.errors import BarbackError, ConfigurationError, ListingUnsupported
from barback.extras import needs_extra
from barback.migrating import Migrated
from barback.people import Forgotten, Person, export, forget
from barback.rules import Rules
from barback.scope import check_name
from barback.state import InitialState
from barback.states import States
from barback.stores.local import leased
from barback.stores.memory import MemorySessionStore
from barback.stores.url import open_store
from barback.tending import Tender, turns_on

with needs_extra("cli"):
    import click

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine

    from barback.bot import Bot
    from barback.encryption import Keys
    from barback.people import Shared
    from barback.scope import Scope
    from barback.stores.base import LeasedStore, SessionStore
    from barback.tending import Failure

__all__ = ["sessions"]

SCOPES: Final = ("member", "conversation", "user", "thread")
VARIABLE: Final = "BARBACK_KEYS"
SHARED: Final = ("leave_out", "destroy", "keep")

store_option = click.option("--store", "url", required=True, metavar="URL", help="The store.")
namespace_option = click.option(
    "--namespace",
    metavar="TEXT",
    help="Only the sessions of the bot with this namespace; '' is the one without. Those of every "
    "bot unless given.",
)
scope_option = click.option(
    "--scope",
    type=click.Choice(SCOPES),
    default="member",
    show_default=True,
    help="The bot's: whose a session is that no event has changed.",
)
keys_option = click.option(
    "--keys",
    "keys_file",
    metavar="FILE",
    help="The file of the bot's keys, where states are encrypted. Those in the variable "
    "BARBACK_KEYS unless given, if that is set.",
)


@click.group()
def sessions() -> None:
    """Migrate sessions, forget a person, export what is kept of one."""


@sessions.command()
@click.argument("bot", metavar="MODULE:BOT")
@click.option("--store", "url", metavar="URL", help="The store; the bot's own unless given.")
@click.option("--dry-run", is_flag=True, help="Migrate copies, and write nothing.")
@click.option(
    "--limit-failures",
    type=click.IntRange(min=0),
    default=20,
    show_default=True,
    metavar="N",
    help="Of how many failures the reasons are told.",
)
def migrate(bot: str, url: str | None, *, dry_run: bool, limit_failures: int) -> int:
    """Migrate every session that is older than the code of a bot.

    MODULE:BOT is the bot: its module, here or installed, and its name there, as in shop:bot. Its
    code must be new, and bots that run beside it too: older ones refuse what has been migrated.

    Nothing is lost by stopping it: run again, it goes on with what is older still.

    The exit status is 0 if the code can handle every session now, or could in a dry run; 1 if some
    failed, are busy or are newer than the code, or if the store failed; 2 if the command line is
    wrong; 130 after Ctrl-C.
    """
    loaded = load_bot(bot)
    store = _store_for(loaded, url)
    done = Migrated(dry_run=dry_run)
    progress = _progress()

    def advance(now: Migrated) -> None:
        nonlocal done
        done = now
        progress.tell(now, now.looked_at)

    async def work() -> None:
        nonlocal done
        if store is not None:
            await store.must_exist()
        done = await loaded.migrate_sessions(  # with what could not even be listed
            dry_run=dry_run, on_progress=advance, max_failures=limit_failures
        )

    failure = _carried_out(work(), progress)
    try:
        if failure is None or done.looked_at:
            tell(_table(done, progress.seconds))
    finally:
        _note_failures(done.failures, more=done.failed - len(done.failures))
    if done.newer:
        note(f"{done.newer:,} sessions are newer than this code, which refuses them.")
    return _status(failure, complete=done.complete)


@sessions.command(name="forget")
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
@click.option("--dry-run", is_flag=True, help="Only tell what would be done.")
@click.option("--yes", is_flag=True, help="Do not ask.")
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
    if not (dry_run or yes or sys.stdin.isatty()):
        raise click.UsageError("There is nobody to be asked: say --yes, or --dry-run.")

    def once(*, dry: bool) -> tuple[Forgotten, int]:
        done = Forgotten(dry_run=dry)
        progress = _progress()

        async def work() -> None:
            async with _tender(store, namespace, _states()) as tender:
                await forget(
                    tender,
                    person,
                    done,
                    shared=shared,
                    on_progress=lambda now: progress.tell(now, now.looked_at),
                )

        failure = _carried_out(work(), progress)
        if failure is None or done.looked_at:
            _tell_forgotten(done)
        return done, _status(failure, complete=done.complete)

    if not yes or dry_run:
        would, status = once(dry=True)
        if dry_run or status not in (0, 1) or not (would.destroyed or would.left):
            return status
        if not click.confirm(f"Do so in {shown(url)}?", err=True):
            return 1
    return once(dry=False)[1]


@sessions.command(name="export-user")
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
    states = _states(_keys(keys_file))
    found: dict[str, Any] = {}

    async def work() -> None:
        async with _tender(store, namespace, states) as tender:
            found.update(await export(tender, person, states, include_shared=include_shared))

    failure = _carried_out(work(), None)
    if failure is not None:
        return _status(failure, complete=False)
    tell(json.dumps(found, indent=2))  # in ASCII, which says nothing to a terminal
    for each in found["unreadable"]:
        complain(each)
    return int(bool(found["unreadable"]) or any("error" in each for each in found["sessions"]))


# Opening.


def _store_for(bot: Bot[Any], url: str | None) -> SessionStore | LeasedStore | None:
    """The store that was named, if one was, on which the bot works then."""
    if url is not None:
        store = open_store(url)
        bot._store = leased(store)  # noqa: SLF001 - for this command, which ends with it
        return store
    if isinstance(bot._store, MemorySessionStore):  # noqa: SLF001
        message = "The bot's sessions are in memory, where this command finds none. Name a --store."
        raise ConfigurationError(message)
    return None


@asynccontextmanager
async def _tender(
    store: SessionStore | LeasedStore, namespace: str | None, states: States
) -> AsyncIterator[Tender]:
    """Who goes over a store with no bot."""
    prefix = namespace
    if namespace:
        prefix = f"{check_name(namespace, 'namespace')}/"
    await store.must_exist()
    async with turns_on(leased(store), states, Rules(), time.time) as turns:
        yield Tender(turns, prefix, time.time)


def _states(keys: Keys | None = None) -> States:
    return States(InitialState(None), keys=keys)


def _keys(file: str | None) -> Keys | None:
    """The bot's keys, to read with: what was plain before there were keys is read too."""
    if file is None and VARIABLE not in os.environ:
        return None
    from barback.encryption import Keys  # noqa: PLC0415 - it needs an extra

    if file is None:
        return Keys.from_environment(VARIABLE, accept_plain=True)
    return Keys.from_file(file, accept_plain=True)


def _progress() -> Progress:
    return Progress(sys.stderr or io.StringIO())  # it may have been closed


# Doing and telling.


def _carried_out(
    work: Coroutine[Any, Any, object], progress: Progress | None
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


def _status(failure: BaseException | None, *, complete: bool) -> int:
    if isinstance(failure, BarbackError):
        complain(failure)
        note("Run it again to go on with what is not done yet.")
        return 1
    if failure is not None:
        return interrupted(failure)
    return 0 if complete else 1


def _table(done: Migrated, seconds: float) -> str:
    rows = [
        ("would be migrated" if done.dry_run else "migrated", done.migrated),
        ("current already", done.current),
        ("newer than the code", done.newer),
        ("failed", done.failed),
        ("busy", done.busy),
        ("gone meanwhile", done.gone),
        ("expired, or aside", done.skipped),
    ]
    if done.parts:
        rows.append(("parts of histories", done.parts))
    lines = [f"{what:<20}{number:>12,}" for what, number in rows]
    return "\n".join([*lines, f"{'seconds':<20}{seconds:>12,.1f}"])


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
    _note_failures(done.failed)


def _note_failures(failures: list[Failure], more: int = 0) -> None:
    for failure in failures:
        # Ids come from strangers: written so that they cannot talk to the terminal.
        which = f"{failure.session_id!a}: " if failure.session_id else ""
        complain(f"{which}{failure.reason}")
    if more > 0:
        note(f"{more:,} more failed.")
