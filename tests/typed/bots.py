"""What a type checker, and so an editor, knows of a bot: checked by mypy and pyright, never run."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any, Generic, TypedDict, TypeVar, assert_type

import msgspec
import pydantic

from barback import Bot, ConsoleBot, Context, SessionUnreadable
from barback.testing import Simulator

T = TypeVar("T")


@dataclass
class Profile:
    name: str = ""
    born: date | None = None
    likes: set[str] = field(default_factory=set[str])


class Order(msgspec.Struct):
    items: list[str] = []


class Account(pydantic.BaseModel):
    limit: int = 0


class Choices(TypedDict, total=False):
    color: str


class Box(msgspec.Struct, Generic[T]):
    inside: T | None = None


# What a bot's states are follows from what it is made with.

assert_type(Bot(), Bot[dict[str, Any]])
assert_type(Bot(initial_state={"n": 0}), Bot[dict[str, Any]])
assert_type(Bot(initial_state=lambda: {"n": 0}, schema_version=2), Bot[dict[str, Any]])
assert_type(Bot(initial_state=Profile), Bot[Profile])
assert_type(Bot(initial_state=Order, schema_version=1), Bot[Order])
assert_type(Bot(initial_state=Account), Bot[Account])
assert_type(Bot(initial_state=Choices), Bot[Choices])
assert_type(Bot(initial_state=Box[int]), Bot[Box[int]])
assert_type(Bot(initial_state=Profile("Tim")), Bot[Profile])
assert_type(Bot(initial_state=Order()), Bot[Order])
assert_type(Bot(initial_state=Account(limit=1), schema_version=1), Bot[Account])
assert_type(ConsoleBot(initial_state=Profile("Tim")), ConsoleBot[Profile])
assert_type(Bot(state_type=Profile, initial_state={"name": "Tim"}), Bot[Profile])
assert_type(Bot(state_type=Profile, initial_state=Profile("Tim")), Bot[Profile])
assert_type(Bot(state_type=Profile, initial_state=lambda: {"name": "Tim"}), Bot[Profile])
assert_type(Bot(state_type=Profile, initial_state=lambda: Profile("Tim")), Bot[Profile])
assert_type(ConsoleBot(), ConsoleBot[dict[str, Any]])
assert_type(ConsoleBot(initial_state={"n": 0}), ConsoleBot[dict[str, Any]])
assert_type(ConsoleBot(initial_state=Profile, user="tim"), ConsoleBot[Profile])
assert_type(ConsoleBot(state_type=Order, initial_state=Order), ConsoleBot[Order])

bot = Bot(initial_state=Profile)
plain = Bot(initial_state={"n": 0})


# Handlers are given the state, and stay what they are.


@bot.on_event
async def on_event(context: Context[Profile]) -> None:
    assert_type(context.state, Profile)
    assert_type(context.state.born, date | None)
    assert_type(context.set_state(name="Tim"), None)
    context.set_state({"born": date(2000, 1, 1)}, likes={"tea"}, expires_in=timedelta(days=1))


@bot.command("name")
@bot.on_text()
@bot.on_text(r"^my name is (\w+)", channel="telegram")
@bot.on_payload(re.compile(r"name", re.IGNORECASE))
@bot.on_kind("join", "my_chat_member")
async def route(context: Context[Profile]) -> None:
    assert_type(context.state, Profile)
    assert_type(context.match, re.Match[str] | None)
    assert_type(context.arguments, str)
    assert_type(context.next_step(step), None)
    context.next_step("step")


@bot.step("step")
async def step(context: Context[Profile]) -> None:
    assert_type(context.step, str | None)
    assert_type(context.end_steps(), None)


@bot.on_error
async def on_error(context: Context[Profile], error: Exception) -> None:
    assert_type(context.state.likes, set[str])


@bot.on_expired
async def on_expired(context: Context[Profile]) -> None:
    assert_type(context.state, Profile)


@bot.use
async def middleware(
    context: Context[Profile], call_next: Callable[[Context[Profile]], Awaitable[None]]
) -> None:
    await call_next(context)


@bot.on_unreadable
async def on_unreadable(error: SessionUnreadable) -> bool:
    return error.session_id is None


@bot.migrate(1)
def migrate(state: dict[str, Any]) -> dict[str, Any]:
    return state


async def called(context: Context[Profile], error: SessionUnreadable) -> None:
    assert_type(asyncio.create_task(on_event(context)), asyncio.Task[None])  # coroutines still
    assert_type(asyncio.create_task(route(context)), asyncio.Task[None])
    assert_type(asyncio.create_task(step(context)), asyncio.Task[None])
    assert_type(asyncio.create_task(on_error(context, error)), asyncio.Task[None])
    assert_type(asyncio.create_task(on_expired(context)), asyncio.Task[None])
    assert_type(asyncio.create_task(middleware(context, on_event)), asyncio.Task[None])
    assert_type(asyncio.create_task(on_unreadable(error)), asyncio.Task[bool])


@plain.on_event
async def untyped(context: Context) -> None:
    assert_type(context.state, dict[str, Any])
    context.state["n"] += 1


async def beside(events: Bot[Profile], said: Simulator[Order]) -> None:
    async with events.conversation("test:tim") as context:
        assert_type(context, Context[Profile])
        assert_type(context.state.name, str)
    async with Simulator(events) as chat:
        assert_type(await chat.state(), Profile)
        assert_type(await chat.person("ann").state(), Profile)
        assert_type(await chat.step(), str | None)
    assert_type((await said.state()).items, list[str])
    events.set_initial_state(Profile("Ann"))
    events.set_initial_state(lambda: Profile("Ann"))
    events.set_initial_state({"name": "Ann"})


def generic(any_bot: Bot[T], handler: Callable[[Context[T]], Coroutine[Any, Any, None]]) -> None:
    """What does not look into states takes a bot of any."""
    any_bot.on_event(handler)
    any_bot.on_text()(handler)


generic(bot, on_event)
generic(plain, untyped)
