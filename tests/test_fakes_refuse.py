"""What a platform refuses its fake refuses, so that no test passes for a bot that would fail."""

from __future__ import annotations

from typing import Any

import pytest

from barback import ChannelError, ChannelUnreachable
from barback.testing import (
    FakeLine,
    FakeMessenger,
    FakePlatform,
    FakeSlack,
    FakeTelegram,
    FakeViber,
    FakeWhatsApp,
)

SOMEBODY = f"U{42:032x}"
VIBER = {"receiver": "01234567890A=", "sender": {"name": "Bot"}}
REPLY = {"recipient": {"id": "42"}, "messaging_type": "RESPONSE"}
NUMBER = "16505551234"

REFUSED: dict[str, tuple[type[FakePlatform], str, dict[str, Any], Any]] = {
    "to no chat": (FakeTelegram, "sendMessage", {"text": "Hi"}, 400),
    "to what is no chat": (FakeTelegram, "sendMessage", {"chat_id": "Tim", "text": "Hi"}, 400),
    "a text that is none": (FakeTelegram, "sendMessage", {"chat_id": 42, "text": ["Hi"]}, 400),
    "a poem": (FakeLine, "pushMessage", {"to": SOMEBODY, "messages": [{"type": "poem"}]}, 400),
    "no type": (FakeLine, "pushMessage", {"to": SOMEBODY, "messages": [{"text": "Hi"}]}, 400),
    "to nobody alone": (
        FakeSlack,
        "chat.postEphemeral",
        {"channel": "C1", "text": "Hi"},
        "invalid_arguments",
    ),
    "a recipient that is none": (
        FakeMessenger,
        "POST /{page}/messages",
        {**REPLY, "recipient": "42", "message": {"text": "Hi"}},
        100,
    ),
    "an attachment that is none": (
        FakeMessenger,
        "POST /{page}/messages",
        {**REPLY, "message": {"attachment": {"type": "poem", "payload": {}}}},
        100,
    ),
    "an attachment without a payload": (
        FakeMessenger,
        "POST /{page}/messages",
        {**REPLY, "message": {"attachment": {}}},
        100,
    ),
    "a message of no type": (
        FakeWhatsApp,
        "POST /{phone_number_id}/messages",
        {"to": NUMBER, "type": "poem", "poem": {"body": "Hi"}},
        100,
    ),
    "a picture that is nowhere": (
        FakeWhatsApp,
        "POST /{phone_number_id}/messages",
        {"to": NUMBER, "type": "image", "image": {"caption": "Tom"}},
        100,
    ),
    "to what is no number": (
        FakeWhatsApp,
        "POST /{phone_number_id}/messages",
        {"to": "Tim", "type": "text", "text": {"body": "Hi"}},
        100,
    ),
    "a type that is none": (FakeViber, "send_message", {**VIBER, "type": "poem"}, 3),
    "a picture without one": (FakeViber, "send_message", {**VIBER, "type": "picture"}, 4),
}


@pytest.mark.parametrize("what", REFUSED)
async def test_what_a_platform_refuses_is_refused(what: str) -> None:
    fake_of, method, params, code = REFUSED[what]
    async with fake_of() as fake:
        if isinstance(fake, FakeViber):
            fake.subscribers.add(VIBER["receiver"])  # type: ignore[arg-type]
        channel = fake.channel()
        try:
            with pytest.raises(ChannelError) as caught:
                await channel.client.call(method, **params)
        finally:
            await channel.stop()
    assert not isinstance(caught.value, ChannelUnreachable)
    assert caught.value.code == code


@pytest.mark.parametrize("chat", [42, "42", -100, "@news_of_today"], ids=repr)
async def test_a_chat_on_telegram_is_a_number_or_a_name(chat: Any) -> None:
    async with FakeTelegram() as telegram:
        channel = telegram.channel()
        try:
            sent = await channel.client.send_message(chat_id=chat, text="Hi")
        finally:
            await channel.stop()
    assert sent["message_id"]
