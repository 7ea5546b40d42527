"""Meta's Graph API, as Messenger and WhatsApp call it: addresses, tokens, failures."""

from __future__ import annotations

import logging
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from barback import ChannelError, ChannelUnreachable, ConfigurationError
from barback.channels.http import HttpAnswer
from barback.channels.messenger import InputFile
from barback.channels.meta import GraphClient
from barback.testing import FakeMessenger, graph_error
from barback.testing.meta import APP_SECRET, TOKEN


class Client(GraphClient):
    operations = {"get_thing": "GET /{thing}", "send_thing": "POST /{thing}/things"}  # noqa: RUF012


@asynccontextmanager
async def asking(**options: Any) -> AsyncIterator[tuple[FakeMessenger, Client]]:
    async with FakeMessenger(
        also=[f"{verb} /{{id}}/things" for verb in ("POST", "DELETE")]
    ) as fake:
        client = Client(
            fake.token, channel="messenger", app_secret=fake.app_secret, server=fake.url, **options
        )
        try:
            yield fake, client
        finally:
            await client.close()


async def test_a_call_is_written_as_meta_writes_it_or_by_a_name() -> None:
    async with asking(ids={"thing": "me"}) as (fake, client):
        assert await client.call("POST /{thing}/things", a=1, b=None) == {"success": True}
        await client.send_thing(thing="me", a={"b": [1]})
        await client.get_thing(fields=["id", "name"], limit=5, filters={"a": True})
        await client.call("DELETE /me/things", name="x")
        assert [(call.method, call.params) for call in fake.calls] == [
            ("POST /me/things", {"a": 1}),
            ("POST /me/things", {"a": {"b": [1]}}),
            ("GET /me", {"fields": "id,name", "limit": "5", "filters": '{"a":true}'}),
            ("DELETE /me/things", {"name": "x"}),
        ]


async def test_the_version_is_in_the_address_and_the_token_is_not() -> None:
    seen = []

    class Http:
        async def fetch(self, request: Any) -> HttpAnswer:
            seen.append(request)
            return HttpAnswer(200, {}, b"{}")

        async def close(self) -> None:
            pass

    client = Client(TOKEN, channel="x", app_secret=APP_SECRET, version="v24.0", http=Http())
    await client.call("GET /me")
    await client.call("POST /me/messages", text="Hi")
    plain = Client(TOKEN, channel="x", app_secret=APP_SECRET, proof=False, http=Http())
    await plain.call("GET /me")
    first, second, third = seen
    assert first.url.startswith("https://graph.facebook.com/v24.0/me?appsecret_proof=")
    assert second.url.startswith("https://graph.facebook.com/v24.0/me/messages?appsecret_proof=")
    assert third.url == "https://graph.facebook.com/v26.0/me"
    for request in seen:
        assert request.headers["authorization"] == f"Bearer {TOKEN}"
        assert TOKEN not in request.url
        assert APP_SECRET not in request.url


async def test_a_token_that_was_stolen_proves_nothing() -> None:
    async with FakeMessenger(
        also=[f"{verb} /{{id}}/things" for verb in ("POST", "DELETE")]
    ) as fake:
        client = Client(fake.token, channel="x", app_secret="another", server=fake.url)  # noqa: S106
        with pytest.raises(ChannelError, match="appsecret_proof"):
            await client.call("GET /me")
        await client.close()


@pytest.mark.parametrize("method", ["sendMessage", "PUT /me", "POST me", "POST /me?x=1", ""])
async def test_what_is_no_call_is_refused(method: str) -> None:
    with pytest.raises(ConfigurationError, match="is written"):
        await Client(TOKEN, channel="x").call(method)


@pytest.mark.parametrize("value", [None, "", "..", "."])
async def test_an_id_that_is_missing_is_asked_for(value: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"thing=…"):
        await Client(TOKEN, channel="x").get_thing(thing=value)


def test_a_name_that_is_no_operation_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no operation 'get_cake'"):
        _ = Client(TOKEN, channel="x").get_cake
    assert not hasattr(Client(TOKEN, channel="x"), "_get_cake")


@pytest.mark.parametrize(
    "options",
    [
        {"token": ""},
        {"token": "a b"},
        {"token": "a\nb"},
        {"token": None},
        {"version": "25"},
        {"version": None},
        {"server": "graph.facebook.com"},
        {"server": None},
        {"tokens": {"5": ""}},
    ],
    ids=repr,
)
def test_what_cannot_be_is_refused_and_not_told(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Client(options.pop("token", TOKEN), channel="x", **options)
    assert TOKEN not in str(caught.value)


# Failures.


async def test_a_refusal_has_metas_code_and_what_helps_metas_support() -> None:
    async with asking() as (fake, client):
        fake.answer_next(
            graph_error(
                400,
                190,
                f'Error validating {TOKEN} of {APP_SECRET}: "Tim said this"',
                subcode=460,
                error_data={"details": "The session is over."},
            )
        )
        with pytest.raises(ChannelError) as caught:
            await client.call("GET /me")
        error = caught.value
        assert (error.status, error.code, error.call) == (400, 190, "GET /me")
        assert error.parameters == {
            "error_subcode": 460,
            "fbtrace_id": "A1b2",
            "type": "OAuthException",
        }
        assert error.description == 'Error validating *** of ***: "…". The session is over.'
        told = "".join(traceback.format_exception(error)) + repr(error) + repr(client)
        assert TOKEN not in told
        assert APP_SECRET not in told
        assert "Tim said" not in told


@pytest.mark.parametrize(
    "answer",
    [
        HttpAnswer(200, {}, b"<html>"),
        HttpAnswer(200, {}, b""),
        HttpAnswer(500, {}, b"[[[["),
        HttpAnswer(404, {}, b"{}"),
        HttpAnswer(200, {}, b'{"error": 5}'),
        HttpAnswer(400, {}, b'{"error": {"code": "x", "message": 5, "error_data": []}}'),
        HttpAnswer(400, {"x-business-use-case-usage": "{{"}, b"\xff"),
        HttpAnswer(400, {"x-business-use-case-usage": '{"1": [5, {"x": 1}]}'}, b"[]"),
    ],
    ids=range(8),
)
async def test_whatever_comes_back_is_an_error_of_the_channel(answer: HttpAnswer) -> None:
    async with asking() as (fake, client):
        fake.answer_next(answer)
        with pytest.raises(ChannelError) as caught:
            await client.call("POST /me/things")
        assert caught.value.code == answer.status
        assert len(fake.calls) == 1


@pytest.mark.parametrize(("status", "code"), [(400, 613), (403, 4), (429, 999), (400, 32)])
async def test_calls_that_were_too_many_are_made_again(status: int, code: int) -> None:
    async with asking() as (fake, client):
        refused = graph_error(status, code, "Too many")
        fake.answer_next(HttpAnswer(refused.status, {"retry-after": "0.01"}, refused.body))
        assert await client.call("POST /me/things") == {"success": True}
        assert len(fake.calls) == 2


async def test_without_a_word_of_how_long_each_pause_is_longer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("barback.channels.client.PAUSE", 0.02)
    async with asking(retry_within=0.4) as (fake, client):
        fake.answer_next(*[graph_error(400, 613, "Too many")] * 99)
        with pytest.raises(ChannelError):
            await client.call("POST /me/things")
        # After 0.02, 0.08 and 0.32 s at most; half of that at least.
        assert 3 <= len(fake.calls) <= 4


async def test_minutes_that_meta_wants_to_be_left_alone_are_left_to_the_caller() -> None:
    usage = {"682498302938465": [{"type": "messenger", "estimated_time_to_regain_access": 19}]}
    headers = {"x-business-use-case-usage": msgspec.json.encode(usage).decode()}
    async with asking() as (fake, client):
        fake.answer_next(HttpAnswer(400, headers, graph_error(400, 613).body))
        with pytest.raises(ChannelError) as caught:
            await client.call("POST /me/things")
        assert caught.value.retry_after == 19 * 60
        assert len(fake.calls) == 1


@pytest.mark.parametrize("status", [500, 502, 503])
async def test_what_may_have_been_done_is_not_done_again(status: int) -> None:
    async with asking() as (fake, client):
        fake.answer_next(graph_error(status, 2, "Service temporarily unavailable"))
        with pytest.raises(ChannelError, match="with 2"):
            await client.call("POST /me/things")
        fake.answer_next(None)
        with pytest.raises(ChannelUnreachable) as caught:
            await client.call("POST /me/things")
        assert caught.value.sent
        assert len(fake.calls) == 2


async def test_what_only_reads_is_asked_again_where_nobody_answered() -> None:
    async with asking() as (fake, client):
        fake.answer_next(None)
        assert await client.call("GET /me") == {"success": True}
        assert len(fake.calls) == 2


async def test_no_token_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        async with asking(tokens={"7": "another-token"}) as (fake, client):
            await client.call("POST /me/things", file=InputFile(b"cat", "cat.png"))
            fake.answer_next(graph_error(400, 190, TOKEN))
            with pytest.raises(ChannelError):
                await client.call("GET /7/things")
            assert fake.calls[0].files == {"file": b"cat"}
    assert TOKEN not in caplog.text
    assert "another-token" not in caplog.text


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/x",
        "https://facebook.com.evil.example/x",
        "https://evilfbsbx.com/x",
        "http://lookaside.fbsbx.com/x",
        "",
        "x",
    ],
)
async def test_no_host_but_metas_gets_the_token(url: str) -> None:
    with pytest.raises(ConfigurationError, match="rest with Meta"):
        await Client(TOKEN, channel="x").call("GET {url}", url=url)
