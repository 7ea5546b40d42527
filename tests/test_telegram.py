"""A bot on Telegram: its webhook, what it says, and how it speaks first."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from barback import (
    Bot,
    CannotSend,
    ConfigurationError,
    Context,
    TelegramChannel,
    WebhookRefused,
    WebhookRequest,
)
from barback.channels.telegram import Place
from barback.testing import FakeTelegram
from tests.fake_platforms import behind
from tests.scripted import state_of

HEADER = "x-telegram-bot-api-secret-token"
TOKEN = "123456:" + "x" * 35
OPEN = "open-sesame_1"
UPDATE = b'{"update_id": 7}'


def nickname_bot(**options: Any) -> Bot[Any]:
    bot = Bot(initial_state={"asking": False, "nickname": None}, **options)

    @bot.on_event
    async def greet(context: Context[Any]) -> None:
        if context.state["asking"]:
            context.set_state(nickname=context.event.text, asking=False)
            await context.send_text(f"Hello {context.state['nickname']}")
        else:
            context.set_state(asking=True)
            await context.send_text("Hi, what's your nickname?")

    return bot


@asynccontextmanager
async def on_telegram(bot: Bot[Any], **options: Any) -> AsyncIterator[FakeTelegram]:
    """The bot behind its webhook, in this process, and Telegram over real sockets."""
    async with FakeTelegram() as telegram, behind(telegram, bot, **options):
        yield telegram


async def test_the_nickname_is_asked_for_and_remembered() -> None:
    bot = nickname_bot()
    async with on_telegram(bot) as telegram:
        await telegram.say("Hi", times=2)
        await telegram.say("Tim", times=2)
        assert telegram.texts(42) == ["Hi, what's your nickname?", "Hello Tim"]
        assert await state_of(bot, "telegram:42") == {"asking": False, "nickname": "Tim"}


async def test_in_a_group_each_member_has_a_session_and_answers_go_to_the_group() -> None:
    bot = nickname_bot()
    async with on_telegram(bot) as telegram:
        await telegram.say("Hi", user=1, chat=-100, thread=5)
        await telegram.say("Hi", user=2, chat=-100)
        assert len(telegram.texts(-100)) == 2
        assert telegram.calls[0].params["message_thread_id"] == 5
        assert "message_thread_id" not in telegram.calls[1].params
        assert (await state_of(bot, "telegram:-100/1"))["asking"]
        assert (await state_of(bot, "telegram:-100/2"))["asking"]


async def test_a_button_is_a_payload_and_can_be_answered_by_the_client() -> None:
    bot = Bot()

    @bot.on_event
    async def answer(context: Context[Any]) -> None:
        query = context.event.raw["callback_query"]["id"]
        await context.client.answer_callback_query(callback_query_id=query, text="Thanks")
        await context.send_text(f"You chose {context.event.payload}")

    async with on_telegram(bot) as telegram:
        await telegram.press("tea")
        assert telegram.texts(42) == ["You chose tea"]
        (call,) = telegram.called("answerCallbackQuery")
        assert call.params["text"] == "Thanks"


# What a bot says.


async def test_a_text_that_is_too_long_is_said_in_parts() -> None:
    bot = Bot()
    text = ("A sentence of no importance. " * 400).strip()

    @bot.on_event
    async def talk(context: Context[Any]) -> None:
        await context.send_text(text)

    async with on_telegram(bot) as telegram:
        await telegram.say("Hi")
        said = telegram.texts(42)
        assert len(said) == 3
        assert " ".join(said) == text


async def test_typing_and_anything_else_goes_to_the_same_place() -> None:
    bot = Bot()

    @bot.on_event
    async def show(context: Context[Any]) -> None:
        await context.typing()
        await context.send_photo(photo="by-its-id", caption="Tom")

    async with on_telegram(bot) as telegram:
        await telegram.say("Hi", chat=-100, thread=5)
        action, photo = telegram.calls
        where = {"chat_id": -100, "message_thread_id": 5}
        assert action.params == {**where, "action": "typing"}
        assert photo.params == {**where, "photo": "by-its-id", "caption": "Tom"}


async def test_a_business_is_spoken_for_in_its_own_chats() -> None:
    bot = nickname_bot()
    async with on_telegram(bot) as telegram:
        message = telegram.message(user=42, text="Hi", business_connection_id="abc")
        await telegram.deliver(telegram.update(business_message=message))
        (call,) = telegram.calls
        assert call.params["business_connection_id"] == "abc"
        assert call.params["chat_id"] == 42
        assert (await state_of(bot, "telegram:abc@42/42"))["asking"]
        assert not (await state_of(bot, "telegram:42"))["asking"]


# Speaking first.


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("42", {"chat_id": 42}),
        ("42/7", {"chat_id": 42, "message_thread_id": 7}),
        ("-100/", {"chat_id": -100}),
        ("-100/42", {"chat_id": -100}),
        ("-100//7", {"chat_id": -100, "message_thread_id": 7}),
        ("abc@42/", {"chat_id": 42, "business_connection_id": "abc"}),
        ("abc@42/43", {"chat_id": 42, "business_connection_id": "abc"}),
        ("a%2Fb@42/43", {"chat_id": 42, "business_connection_id": "a/b"}),
    ],
)
async def test_somebody_who_never_wrote_is_spoken_to_by_the_sessions_key(
    key: str, expected: dict[str, Any]
) -> None:
    bot = nickname_bot()
    async with on_telegram(bot) as telegram:
        async with bot.conversation(f"telegram:{key}") as context:
            await context.send_text("Good morning")
        (call,) = telegram.calls
        assert call.params == {**expected, "text": "Good morning"}


async def test_an_address_that_is_kept_goes_before_the_key() -> None:
    bot = nickname_bot()
    async with on_telegram(bot) as telegram:
        await telegram.say("Hi", user=42, chat=-100, thread=5)
        async with bot.conversation("telegram:-100/42") as context:
            await context.send_text("Good morning")
        assert telegram.calls[-1].params["message_thread_id"] == 5


async def test_a_key_that_tells_no_chat_cannot_be_spoken_to() -> None:
    bot = nickname_bot()
    async with on_telegram(bot):
        async with bot.conversation("telegram:table-4") as context:
            with pytest.raises(CannotSend, match="telegram:table-4"):
                await context.send_text("Good morning")


@pytest.mark.parametrize(
    "place",
    [
        Place("42"),
        Place("-100", "7"),
        Place("42", None, "abc"),
        Place("-100", "7", "a/b@c%"),
        Place("-100", None, None, "9"),
    ],
)
def test_a_place_is_read_as_it_was_written(place: Place) -> None:
    assert place == Place.of(str(place))


# The secret.


def request(secret: str | None, body: bytes = UPDATE) -> WebhookRequest:
    headers = {} if secret is None else {HEADER: secret}
    return WebhookRequest(method="POST", headers=headers, body=body)


def test_the_secret_lets_a_request_in() -> None:
    TelegramChannel(TOKEN, secret=OPEN).verify(request(OPEN))


def test_every_single_bit_of_the_secret_counts() -> None:
    channel, secret = TelegramChannel(TOKEN, secret=OPEN), OPEN.encode()
    for number in range(len(secret) * 8):
        changed = bytearray(secret)
        changed[number // 8] ^= 1 << number % 8
        with pytest.raises(WebhookRefused):
            channel.verify(request(changed.decode("latin-1")))


@pytest.mark.parametrize(
    "given", [None, "", "open-sesame_", "open-sesame_11", "OPEN-SESAME_1", "é"]
)
def test_any_other_secret_and_none_is_refused_and_not_told(given: str | None) -> None:
    with pytest.raises(WebhookRefused) as caught:
        TelegramChannel(TOKEN, secret=OPEN).verify(request(given))
    assert "sesame" not in str(caught.value)


def test_a_secret_that_is_not_set_is_made_of_the_token_and_does_not_give_it_away() -> None:
    first, same = TelegramChannel(TOKEN), TelegramChannel(TOKEN)
    other = TelegramChannel(TOKEN + "y")
    made = first._secret
    same.verify(request(made))
    with pytest.raises(WebhookRefused):
        other.verify(request(made))
    assert "xxx" not in made
    assert len(made) == 64


@pytest.mark.parametrize("secret", ["", "a b", "x" * 257, "ä", 5])
def test_a_secret_that_telegram_would_not_take_is_refused(secret: Any) -> None:
    with pytest.raises(ConfigurationError, match="1 to 256"):
        TelegramChannel(TOKEN, secret=secret)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff\xfe", b'{"message": {}}'])
async def test_a_body_that_is_no_update_is_400(body: bytes) -> None:
    async with on_telegram(nickname_bot()) as telegram:
        assert (await telegram.post(body)).status == 400


async def test_a_wrong_secret_is_401_and_nothing_is_handled() -> None:
    async with on_telegram(nickname_bot()) as telegram:
        update = msgspec.json.encode(telegram.update(message=telegram.message(text="Hi")))
        assert (await telegram.post(update, {HEADER: "wrong"})).status == 401
        assert telegram.calls == []


# The webhook at Telegram.


async def test_a_bot_sets_shows_and_deletes_its_webhook() -> None:
    async with FakeTelegram() as telegram:
        channel = telegram.channel(allowed_updates=["message"])
        telegram.secret = None
        await channel.set_webhook("https://bot.example/telegram", max_connections=5)
        assert telegram.calls[0].params["allowed_updates"] == ["message"]
        assert telegram.calls[0].params["max_connections"] == 5
        assert telegram.secret == channel._secret
        assert (await channel.webhook_info())["url"] == "https://bot.example/telegram"
        await channel.delete_webhook()
        assert telegram.webhook is None
        await channel.stop()


def test_two_bots_of_telegram_have_two_names_and_two_paths() -> None:
    first, second = TelegramChannel(TOKEN), TelegramChannel("7:x", name="telegram-shop")
    assert (first.path, second.path) == ("/telegram", "/telegram-shop")
    (event,) = second.events(request(None, b'{"update_id": 1, "message": {"from": {"id": 1}}}'))
    assert event.channel == "telegram-shop"


def test_a_channel_shows_neither_token_nor_secret() -> None:
    shown = repr(TelegramChannel(TOKEN, secret=OPEN))
    assert "xxx" not in shown
    assert "sesame" not in shown


@pytest.mark.parametrize("scope", ["member", "conversation", "thread"])
async def test_in_a_channels_direct_messages_each_person_has_a_talk_of_their_own(
    scope: Any,
) -> None:
    bot = nickname_bot(scope=scope)
    async with on_telegram(bot) as telegram:
        for topic, person in ((9, 42), (8, 43)):
            where = {"topic_id": topic, "user": telegram.person(person)}
            await telegram.say("Hi", user=person, chat=-100, direct_messages_topic=where)
        assert telegram.texts(-100) == ["Hi, what's your nickname?"] * 2
        key = "-100#8/43" if scope == "member" else "-100#8/"
        assert await state_of(bot, f"telegram:{key}") == {"asking": True, "nickname": None}


async def test_a_person_in_a_channels_direct_messages_is_reached_where_nothing_is_kept() -> None:
    bot = nickname_bot(scope="conversation")
    async with on_telegram(bot) as telegram:
        async with bot.conversation("telegram:-100#9/") as context:
            await context.send_text("Your tea is ready.")
        (call,) = telegram.called("sendMessage")
        assert (call.params["chat_id"], call.params["direct_messages_topic_id"]) == (-100, 9)
