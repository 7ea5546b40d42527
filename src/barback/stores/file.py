"""The file store: one readable JSON file per session, for the one process that has the folder."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import re
import secrets
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, ClassVar, Final, TypeVar, TypeVarTuple
from urllib.parse import unquote

import msgspec

from barback.errors import (
    CommitUnknown,
    ConfigurationError,
    SessionStoreUnavailable,
    SessionTooNew,
    SessionUnreadable,
)
from barback.record import Record
from barback.stores.base import ONE_YEAR, ListedStore, duration
from barback.stores.folder import NO_LOCK, give_lock_back, make_folder, names, sync, take_lock
from barback.stores.url import parse_url

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from datetime import timedelta
    from typing import Self

__all__ = ["FileSessionStore"]

logger = logging.getLogger("barback")

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

LOCK: Final = ".lock"
GITIGNORE: Final = ".gitignore"
UNREADABLE: Final = "unreadable"
OURS: Final = re.compile(r"[a-z0-9_-]{0,40}-[0-9a-f]{64}\.json")
ASIDE: Final = re.compile(r"(\.gitignore|[a-z0-9_-]+(\.[0-9a-f]{16})?\.json)\.[0-9a-f]{16}\.tmp")
PAGE: Final = 64

# Windows refuses to replace a file that another thread is reading.
WORKERS: Final = 1 if os.name == "nt" else 4


class FileSessionStore(ListedStore):
    """Sessions as files that a person can read, in a folder that one process has to itself.

    - `dirname`: the folder, `.sessions` unless set; made if it is absent. A relative one starts
      at the working directory of the moment the store is made.
    - `expires_in`: minutes or a timedelta after a session's last activity, one year unless set;
      None is never.

    Durability: a write that has returned survives a crash of the process and, as far as the disk
    keeps what `fsync` gives it, of the machine. A session is its old self or its new one, never
    half of each. The folder must be on a disk of this machine: locks and `fsync` mean less on
    some network file systems.

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
    ) -> None:
        self.dirname = os.fspath(dirname)
        if not self.dirname or "\0" in self.dirname:
            message = f"A file store needs the name of a folder, not {self.dirname!r}."
            raise ConfigurationError(message)
        self.expires_in = duration(expires_in)
        self._folder = Path(self.dirname).absolute()
        self._lock_path = self._folder / LOCK
        self._workers: tuple[ThreadPoolExecutor, ...] = ()
        self._lock = NO_LOCK
        self._reported: set[str] = set()

    @classmethod
    def from_url(cls, url: str) -> FileSessionStore:
        """Open `file:relative/folder` or `file:///absolute/folder`, percent-encoded where needed.

        It has one parameter, `expires_in` (minutes, or `never`). Raises `ConfigurationError`.
        """
        address, options = parse_url(url, allowed={"expires_in": float})
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
        """Make the folder, take it for this store alone, and clear away what a crash left.

        Raises `SessionStoreUnavailable` if another store has it, or if it cannot be written to.
        """
        if self._workers:
            return self
        workers = tuple(ThreadPoolExecutor(1, "barback-file") for _ in range(WORKERS))
        try:
            await _carry_out(workers[0], self._open)
        except BaseException:
            await asyncio.to_thread(self._let_go, workers)
            raise
        self._workers = workers
        return self

    async def close(self) -> None:
        """Finish what is under way, then give the folder back."""
        workers, self._workers = self._workers, ()
        if workers:
            await asyncio.shield(asyncio.to_thread(self._let_go, workers))

    async def read(self, session_id: str) -> Record | None:
        """See `SessionStore.read`."""
        return await self._run(session_id, self._load, self._path(session_id), session_id)

    async def write(self, session_id: str, record: Record) -> None:
        """See `SessionStore.write`. Raises `SessionUnreadable` rather than replace such a file."""
        await self._run(session_id, self._write, session_id, record)

    async def destroy(self, session_id: str) -> None:
        """See `SessionStore.destroy`. A file that cannot be understood is moved, not deleted."""
        await self._run(session_id, self._destroy, session_id)

    async def all(self, prefix: str = "") -> AsyncIterator[Record]:
        """See `ListedStore.all`. It holds the files' names, and the records of one page."""
        unreadable: list[str] = []
        for page in await self._run(prefix, self._page_names, prefix):
            for record in await self._run(page[0], self._read_page, page, unreadable):
                if record.id.startswith(prefix):
                    yield record
        if unreadable:
            message = (
                f"{len(unreadable)} sessions in {self._folder} cannot be read; the first is "
                f"{unreadable[0]}. Restore them from a copy, or destroy them."
            )
            raise SessionUnreadable(message, store=self.name)

    async def due(self, before: int, limit: int) -> list[Record]:
        """See `ListedStore.due`. Unreadable sessions are passed over, with a warning."""
        due: list[Record] = []
        for page in await self._run("", self._page_names, ""):
            due += [
                record
                for record in await self._run(page[0], self._read_page, page, [])
                if record.expired(before)
            ]
            if len(due) >= limit:
                break
        return due[:limit]

    # From here on everything but `_run` blocks, and runs on the workers' threads.

    async def _run(self, key: str, job: Callable[[*Ts], T], *arguments: *Ts) -> T:
        """Do `job` on a thread. Jobs with the same key are done in the order they were asked for.

        So a write whose task was cancelled can never overtake the session's next one.
        """
        if not self._workers:
            message = (
                f"The file store of {self._folder} is not open: use `async with store`, or await "
                f"its `init()` first."
            )
            raise self._unavailable(message)
        return await _carry_out(self._workers[hash(key) % len(self._workers)], job, *arguments)

    def _open(self) -> None:
        try:
            make_folder(self._folder)
            self._lock = take_lock(self._lock_path)
            for name in filter(ASIDE.fullmatch, names(self._folder)):
                (self._folder / name).unlink()
            # Written in any case: that the folder takes no files is best found out now.
            ignore = self._folder / GITIGNORE
            self._replace(str(ignore), ignore.read_bytes() if ignore.exists() else b"*\n")
        except BlockingIOError as error:
            message = (
                f"The folder {self._folder} is in use by another store, here or in another "
                f"process. Close that one first, or give each a folder of its own."
            )
            raise self._unavailable(message) from error
        except OSError as error:
            message = (
                f"The folder {self._folder} cannot hold sessions: {error.strerror}. Name a folder "
                f"that this process may make and write to, on a disk with room."
            )
            raise self._unavailable(message) from error
        self._reported.clear()

    def _let_go(self, workers: tuple[ThreadPoolExecutor, ...]) -> None:
        for worker in workers:
            worker.shutdown()
        if self._lock != NO_LOCK:
            give_lock_back(self._lock)
            self._lock = NO_LOCK

    def _path(self, session_id: str) -> str:
        # No Path: it would intern the name, which some Pythons then keep for ever.
        return os.path.join(self._folder, _file_name(session_id))

    def _write(self, session_id: str, record: Record) -> None:
        path = self._path(session_id)
        self._load(path, session_id)  # raises if it is unreadable, and so must not be replaced
        try:
            self._replace(path, _as_text(record))
        except OSError as error:
            message = (
                f"Session {session_id!r} was not written to {self._folder}: {error.strerror}. It "
                f"is as it was. See that the disk has room and lets this process write."
            )
            raise self._unavailable(message, session_id) from error
        self._make_durable(session_id)

    def _destroy(self, session_id: str) -> None:
        path = self._path(session_id)
        remove = partial(os.unlink, path)
        try:
            if self._load(path, session_id) is None:
                return
        except SessionTooNew:
            pass  # a session all the same
        except SessionUnreadable:
            remove = partial(self._set_aside, path)
        try:
            remove()
        except OSError as error:
            message = f"Session {session_id!r} was not destroyed: {error.strerror} ({path})."
            raise self._unavailable(message, session_id) from error
        self._make_durable(session_id)

    def _page_names(self, prefix: str) -> list[list[str]]:
        try:
            found = names(self._folder)
        except OSError as error:
            message = f"The folder {self._folder} cannot be listed: {error.strerror}."
            raise self._unavailable(message) from error
        self._check_folder()
        start = _readable(prefix)
        ours = [name for name in found if name.startswith(start) and OURS.fullmatch(name)]
        return [ours[first : first + PAGE] for first in range(0, len(ours), PAGE)]

    def _read_page(self, page: list[str], unreadable: list[str]) -> list[Record]:
        """The records in these files; the paths of those without one are added to `unreadable`."""
        records = []
        for name in page:
            path = os.path.join(self._folder, name)
            try:
                records.append(self._load(path, None))
            except SessionUnreadable:
                unreadable.append(path)
        return [record for record in records if record is not None]

    def _load(self, path: str, session_id: str | None) -> Record | None:
        """The record in a file, None if there is no file. With no id, the one inside is taken."""
        try:
            data = _content(path)
        except FileNotFoundError:
            data = None
        except OSError as error:
            if os.path.isdir(path):
                raise self._unreadable(path, None, session_id) from error
            message = f"The file {path} cannot be read now: {error.strerror}."
            raise self._unavailable(message, session_id) from error
        self._check_folder(session_id)
        return None if data is None else self._decode(path, data, session_id)

    def _decode(self, path: str, data: bytes, session_id: str | None) -> Record:
        record_id = _id_within(data) if session_id is None else session_id
        try:
            record = Record.decode(data, session_id=record_id, store=self.name)
        except SessionTooNew as error:
            message = f"{error} Its file is {path}."
            raise SessionTooNew(message, session_id=record_id, store=self.name) from error
        except SessionUnreadable as error:
            raise self._unreadable(path, data, session_id) from error
        if _file_name(record.id) != os.path.basename(path):
            raise self._unreadable(path, data, session_id)
        return record

    def _check_folder(self, session_id: str | None = None) -> None:
        """Raise unless the folder is still there, and still the one this store has locked.

        One that was moved away or unmounted holds no sessions: each would be taken for a new one.
        """
        try:
            lost = not os.path.samestat(self._lock_path.stat(), os.fstat(self._lock))
            cause = None
        except OSError as error:
            lost, cause = True, error
        if lost:
            message = (
                f"The folder {self._folder} is no longer the one that was opened: it was moved, "
                f"unmounted or replaced. Put it back, or open the store anew."
            )
            raise self._unavailable(message, session_id) from cause

    def _unreadable(
        self, path: str, data: bytes | None, session_id: str | None
    ) -> SessionUnreadable:
        """The error to raise; the first time for a file, also keep a copy of it and log it."""
        if path not in self._reported:
            self._reported.add(path)
            copied = "It is no file, and was not copied."
            if data is not None:
                # No link: whoever mends the file in place must not change what was found.
                try:
                    kept = self._kept(path, data)
                    self._replace(kept, data)
                    copied = f"A copy is {kept}."
                except OSError as error:
                    copied = f"It could not be copied: {error.strerror}."
            logger.warning("The session in %s is unreadable. %s", path, copied)
        who = "The session" if session_id is None else f"Session {session_id!r}"
        message = (
            f"{who} in {path} cannot be read. It is left as it is: restore the file from a copy, "
            f"or destroy the session to let it start anew."
        )
        return SessionUnreadable(message, session_id=session_id, store=self.name)

    def _set_aside(self, path: str) -> None:
        data = b"" if os.path.isdir(path) else _content(path)
        os.replace(path, self._kept(path, data))
        self._reported.discard(path)

    def _kept(self, path: str, data: bytes) -> str:
        """Where an unreadable file is kept: one place for each content it is found with."""
        folder = self._folder / UNREADABLE
        folder.mkdir(mode=0o700, exist_ok=True)
        found = Path(path).stem
        return str(folder / f"{found}.{hashlib.sha256(data).hexdigest()[:16]}.json")

    def _replace(self, path: str, data: bytes) -> None:
        """Make `data` the content of a file, all or nothing. After an OSError, nothing is left."""
        aside = os.path.join(
            self._folder,
            f"{os.path.basename(path)}.{secrets.token_hex(8)}.tmp",
        )
        try:
            self._write_aside(aside, data)
            self._put_in_place(aside, path)
        except BaseException:
            with suppress(OSError):  # the next `init` clears it away
                os.unlink(aside)
            raise

    def _write_aside(self, aside: str, data: bytes) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        with os.fdopen(os.open(aside, flags, 0o600), "wb") as file:
            self._fill(file, data)
            os.fsync(file.fileno())

    def _fill(self, file: BinaryIO, data: bytes) -> None:
        file.write(data)
        file.flush()

    def _put_in_place(self, aside: str, path: str) -> None:
        os.replace(aside, path)

    def _make_durable(self, session_id: str) -> None:
        """See that a name just given or taken away outlives a crash of the machine."""
        try:
            sync(self._folder)
        except OSError as error:
            message = (
                f"Session {session_id!r} was changed in {self._folder}, but whether the change "
                f"would outlive a crash of the machine is not known: {error.strerror}."
            )
            raise CommitUnknown(message, session_id=session_id, store=self.name) from error

    def _unavailable(self, message: str, session_id: str | None = None) -> SessionStoreUnavailable:
        return SessionStoreUnavailable(message, session_id=session_id, store=self.name)


async def _carry_out(worker: ThreadPoolExecutor, job: Callable[[*Ts], T], *arguments: *Ts) -> T:
    """Do `job` on the worker's thread, to its end even if the awaiting task is cancelled."""
    return await asyncio.shield(asyncio.get_running_loop().run_in_executor(worker, job, *arguments))


def _content(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


class _Named(msgspec.Struct):
    id: str


_named = msgspec.json.Decoder(_Named)


def _id_within(data: bytes) -> str:
    try:
        return _named.decode(data).id
    except (msgspec.MsgspecError, RecursionError):
        return ""  # `Record.decode` will say what is wrong


def _file_name(session_id: str) -> str:
    """A name that is safe in every file system, and another for every id."""
    return f"{_readable(session_id)}-{hashlib.sha256(session_id.encode()).hexdigest()}.json"


def _readable(session_id: str) -> str:
    # One character for one, so that what ids begin with is what their names begin with. A leading
    # dash would look like an option to the commands a person may use on the files.
    return re.sub("^-|[^A-Za-z0-9_-]", "_", session_id)[:40].lower()


def _as_text(record: Record) -> bytes:
    """The record as lines that a person can read."""
    data = record.encode()
    # White space of the state's own would not come back from between those lines.
    if msgspec.json.format(record.state, indent=-1) == record.state:
        data = msgspec.json.format(data, indent=2)
    return data + b"\n"
