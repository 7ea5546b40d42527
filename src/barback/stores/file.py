"""The file store: one readable JSON file per session, for the processes of one machine."""

from __future__ import annotations

import asyncio
import logging
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final, NamedTuple, TypeVar, TypeVarTuple
from urllib.parse import unquote
from weakref import WeakSet

from barback.errors import ConfigurationError, SessionStoreUnavailable, SessionUnreadable
from barback.options import seconds
from barback.stores import answers
from barback.stores.base import ONE_YEAR, Lease, LeasedStore, duration
from barback.stores.file_leases import SHARDS, LeaseFiles, LockedLeases
from barback.stores.file_records import RecordFiles
from barback.stores.url import parse_url
from barback.stores.worker import Worker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
    from datetime import timedelta
    from typing import Self

    from barback.record import Record

__all__ = ["FileSessionStore"]

logger = logging.getLogger("barback")

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

LEASES: Final = ".leases"
WORKERS: Final = 4  # threads for sessions; listing has one more
LISTING: Final = -1


class FileSessionStore(LeasedStore):
    """Sessions as files that a person can read, in a folder that processes of one machine share.

    - `dirname`: the folder, `.sessions` unless set; made if it is absent. A relative one starts
      at the working directory of the moment the store is made.
    - `expires_in`: minutes or a timedelta after a session's last activity, one year unless set;
      None is never.
    - `timeout`: seconds for which an operation waits for one of another process on the same
      session, or on one of its neighbours, to end: 5 unless set. Only a process that has been
      stopped half-way takes that long; then `SessionStoreUnavailable` is raised.

    Durability: a commit that has returned survives a crash of the process and, as far as the disk
    keeps what `fsync` gives it, of the machine. A session is its old self or its new one, never
    half of each. Leases end with the machine, and their clock is the machine's. The folder must be
    on a disk of this machine: locks and `fsync` mean less on some network file systems.

    A file that cannot be understood is never taken for a missing session and never overwritten:
    reading or writing the session raises `SessionUnreadable`, the file is copied once into the
    subfolder `unreadable`, and a warning is logged. Destroying the session moves it there.
    """

    name: ClassVar[str] = "file"

    def __init__(
        self,
        dirname: str | os.PathLike[str] = ".sessions",
        *,
        expires_in: float | timedelta | None = ONE_YEAR,
        timeout: float = 5.0,
    ) -> None:
        self.dirname = os.fspath(dirname)
        if not self.dirname or "\0" in self.dirname:
            message = f"A file store needs the name of a folder, not {self.dirname!r}."
            raise ConfigurationError(message)
        self.expires_in = duration(expires_in)
        self.timeout = seconds(timeout, "timeout")
        self._folder = Path(self.dirname).absolute()
        self._records = RecordFiles(self.name, self._folder)
        self._leases = LeaseFiles(
            self.name,
            self._folder / LEASES,
            timeout=timeout,
            check=self._records.check_folder,
        )
        self._workers: tuple[Worker, ...] = ()

    @classmethod
    def from_url(cls, url: str) -> FileSessionStore:
        """Open `file:relative/folder` or `file:///absolute/folder`, percent-encoded where needed.

        Its parameters are `expires_in` (minutes, or `never`) and `timeout` (seconds). Raises
        `ConfigurationError`.
        """
        address, options = parse_url(url, allowed={"expires_in": float, "timeout": float})
        if re.match("file://(?!/)", url):
            message = (  # without the rest: it may hold a password
                "A file URL with two slashes names another machine. Write file:folder for one "
                "relative to the working directory, or file:///folder for an absolute one."
            )
            raise ConfigurationError(message)
        path = unquote(address)
        if os.name == "nt":
            path = re.sub("^/(?=[A-Za-z]:)", "", path)  # file:///C:/sessions
        return cls(path, **options)

    async def init(self) -> Self:
        """Make the folder, join those who have it open, and clear away what a crash left.

        Raises `SessionStoreUnavailable` if it cannot be written to.
        """
        if self._workers:
            return self
        workers = tuple(Worker("barback-file") for _ in range(WORKERS + 1))
        try:
            await workers[LISTING].do(self._open)
        except BaseException:
            await asyncio.to_thread(self._let_go, workers)
            raise
        self._workers = workers
        _opened.add(self)
        return self

    async def close(self) -> None:
        """Finish what is under way, then leave the folder to the others."""
        workers, self._workers = self._workers, ()
        if workers:
            _opened.discard(self)
            await asyncio.shield(asyncio.to_thread(self._let_go, workers))

    def checkout(self, session_id: str, lease: Lease) -> Awaitable[Record | None]:
        """See `LeasedStore.checkout`."""
        place = self._place(session_id)
        return self._run(place.shard, self._checkout, place, lease)

    def commit(self, record: Record, lease: Lease, *, keep: bool = False) -> Awaitable[None]:
        """See `LeasedStore.commit`. Raises `SessionUnreadable` rather than replace such a file."""
        place = self._place(record.id)
        return self._run(place.shard, self._commit, place, record, lease, keep)

    def release(self, session_id: str, lease: Lease) -> Awaitable[None]:
        """See `LeasedStore.release`."""
        place = self._place(session_id)
        return self._run(place.shard, self._release, place, lease)

    async def renew(self, leases: Sequence[Lease]) -> list[Lease]:
        """See `LeasedStore.renew`. Where it fails for one, the others are renewed all the same."""
        shards: dict[int, list[Lease]] = {}
        for lease in leases:
            shards.setdefault(self._place(lease.session_id).shard, []).append(lease)
        jobs = [self._run(shard, self._renew, shard, some) for shard, some in shards.items()]
        lost: list[Lease] = []
        for answer in await asyncio.gather(*jobs, return_exceptions=True):
            if isinstance(answer, BaseException):
                raise answer
            lost += answer
        return lost

    def destroy(self, session_id: str, lease: Lease | None) -> Awaitable[None]:
        """See `LeasedStore.destroy`. A file that cannot be understood is moved, not deleted."""
        place = self._place(session_id)
        return self._run(place.shard, self._destroy, place, lease)

    async def all(self, prefix: str = "") -> AsyncIterator[Record]:
        """See `LeasedStore.all`. It holds the files' names, and the records of one page."""
        unreadable: list[str] = []
        for page in await self._run(LISTING, self._records.pages, prefix):
            for record in await self._run(LISTING, self._records.read_page, page, unreadable):
                if record.id.startswith(prefix):
                    yield record
        if unreadable:
            message = (
                f"{len(unreadable)} sessions in {self._folder} cannot be read; the first is "
                f"{unreadable[0]}. Restore them from a copy, or destroy them."
            )
            raise SessionUnreadable(message, store=self.name)

    async def due(self, before: int, limit: int) -> list[Record]:
        """See `LeasedStore.due`. Unreadable sessions are passed over, with a warning."""
        due: list[Record] = []
        for page in await self._run(LISTING, self._records.pages, ""):
            records = await self._run(LISTING, self._records.read_page, page, [])
            due += [record for record in records if record.expired(before)]
            if len(due) >= limit:
                break
        return due[:limit]

    def _place(self, session_id: str) -> _Place:
        path = self._records.path(session_id)
        last_byte_of_hash = int(path.removesuffix(".json")[-2:], 16)
        return _Place(session_id, path, last_byte_of_hash % SHARDS)

    def _run(self, shard: int, job: Callable[[*Ts], T], *arguments: *Ts) -> asyncio.Future[T]:
        """Do `job` on a thread. Jobs of one shard are done in the order they were asked for.

        So a commit whose task was cancelled cannot overtake what the session is asked for next.
        Listing has a thread to itself, and keeps no session waiting.
        """
        if self._workers:
            worker = self._workers[LISTING if shard == LISTING else shard % WORKERS]
            return worker.do(job, *arguments)
        message = (
            f"The file store of {self._folder} is not open: use `async with store`, or await its "
            f"`init()` first."
        )
        refused: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        refused.set_exception(SessionStoreUnavailable(message, store=self.name))
        return refused

    # From here on everything blocks, and runs on the workers' threads.

    def _open(self) -> None:
        self._records.open(self.timeout)
        self._leases.open()

    def _let_go(self, workers: tuple[Worker, ...]) -> None:
        for worker in workers:
            worker.close()
        self._leases.close()
        self._records.close()

    def _after_fork(self) -> None:
        """In a forked child, which has no threads: be closed, and let the parent keep its locks."""
        self._workers = ()
        self._leases.close()
        self._records.close(forked=True)

    def _checkout(self, place: _Place, lease: Lease) -> Record | None:
        with self._leases.locked(place.shard, place.session_id) as leases:
            leases.take(place.session_id, lease)
            record = self._records.load(place.path, place.session_id)
            leases.save()
        return record

    def _commit(self, place: _Place, record: Record, lease: Lease, keep: bool) -> None:  # noqa: FBT001 - a thread is given no keywords
        aside = self._records.prepare(place.path, record)  # before others are kept waiting
        try:
            with self._leases.locked(place.shard, place.session_id) as leases:
                leases.check(place.session_id, lease)
                self._check_version(place, lease)
                self._records.put_in_place(aside, place.path, place.session_id)
                if keep:
                    leases.renew(place.session_id, lease)
                else:
                    leases.free(place.session_id)
                self._save_after_the_fact(leases)
        except BaseException:
            self._records.discard(aside)
            raise

    def _check_version(self, place: _Place, lease: Lease) -> None:
        stored = self._records.load(place.path, place.session_id)
        if (None if stored is None else stored.version) != lease.version:
            raise answers.lost(self.name, place.session_id)

    def _release(self, place: _Place, lease: Lease) -> None:
        with self._leases.locked(place.shard, place.session_id) as leases:
            if leases.holds(place.session_id, lease):
                leases.free(place.session_id)
                leases.save()

    def _renew(self, shard: int, some: list[Lease]) -> list[Lease]:
        with self._leases.locked(shard) as leases:
            lost = [lease for lease in some if not leases.renew(lease.session_id, lease)]
            if len(lost) < len(some):
                leases.save()
        return lost

    def _destroy(self, place: _Place, lease: Lease | None) -> None:
        with self._leases.locked(place.shard, place.session_id) as leases:
            if lease is None:
                if leases.free(place.session_id):
                    leases.save()  # first: a turn's commit from now on is refused
                self._records.remove(place.path, place.session_id)
            else:
                leases.check(place.session_id, lease)
                self._records.remove(place.path, place.session_id)
                leases.free(place.session_id)
                self._save_after_the_fact(leases)

    def _save_after_the_fact(self, leases: LockedLeases) -> None:
        """Give a lease back, or renew it, when what it was for is done, whatever becomes of it."""
        try:
            leases.save()
        except SessionStoreUnavailable as error:
            logger.warning("A lease was not given back, and will run out: %s", error)


class _Place(NamedTuple):
    """Where a session is: in which file, and its lease in which shard."""

    session_id: str
    path: str
    shard: int


_opened: WeakSet[FileSessionStore] = WeakSet()


def _close_after_fork() -> None:
    for store in list(_opened):
        store._after_fork()  # noqa: SLF001 - a module may know its own
    _opened.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_after_fork)
