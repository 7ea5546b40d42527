"""Slack: what a promise of "in time" is given by tests, which are none of speed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable

T = TypeVar("T")

SLACK = 20.0
"""Seconds that a laden machine may add to a time that is promised. What hangs takes longer."""

PASSES: Final = 100
"""Of an event loop: more than the way from a timer to whoever waits for what it ends."""


async def ended_within(seconds: float, asked: Awaitable[T]) -> T:
    """Await it, which must end sooner than another timer of the same loop, set for so many seconds.

    It is the order that counts: where a machine stands still, both timers are late.
    """
    task = asyncio.ensure_future(asked)
    patience = asyncio.create_task(_pass(seconds))
    await asyncio.wait({task, patience}, return_when=asyncio.FIRST_COMPLETED)
    in_time = task.done()
    patience.cancel()
    if not in_time:
        task.cancel()
        await asyncio.wait({task})
    assert in_time, f"it had not ended after {seconds:g} seconds"
    return await task


async def _pass(seconds: float) -> None:
    await asyncio.sleep(seconds)
    for _ in range(PASSES):
        await asyncio.sleep(0)
