"""Clock: a time of day that moves only when it is told to."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

__all__ = ["Clock"]

NOON: Final = datetime(2100, 1, 1, 12, tzinfo=UTC).timestamp()
"""Where a clock starts. A moment to come, so that no store takes its sessions for long past."""


class Clock:
    """A time of day for a bot, `Bot(clock=Clock())`, and for what else takes one.

    - `at`: seconds since the Unix epoch; noon of 1 January 2100, UTC, unless set.

    Calling it gives its time, in the same seconds.
    """

    def __init__(self, at: float = NOON) -> None:
        self._at = at

    def __call__(self) -> float:
        """The time, in seconds since the Unix epoch."""
        return self._at

    def advance(
        self,
        span: float | timedelta = 0,
        *,
        days: float = 0,
        hours: float = 0,
        minutes: float = 0,
        seconds: float = 0,
    ) -> None:
        """Move on by all of these together; back, if they come to less than nothing.

        `span` is seconds or a timedelta.
        """
        if not isinstance(span, timedelta):
            span = timedelta(seconds=span)
        span += timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
        self._at += span.total_seconds()

    def __repr__(self) -> str:
        return f"<Clock at {datetime.fromtimestamp(self._at, UTC):%Y-%m-%d %H:%M:%S} UTC>"
