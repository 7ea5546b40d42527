"""Leases in files: which turn holds which session, for every process of one machine."""

from __future__ import annotations

import errno
import logging
import os
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from barback.errors import SessionStoreUnavailable
from barback.stores import answers
from barback.stores.folder import identity, try_lock, unlock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from barback.stores.base import Lease

__all__ = ["SHARDS", "LeaseFiles", "Locked", "LockedLeases"]

logger = logging.getLogger("barback")

SHARDS: Final = 64
"""How many files there are. Never to be changed: processes must agree on it."""

HASTE: Final = 0.050  # seconds, for a lock that was waited for in vain before
KEPT: Final = 60.0  # seconds, at least, for which a lease that has ended may still be committed
ROOM: Final = 4096  # bytes a file may keep without being cut
TRIES: Final = 3


class Locked(BlockingIOError):
    """Another process has locked a shard: try again, in a moment."""

    def __init__(self) -> None:
        super().__init__(errno.EWOULDBLOCK, os.strerror(errno.EWOULDBLOCK))


class LeaseFiles:
    """The leases on a folder's sessions, in a fixed set of files that are never removed.

    Each file is at once the lock of its shard of the sessions and the table of who holds them. It
    is locked for one operation at a time, and no thread waits for it: who finds it locked tries
    again. A lock that cannot be had within `timeout` seconds means `SessionStoreUnavailable`, and
    operations after that try for it only briefly, until it is free again: who holds it has probably
    been stopped. All of these seconds begin when the operation was asked for, so that those that
    want one lock wait for it together and not in turn.

    `clock` counts seconds, the same in all processes of the machine. It does not jump, and starts
    anew with the machine: a lease holds from when it was taken until its term is over, and one
    from before the start is over in either case.

    A file that a kill or a crash has torn counts as empty. Then those who held a session of it
    have lost it, as everybody who has not his token in it.

    `check` raises unless the folder is still the right one; it is asked about files just opened.

    `settle` is called before a lease is forgotten that was not given back, and raises
    `SessionStoreUnavailable` where that must not be: its holder may have died in the midst of a
    commit, when others could see it and a crash of the machine could still undo it.

    A shard is for one thread at a time.
    """

    def __init__(  # noqa: PLR0913 - each is an option of its own
        self,
        store: str,
        folder: Path,
        *,
        timeout: float,
        check: Callable[[], None] = lambda: None,
        settle: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.store = store
        self.settle = settle
        self._folder = folder
        self._timeout = timeout
        self._check = check
        self._clock = clock
        self._paths = [os.path.join(folder, f"{shard:02x}") for shard in range(SHARDS)]
        self._files: dict[int, _File] = {}
        self._stuck: set[int] = set()

    def open(self) -> None:
        """Make the files' folder; each file is made when it is first needed. Raises `OSError`."""
        self._folder.mkdir(mode=0o700, exist_ok=True)

    def close(self) -> None:
        """Close the files, none of which may be locked by now; or a fork's copies of them."""
        while self._files:
            os.close(self._files.popitem()[1].descriptor)
        self._stuck.clear()

    @contextmanager
    def locked(
        self, shard: int, asked_at: float, session_id: str | None = None
    ) -> Iterator[LockedLeases]:
        """The leases of a shard. While inside, no other process or thread can touch its sessions.

        `asked_at`: when the operation was asked for, in the seconds of `time.monotonic`. Raises
        `Locked` while another process has locked the shard, and when that has lasted too long
        `SessionStoreUnavailable`; `session_id` is for its message.
        """
        path = self._paths[shard]
        try:
            locked = self._lock(shard, path)
        except OSError as error:
            what = f"cannot lock {path}: {error.strerror}"
            raise answers.unavailable(self.store, what, session_id) from error
        if locked is None:
            patience = HASTE if shard in self._stuck else self._timeout
            if time.monotonic() < asked_at + patience:
                raise Locked
            self._stuck.add(shard)
            what = (
                f"waited in vain for another process, which has locked {path}: see whether one has "
                f"been stopped, and let it go on or end it"
            )
            raise answers.unavailable(self.store, what, session_id) from Locked()
        self._stuck.discard(shard)
        descriptor, size = locked
        try:
            yield LockedLeases(self, path, descriptor, size, self._clock())
        finally:
            unlock(descriptor)

    def late(self, asked_at: float) -> float:
        """When something was asked for, as `locked` is to see it that is tried only now.

        A slow queue alone does not make a lock one that was waited for in vain.
        """
        return max(asked_at, time.monotonic() + HASTE - self._timeout)

    def _lock(self, shard: int, path: str) -> tuple[int, int] | None:
        """Lock the shard's file: its descriptor and its size, or None if another has locked it."""
        for _ in range(TRIES):
            file = self._files.get(shard) or self._open(shard, path)
            if not try_lock(file.descriptor):
                return None
            try:
                status = os.stat(path)
            except OSError:
                status = None  # opening it anew tells what is wrong
            if status is not None and identity(status) == file.identity:
                return file.descriptor, status.st_size
            # It was removed or replaced: who comes now locks another file of this name.
            del self._files[shard]
            unlock(file.descriptor)
            os.close(file.descriptor)
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    def _open(self, shard: int, path: str) -> _File:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o600)
        try:
            self._check()
            file = self._files[shard] = _File(descriptor, identity(os.fstat(descriptor)))
        except BaseException:
            os.close(descriptor)
            raise
        return file


class LockedLeases:
    """The leases of one file while it is locked. What is changed here is kept by `save` alone."""

    def __init__(
        self, files: LeaseFiles, path: str, descriptor: int, size: int, now: float
    ) -> None:
        self._store = files.store
        self._settle = files.settle
        self._path = path
        self._descriptor = descriptor
        self._size = size
        self._now = now
        self._held = self._read()

    def take(self, session_id: str, lease: Lease) -> None:
        """Give the session to `lease`, or renew it; `SessionBusy` if another holds it."""
        holder = self._held.get(session_id)
        if holder is not None and holder.token != lease.token:
            if holder.holds_at(self._now):
                raise answers.busy(self._store, session_id)
            self._settle()
        self._held[session_id] = _Holder(lease.token, self._now, lease.term)

    def holds(self, session_id: str, lease: Lease) -> bool:
        """Whether the session is still this lease's: until its end, and after it until taken."""
        holder = self._held.get(session_id)
        return holder is not None and holder.token == lease.token

    def check(self, session_id: str, lease: Lease) -> None:
        """Raise `LeaseLost` unless the session is still this lease's."""
        if not self.holds(session_id, lease):
            raise answers.lost(self._store, session_id)

    def renew(self, session_id: str, lease: Lease) -> bool:
        """Start the lease's term anew, if the session is still its own; whether it was."""
        if not self.holds(session_id, lease):
            return False
        self._held[session_id] = _Holder(lease.token, self._now, lease.term)
        return True

    def free(self, session_id: str) -> bool:
        """Free the session, whoever holds it; whether anybody did."""
        return self._held.pop(session_id, None) is not None

    def save(self) -> None:
        """Write the leases to the file, without those that ended long ago.

        Raises `SessionStoreUnavailable`. It is not flushed: no lease outlives the machine's crash.
        """
        ended = [each for each, holder in self._held.items() if holder.ended_long_before(self._now)]
        if ended:
            self._forget(ended)
        # In one write that leaves nothing of the old text, so that a kill can hardly tear it.
        data = _encoder.encode(self._held).ljust(self._size)
        try:
            os.lseek(self._descriptor, 0, os.SEEK_SET)
            written = os.write(self._descriptor, data)
            while written < len(data):
                written += os.write(self._descriptor, data[written:])
            if len(data) > ROOM:
                os.ftruncate(self._descriptor, max(len(data.rstrip()), ROOM))
                data = data.rstrip()
            self._size = len(data)
        except OSError as error:
            what = f"cannot write the leases in {self._path}: {error.strerror}"
            raise answers.unavailable(self._store, what) from error

    def _forget(self, session_ids: list[str]) -> None:
        with suppress(SessionStoreUnavailable):  # then they stay in the file until it can be done
            self._settle()
            for session_id in session_ids:
                del self._held[session_id]

    def _read(self) -> dict[str, _Holder]:
        try:
            os.lseek(self._descriptor, 0, os.SEEK_SET)
            data = os.read(self._descriptor, self._size) if self._size else b"{}"
        except OSError as error:
            what = f"cannot read the leases in {self._path}: {error.strerror}"
            raise answers.unavailable(self._store, what) from error
        try:
            return _decoder.decode(data)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            logger.warning("The leases in %s were torn, and have ended.", self._path)
        self._settle()
        return {}


class _Holder(msgspec.Struct, array_like=True, frozen=True):
    """Whose a session is: the lease's token, when it was taken or renewed, for how many seconds."""

    token: str
    taken_at: float
    term: float

    def holds_at(self, now: float) -> bool:
        return 0 <= now - self.taken_at < self.term

    def ended_long_before(self, now: float) -> bool:
        return not 0 <= now - self.taken_at < self.term + max(self.term, KEPT)


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(dict[str, _Holder])


class _File(NamedTuple):
    descriptor: int
    identity: tuple[int, int]
