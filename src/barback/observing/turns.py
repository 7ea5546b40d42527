"""The turns of a bot that has observers: the same turns, and told of."""

from __future__ import annotations

import asyncio
import contextvars
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Final

from barback.observing.context import ObservedContext
from barback.observing.observer import Observer, Observers
from barback.observing.stores import ObservedInstantStore, observed
from barback.observing.turn_seen import StepName, TurnSeen, current
from barback.turn import Outcome, Turn, Turns

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from barback.channels.webhook import WebhookRequest
    from barback.context import Context
    from barback.handlers import Handler
    from barback.queue import HandOver
    from barback.state import S
    from barback.stores.base import LeasedStore

__all__ = ["Observation", "ObservedTurns"]

LOOK_EVERY: Final = 1.0
"""Seconds from one question whether anybody listens by now to the next."""


class ObservedTurns(Turns):
    """Turns that tell observers what they do. A bot's turns become these once somebody listens."""

    observers: Observers
    prefix: str

    async def run(
        self,
        turn: Turn,
        handle: Callable[[Turn], Awaitable[None]],
        rescue: Callable[[Turn, Exception], Awaitable[None]] | None = None,
    ) -> Outcome:
        """See `Turns.run`."""
        seen = TurnSeen(turn, turn.session_id.removeprefix(self.prefix), self.observers)
        turn.seen = seen
        outer = current.get()
        current.set(seen)
        self.observers.tell("turn_began", seen)
        try:
            outcome = await super().run(turn, handle, rescue)
        except BaseException as error:
            seen.over(None, error)
            raise
        else:
            seen.over(outcome)
            return outcome
        finally:
            current.set(outer)
            turn.seen = None  # or else each would hold the other

    async def _wait_in_line(self, turn: Turn) -> HandOver | None:
        if turn.seen is None:
            return await super()._wait_in_line(turn)
        step = turn.seen.begin("wait")
        try:
            handed = await super()._wait_in_line(turn)
        except BaseException as error:
            turn.seen.end(step, error)
            raise
        turn.seen.end(step)
        turn.seen.handed_on = handed is not None
        return handed

    def _enter(self, turn: Turn, now: float) -> None:
        if turn.seen is not None:
            name: StepName = "on_error" if turn.failed else "handle"
            turn.seen.handling(name if turn.seen.turn is turn else "on_expired")
        super()._enter(turn, now)

    def _exit(self, turn: Turn, error: BaseException | None) -> BaseException | None:
        error = super()._exit(turn, error)
        if turn.seen is not None:
            turn.seen.handled(error)
        return error


class Observation:
    """The observers of a bot while it runs, and what is put around its parts for them.

    As long as nobody listens there is nothing around them: turns are `Turns`, the store is asked
    itself, and not even a method more is called.
    """

    def __init__(self, observers: Sequence[Observer], prefix: str) -> None:
        self.observers = Observers(observers)
        self._prefix = prefix
        self._timer: asyncio.TimerHandle | None = None

    def over(self, store: LeasedStore) -> LeasedStore:
        """The store for the turns."""
        self._store = observed(store, self.observers)
        return self._store

    @contextmanager
    def of(self, turns: Turns, begin: Callable[[], None]) -> Iterator[None]:
        """While inside, turns are observed once anybody listens; then `begin` is called."""
        store = self._store
        instant = store if isinstance(store, ObservedInstantStore) else None
        if instant is not None:
            turns.instant = instant.inner  # until somebody listens
        loop = asyncio.get_running_loop()

        def look() -> None:
            heard = self.observers.listening
            self.observers.wake()
            if self.observers.listening and not heard:
                store.listen()
                turns.instant = instant
                _become_observed(turns, self.observers, self._prefix)
                begin()
            if self.observers.asleep:
                nobodys = contextvars.Context()
                self._timer = loop.call_later(LOOK_EVERY, look, context=nobodys)

        look()
        try:
            yield
        finally:
            if self._timer is not None:
                self._timer.cancel()

    def linked(self, chain: Handler[S]) -> Handler[S]:
        """Middleware and handler, with a context that is observed."""
        return partial(_call_observed, chain) if self.observers.listening else chain

    def context(self, context: Context[S]) -> Context[S]:
        """What other code of the bot is given."""
        return ObservedContext.of(context)

    def arrived(self, request: WebhookRequest) -> contextvars.Context:
        """The context of the turns of events that a request has brought."""
        context = contextvars.copy_context()
        context.run(self.observers.tell, "request_arrived", request)
        return context


def _become_observed(turns: Turns, observers: Observers, prefix: str) -> None:
    """Let turns tell what they do from now on. Those that are under way end as they began.

    Their class is changed, so that nothing has to ask for each turn whether anybody listens.
    """
    turns.__class__ = ObservedTurns
    assert isinstance(turns, ObservedTurns)  # noqa: S101 - for the type checker
    turns.observers, turns.prefix = observers, prefix


def _call_observed(chain: Handler[S], context: Context[S]) -> Awaitable[None]:
    return chain(ObservedContext.of(context))
