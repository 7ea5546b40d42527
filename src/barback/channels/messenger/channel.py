"""MessengerChannel: a bot that answers for Facebook pages.

Sources: https://developers.facebook.com/docs/messenger-platform/webhooks,
https://developers.facebook.com/docs/messenger-platform/reference/send-api,
https://developers.facebook.com/documentation/business-messaging/messenger-platform/overview/rate-limiting.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from barback.channels.messenger.client import LONGEST, MessengerClient
from barback.channels.messenger.place import OWN, Place
from barback.channels.messenger.updates import events_of
from barback.channels.meta.channel import MetaChannel
from barback.channels.meta.client import OFFICIAL, VERSION
from barback.channels.multipart import InputFile
from barback.channels.opening import variable
from barback.channels.texts import parts_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from datetime import timedelta

    from barback.channels.fields import Json
    from barback.context import Context
    from barback.events import Event

__all__ = ["FIELDS", "MessengerChannel"]

FIELDS: Final = (
    "messages",
    "messaging_postbacks",
    "messaging_optins",
    "messaging_referrals",
    "messaging_account_linking",
    "messaging_handovers",
    "messaging_policy_enforcement",
    "message_edits",
    "message_reactions",
)
"""What a bot wants to hear: no reads, deliveries and echoes, of which there are very many."""

SENDERS: Final = {f"send_{kind}": kind for kind in ("image", "audio", "video", "file")}
"""Attachments: https://developers.facebook.com/docs/messenger-platform/reference/send-api."""


class MessengerChannel(MetaChannel):
    """Messenger, by webhook.

    - `token`: the page's access token. `pages`: those of further pages with the same webhook, by
      their ids. What is said is answered by the page that it was said to.
    - `app_secret`: the app's, with which Meta signs.
    - `verify_token`: what Meta shows when the webhook is set up; made of the secret unless set.
    - `app_id`: the app's: with it `set_webhook` works, and what people say for the page, in its
      inbox, is an event, `message_echoes`.
    - `fields`: what `set_webhook` asks for, by Meta's names: all but reads, deliveries, echoes and
      what is rare, unless set.
    - `name`: the channel's, "messenger" unless set: the first part of its sessions' ids.
    - `path`: of the webhook, the name after a slash unless set.
    - `version`, `proof`, `server`, `http`, `timeout`, `retry_within`: see `GraphClient`.
    """

    # 300 of each page, says Meta. Some are left for answers.
    sends_per_second = 250.0
    subject = "page"
    variables = "MESSENGER"
    client: MessengerClient

    def __init__(  # noqa: PLR0913 - each may be left out
        self,
        token: str,
        *,
        app_secret: str,
        verify_token: str | None = None,
        app_id: str | None = None,
        pages: Mapping[str, str] | None = None,
        fields: Sequence[str] = FIELDS,
        name: str = "messenger",
        path: str | None = None,
        version: str = VERSION,
        proof: bool = True,
        server: str = OFFICIAL,
        http: Any = None,
        timeout: float | timedelta = 30.0,
        retry_within: float | timedelta = 30.0,
    ) -> None:
        client = MessengerClient(
            token,
            channel=name,
            tokens=pages,
            ids={"page": OWN},
            app_id=app_id,
            app_secret=app_secret,
            proof=proof,
            version=version,
            server=server,
            http=http,
            timeout=timeout,
            retry_within=retry_within,
        )
        super().__init__(
            client,
            app_secret=app_secret,
            verify_token=verify_token,
            app_id=app_id,
            fields=fields,
            name=name,
            path=path,
        )
        self._pages = (OWN, *(pages or {}))

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> MessengerChannel:
        """By the variables MESSENGER_TOKEN, MESSENGER_APP_SECRET and some that may be left out.

        Those are MESSENGER_VERIFY_TOKEN, MESSENGER_APP_ID and MESSENGER_SERVER.

        Raises `ConfigurationError`.
        """
        return cls(
            variable(environ, "MESSENGER_TOKEN", "the access token of the page"),
            app_secret=variable(environ, "MESSENGER_APP_SECRET", "the secret of the app"),
            verify_token=environ.get("MESSENGER_VERIFY_TOKEN") or None,
            app_id=environ.get("MESSENGER_APP_ID") or None,
            server=environ.get("MESSENGER_SERVER") or OFFICIAL,
        )

    def events_of(self, entry: Json) -> Sequence[Event]:
        """See `MetaChannel.events_of`."""
        return list(events_of(entry, channel=self.name, app_id=self._app_id))

    async def subscribe(self) -> None:
        """Let Meta send what happens to the pages."""
        fields = ",".join(self.fields)
        for page in self._pages:
            await self.client.subscribe_app(page=page, subscribed_fields=fields)

    # What the bot says.

    async def send_text(self, context: Context[Any], text: str) -> None:
        """Say `text`, in several messages if it is longer than one of Messenger may be."""
        for part in parts_of(text, LONGEST):
            await self.send_message(context, message={"text": part})

    async def typing(self, context: Context[Any]) -> None:
        """Show for twenty seconds, or until the bot says something, that it is typing."""
        place = self._place(context)
        recipient = {"id": place.person}
        await self.client.send_message(
            page=place.page, recipient=recipient, sender_action="typing_on"
        )

    async def send_message(self, context: Context[Any], /, **params: Any) -> Any:
        """Send a message as the Send API has it: `send_message(message={"text": "Hi", …})`.

        `messaging_type` is RESPONSE in answer to an event, UPDATE outside of one, and MESSAGE_TAG
        with a `tag`, unless it is set.
        """
        place = self._place(context)
        kind = "UPDATE" if context.event.raw is None else "RESPONSE"
        told = {
            "page": place.page,
            "recipient": {"id": place.person},
            "messaging_type": "MESSAGE_TAG" if "tag" in params else kind,
        }
        return await self.client.send_message(**{**told, **params})

    async def send_template(self, context: Context[Any], /, **payload: Any) -> Any:
        """Send a template: `send_template(template_type="button", text="…", buttons=[…])`."""
        attachment = {"type": "template", "payload": payload}
        return await self.send_message(context, message={"attachment": attachment})

    def sender(self, name: str) -> Callable[..., Awaitable[Any]] | None:
        """`send_image`, `send_audio`, `send_video`, `send_file`, beside the methods of the class.

        Of each the first argument is an address, or an `InputFile`.
        """
        if name in SENDERS:
            return partial(self._send_attachment, SENDERS[name])
        return super().sender(name)

    def address_of(self, key: str) -> str | None:
        """A person, on the page that the token is of."""
        place = Place.of_key(key)
        return None if place is None else str(place)

    async def _send_attachment(
        self, kind: str, context: Context[Any], what: str | InputFile, /, **params: Any
    ) -> Any:
        payload: dict[str, Any] = {"is_reusable": True}
        if isinstance(what, InputFile):
            params["filedata"] = what
        else:
            payload["url"] = what
        message = {"attachment": {"type": kind, "payload": payload}}
        return await self.send_message(context, message=message, **params)

    def _place(self, context: Context[Any]) -> Place:
        return Place.of(self.address_in(context, "a recipient"))
