"""Processes killed at every point of a turn that adds to a history, and lets go of a part of it."""

from __future__ import annotations

import asyncio
import os
from functools import partial
from typing import TYPE_CHECKING

import msgspec
import pytest

from barback import Bot, Context, Event, History, Outcome, User
from barback.orphans import remove_orphans
from barback.stores.local import leased
from barback.stores.url import open_store
from barback.testing import CrashPoints, crashes
from tests.every_store import SHARED, own_url
from tests.histories import orphans, values

if TYPE_CHECKING:
    from pathlib import Path

TERM = 0.5  # seconds of a lease
KEEP = 40
LATE = 1 << 60

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")


def bot_at(url: str) -> Bot:
    bot = Bot(session_store=leased(open_store(url)), history=History(keep=KEEP))
    bot._rules = msgspec.structs.replace(bot._rules, lease_term=TERM)

    @bot.on_event
    async def keep(context: Context) -> None:
        for number in range(KEEP):
            context.history.append(f"{context.event.id} {number}")

    return bot


def event_of(user: str, event_id: str) -> Event:
    return Event(channel="test", user=User(user), id=event_id)


async def one_turn(url: str, points: CrashPoints) -> None:
    """The first turn is whole; what the second writes takes the place of all that the first did."""
    user = f"user{points.nth}"
    async with bot_at(url) as bot:
        await bot.handle(event_of(user, "before"))
        with points:
            await bot.handle(event_of(user, "after"))


async def look_at(url: str, users: list[str]) -> tuple[list[str], list[Outcome]]:
    """Which turn each history is of, whole; and how a delivery of the second one ends."""
    async with bot_at(url) as bot:
        found = await asyncio.gather(*(values(bot, f"test:{user}") for user in users))
        turns = [str(entries[0]).partition(" ")[0] for entries in found]
        assert found == [[f"{turn} {number}" for number in range(KEEP)] for turn in turns]
        outcomes = [bot.handle(event_of(user, "after")) for user in users]
        return turns, await asyncio.gather(*outcomes)


async def look_for_orphans(url: str) -> tuple[int, int]:
    """How many there were, and how many are left when they have been removed."""
    async with leased(open_store(url)) as store:
        before = len(await orphans(store))
        await remove_orphans(store, "", LATE)
        return before, len(await orphans(store))


@pytest.mark.parametrize("store", SHARED)
def test_a_history_is_as_before_or_as_after_and_what_nobody_has_is_found(
    store: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    url = own_url(store, request, tmp_path)
    open_store(url)  # imports its driver, once for all of them
    every = 25 if store == "mongodb" else 2  # PyMongo has hundreds of coroutines in a turn
    users = [f"user{crash.nth}" for crash in crashes(partial(one_turn, url), every=every)]
    assert len(users) > 10
    turns, outcomes = asyncio.run(look_at(url, users))
    assert {*turns} == {"before", "after"}, "those killed all died on one side of the commit"
    expected = {"before": Outcome.COMMITTED, "after": Outcome.DUPLICATE}
    assert outcomes == [expected[turn] for turn in turns]
    found, left = asyncio.run(look_for_orphans(url))
    assert found > 0, "none died where it leaves a part behind: that shows nothing"
    assert left == 0
    again, _ = asyncio.run(look_at(url, users))
    assert {*again} == {"after"}
