"""Operation: what was asked of a store. It is carried out, whatever becomes of who asked."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["Operation"]

T = TypeVar("T")


class Operation(Generic[T]):
    """Something that was asked of a store; awaiting it gives the answer.

    `answer` is the future of the answer, and may be awaited by one task. A cancellation of that
    task cancels the future, but not the operation: `rejoin` gives a future of the same answer
    anew, be it there already or still to come. So no task and no second future are needed as long
    as nobody is cancelled.
    """

    __slots__ = ("_late", "answer")

    def __init__(self, answer: asyncio.Future[T]) -> None:
        self.answer = answer
        self._late: tuple[Any, BaseException | None] | None = None

    def __await__(self) -> Generator[Any, None, T]:
        return self.answer.__await__()

    def succeed(self, result: Any) -> None:
        """Answer it, unless it is answered already."""
        answer = self.answer
        if not answer.done():
            answer.set_result(result)
        elif self._late is None:
            self._late = (result, None)

    def fail(self, error: BaseException) -> None:
        """Answer it with an error, unless it is answered already."""
        answer = self.answer
        if not answer.done():
            answer.set_exception(error)
        elif self._late is None:
            self._late = (None, error)

    def give_up(self) -> None:
        """There will be no answer: the event loop is ending."""
        self._late = self._late or (None, asyncio.CancelledError())
        self.answer.cancel()

    async def done(self) -> None:
        """Wait for the answer, whatever it is and whoever awaits it.

        Only on its own event loop: that of another may have ended, and then no answer comes.
        """
        if self.answer.get_loop() is asyncio.get_running_loop():
            while not (answer := self.rejoin()).done():  # it may be cancelled by others meanwhile
                await asyncio.wait([answer])

    def rejoin(self) -> asyncio.Future[T]:
        """A future of the answer that the cancellation of who awaited it has not touched."""
        if self.answer.cancelled():
            self.answer = self.answer.get_loop().create_future()
            if self._late is not None:
                result, error = self._late
                if error is None:
                    self.answer.set_result(result)
                elif isinstance(error, asyncio.CancelledError):
                    self.answer.cancel()
                else:
                    self.answer.set_exception(error)
        return self.answer
