"""Bots that keep a history, for the tests of it, and what is found in their stores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from barback import Bot, Context, Event, History, LeasedStore, MemorySessionStore, User
from barback.history import chunk_ids
from barback.record import parted

if TYPE_CHECKING:
    from collections.abc import Iterable

    from barback import SessionStore

__all__ = [
    "LATE",
    "TIM",
    "Strict",
    "add",
    "keeping",
    "orphans",
    "parts",
    "records",
    "say",
    "settled",
    "values",
]

TIM = "test:tim"
LATE = 1 << 60  # a time that all is before


@dataclass
class Strict:
    """States that the others do not fit."""

    name: str = ""


def keeping(store: LeasedStore | SessionStore | None = None, **options: Any) -> Bot[Any]:
    """A bot that keeps what is said to it."""
    bot = Bot(**{"history": History(), "session_store": store or MemorySessionStore(), **options})

    @bot.on_event
    async def keep(context: Context) -> None:
        for word in (context.event.text or "").split():
            context.history.append({"said": word})

    return bot


async def add(bot: Bot[Any], *values: Any, session_id: str = TIM) -> None:
    """In a conversation: the session is nobody's."""
    async with bot.conversation(session_id) as context:
        for value in values:
            context.history.append(value)


async def say(
    bot: Bot[Any], user: str, words: Iterable[object], conversation: str | None = None
) -> None:
    """As a person does."""
    text = " ".join(map(str, words))
    await bot.handle(Event(channel="test", user=User(user), text=text, conversation=conversation))


async def values(bot: Bot[Any], session_id: str = TIM) -> list[Any]:
    """All of them, oldest first."""
    async with bot.conversation(session_id) as context:
        found = [entry.value async for entry in context.history]
    return found[::-1]


async def records(store: LeasedStore) -> list[str]:
    """The ids of all there is."""
    return sorted([record.id async for record in store.all()])


async def parts(store: LeasedStore) -> list[str]:
    """The ids of the parts of histories."""
    return [each for each in await records(store) if parted(each)[0] == "history"]


async def orphans(store: LeasedStore) -> set[str]:
    """The ids of those that no record names."""
    named = {chunk async for record in store.all() for chunk in chunk_ids(record)}
    return {*await parts(store)} - named


async def settled(bot: Bot[Any]) -> None:
    """What nobody waits for has been done."""
    assert bot._turns is not None
    await bot._turns._operations.close()
