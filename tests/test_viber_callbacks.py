"""Every kind of callback that Viber's documentation has, in barback's words.

The payloads are made by hand after https://creators.viber.com/docs/bots-api/events/ and the tests
of Viber's own https://github.com/Viber/viber-bot-python.
"""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from barback import Bot, Event, InvalidEvent, User, WebhookMalformed
from barback.channels.answer import AnsweredEvent
from barback.channels.viber.callbacks import event_of

ID = "01234567890A="
TIM = {
    "id": ID,
    "name": "Tim",
    "avatar": "http://avatar.example.com",
    "country": "UK",
    "language": "en",
    "api_version": 1,
}
USER = User(ID, "Tim")
NAMELESS = User(ID)
SCOPES: tuple[Any, ...] = ("member", "conversation", "user", "thread")


def callback(event: str, **fields: Any) -> dict[str, Any]:
    return {
        "event": event,
        "timestamp": 1457764197627,
        "chat_hostname": "SN-CHAT-05_",
        "message_token": 4912661846655238145,
        **fields,
    }


def message(**fields: Any) -> dict[str, Any]:
    return callback("message", sender=TIM, message=fields, silent=False)


CALLBACKS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "message": (
        message(type="text", text="a message to the service", tracking_data="tracking data"),
        {"kind": "message", "text": "a message to the service", "user": USER},
    ),
    "button": (
        {**message(type="text", text="tea", tracking_data="menu"), "silent": True},
        {"kind": "payload", "payload": "tea", "user": USER},
    ),
    "in a chat": (
        {**message(type="text", text="Hi"), "chat_id": 5048086924903818307, "reply_type": "query"},
        {
            "kind": "message",
            "text": "Hi",
            "user": USER,
            "conversation": "5048086924903818307",
            "address": f"{ID}/5048086924903818307",
        },
    ),
    "subscribed": (callback("subscribed", user=TIM), {"user": USER}),
    "unsubscribed": (callback("unsubscribed", user_id=ID), {"user": NAMELESS}),
    "conversation_started": (
        callback("conversation_started", type="open", user=TIM, context="shop", subscribed=True),
        {"user": USER, "payload": "shop"},
    ),
    "delivered": (callback("delivered", user_id=ID), {"user": NAMELESS}),
    "seen": (callback("seen", user_id=ID), {"user": NAMELESS}),
    "failed": (callback("failed", user_id=ID, desc="failure description"), {"user": NAMELESS}),
    "client_status": (
        callback("client_status", user=TIM, status={"code": 0, "message": "PAYMENT_OK"}),
        {"user": USER},
    ),
    "action": (callback("action", user_id=ID, context="tea"), {"user": NAMELESS}),
    "telepathy": (callback("telepathy"), {"conversation": "bot", "address": None}),
}


def parsed(told: Any) -> Event:
    event = event_of(told, channel="viber")
    assert event is not None
    return event


@pytest.mark.parametrize("name", CALLBACKS)
def test_each_kind_is_an_event(name: str) -> None:
    told, expected = CALLBACKS[name]
    event = parsed(told)
    assert (event.channel, event.id) == ("viber", "4912661846655238145")
    assert event.raw == told
    assert type(event) is Event
    nothing = dict.fromkeys(("text", "payload", "user", "conversation", "thread"))
    for part, value in {**nothing, "kind": told["event"], "address": ID, **expected}.items():
        assert (part, value) == (part, getattr(event, part))


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("name", CALLBACKS)
def test_every_scope_finds_a_session_for_each_kind(name: str, scope: Any) -> None:
    event = parsed(CALLBACKS[name][0])
    assert Bot(scope=scope).session_id(event).startswith("viber:")


def test_the_same_token_is_another_event_where_it_is_of_another_kind() -> None:
    told = [parsed(CALLBACKS[name][0]) for name in ("message", "button", "delivered", "seen")]
    assert len({(event.kind, event.id) for event in told}) == len(told)


def test_the_callback_that_tries_a_webhook_is_no_event() -> None:
    assert event_of(callback("webhook"), channel="viber") is None


@pytest.mark.parametrize("subscribed", [False, None, "true", 1])
def test_who_has_not_subscribed_can_be_told_something_in_the_answer(subscribed: Any) -> None:
    event = parsed(callback("conversation_started", user=TIM, subscribed=subscribed))
    assert isinstance(event, AnsweredEvent)
    assert (event.kind, event.user, event.payload) == ("conversation_started", USER, None)


CONTENTS: dict[str, tuple[dict[str, Any], str | None]] = {
    "text": ({"type": "text", "text": "Hi"}, "Hi"),
    "picture": ({"type": "picture", "media": "https://x/1.png", "thumbnail": "https://x/2"}, None),
    "caption": ({"type": "picture", "media": "https://x/1.png", "text": "A cat"}, "A cat"),
    "video": ({"type": "video", "media": "https://x/1.mp4", "size": 1, "duration": 2}, None),
    "file": ({"type": "file", "media": "https://x/1", "file_name": "a", "size": 1}, None),
    "location": ({"type": "location", "location": {"lat": 50.7, "lon": -71.9}}, None),
    "contact": ({"type": "contact", "contact": {"name": "Tim", "phone_number": "1"}}, None),
    "sticker": ({"type": "sticker", "sticker_id": 46105}, None),
    "url": ({"type": "url", "media": "https://bot.example"}, "https://bot.example"),
    "rich media": ({"type": "rich_media", "rich_media": {"Buttons": []}}, None),
}


@pytest.mark.parametrize("content", CONTENTS)
def test_a_message_has_the_text_of_what_is_in_it(content: str) -> None:
    fields, text = CONTENTS[content]
    event = parsed(message(**fields, tracking_data="x"))
    assert (event.kind, event.text, event.payload) == ("message", text, None)
    assert event.raw["message"]["tracking_data"] == "x"


def test_ids_that_are_text_are_the_same_ids() -> None:
    told = {**message(type="text", text="Hi"), "message_token": "912661846655238145"}
    event = parsed({**told, "chat_id": "3456675689-45345-35346235"})
    assert (event.id, event.conversation) == ("912661846655238145", "3456675689-45345-35346235")
    assert event.address == f"{ID}/3456675689-45345-35346235"


def test_a_callback_without_a_token_has_no_id() -> None:
    told = callback("subscribed", user=TIM)
    del told["message_token"]
    assert parsed(told).id is None


@pytest.mark.parametrize("bad", [None, 5, [], "x", {}, {"event": 5}, {"event": ""}])
def test_what_is_no_callback_is_refused(bad: Any) -> None:
    with pytest.raises(WebhookMalformed, match="no callback"):
        event_of(bad, channel="viber")


@pytest.mark.parametrize(
    "fields",
    [
        {"sender": "x", "message": 5, "silent": "x"},
        {"sender": {"id": 5, "name": []}, "message": {"type": [], "text": 7}},
        {"sender": {"id": ""}, "message": None, "silent": True, "message_token": 1.5},
        {"sender": None, "chat_id": {}, "user_id": [], "message_token": True},
    ],
)
def test_what_viber_never_sends_inside_of_a_callback_is_left_out(fields: Any) -> None:
    event = parsed({"event": "message", **fields})
    assert (event.kind, event.text, event.user, event.id) == ("message", None, None, None)
    assert event.conversation == "bot"


ANYTHING = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats() | some.text(),
    lambda inner: some.lists(inner, max_size=3) | some.dictionaries(some.text(), inner, max_size=3),
    max_leaves=8,
)
PARTS = ("event", "message_token", "chat_id", "sender", "user", "user_id", "message", "silent")


@settings(max_examples=300, deadline=None)
@given(
    some.sampled_from([told for told, _ in CALLBACKS.values()]),
    some.dictionaries(some.sampled_from(PARTS), ANYTHING, max_size=3),
    some.dictionaries(some.sampled_from(("id", "name", "type", "text", "media")), ANYTHING),
)
def test_whatever_comes_is_an_event_with_a_session_or_is_not_understood(
    told: dict[str, Any], changes: dict[str, Any], inside: dict[str, Any]
) -> None:
    told = {**told, **changes}
    for part in ("sender", "user", "message"):
        if isinstance(told.get(part), dict):
            told[part] = {**told[part], **inside}
    try:
        event = event_of(told, channel="viber")
    except (WebhookMalformed, InvalidEvent):
        return
    if event is not None:
        for scope in SCOPES:
            assert Bot(scope=scope).session_id(event)


def test_a_callback_is_read_as_it_comes() -> None:
    body = msgspec.json.encode(CALLBACKS["message"][0])
    assert parsed(msgspec.json.decode(body)).text == "a message to the service"
