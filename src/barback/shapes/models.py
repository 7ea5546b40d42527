"""ModelShape: states that are pydantic's models, or dataclasses of its own.

JSON goes by the fields' names, aliases or not: https://docs.pydantic.dev/latest/concepts/serialization/
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, Final, TypeVar

from barback.errors import ConfigurationError, StateValueError
from barback.extras import needs_extra
from barback.shapes.base import Shape
from barback.shapes.differences import makes_more, not_writable
from barback.state import MAX_DEPTH, shortened

with needs_extra("pydantic"):
    from pydantic import BaseModel, RootModel, TypeAdapter, ValidationError
    from pydantic.errors import PydanticInvalidForJsonSchema, PydanticUserError
    from pydantic_core import to_json

__all__ = ["ModelShape"]

S = TypeVar("S")

# What the JSON schema calls the format of what pydantic does not write as it is.
_NOT_CARRIED: Final = {
    "binary": (
        "of bytes, which pydantic writes as UTF-8 unless told otherwise, and not every byte is "
        'that. Set model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64") in '
        "its model"
    ),
    "password": (
        "a secret, which pydantic writes as asterisks. Give its model a field_serializer that "
        "tells it, and the bot encryption"
    ),
}


class ModelShape(Shape[S]):
    """A pydantic model, or a dataclass made with pydantic's decorator."""

    def __init__(self, kind: type[S]) -> None:
        super().__init__(kind)
        try:
            self._adapter: TypeAdapter[S] = TypeAdapter(kind)
            schema = self._adapter.json_schema(mode="serialization", by_alias=False)
        except (PydanticInvalidForJsonSchema, PydanticUserError) as error:
            message = f"{self.name} cannot be the type of a state: {error.message}"
            raise ConfigurationError(message) from error
        for written_as, told in _NOT_CARRIED.items():
            path = _of_format(written_as, schema, dict(schema.get("$defs", {})))
            if path is not None:
                message = f"{self.name} cannot be the type of a state: state{path} is {told}."
                raise ConfigurationError(message)
        if issubclass(kind, RootModel):
            message = (
                f"{self.name} cannot be the type of a state: it has no fields. Make a model of "
                f"which it is a field."
            )
            raise ConfigurationError(message)
        fields: Mapping[str, Any] = kind.__pydantic_fields__  # type: ignore[attr-defined]
        self._fields = fields
        config: Mapping[str, Any] = (
            getattr(kind, "model_config", None) or getattr(kind, "__pydantic_config__", None) or {}
        )
        self._takes_more = config.get("extra") == "allow" and issubclass(kind, BaseModel)
        parameters = getattr(kind, "__dataclass_params__", None)
        self._derives = makes_more(kind)
        self._frozen = bool(config.get("frozen")) or (parameters is not None and parameters.frozen)

    def parsed(self, data: bytes) -> S:
        """See `Shape.parsed`."""
        try:
            return self._adapter.validate_json(data, by_alias=False, by_name=True)
        except Exception as error:  # a validator may raise anything
            raise self._unfit(error) from error

    def written(self, value: S) -> bytes:
        """See `Shape.written`."""
        try:
            return self._adapter.dump_json(value, round_trip=True, by_alias=False, warnings=False)
        except Exception as error:  # a serializer may raise anything
            write = partial(to_json, round_trip=True, by_alias=False)
            path = not_writable(value, write, MAX_DEPTH)
            message = (
                f"{shortened(path)} is a value that a session cannot keep ({type(error).__name__})."
            )
            raise StateValueError(message, path=path) from error

    def made(self, fields: Mapping[str, Any]) -> S:
        """See `Shape.made`."""
        for name in fields:
            if name not in self._fields and not self._takes_more:
                raise self.unknown_field(name)
        try:
            return self._adapter.validate_python(dict(fields), by_alias=False, by_name=True)
        except Exception as error:  # as above
            raise self._unfit(error) from error

    def merge(self, value: S, changes: Mapping[str, Any]) -> S:
        """See `Shape.merge`."""
        new: Any = self.made(self._given(value) | dict(changes))
        if self._frozen and dataclasses.is_dataclass(value):
            return new  # type: ignore[no-any-return]
        fields = {
            name: getattr(new, name)
            for name in (self.changed(value, new, changes) if self._derives else changes)
            if name in self._fields or name in (new.__pydantic_extra__ or ())
        }
        if self._frozen:
            return value.model_copy(update=fields)  # type: ignore[attr-defined,no-any-return]
        # Not by assignment: a model may validate each on its own, between two that belong together.
        for name, changed in fields.items():
            into = value.__dict__ if name in self._fields else value.__pydantic_extra__  # type: ignore[attr-defined]
            into[name] = changed
        if isinstance(value, BaseModel):
            value.__pydantic_fields_set__.update(fields)
        return value

    def _given(self, value: Any) -> dict[str, Any]:
        """A value's fields as they would be given to its class, which is not what some then are.

        Such as JSON, or base64, that the class takes apart.
        """
        fields = {name: getattr(value, name) for name in self._fields if hasattr(value, name)}
        fields |= getattr(value, "__pydantic_extra__", None) or {}
        with suppress(Exception):  # a set of models, which would be one of dicts, is as it is
            dumped = self._adapter.dump_python(
                value, round_trip=True, by_alias=False, warnings=False
            )
            fields |= {name: part for name, part in dumped.items() if name in fields}
        return fields

    def _unfit(self, error: Exception) -> StateValueError:
        if not isinstance(error, ValidationError):
            kind = type(error).__name__
            return StateValueError(
                f"state does not fit {self.name}: its class raised {kind}.", path="state"
            )
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        path = "state" + "".join(
            f"[{step}]" if isinstance(step, int) else f".{step}" for step in first["loc"]
        )
        # What pydantic says of it may hold the value; its kind of error does not.
        return StateValueError(f"{path} does not fit {self.name} ({first['type']}).", path=path)


def _of_format(wanted: str, schema: Any, known: dict[str, Any], path: str = "") -> str | None:
    """The path of the first part of a JSON schema that is of a format."""
    if isinstance(schema, list):
        schema = {"anyOf": schema}
    if not isinstance(schema, dict):
        return None
    if schema.get("format") == wanted:
        return path
    for inside, step in _inside(schema, known):
        found = _of_format(wanted, inside, known, path + step)
        if found is not None:
            return found
    return None


def _inside(schema: dict[str, Any], known: dict[str, Any]) -> Iterator[tuple[Any, str]]:
    """The schemas that a schema is made of, with the way to each."""
    for key, inside in schema.items():
        if key == "properties":
            for name, each in inside.items():
                yield each, f".{name}"
        elif key == "$ref":
            yield known.pop(inside.rpartition("/")[2], None), ""  # once each
        elif key in {"items", "prefixItems", "additionalProperties", "patternProperties"}:
            yield inside, "[...]"
        elif key in {"anyOf", "oneOf", "allOf"}:
            yield from ((each, "") for each in inside)
