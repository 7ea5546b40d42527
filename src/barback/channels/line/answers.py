"""Answers: what one turn says on LINE, a reply first and pushes after that.

A reply needs the token that came with the event. It is good for one call, and for about a minute;
it is free of charge, while what is pushed counts towards the account's monthly limit. A push has a
retry key, by which LINE knows a call again. Sources:
https://developers.line.biz/en/reference/messaging-api/#send-reply-message-reply-token and
https://developers.line.biz/en/docs/messaging-api/retrying-api-request/
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from uuid import UUID, uuid4, uuid5

import msgspec

from barback.channels.fields import text_in
from barback.channels.line.client import BROKEN, MOST, LineClient, is_used_up
from barback.errors import ChannelError, ChannelUnreachable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from barback.channels.fields import Json
    from barback.events import Event

__all__ = ["Answers"]

KEYS: Final = UUID("41934311-c53d-462c-9980-cdcd7ddae522")
"""What retry keys are made in: no other number is, anywhere."""


class Answers:
    """What is said in a turn, in answer to its event or without one."""

    def __init__(self, event: Event) -> None:
        self._event = event
        self._token = text_in(event.raw, "replyToken") if isinstance(event.raw, dict) else None
        self._sent = 0

    async def send(self, client: LineClient, to: str, messages: Sequence[Json]) -> None:
        """Say it, as many messages in one call as may be. Raises `ChannelError`."""
        for start in range(0, len(messages), MOST):
            await self._send(client, to, messages[start : start + MOST])

    async def _send(self, client: LineClient, to: str, messages: Sequence[Json]) -> None:
        number, self._sent = self._sent, self._sent + 1
        token, self._token = self._token, None  # nobody else may use it meanwhile
        if token and await self._reply(client, token, messages):
            return
        key = self._key(number, to, messages)
        await client.call("pushMessage", to=to, messages=messages, retry_key=key)

    async def _reply(self, client: LineClient, token: str, messages: Sequence[Json]) -> bool:
        """Whether the reply was taken; it was not if its token is used up."""
        try:
            await client.call("replyMessage", reply_token=token, messages=messages)
        except ChannelError as error:
            if is_used_up(error):
                return False
            if _is_surely_not_done(error):
                self._token = token  # for what is said of it
            raise
        return True

    def _key(self, number: int, to: str, messages: Sequence[Json]) -> str:
        """A retry key: the same for the same message in the same place of a turn that is run again.

        So that a person who was told something by a turn that was not done after all is not told it
        once more. What no event asked for has a key of its own each time.
        """
        if self._event.id is None:
            return str(uuid4())
        about = (self._event.channel, self._event.kind, self._event.id, number, to, messages)
        return str(uuid5(KEYS, msgspec.json.encode(about).decode()))


def _is_surely_not_done(error: ChannelError) -> bool:
    if isinstance(error, ChannelUnreachable):
        return not error.sent
    return (error.status or 0) < BROKEN
