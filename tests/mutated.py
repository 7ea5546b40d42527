"""What a platform sends, with one part of it after another replaced by what it never sends."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

__all__ = ["mutated"]

JUNK: Final[tuple[Any, ...]] = (
    None,
    True,
    -1,
    2**70,
    1.5,
    "",
    "x/y%:",
    "\x00☕",
    [],
    [None, 5, []],
    {},
    {"id": {}},
)


def mutated(told: Any) -> Iterator[Any]:
    """The same, with each part in turn missing, or replaced by each kind of junk."""
    if isinstance(told, dict):
        for name in told:
            yield {key: value for key, value in told.items() if key != name}
            yield from ({**told, name: junk} for junk in JUNK)
            yield from ({**told, name: changed} for changed in mutated(told[name]))
    elif isinstance(told, list):
        for at, part in enumerate(told):
            yield [*told[:at], *told[at + 1 :]]
            yield from ([*told[:at], junk, *told[at + 1 :]] for junk in JUNK)
            yield from ([*told[:at], changed, *told[at + 1 :]] for changed in mutated(part))
