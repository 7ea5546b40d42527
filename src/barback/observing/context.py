"""What a handler is given where somebody sees what it sends."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from barback.context import Context
from barback.observing.turn_seen import TurnSeen
from barback.state import S

__all__ = ["ObservedContext"]


class ObservedContext(Context[S], eq=False):
    """A context of which observers are told what goes out through it."""

    @classmethod
    def of(cls, context: Context[S]) -> Context[S]:
        """The same context, observed if its turn is."""
        turn = context._turn  # noqa: SLF001 - it is one itself
        if turn.seen is None:
            return context
        return cls(
            context.event,
            turn,
            context._draft,  # noqa: SLF001 - the same
            context._session_id,  # noqa: SLF001 - the same
            context._channel,  # noqa: SLF001 - the same
        )

    async def send_text(self, text: str) -> None:
        """See `Context.send_text`."""
        await self._told("send_text", super().send_text, text)

    async def typing(self) -> None:
        """See `Context.typing`."""
        await self._told("typing", super().typing)

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        return partial(self._told, name, super().__getattr__(name))

    async def _told(
        self, method: str, send: Callable[..., Awaitable[Any]], *args: Any, **options: Any
    ) -> Any:
        seen: TurnSeen | None = self._turn.seen
        if seen is None or self._draft.closed:  # it is told there that nothing can be sent
            return await send(*args, **options)
        step = seen.begin("send", method)
        try:
            sent = await send(*args, **options)
        except BaseException as error:
            seen.end(step, error)
            raise
        seen.end(step)
        return sent
