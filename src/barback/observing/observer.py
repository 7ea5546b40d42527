"""Observer: who is told of what a bot does; and all of those that a bot has."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from barback.channels.webhook import WebhookRequest
    from barback.events import Event
    from barback.observing.turn_seen import Step, StoreCall, TurnSeen

__all__ = ["Observer", "Observers"]

logger = logging.getLogger("barback")


class Observer:
    """Told of what a bot does: `Bot(observers=[...])`, or `bot.observe(...)`.

    Derive from it, and write the methods that are of interest. They are plain functions, called in
    the bot's event loop, in the middle of what they are told of: let them be quick, and change
    nothing. What they raise is logged, and changes no turn.
    """

    def listening(self) -> bool:
        """Whether there is anybody to tell: asked when the bot starts, and then once a second.

        As long as it is False nothing is told, and turns cost nothing more. It is not asked again
        once it was True.
        """
        return True

    def turn_began(self, turn: TurnSeen) -> None:
        """A turn begins; in the task, and in the context of it, that runs it."""

    def turn_ended(self, turn: TurnSeen) -> None:
        """A turn is over: `turn.settled` says how. In the same context, unless that is gone."""

    def step_began(self, turn: TurnSeen, step: Step) -> None:
        """A step of a turn begins; one that runs code of the bot, or sends, in its context."""

    def step_ended(self, turn: TurnSeen, step: Step) -> None:
        """A step of a turn has ended; `step.error` says with what, if it went wrong."""

    def store_answered(self, call: StoreCall) -> None:
        """The store has answered; what it was asked need not be of a turn's own session."""

    def lease_lost(self, session_id: str) -> None:
        """A session passed to another process, or was destroyed, while a turn of it ran."""

    def evicted(self, count: int) -> None:
        """The store has forgotten so many sessions, to make room."""

    def answered_early(self, event: Event) -> None:
        """A platform was told that an event has arrived while its turn still ran."""

    def event_lost(self, event: Event) -> None:
        """The turn of such an event could not be done afterwards."""

    def request_arrived(self, request: WebhookRequest) -> None:
        """A request has come, and was the platform's: in the context of the turns it begins."""


HOOKS = tuple(name for name in vars(Observer) if not name.startswith("_") and name != "listening")


class Observers:
    """Those of one bot that listen, and those that do not yet."""

    def __init__(self, observers: Iterable[Observer]) -> None:
        self.asleep = list(observers)
        self.listening = False
        self._hooks: dict[str, list[Callable[..., None]]] = {name: [] for name in HOOKS}

    def wake(self) -> None:
        """Ask those that did not listen whether they do now."""
        asleep = []
        for observer in self.asleep:
            try:
                listens = observer.listening()
            except Exception:
                logger.exception("%r does not know whether it listens, and is left out.", observer)
                continue
            if not listens:
                asleep.append(observer)
                continue
            self.listening = True
            for name, told in self._hooks.items():
                if getattr(type(observer), name) is not getattr(Observer, name):
                    told.append(getattr(observer, name))
        self.asleep = asleep

    def tell(self, hook: str, *about: Any) -> None:
        """Tell all who listen; whatever is wrong with them, this goes on."""
        for told in self._hooks[hook]:
            try:
                told(*about)
            except (Exception, asyncio.CancelledError):  # nobody cancels what does not wait
                logger.exception("An observer failed, of which nothing else comes: %r", told)
