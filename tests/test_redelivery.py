"""Events that come up to ten times, in any order, to bots that are killed meanwhile, count once."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.every_store import SHARED, own_url
from tests.redelivery import redeliver


def new_seed() -> int:
    seed = random.randrange(2**32)  # pytest-randomly sets it
    print(f"seed of the deliveries and the kills: {seed}")  # noqa: T201 - shown with a failure
    return seed


@pytest.mark.parametrize("store", SHARED)
async def test_each_event_counts_once_however_often_it_comes_and_whoever_dies(
    store: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    url = own_url(store, request, tmp_path)
    told = await redeliver(url, tmp_path, bots=3, killed=True, seed=new_seed())
    print(told)  # noqa: T201 - the same
    assert told.hits, "no kill hit a turn in flight: that shows nothing"
    assert told.failed, "no handler failed: that shows nothing"
    assert told.waited, "no copy came while its event was being handled: that shows nothing"


async def test_in_one_process_each_event_counts_once_however_often_it_comes(
    tmp_path: Path,
) -> None:
    told = await redeliver("memory://", tmp_path, bots=1, killed=False, seed=new_seed())
    assert told.failed
    assert told.waited
