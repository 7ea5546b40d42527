"""LineChannel: a bot on LINE, by the Messaging API.

Sources: https://developers.line.biz/en/reference/messaging-api/#signature-validation,
https://developers.line.biz/en/docs/messaging-api/check-webhook-error-statistics/ (two seconds to
answer), https://developers.line.biz/en/docs/messaging-api/receiving-messages/#webhook-redelivery,
https://developers.line.biz/en/reference/messaging-api/#rate-limits and
https://developers.line.biz/en/docs/messaging-api/use-loading-indicator/
"""

from __future__ import annotations

import hmac
import re
from base64 import b64encode
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from barback.channels.fields import camel
from barback.channels.line.answers import Answers
from barback.channels.line.client import LONGEST, OFFICIAL, LineClient
from barback.channels.line.events import events_of, is_on_standby
from barback.channels.opening import variable
from barback.channels.signing import refuse_unless_equal
from barback.channels.texts import parts_of
from barback.channels.webhook import WebhookChannel, WebhookRequest
from barback.errors import CannotSend, ChannelError, ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from datetime import timedelta

    from barback.channels.fields import Json
    from barback.context import Context
    from barback.events import Event

__all__ = ["LineChannel"]

HEADER: Final = "x-line-signature"
PLACE: Final = re.compile(r"[CRU][0-9a-f]{1,64}|LU[0-9a-f]{1,64}-U[0-9a-f]{1,64}")
"""Ids of groups, rooms and people; those of people have two parts in channels of modules."""
GROUPS: Final = ("C", "R")
NOT_SET: Final = 404


class LineChannel(WebhookChannel):
    """LINE. `bot.asgi()` and `barback run` make a webhook of it.

    - `token`: the channel access token; or an `async` function that gives the one that is valid.
    - `secret`: the channel secret, which webhooks are signed with.
    - `name`: the channel's, "line" unless set: the first part of its sessions' ids. Two bots of
      LINE on one store need different names, or namespaces.
    - `path`: of the webhook, the name after a slash unless set.
    - `server`, `data_server`, `http`, `timeout`, `retry_within`: see `LineClient`, which `client`
      is.
    """

    # LINE allows for 2,000 pushes a second; half of them are left for answers.
    sends_per_second = 1000.0
    # LINE waits for two seconds, the way there and back among them.
    ack_within = 1.5

    def __init__(  # noqa: PLR0913 - each may be left out
        self,
        token: str | Callable[[], Awaitable[str]],
        secret: str,
        *,
        name: str = "line",
        path: str | None = None,
        server: str = OFFICIAL,
        data_server: str | None = None,
        http: Any = None,
        timeout: float | timedelta = 30.0,
        retry_within: float | timedelta = 30.0,
    ) -> None:
        self.client: LineClient = LineClient(
            token,
            channel=name,
            server=server,
            data_server=data_server,
            http=http,
            timeout=timeout,
            retry_within=retry_within,
        )
        if not isinstance(secret, str) or not secret:
            message = "The channel secret is as the LINE Developers Console shows it."
            raise ConfigurationError(message)
        self.name = name
        self.path = f"/{name}" if path is None else path
        self._secret = secret.encode()
        self._answers: WeakKeyDictionary[Any, Answers] = WeakKeyDictionary()

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> LineChannel:
        """By LINE_CHANNEL_ACCESS_TOKEN, LINE_CHANNEL_SECRET and, where it is set, LINE_SERVER.

        Raises `ConfigurationError`.
        """
        shown = "what the LINE Developers Console shows"
        token = variable(environ, "LINE_CHANNEL_ACCESS_TOKEN", shown)
        secret = variable(environ, "LINE_CHANNEL_SECRET", shown)
        return cls(token, secret, server=environ.get("LINE_SERVER") or OFFICIAL)

    # The webhook.

    def verify(self, request: WebhookRequest) -> None:
        """See that the body is signed with the channel secret."""
        digest = hmac.digest(self._secret, request.body, "sha256")
        what = "The signature is not LINE's."
        refuse_unless_equal(request.headers.get(HEADER, ""), b64encode(digest).decode(), what)

    def events(self, request: WebhookRequest) -> Sequence[Event]:
        """What people did; nothing, where LINE only tries whether the webhook is there."""
        return events_of(request.json(), channel=self.name)

    async def set_webhook(self, url: str) -> None:
        """Tell LINE where the webhook is. That it is used is switched on in LINE's console."""
        await self.client.call("setWebhookEndpoint", endpoint=url)

    async def webhook_info(self) -> dict[str, Any]:
        """Where LINE has the webhook (`endpoint`), and whether it is used (`active`)."""
        try:
            info: dict[str, Any] = await self.client.call("getWebhookEndpoint")
        except ChannelError as error:
            if error.status != NOT_SET:
                raise
            return {"endpoint": "", "active": False}
        return info

    async def delete_webhook(self) -> None:
        """LINE has no way to: raises `ConfigurationError`, which says what there is instead."""
        message = (
            "LINE lets nobody delete a webhook from here: switch off 'Use webhook' in the LINE "
            "Developers Console, or set another address."
        )
        raise ConfigurationError(message)

    # What the bot says.

    async def send_text(self, context: Context[Any], text: str) -> None:
        """Say `text`, in several messages if it is longer than one of LINE may be."""
        texts = [{"type": "text", "text": part} for part in parts_of(text, LONGEST)]
        await self._say(context, texts)

    async def send_messages(self, context: Context[Any], *messages: Json) -> None:
        """Send messages as LINE has them, with a `type`: up to five are one call, or one reply."""
        await self._say(context, messages)

    async def typing(self, context: Context[Any]) -> None:
        """Show for 20 seconds, or until the bot says something, that it is about to.

        Only in a private chat: LINE has no such thing for groups.
        """
        if is_on_standby(context.event):
            return
        place = self.address_in(context)
        if not place.startswith(GROUPS):
            await self.client.call("showLoadingAnimation", chat_id=place)

    def sender(self, name: str) -> Callable[..., Awaitable[Any]] | None:
        """`send_sticker(package_id=…)` and the like: a message of that type, by its properties."""
        return super().sender(name) or partial(self._send, camel(name.removeprefix("send_")))

    def address_of(self, key: str) -> str | None:
        """A person, or a group or room."""
        place, slash, _ = key.partition("/")
        if PLACE.fullmatch(place) is None or (slash and not place.startswith(GROUPS)):
            return None
        return place

    async def _send(self, kind: str, context: Context[Any], /, **properties: Any) -> None:
        given = {camel(name): value for name, value in properties.items() if value is not None}
        await self._say(context, [{"type": kind, **given}])

    async def _say(self, context: Context[Any], messages: Sequence[Json]) -> None:
        if is_on_standby(context.event):
            message = (
                "Another channel of the LINE account has this chat (standby), and this bot is to "
                "be silent there. Send with context.client if it is not."
            )
            raise CannotSend(message, session_id=context.session.id)
        place = self.address_in(context)
        turn = context._turn  # noqa: SLF001 - one reply token for whatever is said in a turn
        if turn not in self._answers:
            self._answers[turn] = Answers(context.event)
        await self._answers[turn].send(self.client, place, messages)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}>"
