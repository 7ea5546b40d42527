"""What no session can be for is left out, and the rest of its batch is handled."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from barback import Bot, Context, Event, InvalidEvent, Redeliver, SessionIdTooLong, User
from barback.channels.unfit import UnfitEvent, made
from barback.testing import (
    FakeLine,
    FakeMessenger,
    FakePlatform,
    FakeSlack,
    FakeTelegram,
    FakeViber,
    FakeWhatsApp,
)
from tests.fake_platforms import behind
from tests.postbox import greeter, serving
from tests.test_telegram_polling import polling, until, wait_for

NO_SESSION = {"id": "1", "who": "x" * 600}
LONG = "9" * 3000


def errors_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in caplog.records if each.levelno >= logging.ERROR]


# By the web app.


async def test_an_event_that_can_have_no_session_is_left_out_and_its_batch_is_handled(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with serving(greeter()) as world:
        answer = await world.post(NO_SESSION, {"id": "2", "who": "tim"})
        assert answer.status_code == 200
        assert world.box.sent == ["2"]
        assert world.bot.lost_events == 1
    (told,) = errors_in(caplog)
    assert "An event of postbox is left out, as it can have no session" in told
    assert "longer than 512 bytes" in told


async def test_who_sends_many_of_them_does_not_fill_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with serving(greeter()) as world:
        for _ in range(20):
            assert (await world.post(NO_SESSION)).status_code == 200
        assert world.bot.lost_events == 20
    assert len(errors_in(caplog)) == 1


async def test_a_batch_that_comes_again_is_counted_when_it_is_answered() -> None:
    bot = Bot()
    tries: list[str | None] = []

    @bot.on_event
    async def fails_once(context: Context[Any]) -> None:
        tries.append(context.event.id)
        if len(tries) == 1:
            raise Redeliver("once more")

    async with serving(bot) as world:
        batch = NO_SESSION, {"id": "2", "who": "tim"}
        assert (await world.post(*batch)).status_code == 503
        assert bot.lost_events == 0
        assert (await world.post(*batch)).status_code == 200
        assert bot.lost_events == 1


async def test_a_namespace_counts_towards_an_id() -> None:
    async with serving(greeter(namespace="n" * 60)) as world:
        assert (await world.post({"id": "1", "who": "x" * 460})).status_code == 200
        assert world.bot.lost_events == 1


async def test_whoever_hands_events_to_a_bot_is_told_which_never_can_be_handled() -> None:
    bot = greeter()
    async with bot:
        with pytest.raises(SessionIdTooLong):
            await bot.handle(Event(channel="x", user=User("x" * 600)))


# By a bot that polls.


@pytest.mark.parametrize("thread", ["8" * 600, LONG], ids=["no session", "no event"])
async def test_a_bot_that_polls_leaves_it_out_and_goes_on(thread: str) -> None:
    bot = Bot(scope="thread")
    said: list[str | None] = []

    @bot.on_event
    async def note(context: Context[Any]) -> None:
        said.append(context.event.text)

    async with FakeTelegram() as telegram:
        odd = telegram.message(chat=-100, text="a", thread=int(thread))
        telegram.waiting.append(telegram.update(message=odd))
        wait_for(telegram, "b")
        async with polling(bot, telegram):
            await until(lambda: not telegram.waiting)
    assert said == ["b"]
    assert bot.lost_events == 1


# By each channel.


@asynccontextmanager
async def listening(fake: FakePlatform) -> AsyncIterator[tuple[Bot[Any], list[str | None]]]:
    bot = Bot()
    texts: list[str | None] = []

    @bot.on_event
    async def note(context: Context[Any]) -> None:
        texts.append(context.event.text)

    async with fake, behind(fake, bot):
        yield bot, texts


def on_line(fake: FakeLine) -> list[Any]:
    person = f"U{42:032x}"
    odd = fake.event("message", user=LONG, message={"type": "text", "id": "1", "text": "odd"})
    good = fake.event("message", user=person, message={"type": "text", "id": "2", "text": "good"})
    return [{"destination": "U1", "events": [odd, good]}]


def on_messenger(fake: FakeMessenger) -> list[Any]:
    odd, good = fake.message(LONG, text="odd"), fake.message("42", text="good")
    return [fake.entry(odd, good)]


def on_whatsapp(fake: FakeWhatsApp) -> list[Any]:
    odd = fake.message("1", type="text", text={"body": "odd"}, id=LONG)
    good = fake.message("16505551234", type="text", text={"body": "good"})
    return [fake.entry("16505551234", messages=[odd, good])]


def on_telegram(fake: FakeTelegram) -> list[Any]:
    odd = fake.message(chat=-100, text="odd", message_thread_id=int(LONG), is_topic_message=True)
    return [fake.update(message=odd), fake.update(message=fake.message(text="good"))]


def on_slack(fake: FakeSlack) -> list[Any]:
    odd, good = fake.message("odd", user=f"U{LONG}"), fake.message("good")
    return [fake.event(**odd), fake.event(**good)]


def on_viber(fake: FakeViber) -> list[Any]:
    said = {"type": "text", "text": "odd"}
    odd = fake.callback("message", sender={"id": LONG, "name": "Odd"}, message=said)
    sender = {"id": "01234567890A=", "name": "Good"}
    good = fake.callback("message", sender=sender, message={**said, "text": "good"})
    return [odd, good]


ODD: dict[type[FakePlatform], Any] = {
    FakeLine: on_line,
    FakeMessenger: on_messenger,
    FakeSlack: on_slack,
    FakeTelegram: on_telegram,
    FakeViber: on_viber,
    FakeWhatsApp: on_whatsapp,
}


@pytest.mark.parametrize("fake_of", ODD, ids=lambda fake: fake.__name__)
async def test_each_channel_leaves_out_only_what_no_event_can_be_made_of(
    fake_of: Any, caplog: pytest.LogCaptureFixture
) -> None:
    fake = fake_of()
    async with listening(fake) as (bot, texts):
        for payload in ODD[fake_of](fake):
            assert (await fake.post(msgspec.json.encode(payload))).status == 200
        assert texts == ["good"]
        assert bot.lost_events == 1
    (told,) = errors_in(caplog)
    assert "2048 is the most" in told
    assert LONG not in told


def test_a_channel_of_ones_own_can_do_the_same() -> None:
    unfit = made("mine", Event, channel="mine", id=LONG)
    assert isinstance(unfit, UnfitEvent)
    assert isinstance(unfit.error, InvalidEvent)
    event = made("mine", Event, channel="mine", id="1", user=User("tim"))
    assert (type(event), event.id) == (Event, "1")
