"""Rounds: what a bot does to its store again and again, beside its turns."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final

from barback.errors import BarbackError, ListingUnsupported

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

__all__ = ["rounds"]

logger = logging.getLogger("barback")

PATIENCE: Final = 30.0  # seconds


@asynccontextmanager
async def rounds(
    go: Callable[[asyncio.Event], Awaitable[None]],
    pauses: Iterable[float],
    *,
    failed: str,
    unfinished: str,
) -> AsyncIterator[None]:
    """While inside, wait for each of `pauses`, in seconds, and then `go`.

    `go` is given what is set when it is to come to an end. At the end it is let finish what it is
    about, so that it leaves no lease behind. A store that cannot list is left alone; what else goes
    wrong is logged, as `failed`, and it goes on. `unfinished` is logged if it does not end in time.
    """
    stop = asyncio.Event()
    task = asyncio.create_task(_go_round(go, pauses, stop, failed))
    try:
        yield
    finally:
        stop.set()
        if not (await asyncio.wait([task], timeout=PATIENCE))[0]:
            task.cancel()
            logger.error("%s", unfinished)


async def _go_round(
    go: Callable[[asyncio.Event], Awaitable[None]],
    pauses: Iterable[float],
    stop: asyncio.Event,
    failed: str,
) -> None:
    for pause in pauses:
        if pause:
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), pause)
        if stop.is_set():
            return
        try:
            await go(stop)
        except ListingUnsupported:
            return  # a driver of four methods looks after its own
        except BarbackError as error:
            logger.warning("%s: %s", failed, error)
        except Exception:  # a driver's own: it goes on all the same
            logger.exception("%s.", failed)
