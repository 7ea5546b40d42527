"""Every platform that barback has a channel for, by its name, as a test plays it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from barback.testing import FakePlatform, FakeTelegram

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["PLATFORMS", "Platform"]


class Platform(msgspec.Struct, frozen=True):
    """How a platform is played, and what it calls its person of a number."""

    fake: Callable[[], FakePlatform]
    person: Callable[[int], Any]


PLATFORMS: Final = {
    "telegram": Platform(FakeTelegram, int),
}
