"""A folder on disk: made, listed, flushed, and locked for one process. Every function blocks."""

from __future__ import annotations

import errno
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Final

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["NO_LOCK", "give_lock_back", "make_folder", "names", "sync", "take_lock"]

NO_LOCK: Final = -1
"""In place of `take_lock`'s answer, where nothing is locked."""


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


def take_lock(path: Path) -> int:
    """Lock the file for as long as the descriptor is open; `BlockingIOError` if another has it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if sys.platform == "win32":
            try:
                msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
            except PermissionError as error:
                raise BlockingIOError(*error.args) from error
        else:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def give_lock_back(descriptor: int) -> None:
    """Unlock what `take_lock` locked."""
    if sys.platform != "win32":
        # Closing would not be enough while a forked child has a copy of the descriptor.
        fcntl.flock(descriptor, fcntl.LOCK_UN)
    os.close(descriptor)
