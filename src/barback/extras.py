"""Extras: optional dependencies, and what to say when one is not installed."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from barback.errors import MissingExtra

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["needs_extra"]


@contextmanager
def needs_extra(extra: str) -> Iterator[None]:
    """Around the imports of what `barback[extra]` installs.

    A module that is not there raises `MissingExtra`, which names the command that installs it.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        # Not the module's name: what is installed is often called otherwise.
        message = f"This needs an extra. Install it with: python -m pip install 'barback[{extra}]'"
        raise MissingExtra(message) from error
