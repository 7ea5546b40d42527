"""`barback sessions`: look at the sessions of a store, and change them; a file for each noun."""

from __future__ import annotations

from barback.cli.sessions.comparison import diff
from barback.cli.sessions.details import show
from barback.cli.sessions.edits import edit, set_command
from barback.cli.sessions.endings import delete, expire
from barback.cli.sessions.exports import export
from barback.cli.sessions.figures import stats
from barback.cli.sessions.imports import import_command
from barback.cli.sessions.migration import migrate
from barback.cli.sessions.news import watch
from barback.cli.sessions.people import export_user, forget_command
from barback.cli.sessions.rows import list_command
from barback.extras import needs_extra

with needs_extra("cli"):
    import click

__all__ = ["sessions"]


@click.group()
def sessions() -> None:
    """Look at the sessions of a store, and change them."""


for command in (
    list_command,
    show,
    edit,
    set_command,
    expire,
    delete,
    export,
    import_command,
    diff,
    stats,
    watch,
    migrate,
    forget_command,
    export_user,
):
    sessions.add_command(command)
