"""Who is measured: each contender is a program that plays the nickname bot on some stores."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

__all__ = ["CONTENDERS", "Contender", "find", "on_store"]

Home = Literal["ours", "peers", "node"]


@dataclass(frozen=True)
class Contender:
    """One way to run a bot, or a floor: the least that any bot on that store must do.

    - `home`: whose environment it runs in; `program`: its module or file there.
    - `stores`: where it can rest. A shared one may be counted from several processes.
    - `exclusive`: what its makers say of two events of one person at once, in the report's words.
    - `in_flight`: how many events at once it is measured with; floors may have one way only.
    """

    name: str
    title: str
    home: Home
    program: str
    stores: tuple[str, ...]
    options: dict[str, Any] = field(default_factory=dict)
    counts: bool = True
    in_flight: tuple[int, ...] = (1, 64)


BARBACK_STORES = ("memory", "file", "sqlite", "redis", "postgres", "mongo")

CONTENDERS: tuple[Contender, ...] = (
    Contender("barback", "barback", "ours", "barback_bot", BARBACK_STORES),
    Contender(
        "barback-uvloop",
        "barback on uvloop",
        "ours",
        "barback_bot",
        ("memory", "redis"),
        {"uvloop": True},
    ),
    Contender("grammy", "grammY 1.46", "node", "grammy.mjs", ("memory", "file", "redis")),
    Contender(
        "grammy-pipelining",
        "grammY 1.46, its client auto-pipelining",
        "node",
        "grammy.mjs",
        ("redis",),
        {"auto_pipelining": True},
    ),
    Contender(
        "bottender-1",
        "Bottender 1.5",
        "node",
        "bottender.mjs",
        ("memory", "file", "redis"),
        {"version": 1},
    ),
    Contender(
        "bottender-0",
        "Bottender 0.15",
        "node",
        "bottender.mjs",
        ("memory", "file", "redis"),
        {"version": 0},
    ),
    Contender("aiogram", "aiogram 3.31", "peers", "aiogram_bot", ("memory", "redis")),
    Contender(
        "aiogram-lock",
        "aiogram 3.31 with its lock",
        "peers",
        "aiogram_bot",
        ("memory", "redis"),
        {"lock": True},
    ),
)


def on_store(store: str) -> list[Contender]:
    """Those that can rest in `store`, in the order of the tables."""
    return [contender for contender in CONTENDERS if store in contender.stores]


def find(case: str) -> tuple[str, Contender]:
    """The store and the contender of a case: "redis/grammy". Raises `LookupError`."""
    store, _, name = case.partition("/")
    for contender in on_store(store):
        if contender.name == name:
            return store, contender
    message = f"There is no case {case!r}."
    raise LookupError(message)
