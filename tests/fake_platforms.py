"""Every platform that barback has a channel for, by its name, as a test plays it."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Any, Final

import msgspec

from barback.testing import (
    FakeLine,
    FakeMessenger,
    FakePlatform,
    FakeSlack,
    FakeTelegram,
    FakeViber,
    FakeWhatsApp,
)

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["PLATFORMS", "Platform", "viber_person"]


class Platform(msgspec.Struct, frozen=True):
    """How a platform is played, and what it calls its person of a number."""

    fake: Callable[[], FakePlatform]
    person: Callable[[int], Any]


def viber_person(number: int) -> str:
    """An id as Viber makes them: of 16 bytes, in base64, with a slash."""
    return b64encode(b"\xff" * 12 + number.to_bytes(4, "big")).decode()


PLATFORMS: Final = {
    "line": Platform(FakeLine, "U{:032x}".format),
    "messenger": Platform(FakeMessenger, str),
    "slack": Platform(FakeSlack, "U{}".format),
    "telegram": Platform(FakeTelegram, int),
    "viber": Platform(FakeViber, viber_person),
    "whatsapp": Platform(FakeWhatsApp, lambda number: f"{16505550000 + number}"),
}
