"""Operations that meet go to a thread together and come back together; each fails alone."""

from __future__ import annotations

import asyncio
import threading
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from barback.stores.ferry import LATER, Ferry
from barback.stores.operation import Operation
from barback.stores.worker import Worker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence


class Said(Operation[str]):
    def __init__(self, word: str) -> None:
        super().__init__(asyncio.get_running_loop().create_future())
        self.word = word


class Port:
    """Notes what travels together, on which thread, and answers when it is let."""

    def __init__(self, *, size: int = 256, held: bool = False) -> None:
        self.worker = Worker("port")
        self.ferry = Ferry(self.worker, self.carry, size=size)
        self.loads: list[list[str]] = []
        self.threads: set[str] = set()
        self.late = ""
        self.departed = threading.Semaphore(0)
        self.gate = threading.Event()
        self.closed = 0
        if not held:
            self.gate.set()

    def ask(self, word: str) -> Said:
        return self.ferry.ask(Said(word))

    def close(self) -> Operation[None]:
        return self.ferry.close(self.shut)

    def shut(self) -> None:
        self.closed += 1
        self.threads.add(threading.current_thread().name)

    def carry(self, load: Sequence[Said]) -> list[object]:
        words = [operation.word for operation in load]
        self.loads.append(words)
        self.threads.add(threading.current_thread().name)
        self.departed.release()
        assert self.gate.wait(10)
        if "fatal" in words:
            raise LookupError("fatal")
        if self.late in words:
            self.late, late = "", self.late
            return [LATER if word == late else word.upper() for word in words]
        return [ValueError(word) if word == "bad" else word.upper() for word in words]

    async def has_departed(self) -> None:
        """A trip more has gone."""
        assert await asyncio.to_thread(self.departed.acquire, timeout=10)


@asynccontextmanager
async def port(**options: Any) -> AsyncIterator[Port]:
    opened = Port(**options)
    try:
        yield opened
    finally:
        opened.gate.set()
        if not opened.closed:
            await opened.close()


async def test_what_is_asked_for_during_a_trip_shares_the_next() -> None:
    async with port(held=True) as there:
        first = there.ask("a")
        await there.has_departed()
        rest = [there.ask(word) for word in "bcd"]
        there.gate.set()
        assert [await each for each in (first, *rest)] == ["A", "B", "C", "D"]
        assert there.loads == [["a"], ["b", "c", "d"]]
        assert there.threads == {"port"}


async def test_a_trip_takes_no_more_than_its_size() -> None:
    async with port(held=True, size=2) as there:
        asked = [there.ask("a")]
        await there.has_departed()
        asked += [there.ask(word) for word in "bcdef"]
        there.gate.set()
        assert [await each for each in asked] == ["A", "B", "C", "D", "E", "F"]
        assert there.loads == [["a"], ["b", "c"], ["d", "e"], ["f"]]


async def test_a_trip_makes_no_task() -> None:
    async with port(held=True) as there:
        asked = [there.ask(word) for word in "ab"]
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        there.gate.set()
        assert [await each for each in asked] == ["A", "B"]


async def test_an_operation_that_fails_fails_alone() -> None:
    async with port() as there:
        good, bad, other = (there.ask(word) for word in ("good", "bad", "other"))
        assert await good == "GOOD"
        with pytest.raises(ValueError, match="bad"):
            await bad
        assert await other == "OTHER"


async def test_what_a_trip_raises_is_the_answer_of_all() -> None:
    async with port(held=True) as there:
        first = there.ask("a")
        await there.has_departed()
        lost = [there.ask(word) for word in ("b", "fatal")]
        there.gate.set()
        assert await first == "A"
        for each in lost:
            with pytest.raises(LookupError, match="fatal"):
                await each
        assert await there.ask("c") == "C"


async def test_what_is_left_for_later_goes_first_on_the_next_trip_and_holds_up_nobody() -> None:
    async with port(held=True, size=2) as there:
        first = there.ask("a")
        await there.has_departed()
        there.late = "late"
        asked = [there.ask(word) for word in ("late", "b", "c", "d")]
        closing = there.close()
        there.gate.set()
        assert [await each for each in (first, *asked)] == ["A", "LATE", "B", "C", "D"]
        assert there.loads == [["a"], ["late", "b"], ["late", "c", "d"]]
        await closing


async def test_what_nobody_waits_for_any_more_is_carried_out_all_the_same() -> None:
    async with port(held=True) as there:
        gone, other = there.ask("gone"), there.ask("other")
        gone.answer.cancel()
        again = gone.rejoin()
        there.gate.set()
        assert await other == "OTHER"
        assert await again == "GONE"


async def test_closing_comes_last_and_on_the_thread() -> None:
    async with port(held=True, size=1) as there:
        asked = [there.ask("a")]
        await there.has_departed()
        there.late = "b"
        asked += [there.ask("b"), there.ask("c")]
        closing = there.close()
        expected: list[asyncio.Future[Any]] = [*(each.answer for each in asked), closing.answer]
        answered: list[asyncio.Future[Any]] = []
        for answer in expected:
            answer.add_done_callback(answered.append)
        await asyncio.sleep(0)
        assert answered == []
        there.gate.set()
        await closing.done()
        assert answered == expected
        assert there.closed == 1
        assert there.threads == {"port"}
        await asyncio.to_thread(there.worker.close)  # the thread has ended, or does so by itself


async def test_a_closing_that_nobody_awaits_any_more_goes_on() -> None:
    async with port(held=True) as there:
        asked = there.ask("a")
        closing = there.close()
        first = asyncio.ensure_future(closing)
        await asyncio.sleep(0)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        others = [asyncio.ensure_future(closing.done()) for _ in range(2)]
        await asyncio.sleep(0)
        assert not any(other.done() for other in others)
        there.gate.set()
        await asyncio.gather(*others)
        assert there.closed == 1
        assert await asked == "A"


async def test_what_a_trip_raises_does_not_keep_it_from_being_closed() -> None:
    async with port() as there:
        lost, closing = there.ask("fatal"), there.close()
        await closing
        assert there.closed == 1
        with pytest.raises(LookupError, match="fatal"):
            await lost


def test_an_event_loop_that_ended_holds_up_nobody_on_the_next() -> None:
    there = Port(held=True)

    async def leave() -> list[Said]:
        asked = [there.ask("under way")]
        await there.has_departed()
        return [*asked, there.ask("behind it")]

    async def use_again() -> str:
        asked = there.ask("next")
        there.gate.set()
        answer = await asyncio.wait_for(asked.answer, 10)
        await asyncio.wait_for(there.close().answer, 10)
        return answer

    left = asyncio.run(leave())
    assert asyncio.run(use_again()) == "NEXT"
    assert there.loads == [["under way"], ["behind it", "next"]]
    assert there.closed == 1
    assert not any(each.answer.done() for each in left)


def test_each_event_loop_gets_its_own_answers() -> None:
    """One may stand still while another is used, and go on later."""
    there = Port(held=True)
    standing, other = asyncio.new_event_loop(), asyncio.new_event_loop()

    async def ask(*words: str) -> list[Said]:
        return [there.ask(word) for word in words]

    async def answer(asked: list[Said]) -> list[str]:
        return [await asyncio.wait_for(each.answer, 10) for each in asked]

    first = standing.run_until_complete(ask("a", "b"))
    second = other.run_until_complete(ask("c"))
    ended = asyncio.run(ask("d"))
    there.gate.set()
    assert other.run_until_complete(answer(second)) == ["C"]
    assert standing.run_until_complete(answer(first)) == ["A", "B"]
    assert not ended[0].answer.done()
    standing.run_until_complete(answer(standing.run_until_complete(ask("e"))))
    for loop in (standing, other):
        loop.close()
    there.worker.close()


async def test_without_a_thread_nothing_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async with port() as there:
        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", refuse)
            with pytest.raises(RuntimeError, match="new thread"):
                there.ask("a")
        assert await there.ask("b") == "B"
        assert there.loads == [["b"]]
