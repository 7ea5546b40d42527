"""Networks that do all their harm at once, to bots whose platforms hang up: each event counts once.

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
from tests.matrix_run import TERM, begin, check_run, end, process, working
from tests.matrix_worker import Setup

if TYPE_CHECKING:
    from barback.testing import FaultProxy

PATIENCE = 1.0  # seconds of the stores'
CANCELLED = 0.2  # of the deliveries
MOST = 60  # faults of a network, until each kind has hit something


async def cut(proxy: FaultProxy, _: random.Random) -> None:
    proxy.cut()


async def drop_answers(proxy: FaultProxy, _: random.Random) -> None:
    proxy.drop_answers()
    await asyncio.sleep(0.05)
    proxy.go_on()


async def stall(proxy: FaultProxy, chance: random.Random) -> None:
    """For less than a lease or for more, and so with the store's patience."""
    proxy.stall()
    await asyncio.sleep(chance.uniform(0.1, 1.3 * TERM))
    proxy.go_on()


async def half_open(proxy: FaultProxy, _: random.Random) -> None:
    proxy.half_open()
    await asyncio.sleep(PATIENCE)  # when it is noticed


FAULTS = [*[cut] * 5, *[drop_answers] * 5, *[stall] * 2, half_open]


async def strike(proxy: FaultProxy, chance: random.Random) -> Counter[str]:
    """All of them, in any order, and again until each kind has hit; what was under way then."""
    hits: Counter[str] = Counter({fault.__name__: 0 for fault in FAULTS})
    left = chance.sample(FAULTS, len(FAULTS))
    for _ in range(MOST):
        await asyncio.sleep(chance.uniform(0.05, 0.2))
        before, fault = proxy.hit, left.pop()
        await fault(proxy, chance)
        hits[fault.__name__] += proxy.hit - before
        left = left or [each for each in FAULTS if not hits[each.__name__]]
        if not left:
            break
    return hits


@pytest.mark.parametrize("store", ["Redis", "MongoDB", "PostgreSQL"])
async def test_whatever_the_network_does_and_whoever_hangs_up_each_event_counts_once(
    store: str, tmp_path: Path
) -> None:
    seed = random.randrange(2**32)  # pytest-randomly sets it
    print(f"seed of the faults and the deliveries: {seed}")  # noqa: T201 - shown with a failure
    kind = kind_of(store, failing_over=False)
    async with kind(tmp_path, networked=True, timeout=f"{PATIENCE:g}") as place:
        setups = [
            Setup(place.url(n), str(tmp_path), f"bot{n}", seed + n, TERM, cancelled=CANCELLED)
            for n in range(2)
        ]
        async with working(setups) as run:
            await begin(run)
            await run.progress()
            struck = await asyncio.gather(
                *(
                    strike(proxy, random.Random(seed + number))
                    for number, (proxy,) in enumerate(place.proxies)
                )
            )
            reports = await end(run)
            async with process(Setup(place.url(0), str(tmp_path), "last", seed, TERM)) as last:
                told, _ = await check_run(run, reports, last, may_lose=False)
            unheard = run.unheard()
    print(*struck, dict(told), f"answers of {unheard} commits lost")  # noqa: T201 - the same
    for hits in struck:
        assert min(hits.values()) > 0, "a fault that hits nothing shows nothing"
    assert told["cancelled"] > 0
    assert unheard > 0
