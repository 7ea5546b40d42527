"""SlackEvent: an event that may be answered in the response to its request."""

from __future__ import annotations

import msgspec

from barback.channels.webhook import WebhookAnswer
from barback.events import Event

__all__ = ["Reply", "SlackEvent"]


class Reply:
    """What a handler has given for the response to Slack's request; it can, until that is sent."""

    def __init__(self) -> None:
        self.given = WebhookAnswer()
        self.is_sent = False

    def __repr__(self) -> str:
        return f"<Reply of {len(self.given.body)} bytes>"


class SlackEvent(Event, kw_only=True, frozen=True):
    """An event of Slack's.

    - `comes_twice`: it may be a mention of the bot, of which Slack tells as a `message` and as an
      `app_mention`.
    - `reply`: the response to its request.
    """

    comes_twice: bool = False
    reply: Reply = msgspec.field(default_factory=Reply)
