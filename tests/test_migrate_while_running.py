"""Ten thousand sessions of version 1, under bots of version 3 that run, and are killed."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from barback import Record, open_store
from barback.stores.local import leased
from barback.testing.contract_tools import put
from tests.every_store import own_url
from tests.migrating_worker import bot_of
from tests.test_cli import environment

SESSIONS = 10_000
TOGETHER = 500
WORKER = Path(__file__).parent / "migrating_worker.py"


async def fill(url: str) -> None:
    async with leased(open_store(url)) as store:
        for first in range(0, SESSIONS, TOGETHER):
            await asyncio.gather(
                *(
                    put(store, f"test:{n}", {"events": ["0"], "migrations": []}, schema=1)
                    for n in range(first, first + TOGETHER)
                )
            )


async def content(url: str) -> dict[str, bytes]:
    async with leased(open_store(url)) as store:
        return {record.id: record.encode() async for record in store.all()}


def started(url: str, version: int, *more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(WORKER), url, str(version), str(SESSIONS), *more],
        stdout=subprocess.PIPE,
        text=True,
        env=environment(None),
    )


def ended(process: subprocess.Popen[str]) -> dict[str, int]:
    """How its events were settled."""
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    settled: dict[str, int] = json.loads(out)
    return settled


def check(kept: dict[str, bytes]) -> None:
    """None is lost, and each has every effect once: both migrations, and its event."""
    assert len(kept) == SESSIONS
    for number in range(SESSIONS):
        session_id = f"test:{number}"
        record = Record.decode(kept[session_id], session_id=session_id)
        state = msgspec.json.decode(record.state)
        assert (record.schema, state["migrations"]) == (3, [1, 2])
        assert state["events"] == ["0", str(number)]


@pytest.mark.parametrize("store", ["sqlite", "redis"])
def test_each_effect_is_committed_once_while_bots_run_and_nothing_is_lost(
    store: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Two processes handle the same events; one of them migrates, and so does a third."""
    url = own_url(store, request, tmp_path)
    asyncio.run(fill(url))
    workers = [started(url, 3, "migrate"), started(url, 3)]
    done = asyncio.run(bot_of(3, url).migrate_sessions())
    settled = [ended(worker) for worker in workers]
    assert done.complete
    assert done.looked_at == SESSIONS
    assert sum(each.get("committed", 0) for each in settled) == SESSIONS
    check(asyncio.run(content(url)))
    rolled_back(url)


@pytest.mark.parametrize("store", ["sqlite", "redis"])
def test_a_process_that_is_killed_half_way_is_begun_again(
    store: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    url = own_url(store, request, tmp_path)
    asyncio.run(fill(url))
    with started(url, 3, "die") as killed:
        assert killed.wait(120) == -signal.SIGKILL
    half = asyncio.run(bot_of(3, url).migrate_sessions(dry_run=True))
    assert half.failed == 0
    assert 0 < half.migrated <= SESSIONS // 2 <= half.current < SESSIONS
    again = ended(started(url, 3, "migrate"))
    assert set(again) <= {"committed", "duplicate"}
    check(asyncio.run(content(url)))


def rolled_back(url: str) -> None:
    """Version 2's code refuses each of version 3's sessions, and harms none."""
    before = asyncio.run(content(url))
    assert ended(started(url, 2, "migrate")) == {"too new": SESSIONS}
    done = asyncio.run(bot_of(2, url).migrate_sessions())
    assert str(done) == f"0 migrated, {SESSIONS:,} newer"
    assert asyncio.run(content(url)) == before
