"""Shapes: the types that a state can have, and how their values become JSON and come back.

Two families of types, each with a library that knows them: dataclasses, msgspec Structs and
TypedDicts (`plain`), and pydantic's models (`models`).
"""

from __future__ import annotations

from typing import Any, TypeVar, get_origin

from barback.errors import ConfigurationError
from barback.shapes.base import Shape

__all__ = ["Shape", "shape_of"]

S = TypeVar("S")


def shape_of(kind: type[S]) -> Shape[S]:
    """The shape of states of a class. Raises `ConfigurationError` if it cannot be one.

    pydantic is imported for a type of its own only.
    """
    if not isinstance(get_origin(kind) or kind, type):
        message = f"The type of a state is a class, not {type(kind).__name__}."
        raise ConfigurationError(message)
    shape: Shape[Any]
    if hasattr(kind, "__pydantic_validator__"):
        from barback.shapes.models import ModelShape  # noqa: PLC0415 - only whose has it installed

        shape = ModelShape(kind)
    else:
        from barback.shapes.plain import PlainShape  # noqa: PLC0415 - untyped bots need none

        shape = PlainShape(kind)
    return shape
