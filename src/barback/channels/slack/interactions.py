"""Buttons, menus, shortcuts and views, and slash commands, in barback's words.

Sources: https://docs.slack.dev/reference/interaction-payloads,
https://docs.slack.dev/interactivity/implementing-slash-commands, and, for the older attachments and
dialogs, https://docs.slack.dev/legacy.
"""

from __future__ import annotations

from typing import Final

from barback.channels.fields import Json, number_in, object_in, objects_in, text_in
from barback.channels.slack.event import SlackEvent
from barback.channels.slack.events import NOBODYS, named, team_of
from barback.channels.slack.place import Place, in_team, is_private
from barback.errors import WebhookMalformed
from barback.events import COMMAND, User

__all__ = ["COMMAND", "PRESSED", "command_of", "interaction_of"]

PRESSED: Final = frozenset({"block_actions", "interactive_message"})
"""Types that are a button pressed, or something chosen, under a message or in a view."""

ONE: Final = (
    "value",
    "selected_date",
    "selected_time",
    "selected_user",
    "selected_channel",
    "selected_conversation",
)
MANY: Final = ("selected_users", "selected_channels", "selected_conversations")


def interaction_of(told: Json, *, channel: str, by_team: bool = False) -> SlackEvent:
    """The event that an interaction is. Raises `WebhookMalformed`."""
    kind = text_in(told, "type")
    if not kind:
        reason = "What came is no interaction of Slack's: it has no type."
        raise WebhookMalformed(reason)
    pressed = kind in PRESSED
    actions = objects_in(told, "actions")
    view, container = object_in(told, "view"), object_in(told, "container")
    where = text_in(object_in(told, "channel"), "id") or text_in(container, "channel_id") or ""
    message = object_in(told, "message")
    thread = text_in(message, "thread_ts") or text_in(container, "thread_ts")
    if thread == (text_in(message, "ts") or text_in(container, "message_ts")):
        thread = None  # it is where the thread begins
    team = team_of(told) if by_team else ""
    return _event(
        channel=channel,
        kind="payload" if pressed else kind,
        own=_id(told, actions, view),
        text=text_in(told, "value") if kind.endswith("_suggestion") else None,
        payload=_payload(told, actions, view, pressed=pressed),
        user=named(object_in(told, "user"), team),
        # A button's message is in the bot's own talk; a shortcut may be in one of two others.
        place=Place(where, thread, team or None),
        is_ours=pressed,
        raw=told,
    )


def command_of(form: dict[str, str], *, channel: str, by_team: bool = False) -> SlackEvent:
    """The event that a slash command is: `event.text` is all of it, "/weather 94070"."""
    told: Json = dict(form)
    team = team_of(told) if by_team else ""
    return _event(
        channel=channel,
        kind=COMMAND,
        own=form.get("trigger_id") or None,
        text=f"{form['command']} {form.get('text', '')}".rstrip(),
        payload=None,
        user=named(told, team, "user_id"),
        place=Place(form.get("channel_id", ""), None, team or None),
        is_ours=False,
        raw=told,
    )


def _event(  # noqa: PLR0913 - the parts of an event
    *,
    channel: str,
    kind: str,
    own: str | None,
    text: str | None,
    payload: str | None,
    user: User | None,
    place: Place,
    is_ours: bool,
    raw: Json,
) -> SlackEvent:
    """An event where it happened: in a channel, or in private where that is so or nothing tells."""
    private = not place.channel or is_private(place.channel)
    if user is not None and private and not is_ours:
        place = Place("", None, place.team)  # a thread there may be in a talk of two others
    team = place.team or ""
    address = str(place) if place.channel else None
    if user is not None and not place.channel:
        address = str(Place.of_person(user.id, place.thread, place.team))
    conversation = in_team(place.channel or NOBODYS, team)
    return SlackEvent(
        channel=channel,
        id=own,
        kind=kind,
        text=text,
        payload=payload,
        user=user,
        conversation=None if user is not None and private else conversation,
        thread=place.thread,
        address=address,
        raw=raw,
    )


def _id(told: Json, actions: list[Json], view: Json) -> str | None:
    """What is unlike for each time somebody does it."""
    if found := text_in(told, "trigger_id", "action_ts"):
        return found
    if actions and (found := text_in(actions[0], "action_ts")):
        return found
    own, state = text_in(view, "id"), text_in(view, "hash")
    return f"{own}.{state}" if own and state else None


def _payload(told: Json, actions: list[Json], view: Json, *, pressed: bool) -> str | None:
    """What a button carries, or was chosen; of all else the name that the app has given it."""
    if pressed and actions:
        return _value(actions[0])
    return text_in(told, "action_id", "callback_id") or text_in(view, "callback_id")


def _value(action: Json) -> str | None:
    """The value of an action, or else its own name. Empty where a choice was taken back."""
    if found := text_in(action, *ONE) or number_in(action, "selected_date_time"):
        return found
    options = [object_in(action, "selected_option"), *objects_in(action, "selected_options")]
    values = [option.get("value") for option in options]
    for name in MANY:
        chosen = action.get(name)
        values += chosen if isinstance(chosen, list) else ()
    if any(name == "value" or name.startswith("selected_") for name in action):
        return ",".join(value for value in values if isinstance(value, str))
    return text_in(action, "action_id", "name")
