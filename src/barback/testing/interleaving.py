"""Interleaving: an event loop in which chance, from a seed, says whose turn it is.

asyncio promises no order between tasks that are ready to go on, and the usual one hides most of
what can happen. Here each step is taken by a task that is drawn, and may be put off a few times;
time goes on only when nobody can, and at once then. So one seed is one interleaving, the same
each time. This is the random walk of a scheduler for concurrency tests, as in Burckhardt and
others, "A Randomized Scheduler with Probabilistic Guarantees of Finding Bugs" (2010), in its
simplest form.
"""

from __future__ import annotations

import asyncio
import random
import selectors
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from barback.stores.local import LeaseTable

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable
    from contextvars import Context

__all__ = ["Stuck", "explore"]

PUT_OFF: Final = 0.2
"""How likely it is that a step waits for what else is ready."""


class Stuck(AssertionError):
    """Everybody waits for somebody, and no time will change that; or it goes on without end."""


def explore(
    scenario: Callable[[], Coroutine[Any, Any, object]],
    *,
    seeds: Iterable[int] = range(100),
    longest: float = 24 * 3600.0,
) -> None:
    """Run `scenario` once for each seed, each time in another interleaving.

    An error has a note with the seed that it came with: with `seeds=[that one]` it comes again,
    as long as nothing else than tasks and timers has a part in it (no threads, no connections).
    The numbers of the module `random` come from the seed as well, and the loop's clock starts at 0.
    The leases of a memory store that the scenario makes, or of a driver of four methods, go by that
    clock too; `Bot` has a `clock` of its own, which `asyncio.get_running_loop().time` can be.
    Raises `Stuck` where the scenario waits for ever, or longer than `longest`: seconds of its own
    time, a day unless set.
    """
    before, clock = random.getstate(), LeaseTable.usual_clock
    try:
        for seed in seeds:
            random.seed(seed)
            new_loop = partial(_Loop, random.Random(seed), longest)
            try:
                with asyncio.Runner(loop_factory=new_loop) as runner:
                    LeaseTable.usual_clock = runner.get_loop().time
                    runner.run(scenario())
            except BaseException as error:
                error.add_note(f"It came with the seed {seed}: explore(…, seeds=[{seed}]).")
                raise
    finally:
        random.setstate(before)
        LeaseTable.usual_clock = clock


class _Loop(asyncio.SelectorEventLoop):
    """The loop: steps of tasks are drawn, other callbacks keep their order."""

    def __init__(self, chance: random.Random, longest: float) -> None:
        self._chance = chance
        self._now = 0.0
        self._longest = longest
        self._ends_at = longest
        self._steps: list[tuple[Callable[..., object], tuple[Any, ...], Context | None]] = []
        super().__init__(_Hurry(self._pass))

    def time(self) -> float:
        """Seconds since it began."""
        return self._now

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """As in any loop, but that a task's next step is whose is drawn then."""
        if isinstance(getattr(callback, "__self__", None), asyncio.Task):
            self._steps.append((callback, args, context))
            return super().call_soon(self._step)
        return super().call_soon(callback, *args, context=context)

    def _step(self) -> None:
        if self._chance.random() < PUT_OFF:
            super().call_soon(self._step)
            return
        callback, args, context = self._steps.pop(self._chance.randrange(len(self._steps)))
        if context is None:
            callback(*args)
        else:
            context.run(callback, *args)

    def _pass(self, seconds: float) -> None:
        self._now += seconds
        if self._now > self._ends_at:
            self._ends_at += self._longest  # for what is cancelled now to end
            message = f"It has not ended in {self._longest:g} seconds of its own time."
            raise Stuck(message)


class _Hurry(selectors.DefaultSelector):
    """It does not wait: `pass_time` is told for how long it would have."""

    def __init__(self, pass_time: Callable[[float], None]) -> None:
        super().__init__()
        self._pass_time = pass_time

    def select(self, timeout: float | None = None) -> list[Any]:
        """What is ready now."""
        if timeout is None:
            message = "Nobody can go on: all wait for something that nobody will do."
            raise Stuck(message)
        if timeout > 0:
            self._pass_time(timeout)
        return super().select(0)
