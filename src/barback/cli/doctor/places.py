"""Places on a disk: who may read what is there, and how much room there is."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from barback.cli.doctor.findings import Findings

__all__ = ["look_at_file", "look_at_folder", "look_where_it_will_be"]

OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
LEAST: Final = 256 * 1024 * 1024  # bytes that should be free


def look_at_folder(findings: Findings, name: str) -> None:
    """At the folder of a file store."""
    folder = Path(name).absolute()
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        findings.fail("folder", f"It may not be written to: {folder}.", f"chown or chmod {folder}")
    else:
        _look_at_mode(findings, "folder", folder, "700")
    _look_at_room(findings, folder)


def look_at_file(findings: Findings, name: str) -> None:
    """At the file of a SQLite store, whose neighbours are made beside it."""
    if name == ":memory:":
        says = "Sessions are in memory: they end with the process."
        findings.warn("file", says, "Name a file: sqlite:///sessions.db.")
        return
    file = Path(name).absolute()
    if not (os.access(file, os.R_OK | os.W_OK) and os.access(file.parent, os.W_OK | os.X_OK)):
        advice = (
            f"chown or chmod {file}, and the folder it is in: SQLite makes two files beside it."
        )
        findings.fail("file", f"It may not be written to: {file}.", advice)
        return
    _look_at_mode(findings, "file", file, "600")
    with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as database:
        (mode,) = database.execute("PRAGMA journal_mode").fetchone()
    if mode == "wal":
        findings.ok("journal", "WAL: readers and writers do not wait for each other")
    else:
        advice = "Is the file on a network's file system? Put it on a disk of this machine."
        findings.fail("journal", f"It is {mode}, and not WAL.", advice)
    _look_at_room(findings, file.parent)


def look_where_it_will_be(findings: Findings, name: str, missing: str) -> None:
    """At the place of a store that nobody has made yet: `missing` says so."""
    folder = Path(name).absolute().parent
    while not folder.exists():
        folder = folder.parent
    if folder.is_dir() and os.access(folder, os.W_OK | os.X_OK):
        findings.warn("store", missing, "A bot makes it when it is started first.")
    else:
        advice = f"A bot could not make it there: see who may write to {folder}."
        findings.fail("store", missing, advice)


def _look_at_mode(findings: Findings, what: str, place: Path, mode: str) -> None:
    if os.name != "nt" and place.stat().st_mode & OTHERS:
        says = f"Others on this machine may read what people have said: {place}."
        findings.warn(what, says, f"chmod {mode} {place}")
    else:
        findings.ok(what, f"its owner's alone: {place}")


def _look_at_room(findings: Findings, folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    says = f"{free / 1024**3:,.1f} GiB free"
    if free < LEAST:
        findings.warn("disk", f"{says}.", "On a full disk nothing is committed: make room.")
    else:
        findings.ok("disk", says)
