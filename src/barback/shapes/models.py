"""ModelShape: states that are pydantic's models, or dataclasses of its own.

JSON goes by the fields' names, aliases or not: https://docs.pydantic.dev/latest/concepts/serialization/
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

from barback.errors import ConfigurationError, StateValueError
from barback.extras import needs_extra
from barback.shapes.base import Shape

with needs_extra("pydantic"):
    from pydantic import BaseModel, TypeAdapter, ValidationError
    from pydantic.errors import PydanticInvalidForJsonSchema, PydanticUserError
    from pydantic_core import PydanticSerializationError

__all__ = ["ModelShape"]

S = TypeVar("S")


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
        path = _bytes_as_text(schema, schema.get("$defs", {}))
        if path is not None:
            message = (
                f"{self.name} cannot be the type of a state: state{path} is of bytes, which "
                f"pydantic writes as UTF-8 unless told otherwise, and not every byte is that. Set "
                f'model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64") in '
                f"its model."
            )
            raise ConfigurationError(message)
        fields: Mapping[str, Any] = kind.__pydantic_fields__  # type: ignore[attr-defined]
        self._fields = fields
        config: Mapping[str, Any] = (
            getattr(kind, "model_config", None) or getattr(kind, "__pydantic_config__", None) or {}
        )
        self._takes_more = config.get("extra") == "allow"
        parameters = getattr(kind, "__dataclass_params__", None)
        self._frozen = bool(config.get("frozen")) or (parameters is not None and parameters.frozen)

    def parsed(self, data: bytes) -> S:
        """See `Shape.parsed`."""
        try:
            return self._adapter.validate_json(data, by_alias=False, by_name=True)
        except ValidationError as error:
            raise self._unfit(error) from error

    def written(self, value: S) -> bytes:
        """See `Shape.written`."""
        try:
            return self._adapter.dump_json(value, round_trip=True, by_alias=False, warnings=False)
        except (PydanticSerializationError, ValueError, RecursionError) as error:
            message = f"The state cannot be written as {self.name} ({type(error).__name__})."
            raise StateValueError(message) from error

    def merge(self, value: S, changes: Mapping[str, Any]) -> S:
        """See `Shape.merge`."""
        for name in changes:
            if name not in self._fields and not self._takes_more:
                raise self.unknown_field(name)
        extra = getattr(value, "__pydantic_extra__", None) or {}
        merged = {name: getattr(value, name) for name in self._fields} | extra | dict(changes)
        try:
            new = self._adapter.validate_python(merged, by_alias=False, by_name=True)
        except ValidationError as error:
            raise self._unfit(error) from error
        fields = {name: getattr(new, name) for name in changes}
        if self._frozen:
            if dataclasses.is_dataclass(value):
                replaced: Any = dataclasses.replace(value, **fields)  # type: ignore[type-var]
                return replaced  # type: ignore[no-any-return]
            return value.model_copy(update=fields)  # type: ignore[attr-defined,no-any-return]
        # Not by assignment: a model may validate each on its own, between two that belong together.
        for name, changed in fields.items():
            into = value.__dict__ if name in self._fields else extra
            into[name] = changed
        if isinstance(value, BaseModel):
            value.__pydantic_fields_set__.update(fields)
        return value

    def same(self, one: bytes, other: bytes) -> bool:
        """See `Shape.same`: a set, or a dict, may have been written in another order."""
        return one == other or self.parsed(one) == self.parsed(other)

    def _unfit(self, error: ValidationError) -> StateValueError:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        path = "state" + "".join(
            f"[{step}]" if isinstance(step, int) else f".{step}" for step in first["loc"]
        )
        # What pydantic says of it may hold the value; its kind of error does not.
        return StateValueError(f"{path} does not fit {self.name} ({first['type']}).", path=path)


def _bytes_as_text(schema: Any, known: dict[str, Any], path: str = "") -> str | None:
    """The path of bytes that would be written as UTF-8, which the JSON schema calls binary."""
    if isinstance(schema, list):
        return next(filter(None, (_bytes_as_text(each, known, path) for each in schema)), None)
    if not isinstance(schema, dict):
        return None
    if schema.get("format") == "binary":
        return path
    for key, inside in schema.items():
        step = path
        if key == "properties":
            found = next(
                filter(
                    None,
                    (
                        _bytes_as_text(each, known, f"{path}.{name}")
                        for name, each in inside.items()
                    ),
                ),
                None,
            )
        elif key == "$ref":
            name = inside.rpartition("/")[2]
            found = _bytes_as_text(known.pop(name, None), known, path)  # once each
        elif key in {"items", "prefixItems", "additionalProperties", "patternProperties"}:
            found = _bytes_as_text(inside, known, f"{path}[...]")
        elif key in {"anyOf", "oneOf", "allOf"}:
            found = _bytes_as_text(inside, known, step)
        else:
            continue
        if found is not None:
            return found
    return None
