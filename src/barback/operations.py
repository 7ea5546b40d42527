"""Operations: what was asked of a store is carried out, even if who asked is cancelled."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from barback.errors import NotDone, SessionStoreUnavailable
from barback.stores.operation import Operation

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["Operations", "asked_of"]

logger = logging.getLogger("barback")

T = TypeVar("T")


class Operations:
    """Store operations of one bot, and those that outlived the task that asked for them.

    `bound`: seconds for which a cancellation waits until an operation on its way has been answered.
    """

    def __init__(self, bound: float) -> None:
        self._bound = bound
        self._late: set[asyncio.Future[Any]] = set()

    async def finish(self, operation: Awaitable[T]) -> T:
        """Await it to its end. A cancellation meanwhile goes on when the answer has come.

        An error that comes after a cancellation is logged: nobody else would hear of it.
        """
        asked = asked_of(operation)
        try:
            return await asked.answer
        except asyncio.CancelledError:
            await self.outlast(asked)
            raise

    async def outlast(self, asked: Operation[T]) -> None:
        """Who awaited it was cancelled: wait for its answer within the bound all the same."""
        future = asked.rejoin()
        if future.cancelled():
            return
        self._watch(future)
        if not future.done():
            await asyncio.wait([future], timeout=self._bound)

    def undo(
        self,
        asked: Operation[T],
        undo: Callable[[], Awaitable[None]],
        unanswered: Callable[[], None],
    ) -> None:
        """Who awaited what takes something was cancelled: what was taken is undone.

        That is, when the answer comes, and if it is not that there was nothing to be had. Where
        none comes, and nobody can say whether it was taken, `unanswered` is called.
        """
        future = asked.rejoin()
        if not future.cancelled():
            self.start(self._undo(future, undo, unanswered))

    def start(self, operation: Awaitable[T]) -> asyncio.Future[T]:
        """Let an operation run by itself; `close` waits for it."""
        if isinstance(operation, Operation):
            future = operation.rejoin()
        else:
            future = asyncio.ensure_future(operation)
        self._watch(future)
        return future

    async def close(self) -> None:
        """Wait, within the bound, for operations that are still on their way."""
        if self._late:
            await asyncio.wait(list(self._late), timeout=self._bound)
        if self._late:
            logger.error(
                "%d store operations got no answer before the bot closed.", len(self._late)
            )

    async def _undo(
        self,
        future: asyncio.Future[T],
        undo: Callable[[], Awaitable[None]],
        unanswered: Callable[[], None],
    ) -> None:
        try:
            await future
        except SessionStoreUnavailable:
            unanswered()
            return
        except NotDone:
            return  # there is nothing to undo
        try:
            await undo()
        except SessionStoreUnavailable:
            unanswered()
            raise

    def _watch(self, future: asyncio.Future[T]) -> None:
        self._late.add(future)
        future.add_done_callback(self._answered)

    def _answered(self, future: asyncio.Future[T]) -> None:
        self._late.discard(future)
        if not future.cancelled() and (error := future.exception()) is not None:
            logger.error("A store operation failed when nobody waited for it any more: %s", error)


def asked_of(operation: Awaitable[T]) -> Operation[T]:
    """What a driver returned, as something that goes on when who awaits it is cancelled."""
    if isinstance(operation, Operation):
        return operation
    future = asyncio.ensure_future(operation)
    asked = Operation(future.get_loop().create_future())
    future.add_done_callback(partial(_tell, asked))
    return asked


def _tell(asked: Operation[T], future: asyncio.Future[T]) -> None:
    if future.cancelled():
        asked.give_up()
    elif (error := future.exception()) is not None:
        asked.fail(error)
    else:
        asked.succeed(future.result())
