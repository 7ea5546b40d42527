"""MovedClock: the time of day, and some more."""

from __future__ import annotations

import time

__all__ = ["MovedClock"]


class MovedClock:
    """The real time, put forward by `ahead` seconds. For a bot's `clock`."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        """The time, in seconds since the Unix epoch."""
        return time.time() + self.ahead
