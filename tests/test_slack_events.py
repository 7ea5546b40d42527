"""Every type of event that Slack's documentation has, in barback's words.

The payloads are made by hand after https://docs.slack.dev/reference/events, and after the types and
samples of the official SDKs for Node and Java, as of August 2026.
"""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from barback import Bot, Event, InvalidEvent, User, WebhookMalformed
from barback.channels.slack.event import SlackEvent
from barback.channels.slack.events import event_of
from barback.scope import key_function

BOT = "UBOT"
AUTHORIZED = [{"team_id": "T1", "user_id": BOT, "is_bot": True, "is_enterprise_install": False}]
MESSAGE = {
    "channel": "C1",
    "user": "U42",
    "text": "Hi",
    "ts": "5.000001",
    "channel_type": "channel",
}
TIM = User("U42")
IN_C1 = {"user": TIM, "conversation": "C1", "address": "C1"}
ABOUT_C1 = {"conversation": "C1", "address": "C1"}
PRIVATE = {"user": TIM, "address": "U42"}
NOBODY = {"conversation": "app"}
PERSON = {"id": "U42", "name": "tim", "profile": {"display_name": "Tim", "real_name": "Tim Smith"}}
NAMED = {"user": User("U42", "Tim"), "address": "U42"}
CHANNEL = {"id": "C1", "name": "bar", "created": 1}
ITEM = {"type": "message", "channel": "C1", "ts": "5.000001"}
FILE = {"file_id": "F1", "file": {"id": "F1"}}
THREAD = {"user_id": "U42", "channel_id": "D42", "thread_ts": "4.000001", "context": {}}
WORKFLOW = {"workflow_id": "1", "workflow_draft_configuration": {"version_id": "2"}}
STEP = {"callback_id": "x", "workflow_step": {"workflow_id": "1"}}
INVITE = {"invite": {"id": "I1", "inviting_user": {"id": "U7"}}, "channel": CHANNEL}
METADATA = {"app_id": "A2", "user_id": "U42", "channel_id": "C1", "message_ts": "5.000001"}
KEYS = [key_function(scope) for scope in ("member", "conversation", "user", "thread")]
SAID = {"id": "C1-5.000001", "kind": "message", "text": "Hi", **IN_C1}

EVENTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "app_context_changed": ({"context": {"entities": []}}, NOBODY),
    "app_deleted": ({"app_id": "A1", "app_name": "Bar", "team_id": "T1"}, NOBODY),
    "app_home_opened": (
        {"user": "U42", "channel": "D42", "tab": "home"},
        {"user": TIM, "address": "D42"},
    ),
    "app_installed": ({"app_id": "A1", "app_name": "Bar", "user_id": "U42"}, PRIVATE),
    "app_mention": (MESSAGE, SAID),
    "app_requested": ({"app_request": {"id": "1"}, "user": PERSON}, NAMED),
    "app_uninstalled": ({}, NOBODY),
    "app_uninstalled_team": ({"app_id": "A1", "user_id": "U42"}, PRIVATE),
    "assistant_thread_context_changed": (
        {"assistant_thread": THREAD},
        {"user": TIM, "thread": "4.000001", "address": "D42/4.000001"},
    ),
    "assistant_thread_started": (
        {"assistant_thread": THREAD},
        {"user": TIM, "thread": "4.000001", "address": "D42/4.000001"},
    ),
    "call_rejected": ({"call_id": "R1", "user_id": "U42", "channel_id": "C1"}, IN_C1),
    "channel_archive": ({"channel": "C1", "user": "U42"}, IN_C1),
    "channel_created": ({"channel": {**CHANNEL, "creator": "U42"}}, IN_C1),
    "channel_deleted": ({"channel": "C1", "actor_id": "U42"}, IN_C1),
    "channel_history_changed": ({"channel": "C1", "latest": "5.000001"}, ABOUT_C1),
    "channel_id_changed": ({"old_channel_id": "G1", "new_channel_id": "C1"}, ABOUT_C1),
    "channel_left": ({"channel": "C1", "actor_id": "U42"}, IN_C1),
    "channel_rename": ({"channel": CHANNEL}, ABOUT_C1),
    "channel_shared": ({"channel": "C1", "connected_team_id": "T2"}, ABOUT_C1),
    "channel_unarchive": ({"channel": "C1", "user": "U42"}, IN_C1),
    "channel_unshared": ({"channel": "C1", "previously_connected_team_id": "T2"}, ABOUT_C1),
    "dnd_updated": ({"user": "U42", "dnd_status": {}}, PRIVATE),
    "dnd_updated_user": ({"user": "U42", "dnd_status": {}}, PRIVATE),
    "email_domain_changed": ({"email_domain": "bar.example"}, NOBODY),
    "emoji_changed": ({"subtype": "add", "name": "tea", "value": "https://x"}, NOBODY),
    "entity_details_requested": ({"user": "U42", "channel": "C1", "link": {}}, IN_C1),
    "file_change": (FILE, NOBODY),
    "file_comment_added": ({**FILE, "comment": {"user": "U42"}}, NOBODY),
    "file_comment_deleted": ({**FILE, "comment": "Fc1"}, NOBODY),
    "file_comment_edited": ({**FILE, "comment": {"user": "U42"}}, NOBODY),
    "file_created": ({**FILE, "user_id": "U42"}, PRIVATE),
    "file_deleted": ({"file_id": "F1", "channel_ids": ["C1"]}, NOBODY),
    "file_public": ({**FILE, "user_id": "U42"}, PRIVATE),
    "file_shared": ({**FILE, "user_id": "U42", "channel_id": "C1"}, IN_C1),
    "file_unshared": ({**FILE, "user_id": "U42", "channel_id": "C1"}, IN_C1),
    "function_executed": ({"function": {"app_id": "A1"}, "inputs": {}}, NOBODY),
    "goodbye": ({}, NOBODY),
    "grid_migration_finished": ({"enterprise_id": "E1"}, NOBODY),
    "grid_migration_started": ({"enterprise_id": "E1"}, NOBODY),
    "group_archive": ({"channel": "G1"}, {"conversation": "G1", "address": "G1"}),
    "group_close": ({"channel": "C1", "user": "U42"}, IN_C1),
    "group_deleted": ({"channel": "C1", "actor_id": "U42"}, IN_C1),
    "group_history_changed": ({"channel": "C1", "latest": "5.000001"}, ABOUT_C1),
    "group_left": ({"channel": "C1", "actor_id": "U42"}, IN_C1),
    "group_open": ({"channel": "C1", "user": "U42"}, IN_C1),
    "group_rename": ({"channel": CHANNEL}, ABOUT_C1),
    "group_unarchive": ({"channel": "C1", "actor_id": "U42"}, IN_C1),
    "im_close": ({"channel": "D42", "user": "U42"}, {"user": TIM, "address": "D42"}),
    "im_created": ({"channel": {"id": "D42"}, "user": "U42"}, {"user": TIM, "address": "D42"}),
    "im_history_changed": ({"channel": "D42"}, {"conversation": "D42", "address": "D42"}),
    "im_open": ({"channel": "D42", "user": "U42"}, {"user": TIM, "address": "D42"}),
    "invite_requested": ({"invite_request": {"email": "x@y"}}, NOBODY),
    "link_shared": (
        {"channel": "C1", "user": "U42", "message_ts": "5.000001", "thread_ts": "4.000001"},
        {**IN_C1, "thread": "4.000001", "address": "C1/4.000001"},
    ),
    "member_joined_channel": ({"user": "U42", "channel": "C1", "inviter": "U7"}, IN_C1),
    "member_left_channel": ({"user": "U42", "channel": "C1"}, IN_C1),
    "message": (MESSAGE, SAID),
    "message_metadata_deleted": (METADATA, IN_C1),
    "message_metadata_posted": (METADATA, IN_C1),
    "message_metadata_updated": (METADATA, IN_C1),
    "pin_added": ({"user": "U42", "channel_id": "C1", "item": ITEM}, IN_C1),
    "pin_removed": ({"user": "U42", "channel_id": "C1", "item": ITEM}, IN_C1),
    "reaction_added": ({"user": "U42", "item": ITEM, "reaction": "tea", "item_user": BOT}, IN_C1),
    "reaction_removed": ({"user": "U42", "item": ITEM, "reaction": "tea"}, IN_C1),
    "resources_added": ({"resources": []}, NOBODY),
    "resources_removed": ({"resources": []}, NOBODY),
    "scope_denied": ({"scopes": [], "trigger_id": "1"}, NOBODY),
    "scope_granted": ({"scopes": [], "trigger_id": "1"}, NOBODY),
    "shared_channel_invite_accepted": ({**INVITE, "accepting_user": {"id": "U42"}}, IN_C1),
    "shared_channel_invite_approved": ({**INVITE, "approving_user": {"id": "U42"}}, IN_C1),
    "shared_channel_invite_declined": ({**INVITE, "declining_user": {"id": "U42"}}, IN_C1),
    "shared_channel_invite_received": (INVITE, ABOUT_C1),
    "shared_channel_invite_requested": ({"actor": {"id": "U42"}, "channel_id": "C1"}, IN_C1),
    "star_added": ({"user": "U42", "item": ITEM}, IN_C1),
    "star_removed": ({"user": "U42", "item": ITEM}, IN_C1),
    "subteam_created": ({"subteam": {"id": "S1", "created_by": "U42"}}, PRIVATE),
    "subteam_members_changed": ({"subteam_id": "S1", "added_users": ["U42"]}, NOBODY),
    "subteam_self_added": ({"subteam_id": "S1"}, NOBODY),
    "subteam_self_removed": ({"subteam_id": "S1"}, NOBODY),
    "subteam_updated": ({"subteam": {"id": "S1"}}, NOBODY),
    "team_access_granted": ({"team_ids": ["T1"]}, NOBODY),
    "team_access_revoked": ({"team_ids": ["T1"]}, NOBODY),
    "team_domain_change": ({"url": "https://bar.slack.com", "domain": "bar"}, NOBODY),
    "team_join": ({"user": PERSON}, NAMED),
    "team_rename": ({"name": "Bar"}, NOBODY),
    "tokens_revoked": ({"tokens": {"oauth": ["U42"], "bot": [BOT]}}, NOBODY),
    "user_change": ({"user": PERSON}, NAMED),
    "user_huddle_changed": ({"user": PERSON}, NAMED),
    "user_profile_changed": ({"user": PERSON}, NAMED),
    "user_resource_denied": ({"user": "U42", "scopes": []}, PRIVATE),
    "user_resource_granted": ({"user": "U42", "scopes": []}, PRIVATE),
    "user_resource_removed": ({"user": "U42"}, PRIVATE),
    "user_status_changed": ({"user": PERSON}, NAMED),
    "workflow_deleted": (WORKFLOW, NOBODY),
    "workflow_published": (WORKFLOW, NOBODY),
    "workflow_step_deleted": (WORKFLOW, NOBODY),
    "workflow_step_execute": (STEP, NOBODY),
    "workflow_unpublished": (WORKFLOW, NOBODY),
}

CHANGED: dict[str, Any] = {
    "channel": "C1",
    "channel_type": "channel",
    "hidden": True,
    "ts": "6.000001",
    "message": {"user": "U42", "text": "Ho", "ts": "5.000001", "edited": {"user": "U42"}},
    "previous_message": {"user": "U42", "text": "Hi", "ts": "5.000001"},
}
NOTE = {**MESSAGE, "text": "<@U42> has joined the channel"}

SUBTYPES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "bot_message": (
        {**MESSAGE, "user": None, "bot_id": "B7", "username": "Other"},
        {**SAID, "user": User("B7", "Other")},
    ),
    "file_share": ({**MESSAGE, "text": "", "files": [{"id": "F1"}]}, {**SAID, "text": ""}),
    "me_message": (MESSAGE, SAID),
    "thread_broadcast": (
        {**MESSAGE, "thread_ts": "4.000001", "root": {}},
        {**SAID, "thread": "4.000001", "address": "C1/4.000001"},
    ),
    "message_changed": (CHANGED, {**IN_C1, "text": "Ho"}),
    "message_deleted": ({**CHANGED, "message": None, "deleted_ts": "5.000001"}, IN_C1),
    "message_replied": (
        {"channel": "C1", "message": {"user": "U7", "text": "Hi", "ts": "5.000001"}},
        ABOUT_C1,
    ),
    **dict.fromkeys(
        (
            "assistant_app_thread",
            "bot_add",
            "bot_remove",
            "channel_archive",
            "channel_convert_to_private",
            "channel_convert_to_public",
            "channel_join",
            "channel_leave",
            "channel_name",
            "channel_posting_permissions",
            "channel_purpose",
            "channel_topic",
            "channel_unarchive",
            "document_mention",
            "ekm_access_denied",
            "group_archive",
            "group_join",
            "group_leave",
            "group_name",
            "group_purpose",
            "group_topic",
            "group_unarchive",
            "pinned_item",
            "reminder_add",
            "unpinned_item",
        ),
        (NOTE, IN_C1),
    ),
}


def told(kind: str, inner: dict[str, Any], **outer: Any) -> dict[str, Any]:
    return {
        "team_id": "T1",
        "api_app_id": "A1",
        "event": {"type": kind, "event_ts": "5.000001", **inner},
        "type": "event_callback",
        "event_id": "Ev1",
        "event_time": 5,
        "authorizations": AUTHORIZED,
        **outer,
    }


def parsed(kind: str, inner: dict[str, Any], **outer: Any) -> SlackEvent:
    event = event_of(told(kind, inner, **outer), channel="slack")
    assert event is not None
    return event


def check(event: Event, kind: str, expected: dict[str, Any]) -> None:
    nothing = dict.fromkeys(("text", "payload", "user", "conversation", "thread", "address"))
    for name, value in {**nothing, "id": "Ev1", "kind": kind, **expected}.items():
        assert (name, value) == (name, getattr(event, name))


@pytest.mark.parametrize("kind", EVENTS)
def test_each_type_is_an_event(kind: str) -> None:
    inner, expected = EVENTS[kind]
    event = parsed(kind, inner)
    check(event, kind, expected)
    assert event.raw == told(kind, inner)


@pytest.mark.parametrize("subtype", SUBTYPES)
def test_each_subtype_of_messages_is_an_event(subtype: str) -> None:
    inner, expected = SUBTYPES[subtype]
    check(parsed("message", {"subtype": subtype, **inner}), subtype, expected)


@pytest.mark.parametrize("scope", ["member", "conversation", "user", "thread"])
def test_every_scope_finds_a_session_for_each(scope: Any) -> None:
    bot = Bot(scope=scope)
    for kind, (inner, _) in EVENTS.items():
        assert bot.session_id(parsed(kind, inner)).startswith("slack:")
    for subtype, (inner, _) in SUBTYPES.items():
        event = parsed("message", {"subtype": subtype, **inner})
        assert bot.session_id(event).startswith("slack:")


def test_that_the_bot_hears_too_little_is_an_event() -> None:
    limited = {"type": "app_rate_limited", "team_id": "T1", "minute_rate_limited": 1518467820}
    event = event_of(limited, channel="slack")
    assert event is not None
    check(event, "app_rate_limited", {**NOBODY, "id": None})


@pytest.mark.parametrize("inner", [{"x": 1}, {"user": 5, "channel": []}, {"item": "x"}], ids=repr)
def test_a_type_that_nobody_knows_yet_is_an_event_with_a_session(inner: Any) -> None:
    check(parsed("telepathy", inner), "telepathy", NOBODY)


def test_a_type_that_nobody_knows_yet_is_somebodys_where_it_says_so() -> None:
    check(parsed("telepathy", {"user": "U42", "channel": "C1"}), "telepathy", IN_C1)


# Messages.


def test_in_private_and_on_the_apps_home_there_is_no_conversation() -> None:
    for more in ({"channel": "D42", "channel_type": "im"}, {"channel_type": "app_home"}):
        event = parsed("message", {**MESSAGE, **more})
        assert (event.user, event.conversation) == (TIM, None)


@pytest.mark.parametrize("kind", ["channel", "group", "mpim"])
def test_channels_and_talks_of_several_are_conversations(kind: str) -> None:
    event = parsed("message", {**MESSAGE, "channel": "G7", "channel_type": kind})
    assert (event.conversation, event.address) == ("G7", "G7")


def test_an_answer_is_in_its_thread_and_what_a_thread_begins_with_is_not() -> None:
    event = parsed("message", {**MESSAGE, "thread_ts": "4.000001"})
    assert (event.thread, event.address) == ("4.000001", "C1/4.000001")
    begins = parsed("message", {**MESSAGE, "thread_ts": MESSAGE["ts"]})
    assert (begins.thread, begins.address) == (None, "C1")


def test_a_message_is_one_however_often_slack_tells_of_it() -> None:
    mention = {**MESSAGE, "text": f"<@{BOT}> Hi"}
    first = parsed("message", mention)
    del mention["channel_type"]
    second = parsed("app_mention", mention, event_id="Ev2")
    assert (first.id, first.kind) == (second.id, second.kind)
    assert Bot().session_id(first) == Bot().session_id(second)
    assert first.comes_twice
    assert second.comes_twice


def test_a_mention_that_is_put_in_later_is_another_message() -> None:
    mention = {**MESSAGE, "edited": {"user": "U42", "ts": "9.000001"}}
    assert parsed("app_mention", mention).id == "C1-5.000001-9.000001"


def test_only_a_mention_in_a_channel_comes_twice() -> None:
    assert not parsed("message", MESSAGE).comes_twice
    others = {**MESSAGE, "text": "<@U7> Hi"}
    assert not parsed("message", others).comes_twice
    assert parsed("message", others, authorizations=[]).comes_twice  # it may be the bot
    private = {**MESSAGE, "text": f"<@{BOT}>", "channel": "D42", "channel_type": "im"}
    assert not parsed("message", private).comes_twice


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a &lt;b&gt; &amp;amp; c", "a <b> &amp; c"),
        ("see <https://x.example/?a=1&amp;b=2>", "see https://x.example/?a=1&b=2"),
        ("<http://x.example|x.example> and <mailto:a@b.c|a@b.c>", "x.example and a@b.c"),
        ("<@U7> in <#C1|bar>: <!here> <!subteam^S1>", "<@U7> in <#C1|bar>: <!here> <!subteam^S1>"),
        ("&lt;@U7&gt;", "<@U7>"),
    ],
)
def test_a_text_is_what_was_typed(text: str, expected: str) -> None:
    assert expected == parsed("message", {**MESSAGE, "text": text}).text


def test_of_a_message_that_only_got_a_preview_nothing_is_said_anew() -> None:
    same = {**CHANGED, "message": {**CHANGED["previous_message"], "attachments": []}}
    event = parsed("message", {"subtype": "message_changed", **same})
    assert (event.kind, event.text) == ("message_changed", None)


@pytest.mark.parametrize(
    "profile", [{"user_profile": {"real_name": "Tim"}}, {"bot_profile": {"name": "Tim"}}]
)
def test_a_name_is_known_where_slack_tells_it(profile: dict[str, Any]) -> None:
    assert parsed("message", {**MESSAGE, **profile}).user == User("U42", "Tim")


# The bot itself.

OWN: dict[str, dict[str, Any]] = {
    "by the user": {"user": BOT},
    "by the app": {"user": "U9", "app_id": "A1"},
    "by the bot's profile": {"user": "U9", "bot_profile": {"app_id": "A1"}},
}


@pytest.mark.parametrize("own", OWN)
def test_what_the_bot_has_said_is_no_event(own: str) -> None:
    message = {**MESSAGE, **OWN[own]}
    changed = {**CHANGED, "message": message, "subtype": "message_changed"}
    deleted = {**CHANGED, "message": None, "previous_message": message}
    for inner in (message, changed, {**deleted, "subtype": "message_deleted"}):
        assert event_of(told("message", inner), channel="slack") is None


def test_what_else_the_bot_has_done_is_no_event() -> None:
    for kind in ("reaction_added", "pin_added", "channel_archive"):
        inner = {**EVENTS[kind][0], "user": BOT}
        assert event_of(told(kind, inner), channel="slack") is None
    inner = {**EVENTS["file_shared"][0], "user_id": BOT}
    assert event_of(told("file_shared", inner), channel="slack") is None


def test_ids_that_slack_does_not_tell_may_be_given() -> None:
    classic = {**MESSAGE, "subtype": "bot_message", "user": None, "bot_id": "B1"}
    assert event_of(told("message", classic), channel="slack") is not None
    own = frozenset({"B1"})
    assert event_of(told("message", classic), channel="slack", own_ids=own) is None


def test_what_another_bot_says_is_an_event() -> None:
    other = {**MESSAGE, "user": "U9", "bot_id": "B9", "app_id": "A2"}
    assert parsed("message", other).user == User("U9")


def test_a_person_through_whom_an_app_sees_events_is_not_the_bot() -> None:
    person = [{"team_id": "T1", "user_id": "U42", "is_bot": False}]
    assert parsed("message", MESSAGE, authorizations=person).user == TIM


def test_that_the_bot_is_put_into_a_channel_is_done_by_who_does_it() -> None:
    joined = {"user": BOT, "channel": "C1", "inviter": "U42"}
    check(parsed("member_joined_channel", joined), "member_joined_channel", IN_C1)
    left = {"user": BOT, "channel": "C1"}
    check(parsed("member_left_channel", left), "member_left_channel", ABOUT_C1)


# Many workspaces.


def test_ids_carry_the_workspace_where_there_are_many() -> None:
    event = event_of(told("message", MESSAGE), channel="slack", by_team=True)
    assert event is not None
    assert (event.user, event.conversation, event.address) == (User("U42@T1"), "C1@T1", "C1@T1")
    join = event_of(told("team_join", {"user": PERSON}), channel="slack", by_team=True)
    assert join is not None
    assert (join.user, join.address) == (User("U42@T1", "Tim"), "U42@T1")


def test_the_workspace_is_that_of_the_bot_and_not_of_who_writes() -> None:
    event = event_of(
        told("message", {**MESSAGE, "team": "T7"}, team_id="T7"), channel="slack", by_team=True
    )
    assert event is not None
    assert event.conversation == "C1@T1"


def test_an_organisation_stands_for_all_its_workspaces() -> None:
    whole = [{**AUTHORIZED[0], "enterprise_id": "E1", "is_enterprise_install": True}]
    event = event_of(told("message", MESSAGE, authorizations=whole), channel="slack", by_team=True)
    assert event is not None
    assert event.conversation == "C1@E1"


# What Slack never sends.


@pytest.mark.parametrize(
    "bad", [{}, {"type": 5}, {"type": "event_callback"}, {"type": "event_callback", "event": []}]
)
def test_what_is_no_event_is_refused(bad: Any) -> None:
    with pytest.raises(WebhookMalformed, match="no event"):
        event_of(bad, channel="slack")


@pytest.mark.parametrize("seed", range(5))
def test_no_wrong_type_anywhere_is_more_than_malformed(seed: int) -> None:
    chance = random.Random(seed)
    wrong: list[Any] = [None, 5, 1.5, True, "", "x", [], ["x"], [[]], {}, {"id": []}, "x" * 3000]
    samples = [told(kind, inner) for kind, (inner, _) in EVENTS.items()]
    samples += [told("message", {"subtype": s, **inner}) for s, (inner, _) in SUBTYPES.items()]
    for sample in samples:
        for _ in range(10):
            broken = msgspec.json.decode(msgspec.json.encode(sample))
            break_a_part(broken, chance, wrong)
            look_at(broken)


def break_a_part(of: Any, chance: random.Random, wrong: list[Any]) -> None:
    """Put something else in the place of a part, at whatever depth."""
    while True:
        keys = list(of) if isinstance(of, dict) else list(range(len(of)))
        key = chance.choice(keys)
        if isinstance(of[key], (dict, list)) and of[key] and chance.random() < 0.7:
            of = of[key]
        else:
            of[key] = chance.choice(wrong)
            return


def look_at(payload: Any) -> None:
    """It is an event with a session in every scope, or is refused as it should be."""
    for by_team in (False, True):
        try:
            event = event_of(payload, channel="slack", by_team=by_team)
        except (WebhookMalformed, InvalidEvent):
            continue
        for key in KEYS:
            assert event is None or key(event)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["user", "channel", "id", "type", "subtype", "message", "ts", "text"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)


@given(ANYTHING, st.sampled_from(["message", "app_mention", "reaction_added", "team_join"]))
def test_anything_inside_is_an_event_or_malformed(inner: Any, kind: str) -> None:
    event = {**inner, "type": kind} if isinstance(inner, dict) else inner
    look_at({"type": "event_callback", "event": event, "event_id": "Ev1"})
