"""News: what happens in the playground, for whoever listens."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["News"]

MOST_UNREAD: Final = 2000  # pieces, for a page that does not listen any more


class News:
    """Tells all pages that are open of what happens."""

    def __init__(self) -> None:
        self._listeners: set[asyncio.Queue[dict[str, Any] | None]] = set()

    def tell(self, piece: dict[str, Any]) -> None:
        """Something has happened."""
        for queue in list(self._listeners):
            try:
                queue.put_nowait(piece)
            except asyncio.QueueFull:
                self._listeners.discard(queue)

    async def listen(self) -> AsyncIterator[dict[str, Any]]:
        """What happens from now on, until the playground ends, or nobody took it for too long.

        In the latter case there is an end too, after what was kept.
        """
        queue: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue(MOST_UNREAD)
        self._listeners.add(queue)
        try:
            while (piece := await queue.get()) is not None:
                yield piece
                if queue not in self._listeners and queue.empty():
                    return  # it has missed something: whoever listens asks for all, and anew
        finally:
            self._listeners.discard(queue)

    def end(self) -> None:
        """Let everybody go who listens."""
        for queue in self._listeners:
            with suppress(asyncio.QueueFull):
                queue.put_nowait(None)
        self._listeners.clear()
