"""A bot on Viber: its webhook, what it says, and how it speaks first."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from barback import (
    Bot,
    CannotSend,
    ChannelError,
    ConfigurationError,
    Context,
    ViberChannel,
    WebhookRefused,
    WebhookRequest,
)
from barback.channels.answer import AnsweredEvent
from barback.channels.opening import open_channel
from barback.channels.viber import Place
from barback.testing import FakeViber, viber_error
from tests.fake_platforms import behind, viber_person
from tests.scripted import state_of
from tests.test_cli_web import command
from tests.test_telegram import nickname_bot

TOKEN = "44dafb7e0f40021e-61a47a1e6778d187-f2c5a676a07050b3"  # noqa: S105 - of Viber's own tests
HEADER = "x-viber-content-signature"
TIM = "01234567890A="
SLASHED = viber_person(1)  # "////////////////AAAAAQ=="
KEY = SLASHED.replace("/", "%2F")


@asynccontextmanager
async def on_viber(bot: Bot[Any], **options: Any) -> AsyncIterator[FakeViber]:
    """The bot behind its webhook, in this process, and Viber over real sockets."""
    async with FakeViber() as viber, behind(viber, bot, **options):
        yield viber


def saying(*texts: str) -> Bot[Any]:
    """A bot that says these, whatever happens."""
    bot = Bot()

    @bot.on_event
    async def talk(context: Context[Any]) -> None:
        for text in texts:
            await context.send_text(text)

    return bot


async def test_the_nickname_is_asked_for_and_remembered() -> None:
    bot = nickname_bot()
    async with on_viber(bot) as viber:
        await viber.say("Hi", times=2)
        await viber.say("Tim", times=2)
        assert viber.texts(TIM) == ["Hi, what's your nickname?", "Hello Tim"]
        assert await state_of(bot, f"viber:{TIM}") == {"asking": False, "nickname": "Tim"}


async def test_an_id_with_a_slash_is_a_person_like_any_other() -> None:
    bot = nickname_bot()
    async with on_viber(bot) as viber:
        await viber.say("Hi", user=SLASHED)
        assert viber.calls[0].params["receiver"] == SLASHED
        assert (await state_of(bot, f"viber:{KEY}"))["asking"]


async def test_a_button_that_is_silent_is_a_payload_and_another_is_a_text() -> None:
    bot = Bot()

    @bot.on_event
    async def answer(context: Context[Any]) -> None:
        await context.send_text(f"{context.event.payload}, {context.event.text}")

    async with on_viber(bot) as viber:
        await viber.press("tea")
        await viber.say("tea")
        assert viber.texts(TIM) == ["tea, None", "None, tea"]


# What a bot says.


async def test_a_message_has_its_receiver_its_sender_and_its_version() -> None:
    avatar = "https://bot.example/cat.png"
    async with on_viber(
        saying("Hi"), sender_name="Shop", sender_avatar=avatar, min_api_version=7
    ) as viber:
        await viber.say("Hi")
        assert viber.calls[0].params == {
            "receiver": TIM,
            "sender": {"name": "Shop", "avatar": avatar},
            "min_api_version": 7,
            "type": "text",
            "text": "Hi",
        }


async def test_a_text_that_is_too_long_is_said_in_parts() -> None:
    text = ("A sentence of no importance. " * 600).strip()
    async with on_viber(saying(text)) as viber:
        await viber.say("Hi")
        said = viber.texts(TIM)
        assert len(said) == 3
        assert " ".join(said) == text


async def test_any_type_of_message_is_sent_by_its_name() -> None:
    bot = Bot()

    @bot.on_event
    async def show(context: Context[Any]) -> None:
        await context.typing()  # which Viber has not, and nobody minds
        await context.send_picture(media="https://bot.example/cat.png", text="Tom")
        await context.send_rich_media(rich_media={"Buttons": []}, min_api_version=7)
        await context.send_keyboard(keyboard={"Type": "keyboard", "Buttons": []})
        told = await context.send_message(type="url", media="https://bot.example")
        assert told["message_token"]

    async with on_viber(bot) as viber:
        await viber.say("Hi")
        sent = [call.params for call in viber.called("send_message")]
        assert [one.get("type") for one in sent] == ["picture", "rich_media", None, "url"]
        assert {one["receiver"] for one in sent} == {TIM}
        assert [one["min_api_version"] for one in sent] == [1, 7, 1, 1]


async def test_in_a_chat_with_others_each_has_a_session_and_is_answered_there() -> None:
    bot = nickname_bot()
    async with on_viber(bot) as viber:
        await viber.say("Hi", user=SLASHED, chat_id=5048086924903818307)
        assert viber.calls[0].params["receiver"] == SLASHED
        assert viber.calls[0].params["chat_id"] == "5048086924903818307"
        assert (await state_of(bot, f"viber:5048086924903818307/{KEY}"))["asking"]


# Who has not subscribed.


async def test_who_opens_the_conversation_is_welcomed_in_the_answer() -> None:
    bot = nickname_bot()
    async with on_viber(bot) as viber:
        delivery = await viber.start(user=SLASHED)
        assert viber.texts(SLASHED) == ["Hi, what's your nickname?"]
        assert viber.calls == []
        assert delivery.headers["content-type"] == "application/json"
        assert msgspec.json.decode(delivery.body) == {
            "sender": {"name": "Bot"},
            "min_api_version": 1,
            "type": "text",
            "text": "Hi, what's your nickname?",
        }
        await viber.say("Tim", user=SLASHED)
        assert viber.texts(SLASHED)[1:] == ["Hello Tim"]


async def test_a_welcome_may_be_any_message() -> None:
    bot = Bot()

    @bot.on_event
    async def welcome(context: Context[Any]) -> None:
        keyboard = {"Type": "keyboard", "Buttons": [{"ActionBody": "tea", "Text": "Tea"}]}
        told = await context.send_message(type="text", text="Tea?", keyboard=keyboard, media=None)
        assert told == {}

    async with on_viber(bot) as viber:
        delivery = await viber.start(context="shop")
        said = msgspec.json.decode(delivery.body)
        assert said["keyboard"]["Buttons"][0]["ActionBody"] == "tea"
        assert "media" not in said


@pytest.mark.parametrize("texts", [("one", "two"), ("x" * 7001,)], ids=["two", "too long"])
async def test_who_has_not_subscribed_is_told_one_thing_only(texts: tuple[str, ...]) -> None:
    bot = saying(*texts)
    caught: list[Exception] = []

    @bot.on_error
    async def note(context: Context[Any], error: Exception) -> None:
        caught.append(error)

    async with on_viber(bot) as viber:
        await viber.start()
        assert viber.texts(TIM) == list(texts[:-1])
    (error,) = caught
    assert isinstance(error, CannotSend)
    assert "one message" in str(error)


async def test_who_has_subscribed_already_is_sent_messages() -> None:
    async with on_viber(saying("one", "two")) as viber:
        viber.subscribers.add(TIM)
        delivery = await viber.start()
        assert delivery.body == b""
        assert viber.texts(TIM) == ["one", "two"]


async def test_outside_of_a_web_app_there_is_no_answer_to_welcome_in() -> None:
    bot = saying("Welcome")
    caught: list[Exception] = []

    @bot.on_error
    async def note(context: Context[Any], error: Exception) -> None:
        caught.append(error)

    channel = ViberChannel(TOKEN, sender_name="Bot")
    bot.add_channel(channel)
    async with bot:
        body = msgspec.json.encode(FakeViber().callback("conversation_started"))
        (event,) = channel.events(request(None, body))
        await bot.handle(event)
        assert isinstance(caught[0], CannotSend)
        assert isinstance(event, AnsweredEvent)
        event.answer.open()
        await bot.handle(event)
        said = event.answer.close()
    assert said is not None
    assert msgspec.json.decode(said.body)["text"] == "Welcome"


# Speaking first.


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (TIM, {"receiver": TIM}),
        (KEY, {"receiver": SLASHED}),
        (f"77/{KEY}", {"receiver": SLASHED, "chat_id": "77"}),
        (f"7%2F7/{TIM}", {"receiver": TIM, "chat_id": "7/7"}),
        ("ab+/=".replace("/", "%2F"), {"receiver": "ab+/="}),
    ],
)
async def test_somebody_who_has_subscribed_is_spoken_to_by_the_sessions_key(
    key: str, expected: dict[str, str]
) -> None:
    bot = nickname_bot()
    async with on_viber(bot) as viber:
        viber.subscribers.add(expected["receiver"])
        async with bot.conversation(f"viber:{key}") as context:
            await context.send_text("Good morning")
        (call,) = viber.calls
        given = {key: call.params[key] for key in ("receiver", "chat_id") if key in call.params}
        assert (given, call.status) == (expected, 200)
        assert viber.texts(expected["receiver"]) == ["Good morning"]


async def test_an_address_that_is_kept_goes_before_the_key() -> None:
    bot = nickname_bot(scope="user")
    async with on_viber(bot) as viber:
        await viber.say("Hi", user=SLASHED, chat_id=77)
        async with bot.conversation(f"viber:{KEY}") as context:
            await context.send_text("Good morning")
        assert viber.calls[-1].params["chat_id"] == "77"


@pytest.mark.parametrize("key", ["77/", "bot/", "table-4", "77//1", "=", "abc"])
async def test_a_key_that_tells_no_person_cannot_be_spoken_to(key: str) -> None:
    bot = nickname_bot()
    async with on_viber(bot):
        async with bot.conversation(f"viber:{key}") as context:
            with pytest.raises(CannotSend, match="viber:"):
                await context.send_text("Good morning")


async def test_who_has_not_subscribed_cannot_be_spoken_to_first() -> None:
    bot = nickname_bot()
    async with on_viber(bot):
        async with bot.conversation(f"viber:{KEY}") as context:
            with pytest.raises(ChannelError, match="receiverNotSubscribed") as caught:
                await context.send_text("Good morning")
    assert caught.value.code == 6


@pytest.mark.parametrize(
    "place", [Place(TIM), Place(SLASHED), Place(SLASHED, "77"), Place("a%2F+=", "b/c%")]
)
def test_a_place_is_read_as_it_was_written(place: Place) -> None:
    assert place == Place.of(str(place))


# The signature.


def request(signature: str | None, body: bytes) -> WebhookRequest:
    headers = {} if signature is None else {HEADER: signature}
    return WebhookRequest(method="POST", headers=headers, body=body)


# Of Viber's own libraries: viber-bot-python, tests/api/test_api.py, and viber-bot-node,
# test/message/message-validator-test.js, which have the same one.
BODY = b'{"event":"webhook","timestamp":4977069964384421269,"message_token":1478683725125}'
SIGNATURE = "d21b343448c8aee33b8e93768ef6ceb64a6ba6163099973a2b8bd028fea510ef"


def channel() -> ViberChannel:
    return ViberChannel(TOKEN, sender_name="Bot")


def test_the_signature_that_viber_publishes_is_right_and_tries_the_webhook() -> None:
    channel().verify(request(SIGNATURE, BODY))
    assert channel().events(request(SIGNATURE, BODY)) == ()


def test_every_single_bit_of_the_body_and_of_the_signature_counts() -> None:
    viber = channel()
    for number in range(len(BODY) * 8):
        body = bytearray(BODY)
        body[number // 8] ^= 1 << number % 8
        with pytest.raises(WebhookRefused):
            viber.verify(request(SIGNATURE, bytes(body)))
    for number in range(len(SIGNATURE) * 8):
        changed = bytearray(SIGNATURE.encode())
        changed[number // 8] ^= 1 << number % 8
        with pytest.raises(WebhookRefused):
            viber.verify(request(changed.decode("latin-1"), BODY))


@pytest.mark.parametrize("given", [None, "", "aaaaaaaaaaaaaaaaaaaaaa", SIGNATURE[:-1], "é"])
def test_any_other_signature_and_none_is_refused_and_the_right_one_not_told(
    given: str | None,
) -> None:
    with pytest.raises(WebhookRefused) as caught:
        channel().verify(request(given, BODY))
    assert SIGNATURE[:8] not in str(caught.value)


def test_the_signature_of_another_bot_is_refused() -> None:
    other = ViberChannel(TOKEN[:-1] + "4", sender_name="Bot")
    with pytest.raises(WebhookRefused):
        other.verify(request(SIGNATURE, BODY))


async def test_a_wrong_signature_is_401_and_nothing_is_handled() -> None:
    async with on_viber(nickname_bot()) as viber:
        body = msgspec.json.encode(viber.callback("message", sender=viber.person(TIM)))
        assert (await viber.post(body, {HEADER: "wrong"})).status == 401
        assert (await viber.post(body)).status == 200


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff\xfe", b"{}", b'{"event": 5}'])
async def test_a_body_that_is_no_callback_is_400(body: bytes) -> None:
    async with on_viber(nickname_bot()) as viber:
        assert (await viber.post(body)).status == 400


# The webhook at Viber.


async def test_a_bot_that_is_served_sets_shows_and_deletes_its_webhook() -> None:
    bot = nickname_bot()
    async with on_viber(bot) as viber:
        viber.webhook = None
        setting = viber.channel(send_photo=True)
        await setting.set_webhook("http://bot/viber", send_name=False)
        assert viber.webhook == "http://bot/viber"
        assert viber.wanted == {
            "event_types": [
                "failed",
                "subscribed",
                "unsubscribed",
                "conversation_started",
                "message",
            ],
            "send_name": False,
            "send_photo": True,
        }
        info = await setting.webhook_info()
        assert (info["url"], info["event_types"]) == (viber.webhook, viber.wanted["event_types"])
        assert "members" not in info
        await setting.delete_webhook()
        assert viber.webhook is None
        assert (await setting.webhook_info())["url"] == ""
        await setting.stop()


async def test_a_webhook_where_no_bot_is_cannot_be_set_and_that_is_said() -> None:
    async with FakeViber() as viber:
        setting = viber.channel(event_types=["message"])
        with pytest.raises(ConfigurationError, match="Serve the bot first, with `barback run`"):
            await setting.set_webhook("http://127.0.0.1:1/viber")
        assert viber.webhook is None
        await setting.stop()


async def test_the_command_line_says_that_the_bot_must_run_when_its_webhook_is_set(
    tmp_path: Path,
) -> None:
    (tmp_path / "shop.py").write_text("from barback import Bot\nbot = Bot()\n")

    async def set_webhook(viber: FakeViber, url: str) -> subprocess.CompletedProcess[str]:
        arguments = ("webhook", "set", "shop:bot", url, "--channel", "viber")
        return await asyncio.to_thread(command, *arguments, cwd=tmp_path, **viber.environment())

    async with on_viber(nickname_bot()) as viber:
        done = await set_webhook(viber, "http://bot")
        assert (done.returncode, viber.webhook) == (0, "http://bot/viber")
    async with FakeViber() as viber:
        done = await set_webhook(viber, "http://127.0.0.1:1")
        assert (done.returncode, viber.webhook) == (2, None)
        assert "Serve the bot first" in done.stderr


async def test_other_failures_of_setting_a_webhook_are_vibers() -> None:
    async with FakeViber() as viber:
        setting = viber.channel()
        viber.answer_next(viber_error(2, "invalidAuthToken"))
        with pytest.raises(ChannelError, match="with 2: invalidAuthToken"):
            await setting.set_webhook("https://bot.example/viber")
        await setting.stop()


# A channel's make.


def test_two_bots_of_viber_have_two_names_and_two_paths() -> None:
    first, second = channel(), ViberChannel(TOKEN, sender_name="Shop", name="viber-shop")
    assert (first.path, second.path) == ("/viber", "/viber-shop")
    (event,) = second.events(request(None, b'{"event": "seen", "user_id": "01234567890A="}'))
    assert event.channel == "viber-shop"


@pytest.mark.parametrize("name", ["", "x" * 29, 5, None])
def test_a_senders_name_that_viber_would_not_take_is_refused(name: Any) -> None:
    with pytest.raises(ConfigurationError, match="1 to 28"):
        ViberChannel(TOKEN, sender_name=name)


def test_a_channel_shows_no_token() -> None:
    assert repr(channel()) == "<ViberChannel 'viber' of the bot 'Bot'>"
    assert "44dafb" not in repr(channel().client)


def test_the_environment_tells_of_a_channel() -> None:
    found = open_channel("viber", {"VIBER_TOKEN": TOKEN, "VIBER_SENDER_NAME": "Shop"})
    assert repr(found) == "<ViberChannel 'viber' of the bot 'Shop'>"


@pytest.mark.parametrize("missing", ["VIBER_TOKEN", "VIBER_SENDER_NAME"])
def test_what_the_environment_lacks_is_said(missing: str) -> None:
    environ = {"VIBER_TOKEN": TOKEN, "VIBER_SENDER_NAME": "Shop", missing: ""}
    with pytest.raises(ConfigurationError, match=missing) as caught:
        open_channel("viber", environ)
    assert TOKEN not in str(caught.value)


# The fake.


async def test_who_subscribes_and_goes_again_is_told_of() -> None:
    bot, kinds = Bot(), []

    @bot.on_event
    async def note(context: Context[Any]) -> None:
        kinds.append(context.event.kind)

    async with on_viber(bot) as viber:
        await viber.subscribe()
        assert viber.subscribers == {TIM}
        await viber.unsubscribe()
        await viber.start(context="shop")
        await viber.send({"type": "sticker", "sticker_id": 46105})
        assert viber.subscribers == {TIM}
        assert viber.texts(TIM) == []
    assert kinds == ["subscribed", "unsubscribed", "conversation_started", "message"]


async def test_a_welcome_that_viber_would_not_take_is_found_out() -> None:
    async with on_viber(saying("")) as viber:
        with pytest.raises(AssertionError, match="no message"):
            await viber.start()


async def test_a_method_that_viber_has_not_is_an_error() -> None:
    async with FakeViber() as viber:
        client = viber.channel().client
        with pytest.raises(ChannelError, match="with 404"):
            await client.fly_away()
        with pytest.raises(ChannelError, match="missingData"):
            await client.get_user_details()
        with pytest.raises(ChannelError, match="receiverNotSubscribed"):
            await client.get_user_details(id=TIM)
        with pytest.raises(ChannelError, match="missingData"):
            await client.set_webhook()
        with pytest.raises(ChannelError, match="missingData"):
            await client.broadcast_message(broadcast_list=[])
        await client.close()
