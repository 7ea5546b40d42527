"""A folder on disk that processes share: made, listed, read, flushed, locked. All of it blocks."""

from __future__ import annotations

import errno
import os
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final, TypeVar, TypeVarTuple

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

if TYPE_CHECKING:
    import re
    from collections.abc import Callable
    from pathlib import Path

__all__ = [
    "Folder",
    "content",
    "content_and_status",
    "lock_within",
    "make_folder",
    "names",
    "put_in_place",
    "start_flushing",
    "sync",
    "try_lock",
    "unlock",
]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

LOCK: Final = ".lock"
STALE: Final = 3600.0  # seconds after which a temporary file is taken for one that a crash left
SHORTEST_PAUSE: Final = 0.000_2  # seconds between two tries for a lock
LONGEST_PAUSE: Final = 0.010
NOT_OPEN: Final = -1

# Windows locks ranges, which may lie beyond a file's end, and no longer lets them be read.
LOCK_AT: Final = 1 << 30
SHARERS: Final = 1024


class Folder:
    """A folder that any number of stores have open at once, each of them with a share in its lock.

    `leftovers`: the names of temporary files, which are there after a crash. Who opens the folder
    alone clears them away; who joins others, those that have been there for an hour: of whom they
    are does not matter, since a file that is gone cannot take another's place.
    """

    def __init__(self, path: Path, leftovers: re.Pattern[str]) -> None:
        self.path = path
        self._leftovers = leftovers
        self._lock_path = os.path.join(path, LOCK)
        self._lock = NOT_OPEN
        self._identity = (0, 0)

    def open(self, timeout: float) -> None:
        """Make the folder, clear it, and take a share in its lock.

        Raises `OSError`, which is `BlockingIOError` if somebody kept the lock to himself for all
        of the `timeout`.
        """
        make_folder(self.path)
        self._lock = os.open(self._lock_path, os.O_RDWR | os.O_CREAT, 0o600)
        self._identity = identity(os.fstat(self._lock))
        alone = try_lock(self._lock)
        if alone:
            self._clear(alone=True)
            unlock(self._lock)
        # Whoever gets the lock between these two clears nothing of ours: there is nothing yet.
        if not lock_within(self._lock, time.monotonic() + timeout, shared=True):
            raise BlockingIOError(errno.EWOULDBLOCK, os.strerror(errno.EWOULDBLOCK))
        if not alone:
            self._clear(alone=False)

    def check(self) -> None:
        """Raise `OSError` unless the folder is still there, and still the one that was opened.

        One that was moved away or unmounted holds no sessions: each would be taken for a new one.
        """
        if identity(os.stat(self._lock_path)) != self._identity:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), self._lock_path)

    def close(self, *, forked: bool = False) -> None:
        """Give the share back. `forked`: close only the copy that a fork has of it."""
        lock, self._lock = self._lock, NOT_OPEN  # first: a fork may come between
        if lock != NOT_OPEN:
            if not forked:
                # Closing would not be enough while a forked child has a copy of the descriptor.
                unlock(lock)
            os.close(lock)

    def _clear(self, *, alone: bool) -> None:
        for name in filter(self._leftovers.fullmatch, names(self.path)):
            path = os.path.join(self.path, name)
            with suppress(FileNotFoundError):  # another has cleared it away, or put it in its place
                if alone or time.time() - os.stat(path).st_mtime > STALE:
                    os.unlink(path)


def identity(status: os.stat_result) -> tuple[int, int]:
    """What tells a file from every other, whatever its name."""
    return status.st_dev, status.st_ino


def names(folder: Path) -> list[str]:
    """The names of what is in the folder."""
    with os.scandir(folder) as entries:
        return [entry.name for entry in entries]


def make_folder(folder: Path) -> None:
    """Make the folder and those above it, for this user alone, so that they outlive a crash."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for path in missing:
        with suppress(PermissionError):  # one may write to a folder without being let read it
            sync(path.parent)


def sync(folder: Path) -> None:
    """Flush a folder's names to the disk, where the platform can."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in {errno.EINVAL, errno.ENOTSUP}:  # some file systems know no such thing
            raise
    finally:
        os.close(descriptor)


def content(path: str) -> bytes:
    """What is in a file."""
    return content_and_status(path)[0]


def content_and_status(path: str) -> tuple[bytes, os.stat_result]:
    """What is in a file, and which file that was."""
    return _patiently(_content, path)


def start_flushing(descriptor: int) -> None:
    """Have the disk begin with an open file, where the platform can: a later flush waits less."""
    if hasattr(os, "posix_fadvise"):
        with suppress(OSError):  # it is but a hint
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)


def put_in_place(aside: str, path: str) -> None:
    """Give a file the name of another, which is no more."""
    _patiently(os.replace, aside, path)


def try_lock(descriptor: int, *, shared: bool = False) -> bool:
    """Lock an open file, for oneself or together with others who share; whether that was possible.

    The lock belongs to this opening of the file: it excludes every other, of this process too.
    """
    if sys.platform == "win32":
        # A lock cannot be shared here: who shares has a byte of a range, who does not all of it.
        parts = [(n, 1) for n in range(SHARERS)] if shared else [(0, SHARERS)]
        for first, length in parts:
            os.lseek(descriptor, LOCK_AT + first, os.SEEK_SET)
            with suppress(PermissionError):
                msvcrt.locking(descriptor, msvcrt.LK_NBLCK, length)
                return True
        return False
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def lock_within(descriptor: int, give_up_at: float, *, shared: bool = False) -> bool:
    """`try_lock` over and over until `give_up_at`, in the seconds of `time.monotonic`.

    A lock is not waited for in any other way, since who holds it may have been stopped.
    """
    pause = SHORTEST_PAUSE
    while not try_lock(descriptor, shared=shared):
        left = give_up_at - time.monotonic()
        if left <= 0:
            return False
        time.sleep(min(pause, left))
        pause = min(2 * pause, LONGEST_PAUSE)
    return True


def unlock(descriptor: int) -> None:
    """Unlock what `try_lock` locked. On Windows, a share is given back by closing the file."""
    if sys.platform == "win32":
        os.lseek(descriptor, LOCK_AT, os.SEEK_SET)
        with suppress(PermissionError):
            msvcrt.locking(descriptor, msvcrt.LK_UNLCK, SHARERS)
    else:
        fcntl.flock(descriptor, fcntl.LOCK_UN)


def _content(path: str) -> tuple[bytes, os.stat_result]:
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    try:
        status = os.fstat(descriptor)
        size = status.st_size
        data = os.read(descriptor, size + 1)
        while len(data) < size and (more := os.read(descriptor, size - len(data))):
            data += more
        return data, status
    finally:
        os.close(descriptor)


def _patiently(do: Callable[[*Ts], T], *arguments: *Ts) -> T:
    """Do it; again, for up to a second, where Windows refuses because another has the file open."""
    give_up_at = time.monotonic() + 1
    while True:
        try:
            return do(*arguments)
        except PermissionError:
            if os.name != "nt" or time.monotonic() >= give_up_at:
                raise
            time.sleep(LONGEST_PAUSE)
