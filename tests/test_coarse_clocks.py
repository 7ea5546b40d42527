"""Where a clock moves in steps, as that of Windows does, what was given up is not sent either."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from barback.errors import CommitUnknown, SessionStoreUnavailable
from barback.stores.base import LeasedStore
from barback.stores.url import open_store
from barback.testing import FaultProxy
from barback.testing.contract_tools import lease_on, put, record_of
from tests.every_store import own_place, with_options
from tests.scripted import until

if TYPE_CHECKING:
    from barback.stores.base import Lease

STEP = 0.1  # seconds; Windows has 0.0156 of them
TIMEOUT = 0.5
NAMES = [f"test:{number}" for number in range(40)]


class CoarseLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock stands still for a whole step, and then makes it at once."""

    def __init__(self) -> None:
        super().__init__()
        self._clock_resolution = STEP

    def time(self) -> float:
        return super().time() // STEP * STEP


@pytest.mark.parametrize("server", ["redis_url", "mongodb_url", "postgres_url"])
def test_a_commit_that_was_given_up_is_never_sent(
    server: str, request: pytest.FixtureRequest
) -> None:
    """Nothing comes through while they are asked for, until the first has never left in time."""
    url: str = own_place(request.getfixturevalue(server))
    with asyncio.Runner(loop_factory=CoarseLoop) as runner:
        runner.run(commits_in_a_stall(url))


async def commits_in_a_stall(url: str) -> None:
    address = urlsplit(url)
    assert address.hostname is not None
    async with opened(url) as store:
        leases = [await held(store, name) for name in NAMES]
    records = [record_of(lease.session_id, {"n": 2}) for lease in leases]
    async with FaultProxy(address.hostname, address.port) as proxy:
        there = url.replace(f"{address.hostname}:{address.port}", f"127.0.0.1:{proxy.port}")
        options = {"timeout": f"{TIMEOUT}", "connect_timeout": "5"}
        if not url.startswith("redis"):
            options["max_connections"] = "1"  # so that they do wait
        if url.startswith("mongodb"):
            options["directConnection"] = "true"  # or the driver would pass by the proxy
        async with opened(with_options(there, **options)) as store:
            proxy.stall()
            asked = []
            for record, lease in zip(records, leases, strict=True):
                asked.append(asyncio.ensure_future(store.commit(record, lease)))
                await asyncio.to_thread(time.sleep, 2 * TIMEOUT / len(NAMES))
            await until(lambda: any(map(was_given_up, asked)), seconds=30)
            proxy.go_on()
            answers = await asyncio.gather(*asked, return_exceptions=True)
    async with opened(url) as store:
        versions = {record.id: record.version async for record in store.all()}
    for record, answer in zip(records, answers, strict=True):
        if not isinstance(answer, CommitUnknown):
            assert (versions[record.id] == record.version) is (answer is None), answer


def opened(url: str) -> LeasedStore:
    store = open_store(url)
    assert isinstance(store, LeasedStore)
    return store


async def held(store: LeasedStore, session_id: str) -> Lease:
    """The lease on a session that has a record."""
    written = await put(store, session_id, {"n": 1})
    lease = lease_on(session_id, version=written.version)
    await store.checkout(session_id, lease)
    return lease


def was_given_up(asked: asyncio.Future[None]) -> bool:
    return asked.done() and isinstance(asked.exception(), SessionStoreUnavailable)
