"""A bot on LINE: its webhook, what it replies and pushes, and how it speaks first."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from barback import (
    Bot,
    CannotSend,
    ChannelError,
    ChannelUnreachable,
    Context,
    LineChannel,
    Redeliver,
)
from barback.channels.http import HttpAnswer
from barback.testing import FakeLine, line_error
from tests.fake_platforms import behind
from tests.scripted import state_of

TIM, ANN, GROUP, ROOM = f"U{1:032x}", f"U{2:032x}", f"C{1:032x}", f"R{1:032x}"


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


def saying(*texts: str, **options: Any) -> Bot[Any]:
    """A bot that says so much to every event."""
    bot = Bot(**options)

    @bot.on_event
    async def talk(context: Context[Any]) -> None:
        for text in texts:
            await context.send_text(text)

    return bot


@asynccontextmanager
async def on_line(
    bot: Bot[Any], fake: FakeLine | None = None, **options: Any
) -> AsyncIterator[FakeLine]:
    """The bot behind its webhook, in this process, and LINE over real sockets."""
    async with fake or FakeLine() as line, behind(line, bot, **options):
        yield line


def methods(line: FakeLine) -> list[tuple[str, int]]:
    """What the bot has called, and how that was answered."""
    return [(call.method, call.status) for call in line.calls]


class LosesAnswers(FakeLine):
    """LINE does what it is asked for, and hangs up before it has answered, so many times."""

    lost = 0

    async def answer(self, call: Any, request: Any) -> HttpAnswer:
        answer = await super().answer(call, request)
        if self.lost:
            self.lost -= 1
            return None  # type: ignore[return-value]
        return answer


async def test_the_nickname_is_asked_for_and_remembered() -> None:
    bot = nickname_bot()
    async with on_line(bot) as line:
        await line.say("Hi", user=TIM, times=2)
        await line.say("Tim", user=TIM, times=2)
        assert line.texts(TIM) == ["Hi, what's your nickname?", "Hello Tim"]
        assert methods(line) == [("replyMessage", 200)] * 2
        assert await state_of(bot, f"line:{TIM}") == {"asking": False, "nickname": "Tim"}


@pytest.mark.parametrize("chat", [GROUP, ROOM])
async def test_in_a_group_each_member_has_a_session_and_answers_go_to_the_group(chat: str) -> None:
    bot = nickname_bot()
    async with on_line(bot) as line:
        await line.say("Hi", user=TIM, chat=chat)
        await line.say("Hi", user=ANN, chat=chat)
        await line.say("Hi", user=None, chat=chat)
        assert len(line.texts(chat)) == 3
        for key in (f"{chat}/{TIM}", f"{chat}/{ANN}", f"{chat}/"):
            assert (await state_of(bot, f"line:{key}"))["asking"]


async def test_a_button_is_a_payload() -> None:
    bot = Bot()

    @bot.on_event
    async def answer(context: Context[Any]) -> None:
        chosen = context.event.raw["postback"]["params"]["date"]
        await context.send_text(f"{context.event.payload} on {chosen}")

    async with on_line(bot) as line:
        await line.press("tea", user=TIM, date="2030-01-01")
        assert line.texts(TIM) == ["tea on 2030-01-01"]


async def test_many_events_of_one_webhook_are_all_handled_in_order() -> None:
    bot = nickname_bot()
    async with on_line(bot) as line:
        events = [
            line.event("message", user=user, message={"id": "1", "type": "text", "text": text})
            for user, text in ((TIM, "Hi"), (ANN, "Hi"), (TIM, "Tim"))
        ]
        assert (await line.deliver(line.body(*events))).status == 200
        assert line.texts(TIM) == ["Hi, what's your nickname?", "Hello Tim"]
        assert len(line.texts(ANN)) == 1


# What a bot says: a reply, and pushes.


async def test_the_first_answer_is_a_reply_and_the_others_are_pushed_in_order() -> None:
    async with on_line(saying("one", "two", "three")) as line:
        await line.say("Hi", user=TIM)
        assert line.texts(TIM) == ["one", "two", "three"]
        assert methods(line) == [("replyMessage", 200), *[("pushMessage", 200)] * 2]
        assert [call.params.get("to") for call in line.calls] == [None, TIM, TIM]
        keys = {call.params["retryKey"] for call in line.calls[1:]}
        assert len(keys) == 2


async def test_a_reply_whose_token_is_too_old_is_pushed() -> None:
    async with on_line(saying("one")) as line:
        line.reply_within = 0.0
        await line.say("Hi", user=TIM, times=2)
        assert line.texts(TIM) == ["one"]
        assert methods(line) == [("replyMessage", 400), ("pushMessage", 200)]


async def test_what_cannot_be_answered_is_pushed() -> None:
    async with on_line(saying("Good bye")) as line:
        await line.deliver(line.body(line.event("unfollow", user=TIM, can_be_answered=False)))
        assert methods(line) == [("pushMessage", 200)]


async def test_a_reply_that_may_have_arrived_is_not_said_again() -> None:
    errors = []
    bot = Bot()

    @bot.on_event
    async def talk(context: Context[Any]) -> None:
        with pytest.raises(ChannelUnreachable) as caught:
            await context.send_text("one")
        errors.append(caught.value)
        await context.send_text("two")

    async with on_line(bot, LosesAnswers()) as line:
        line.lost = 1  # type: ignore[attr-defined]
        await line.say("Hi", user=TIM)
        assert methods(line) == [("replyMessage", 0), ("pushMessage", 200)]
        assert line.texts(TIM) == ["two"]
        assert errors[0].sent


async def test_a_token_that_is_not_used_up_is_there_for_what_is_said_of_the_error() -> None:
    bot = Bot()

    @bot.on_event
    async def talk(context: Context[Any]) -> None:
        await context.send_text("")

    @bot.on_error
    async def sorry(context: Context[Any], error: Exception) -> None:
        assert isinstance(error, ChannelError)
        await context.send_text("Sorry")

    async with on_line(bot) as line:
        await line.say("Hi", user=TIM)
        assert line.texts(TIM) == ["Sorry"]
        assert methods(line) == [("replyMessage", 400), ("replyMessage", 200)]


@pytest.mark.parametrize(
    "trouble", [None, line_error(500), HttpAnswer(503)], ids=["silent", "500", "503"]
)
async def test_a_push_is_sent_again_where_nobody_knows_of_the_first_and_arrives_once(
    trouble: HttpAnswer | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("barback.channels.client.PAUSE", 0.01)
    async with on_line(Bot(), LosesAnswers()) as line, spoken_to(line) as bot:
        line.answer_next(trouble)
        line.lost = 1  # type: ignore[attr-defined]
        async with bot.conversation(f"line:{TIM}") as context:
            await context.send_text("Good morning")
        statuses = [call.status for call in line.calls]
        assert statuses == [0 if trouble is None else trouble.status, 0, 409]
        assert len({call.params["retryKey"] for call in line.calls}) == 1
        assert len(line._accepted) == 1


async def test_a_push_is_given_up_after_three_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("barback.channels.client.PAUSE", 0.01)
    async with on_line(Bot()) as line, spoken_to(line) as bot:
        line.answer_next(*[line_error(500)] * 9)
        async with bot.conversation(f"line:{TIM}") as context:
            with pytest.raises(ChannelError, match="pushMessage, with 500"):
                await context.send_text("Good morning")
        assert len(line.calls) == 3


async def test_a_turn_that_is_run_again_pushes_nothing_twice() -> None:
    bot = Bot(initial_state={"n": 0})
    runs = []

    @bot.on_event
    async def fails_once(context: Context[Any]) -> None:
        runs.append(context.event.id)
        await context.send_text("reply")
        await context.send_text("same")
        await context.send_text("same")
        await context.send_text(f"run {len(runs)}")
        if len(runs) == 1:
            raise Redeliver("once more")

    async with on_line(bot) as line:
        await line.say("Hi", user=TIM)
        assert len(runs) == 2
        # A reply has no key: it is said again. What is not the same is not taken for it.
        assert line.texts(TIM) == ["reply", "same", "same", "run 1", "reply", "run 2"]
        again = [status for method, status in methods(line)[4:] if method == "pushMessage"]
        assert again == [200, 409, 409, 200]


async def test_what_no_event_asks_for_is_said_as_often_as_it_is_said() -> None:
    async with on_line(Bot()) as line, spoken_to(line) as bot:
        for _ in range(2):
            async with bot.conversation(f"line:{TIM}") as context:
                await context.send_text("Good morning")
        assert line.texts(TIM) == ["Good morning"] * 2


async def test_a_text_that_is_too_long_is_said_in_parts_five_in_a_call() -> None:
    text = ("A sentence of no importance. " * 1200).strip()
    async with on_line(saying(text)) as line:
        await line.say("Hi", user=TIM)
        assert " ".join(line.texts(TIM)) == text
        assert [len(call.params["messages"]) for call in line.calls] == [5, 2]
        assert methods(line) == [("replyMessage", 200), ("pushMessage", 200)]


async def test_emoji_count_twice() -> None:
    async with on_line(saying("☕🍎" * 2000)) as line:
        await line.say("Hi", user=TIM)
        assert "".join(line.texts(TIM)) == "☕🍎" * 2000
        assert len(line.texts(TIM)) == 2


async def test_anything_else_of_lines_is_sent_by_its_type_or_as_it_is() -> None:
    bot = Bot()

    @bot.on_event
    async def show(context: Context[Any]) -> None:
        await context.send_messages(
            {"type": "text", "text": "one"},
            {"type": "textV2", "text": "{x}", "substitution": {}},
        )
        await context.send_sticker(package_id="446", sticker_id="1988", quick_reply=None)
        await context.send_text_v2(text="Hi {user}", substitution={"user": {"type": "mention"}})

    async with on_line(bot) as line:
        await line.say("Hi", user=TIM)
        assert [message["type"] for message in line.messages(TIM)] == [
            "text",
            "textV2",
            "sticker",
            "textV2",
        ]
        assert line.messages(TIM)[2] == {
            "type": "sticker",
            "packageId": "446",
            "stickerId": "1988",
        }


async def test_typing_shows_in_private_and_is_nothing_in_a_group() -> None:
    bot = Bot()

    @bot.on_event
    async def wait(context: Context[Any]) -> None:
        await context.typing()

    async with on_line(bot) as line:
        await line.say("Hi", user=TIM)
        await line.say("Hi", user=TIM, chat=GROUP)
        await line.say("Hi", user=TIM, chat=ROOM)
        assert [(call.method, call.params) for call in line.calls] == [
            ("showLoadingAnimation", {"chatId": TIM})
        ]


async def test_while_another_channel_has_the_chat_the_bot_is_silent() -> None:
    bot = Bot()
    errors: list[Exception] = []

    @bot.on_event
    async def talk(context: Context[Any]) -> None:
        assert context.event.text is None
        await context.typing()
        await context.send_text("Hi")

    @bot.on_error
    async def note(context: Context[Any], error: Exception) -> None:
        errors.append(error)

    async with on_line(bot) as line:
        message = {"id": "1", "type": "text", "text": "Is anybody there?"}
        told = line.event("message", user=TIM, mode="standby", message=message)
        told.pop("replyToken")
        assert (await line.deliver(line.body(told))).status == 200
        assert line.calls == []
        assert isinstance(errors[0], CannotSend)
        assert "standby" in str(errors[0])


# Speaking first.


@asynccontextmanager
async def spoken_to(line: FakeLine) -> AsyncIterator[Bot[Any]]:
    """A bot without a webhook, which speaks first."""
    async with Bot(channels=[line.channel()]) as bot:
        yield bot


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (TIM, TIM),
        (f"{GROUP}/", GROUP),
        (f"{GROUP}/{TIM}", GROUP),
        (f"{ROOM}/{TIM}", ROOM),
        (GROUP, GROUP),
    ],
)
async def test_somebody_who_never_wrote_is_spoken_to_by_the_sessions_key(
    key: str, expected: str
) -> None:
    async with FakeLine() as line, spoken_to(line) as bot:
        async with bot.conversation(f"line:{key}") as context:
            await context.send_text("Good morning")
        assert line.texts(expected) == ["Good morning"]


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("U42", "U42"),
        (f"LU{1:032x}-U{2:032x}", f"LU{1:032x}-U{2:032x}"),
        ("bot/", None),
        ("table-4", None),
        ("Ursula", None),
        ("U42/7", None),
        ("C%2F", None),
        ("", None),
    ],
)
def test_a_key_tells_a_place_of_lines_or_none(key: str, expected: str | None) -> None:
    assert expected == LineChannel("token", "secret").address_of(key)


async def test_a_key_that_tells_no_chat_cannot_be_spoken_to() -> None:
    async with FakeLine() as line, spoken_to(line) as bot:
        async with bot.conversation("line:table-4") as context:
            with pytest.raises(CannotSend, match="line:table-4"):
                await context.send_text("Good morning")
            with pytest.raises(CannotSend):
                await context.typing()


async def test_who_wrote_in_a_group_is_spoken_to_there_with_one_session_for_all() -> None:
    bot = nickname_bot(scope="user")
    async with on_line(bot) as line:
        await line.say("Hi", user=TIM, chat=GROUP)
        async with bot.conversation(f"line:{TIM}") as context:
            await context.send_text("Good morning")
        assert line.texts(GROUP) == ["Hi, what's your nickname?", "Good morning"]


# Its webhook.


async def test_a_wrong_signature_is_401_and_nothing_is_handled() -> None:
    async with on_line(nickname_bot()) as line:
        assert (await line.post(b'{"events": []}', {"x-line-signature": "wrong"})).status == 401
        assert (await line.post(b'{"events": [5]}')).status == 400
        assert line.calls == []


async def test_lines_own_try_of_the_webhook_succeeds() -> None:
    async with on_line(nickname_bot()) as line:
        assert (await line.deliver(line.body())).status == 200
        channel = line.channel()
        assert (await channel.client.test_webhook_endpoint())["success"]
        await channel.stop()
