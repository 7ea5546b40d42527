"""What a platform refuses its fake refuses, so that no test passes for a bot that would fail."""

from __future__ import annotations

import re
from typing import Any

import pytest

from barback import ChannelError, ChannelUnreachable
from barback.channels.messenger import MessengerClient
from barback.channels.meta import GraphClient
from barback.channels.slack.methods import method_of
from barback.channels.whatsapp import WhatsAppClient
from barback.testing import (
    FakeLine,
    FakeMessenger,
    FakePlatform,
    FakeSlack,
    FakeTelegram,
    FakeViber,
    FakeWhatsApp,
)
from barback.testing.methods import NUMBER as NUMBERS
from barback.testing.methods import PAGE, SLACK, WABA

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
    "a method that is none": (FakeTelegram, "sendMesage", {"chat_id": 42, "text": "Hi"}, 404),
    "a photo that is none": (FakeTelegram, "sendPhoto", {"chat_id": 42, "caption": "Tom"}, 400),
    "a photo to nobody": (FakeTelegram, "sendPhoto", {"photo": "https://x.example/"}, 400),
    "a caption that is too long": (
        FakeTelegram,
        "sendPhoto",
        {"chat_id": 42, "photo": "https://x.example/", "caption": "x" * 1025},
        400,
    ),
    "a misspelt method": (FakeSlack, "chat.postMesage", {"channel": "C1"}, "unknown_method"),
    "a misspelt edge": (FakeMessenger, "POST /{page}/messagez", {**REPLY}, 2500),
    "an edge with another verb": (FakeMessenger, "DELETE /{page}/messages", {}, 100),
    "a profile that is posted": (FakeMessenger, "POST /{psid}", {"psid": "42"}, 100),
    "a misspelt edge of a number": (FakeWhatsApp, "POST /{phone_number_id}/messagez", {}, 2500),
    "an edge of a number with another verb": (
        FakeWhatsApp,
        "GET /{phone_number_id}/media",
        {},
        100,
    ),
    "a misspelt edge of an account": (FakeWhatsApp, "GET /{waba_id}/template", {}, 2500),
    "a misspelt operation of LINE's": (FakeLine, "GET /v2/bot/infos", {}, 404),
    "a misspelt method of Viber's": (FakeViber, "send_mesage", VIBER, 404),
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


@pytest.mark.parametrize(
    ("fake_of", "method", "params"),
    [
        (FakeTelegram, "sendHologram", {"chat_id": 42}),
        (FakeSlack, "chat.postHologram", {"channel": "C1"}),
        (FakeMessenger, "POST /{page}/holograms", {}),
        (FakeWhatsApp, "POST /{phone_number_id}/holograms", {}),
    ],
)
async def test_a_fake_can_be_told_what_is_newer_than_it(
    fake_of: Any, method: str, params: dict[str, Any]
) -> None:
    async with fake_of(also=[method]) as fake:
        channel = fake.channel()
        try:
            assert await channel.client.call(method, **params)
        finally:
            await channel.stop()
        assert len(fake.calls) == 1


@pytest.mark.parametrize("client", [MessengerClient, WhatsAppClient])
def test_the_fakes_know_all_operations_of_the_clients(client: type[GraphClient]) -> None:
    known = {"page": PAGE, "phone_number_id": NUMBERS, "waba_id": WABA}
    for call in client.operations.values():
        verb, own, edge = re.fullmatch(r"(\w+) /\{(\w+)\}/?(.*)", call).groups()  # type: ignore[union-attr]
        assert own not in known or known[own].take(verb, edge), call


def test_all_methods_of_slack_have_a_name_in_python() -> None:
    for method in SLACK:
        name = re.sub(r"[A-Z]+", lambda found: f"_{found[0].lower()}", method).replace(".", "_")
        name = name.replace("_urlexternal", "_url_external")
        assert method_of(name) == method


@pytest.mark.parametrize("chat", [42, "42", -100, "@news_of_today"], ids=repr)
async def test_a_chat_on_telegram_is_a_number_or_a_name(chat: Any) -> None:
    async with FakeTelegram() as telegram:
        channel = telegram.channel()
        try:
            sent = await channel.client.send_message(chat_id=chat, text="Hi")
        finally:
            await channel.stop()
    assert sent["message_id"]
