"""What WhatsApp tells of, in barback's words.

https://developers.facebook.com/documentation/business-messaging/whatsapp/webhooks/overview is the
list of it. What comes later, of whatever field or type, is an event all the same.

A person has an id of the business's own, `user_id`, and mostly a phone number, which may be missing
for who has a user name:
https://developers.facebook.com/documentation/business-messaging/whatsapp/business-scoped-user-ids.
So sessions go by the first, where it is told, and replies to the second, where it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import msgspec

from barback.channels.fields import Json, object_in, objects_in, text_in
from barback.channels.meta.channel import digest_of
from barback.channels.unfit import made
from barback.channels.whatsapp.place import Place
from barback.events import MESSAGE, Event, User

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["LISTS", "MESSAGES", "PAYLOAD", "STATUS", "IdentifyBy", "events_of"]

IdentifyBy = Literal["user_id", "phone"]
PAYLOAD: Final = "payload"
STATUS: Final = "status"

MESSAGES: Final = frozenset(
    {"text", "image", "audio", "video", "document", "sticker", "location", "contacts"}
)
"""Types of messages by which somebody says something."""

LISTS: Final = (
    "messages",
    "message_echoes",
    "statuses",
    "calls",
    "user_preferences",
    "user_id_update",
    "groups",
    "errors",
)
"""Where a change has a list, each of which is an event of its own."""

SENDERS: Final = (("from_user_id", "from"), ("to_user_id", "to"), ("user_id", "wa_id"))
RECIPIENTS: Final = (
    ("recipient_participant_user_id", "recipient_participant_id"),
    ("recipient_user_id", "recipient_id"),
)
PRESSED: Final = {"button_reply": "id", "list_reply": "id", "nfm_reply": "response_json"}
"""What an interactive message may be an answer to, and where its payload is."""


class Person(msgspec.Struct, frozen=True):
    """By what a person is known; None where it is not told."""

    user_id: str | None = None
    phone: str | None = None


def events_of(entry: Json, *, channel: str, identify_by: IdentifyBy = "user_id") -> Iterator[Event]:
    """The events of an entry."""
    account = text_in(entry, "id") or "whatsapp"
    for change in objects_in(entry, "changes"):
        field, value = text_in(change, "field") or "changes", object_in(change, "value")
        parts = [(name, part) for name in LISTS for part in objects_in(value, name)]
        if not parts:
            yield made(channel, _of_account, change, field, channel, account)
        for name, part in parts:
            # Of the lists, an event has only what it is about.
            raw = {key: each for key, each in value.items() if key not in LISTS} | {name: [part]}
            if _is_anothers(objects_in(value, "contacts"), part, parts):
                del raw["contacts"]
            yield made(channel, _event_of, field, name, part, raw, channel=channel, by=identify_by)


def _of_account(change: Json, field: str, channel: str, account: str) -> Event:
    """What is about no person, such as a template that was approved."""
    number = text_in(object_in(object_in(change, "value"), "metadata"), "phone_number_id")
    return Event(
        channel=channel,
        id=digest_of(change),
        kind=field,
        conversation=_nobodys(number, account),
        raw=object_in(change, "value"),
    )


def _event_of(  # noqa: PLR0913 - where it stands, and how it is to be read
    field: str, name: str, part: Json, raw: Json, *, channel: str, by: IdentifyBy
) -> Event:
    number = text_in(object_in(raw, "metadata"), "phone_number_id") or ""
    kind, text, payload = _kind_of(field, name, part)
    group = _group_of(part)
    person = _person_of(name, part, raw, is_group=group is not None)
    first, second = (
        (person.user_id, person.phone) if by == "user_id" else (person.phone, person.user_id)
    )
    user = first or second
    place = None
    if group is not None:
        place = Place(number, group=group)
    elif user is not None:
        place = Place(number, person.phone or user)
    return Event(
        channel=channel,
        id=_id_of(part),
        kind=kind,
        text=text,
        payload=payload,
        user=None if user is None else User(user, _name_of(person, raw)),
        conversation=group or (None if user else _nobodys(number)),
        address=None if place is None else str(place),
        raw=raw,
    )


def _kind_of(field: str, name: str, part: Json) -> tuple[str, str | None, str | None]:
    """The kind, the text and the payload."""
    if field != "messages":
        return field, None, None  # also in standby, where nothing is said to the bot
    if name == "statuses":
        return STATUS, None, None
    if name != "messages":
        return name, None, None
    kind = text_in(part, "type") or "unknown"
    if kind == "edit":
        told = object_in(object_in(part, "edit"), "message")
        return kind, _text_of(told, text_in(told, "type") or ""), None
    payload = _payload_of(part, kind)
    if payload is not None:
        return PAYLOAD, _text_of(part, kind), payload
    return MESSAGE if kind in MESSAGES else kind, _text_of(part, kind), None


def _text_of(message: Json, kind: str) -> str | None:
    """What was said, or stands under a picture or on the button that was pressed."""
    told = object_in(message, kind)
    names: tuple[str, ...] = ("caption", "text")
    if kind == "text":
        names = ("body",)
    elif kind == "interactive":
        told, names = object_in(told, text_in(told, "type") or ""), ("title",)
    return text_in(told, *names) or None


def _payload_of(message: Json, kind: str) -> str | None:
    told = object_in(message, kind)
    if kind == "button":
        return text_in(told, "payload")
    if kind == "interactive":
        reply = text_in(told, "type") or ""
        return text_in(object_in(told, reply), PRESSED[reply]) if reply in PRESSED else None
    return None


def _id_of(part: Json) -> str:
    """WhatsApp's own id. A message has several statuses, a call several events, and each is one."""
    own = text_in(part, "id")
    if not own:
        return digest_of(part)
    more = [text_in(part, each) for each in ("status", "event", *RECIPIENTS[0])]
    return ":".join([own, *(each for each in more if each)])


def _person_of(name: str, part: Json, raw: Json, *, is_group: bool) -> Person:
    """Who did it; or to whom it was sent, where the business did."""
    pairs: tuple[tuple[str, str], ...] = RECIPIENTS if name == "statuses" else SENDERS
    if is_group and name == "statuses":
        pairs = RECIPIENTS[:1]  # the other recipient is the group
    if name == "message_echoes" or part.get("direction") == "BUSINESS_INITIATED":
        pairs = SENDERS[1:]
    for user_id, phone in pairs:
        found = Person(text_in(part, user_id) or None, text_in(part, phone) or None)
        if found.user_id or found.phone:
            return _completed(found, raw)
    return Person()


def _completed(person: Person, raw: Json) -> Person:
    """A person with the user id that stands beside the phone number, where only that was told."""
    contact = _contact_of(person, raw)
    return Person(
        person.user_id or text_in(contact, "user_id") or None,
        person.phone or text_in(contact, "wa_id") or None,
    )


def _people_in(*parts: Json) -> set[str]:
    """All by which people are called in parts of a change."""
    names = [name for pair in (*SENDERS, *RECIPIENTS) for name in pair]
    return {found for part in parts for name in names if (found := text_in(part, name))}


def _is_anothers(contacts: list[Json], part: Json, parts: list[tuple[str, Json]]) -> bool:
    """Whether the only contact there is belongs to another part, of another person."""
    here, there = _people_in(part), _people_in(*(each for _, each in parts))
    known = _people_in(*contacts)
    return len(contacts) == 1 and known.isdisjoint(here) and not known.isdisjoint(there)


def _contact_of(person: Person, raw: Json) -> Json:
    contacts = objects_in(raw, "contacts")
    if len(contacts) == 1:  # whose wa_id may be another than the phone number
        return contacts[0]
    for contact in contacts:
        known = {text_in(contact, "user_id"), text_in(contact, "wa_id")} - {None}
        if known & {person.user_id, person.phone}:
            return contact
    return {}


def _name_of(person: Person, raw: Json) -> str | None:
    return text_in(object_in(_contact_of(person, raw), "profile"), "name", "username")


def _group_of(part: Json) -> str | None:
    group = text_in(part, "group_id")
    if group is None and part.get("recipient_type") == "group":
        group = text_in(part, "recipient_id")
    return group or None


def _nobodys(number: str | None, account: str = "whatsapp") -> str:
    """The conversation of what is about no person."""
    return f"number:{number}" if number else f"account:{account}"
