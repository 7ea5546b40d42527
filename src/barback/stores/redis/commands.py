"""Commands as they go over the wire to a Redis or Valkey server."""

from __future__ import annotations

from typing import Any, Final

from barback.extras import needs_extra

with needs_extra("redis"):
    from hiredis import pack_command

__all__ = ["ARGUMENT", "form", "pack"]

_pack: Any = pack_command  # its own type hints know commands of one word only

ARGUMENT: Final = b"$%d\r\n%b\r\n"
"""Where an argument goes in a form: its length in bytes, and itself."""


def pack(*arguments: bytes | str | int) -> bytes:
    """A command."""
    packed: bytes = _pack(arguments)
    return packed


def form(*words: str | bytes) -> bytes:
    """A command that is yet to be filled in, by `%`, in half the time that `pack` takes.

    A text is a word as it stands; bytes are an `ARGUMENT`, or an argument in several parts.
    """
    written = [
        word if isinstance(word, bytes) else (ARGUMENT % (len(word), word.encode()))
        for word in words
    ]
    return b"*%d\r\n" % len(words) + b"".join(written)
