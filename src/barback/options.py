"""Options that are numbers: checked alike wherever they are given."""

from __future__ import annotations

from datetime import timedelta
from math import inf

from barback.errors import ConfigurationError

__all__ = ["count", "seconds"]


def seconds(value: float | timedelta, name: str) -> float:
    """An option in seconds, or a timedelta: above zero and finite, or `ConfigurationError`."""
    number = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(number, bool) or not isinstance(number, (int, float)) or not 0 < number < inf:
        message = f"{name} must be a number of seconds above zero, or a timedelta, not {value!r}."
        raise ConfigurationError(message)
    return float(number)


def count(value: int, name: str) -> int:
    """An option that is a whole number of at least one, or `ConfigurationError`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        message = f"{name} must be a whole number of at least 1, not {value!r}."
        raise ConfigurationError(message)
    return value
