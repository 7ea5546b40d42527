"""A worker: a thread that does what blocks, one job after the other."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple

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
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._thread: Thread | None = None

    def do(self, job: Callable[[*Ts], T], *arguments: *Ts) -> Operation[T]:
        """What `job` will return or raise. It is done to its end even if nobody awaits it.

        Raises `RuntimeError` if the thread cannot be started: then it was not asked for.
        """
        loop = asyncio.get_running_loop()
        if self._thread is None:
            self._start()
        asked = _Job(loop, job, arguments)
        self._jobs.put(asked)
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
        while _get_done(get()):
            pass


class _Job(Operation[Any]):
    __slots__ = ("arguments", "job", "loop")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        job: Callable[..., Any],
        arguments: tuple[Any, ...],
    ) -> None:
        super().__init__(loop.create_future())
        self.loop = loop
        self.job = job
        self.arguments = arguments


def _get_done(job: _Job | None) -> bool:
    """Do the job and tell who awaits it; whether there was one. Nothing of it stays behind."""
    if job is None:
        return False
    try:
        answer = partial(job.succeed, job.job(*job.arguments))
    except BaseException as error:  # noqa: BLE001 - it is the answer
        answer = partial(job.fail, error)
    with suppress(RuntimeError):  # the event loop has been closed, and nobody awaits it
        job.loop.call_soon_threadsafe(answer)
    del answer  # or an error would hold this frame, which holds it
    return True
