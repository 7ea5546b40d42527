"""Every kind of event that Messenger's documentation has, in barback's words.

The payloads are made by hand after the pages below
https://developers.facebook.com/documentation/business-messaging/messenger-platform/webhooks/webhook-events.
"""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from barback import (
    Bot,
    Event,
    InvalidEvent,
    MessengerChannel,
    User,
    WebhookMalformed,
    WebhookRequest,
)
from barback.channels.messenger.updates import KINDS
from tests.mutated import mutated

APP = "1517776481860111"
PAGE = {"id": "682498302938465"}
TIM = {"id": "1423587017700273"}
MID = "m_1457764197618:41d102a3e1ae206a38"
SCOPES: Any = ("member", "conversation", "user", "thread")

channel = MessengerChannel("a-token", app_secret="a-secret", app_id=APP)  # noqa: S106 - of nothing


def request(told: Any) -> WebhookRequest:
    return WebhookRequest(method="POST", body=msgspec.json.encode(told))


def entry(part: str, *told: Any) -> dict[str, Any]:
    return {"object": "page", "entry": [{"id": PAGE["id"], "time": 1458692752478, part: [*told]}]}


def item(**kind: Any) -> dict[str, Any]:
    return {"sender": TIM, "recipient": PAGE, "timestamp": 1458692752478, **kind}


def parsed(told: dict[str, Any], part: str = "messaging") -> Event:
    (event,) = channel.events(request(entry(part, told)))
    return event


def message(**fields: Any) -> dict[str, Any]:
    return item(message={"mid": MID, **fields})


def attachment(kind: str, **payload: Any) -> dict[str, Any]:
    return {"type": kind, "payload": payload}


MESSAGES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "text": ({"text": "hello, world!"}, {"text": "hello, world!"}),
    "quick reply": (
        {"text": "Red", "quick_reply": {"payload": "RED"}},
        {"kind": "payload", "text": "Red", "payload": "RED"},
    ),
    "reply": (
        {"text": "Yes", "reply_to": {"mid": "m_1", "is_self_reply": False}},
        {"text": "Yes"},
    ),
    "from an ad": (
        {"text": "Hi", "referral": {"source": "ADS", "type": "OPEN_THREAD", "ad_id": "6045246"}},
        {"text": "Hi"},
    ),
    "about a product": (
        {"text": "This?", "referral": {"product": {"id": "5"}}},
        {"text": "This?"},
    ),
    "sticker": (
        {
            "sticker_id": 369239263222822,
            "attachments": [attachment("image", url="https://x", sticker_id=369239263222822)],
        },
        {},
    ),
    **{
        kind: ({"attachments": [attachment(kind, url="https://x")]}, {})
        for kind in ("image", "audio", "video", "file", "reel", "ig_reel", "post")
    },
    "location": (
        {"attachments": [attachment("location", coordinates={"lat": 0, "long": 0})]},
        {},
    ),
    "fallback": (
        {"text": "https://x", "attachments": [{"type": "fallback", "payload": None, "title": "X"}]},
        {"text": "https://x"},
    ),
    "product template": (
        {"attachments": [attachment("template", product={"elements": [{"id": "5"}]})]},
        {},
    ),
    "appointment": ({"attachments": [attachment("appointment_booking", status="CONFIRMED")]}, {}),
    "unsupported": ({"is_unsupported": True}, {}),
}

EVENTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "message": (message(text="Hi"), {"kind": "message", "text": "Hi", "id": MID}),
    "postback": (
        item(postback={"mid": MID, "title": "Get Started", "payload": "START"}),
        {"kind": "payload", "text": "Get Started", "payload": "START", "id": MID},
    ),
    "message_edit": (
        item(message_edit={"mid": MID, "text": "Hello", "num_edit": 1}),
        {"text": "Hello"},
    ),
    "reaction": (
        item(reaction={"reaction": "love", "emoji": "❤️", "action": "react", "mid": MID}),
        {},
    ),
    "read": (item(read={"watermark": 1458668856253}), {}),
    "delivery": (item(delivery={"mids": [MID], "watermark": 1458668856253}), {}),
    "optin": (
        item(
            optin={
                "type": "notification_messages",
                "payload": "NEWS",
                "notification_messages_token": "x",
            }
        ),
        {"payload": "NEWS"},
    ),
    "referral": (
        item(referral={"ref": "autumn", "source": "SHORTLINK", "type": "OPEN_THREAD"}),
        {"payload": "autumn"},
    ),
    "account_linking": (
        item(account_linking={"status": "linked", "authorization_code": "x"}),
        {},
    ),
    "policy_enforcement": (
        {
            "recipient": PAGE,
            "timestamp": 1458692752478,
            "policy_enforcement": {"action": "block", "reason": "…"},
        },
        {"user": None, "conversation": "page:682498302938465", "address": None},
    ),
    "policy-enforcement": (
        {
            "recipient": PAGE,
            "timestamp": 1458692752478,
            "policy-enforcement": {"action": "block", "reason": "…"},
        },
        {
            "kind": "policy_enforcement",
            "user": None,
            "conversation": "page:682498302938465",
            "address": None,
        },
    ),
    "app_roles": (
        {"recipient": PAGE, "timestamp": 1458692752478, "app_roles": {APP: ["primary_receiver"]}},
        {"user": None, "conversation": "page:682498302938465", "address": None},
    ),
    "pass_thread_control": (
        item(pass_thread_control={"previous_owner_app_id": None, "new_owner_app_id": APP}),
        {},
    ),
    "take_thread_control": (
        item(take_thread_control={"previous_owner_app_id": APP, "new_owner_app_id": "5"}),
        {},
    ),
    "request_thread_control": (
        item(request_thread_control={"requested_owner_app_id": "5", "metadata": "…"}),
        {},
    ),
    "game_play": (
        item(game_play={"game_id": "5", "player_id": "6", "score": 99, "payload": "{}"}),
        {"payload": "{}"},
    ),
    "messaging_feedback": (
        item(messaging_feedback={"feedback_screens": [{"screen_id": 0, "questions": {}}]}),
        {},
    ),
    "messaging_customer_information": (
        item(messaging_customer_information={"screens": [{"screen_id": "1", "responses": []}]}),
        {},
    ),
    "response_feedback": (
        item(response_feedback={"feedback": "Good response", "mid": MID}),
        {},
    ),
    "order": (item(order={"products": [{"id": 123, "quantity": 1}], "note": "foobar"}), {}),
}


def check(event: Event, expected: dict[str, Any]) -> None:
    told = {
        "channel": "messenger",
        "text": None,
        "payload": None,
        "user": User("1423587017700273"),
        "conversation": None,
        "thread": None,
        "address": "682498302938465/1423587017700273",
    }
    for name, value in {**told, **expected}.items():
        assert (name, value) == (name, getattr(event, name))


def test_every_kind_has_an_example() -> None:
    assert set(KINDS) == set(EVENTS)


@pytest.mark.parametrize("kind", EVENTS)
def test_each_kind_is_an_event(kind: str) -> None:
    told, expected = EVENTS[kind]
    event = parsed(told)
    assert event.raw == told
    assert event.id
    check(event, {"kind": kind, **expected})


@pytest.mark.parametrize("content", MESSAGES)
def test_a_message_has_the_text_and_payload_of_what_is_in_it(content: str) -> None:
    fields, expected = MESSAGES[content]
    check(parsed(message(**fields)), {"kind": "message", "id": MID, **expected})


@pytest.mark.parametrize("scope", SCOPES)
def test_every_scope_finds_a_session_for_each_kind(scope: Any) -> None:
    bot = Bot(scope=scope)
    for told, _ in EVENTS.values():
        assert bot.session_id(parsed(told)).startswith("messenger:")


def test_what_has_no_id_has_one_that_is_the_same_when_it_comes_again_and_no_other() -> None:
    ids = [parsed(told).id for told, _ in EVENTS.values()]
    assert ids == [parsed(told).id for told, _ in EVENTS.values()]
    assert len(set(ids)) == len(ids) - 1  # of a message and a button, which are two kinds, one mid
    edits = [item(message_edit={"mid": MID, "text": "Hi", "num_edit": n}) for n in (1, 2)]
    assert parsed(edits[0]).id != parsed(edits[1]).id


def test_a_request_may_hold_many_events_of_many_pages_in_order() -> None:
    other = {**message(text="three"), "recipient": {"id": "7"}, "sender": {"id": "5"}}
    told = entry("messaging", message(text="one"), message(text="two"))
    told["entry"].append({"id": "7", "time": 1, "messaging": [other]})
    events = channel.events(request(told))
    assert [event.text for event in events] == ["one", "two", "three"]
    assert [event.address for event in events][1:] == [
        "682498302938465/1423587017700273",
        "7/5",
    ]


def test_a_kind_that_nobody_knows_yet_is_an_event_of_that_name() -> None:
    check(parsed(item(telepathy={"text": "…"})), {"kind": "telepathy", "text": "…"})
    check(parsed(item(telepathy=5)), {"kind": "telepathy"})
    check(parsed(item()), {"kind": "messaging"})


def test_what_is_said_in_standby_is_an_event_without_a_text() -> None:
    event = parsed(message(text="Hi", quick_reply={"payload": "x"}), part="standby")
    check(event, {"kind": "standby"})
    assert event.raw["message"]["text"] == "Hi"


def test_what_happens_on_the_page_is_an_event_of_the_page() -> None:
    change = {"field": "feed", "value": {"item": "comment", "from": {"id": "5"}, "message": "Hi"}}
    event = parsed(change, part="changes")
    nobody = {"user": None, "address": None, "conversation": "page:682498302938465"}
    check(event, {"kind": "feed", **nobody})
    assert event.raw == change


# Echoes.


def echo(app_id: Any) -> dict[str, Any]:
    said = {"mid": MID, "is_echo": True, "app_id": app_id, "text": "Hello"}
    return {**item(message=said), "sender": PAGE, "recipient": TIM}


@pytest.mark.parametrize("app_id", [APP, int(APP)], ids=["text", "number"])
@pytest.mark.parametrize("part", ["messaging", "standby"])
def test_what_the_bot_itself_has_said_is_no_event(app_id: Any, part: str) -> None:
    assert channel.events(request(entry(part, echo(app_id)))) == []


def test_what_another_has_said_for_the_page_is_an_event_without_a_text() -> None:
    for other in ("263902037430900", None):
        check(parsed(echo(other)), {"kind": "message_echoes"})


def test_who_does_not_know_which_app_it_is_takes_every_echo_for_its_own() -> None:
    unknowing = MessengerChannel("a-token", app_secret="a-secret")  # noqa: S106 - of nothing
    assert unknowing.events(request(entry("messaging", echo("263902037430900")))) == []


# What Meta never sends.


@pytest.mark.parametrize("bad", [None, 5, [], "x", {}, {"entry": None}, {"entry": {}}], ids=repr)
def test_what_is_no_webhook_is_refused(bad: Any) -> None:
    with pytest.raises(WebhookMalformed, match="no entries"):
        channel.events(request(bad))


@pytest.mark.parametrize("part", ["messaging", "standby", "changes"])
def test_whatever_part_is_of_another_type_nothing_breaks(part: str) -> None:
    bots = [Bot(scope=scope) for scope in SCOPES]
    told = [echo(APP), message(text="Hi", quick_reply={"payload": "x"}), EVENTS["optin"][0]]
    for changed in mutated(entry(part, *told)):
        try:
            events = channel.events(request(changed))
        except (WebhookMalformed, InvalidEvent):
            continue
        for event in events:
            assert event.id
            assert all(bot.session_id(event) for bot in bots)


def test_instagram_is_the_same_form_and_breaks_nothing() -> None:
    told = entry("messaging", message(text="Hi", is_deleted=True))
    told["object"] = "instagram"
    (event,) = channel.events(request(told))
    assert event.text == "Hi"
