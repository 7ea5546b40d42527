"""What Viber tells of, in barback's words: https://creators.viber.com/docs/bots-api/events/.

Each kind has its page there, such as conversation-started and message-seen. A callback of a kind
that comes later is an event all the same: whom it is about is looked for where Viber has it in
every kind.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from barback.channels.answer import AnsweredEvent
from barback.channels.fields import Json, number_in, object_in, text_in
from barback.channels.viber.place import Place
from barback.errors import WebhookMalformed
from barback.events import MESSAGE, Event, User

__all__ = ["STARTED", "event_of"]

STARTED: Final = "conversation_started"
WEBHOOK: Final = "webhook"
NOBODYS: Final = "bot"
"""The conversation of what is about no person and no chat."""


def event_of(callback: Any, *, channel: str) -> Event | None:
    """The event that a callback is; None for the one by which Viber tries a new webhook.

    Who opened the conversation and has not subscribed can be told one thing, in the answer to the
    request: that is an `AnsweredEvent`.

    Raises `WebhookMalformed`.
    """
    kind = text_in(callback, "event") if isinstance(callback, dict) else None
    if not kind:
        reason = "What came is no callback of Viber's: it has no event."
        raise WebhookMalformed(reason)
    if kind == WEBHOOK:
        return None
    message = object_in(callback, "message") if kind == MESSAGE else {}
    text, payload = _said(message), text_in(callback, "context") if kind == STARTED else None
    # A press of a button whose Silent is set, which is shown to nobody: nothing else is silent.
    if callback.get("silent") is True and text is not None:
        kind, text, payload = "payload", None, text
    user, chat = _user(callback), _id(callback, "chat_id")
    event = Event(
        channel=channel,
        id=_id(callback, "message_token"),
        kind=kind,
        text=text,
        payload=payload,
        user=user,
        conversation=NOBODYS if user is None and chat is None else chat,
        address=None if user is None else str(Place(user.id, chat)),
        raw=callback,
    )
    if kind == STARTED and callback.get("subscribed") is not True:
        return AnsweredEvent(**msgspec.structs.asdict(event))
    return event


def _said(message: Json) -> str | None:
    """A text, or what is said to a picture; a link is a message of its own kind."""
    return text_in(message, "text", *(["media"] if message.get("type") == "url" else []))


def _user(callback: Json) -> User | None:
    """Who did it, or whom it is about."""
    person = object_in(callback, "sender") or object_in(callback, "user")
    own = text_in(person, "id") or text_in(callback, "user_id")
    return User(own, text_in(person, "name") or None) if own else None


def _id(callback: Json, name: str) -> str | None:
    """An id that is a number, or was one before somebody wrote it as text."""
    return number_in(callback, name) or text_in(callback, name) or None
