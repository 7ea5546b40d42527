"""A bot of a version, in a process of its own, that handles an event of each session.

`python migrating_worker.py URL VERSION COUNT [migrate | die]` handles the events, migrates the
whole store meanwhile if it is told to, and says at the end how the events were settled. If it is to
die, it migrates too, and is killed when half of the store is current and much is under way.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

import msgspec

from barback import Bot, Context, Event, SessionTooNew, User

if TYPE_CHECKING:
    from barback.migrating import Migrated

__all__ = ["bot_of"]

AT_ONCE = 100
LEASE_TERM = 2.0  # seconds: those of a killed process are waited for


def bot_of(version: int, store: Any) -> Bot[Any]:
    """The bot as it was, or is: each migration, and each event, leaves its mark in the state."""
    bot = Bot(
        initial_state={"events": [], "migrations": []},
        schema_version=version,
        session_store=store,
    )
    for older in range(1, version):

        def marked(state: dict[str, Any], older: int = older) -> dict[str, Any]:
            return {**state, "migrations": [*state["migrations"], older]}

        bot.migrate(older)(marked)

    @bot.on_event
    async def note(context: Context[Any]) -> None:
        context.state["events"].append(context.event.id)

    return bot


async def work(url: str, version: int, count: int, task: str = "") -> None:
    settled: Counter[str] = Counter()
    # Who is to die leaves sessions behind that no event has migrated, whoever is the quicker.
    users = iter(range(count // 4 if task == "die" else count))

    async def take_events() -> None:
        for user in users:
            event = Event(channel="test", user=User(str(user)), id=f"{user}")
            try:
                outcome = str(await bot.handle(event))
            except SessionTooNew:
                outcome = "too new"
            settled[outcome] += 1

    def look(done: Migrated) -> None:
        if task == "die" and done.migrated + done.current >= count // 2:
            os.kill(os.getpid(), signal.SIGKILL)

    bot = bot_of(version, url)
    bot._rules = msgspec.structs.replace(bot._rules, lease_term=LEASE_TERM)
    async with bot, asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(take_events())
        if task:
            group.create_task(bot.migrate_sessions(on_progress=look))
    sys.stdout.write(json.dumps(settled))


if __name__ == "__main__":
    asyncio.run(work(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), *sys.argv[4:]))
