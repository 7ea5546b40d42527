"""The `barback` command. It needs the extra `cli`, and says so where that is not installed."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from barback.errors import MissingExtra

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says, or `arguments` in its place; the exit status.

    0: done. 1: not done, or not wholly. 2: the command line, the configuration or the installation
    is wrong. 130 and 143: interrupted, by Ctrl-C and by SIGTERM.
    """
    try:
        from barback.cli.root import run  # noqa: PLC0415 - it needs the extra
    except MissingExtra as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return run(arguments)
