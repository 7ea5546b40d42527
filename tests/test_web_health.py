"""What a bot tells of itself to whoever watches over it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from barback import Lease, Record
from tests.postbox import World, greeter, serving
from tests.scripted import ScriptedStore


async def test_health_is_that_the_process_lives() -> None:
    async with serving(greeter(), running=False) as world:
        assert (await world.client.get("/healthz")).status_code == 200


async def test_a_bot_is_ready_while_it_runs_and_its_store_answers() -> None:
    store = ScriptedStore()
    bot = greeter(session_store=store)
    async with serving(bot) as world:
        store.script("checkout", "unavailable")
        answer = await world.client.get("/readyz")
        assert (answer.status_code, answer.text) == (503, "The store cannot do its work.")
        readiness = next(r for r in app_routes(world) if r.path == "/readyz").app
        readiness._asked_at = float("-inf")  # as if a second had gone
        assert (await world.client.get("/readyz")).status_code == 200
    assert [record async for record in store.inner.all()] == []


def app_routes(world: World) -> Any:
    return world.client._transport.app.routes  # type: ignore[attr-defined]


async def test_a_store_that_does_not_answer_is_not_waited_for_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("barback.web.readiness.WITHIN", 0.01)

    class Silent(ScriptedStore):
        async def checkout(self, session_id: str, lease: Lease) -> Record | None:
            return await asyncio.Future[Record]()

    async with serving(greeter(session_store=Silent())) as world:
        answer = await world.client.get("/readyz")
        assert (answer.status_code, answer.text) == (503, "The store does not answer.")


async def test_the_store_is_asked_once_a_second_however_many_ask() -> None:
    store = ScriptedStore()
    async with serving(greeter(session_store=store)) as world:
        await asyncio.gather(*(world.client.get("/readyz") for _ in range(20)))
        assert store.calls.count("checkout") == 1


async def test_a_bot_that_does_not_run_is_not_ready() -> None:
    async with serving(greeter(), running=False) as world:
        assert (await world.client.get("/readyz")).status_code == 503
