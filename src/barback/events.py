"""Event and User: something a person did on a platform, in the same words for every platform."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from barback.errors import InvalidEvent

__all__ = ["MAX_PART", "TALK", "Event", "User"]

MESSAGE: Final = "message"
PAYLOAD: Final = "payload"
COMMAND: Final = "command"
TALK: Final = frozenset({MESSAGE, PAYLOAD})
"""Kinds of what a person says to the bot, or presses. What was edited, or typed for others to see,
is neither."""
MAX_PART: Final = 2048
"""The longest id, address or name of an event, in characters."""


class User(msgspec.Struct, frozen=True, kw_only=False):
    """A person, as the platform knows them."""

    id: str
    name: str | None = None

    def __post_init__(self) -> None:
        own = self.id
        if type(own) is str and own.isascii() and 0 < len(own) <= MAX_PART:
            return
        _check("User", "id", own)
        if not own:
            raise _invalid("User", "id", "is empty")


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

    Raises `InvalidEvent` where a part that is to be remembered is not text, has a lone surrogate,
    or is longer than 2,048 characters.
    """

    channel: str
    id: str | None = None
    kind: str = MESSAGE
    text: str | None = None
    payload: str | None = None
    user: User | None = None
    conversation: str | None = None
    thread: str | None = None
    address: str | None = None
    raw: Any = None

    def __post_init__(self) -> None:
        # Most events are as plain as this; what is not is looked at part by part.
        channel, own, text, user = self.channel, self.id, self.text, self.user
        address = own if self.address is None else self.address
        if not (
            type(channel) is type(own) is type(address) is str
            and (text is None or type(text) is str)
            and (user is None or type(user) is User)
            and self.kind is MESSAGE
            and self.conversation is self.thread is self.payload is None
            and (parts := channel + own + address).isascii()
            and len(parts) <= MAX_PART
        ):
            self._check()

    def _check(self) -> None:
        """Look at each part, and say what is wrong with it."""
        _check("Event", "channel", self.channel)
        _check("Event", "kind", self.kind)
        for part in ("id", "conversation", "thread", "address"):
            value = getattr(self, part)
            if value is not None:
                _check("Event", part, value)
        for part in ("text", "payload"):
            value = getattr(self, part)
            if value is not None and not isinstance(value, str):
                raise _invalid("Event", part, f"is {type(value).__name__}, and must be text")
        if self.user is not None and not isinstance(self.user, User):
            raise _invalid("Event", "user", f"is {type(self.user).__name__}, and must be a User")

    @property
    def is_text(self) -> bool:
        """Whether something is said to the bot, or stands on a button that was pressed.

        What `@bot.on_text()` takes: of the kinds "message" and "payload". A text that was edited,
        or typed for others to see, is a `text` as well, and no answer.
        """
        return self.text is not None and self.kind in TALK

    @property
    def is_payload(self) -> bool:
        """Whether a button is pressed, or a message brings something along, such as a payment.

        What `@bot.on_payload()` takes: of the same kinds. What asks for an answer of another form,
        as Telegram's "pre_checkout_query" does, may have a `payload`, and is none of these.
        """
        return self.payload is not None and self.kind in TALK

    def __repr__(self) -> str:
        # What people say belongs in no log.
        return f"<Event {self.channel}:{self.kind}:{self.id}>"


def _check(what: str, part: str, value: object) -> None:
    """What a session remembers must be text that every store can hold."""
    if not isinstance(value, str):
        reason = f"is {type(value).__name__}, and must be text: use str()"
    elif len(value) > MAX_PART:
        reason = f"is of {len(value)} characters, and {MAX_PART} is the most"
    elif not value.isascii() and any("\ud800" <= letter <= "\udfff" for letter in value):
        reason = "has a lone surrogate, which is not text"
    else:
        return
    raise _invalid(what, part, reason)


def _invalid(what: str, part: str, reason: str) -> InvalidEvent:
    message = f"{what}.{part} {reason}."
    return InvalidEvent(message)
