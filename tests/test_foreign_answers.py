"""What something else answers in a platform's place, such as a proxy, and what is given wrongly."""

from __future__ import annotations

from typing import Any

import pytest

from barback import ChannelError, ConfigurationError, TelegramChannel
from barback.channels.http import HttpAnswer, is_address
from tests.fake_platforms import PLATFORMS

METHODS = {
    "line": ("getBotInfo", "not LINE's"),
    "slack": ("auth.test", "not Slack's"),
    "telegram": ("getMe", "not Telegram's"),
    "viber": ("get_account_info", "not Viber's"),
}
BODIES = [b"null", b"[]", b"5", b'"ok"', b"<html>", b"\xff", b"[" * 100_000]


@pytest.mark.parametrize("body", BODIES, ids=lambda body: str(body[:8]))
@pytest.mark.parametrize("platform", METHODS)
async def test_it_is_no_result_and_told_to_be_anothers(platform: str, body: bytes) -> None:
    method, told = METHODS[platform]
    async with PLATFORMS[platform].fake() as fake:
        client = fake.channel().client
        try:
            fake.answer_next(HttpAnswer(200, {"content-type": "application/json"}, body))
            with pytest.raises(ChannelError, match=told):
                await client.call(method)
        finally:
            await client.close()


@pytest.mark.parametrize(
    ("platform", "start"),
    [
        ("telegram", b'{"ok": true, "result": '),
        ("viber", b'{"status": 0, "status_message": "ok", "more": '),
        ("line", b'{"more": '),
        ("slack", b'{"ok": true, "more": '),
    ],
)
async def test_what_is_nested_without_end_is_no_platforms(platform: str, start: bytes) -> None:
    deep = start + b"[" * 100_000 + b"]" * 100_000 + b"}"
    await test_it_is_no_result_and_told_to_be_anothers(platform, deep)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"allowed_updates": "message"}, "a list of kinds, as in .'message'., not 'message'"),
        ({"allowed_updates": [5]}, "a list of kinds"),
        ({"allowed_updates": 5}, "a list of kinds"),
        ({"server": 5}, "begins with https://"),
        ({"username": 5}, "what the bot is called"),
    ],
    ids=str,
)
def test_what_telegram_could_make_nothing_of_is_refused(options: Any, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        TelegramChannel("1:x", **options)


@pytest.mark.parametrize("server", [5, b"https://x.example", None])
def test_a_server_is_a_text(server: Any) -> None:
    assert not is_address(server)
