"""Exploring interleavings: chance decides who goes on, and a seed decides chance."""

from __future__ import annotations

import asyncio
import random

import pytest

from barback import Lease, LeasedStore, MemorySessionStore, SessionBusy
from barback.stores.local import LeaseTable, leased
from barback.testing.interleaving import Stuck, explore
from tests.test_local_leases import Driver


def orders(seeds: range) -> list[str]:
    """In which order three tasks of three steps went on, with each seed."""
    found: list[str] = []

    async def scenario() -> None:
        order = ""

        async def steps(name: str) -> None:
            nonlocal order
            for _ in range(3):
                await asyncio.sleep(0)
                order += name

        await asyncio.gather(*map(steps, "abc"))
        found.append(order)

    explore(scenario, seeds=seeds)
    return found


def test_a_seed_is_one_interleaving_and_seeds_are_many() -> None:
    found = orders(range(50))
    assert orders(range(50)) == found
    assert len(set(found)) > 40
    assert all(sorted(order) == sorted("aaabbbccc") for order in found)


def test_a_race_is_found_and_its_seed_told() -> None:
    async def scenario() -> None:
        number = 0

        async def add() -> None:
            nonlocal number
            await asyncio.sleep(0)
            read = number
            await asyncio.sleep(0)
            number = read + 1

        async def one_then_the_other() -> None:  # as the usual order would have it
            await add()

        first = asyncio.create_task(one_then_the_other())
        for _ in range(5):
            await asyncio.sleep(0)
        await asyncio.gather(first, add())
        assert number == 2

    asyncio.run(scenario())
    with pytest.raises(AssertionError) as caught:
        explore(scenario)
    (note,) = caught.value.__notes__
    seed = int(note.split()[5].rstrip(":"))
    with pytest.raises(AssertionError):
        explore(scenario, seeds=[seed])


def test_time_goes_on_only_when_nobody_can_and_at_once() -> None:
    async def scenario() -> None:
        loop, passed = asyncio.get_running_loop(), list[float]()
        assert loop.time() == 0

        async def sleep(seconds: float) -> None:
            await asyncio.sleep(seconds)
            passed.append(loop.time())

        await asyncio.gather(sleep(3600), sleep(80_000), sleep(1))
        assert passed == [1, 3600, 80_000]
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(30):
                await loop.create_future()

    explore(scenario, seeds=range(10))


def test_who_waits_for_ever_is_stuck() -> None:
    async def scenario() -> None:
        await asyncio.Event().wait()

    with pytest.raises(Stuck, match="Nobody can go on"):
        explore(scenario, seeds=[7])


@pytest.mark.parametrize("longest", [60.0, 24 * 3600.0])
def test_what_goes_on_without_end_is_stuck(longest: float) -> None:
    ended: list[float] = []

    async def scenario() -> None:
        try:
            while True:
                await asyncio.sleep(10)
        finally:
            await asyncio.sleep(1)
            ended.append(asyncio.get_running_loop().time())

    with pytest.raises(Stuck, match=f"in {longest:g} seconds of its own time"):
        explore(scenario, seeds=[7], longest=longest)
    assert longest < ended[0] < longest + 30


def test_the_numbers_of_random_are_the_seeds_and_given_back() -> None:
    drawn: list[float] = []

    async def scenario() -> None:
        drawn.append(random.random())

    random.seed(1)
    expected = random.random()
    random.seed(1)
    explore(scenario, seeds=[5, 6])
    explore(scenario, seeds=[5, 6])
    assert drawn[:2] == drawn[2:]
    assert drawn[0] != drawn[1]
    assert random.random() == expected


def test_context_variables_stay_with_their_task() -> None:
    from contextvars import ContextVar  # noqa: PLC0415

    own: ContextVar[int] = ContextVar("own")

    async def scenario() -> None:
        async def keeps(number: int) -> None:
            own.set(number)
            for _ in range(5):
                await asyncio.sleep(0)
                assert own.get() == number

        await asyncio.gather(*map(keeps, range(5)))

    explore(scenario, seeds=range(20))


@pytest.mark.parametrize("kind", [MemorySessionStore, Driver])
def test_leases_end_by_the_clock_of_the_loop(kind: type[MemorySessionStore | Driver]) -> None:
    ended: list[float] = []
    usual = LeaseTable.usual_clock

    def lease(token: str) -> Lease:
        return Lease(session_id="test:tim", token=token, term=30)

    async def scenario() -> None:
        store: LeasedStore = leased(kind())
        await store.checkout("test:tim", lease("the dead one"))
        await asyncio.sleep(29)
        other = lease("the next one")
        with pytest.raises(SessionBusy):
            await store.checkout("test:tim", other)
        await asyncio.sleep(2)
        await store.checkout("test:tim", other)
        ended.append(asyncio.get_running_loop().time())

    explore(scenario, seeds=range(3))
    assert ended == [31, 31, 31]
    assert LeaseTable.usual_clock is usual
