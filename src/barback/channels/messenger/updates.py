"""What Messenger tells of, in barback's words.

https://developers.facebook.com/documentation/business-messaging/messenger-platform/webhooks/webhook-events
is the list of it. What comes later, of whatever kind, is an event all the same: who and what it is
about stands in the same place in all of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from barback.channels.fields import Json, object_in, objects_in, text_in
from barback.channels.messenger.place import Place
from barback.channels.meta.channel import digest_of
from barback.channels.unfit import made
from barback.events import MESSAGE, Event, User

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["ECHO", "KINDS", "PAYLOAD", "STANDBY", "events_of"]

PAYLOAD: Final = "payload"
ECHO: Final = "message_echoes"
STANDBY: Final = "standby"

KNOWN_AS: Final = {
    "message": MESSAGE,
    "postback": PAYLOAD,
    "policy-enforcement": "policy_enforcement",
}
"""Parts of which barback, or the documentation, has another word."""

KINDS: Final[tuple[str, ...]] = (
    "message",
    "postback",
    "account_linking",
    "app_roles",
    "delivery",
    "game_play",
    "message_edit",
    "messaging_customer_information",
    "messaging_feedback",
    "optin",
    "order",
    "pass_thread_control",
    "policy_enforcement",
    "policy-enforcement",
    "reaction",
    "read",
    "referral",
    "request_thread_control",
    "response_feedback",
    "take_thread_control",
)
"""The parts by which one kind is told from another."""

ENVELOPE: Final = frozenset({"sender", "recipient", "timestamp", "hop_context", "prior_message"})
PAYLOADS: Final = ("payload", "ref")


def events_of(entry: Json, *, channel: str, app_id: str | None = None) -> Iterator[Event]:
    """The events of an entry; what the app `app_id`, or an unknown one, has said is left out."""
    page = _id(entry.get("id")) or "page"
    for told in objects_in(entry, "messaging"):
        if not _is_own(told, app_id):
            yield made(channel, _event_of, told, channel=channel, page=page)
    for told in objects_in(entry, "standby"):
        if not _is_own(told, app_id):
            yield made(channel, _event_of, told, channel=channel, page=page, standby=True)
    for change in objects_in(entry, "changes"):
        yield made(channel, _change_of, change, channel=channel, page=page)


def _event_of(told: Json, *, channel: str, page: str, standby: bool = False) -> Event:
    names = [each for each in KINDS if each in told]
    names += [each for each in told if each not in ENVELOPE]
    name = names[0] if names else "messaging"
    part = object_in(told, name)
    kind, text, payload = STANDBY, None, None  # in standby, nothing is said to the bot
    if not standby:
        kind, text, payload = _kind_of(name, part)
    person = _person_of(told, page)
    return Event(
        channel=channel,
        id=(kind in {MESSAGE, PAYLOAD} and text_in(part, "mid")) or digest_of(told),
        kind=kind,
        text=text,
        payload=payload,
        user=None if person is None else User(person),
        conversation=_nobodys(page) if person is None else None,
        address=None if person is None else str(Place(page, person)),
        raw=told,
    )


def _kind_of(name: str, part: Json) -> tuple[str, str | None, str | None]:
    """The kind, the text and the payload."""
    if name == "message" and part.get("is_echo") is True:
        return ECHO, None, None  # somebody else has said it for the page
    if name == "message":
        pressed = text_in(object_in(part, "quick_reply"), "payload")
        return MESSAGE if pressed is None else PAYLOAD, text_in(part, "text"), pressed
    text = text_in(part, "title" if name == "postback" else "text")
    return KNOWN_AS.get(name, name), text, text_in(part, *PAYLOADS)


def _change_of(change: Json, *, channel: str, page: str) -> Event:
    """What happened on the page itself, such as a comment; who did it has another id there."""
    return Event(
        channel=channel,
        id=digest_of(change),
        kind=text_in(change, "field") or "changes",
        conversation=_nobodys(page),
        raw=change,
    )


def _is_own(told: Json, app_id: str | None) -> bool:
    """Whether the bot has said it; whoever did, if nobody knows which app the bot is."""
    message = object_in(told, "message")
    return message.get("is_echo") is True and app_id in {None, _id(message.get("app_id"))}


def _person_of(told: Json, page: str) -> str | None:
    """Who did it, or to whom the page did."""
    for side in ("sender", "recipient"):
        found = _id(object_in(told, side).get("id"))
        if found is not None and found != page:
            return found
    return None


def _id(found: Any) -> str | None:
    if isinstance(found, str):
        return found or None
    return str(found) if type(found) is int else None


def _nobodys(page: str) -> str:
    """The conversation of what is about no person."""
    return f"page:{page}"
