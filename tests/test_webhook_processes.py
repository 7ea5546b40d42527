"""The whole way: a platform posts, over HTTP, to bots that `barback run` serves, on Redis."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from barback import Bot
from barback.testing import FakePlatform
from tests.every_store import own_url
from tests.fake_platforms import PLATFORMS
from tests.ports import free_port
from tests.valkey_servers import ValkeyServer

PEOPLE = 30
OUTAGE = 5.0  # seconds
ROOT = Path(__file__).parent.parent

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM"),
]


def over_new_connections(fake: FakePlatform) -> FakePlatform:
    """Each webhook comes over a connection of its own, so that no process is left out."""
    signed = fake.signed
    fake.signed = lambda body: {**signed(body), "connection": "close"}  # type: ignore[method-assign]
    return fake


@asynccontextmanager
async def served(
    name: str, platform: str, store: str, folder: Path, *, workers: int
) -> AsyncIterator[FakePlatform]:
    """A bot of `webhook_bot.py`, in so many processes, and the platform that it is on."""
    log = folder / "log"
    async with over_new_connections(PLATFORMS[platform].fake()) as fake:
        port = free_port()
        fake.webhook = f"http://127.0.0.1:{port}/{platform}"
        arguments = [f"tests.webhook_bot:{name}", "--port", str(port), "--workers", str(workers)]
        arguments += ["--channel", platform]
        environment = {**fake.environment(), "BARBACK_TEST_STORE": store}
        with log.open("w") as output:
            process = subprocess.Popen(  # noqa: ASYNC220 - it returns at once
                [sys.executable, "-m", "barback", "run", *arguments],
                cwd=ROOT,
                env={**os.environ, **environment},
                stderr=output,
                start_new_session=True,
            )
        try:
            await started(log, process, workers)
            yield fake
            process.send_signal(signal.SIGTERM)
            status = await asyncio.to_thread(process.wait, 60)
            assert status in {0, -signal.SIGTERM}  # uvicorn ends by the signal, in good order
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


async def started(log: Path, process: subprocess.Popen[bytes], workers: int) -> None:
    async with asyncio.timeout(60):
        while started_in(log) < workers:
            assert process.poll() is None, "it ended by itself"
            await asyncio.sleep(0.05)


def started_in(log: Path) -> int:
    return log.read_text().count("Application startup complete")


async def states(store: str) -> list[dict[str, Any]]:
    """What all sessions hold, looked at from outside."""
    async with Bot(session_store=store) as bot:
        return [msgspec.json.decode(record.state) async for record in bot._store.all()]


@pytest.mark.parametrize(
    ("platform", "workers"), [("telegram", 1), *((name, 2) for name in PLATFORMS)]
)
async def test_every_webhook_comes_twice_and_everybody_is_greeted_once(
    platform: str, workers: int, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    store = own_url("redis", request, tmp_path)
    people = [PLATFORMS[platform].person(number) for number in range(1, PEOPLE + 1)]
    async with served("nickname", platform, store, tmp_path, workers=workers) as fake:

        async def talk(person: Any) -> None:
            await fake.say("Hi", user=person, times=2)
            await fake.say(f"Person {person}", user=person, times=2)

        await asyncio.gather(*(talk(person) for person in people))
        for person in people:
            assert fake.texts(person) == ["Hi, what's your nickname?", f"Hello Person {person}"]
    kept = await states(store)
    expected = sorted(f"Person {person}" for person in people)
    assert expected == sorted(state["nickname"] for state in kept)
    assert len({state["pid"] for state in kept}) == workers


async def test_a_store_that_is_down_for_five_seconds_costs_no_event_and_doubles_none(
    tmp_path: Path,
) -> None:
    with ValkeyServer(tmp_path / "valkey") as valkey:
        store = valkey.url
        async with served("counting", "telegram", store, tmp_path, workers=2) as telegram:
            said: list[tuple[int, str]] = []

            async def keep_saying(user: int) -> None:
                number = 0
                while not over.is_set():
                    number += 1
                    text = f"{user}:{number}"
                    said.append((user, text))
                    await telegram.say(text, user=user, times=2)

            over = asyncio.Event()
            people = [asyncio.ensure_future(keep_saying(user)) for user in range(1, PEOPLE + 1)]
            await asyncio.sleep(1)
            before = len(said)
            await asyncio.to_thread(valkey.kill)
            await asyncio.sleep(OUTAGE)
            during = len(said)
            await asyncio.to_thread(valkey.start)
            await asyncio.sleep(1)
            over.set()
            await asyncio.gather(*people)
        assert before > 0
        assert during <= before + 2 * PEOPLE  # while it was down, everybody waited
        assert len(said) > during
        kept = await states(store)
        for user in range(1, PEOPLE + 1):
            expected = [text for who, text in said if who == user]
            assert expected in [state["texts"] for state in kept]
        assert len(kept) == PEOPLE
        assert len({pid for state in kept for pid in state["pids"]}) == 2


async def test_a_worker_that_dies_while_the_store_is_away_takes_no_other_with_it(
    tmp_path: Path,
) -> None:
    with ValkeyServer(tmp_path / "valkey") as valkey:
        async with served("counting", "telegram", valkey.url, tmp_path, workers=2) as telegram:
            log = tmp_path / "log"
            survivor, victim = workers_of(log)
            await asyncio.to_thread(valkey.kill)
            os.kill(victim, signal.SIGKILL)
            async with asyncio.timeout(60):
                while log.read_text().count("This worker is started again.") < 2:
                    await asyncio.sleep(0.05)
            os.kill(survivor, 0)  # it is there still
            await asyncio.to_thread(valkey.start)
            await telegram.say("Hi", user=1)
            async with asyncio.timeout(60):
                while started_in(log) < 3:
                    await asyncio.sleep(0.05)
        assert [state["texts"] for state in await states(valkey.url)] == [["Hi"]]


def workers_of(log: Path) -> list[int]:
    return [int(pid) for pid in re.findall(r"Started server process \[(\d+)\]", log.read_text())]
