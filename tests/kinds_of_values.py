"""Kinds of value that a typed state may hold: what comes back equal, and what is refused.

test_values.py sends each of them through every store, declared in every family of types, and holds
the table in docs/state.md against this list.
"""

from __future__ import annotations

import dataclasses
import enum
import uuid
from collections import OrderedDict, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Annotated, Any, Final, Generic, Literal, NamedTuple, TypeVar
from zoneinfo import ZoneInfo

import msgspec
import pydantic
from typing_extensions import TypedDict

__all__ = ["FAMILIES", "KINDS", "Kind", "field_name", "type_with"]

PLAIN: Final = ("dataclass", "Struct", "TypedDict")
FAMILIES: Final = (*PLAIN, "pydantic")

T = TypeVar("T")
BERLIN: Final = ZoneInfo("Europe/Berlin")


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Size(enum.StrEnum):
    S = "small"
    L = "large"


class Level(enum.IntEnum):
    LOW = -1
    HIGH = 5


class Rights(enum.Flag):
    READ = 1
    WRITE = 2


class Point(NamedTuple):
    x: int = 0
    name: str = ""


@dataclass
class Address:
    street: str = ""
    since: date | None = None
    tags: set[str] = dataclasses.field(default_factory=set)


@dataclass
class FarAddress(Address):
    country: str = ""


@dataclass(eq=False, slots=True, kw_only=True)
class Identity:
    number: int = 0
    noted: list[date] = dataclasses.field(default_factory=list)


@dataclass(frozen=True)
class Coin:
    value: Decimal = Decimal(0)
    made: bool = dataclasses.field(default=True, init=False)
    _mint: str = ""


class Parcel(TypedDict, total=False):
    weight: float
    sent: datetime


class Visit(msgspec.Struct, rename="camel", omit_defaults=True):
    first_page: str = ""
    at_times: list[time] = []


class Cell(msgspec.Struct, array_like=True, frozen=True):
    row: int = 0
    label: str = ""


class Cash(msgspec.Struct, tag=True):
    amount: Decimal = Decimal(0)


class Card(msgspec.Struct, tag="card"):
    number: str = ""


class Node(msgspec.Struct):
    value: int = 0
    next: Node | None = None


class Box(msgspec.Struct, Generic[T]):
    inside: T | None = None


class ModelNode(pydantic.BaseModel):
    value: int = 0
    next: ModelNode | None = None


class ModelBox(pydantic.BaseModel, Generic[T]):
    inside: T | None = None


class Named(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(alias_generator=str.upper, frozen=True)
    first_name: str = ""
    born: date | None = None


class Roomy(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow", strict=True)
    size: int = 0
    days: tuple[date, ...] = ()

    @pydantic.computed_field
    def twice(self) -> int:
        return 2 * self.size


class Cat(pydantic.BaseModel):
    kind: Literal["cat"] = "cat"
    lives: int = 9


class Dog(pydantic.BaseModel):
    kind: Literal["dog"] = "dog"
    lives: int = 1


class Words(pydantic.RootModel[list[str]]):
    root: list[str] = []


class Secretive(pydantic.BaseModel):
    shown: int = 0
    _hidden: int = pydantic.PrivateAttr(default=0)


def _secretive(hidden: int) -> Secretive:
    made = Secretive()
    made._hidden = hidden
    return made


def _noted(address: Address) -> Address:
    address.nmae = "Tim"  # type: ignore[attr-defined]
    return address


@dataclass(frozen=True)
class Kind:
    """A kind of value.

    - `type`: as which it is declared.
    - `kept`: values that come back equal, and of the same type.
    - `refused`: values that are refused at the commit, with what follows the field in their path.
    - `why`: what the table says of those; `note`: and of those that are kept.
    - `families`: the types in which it is declared.
    """

    name: str
    type: Any
    kept: Sequence[Any]
    refused: Sequence[tuple[Any, str]] = ()
    why: str = ""
    note: str = ""
    families: Sequence[str] = FAMILIES


def at(*when: int, **more: Any) -> datetime:
    return datetime(*when, **more)  # type: ignore[arg-type]  # noqa: DTZ001 - naive ones too


def hours(count: float) -> timezone:
    return timezone(timedelta(hours=count))


def nested(depth: int, kind: Any, name: str) -> Any:
    value = None
    for number in range(depth):
        value = kind(**{"value": number, name: value})
    return value


MODEL: Final = ("pydantic",)
KINDS: Final = (
    Kind("None, bool", bool | None, (None, True, False), (("yes", ""), (2, "")), "anything else"),
    Kind(
        "integers",
        int,
        (0, -1, 2**53 + 1, 2**63 - 1, -(2**63)),
        ((2**63, ""), (-(2**63) - 1, ""), (10**30, ""), (True, ""), (Level.LOW, "")),
        "more than 64 bits; bool; an `IntEnum`",
    ),
    Kind(
        "floats",
        float,
        (0.0, -0.0, 5e-324, 1.7976931348623157e308, 0.1, 1e16),
        ((float("inf"), ""), (float("-inf"), ""), (float("nan"), ""), (2**53 + 1, "")),
        "infinity, NaN, an integer that no float is equal to",
    ),
    Kind(
        "text",
        str,
        ("", "a\0b", "😀", "\u2028", "\\ud800", "$a.b", "x" * 100_000),
        (("a\ud800", ""), (Size.S, "")),
        "lone surrogates; a `StrEnum`",
    ),
    Kind(
        "datetime, naive",
        datetime,
        (at(1, 1, 1), at(9999, 12, 31, 23, 59, 59, 999999), at(2026, 10, 25, 2, 30, 0, 1)),
        ((date(2026, 1, 1), ""),),
        "a date",
        note="`fold`, of which `==` knows nothing, is not kept",
    ),
    Kind(
        "datetime with an offset",
        datetime,
        (
            at(2026, 1, 1, tzinfo=UTC),
            at(1, 1, 1, tzinfo=hours(14)),
            at(9999, 12, 31, 23, 59, 59, 999999, tzinfo=hours(-12)),
            at(2026, 1, 1, tzinfo=hours(5.75)),
            at(2026, 1, 1, tzinfo=timezone(timedelta(hours=1), "CET")),
        ),
        ((at(2026, 1, 1, tzinfo=timezone(timedelta(seconds=3605))), ""),),
        "an offset with seconds",
    ),
    Kind(
        "datetime with a `ZoneInfo`",
        datetime,
        (
            at(2026, 7, 1, tzinfo=BERLIN),
            at(2026, 10, 25, 2, 30, tzinfo=BERLIN),  # the hour comes twice
            at(2026, 10, 25, 2, 30, tzinfo=BERLIN, fold=1),
            at(2026, 3, 29, 2, 30, tzinfo=BERLIN),  # and this one never
        ),
        ((at(1880, 1, 1, tzinfo=BERLIN), ""),),
        "an offset with seconds, such as those of long ago",
        note="the same moment and offset; the zone's name is not kept",
    ),
    Kind("date", date, (date(1, 1, 1), date(9999, 12, 31), date(2024, 2, 29))),
    Kind(
        "time",
        time,
        (time(0), time(23, 59, 59, 999999), time(1, 2, tzinfo=UTC), time(1, tzinfo=hours(-3))),
        ((time(1, 2, tzinfo=BERLIN), ""),),
        "a `ZoneInfo`: its offset is a date's",
    ),
    Kind(
        "timedelta",
        timedelta,
        (timedelta(0), timedelta(microseconds=-1), timedelta(-1, 5, 7), timedelta(days=365 * 3)),
        ((5, ""),),
        "a number",
    ),
    Kind(
        "Decimal",
        Decimal,
        tuple(map(Decimal, ("1.10", "-0", "1E+10", "1E-400", "1e999999", "0.1234567890123456789"))),
        ((1, ""), (1.5, "")),
        "a plain number; in pydantic NaN and infinity",
    ),
    Kind("UUID", uuid.UUID, (uuid.UUID(int=0), uuid.uuid4(), uuid.UUID(int=2**128 - 1))),
    Kind(
        "bytes",
        bytes,
        (b"", bytes(range(256)), b"\xff" * 3, b"x" * 100_000),
        ((bytearray(b"a"), ""),),
        "a bytearray; in pydantic, a model that does not say base64",
    ),
    Kind("bytearray", bytearray, (bytearray(), bytearray(range(256))), families=PLAIN),
    Kind("enum of text", Color, tuple(Color), (("red", ""),), "the bare value"),
    Kind("`StrEnum`", Size, tuple(Size), (("small", ""),), "the bare value"),
    Kind("`IntEnum`", Level, tuple(Level), ((5, ""),), "the bare value"),
    Kind("`Flag`", Rights, (Rights.READ, Rights.READ | Rights.WRITE, Rights(0))),
    Kind("Literal", Literal["a", 1], ("a", 1), (("b", ""), (True, "")), "anything else"),
    Kind("tuple, fixed", tuple[int, date], ((1, date(2026, 1, 1)),), (([1, date(2026, 1, 1)], ""),),
         "a list, a NamedTuple"),
    Kind(
        "tuple, of any length",
        tuple[float, ...],
        ((), (1.5, -0.0)),
        (((1.5, float("nan")), "[1]"), (Point(), "[1]")),
        "the same",
    ),
    Kind("`NamedTuple`", Point, (Point(), Point(-5, "here")), (((1, ""), ""),), "a tuple"),
    Kind(
        "list",
        list[date],
        ([], [date(2026, 1, 1), date(2025, 1, 1)]),
        (([date(2026, 1, 1), "x"], "[1]"), (((date(2026, 1, 1)),), "")),
        "a tuple",
    ),
    Kind(
        "set",
        set[date | int],
        (set(), {date(2026, 1, 1), 5}, set(range(100))),
        ((frozenset({5}), ""), ([5], "")),
        "a frozenset, a list",
    ),
    Kind("frozenset", frozenset[str], (frozenset(), frozenset("abc")), (({"a"}, ""),), "a set"),
    Kind("set of tuples", set[tuple[str, int]], ({("a", 1), ("b", 2), ("a", -1)},)),
    Kind(
        "dict with text as keys",
        dict[str, int],
        ({}, {"b": 1, "a": 2, "": 3, "$x.y": 4, "\0": 5}),
        (
            ({Size.S: 1}, ""),
            ({"\ud800": 1}, ""),
            (defaultdict(int, a=1), ""),
            (OrderedDict(a=1), ""),
            ({"a": 2**63}, "['a']"),
        ),
        "a subclass, such as `defaultdict`; a key that is a `StrEnum`",
        note="the order of keys is not kept",
    ),
    Kind("dict with int as keys", dict[int, str], ({1: "a", -5: "b", 2**64: "c"},),
         (({"1": "a"}, ""),), "a key that is another type's"),
    Kind("dict with dates as keys", dict[date, int], ({date(2026, 1, 1): 1, date(1, 1, 1): 2},)),
    Kind("dict with enums as keys", dict[Size, int], ({Size.L: 1, Size.S: 2},)),
    Kind("dict with UUIDs as keys", dict[uuid.UUID, int], ({uuid.UUID(int=5): 1},)),
    Kind("dict with tuples as keys", dict[str, Any], (), (({(1, 2): 1}, ""),), "all",
         families=PLAIN),
    Kind(
        "dataclass",
        Address,
        (Address(), Address("Main St", date(2026, 1, 1), {"a", "b"})),
        (
            (FarAddress("Main St"), ""),
            (_noted(Address()), ".nmae"),
            (Address(tags={"a", 5}), ".tags"),  # type: ignore[arg-type]
        ),
        "a subclass; an attribute that is no field",
    ),
    Kind("dataclass that inherits", FarAddress, (FarAddress("A", None, set(), "NL"),)),
    Kind(
        "dataclass with `frozen`, `init=False`, private fields",
        Coin,
        (Coin(Decimal("1.50"), "B"),),
    ),
    Kind(
        "dataclass with `eq=False`, `slots`, `kw_only`",
        Identity,
        (Identity(number=1, noted=[date(2026, 1, 1)]),),
        ((Identity(number=2**63), ".number"),),
        "inside, by its path",
    ),
    Kind("TypedDict", Parcel, ({}, {"weight": 1.5, "sent": at(2026, 1, 1, tzinfo=UTC)})),
    Kind(
        "Struct with `rename`, `omit_defaults`",
        Visit,
        (Visit(), Visit("/", [time(1), time(2)])),
        ((Visit("\ud800"), ".first_page"), (Visit("", [5]), ".at_times[0]")),  # type: ignore[list-item]
        "inside, by its path",
        families=PLAIN,
    ),
    Kind("Struct with `array_like`", Cell, (Cell(1, "a"),), families=PLAIN),
    Kind("union of tagged Structs", Cash | Card, (Cash(Decimal("1.0")), Card("1")), families=PLAIN),
    Kind("union by discriminator",
         Annotated[Cat | Dog, pydantic.Field(discriminator="kind")], (Cat(), Dog(lives=2)),
         families=MODEL),
    Kind("recursive", Node, (nested(40, Node, "next"),), ((nested(100, Node, "next"), ""),),
         "more than 64 levels", families=PLAIN),
    Kind("recursive ", ModelNode, (nested(40, ModelNode, "next"),),
         ((nested(100, ModelNode, "next"), ""),), "more than 64 levels", families=MODEL),
    Kind("generic", Box[date], (Box(date(2026, 1, 1)), Box()), ((Box(5), ".inside"),),
         "inside, by its path", families=PLAIN),
    Kind("generic ", ModelBox[date], (ModelBox[date](inside=date(2026, 1, 1)),),
         ((ModelBox(inside=date(2026, 1, 1)), ""),), "of other parameters", families=MODEL),
    Kind("within limits", Annotated[int, msgspec.Meta(ge=0)], (0, 5), ((-1, ""),), "beyond them",
         families=PLAIN),
    Kind("within limits ", Annotated[int, pydantic.Field(ge=0)], (0, 5), ((-1, ""),),
         "beyond them", families=MODEL),
    Kind("model, frozen, with aliases", Named, (Named(FIRST_NAME="Tim", BORN=date(2026, 1, 1)),),  # type: ignore[call-arg]
         families=MODEL),
    Kind(
        "model with `strict`, `extra`, computed fields",
        Roomy,
        (Roomy(size=2, days=(date(2026, 1, 1),), more=[1, "a"]),),  # type: ignore[call-arg]
        ((Roomy(more=date(2026, 1, 1)), ".more"),),  # type: ignore[call-arg]
        "an extra that JSON does not know",
        families=MODEL,
    ),
    Kind("model's private attributes", Secretive, (Secretive(shown=5),),
         ((_secretive(5), "._hidden"),), "those that were changed", families=MODEL),
    Kind("root model, inside", Words, (Words(["a", "b"]), Words()), families=MODEL),
    Kind("`Json`", pydantic.Json[list[int]], ([], [1, 2]), families=MODEL),
    Kind("`Base64Bytes`", pydantic.Base64Bytes, (b"", b"\xff\x00"), families=MODEL),
    Kind("ordered dict", OrderedDict[str, int], (OrderedDict(b=1, a=2),), (({"a": 1}, ""),),
         "a dict", families=MODEL),
    Kind(
        "Any",
        Any,
        (None, True, 1, 1.5, "a", [1, {"a": None}]),
        (
            ((1, 2), ""),
            ({"a": {1}}, "['a']"),
            ([date(2026, 1, 1)], "[0]"),
            (Decimal(1), ""),
            (Size.S, ""),
            ({"a": 2**64}, "['a']"),
            (object(), ""),
        ),
        "what JSON does not have",
    ),
)  # fmt: skip


def field_name(kind: Kind) -> str:
    """The name of the field that is of a kind."""
    return f"kind_{KINDS.index(kind)}"


def type_with(family: str, fields: dict[str, Any]) -> Any:
    """A type of states with these fields, each of which may be None, and is so at first."""
    fields = {name: kind | None for name, kind in fields.items()}
    if family == "TypedDict":
        return TypedDict("AState", fields, total=False)  # type: ignore[operator]
    if family == "dataclass":
        return dataclasses.make_dataclass(
            "AState",
            [(name, kind, dataclasses.field(default=None)) for name, kind in fields.items()],
        )
    if family == "Struct":
        return msgspec.defstruct("AState", [(name, kind, None) for name, kind in fields.items()])
    as_base64 = pydantic.ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")
    return pydantic.create_model(
        "AState", __config__=as_base64, **{name: (kind, None) for name, kind in fields.items()}
    )  # type: ignore[call-overload]
