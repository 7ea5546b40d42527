"""A bot on WhatsApp: what it says, to whom, by which number, and how it speaks first."""

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
    WhatsAppChannel,
)
from barback.channels.http import HttpAnswer
from barback.channels.opening import open_channel
from barback.channels.whatsapp import InputFile, Place
from barback.testing import FakeWhatsApp, graph_error
from barback.testing.whatsapp import ACCOUNT, NUMBER
from tests.fake_platforms import behind
from tests.scripted import state_of
from tests.test_telegram import nickname_bot

SENT = f"POST /{NUMBER}/messages"
PHONE = "16505551234"
OWN = f"US.9{PHONE}"
GROUP = "Y2FwaV9ncm91cDoxNzA1NTU1MDEzOToxMjAzNjM0MDQ2OTQyMzM4MjAZD"


def channel(**options: Any) -> WhatsAppChannel:
    told = {"phone_number_id": NUMBER, "app_secret": "a-secret"}
    return WhatsAppChannel("a-token", **{**told, **options})


@asynccontextmanager
async def on_whatsapp(bot: Bot[Any], **options: Any) -> AsyncIterator[FakeWhatsApp]:
    """The bot behind its webhook, in this process, and WhatsApp over real sockets."""
    async with FakeWhatsApp() as whatsapp, behind(whatsapp, bot, **options):
        yield whatsapp


async def test_the_nickname_is_asked_for_and_remembered() -> None:
    bot = nickname_bot()
    async with on_whatsapp(bot) as whatsapp:
        await whatsapp.say("Hi", times=2)
        await whatsapp.say("Tim", times=2)
        assert whatsapp.texts(PHONE) == ["Hi, what's your nickname?", "Hello Tim"]
        assert await state_of(bot, f"whatsapp:{OWN}") == {"asking": False, "nickname": "Tim"}


async def test_who_begins_to_hide_the_phone_number_is_the_same_person() -> None:
    bot = nickname_bot()
    async with on_whatsapp(bot) as whatsapp:
        await whatsapp.say("Hi")
        said = whatsapp.message(type="text", text={"body": "Tim"})
        del said["from"]
        told = whatsapp.entry(PHONE, messages=[said])
        del told["entry"][0]["changes"][0]["value"]["contacts"][0]["wa_id"]
        await whatsapp.deliver(told)
        assert whatsapp.texts(PHONE) == ["Hi, what's your nickname?", "Hello Tim"]
        assert whatsapp.calls[0].params["to"] == PHONE
        assert whatsapp.calls[1].params["recipient"] == OWN
        assert "to" not in whatsapp.calls[1].params


async def test_sessions_may_go_by_phone_numbers() -> None:
    bot = nickname_bot()
    async with on_whatsapp(bot, identify_by="phone") as whatsapp:
        await whatsapp.say("Hi")
        assert (await state_of(bot, f"whatsapp:{PHONE}"))["asking"]


async def test_in_a_group_each_member_has_a_session_and_answers_go_to_the_group() -> None:
    bot = nickname_bot()
    async with on_whatsapp(bot) as whatsapp:
        await whatsapp.say("Hi", user="1", group=GROUP)
        await whatsapp.say("Hi", user="2", group=GROUP)
        assert len(whatsapp.texts(GROUP)) == 2
        assert whatsapp.calls[0].params["recipient_type"] == "group"
        assert (await state_of(bot, f"whatsapp:{GROUP}/US.91"))["asking"]
        assert (await state_of(bot, f"whatsapp:{GROUP}/US.92"))["asking"]


async def test_a_button_is_a_payload_and_what_becomes_of_a_message_an_event() -> None:
    seen = []
    bot = Bot()

    @bot.on_event
    async def see(context: Context[Any]) -> None:
        event = context.event
        seen.append((event.kind, event.text, event.payload))

    async with on_whatsapp(bot) as whatsapp:
        await whatsapp.press("tea", title="Tea")
        await whatsapp.report("wamid.1", "read", user=PHONE)
        assert seen == [("payload", "Tea", "tea"), ("status", None, None)]


async def test_a_batch_that_comes_again_repeats_nothing() -> None:
    async with on_whatsapp(nickname_bot()) as whatsapp:
        said = [whatsapp.message(type="text", text={"body": text}) for text in ("Hi", "Tim")]
        both = whatsapp.entry(PHONE, messages=said)
        await whatsapp.deliver(both, times=2)
        await whatsapp.deliver(both)
        assert whatsapp.texts(PHONE) == ["Hi, what's your nickname?", "Hello Tim"]


# What a bot says.


async def test_a_text_that_is_too_long_is_said_in_parts() -> None:
    bot = Bot()
    text = ("A sentence of no importance. " * 400).strip()

    @bot.on_event
    async def talk(context: Context[Any]) -> None:
        await context.send_text(text)

    async with on_whatsapp(bot) as whatsapp:
        await whatsapp.say("Hi")
        said = whatsapp.texts(PHONE)
        assert len(said) == 3
        assert " ".join(said) == text


async def test_whatever_else_goes_to_the_same_person() -> None:
    bot = Bot()

    @bot.on_event
    async def show(context: Context[Any]) -> None:
        await context.typing()
        await context.send_template("hello_world", components=[{"type": "body"}])
        await context.send_image("https://example.com/cat.png", caption="Tom")
        await context.send_sticker("1003383421387256")
        await context.send_document(InputFile(b"%PDF", "bill.pdf"), filename="bill.pdf")
        await context.send_contacts([{"name": {"formatted_name": "Tim"}}])
        await context.send_location(latitude=1, longitude=2)
        answered = {"message_id": context.event.id}
        await context.send_message(type="text", text={"body": "Hi"}, context=answered)
        with pytest.raises(AttributeError, match="send_cake"):
            await context.send_cake()

    async with on_whatsapp(bot) as whatsapp:
        await whatsapp.say("Hi")
        assert {call.status for call in whatsapp.calls} == {200}
        typing, *sent = whatsapp.called(SENT)
        assert typing.params["status"] == "read"
        assert typing.params["typing_indicator"] == {"type": "text"}
        assert typing.params["message_id"].startswith("wamid.")
        assert all(call.params["to"] == PHONE for call in sent)
        (uploaded,) = whatsapp.called(f"POST /{NUMBER}/media")
        assert uploaded.files == {"file": b"%PDF"}
        assert uploaded.params == {"messaging_product": "whatsapp", "type": "application/pdf"}
        own = next(iter(whatsapp.media))
        shown = [call.params[call.params["type"]] for call in sent]
        assert shown == [
            {
                "name": "hello_world",
                "language": {"code": "en_US"},
                "components": [{"type": "body"}],
            },
            {"link": "https://example.com/cat.png", "caption": "Tom"},
            {"id": "1003383421387256"},
            {"id": own, "filename": "bill.pdf"},
            [{"name": {"formatted_name": "Tim"}}],
            {"latitude": 1, "longitude": 2},
            {"body": "Hi"},
        ]


async def test_outside_of_a_message_nothing_is_shown_as_typing() -> None:
    bot = nickname_bot()
    async with on_whatsapp(bot) as whatsapp:
        async with bot.conversation(f"whatsapp:{PHONE}") as context:
            await context.typing()
        assert whatsapp.calls == []


async def test_what_somebody_has_sent_can_be_fetched() -> None:
    bot = Bot()
    got = []

    @bot.on_event
    async def fetch(context: Context[Any]) -> None:
        image = context.event.raw["messages"][0]["image"]
        got.append(await context.client.download_media(image["id"]))

    async with on_whatsapp(bot) as whatsapp:
        whatsapp.media["99"] = b"\x89PNG"
        said = whatsapp.message(type="image", image={"id": "99", "mime_type": "image/png"})
        await whatsapp.deliver(whatsapp.entry(PHONE, messages=[said]))
        assert got == [b"\x89PNG"]


async def test_media_that_has_gone_is_an_error_without_its_address() -> None:
    async with FakeWhatsApp() as whatsapp:
        client = whatsapp.channel().client
        whatsapp.media["99"] = b""
        where = HttpAnswer(200, {}, f'{{"url": "{whatsapp.url}/files/99?hash=x"}}'.encode())
        whatsapp.answer_next(where, HttpAnswer(404, {}, b"gone"))
        with pytest.raises(ChannelError, match=r"refused GET \{url\}, with 404") as caught:
            await client.download_media("99")
        assert "hash" not in str(caught.value)
        with pytest.raises(ChannelError) as caught:
            await client.download_media("5")
        assert caught.value.code == 100
        await client.close()


async def test_the_client_has_the_whole_platform() -> None:
    async with FakeWhatsApp() as whatsapp:
        client = whatsapp.channel(waba_id=ACCOUNT).client
        await client.send_message(to=PHONE, type="text", text={"body": "Hi"})
        await client.mark_as_read("wamid.1")
        await client.get_business_profile(fields=["about"])
        await client.get_templates(status="APPROVED")
        await client.unblock_users(block_users=[{"user": PHONE}])
        await client.call("POST /{phone_number_id}/settings", calling={"status": "ENABLED"})
        assert [call.method for call in whatsapp.calls] == [
            SENT,
            SENT,
            f"GET /{NUMBER}/whatsapp_business_profile",
            f"GET /{ACCOUNT}/message_templates",
            f"DELETE /{NUMBER}/block_users",
            f"POST /{NUMBER}/settings",
        ]
        assert whatsapp.calls[4].params["messaging_product"] == "whatsapp"
        assert whatsapp.calls[5].params == {"calling": {"status": "ENABLED"}}
        await client.close()


async def test_after_a_day_of_silence_the_error_says_what_to_do() -> None:
    bot = nickname_bot()
    async with on_whatsapp(bot) as whatsapp:
        whatsapp.silent.add(PHONE)
        async with bot.conversation(f"whatsapp:{PHONE}") as context:
            with pytest.raises(ChannelError, match="only a template may be sent") as caught:
                await context.send_text("Good morning")
            assert caught.value.code == 131047
            await context.send_template("good_morning", language="de")
        assert len(whatsapp.called(SENT)) == 1


@pytest.mark.parametrize("code", [4, 80007, 130429, 131056])
async def test_messages_that_were_too_many_are_sent_again(code: int) -> None:
    async with FakeWhatsApp() as whatsapp:
        client = whatsapp.channel().client
        refused = graph_error(400, code, "(#…) Rate limit hit")
        whatsapp.answer_next(HttpAnswer(400, {"retry-after": "0.01"}, refused.body))
        await client.send_message(to=PHONE, type="text", text={"body": "Hi"})
        assert whatsapp.texts(PHONE) == ["Hi"]
        await client.close()


async def test_what_whatsapp_would_not_take_the_fake_does_not_either() -> None:
    async with FakeWhatsApp() as whatsapp:
        client = whatsapp.channel().client
        good = {"to": PHONE, "type": "text", "text": {"body": "Hi"}}
        for bad in (
            {"to": None},
            {"messaging_product": "telegraph"},
            {"text": None},
            {"text": {"body": " "}},
            {"text": {"body": "x" * 4097}},
            {"type": "image"},
            {"type": "template", "template": {"name": "x"}},
            {"status": "read"},
        ):
            with pytest.raises(ChannelError) as caught:
                await client.send_message(**{**good, **bad})
            assert caught.value.code == 100
        with pytest.raises(ChannelError):
            await client.upload_media(InputFile(b"x"), messaging_product=None)
        whatsapp.token = "another"  # noqa: S105 - it opens nothing
        with pytest.raises(ChannelError) as caught:
            await client.send_message(**good)
        assert caught.value.code == 190
        await client.close()


# Several numbers.


async def test_each_number_answers_what_was_said_to_it() -> None:
    bot = nickname_bot()
    async with on_whatsapp(bot, tokens={"7": "of-number-7"}) as whatsapp:
        whatsapp.number = "7"
        whatsapp.token = "of-number-7"  # noqa: S105 - it opens nothing
        await whatsapp.say("Hi")
        assert whatsapp.texts(PHONE) == ["Hi, what's your nickname?"]
        (call,) = whatsapp.calls
        assert call.method == "POST /7/messages"


async def test_what_has_no_number_is_answered_by_the_channels_own() -> None:
    async with on_whatsapp(nickname_bot()) as whatsapp:
        said = whatsapp.message(type="text", text={"body": "Hi"})
        told = whatsapp.entry(PHONE, messages=[said])
        del told["entry"][0]["changes"][0]["value"]["metadata"]
        await whatsapp.deliver(told)
        assert whatsapp.texts(PHONE) == ["Hi, what's your nickname?"]


# Speaking first.


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (PHONE, {"recipient_type": "individual", "to": PHONE}),
        (f"+{PHONE}", {"recipient_type": "individual", "to": f"+{PHONE}"}),
        (OWN, {"recipient_type": "individual", "recipient": OWN}),
        ("US.ENT.118", {"recipient_type": "individual", "recipient": "US.ENT.118"}),
        (f"{GROUP}/", {"recipient_type": "group", "to": GROUP}),
        (f"{GROUP}/{OWN}", {"recipient_type": "group", "to": GROUP}),
    ],
)
async def test_somebody_who_never_wrote_is_spoken_to_by_the_sessions_key(
    key: str, expected: dict[str, Any]
) -> None:
    bot = nickname_bot()
    async with on_whatsapp(bot) as whatsapp:
        async with bot.conversation(f"whatsapp:{key}") as context:
            await context.send_text("Good morning")
        (call,) = whatsapp.calls
        message = {
            "messaging_product": "whatsapp",
            "type": "text",
            "text": {"body": "Good morning"},
        }
        assert call.params == {**message, **expected}


async def test_an_address_that_is_kept_goes_before_the_key() -> None:
    bot = nickname_bot()
    async with on_whatsapp(bot) as whatsapp:
        await whatsapp.say("Hi")
        async with bot.conversation(f"whatsapp:{OWN}") as context:
            await context.send_text("Good morning")
        assert whatsapp.calls[-1].params["to"] == PHONE


@pytest.mark.parametrize("key", [f"account:{ACCOUNT}/", f"number:{NUMBER}/", "table-4", "/", ""])
async def test_a_key_that_tells_nobody_has_no_address(key: str) -> None:
    assert channel().address_of(key) is None


async def test_what_is_nobodys_cannot_be_answered() -> None:
    bot = Bot()
    caught = []

    @bot.on_event
    async def answer(context: Context[Any]) -> None:
        try:
            await context.send_text("Hi")
        except CannotSend as error:
            caught.append(str(error))

    async with on_whatsapp(bot) as whatsapp:
        told = whatsapp.entry(field="security")
        told["entry"][0]["changes"][0]["value"] = {"event": "PIN_CHANGED"}
        await whatsapp.deliver(told)
        assert len(caught) == 1
        assert f"whatsapp:account:{ACCOUNT}/" in caught[0]


@pytest.mark.parametrize(
    "place",
    [
        Place("1", PHONE),
        Place("1", OWN),
        Place("1", group=GROUP),
        Place("", "a/b%"),
        Place("1", group="=/"),
    ],
    ids=str,
)
def test_a_place_is_read_as_it_was_written(place: Place) -> None:
    assert place == Place.of(str(place))


# Making one.


def test_the_environment_makes_one() -> None:
    environ = {
        "WHATSAPP_TOKEN": "a",
        "WHATSAPP_PHONE_NUMBER_ID": NUMBER,
        "WHATSAPP_APP_SECRET": "b",
        "WHATSAPP_WABA_ID": ACCOUNT,
    }
    made = open_channel("whatsapp", environ)
    assert isinstance(made, WhatsAppChannel)
    assert (made.name, made.path, made._waba_id) == ("whatsapp", "/whatsapp", ACCOUNT)
    for missing in ("WHATSAPP_TOKEN", "WHATSAPP_PHONE_NUMBER_ID", "WHATSAPP_APP_SECRET"):
        with pytest.raises(ConfigurationError, match=missing):
            open_channel("whatsapp", {**environ, missing: ""})


@pytest.mark.parametrize(
    "options",
    [
        {"phone_number_id": "+1 650 555 1234"},
        {"phone_number_id": 5},
        {"identify_by": "name"},
    ],
    ids=repr,
)
def test_what_cannot_be_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        channel(**options)


def test_two_bots_have_two_names_and_two_paths() -> None:
    second = channel(name="whatsapp-shop")
    assert second.path == "/whatsapp-shop"
    (event,) = second.events_of({"id": "7", "changes": [{"field": "security", "value": {}}]})
    assert event.channel == "whatsapp-shop"
