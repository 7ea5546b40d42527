"""Who is measured: each contender is a program that plays the nickname bot on some stores."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

__all__ = ["CONTENDERS", "STORES", "Contender", "find", "on_store"]

Home = Literal["ours", "peers", "node"]


@dataclass(frozen=True)
class Contender:
    """One way to run a bot, or a floor: the least that any bot on that store must do.

    - `home`: whose environment it runs in; `program`: its module or file there.
    - `stores`: where it can rest.
    - `counts`: whether lost updates are counted: a floor protects nothing, or is no bot.
    """

    name: str
    title: str
    home: Home
    program: str
    stores: tuple[str, ...]
    options: dict[str, Any] = field(default_factory=dict)
    counts: bool = True


STORES = ("memory", "file", "sqlite", "redis", "postgres", "mongo")


def _floor(store: str, title: str, options: dict[str, Any] | None = None) -> Contender:
    name = "floor-uvloop" if options else "floor"
    return Contender(name, title, "ours", f"floor_{store}", (store,), options or {}, counts=False)


CONTENDERS: tuple[Contender, ...] = (
    Contender("barback", "barback", "ours", "barback_bot", STORES),
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
        "grammY 1.46, auto-pipelining",
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
    Contender("telegram", "python-telegram-bot 22.8", "peers", "telegram_bot", ("memory",)),
    Contender(
        "redis-py",
        "redis-py: GET, then SET",
        "ours",
        "floor_redis_py",
        ("redis",),
        counts=False,
    ),
    _floor("memory", "floor: a dict and a JSON copy"),
    _floor("redis", "floor: two scripts over hiredis"),
    _floor("redis", "floor: the same on uvloop", {"uvloop": True}),
    _floor("sqlite", "floor: a commit for an event, or for 64"),
    _floor("postgres", "floor: two statements, pipelined"),
    _floor("mongo", "floor: two calls of PyMongo"),
)


def on_store(store: str) -> list[Contender]:
    """Those that can rest in `store`, in the order of the tables."""
    return [contender for contender in CONTENDERS if store in contender.stores]


def find(case: str) -> Contender:
    """The contender of a case: "redis/grammy". Raises `LookupError`."""
    store, _, name = case.partition("/")
    for contender in on_store(store):
        if contender.name == name:
            return contender
    message = f"There is no case {case!r}."
    raise LookupError(message)
