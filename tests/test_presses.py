"""A button that is pressed once, on every platform, and told of three times."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from barback import Bot, Context
from tests.fake_platforms import PLATFORMS


@pytest.mark.parametrize("platform", PLATFORMS)
async def test_a_press_that_comes_three_times_counts_once(platform: str) -> None:
    player = PLATFORMS[platform]
    bot = Bot(initial_state={"pressed": 0})
    counts: list[int] = []
    requests: list[str] = []

    @bot.on_payload("^tea$")
    async def count(context: Context[Any]) -> None:
        context.set_state(pressed=context.state["pressed"] + 1)
        counts.append(context.state["pressed"])

    async def note(request: httpx2.Request) -> None:
        requests.append(request.method)

    async with player.fake() as fake:
        app = bot.asgi(fake.channel())
        fake.webhook = f"http://bot/{platform}"
        transport = httpx2.ASGITransport(app=app)
        client = httpx2.AsyncClient(transport=transport, event_hooks={"request": [note]})
        fake.reach_by(client)
        async with client, app.router.lifespan_context(app):
            press: Any = fake.press  # type: ignore[attr-defined]
            assert (await press("tea", user=player.person(1), times=3)).accepted
    assert requests == ["POST"] * 3
    assert counts == [1]
