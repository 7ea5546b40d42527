"""The whole way: a platform posts, over HTTP, to bots that `barback run` serves, on Redis."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from barback import Bot
from barback.testing import FakeTelegram
from tests.every_store import own_url
from tests.ports import free_port
from tests.valkey_servers import ValkeyServer

PEOPLE = 30
OUTAGE = 5.0  # seconds
ROOT = Path(__file__).parent.parent

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM"),
]


class Telegram(FakeTelegram):
    """Each webhook comes over a connection of its own, so that no process is left out."""

    def signed(self, body: bytes) -> dict[str, str]:
        return {**super().signed(body), "connection": "close"}


@asynccontextmanager
async def served(
    name: str, store: str, folder: Path, *, workers: int
) -> AsyncIterator[FakeTelegram]:
    """A bot of `webhook_bot.py`, in so many processes, and the platform that it is on."""
    log = folder / "log"
    async with Telegram() as telegram:
        telegram.channel()  # so that its secret is the channel's
        port = free_port()
        telegram.webhook = f"http://127.0.0.1:{port}/telegram"
        arguments = [f"tests.webhook_bot:{name}", "--port", str(port), "--workers", str(workers)]
        environment = {
            "BARBACK_TEST_TELEGRAM": telegram.url,
            "BARBACK_TEST_TOKEN": telegram.token,
            "BARBACK_TEST_STORE": store,
        }
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
            yield telegram
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


async def states(store: str) -> dict[str, dict[str, Any]]:
    """What the sessions of all people hold, looked at from outside."""
    found = {}
    async with Bot(session_store=store) as bot:
        for user in range(1, PEOPLE + 1):
            async with bot.conversation(f"telegram:{user}") as context:
                found[f"{user}"] = context.state
    return found


@pytest.mark.parametrize("workers", [1, 2])
async def test_every_webhook_comes_twice_and_everybody_is_greeted_once(
    workers: int, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    store = own_url("redis", request, tmp_path)
    async with served("nickname", store, tmp_path, workers=workers) as telegram:

        async def talk(user: int) -> None:
            await telegram.say("Hi", user=user, times=2)
            await telegram.say(f"Person {user}", user=user, times=2)

        await asyncio.gather(*(talk(user) for user in range(1, PEOPLE + 1)))
        for user in range(1, PEOPLE + 1):
            assert telegram.texts(user) == ["Hi, what's your nickname?", f"Hello Person {user}"]
    kept = await states(store)
    assert [f"Person {user}" for user in range(1, PEOPLE + 1)] == [
        state["nickname"] for state in kept.values()
    ]
    assert len({state["pid"] for state in kept.values()}) == workers


async def test_a_store_that_is_down_for_five_seconds_costs_no_event_and_doubles_none(
    tmp_path: Path,
) -> None:
    with ValkeyServer(tmp_path / "valkey") as valkey:
        store = valkey.url
        async with served("counting", store, tmp_path, workers=2) as telegram:
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
            assert expected == kept[f"{user}"]["texts"]
        assert len({pid for state in kept.values() for pid in state["pids"]}) == 2
