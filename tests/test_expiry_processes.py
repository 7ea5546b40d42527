"""`on_expired` in several processes: of each session once; with kills at least, its effect once."""

from __future__ import annotations

import asyncio
import random
import sys
from collections import Counter
from pathlib import Path

import pytest

from barback import Bot, Record
from barback.record import FORMAT_OVER
from barback.state import decode_state
from barback.stores.local import leased
from barback.stores.url import open_store
from tests.every_store import SHARED, own_url, with_options

PROCESS = Path(__file__).with_name("expiry_process.py")
SESSIONS = 120
LIVES = 0.02  # minutes


@pytest.fixture(params=SHARED)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return own_url(request.param, request, tmp_path)


class Processes:
    """Bots as processes of their own, on one store, and what their `on_expired` was told."""

    def __init__(self, url: str, log: Path, lease_term: float = 30.0) -> None:
        self.url = url
        self.log = log
        self.lease_term = lease_term
        self.running: list[asyncio.subprocess.Process] = []

    async def start(self) -> None:
        command = [sys.executable, str(PROCESS), self.url, str(self.log), str(self.lease_term)]
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe)
        self.running.append(process)
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"

    async def kill(self, process: asyncio.subprocess.Process) -> None:
        self.running.remove(process)
        process.kill()
        await process.wait()

    async def end(self) -> None:
        for process in self.running:
            assert process.stdin is not None
            process.stdin.close()
        assert [await process.wait() for process in self.running] == [0] * len(self.running)

    def told(self) -> Counter[int]:
        text = self.log.read_text() if self.log.exists() else ""
        return Counter(int(line) for line in text.split())

    async def told_of(self, count: int) -> None:
        async with asyncio.timeout(60):
            while len(self.told()) < count:
                await asyncio.sleep(0.05)


async def begin_sessions(url: str) -> None:
    """So many people who say something, and then nothing any more."""
    bot = Bot(session_store=with_options(url, expires_in=str(LIVES)))

    async def one(number: int) -> None:
        async with bot.conversation(f"test:{number}") as context:
            context.set_state(number=number, ended=0)

    async with bot:
        await asyncio.gather(*map(one, range(SESSIONS)))


async def all_over(url: str) -> dict[int, Record]:
    """The records of all sessions, once none is left that has expired and nobody was told of."""
    store = leased(open_store(url))
    async with asyncio.timeout(60), store:
        while True:
            records = [record async for record in store.all()]
            over = [
                record
                for record in records
                if record.format == FORMAT_OVER or record.expires_at is None
            ]
            if len(over) == SESSIONS:
                return {int(record.id.partition(":")[2]): record for record in over}
            await asyncio.sleep(0.1)


def check_effects(records: dict[int, Record]) -> None:
    """Whatever was killed: each session is over, or was kept alive once."""
    for number, record in records.items():
        if number % 2:
            assert record.format == FORMAT_OVER
        else:
            assert decode_state(record.state, record.id) == {"number": number, "ended": 1}


async def test_four_processes_are_told_of_each_session_once(url: str, tmp_path: Path) -> None:
    await begin_sessions(url)
    processes = Processes(url, tmp_path / "log")
    await asyncio.gather(*(processes.start() for _ in range(4)))
    await processes.told_of(SESSIONS)
    records = await all_over(url)
    await processes.end()
    assert processes.told() == Counter(range(SESSIONS))
    check_effects(records)


async def test_with_processes_killed_it_is_at_least_once_and_its_effect_once(
    url: str, tmp_path: Path
) -> None:
    await begin_sessions(url)
    processes = Processes(url, tmp_path / "log", lease_term=3.0)
    await asyncio.gather(*(processes.start() for _ in range(3)))
    for count in range(10, SESSIONS, 25):
        await processes.told_of(count)
        await processes.kill(random.choice(processes.running))
        await processes.start()
    await processes.told_of(SESSIONS)
    records = await all_over(url)  # leases of who was killed end by themselves
    await processes.end()
    check_effects(records)
