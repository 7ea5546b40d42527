"""ViberChannel: a bot on Viber.

Sources: https://creators.viber.com/docs/bots-api/getting-started/web-hooks (setting it, and that
Viber calls it meanwhile), .../resources/messaging/welcome-message (one message, in the answer, to
who has not subscribed), .../resources/messaging/send-message; and for the signature Viber's own
https://github.com/Viber/viber-bot-python, `Api.verify_signature`.
"""

from __future__ import annotations

import hmac
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

import msgspec

from barback.channels.answer import AnsweredEvent
from barback.channels.opening import variable
from barback.channels.signing import refuse_unless_equal
from barback.channels.texts import parts_of
from barback.channels.unfit import made
from barback.channels.viber.callbacks import event_of
from barback.channels.viber.client import INVALID_URL, LONGEST, NAME, OFFICIAL, ViberClient
from barback.channels.viber.place import Place
from barback.channels.webhook import WebhookAnswer, WebhookChannel, WebhookRequest
from barback.errors import CannotSend, ChannelError, ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from datetime import timedelta

    from barback.context import Context
    from barback.events import Event

__all__ = ["ViberChannel"]

HEADER: Final = "x-viber-content-signature"
EVENT_TYPES: Final = (
    "failed",
    "subscribed",
    "unsubscribed",
    "conversation_started",
    "message",
)
"""Not "delivered" and "seen": two turns more for everything that the bot says."""


class ViberChannel(WebhookChannel):
    """Viber. `bot.asgi()` and `barback run` make a webhook of it.

    - `token`: the bot's, from its settings in Viber.
    - `sender_name`: the name that people see beside what the bot says, 28 characters at most;
      `sender_avatar`: the address of a picture, if there is to be one.
    - `name`: the channel's, "viber" unless set: the first part of its sessions' ids. Two bots of
      Viber on one store need different names, or namespaces.
    - `path`: of the webhook, the name after a slash unless set.
    - `event_types`: the kinds of events that are asked for, by Viber's names. Unless set, all but
      "delivered" and "seen". Viber sends "message", "subscribed" and "unsubscribed" in any case.
    - `send_name`, `send_photo`: whether Viber is to tell people's names, as it is unless set, and
      the addresses of their pictures, as it is not.
    - `min_api_version`: of Viber's app, which who has an older one is not shown what the bot says;
      1, which all have, unless set. A call may set another.
    - `server`, `http`, `timeout`, `retry_within`: see `ViberClient`, which `client` is.
    """

    # Viber tells a rate for broadcast_message alone, 500 requests in ten seconds; a little less.
    # https://creators.viber.com/docs/bots-api/resources/messaging/broadcast-message
    sends_per_second = 40.0
    # Viber says nowhere how long it waits. Bots have found that after five seconds it comes again:
    # https://github.com/Bogdaan/viber-bot-php/issues/37
    ack_within = 4.0

    def __init__(  # noqa: PLR0913 - most may be left out
        self,
        token: str,
        *,
        sender_name: str,
        sender_avatar: str | None = None,
        name: str = "viber",
        path: str | None = None,
        event_types: Sequence[str] = EVENT_TYPES,
        send_name: bool = True,
        send_photo: bool = False,
        min_api_version: int = 1,
        server: str = OFFICIAL,
        http: Any = None,
        timeout: float | timedelta = 30.0,
        retry_within: float | timedelta = 30.0,
    ) -> None:
        self.client: ViberClient = ViberClient(
            token,
            channel=name,
            server=server,
            http=http,
            timeout=timeout,
            retry_within=retry_within,
        )
        if not isinstance(sender_name, str) or not 0 < len(sender_name) <= NAME:
            message = f"A sender's name on Viber is 1 to {NAME} characters."
            raise ConfigurationError(message)
        self.name = name
        self.path = f"/{name}" if path is None else path
        avatar = {} if sender_avatar is None else {"avatar": sender_avatar}
        self._sender = {"name": sender_name, **avatar}
        self._wanted = {
            "event_types": list(event_types),
            "send_name": send_name,
            "send_photo": send_photo,
        }
        self._min_api_version = min_api_version
        self._key = token.encode()

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> ViberChannel:
        """By the variables VIBER_TOKEN, VIBER_SENDER_NAME and, if set, VIBER_SENDER_AVATAR.

        VIBER_SERVER, if it is set, is called in place of Viber. Raises `ConfigurationError`.
        """
        return cls(
            variable(environ, "VIBER_TOKEN", "the token in the bot's settings"),
            sender_name=variable(environ, "VIBER_SENDER_NAME", "the name that people are to see"),
            sender_avatar=environ.get("VIBER_SENDER_AVATAR") or None,
            server=environ.get("VIBER_SERVER") or OFFICIAL,
        )

    # The webhook.

    def verify(self, request: WebhookRequest) -> None:
        """See that the body is signed with the token. Viber signs no time: there is no window."""
        expected = hmac.new(self._key, request.body, sha256).hexdigest()
        what = "The request is not signed by Viber with the token of this bot."
        refuse_unless_equal(request.headers.get(HEADER, ""), expected, what)

    def events(self, request: WebhookRequest) -> Sequence[Event]:
        """The one event of a request; none, if Viber only tries the webhook."""
        event = made(self.name, event_of, request.json(), channel=self.name)
        return () if event is None else (event,)

    async def set_webhook(self, url: str, **params: Any) -> None:
        """Tell Viber where the webhook is; `params` as `set_webhook` has them.

        The bot must be served there by now: Viber calls it, before it answers this.
        """
        try:
            await self.client.call("set_webhook", url=url, **{**self._wanted, **params})
        except ChannelError as error:
            if error.code != INVALID_URL:
                raise
            message = (
                f"Viber has tried the webhook, and was not answered 200. Serve the bot first, with "
                f"`barback run`, at an address that begins with https:// and has a certificate of "
                f"a public authority. {error.description}"
            ).rstrip()
            raise ConfigurationError(message) from error

    async def webhook_info(self) -> dict[str, Any]:
        """What Viber knows of the webhook, and of the bot: see `get_account_info`."""
        info = await self.client.call("get_account_info")
        told = ("name", "uri", "event_types", "subscribers_count")
        return {
            "url": info.get("webhook") or "",
            **{name: info[name] for name in told if name in info},
        }

    async def delete_webhook(self) -> None:
        """Let Viber call no webhook any more: nobody can write to the bot from then on."""
        await self.client.call("set_webhook", url="")

    # What the bot says.

    async def send_text(self, context: Context[Any], text: str) -> None:
        """Say `text`, in several messages if it is longer than one of Viber may be."""
        parts = parts_of(text, LONGEST)
        if len(parts) > 1 and isinstance(context.event, AnsweredEvent):
            raise self._one_message_only(context)
        for part in parts:
            await self._send(context, type="text", text=part)

    def sender(self, name: str) -> Callable[..., Awaitable[Any]] | None:
        """`send_picture(media=…)` and the like: a message of that type, to the context's person.

        `send_message(…)` leaves the type to the caller, and `send_keyboard(keyboard=…)` has none.
        """
        kind = name.removeprefix("send_")
        given = {} if kind in {"message", "keyboard"} else {"type": kind}
        return super().sender(name) or partial(self._send, **given)

    def address_of(self, key: str) -> str | None:
        """A person, or a person within a chat. A chat alone is no address on Viber."""
        place = Place.of_key(key)
        return None if place is None else str(place)

    async def _send(self, context: Context[Any], /, **params: Any) -> Any:
        """Send a message; what Viber answers, or {} where it is an answer to Viber's request."""
        message = {"sender": self._sender, "min_api_version": self._min_api_version, **params}
        event = context.event
        if not isinstance(event, AnsweredEvent):
            return await self.client.call("send_message", **{**self._receiver(context), **message})
        given = {name: value for name, value in message.items() if value is not None}
        said = WebhookAnswer(200, msgspec.json.encode(given), "application/json")
        if not event.answer.say(said):
            raise self._one_message_only(context)
        return {}

    def _receiver(self, context: Context[Any]) -> dict[str, str]:
        return Place.of(self.address_in(context, "a receiver")).params

    def _one_message_only(self, context: Context[Any]) -> CannotSend:
        message = (
            f"Who has not subscribed is told one thing by a bot on Viber: one message, in the "
            f"answer to the request that they opened the conversation, within {self.ack_within:g} "
            f"seconds. Keep the rest until they have written."
        )
        return CannotSend(message, session_id=context.session.id)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r} of the bot {self._sender['name']!r}>"
