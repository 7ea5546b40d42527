"""A ferry: takes operations to a thread and back, as many at a time as have met."""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from barback.stores.operation import Operation

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence

    from barback.stores.worker import Worker

__all__ = ["LATER", "Ferry"]

Q = TypeVar("Q", bound=Operation[Any])

LATER: Final = object()
"""In place of an answer: the operation goes on the next trip too, before others."""


class Ferry(Generic[Q]):
    """Takes operations to `worker`, whose thread does what blocks.

    `carry` is called there with those of one trip, and returns the answer of each, in their order:
    what is an exception is raised, and one that it raises itself is the answer of all; `LATER` is
    no answer, and has the operation carried again. A trip has room for `size` operations, and for
    those once more. The thread takes what it finds when it comes: who asks alone waits for nobody,
    and what is asked for during a trip shares the next.

    A trip costs two messages, one there and one back, however many operations are on it: no task,
    and no future but those of the operations.

    An event loop that ends leaves its operations behind. They are carried out all the same, unless
    the process ends first, and keep nobody waiting: neither the next event loop, nor who closes.
    """

    def __init__(
        self, worker: Worker, carry: Callable[[Sequence[Q]], Sequence[object]], *, size: int = 256
    ) -> None:
        self._worker = worker
        self._carry = carry
        self._size = size
        self._waiting: deque[Q] = deque()
        self._later: list[Q] = []  # the thread's own
        self._called = False

    def ask(self, operation: Q) -> Q:
        """Take the operation along. It is carried out even if nobody awaits it.

        Raises `RuntimeError` if the thread cannot be started: then it was not asked for.
        """
        self._waiting.append(operation)
        if not self._called:
            self._called = True
            try:
                self._worker.post(self._travel)
            except RuntimeError:
                self._called = False
                self._waiting.pop()
                raise
        return operation

    def close(self, last: Callable[[], None]) -> Operation[None]:
        """Carry everything that was asked for, then do `last` on the thread, which ends with it.

        That is done even if nobody awaits it. Its answer comes after all others. Nothing may be
        asked for after this.
        """
        return self._worker.finish(self._empty, last)

    def _empty(self, last: Callable[[], None]) -> None:
        try:
            while self._waiting or self._later:
                self._travel()
        finally:
            last()

    def _travel(self) -> None:
        """There and back, on the thread."""
        self._called = False  # first: who asks from now on calls again, perhaps for nothing
        waiting, load, self._later = self._waiting, self._later, []
        for _ in range(min(len(waiting), self._size)):
            load.append(waiting.popleft())
        if not load:
            return
        try:
            answers = self._carry(load)
        except BaseException as error:  # noqa: BLE001 - it is the answer
            answers = [error] * len(load)
        if LATER in answers:
            pairs = zip(load, answers, strict=True)
            self._later = [operation for operation, answer in pairs if answer is LATER]
        if (self._later or waiting) and not self._called:
            self._called = True
            self._worker.post(self._travel)
        # One of them, but where another event loop has ended, or stands still, with some under way.
        for loop in {operation.answer.get_loop() for operation in load}:
            with suppress(RuntimeError):  # it has been closed, and nobody awaits them
                loop.call_soon_threadsafe(_arrived, loop, load, answers)
        del answers  # or an error would hold this frame, which holds it


def _arrived(
    loop: asyncio.AbstractEventLoop, load: Sequence[Operation[Any]], answers: Sequence[object]
) -> None:
    for operation, answer in zip(load, answers, strict=True):
        if answer is LATER or operation.answer.get_loop() is not loop:
            continue
        if isinstance(answer, BaseException):
            operation.fail(answer)
        else:
            operation.succeed(answer)
