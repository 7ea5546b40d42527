"""Types of states that try hard to lose what is put into them, and what becomes of them."""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import msgspec
import pydantic
import pytest
from typing_extensions import TypedDict

from barback import (
    Bot,
    ConfigurationError,
    Context,
    MemorySessionStore,
    SessionUnreadable,
    StateValueError,
)
from barback.shapes import shape_of
from barback.testing import Clock
from tests.shape_turns import SECRET, after, assign, refusal, set_to

T = TypeVar("T")
# What is not among a class's fields.


@dataclass
class Counted:
    limit: ClassVar[int] = 3
    n: int = 0

    @cached_property
    def doubled(self) -> int:
        return 2 * self.n


@pydantic.dataclasses.dataclass
class CountedModel:
    n: int = 0


class CountedStruct(msgspec.Struct, dict=True):
    n: int = 0


@pytest.mark.parametrize("kind", [Counted, CountedModel, CountedStruct])
async def test_an_attribute_that_is_no_field_is_refused(kind: Any) -> None:
    error = await refusal(kind, assign(n=1, nmae=SECRET))
    assert error.path == "state.nmae"


async def test_an_attribute_of_the_class_is_refused_rather_than_never_read_again() -> None:
    error = await refusal(Counted, assign(limit=5))
    assert error.path == "state.limit"


async def test_what_a_class_works_out_by_itself_is_no_part_of_a_state() -> None:
    def look(context: Context[Counted]) -> None:
        context.state.n = 2
        assert context.state.doubled == 4

    state = await after(Counted, look)
    assert (state.n, state.doubled) == (2, 4)


# Classes that compare as they like.


@dataclass
class Alike:
    what: Any = None

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = None  # type: ignore[assignment]


@dataclass
class Raising:
    what: Any = None

    def __eq__(self, other: object) -> bool:
        raise RuntimeError(SECRET)

    __hash__ = None  # type: ignore[assignment]


class Undecided:
    def __bool__(self) -> bool:
        raise ValueError(SECRET)


@dataclass
class Arraylike:
    what: Any = None

    def __eq__(self, other: object) -> Any:
        return Undecided()

    __ne__ = __eq__
    __hash__ = None  # type: ignore[assignment]


@dataclass
class Uncompared:
    what: Any = field(default=None, compare=False)


@pytest.mark.parametrize("kind", [Alike, Raising, Arraylike, Uncompared])
async def test_how_a_class_compares_is_not_asked(kind: Any) -> None:
    state = await after(kind, assign(what=[1]))
    assert state.what == [1]
    error = await refusal(kind, assign(what=(1,)))
    assert error.path == "state.what"
    assert "tuple" in str(error)


# Classes that have code of their own.


@dataclass
class Checked:
    name: str = ""

    def __post_init__(self) -> None:
        if self.name == SECRET:
            raise ValueError(f"Expected something else than {self.name} - at `$.{self.name}`")


@dataclass
class Failing:
    name: str = ""

    def __post_init__(self) -> None:
        if self.name == SECRET:
            raise KeyError(self.name)


class FailingStruct(msgspec.Struct):
    name: str = ""

    def __post_init__(self) -> None:
        if self.name == SECRET:
            raise KeyError(self.name)


class FailingModel(pydantic.BaseModel):
    name: str = ""

    @pydantic.field_validator("name")
    @classmethod
    def refuse(cls, name: str) -> str:
        if name == SECRET:
            raise KeyError(name)
        return name


every_failing = pytest.mark.parametrize("kind", [Checked, Failing, FailingStruct, FailingModel])


@every_failing
@pytest.mark.parametrize("way", [assign, set_to])
async def test_a_class_that_raises_refuses_a_value_without_telling_it(kind: Any, way: Any) -> None:
    error = await refusal(kind, way(name=SECRET))
    assert kind.__name__ in str(error)


@every_failing
async def test_a_kept_state_at_which_a_class_raises_is_unreadable(kind: Any) -> None:
    store = MemorySessionStore()
    await after({"name": ""}, set_to(name=SECRET), session_store=store)
    with pytest.raises(SessionUnreadable) as refused:
        await after(kind, set_to(name="Tim"), session_store=store)
    assert SECRET not in str(refused.value)


@dataclass
class Whole:
    first: str = ""
    last: str = ""
    full: str = field(init=False, default="")

    def __post_init__(self) -> None:
        self.full = f"{self.first} {self.last}"


class WholeModel(pydantic.BaseModel):
    first: str = ""
    last: str = ""
    full: str = ""

    @pydantic.model_validator(mode="after")
    def join(self) -> WholeModel:
        self.full = f"{self.first} {self.last}"
        return self


@pytest.mark.parametrize("kind", [Whole, WholeModel])
async def test_set_state_has_a_class_work_out_again_what_follows_from_its_fields(kind: Any) -> None:
    state = await after(kind, set_to(first="Tim", last="Smith"))
    assert state.full == "Tim Smith"


@dataclass(frozen=True)
class FrozenWhole:
    first: str = ""
    seen: int = field(init=False, default=0)


async def test_a_frozen_class_may_have_fields_that_it_is_not_made_with() -> None:
    state = await after(FrozenWhole, set_to(first="Tim", seen=3))
    assert (state.first, state.seen) == ("Tim", 3)


# What is kept is written in one way.


class Measured(msgspec.Struct):
    size: float = 0.0


async def test_an_int_for_a_float_is_written_once() -> None:
    store = MemorySessionStore()
    state = await after(Measured, assign(size=2), session_store=store)
    assert type(state.size) is float
    version = store._records["test:tim"].version
    await after(Measured, lambda context: context.state, session_store=store)
    assert store._records["test:tim"].version == version


@pytest.mark.parametrize("seeds", [("1", "2"), ("3", "4")])
async def test_the_order_of_sets_and_dicts_is_no_change_in_another_process(
    seeds: tuple[str, str], tmp_path: Path
) -> None:
    told = []
    for seed in seeds:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(Path(__file__).with_name("values_process.py")),
            f"sqlite:///{tmp_path}/sessions.db",
            env={**os.environ, "PYTHONHASHSEED": seed},
            stdout=asyncio.subprocess.PIPE,
        )
        told.append((await process.communicate())[0].split())
        assert process.returncode == 0
    assert len(told[0]) == 3
    assert told[0] == told[1]


@dataclass(frozen=True)
class Kitty:
    name: str = ""
    lives: int = 9


class Puppy(msgspec.Struct, frozen=True, omit_defaults=True):
    name: str = ""
    lives: int = 1


class Home(msgspec.Struct):
    dogs: set[Puppy] = set()


class ModelHome(pydantic.BaseModel):
    pets: set[Kitty | int] = set()


def test_a_set_that_was_written_in_another_order_has_lost_nothing() -> None:
    shape = shape_of(Home)
    dogs = {Puppy("a"), Puppy("b", 2), Puppy("c")}
    kept = b'{"dogs":[{"name":"c"},{"lives":2,"name":"b"},{"name":"a"}]}'
    assert shape.decode(kept).dogs == dogs
    model = shape_of(ModelHome)
    for pets in (b'[{"name":"a","lives":9},5]', b'[5,{"name":"a","lives":9}]'):
        assert model.decode(b'{"pets":%s}' % pets).pets == {Kitty("a"), 5}
    with pytest.raises(StateValueError, match=r"state\.dogs"):
        shape.decode(b'{"dogs":[{"name":"c"},{"name":"b","color":"red"}]}')


# What a session starts from.


async def test_a_function_may_make_a_mapping() -> None:
    async with Bot(state_type=Renamed, initial_state={}) as bot:
        bot.set_initial_state(lambda: {"first_name": "Tim"})
        async with bot.conversation("test:tim") as context:
            assert context.state == Renamed("Tim")


@pytest.mark.parametrize(
    ("wrong", "path"),
    [
        ({"first_name": "\ud800"}, r"state\.first_name"),
        ({"first_name": object()}, r"state\.first_name"),
        ({"firstName": "Tim"}, "no field 'firstName'"),
    ],
)
def test_a_mapping_that_cannot_be_kept_is_refused_at_once(wrong: Any, path: str) -> None:
    with pytest.raises(ConfigurationError, match=path):
        Bot(state_type=Renamed, initial_state=wrong)


async def test_a_mapping_may_hold_what_fields_are_of() -> None:
    kind: Any = Box[set[date]]
    async with Bot(state_type=kind, initial_state={"inside": {date(2026, 1, 1)}}) as bot:
        async with bot.conversation("test:tim") as context:
            assert context.state == Box({date(2026, 1, 1)})


# Where a class comes from.


class Box(msgspec.Struct, Generic[T]):
    inside: T | None = None


class Renamed(msgspec.Struct, rename="camel"):
    first_name: str = ""
    inner_box: Box[int] | None = None


async def test_a_generic_class_may_be_given_with_its_parameters() -> None:
    kind: Any = Box[date]
    assert (await after(kind, assign(inside=date(2026, 1, 1)))).inside == date(2026, 1, 1)
    assert (await refusal(kind, set_to(inside="x"))).path == "state.inside"


async def test_paths_have_the_names_of_attributes() -> None:
    assert (await refusal(Renamed, set_to(first_name=5))).path == "state.first_name"
    error = await refusal(Renamed, assign(inner_box=Box(SECRET)))
    assert error.path == "state.inner_box.inside"
    assert (await refusal(Renamed, assign(first_name="\ud800"))).path == "state.first_name"


async def test_a_field_that_ends_may_have_another_name_in_json() -> None:
    clock = Clock()
    async with Bot(initial_state=Renamed, clock=clock) as bot:
        async with bot.conversation("test:tim") as context:
            context.set_state(first_name="Tim", expires_in=10)
        clock.advance(minutes=11)
        async with bot.conversation("test:tim") as context:
            assert context.state.first_name == ""


class Choices(TypedDict, total=False):
    n: int


async def test_a_typed_dict_of_typing_extensions_is_checked_too() -> None:
    with pytest.raises(StateValueError, match=r"state\.n"):
        await after(Choices, set_to(n="x"))


async def test_a_class_may_be_made_in_a_function() -> None:
    @dataclass
    class Local:
        day: date | None = None

    assert (await after(Local, assign(day=date(2026, 1, 1)))).day == date(2026, 1, 1)


async def test_what_is_held_twice_comes_back_twice() -> None:
    def share(context: Context[Any]) -> None:
        context.state.what = [[1]] * 2

    state = await after(Alike, share)
    assert state.what == [[1], [1]]
    assert state.what[0] is not state.what[1]
