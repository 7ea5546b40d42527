"""Place: where something is said on WhatsApp, as one text: an event's address."""

from __future__ import annotations

import re
from typing import Any, Final
from urllib.parse import quote, unquote

import msgspec

__all__ = ["OTHERS", "Place"]

PHONE: Final = re.compile(r"\+?\d{1,20}")
USER_ID: Final = re.compile(r"[A-Z]{2}\.[A-Za-z0-9.]{1,160}")
"""What a person is called by one business:
https://developers.facebook.com/documentation/business-messaging/whatsapp/business-scoped-user-ids."""

OTHERS: Final = re.compile(r"(account|number):")
"""How conversations begin that are none of people: see `updates`."""


class Place(msgspec.Struct, frozen=True):
    """One of the business's numbers, and a person or a group it talks to.

    Written `number/person` or `number//group`.

    - `number`: the id of the business's phone number.
    - `person`: a phone number, or an id such as "US.13491208655302741918".
    - `group`: the id of a group, in place of a person.
    """

    number: str
    person: str = ""
    group: str = ""

    @classmethod
    def of(cls, address: str) -> Place:
        """The place that an address tells."""
        parts = [unquote(part) for part in address.split("/", 2)]
        return cls(*parts)

    @classmethod
    def of_key(cls, key: str, number: str) -> Place | None:
        """The place that a session's key tells, as seen from a number of the business's; or None.

        A key with a slash is of a group, or of a member of one.
        """
        first, slash, _ = key.partition("/")
        first = unquote(first)
        if slash:
            return None if not first or OTHERS.match(first) else cls(number, group=first)
        is_person = PHONE.fullmatch(first) or USER_ID.fullmatch(first)
        return cls(number, first) if is_person else None

    @property
    def params(self) -> dict[str, Any]:
        """The same as parameters of a message."""
        if self.group:
            return {"recipient_type": "group", "to": self.group}
        by = "to" if PHONE.fullmatch(self.person) else "recipient"
        return {"recipient_type": "individual", by: self.person}

    def __str__(self) -> str:
        parts = (self.number, self.person, self.group)
        return "/".join(quote(part, safe="+") for part in parts).rstrip("/")
