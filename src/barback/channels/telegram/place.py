"""Place: where something is said on Telegram, as one text: an event's address."""

from __future__ import annotations

import re
from typing import Any, Final
from urllib.parse import quote, unquote

import msgspec

__all__ = ["BUSINESS", "TOPIC", "Place"]

CHAT: Final = re.compile(r"-?\d{1,20}")
NUMBER: Final = re.compile(r"\d{1,20}")
BUSINESS: Final = "@"
"""Between a business connection and the chat in it, where the two name a conversation."""
TOPIC: Final = "#"
"""Between a channel's chat of direct messages and the topic in it, where they name one."""


class Place(msgspec.Struct, frozen=True):
    """A chat, and where in it. Written `chat`, `chat/thread`, `chat/thread/business/topic`.

    - `chat`: the chat's id, which in a private chat is the person's.
    - `thread`: a topic of a forum, or of a private chat with topics.
    - `business`: the business connection on whose behalf the bot speaks.
    - `topic`: a topic of a channel's direct messages, which is the talk of one person.
    """

    chat: str
    thread: str | None = None
    business: str | None = None
    topic: str | None = None

    @classmethod
    def of(cls, address: str) -> Place:
        """The place that an address tells."""
        parts = [unquote(part) or None for part in address.split("/", 3)]
        return cls(parts[0] or "", *parts[1:])

    @classmethod
    def of_key(cls, key: str) -> Place | None:
        """The place that a session's key tells, as the scopes of barback make it; or None.

        Chats have numbers, people's above zero and groups' below.
        """
        first, *others = [unquote(part) for part in key.split("/")]
        business, at, chat = first.rpartition(BUSINESS)
        chat, mark, topic = chat.partition(TOPIC)
        if not CHAT.fullmatch(chat) or (mark and not NUMBER.fullmatch(topic)):
            return None
        thread = None
        if len(others) == 2 and not others[0]:  # noqa: PLR2004 - "group//thread"
            thread = others[1]
        elif len(others) == 1 and not chat.startswith("-") and not at:
            thread = others[0]  # of a person's own; behind a group there is a member
        return cls(chat, thread or None, business or None, topic or None)

    @property
    def params(self) -> dict[str, Any]:
        """The same as parameters of Telegram's methods."""
        found: dict[str, Any] = {
            "chat_id": _id(self.chat),
            "message_thread_id": None if self.thread is None else _id(self.thread),
            "business_connection_id": self.business,
            "direct_messages_topic_id": None if self.topic is None else _id(self.topic),
        }
        return {name: value for name, value in found.items() if value is not None}

    def __str__(self) -> str:
        parts = (self.chat, self.thread, self.business, self.topic)
        return "/".join(quote(part or "", safe="@") for part in parts).rstrip("/")


def _id(text: str) -> int | str:
    """A number, or the name of a channel, such as @news."""
    return int(text) if CHAT.fullmatch(text) else text
