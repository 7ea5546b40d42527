"""A bot on Messenger: what it says, to whom, and how it speaks first."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from barback import (
    Bot,
    CannotSend,
    ChannelError,
    ConfigurationError,
    Context,
    MessengerChannel,
)
from barback.channels.messenger import InputFile, Place
from barback.channels.opening import open_channel
from barback.testing import FakeMessenger
from barback.testing.messenger import PAGE
from barback.testing.meta import APP_ID
from tests.fake_platforms import behind
from tests.scripted import state_of
from tests.test_telegram import nickname_bot

SENT = "POST /me/messages"


@asynccontextmanager
async def on_messenger(bot: Bot[Any], **options: Any) -> AsyncIterator[FakeMessenger]:
    """The bot behind its webhook, in this process, and Messenger over real sockets."""
    async with FakeMessenger() as messenger, behind(messenger, bot, **options):
        yield messenger


async def test_the_nickname_is_asked_for_and_remembered() -> None:
    bot = nickname_bot()
    async with on_messenger(bot) as messenger:
        await messenger.say("Hi", times=2)
        await messenger.say("Tim", times=2)
        assert messenger.texts("42") == ["Hi, what's your nickname?", "Hello Tim"]
        assert await state_of(bot, "messenger:42") == {"asking": False, "nickname": "Tim"}


async def test_a_batch_that_comes_again_repeats_nothing() -> None:
    async with on_messenger(nickname_bot()) as messenger:
        both = messenger.entry(messenger.message(text="Hi"), messenger.message(text="Tim"))
        await messenger.deliver(both, times=2)
        await messenger.deliver(both)
        assert messenger.texts("42") == ["Hi, what's your nickname?", "Hello Tim"]


async def test_an_answer_is_one_to_metas_mind_too() -> None:
    async with on_messenger(nickname_bot()) as messenger:
        await messenger.say("Hi")
        (call,) = messenger.called(f"POST /{PAGE}/messages")
        assert call.params["messaging_type"] == "RESPONSE"
        assert call.params["recipient"] == {"id": "42"}


async def test_a_button_and_a_quick_reply_are_payloads() -> None:
    bot = Bot()

    @bot.on_event
    async def answer(context: Context[Any]) -> None:
        await context.send_text(f"{context.event.text} is {context.event.payload}")

    async with on_messenger(bot) as messenger:
        await messenger.press("tea", title="Tea")
        await messenger.say("Milk", quick_reply={"payload": "milk"})
        assert messenger.texts("42") == ["Tea is tea", "Milk is milk"]


async def test_echoes_of_what_it_says_are_not_answered() -> None:
    seen = []
    bot = Bot()

    @bot.on_event
    async def see(context: Context[Any]) -> None:
        seen.append(context.event.kind)

    async with on_messenger(bot, app_id=APP_ID) as messenger:
        for app_id in (int(APP_ID), 5):
            said = messenger.message(text="Hello", is_echo=True, app_id=app_id)
            people = {"sender": {"id": PAGE}, "recipient": {"id": "42"}}
            await messenger.deliver(messenger.entry({**said, **people}))
        assert seen == ["message_echoes"]


# What a bot says.


async def test_a_text_that_is_too_long_is_said_in_parts() -> None:
    bot = Bot()
    text = ("A sentence of no importance. " * 200).strip()

    @bot.on_event
    async def talk(context: Context[Any]) -> None:
        await context.send_text(text)

    async with on_messenger(bot) as messenger:
        await messenger.say("Hi")
        said = messenger.texts("42")
        assert len(said) == 3
        assert " ".join(said) == text


async def test_whatever_else_goes_to_the_same_person() -> None:
    bot = Bot()

    @bot.on_event
    async def show(context: Context[Any]) -> None:
        await context.typing()
        await context.send_image("https://example.com/cat.png")
        await context.send_file(InputFile(b"%PDF", "bill.pdf"))
        await context.send_template(template_type="button", text="Tea?", buttons=[])
        await context.send_message(
            message={"text": "Tea?", "quick_replies": [{}]}, tag="HUMAN_AGENT"
        )
        with pytest.raises(AttributeError, match="send_cake"):
            await context.send_cake()

    async with on_messenger(bot) as messenger:
        await messenger.say("Hi")
        typing, image, file, template, tagged = messenger.calls
        assert all(call.params["recipient"] == {"id": "42"} for call in messenger.calls)
        assert typing.params["sender_action"] == "typing_on"
        assert image.params["message"]["attachment"] == {
            "type": "image",
            "payload": {"is_reusable": True, "url": "https://example.com/cat.png"},
        }
        assert file.files == {"filedata": b"%PDF"}
        assert file.params["message"]["attachment"]["type"] == "file"
        assert template.params["message"]["attachment"]["payload"]["text"] == "Tea?"
        assert tagged.params["messaging_type"] == "MESSAGE_TAG"


async def test_the_client_has_the_whole_platform() -> None:
    async with FakeMessenger() as messenger:
        client = messenger.channel().client
        await client.send_message(
            recipient={"id": "42"}, messaging_type="UPDATE", message={"text": "Hi"}
        )
        await client.get_profile(psid="42", fields=["first_name"])
        await client.set_messenger_profile(get_started={"payload": "START"})
        await client.pass_thread_control(recipient={"id": "42"}, target_app_id=5)
        await client.call("POST /{page}/custom_labels", page_label_name="x")
        assert [call.method for call in messenger.calls] == [
            SENT,
            "GET /42",
            "POST /me/messenger_profile",
            "POST /me/pass_thread_control",
            "POST /me/custom_labels",
        ]
        await client.close()


async def test_after_a_day_of_silence_the_error_says_what_to_do() -> None:
    bot = nickname_bot()
    async with on_messenger(bot) as messenger:
        messenger.silent.add("42")
        async with bot.conversation("messenger:42") as context:
            with pytest.raises(
                ChannelError, match=r"policy allows, mostly 24 hours: send with messaging_type"
            ) as caught:
                await context.send_text("Good morning")
            assert (caught.value.code, caught.value.parameters["error_subcode"]) == (10, 2018278)
            told = {"text": "Good morning"}
            await context.send_message(message=told, tag="HUMAN_AGENT")
        assert messenger.texts("42") == ["Good morning"]


async def test_what_messenger_would_not_take_the_fake_does_not_either() -> None:
    async with FakeMessenger() as messenger:
        client = messenger.channel().client
        good = {"recipient": {"id": "42"}, "messaging_type": "UPDATE", "message": {"text": "Hi"}}
        for bad in (
            {"recipient": {"id": "Tim"}},
            {"recipient": None},
            {"messaging_type": None},
            {"messaging_type": "TELEPATHY"},
            {"message": None},
            {"message": {"text": "  "}},
            {"message": {"text": "x" * 2001}},
            {"message": {"metadata": "x"}},
            {"message": {"attachment": {"type": "image", "payload": {}}}},
        ):
            with pytest.raises(ChannelError) as caught:
                await client.send_message(**{**good, **bad})
            assert caught.value.code == 100
        messenger.token = "another"  # noqa: S105 - it opens nothing
        with pytest.raises(ChannelError) as caught:
            await client.send_message(**good)
        assert caught.value.code == 190
        await client.close()


# Several pages.


async def test_each_page_answers_with_its_own_token() -> None:
    bot = nickname_bot()
    async with on_messenger(bot, pages={"7": "of-page-7"}) as messenger:
        told = messenger.entry(messenger.message(text="Hi"))
        told["entry"][0]["id"] = "7"
        messenger.page = "7"
        messenger.token = "of-page-7"  # noqa: S105 - it opens nothing
        await messenger.deliver(told)
        assert messenger.texts("42") == ["Hi, what's your nickname?"]
        (call,) = messenger.calls
        assert call.method == "POST /7/messages"


# Speaking first.


async def test_somebody_who_never_wrote_is_spoken_to_by_the_sessions_key() -> None:
    bot = nickname_bot()
    async with on_messenger(bot) as messenger:
        async with bot.conversation("messenger:42") as context:
            await context.send_text("Good morning")
        (call,) = messenger.calls
        assert (call.method, call.params["messaging_type"]) == (SENT, "UPDATE")
        assert messenger.texts("42") == ["Good morning"]


async def test_an_address_that_is_kept_goes_before_the_key() -> None:
    bot = nickname_bot()
    async with on_messenger(bot) as messenger:
        await messenger.say("Hi")
        async with bot.conversation("messenger:42") as context:
            await context.send_text("Good morning")
        assert messenger.calls[-1].method == f"POST /{PAGE}/messages"


@pytest.mark.parametrize("key", ["page:7/", "table-4", "42/7", "42/", ""])
async def test_a_key_that_tells_no_person_has_no_address(key: str) -> None:
    assert MessengerChannel("a", app_secret="b").address_of(key) is None  # noqa: S106


async def test_what_is_nobodys_cannot_be_answered() -> None:
    bot = Bot()
    caught = []

    @bot.on_event
    async def answer(context: Context[Any]) -> None:
        try:
            await context.send_text("Hi")
        except CannotSend as error:
            caught.append(str(error))

    async with on_messenger(bot) as messenger:
        change = {"field": "feed", "value": {"item": "comment"}}
        await messenger.deliver(messenger.entry(change, part="changes"))
        assert len(caught) == 1
        assert f"messenger:page:{PAGE}/" in caught[0]


@pytest.mark.parametrize("place", [Place("me", "42"), Place("a/b%", "c/d")], ids=str)
def test_a_place_is_read_as_it_was_written(place: Place) -> None:
    assert place == Place.of(str(place))


# Making one.


def test_the_environment_makes_one() -> None:
    environ = {"MESSENGER_TOKEN": "a", "MESSENGER_APP_SECRET": "b", "MESSENGER_APP_ID": "5"}
    channel = open_channel("messenger", environ)
    assert isinstance(channel, MessengerChannel)
    assert (channel.name, channel.path, channel._app_id) == ("messenger", "/messenger", "5")
    for missing in ("MESSENGER_TOKEN", "MESSENGER_APP_SECRET"):
        with pytest.raises(ConfigurationError, match=missing):
            open_channel("messenger", {**environ, missing: ""})


def test_two_bots_have_two_names_and_two_paths() -> None:
    second = MessengerChannel("a", app_secret="b", name="messenger-shop")  # noqa: S106
    assert second.path == "/messenger-shop"
    (event,) = second.events_of({"id": "7", "messaging": [{"sender": {"id": "5"}, "read": {}}]})
    assert event.channel == "messenger-shop"
