"""What Telegram tells of, in barback's words: https://core.telegram.org/bots/api#update.

As of Bot API 10.3. An update of a kind that comes later is an event all the same: whom and what it
is about is looked for where Telegram has it in every kind.
"""

from __future__ import annotations

from typing import Any, Final

from barback.channels.fields import Json, number_in, object_in, text_in
from barback.channels.telegram.place import BUSINESS, TOPIC, Place
from barback.errors import WebhookMalformed
from barback.events import MESSAGE, Event, User

__all__ = ["KINDS", "event_of"]

MESSAGES: Final = frozenset(
    {
        "message",
        "edited_message",
        "channel_post",
        "edited_channel_post",
        "business_message",
        "edited_business_message",
        "guest_message",
    }
)
"""Kinds that are a Message: https://core.telegram.org/bots/api#message."""

KINDS: Final = (
    *sorted(MESSAGES),
    "business_connection",
    "callback_query",
    "chat_boost",
    "chat_join_request",
    "chat_member",
    "chosen_inline_result",
    "deleted_business_messages",
    "inline_query",
    "managed_bot",
    "message_reaction",
    "message_reaction_count",
    "my_chat_member",
    "poll",
    "poll_answer",
    "pre_checkout_query",
    "purchased_paid_media",
    "removed_chat_boost",
    "shipping_query",
    "stopped_message_generation",
    "subscription",
)
"""All kinds of updates. Telegram leaves some out unless it is asked for them by name."""

TEXTS: Final = ("text", "caption", "query")
PAYLOADS: Final = ("data", "game_short_name", "invoice_payload", "paid_media_payload", "result_id")
KNOWN_AS: Final = {"message": MESSAGE, "callback_query": "payload"}
"""Kinds of which barback has a word of its own."""

NOBODYS: Final = "bot"
"""The conversation of what is about no person and no chat."""

GUEST: Final = "guest_message"
"""What is said to the bot in a chat that it is not in, such as one of two other people.

Such a chat may have the number of a chat that the bot has with somebody, and is not that; and what
is said there goes by `answerGuestQuery` alone: https://core.telegram.org/bots/api#answerguestquery.
"""
JOINING: Final = "chat_join_request"
"""What somebody asks who is in no group yet: it is a matter of theirs and the bot's."""


def event_of(update: Any, *, channel: str, own_id: str = "") -> Event | None:
    """The event that an update is; None for what the bot with the id `own_id` has done itself.

    Raises `WebhookMalformed`.
    """
    if not isinstance(update, dict) or type(update.get("update_id")) is not int:
        reason = "What came is no update of Telegram's: it has no update_id."
        raise WebhookMalformed(reason)
    kind = next((name for name in update if name != "update_id"), "update")
    told = update.get(kind)
    if not isinstance(told, dict):
        told = {}
    if kind in MESSAGES and _is_echo(told, own_id):
        return None
    message = object_in(told, "message") if kind == "callback_query" else told
    chat = object_in(message, "chat")
    business = message.get("business_connection_id")
    business = business if isinstance(business, str) else None
    user = _user(told, chat)
    topic = number_in(object_in(message, "direct_messages_topic"), "topic_id") or None
    conversation = None if kind == JOINING else _conversation(chat, business, topic)
    if kind == GUEST:
        conversation = f"guest:{number_in(chat, 'id')}"
    if user is None and conversation is None:
        conversation = f"poll:{told.get('id')}" if kind == "poll" else NOBODYS
    thread = _thread(message, in_message=kind in MESSAGES or kind == "callback_query")
    return Event(
        channel=channel,
        id=str(update["update_id"]),
        kind=KNOWN_AS.get(kind, kind),
        text=text_in(told, *TEXTS),
        payload=_payload(told),
        user=user,
        conversation=conversation,
        thread=thread,
        address=None
        if kind == GUEST
        else _address(told, chat, user, thread=thread, business=business, topic=topic),
        raw=update,
    )


def _is_echo(message: Json, own_id: str) -> bool:
    """Whether a message is the bot's own, as those are that it sends for a business."""
    by_bot = object_in(message, "sender_business_bot") or object_in(message, "from")
    return own_id != "" and number_in(by_bot, "id") == own_id


def _user(told: Json, chat: Json) -> User | None:
    """Who did it. Who writes as a chat, such as an anonymous administrator, is that chat."""
    as_chat = object_in(told, "sender_chat") or object_in(told, "actor_chat")
    if as_chat and chat.get("type") != "channel":
        return _named(as_chat)
    source = object_in(object_in(told, "boost") or told, "source")
    for where, name in (
        (told, "from"),
        (told, "user"),
        (told, "voter_chat"),
        (source, "user"),
    ):
        if person := object_in(where, name):
            return _named(person)
    return _named(chat) if chat.get("type") == "private" else None


def _conversation(chat: Json, business: str | None, topic: str | None) -> str | None:
    """The group; for a business, the chat in which the bot speaks on its behalf.

    A channel's direct messages are one chat, in which each person has a topic: a talk of its own.
    """
    if business is not None and number_in(chat, "id"):
        return f"{business}{BUSINESS}{number_in(chat, 'id')}"
    if topic is not None and number_in(chat, "id"):
        return f"{number_in(chat, 'id')}{TOPIC}{topic}"
    return None if chat.get("type") == "private" else number_in(chat, "id") or None


def _thread(of: Json, *, in_message: bool) -> str | None:
    """The topic. A message that answers another has a thread too, which is no topic."""
    thread = of.get("message_thread_id")
    is_topic = of.get("is_topic_message") is True or not in_message
    return str(thread) if type(thread) is int and is_topic else None


def _address(  # noqa: PLR0913 - the parts of a place
    told: Json,
    chat: Json,
    user: User | None,
    *,
    thread: str | None,
    business: str | None,
    topic: str | None,
) -> str | None:
    """Where replies go: the chat, or else the person, who must have spoken to the bot before."""
    private = told.get("user_chat_id")  # of who asks to join, or has connected a business
    if type(private) is int:
        return str(Place(str(private)))
    if not number_in(chat, "id"):
        return None if user is None else str(Place(user.id))
    return str(Place(number_in(chat, "id"), thread, business, topic))


def _payload(told: Json) -> str | None:
    """What a button carries: of the bot's own, of an invoice, of a web app."""
    paid, app = object_in(told, "successful_payment"), object_in(told, "web_app_data")
    for part in (told, paid, app):
        if (found := text_in(part, *PAYLOADS)) is not None:
            return found
    return None


def _named(person: Json) -> User | None:
    own = number_in(person, "id")
    if not own:
        return None
    parts = (person.get("first_name"), person.get("last_name"))
    name = " ".join(part for part in parts if isinstance(part, str) and part)
    title = person.get("title")
    return User(own, name or (title if isinstance(title, str) else None))
