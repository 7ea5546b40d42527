"""Models of pydantic as types of states: what they have of their own, and would lose."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Annotated, Any

import pydantic
import pytest

from barback import Bot, ConfigurationError, Context, StateValueError
from barback.shapes import shape_of
from barback.testing import Clock
from tests.shape_turns import SECRET, after, assign, refusal, set_to


class Open(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow")
    name: str = ""


async def test_a_model_takes_fields_that_it_does_not_declare_by_set_state() -> None:
    state = await after(Open, set_to(name="Tim", likes=["tea"]))
    assert state.likes == ["tea"]


class Coded(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")
    words: pydantic.Json[list[str]] = pydantic.Field(default_factory=list)
    data: pydantic.Base64Bytes = b""
    n: int = 0


async def test_set_state_leaves_alone_what_a_model_holds_otherwise_than_it_is_given() -> None:
    def change(context: Context[Coded]) -> None:
        context.set_state(words='["a"]', data=b"/wBh")
        context.set_state(n=1)
        assert (context.state.words, context.state.data) == (["a"], b"\xff\0a")

    state = await after(Coded, change)
    assert (state.words, state.data, state.n) == (["a"], b"\xff\0a", 1)


class Rests(pydantic.BaseModel):
    parts: dict[str, list[Any]] = {}


async def test_what_a_model_cannot_write_is_told_with_its_path() -> None:
    for wrong in ("\ud800", object()):
        error = await refusal(Rests, assign(parts={"a": [1, wrong]}))
        assert error.path == "state.parts['a'][1]"
    error = await refusal(Rests, assign(parts={"a": [1, 2**63]}))
    assert error.path == "state.parts['a'][1]"


class Chain(pydantic.BaseModel):
    next: Chain | None = None


@pytest.mark.parametrize("links", [100, 3000])
async def test_what_is_too_deep_in_a_model_is_refused(links: int) -> None:
    chain = None
    for _ in range(links):
        chain = Chain.model_construct(next=chain)
    assert str((await refusal(Chain, assign(next=chain))).path).startswith("state")


async def test_a_model_that_is_inside_itself_is_refused() -> None:
    await refusal(Chain, lambda context: setattr(context.state, "next", context.state))


class Endless(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(ser_json_inf_nan="constants")
    size: float = 0.0


async def test_what_is_no_json_is_refused() -> None:
    assert (await refusal(Endless, assign(size=float("inf")))).path == "state.size"


def test_what_is_kept_and_is_no_json_does_not_fit() -> None:
    with pytest.raises(StateValueError, match="not JSON"):
        shape_of(Endless).decode(b'{"size": Infinity}')


class Stubborn:
    """A thing of its own, which is equal to nothing, and says so loudly."""

    def __eq__(self, other: object) -> bool:
        raise RuntimeError(SECRET)

    __hash__ = object.__hash__


Thing = Annotated[
    Stubborn,
    pydantic.PlainValidator(lambda value: value if value == "" else Stubborn()),
    pydantic.PlainSerializer(lambda value: str(type(value))),
    pydantic.WithJsonSchema({"type": "string"}),
]
Lowered = Annotated[str, pydantic.AfterValidator(str.lower)]


class Normal(pydantic.BaseModel):
    words: set[Lowered] = set()
    by_word: dict[Lowered, int] = {}
    sorted: Annotated[list[int], pydantic.AfterValidator(lambda value: value[:2])] = []
    thing: Thing | None = None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("words", {"A", "b"}),
        ("words", {"a", "A"}),
        ("by_word", {"A": 1}),
        ("sorted", [1, 2, 3]),
        ("thing", Stubborn()),
    ],
)
async def test_what_validators_change_is_to_be_given_as_they_leave_it(
    name: str, value: Any
) -> None:
    error = await refusal(Normal, assign(**{name: value}))
    assert error.path == f"state.{name}"


class Secretive(pydantic.BaseModel):
    accounts: dict[str, pydantic.SecretStr] = {}


class Listed(pydantic.BaseModel):
    n: int = 0

    @pydantic.model_serializer
    def as_list(self) -> list[int]:
        return [self.n]


@dataclass
class Seeded:
    seed: dataclasses.InitVar[int] = 0


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        (Secretive, r"state\.accounts\[\.\.\.\].*asterisks"),
        (pydantic.RootModel[dict[str, int]], "no fields"),
        (Listed, "state"),
        (Seeded, r"state\.seed"),
    ],
)
def test_a_type_that_cannot_be_kept_is_refused_at_once(kind: Any, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        Bot(initial_state=kind)


class Indexed(pydantic.BaseModel):
    words: list[str] = []
    _lock: object = pydantic.PrivateAttr(default_factory=object)
    _longest: str = pydantic.PrivateAttr(default="")

    def model_post_init(self, _: Any) -> None:
        self._longest = max(self.words, key=len, default="")


async def test_what_a_model_works_out_by_itself_is_no_part_of_a_state() -> None:
    state = await after(Indexed, assign(words=["a", "bcd"]))
    assert state._longest == "bcd"
    state = await after(Indexed, set_to(words=["a", "bcd"]))
    assert state._longest == "bcd"


class Hiding(pydantic.BaseModel):
    _hidden: str = pydantic.PrivateAttr(default="")


async def test_what_is_hidden_in_a_model_is_refused_rather_than_lost() -> None:
    assert (await refusal(Hiding, assign(_hidden=SECRET))).path == "state._hidden"


async def test_a_field_that_ends_goes_back_to_what_it_is_initially() -> None:
    clock = Clock()

    def for_a_while(context: Context[Any]) -> None:
        context.set_state(words='["a"]', data=b"/wBh", expires_in=10)
        context.set_state(n=1)

    async with Bot(initial_state=Coded, clock=clock) as bot:
        async with bot.conversation("test:tim") as context:
            for_a_while(context)
        clock.advance(minutes=11)
        async with bot.conversation("test:tim") as context:
            assert context.state == Coded(n=1)
