"""SlackEvent: an event that may be answered in the response to its request."""

from __future__ import annotations

from barback.channels.answer import AnsweredEvent

__all__ = ["SlackEvent"]


class SlackEvent(AnsweredEvent, kw_only=True, frozen=True):
    """An event of Slack's.

    - `comes_twice`: it may be a mention of the bot, of which Slack tells as a `message` and as an
      `app_mention`.
    """

    comes_twice: bool = False
