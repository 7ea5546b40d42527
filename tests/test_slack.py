"""A bot on Slack: its webhook, what it says, and how it speaks first."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlencode

import httpx2
import msgspec
import pytest

from barback import (
    Bot,
    CannotSend,
    ChannelError,
    ConfigurationError,
    Context,
    MemorySessionStore,
    SlackChannel,
    WebhookMalformed,
    WebhookRefused,
    WebhookRequest,
)
from barback.channels.slack import InputFile, Place
from barback.testing import FakeSlack, slack_error
from barback.testing.slack import SECRET, TOKEN
from tests.fake_platforms import behind
from tests.scripted import state_of
from tests.test_telegram import nickname_bot


@asynccontextmanager
async def on_slack(bot: Bot[Any], **options: Any) -> AsyncIterator[FakeSlack]:
    """The bot behind its webhook, in this process, and Slack over real sockets."""
    async with FakeSlack() as slack, behind(slack, bot, **options):
        yield slack


def replying(reply: Any, **options: Any) -> Bot[Any]:
    """A bot that does so for each event, and keeps nothing."""
    bot = Bot(**options)

    @bot.on_event
    async def handle(context: Context[Any]) -> None:
        await reply(context)

    return bot


async def echo(context: Context[Any]) -> None:
    await context.send_text(f"You said {context.event.text or context.event.payload}")


async def test_the_nickname_is_asked_for_and_remembered() -> None:
    bot = nickname_bot()
    async with on_slack(bot) as slack:
        await slack.say("Hi", times=2)
        await slack.say("Tim & <Ann>", times=2)
        assert slack.texts("U42") == ["Hi, what's your nickname?", "Hello Tim & <Ann>"]
        assert (await state_of(bot, "slack:U42"))["nickname"] == "Tim & <Ann>"


async def test_in_a_channel_each_member_has_a_session_and_answers_go_into_the_thread() -> None:
    bot = nickname_bot()
    async with on_slack(bot) as slack:
        await slack.say("Hi", user="U1", channel="C1", thread="4.000001")
        await slack.say("Hi", user="U2", channel="C1")
        assert len(slack.texts("C1")) == 2
        assert slack.calls[0].params["thread_ts"] == "4.000001"
        assert "thread_ts" not in slack.calls[1].params
        assert (await state_of(bot, "slack:C1/U1"))["asking"]
        assert (await state_of(bot, "slack:C1/U2"))["asking"]


async def test_a_mention_is_answered_once_though_slack_tells_of_it_twice() -> None:
    bot = nickname_bot()
    async with on_slack(bot) as slack:
        await slack.mention("Hi", user="U1")
        assert slack.texts("C1") == ["Hi, what's your nickname?"]


async def test_a_mention_is_answered_once_by_all_processes_together_even_if_nothing_is_kept() -> (
    None
):
    async with MemorySessionStore() as store, FakeSlack(webhook="http://bot/slack") as slack:
        message = slack.message("", channel="C1")
        message["text"] = f"<@{slack.bot}> Hi"
        for kind in ("message", "app_mention"):
            async with behind(slack, replying(echo, session_store=store)):
                await slack.deliver(slack.event(**{**message, "type": kind}))
        assert len(slack.texts("C1")) == 1


async def test_what_the_bot_says_itself_starts_nothing() -> None:
    async with on_slack(replying(echo)) as slack:
        await slack.say("Hi", user=slack.bot, bot_id=slack.bot_id, app_id=slack.app)
        assert slack.calls == []


async def test_a_delivery_again_changes_nothing() -> None:
    async with on_slack(nickname_bot()) as slack:
        body = msgspec.json.encode(slack.event(**slack.message("Hi")))
        await slack.post(body)
        again = {"X-Slack-Retry-Num": "1", "X-Slack-Retry-Reason": "http_timeout"}
        assert (await slack.post(body, {**slack.signed(body), **again})).status == 200
        assert len(slack.texts("U42")) == 1


# Buttons, commands and views.


async def test_a_button_is_a_payload() -> None:
    async with on_slack(replying(echo)) as slack:
        await slack.press("tea")
        assert slack.texts("U42") == ["You said tea"]


async def test_a_command_is_answered_where_it_was_used() -> None:
    async with on_slack(replying(echo)) as slack:
        await slack.command("/weather 94070")
        await slack.command("/weather 94070", channel="C1")
        assert slack.texts("U42") == ["You said /weather 94070"]
        assert slack.texts("C1") == ["You said /weather 94070"]


async def test_a_command_in_a_channel_that_the_bot_is_not_in_is_answered_all_the_same() -> None:
    async with on_slack(replying(echo)) as slack:
        slack.absent.add("C9")
        await slack.command("/weather", channel="C9")
        assert slack.texts("C9") == ["You said /weather"]
        assert [call.method for call in slack.calls] == ["chat.postMessage", "response_url"]
        assert "authorization" not in str(slack.calls[1].params).lower()


async def test_a_message_that_cannot_be_answered_fails() -> None:
    errors = []

    async def reply(context: Context[Any]) -> None:
        with pytest.raises(ChannelError) as caught:
            await context.send_text("Hi")
        errors.append(caught.value.code)

    async with on_slack(replying(reply)) as slack:
        slack.absent.add("C9")
        await slack.say("Hi", channel="C9")
        slack.answer_next(slack_error("is_archived"))
        await slack.command("/weather", channel="C1")
        assert errors == ["not_in_channel", "is_archived"]


async def test_a_handler_may_give_the_response_to_the_request() -> None:
    async def reply(context: Context[Any]) -> None:
        if context.event.kind == "block_suggestion":
            option = {"text": {"type": "plain_text", "text": "Tea"}, "value": "tea"}
            await context.send_answer(options=[option])
        if context.event.kind == "view_submission":
            await context.send_answer(response_action="errors", errors={"drink": "No tea left"})
            with pytest.raises(CannotSend):  # there is one response
                await context.send_answer(response_action="clear")

    async with on_slack(replying(reply)) as slack:
        options = await slack.interact("block_suggestion", action_id="drink", value="ear")
        assert options.headers["content-type"] == "application/json"
        assert msgspec.json.decode(options.body)["options"][0]["value"] == "tea"
        view = {"id": "V1", "callback_id": "order"}
        submitted = await slack.interact("view_submission", view=view)
        assert msgspec.json.decode(submitted.body) == {
            "response_action": "errors",
            "errors": {"drink": "No tea left"},
        }
        closed = await slack.interact("view_closed", view=view)
        assert (closed.status, closed.body) == (200, b"")


async def test_a_response_that_comes_too_late_is_not_lost_in_silence() -> None:
    outcome: list[str] = []

    async def reply(context: Context[Any]) -> None:
        while context.event.answer._is_open:  # type: ignore[attr-defined]
            await asyncio.sleep(0.005)
        with pytest.raises(CannotSend, match="has had the response"):
            await context.send_answer(response_action="clear")
        outcome.append("told")

    bot = replying(reply)
    async with FakeSlack() as slack:
        channel = slack.channel()
        channel.ack_within = 0.05
        async with behind(slack, bot, channel):
            delivery = await slack.interact("view_submission", view={"id": "V1"})
            assert (delivery.status, delivery.body) == (200, b"")
    assert outcome == ["told"]
    assert bot.early_answers == 1


async def test_a_view_is_opened_by_the_client() -> None:
    async def reply(context: Context[Any]) -> None:
        trigger = context.event.raw["trigger_id"]
        await context.client.views_open(trigger_id=trigger, view={"type": "modal"})
        with pytest.raises(ChannelError, match="exchanged_trigger_id"):
            await context.client.views_open(trigger_id=trigger, view={"type": "modal"})

    async with on_slack(replying(reply)) as slack:
        await slack.interact("shortcut", callback_id="order")
        (call,) = slack.calls[:1]
        assert call.params["view"] == '{"type":"modal"}'


async def test_a_response_url_takes_messages() -> None:
    async def reply(context: Context[Any]) -> None:
        if context.event.kind == "message":
            with pytest.raises(CannotSend, match="no response_url"):
                await context.send_response(text="Done")
            return
        for _ in range(5):
            await context.send_response(text="Done", response_type="in_channel")
        with pytest.raises(ChannelError) as caught:
            await context.send_response(text="Done")
        assert caught.value.code == "used_url"

    async with on_slack(replying(reply)) as slack:
        await slack.press("tea", channel="C1")
        await slack.say("Hi")
        assert slack.texts("C1") == ["Done"] * 5


# What a bot says.


async def test_a_text_is_taken_literally() -> None:
    async def reply(context: Context[Any]) -> None:
        await context.send_text("<!channel> & *bold*")

    async with on_slack(replying(reply)) as slack:
        await slack.say("Hi")
        (call,) = slack.calls
        assert call.params == {
            "channel": "D42",
            "text": "&lt;!channel&gt; &amp; *bold*",
            "mrkdwn": "false",
        }


async def test_a_message_has_slacks_markup_and_whatever_else_slack_knows() -> None:
    async def reply(context: Context[Any]) -> None:
        await context.send_message(text="*Hi* <@U42>", blocks=[{"type": "divider"}])
        await context.send_ephemeral(text="Only you")

    async with on_slack(replying(reply)) as slack:
        await slack.say("Hi", channel="C1", thread="4.000001")
        where = {"channel": "C1", "thread_ts": "4.000001"}
        message, ephemeral = slack.calls
        assert message.params == {**where, "text": "*Hi* <@U42>", "blocks": '[{"type":"divider"}]'}
        assert ephemeral.params == {**where, "user": "U42", "text": "Only you"}


async def test_nobody_can_be_shown_a_message_alone_where_the_event_is_nobodys() -> None:
    async def reply(context: Context[Any]) -> None:
        with pytest.raises(CannotSend, match="no user"):
            await context.send_ephemeral(text="Only you")

    async with on_slack(replying(reply)) as slack:
        await slack.deliver(slack.event(type="channel_rename", channel={"id": "C1"}))


async def test_a_text_that_is_too_long_is_said_in_parts() -> None:
    text = ("A sentence of no importance. " * 400).strip()

    async def reply(context: Context[Any]) -> None:
        await context.send_text(text)

    async with on_slack(replying(reply)) as slack:
        await slack.say("Hi")
        said = slack.texts("U42")
        assert len(said) == 3
        assert max(map(len, said)) <= 4000
        assert " ".join(said) == text


async def test_a_file_goes_where_the_conversation_is() -> None:
    async def reply(context: Context[Any]) -> None:
        await context.send_file(InputFile(b"meow", "cat.png"), text="<Tom>")

    async with on_slack(replying(reply)) as slack:
        await slack.say("Hi", channel="C1", thread="4.000001")
        await slack.command("/cat")
        first, second, third = slack.calls[:3]
        assert first.params == {"filename": "cat.png", "length": "4"}
        assert second.status == 200
        files = msgspec.json.decode(third.params.pop("files"))
        assert [one["title"] for one in files] == ["cat.png"]
        assert third.params == {
            "channel_id": "C1",
            "thread_ts": "4.000001",
            "initial_comment": "&lt;Tom&gt;",
        }
        assert slack.calls[3].method == "conversations.open"
        assert slack.calls[-1].params["channel_id"] == "D42"


async def test_typing_is_shown_in_threads_alone_and_is_no_reason_to_fail() -> None:
    async def reply(context: Context[Any]) -> None:
        await context.typing()

    async with on_slack(replying(reply)) as slack:
        await slack.say("Hi")
        assert slack.calls == []
        await slack.say("Hi", thread="4.000001")
        (call,) = slack.called("assistant.threads.setStatus")
        assert (call.params["channel_id"], call.params["thread_ts"]) == ("D42", "4.000001")
        slack.answer_next(slack_error("invalid_thread_ts"))
        assert (await slack.say("Hi", thread="4.000001")).status == 200


# Speaking first.


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("U42", {"channel": "U42"}),
        ("W42", {"channel": "W42"}),
        ("U42/4.000001", {"channel": "U42", "thread_ts": "4.000001"}),
        ("C1/", {"channel": "C1"}),
        ("C1/U42", {"channel": "C1"}),
        ("C1//4.000001", {"channel": "C1", "thread_ts": "4.000001"}),
        ("D42/", {"channel": "D42"}),
        ("U42@T1", {"channel": "U42"}),
    ],
)
async def test_somebody_who_never_wrote_is_spoken_to_by_the_sessions_key(
    key: str, expected: dict[str, Any]
) -> None:
    bot = nickname_bot()
    async with on_slack(bot) as slack:
        for channel in ("C1", "D42"):
            slack.thread(channel, "4.000001")
        async with bot.conversation(f"slack:{key}") as context:
            await context.send_message(text="Good morning")
        (call,) = slack.calls
        assert call.params == {**expected, "text": "Good morning"}


async def test_who_uses_a_shortcut_in_the_talk_of_two_others_is_answered_in_private() -> None:
    async def reply(context: Context[Any]) -> None:
        await context.send_text("I have kept it.")

    async with on_slack(replying(reply)) as slack:
        thread = slack.thread("D7")
        message = slack.message("Tea at 3?", user="U7", channel="D7", thread=thread)
        await slack.interact("message_action", channel="D7", message=message, callback_id="keep")
        assert slack.texts("U42") == ["I have kept it."]


async def test_a_thread_of_another_channel_is_none_to_slack() -> None:
    async with on_slack(nickname_bot()) as slack:
        channel = slack.channel()
        try:
            to = {"channel": "C2", "thread_ts": slack.thread("C1")}
            with pytest.raises(ChannelError, match="thread_not_found"):
                await channel.client.chat_post_message(text="Hi", **to)
        finally:
            await channel.stop()


async def test_an_address_that_is_kept_goes_before_the_key() -> None:
    bot = nickname_bot()
    async with on_slack(bot) as slack:
        await slack.say("Hi", channel="C1", thread="4.000001")
        async with bot.conversation("slack:C1/U42") as context:
            await context.send_text("Good morning")
        assert slack.calls[-1].params["thread_ts"] == "4.000001"


@pytest.mark.parametrize("key", ["table-4", "X1", "app/", "U42@nowhere"])
async def test_a_key_that_tells_no_channel_cannot_be_spoken_to(key: str) -> None:
    bot = nickname_bot()
    async with on_slack(bot):
        async with bot.conversation(f"slack:{key}") as context:
            with pytest.raises(CannotSend, match=f"slack:{key}"):
                await context.send_text("Good morning")


@pytest.mark.parametrize(
    "place", [Place("C1"), Place("C1", "4.1"), Place("C1", None, "T1"), Place("a/@", "b/@", "c/@")]
)
def test_a_place_is_read_as_it_was_written(place: Place) -> None:
    assert place == Place.of(str(place))


# Many workspaces.


async def test_a_bot_in_many_workspaces_answers_each_with_its_own_token() -> None:
    bot = nickname_bot()
    async with on_slack(bot, token={"T1": TOKEN}) as slack:
        await slack.say("Hi")
        assert slack.texts("U42") == ["Hi, what's your nickname?"]
        assert (await state_of(bot, "slack:U42@T1"))["asking"]
        async with bot.conversation("slack:C1@T1/U42@T1") as context:
            await context.send_text("Good morning")
        assert slack.texts("C1") == ["Good morning"]
        async with bot.conversation("slack:U42@T2") as context:
            with pytest.raises(CannotSend, match="no token for the workspace T2"):
                await context.send_text("Good morning")


async def test_a_handler_sees_one_person_alone_in_the_right_workspace() -> None:
    async def reply(context: Context[Any]) -> None:
        await context.send_ephemeral(text="Only you")

    async with on_slack(replying(reply), token=lambda _: TOKEN) as slack:
        await slack.say("Hi", channel="C1")
        (call,) = slack.calls
        assert call.params == {"channel": "C1", "user": "U42", "text": "Only you"}


# The signature. Its example is Slack's own:
# https://docs.slack.dev/authentication/verifying-requests-from-slack.

EXAMPLE_SECRET = "8f742231b10e8888abcd99yyyzzz85a5"  # noqa: S105 - Slack has published it
EXAMPLE_AT = 1531420618
EXAMPLE_SIGNATURE = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"
EXAMPLE = (
    b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&"
    b"channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&"
    b"command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2F"
    b"T1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&"
    b"trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
)


def example(
    body: bytes = EXAMPLE,
    signature: str = EXAMPLE_SIGNATURE,
    at: str = str(EXAMPLE_AT),
    now: float = EXAMPLE_AT,
) -> WebhookRequest:
    headers = {
        "x-slack-signature": signature,
        "x-slack-request-timestamp": at,
        "content-type": "application/x-www-form-urlencoded",
    }
    return WebhookRequest(method="POST", headers=headers, body=body, received_at=now)


def test_slacks_own_example_is_let_in_and_understood() -> None:
    channel = SlackChannel(TOKEN, EXAMPLE_SECRET)
    channel.verify(example())
    (event,) = channel.events(example())
    assert (event.kind, event.text) == ("command", "/webhook-collect")


def test_every_single_bit_of_the_signature_and_of_the_body_counts() -> None:
    channel = SlackChannel(TOKEN, EXAMPLE_SECRET)
    for changed in flipped(EXAMPLE_SIGNATURE.encode()):
        with pytest.raises(WebhookRefused):
            channel.verify(example(signature=changed.decode("latin-1")))
    for changed in flipped(EXAMPLE):
        with pytest.raises(WebhookRefused):
            channel.verify(example(body=changed))
    for changed in flipped(str(EXAMPLE_AT).encode()):
        at = changed.decode("latin-1")
        with pytest.raises(WebhookRefused):
            channel.verify(example(at=at, now=float(at) if at.isdecimal() else EXAMPLE_AT))


def flipped(text: bytes) -> list[bytes]:
    """A text with one bit changed, for each of them."""
    found = []
    for number in range(len(text) * 8):
        changed = bytearray(text)
        changed[number // 8] ^= 1 << number % 8
        found.append(bytes(changed))
    return found


@pytest.mark.parametrize("away", [-301, 301, 1e9])
def test_a_request_of_another_time_is_refused(away: float) -> None:
    with pytest.raises(WebhookRefused, match="five minutes"):
        SlackChannel(TOKEN, EXAMPLE_SECRET).verify(example(now=EXAMPLE_AT + away))


@pytest.mark.parametrize("away", [-300, -1, 299.9])
def test_clocks_may_differ_by_five_minutes(away: float) -> None:
    SlackChannel(TOKEN, EXAMPLE_SECRET).verify(example(now=EXAMPLE_AT + away))


@pytest.mark.parametrize("at", ["", "x", "-1", "1531420618.0", "\u0661", "1" * 13, "1, 1"])
def test_a_request_that_does_not_tell_its_time_is_refused(at: str) -> None:
    with pytest.raises(WebhookRefused, match="when it was signed"):
        SlackChannel(TOKEN, EXAMPLE_SECRET).verify(example(at=at))


@pytest.mark.parametrize("signature", ["", "v0=", "v1=abc", EXAMPLE_SIGNATURE[3:], "é"])
def test_any_other_signature_and_none_is_refused_and_not_told(signature: str) -> None:
    with pytest.raises(WebhookRefused) as caught:
        SlackChannel(TOKEN, EXAMPLE_SECRET).verify(example(signature=signature))
    assert "a2114d57" not in str(caught.value)
    assert EXAMPLE_SECRET not in str(caught.value)


# The webhook.


async def test_a_challenge_is_answered_if_it_is_signed() -> None:
    async with on_slack(replying(echo)) as slack:
        body = b'{"type": "url_verification", "challenge": "3eZbrw1aB", "token": "x"}'
        delivery = await slack.post(body)
        assert (delivery.status, delivery.body) == (200, b"3eZbrw1aB")
        unsigned = await slack.post(body, {"content-type": "application/json"})
        assert (unsigned.status, unsigned.body) == (401, b"")
        assert (await slack.post(b'{"type": "url_verification"}')).status == 400


async def test_who_says_what_a_challenge_is_called_has_only_said_it() -> None:
    async with on_slack(replying(echo)) as slack:
        await slack.say("url_verification")
        assert slack.texts("U42") == ["You said url_verification"]


async def test_a_look_at_the_certificate_is_answered() -> None:
    app = Bot(channels=[SlackChannel(TOKEN, SECRET)]).asgi()
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://bot") as client:
        assert (await client.get("/slack?ssl_check=1")).status_code == 200
        assert (await client.get("/slack")).status_code == 405
    async with on_slack(replying(echo)) as slack:
        assert (await slack.post(b"ssl_check=1&token=x")).status == 200


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"{}",
        b"[]",
        b"\xff\xfe",
        b"x=1",
        b"payload=",
        b"payload=%5B%5D",
        b"payload=%FF",
        b"payload={",
        urlencode({f"f{number}": "x" for number in range(101)}).encode(),
        b'{"type": "event_callback"}',
        b"{" + b'"a":[' * 5000,
    ],
)
async def test_a_body_that_slack_never_sends_is_400(body: bytes) -> None:
    async with on_slack(replying(echo)) as slack:
        assert (await slack.post(body)).status == 400


async def test_a_wrong_signature_is_401_and_nothing_is_handled() -> None:
    async with on_slack(replying(echo)) as slack:
        body = msgspec.json.encode(slack.event(**slack.message("Hi")))
        other = FakeSlack(signing_secret=SECRET[::-1])
        assert (await slack.post(body, other.signed(body))).status == 401
        assert slack.calls == []


async def test_the_time_is_that_of_the_bot() -> None:
    async with on_slack(replying(echo, clock=lambda: time.time() - 400)) as slack:
        body = msgspec.json.encode(slack.event(**slack.message("Hi")))
        assert (await slack.post(body)).status == 401


def test_a_body_that_is_no_json_is_malformed_and_its_words_are_not_told() -> None:
    channel = SlackChannel(TOKEN, SECRET)
    with pytest.raises(WebhookMalformed) as caught:
        channel.events(WebhookRequest(method="POST", body=b'{"text": my pin is 1234'))
    assert "1234" not in str(caught.value)


# Putting it together.


def test_a_channel_is_made_of_the_environment() -> None:
    environ = {"SLACK_BOT_TOKEN": TOKEN, "SLACK_SIGNING_SECRET": SECRET}
    assert SlackChannel.from_environment(environ).path == "/slack"
    for name in environ:
        with pytest.raises(ConfigurationError, match=name):
            SlackChannel.from_environment({**environ, name: ""})


@pytest.mark.parametrize("secret", ["", "short", "with space in it", "ä" * 32, 5, None])
def test_what_is_no_signing_secret_is_refused_and_not_told(secret: Any) -> None:
    with pytest.raises(ConfigurationError, match="as Slack shows it"):
        SlackChannel(TOKEN, secret)


def test_two_bots_of_slack_have_two_names_and_two_paths() -> None:
    first, second = SlackChannel(TOKEN, SECRET), SlackChannel(TOKEN, SECRET, name="slack-shop")
    assert (first.path, second.path) == ("/slack", "/slack-shop")
    body = b'{"type": "event_callback", "event": {"type": "team_rename"}}'
    (event,) = second.events(WebhookRequest(method="POST", body=body))
    assert event.channel == "slack-shop"


def test_nothing_shows_a_secret_or_what_people_say() -> None:
    channel = SlackChannel(TOKEN, SECRET)
    (event,) = channel.events(example())
    shown = repr(channel) + repr(channel.client) + repr(event)
    for secret in (TOKEN, SECRET, "96rGlfmib", "webhook-collect"):
        assert secret not in shown
