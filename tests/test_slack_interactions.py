"""Buttons, menus, shortcuts, views and slash commands of Slack, in barback's words.

The payloads are made by hand after https://docs.slack.dev/reference/interaction-payloads and the
tests of the official frameworks for Python and Java.
"""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest

from barback import Bot, InvalidEvent, User, WebhookMalformed
from barback.channels.slack.interactions import command_of, interaction_of
from barback.scope import key_function
from tests.test_slack_events import break_a_part

TEAM = {"id": "T1", "domain": "bar"}
TIM = {"id": "U42", "username": "tim", "name": "tim", "team_id": "T1"}
USER = User("U42", "tim")
CHANNEL = {"id": "C1", "name": "bar"}
CONTAINER = {"type": "message", "message_ts": "5.000001", "channel_id": "C1"}
MESSAGE = {"user": "UBOT", "ts": "5.000001", "text": "Tea?"}
VIEW = {"id": "V1", "type": "modal", "callback_id": "order", "hash": "6.abc", "team_id": "T1"}
ACTION = {"action_id": "drink", "block_id": "b", "action_ts": "7.000001"}
IN_C1 = {"user": USER, "conversation": "C1", "address": "C1"}
PRIVATE = {"user": USER, "address": "U42"}

INTERACTIONS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "block_actions": (
        {
            "channel": CHANNEL,
            "container": CONTAINER,
            "message": MESSAGE,
            "trigger_id": "1.2.x",
            "actions": [{**ACTION, "type": "button", "value": "tea"}],
        },
        {**IN_C1, "kind": "payload", "id": "1.2.x", "payload": "tea"},
    ),
    "interactive_message": (
        {
            "channel": CHANNEL,
            "action_ts": "7.000001",
            "callback_id": "old",
            "actions": [{"name": "drink", "type": "button", "value": "tea"}],
        },
        {**IN_C1, "kind": "payload", "id": "7.000001", "payload": "tea"},
    ),
    "message_action": (
        {"channel": CHANNEL, "callback_id": "keep", "trigger_id": "1.2.x", "message": MESSAGE},
        {**IN_C1, "id": "1.2.x", "payload": "keep"},
    ),
    "shortcut": (
        {"callback_id": "keep", "trigger_id": "1.2.x", "action_ts": "7.000001"},
        {**PRIVATE, "id": "1.2.x", "payload": "keep"},
    ),
    "view_submission": (
        {"view": VIEW, "trigger_id": "1.2.x"},
        {**PRIVATE, "id": "1.2.x", "payload": "order"},
    ),
    "view_closed": ({"view": VIEW}, {**PRIVATE, "id": "V1.6.abc", "payload": "order"}),
    "block_suggestion": (
        {"container": {"type": "view", "view_id": "V1"}, "action_id": "drink", "value": "ear"},
        {**PRIVATE, "id": None, "payload": "drink", "text": "ear"},
    ),
    "dialog_submission": (
        {"channel": CHANNEL, "callback_id": "old", "action_ts": "7.000001", "submission": {}},
        {**IN_C1, "id": "7.000001", "payload": "old"},
    ),
    "dialog_cancellation": (
        {"channel": CHANNEL, "callback_id": "old", "action_ts": "7.000001"},
        {**IN_C1, "id": "7.000001", "payload": "old"},
    ),
    "dialog_suggestion": (
        {"channel": CHANNEL, "callback_id": "old", "action_ts": "7.000001", "value": "ear"},
        {**IN_C1, "id": "7.000001", "payload": "old", "text": "ear"},
    ),
    "workflow_step_edit": (
        {"callback_id": "step", "trigger_id": "1.2.x", "workflow_step": {}},
        {**PRIVATE, "id": "1.2.x", "payload": "step"},
    ),
    "telepathy": ({"value": "tea"}, {**PRIVATE, "id": None}),
}


def told(kind: str, more: dict[str, Any]) -> dict[str, Any]:
    return {"type": kind, "team": TEAM, "user": TIM, "api_app_id": "A1", **more}


@pytest.mark.parametrize("kind", INTERACTIONS)
def test_each_interaction_is_an_event(kind: str) -> None:
    more, expected = INTERACTIONS[kind]
    event = interaction_of(told(kind, more), channel="slack")
    assert event.raw == told(kind, more)
    nothing = dict.fromkeys(("text", "payload", "user", "conversation", "thread", "address"))
    for name, value in {**nothing, "kind": kind, **expected}.items():
        assert (name, value) == (name, getattr(event, name))
    for scope in ("member", "conversation", "user", "thread"):
        assert Bot(scope=scope).session_id(event).startswith("slack:")


CHOSEN: dict[str, tuple[dict[str, Any], str]] = {
    "button": ({"value": "tea"}, "tea"),
    "button without a value": ({"text": {}}, "drink"),
    "menu": ({"selected_option": {"text": {}, "value": "tea"}}, "tea"),
    "menu, taken back": ({"selected_option": None}, ""),
    "people": ({"selected_user": "U7"}, "U7"),
    "channel": ({"selected_channel": "C7"}, "C7"),
    "conversation": ({"selected_conversation": "C7"}, "C7"),
    "date": ({"selected_date": "2026-08-01"}, "2026-08-01"),
    "time": ({"selected_time": "12:30"}, "12:30"),
    "moment": ({"selected_date_time": 1628633820}, "1628633820"),
    "several": ({"selected_options": [{"value": "tea"}, {"value": "milk"}]}, "tea,milk"),
    "none of several": ({"selected_options": []}, ""),
    "several people": ({"selected_users": ["U7", "U8"]}, "U7,U8"),
    "several channels": ({"selected_channels": ["C7", "C8"]}, "C7,C8"),
    "several conversations": ({"selected_conversations": ["C7"]}, "C7"),
    "text": ({"type": "plain_text_input", "value": "some tea"}, "some tea"),
    "no text": ({"type": "plain_text_input", "value": None}, ""),
}


@pytest.mark.parametrize("what", CHOSEN)
def test_the_payload_is_what_was_chosen(what: str) -> None:
    fields, expected = CHOSEN[what]
    payload = told("block_actions", {"actions": [{**ACTION, **fields}]})
    event = interaction_of(payload, channel="slack")
    assert (expected, "7.000001") == (event.payload, event.id)


def test_a_button_in_a_thread_is_answered_there() -> None:
    message = {**MESSAGE, "thread_ts": "4.000001"}
    more = {"channel": CHANNEL, "message": message, "actions": [ACTION]}
    event = interaction_of(told("block_actions", more), channel="slack")
    assert (event.thread, event.address) == ("4.000001", "C1/4.000001")


def test_a_button_under_what_begins_a_thread_is_not_in_it() -> None:
    message = {**MESSAGE, "thread_ts": MESSAGE["ts"]}
    more = {"channel": CHANNEL, "message": message, "actions": [ACTION]}
    event = interaction_of(told("block_actions", more), channel="slack")
    assert (event.thread, event.address) == (None, "C1")


def test_a_button_in_the_bots_own_talk_is_answered_there() -> None:
    more = {"channel": {"id": "D42"}, "message": MESSAGE, "actions": [ACTION]}
    event = interaction_of(told("block_actions", more), channel="slack")
    assert (event.conversation, event.address) == (None, "D42")


def test_a_shortcut_in_the_talk_of_two_others_is_answered_in_private() -> None:
    more = {"channel": {"id": "D7"}, "message": MESSAGE, "callback_id": "keep"}
    event = interaction_of(told("message_action", more), channel="slack")
    assert (event.conversation, event.address) == (None, "U42")


def test_the_thread_of_a_talk_of_two_others_is_none_of_the_persons_own() -> None:
    more = {"channel": {"id": "D7"}, "message": {**MESSAGE, "thread_ts": "4.000001"}}
    event = interaction_of(told("message_action", more), channel="slack")
    assert (event.conversation, event.thread, event.address) == (None, None, "U42")
    assert key_function("thread")(event) == "U42"


def test_ids_carry_the_workspace_where_there_are_many() -> None:
    more, _ = INTERACTIONS["block_actions"]
    event = interaction_of(told("block_actions", more), channel="slack", by_team=True)
    assert (event.user, event.conversation, event.address) == (
        User("U42@T1", "tim"),
        "C1@T1",
        "C1@T1",
    )
    view = interaction_of(
        told("view_submission", {"view": {**VIEW, "app_installed_team_id": "T9"}}),
        channel="slack",
        by_team=True,
    )
    assert (view.user, view.address) == (User("U42@T9", "tim"), "U42@T9")


# Slash commands.

COMMAND = {
    "team_id": "T1",
    "channel_id": "C1",
    "channel_name": "bar",
    "user_id": "U42",
    "user_name": "tim",
    "command": "/weather",
    "text": "94070",
    "response_url": "https://hooks.slack.com/commands/1234/5678",
    "trigger_id": "1.2.x",
}


def test_a_command_is_an_event_with_all_that_was_typed() -> None:
    event = command_of(COMMAND, channel="slack")
    assert (event.kind, event.id, event.text) == ("command", "1.2.x", "/weather 94070")
    assert (event.user, event.conversation, event.address) == (USER, "C1", "C1")
    assert event.raw == COMMAND


def test_a_command_alone_is_its_text() -> None:
    assert command_of({**COMMAND, "text": ""}, channel="slack").text == "/weather"
    assert command_of({"command": "/weather"}, channel="slack").text == "/weather"


def test_a_command_in_private_is_answered_by_the_bot_in_its_own_talk() -> None:
    event = command_of({**COMMAND, "channel_id": "D7"}, channel="slack")
    assert (event.conversation, event.address) == (None, "U42")


def test_a_command_of_an_organisation_carries_that() -> None:
    whole = {**COMMAND, "is_enterprise_install": "true", "enterprise_id": "E1"}
    event = command_of(whole, channel="slack", by_team=True)
    assert (event.user, event.address) == (User("U42@E1", "tim"), "C1@E1")


# What Slack never sends.


@pytest.mark.parametrize("bad", [{}, {"type": 5}, {"type": ""}])
def test_what_is_no_interaction_is_refused(bad: Any) -> None:
    with pytest.raises(WebhookMalformed, match="no interaction"):
        interaction_of(bad, channel="slack")


@pytest.mark.parametrize("seed", range(5))
def test_no_wrong_type_anywhere_is_more_than_malformed(seed: int) -> None:
    chance = random.Random(seed)
    wrong: list[Any] = [None, 5, True, "", "x", [], ["x"], [[]], {}, {"id": []}, "x" * 3000]
    samples = [told(kind, more) for kind, (more, _) in INTERACTIONS.items()]
    samples += [told("block_actions", {"actions": [f]}) for f, _ in CHOSEN.values()]
    keys = [key_function(scope) for scope in ("member", "conversation", "user", "thread")]
    for sample in samples * 10:
        broken = msgspec.json.decode(msgspec.json.encode(sample))
        break_a_part(broken, chance, wrong)
        try:
            event = interaction_of(broken, channel="slack", by_team=chance.random() < 0.5)
        except (WebhookMalformed, InvalidEvent):
            continue
        for key in keys:
            assert key(event)
