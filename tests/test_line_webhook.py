"""The webhook of a bot on LINE: who has signed it, and where LINE has it."""

from __future__ import annotations

import hmac
from base64 import b64encode
from typing import Any

import pytest

from barback import ChannelError, ConfigurationError, LineChannel, WebhookRefused, WebhookRequest
from barback.channels.opening import open_channel
from barback.testing import FakeLine, line_error

HEADER = "x-line-signature"

# Published at https://developers.line.biz/en/docs/messaging-api/verify-webhook-signature/, and in
# the tests of https://github.com/line/line-bot-sdk-python.
SIGNED = [
    (
        "8c570fa6dd201bb328f1c1eac23a96d8",
        b'{"destination":"U8e742f61d673b39c7fff3cecb7536ef0","events":[]}',
        "GhRKmvmHys4Pi8DxkF4+EayaH0OqtJtaZxgTD9fMDLs=",
    ),
    ("channel_secret", b"bodybodybodybody", "/gg9a+LvFevTH1sd7XCQycD7tsWclCsInj7MhBHxN7k="),
]


# The signature.


def request(body: bytes, signature: str | None) -> WebhookRequest:
    headers = {} if signature is None else {HEADER: signature}
    return WebhookRequest(method="POST", headers=headers, body=body)


@pytest.mark.parametrize(("secret", "body", "signature"), SIGNED, ids=["documents", "sdk"])
def test_published_signatures_let_a_request_in(secret: str, body: bytes, signature: str) -> None:
    LineChannel("token", secret).verify(request(body, signature))


def test_every_single_bit_of_body_and_signature_counts() -> None:
    secret, body, signature = SIGNED[0]
    channel, given = LineChannel("token", secret), signature.encode()
    for number in range(len(body) * 8):
        changed = bytearray(body)
        changed[number // 8] ^= 1 << number % 8
        with pytest.raises(WebhookRefused):
            channel.verify(request(bytes(changed), signature))
    for number in range(len(given) * 8):
        changed = bytearray(given)
        changed[number // 8] ^= 1 << number % 8
        with pytest.raises(WebhookRefused):
            channel.verify(request(body, changed.decode("latin-1")))


@pytest.mark.parametrize(
    "given",
    [
        None,
        "",
        "invalid_signature",
        "GhRKmvmHys4Pi8DxkF4+EayaH0OqtJtaZxgTD9fMDLs",
        " GhRKmvmHys4Pi8DxkF4+EayaH0OqtJtaZxgTD9fMDLs=",
        "é",
    ],
)
def test_any_other_signature_and_none_is_refused_and_the_right_one_not_told(
    given: str | None,
) -> None:
    secret, body, _ = SIGNED[0]
    with pytest.raises(WebhookRefused) as caught:
        LineChannel("token", secret).verify(request(body, given))
    assert "GhRK" not in str(caught.value)


def test_a_signature_with_another_secret_is_refused() -> None:
    _, body, _ = SIGNED[0]
    other = b64encode(hmac.digest(b"other", body, "sha256")).decode()
    with pytest.raises(WebhookRefused):
        LineChannel("token", "secret").verify(request(body, other))


# The webhook at LINE.


async def test_a_bot_sets_and_shows_its_webhook_and_cannot_delete_it() -> None:
    async with FakeLine() as line:
        channel = line.channel()
        assert await channel.webhook_info() == {"endpoint": "", "active": False}
        await channel.set_webhook("https://bot.example/line")
        assert line.webhook == "https://bot.example/line"
        assert (await channel.webhook_info())["endpoint"] == "https://bot.example/line"
        with pytest.raises(ConfigurationError, match="Use webhook"):
            await channel.delete_webhook()
        line.answer_next(line_error(401, "no"))
        with pytest.raises(ChannelError, match="401"):
            await channel.webhook_info()
        await channel.stop()


def test_two_bots_of_line_have_two_names_and_two_paths() -> None:
    first, second = LineChannel("a", "b"), LineChannel("c", "d", name="line-shop")
    assert (first.path, second.path) == ("/line", "/line-shop")
    (event,) = second.events(request(b'{"events": [{"type": "follow"}]}', None))
    assert event.channel == "line-shop"


def test_it_answers_within_the_two_seconds_that_line_waits() -> None:
    assert LineChannel.ack_within < 2


@pytest.mark.parametrize("secret", ["", None, 5])
def test_what_is_no_secret_is_refused(secret: Any) -> None:
    with pytest.raises(ConfigurationError, match="channel secret"):
        LineChannel("token", secret)


def test_a_channel_shows_neither_token_nor_secret() -> None:
    shown = repr(LineChannel("t0ken", "s3cret")) + repr(LineChannel("t0ken", "s3cret").client)
    assert "t0ken" not in shown
    assert "s3cret" not in shown


def test_the_environment_tells_of_it() -> None:
    told = {"LINE_CHANNEL_ACCESS_TOKEN": "token", "LINE_CHANNEL_SECRET": "channel_secret"}
    channel = open_channel("line", told)
    assert isinstance(channel, LineChannel)
    _, body, signature = SIGNED[1]
    channel.verify(request(body, signature))
    for missing in told:
        with pytest.raises(ConfigurationError, match=missing):
            open_channel("line", {**told, missing: ""})
