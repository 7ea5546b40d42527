"""Complaints: what is logged of what comes to nothing, however much there is of it."""

from __future__ import annotations

import logging
import time
from typing import Final

__all__ = ["Complaints"]

logger = logging.getLogger("barback")

EVERY: Final = 60.0
"""Seconds between two lines of one kind: neither strangers nor an outage fill the log."""


class Complaints:
    """The first of a kind is logged at once, and of the others how many there were."""

    def __init__(self) -> None:
        self._told_at: dict[tuple[str, str], float] = {}
        self._untold: dict[tuple[str, str], int] = {}

    def tell(
        self, about: str, what: str, error: Exception, *, level: int = logging.WARNING
    ) -> None:
        """Log that `about`, such as "A request to /line", "was refused", or the like."""
        kind, now = (about, type(error).__name__), time.monotonic()
        if now - self._told_at.get(kind, float("-inf")) < EVERY:
            self._untold[kind] = self._untold.get(kind, 0) + 1
            return
        self._told_at[kind] = now
        more = self._untold.pop(kind, 0)
        and_more = (
            f" So it was with {more} others since the last line of this kind." if more else ""
        )
        logger.log(level, "%s %s: %s%s", about, what, error, and_more)
