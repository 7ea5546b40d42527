"""MetaChannel: what webhooks of Meta's platforms have in common.

Sources: https://developers.facebook.com/docs/graph-api/webhooks/getting-started (the handshake,
signatures), https://developers.facebook.com/docs/graph-api/webhooks/subscriptions-edge,
https://developers.facebook.com/docs/messenger-platform/webhooks (an answer within 5 seconds).
"""

from __future__ import annotations

import hmac
from abc import abstractmethod
from hashlib import sha256
from typing import TYPE_CHECKING, Any, ClassVar, Final

import msgspec

from barback.channels.fields import Json, objects_in, text_in
from barback.channels.meta.client import GraphClient
from barback.channels.signing import refuse_unless_equal
from barback.channels.webhook import WebhookAnswer, WebhookChannel, WebhookRequest
from barback.errors import ConfigurationError, WebhookMalformed, WebhookRefused

if TYPE_CHECKING:
    from collections.abc import Sequence

    from barback.events import Event

__all__ = ["MetaChannel", "digest_of"]

HEADER: Final = "x-hub-signature-256"


class MetaChannel(WebhookChannel):
    """A channel on a platform of Meta's.

    - `app_secret`: the app's, with which Meta signs.
    - `verify_token`: what Meta shows when the webhook is set up. Unless set, one is made of the
      secret, which it does not give away.
    - `app_id`: the app's, by which `set_webhook` works.
    - `fields`: what `set_webhook` asks for.
    """

    # "In 5 or less seconds": https://developers.facebook.com/docs/messenger-platform/webhooks.
    ack_within = 4.0
    client: GraphClient

    subject: ClassVar[str]
    """What Meta calls the object whose webhook it is."""
    variables: ClassVar[str]
    """How the names of its variables in the environment begin."""

    def __init__(  # noqa: PLR0913 - the parts of a channel
        self,
        client: GraphClient,
        *,
        app_secret: str,
        verify_token: str | None,
        app_id: str | None,
        fields: Sequence[str],
        name: str,
        path: str | None,
    ) -> None:
        if not isinstance(app_secret, str) or not app_secret:
            message = "A channel of Meta's needs the app's secret: Meta signs with it."
            raise ConfigurationError(message)
        if verify_token is not None and (not isinstance(verify_token, str) or not verify_token):
            message = "A verify token is a text of your own, which Meta is told."
            raise ConfigurationError(message)
        if app_id is not None and (not isinstance(app_id, str) or not app_id.isdecimal()):
            message = "An app's id is a text of digits."
            raise ConfigurationError(message)
        self.client = client
        self.name = name
        self.path = f"/{name}" if path is None else path
        self.fields = tuple(fields)
        self._key = app_secret.encode()
        self._verify_token = verify_token or _token_of(self._key)
        self._app_id = app_id

    # The webhook.

    def verify(self, request: WebhookRequest) -> None:
        """See that Meta has signed the body."""
        signature = hmac.new(self._key, request.body, sha256).hexdigest()
        what = "The request is not signed with the secret of the app."
        refuse_unless_equal(request.headers.get(HEADER, ""), f"sha256={signature}", what)

    def handshake(self, request: WebhookRequest) -> WebhookAnswer | None:
        """Give back the challenge that comes with the verify token, when the webhook is set up."""
        if request.method != "GET":
            return None
        given = request.query.get("hub.verify_token", "")
        what = "The request does not have the verify token."
        refuse_unless_equal(given, self._verify_token, what)
        if request.query.get("hub.mode") != "subscribe":
            what = "The request asks for something else than to subscribe."
            raise WebhookRefused(what)
        challenge = request.query.get("hub.challenge", "")
        return WebhookAnswer(body=challenge.encode("utf-8", "replace"))

    def events(self, request: WebhookRequest) -> Sequence[Event]:
        """What is in all entries of a request, but for what the bot did itself."""
        told = request.json()
        if not isinstance(told, dict) or not isinstance(told.get("entry"), list):
            reason = "What came is no webhook of Meta's: it has no entries."
            raise WebhookMalformed(reason)
        return [event for entry in objects_in(told, "entry") for event in self.events_of(entry)]

    @abstractmethod
    def events_of(self, entry: Json) -> Sequence[Event]:
        """The events that are in one entry."""

    async def set_webhook(self, url: str, **params: Any) -> None:
        """Tell Meta where the webhook is, what to send there, and of whom.

        Meta asks the webhook at once whether it knows the verify token: the bot must be running.
        `params` as https://developers.facebook.com/docs/graph-api/reference/app/subscriptions has
        them. Raises `ConfigurationError` without an `app_id`.
        """
        told = {
            "object": self.subject,
            "callback_url": url,
            "verify_token": self._verify_token,
            "fields": ",".join(self.fields),
        }
        await self.client.call("POST /{app_id}/subscriptions", **{**self._app(), **told, **params})
        await self.subscribe()

    @abstractmethod
    async def subscribe(self) -> None:
        """Let Meta send what happens to those that the channel speaks for."""

    async def webhook_info(self) -> dict[str, Any]:
        """What Meta knows of the webhook: `callback_url`, `active`, `fields`."""
        told = await self.client.call("GET /{app_id}/subscriptions", **self._app())
        found = objects_in(told, "data") if isinstance(told, dict) else []
        own = next((each for each in found if each.get("object") == self.subject), {})
        fields = [text_in(each, "name") or "" for each in objects_in(own, "fields")]
        return {
            "callback_url": text_in(own, "callback_url") or "",
            "active": own.get("active") is True,
            "fields": ", ".join(fields),
        }

    async def delete_webhook(self, **params: Any) -> None:
        """Let Meta call no webhook any more."""
        told = {"object": self.subject, **params}
        await self.client.call("DELETE /{app_id}/subscriptions", **self._app(), **told)

    def _app(self) -> dict[str, str]:
        return {"app_id": self.needed(self._app_id, "app_id", "the app's id")}

    def needed(self, value: str | None, option: str, what: str) -> str:
        """What the webhook cannot be set without. Raises `ConfigurationError` if it is None."""
        if value is None:
            message = (
                f"The webhook of {self.name} is set with {what} only: give the channel {option}=…, "
                f"or the environment {self.variables}_{option.upper()}. Or else set it in the "
                f"app's dashboard."
            )
            raise ConfigurationError(message)
        return value

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}>"


def digest_of(told: Json, *names: str) -> str:
    """An id for what Meta gives none: the same for what is the same, in whatever order.

    `names`: the parts that count; all of them unless given.
    """
    parts = {name: told.get(name) for name in names} if names else told
    return sha256(msgspec.json.encode(parts, order="deterministic")).hexdigest()[:32]


def _token_of(secret: bytes) -> str:
    """A verify token that whoever has the secret can make anew, and that does not tell it."""
    return hmac.new(secret, b"barback: the verify token of the webhook", sha256).hexdigest()
