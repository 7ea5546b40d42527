"""`barback run` and `barback webhook`, run as a person would run them."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from barback import ConfigurationError, TelegramChannel
from barback.channels.opening import open_channel
from barback.cli.run import BOT, TELEMETRY, app
from barback.telemetry import Telemetry
from barback.testing import FakeTelegram, telegram_error

ROOT = Path(__file__).parent.parent
TOKEN = "123456:" + "x" * 35
MODULE = """
import os
from barback import Bot, ConsoleBot, TelegramChannel

channel = TelegramChannel(os.environ["TOKEN"], server=os.environ["SERVER"])
bot = Bot(channels=[channel])
bare = Bot()
lost = Bot(channels=[channel], session_store="redis://:hidden@127.0.0.1:1/0")
console = ConsoleBot()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "shop.py").write_text(MODULE)
    return tmp_path


def command(*arguments: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "TOKEN": TOKEN, "SERVER": "http://127.0.0.1:1", **variables}
    return subprocess.run(
        [sys.executable, "-m", "barback", *arguments],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


async def at(telegram: FakeTelegram, folder: Path, *arguments: str, **variables: str) -> str:
    """What `barback webhook` says, with the bot at this Telegram; it has to go well."""
    done = await asyncio.to_thread(
        command,
        "webhook",
        *arguments,
        cwd=folder,
        TOKEN=telegram.token,
        SERVER=telegram.url,
        **variables,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


async def test_a_webhook_is_set_shown_and_deleted(folder: Path) -> None:
    async with FakeTelegram() as telegram:
        told = await at(telegram, folder, "set", "shop:bot", "https://bot.example/")
        assert told == ("telegram sends what people do to https://bot.example/telegram.\n")
        assert telegram.webhook == "https://bot.example/telegram"
        TelegramChannel(telegram.token, secret=telegram.secret)  # it was sent along
        assert telegram.secret is not None
        shown = await at(telegram, folder, "show", "shop:bot")
        assert "url: https://bot.example/telegram" in shown
        await at(telegram, folder, "delete", "shop:bot")
        assert telegram.webhook is None


async def test_a_path_that_is_there_already_is_not_added(folder: Path) -> None:
    async with FakeTelegram() as telegram:
        await at(telegram, folder, "set", "shop:bot", "https://bot.example/bots/telegram")
        assert telegram.webhook == "https://bot.example/bots/telegram"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://bot.example/telegram/", "https://bot.example/telegram"),
        ("https://bot.example/bots/", "https://bot.example/bots/telegram"),
        ("https://bot.example/?via=tunnel", "https://bot.example/telegram?via=tunnel"),
    ],
)
async def test_an_address_may_end_in_other_ways(url: str, expected: str, folder: Path) -> None:
    async with FakeTelegram() as telegram:
        await at(telegram, folder, "set", "shop:bot", url)
        assert telegram.webhook == expected


async def test_a_channel_that_only_the_environment_has_can_be_set(folder: Path) -> None:
    async with FakeTelegram() as telegram:
        await at(
            telegram,
            folder,
            *("set", "shop:bare", "https://bot.example", "--channel", "telegram"),
            TELEGRAM_TOKEN=telegram.token,
            TELEGRAM_SERVER=telegram.url,
            TELEGRAM_SECRET="s",  # noqa: S106 - of a test
        )
        assert telegram.secret == "s"  # noqa: S105 - the same


async def test_what_telegram_refuses_is_told_and_its_token_is_not(folder: Path) -> None:
    async with FakeTelegram() as telegram:
        telegram.answer_next(telegram_error(400, "Bad Request: bad webhook: HTTPS is required"))
        done = await asyncio.to_thread(
            command,
            *("webhook", "set", "shop:bot", "https://bot.example"),
            cwd=folder,
            TOKEN=telegram.token,
            SERVER=telegram.url,
        )
        assert done.returncode == 1
        assert "HTTPS is required" in done.stderr
        assert telegram.token not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("webhook", "show", "shop:bare"), "No such channel"),
        (("webhook", "show", "shop:bot", "--channel", "pigeon"), "no channel 'pigeon'"),
        *(
            (("webhook", "show", "shop:bare", "--channel", channel), needed)
            for channel, needed in {
                "line": "has no LINE_CHANNEL_ACCESS_TOKEN. Set it to what the LINE",
                "messenger": "has no MESSENGER_TOKEN. Set it to ",
                "slack": "has no SLACK_BOT_TOKEN. Set it to what Slack shows",
                "telegram": "has no TELEGRAM_TOKEN. Set it to what BotFather told.",
                "viber": "has no VIBER_TOKEN. Set it to the token",
                "whatsapp": "has no WHATSAPP_TOKEN. Set it to ",
            }.items()
        ),
        (("webhook", "set", "shop:bot", "bot.example"), "begins with https://"),
        (("run", "shop:bare"), "no channel with a webhook"),
        (("run", "shop:console"), "no channel with a webhook"),
        (("run", "shop:nothing"), "no 'nothing'"),
        (("run", "shop:bare", "--channel", "telegram"), "has no TELEGRAM_TOKEN"),
        (("run", "shop:bare", "--workers", "0"), "--workers"),
        (("run", "shop:bot", "--workers", "2"), "sessions of its own in the memory store"),
    ],
    ids=" ".join,
)
def test_what_cannot_be_done_is_said_in_a_sentence(
    arguments: tuple[str, ...], told: str, folder: Path
) -> None:
    done = command(*arguments, cwd=folder)
    assert done.returncode == 2
    assert told in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("channel", "missing"),
    [
        ("messenger", "MESSENGER_APP_SECRET"),
        ("messenger", "MESSENGER_APP_ID"),
        ("whatsapp", "WHATSAPP_APP_SECRET"),
        ("whatsapp", "WHATSAPP_APP_ID"),
        ("whatsapp", "WHATSAPP_WABA_ID"),
    ],
)
def test_what_a_webhook_of_metas_cannot_be_set_without_is_named(
    channel: str, missing: str, folder: Path
) -> None:
    names = {"TOKEN", "APP_SECRET", "APP_ID", "WABA_ID", "PHONE_NUMBER_ID"}
    variables = {f"{channel.upper()}_{name}": "42" for name in names}
    del variables[missing]
    address = {f"{channel.upper()}_SERVER": "http://127.0.0.1:1"}
    arguments = ("set", "shop:bare", "https://bot.example", "--channel", channel)
    done = command("webhook", *arguments, cwd=folder, **variables, **address)
    assert done.returncode == 2
    assert missing in done.stderr
    assert "Traceback" not in done.stderr


def test_a_store_that_is_away_is_said_in_a_sentence_and_its_password_is_not(folder: Path) -> None:
    done = command("run", "shop:lost", cwd=folder)
    assert done.returncode == 1
    assert "could not connect to 127.0.0.1:1" in done.stderr
    assert "Traceback" not in done.stderr
    assert "hidden" not in done.stderr


@pytest.mark.parametrize("name", ["run", "dev"])
def test_a_port_that_is_taken_is_told_with_a_status_that_is_documented(
    folder: Path, name: str
) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = str(taken.getsockname()[1])
        done = command(name, "shop:bot", "--port", port, cwd=folder)
    assert done.returncode == 1
    assert "address already in use" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_channel_is_made_of_the_environment() -> None:
    channel = open_channel("telegram", {"TELEGRAM_TOKEN": TOKEN})
    assert isinstance(channel, TelegramChannel)


def test_a_channel_that_nobody_has_is_refused_with_the_known_ones_named() -> None:
    with pytest.raises(ConfigurationError, match=r"Installed are: .*telegram"):
        open_channel("pigeon", {})


def test_telemetry_is_switched_on_by_an_option(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setenv("TOKEN", TOKEN)
    monkeypatch.setenv("SERVER", "http://127.0.0.1:1")
    monkeypatch.setenv(BOT, "shop:bot")
    monkeypatch.setenv(TELEMETRY, "")
    assert app().state.bot._observers == []
    monkeypatch.delitem(sys.modules, "shop")
    monkeypatch.setenv(TELEMETRY, "1")
    (observer,) = app().state.bot._observers
    assert isinstance(observer, Telemetry)
    monkeypatch.delitem(sys.modules, "shop")
