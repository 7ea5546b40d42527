"""Every kind of event that LINE has, in barback's words.

The payloads are made by hand after https://developers.line.biz/en/reference/messaging-api/ and, for
channels of modules, https://developers.line.biz/en/reference/partner-docs/.
"""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barback import Bot, Event, InvalidEvent, LineChannel, User, WebhookMalformed, WebhookRequest
from barback.channels.line.events import KINDS

TIM, GROUP, ROOM = f"U{1:032x}", f"C{2:032x}", f"R{3:032x}"
MODULES_TIM = f"LU{1:032x}-U{9:032x}"
PRIVATE = {"type": "user", "userId": TIM}
IN_GROUP = {"type": "group", "groupId": GROUP, "userId": TIM}
IN_ROOM = {"type": "room", "roomId": ROOM, "userId": TIM}
THE_GROUP = {"type": "group", "groupId": GROUP}
MEMBERS = {"members": [{"type": "user", "userId": TIM}]}
HI = {"id": "444573844083572737", "type": "text", "quoteToken": "q3Plxr", "text": "Hi"}
OF_TIM = {"user": User(TIM), "address": TIM}
OF_MEMBER = {"user": User(TIM), "conversation": GROUP, "address": GROUP}
OF_GROUP = {"conversation": GROUP, "address": GROUP}
OF_NOBODY = {"conversation": "bot"}
LINES_OWN = {"type": "line"}
EXTERNAL = {
    "type": "external",
    "originalContentUrl": "https://example.com/original.mp4",
    "previewImageUrl": "https://example.com/preview.jpg",
}

EVENTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "message": (
        {"source": PRIVATE, "replyToken": "r", "message": HI},
        {"kind": "message", "text": "Hi", **OF_TIM},
    ),
    "messageEdited": (
        {"source": IN_GROUP, "replyToken": "r", "message": {**HI, "text": "Ho"}},
        {"text": "Ho", **OF_MEMBER},
    ),
    "unsend": ({"source": IN_GROUP, "unsend": {"messageId": "325708"}}, OF_MEMBER),
    "follow": ({"source": PRIVATE, "replyToken": "r", "follow": {"isUnblocked": False}}, OF_TIM),
    "unfollow": ({"source": PRIVATE}, OF_TIM),
    "join": ({"source": THE_GROUP, "replyToken": "r"}, OF_GROUP),
    "leave": ({"source": THE_GROUP}, OF_GROUP),
    "memberJoined": ({"source": THE_GROUP, "replyToken": "r", "joined": MEMBERS}, OF_GROUP),
    "memberLeft": ({"source": THE_GROUP, "left": MEMBERS}, OF_GROUP),
    "postback": (
        {
            "source": PRIVATE,
            "replyToken": "r",
            "postback": {"data": "storeId=12345", "params": {"datetime": "2017-12-25T01:00"}},
        },
        {"kind": "payload", "payload": "storeId=12345", **OF_TIM},
    ),
    "videoPlayComplete": (
        {"source": PRIVATE, "replyToken": "r", "videoPlayComplete": {"trackingId": "track-id"}},
        OF_TIM,
    ),
    "beacon": (
        {"source": PRIVATE, "replyToken": "r", "beacon": {"hwid": "d41d8cd98f", "type": "enter"}},
        OF_TIM,
    ),
    "accountLink": (
        {"source": PRIVATE, "replyToken": "r", "link": {"result": "ok", "nonce": "xxx"}},
        OF_TIM,
    ),
    "membership": (
        {
            "source": PRIVATE,
            "replyToken": "r",
            "membership": {"type": "joined", "membershipId": 3189},
        },
        OF_TIM,
    ),
    "module": (
        {"module": {"type": "attached", "botId": f"U{9:032x}", "scopes": ["message:send"]}},
        OF_NOBODY,
    ),
    "activated": (
        {
            "source": {"type": "user", "userId": MODULES_TIM},
            "chatControl": {"expireAt": 1653994422933},
        },
        {"user": User(MODULES_TIM), "address": MODULES_TIM},
    ),
    "deactivated": (
        {"source": {"type": "user", "userId": MODULES_TIM}},
        {"user": User(MODULES_TIM), "address": MODULES_TIM},
    ),
    "botSuspended": ({}, OF_NOBODY),
    "botResumed": ({}, OF_NOBODY),
    "delivery": ({"delivery": {"data": "15034552939884E28681A7D668CEA94C"}}, OF_NOBODY),
}
channel = LineChannel("token", "secret")


def told(kind: str, **fields: Any) -> dict[str, Any]:
    return {
        "type": kind,
        "mode": "active",
        "timestamp": 1462629479859,
        "webhookEventId": "01FZ74A0TDDPYRVKNK77XKC3ZR",
        "deliveryContext": {"isRedelivery": False},
        **fields,
    }


def parsed(*events: Any) -> list[Event]:
    body = msgspec.json.encode({"destination": f"U{9:032x}", "events": list(events)})
    return list(channel.events(WebhookRequest(method="POST", body=body)))


def one(kind: str, **fields: Any) -> Event:
    (event,) = parsed(told(kind, **fields))
    return event


def test_every_kind_has_an_example() -> None:
    assert set(KINDS) == set(EVENTS)


@pytest.mark.parametrize("kind", EVENTS)
def test_each_kind_is_an_event(kind: str) -> None:
    fields, expected = EVENTS[kind]
    event = one(kind, **fields)
    assert (event.channel, event.id) == ("line", "01FZ74A0TDDPYRVKNK77XKC3ZR")
    assert event.raw == told(kind, **fields)
    nothing = dict.fromkeys(("text", "payload", "user", "conversation", "thread", "address"))
    for name, value in {**nothing, "kind": kind, **expected}.items():
        assert (name, value) == (name, getattr(event, name))


@pytest.mark.parametrize("scope", ["member", "conversation", "user", "thread"])
@pytest.mark.parametrize("kind", EVENTS)
def test_every_scope_finds_a_session_for_each_kind(kind: str, scope: Any) -> None:
    assert Bot(scope=scope).session_id(one(kind, **EVENTS[kind][0])).startswith("line:")


MESSAGES: dict[str, tuple[dict[str, Any], str | None]] = {
    "text": ({"type": "text", "text": "Hi (love)", "emojis": [{"index": 3}]}, "Hi (love)"),
    "mention": ({"type": "text", "text": "@Bot Hi", "mention": {"mentionees": []}}, "@Bot Hi"),
    "quote": ({"type": "text", "text": "Yes", "quotedMessageId": "325708"}, "Yes"),
    "image": ({"type": "image", "contentProvider": LINES_OWN}, None),
    "image of a set": (
        {"type": "image", "contentProvider": LINES_OWN, "imageSet": {"id": "E0", "index": 1}},
        None,
    ),
    "video": ({"type": "video", "duration": 60000, "contentProvider": EXTERNAL}, None),
    "audio": ({"type": "audio", "duration": 60000, "contentProvider": LINES_OWN}, None),
    "file": ({"type": "file", "fileName": "file.txt", "fileSize": 2138}, None),
    "location": ({"type": "location", "title": "Here", "latitude": 35.6, "longitude": 1.0}, None),
    "sticker": ({"type": "sticker", "packageId": "446", "stickerId": "1988"}, None),
    "sticker with words": ({"type": "sticker", "stickerId": "2", "text": "Let's go"}, "Let's go"),
    "one that comes later": ({"type": "smell", "strength": 5}, None),
}


@pytest.mark.parametrize("kind", MESSAGES)
def test_a_message_of_every_type_is_one(kind: str) -> None:
    fields, text = MESSAGES[kind]
    event = one("message", source=PRIVATE, replyToken="r", message={"id": "325708", **fields})
    assert (event.kind, event.text, event.user) == ("message", text, User(TIM))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (
            {"link": {"result": "failed", "nonce": "xxx"}},
            {"kind": "accountLink", "conversation": "bot"},
        ),
        (
            {"module": {"type": "detached", "botId": TIM, "reason": "bot_deleted"}},
            {"kind": "module", "conversation": "bot"},
        ),
        (
            {"membership": {"type": "left", "membershipId": 1}, "source": PRIVATE},
            {"kind": "membership", "user": User(TIM)},
        ),
        (
            {"membership": {"type": "renewed", "membershipId": 1}, "source": PRIVATE},
            {"kind": "membership", "user": User(TIM)},
        ),
        (
            {"beacon": {"hwid": "d4", "type": "stay", "dm": "12"}, "source": PRIVATE},
            {"kind": "beacon", "user": User(TIM)},
        ),
        (
            {
                "postback": {
                    "data": "b",
                    "params": {"newRichMenuAliasId": "b", "status": "SUCCESS"},
                },
                "source": PRIVATE,
            },
            {"kind": "payload", "payload": "b"},
        ),
        (
            {"delivery": {"data": "15"}, "source": PRIVATE},
            {"kind": "delivery", "user": User(TIM), "address": TIM},
        ),
    ],
    ids=["failed link", "detached", "left", "renewed", "stay", "menu", "delivered to"],
)
def test_other_forms_of_a_kind(fields: dict[str, Any], expected: dict[str, Any]) -> None:
    lines_own = {"link": "accountLink", "postback": "postback"}
    first = next(iter(fields))
    event = one(lines_own.get(first, first), **fields)
    assert expected == {name: getattr(event, name) for name in expected}


@pytest.mark.parametrize(
    ("source", "key"),
    [
        (PRIVATE, {"member": TIM, "conversation": TIM, "user": TIM, "thread": TIM}),
        (
            IN_GROUP,
            {
                "member": f"{GROUP}/{TIM}",
                "conversation": f"{GROUP}/",
                "user": TIM,
                "thread": f"{GROUP}/",
            },
        ),
        (IN_ROOM, {"member": f"{ROOM}/{TIM}", "conversation": f"{ROOM}/", "user": TIM}),
        (THE_GROUP, {"member": f"{GROUP}/", "conversation": f"{GROUP}/", "user": f"{GROUP}/"}),
    ],
    ids=["private", "group", "room", "group without a member"],
)
def test_sessions_are_a_persons_or_a_members(source: Any, key: dict[Any, str]) -> None:
    event = one("message", source=source, message=HI)
    for scope, expected in key.items():
        assert Bot(scope=scope).session_id(event) == f"line:{expected}"


def test_a_webhook_may_hold_many_events_and_they_stay_in_order() -> None:
    hi = {**told("message", source=PRIVATE, message=HI), "webhookEventId": "1"}
    follow = {**told("follow", source=PRIVATE), "webhookEventId": "2"}
    assert [event.id for event in parsed(hi, follow, {**hi, "webhookEventId": "3"})] == list("123")


def test_a_webhook_of_nothing_is_no_event() -> None:
    assert parsed() == []


def test_a_redelivered_event_has_its_id() -> None:
    first = one("message", source=PRIVATE, message=HI)
    again = one("message", source=PRIVATE, message=HI, deliveryContext={"isRedelivery": True})
    assert (first.id, first.kind) == (again.id, again.kind)
    assert again.raw["deliveryContext"]["isRedelivery"] is True


@pytest.mark.parametrize("scope", ["member", "conversation", "user", "thread"])
@pytest.mark.parametrize("fields", [{"undefinedField": {"1": 1}}, {"source": PRIVATE}], ids=repr)
def test_a_kind_that_nobody_knows_yet_is_an_event_with_a_session(
    fields: dict[str, Any], scope: Any
) -> None:
    event = one("telepathy", **fields)
    assert event.kind == "telepathy"
    key = TIM if "source" in fields else "bot/"
    assert Bot(scope=scope).session_id(event) == f"line:{key}"


def test_a_place_that_nobody_knows_yet_is_looked_into_for_people() -> None:
    assert one("message", source={"type": "cloud", "userId": TIM}).user == User(TIM)


# Standby: another channel of the account has the chat.


@pytest.mark.parametrize("kind", ["message", "messageEdited", "postback"])
def test_what_is_said_to_another_channel_of_the_account_is_not_said_to_the_bot(kind: str) -> None:
    event = one(kind, mode="standby", source=PRIVATE, message=HI, postback={"data": "buy"})
    assert (event.kind, event.text, event.payload) == ("standby", None, None)
    assert (event.user, event.raw["message"]["text"]) == (User(TIM), "Hi")


@pytest.mark.parametrize("kind", ["follow", "unfollow", "join", "unsend", "beacon"])
def test_what_happens_meanwhile_has_its_own_kind(kind: str) -> None:
    assert one(kind, mode="standby", source=PRIVATE).kind == kind


# What LINE never sends.


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"5",
        b"[]",
        b"{}",
        b'{"events": 5}',
        b'{"events": {"type": "message"}}',
        b'{"events": [5]}',
        b'{"events": [[]]}',
        b'{"events": [null]}',
    ],
)
def test_what_is_no_webhook_is_refused(body: bytes) -> None:
    with pytest.raises(WebhookMalformed):
        channel.events(WebhookRequest(method="POST", body=body))


def test_an_event_of_nothing_is_an_event() -> None:
    (event,) = parsed({})
    assert (event.kind, event.id, event.conversation) == ("event", None, "bot")


TEXT = st.text(max_size=20)
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
NAMES = ["type", "mode", "source", "webhookEventId", "message", "postback", "replyToken"]


@given(
    kind=st.sampled_from(sorted(EVENTS)),
    changes=st.dictionaries(st.sampled_from(NAMES), ANY_JSON, max_size=4),
    inside=st.dictionaries(
        st.sampled_from(["type", "userId", "groupId", "roomId", "text", "data"]), ANY_JSON
    ),
    where=st.sampled_from(["source", "message", "postback"]),
)
@settings(max_examples=150, deadline=None)
def test_whatever_is_in_it_it_is_an_event_with_a_session_or_refused(
    kind: str, changes: dict[str, Any], inside: dict[str, Any], where: str
) -> None:
    changed = {**told(kind, **EVENTS[kind][0]), **changes, where: inside}
    try:
        (event,) = parsed(changed)
    except (WebhookMalformed, InvalidEvent):
        return
    scopes: list[Any] = ["member", "conversation", "user", "thread"]
    for scope in scopes:
        assert Bot(scope=scope).session_id(event).startswith("line:")
