"""Every platform that barback has a channel for, by its name, as a test plays it."""

from __future__ import annotations

from base64 import b64encode
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

import httpx2
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
    from collections.abc import AsyncIterator, Callable

    from barback import Bot, WebhookChannel

__all__ = ["PLATFORMS", "Platform", "behind", "viber_person"]

Fake = TypeVar("Fake", bound=FakePlatform)


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


@asynccontextmanager
async def behind(
    fake: Fake, bot: Bot[Any], channel: WebhookChannel | None = None, **options: Any
) -> AsyncIterator[Fake]:
    """The bot behind its webhook, in this process, and the platform over real sockets.

    The platform is listening already. `channel` is its own, unless one is given; with `options`.
    """
    channel = channel or fake.channel(**options)
    fake.webhook = f"http://bot{channel.path}"
    app = bot.asgi(channel)
    client = httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app))
    fake.reach_by(client)
    async with client, app.router.lifespan_context(app):
        yield fake
