"""A ferry: takes operations to a thread and back, as many at a time as have met."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from barback.stores.operation import Operation

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from barback.stores.worker import Worker

__all__ = ["Ferry"]

Q = TypeVar("Q", bound=Operation[Any])


class Ferry(Generic[Q]):
    """Takes operations to `worker`, whose thread does what blocks.

    `carry` is called there with those of one trip, and returns the answer of each, in their order:
    what is an exception is raised, and one that it raises itself is the answer of all. A trip has
    room for `size` operations. The thread takes what it finds when it comes: who asks alone waits
    for nobody, and what is asked for during a trip shares the next.

    A trip costs two messages, one there and one back, however many operations are on it: no task,
    and no future but those of the operations.
    """

    def __init__(
        self, worker: Worker, carry: Callable[[Sequence[Q]], Sequence[object]], *, size: int = 256
    ) -> None:
        self._worker = worker
        self._carry = carry
        self._size = size
        self._waiting: deque[Q] = deque()
        self._called = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._unanswered = 0
        self._emptied: asyncio.Future[None] | None = None

    def ask(self, operation: Q) -> Q:
        """Take the operation along. It is carried out even if nobody awaits it.

        Raises `RuntimeError` if the thread cannot be started: then it was not asked for.
        """
        loop = operation.answer.get_loop()
        if loop is not self._loop:
            # What another left behind when it ended is never answered, and holds up nobody.
            self._loop, self._unanswered, self._emptied = loop, 0, None
        self._waiting.append(operation)
        if not self._called:
            self._called = True
            try:
                self._worker.post(self._travel)
            except RuntimeError:
                self._called = False
                self._waiting.pop()
                raise
        self._unanswered += 1
        return operation

    async def close(self) -> None:
        """Wait until everything that was asked for has been answered."""
        loop = asyncio.get_running_loop()
        while self._unanswered and loop is self._loop:
            if self._emptied is None:
                self._emptied = loop.create_future()
            await asyncio.shield(self._emptied)

    def _travel(self) -> None:
        """There and back, on the thread."""
        self._called = False  # first: who asks from now on calls again, perhaps for nothing
        waiting, load = self._waiting, list[Q]()
        while waiting and len(load) < self._size:
            load.append(waiting.popleft())
        if not load:
            return
        if waiting and not self._called:
            self._called = True
            self._worker.post(self._travel)
        try:
            answers = self._carry(load)
        except BaseException as error:  # noqa: BLE001 - it is the answer
            answers = [error] * len(load)
        loop = load[-1].answer.get_loop()
        with suppress(RuntimeError):  # the event loop has been closed, and nobody awaits them
            loop.call_soon_threadsafe(self._arrived, loop, load, answers)
        del answers  # or an error would hold this frame, which holds it

    def _arrived(
        self, loop: asyncio.AbstractEventLoop, load: list[Q], answers: Sequence[object]
    ) -> None:
        for operation, answer in zip(load, answers, strict=True):
            if operation.answer.get_loop() is not loop:
                continue  # its own has ended
            self._unanswered -= 1
            if isinstance(answer, BaseException):
                operation.fail(answer)
            else:
                operation.succeed(answer)
        if not self._unanswered and self._emptied is not None:
            self._emptied.set_result(None)
            self._emptied = None
