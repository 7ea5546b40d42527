"""Networks that do all their harm at once, to bots whose platforms hang up: nothing lost or doubled.

Connections that are cut, that fall silent, that stall, whose answers are dropped; and deliveries
that are cancelled meanwhile, each as chance has it. The matrix has them one by one.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.matrix_places import kind_of
from tests.matrix_run import TERM, Struck, begin, check_run, end, now, process, working
from tests.matrix_worker import Setup

if TYPE_CHECKING:
    from barback.testing import FaultProxy

PATIENCE = 1.0  # seconds of the stores'
STRIKES, MOST = 5, 40  # that there are in any case, and until each kind has hit
CANCELLED = 0.2  # of the deliveries


async def cut(proxy: FaultProxy, _: random.Random) -> None:
    proxy.cut()


async def half_open(proxy: FaultProxy, _: random.Random) -> None:
    proxy.half_open()
    await asyncio.sleep(PATIENCE)  # when it is noticed


async def stall(proxy: FaultProxy, chance: random.Random) -> None:
    """For less than a lease, or more, and as for the store's patience."""
    proxy.stall()
    await asyncio.sleep(chance.uniform(0.1, 1.3 * TERM))
    proxy.go_on()


async def drop_answers(proxy: FaultProxy, _: random.Random) -> None:
    proxy.drop_answers()
    await asyncio.sleep(0.05)
    proxy.go_on()


FAULTS = [cut, half_open, stall, drop_answers]


@pytest.mark.parametrize("store", ["Redis", "MongoDB", "PostgreSQL"])
async def test_whatever_the_network_does_and_whoever_hangs_up_each_event_counts_once(
    store: str, tmp_path: Path
) -> None:
    seed = random.randrange(2**32)  # pytest-randomly sets it
    print(f"seed of the faults and the deliveries: {seed}")  # noqa: T201 - shown with a failure
    chance = random.Random(seed)
    hits: Counter[str] = Counter()
    kind = kind_of(store, failing_over=False)
    async with kind(tmp_path, networked=True, timeout=f"{PATIENCE:g}") as place:
        setups = [
            Setup(place.url(n), str(tmp_path), f"bot{n}", seed + n, TERM, cancelled=CANCELLED)
            for n in range(2)
        ]
        async with working(setups) as run:
            await begin(run)
            while len(run.struck) < STRIKES or (len(hits) < len(FAULTS) and len(run.struck) < MOST):
                await run.progress()
                # Those that have hit nothing yet before the others.
                fault = min(FAULTS, key=lambda each: (each.__name__ in hits, chance.random()))
                (proxy,) = chance.choice(place.proxies)
                since = now()
                await fault(proxy, chance)
                await asyncio.sleep(0.05)
                run.struck.append(Struck(since, now()))
                await run.progress()
                if hit := run.failed_or_outlasted(run.struck[-1]):
                    hits[fault.__name__] += hit
            reports = await end(run)
            async with process(Setup(place.url(0), str(tmp_path), "last", seed, TERM)) as last:
                told, _ = await check_run(run, reports, last, may_lose=False)
    print(dict(hits), dict(told))  # noqa: T201 - the same
    assert len(hits) == len(FAULTS), "a fault that hits nothing shows nothing"
    assert told["cancelled"] > 0
    assert told["committed"] > told["CommitUnknown"]
