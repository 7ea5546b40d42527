"""Where the web app of a bot has its webhooks, and where it has nothing."""

from __future__ import annotations

import msgspec
import pytest

from tests.postbox import Postbox, greeter, serving


def postbox_at(path: str) -> Postbox:
    box = Postbox()
    box.name, box.path = "other", path
    return box


@pytest.mark.parametrize("path", ["/postbox", "/postbox/"])
async def test_a_webhook_is_there_with_a_slash_at_its_end_and_without(path: str) -> None:
    async with serving(greeter()) as world:
        body = msgspec.json.encode([{"id": "1", "who": "tim"}])
        answer = await world.client.post(path, content=body, headers={"secret": "right"})
        assert (answer.status_code, world.box.sent) == (200, ["1"])


@pytest.mark.parametrize("path", ["/bots/", "/bots"])
async def test_so_is_one_whose_own_path_ends_in_one(path: str) -> None:
    other = postbox_at("/bots/")
    async with serving(greeter(channels=[other])) as world:
        answer = await world.client.post(path, content=b"[]", headers={"secret": "right"})
        assert answer.status_code == 200
        assert (len(other.seen), len(world.box.seen)) == (1, 0)


async def test_two_webhooks_may_differ_in_that_alone() -> None:
    other = postbox_at("/postbox/")
    async with serving(greeter(channels=[other])) as world:
        for path in ("/postbox", "/postbox/", "/postbox/"):
            await world.client.post(path, content=b"[]", headers={"secret": "right"})
        assert (len(other.seen), len(world.box.seen)) == (2, 1)


@pytest.mark.parametrize("path", ["/healthz/", "/readyz/", "/nowhere/", "/postbox//", "//postbox"])
async def test_nothing_is_redirected_by_a_host_that_strangers_claim(path: str) -> None:
    async with serving(greeter()) as world:
        answer = await world.client.get(path, headers={"host": "evil.example"})
        assert answer.status_code == 404
        assert "location" not in answer.headers
