"""What is promised of states holds for histories: an event adds its entries once, or not at all."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from barback import Bot, CommitUnknown, Context, LeasedStore, NotDone, Outcome
from barback import commit as committing
from barback.orphans import remove_orphans
from barback.stores.local import leased
from barback.stores.url import open_store
from barback.testing.faults import Chances, FaultyStore
from tests.every_store import EVERY, own_url
from tests.histories import keeping, orphans, settled, values
from tests.scripted import event

if TYPE_CHECKING:
    from pathlib import Path

    from barback import Event

LATE = 1 << 60
EVENTS = 60  # more than rest in a session's record


@pytest.fixture(params=EVERY)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> LeasedStore:
    kind: str = request.param
    return leased(open_store(own_url(kind, request, tmp_path)))


def noting(store: LeasedStore, **options: Any) -> Bot[Any]:
    """A bot that counts events, and notes each; with an await in between."""
    bot = Bot(**{"initial_state": {"n": 0}, "dedupe_limit": 1000, **options}, session_store=store)

    @bot.on_event
    async def note(context: Context) -> None:
        n = context.state["n"]
        context.history.append({"event": context.event.id, "n": n})
        await asyncio.sleep(0)
        context.set_state(n=n + 1)

    return bot


def said(number: int) -> Event:
    return event(event_id=f"{number}")


async def noted(store: LeasedStore) -> list[tuple[str, int]]:
    async with keeping(store) as bot:
        return [(each["event"], each["n"]) for each in await values(bot)]


async def test_events_that_are_delivered_again_and_again_add_once(store: LeasedStore) -> None:
    chance = random.Random(1)
    deliveries = [n for n in range(EVENTS) for _ in range(chance.randint(1, 5))]
    chance.shuffle(deliveries)
    history = keeping()._history
    async with store, noting(store, history=history) as one, noting(store, history=history) as two:
        outcomes = Counter(
            await asyncio.gather(
                *(chance.choice([one, two]).handle(said(number)) for number in deliveries)
            )
        )
        await settled(one)
        await settled(two)
        assert outcomes == {
            Outcome.COMMITTED: EVENTS,
            Outcome.DUPLICATE: len(deliveries) - EVENTS,
        }
        found = await noted(store)
        assert [n for _, n in found] == [*range(EVENTS)]
        assert sorted(int(number) for number, _ in found) == [*range(EVENTS)]
        assert await orphans(store) == set()


@pytest.mark.parametrize(
    "chances",
    [
        Chances(refused=0.2),
        Chances(lost=0.2),
        Chances(late=0.1, lateness=0.01),
        Chances(refused=0.1, lost=0.1, late=0.05, slow=0.2, lateness=0.01),
    ],
    ids=["refusing", "losing", "late", "all"],
)
async def test_a_store_that_fails_loses_no_entry_and_doubles_none(
    store: LeasedStore, chances: Chances, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(committing, "PAUSE", 0.001)
    faulty = FaultyStore(store, chances, random.Random(2))
    async with store:
        bot = noting(faulty, history=keeping()._history)
        bot._rules = msgspec.structs.replace(bot._rules, lease_term=0.5)
        async with bot:
            for number in range(EVENTS):
                await delivered(bot, number)
            await faulty.close()
            await settled(bot)
        assert faulty.faults
        found = await noted(store)
        assert found == [(f"{n}", n) for n in range(EVENTS)]
        await remove_orphans(store, "", LATE)
        assert await orphans(store) == set()


async def delivered(bot: Bot[Any], number: int) -> None:
    """As a platform does: again, until it has heard that the event has arrived."""
    async with asyncio.timeout(60):
        while True:
            try:
                await bot.handle(said(number))
            except (NotDone, CommitUnknown):
                continue
            return
