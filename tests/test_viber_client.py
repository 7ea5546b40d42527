"""Viber's API, called by name, and what it says of failures."""

from __future__ import annotations

import logging
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from barback import ChannelError, ChannelUnreachable, ConfigurationError
from barback.channels.http import HttpAnswer
from barback.channels.viber import ViberClient, client
from barback.testing import FakeViber, viber_error
from barback.testing.viber import TOKEN

TIM, ANN = "01234567890A=", "jc9HsWTZ2Yf2NkRZ8KcNug=="
TEXT = {"sender": {"name": "Bot"}, "type": "text", "text": "Hi"}


@asynccontextmanager
async def asking(**options: Any) -> AsyncIterator[tuple[FakeViber, ViberClient]]:
    async with FakeViber() as viber:
        viber.subscribers.add(TIM)
        asked = ViberClient(viber.token, server=viber.url, **options)
        try:
            yield viber, asked
        finally:
            await asked.close()


async def test_a_method_is_called_by_its_name_and_all_of_the_answer_comes_back() -> None:
    async with asking() as (viber, asked):
        told = await asked.send_message(receiver=TIM, tracking_data=None, **TEXT)
        assert (told["status"], told["chat_hostname"]) == (0, "SN-CHAT-05_")
        assert viber.calls[0].params == {"receiver": TIM, **TEXT}
        assert (await asked.call("get_user_details", id=TIM))["user"]["id"] == TIM
        online = (await asked.get_online(ids=[TIM, ANN]))["users"]
        assert [one["online_status"] for one in online] == [0, 4]
        assert (await asked.get_account_info())["subscribers_count"] == 1


async def test_a_broadcast_tells_whom_it_did_not_reach() -> None:
    async with asking() as (viber, asked):
        told = await asked.broadcast_message(broadcast_list=[TIM, ANN], **TEXT)
        assert [one["receiver"] for one in told["failed_list"]] == [ANN]
        assert (viber.texts(TIM), viber.texts(ANN)) == (["Hi"], [])
        with pytest.raises(ChannelError, match="badData"):
            await asked.broadcast_message(broadcast_list=[TIM] * 301, **TEXT)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"text": "x" * 7001}, 3),
        ({"text": ""}, 4),
        ({"sender": {}}, 4),
        ({"sender": {"name": "x" * 29}}, 3),
        ({"type": None}, 4),
        ({"receiver": ANN}, 6),
        ({"receiver": None}, 4),
        ({"tracking_data": "x" * 30_720}, 3),
    ],
    ids=["long", "empty", "nameless", "long name", "no type", "stranger", "nobody", "large"],
)
async def test_what_viber_does_not_take_is_an_error_with_its_status(
    change: dict[str, Any], code: int
) -> None:
    async with asking() as (viber, asked):
        with pytest.raises(ChannelError) as caught:
            await asked.send_message(**{"receiver": TIM, **TEXT, **change})
        error = caught.value
        assert (error.code, error.status, error.call) == (code, 200, "send_message")
        assert viber.texts(TIM) == []


async def test_a_token_that_is_not_the_bots_is_an_error() -> None:
    async with asking() as (viber, asked):
        viber.token = "another"  # noqa: S105 - it opens nothing
        with pytest.raises(ChannelError, match="with 2: invalidAuthToken"):
            await asked.get_account_info()


async def test_too_many_requests_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "RATE_WINDOW", 0.02)
    async with asking() as (viber, asked):
        viber.answer_next(viber_error(12, "tooManyRequests"), viber_error(12))
        await asked.send_message(receiver=TIM, **TEXT)
        assert len(viber.calls) == 3
        assert viber.calls[2].at - viber.calls[0].at >= 0.04


async def test_a_wait_that_is_too_long_is_left_to_the_caller() -> None:
    async with asking(retry_within=9.9) as (viber, asked):
        viber.answer_next(viber_error(12, "tooManyRequests"))
        with pytest.raises(ChannelError) as caught:
            await asked.send_message(receiver=TIM, **TEXT)
        assert (caught.value.code, caught.value.status) == (12, 429)
        assert caught.value.retry_after == 10.0
        assert len(viber.calls) == 1


@pytest.mark.parametrize("status", [400, 404, 500, 503])
async def test_a_server_that_fails_is_an_error_and_is_not_asked_again(status: int) -> None:
    async with asking() as (viber, asked):
        for body in (b"<html>", b'{"status": 0}', b'{"status": 3, "status_message": "no"}'):
            viber.calls.clear()
            viber.answer_next(HttpAnswer(status, {}, body))
            with pytest.raises(ChannelError) as caught:
                await asked.send_message(receiver=TIM, **TEXT)
            assert caught.value.status == status
            assert len(viber.calls) == 1


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"\xff", b"{}", b'{"status": "0"}', b'{"status": null}', b"[" * 9999]
)
async def test_an_answer_that_is_not_vibers_is_an_error(body: bytes) -> None:
    async with asking() as (viber, asked):
        viber.answer_next(HttpAnswer(200, {}, body))
        with pytest.raises(ChannelError, match="not Viber's"):
            await asked.send_message(receiver=TIM, **TEXT)


async def test_a_message_of_an_answer_that_is_no_text_is_left_out() -> None:
    async with asking() as (viber, asked):
        viber.answer_next(HttpAnswer(200, {}, b'{"status": 0, "status_message": null}'))
        await asked.send_message(receiver=TIM, **TEXT)
        viber.answer_next(HttpAnswer(200, {}, b'{"status": 3, "status_message": {}}'))
        with pytest.raises(ChannelError, match=r"with 3\.$"):
            await asked.send_message(receiver=TIM, **TEXT)


async def test_what_may_have_arrived_is_not_sent_again_and_what_only_reads_is() -> None:
    async with asking() as (viber, asked):
        viber.answer_next(None)
        with pytest.raises(ChannelUnreachable) as caught:
            await asked.send_message(receiver=TIM, **TEXT)
        assert caught.value.sent
        assert len(viber.calls) == 1
        viber.answer_next(None)
        await asked.get_account_info()
        assert len(viber.calls) == 3


async def test_neither_the_token_nor_what_people_said_is_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    async with asking() as (viber, asked):
        told = f'"Tim said so" of {TOKEN}'
        viber.answer_next(viber_error(3, told), HttpAnswer(500, {}, told.encode()), None)
        shown = repr(asked)
        for _ in range(3):
            with pytest.raises(ChannelError) as caught:
                await asked.send_message(receiver=TIM, **TEXT)
            error = caught.value
            shown += repr(error) + str(vars(error)) + "".join(traceback.format_exception(error))
    for secret in (TOKEN, "Tim said so"):
        assert secret not in shown + caplog.text


@pytest.mark.parametrize("token", ["", "a b", "x" * 257, "ä", "a\nb", None, 5])
def test_what_is_no_token_is_refused_and_not_told(token: Any) -> None:
    with pytest.raises(ConfigurationError, match="token") as caught:
        ViberClient(token)
    assert str(token or "a b") not in str(caught.value)


@pytest.mark.parametrize("server", ["", "chatapi.viber.com", "ftp://x", "http://", "http://x:y"])
def test_what_is_no_server_is_refused(server: str) -> None:
    with pytest.raises(ConfigurationError, match="https://"):
        ViberClient(TOKEN, server=server)


def test_vibers_own_server_is_called_unless_another_is_set() -> None:
    assert ViberClient(TOKEN)._base == "https://chatapi.viber.com/pa/"
