"""What the command says, and what it keeps to itself."""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from barback.extras import needs_extra

with needs_extra("cli"):
    import click

if TYPE_CHECKING:
    from typing import TextIO

__all__ = [
    "INTERRUPTED",
    "TERMINATED",
    "complain",
    "mute",
    "named",
    "note",
    "printable",
    "shown",
    "tell",
    "without_secrets",
]

INTERRUPTED: Final = 130
"""The exit status after Ctrl-C, as shells have it."""

TERMINATED: Final = 143
"""The exit status after SIGTERM."""

SECRET: Final = re.compile(
    r"""(pass|pwd|secret|token|key|auth|cred)[\w-]*["']?\s*[=:].*""", re.IGNORECASE
)

PLAIN: Final = re.compile(r"[A-Za-z0-9_.:/@#%+=,~-]+")
"""Ids that a shell takes as they are."""


def tell(text: str) -> None:
    """Say on standard output what was done. Where that cannot be written to, the command ends."""
    try:
        click.echo(text)
    except OSError as error:
        mute(sys.stdout)
        if not isinstance(error, BrokenPipeError):  # who stopped reading knows it
            note(f"Standard output cannot be written to: {error.strerror}.")
        raise click.exceptions.Exit(1) from error


def complain(error: object, advice: str = "") -> None:
    """Say on standard error, in one line and without a password, what went wrong.

    `advice` is said as it is.
    """
    note(f"{without_secrets(error)} {advice}".rstrip())


def without_secrets(error: object) -> str:
    """What went wrong, in one line and without a password.

    What stands after a password may be more of it, and is left out.
    """
    text = " ".join(str(error).split())
    start, slashes, rest = text.partition("://")
    if slashes:
        text = f"{start}{slashes}{_bare(rest)}"
    return SECRET.sub(lambda found: f"{re.split('[=:]', found[0])[0].rstrip()}=***", text)


def note(text: str) -> None:
    """Say on standard error, in one line, what holds no password."""
    try:
        click.echo(" ".join(text.split()), err=True)
    except OSError:  # then nobody is told
        mute(sys.stderr)


def named(session_id: str) -> str:
    """A session's id as it may be shown: ids come from strangers, and could talk to a terminal.

    As a shell takes it, so that it can be copied to the next command: as it is, in quotes if need
    be; otherwise in the quotes in which bash, zsh and ksh know escapes.
    """
    if PLAIN.fullmatch(session_id):
        return session_id
    if session_id.isprintable() and _has_signs_for(session_id):
        return shlex.quote(session_id)
    return f"$'{''.join(map(_in_quotes, session_id))}'"


def _in_quotes(character: str) -> str:
    if character in "\\'":
        return f"\\{character}"
    if character.isascii() and character.isprintable():
        return character
    number = ord(character)
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"  # noqa: PLR2004


def printable(text: str) -> str:
    """A text that keeps its lines, and in which all else that does not print is escaped.

    What standard output has no signs for is escaped as well.
    """
    if not _has_signs_for(text):
        text = "".join(each if each.isascii() else _escaped(each) for each in text)
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() or each == "\n" else _escaped(each) for each in text)


def _has_signs_for(text: str) -> bool:
    """Whether standard output can be sent a text."""
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "ascii")
    except UnicodeEncodeError:
        return False
    return True


def _escaped(character: str) -> str:
    return json.dumps(character)[1:-1]


def mute(stream: TextIO | None) -> None:
    """Let what a stream still holds, and all that will be written to it, go nowhere.

    Python would try once more to write it when it ends, and complain in its own words.
    """
    with suppress(AttributeError, OSError, ValueError):  # there is none, or it has no file
        number = stream.fileno()  # type: ignore[union-attr]
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, number)
        os.close(nowhere)


def shown(url: str) -> str:
    """A store's URL as it may be shown: with no user, no password and no options.

    A character in a password that should have been encoded makes it hide more, never less.
    """
    kind, colon, rest = url.partition(":")
    if rest.startswith("//"):
        return f"{kind}://{_bare(rest[2:])}"
    if kind == "file":
        address, mark, _ = rest.partition("?")
        return f"file:{address}?***" if mark else url
    return f"{kind}{colon}{_bare(rest)}"


def _bare(address: str) -> str:
    """What stands after a URL's slashes, without what may be a user, a password or an option."""
    place, *options = re.split("([?#])", address, maxsplit=1)
    if options and "@" in options[1]:  # the mark is part of a password, or the @ is of an option
        return "***"
    if "@" in place:
        place = f"***@{place.rpartition('@')[2]}"
    return f"{place}{options[0]}***" if options else place
