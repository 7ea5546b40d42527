"""`barback sessions`: look at the sessions of a store, and change them; a file for each noun."""

from __future__ import annotations

from barback.cli.sessions.migration import migrate
from barback.cli.sessions.people import export_user, forget_command
from barback.extras import needs_extra

with needs_extra("cli"):
    import click

__all__ = ["sessions"]


@click.group()
def sessions() -> None:
    """Look at the sessions of a store, and change them."""


for command in (migrate, forget_command, export_user):
    sessions.add_command(command)
