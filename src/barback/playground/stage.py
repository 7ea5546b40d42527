"""Stage: the playground as the bot's channel. What is sent appears on the page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from barback.channels.base import Channel
from barback.channels.silent import SilentClient

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from barback.context import Context
    from barback.events import Event

__all__ = ["Stage"]


class Stage(Channel):
    """Stands in for all channels of a bot, whatever its handlers send through them.

    `heard` is called with the session's id, the event that is answered, and what was said. Other
    things than text are shown as the calls they are.
    """

    def __init__(self, name: str, heard: Callable[[str, Event, str], None]) -> None:
        self.name = name
        self.client_used = False
        self._client = SilentClient()
        self._heard = heard

    @property
    def client(self) -> SilentClient:
        """What `context.client` is. That it was asked for is noted."""
        self.client_used = True
        return self._client

    async def send_text(self, context: Context[Any], text: str) -> None:
        """See `Channel.send_text`."""
        if not isinstance(text, str):
            message = f"What is said is text, not {type(text).__name__}."
            raise TypeError(message)
        self._heard(context.session.id, context.event, text)

    def sender(self, name: str) -> Callable[..., Awaitable[Any]] | None:
        """Whatever is sent, on whatever platform."""
        return super().sender(name) or self.as_text(name)
