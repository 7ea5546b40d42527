"""PlainShape: states that are dataclasses, msgspec Structs or TypedDicts.

What JSON makes of their values is msgspec's choice: https://jcristharif.com/msgspec/supported-types.html
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, TypeVar, get_type_hints

import msgspec
from msgspec import inspect

from barback.errors import ConfigurationError, StateValueError
from barback.shapes.base import Shape
from barback.shapes.differences import makes_more, not_writable
from barback.state import MAX_DEPTH, is_typed_dict, shortened

__all__ = ["PlainShape"]

S = TypeVar("S")

_encoder: Final = msgspec.json.Encoder(order="deterministic")
_unordered: Final = msgspec.json.Encoder()
_UNFIT: Final = re.compile(r"(?P<reason>.*?)(?: - at `(?:key in )?\$(?P<path>.*)`)?", re.DOTALL)
_KEY: Final = re.compile(r"\.([^.\[]+)")
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
        self._declared = kind  # with its parameters, if it is generic
        self._is_dict = is_typed_dict(self.kind)
        if not (
            self._is_dict
            or dataclasses.is_dataclass(self.kind)
            or issubclass(self.kind, msgspec.Struct)
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
        self.json_names = {field.name: field.encode_name for field in described.fields}
        within = list(_within(described, set()))
        self._names = _names(within)
        self.is_loose = any(map(_is_loose, within))
        self._is_frozen = _is_frozen(self.kind)
        self._derives = makes_more(self.kind)

    def parsed(self, data: bytes) -> S:
        """See `Shape.parsed`."""
        try:
            value: S = self._decoder.decode(data)
        except Exception as error:  # a class may have a __post_init__, which may raise anything
            raise self._unfit(error) from error
        return value

    def written(self, value: S) -> bytes:
        """See `Shape.written`."""
        try:
            return _encoded(value)
        except (TypeError, ValueError, RecursionError, OverflowError, AttributeError) as error:
            path = not_writable(value, _encoded, MAX_DEPTH)
            message = (
                f"{shortened(path)} is a value that a session cannot keep ({type(error).__name__})."
            )
            raise StateValueError(message, path=path) from error

    def made(self, fields: Mapping[str, Any]) -> S:
        """See `Shape.made`."""
        for name in fields:
            if name not in self.json_names:
                raise self.unknown_field(name)
        named = {self.json_names[name]: part for name, part in fields.items()}
        try:
            return msgspec.convert(named, self._declared)
        except Exception as error:  # as above
            raise self._unfit(error) from error

    def merge(self, value: S, changes: Mapping[str, Any]) -> S:
        """See `Shape.merge`."""
        if self._is_dict:
            have: Mapping[str, Any] = value  # type: ignore[assignment]  # it is a dict
        else:
            have = {name: getattr(value, name) for name in self.json_names if _has(value, name)}
        new: Any = self.made({**have, **changes})
        if self._is_frozen:
            return new  # type: ignore[no-any-return]
        if self._is_dict:
            value.update({name: new[name] for name in changes})  # type: ignore[attr-defined]
            return value
        for name in self.changed(value, new, changes) if self._derives else changes:
            setattr(value, name, getattr(new, name))
        return value

    def fits(self, value: object) -> bool:
        """See `Shape.fits`."""
        return isinstance(value, dict if self._is_dict else self.kind)

    def _unfit(self, error: Exception) -> StateValueError:
        """What was decoded or converted does not fit; the decoder's words tell where, and why."""
        told = _UNFIT.fullmatch(str(error)) if isinstance(error, msgspec.MsgspecError) else None
        reason, path = (told["reason"], told["path"] or "") if told else ("", "")
        if error.__cause__ is not None:  # a __post_init__ said it, and nobody knows what
            reason = f"its class raised {type(error.__cause__).__name__}"
            path = "" if str(error) == str(error.__cause__) else path
        elif not isinstance(error, msgspec.MsgspecError | UnicodeDecodeError | RecursionError):
            reason = f"its class raised {type(error).__name__}"
        elif not reason.startswith(_TELLS_NO_VALUE):
            reason = ""
        why = f": {reason}" if reason else ""
        path = "state" + _KEY.sub(lambda key: "." + self._names.get(key[1], key[1]), path)
        return StateValueError(f"{path} does not fit {self.name}{why}.", path=path)


def _encoded(value: object) -> bytes:
    """Equal values as equal bytes, where it can be: not sets whose items cannot be put in order."""
    try:
        return _encoder.encode(value)
    except TypeError:  # a set is mixed, or a dict's keys are not text, and only JSON makes them so
        return _encoder.encode(msgspec.json.decode(_unordered.encode(value)))


def _names(within: Iterable[inspect.Type]) -> dict[str, str]:
    """The names of all fields, by those in JSON; without those that are several fields'."""
    names: dict[str, str] = {}
    for each in within:
        for field in each.fields if isinstance(each, _Fielded) else ():
            if names.setdefault(field.encode_name, field.name) != field.name:
                names[field.encode_name] = field.encode_name
    return names


def _is_loose(described: inspect.Type) -> bool:
    """Whether equal values of it may be written in more than one way; see `_encoded`."""
    if isinstance(described, inspect.DictType):
        return not isinstance(described.key_type, inspect.StrType)
    return isinstance(described, inspect.SetType | inspect.FrozenSetType | inspect.AnyType)


def _within(described: inspect.Type, known: set[type]) -> Iterator[inspect.Type]:
    """All types that a type is made of, itself included."""
    if isinstance(described, _Fielded):
        if described.cls in known:
            return
        known.add(described.cls)
    yield described
    for _, inside in _steps(described):
        yield from _within(inside, known)


def _has(value: Any, name: str) -> bool:
    """Whether a field has a value; in a Struct, it may have none."""
    return getattr(value, name, msgspec.UNSET) is not msgspec.UNSET


def _is_frozen(kind: type) -> bool:
    if issubclass(kind, msgspec.Struct):
        return bool(kind.__struct_config__.frozen)
    parameters = getattr(kind, "__dataclass_params__", None)
    return parameters is not None and bool(parameters.frozen)


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
            return f"state.{name}", f"is of a type that JSON cannot carry: {refused}"
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
