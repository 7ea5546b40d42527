"""Forks: what a process has open, a child that it forks has too, and must not use."""

from __future__ import annotations

import os
from typing import Protocol
from weakref import WeakSet

__all__ = ["Forked", "tell_when_forked"]


class Forked(Protocol):
    """What wants to know that it is now in a child, and its threads and connections are not."""

    def forked(self) -> None:
        """It is in a child that was forked."""


_told: WeakSet[Forked] = WeakSet()


def tell_when_forked(one: Forked) -> None:
    """Call its `forked` in each child, as long as it is there."""
    _told.add(one)


def _tell() -> None:
    for one in list(_told):
        one.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_tell)
