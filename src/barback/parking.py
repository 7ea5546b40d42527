"""Parking: a coroutine that stops in its middle, for code of its caller's to run there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator

__all__ = ["Parking"]

T = TypeVar("T")


class Parking(Generic[T]):
    """Runs `coroutine` in two halves, in the task of who awaits them.

    So what is written as a function that calls another in its middle can be used as a context
    manager too. The coroutine awaits `Parking.place` there, once; what that raises is what ended
    the caller's code.
    """

    def __init__(self, coroutine: Coroutine[Any, Any, T]) -> None:
        self._coroutine = coroutine

    @staticmethod
    def place() -> Place:
        """What the coroutine awaits where it is to stop."""
        return Place()

    async def enter(self) -> None:
        """Run it until it stops. Raises what it raises before."""
        stopped = await Driven(self._coroutine, lambda: self._coroutine.send(None))
        if not isinstance(stopped, Place):
            message = "The coroutine never stopped at its place."
            raise RuntimeError(message)  # noqa: TRY004 - no caller's value is of a wrong type

    async def leave(self, error: BaseException | None = None) -> T:
        """Run the rest: the place it stopped at has ended, with `error` if there is one."""
        if error is None:
            rest = Driven(self._coroutine, lambda: self._coroutine.send(None))
        else:
            rest = Driven(self._coroutine, lambda: self._coroutine.throw(error))
        ended: T = await rest
        return ended


class Place:
    """Where a coroutine stops."""

    def __await__(self) -> Generator[Any, None, None]:
        yield self


class Driven(Generic[T]):
    """A coroutine from one step, `first`, until it ends or comes to its place.

    Awaiting it gives what the coroutine returned, or the `Place`.
    """

    def __init__(self, coroutine: Coroutine[Any, Any, T], first: Callable[[], object]) -> None:
        self._coroutine = coroutine
        self._first = first

    def __await__(self) -> Generator[Any, Any, Any]:
        try:
            awaited = self._first()
            while not isinstance(awaited, Place):
                try:
                    answer = yield awaited
                except BaseException as error:  # noqa: BLE001 - a cancellation, mostly; it is its
                    awaited = self._coroutine.throw(error)
                else:
                    awaited = self._coroutine.send(answer)
        except StopIteration as end:
            return end.value
        return awaited
