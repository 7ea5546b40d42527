"""A program of this folder as a command, which stops what it has started however it is ended."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from typing import NoReturn

__all__ = ["as_command"]


def as_command(main: Callable[[list[str]], int]) -> NoReturn:
    """Run `main` on the command line's arguments, and end with what it returns."""
    signal.signal(signal.SIGTERM, _terminated)  # as for Ctrl-C
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)


def _terminated(*_: object) -> None:
    raise KeyboardInterrupt
