"""What LINE tells of, in barback's words.

Sources: https://developers.line.biz/en/reference/messaging-api/#webhook-event-objects, for module
channels https://developers.line.biz/en/reference/partner-docs/#module-channel-specific-webhook-events,
and `webhook.yml` of https://github.com/line/line-openapi. An event of a kind that comes later is an
event all the same: whom it is about stands at the same place in each.
"""

from __future__ import annotations

from typing import Any, Final

from barback.channels.fields import Json, object_in, text_in
from barback.channels.unfit import made
from barback.errors import WebhookMalformed
from barback.events import MESSAGE, Event, User

__all__ = ["KINDS", "STANDBY", "events_of", "is_on_standby"]

KINDS: Final = (
    "accountLink",
    "activated",
    "beacon",
    "botResumed",
    "botSuspended",
    "deactivated",
    "delivery",
    "follow",
    "join",
    "leave",
    "memberJoined",
    "memberLeft",
    "membership",
    "message",
    "messageEdited",
    "module",
    "postback",
    "unfollow",
    "unsend",
    "videoPlayComplete",
)
"""All kinds of events."""

KNOWN_AS: Final = {"message": MESSAGE, "postback": "payload"}
"""Kinds of which barback has a word of its own."""

STANDBY: Final = "standby"
"""The mode of events while another channel of the account, as of a help desk, has the chat; and the
kind of what a person says or presses then, which is not said to the bot."""

SAID: Final = frozenset({"message", "messageEdited", "postback"})

NOBODYS: Final = "bot"
"""The conversation of what is about no person and no chat."""


def events_of(webhook: Any, *, channel: str) -> list[Event]:
    """The events in what LINE posts to a webhook: many, or none.

    Raises `WebhookMalformed`.
    """
    events = webhook.get("events") if isinstance(webhook, dict) else None
    if not isinstance(events, list) or not all(isinstance(told, dict) for told in events):
        reason = "What came is no webhook of LINE's: it has no list of events."
        raise WebhookMalformed(reason)
    return [made(channel, _event_of, told, channel) for told in events]


def is_on_standby(event: Event) -> bool:
    """Whether another channel of the account has the chat, so that the bot is to be silent."""
    return isinstance(event.raw, dict) and event.raw.get("mode") == STANDBY


def _event_of(told: Json, channel: str) -> Event:
    kind = text_in(told, "type") or "event"
    source = object_in(told, "source")
    user = text_in(source, "userId") or None
    conversation = text_in(source, "groupId", "roomId") or None
    address = conversation or user
    if address is None:
        conversation = NOBODYS
    text = text_in(object_in(told, "message"), "text")
    payload = text_in(object_in(told, "postback"), "data")
    if kind in SAID and told.get("mode") == STANDBY:
        kind, text, payload = STANDBY, None, None
    return Event(
        channel=channel,
        id=text_in(told, "webhookEventId") or None,
        kind=KNOWN_AS.get(kind, kind),
        text=text,
        payload=payload,
        user=None if user is None else User(user),
        conversation=conversation,
        address=address,
        raw=told,
    )
