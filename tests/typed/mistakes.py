"""Mistakes that a type checker finds: each is marked, and a mark that is not needed is an error."""

from __future__ import annotations

from dataclasses import dataclass

from barback import Bot, ConsoleBot, Context
from barback.testing import Simulator


@dataclass
class Profile:
    name: str = ""


@dataclass
class Order:
    count: int = 0


bot = Bot(initial_state=Profile)


@bot.on_event  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
async def of_another_state(context: Context[Order]) -> None: ...


@bot.on_event  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
async def of_plain_states(context: Context) -> None: ...


@bot.on_event  # type: ignore[type-var] # pyright: ignore[reportArgumentType]
def not_async(context: Context[Profile]) -> None: ...


async def elsewhere(context: Context[Order]) -> None: ...


@bot.on_text()  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
async def route_of_another_state(context: Context[Order]) -> None: ...


@bot.step("name")  # type: ignore[type-var] # pyright: ignore[reportArgumentType]
def step_not_async(context: Context[Profile]) -> None: ...


@bot.on_text  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
async def without_parentheses(context: Context[Profile]) -> None: ...


@bot.on_error  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
async def without_the_error(context: Context[Profile]) -> None: ...


@bot.on_expired  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
async def with_too_much(context: Context[Profile], more: int) -> None: ...


@bot.use  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
async def no_middleware(context: Context[Profile]) -> None: ...


async def fields(context: Context[Profile], chat: Simulator[Profile]) -> None:
    context.state.nmae = "Tim"  # type: ignore[attr-defined] # pyright: ignore[reportAttributeAccessIssue]
    context.state.name = 5  # type: ignore[assignment] # pyright: ignore[reportAttributeAccessIssue]
    context.state = Profile()  # type: ignore[misc] # pyright: ignore[reportAttributeAccessIssue]
    assert context.state["name"]  # type: ignore[index] # pyright: ignore[reportIndexIssue]
    context.next_step(elsewhere)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    context.set_state("name")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    assert (await chat.state()).nmae  # type: ignore[attr-defined] # pyright: ignore[reportAttributeAccessIssue]


async def not_awaited(context: Context[Profile]) -> None:
    @bot.on_event
    async def handler(context: Context[Profile]) -> None: ...

    handler(context)  # type: ignore[unused-coroutine] # pyright: ignore[reportUnusedCoroutine]


def options() -> None:
    Bot(initial_state=5)  # type: ignore[call-overload] # pyright: ignore[reportArgumentType, reportCallIssue]
    Bot(initial_sate=Profile)  # type: ignore[call-overload] # pyright: ignore[reportCallIssue]
    ConsoleBot(initial_state=Profile, schema="1")  # type: ignore[call-overload] # pyright: ignore[reportCallIssue]
    bot.set_initial_state(Order())  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


def of_plain_states_still(plain: Bot) -> Bot[Profile]:
    return plain  # type: ignore[return-value] # pyright: ignore[reportReturnType]


def of_other_states(orders: Bot[Order]) -> Bot[Profile]:
    return orders  # type: ignore[return-value] # pyright: ignore[reportReturnType]
