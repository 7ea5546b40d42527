"""Shape: what every family of types has in common."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import msgspec

from barback.errors import StateValueError
from barback.shapes.differences import differing, dropped
from barback.state import MAX_DEPTH, checked

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Shape"]

S = TypeVar("S")

_LONG_NUMBER: Final = re.compile(rb"[0-9]{19}")


class Shape(ABC, Generic[S]):
    """A type of states, and the way of its values to JSON and back.

    What goes in comes out equal, or is refused with `StateValueError` and its path, such as
    `state.cart[2].price`. No value is ever in a message.
    """

    def __init__(self, kind: type[S]) -> None:
        self.kind = kind
        self.name = kind.__qualname__

    @abstractmethod
    def parsed(self, data: bytes) -> S:
        """The value that some JSON stands for. Raises `StateValueError`."""

    @abstractmethod
    def written(self, value: S) -> bytes:
        """A value as a JSON object. Raises `StateValueError`."""

    @abstractmethod
    def merge(self, value: S, changes: Mapping[str, Any]) -> S:
        """The value with some fields changed: the same object, unless it is frozen.

        All of `changes`, or nothing: raises `StateValueError` for a field that the type has not,
        and for what does not fit it.
        """

    def take_back(self, value: S, initial: S, keys: Sequence[str]) -> S:
        """The value with some of its fields as they are initially."""
        fields = {key: getattr(initial, key) for key in keys if hasattr(initial, key)}
        return self.merge(value, fields)

    def decode(self, data: bytes) -> S:
        """The value that was encoded so.

        Raises `StateValueError` if it does not fit the type, or has a field that the type has not,
        and that would be lost when it is written.
        """
        value = self.parsed(data)
        again = self.written(value)
        if again != data:
            path = dropped(msgspec.json.decode(data), msgspec.json.decode(again), value)
            if path is not None:
                message = f"{path} is no field of {self.name}, and would be lost."
                raise StateValueError(message, path=path)
        return value

    def encode(self, value: object) -> bytes:
        """A value as JSON, from which an equal one comes back. Raises `StateValueError`."""
        if not self.fits(value):
            message = f"The state is of type {type(value).__qualname__}, and not {self.name}."
            raise StateValueError(message)
        data = self.written(value)  # type: ignore[arg-type]  # it fits
        back = self.parsed(data)
        if back != value:
            path = differing(value, back)
            if path is not None:
                message = (
                    f"{path} would not come back equal: JSON cannot carry it as {self.name} "
                    f"declares it. Give it a type that says what it is."
                )
                raise StateValueError(message, path=path)
        if _LONG_NUMBER.search(data) or data.count(b"{") + data.count(b"[") > MAX_DEPTH:
            checked(msgspec.json.decode(data))
        return data

    def fits(self, value: object) -> bool:
        """Whether it is a value of the type, whatever is in it."""
        return isinstance(value, self.kind)

    def same(self, one: bytes, other: bytes) -> bool:
        """Whether two states that have been encoded are equal."""
        return one == other

    def unknown_field(self, name: object) -> StateValueError:
        """The type has no such field."""
        message = f"{self.name} has no field {name!r}."
        return StateValueError(message, path=f"state.{name}")
