"""Handlers for a channel that the bot has not, as after a slip of the pen."""

from __future__ import annotations

import logging

import pytest

from barback import Bot, ConsoleBot, Context, TelegramChannel
from barback.channels.console import ConsoleChannel
from barback.testing import Simulator


async def take(context: Context) -> None:
    pass


def for_others(bot: Bot) -> Bot:
    for decorator in (bot.on_text, bot.on_payload):
        decorator("tea", channel="telegram2")(take)
    bot.command("start", channel="telegram2")(take)
    bot.on_kind("join", channel="line")(take)
    bot.on_text("ok", channel="telegram")(take)
    bot.on_event(take)
    return bot


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING]


async def test_a_bot_on_a_platform_tells_once_of_each_channel_that_it_has_not(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bot = for_others(Bot())
    bot.add_channel(TelegramChannel("1:x"))  # as late as the command line does it
    async with bot:
        pass
    told = "The bot has handlers for the channel {!r}, and no such channel. It has: telegram."
    assert warnings(caplog) == [told.format("line"), told.format("telegram2")]


async def test_a_bot_on_none_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    for bot in (Bot(), Bot(channels=[ConsoleChannel(user="you")]), ConsoleBot()):
        async with for_others(bot):
            pass
    async with Simulator(for_others(Bot(channels=[TelegramChannel("1:x")]))):
        pass
    assert warnings(caplog) == []
