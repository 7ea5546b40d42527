"""Operations that meet in one step of the event loop travel together, and fail each alone."""

from __future__ import annotations

import asyncio
import gc

import pytest

from barback.stores.trips import Asked, Trips


class Carrier:
    """Notes what travels together, and answers when it is let."""

    def __init__(self, *, side_by_side: int = 1, size: int = 256, held: bool = False) -> None:
        self.trips = Trips(self.carry, side_by_side=side_by_side, size=size)
        self.loads: list[list[str]] = []
        self.gate = asyncio.Event()
        if not held:
            self.gate.set()

    async def carry(self, operations: list[Asked[str]]) -> None:
        self.loads.append([operation.request for operation in operations])
        await self.gate.wait()
        for operation in operations:
            if operation.request == "bad":
                operation.fail(ValueError("bad"))
            elif operation.request == "fatal":
                raise LookupError("fatal")
            elif operation.request != "forgotten":
                operation.succeed(operation.request.upper())


async def test_what_is_asked_for_in_one_step_travels_together() -> None:
    carrier = Carrier()
    answers = await asyncio.gather(*(carrier.trips.ask(name) for name in "abc"))
    assert carrier.loads == [["a", "b", "c"]]
    assert answers == ["A", "B", "C"]


async def test_a_lone_operation_waits_for_nobody() -> None:
    carrier = Carrier()
    asked = carrier.trips.ask("a")
    for _ in range(2):  # it departs at the end of this step, and its trip starts in the next
        await asyncio.sleep(0)
    assert carrier.loads == [["a"]]
    assert await asked == "A"


async def test_what_is_asked_for_during_a_trip_shares_the_next() -> None:
    carrier = Carrier(held=True)
    first = carrier.trips.ask("a")
    await asyncio.sleep(0.001)
    rest = [carrier.trips.ask(name) for name in "bcd"]
    await asyncio.sleep(0.001)
    assert carrier.loads == [["a"]]
    carrier.gate.set()
    assert await asyncio.gather(first, *rest) == ["A", "B", "C", "D"]
    assert carrier.loads == [["a"], ["b", "c", "d"]]


async def test_trips_go_side_by_side_up_to_their_number() -> None:
    carrier = Carrier(side_by_side=2, held=True)
    asked = []
    for name in "abcd":
        asked.append(carrier.trips.ask(name))
        await asyncio.sleep(0.001)
    assert carrier.loads == [["a"], ["b"]]
    carrier.gate.set()
    assert await asyncio.gather(*asked) == ["A", "B", "C", "D"]
    assert carrier.loads == [["a"], ["b"], ["c", "d"]]


async def test_a_trip_takes_no_more_than_its_size() -> None:
    carrier = Carrier(size=2)
    await asyncio.gather(*(carrier.trips.ask(name) for name in "abcde"))
    assert carrier.loads == [["a", "b"], ["c", "d"], ["e"]]


async def test_an_operation_that_fails_fails_alone() -> None:
    carrier = Carrier()
    good, bad, other = (carrier.trips.ask(name) for name in ("good", "bad", "other"))
    assert await good == "GOOD"
    with pytest.raises(ValueError, match="bad"):
        await bad
    assert await other == "OTHER"


async def test_what_a_trip_raises_is_the_answer_of_those_without_one() -> None:
    carrier = Carrier()
    good, fatal, late = (carrier.trips.ask(name) for name in ("good", "fatal", "late"))
    assert await good == "GOOD"
    for lost in (fatal, late):
        with pytest.raises(LookupError, match="fatal"):
            await lost


async def test_an_operation_that_the_driver_forgets_is_not_waited_for_for_ever() -> None:
    carrier = Carrier()
    with pytest.raises(RuntimeError, match="without an answer"):
        await carrier.trips.ask("forgotten")


async def test_what_nobody_waits_for_any_more_is_carried_out_all_the_same() -> None:
    carrier = Carrier()
    gone, other = carrier.trips.ask("gone"), carrier.trips.ask("other")
    gone.answer.cancel()
    assert await other == "OTHER"
    assert carrier.loads == [["gone", "other"]]
    assert await gone.rejoin() == "GONE"


async def test_an_answer_that_is_still_to_come_can_be_waited_for_anew() -> None:
    carrier = Carrier(held=True)
    gone = carrier.trips.ask("gone")
    await asyncio.sleep(0.001)
    gone.answer.cancel()
    again = gone.rejoin()
    carrier.gate.set()
    assert await again == "GONE"


async def test_an_error_can_be_waited_for_anew() -> None:
    carrier = Carrier()
    gone = carrier.trips.ask("bad")
    gone.answer.cancel()
    await asyncio.sleep(0.001)
    with pytest.raises(ValueError, match="bad"):
        await gone.rejoin()


async def test_closing_waits_for_every_answer() -> None:
    carrier = Carrier(held=True)
    asked = [carrier.trips.ask("a")]
    await asyncio.sleep(0.001)
    asked.append(carrier.trips.ask("b"))
    closing = asyncio.ensure_future(carrier.trips.close())
    await asyncio.sleep(0.001)
    assert not closing.done()
    carrier.gate.set()
    await closing
    assert all(each.answer.done() for each in asked)


async def test_closing_waits_for_what_has_not_even_departed() -> None:
    carrier = Carrier()
    asked = carrier.trips.ask("a")
    await carrier.trips.close()
    assert asked.answer.done()


def test_when_the_event_loop_ends_nobody_is_left_waiting() -> None:
    async def leave() -> asyncio.Future[str]:
        carrier = Carrier(held=True)
        asked = carrier.trips.ask("a")
        await asyncio.sleep(0.001)
        return asked.answer

    assert asyncio.run(leave()).cancelled()


def test_an_event_loop_that_ended_holds_up_nobody_on_the_next() -> None:
    carrier = Carrier(held=True)

    async def leave() -> list[asyncio.Future[str]]:
        asked = [carrier.trips.ask("under way")]
        await asyncio.sleep(0.001)
        return [each.answer for each in (*asked, carrier.trips.ask("behind it"))]

    left = asyncio.run(leave())
    assert [answer.cancelled() for answer in left] == [True, True]
    assert asyncio.run(used_again(carrier)) == ["NEXT"]


def test_what_is_asked_for_while_an_event_loop_ends_holds_up_nobody_on_the_next(
    caplog: pytest.LogCaptureFixture,
) -> None:
    carrier = Carrier(held=True)

    async def last_words() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            carrier.trips.ask("too late")

    async def leave() -> None:
        task = asyncio.ensure_future(last_words())
        await asyncio.sleep(0)
        del task

    asyncio.run(leave())
    assert asyncio.run(used_again(carrier)) == ["NEXT"]
    gc.collect()  # which would tell of the trip that never came back
    assert caplog.messages == []


async def used_again(carrier: Carrier) -> list[str]:
    carrier.gate = asyncio.Event()
    carrier.gate.set()
    answers: list[str] = [await asyncio.wait_for(carrier.trips.ask("next"), 20)]
    await closed(carrier)
    return answers


async def closed(carrier: Carrier) -> None:
    await asyncio.wait_for(carrier.trips.close(), 20)


@pytest.mark.parametrize(("side_by_side", "size"), [(0, 1), (1, 0)])
async def test_trips_that_could_never_depart_are_refused(side_by_side: int, size: int) -> None:
    with pytest.raises(ValueError, match="never depart"):
        Carrier(side_by_side=side_by_side, size=size)
