"""Serving: how events come to a bot: it fetches them, or a web app is called with them."""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, cast

from barback.channels.base import Channel, ServingChannel
from barback.errors import ConfigurationError
from barback.options import count
from barback.terminable import terminable

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

    from starlette.applications import Starlette

    from barback.bot import Bot
    from barback.channels.webhook import WebhookChannel
    from barback.complaints import Complaints
    from barback.events import Event
    from barback.observing.turns import Observation
    from barback.stores.base import LeasedStore
    from barback.turn import Outcome
    from barback.web.reception import Reception

__all__ = ["Serving"]


class Serving(ABC):
    """The part of a bot that is served: by itself, or by a web server."""

    _channels: dict[str, Channel]
    _receptions: list[Reception]
    _store: LeasedStore
    _clock: Callable[[], float]
    _prefix: str
    _complaints: Complaints
    _observation: Observation | None = None

    early_answers = 0
    """How many events a web app has told a platform to have got while their turns still ran."""
    lost_events = 0
    """How many of these were given up, as their turns could not be done afterwards; and how many
    events were left out, as no session can be for them."""

    def run(self) -> None:
        """Start, serve the channels until they end or Ctrl-C or SIGTERM comes, and stop."""
        try:
            asyncio.run(self._serve())
        except KeyboardInterrupt:
            return  # asked for, and everything has been closed

    def asgi(
        self,
        *channels: WebhookChannel,
        max_body: int = 1024 * 1024,
        max_early: int = 1000,
    ) -> Starlette:
        """A web app (ASGI) with one webhook for each channel of this kind; it starts the bot.

        It runs by itself, in `barback run` or any server, or as a part of another app; see
        docs/web.md. The bot runs while the app's lifespan does. `/healthz` tells whether the
        process lives, `/readyz` whether the bot runs and its store answers.

        - `channels`: more channels for the bot, as `add_channel` takes them.
        - `max_body`: bytes that a request may have, 1 MiB unless set; more is answered with 413.
        - `max_early`: how many turns may run on whose events the platform has been told of
          already, because they take longer than it waits: 1,000 unless set.

        Needs the extra `web`. Raises `ConfigurationError` if the bot runs, or has no channel with a
        webhook, or two of one path; and `MissingExtra`.
        """
        from barback.web import app_of  # noqa: PLC0415 - it needs an extra

        for channel in channels:
            self.add_channel(channel)
        self._refuse_while_running("A web app is made")
        return app_of(
            self,
            list(self._channels.values()),
            max_body=count(max_body, "max_body"),
            max_early=count(max_early, "max_early"),
        )

    def leave_out(self, event: Event, error: Exception) -> None:
        """Give up an event that no turn can be for, however often it comes.

        For who hands events to the bot, where `handle` raises `SessionIdTooLong`. It is counted in
        `lost_events`, and logged: of many that fail in one way now and then.
        """
        self.lost_events += 1
        if self._observation is not None:
            self._observation.observers.tell("event_lost", event)
        about, what = f"An event of {event.channel}", "is left out, as it can have no session"
        self._complaints.tell(about, what, error, level=logging.ERROR)

    async def _serve(self) -> None:
        serving = [c for c in self._channels.values() if isinstance(c, ServingChannel)]
        if not serving:
            message = (
                "The bot has no channel that fetches its events itself, and nothing to run: use a "
                "ConsoleBot, serve bot.asgi() with `barback run`, or give the bot its events with "
                "bot.handle."
            )
            raise ConfigurationError(message)
        with terminable():
            async with self, asyncio.TaskGroup() as group:
                for channel in serving:
                    group.create_task(channel.serve(cast("Bot[Any]", self)))

    @property
    @abstractmethod
    def is_running(self) -> bool:
        """Whether it takes events."""

    @abstractmethod
    async def handle(self, event: Event, *, remember: bool = False) -> Outcome:
        """See `Bot.handle`."""

    @abstractmethod
    def add_channel(self, channel: Channel) -> None:
        """See `Bot.add_channel`."""

    @abstractmethod
    def _refuse_while_running(self, what: str) -> None:
        """Raise `ConfigurationError` if the bot runs."""

    @abstractmethod
    async def __aenter__(self) -> Self:
        """Start."""

    @abstractmethod
    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop."""
