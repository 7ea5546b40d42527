"""State: what handlers read and change, and how it becomes bytes.

The rules are the same for every store, memory included. A value is None, a bool, a 64-bit
integer, a finite float, text (NUL included, lone surrogates not), a list, or a dict with text
keys, at most 64 levels deep. What a handler reads is a copy of its own, and so is what a store
keeps. The order of a dict's keys is not part of a state: it rests sorted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol, cast, get_origin

import msgspec

from barback.errors import (
    ConfigurationError,
    SessionUnreadable,
    StateValueError,
    TurnEnded,
    without_bytes,
)

__all__ = [
    "MAX_DEPTH",
    "Draft",
    "InitialState",
    "S",
    "State",
    "checked",
    "decode_state",
    "encode_state",
    "is_sound",
    "is_typed_dict",
    "shortened",
    "type_of",
]

State = dict[str, Any]
"""An untyped state."""

if TYPE_CHECKING:
    from typing_extensions import TypeVar  # where a default is known to every type checker

    S = TypeVar("S", default=State)

    class _Dataclass(Protocol):
        __dataclass_fields__: ClassVar[dict[str, Any]]

    class _Model(Protocol):
        __pydantic_fields__: ClassVar[dict[str, Any]]

    Made = TypeVar("Made", bound=_Dataclass | _Model | msgspec.Struct)
    """An instance that tells the type of states, as `type_of` knows one."""
else:
    from typing import TypeVar

    S = TypeVar("S")

MAX_DEPTH: Final = 64
"""How many lists and dicts may stand inside one another, the state itself included."""

_ATOMS: Final = frozenset({str, bool, type(None)})
_TEXT: Final = frozenset({str})
_MAX_INT: Final = 2**63 - 1
_MIN_INT: Final = -(2**63)
_INFINITY: Final = float("inf")

_TYPED: Final = ("__dataclass_fields__", "__struct_fields__", "__pydantic_validator__")

_encoder = msgspec.json.Encoder(order="deterministic")
_decoder = msgspec.json.Decoder(dict[str, Any])


class Draft(msgspec.Struct, eq=False):
    """One attempt's copy of what a handler may change; decoded when it is first looked at.

    `_base` is the state that was read, None for a new session; `decoded` is `value`, once somebody
    has asked for it. `lifetime` is the session's own, as in `Record.lifetime`; `fades`
    are its keys that end on their own, each with its time in milliseconds, as in `Record.fades`;
    `step` is where it is, as in `Record.step`.
    `appended` is what was added to the history, `cleared` whether that begins anew; `grows`: either
    of them.
    """

    _base: bytes | None
    _initial: InitialState
    _session_id: str
    lifetime: int | None
    decoded: Any = None
    closed: bool = False
    fades: Mapping[str, int] = {}
    step: str | None = None
    appended: Sequence[bytes] = ()
    cleared: bool = False
    grows: bool = False

    @property
    def base(self) -> bytes:
        """The state as the turn found it, encoded."""
        base = self._base
        if base is None:
            base = self._base = self._initial.encoded()
        return base

    @property
    def value(self) -> Any:
        """The state as it stands in this turn: a `State`, where states have no type."""
        value = self.decoded
        if value is None:
            value = self.decoded = decode_state(self._base or self.base, self._session_id)
        return value

    def read(self) -> None:
        """Look now whether the state can be read. Raises `SessionUnreadable`."""

    def take(self, migrated: bytes) -> None:
        """Begin with another state than the one that was read. Raises `SessionUnreadable`."""
        self.decoded = self._initial.decode(migrated, self._session_id)

    def fade(self, now: int) -> None:
        """Take back, to what they are initially, the keys whose time is over."""
        over = [key for key, at in self.fades.items() if at <= now]
        if over:
            self.take_back(over)
            self.keep_for(over, None)

    def take_back(self, keys: Sequence[str]) -> None:
        """Back to what these keys are initially, or to nothing."""
        value = self.value
        initial = decode_state(self._initial.encoded(), self._session_id)
        for key in keys:
            if key in initial:
                value[key] = initial[key]
            else:
                value.pop(key, None)

    def keep_for(self, keys: Iterable[str], until: int | None) -> None:
        """These keys end then; None: not on their own."""
        others = {key: at for key, at in self.fades.items() if key not in keys}
        self.fades = others if until is None else {**others, **dict.fromkeys(keys, until)}

    def ensure_open(self, session_id: str) -> None:
        """Raise `TurnEnded` if what is changed now could not be kept any more."""
        if self.closed:
            message = (
                f"The turn of session {session_id!r} has ended: nothing can be changed or sent "
                f"through its context. Await what the handler starts, or open a turn of its own "
                f"with bot.conversation({session_id!r})."
            )
            raise TurnEnded(message, session_id=session_id)

    def merge(self, changes: Mapping[str, Any]) -> None:
        """Shallow merge: each key is set, the others stay. All of `changes`, or nothing."""
        if _ATOMS.issuperset(map(type, changes.values())) and _TEXT.issuperset(map(type, changes)):
            # They need no copy. Their texts are those of a session if they can be written.
            try:
                _encoder.encode(changes)
            except UnicodeEncodeError:
                pass  # told below, with its path
            else:
                (self.decoded or self.value).update(changes)
                return
        self.value.update(checked(changes, self._session_id))

    def reset(self) -> None:
        """Back to the initial state, and to no step."""
        self.fades, self.step = {}, None
        self.decoded = decode_state(self._initial.encoded(), self._session_id)

    def changed(self) -> bytes | None:
        """The state to write, or None if it is equal to what was read.

        Raises `StateValueError` if a nested change put in a value that a session cannot keep.
        """
        value = self.decoded
        if value is None:
            return None
        try:
            encoded = _encoder.encode(value)
        except (TypeError, ValueError, RecursionError, OverflowError, msgspec.MsgspecError):
            encoded = b""  # the check below finds the value, and says where it stands
        # Equal bytes are not enough: NaN is written as null, a tuple as a list.
        plain = _ATOMS.issuperset(map(type, value.values())) and _TEXT.issuperset(map(type, value))
        if not (encoded and (plain or is_sound(value))):
            if encoded == self.base and value == decode_state(encoded, self._session_id):
                return None  # it was read like this, whatever limits it was written under
            encoded = _encoder.encode(checked(value, self._session_id))
        return None if encoded == self.base else encoded


class InitialState:
    """What a new session starts from: a mapping, or a function that makes one. Never shared.

    `draft`: the class of drafts that turns make, which tells what handlers see of a state.
    """

    draft: type[Draft] = Draft
    plain = True
    """Whether a state is a dict that needs no look before a handler takes one."""

    def __init__(self, source: Mapping[str, Any] | Callable[[], Mapping[str, Any]] | None) -> None:
        if source is None:
            source = {}
        if not (isinstance(source, Mapping) or callable(source)):
            message = (
                f"initial_state must be a mapping or a function that returns one, "
                f"not {type(source).__name__}."
            )
            raise ConfigurationError(message)
        self._make = None if isinstance(source, Mapping) else source
        # A mapping is checked and copied here and now, so that a later change of it is not seen.
        self._encoded = encode_state(source) if isinstance(source, Mapping) else b""

    def encoded(self) -> bytes:
        """The initial state as it would rest in a store."""
        if self._make is None:
            return self._encoded
        made = self._make()
        if not isinstance(made, Mapping):
            message = f"The initial_state function returned {type(made).__name__}, not a mapping."
            raise StateValueError(message)
        return encode_state(made)

    def decode(self, data: bytes, session_id: str) -> Any:
        """A state as handlers see it. Raises `SessionUnreadable`."""
        return decode_state(data, session_id)


def type_of(initial_state: object) -> type | None:
    """The type of states that an `initial_state` tells; None if they are plain dicts."""
    kind = get_origin(initial_state) or initial_state
    if isinstance(kind, type):
        plain = issubclass(kind, Mapping) and not is_typed_dict(kind)
        return None if plain else cast("type", initial_state)
    kind = type(initial_state)
    return kind if any(hasattr(kind, mark) for mark in _TYPED) else None


def is_typed_dict(kind: type) -> bool:
    """Whether it is a TypedDict: `typing`'s, or that of `typing_extensions`, which is another."""
    return issubclass(kind, dict) and hasattr(kind, "__required_keys__")


def encode_state(state: Mapping[str, Any]) -> bytes:
    """A state as deterministic JSON: equal states, equal bytes. Raises `StateValueError`."""
    return _encoder.encode(checked(state))


def decode_state(data: bytes, session_id: str) -> State:
    """What `encode_state` wrote. Raises `SessionUnreadable`."""
    try:
        return _decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        message = (
            f"The state of session {session_id!r} cannot be read. It is left as it is: restore it "
            f"from a copy, or destroy the session to let it start anew."
        )
        raise SessionUnreadable(message, session_id=session_id) from without_bytes(error)


def is_sound(state: State) -> bool:
    """Whether a session can surely keep a state that has been encoded, and so its texts as well.

    It goes level by level, for speed; where a fault is, and what to do about it, `checked` tells.
    """
    dicts: list[dict[Any, Any]] = [state]
    lists: list[list[Any]] = []
    for _ in range(MAX_DEPTH):
        if not _TEXT.issuperset(map(type, chain.from_iterable(dicts))):
            return False
        values = chain(chain.from_iterable(map(dict.values, dicts)), chain.from_iterable(lists))
        dicts, lists = [], []
        for value in values:
            kind = type(value)
            if kind in _ATOMS:
                continue
            if kind is dict:
                dicts.append(value)
            elif kind is list:
                lists.append(value)
            elif not (
                (kind is int and _MIN_INT <= value <= _MAX_INT)
                or (kind is float and -_INFINITY < value < _INFINITY)
            ):
                return False
        if not dicts and not lists:
            return True
    return False


def checked(changes: Mapping[str, Any], session_id: str | None = None) -> State:
    """A copy of `changes` whose values a session can keep, or `StateValueError` with the path."""
    return {
        _key(key, "state", session_id): _copied(value, "state", key, 2, session_id)
        for key, value in changes.items()
    }


def _copied(  # noqa: C901 - one branch a kind of value
    value: Any, parent: str, step: str | int, depth: int, session_id: str | None
) -> Any:
    """`value` with its lists and dicts copied; its path is put together only for an error."""
    kind = type(value)
    if kind is str:
        if value.isascii() or _encodable(value):
            return value
        reason = "text with a lone surrogate"
    elif value is None or kind is bool:
        return value
    elif kind is int:
        if _MIN_INT <= value <= _MAX_INT:
            return value
        reason = "an integer of more than 64 bits (keep it as text)"
    elif kind is float:
        if -_INFINITY < value < _INFINITY:
            return value
        reason = "a float that is not finite (keep None instead)"
    elif kind is dict or kind is list:
        if depth <= MAX_DEPTH:
            path = _path(parent, step)
            if kind is list:
                return [
                    _copied(item, path, index, depth + 1, session_id)
                    for index, item in enumerate(value)
                ]
            return {
                _key(key, path, session_id): _copied(item, path, key, depth + 1, session_id)
                for key, item in value.items()
            }
        reason = f"more than {MAX_DEPTH} levels deep, or inside itself"
    else:
        reason = f"of type {kind.__qualname__}{_remedy(kind)}"
    path = _path(parent, step)
    message = (
        f"{shortened(path)} is {reason}. A session keeps None, bool, 64-bit int, finite float, "
        f"str, list, and dict with str keys."
    )
    raise StateValueError(message, path=path, session_id=session_id)


def shortened(path: str) -> str:
    """A path as a message tells it."""
    limit = 200
    return path if len(path) <= limit else f"{path[: limit // 2]}…{path[-limit // 2 :]}"


def _key(key: Any, parent: str, session_id: str | None) -> str:
    if type(key) is str and (key.isascii() or _encodable(key)):
        return key
    reason = "text with a lone surrogate" if isinstance(key, str) else "not text"
    if isinstance(key, str) and type(key) is not str:
        reason = f"of type {type(key).__qualname__} (use str)"
    message = f"{shortened(parent)} has a key that is {reason}: keys must be str."
    raise StateValueError(message, path=parent, session_id=session_id)


def _path(parent: str, step: str | int) -> str:
    return f"{parent}[{step!r}]"


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _remedy(kind: type) -> str:
    """What to do about the kinds of value that people try most."""
    remedies = {
        "tuple": "use a list",
        "set": "use a list",
        "frozenset": "use a list",
        "datetime": "use .isoformat()",
        "date": "use .isoformat()",
        "Decimal": "use str()",
        "UUID": "use str()",
        "bytes": "use base64 text",
    }
    for base in kind.__mro__[1:]:
        if base in {str, int, float, bool, list, dict}:
            return f" (use {base.__name__}())"
    remedy = remedies.get(kind.__name__)
    return f" ({remedy})" if remedy else ""
