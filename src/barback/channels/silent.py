"""SilentClient: stands in for a platform's client where there is no platform."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["SilentClient"]


class SilentClient:
    """Stands in for a platform's client: every method is there, does nothing, and returns None.

    `context.client` is one in the playground, and in `Simulator(bot, client=SilentClient())`.
    """

    async def call(self, method: str, /, **params: Any) -> None:
        """Do nothing, as all methods here."""

    def __getattr__(self, name: str) -> Callable[..., Awaitable[None]]:
        if name.startswith("_"):
            raise AttributeError(name)
        return partial(self.call, name)
