"""States with a type: what handlers see, what is checked, and what a bot refuses to begin with."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, timezone
from functools import partial
from typing import TYPE_CHECKING, Any, TypedDict

import msgspec
import pytest
from pydantic import BaseModel, ConfigDict, Field, field_validator
from pydantic.dataclasses import dataclass as pydantic_dataclass

from barback import (
    Bot,
    ConfigurationError,
    Context,
    MemorySessionStore,
    SessionUnreadable,
    StateValueError,
)
from barback.testing import Simulator
from tests.scripted import event

if TYPE_CHECKING:
    from collections.abc import Callable


class AStruct(msgspec.Struct):
    name: str = ""
    age: int = 0
    tags: list[str] = msgspec.field(default_factory=list)


@dataclass
class ADataclass:
    name: str = ""
    age: int = 0
    tags: list[str] = field(default_factory=list)


class AModel(BaseModel):
    name: str = ""
    age: int = 0
    tags: list[str] = []


@pydantic_dataclass
class AModelDataclass:
    name: str = ""
    age: int = 0
    tags: list[str] = field(default_factory=list)


class AFrozenStruct(msgspec.Struct, frozen=True):
    name: str = ""
    age: int = 0
    tags: list[str] = msgspec.field(default_factory=list)


@dataclass(frozen=True)
class AFrozenDataclass:
    name: str = ""
    age: int = 0
    tags: list[str] = field(default_factory=list)


class AFrozenModel(BaseModel):
    model_config = ConfigDict(frozen=True)
    name: str = ""
    age: int = 0
    tags: list[str] = []


@pydantic_dataclass(frozen=True)
class AFrozenModelDataclass:
    name: str = ""
    age: int = 0
    tags: list[str] = field(default_factory=list)


MUTABLE: list[type[Any]] = [AStruct, ADataclass, AModel, AModelDataclass]
FROZEN: list[type[Any]] = [AFrozenStruct, AFrozenDataclass, AFrozenModel, AFrozenModelDataclass]
CLASSES: list[type[Any]] = [*MUTABLE, *FROZEN]

every_class = pytest.mark.parametrize("kind", CLASSES)
every_mutable_class = pytest.mark.parametrize("kind", MUTABLE)


async def in_a_turn(bot: Bot[Any], act: Callable[[Context[Any]], Any]) -> Any:
    """What `act` returns, given the context of a turn of Tim's."""
    async with bot.conversation("test:tim") as context:
        return act(context)


def set_to(changes: dict[str, Any], context: Context[Any]) -> None:
    context.set_state(changes)


@every_class
async def test_a_state_is_an_instance(kind: type[Any]) -> None:
    async with Bot(initial_state=kind) as bot:
        state = await in_a_turn(bot, lambda context: context.state)
        assert type(state) is kind
        assert state == kind()


@every_class
async def test_set_state_merges_and_comes_back(kind: type[Any]) -> None:
    async with Bot(initial_state=kind) as bot:
        await in_a_turn(bot, lambda context: context.set_state(name="Tim", age=30))
        await in_a_turn(bot, lambda context: context.set_state({"age": 31}, tags=["a"]))
        state = await in_a_turn(bot, lambda context: context.state)
        assert state == kind(name="Tim", age=31, tags=["a"])


@every_class
async def test_reset_state_makes_a_new_instance(kind: type[Any]) -> None:
    def reset(context: Context[Any]) -> None:
        context.set_state(name="Tim")
        context.reset_state()

    async with Bot(initial_state=kind) as bot:
        await in_a_turn(bot, lambda context: context.set_state(age=30))
        await in_a_turn(bot, reset)
        assert await in_a_turn(bot, lambda context: context.state) == kind()


@every_mutable_class
async def test_what_is_assigned_is_kept(kind: type[Any]) -> None:
    def assign(context: Context[Any]) -> None:
        context.state.name = "Tim"
        context.state.tags.append("new")

    async with Bot(initial_state=kind) as bot:
        await in_a_turn(bot, assign)
        state = await in_a_turn(bot, lambda context: context.state)
        assert (state.name, state.tags) == ("Tim", ["new"])


@every_mutable_class
async def test_set_state_changes_the_instance_that_a_handler_has(kind: type[Any]) -> None:
    def change(context: Context[Any]) -> bool:
        state = context.state
        context.set_state(name="Tim")
        return state is context.state and state.name == "Tim"

    async with Bot(initial_state=kind) as bot:
        assert await in_a_turn(bot, change)


@every_class
async def test_set_state_says_which_field_is_wrong_and_changes_nothing(kind: type[Any]) -> None:
    def change(context: Context[Any]) -> None:
        for wrong in ({"name": "Tim", "age": "secret"}, {"name": "Tim", "tags": ["a", 5]}):
            with pytest.raises(StateValueError) as refused:
                context.set_state(wrong)
            assert refused.value.path == ("state.age" if "age" in wrong else "state.tags[1]")
            assert refused.value.session_id == "test:tim"
            assert "secret" not in str(refused.value)
        assert context.state == kind()

    async with Bot(initial_state=kind) as bot:
        await in_a_turn(bot, change)


@every_class
async def test_there_are_no_other_fields(kind: type[Any]) -> None:
    async with Bot(initial_state=kind) as bot:
        with pytest.raises(StateValueError, match=f"{kind.__name__} has no field 'nmae'"):
            await in_a_turn(bot, lambda context: context.set_state(nmae="Tim"))


@every_mutable_class
async def test_what_was_assigned_wrongly_is_refused_at_the_commit(kind: type[Any]) -> None:
    def assign(context: Context[Any]) -> None:
        context.state.tags.append(5)

    async with Bot(initial_state=kind) as bot:
        with pytest.raises(StateValueError) as refused:
            await in_a_turn(bot, assign)
        assert refused.value.path == "state.tags[0]"
        assert await in_a_turn(bot, lambda context: context.state) == kind()


@every_class
async def test_a_turn_that_only_looked_changes_nothing(kind: type[Any]) -> None:
    store = MemorySessionStore()
    async with Bot(initial_state=kind, session_store=store) as bot:
        await in_a_turn(bot, lambda context: context.set_state(name="Tim"))
        before = store._records["test:tim"].version
        await in_a_turn(bot, lambda context: context.set_state(name="Tim"))
        assert store._records["test:tim"].version == before


@every_class
async def test_a_kept_state_that_does_not_fit_is_unreadable(kind: type[Any]) -> None:
    store = MemorySessionStore()
    for wrong, path in [({"age": "secret"}, "state.age"), ({"color": "red"}, "state.color")]:
        async with Bot(initial_state=wrong, session_store=store) as bot:
            await in_a_turn(bot, lambda context: context.set_state(more=1))
            await in_a_turn(bot, lambda context: context.state.pop("more"))
        async with Bot(initial_state=kind, session_store=store) as bot:
            with pytest.raises(SessionUnreadable, match=path) as refused:
                await in_a_turn(bot, lambda context: context.state)
            assert "secret" not in str(refused.value)
        async with store:
            await store.destroy("test:tim", None)


@every_class
async def test_fields_that_are_new_have_their_defaults(kind: type[Any]) -> None:
    store = MemorySessionStore()
    async with Bot(initial_state={"name": "Tim"}, session_store=store) as bot:
        await in_a_turn(bot, lambda context: context.set_state(age=30))
    async with Bot(initial_state=kind, session_store=store) as bot:
        assert (
            await in_a_turn(bot, lambda context: context.state) == kind("Tim", 30)
            if (kind not in {AModel, AFrozenModel})
            else kind(name="Tim", age=30)
        )


class Choices(TypedDict, total=False):
    name: str
    age: int


async def test_a_typed_dict_is_a_dict_that_is_checked() -> None:
    async with Bot(initial_state=Choices) as bot:
        await in_a_turn(bot, lambda context: context.set_state(name="Tim"))
        assert await in_a_turn(bot, lambda context: context.state) == {"name": "Tim"}
        with pytest.raises(StateValueError, match=r"state\.age"):
            await in_a_turn(bot, lambda context: context.set_state(age="x"))
        with pytest.raises(StateValueError, match="no field 'size'"):
            await in_a_turn(bot, lambda context: context.set_state(size=1))

        def assign(context: Context[Choices]) -> None:
            context.state["name"] = 5  # type: ignore[typeddict-item]

        with pytest.raises(StateValueError, match=r"state\.name"):
            await in_a_turn(bot, assign)


class Needy(msgspec.Struct):
    name: str


async def test_what_a_session_starts_from_may_be_said_beside_the_type() -> None:
    made = Needy("Ann")
    for source in ({"name": "Ann"}, Needy("Ann"), lambda: Needy("Ann")):
        async with Bot(state_type=Needy, initial_state=source) as bot:
            assert await in_a_turn(bot, lambda context: context.state) == made
    async with Bot(initial_state=Needy("Ann")) as bot:
        assert await in_a_turn(bot, lambda context: context.state) == made


async def test_an_initial_instance_is_not_shared() -> None:
    made = AStruct(tags=["a"])
    async with Bot(state_type=AStruct, initial_state=made) as bot:
        await in_a_turn(bot, lambda context: context.state.tags.append("b"))
        made.tags.append("c")
        async with bot.conversation("test:ann") as context:
            assert context.state.tags == ["a"]


async def test_an_initial_state_may_change_but_not_its_type() -> None:
    async with Bot(initial_state=AStruct) as bot:
        bot.set_initial_state(AStruct(name="Ann"))
        assert (await in_a_turn(bot, lambda context: context.state)).name == "Ann"
        with pytest.raises(ConfigurationError):
            bot.set_initial_state(Needy("Ann"))  # type: ignore[arg-type]


# What cannot make the trip is refused when the bot is made.


class Untold(msgspec.Struct):
    at: datetime | str = ""


@dataclass
class Untagged:
    what: ADataclass | AFrozenDataclass = field(default_factory=ADataclass)


@dataclass
class SetOrList:
    what: set[int] | list[int] = field(default_factory=list)


@dataclass
class Mixed:
    models: list[dict[str, AModel]] = field(default_factory=list)


class Thing:
    pass


@dataclass
class Foreign:
    thing: Thing | None = None


class ModelWithBytes(BaseModel):
    parts: list[bytes] = []


class AsArray(msgspec.Struct, array_like=True):
    name: str = ""


class Unknown(msgspec.Struct):
    what: Nowhere = None  # type: ignore[name-defined] # noqa: F821


class ModelWithAFunction(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True)
    thing: Thing | None = None


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        (Untold, r"state\.at"),
        (Untagged, r"state\.what"),
        (SetOrList, r"state\.what"),
        (Mixed, r"state\.models\[\.\.\.\]\[\.\.\.\].*pydantic"),
        (Foreign, r"state\.thing"),
        (ModelWithBytes, r"state\.parts\[\.\.\.\].*base64"),
        (AsArray, "array"),
        (Unknown, "Nowhere"),
        (ModelWithAFunction, "Thing"),
        (Needy, "cannot be made without arguments"),
        (int, "use a dataclass"),
        (Thing, "use a dataclass"),
    ],
)
def test_a_type_that_cannot_be_kept_is_refused_at_once(kind: type[Any], told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        Bot(initial_state=kind)


# What a type says in one way, and a value is in another.


class Loose(msgspec.Struct, eq=False):
    anything: Any = None
    number: float = 0.0
    big: int = 0
    deep: list[Any] = msgspec.field(default_factory=list)
    when: datetime | None = None


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"anything": date(2026, 1, 1)}, "state.anything"),
        ({"anything": (1, 2)}, "state.anything"),
        ({"anything": {"a": {1, 2}}}, "state.anything['a']"),
        ({"number": float("nan")}, "state.number"),
        ({"number": float("inf")}, "state.number"),
        ({"big": 2**63}, "state.big"),
        ({"anything": "\ud800"}, "state.anything"),
        ({"anything": object()}, "state.anything"),
        ({"when": datetime(2026, 1, 1, tzinfo=timezone(timedelta(seconds=17)))}, "state.when"),
    ],
)
async def test_a_value_that_would_not_come_back_is_refused_with_its_path(
    change: dict[str, Any], path: str
) -> None:
    def assign(context: Context[Loose]) -> None:
        for name, value in change.items():
            setattr(context.state, name, value)

    async with Bot(initial_state=Loose) as bot:
        with pytest.raises(StateValueError) as refused:
            await in_a_turn(bot, assign)
        assert refused.value.path == path


async def test_a_class_that_compares_by_identity_comes_back() -> None:
    async with Bot(initial_state=Loose) as bot:
        await in_a_turn(bot, lambda context: context.set_state(number=1.5, anything={"a": [1]}))
        state = await in_a_turn(bot, lambda context: context.state)
        assert (state.number, state.anything) == (1.5, {"a": [1]})


async def test_what_is_inside_itself_is_refused() -> None:
    def assign(context: Context[Loose]) -> None:
        context.state.deep.append(context.state.deep)

    async with Bot(initial_state=Loose) as bot:
        with pytest.raises(StateValueError):
            await in_a_turn(bot, assign)


# What the models of pydantic have of their own.


class Account(BaseModel):
    name: str = Field("", alias="displayName")
    seats: set[str] = set()
    limit: int = Field(0, le=10)

    @field_validator("name")
    @classmethod
    def shorten(cls, name: str) -> str:
        if len(name) > 5:
            raise ValueError("secret reason")
        return name


async def test_a_model_keeps_its_own_rules() -> None:
    store = MemorySessionStore()
    async with Bot(initial_state=Account, session_store=store) as bot:
        await in_a_turn(bot, lambda context: context.set_state(name="Tim", seats={"a", "b"}))
        version = store._records["test:tim"].version
        for wrong in ({"name": "Timothy"}, {"limit": 11}):
            with pytest.raises(StateValueError) as refused:
                await in_a_turn(bot, partial(set_to, wrong))
            assert "secret" not in str(refused.value)
            assert "Timothy" not in str(refused.value)
        state = await in_a_turn(bot, lambda context: context.state)
        assert (state.name, state.seats) == ("Tim", {"a", "b"})

        def the_other_way_about(context: Context[Account]) -> None:
            context.state.seats = {"b", "a"}

        await in_a_turn(bot, the_other_way_about)
        assert store._records["test:tim"].version == version


async def test_a_handler_is_given_the_instance_and_the_simulator_too() -> None:
    bot = Bot(initial_state=AStruct)

    @bot.on_event
    async def greet(context: Context[AStruct]) -> None:
        context.state.age += 1
        await context.send_text(f"Turn {context.state.age}")

    async with Simulator(bot) as chat:
        assert await chat.say("Hi") == ["Turn 1"]
        assert await chat.say("Hi") == ["Turn 2"]
        assert (await chat.state()).age == 2


async def test_on_error_sees_the_state_as_it_was() -> None:
    bot = Bot(initial_state=AStruct)

    @bot.on_event
    async def fail(context: Context[AStruct]) -> None:
        context.state.age = 99
        raise RuntimeError

    @bot.on_error
    async def note(context: Context[AStruct], error: Exception) -> None:
        context.set_state(name=f"failed at {context.state.age}")

    async with bot:
        await bot.handle(event())
        state = await in_a_turn(bot, lambda context: context.state)
        assert state == AStruct(name="failed at 0")
