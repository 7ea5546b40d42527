"""Encryption on every store: what rests there, what travels there, and who shares it."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from barback import Bot, Keys, Outcome, copy_store, open_store
from barback.record import FORMAT_SEALED
from barback.testing.contract_tools import leased, peek
from tests.every_store import SHARED, own_url, with_options
from tests.relay import relayed
from tests.scripted import counting_bot, event, state_of
from tests.sealed import HIDDEN, NEW, OLD, TIM

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

every_store = pytest.mark.parametrize("store", SHARED)
STATE = {"name": HIDDEN, "é\0$.": [1, 1.0, None, {"deep": "\u2028👋"}]}


@pytest.fixture
def url(store: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return own_url(store, request, tmp_path)


@every_store
async def test_a_state_comes_back_from_every_store(url: str) -> None:
    keys = Keys({"new": NEW, "old": OLD}, current="old")
    async with Bot(session_store=url, encryption=keys) as bot, bot.conversation(TIM) as context:
        context.set_state(STATE)
    keys.use("new")
    async with Bot(session_store=url, encryption=keys) as bot:
        async with bot.conversation(TIM) as context:
            assert context.state == STATE
            context.set_state(n=1)
    keys.remove("old")
    async with Bot(session_store=url, encryption=keys) as bot:
        assert await state_of(bot) == {**STATE, "n": 1}
    async with leased(open_store(url)) as opened:
        record = await peek(opened)
    assert record is not None
    assert record.format == FORMAT_SEALED
    assert keys.is_current(record)
    assert msgspec.json.decode(keys.open(record)) == {**STATE, "n": 1}


@every_store
async def test_two_bots_count_each_event_once_while_keys_change(url: str) -> None:
    """As two processes would: a key is given to both before one of them uses it."""
    rings = Keys({"0": OLD}), Keys({"0": OLD})
    bots = [counting_bot(session_store=url, encryption=keys) for keys in rings]

    async def rotate() -> None:
        for number in range(1, 4):
            key = Keys.generate()
            for keys in rings:
                keys.add(f"{number}", key)
            for keys in rings:
                keys.use(f"{number}")
                await asyncio.sleep(0.02)

    async with bots[0], bots[1]:
        deliveries = [
            bot.handle(event(f"user{number % 3}", event_id=f"{number}"))
            for number in range(24)
            for bot in bots
        ]
        outcomes = (await asyncio.gather(rotate(), *deliveries))[1:]
        assert outcomes.count(Outcome.COMMITTED) == outcomes.count(Outcome.DUPLICATE) == 24
        assert [await state_of(bots[0], f"test:user{n}") for n in range(3)] == [{"n": 8}] * 3


# What somebody sees who has the store, or the network between.


@contextmanager
def watched(store: str, url: str, folder: Path) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """The URL by which a bot is to reach the store; and all that it has written by then."""
    if store in {"file", "sqlite"}:
        yield url, lambda: b"".join(f.read_bytes() for f in folder.rglob("*") if f.is_file())
        return
    if store == "mongodb":
        url = with_options(url, directConnection="true")
    with relayed(url) as (relayed_url, relay):
        yield relayed_url, lambda: b"".join(map(bytes, relay.asked.values()))


@pytest.mark.parametrize("store", ["file", "sqlite", "redis", "mongodb", "postgres"])
async def test_nothing_of_a_state_is_in_the_store_or_on_the_way_there(
    store: str, url: str, tmp_path: Path
) -> None:
    for keys in (Keys({"new": NEW}), None):
        with watched(store, url, tmp_path) as (seen_url, seen):
            options: dict[str, Any] = {"session_store": seen_url, "encryption": keys}
            async with Bot(initial_state={"name": HIDDEN}, **options) as bot:
                async with bot.conversation(TIM if keys else "test:ann") as context:
                    context.set_state(likes=HIDDEN[::-1])
                written = seen()
        assert b"test:" in written  # what stays readable
        for hidden in (HIDDEN, HIDDEN[::-1]):
            assert (hidden.encode() in written) is (keys is None)


async def test_sessions_move_to_another_store_without_the_keys(tmp_path: Path) -> None:
    keys = Keys({"new": NEW})
    file, sqlite = f"file:{tmp_path}/sessions", f"sqlite:///{tmp_path}/sessions.db"
    async with Bot(session_store=file, encryption=keys) as bot, bot.conversation(TIM) as context:
        context.set_state(STATE)
    await copy_store(file, sqlite)
    async with Bot(session_store=sqlite, encryption=keys) as bot:
        assert await state_of(bot) == STATE


async def test_a_store_can_be_asked_which_keys_are_in_use(tmp_path: Path) -> None:
    path = tmp_path / "sessions.db"
    keys = Keys({"new": NEW, "old": OLD}, current="old")
    async with counting_bot(session_store=f"sqlite:///{path}", encryption=keys) as bot:
        await bot.handle(event("ann"))
        keys.use("new")
        await bot.handle(event("tim"))
    with closing(sqlite3.connect(path)) as database:
        found = database.execute(
            "SELECT json_extract(record, '$.state.key'), count(*) FROM sessions GROUP BY 1"
        ).fetchall()
    assert found == [("new", 1), ("old", 1)]
