"""The file store: one readable JSON file per session, for the processes of one machine."""

from __future__ import annotations

import asyncio
import os
import re
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar, TypeVarTuple
from urllib.parse import unquote

from barback.errors import ConfigurationError, SessionStoreUnavailable, SessionUnreadable
from barback.options import seconds
from barback.stores import answers
from barback.stores.base import ONE_YEAR, LeasedStore, duration
from barback.stores.ferry import Ferry
from barback.stores.file.leases import SHARDS
from barback.stores.file.records import RecordFiles, as_text, file_path
from barback.stores.file.sessions import Job, Place, SessionFiles
from barback.stores.forks import tell_when_forked
from barback.stores.url import parse_url
from barback.stores.worker import Worker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
    from datetime import timedelta
    from typing import Self

    from barback.record import Record
    from barback.stores.base import Lease
    from barback.stores.operation import Operation

__all__ = ["FileSessionStore"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

TOGETHER: Final = 128  # operations of one trip, each of which may have a file open


class FileSessionStore(LeasedStore):
    """Sessions as files that a person can read, in a folder that processes of one machine share.

    - `dirname`: the folder, `.sessions` unless set; made if it is absent. A relative one starts
      at the working directory of the moment the store is made.
    - `expires_in`: minutes or a timedelta after a session's last activity, one year unless set;
      None is never.
    - `timeout`: seconds, from when it was asked for, in which an operation of another process on
      the same session, or on one of its neighbours, must have let this one begin: 5 unless set.
      Only a process that has been stopped half-way takes that long; then
      `SessionStoreUnavailable` is raised.

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
        max_age: float | timedelta | None = None,
        timeout: float = 5.0,
    ) -> None:
        name = os.fspath(dirname) if isinstance(dirname, os.PathLike) else dirname
        if not isinstance(name, str) or not name or "\0" in name:
            message = f"A file store needs the name of a folder, not {name!r}."
            raise ConfigurationError(message)
        if name.startswith("file:"):
            message = "A file store is made of a folder's name; open_store opens a URL."
            raise ConfigurationError(message)
        self.dirname = self.where = name
        self.expires_in = duration(expires_in)
        self.max_age = duration(max_age, "max_age")
        self.timeout = seconds(timeout, "timeout")
        self._folder = Path(self.dirname).absolute()
        self._folder_name = str(self._folder)
        self._new_files = partial(
            SessionFiles, self.name, self._folder, timeout=self.timeout, records=RecordFiles
        )
        self._files: SessionFiles  # of its opening, as are the threads
        self._lister: Worker
        self._worker: Worker | None = None
        self._ferry: Ferry[Job]
        self._closing: Operation[None] | None = None
        tell_when_forked(self)

    @classmethod
    def from_url(cls, url: str) -> FileSessionStore:
        """Open `file:relative/folder` or `file:///absolute/folder`, percent-encoded where needed.

        Its parameters are `expires_in` (minutes, or `never`) and `timeout` (seconds). Raises
        `ConfigurationError`.
        """
        address, options = parse_url(
            url, allowed={"expires_in": float, "max_age": float, "timeout": float}
        )
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
        if self._worker is not None:
            return self
        # Those of an earlier opening may still be at work, if its closing was cancelled.
        files, worker, lister = (
            self._new_files(),
            Worker("barback-file"),
            Worker("barback-file-list"),
        )
        opening = self._do(worker, files.open)
        try:
            await opening
        except BaseException:
            await worker.finish(_shut, files, lister)
            raise
        if self._worker is not None:  # somebody else has opened it meanwhile
            await worker.finish(_shut, files, lister)
            return self
        self._files, self._worker, self._lister = files, worker, lister
        self._ferry = Ferry(worker, files.carry, size=TOGETHER)
        return self

    async def close(self) -> None:
        """Finish what is under way, then leave the folder to the others.

        A closing that is cancelled goes on by itself, and the next one waits for it.
        """
        worker, self._worker = self._worker, None
        if worker is not None:
            self._closing = self._ferry.close(partial(_shut, self._files, self._lister))
            await self._closing
        elif self._closing is not None:
            await self._closing.done()

    async def must_exist(self) -> None:
        """See `LeasedStore.must_exist`."""
        if not await asyncio.to_thread(os.path.exists, self._folder):
            raise answers.unavailable(
                self.name, f"finds no folder {self._folder}. Name one that is there"
            )

    def checkout(self, session_id: str, lease: Lease) -> Awaitable[Record | None]:
        """See `LeasedStore.checkout`."""
        return self._ask(SessionFiles.checkout, session_id, lease)

    def commit(self, record: Record, lease: Lease, *, keep: bool = False) -> Awaitable[None]:
        """See `LeasedStore.commit`. Raises `SessionUnreadable` rather than replace such a file."""
        text = as_text(record)  # here: what cannot be made text of is nothing to the others
        return self._ask(SessionFiles.commit, record.id, text, record.version, lease, keep)

    def release(self, session_id: str, lease: Lease) -> Awaitable[None]:
        """See `LeasedStore.release`."""
        return self._ask(SessionFiles.release, session_id, lease)

    async def renew(self, leases: Sequence[Lease]) -> list[Lease]:
        """See `LeasedStore.renew`. Where it fails for one, the others are renewed all the same."""
        shards: dict[int, list[Lease]] = {}
        for lease in leases:
            shards.setdefault(self._place(lease.session_id).shard, []).append(lease)
        jobs = [self._ask(SessionFiles.renew, some[0].session_id, some) for some in shards.values()]
        lost: list[Lease] = []
        for answer in await asyncio.gather(*jobs, return_exceptions=True):
            if isinstance(answer, BaseException):
                raise answer
            lost += answer
        return lost

    def destroy(self, session_id: str, lease: Lease | None) -> Awaitable[None]:
        """See `LeasedStore.destroy`. A file that cannot be understood is moved, not deleted."""
        return self._ask(SessionFiles.destroy, session_id, lease)

    async def all(self, prefix: str = "") -> AsyncIterator[Record]:
        """See `LeasedStore.all`. It holds the files' names, and the records of one page."""
        unreadable: list[str] = []
        for page in await self._list(SessionFiles.pages, prefix):
            for record in await self._list(SessionFiles.read_page, page, unreadable):
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
        for page in await self._list(SessionFiles.pages, ""):
            records = await self._list(SessionFiles.read_page, page, [])
            due += [record for record in records if record.expired(before)]
            if len(due) >= limit:
                break
        return due[:limit]

    def _place(self, session_id: str) -> Place:
        path = file_path(self._folder_name, session_id)
        last_byte_of_hash = int(path.removesuffix(".json")[-2:], 16)
        return Place(session_id, path, last_byte_of_hash % SHARDS)

    def _ask(
        self, do: Callable[..., object], session_id: str, *arguments: object
    ) -> Operation[Any]:
        """Have `do` done on the thread; what is asked of one session, in the order of asking.

        So a commit whose task was cancelled cannot overtake what the session is asked for next.
        """
        place = self._place(session_id)
        job = Job(asyncio.get_running_loop(), do, place, arguments)
        try:
            if self._worker is None:
                raise self._not_open()
            return self._ferry.ask(job)
        except RuntimeError as error:
            job.fail(self._no_thread(error))
        except SessionStoreUnavailable as error:
            job.fail(error)
        return job

    async def _list(self, job: Callable[[SessionFiles, *Ts], T], *arguments: *Ts) -> T:
        """Listing has a thread to itself, and keeps no session waiting."""
        if self._worker is None:
            raise self._not_open()
        return await self._do(self._lister, job, self._files, *arguments)

    def _not_open(self) -> SessionStoreUnavailable:
        message = (
            f"The file store of {self._folder} is not open: use `async with store`, or await its "
            f"`init()` first."
        )
        return SessionStoreUnavailable(message, store=self.name)

    def _do(self, worker: Worker, job: Callable[[*Ts], T], *arguments: *Ts) -> Operation[T]:
        try:
            return worker.do(job, *arguments)
        except RuntimeError as error:
            raise self._no_thread(error) from error

    def _no_thread(self, error: RuntimeError) -> SessionStoreUnavailable:
        what = f"cannot start a thread ({error}): see whether this process is at its limit"
        refusal = answers.unavailable(self.name, what)
        refusal.__cause__ = error
        return refusal

    def forked(self) -> None:
        """In a forked child, which has neither its parent's threads nor its users: be closed."""
        self._worker = self._closing = None
        self._users, self._door = 0, None


def _shut(files: SessionFiles, lister: Worker) -> None:
    """On the worker's own thread, as its last job."""
    lister.close()
    files.close()
