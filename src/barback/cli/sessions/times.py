"""Times, as people say them."""

from __future__ import annotations

from typing import Final

__all__ = ["ago", "away", "span_of"]

UNITS: Final = (
    ("y", 31_536_000_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1000),
)


def span_of(milliseconds: int) -> str:
    """A span of time in one unit, the largest of which there are two."""
    for unit, length in UNITS:
        if milliseconds >= 2 * length:
            return f"{milliseconds // length} {unit}"
    return f"{max(milliseconds, 0) // 1000} s"


def ago(then: int, now: int) -> str:
    """A time that is mostly over."""
    return f"{span_of(now - then)} ago" if then <= now else f"in {span_of(then - now)}"


def away(then: int | None, now: int) -> str:
    """A time that is mostly to come; None: never."""
    return "never" if then is None else ago(then, now)
