"""Differences: where two states differ, and how such a place is written."""

from __future__ import annotations

import json
import re
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["MISSING", "Difference", "Path", "differences", "written"]

Path = tuple[str | int, ...]

MISSING: Final[Any] = object()
"""Where nothing is."""

PLAIN: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


class Difference(NamedTuple):
    """Where two states differ, and what they have there; one may have nothing, `MISSING`."""

    path: Path
    before: Any
    after: Any


def differences(before: Any, after: Any, path: Path = ()) -> Iterator[Difference]:
    """Every place where two values differ, the innermost there is."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted({*before, *after}):
            yield from _between(before.get(key, MISSING), after.get(key, MISSING), (*path, key))
    elif isinstance(before, list) and isinstance(after, list):
        yield from _in_lists(before, after, path)
    elif _spelt(before) != _spelt(after):
        yield Difference(path, before, after)


def written(path: Path) -> str:
    """A place as it is shown: `cart[0].name`, `["a key"]`."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        elif PLAIN.fullmatch(step):
            text += f".{step}" if text else step
        else:
            text += f"[{json.dumps(step, ensure_ascii=False)}]"
    return text or "state"


def _between(before: Any, after: Any, path: Path) -> Iterator[Difference]:
    if before is MISSING or after is MISSING:
        yield Difference(path, before, after)
    else:
        yield from differences(before, after, path)


def _in_lists(before: list[Any], after: list[Any], path: Path) -> Iterator[Difference]:
    """What was put in and taken out, rather than all that has moved by that."""
    if len(before) == len(after):
        for place, (old, new) in enumerate(zip(before, after, strict=True)):
            yield from differences(old, new, (*path, place))
        return
    matcher = SequenceMatcher(None, list(map(_spelt, before)), list(map(_spelt, after)), False)  # noqa: FBT003
    for kind, b0, b1, a0, a1 in matcher.get_opcodes():
        if kind == "equal":
            continue
        for step in range(max(b1 - b0, a1 - a0)):
            old = before[b0 + step] if b0 + step < b1 else MISSING
            new = after[a0 + step] if a0 + step < a1 else MISSING
            place = b0 + step if new is MISSING else a0 + step
            yield from _between(old, new, (*path, place))


def _spelt(value: Any) -> str:
    """Equal for equal values of equal types: 1 is neither true nor 1.0."""
    return json.dumps(value, sort_keys=True)
