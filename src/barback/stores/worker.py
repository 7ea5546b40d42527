"""A worker: a thread that does what blocks, one job after the other."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, TypeVar, TypeVarTuple

from barback.stores.operation import Operation

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Worker"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Worker:
    """A thread of its own for jobs that block, which it does in the order they were asked for.

    A job costs half of what it costs in an executor. The thread starts with the first one.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._jobs: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self._thread: Thread | None = None

    def do(self, job: Callable[[*Ts], T], *arguments: *Ts) -> Operation[T]:
        """What `job` will return or raise. It is done to its end even if nobody awaits it.

        Raises `RuntimeError` if the thread cannot be started: then it was not asked for.
        """
        loop = asyncio.get_running_loop()
        asked = Operation[T](loop.create_future())
        self.post(partial(_do, loop, asked, partial(job, *arguments)))
        return asked

    def post(self, job: Callable[[], object]) -> None:
        """Have `job` done, which sees to its own answer and raises nothing.

        Raises `RuntimeError` if the thread cannot be started: then it was not asked for.
        """
        if self._thread is None:
            self._start()
        self._jobs.put(job)

    def finish(self, job: Callable[[*Ts], T], *arguments: *Ts) -> Operation[T]:
        """`do` the job as the last one: the thread ends with it, and nobody waits for that.

        Nothing may be asked for after this. Raises as `do` does.
        """
        asked = self.do(job, *arguments)
        self._jobs.put(None)
        return asked

    def close(self) -> None:
        """Wait until everything that was asked for is done, and end the thread. It blocks."""
        if self._thread is not None:
            self._jobs.put(None)
            self._thread.join()
            self._thread = None

    def _start(self) -> None:
        # A program that ends without closing its store is not to wait for it for ever.
        self._thread = Thread(target=self._work, name=self._name, daemon=True)
        try:
            self._thread.start()
        except RuntimeError:
            self._thread = None  # the next job tries again
            raise

    def _work(self) -> None:
        get = self._jobs.get
        while (job := get()) is not None:
            job()
            del job  # while it waits for the next one, nothing of this one stays behind


def _do(loop: asyncio.AbstractEventLoop, asked: Operation[T], job: Callable[[], T]) -> None:
    """Do the job, and tell who awaits it."""
    try:
        answer = partial(asked.succeed, job())
    except BaseException as error:  # noqa: BLE001 - it is the answer
        answer = partial(asked.fail, error)
    with suppress(RuntimeError):  # the event loop has been closed, and nobody awaits it
        loop.call_soon_threadsafe(answer)
    del answer  # or an error would hold this frame, which holds it
