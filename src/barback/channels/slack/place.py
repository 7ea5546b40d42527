"""Place: where something is said on Slack, as one text: an event's address."""

from __future__ import annotations

import re
from typing import Any, Final
from urllib.parse import quote, unquote

import msgspec

__all__ = ["Place", "in_team", "is_private"]

CHANNEL: Final = re.compile(r"[CDGUW][A-Z0-9]{1,40}")
TEAM: Final = re.compile(r"(?:T|E)[A-Z0-9]{1,40}")
PEOPLE: Final = ("U", "W")
PRIVATE: Final = "D"
AT: Final = "@"
"""Between an id and the workspace that it is of, where a bot is in many."""


class Place(msgspec.Struct, frozen=True):
    """A channel, and where in it. Written `channel`, `channel/thread`, `channel@team/thread`.

    - `channel`: its id (C…, G…, D…), or that of a person (U…, W…), whose private talk it is then.
    - `thread`: the `ts` of the message that a thread begins with.
    - `team`: the workspace (T…), or the organisation (E…), where the bot is in many.
    """

    channel: str
    thread: str | None = None
    team: str | None = None

    @classmethod
    def of(cls, address: str) -> Place:
        """The place that an address tells."""
        where, _, thread = address.partition("/")
        channel, _, team = where.partition(AT)
        return cls(unquote(channel), unquote(thread) or None, unquote(team) or None)

    @classmethod
    def of_key(cls, key: str) -> Place | None:
        """The place that a session's key tells, as the scopes of barback make it; or None."""
        first, *others = [unquote(part) for part in key.split("/")]
        channel, at, team = first.partition(AT)
        if not CHANNEL.fullmatch(channel) or (at and not TEAM.fullmatch(team)):
            return None
        thread = None
        if len(others) == 2 and not others[0]:  # noqa: PLR2004 - "channel//thread"
            thread = others[1]
        elif len(others) == 1 and channel.startswith(PEOPLE):
            thread = others[0]  # of a person's own; behind a channel there is a member
        return cls(channel, thread or None, team or None)

    @classmethod
    def of_person(cls, user_id: str, thread: str | None, team: str | None) -> Place:
        """The private talk with a person, by their id as events have it."""
        own = user_id.removesuffix(f"{AT}{team}") if team else user_id
        return cls(own, thread, team)

    @property
    def params(self) -> dict[str, Any]:
        """The same as parameters of `chat.postMessage`, by `SlackClient`."""
        found = {"channel": self.channel, "thread_ts": self.thread, "workspace": self.team}
        return {name: value for name, value in found.items() if value is not None}

    @property
    def is_person(self) -> bool:
        """Whether it is named by the person, rather than by the channel."""
        return self.channel.startswith(PEOPLE)

    def __str__(self) -> str:
        where = in_team(quote(self.channel, safe=""), quote(self.team or "", safe=""))
        return where if self.thread is None else f"{where}/{quote(self.thread, safe='')}"


def is_private(channel: str) -> bool:
    """Whether a channel is a talk of two."""
    return channel.startswith(PRIVATE)


def in_team(own: str, team: str) -> str:
    """An id, with the workspace that it is of; without, where there is one only."""
    return f"{own}{AT}{team}" if team else own
