"""The client of a platform, over real sockets: what it asks again, and what it says of failures."""

from __future__ import annotations

import asyncio
import gzip
import logging
import pickle
import time
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest

from barback import ChannelError, ChannelUnreachable, ConfigurationError
from barback.channels.http import HttpAnswer, HttpFailed, HttpRequest
from barback.channels.telegram import InputFile, TelegramClient
from barback.testing import FakeTelegram, telegram_error
from barback.testing.telegram import TOKEN
from tests.ports import free_port

SECRET = TOKEN.partition(":")[2]


@asynccontextmanager
async def asking(**options: Any) -> AsyncIterator[tuple[FakeTelegram, TelegramClient]]:
    async with FakeTelegram() as telegram:
        client = TelegramClient(telegram.token, server=telegram.url, **options)
        try:
            yield telegram, client
        finally:
            await client.close()


async def test_a_method_is_called_by_its_name_in_either_way_of_writing() -> None:
    async with asking() as (telegram, client):
        await client.send_message(chat_id=42, text="Hi", reply_markup=None)
        await client.sendMessage(chat_id=42, text="Ho")
        await client.call("sendMessage", chat_id=42, text="Ha")
        assert telegram.texts(42) == ["Hi", "Ho", "Ha"]
        assert telegram.calls[0].params == {"chat_id": 42, "text": "Hi"}


async def test_what_comes_back_is_the_result() -> None:
    async with asking() as (_, client):
        assert (await client.get_me())["is_bot"] is True


async def test_one_connection_serves_call_after_call() -> None:
    async with asking() as (telegram, client):
        for _ in range(5):
            await client.get_me()
        assert len(telegram._server._talks) == 1


async def test_files_are_uploaded_with_the_rest(tmp_path: Path) -> None:
    path = tmp_path / 'a "cat".png'
    path.write_bytes(b"\x00\xffpng\r\n")
    async with asking() as (telegram, client):
        await client.send_photo(chat_id=42, photo=InputFile(path), caption="Tom ☕")
        (call,) = telegram.calls
        assert call.params == {"chat_id": "42", "caption": "Tom ☕"}
        assert call.files == {"photo": b"\x00\xffpng\r\n"}


async def test_files_inside_of_a_list_are_uploaded_too() -> None:
    async with asking() as (telegram, client):
        media = [
            {"type": "photo", "media": InputFile(b"one", "1.png")},
            {"type": "photo", "media": "by-its-id"},
            {"type": "photo", "media": InputFile(b"two")},
        ]
        await client.send_media_group(chat_id=42, media=media)
        (call,) = telegram.calls
        assert call.files == {"file0": b"one", "file1": b"two"}
        assert "attach://file0" in call.params["media"]
        assert "attach://file1" in call.params["media"]


# Errors.


async def test_a_refusal_says_what_the_platform_says() -> None:
    async with asking() as (telegram, client):
        telegram.answer_next(
            telegram_error(400, "Bad Request: group was upgraded", migrate_to_chat_id=-5)
        )
        with pytest.raises(ChannelError, match="refused sendMessage, with 400") as caught:
            await client.send_message(chat_id=-1, text="Hi")
        error = caught.value
        assert (
            error.channel,
            error.call,
            error.code,
            error.status,
        ) == ("telegram", "sendMessage", 400, 400)
        assert error.description == "Bad Request: group was upgraded"
        assert error.parameters == {"migrate_to_chat_id": -5}
        assert len(telegram.calls) == 1


async def test_what_people_said_is_in_no_error() -> None:
    async with asking() as (telegram, client):
        telegram.answer_next(telegram_error(400, 'Bad Request: unsupported tag "my pin is 1234"'))
        with pytest.raises(ChannelError) as caught:
            await client.send_message(chat_id=1, text="<my pin is 1234>")
        assert "1234" not in repr(caught.value) + str(caught.value)


async def test_an_error_survives_the_way_to_another_process() -> None:
    error = ChannelUnreachable("gone", sent=False, channel="telegram", call="getMe")
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
    assert (copy.sent, copy.channel, copy.args) == (False, "telegram", ("gone",))
    assert isinstance(copy, ConnectionError)


@pytest.mark.parametrize("body", [b"", b"<html>502</html>", b"[]", b"\xff", b'{"ok": "yes"}'])
async def test_an_answer_that_is_not_the_platforms_is_an_error(body: bytes) -> None:
    async with asking() as (telegram, client):
        telegram.answer_next(HttpAnswer(502, {}, body))
        with pytest.raises(ChannelError, match="502"):
            await client.send_message(chat_id=1, text="Hi")


# What is asked again.


async def test_a_platform_that_has_had_too_much_is_asked_again_when_it_says() -> None:
    async with asking() as (telegram, client):
        telegram.answer_next(telegram_error(429, "Too Many Requests", retry_after=0.2))
        begun = time.monotonic()
        await client.send_message(chat_id=42, text="Hi")
        assert time.monotonic() - begun >= 0.2
        assert telegram.texts(42) == ["Hi"]


async def test_the_header_tells_how_long_as_well() -> None:
    async with asking() as (telegram, client):
        telegram.answer_next(HttpAnswer(429, {"Retry-After": "0.1"}))
        await client.send_message(chat_id=42, text="Hi")
        assert len(telegram.calls) == 2


async def test_a_wait_that_is_too_long_is_left_to_the_caller() -> None:
    async with asking(retry_within=1.0) as (telegram, client):
        telegram.answer_next(telegram_error(429, "Too Many Requests", retry_after=35))
        with pytest.raises(ChannelError) as caught:
            await client.send_message(chat_id=42, text="Hi")
        assert (caught.value.code, caught.value.retry_after) == (429, 35.0)
        assert len(telegram.calls) == 1


async def test_all_waits_together_are_bounded() -> None:
    async with asking(retry_within=0.5) as (telegram, client):
        telegram.answer_next(*[telegram_error(429, retry_after=0.2)] * 9)
        with pytest.raises(ChannelError):
            await client.send_message(chat_id=42, text="Hi")
        assert len(telegram.calls) == 3


@pytest.mark.parametrize("wait", ["0", "-5", "nan", "inf", "1e-9", "1" * 400])
async def test_a_wait_that_is_none_keeps_nobody_asking_for_ever(
    wait: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("barback.channels.client.PAUSE", 0.02)
    async with asking(retry_within=0.4) as (telegram, client):
        telegram.answer_next(*[HttpAnswer(429, {"retry-after": wait})] * 9_999)
        with pytest.raises(ChannelError):
            await asyncio.wait_for(client.send_message(chat_id=42, text="Hi"), 5)
        assert 4 <= len(telegram.calls) <= 9


@pytest.mark.parametrize("wait", [0, -3, 10**400])
async def test_nor_does_one_that_the_platform_tells_in_its_own_way(
    wait: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("barback.channels.client.PAUSE", 0.02)
    body = b'{"ok": false, "error_code": 429, "parameters": {"retry_after": %d}}' % wait
    async with asking(retry_within=0.4) as (telegram, client):
        telegram.answer_next(*[HttpAnswer(429, {}, body)] * 9_999)
        with pytest.raises(ChannelError):
            await asyncio.wait_for(client.send_message(chat_id=42, text="Hi"), 5)
        assert 4 <= len(telegram.calls) <= 9


async def test_who_is_not_told_how_long_waits_longer_each_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("barback.channels.client.PAUSE", 0.02)
    async with asking(retry_within=0.4) as (telegram, client):
        telegram.answer_next(*[HttpAnswer(429)] * 99)
        with pytest.raises(ChannelError):
            await client.send_message(chat_id=42, text="Hi")
        assert 4 <= len(telegram.calls) <= 7


@pytest.mark.parametrize("status", [500, 502, 503])
async def test_a_platform_that_fails_is_not_asked_again(status: int) -> None:
    async with asking() as (telegram, client):
        telegram.answer_next(HttpAnswer(status, {"Retry-After": "0"}))
        with pytest.raises(ChannelError):
            await client.send_message(chat_id=42, text="Hi")
        assert len(telegram.calls) == 1


async def test_what_may_have_arrived_is_not_sent_again() -> None:
    async with asking() as (telegram, client):
        telegram.answer_next(None)
        with pytest.raises(ChannelUnreachable, match="may have been done") as caught:
            await client.send_message(chat_id=42, text="Hi")
        assert caught.value.sent
        assert len(telegram.calls) == 1


async def test_what_only_reads_is_asked_again() -> None:
    async with asking() as (telegram, client):
        telegram.answer_next(None)
        assert (await client.get_me())["is_bot"] is True
        assert len(telegram.calls) == 2


async def test_what_surely_did_not_arrive_is_sent_again_and_then_given_up() -> None:
    tries = []

    class Nowhere:
        async def fetch(self, request: HttpRequest) -> HttpAnswer:
            tries.append(request)
            raise HttpFailed("no way", sent=False)

        async def close(self) -> None:
            raise AssertionError("what was given is not closed")

    client = TelegramClient("1:x", http=Nowhere())
    with pytest.raises(ChannelUnreachable, match=r"\(no way\). Nothing was done") as caught:
        await client.send_message(chat_id=42, text="Hi")
    await client.close()
    assert not caught.value.sent
    assert len(tries) == 3


async def test_a_platform_that_takes_too_long_is_given_up() -> None:
    class Silent(FakeTelegram):
        async def answer(self, call: Any, request: Any) -> HttpAnswer:
            await asyncio.sleep(60)
            raise AssertionError

    async with Silent() as telegram:
        client = TelegramClient(telegram.token, server=telegram.url, timeout=0.2)
        with pytest.raises(ChannelUnreachable):
            await client.send_message(chat_id=42, text="Hi")
        await client.close()


# The token.


async def test_the_token_is_told_by_no_error_no_log_and_no_repr(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    async with asking() as (telegram, client):
        told = [repr(client)]
        for answer in (telegram_error(401, f"bot {SECRET}"), HttpAnswer(500), None):
            telegram.answer_next(answer)
            told.append(await failure(client, everything=answer is None))
        nowhere = TelegramClient(telegram.token, server=f"http://127.0.0.1:{free_port()}")
        told.append(await failure(nowhere))
        await nowhere.close()
        await client.get_me()
    assert "HTTP Request: POST" in caplog.text  # by httpx2, of every request
    assert "/bot***/" in caplog.text
    for text in (*told, caplog.text):
        assert SECRET not in text


async def failure(client: TelegramClient, *, everything: bool = True) -> str:
    """All that can be seen of an error, and of what it came from."""
    try:
        await client.send_message(chat_id=42, text="Hi")
    except ChannelError as error:
        shown = "".join(traceback.TracebackException.from_exception(error).format())
        one: BaseException | None = error
        while one is not None:
            shown += repr(one) + repr(one.__dict__)
            one = one.__cause__ or one.__context__
        return shown
    raise AssertionError("it did not fail")


@pytest.mark.parametrize("token", ["", "x", "1:", ":x", "1:x/y", "1:x y", 5, None])
def test_what_is_no_token_is_refused_and_not_told(token: Any) -> None:
    with pytest.raises(ConfigurationError, match="as BotFather tells it"):
        TelegramClient(token)


@pytest.mark.parametrize(
    "server",
    ["", "nonsense:", "127.0.0.1:80", "ftp://host", "http://", "http://h:99999", "http://["],
)
def test_what_is_no_server_is_refused(server: str) -> None:
    with pytest.raises(ConfigurationError, match="begins with https"):
        TelegramClient(TOKEN, server=server)


# Whose HTTP it is.


async def test_a_client_that_is_given_is_used_and_left_open() -> None:
    async with httpx2.AsyncClient(headers={"x-mine": "1"}) as own:
        async with asking(http=own) as (telegram, client):
            await client.get_me()
            await client.close()
            assert not own.is_closed
            assert len(telegram.calls) == 1


async def test_an_answer_fills_no_memory() -> None:
    async with asking() as (telegram, client):
        request = await client.request("getMe", {})
        small = msgspec.structs.replace(request, longest=10_000)
        telegram.answer_next(HttpAnswer(200, {}, b"a" * 10_000), HttpAnswer(200, {}, b"a" * 10_001))
        client.open()
        assert client._http is not None
        assert (await client._http.fetch(small)).body == b"a" * 10_000
        with pytest.raises(HttpFailed, match="longer than 10,000 bytes") as caught:
            await client._http.fetch(small)
        assert caught.value.sent

        packed = gzip.compress(b" " * 20_000_000)
        telegram.answer_next(HttpAnswer(200, {"content-encoding": "gzip"}, packed))
        with pytest.raises(ChannelUnreachable, match="longer than 16,777,216 bytes"):
            await client.send_message(chat_id=42, text="Hi")


async def test_a_token_follows_nobody_to_another_place() -> None:
    async with httpx2.AsyncClient(follow_redirects=True) as own, FakeTelegram() as other:
        async with asking(http=own) as (telegram, client):
            there = {"location": f"{other.url}/bot{TOKEN}/getMe"}
            telegram.answer_next(HttpAnswer(307, there))
            with pytest.raises(ChannelError, match="307"):
                await client.get_me()
        assert other.calls == []


def test_what_cannot_make_requests_is_refused() -> None:
    client = TelegramClient("1:x", http=object())
    with pytest.raises(ConfigurationError, match="must be an"):
        client._opened()


async def test_after_it_was_closed_it_connects_anew() -> None:
    async with asking() as (_, client):
        await client.get_me()
        await client.close()
        await client.get_me()


# Files that people have sent.


async def test_a_file_is_fetched_by_its_id_or_its_path() -> None:
    async with asking() as (telegram, client):
        telegram.files["F1"] = b"a picture"
        assert await client.download("F1") == b"a picture"
        told = await client.get_file(file_id="F1")
        assert await client.download(told["file_path"]) == b"a picture"


async def test_a_file_that_is_too_long_is_not_fetched() -> None:
    async with asking() as (telegram, client):
        telegram.files["F1"] = b"x" * 1001
        assert len(await client.download("F1", most=1001)) == 1001
        with pytest.raises(ChannelError, match="longer than 1,000 bytes"):
            await client.download("F1", most=1000)
        telegram.files["F1"] = bytes(20 * 1024 * 1024 + 1)
        with pytest.raises(ChannelError, match="file is too big"):
            await client.download("F1")


@pytest.mark.parametrize("file", ["F2", "documents/F2"])
async def test_a_file_that_is_not_there_is_an_error_without_the_token(file: str) -> None:
    async with asking() as (telegram, client):
        with pytest.raises(ChannelError) as caught:
            await client.download(file)
        assert caught.value.code == (404 if "/" in file else 400)
        assert telegram.token not in str(caught.value)


@pytest.mark.parametrize("path", ["/var/lib/documents/F1", "documents/../../x"])
async def test_a_path_on_a_disk_is_no_path_of_telegrams(path: str) -> None:
    async with asking() as (telegram, client):
        with pytest.raises(ConfigurationError, match="not on a disk"):
            await client.download(path)
        assert telegram.calls == []
