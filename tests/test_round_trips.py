"""A turn is two trips to the server, however many turns of other sessions go along.

The server is 20 ms away in each direction, through a proxy. What is measured is waiting, not work,
and so the best of a few tries counts: a machine that is busy with something else cannot make the
way any shorter, and does not fail the test by being slow once.
"""

from __future__ import annotations

import asyncio
import time
from itertools import count
from typing import TYPE_CHECKING, Any, LiteralString

import psycopg
import pytest

from barback import Outcome
from tests.every_store import own_place
from tests.postgres_servers import PostgresServer
from tests.scripted import counting_bot, event
from tests.slow_proxy import slow_proxy
from tests.valkey_servers import ValkeyServer

if TYPE_CHECKING:
    from pathlib import Path

    from barback import Bot

AWAY = 0.020  # seconds in each direction
TWO_TRIPS = 4 * AWAY
TRIES = 100
ids = count()

WITHIN_SCRIPTS = {"get", "getrange", "set", "del", "pexpire"}
EVERYBODY_HAS_LEFT = """\
SELECT pg_stat_clear_snapshot(), NOT EXISTS (
    SELECT FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
)
"""
COMMITTED = "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"


def server_of(store: str, folder: Path) -> ValkeyServer | PostgresServer:
    # The vacuum's transactions are nobody's turns.
    return ValkeyServer(folder) if store == "redis" else PostgresServer(folder, autovacuum="off")


every_server = pytest.mark.parametrize("store", ["redis", "postgres"])


class Timed:
    """How long the turns of a bot take."""

    def __init__(self, bot: Bot) -> None:
        self.bot = bot

    async def turns(self, sessions: int) -> float:
        """One turn of each of so many sessions, all at once; the seconds until all are done."""
        events = [event(f"user{n}", event_id=f"{next(ids)}") for n in range(sessions)]
        started = time.perf_counter()
        outcomes = await asyncio.gather(*map(self.bot.handle, events))
        took = time.perf_counter() - started
        assert set(outcomes) == {Outcome.COMMITTED}
        return took

    async def best(self, sessions: int, limit: float) -> float:
        """The shortest of a few tries, of which the first within the limit is the last."""
        shortest = float("inf")
        for _ in range(TRIES):
            shortest = min(shortest, await self.turns(sessions))
            if shortest < limit:
                break
        return shortest


@pytest.mark.parametrize(("sessions", "limit"), [(1, 0.100), (64, 0.120)])
@every_server
async def test_from_afar_turns_take_as_long_as_two_trips(
    store: str, sessions: int, limit: float, tmp_path: Path, record_property: Any
) -> None:
    with (
        server_of(store, tmp_path) as server,
        slow_proxy(AWAY, "127.0.0.1", server.port) as port,
    ):
        far = own_place(server.url.replace(f":{server.port}/", f":{port}/"))
        async with counting_bot(session_store=far) as bot:
            timed = Timed(bot)
            await timed.turns(1)  # so that it is connected
            took = await timed.best(sessions, limit)
    record_property("seconds", took)
    print(f"{store}: {sessions} at once took {took * 1000:.1f} ms")  # noqa: T201 - pytest -rP
    assert TWO_TRIPS <= took < limit


@pytest.mark.parametrize("sessions", [1, 64])
async def test_a_turn_is_set_get_and_one_script_to_redis(sessions: int, tmp_path: Path) -> None:
    with ValkeyServer(tmp_path) as server:
        async with counting_bot(session_store=server.url) as bot:
            timed = Timed(bot)
            await timed.turns(sessions)
            before = server.calls()
            await timed.turns(sessions)
            after = server.calls()
    called = {name for name in after if after[name] > before.get(name, 0)}
    its_own = {"info", "client|setinfo", "hello"}
    told = {name: after[name] - before.get(name, 0) for name in after}
    assert told["evalsha"] == sessions
    assert (told["set"], told["get"]) == (2 * sessions, 2 * sessions)  # one of each in the script
    assert called - WITHIN_SCRIPTS - its_own == {"evalsha"}


async def test_turns_that_meet_are_two_transactions_in_postgresql(tmp_path: Path) -> None:
    told = []
    with PostgresServer(tmp_path, autovacuum="off") as server:
        for rounds in (1, 3, 11):  # what it takes to connect, and to ask, is the same in each
            async with counting_bot(session_store=server.url) as bot:
                timed = Timed(bot)
                for _ in range(rounds):
                    await timed.turns(4)
            told.append(transactions(server))
    assert (told[2] - told[1]) - (told[1] - told[0]) == 2 * (11 - 3)


def transactions(server: PostgresServer) -> int:
    """How many have been committed, by the server's own statistics, when its clients have left."""
    with psycopg.connect(server.url) as client:
        give_up_at = time.monotonic() + 10
        while not _value(client, EVERYBODY_HAS_LEFT):
            assert time.monotonic() < give_up_at
        return _value(client, COMMITTED)


def _value(client: psycopg.Connection[Any], query: LiteralString) -> int:
    row = client.execute(query).fetchone()
    assert row is not None
    return int(row[-1])
