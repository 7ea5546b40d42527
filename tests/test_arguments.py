"""What a platform takes by name, and somebody gives it without."""

from __future__ import annotations

from typing import Any

import pytest

from barback import ArgumentsNeedNames, BarbackError, Bot, Context
from tests.fake_platforms import PLATFORMS

CALLS = {
    "line": ("send_sticker", ("11537",), "send_sticker(name=value)"),
    "messenger": ("send_image", ("https://x.example/a", "b"), "send_image(…, name=value)"),
    "slack": ("send_message", ("Hi",), "send_message(name=value)"),
    "telegram": ("send_photo", ("https://x.example/a",), "send_photo(name=value)"),
    "viber": ("send_picture", ("https://x.example/a",), "send_picture(name=value)"),
    "whatsapp": ("send_location", (52.5, 13.4), "send_location(…, name=value)"),
}
METHODS = {"line": "push_message", "messenger": "send_message", "slack": "chat_postMessage"}


@pytest.mark.parametrize("platform", CALLS)
async def test_what_has_no_name_is_refused_in_a_sentence(platform: str) -> None:
    name, args, told = CALLS[platform]
    failures: list[Exception] = []

    async def speak(context: Context[Any]) -> None:
        try:
            await getattr(context, name)(*args)
        except ArgumentsNeedNames as error:
            failures.append(error)
        method = METHODS.get(platform, "send_message")
        with pytest.raises(ArgumentsNeedNames, match="by the names that the platform has for them"):
            await getattr(context.client, method)(42, "x")

    player = PLATFORMS[platform]
    async with player.fake() as fake:
        bot = Bot(channels=[fake.channel()])
        async with bot, bot.conversation(f"{platform}:{player.person(1)}") as context:
            await speak(context)
        assert fake.calls == []
    (error,) = failures
    assert told in str(error)
    assert isinstance(error, BarbackError)
    assert isinstance(error, TypeError)


async def test_what_has_a_place_needs_no_name() -> None:
    player = PLATFORMS["line"]
    async with player.fake() as fake:
        bot = Bot(channels=[fake.channel()])
        async with bot, bot.conversation(f"line:{player.person(1)}") as context:
            await context.send_messages(
                {"type": "text", "text": "a"}, {"type": "text", "text": "b"}
            )
        assert fake.texts(player.person(1)) == ["a", "b"]
