"""What the command says, and what it keeps to itself."""

from __future__ import annotations

import re
from typing import Final

from barback.extras import needs_extra

with needs_extra("cli"):
    import click

__all__ = ["INTERRUPTED", "TERMINATED", "complain", "shown"]

INTERRUPTED: Final = 130
"""The exit status after Ctrl-C, as shells have it."""

TERMINATED: Final = 143
"""The exit status after SIGTERM."""


def complain(error: object) -> None:
    """Say on standard error, in one line and without a password, what went wrong."""
    text = " ".join(str(error).split())
    text = re.sub(r"(?<=://)\S*@", "***@", text)
    text = re.sub(r"(?i)(pass|pwd|secret|token|key)(\w*=)[^\s&'\")]+", r"\1\2***", text)
    click.echo(text, err=True)


def shown(url: str) -> str:
    """A store's URL as it may be shown: with no user, no password and no options.

    A character in a password that should have been encoded makes it hide more, never less.
    """
    start, slashes, rest = url.partition("://")
    if slashes and "@" in rest:
        rest = f"***@{rest.rpartition('@')[2]}"
    address, mark, _ = f"{start}{slashes}{rest}".partition("?")
    return f"{address}?***" if mark else address
