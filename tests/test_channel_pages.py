"""The bots of the channels' pages, where people do more than say something new."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from barback import Bot, Event, User
from barback.testing import Simulator

PAGES = Path(__file__).parent.parent / "docs" / "channels"
SHOP = re.compile(r"This is `shop\.py`:\n\n```python\n(.*?)```", re.DOTALL)
KINDS = {
    "line": "messageEdited",
    "messenger": "message_edit",
    "slack": "message_changed",
    "telegram": "edited_message",
    "viber": "edited",  # Viber has nothing of the kind yet
    "whatsapp": "edit",
}


def shop_of(page: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Bot[Any]:
    """A bot with the handler of a page, and without its channel."""
    found = SHOP.search((PAGES / f"{page}.md").read_text(encoding="utf-8"))
    assert found is not None
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("os.environ", dict[str, str]())
    names: dict[str, Any] = {"__name__": "shop"}
    exec(found[1], names)  # noqa: S102 - it is our own page
    bot: Bot[Any] = Bot(initial_state={"asking": False, "nickname": None})
    bot.on_event(names["greet"])
    return bot


@pytest.mark.parametrize("page", KINDS)
async def test_what_is_edited_is_no_answer(
    page: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bot = shop_of(page, monkeypatch, tmp_path)
    async with Simulator(bot) as chat:
        tim = chat.person("tim")
        await tim.say("Hi")
        await chat.send(Event(channel="console", kind=KINDS[page], text="Hi!", user=User("tim")))
        assert (await tim.state())["nickname"] is None
        await tim.say("Tim")
        assert (await tim.state())["nickname"] == "Tim"
