"""PlainShape: states that are dataclasses, msgspec Structs or TypedDicts.

What JSON makes of their values is msgspec's choice: https://jcristharif.com/msgspec/supported-types.html
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar, get_type_hints, is_typeddict

import msgspec
from msgspec import inspect

from barback.errors import ConfigurationError, StateValueError
from barback.shapes.base import Shape
from barback.shapes.differences import parts

__all__ = ["PlainShape"]

S = TypeVar("S")

_encoder: Final = msgspec.json.Encoder(order="deterministic")
_UNFIT: Final = re.compile(r"(?P<reason>.*?)(?: - at `(?:key in )?\$(?P<path>.*)`)?", re.DOTALL)
_Fielded: Final = (
    inspect.StructType,
    inspect.DataclassType,
    inspect.TypedDictType,
    inspect.NamedTupleType,
)
_TELLS_NO_VALUE: Final = ("Expected", "Object missing required field", "Object contains unknown")


class PlainShape(Shape[S]):
    """A dataclass, a msgspec Struct or a TypedDict."""

    def __init__(self, kind: type[S]) -> None:
        super().__init__(kind)
        self._is_dict = is_typeddict(kind)
        if not (
            self._is_dict or dataclasses.is_dataclass(kind) or issubclass(kind, msgspec.Struct)
        ):
            message = (
                f"{self.name} cannot be the type of a state: use a dataclass, a msgspec Struct, a "
                f"pydantic model or a TypedDict."
            )
            raise ConfigurationError(message)
        try:
            self._decoder = msgspec.json.Decoder(kind)
            described = inspect.type_info(kind)
        except Exception as error:  # a name in an annotation that is not there, among others
            path, reason = _refused_field(kind, error)
            raise ConfigurationError(_cannot_travel(self.name, path, reason)) from error
        assert isinstance(  # noqa: S101 - one of the three it is
            described, inspect.StructType | inspect.DataclassType | inspect.TypedDictType
        )
        if isinstance(described, inspect.StructType) and described.array_like:
            message = f"{self.name} cannot be the type of a state: it is written as an array."
            raise ConfigurationError(message)
        foreign = _foreign(described, set())
        if foreign is not None:
            path, cls = foreign
            raise ConfigurationError(
                _cannot_travel(self.name, f"state{path}", _foreign_reason(cls))
            )
        self._keys = {field.name: field.encode_name for field in described.fields}
        self._replaced = _replacing(kind)

    def parsed(self, data: bytes) -> S:
        """See `Shape.parsed`."""
        try:
            value: S = self._decoder.decode(data)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise self._unfit(error) from error
        return value

    def written(self, value: S) -> bytes:
        """See `Shape.written`."""
        try:
            return _encoder.encode(value)
        except (TypeError, ValueError, RecursionError, OverflowError, AttributeError) as error:
            path = _not_writable(value)
            message = f"{path} is a value that a session cannot keep ({type(error).__name__})."
            raise StateValueError(message, path=path) from error

    def merge(self, value: S, changes: Mapping[str, Any]) -> S:
        """See `Shape.merge`."""
        keys = self._keys
        for name in changes:
            if name not in keys:
                raise self.unknown_field(name)
        if self._is_dict:
            merged: Any = {**value, **changes}  # type: ignore[dict-item]  # it is a dict
        else:
            merged = {key: getattr(value, name) for name, key in keys.items() if _has(value, name)}
            merged |= {keys[name]: changed for name, changed in changes.items()}
        try:
            new = msgspec.convert(merged, self.kind)
        except (msgspec.MsgspecError, RecursionError) as error:
            raise self._unfit(error) from error
        if self._is_dict:
            value.update({name: new[name] for name in changes})  # type: ignore[attr-defined,index]
            return value
        fields = {name: getattr(new, name) for name in changes}
        if self._replaced is not None:
            replaced: S = self._replaced(value, fields)
            return replaced
        for name, changed in fields.items():
            setattr(value, name, changed)
        return value

    def take_back(self, value: S, initial: S, keys: Sequence[str]) -> S:
        """See `Shape.take_back`."""
        if not self._is_dict:
            return super().take_back(value, initial, keys)
        have: dict[str, Any] = value  # type: ignore[assignment]  # it is a dict
        begun: dict[str, Any] = initial  # type: ignore[assignment]  # the same
        for key in keys:
            have.pop(key, None)
            if key in begun:
                have[key] = begun[key]
        return value

    def fits(self, value: object) -> bool:
        """See `Shape.fits`."""
        return isinstance(value, dict if self._is_dict else self.kind)

    def _unfit(self, error: Exception) -> StateValueError:
        """What was decoded or converted does not fit; the decoder's words tell where, and why."""
        told = _UNFIT.fullmatch(str(error))
        reason, path = (told["reason"], told["path"] or "") if told else ("", "")
        why = f": {reason}" if reason.startswith(_TELLS_NO_VALUE) else ""
        path = f"state{path}"
        return StateValueError(f"{path} does not fit {self.name}{why}.", path=path)


def _has(value: Any, name: str) -> bool:
    """Whether a field has a value; in a Struct, it may have none."""
    return getattr(value, name, msgspec.UNSET) is not msgspec.UNSET


def _replacing(kind: type) -> Callable[[Any, dict[str, Any]], Any] | None:
    """How to change what is frozen; None if it is not."""
    if issubclass(kind, msgspec.Struct):
        frozen = kind.__struct_config__.frozen
        return (lambda value, fields: msgspec.structs.replace(value, **fields)) if frozen else None
    parameters = getattr(kind, "__dataclass_params__", None)
    if parameters is not None and parameters.frozen:
        return lambda value, fields: dataclasses.replace(value, **fields)
    return None


def _not_writable(value: Any, path: str = "state") -> str:
    """Where the value stands that cannot be written: as deep inside as can be told."""
    for step, part in (parts(value) or {}).items():
        try:
            _encoder.encode(part)
        except RecursionError:
            return path + step  # it is inside itself, or as deep as that
        except Exception:  # noqa: BLE001 - whatever it is, here or further inside it is
            return _not_writable(part, path + step)
    return path


def _cannot_travel(name: str, path: str, reason: str) -> str:
    return f"{name} cannot be the type of a state: {path} {reason}."


def _refused_field(kind: type, error: Exception) -> tuple[str, str]:
    """Which field it is whose type msgspec does not take, and why."""
    try:
        hints = get_type_hints(kind, include_extras=True)
    except Exception as unknown:  # noqa: BLE001 - an annotation may be anything at all
        return "an annotation", f"cannot be read ({unknown})"
    for name, hint in hints.items():
        try:
            msgspec.json.Decoder(hint)
        except Exception as refused:  # noqa: BLE001 - the reason is told
            return f"state.{name}", f"is of a type that JSON cannot tell apart: {refused}"
    return "the type", f"cannot be read ({error})"


def _foreign(described: inspect.Type, known: set[type]) -> tuple[str, type] | None:
    """The path and the class of the first thing in a type that msgspec does not know."""
    if isinstance(described, inspect.CustomType | inspect.ExtType | inspect.RawType):
        return "", getattr(described, "cls", msgspec.Raw)
    if getattr(described, "cls", None) in known:
        return None
    if isinstance(described, _Fielded):
        known.add(described.cls)
    for step, inside in _steps(described):
        found = _foreign(inside, known)
        if found is not None:
            path, cls = found
            return (step + path, cls)
    return None


def _steps(described: inspect.Type) -> list[tuple[str, inspect.Type]]:
    """The types that a type is made of, with the way to each."""
    if isinstance(described, _Fielded):
        return [(f".{field.name}", field.type) for field in described.fields]
    if isinstance(described, inspect.DictType):
        return [("[...]", described.key_type), ("[...]", described.value_type)]
    if isinstance(described, inspect.TupleType):
        return [(f"[{index}]", item) for index, item in enumerate(described.item_types)]
    inside = getattr(described, "types", ()) or getattr(described, "type", ())
    if inside:
        return [("", each) for each in (inside if isinstance(inside, tuple) else (inside,))]
    item = getattr(described, "item_type", None)  # of a list, a set and their like
    return [] if item is None else [("[...]", item)]


def _foreign_reason(cls: type) -> str:
    if hasattr(cls, "__pydantic_validator__"):
        return (
            f"is {cls.__qualname__}, a model of pydantic, inside a type that is none. Make the "
            f"outermost type a pydantic model too"
        )
    return f"is {cls.__qualname__}, of which JSON cannot carry the values"
