"""Sessions in files with their leases: what a file store does, from one opening to its closing."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Final, NamedTuple
from weakref import WeakSet

from barback.errors import SessionStoreUnavailable
from barback.stores import answers
from barback.stores.file.leases import LeaseFiles
from barback.stores.file.records import RecordFiles

if TYPE_CHECKING:
    from pathlib import Path

    from barback.record import Record
    from barback.stores.base import Lease
    from barback.stores.file.leases import LockedLeases

__all__ = ["Place", "SessionFiles"]

logger = logging.getLogger("barback")

LEASES: Final = ".leases"


class Place(NamedTuple):
    """Where a session is: in which file, and its lease in which shard."""

    session_id: str
    path: str
    shard: int


class SessionFiles:
    """The sessions of a folder and their leases, opened once and closed once.

    Everything blocks, and a shard is for one thread at a time. `asked_at` is when an operation was
    asked for, in the seconds of `time.monotonic`: `timeout` begins there.
    """

    def __init__(
        self, store: str, folder: Path, *, timeout: float, records: type[RecordFiles] = RecordFiles
    ) -> None:
        self._store = store
        self._timeout = timeout
        self._records = records(store, folder)
        self._leases = LeaseFiles(
            store, folder / LEASES, timeout=timeout, check=self._records.check_folder
        )

    def open(self) -> None:
        """Make the folder, and join those who have it open."""
        _opened.add(self)
        self._records.open(self._timeout)
        self._leases.open()

    def close(self, *, forked: bool = False) -> None:
        """Leave the folder to the others. `forked`: close only the copy that a fork has of it."""
        self._leases.close()
        self._records.close(forked=forked)
        _opened.discard(self)

    def checkout(self, place: Place, asked_at: float, lease: Lease) -> Record | None:
        """See `LeasedStore.checkout`."""
        with self._leases.locked(place.shard, asked_at, place.session_id) as leases:
            leases.take(place.session_id, lease)
            record = self._records.load(place.path, place.session_id)
            leases.save()
        return record

    def commit(
        self,
        place: Place,
        asked_at: float,
        record: Record,
        lease: Lease,
        keep: bool,  # noqa: FBT001 - a thread is given no keywords
    ) -> None:
        """See `LeasedStore.commit`."""
        aside = self._records.prepare(place.path, record)  # before others are kept waiting
        try:
            with self._leases.locked(place.shard, asked_at, place.session_id) as leases:
                leases.check(place.session_id, lease)
                self._check_version(place, lease)
                self._records.put_in_place(aside, place.path, place.session_id)
                if keep:
                    leases.renew(place.session_id, lease)
                else:
                    leases.free(place.session_id)
                _save_after_the_fact(leases)
        except BaseException:
            self._records.discard(aside)
            raise

    def release(self, place: Place, asked_at: float, lease: Lease) -> None:
        """See `LeasedStore.release`."""
        with self._leases.locked(place.shard, asked_at, place.session_id) as leases:
            if leases.holds(place.session_id, lease):
                leases.free(place.session_id)
                leases.save()

    def renew(self, shard: int, asked_at: float, some: list[Lease]) -> list[Lease]:
        """See `LeasedStore.renew`; `some` are of one shard."""
        with self._leases.locked(shard, asked_at) as leases:
            lost = [lease for lease in some if not leases.renew(lease.session_id, lease)]
            if len(lost) < len(some):
                leases.save()
        return lost

    def destroy(self, place: Place, asked_at: float, lease: Lease | None) -> None:
        """See `LeasedStore.destroy`."""
        with self._leases.locked(place.shard, asked_at, place.session_id) as leases:
            if lease is None:
                if leases.free(place.session_id):
                    leases.save()  # first: a turn's commit from now on is refused
                self._records.remove(place.path, place.session_id)
            else:
                leases.check(place.session_id, lease)
                self._records.remove(place.path, place.session_id)
                leases.free(place.session_id)
                _save_after_the_fact(leases)

    def pages(self, prefix: str) -> list[list[str]]:
        """See `RecordFiles.pages`."""
        return self._records.pages(prefix)

    def read_page(self, page: list[str], unreadable: list[str]) -> list[Record]:
        """See `RecordFiles.read_page`."""
        return self._records.read_page(page, unreadable)

    def _check_version(self, place: Place, lease: Lease) -> None:
        stored = self._records.load(place.path, place.session_id)
        if (None if stored is None else stored.version) != lease.version:
            raise answers.lost(self._store, place.session_id)


def _save_after_the_fact(leases: LockedLeases) -> None:
    """Give a lease back, or renew it, when what it was for is done, whatever becomes of it."""
    try:
        leases.save()
    except SessionStoreUnavailable as error:
        logger.warning("A lease was not given back, and will run out: %s", error)


_opened: WeakSet[SessionFiles] = WeakSet()


def _close_after_fork() -> None:
    """In a forked child: close its copies, and let the parent keep its locks."""
    for files in list(_opened):
        files.close(forked=True)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_after_fork)
