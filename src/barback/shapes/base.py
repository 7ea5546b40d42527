"""Shape: what every family of types has in common."""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, get_origin

import msgspec

from barback.errors import StateValueError
from barback.shapes.differences import differing, dropped, parts, where
from barback.state import MAX_DEPTH, checked, is_sound, shortened

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["Shape"]

S = TypeVar("S")

_UNSURE: Final = re.compile(rb"[0-9]{19}|Infinity|NaN")
"""What may be in JSON that is more than 64 bits, or no JSON."""


class Shape(ABC, Generic[S]):
    """A type of states, and the way of its values to JSON and back.

    What goes in comes out equal, or is refused with `StateValueError` and its path, such as
    `state.cart[2].price`. No value is ever in a message.
    """

    def __init__(self, kind: type[S]) -> None:
        self.kind: type[Any] = get_origin(kind) or kind
        self.name = self.kind.__qualname__
        self.json_names: Mapping[str, str] = {}
        """What fields are called in JSON, where that is another name."""
        self.is_loose = True
        """Whether equal values may be written in more than one way."""

    @abstractmethod
    def parsed(self, data: bytes) -> S:
        """The value that some JSON stands for. Raises `StateValueError`."""

    @abstractmethod
    def written(self, value: S) -> bytes:
        """A value as a JSON object. Raises `StateValueError`."""

    @abstractmethod
    def made(self, fields: Mapping[str, Any]) -> S:
        """A value with these fields, and others as they are by default. Raises as `merge` does."""

    @abstractmethod
    def merge(self, value: S, changes: Mapping[str, Any]) -> S:
        """The value with some fields changed: the same object, unless it is frozen.

        All of `changes`, or nothing: raises `StateValueError` for a field that the type has not,
        and for what does not fit it.
        """

    def take_back(self, value: S, initial: S, keys: Sequence[str]) -> S:
        """A value like this one, with some of its fields as they are initially."""
        have, begun = (msgspec.json.decode(self.written(each)) for each in (value, initial))
        for key in (self.json_names.get(key, key) for key in keys):
            have.pop(key, None)
            if key in begun:
                have[key] = begun[key]
        return self.parsed(msgspec.json.encode(have))

    def decode(self, data: bytes) -> S:
        """The value that was encoded so.

        Raises `StateValueError` if it does not fit the type, or has a field that the type has not,
        and that would be lost when it is written.
        """
        value = self.parsed(data)
        again = self.written(value)
        if again != data:
            try:
                path = dropped(msgspec.json.decode(data), msgspec.json.decode(again), value)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                message = f"The state is not JSON, or {self.name} does not write it as JSON."
                raise StateValueError(message, path="state") from error
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
        self._check(data, value)
        back = self.parsed(data)
        found = differing(value, back)
        if found is not None:
            path = f"state{found.path}"
            message = f"{shortened(path)} {found.reason}."
            raise StateValueError(message, path=path)
        return self.written(back)  # an int may have come back as the float that was meant

    def changed(self, value: S, new: S, names: Iterable[str]) -> list[str]:
        """These fields, and all others that a class sets by itself when it is made of them."""
        mine, made = parts(value) or {}, parts(new) or {}
        return [
            step[1:]
            for step, part in made.items()
            if step[1:] in names or step not in mine or differing(mine[step], part) is not None
        ]

    def fits(self, value: object) -> bool:
        """Whether it is a value of the type, whatever is in it."""
        return isinstance(value, self.kind)

    def same(self, one: bytes, other: bytes) -> bool:
        """Whether two states that have been encoded are equal.

        A set, or a dict, may have been written in another order: by another process, for one.
        """
        return one == other or (
            self.is_loose
            and len(one) == len(other)
            and differing(self.parsed(one), self.parsed(other)) is None
        )

    def _check(self, data: bytes, value: object) -> None:
        """Refuse JSON that some store could not keep."""
        if data[:1] != b"{":
            message = f"{self.name} is not written as an object: no state can be kept like that."
            raise StateValueError(message, path="state")
        if not _UNSURE.search(data) and data.count(b"{") + data.count(b"[") <= MAX_DEPTH:
            return
        try:
            decoded = msgspec.json.decode(data)
            if not is_sound(decoded):
                checked(decoded)
        except (StateValueError, msgspec.DecodeError) as error:
            path = where(value, _is_no_number, MAX_DEPTH)
            if path is None and isinstance(error, StateValueError):
                raise
            path = path or "state"
            message = (
                f"{shortened(path)} is an integer of more than 64 bits, or a float that is not "
                f"finite: neither can be kept (keep text, or None)."
            )
            raise StateValueError(message, path=path) from error

    def unknown_field(self, name: object) -> StateValueError:
        """The type has no such field."""
        message = f"{self.name} has no field {name!r}."
        return StateValueError(message, path=f"state.{name}")


def _is_no_number(value: object) -> bool:
    """Whether it is a number that JSON cannot carry everywhere."""
    if isinstance(value, float):
        return not math.isfinite(value)
    return isinstance(value, int) and not -(2**63) <= value < 2**63
