"""Differences: what a state has become, part by part."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["MISSING", "Difference", "differences"]

NAME: Final = re.compile(r"[^\W\d]\w*")


class _Missing:
    """There is no such part."""

    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = _Missing()


class Difference(msgspec.Struct, frozen=True):
    """One part that is another; `before` or `after` is `MISSING` where it was, or is, not there."""

    path: str
    before: Any
    after: Any


def differences(before: Any, after: Any, path: str = "") -> Iterator[Difference]:
    """What has changed, in the order of the keys, as deep as both have the same form.

    A path is written as one would get there: `cart[0].name`, `["a key"]`.
    """
    if isinstance(before, dict) and isinstance(after, dict):
        for key in {**before, **after}:
            parts = before.get(key, MISSING), after.get(key, MISSING)
            yield from differences(*parts, f"{path}{_step(key, path)}")
    elif isinstance(before, list) and isinstance(after, list):
        for index in range(max(len(before), len(after))):
            parts = (
                before[index] if index < len(before) else MISSING,
                after[index] if index < len(after) else MISSING,
            )
            yield from differences(*parts, f"{path}[{index}]")
    elif type(before) is not type(after) or before != after:  # True is not 1 here
        yield Difference(path, before, after)


def _step(key: str, path: str) -> str:
    if NAME.fullmatch(key) is None:
        return f"[{msgspec.json.encode(key).decode()}]"
    return f".{key}" if path else key
