"""barback, on any of its stores, with every guarantee on."""

from __future__ import annotations

import asyncio
from typing import Any, Self

from barback import Bot, Channel, Context, Event, User, open_store
from benchmarks.workload import FIRST, Events, Job, Subject, main


class Counted(Channel):
    """A platform that only counts what is said."""

    name = "telegram"
    said = 0

    async def send_text(self, context: Context, text: str) -> None:  # noqa: ARG002
        """See `Channel.send_text`."""
        self.said += 1


class BarbackBot(Subject):
    """The nickname bot of the README, on a channel of its own."""

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self.channel = Counted()
        url = url_of(job)
        self.bot = Bot(
            initial_state=job.initial, session_store=open_store(url), channels=[self.channel]
        )
        self.bot.on_event(count if job.work == "count" else greet)

    @property
    def replies(self) -> int:  # type: ignore[override]
        """See `Subject.replies`."""
        return self.channel.said

    async def __aenter__(self) -> Self:
        await self.bot.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.bot.__aexit__(None, None, None)

    async def work(self, events: Events) -> None:
        """See `Subject.work`."""
        handle = self.bot.handle
        for n, person in events:
            whose = str(FIRST + person)
            event = Event(
                channel="telegram", id=str(n), text=f"name{n}", user=User(whose), address=whose
            )
            await handle(event)

    async def state(self, person: int) -> dict[str, Any]:
        """See `Subject.state`."""
        async with self.bot.conversation(f"telegram:{FIRST + person}") as context:
            return dict(context.state)


def url_of(job: Job) -> str:
    """The URL of the store, as a bot would have it."""
    match job.store:
        case "memory":
            return job.url or "memory://?max_size=2000000"
        case "file":
            return f"file://{job.url}"
        case "sqlite":
            return f"sqlite:///{job.url}/sessions.db"
        case _:
            return job.url


async def greet(context: Context) -> None:
    """The README's handler."""
    if context.state["asking"]:
        context.set_state(nickname=context.event.text, asking=False)
        await context.send_text(f"Hello {context.state['nickname']}")
    else:
        context.set_state(asking=True)
        await context.send_text("Hi, what's your nickname?")


async def count(context: Context) -> None:
    """One more, after others had their turn."""
    n = context.state["n"]
    await asyncio.sleep(0)
    context.set_state(n=n + 1)


if __name__ == "__main__":
    main(BarbackBot)
