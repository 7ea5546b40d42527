"""How long to wait before something that was busy is asked for again."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["busy_pauses", "pauses"]

SHORTEST: Final = 0.002  # seconds, for a session that is in another turn
LONGEST: Final = 0.050


def pauses(shortest: float, longest: float) -> Iterator[float]:
    """Seconds to wait, again and again: doubled each time, and jittered down to a half."""
    pause = shortest
    while True:
        yield pause * random.uniform(0.5, 1)  # noqa: S311 - no secret
        pause = min(pause * 2, longest)


def busy_pauses() -> Iterator[float]:
    """The pauses between two tries to check out a session that another lease holds."""
    return pauses(SHORTEST, LONGEST)
