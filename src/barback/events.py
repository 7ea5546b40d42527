"""Event and User: something a person did on a platform, in the same words for every platform."""

from __future__ import annotations

from typing import Any

import msgspec

__all__ = ["Event", "User"]


class User(msgspec.Struct, frozen=True, kw_only=False):
    """A person, as the platform knows them."""

    id: str
    name: str | None = None


class Event(msgspec.Struct, kw_only=True, frozen=True):
    """Something a person did. Channels make events; so may you, for tests and bridges.

    - `channel`: the name of the platform it came from.
    - `id`: the platform's own id of it, by which a redelivery is known; None where it has none.
    - `kind`: what ids are unique among: "message", "payload", "join"…
    - `text`: what was said; `payload`: what a pressed button carries.
    - `user`: who did it; `conversation`: the group it happened in, None in a private talk;
      `thread`: the thread inside the conversation.
    - `address`: where replies go, in the channel's own words.
    - `raw`: all that the platform sent.
    """

    channel: str
    id: str | None = None
    kind: str = "message"
    text: str | None = None
    payload: str | None = None
    user: User | None = None
    conversation: str | None = None
    thread: str | None = None
    address: str | None = None
    raw: Any = None

    @property
    def is_text(self) -> bool:
        """Whether it is something said."""
        return self.text is not None

    @property
    def is_payload(self) -> bool:
        """Whether it is a button pressed."""
        return self.payload is not None

    def __repr__(self) -> str:
        # What people say belongs in no log.
        return f"<Event {self.channel}:{self.kind}:{self.id}>"
