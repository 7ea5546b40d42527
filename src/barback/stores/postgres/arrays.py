"""Arrays as PostgreSQL sends and takes them in its binary format: nothing has to be escaped."""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["floats", "integers", "jsons", "texts"]

# The numbers by which PostgreSQL knows its types; they never change.
BIGINT: Final = 20
TEXT: Final = 25
JSON: Final = 114
FLOAT8: Final = 701

HEAD: Final = Struct("!iiiii").pack  # dimensions, whether there are NULLs, type, how many, from 1
SIZE: Final = Struct("!i").pack
SIZED_INTEGER: Final = Struct("!iq").pack
SIZED_FLOAT: Final = Struct("!id").pack
NULL: Final = SIZE(-1)


def texts(values: Sequence[bytes]) -> bytes:
    """A text[]."""
    return _array(TEXT, [SIZE(len(value)) + value for value in values])


def jsons(values: Sequence[bytes]) -> bytes:
    """A json[]."""
    return _array(JSON, [SIZE(len(value)) + value for value in values])


def integers(values: Iterable[int | None]) -> bytes:
    """A bigint[]."""
    return _array(BIGINT, [NULL if each is None else SIZED_INTEGER(8, each) for each in values])


def floats(values: Iterable[float | None]) -> bytes:
    """A float8[]."""
    return _array(FLOAT8, [NULL if each is None else SIZED_FLOAT(8, each) for each in values])


def _array(kind: int, values: list[bytes]) -> bytes:
    return HEAD(1, 1, kind, len(values), 1) + b"".join(values)
