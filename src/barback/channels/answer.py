"""Answer: what a bot says in the answer to a webhook's request, where a platform takes it."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from barback.channels.webhook import WebhookAnswer
from barback.events import Event

__all__ = ["Answer", "AnsweredEvent"]


class Answer:
    """A place for one thing to be said in the answer to a request.

    It is open from when the web app hands the event to the bot until the request is answered: when
    the event's turn is over, or, if that takes too long for the platform, before. What is said
    goes out with an answer of 200. Where the event is to come again, it is dropped: the handler
    will say it anew.
    """

    def __init__(self) -> None:
        self._is_open = False
        self._said: WebhookAnswer | None = None

    def open(self) -> None:
        """A request is there that can be answered with what will be said."""
        self._is_open = True

    def say(self, said: WebhookAnswer) -> bool:
        """Say this in the answer. False if there is no place: it was taken, or is not open."""
        if not self._is_open or self._said is not None:
            return False
        self._said = said
        return True

    def close(self) -> WebhookAnswer | None:
        """The request is answered now, with this; None if nothing was said."""
        self._is_open = False
        said, self._said = self._said, None
        return said


class AnsweredEvent(Event, kw_only=True, frozen=True):
    """An event whose platform takes something the bot says in the answer to the request.

    A channel makes one in its `events`, as the only event of a request, and puts into `answer` what
    is said in that event's turn. Whatever handles such an event without a web app opens the answer
    before, and closes it afterwards.
    """

    answer: Answer = msgspec.field(default_factory=Answer)

    @staticmethod
    def answer_among(events: Iterable[Event]) -> Answer | None:
        """The answer that the events of a request have, if there is one."""
        return next((each.answer for each in events if isinstance(each, AnsweredEvent)), None)
