"""`barback sessions migrate`: every session becomes one that the code knows."""

from __future__ import annotations

from barback.cli.loading import load_bot
from barback.cli.sessions.opening import store_for
from barback.cli.sessions.telling import carried_out, note_failures, started, status_of
from barback.cli.words import note, tell
from barback.extras import needs_extra
from barback.migrating import Migrated

with needs_extra("cli"):
    import click

__all__ = ["migrate"]


@click.command()
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
    store = store_for(loaded, url)
    done = Migrated(dry_run=dry_run)
    progress = started()

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

    failure = carried_out(work(), progress)
    try:
        if failure is None or done.looked_at:
            tell(_table(done, progress.seconds))
    finally:
        note_failures(done.failures, more=done.failed - len(done.failures))
    if done.newer:
        note(f"{done.newer:,} sessions are newer than this code, which refuses them.")
    return status_of(failure, complete=done.complete)


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
