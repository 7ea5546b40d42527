"""Trips: operations that are asked for in one step of the event loop travel together."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from barback.stores.operation import Operation

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["Asked", "Trips"]

Q = TypeVar("Q")


class Asked(Operation[Any], Generic[Q]):
    """An operation that travels with others: `request` is what is asked."""

    __slots__ = ("request",)

    def __init__(self, request: Q, answer: asyncio.Future[Any]) -> None:
        super().__init__(answer)
        self.request = request


class Trips(Generic[Q]):
    """Takes operations to a store, as many at a time as have met.

    `carry` makes one trip: it answers every operation it is given, each for itself, and what it
    raises is the answer of those it has not answered. At most `side_by_side` trips are under way
    at once, of at most `size` operations each; what is asked for meanwhile shares the next one.
    An operation that meets no other goes at the end of the same step, and waits for nobody.
    """

    def __init__(
        self,
        carry: Callable[[list[Asked[Q]]], Awaitable[None]],
        *,
        side_by_side: int,
        size: int = 256,
    ) -> None:
        if side_by_side < 1 or size < 1:
            message = "Trips of no size, or none at once, would never depart."
            raise ValueError(message)
        self._carry = carry
        self._side_by_side = side_by_side
        self._size = size
        self._waiting: list[Asked[Q]] = []
        self._under_way: set[asyncio.Task[None]] = set()
        self._departing = False
        self._loop: asyncio.AbstractEventLoop | None = None

    def ask(self, request: Q) -> Operation[Any]:
        """The operation, which is carried out even if nobody awaits it."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._start_anew(loop)
        operation = Asked(request, loop.create_future())
        self._waiting.append(operation)
        if not self._departing and len(self._under_way) < self._side_by_side:
            self._departing = True
            loop.call_soon(self._depart)
        return operation

    async def close(self) -> None:
        """Wait until everything that was asked for has been answered."""
        if asyncio.get_running_loop() is not self._loop:
            return
        while self._waiting or self._under_way:
            if self._under_way:
                await asyncio.wait(list(self._under_way))
            else:
                await asyncio.sleep(0)  # the next trip departs in this step

    def _start_anew(self, loop: asyncio.AbstractEventLoop) -> None:
        """What an event loop that has ended left behind is never answered, and holds up nobody."""
        self._loop = loop
        self._waiting = []
        self._under_way = set()
        self._departing = False

    def _depart(self) -> None:
        self._departing = False
        while self._waiting and len(self._under_way) < self._side_by_side:
            operations = self._waiting[: self._size]
            del self._waiting[: self._size]
            trip = asyncio.get_running_loop().create_task(self._travel(operations))
            # An event loop that is ending cancels its tasks only once: who asks later than that is
            # left behind, as all tasks of his are, and this one is no failure to tell of.
            trip._log_destroy_pending = False  # type: ignore[attr-defined]  # noqa: SLF001
            self._under_way.add(trip)
            trip.add_done_callback(self._arrived)

    def _arrived(self, trip: asyncio.Task[None]) -> None:
        self._under_way.discard(trip)
        if trip.cancelled():  # the event loop is ending: nobody is to wait for another trip on it
            waiting, self._waiting = self._waiting, []
            _give_up(waiting)
        else:
            self._depart()

    async def _travel(self, operations: list[Asked[Q]]) -> None:
        error: Exception = RuntimeError("The driver left an operation without an answer.")
        try:
            await self._carry(operations)
        except Exception as raised:  # noqa: BLE001 - it is the answer of those that have none
            error = raised
        except BaseException:
            _give_up(operations)
            raise
        for operation in operations:
            operation.fail(error)


def _give_up(operations: list[Asked[Q]]) -> None:
    for operation in operations:
        operation.give_up()
