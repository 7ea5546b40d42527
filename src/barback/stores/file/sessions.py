"""Sessions in files with their leases: what a file store does, from one opening to its closing."""

from __future__ import annotations

import logging
import os
import time
from collections import Counter
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from weakref import WeakSet

from barback.errors import SessionStoreUnavailable
from barback.stores import answers
from barback.stores.file.leases import LeaseFiles
from barback.stores.file.records import RecordFiles
from barback.stores.operation import Operation

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from barback.record import Record
    from barback.stores.base import Lease
    from barback.stores.file.leases import LockedLeases
    from barback.stores.file.records import Sight

__all__ = ["Job", "Place", "SessionFiles"]

logger = logging.getLogger("barback")

LEASES: Final = ".leases"
NOTED: Final = 4096
"""How many sessions it is remembered of what was read, until they are committed or released."""


class Place(NamedTuple):
    """Where a session is: in which file, and its lease in which shard."""

    session_id: str
    path: str
    shard: int


class Job(Operation[Any]):
    """One operation: a method of `SessionFiles`, where, and what else it is given."""

    __slots__ = ("arguments", "asked_at", "do", "place")

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
        self._seen: dict[str, _Seen] = {}

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
        """Do the jobs; the answer of each: what it returns, or its error.

        Commits that meet wait for the disk together. Those of sessions of which more is asked are
        not among them: what is asked of a session is done in its order.
        """
        asked = Counter(job.place.session_id for job in jobs)
        commits = [
            job
            for job in jobs
            if job.do is SessionFiles.commit and asked[job.place.session_id] == 1
        ]
        done = self._commit_together(commits) if len(commits) > 1 else {}
        return [done[job] if job in done else self._answer(job) for job in jobs]

    def checkout(self, place: Place, asked_at: float, lease: Lease) -> Record | None:
        """See `LeasedStore.checkout`."""
        with self._leases.locked(place.shard, asked_at, place.session_id) as leases:
            leases.take(place.session_id, lease)
            record, sight = self._records.look(place.path, place.session_id)
            leases.save()
        self._note(place, lease, record, sight)
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
                self._put_in_place(aside, place, leases, lease)
                self._make_durable(place)
                self._end(place, leases, record, lease, keep=keep)
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

    def _answer(self, job: Job) -> object:
        try:
            return job.do(self, job.place, job.asked_at, *job.arguments)
        except Exception as error:  # noqa: BLE001 - it is the answer
            return error

    def _commit_together(self, commits: list[Job]) -> dict[Job, object]:
        """The answers of commits, without those of shards that are locked now."""
        # In this order in every process, and none is waited for: others may wait for the first.
        commits = sorted(commits, key=lambda job: job.place.shard)
        written = [(job.place.path, job.arguments[0]) for job in commits]
        asides = self._records.prepare_all(written)
        answers: dict[Job, object] = {}
        with ExitStack() as locks:
            held: dict[int, LockedLeases | None] = {}
            placed: list[tuple[Job, LockedLeases]] = []
            for job, aside in zip(commits, asides, strict=True):
                if isinstance(aside, Exception):
                    answers[job] = aside
                    continue
                shard = job.place.shard
                if shard not in held:
                    held[shard] = locks.enter_context(self._leases.locked_now(shard))
                leases = held[shard]
                if leases is None:
                    self._records.discard(aside)
                elif (error := self._refused(job, aside, leases)) is not None:
                    answers[job] = error
                else:
                    placed.append((job, leases))
            unknown = self._records.make_durable([job.place.session_id for job, _ in placed])
            for job, leases in placed:
                answers[job] = unknown.get(job.place.session_id)
                if not unknown:
                    record, lease, keep = job.arguments
                    self._end(job.place, leases, record, lease, keep=keep)
            for leases in {id(leases): leases for _, leases in placed}.values():
                if not unknown:
                    _save_after_the_fact(leases)
        return answers

    def _refused(self, job: Job, aside: str, leases: LockedLeases) -> Exception | None:
        """Put a commit's file in its place, or say why that was not done."""
        try:
            self._put_in_place(aside, job.place, leases, job.arguments[1])
        except Exception as error:  # noqa: BLE001 - it is the answer
            self._records.discard(aside)
            return error
        return None

    def _put_in_place(self, aside: str, place: Place, leases: LockedLeases, lease: Lease) -> None:
        leases.check(place.session_id, lease)
        self._check_version(place, lease)
        self._records.put_in_place(aside, place.path, place.session_id)

    def _make_durable(self, place: Place) -> None:
        for unknown in self._records.make_durable([place.session_id]).values():
            raise unknown

    def _end(
        self, place: Place, leases: LockedLeases, record: Record, lease: Lease, *, keep: bool
    ) -> None:
        """Keep the lease for the next turn, or give it back."""
        if keep:
            leases.renew(place.session_id, lease)
            self._note(place, lease, record, self._records.sight(place.path))
        else:
            leases.free(place.session_id)
            self._seen.pop(place.session_id, None)

    def _note(self, place: Place, lease: Lease, record: Record | None, sight: Sight) -> None:
        """Remember what was read under a lease; a file that stays the same is read once."""
        if record is not None and sight is not None:
            self._seen[place.session_id] = _Seen(lease.token, record.version, sight)
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
