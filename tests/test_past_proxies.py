"""A fake platform where the environment names a proxy: it is called past that."""

from __future__ import annotations

import pytest

from barback import Bot, ConfigurationError
from barback.channels.http import HttpAnswer, HttpRequest
from barback.channels.telegram import TelegramClient
from barback.testing.local_http import LocalServer
from tests.fake_platforms import PLATFORMS


@pytest.fixture(autouse=True)
def a_proxy_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")


async def took(_: HttpRequest) -> HttpAnswer:
    return HttpAnswer(200)


@pytest.mark.parametrize("platform", PLATFORMS)
async def test_no_proxy_stands_between_a_bot_and_a_fake(platform: str) -> None:
    player = PLATFORMS[platform]
    person = "01234567890A=" if platform == "viber" else player.person(1)  # none with a slash
    async with LocalServer(took) as webhook, player.fake() as fake:
        fake.webhook = webhook.url
        assert (await fake.post(b"{}")).status == 200
        await fake.say("Hi", user=person)
        async with (
            Bot(channels=[fake.channel()]) as bot,
            bot.conversation(f"{platform}:{person}") as context,
        ):
            await context.send_text("Ho")
        assert fake.texts(person) == ["Ho"]


async def test_what_is_to_make_requests_has_to_be_able_to() -> None:
    client = TelegramClient("1:x", http=lambda: None)
    with pytest.raises(ConfigurationError, match="must make an Http, not NoneType"):
        client.open()
