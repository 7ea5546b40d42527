"""Sessions in files with their leases: what a file store does, from one opening to its closing."""

from __future__ import annotations

import logging
import os
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from weakref import WeakSet

from barback.errors import SessionStoreUnavailable
from barback.stores import answers
from barback.stores.ferry import LATER
from barback.stores.file.leases import LeaseFiles, Locked
from barback.stores.file.records import RecordFiles
from barback.stores.operation import Operation

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from barback.record import Record
    from barback.stores.base import Lease
    from barback.stores.file.aside import Aside
    from barback.stores.file.leases import LockedLeases
    from barback.stores.file.records import Sight

__all__ = ["Job", "Place", "SessionFiles"]

logger = logging.getLogger("barback")

LEASES: Final = ".leases"
PAUSE: Final = 0.001  # seconds between two tries for what other processes have locked
NOTED: Final = 4096
"""How many sessions it is remembered of what was read, until they are committed or released."""


class Place(NamedTuple):
    """Where a session is: in which file, and its lease in which shard."""

    session_id: str
    path: str
    shard: int


class Job(Operation[Any]):
    """One operation: a method of `SessionFiles`, where, and what else it is given."""

    __slots__ = ("arguments", "aside", "asked_at", "do", "place", "tried")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        do: Callable[..., object],
        place: Place,
        arguments: tuple[Any, ...],
    ) -> None:
        super().__init__(loop.create_future())
        self.do = do
        self.place = place
        self.arguments = arguments
        self.asked_at = time.monotonic()
        self.aside: Aside | None = None
        self.tried = False


class SessionFiles:
    """The sessions of a folder and their leases, opened once and closed once.

    Everything blocks, and `carry` is for one thread at a time. `asked_at` is when an operation was
    asked for, in the seconds of `time.monotonic`: `timeout` begins there.
    """

    def __init__(
        self, store: str, folder: Path, *, timeout: float, records: type[RecordFiles] = RecordFiles
    ) -> None:
        self._store = store
        self._timeout = timeout
        self._records = records(store, folder)
        self._leases = LeaseFiles(
            store,
            folder / LEASES,
            timeout=timeout,
            check=self._records.check_folder,
            settle=self._records.settle,
        )
        self._seen: dict[str, _Seen] = {}
        self._locked: set[int] = set()

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

    def carry(self, jobs: Sequence[Job]) -> list[object]:
        """Do the jobs; the answer of each: what it returns, its error, or `LATER`.

        Commits that meet wait for the disk together. What is asked of a session is done in its
        order, and nobody waits for a session that is locked by another process, but its own.
        """
        done: dict[Job, object] = {}
        commits: dict[str, Job] = {}
        self._locked.clear()
        for job in jobs:
            if not job.tried:
                job.tried, job.asked_at = True, self._leases.late(job.asked_at)
            if job.place.session_id in commits:
                self._commit(commits, done)
            if job.do is SessionFiles.commit:
                commits[job.place.session_id] = job
            else:
                done[job] = self._try(job, *job.arguments)
        self._commit(commits, done)
        if all(answer is LATER for answer in done.values()):
            time.sleep(PAUSE)
        return [done[job] for job in jobs]

    def checkout(self, place: Place, asked_at: float, lease: Lease) -> Record | None:
        """See `LeasedStore.checkout`."""
        with self._leases.locked(place.shard, asked_at, place.session_id) as leases:
            leases.take(place.session_id, lease)
            record, sight = self._records.look(place.path, place.session_id)
            leases.save()
        if record is not None:
            self._note(place, lease, record.version, sight)
        return record

    def commit(self, place: Place, asked_at: float, aside: Aside, lease: Lease) -> None:
        """The first half of `LeasedStore.commit`: the record is in its place.

        It is not durable yet. The lease, which is kept until it is, keeps others from seeing it.
        """
        self._records.check_written(aside, place.session_id)
        with self._leases.locked(place.shard, asked_at, place.session_id) as leases:
            leases.check(place.session_id, lease)
            self._check_version(place, lease)
            self._records.put_in_place(aside, place.path, place.session_id)

    def finish(
        self,
        place: Place,
        asked_at: float,
        version: int,
        lease: Lease,
        keep: bool,  # noqa: FBT001 - a thread is given no keywords
    ) -> None:
        """The second half, when the record is durable: keep the lease, or give it back."""
        if keep:
            self._note(place, lease, version, self._records.sight(place.path))
        else:
            self._seen.pop(place.session_id, None)
        try:
            with self._leases.locked(place.shard, asked_at, place.session_id) as leases:
                if keep:
                    leases.renew(place.session_id, lease)
                elif leases.holds(place.session_id, lease):
                    leases.free(place.session_id)
                leases.save()
        except SessionStoreUnavailable as error:
            logger.warning("A lease was not given back, and will run out: %s", error)

    def release(self, place: Place, asked_at: float, lease: Lease) -> None:
        """See `LeasedStore.release`."""
        with self._leases.locked(place.shard, asked_at, place.session_id) as leases:
            if leases.holds(place.session_id, lease):
                leases.free(place.session_id)
                leases.save()
        self._seen.pop(place.session_id, None)

    def renew(self, place: Place, asked_at: float, some: list[Lease]) -> list[Lease]:
        """See `LeasedStore.renew`; `some` are of one shard, that of `place`."""
        with self._leases.locked(place.shard, asked_at) as leases:
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

    def _try(self, job: Job, *arguments: object) -> object:
        """The answer of a job, which must not overtake others of its shard."""
        shard = job.place.shard
        if shard in self._locked:
            return LATER
        try:
            return job.do(self, job.place, job.asked_at, *arguments)
        except Locked:
            self._locked.add(shard)
            return LATER
        except Exception as error:  # noqa: BLE001 - it is the answer
            return error

    def _commit(self, commits: dict[str, Job], done: dict[Job, object]) -> None:
        """Add the answers of commits of so many sessions, of which none is left then."""
        new = [job for job in commits.values() if job.aside is None]
        written = [(job.place.path, job.arguments[0]) for job in new]
        for job, aside in zip(new, self._records.prepare(written), strict=True):
            job.aside = aside
        placed = []
        for job in commits.values():
            _, _, lease, _ = job.arguments
            done[job] = answer = self._try(job, job.aside, lease)
            if answer is None:
                placed.append(job)
            elif answer is not LATER and job.aside is not None:
                job.aside.discard()
        commits.clear()
        if not placed:
            return
        unknown = self._records.make_durable([job.place.session_id for job in placed])
        for job in placed:
            if unknown:
                done[job] = unknown[job.place.session_id]
            else:
                # Which is left to do, if it cannot be done now.
                job.do, job.arguments = SessionFiles.finish, job.arguments[1:]
                done[job] = self._try(job, *job.arguments)

    def _note(self, place: Place, lease: Lease, version: int, sight: Sight) -> None:
        """Remember what was read under a lease; a file that stays the same is read once."""
        if sight is not None:
            self._seen[place.session_id] = _Seen(lease.token, version, sight)
            if len(self._seen) > NOTED:
                self._seen.pop(next(iter(self._seen)), None)

    def _check_version(self, place: Place, lease: Lease) -> None:
        seen = self._seen.get(place.session_id)
        if seen == (lease.token, lease.version, self._records.sight(place.path)):
            self._records.check_folder(place.session_id)
            return
        stored = self._records.load(place.path, place.session_id)
        if (None if stored is None else stored.version) != lease.version:
            raise answers.lost(self._store, place.session_id)


class _Seen(NamedTuple):
    token: str
    version: int
    sight: Sight


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
