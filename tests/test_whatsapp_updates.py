"""Every kind of event that WhatsApp's documentation has, in barback's words.

The payloads are made by hand after the pages below
https://developers.facebook.com/documentation/business-messaging/whatsapp/webhooks/reference.
"""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from barback import (
    Bot,
    Event,
    InvalidEvent,
    User,
    WebhookMalformed,
    WebhookRequest,
    WhatsAppChannel,
)
from tests.mutated import mutated

ACCOUNT = "102290129340398"
NUMBER = "106540352242922"
PHONE = "16505551234"
OWN = "US.13491208655302741918"
WAMID = "wamid.HBgLMTY1MDM4Nzk0MzkVAgASGBQzQTRBNjU5OUFFRTAzODEwMTQ0RgA="
GROUP = "Y2FwaV9ncm91cDoxNzA1NTU1MDEzOToxMjAzNjM0MDQ2OTQyMzM4MjAZD"
SCOPES: Any = ("member", "conversation", "user", "thread")
SHEENA = User(OWN, "Sheena Nelson")
METADATA = {"display_phone_number": "15550783881", "phone_number_id": NUMBER}
CONTACTS = [{"profile": {"name": "Sheena Nelson"}, "wa_id": PHONE, "user_id": OWN}]
MEDIA = {"mime_type": "image/jpeg", "sha256": "x", "id": "1003383421387256", "url": "https://x"}

channel = WhatsAppChannel(
    "a-token",
    phone_number_id=NUMBER,
    app_secret="a-secret",  # noqa: S106 - it opens nothing
)


def request(told: Any) -> WebhookRequest:
    return WebhookRequest(method="POST", body=msgspec.json.encode(told))


def change(field: str, value: Any) -> dict[str, Any]:
    entry = {"id": ACCOUNT, "changes": [{"field": field, "value": value}]}
    return {"object": "whatsapp_business_account", "entry": [entry]}


def value(**lists: Any) -> dict[str, Any]:
    return {
        "messaging_product": "whatsapp",
        "metadata": METADATA,
        "contacts": CONTACTS,
        **lists,
    }


def message(kind: str, content: Any = None, **more: Any) -> dict[str, Any]:
    said = {"from": PHONE, "from_user_id": OWN, "id": WAMID, "timestamp": "1749416383"}
    return {**said, "type": kind, **({} if content is None else {kind: content}), **more}


def status(kind: str, **more: Any) -> dict[str, Any]:
    told = {"id": WAMID, "status": kind, "timestamp": "1750263773", "recipient_id": PHONE}
    return {**told, "recipient_user_id": OWN, **more}


def parsed(field: str, told: Any) -> Event:
    (event,) = channel.events(request(change(field, told)))
    return event


def said(told: dict[str, Any]) -> Event:
    return parsed("messages", value(messages=[told]))


def pressed(reply: str, **content: Any) -> dict[str, Any]:
    return message("interactive", {"type": reply, reply: content}, context={"id": "wamid.1"})


MESSAGES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "text": (message("text", {"body": "Another color?"}), {"text": "Another color?"}),
    "text about a product": (
        message(
            "text",
            {"body": "This?"},
            context={"id": "wamid.1", "referred_product": {"catalog_id": "1"}},
        ),
        {"text": "This?"},
    ),
    "text from an ad": (
        message("text", {"body": "More?"}, referral={"source_id": "5", "ctwa_clid": "x"}),
        {"text": "More?"},
    ),
    "forwarded": (
        message("text", {"body": "Look"}, context={"frequently_forwarded": True}),
        {"text": "Look"},
    ),
    "image": (message("image", {**MEDIA, "caption": "Taj Mahal"}), {"text": "Taj Mahal"}),
    "image without caption": (message("image", MEDIA), {}),
    "video": (message("video", {**MEDIA, "caption": "Look"}), {"text": "Look"}),
    "document": (
        message("document", {**MEDIA, "caption": "Bill", "filename": "bill.pdf"}),
        {"text": "Bill"},
    ),
    "audio": (message("audio", {**MEDIA, "voice": True}), {}),
    "sticker": (message("sticker", {**MEDIA, "animated": False}), {}),
    "location": (message("location", {"latitude": 37.44, "longitude": -122.16, "name": "Bar"}), {}),
    "contacts": (message("contacts", [{"name": {"formatted_name": "Barbara"}}]), {}),
    "button of a template": (
        message("button", {"payload": "STOP", "text": "Unsubscribe"}, context={"id": "wamid.1"}),
        {"kind": "payload", "text": "Unsubscribe", "payload": "STOP"},
    ),
    "reply button": (
        pressed("button_reply", id="cancel", title="Cancel"),
        {"kind": "payload", "text": "Cancel", "payload": "cancel"},
    ),
    "row of a list": (
        pressed("list_reply", id="express", title="Express", description="Next day"),
        {"kind": "payload", "text": "Express", "payload": "express"},
    ),
    "flow": (
        pressed("nfm_reply", response_json='{"flow_token":"5"}', body="Sent", name="flow"),
        {"kind": "payload", "payload": '{"flow_token":"5"}'},
    ),
    "call permission": (
        pressed("call_permission_reply", response="accept", response_source="user_action"),
        {"kind": "interactive"},
    ),
    "interactive that could not be read": (message("interactive"), {"kind": "interactive"}),
    "reaction": (
        message("reaction", {"message_id": "wamid.1", "emoji": "👍"}),
        {"kind": "reaction"},
    ),
    "reaction taken back": (message("reaction", {"message_id": "wamid.1"}), {"kind": "reaction"}),
    "order": (
        message("order", {"catalog_id": "1", "text": "Soon, please", "product_items": []}),
        {"kind": "order", "text": "Soon, please"},
    ),
    "order without words": (message("order", {"catalog_id": "1", "text": ""}), {"kind": "order"}),
    "edit": (
        message(
            "edit",
            {"original_message_id": "wamid.1", "message": {"type": "text", "text": {"body": "Hi"}}},
        ),
        {"kind": "edit", "text": "Hi"},
    ),
    "edit of a caption": (
        message(
            "edit",
            {
                "original_message_id": "wamid.1",
                "message": {"type": "image", "image": {**MEDIA, "caption": "A"}},
            },
        ),
        {"kind": "edit", "text": "A"},
    ),
    "revoke": (message("revoke", {"original_message_id": "wamid.1"}), {"kind": "revoke"}),
    "request_welcome": (message("request_welcome"), {"kind": "request_welcome"}),
    "unsupported": (
        message("unsupported", {"type": "poll"}, errors=[{"code": 131051}]),
        {"kind": "unsupported"},
    ),
    "type that nobody knows yet": (message("telepathy", {"body": "…"}), {"kind": "telepathy"}),
    "type that is missing": (
        {key: each for key, each in message("text").items() if key != "type"},
        {"kind": "unknown"},
    ),
}


def check(event: Event, expected: dict[str, Any]) -> None:
    told = {
        "channel": "whatsapp",
        "kind": "message",
        "text": None,
        "payload": None,
        "user": SHEENA,
        "conversation": None,
        "thread": None,
        "address": f"{NUMBER}/{PHONE}",
    }
    for name, each in {**told, **expected}.items():
        assert (name, each) == (name, getattr(event, name))


@pytest.mark.parametrize("content", MESSAGES)
def test_each_type_of_message_is_an_event(content: str) -> None:
    told, expected = MESSAGES[content]
    event = said(told)
    check(event, {"id": WAMID, **expected})
    assert event.raw == value(messages=[told])


@pytest.mark.parametrize(
    "told",
    [
        status("sent", pricing={"billable": True, "pricing_model": "PMP", "category": "service"}),
        status("delivered"),
        status("read"),
        status("played"),
        status("failed", errors=[{"code": 131047, "title": "Re-engagement message"}]),
    ],
    ids=lambda told: told["status"],
)
def test_what_becomes_of_a_message_is_an_event_of_who_gets_it(told: dict[str, Any]) -> None:
    event = parsed("messages", value(statuses=[told]))
    check(event, {"kind": "status", "id": f"{WAMID}:{told['status']}"})
    assert event.raw["statuses"] == [told]


def test_a_status_without_contacts_is_the_same_persons() -> None:
    told = {"messaging_product": "whatsapp", "metadata": METADATA, "statuses": [status("read")]}
    check(parsed("messages", told), {"kind": "status", "user": User(OWN)})


def test_a_system_message_is_whose_number_has_changed() -> None:
    told = {"body": "Sheena changed", "wa_id": "12195555358", "type": "user_changed_number"}
    without = {key: each for key, each in value().items() if key != "contacts"}
    event = parsed("messages", {**without, "messages": [message("system", told)]})
    check(event, {"kind": "system", "id": WAMID, "user": User(OWN)})


def test_errors_are_an_event_of_the_number() -> None:
    errors = [{"code": 130429, "title": "Rate limit hit"}]
    event = parsed("messages", {"metadata": METADATA, "errors": errors})
    nobody = {"user": None, "conversation": f"number:{NUMBER}", "address": None}
    check(event, {"kind": "errors", **nobody})


# Other fields.

ECHO = {
    "from": "15550783881",
    "to": PHONE,
    "to_user_id": OWN,
    "id": WAMID,
    "timestamp": "1700255121",
    "type": "text",
    "text": {"body": "Here's the info you requested!"},
}
CALL = {"id": "wacid.1", "timestamp": "1671644824", "from": PHONE, "to": "15550783881"}

OF_PEOPLE: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "smb_message_echoes": ("smb_message_echoes", {"message_echoes": [ECHO]}, {"id": WAMID}),
    "message_echoes": ("message_echoes", {"message_echoes": [ECHO]}, {"id": WAMID}),
    "standby": ("standby", {"messages": [message("text", {"body": "Hi"})]}, {"id": WAMID}),
    "standby, an echo": ("standby", {"message_echoes": [ECHO]}, {"id": WAMID}),
    "standby, a status": ("standby", {"statuses": [status("read")]}, {"id": f"{WAMID}:read"}),
    "calls, by somebody": (
        "calls",
        {"calls": [{**CALL, "event": "connect", "direction": "USER_INITIATED"}]},
        {"id": "wacid.1:connect"},
    ),
    "calls, by the business": (
        "calls",
        {
            "calls": [
                {
                    **CALL,
                    "from": "15550783881",
                    "to": PHONE,
                    "event": "terminate",
                    "direction": "BUSINESS_INITIATED",
                    "status": "COMPLETED",
                }
            ]
        },
        {"id": "wacid.1:COMPLETED:terminate"},
    ),
    "calls, ringing": (
        "calls",
        {"statuses": [{**status("RINGING"), "id": "wacid.1", "type": "call"}]},
        {"id": "wacid.1:RINGING"},
    ),
    "user_preferences": (
        "user_preferences",
        {
            "user_preferences": [
                {
                    "wa_id": PHONE,
                    "category": "marketing_messages",
                    "value": "stop",
                    "timestamp": 1731705721,
                }
            ]
        },
        {},
    ),
    "user_id_update": (
        "user_id_update",
        {"user_id_update": [{"wa_id": PHONE, "user_id": OWN, "timestamp": "1731705721"}]},
        {},
    ),
}


@pytest.mark.parametrize("name", OF_PEOPLE)
def test_what_is_about_a_person_is_theirs_and_says_nothing_to_the_bot(name: str) -> None:
    field, lists, expected = OF_PEOPLE[name]
    event = parsed(field, value(**lists))
    check(event, {"kind": field, **expected})
    assert event.id
    assert event.raw == value(**lists)


OF_ACCOUNTS: dict[str, Any] = {
    "account_alerts": {"entity_type": "PHONE_NUMBER", "alert_info": {}},
    "account_review_update": {"decision": "APPROVED"},
    "account_settings_update": {"type": "phone_number_settings"},
    "account_update": {"event": "ACCOUNT_VIOLATION", "violation_info": {"violation_type": "ADULT"}},
    "automatic_events": {"messaging_product": "whatsapp"},
    "business_capability_update": {"max_daily_conversation_per_phone": 2000},
    "business_status_update": {"business_id": "1", "event": "COMPROMISED_NOTIFICATION"},
    "flows": {"event": "FLOW_STATUS_CHANGE", "flow_id": "1", "message": "…"},
    "message_template_components_update": {"message_template_id": 1},
    "message_template_quality_update": {"new_quality_score": "YELLOW", "message_template_id": 1},
    "message_template_status_update": {"event": "APPROVED", "message_template_id": 1},
    "partner_solutions": {"event": "SOLUTION_CREATED", "solution_id": "1"},
    "payment_configuration_update": {"configuration_name": "x", "provider_name": "y"},
    "phone_number_name_update": {"display_phone_number": "1", "decision": "APPROVED"},
    "phone_number_quality_update": {"display_phone_number": "1", "event": "ONBOARDING"},
    "security": {"display_phone_number": "1", "event": "PIN_CHANGED"},
    "template_category_update": {"message_template_id": 1, "new_category": "MARKETING"},
    "telepathy": {"nobody": "knows it yet"},
}


@pytest.mark.parametrize("field", OF_ACCOUNTS)
def test_what_is_about_no_person_is_an_event_of_the_account(field: str) -> None:
    event = parsed(field, OF_ACCOUNTS[field])
    account = f"account:{ACCOUNT}"
    check(event, {"kind": field, "user": None, "conversation": account, "address": None})
    assert event.id
    assert event.raw == OF_ACCOUNTS[field]


@pytest.mark.parametrize(
    ("field", "told"),
    [
        ("history", {"history": [{"metadata": {"phase": 0}, "threads": [{"id": PHONE}]}]}),
        ("smb_app_state_sync", {"state_sync": [{"type": "contact", "action": "add"}]}),
        ("consumer_profile", {}),
        ("messaging_handovers", {"messaging_handovers": [{"type": "take"}]}),
    ],
    ids=lambda given: given if isinstance(given, str) else "",
)
def test_what_is_about_a_number_alone_is_an_event_of_the_number(field: str, told: Any) -> None:
    event = parsed(field, {"messaging_product": "whatsapp", "metadata": METADATA, **told})
    number = f"number:{NUMBER}"
    check(event, {"kind": field, "user": None, "conversation": number, "address": None})


# Groups.


def test_what_is_said_in_a_group_is_answered_there() -> None:
    event = said(message("text", {"body": "Hi"}, group_id=GROUP))
    check(event, {"text": "Hi", "conversation": GROUP, "address": f"{NUMBER}//{GROUP}"})


def test_a_status_in_a_group_is_one_for_each_member() -> None:
    to_group = {"recipient_type": "group", "recipient_id": GROUP, "recipient_user_id": None}
    both = [status("read", **to_group, recipient_participant_user_id=f"US.{n}") for n in (1, 2)]
    first, second = channel.events(request(change("messages", value(statuses=both))))
    assert first.id != second.id
    assert (first.conversation, first.address) == (GROUP, f"{NUMBER}//{GROUP}")
    alone = parsed("messages", {"metadata": METADATA, "statuses": [status("sent", **to_group)]})
    check(
        alone,
        {
            "kind": "status",
            "user": None,
            "conversation": GROUP,
            "address": f"{NUMBER}//{GROUP}",
        },
    )


@pytest.mark.parametrize(
    "field",
    [
        "group_lifecycle_update",
        "group_participants_update",
        "group_settings_update",
        "group_status_update",
    ],
)
def test_what_happens_to_a_group_is_the_groups(field: str) -> None:
    groups = [{"group_id": GROUP, "type": "group_create", "timestamp": 1}]
    event = parsed(field, {"metadata": METADATA, "groups": groups})
    group = {"user": None, "conversation": GROUP, "address": f"{NUMBER}//{GROUP}"}
    check(event, {"kind": field, **group})


# By what people are known.


def test_who_hides_the_phone_number_is_known_and_answered_by_the_user_id() -> None:
    told = {key: each for key, each in message("text", {"body": "Hi"}).items() if key != "from"}
    hidden = [{"profile": {"username": "@sheena"}, "user_id": OWN}]
    event = parsed("messages", {**value(messages=[told]), "contacts": hidden})
    check(event, {"text": "Hi", "user": User(OWN, "@sheena"), "address": f"{NUMBER}/{OWN}"})


def test_who_has_no_user_id_is_known_by_the_phone_number() -> None:
    told = message("text", {"body": "Hi"})
    del told["from_user_id"]
    contacts = [{"profile": {"name": "Sheena Nelson"}, "wa_id": PHONE}]
    event = parsed("messages", {**value(messages=[told]), "contacts": contacts})
    check(event, {"text": "Hi", "user": User(PHONE, "Sheena Nelson")})


def test_the_user_id_beside_the_phone_number_is_taken() -> None:
    told = message("text", {"body": "Hi"})
    del told["from_user_id"]
    check(said(told), {"text": "Hi"})


def test_sessions_may_go_by_phone_numbers() -> None:
    by_phone = WhatsAppChannel(
        "a-token",
        phone_number_id=NUMBER,
        app_secret="a-secret",  # noqa: S106 - it opens nothing
        identify_by="phone",
    )
    told = value(messages=[message("text", {"body": "Hi"})], statuses=[status("read")])
    events = by_phone.events(request(change("messages", told)))
    assert [event.user for event in events] == [User(PHONE, "Sheena Nelson")] * 2


def test_each_of_several_people_has_their_own_name() -> None:
    contacts = [*CONTACTS, {"profile": {"name": "Tim"}, "wa_id": "2", "user_id": "US.2"}]
    messages = [
        message("text", {"body": "Hi"}),
        {**message("text", {"body": "Ho"}), "from": "2", "from_user_id": "US.2", "id": "wamid.2"},
    ]
    told = {**value(messages=messages), "contacts": contacts}
    first, second = channel.events(request(change("messages", told)))
    assert (first.user, second.user) == (SHEENA, User("US.2", "Tim"))
    assert first.raw["messages"] == messages[:1]


def test_nobody_is_taken_for_the_only_one_of_several_people_who_is_a_contact() -> None:
    messages = [
        message("text", {"body": "Hi"}),
        {"from": "2", "id": "wamid.2", "type": "text", "text": {"body": "Ho"}},
    ]
    first, second = channel.events(request(change("messages", value(messages=messages))))
    assert (first.user, second.user) == (SHEENA, User("2", None))
    assert second.address == f"{NUMBER}/2"


def test_a_request_may_hold_many_events_of_many_numbers_in_order() -> None:
    told = change("messages", value(messages=[message("text", {"body": "one"})]))
    other = value(messages=[message("text", {"body": "two"})], statuses=[status("read")])
    other["metadata"] = {"phone_number_id": "7"}
    told["entry"][0]["changes"].append({"field": "messages", "value": other})
    told["entry"].append({"id": "5", "changes": [{"field": "security", "value": {}}]})
    events = channel.events(request(told))
    assert [event.kind for event in events] == ["message", "message", "status", "security"]
    assert [event.address for event in events][:2] == [f"{NUMBER}/{PHONE}", f"7/{PHONE}"]


# What Meta never sends.


@pytest.mark.parametrize("bad", [None, 5, [], "x", {}, {"entry": None}, {"entry": {}}], ids=repr)
def test_what_is_no_webhook_is_refused(bad: Any) -> None:
    with pytest.raises(WebhookMalformed, match="no entries"):
        channel.events(request(bad))


@pytest.mark.parametrize("field", ["messages", "standby", "calls", "group_lifecycle_update"])
def test_whatever_part_is_of_another_type_nothing_breaks(field: str) -> None:
    bots = [Bot(scope=scope) for scope in SCOPES]
    lists = value(
        messages=[
            message("text", {"body": "Hi"}, group_id=GROUP),
            pressed("button_reply", id="cancel", title="Cancel"),
            MESSAGES["edit"][0],
        ],
        statuses=[status("read", recipient_type="group")],
        message_echoes=[ECHO],
        calls=[CALL],
        groups=[{"group_id": GROUP}],
        errors=[{"code": 1}],
    )
    for changed in mutated(change(field, lists)):
        try:
            events = channel.events(request(changed))
        except (WebhookMalformed, InvalidEvent):
            continue
        for event in events:
            assert event.id
            assert all(bot.session_id(event) for bot in bots)


@pytest.mark.parametrize("scope", SCOPES)
def test_every_scope_finds_a_session_for_each_kind(scope: Any) -> None:
    bot = Bot(scope=scope)
    events = [said(told) for told, _ in MESSAGES.values()]
    events += [parsed(field, value(**lists)) for field, lists, _ in OF_PEOPLE.values()]
    events += [parsed(field, told) for field, told in OF_ACCOUNTS.items()]
    for event in events:
        assert bot.session_id(event).startswith("whatsapp:")
