"""A coroutine in two halves, with the caller's code in between."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar

import pytest

from barback.parking import Parking

told: ContextVar[str] = ContextVar("told", default="nothing")


async def whole(log: list[str], *, before: float = 0, after: float = 0) -> str:
    await asyncio.sleep(before)
    told.set("inside")
    log.append("before")
    try:
        await Parking.place()
    except ValueError as error:
        log.append(f"caught {error}")
    finally:
        await asyncio.sleep(after)
        log.append("after")
    return "the end"


async def test_it_stops_in_the_middle_and_goes_on_to_its_end() -> None:
    log: list[str] = []
    parking = Parking(whole(log, before=0.001, after=0.001))
    await parking.enter()
    assert log == ["before"]
    assert told.get() == "inside"
    assert await parking.leave() == "the end"
    assert log == ["before", "after"]


async def test_what_ended_the_callers_code_is_raised_where_it_stopped() -> None:
    log: list[str] = []
    parking = Parking(whole(log))
    await parking.enter()
    assert await parking.leave(ValueError("mine")) == "the end"
    assert log == ["before", "caught mine", "after"]


async def test_an_error_that_is_not_caught_comes_out_as_it_is() -> None:
    mine = KeyError("mine")
    parking = Parking(whole([]))
    await parking.enter()
    with pytest.raises(KeyError) as raised:
        await parking.leave(mine)
    assert raised.value is mine


@pytest.mark.parametrize("half", ["first", "second"])
async def test_a_cancellation_reaches_the_half_that_runs(half: str) -> None:
    log: list[str] = []
    parking = Parking(whole(log, before=9 * (half == "first"), after=9 * (half == "second")))

    async def both() -> None:
        await parking.enter()
        log.append("between")
        await parking.leave()

    task = asyncio.create_task(both())
    await asyncio.sleep(0.001)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert log == ([] if half == "first" else ["before", "between"])


async def test_a_coroutine_that_never_stops_is_an_error_of_whoever_wrote_it() -> None:
    async def straight_through() -> int:
        return 1

    with pytest.raises(RuntimeError, match="never stopped"):
        await Parking(straight_through()).enter()
