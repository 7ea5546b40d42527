"""Differences: where two values of a state differ, and what of a stored one would be lost.

`==` is a class's own affair: it may say that a `StrEnum` is a `str`, leave out a field, raise, or
answer with an array. So values are compared part by part, and by their types.
"""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, time
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final, NamedTuple

import msgspec

__all__ = ["Difference", "differing", "dropped", "makes_more", "not_writable", "parts", "where"]

_ATOMS: Final = frozenset({str, int, bool, float, type(None)})
_MISSING: Final = object()
_LOST: Final = "is no field of its class, and would be lost"


class Difference(NamedTuple):
    """Where two values differ, such as `.cart[2].price`, and how, as the rest of a sentence."""

    path: str
    reason: str


_CHANGED: Final = Difference(
    "", "would not come back equal: JSON, or its class, makes something else of it"
)


def differing(value: Any, back: Any) -> Difference | None:
    """The first place where `value` is not what came `back`; None if there is none.

    An int is as good as the float that it is equal to. A time with a zone comes back as the same
    moment with the same offset.
    """
    kind = type(value)
    if kind is not type(back):
        if kind is int and type(back) is float and value == back:
            return None
        return Difference("", f"is of type {_name(value)}, and would come back as {_name(back)}")
    if kind in _ATOMS:
        return None if value == back else _CHANGED
    for kinds, compare in _CONTAINERS:
        if issubclass(kind, kinds):
            return compare(value, back)
    return _differing_objects(value, back)


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
        if isinstance(value, (set, frozenset)):
            return _dropped_from_set(before, after, value, path)
        items = value if isinstance(value, (list, tuple)) else [None] * len(before)
        for index, parts_of in enumerate(zip(before, after, items, strict=False)):
            found = dropped(*parts_of, f"{path}[{index}]")
            if found is not None:
                return found
    return None


def where(value: Any, wanted: Callable[[Any], bool], depth: int, path: str = "state") -> str | None:
    """The path of the first part of a value that is wanted, no more than `depth` levels deep."""
    if wanted(value):
        return path
    if depth:
        for step, part in (parts(value) or {}).items():
            found = where(part, wanted, depth - 1, path + step)
            if found is not None:
                return found
    return None


def not_writable(
    value: Any, write: Callable[[Any], object], depth: int, path: str = "state"
) -> str:
    """Where the value stands that cannot be written: as deep inside as can be told."""
    if depth:
        for step, part in (parts(value) or {}).items():
            try:
                write(part)
            except Exception:  # noqa: BLE001 - whatever it is, here or further inside it is
                return not_writable(part, write, depth - 1, path + step)
    return path


def parts(value: Any) -> dict[str, Any] | None:
    """What a value is made of, by the step that leads there; None if it is a value of its own."""
    if isinstance(value, dict):
        return {f"[{key!r}]": part for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return {f"[{index}]": part for index, part in enumerate(value)}
    if isinstance(value, (set, frozenset)):
        return {f"[{index}]": part for index, part in enumerate(value)}
    fields = _fields(value)
    if fields is None:
        return None
    return {f".{name}": getattr(value, name) for name in fields if hasattr(value, name)}


def _inside(step: str, value: Any, back: Any) -> Difference | None:
    """As `differing`, of what is a step inside: the path is put together for a difference only."""
    found = differing(value, back)
    return None if found is None else Difference(step + found.path, found.reason)


def _differing_objects(value: Any, back: Any) -> Difference | None:
    names = _fields(value)
    if names is None:
        return None if _alike(value, back) else _CHANGED
    for name in names:
        mine, theirs = getattr(value, name, _MISSING), getattr(back, name, _MISSING)
        if mine is theirs and type(mine) in _ATOMS:
            continue
        found = _inside(f".{name}", mine, theirs)
        if found is not None:
            return found
    stray = _stray(value, back, names)
    return None if stray is None else Difference(f".{stray}", _LOST)


def _differing_lists(value: Any, back: Any) -> Difference | None:
    if len(value) != len(back):
        return _CHANGED
    for index, (mine, theirs) in enumerate(zip(value, back, strict=True)):
        found = _inside(f"[{index}]", mine, theirs)
        if found is not None:
            return found
    return None


def _differing_dicts(value: Any, back: Any) -> Difference | None:
    if len(value) != len(back) or (isinstance(value, OrderedDict) and [*value] != [*back]):
        return _CHANGED
    keys = {key: key for key in back}
    for key, part in value.items():
        other = keys.get(key, _MISSING)
        if type(key) is not type(other):
            reason = f"has a key of type {_name(key)}, which would not come back as that"
            return Difference("", reason)
        found = _inside(f"[{key!r}]", part, back[key])
        if found is not None:
            return found
    return None


def _differing_sets(value: Any, back: Any) -> Difference | None:
    items = {item: item for item in back}
    for item in value:
        found = _inside("[...]", item, items.get(item, _MISSING))
        if found is not None:
            return _CHANGED if item not in items else found
    return None if len(value) == len(back) else _CHANGED


_CONTAINERS: Final = (
    (dict, _differing_dicts),
    ((list, tuple), _differing_lists),
    ((set, frozenset), _differing_sets),
)


def _alike(value: Any, back: Any) -> bool:
    """Whether two values of one type are the same, where none has parts."""
    if isinstance(value, (datetime, time)):
        # Not by ==: a time with a zone is never equal to another's, in the hour that comes twice.
        value, back = (_plainly(each) for each in (value, back))
    elif isinstance(value, Decimal):
        value, back = value.as_tuple(), back.as_tuple()  # which tells 1.0 from 1.00
    try:
        return bool(value == back)
    except Exception:  # noqa: BLE001 - it is a class's own, and may answer with an array
        return False


def _plainly(moment: datetime | time) -> tuple[Any, ...]:
    return moment.replace(tzinfo=None), moment.utcoffset(), moment.tzinfo is None


def _stray(value: Any, back: Any, names: Iterable[str]) -> str | None:
    """The first attribute that was assigned to an instance, and is none of its class's fields.

    What the class makes by itself, as it does for `back` too, or by a `cached_property`, is not.
    """
    have = getattr(value, "__dict__", None)
    if have is None or have.keys() <= getattr(back, "__dict__", have).keys():
        return None
    for name in have.keys() - back.__dict__.keys() - set(names):
        made = hasattr(getattr(type(value), name, None), "__get__")
        if not (made or name.startswith("__")):
            return str(name)
    return None


def _dropped_from_set(before: list[Any], after: list[Any], value: Any, path: str) -> str | None:
    """As `dropped`, where order says nothing: each part stands for one of those written anew."""
    for part in before:
        if isinstance(part, (dict, list)) and not any(
            dropped(part, each, item) is None for each in after for item in value
        ):
            return f"{path}[...]"
    return None


def _by_key(value: Any) -> dict[str, Any]:
    """The parts of an object or a dict, by the key they have in JSON."""
    if isinstance(value, dict):
        return value
    if isinstance(value, msgspec.Struct):
        names = zip(value.__struct_encode_fields__, value.__struct_fields__, strict=True)
        return {key: getattr(value, name) for key, name in names}
    return {name: getattr(value, name, None) for name in _fields(value) or ()}


def _fields(value: Any) -> Sequence[str] | None:
    """The names of what an object is made of; None if it is a value of its own."""
    names = _declared(type(value))
    extra = names and getattr(value, "__pydantic_extra__", None)
    return [*names, *extra] if names and extra else names


def _named_of(kind: Any) -> tuple[str, ...] | None:
    if issubclass(kind, msgspec.Struct):
        return tuple(kind.__struct_fields__)
    if dataclasses.is_dataclass(kind):
        return tuple(field.name for field in dataclasses.fields(kind))
    fields = getattr(kind, "__pydantic_fields__", None)
    return None if fields is None else (*fields, *_private_of(kind))


def _private_of(kind: Any) -> list[str]:
    """A model's private attributes that only others can have changed, as it has no code to."""
    if makes_more(kind):
        return []
    private = kind.__private_attributes__.items()
    return [name for name, attribute in private if attribute.default_factory is None]


def makes_more(kind: Any) -> bool:
    """Whether a class has code that runs when an instance has been made, and may change it."""
    decorators = getattr(kind, "__pydantic_decorators__", None)
    if hasattr(kind, "__post_init__") or (decorators and decorators.model_validators):
        return True
    # pydantic has one of its own for a model that has private attributes.
    if getattr(kind, "__pydantic_post_init__", None) is None:
        return False
    return bool(kind.model_post_init.__name__ != "init_private_attributes")


_declared: Final[Callable[[type], tuple[str, ...] | None]] = lru_cache(256)(_named_of)


def _name(value: Any) -> str:
    return "nothing" if value is _MISSING else type(value).__qualname__
