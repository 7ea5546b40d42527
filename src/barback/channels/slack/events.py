"""What the Events API tells of, in barback's words: https://docs.slack.dev/apis/events-api.

The types are those of https://docs.slack.dev/reference/events, as of August 2026. One that comes
later is an event all the same: whom and what it is about is looked for where Slack has it in every
type.
"""

from __future__ import annotations

from typing import Final

from barback.channels.fields import Json, object_in, objects_in, text_in
from barback.channels.slack.event import SlackEvent
from barback.channels.slack.markup import said
from barback.channels.slack.place import Place, in_team, is_private
from barback.errors import WebhookMalformed
from barback.events import MESSAGE, User

__all__ = ["NOBODYS", "event_of", "named", "team_of"]

MESSAGES: Final = frozenset({"message", "app_mention"})
"""Both of them are messages: one in which the bot is mentioned comes as both."""

SAID: Final = frozenset({None, "bot_message", "file_share", "me_message", "thread_broadcast"})
"""Subtypes of messages that somebody has said. Of the others Slack itself tells."""

BY_ITSELF: Final = frozenset({"message_changed", "message_deleted"})
"""Subtypes that are about another message, which is inside."""

BY_APPS: Final = MESSAGES | {
    "message_metadata_deleted",
    "message_metadata_posted",
    "message_metadata_updated",
}
"""Types whose `app_id` is of the app that did it."""

OF_MEMBERS: Final = frozenset({"member_joined_channel", "member_left_channel"})
"""Types that tell a bot, with its own id, that it was put into a channel, or out of it."""

LOGINS: Final = ("username", "user_name")
NAMES: Final = ("display_name", "real_name", *LOGINS, "name")
"""Of a person, the best first."""

ACTORS: Final = ("actor", "accepting_user", "approving_user", "declining_user")
PRIVATE: Final = frozenset({"im", "app_home"})
NOBODYS: Final = "app"
"""The conversation of what is about no person and no channel."""


def event_of(
    told: Json, *, channel: str, own_ids: frozenset[str] = frozenset(), by_team: bool = False
) -> SlackEvent | None:
    """The event that a request of the Events API is; None for what the bot has done itself.

    `own_ids`: more ids of the bot's than what the request tells. `by_team`: ids carry the
    workspace.

    Raises `WebhookMalformed`.
    """
    kind = text_in(told, "type")
    event = object_in(told, "event")
    if kind == "event_callback":
        kind = text_in(event, "type")
    if not kind:
        reason = "What came is no event of Slack's: it has no type."
        raise WebhookMalformed(reason)
    mine = own_ids | _own_users(told)
    subtype = text_in(event, "subtype") or None
    about = event
    if kind in MESSAGES and subtype in BY_ITSELF:
        about = object_in(event, "message") or object_in(event, "previous_message")
    if _is_own(kind, about, mine, text_in(told, "api_app_id")):
        return None
    is_said = kind in MESSAGES and subtype in SAID
    if kind in MESSAGES:
        kind = MESSAGE if is_said else subtype or MESSAGE
    team = team_of(told) if by_team else ""
    where, thread = _channel(event), _thread(event, about)
    user = _user(kind, event, about, mine, team)
    private = text_in(event, "channel_type") in PRIVATE or is_private(where)
    conversation = where or NOBODYS
    return SlackEvent(
        channel=channel,
        id=_id(told, event, is_said=is_said),
        kind=kind,
        text=_text(event, subtype, is_said=is_said),
        user=user,
        conversation=None if user and (private or not where) else in_team(conversation, team),
        thread=thread,
        address=_address(where, thread, team, user),
        raw=told,
        comes_twice=is_said and not private and _mentions(text_in(event, "text") or "", mine),
    )


def team_of(told: Json) -> str:
    """The workspace in which the bot may answer; the organisation, where it is in all of that.

    In a channel that workspaces share, others' people write as well, so what counts is not theirs.
    """
    authorizations = objects_in(told, "authorizations")
    source = authorizations[0] if authorizations else told
    if source.get("is_enterprise_install") in (True, "true"):
        enterprise = text_in(source, "enterprise_id")
        if found := enterprise or text_in(object_in(told, "enterprise"), "id"):
            return found
    return (
        text_in(object_in(told, "view"), "app_installed_team_id")
        or text_in(object_in(told, "team"), "id")
        or text_in(source, "team_id")
        or text_in(object_in(told, "user"), "team_id")
        or ""
    )


def named(person: Json, team: str, *ids: str) -> User | None:
    """A person; None where there is no id.

    `ids`: where an id is, in what is not itself a person, and has names of other things.
    """
    own = text_in(person, *(ids or ("id",)))
    if not own:
        return None
    inside = [object_in(person, name) for name in ("profile", "user_profile", "bot_profile")]
    names = [source.get(name) for source in inside for name in NAMES]
    names += [person.get(name) for name in (LOGINS if ids else NAMES)]
    shown = next((name for name in names if isinstance(name, str) and name), None)
    return User(in_team(own, team), shown)


def _own_users(told: Json) -> frozenset[str]:
    """The bot's user, by the authorizations that let it see an event. Others' may be there too."""
    bots = (one for one in objects_in(told, "authorizations") if one.get("is_bot") is True)
    return frozenset(found for one in bots if (found := text_in(one, "user_id")))


def _is_own(kind: str, about: Json, mine: frozenset[str], app: str | None) -> bool:
    """Whether the bot has done it: by the id of its app, or of its user."""
    if kind in OF_MEMBERS:
        return False
    if text_in(about, "user", "user_id") in mine:
        return True
    if kind not in BY_APPS:
        return False
    bot, profile = text_in(about, "bot_id"), object_in(about, "bot_profile")
    apps = {text_in(about, "app_id"), text_in(profile, "app_id")} - {None}
    return bot in mine or app in apps or not mine.isdisjoint(apps)


def _user(kind: str, event: Json, about: Json, mine: frozenset[str], team: str) -> User | None:
    """Who did it."""
    if kind in OF_MEMBERS and text_in(event, "user") in mine:
        return named(event, team, "inviter")
    if kind == "message_replied":  # which is about the message that was replied to
        return None
    if person := object_in(event, "user"):
        return named(person, team)
    if found := named(about, team, "user", "user_id", "actor_id", "bot_id"):
        return found
    inside = (*(object_in(event, name) for name in ACTORS), object_in(event, "assistant_thread"))
    for source in inside:
        if found := named(source, team, "id", "user_id"):
            return found
    created = object_in(event, "channel") or object_in(event, "subteam")
    return named({"id": text_in(created, "creator", "created_by")}, team)


def _channel(event: Json) -> str:
    """The channel it happened in, or is about."""
    return (
        text_in(event, "channel", "channel_id", "new_channel_id")
        or text_in(object_in(event, "channel"), "id")
        or text_in(object_in(event, "item"), "channel")
        or text_in(object_in(event, "assistant_thread"), "channel_id")
        or ""
    )


def _thread(event: Json, about: Json) -> str | None:
    """The thread. The message that one begins with stands outside of it."""
    thread = text_in(about, "thread_ts") or text_in(
        object_in(event, "assistant_thread"), "thread_ts"
    )
    return None if not thread or thread == text_in(about, "ts") else thread


def _text(event: Json, subtype: str | None, *, is_said: bool) -> str | None:
    """What was said; of a message that was changed, what is said now, if that is something else."""
    if is_said:
        text = text_in(event, "text")
        return None if text is None else said(text)
    if subtype != "message_changed":
        return None  # Slack's own words, such as that somebody has joined
    text = text_in(object_in(event, "message"), "text")
    before = text_in(object_in(event, "previous_message"), "text")
    return None if text is None or text == before else said(text)


def _id(told: Json, event: Json, *, is_said: bool) -> str | None:
    """By what a redelivery is known: a message by its place and time, all else by `event_id`.

    A message that mentions the bot comes twice, with two ids of events, and is one.
    """
    where, ts = text_in(event, "channel"), text_in(event, "ts")
    if not is_said or not where or not ts:
        return text_in(told, "event_id")
    edited = text_in(object_in(event, "edited"), "ts")
    return f"{where}-{ts}" if edited is None else f"{where}-{ts}-{edited}"


def _mentions(text: str, mine: frozenset[str]) -> bool:
    """Whether the bot may be mentioned in a text."""
    return any(f"<@{own}" in text for own in mine) if mine else "<@" in text


def _address(where: str, thread: str | None, team: str, user: User | None) -> str | None:
    """Where replies go: the channel, and the thread in it, or else the person."""
    if where:
        return str(Place(where, thread, team or None))
    return None if user is None else str(Place.of_person(user.id, None, team or None))
