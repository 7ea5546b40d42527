"""Place: where something is said on Viber, as one text: an event's address."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote, unquote

import msgspec

__all__ = ["Place"]

PERSON: Final = re.compile(r"[A-Za-z0-9+/]{1,128}={1,2}")
"""An id, as Viber makes them: base64 of a length that leaves a rest."""


class Place(msgspec.Struct, frozen=True):
    """A person, and perhaps the chat that they write in. Written `person` or `person/chat`.

    - `person`: the id by which this bot, and no other, knows them. It may have a slash, which is
      written `%2F`.
    - `chat`: a chat of theirs with somebody else, into which they brought the bot.
    """

    person: str
    chat: str | None = None

    @classmethod
    def of(cls, address: str) -> Place:
        """The place that an address tells."""
        person, _, chat = address.partition("/")
        return cls(unquote(person), unquote(chat) or None)

    @classmethod
    def of_key(cls, key: str) -> Place | None:
        """The place that a session's key tells, as the scopes of barback make it; or None.

        A chat alone is no place: Viber has to be told to whom something is said.
        """
        first, slash, last = key.partition("/")
        person, chat = (unquote(last), unquote(first)) if slash else (unquote(first), None)
        return cls(person, chat) if PERSON.fullmatch(person) else None

    @property
    def params(self) -> dict[str, str]:
        """The same as parameters of `send_message`."""
        chat = {} if self.chat is None else {"chat_id": self.chat}
        return {"receiver": self.person, **chat}

    def __str__(self) -> str:
        parts = (self.person,) if self.chat is None else (self.person, self.chat)
        return "/".join(quote(part, safe="+=") for part in parts)
