"""Files aside: written and flushed, several at once, before they take the place of others."""

from __future__ import annotations

import os
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING, Final

from barback.stores.folder import start_flushing
from barback.stores.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["Aside", "Flushers"]

THREADS: Final = 8  # with more, they wait for each other
NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)


class Aside:
    """A file under a name of its own, until it takes another's place; `error`: it will not."""

    __slots__ = ("_descriptor", "error", "path")

    def __init__(self, path: str) -> None:
        self.path = path
        self.error: Exception | None = None
        self._descriptor: int | None = None

    def write(self, fill: Callable[[int], None]) -> None:
        """Make the file and have `fill` write to it."""
        try:
            self._descriptor = os.open(self.path, NEW, 0o600)
            fill(self._descriptor)
            start_flushing(self._descriptor)
        except Exception as error:  # noqa: BLE001 - it is this file's alone
            self._fail(error)

    def flush(self) -> None:
        """Wait for the disk, and close the file."""
        if self._descriptor is not None:
            try:
                os.fsync(self._descriptor)
                self._close()
            except Exception as error:  # noqa: BLE001 - the same
                self._fail(error)

    def discard(self) -> None:
        """Remove the file, if it has not taken its place."""
        with suppress(OSError):  # whoever opens the folder later clears it away
            os.unlink(self.path)

    def _fail(self, error: Exception) -> None:
        self.error = error
        with suppress(OSError):
            self._close()
        self.discard()

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


class Flushers:
    """Threads that wait for the disk side by side: it can then do with fewer journeys."""

    def __init__(self) -> None:
        self._workers = [Worker("barback-file-flush") for _ in range(THREADS - 1)]

    def flush(self, asides: Sequence[Aside]) -> None:
        """Flush all of them, some on this thread."""
        if not asides:
            return
        parts = [asides[first::THREADS] for first in range(min(THREADS, len(asides)))]
        done: SimpleQueue[None] = SimpleQueue()
        sent = 0
        for worker, part in zip(self._workers, parts[1:], strict=False):
            try:
                worker.post(partial(_flush, part, done))
                sent += 1
            except RuntimeError:  # there is no thread to be had
                _flush(part)
        _flush(parts[0])
        for _ in range(sent):
            done.get()

    def close(self) -> None:
        """End the threads."""
        for worker in self._workers:
            worker.close()


def _flush(asides: Sequence[Aside], done: SimpleQueue[None] | None = None) -> None:
    for aside in asides:
        aside.flush()
    if done is not None:
        done.put(None)
