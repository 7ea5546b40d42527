"""Put sets and dicts into sessions of a store, and tell the sessions' versions.

Run: python values_process.py URL. The order in which a set is gone through is a process's own.
"""

from __future__ import annotations

import asyncio
import random
import sys
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import msgspec
import pydantic

from barback import Bot

WORDS = [f"word {number}" for number in range(50)]


@dataclass(frozen=True)
class Pair:
    name: str
    number: int | str


@dataclass
class ADataclass:
    words: set[str] = field(default_factory=set)
    mixed: set[int | str] = field(default_factory=set)
    pairs: frozenset[Pair] = frozenset()
    by_name: dict[str, int] = field(default_factory=dict)
    by_day: dict[date, set[str]] = field(default_factory=dict)


class AStruct(msgspec.Struct):
    words: set[str] = set()
    mixed: set[int | str] = set()
    pairs: frozenset[Pair] = frozenset()
    by_name: dict[str, int] = {}
    by_day: dict[date, set[str]] = {}


class AModel(pydantic.BaseModel):
    words: set[str] = set()
    mixed: set[int | str] = set()
    pairs: frozenset[Pair] = frozenset()
    by_name: dict[str, int] = {}
    by_day: dict[date, set[str]] = {}


def shuffled() -> list[str]:
    return random.sample(WORDS, len(WORDS))


async def version_after(kind: type[Any], url: str) -> int | None:
    """The version of a session after a turn that puts the same things into it in any order."""
    async with Bot(initial_state=kind, session_store=url) as bot:
        async with bot.conversation(f"test:{kind.__name__}") as context:
            state = context.state
            state.words = set(shuffled())
            state.mixed = {*shuffled(), *range(9)}
            state.pairs = frozenset({*(Pair(w, 1) for w in shuffled()), Pair("x", "y")})
            state.by_name = {word: len(word) for word in shuffled()}
            state.by_day = {date(2026, 1, 1 + day): set(shuffled()) for day in (5, 1, 9)}
        async with bot.conversation(f"test:{kind.__name__}") as context:
            return context.session.version


async def main(url: str) -> None:
    for kind in (ADataclass, AStruct, AModel):
        sys.stdout.write(f"{await version_after(kind, url)}\n")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
