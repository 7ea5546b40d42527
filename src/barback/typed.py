"""Typed states: what handlers read and change is an instance of a class."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar, cast

from barback.errors import ConfigurationError, SessionUnreadable, StateValueError
from barback.shapes import Shape, shape_of
from barback.state import Draft, InitialState

__all__ = ["TypedDraft", "TypedInitialState"]

S = TypeVar("S")


class TypedDraft(Draft):
    """A `Draft` whose value is an instance of the bot's type of states."""

    @property
    def _shape(self) -> Shape[Any]:
        return cast("TypedInitialState[Any]", self._initial).shape

    @property
    def value(self) -> Any:
        """See `Draft.value`. Raises `SessionUnreadable` for a state that does not fit the type."""
        value = self.decoded
        if value is None:
            value = self.decoded = self._initial.decode(self.base, self._session_id)
        return value

    def read(self) -> None:
        """See `Draft.read`."""
        self.decoded = self.value

    def reset(self) -> None:
        """See `Draft.reset`."""
        self.fades, self.step = {}, None
        self.decoded = self._initial.decode(self._initial.encoded(), self._session_id)

    def take_back(self, keys: Sequence[str]) -> None:
        """See `Draft.take_back`."""
        initial = self._initial.decode(self._initial.encoded(), self._session_id)
        self.decoded = self._shape.take_back(self.value, initial, keys)

    def merge(self, changes: Mapping[str, Any]) -> None:
        """See `Draft.merge`."""
        try:
            self.decoded = self._shape.merge(self.value, changes)
        except StateValueError as error:
            error.session_id = self._session_id
            raise

    def changed(self) -> bytes | None:
        """See `Draft.changed`."""
        value = self.decoded
        if value is None:
            return None
        try:
            encoded = self._shape.encode(value)
        except StateValueError as error:
            error.session_id = self._session_id
            raise
        return None if self._shape.same(encoded, self.base) else encoded


class TypedInitialState(InitialState, Generic[S]):
    """What a new session starts from, where states have a type: an instance, or what makes one."""

    draft = TypedDraft
    plain = False

    def __init__(
        self,
        kind: type[S],
        source: S | Mapping[str, Any] | Callable[[], S | Mapping[str, Any]] | None = None,
    ) -> None:
        self.shape = shape_of(kind)
        self._source: Callable[[], S | Mapping[str, Any]] | None = None
        if source is None or source is kind:
            self._source = kind
            self._check_defaults(kind)
        elif self.shape.fits(source) or isinstance(source, Mapping):
            # It is checked and copied here and now, so that a later change of it is not seen.
            self._encoded = self._checked(source)
        elif callable(source):
            self._source = source
        else:
            message = (
                f"initial_state must be a {self.shape.name}, a mapping or a function that returns "
                f"one, not {type(source).__name__}."
            )
            raise ConfigurationError(message)

    def encoded(self) -> bytes:
        """See `InitialState.encoded`."""
        if self._source is None:
            return self._encoded
        return self.shape.encode(self._formed(self._source()))

    def decode(self, data: bytes, session_id: str) -> S:
        """See `InitialState.decode`. A state that does not fit the type is unreadable."""
        try:
            return self.shape.decode(data)
        except StateValueError as error:
            message = (
                f"The state of session {session_id!r} does not fit its type: {error} It is left "
                f"as it is."
            )
            raise SessionUnreadable(message, session_id=session_id) from error

    def _formed(self, value: object) -> object:
        """What a mapping stands for; anything else is as it is."""
        if not isinstance(value, Mapping) or self.shape.fits(value):
            return value
        return self.shape.made(value)

    def _checked(self, value: object) -> bytes:
        try:
            return self.shape.encode(self._formed(value))
        except StateValueError as error:
            message = f"The initial state cannot be kept: {error}"
            raise ConfigurationError(message) from error

    def _check_defaults(self, kind: type[S]) -> None:
        """A bot whose sessions cannot begin is refused when it is made."""
        try:
            value = kind()
        except Exception as error:
            message = (
                f"{self.shape.name} cannot be made without arguments, as a new session makes it. "
                f"Give its fields defaults, or the bot an initial_state of its own beside "
                f"state_type={self.shape.name}."
            )
            raise ConfigurationError(message) from error
        self._checked(value)
