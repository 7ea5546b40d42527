"""Differences: where two values of a state differ, and what of a stored one would be lost."""

from __future__ import annotations

import dataclasses
from typing import Any

import msgspec

__all__ = ["differing", "dropped", "parts"]


def differing(value: Any, other: Any, path: str = "state") -> str | None:
    """The path of the first place where two values differ; None if there is none.

    It looks into classes that compare by identity.
    """
    mine, theirs = parts(value), parts(other)
    if mine is None or type(value) is not type(other):
        return None if value == other else path
    assert theirs is not None  # noqa: S101 - it is of the same type
    if mine.keys() != theirs.keys():
        return path
    for step, part in mine.items():
        found = differing(part, theirs[step], path + step)
        if found is not None:
            return found
    return None


def dropped(before: Any, after: Any, value: Any, path: str = "state") -> str | None:
    """The path of the first key of a JSON value that it has no more, written anew from `value`.

    A field of the type may be missing all the same: its value is the default, and need not stand
    there.
    """
    if isinstance(before, dict) and isinstance(after, dict):
        inside = _by_key(value)
        for key, part in before.items():
            step = f"{path}[{key!r}]" if isinstance(value, dict) else f"{path}.{key}"
            if key in after:
                found = dropped(part, after[key], inside.get(key), step)
            else:
                found = None if key in inside else step
            if found is not None:
                return found
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        items = value if isinstance(value, (list, tuple)) else [None] * len(before)
        for index, parts_of in enumerate(zip(before, after, items, strict=False)):
            found = dropped(*parts_of, f"{path}[{index}]")
            if found is not None:
                return found
    return None


def parts(value: Any) -> dict[str, Any] | None:
    """What a value is made of, by the step that leads there; None if it is a value of its own."""
    if isinstance(value, dict):
        return {f"[{key!r}]": part for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return {f"[{index}]": part for index, part in enumerate(value)}
    fields = _fields(value)
    return None if fields is None else {f".{name}": getattr(value, name) for name in fields}


def _by_key(value: Any) -> dict[str, Any]:
    """The parts of an object or a dict, by the key they have in JSON."""
    if isinstance(value, dict):
        return value
    if isinstance(value, msgspec.Struct):
        names = zip(value.__struct_encode_fields__, value.__struct_fields__, strict=True)
        return {key: getattr(value, name) for key, name in names}
    return {name: getattr(value, name) for name in _fields(value) or ()}


def _fields(value: Any) -> list[str] | None:
    if isinstance(value, msgspec.Struct):
        return list(value.__struct_fields__)
    if dataclasses.is_dataclass(value):
        return [field.name for field in dataclasses.fields(value)]
    if hasattr(value, "__pydantic_fields__"):
        return [*type(value).__pydantic_fields__, *(value.__pydantic_extra__ or ())]
    return None
