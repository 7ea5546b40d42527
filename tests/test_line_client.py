"""The client of LINE, over real sockets: all operations by name, and what becomes of failures."""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import msgspec
import pytest

from barback import ChannelError, ChannelUnreachable, ConfigurationError
from barback.channels.http import HttpAnswer, HttpRequest
from barback.channels.line import InputFile, LineClient
from barback.channels.line.client import DATA, OFFICIAL
from barback.channels.line.operations import NAMES, operation, operation_at
from barback.testing import FakeLine, line_error
from barback.testing.line import TOKEN
from tests.ports import free_port

TIM = f"U{1:032x}"
HI = [{"type": "text", "text": "Hi"}]
NONE = "r"  # a reply token
KEY = "123e4567-e89b-12d3-a456-426614174000"


class Noted:
    """Notes what is asked for, and answers all of it alike."""

    def __init__(self, answer: HttpAnswer | None = None) -> None:
        self.asked: list[HttpRequest] = []
        self._answer = answer or HttpAnswer(200, {"content-type": "application/json"}, b"{}")

    async def fetch(self, request: HttpRequest) -> HttpAnswer:
        self.asked.append(request)
        return self._answer

    async def close(self) -> None:
        """Nothing is open."""


@asynccontextmanager
async def asking(**options: Any) -> AsyncIterator[tuple[FakeLine, LineClient]]:
    async with FakeLine() as line:
        client = LineClient(line.token, server=line.url, **options)
        try:
            yield line, client
        finally:
            await client.close()


async def asked(method: str, **params: Any) -> HttpRequest:
    """The request that a call makes."""
    http = Noted()
    await LineClient("t0ken", http=http).call(method, **params)
    (request,) = http.asked
    return request


# Operations.


def snake(name: str) -> str:
    return "".join(f"_{one.lower()}" if one.isupper() else one for one in name)


@pytest.mark.parametrize("name", NAMES)
def test_every_operation_is_found_by_its_name_its_path_and_in_pythons_way(name: str) -> None:
    one = operation(name)
    assert one.name == name
    assert operation_at(one.verb, one.path) == one
    if not name.startswith(("getPNP", "addLIFF", "getAllLIFF", "updateLIFF", "deleteLIFF")):
        assert operation(snake(name)) == one


def test_names_that_line_writes_in_capitals_are_found() -> None:
    assert operation("add_liff_app").name == "addLIFFApp"
    assert operation("get_pnp_message_statistics").name == "getPNPMessageStatistics"
    assert operation("mission_sticker_v3").name == "missionStickerV3"


async def test_parameters_go_into_the_path_the_query_and_the_body() -> None:
    request = await asked("get_group_member_profile", group_id="C/1?", userId=TIM)
    assert request.method == "GET"
    assert request.url == f"{OFFICIAL}/v2/bot/group/C%2F1%3F/member/{TIM}"
    assert request.headers["authorization"] == "Bearer t0ken"
    assert request.body == b""

    request = await asked("get_audience_groups", page=1, includes_external_public_groups=True)
    query = dict(parse_qsl(urlsplit(request.url).query))
    assert query == {"page": "1", "includesExternalPublicGroups": "true"}

    request = await asked("get_statistics_per_unit", custom_aggregation_unit="u", from_="1", to="2")
    query = dict(parse_qsl(urlsplit(request.url).query))
    assert query == {"customAggregationUnit": "u", "from": "1", "to": "2"}

    request = await asked("update_rich_menu_alias", rich_menu_alias_id="a", rich_menu_id="r")
    assert request.url == f"{OFFICIAL}/v2/bot/richmenu/alias/a"
    assert msgspec.json.decode(request.body) == {"richMenuId": "r"}
    assert request.headers["content-type"] == "application/json"

    request = await asked("delete_rich_menu", rich_menu_id="r")
    assert (request.method, request.body) == ("DELETE", b"")


async def test_what_has_no_body_is_sent_none() -> None:
    request = await asked("leave_group", group_id="C1")
    assert (request.method, request.body) == ("POST", b"")
    assert "content-type" not in request.headers


@pytest.mark.parametrize(
    ("method", "params", "server"),
    [
        ("get_message_content", {"message_id": "1"}, DATA),
        ("get_message_content_preview", {"message_id": "1"}, DATA),
        ("get_message_content_transcoding_by_message_id", {"message_id": "1"}, DATA),
        ("get_rich_menu_image", {"rich_menu_id": "1"}, DATA),
        ("set_rich_menu_image", {"rich_menu_id": "1", "file": InputFile(b"", "a.png")}, DATA),
        ("create_audience_for_uploading_user_ids", {"file": InputFile(b"")}, DATA),
        ("add_user_ids_to_audience", {"file": InputFile(b"")}, DATA),
        ("GET /v2/bot/message/1/content", {}, DATA),
        ("get_rich_menu", {"rich_menu_id": "1"}, OFFICIAL),
        ("get_profile", {"user_id": "1"}, OFFICIAL),
    ],
)
async def test_what_is_large_is_at_another_host(
    method: str, params: dict[str, Any], server: str
) -> None:
    assert (await asked(method, **params)).url.startswith(f"{server}/")


async def test_files_are_sent_as_they_are_or_with_fields() -> None:
    request = await asked("set_rich_menu_image", rich_menu_id="r", file=InputFile(b"x", "a.jpg"))
    assert (request.body, request.headers["content-type"]) == (b"x", "image/jpeg")
    ids = InputFile(f"{TIM}\n".encode(), "ids.txt")
    request = await asked(
        "create_audience_for_uploading_user_ids", description="All", is_ifa_audience=False, file=ids
    )
    assert request.headers["content-type"].startswith("multipart/form-data; boundary=")
    assert b'name="isIfaAudience"\r\n\r\nfalse' in request.body
    assert TIM.encode() in request.body
    with pytest.raises(ConfigurationError, match="takes a file"):
        await asked("set_rich_menu_image", rich_menu_id="r", file=b"x")


async def test_tokens_are_asked_for_as_a_form_and_without_one() -> None:
    own = {"client_id": "1", "client_secret": "s/+"}
    request = await asked("issue_stateless_channel_token", grant_type="client_credentials", **own)
    assert request.url == f"{OFFICIAL}/oauth2/v3/token"
    assert request.body == b"grant_type=client_credentials&client_id=1&client_secret=s%2F%2B"
    assert request.headers["content-type"] == "application/x-www-form-urlencoded"
    assert "authorization" not in request.headers


async def test_anything_else_is_called_by_verb_and_path() -> None:
    request = await asked("POST /v2/bot/telepathy/{userId}", user_id=TIM, force=5)
    assert request.url == f"{OFFICIAL}/v2/bot/telepathy/{TIM}"
    assert msgspec.json.decode(request.body) == {"force": 5}
    request = await asked("GET /v2/bot/telepathy", limit=5)
    assert request.url == f"{OFFICIAL}/v2/bot/telepathy?limit=5"


@pytest.mark.parametrize("value", [None, "", ".", ".."])
async def test_a_part_of_the_path_that_is_missing_or_leads_elsewhere_is_refused(value: Any) -> None:
    with pytest.raises(ConfigurationError, match="getProfile needs userId"):
        await asked("get_profile", user_id=value)


@pytest.mark.parametrize("method", ["telepathy", "", "GET", "FETCH /v2/bot/info", "GET v2/bot"])
async def test_what_line_does_not_have_is_said(method: str) -> None:
    with pytest.raises(ConfigurationError, match="verb and path"):
        await asked(method)


def test_a_name_that_line_does_not_have_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="telepathy"):
        _ = LineClient("token").telepathy


# Answers.


async def test_what_comes_back_is_json_or_a_file() -> None:
    async with asking() as (line, client):
        assert (await client.get_profile(user_id=TIM))["displayName"] == f"Person {TIM}"
        line.contents["7"] = b'{"a": "file of JSON"}'
        assert await client.get_message_content(message_id="7") == b'{"a": "file of JSON"}'
        line.answer_next(HttpAnswer(202, {}, b""))
        with pytest.raises(ChannelError, match="being prepared") as caught:
            await client.get_message_content(message_id="7")
        assert caught.value.status == 202


async def test_an_answer_of_nothing_is_empty() -> None:
    async with asking() as (line, client):
        line.answer_next(HttpAnswer(200))
        assert await client.mission_sticker_v3(to=TIM) == {}


async def test_what_sends_messages_tells_the_id_of_its_request() -> None:
    async with asking() as (_, client):
        sent = await client.push_message(to=TIM, messages=HI)
        assert sent["requestId"].startswith("request-")
        assert sent["sentMessages"][0]["id"]


@pytest.mark.parametrize("body", [b"{", b"\xff", b"<html>"])
async def test_an_answer_that_is_not_lines_is_an_error(body: bytes) -> None:
    async with asking() as (line, client):
        kind = {"content-type": "application/json"}
        line.answer_next(HttpAnswer(200, kind, body), HttpAnswer(400, kind, body))
        for _ in range(2):
            with pytest.raises(ChannelError, match="not LINE's"):
                await client.reply_message(reply_token=NONE, messages=HI)


async def test_a_refusal_says_what_line_says() -> None:
    async with asking() as (_, client):
        messages = [*HI, {"type": "text", "text": ""}]
        with pytest.raises(ChannelError, match="refused pushMessage, with 400") as caught:
            await client.push_message(to=TIM, messages=messages)
        error = caught.value
        assert (error.channel, error.status, error.code) == ("line", 400, 400)
        told = "The request body has 1 error(s): messages[1].text: May not be empty"
        assert error.description == told
        assert error.parameters["details"][0]["property"] == "messages[1].text"
        assert error.parameters["requestId"].startswith("request-")


async def test_a_refused_token_has_a_code_in_words() -> None:
    refusal = {"error": "invalid_client", "error_description": "invalid client_secret"}
    async with asking() as (line, client):
        line.answer_next(HttpAnswer(400, {}, msgspec.json.encode(refusal)))
        own = {"client_id": "1", "client_secret": "hidden"}
        with pytest.raises(ChannelError) as caught:
            await client.issue_channel_token(**own)
        assert (caught.value.code, caught.value.status) == ("invalid_client", 400)
        assert "hidden" not in str(caught.value) + repr(caught.value.__dict__)


# What is asked again.


async def test_what_has_been_accepted_before_is_no_error() -> None:
    async with asking() as (line, client):
        first = await client.push_message(to=TIM, messages=HI, retry_key=KEY)
        again = await client.call("POST /v2/bot/message/push", to=TIM, messages=HI, retry_key=KEY)
        assert first["sentMessages"] == again["sentMessages"]
        assert [call.status for call in line.calls] == [200, 409]
        assert line.texts(TIM) == ["Hi"]
        line.answer_next(HttpAnswer(409))
        with pytest.raises(ChannelError, match="409"):
            await client.reply_message(reply_token=NONE, messages=HI)


async def test_only_what_takes_a_retry_key_has_one() -> None:
    async with asking() as (line, client):
        for method in ("push_message", "multicast", "broadcast", "narrowcast"):
            await client.call(method, to=TIM if method == "push_message" else [TIM], messages=HI)
        await client.show_loading_animation(chat_id=TIM)
        assert ["retryKey" in call.params for call in line.calls] == [True] * 4 + [False]
        with pytest.raises(ChannelError, match="retry key"):
            await client.push_message(to=TIM, messages=HI, retry_key="mine")


async def test_what_changes_something_and_has_no_key_is_not_asked_again() -> None:
    async with asking() as (line, client):
        line.answer_next(line_error(500), None)
        with pytest.raises(ChannelError, match="500"):
            await client.create_rich_menu(name="menu")
        with pytest.raises(ChannelUnreachable):
            await client.create_rich_menu(name="menu")
        assert len(line.calls) == 2


async def test_what_only_reads_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("barback.channels.client.PAUSE", 0.01)
    async with asking() as (line, client):
        line.answer_next(None, line_error(503))
        assert (await client.get_bot_info())["displayName"] == "Bot"
        assert len(line.calls) == 3


async def test_too_much_is_asked_again_later_and_later_within_the_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("barback.channels.client.PAUSE", 0.05)
    limit = line_error(429, "The API rate limit has been exceeded. Try again later.")
    async with asking(retry_within=0.5) as (line, client):
        line.answer_next(limit, limit)
        begun = time.monotonic()
        await client.push_message(to=TIM, messages=HI)
        assert time.monotonic() - begun >= 0.075
        line.answer_next(*[limit] * 99)
        with pytest.raises(ChannelError) as caught:
            await client.push_message(to=TIM, messages=HI)
        assert caught.value.code == 429
        assert len(line.calls) < 12


async def test_a_limit_of_the_month_is_not_asked_again() -> None:
    async with asking() as (line, client):
        line.answer_next(line_error(429, "You have reached your monthly limit."))
        with pytest.raises(ChannelError, match="monthly limit"):
            await client.push_message(to=TIM, messages=HI)
        assert len(line.calls) == 1


# The token.


async def test_the_token_is_told_by_no_error_no_log_and_no_repr(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    async with asking() as (line, client):
        told = [repr(client)]
        for answer in (line_error(401, f"token {TOKEN}"), HttpAnswer(500), None):
            line.answer_next(answer)
            told.append(await failure(client))
        nowhere = LineClient(TOKEN, server=f"http://127.0.0.1:{free_port()}")
        told.append(await failure(nowhere))
        await nowhere.close()
        for secret in ("of-somebody", "of/some+body"):
            await client.verify_channel_token_by_jwt(access_token=secret)
        await client.gets_all_valid_channel_access_token_key_ids(client_assertion="signed.by.me")
    assert "HTTP Request: POST" in caplog.text  # by httpx2, of every request
    for text in (*told, caplog.text):
        for secret in (TOKEN, "of-somebody", "signed.by.me"):
            assert secret not in text


async def failure(client: LineClient) -> str:
    """All that can be seen of an error, and of what it came from."""
    try:
        await client.create_rich_menu(name="menu")
    except ChannelError as error:
        shown = "".join(traceback.TracebackException.from_exception(error).format())
        one: BaseException | None = error
        while one is not None:
            shown += repr(one) + repr(one.__dict__)
            one = one.__cause__ or one.__context__
        return shown
    raise AssertionError("it did not fail")


async def test_a_token_may_be_asked_for_each_time() -> None:
    tokens = iter(["first", "second", "not one"])

    async def valid() -> str:
        return next(tokens)

    http = Noted()
    client = LineClient(valid, http=http)
    for _ in range(2):
        await client.get_bot_info()
    assert [r.headers["authorization"] for r in http.asked] == ["Bearer first", "Bearer second"]
    with pytest.raises(ConfigurationError, match="channel access token"):
        await client.get_bot_info()


@pytest.mark.parametrize("token", ["", "a b", "a\nb", "ä", 5, None])
def test_what_is_no_token_is_refused(token: Any) -> None:
    with pytest.raises(ConfigurationError, match="Console shows it"):
        LineClient(token)


@pytest.mark.parametrize("options", [{"server": "line.me"}, {"data_server": "ftp://line.me"}])
def test_what_is_no_server_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="begins with https"):
        LineClient("token", **options)


async def test_a_wrong_token_is_refused() -> None:
    async with FakeLine() as line:
        client = LineClient("another", server=line.url)
        with pytest.raises(ChannelError, match="401"):
            await client.push_message(to=TIM, messages=HI)
        await client.close()
