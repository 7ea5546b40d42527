"""Work that is under way, and may be stopped in good order."""

from __future__ import annotations

import asyncio
import signal
from contextlib import suppress
from typing import TYPE_CHECKING

from barback.cli.words import INTERRUPTED, TERMINATED, note

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any

__all__ = ["interrupted", "stoppable"]


async def stoppable(work: Coroutine[Any, Any, object]) -> None:
    """Let SIGTERM end the work in good order, as Ctrl-C does."""
    task = asyncio.ensure_future(work)
    with suppress(NotImplementedError):  # not on Windows
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    await task


def interrupted(failure: BaseException) -> int:
    """Say that the work was interrupted, and may be gone on with; the exit status."""
    note("Interrupted. Run it again to go on with what is not there yet.")
    return INTERRUPTED if isinstance(failure, KeyboardInterrupt) else TERMINATED
