"""A server is killed and comes back: errors meanwhile, and then nothing is lost or doubled."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from barback import (
    Bot,
    CommitUnknown,
    Context,
    NotDone,
    Outcome,
    SessionStoreUnavailable,
)
from tests.every_store import own_place, with_options
from tests.mongo_servers import MongoServer
from tests.postgres_servers import PostgresServer
from tests.scripted import event, until
from tests.valkey_servers import ValkeyServer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

OUTAGE = (SessionStoreUnavailable, CommitUnknown)
PATIENCE = 20.0  # seconds within which every event of an outage must have been answered
USERS = [f"user{number}" for number in range(8)]
EVENTS = 60  # between two outages

Server = ValkeyServer | MongoServer | PostgresServer


def server_of(store: str, folder: Path) -> Server:
    """A server for one test, which remembers what it has acknowledged when it is killed."""
    if store == "redis":
        return ValkeyServer(folder)
    return MongoServer(folder) if store == "mongodb" else PostgresServer(folder)


every_server = pytest.mark.parametrize("store", ["redis", "mongodb", "postgres"])


class Counting:
    """A bot that counts each person's events, and notes where it took one for a new person.

    `meanwhile` happens once, while a handler runs that has read and not yet written.
    """

    def __init__(self, server: Server) -> None:
        self.meanwhile: Callable[[], None] | None = None
        self.committed: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self.forgotten: list[str] = []
        url = with_options(own_place(server.url), timeout="2")
        self.bot = Bot(initial_state={"n": 0}, session_store=url, dedupe_limit=1_000)
        # Short, so that a session whose holder could not give it back is soon free again.
        rules = msgspec.structs.replace(self.bot._rules, lease_term=1.0, lease_wait=5.0)
        self.bot._rules = rules
        self.bot.on_event(self.count)

    async def count(self, context: Context) -> None:
        assert context.event.user is not None
        user, n = context.event.user.id, context.state["n"]
        if n < self.committed[user]:
            self.forgotten.append(user)
        if (meanwhile := self.meanwhile) is not None:
            self.meanwhile = None
            await asyncio.to_thread(meanwhile)
        await asyncio.sleep(0)
        context.set_state(n=n + 1)

    async def handle(self, user: str, event_id: str) -> Outcome:
        async with asyncio.timeout(PATIENCE):
            outcome = await self.bot.handle(event(user, event_id=event_id))
        self.committed[user] += outcome is Outcome.COMMITTED
        return outcome

    async def redeliver(self, user: str, event_id: str) -> Outcome:
        """Deliver an event until it is done, as a platform would."""
        async with asyncio.timeout(PATIENCE):
            while True:
                try:
                    return await self.handle(user, event_id)
                except (NotDone, CommitUnknown) as error:
                    self.errors[type(error).__name__] += 1
                    await asyncio.sleep(0.01)

    async def session(self, user: str) -> tuple[int, Any]:
        """What the bot has counted, and since when it has known them."""
        async with self.bot.conversation(f"test:{user}") as context:
            return context.state["n"], context.session.created_at


@every_server
async def test_between_turns_an_outage_is_an_error_and_nobody_is_forgotten(
    store: str, tmp_path: Path
) -> None:
    with server_of(store, tmp_path) as server:
        counting = Counting(server)
        async with counting.bot:
            for event_id in ("1", "2", "3"):
                assert await counting.handle("tim", event_id) is Outcome.COMMITTED
            _, met = await counting.session("tim")

            server.kill()
            for user in ("tim", "somebody new"):
                with pytest.raises(SessionStoreUnavailable):
                    await counting.handle(user, "4")

            server.start()
            assert await counting.redeliver("tim", "4") is Outcome.COMMITTED
            assert await counting.redeliver("somebody new", "4") is Outcome.COMMITTED
            assert await counting.handle("tim", "2") is Outcome.DUPLICATE
            assert await counting.session("tim") == (4, met)
        assert counting.forgotten == []


@every_server
async def test_a_turn_whose_server_is_killed_under_it_is_not_done_and_done_again_once(
    store: str, tmp_path: Path
) -> None:
    with server_of(store, tmp_path) as server:
        counting = Counting(server)
        async with counting.bot:
            assert await counting.handle("tim", "1") is Outcome.COMMITTED
            _, met = await counting.session("tim")
            counting.meanwhile = server.kill
            with pytest.raises(OUTAGE):
                await counting.handle("tim", "2")

            server.start()
            assert await counting.redeliver("tim", "2") is Outcome.COMMITTED
            assert await counting.handle("tim", "2") is Outcome.DUPLICATE
            assert await counting.session("tim") == (2, met)
        assert counting.forgotten == []


@every_server
async def test_a_turn_whose_server_comes_back_before_its_commit_is_counted_once(
    store: str, tmp_path: Path
) -> None:
    with server_of(store, tmp_path) as server:
        counting = Counting(server)

        def restart() -> None:
            server.kill()
            server.start()

        async with counting.bot:
            assert await counting.handle("tim", "1") is Outcome.COMMITTED
            _, met = await counting.session("tim")
            counting.meanwhile = restart
            await counting.redeliver("tim", "2")
            assert await counting.handle("tim", "2") is Outcome.DUPLICATE
            assert await counting.session("tim") == (2, met)
        assert counting.forgotten == []


@every_server
async def test_after_outages_in_the_middle_of_many_turns_every_event_counts_once(
    store: str, tmp_path: Path
) -> None:
    with server_of(store, tmp_path) as server:
        counting = Counting(server)

        sent: Counter[str] = Counter()
        over = False

        async def talk(user: str) -> None:
            while not over:
                await counting.redeliver(user, f"{sent[user]}")
                sent[user] += 1

        async def fail_after(more: int) -> None:
            done = counting.committed.total() + more
            await until(lambda: counting.committed.total() >= done, seconds=PATIENCE)
            before, gone = counting.errors.total(), threading.Event()

            def kill() -> None:
                server.kill()
                gone.set()

            counting.meanwhile = kill  # in one turn, at whatever point the others are
            await until(gone.is_set, seconds=PATIENCE)
            await until(lambda: counting.errors.total() > before, seconds=PATIENCE)
            await asyncio.to_thread(server.start)

        async with counting.bot:
            async with asyncio.TaskGroup() as group:
                for user in USERS:
                    group.create_task(talk(user))
                for _ in range(3):
                    await fail_after(EVENTS)
                over = True
            counts = {user: (await counting.session(user))[0] for user in USERS}
        assert counts == sent
        assert counting.forgotten == []
        print(f"{store}: {dict(counting.errors)}")  # noqa: T201 - shown with a failure
