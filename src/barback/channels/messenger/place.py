"""Place: where something is said on Messenger, as one text: an event's address."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote, unquote

import msgspec

__all__ = ["OWN", "Place"]

OWN: Final = "me"
"""The page that the token is of, as the Graph API calls it."""

PERSON: Final = re.compile(r"\d{1,32}")


class Place(msgspec.Struct, frozen=True):
    """A page, and a person as the page knows them. Written `page/person`.

    The ids of a person differ from page to page, so that one of a person is enough for a session.
    """

    page: str
    person: str

    @classmethod
    def of(cls, address: str) -> Place:
        """The place that an address tells."""
        page, _, person = address.partition("/")
        return cls(unquote(page), unquote(person))

    @classmethod
    def of_key(cls, key: str) -> Place | None:
        """The place that a session's key tells: a person, on the page that the token is of."""
        return cls(OWN, key) if PERSON.fullmatch(key) else None

    def __str__(self) -> str:
        return f"{quote(self.page, safe='')}/{quote(self.person, safe='')}"
