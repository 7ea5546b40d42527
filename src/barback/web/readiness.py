"""Readiness: whether the bot runs, and its store answers."""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING, Final

from barback.errors import BarbackError
from barback.extras import needs_extra
from barback.stores.base import new_lease

with needs_extra("web"):
    from starlette.responses import PlainTextResponse

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from barback.serving import Serving

__all__ = ["Readiness"]

GOOD_FOR: Final = 1.0  # seconds, so that whoever asks often does not ask the store as often
WITHIN: Final = 5.0
TERM: Final = 10.0


class Readiness:
    """Answers 200 or 503, as an app of its own.

    The store is asked for the lease of a session that nobody has, and is given it back: so it must
    be able to write, and nothing is left of it. Once a second at most, however many ask.
    """

    def __init__(self, bot: Serving) -> None:
        self._bot = bot
        self._asked_at = float("-inf")
        self._asking: asyncio.Task[str] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request (ASGI)."""
        problem = await self._problem()
        response = PlainTextResponse(problem or "ok", 503 if problem else 200)
        await response(scope, receive, send)

    async def _problem(self) -> str:
        """What keeps the bot from handling events; "" if nothing does."""
        if not self._bot.is_running:
            return "The bot is not running."
        now = asyncio.get_running_loop().time()
        if self._asking is None or (self._asking.done() and now - self._asked_at > GOOD_FOR):
            self._asked_at = now
            self._asking = asyncio.ensure_future(self._ask())
        return await asyncio.shield(self._asking)

    async def _ask(self) -> str:
        store = self._bot._store  # noqa: SLF001 - no one else is to ask it
        name = f"{self._bot._prefix}readyz:{secrets.token_hex(8)}"  # noqa: SLF001
        lease = new_lease(name, TERM)
        try:
            async with asyncio.timeout(WITHIN):
                await store.checkout(name, lease)
                await store.release(name, lease)
        except TimeoutError:
            return "The store does not answer."
        except BarbackError:
            return "The store cannot do its work."
        return ""
