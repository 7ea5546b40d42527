"""Unmeasured: programs that coverage is to leave alone."""

from __future__ import annotations

import os

__all__ = ["unmeasured"]


def unmeasured() -> dict[str, str]:
    """The environment for a program that loads, counts or writes nothing for coverage."""
    return {name: value for name, value in os.environ.items() if "COVERAGE" not in name}
