"""Every kind of update that Telegram's documentation has, in barback's words.

The payloads are made by hand after https://core.telegram.org/bots/api, as of Bot API 10.3.
"""

from __future__ import annotations

from typing import Any

import pytest

from barback import Bot, Event, TelegramChannel, User, WebhookMalformed
from barback.channels.telegram.updates import KINDS, event_of

TIM = {"id": 42, "is_bot": False, "first_name": "Tim", "last_name": "Smith", "username": "tim"}
PRIVATE = {"id": 42, "type": "private", "first_name": "Tim"}
GROUP = {"id": -100, "type": "supergroup", "title": "Bar", "is_forum": True}
CHANNEL = {"id": -200, "type": "channel", "title": "News"}
BOT = {"id": 123456, "is_bot": True, "first_name": "Bot"}
MESSAGE = {"message_id": 1, "date": 1, "from": TIM, "chat": PRIVATE, "text": "Hi"}
IN_GROUP = {"message_id": 1, "date": 1, "from": TIM, "chat": GROUP, "text": "Hi"}
POST = {"message_id": 1, "date": 1, "sender_chat": CHANNEL, "chat": CHANNEL, "text": "News"}
BUSINESS = {**MESSAGE, "business_connection_id": "abc"}
MEMBER = {"user": TIM, "status": "member"}
USER = User("42", "Tim Smith")

UPDATES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "message": (MESSAGE, {"kind": "message", "text": "Hi", "user": USER, "address": "42"}),
    "edited_message": (MESSAGE, {"text": "Hi", "user": USER, "address": "42"}),
    "channel_post": (POST, {"text": "News", "conversation": "-200", "address": "-200"}),
    "edited_channel_post": (POST, {"text": "News", "conversation": "-200", "address": "-200"}),
    "business_connection": (
        {"id": "abc", "user": TIM, "user_chat_id": 43, "date": 1, "is_enabled": True},
        {"user": USER, "address": "43"},
    ),
    "business_message": (
        BUSINESS,
        {"text": "Hi", "user": USER, "conversation": "abc@42", "address": "42//abc"},
    ),
    "edited_business_message": (
        BUSINESS,
        {"text": "Hi", "user": USER, "conversation": "abc@42", "address": "42//abc"},
    ),
    "deleted_business_messages": (
        {"business_connection_id": "abc", "chat": PRIVATE, "message_ids": [1]},
        {"user": User("42", "Tim"), "conversation": "abc@42", "address": "42//abc"},
    ),
    "guest_message": (
        {**IN_GROUP, "guest_query_id": "7"},
        {"text": "Hi", "user": USER, "conversation": "guest:-100"},
    ),
    "message_reaction": (
        {
            "chat": GROUP,
            "message_id": 1,
            "user": TIM,
            "date": 1,
            "old_reaction": [],
            "new_reaction": [{"type": "emoji", "emoji": "👍"}],
        },
        {"user": USER, "conversation": "-100", "address": "-100"},
    ),
    "message_reaction_count": (
        {"chat": CHANNEL, "message_id": 1, "date": 1, "reactions": []},
        {"conversation": "-200", "address": "-200"},
    ),
    "inline_query": (
        {"id": "7", "from": TIM, "query": "tea", "offset": ""},
        {"text": "tea", "user": USER, "address": "42"},
    ),
    "chosen_inline_result": (
        {"result_id": "green", "from": TIM, "query": "tea"},
        {"text": "tea", "payload": "green", "user": USER, "address": "42"},
    ),
    "callback_query": (
        {"id": "7", "from": TIM, "message": {**IN_GROUP, "from": BOT}, "data": "yes"},
        {
            "kind": "payload",
            "payload": "yes",
            "user": USER,
            "conversation": "-100",
            "address": "-100",
        },
    ),
    "shipping_query": (
        {"id": "7", "from": TIM, "invoice_payload": "cart", "shipping_address": {}},
        {"payload": "cart", "user": USER, "address": "42"},
    ),
    "pre_checkout_query": (
        {"id": "7", "from": TIM, "invoice_payload": "cart", "currency": "EUR", "total_amount": 1},
        {"payload": "cart", "user": USER, "address": "42"},
    ),
    "purchased_paid_media": (
        {"from": TIM, "paid_media_payload": "film"},
        {"payload": "film", "user": USER, "address": "42"},
    ),
    "poll": ({"id": "7", "question": "Tea?", "options": []}, {"conversation": "poll:7"}),
    "poll_answer": (
        {"poll_id": "7", "user": TIM, "option_ids": [0]},
        {"user": USER, "address": "42"},
    ),
    "my_chat_member": (
        {
            "chat": PRIVATE,
            "from": TIM,
            "date": 1,
            "old_chat_member": MEMBER,
            "new_chat_member": {"user": BOT, "status": "kicked"},
        },
        {"user": USER, "address": "42"},
    ),
    "chat_member": (
        {
            "chat": GROUP,
            "from": TIM,
            "date": 1,
            "old_chat_member": MEMBER,
            "new_chat_member": MEMBER,
        },
        {"user": USER, "conversation": "-100", "address": "-100"},
    ),
    "chat_join_request": (
        {"chat": GROUP, "from": TIM, "user_chat_id": 44, "date": 1},
        {"user": USER, "address": "44"},
    ),
    "chat_boost": (
        {"chat": GROUP, "boost": {"boost_id": "b", "source": {"source": "premium", "user": TIM}}},
        {"user": USER, "conversation": "-100", "address": "-100"},
    ),
    "removed_chat_boost": (
        {"chat": GROUP, "boost_id": "b", "source": {"source": "premium", "user": TIM}},
        {"user": USER, "conversation": "-100", "address": "-100"},
    ),
    "managed_bot": ({"user": TIM, "bot": BOT}, {"user": USER, "address": "42"}),
    "subscription": (
        {"user": TIM, "invoice_payload": "month", "state": "canceled"},
        {"payload": "month", "user": USER, "address": "42"},
    ),
    "stopped_message_generation": (
        {"chat": PRIVATE, "message_thread_id": 5, "draft_id": 1},
        {"user": User("42", "Tim"), "thread": "5", "address": "42/5"},
    ),
}


def parsed(**kind: Any) -> Event:
    event = event_of({"update_id": 7, **kind}, channel="telegram", own_id="123456")
    assert event is not None
    return event


def test_every_kind_has_an_example() -> None:
    assert set(KINDS) == set(UPDATES)


@pytest.mark.parametrize("kind", UPDATES)
def test_each_kind_is_an_event(kind: str) -> None:
    told, expected = UPDATES[kind]
    event = parsed(**{kind: told})
    assert (event.channel, event.id) == ("telegram", "7")
    assert event.raw == {"update_id": 7, kind: told}
    nothing = dict.fromkeys(("text", "payload", "user", "conversation", "thread", "address"))
    for name, value in {**nothing, "kind": kind, **expected}.items():
        assert (name, value) == (name, getattr(event, name))


@pytest.mark.parametrize("scope", ["member", "conversation", "user", "thread"])
@pytest.mark.parametrize("kind", UPDATES)
def test_every_scope_finds_a_session_for_each_kind(kind: str, scope: Any) -> None:
    assert Bot(scope=scope).session_id(parsed(**{kind: UPDATES[kind][0]})).startswith("telegram:")


@pytest.mark.parametrize("scope", ["member", "conversation", "user", "thread"])
@pytest.mark.parametrize("told", [{"x": 1}, 5, None, []], ids=repr)
def test_a_kind_that_nobody_knows_yet_is_an_event_with_a_session(told: Any, scope: Any) -> None:
    event = parsed(telepathy=told)
    assert (event.kind, event.id) == ("telepathy", "7")
    assert Bot(scope=scope).session_id(event) == "telegram:bot/"


def test_a_kind_that_nobody_knows_yet_is_somebodys_where_it_says_so() -> None:
    event = parsed(telepathy={"from": TIM, "chat": GROUP})
    assert (event.user, event.conversation, event.address) == (USER, "-100", "-100")


def test_an_update_of_nothing_is_an_event() -> None:
    assert parsed().kind == "update"


CONTENTS: dict[str, tuple[dict[str, Any], str | None, str | None]] = {
    "text": ({"text": "Hi"}, "Hi", None),
    "command": ({"text": "/start 5", "entities": [{"type": "bot_command"}]}, "/start 5", None),
    "photo": ({"photo": [{"file_id": "x"}], "caption": "A cat"}, "A cat", None),
    "live photo": ({"live_photo": {}, "caption": "A cat"}, "A cat", None),
    "video": ({"video": {"file_id": "x"}}, None, None),
    "voice": ({"voice": {"file_id": "x"}}, None, None),
    "document": ({"document": {"file_id": "x"}, "caption": ""}, "", None),
    "sticker": ({"sticker": {"file_id": "x"}}, None, None),
    "location": ({"location": {"latitude": 1, "longitude": 2}}, None, None),
    "contact": ({"contact": {"phone_number": "1"}}, None, None),
    "dice": ({"dice": {"emoji": "🎲", "value": 1}}, None, None),
    "paid": ({"successful_payment": {"invoice_payload": "cart"}}, None, "cart"),
    "web app": ({"web_app_data": {"data": "[1]", "button_text": "Go"}}, None, "[1]"),
    "joined": ({"new_chat_members": [TIM]}, None, None),
    "left": ({"left_chat_member": TIM}, None, None),
    "topic": ({"forum_topic_created": {"name": "Tea"}}, None, None),
}


@pytest.mark.parametrize("content", CONTENTS)
def test_a_message_has_the_text_and_payload_of_what_is_in_it(content: str) -> None:
    fields, text, payload = CONTENTS[content]
    message = {key: value for key, value in MESSAGE.items() if key != "text"}
    event = parsed(message={**message, **fields})
    assert (text, payload) == (event.text, event.payload)


def test_a_topic_of_a_forum_is_a_thread() -> None:
    event = parsed(message={**IN_GROUP, "message_thread_id": 5, "is_topic_message": True})
    assert (event.thread, event.address) == ("5", "-100/5")


def test_an_answer_in_a_group_without_topics_is_no_thread() -> None:
    event = parsed(message={**IN_GROUP, "message_thread_id": 5})
    assert (event.thread, event.address) == (None, "-100")


def test_a_topic_of_a_channels_direct_messages_is_answered_there() -> None:
    topic = {"topic_id": 9, "user": TIM}
    event = parsed(message={**IN_GROUP, "direct_messages_topic": topic})
    assert (event.conversation, event.thread, event.address) == ("-100#9", None, "-100///9")


def test_a_button_in_a_channels_direct_messages_is_of_its_topic() -> None:
    under = {**IN_GROUP, "direct_messages_topic": {"topic_id": 9, "user": TIM}}
    event = parsed(callback_query={"id": "1", "from": TIM, "message": under, "data": "tea"})
    assert (event.conversation, event.address) == ("-100#9", "-100///9")


@pytest.mark.parametrize("key", ["-100#9/42", "-100#9/"])
def test_a_key_tells_the_topic_of_a_channels_direct_messages(key: str) -> None:
    assert TelegramChannel("1:a").address_of(key) == "-100///9"


def test_an_anonymous_administrator_is_the_group_and_nobody_else() -> None:
    anonymous = {"id": 1087968824, "is_bot": True, "first_name": "Group"}
    event = parsed(message={**IN_GROUP, "from": anonymous, "sender_chat": GROUP})
    assert event.user == User("-100", "Bar")


def test_somebody_who_votes_as_a_channel_is_that_channel() -> None:
    event = parsed(poll_answer={"poll_id": "7", "voter_chat": CHANNEL, "option_ids": []})
    assert event.user == User("-200", "News")


def test_a_button_under_an_inline_message_is_the_persons_own() -> None:
    event = parsed(callback_query={"id": "7", "from": TIM, "inline_message_id": "x", "data": "a"})
    assert (event.user, event.conversation, event.address) == (USER, None, "42")


def test_what_is_said_to_a_guest_is_of_another_chat_than_the_persons_own() -> None:
    # In a talk of two others, whose chat has the number of one of them.
    other = {"id": 43, "type": "private", "first_name": "Tom"}
    event = parsed(guest_message={**MESSAGE, "chat": other, "guest_query_id": "7"})
    assert (event.user, event.conversation, event.address) == (USER, "guest:43", None)
    assert Bot().session_id(event) == "telegram:guest:43/42"
    for scope in ("member", "conversation", "thread"):
        key = Bot(scope=scope).session_id(event).partition(":")[2]
        assert TelegramChannel("1:a").address_of(key) is None


@pytest.mark.parametrize("scope", ["member", "conversation", "user", "thread"])
def test_who_asks_to_join_leaves_the_groups_session_alone(scope: Any) -> None:
    event = parsed(chat_join_request=UPDATES["chat_join_request"][0])
    assert Bot(scope=scope).session_id(event) == "telegram:42"


@pytest.mark.parametrize("kind", ["message", "channel_post", "business_message"])
def test_what_the_bot_itself_has_said_is_no_event(kind: str) -> None:
    own = {"update_id": 7, kind: {**MESSAGE, "from": BOT}}
    assert event_of(own, channel="telegram", own_id="123456") is None


def test_what_the_bot_has_said_for_a_business_is_no_event() -> None:
    own = {"update_id": 7, "business_message": {**BUSINESS, "sender_business_bot": BOT}}
    assert event_of(own, channel="telegram", own_id="123456") is None


def test_what_another_bot_says_is_an_event() -> None:
    other = {"id": 5, "is_bot": True, "first_name": "Other"}
    assert parsed(message={**IN_GROUP, "from": other}).user == User("5", "Other")


@pytest.mark.parametrize("bad", [None, 5, [], "x", {}, {"update_id": "7"}, {"update_id": True}])
def test_what_is_no_update_is_refused(bad: Any) -> None:
    with pytest.raises(WebhookMalformed, match="no update"):
        event_of(bad, channel="telegram")


@pytest.mark.parametrize(
    "message",
    [
        {"chat": 5, "from": "x", "text": 7},
        {"chat": {"id": "x"}, "from": {"id": None}},
        {"chat": {}, "from": {}, "business_connection_id": 5, "message_thread_id": "x"},
    ],
)
def test_what_telegram_never_sends_inside_of_an_update_is_left_out(message: Any) -> None:
    event = parsed(message=message)
    assert (event.text, event.conversation, event.user) == (None, "bot", None)
