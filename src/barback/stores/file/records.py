"""Records in files: one that a person can read for each session, whole at every moment."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import secrets
from contextlib import suppress
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Final, TypeAlias

import msgspec

from barback.errors import (
    CommitUnknown,
    SessionStoreUnavailable,
    SessionTooNew,
    SessionUnreadable,
)
from barback.record import Record
from barback.stores.file.aside import Aside, Flushers
from barback.stores.folder import (
    Folder,
    content,
    content_and_status,
    names,
    put_in_place,
    sync,
)

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

__all__ = ["OURS", "RecordFiles", "Sight", "as_text", "file_name", "file_path"]

logger = logging.getLogger("barback")

GITIGNORE: Final = ".gitignore"
UNREADABLE: Final = "unreadable"
OURS: Final = re.compile(r"[a-z0-9_-]{0,40}-[0-9a-f]{64}\.json")
ASIDE: Final = re.compile(r"(\.gitignore|[a-z0-9_-]+(\.[0-9a-f]{16})?\.json)\.[0-9a-f]{16}\.tmp")
PAGE: Final = 64

Sight: TypeAlias = tuple[int, ...] | None
"""Which file was seen, and in which state; None: there was no file."""


class RecordFiles:
    """The sessions of a folder in files. Whoever changes one has to see that nobody else does.

    A file that cannot be understood is never taken for a missing session and never overwritten.

    Everything blocks, and raises `SessionStoreUnavailable` for whatever the disk refuses.
    """

    def __init__(self, store: str, folder: Path) -> None:
        self._store = store
        self._folder = folder
        self._home = Folder(folder, ASIDE)
        self._reported: set[str] = set()
        self._flushers = Flushers()
        self._doubts = 0
        self._settled = 0

    def open(self, timeout: float) -> None:
        """Make the folder, and join those who have it open, within `timeout` seconds."""
        try:
            self._home.open(timeout)
            # Written in any case: that the folder takes no files is best found out now.
            ignore = self._folder / GITIGNORE
            self._replace(str(ignore), ignore.read_bytes() if ignore.exists() else b"*\n")
        except BlockingIOError as error:
            message = (
                f"The folder {self._folder} is being opened by another process, which does not "
                f"get on with it: see whether it has been stopped, and let it go on or end it."
            )
            raise self._unavailable(message) from error
        except OSError as error:
            message = (
                f"The folder {self._folder} cannot hold sessions: {error.strerror}. Name a folder "
                f"that this process may make and write to, on a disk with room."
            )
            raise self._unavailable(message) from error
        self._reported.clear()

    def close(self, *, forked: bool = False) -> None:
        """Leave the folder to the others; in a forked child, forget that the parent has it open."""
        if not forked:
            self._flushers.close()
        self._home.close(forked=forked)

    def check_folder(self, session_id: str | None = None) -> None:
        """Raise unless the folder is still there, and still the one that was opened."""
        try:
            self._home.check()
        except OSError as error:
            message = (
                f"The folder {self._folder} is no longer the one that was opened: it was moved, "
                f"unmounted or replaced. Put it back, or open the store anew."
            )
            raise self._unavailable(message, session_id) from error

    def load(self, path: str, session_id: str | None) -> Record | None:
        """The record in a file, None if there is no file. With no id, the one inside is taken.

        Raises `SessionUnreadable`; when it does so for the first time for a file, it also keeps a
        copy of it and logs that.
        """
        return self.look(path, session_id)[0]

    def look(self, path: str, session_id: str | None) -> tuple[Record | None, Sight]:
        """`load`, and how the file is told from what takes its place, or is made of it."""
        try:
            found = content_and_status(path)
        except FileNotFoundError:
            found = None
        except OSError as error:
            if os.path.isdir(path):
                raise self._unreadable(path, None, session_id) from error
            message = f"The file {path} cannot be read now: {error.strerror}."
            raise self._unavailable(message, session_id) from error
        self.check_folder(session_id)
        self._settle(session_id)
        if found is None:
            return None, None
        data, status = found
        return self._decode(path, data, session_id), _sight(status)

    def sight(self, path: str) -> Sight:
        """How the file is told from others now: as `look` says, without reading it."""
        try:
            return _sight(os.stat(path))
        except OSError:
            return None

    def prepare(self, written: Iterable[tuple[str, bytes]]) -> list[Aside]:
        """Write each text to a file aside; the disk is waited for once they are all begun.

        What cannot be written keeps none of the others from it: see `check_written`.
        """
        asides = [self._begin(path, text) for path, text in written]
        self._flushers.flush(asides)
        return asides

    def check_written(self, aside: Aside, session_id: str) -> None:
        """Raise unless the file aside is whole, and on the disk."""
        if aside.error is not None:
            raise self._not_written(session_id, aside.error) from aside.error

    def put_in_place(self, aside: Aside, path: str, session_id: str) -> None:
        """Put the file aside in the place of the session's file, all or nothing."""
        try:
            self._put_in_place(aside.path, path)
        except OSError as error:
            raise self._not_written(session_id, error) from error

    def make_durable(self, session_ids: Iterable[str]) -> dict[str, CommitUnknown]:
        """See that the names just given or taken away outlive a crash of the machine.

        Where that is not known, it is the error of each, and the next look sees to it once more.
        """
        try:
            sync(self._folder)
        except Exception as error:  # noqa: BLE001 - whatever it was, nobody knows
            self._doubts += 1
            return {session_id: self._doubtful(session_id, error) for session_id in session_ids}
        return {}

    def settle(self) -> None:
        """See that all that anybody has changed here, also who died since, outlives a crash."""
        self._doubts += 1
        self._settle(None)

    def remove(self, path: str, session_id: str) -> None:
        """Remove the session's file if there is one. One that is unreadable is moved instead."""
        remove = partial(os.unlink, path)
        try:
            if self.load(path, session_id) is None:
                return
        except SessionTooNew:
            pass  # a session all the same
        except SessionUnreadable:
            remove = partial(self._set_apart, path)
        try:
            remove()
        except OSError as error:
            message = f"Session {session_id!r} was not destroyed: {error.strerror} ({path})."
            raise self._unavailable(message, session_id) from error
        for unknown in self.make_durable([session_id]).values():
            raise unknown

    def pages(self, prefix: str) -> list[list[str]]:
        """The names of all files whose ids may start with `prefix`, some at a time."""
        try:
            found = names(self._folder)
        except OSError as error:
            message = f"The folder {self._folder} cannot be listed: {error.strerror}."
            raise self._unavailable(message) from error
        self.check_folder()
        start = _readable(prefix)
        ours = [name for name in found if name.startswith(start) and OURS.fullmatch(name)]
        return [ours[first : first + PAGE] for first in range(0, len(ours), PAGE)]

    def read_page(self, page: list[str], unreadable: list[str]) -> list[Record]:
        """The records in these files; the paths of those without one are added to `unreadable`."""
        records = []
        for name in page:
            path = os.path.join(self._folder, name)
            try:
                records.append(self.load(path, None))
            except SessionUnreadable:
                unreadable.append(path)
        return [record for record in records if record is not None]

    def _decode(self, path: str, data: bytes, session_id: str | None) -> Record:
        record_id = _id_within(data) if session_id is None else session_id
        try:
            record = Record.decode(data, session_id=record_id, store=self._store)
        except SessionTooNew as error:
            message = f"{error} Its file is {path}."
            raise SessionTooNew(message, session_id=record_id, store=self._store) from error
        except SessionUnreadable as error:
            raise self._unreadable(path, data, session_id) from error
        if session_id is None and file_name(record.id) != os.path.basename(path):
            raise self._unreadable(path, data, session_id)
        return record

    def _unreadable(
        self, path: str, data: bytes | None, session_id: str | None
    ) -> SessionUnreadable:
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
        return SessionUnreadable(message, session_id=session_id, store=self._store)

    def _set_apart(self, path: str) -> None:
        data = b"" if os.path.isdir(path) else content(path)
        put_in_place(path, self._kept(path, data))
        self._reported.discard(path)

    def _kept(self, path: str, data: bytes) -> str:
        """Where an unreadable file is kept: one place for each content it is found with."""
        folder = os.path.join(self._folder, UNREADABLE)
        with suppress(FileExistsError):
            os.mkdir(folder, mode=0o700)
        found = os.path.basename(path).removesuffix(".json")
        return os.path.join(folder, f"{found}.{hashlib.sha256(data).hexdigest()[:16]}.json")

    def _replace(self, path: str, data: bytes) -> None:
        """Make `data` the content of a file, all or nothing. After an OSError, nothing is left."""
        aside = self._begin(path, data)
        aside.flush()
        if aside.error is not None:
            raise aside.error
        try:
            self._put_in_place(aside.path, path)
        except BaseException:
            aside.discard()
            raise

    def _begin(self, path: str, data: bytes) -> Aside:
        name = f"{os.path.basename(path)}.{secrets.token_hex(8)}.tmp"
        aside = Aside(os.path.join(self._folder, name))
        aside.write(partial(self._fill, data=data))
        return aside

    def _fill(self, descriptor: int, data: bytes) -> None:
        while data:
            data = data[os.write(descriptor, data) :]

    def _put_in_place(self, aside: str, path: str) -> None:
        put_in_place(aside, path)

    def _settle(self, session_id: str | None) -> None:
        """What is read is to outlive a crash: if a flush of the folder has failed, do it now."""
        doubts = self._doubts
        if doubts == self._settled:
            return
        try:
            sync(self._folder)
        except OSError as error:
            message = (
                f"What was changed in {self._folder} would perhaps not outlive a crash of the "
                f"machine: {error.strerror}. See to its disk."
            )
            raise self._unavailable(message, session_id) from error
        self._settled = max(self._settled, doubts)

    def _doubtful(self, session_id: str, error: Exception) -> CommitUnknown:
        message = (
            f"Session {session_id!r} was changed in {self._folder}, but whether the change would "
            f"outlive a crash of the machine is not known: {_reason(error)}."
        )
        unknown = CommitUnknown(message, session_id=session_id, store=self._store)
        unknown.__cause__ = error
        return unknown

    def _not_written(self, session_id: str, error: Exception) -> SessionStoreUnavailable:
        message = (
            f"Session {session_id!r} was not written to {self._folder}: {_reason(error)}. It is as "
            f"it was. See that the disk has room and lets this process write."
        )
        return self._unavailable(message, session_id)

    def _unavailable(self, message: str, session_id: str | None = None) -> SessionStoreUnavailable:
        return SessionStoreUnavailable(message, session_id=session_id, store=self._store)


class _Named(msgspec.Struct):
    id: str


_named = msgspec.json.Decoder(_Named)


def _id_within(data: bytes) -> str:
    try:
        return _named.decode(data).id
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return ""  # `Record.decode` will say what is wrong


def _reason(error: Exception) -> str:
    said = error.strerror if isinstance(error, OSError) else None
    return said or type(error).__name__


def _sight(status: os.stat_result) -> Sight:
    times = status.st_mtime_ns, status.st_ctime_ns
    return status.st_dev, status.st_ino, status.st_size, *times


def file_path(folder: str, session_id: str) -> str:
    """Where the session's file is, if there is one."""
    # No Path: it would intern the name, which some Pythons then keep for ever.
    return os.path.join(folder, file_name(session_id))


@lru_cache(1024)  # each operation on a session asks for it
def file_name(session_id: str) -> str:
    """A name that is safe in every file system, and another for every id."""
    return f"{_readable(session_id)}-{hashlib.sha256(session_id.encode()).hexdigest()}.json"


def _readable(session_id: str) -> str:
    # One character for one, so that what ids begin with is what their names begin with. A leading
    # dash would look like an option to the commands a person may use on the files.
    return re.sub("^-|[^A-Za-z0-9_-]", "_", session_id)[:40].lower()


def as_text(record: Record) -> bytes:
    """The record as lines that a person can read."""
    data = record.encode()
    # White space of the state's own would not come back from between those lines.
    if msgspec.json.format(record.state, indent=-1) == record.state:
        data = msgspec.json.format(data, indent=2)
    return data + b"\n"
