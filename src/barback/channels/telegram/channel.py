"""TelegramChannel: a bot on Telegram, by webhook or by long polling.

Sources: https://core.telegram.org/bots/api#setwebhook (the secret, and that whatever is not
answered with 2xx comes again), #getting-updates, #sendmessage, #sendchataction.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from barback.channels.base import ServingChannel
from barback.channels.opening import variable
from barback.channels.signing import refuse_unless_equal
from barback.channels.telegram.client import LONGEST, OFFICIAL, TelegramClient
from barback.channels.telegram.place import Place
from barback.channels.telegram.updates import event_of
from barback.channels.texts import parts_of
from barback.channels.unfit import made
from barback.channels.webhook import WebhookChannel, WebhookRequest
from barback.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from datetime import timedelta

    from barback.bot import Bot
    from barback.context import Context
    from barback.events import Event

__all__ = ["TelegramChannel"]

HEADER: Final = "x-telegram-bot-api-secret-token"
SECRET: Final = re.compile(r"[A-Za-z0-9_-]{1,256}")


class TelegramChannel(WebhookChannel, ServingChannel):
    """Telegram. `bot.asgi()` and `barback run` make a webhook of it, `bot.run()` polls.

    - `token`: the bot's, from BotFather.
    - `secret`: what Telegram has to send along to the webhook: 1 to 256 letters, digits, `_` and
      `-`. Unless set, one is made of the token, which it does not give away.
    - `name`: the channel's, "telegram" unless set: the first part of its sessions' ids. Two bots of
      Telegram on one store need different names, or namespaces.
    - `path`: of the webhook, the name after a slash unless set.
    - `username`: the bot's on Telegram, with or without its `@`. Where it is set, a command that
      says it is for another bot, as `/start@other_bot` in a group, is no command.
    - `allowed_updates`: the kinds of updates that are asked for, by Telegram's names. Unless set,
      those that Telegram sends unasked: all but a few, such as `chat_member`.
    - `server`, `http`, `timeout`, `retry_within`: see `TelegramClient`, which `client` is.
    """

    # https://core.telegram.org/bots/faq#broadcasting-to-users
    sends_per_second = 30.0
    # Telegram says nowhere how long it waits. Servers in front of a bot often wait for a minute.
    ack_within = 50.0

    def __init__(  # noqa: PLR0913 - each may be left out
        self,
        token: str,
        *,
        secret: str | None = None,
        name: str = "telegram",
        path: str | None = None,
        username: str | None = None,
        allowed_updates: Sequence[str] | None = None,
        server: str = OFFICIAL,
        http: Any = None,
        timeout: float | timedelta = 30.0,
        retry_within: float | timedelta = 30.0,
    ) -> None:
        if not (username is None or isinstance(username, str)):
            message = f"username is what the bot is called, as in '@shop_bot', not {username!r}."
            raise ConfigurationError(message)
        self.allowed_updates = _names(allowed_updates)
        self.client: TelegramClient = TelegramClient(
            token,
            channel=name,
            server=server,
            http=http,
            timeout=timeout,
            retry_within=retry_within,
        )
        self.name = name
        self.path = f"/{name}" if path is None else path
        self.username = None if username is None else username.removeprefix("@")
        self._own_id = token.partition(":")[0]
        self._secret = _secret_of(token) if secret is None else _checked(secret)

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> TelegramChannel:
        """By the variables TELEGRAM_TOKEN and, where set, TELEGRAM_SECRET, _USERNAME and _SERVER.

        Raises `ConfigurationError`.
        """
        return cls(
            variable(environ, "TELEGRAM_TOKEN", "what BotFather told"),
            secret=environ.get("TELEGRAM_SECRET") or None,
            username=environ.get("TELEGRAM_USERNAME") or None,
            server=environ.get("TELEGRAM_SERVER") or OFFICIAL,
        )

    # The webhook.

    def verify(self, request: WebhookRequest) -> None:
        """See that the secret is there. Telegram signs nothing else."""
        what = "The request does not have the secret that Telegram was given."
        refuse_unless_equal(request.headers.get(HEADER, ""), self._secret, what)

    def events(self, request: WebhookRequest) -> Sequence[Event]:
        """The one update of a request; nothing, if the bot did that itself."""
        event = self.event_of(request.json())
        return () if event is None else (event,)

    def event_of(self, update: Any) -> Event | None:
        """The event that an update is; None for what the bot itself has done."""
        return made(self.name, event_of, update, channel=self.name, own_id=self._own_id)

    async def set_webhook(self, url: str, **params: Any) -> None:
        """Tell Telegram where the webhook is, and its secret; `params` as `setWebhook` has them."""
        told = {"allowed_updates": self.allowed_updates, "secret_token": self._secret}
        await self.client.call("setWebhook", url=url, **{**told, **params})

    async def webhook_info(self) -> dict[str, Any]:
        """What Telegram knows of the webhook, and how it fares: see `getWebhookInfo`."""
        info: dict[str, Any] = await self.client.call("getWebhookInfo")
        return info

    async def delete_webhook(self, **params: Any) -> None:
        """Let Telegram call no webhook any more; it keeps updates for a day."""
        await self.client.call("deleteWebhook", **params)

    # Long polling.

    async def serve(self, bot: Bot[Any]) -> None:
        """Fetch updates until cancelled; see `barback.channels.telegram.polling`."""
        from barback.channels.telegram.polling import Poller  # noqa: PLC0415 - a webhook needs none

        await Poller(self, bot).poll()

    # What the bot says.

    async def send_text(self, context: Context[Any], text: str) -> None:
        """Say `text`, in several messages if it is longer than one of Telegram may be."""
        params = self._place(context).params
        for part in parts_of(text, LONGEST):
            await self.client.call("sendMessage", text=part, **params)

    async def typing(self, context: Context[Any]) -> None:
        """Show for five seconds, or until the bot says something, that it is typing."""
        params = self._place(context).params
        params.pop("direct_messages_topic_id", None)
        await self.client.call("sendChatAction", action="typing", **params)

    def sender(self, name: str) -> Callable[..., Awaitable[Any]] | None:
        """`send_photo(photo=…)` and the like: Telegram's methods, in the chat of the context."""
        return super().sender(name) or partial(self._send, self.client.method_of(name))

    def address_of(self, key: str) -> str | None:
        """A person's private chat, a group, or a topic in it."""
        place = Place.of_key(key)
        return None if place is None else str(place)

    async def _send(self, method: str, context: Context[Any], /, **params: Any) -> Any:
        return await self.client.call(method, **{**self._place(context).params, **params})

    def _place(self, context: Context[Any]) -> Place:
        return Place.of(self.address_in(context, "a chat_id"))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r} of the bot {self._own_id}>"


def _secret_of(token: str) -> str:
    """A secret that whoever has the token can make anew, and that does not tell the token."""
    return hmac.new(token.encode(), b"barback: the secret of the webhook", sha256).hexdigest()


def _names(kinds: Sequence[str] | None) -> list[str] | None:
    """A list of kinds of updates. Raises `ConfigurationError`."""
    if kinds is None:
        return None
    if isinstance(kinds, Iterable) and not isinstance(kinds, str):
        listed = list(kinds)
        if all(isinstance(kind, str) for kind in listed):
            return listed
    message = f"allowed_updates is a list of kinds, as in ['message'], not {kinds!r}."
    raise ConfigurationError(message)


def _checked(secret: str) -> str:
    if not isinstance(secret, str) or SECRET.fullmatch(secret) is None:
        message = "A webhook's secret is 1 to 256 letters, digits, '_' or '-'."
        raise ConfigurationError(message)
    return secret
