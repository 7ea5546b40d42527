"""WhatsAppChannel: a bot that answers for a business on WhatsApp, by Meta's Cloud API.

Sources: https://developers.facebook.com/documentation/business-messaging/whatsapp/webhooks/overview,
https://developers.facebook.com/documentation/business-messaging/whatsapp/throughput,
https://developers.facebook.com/documentation/business-messaging/whatsapp/typing-indicators.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from barback.channels.fields import objects_in, text_in
from barback.channels.meta.channel import MetaChannel
from barback.channels.meta.client import OFFICIAL, VERSION
from barback.channels.multipart import InputFile
from barback.channels.opening import variable
from barback.channels.texts import parts_of
from barback.channels.whatsapp.client import LONGEST, WhatsAppClient
from barback.channels.whatsapp.place import Place
from barback.channels.whatsapp.updates import IdentifyBy, events_of
from barback.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from datetime import timedelta

    from barback.channels.fields import Json
    from barback.context import Context
    from barback.events import Event

__all__ = ["FIELDS", "WhatsAppChannel"]

FIELDS: Final = ("messages",)
"""What people say, and what becomes of what the bot says: both are one field to Meta."""

MEDIA: Final = frozenset({"audio", "document", "image", "sticker", "video"})
TYPES: Final = MEDIA | {"contacts", "interactive", "location", "reaction"}
"""What a message may be, beside a text and a template."""


class WhatsAppChannel(MetaChannel):
    """WhatsApp, by webhook.

    - `token`: the access token of a system user of the business.
    - `phone_number_id`: of the number that speaks where nothing tells another. What is said to
      another number of the same app is answered by that one.
    - `app_secret`: the app's, with which Meta signs.
    - `verify_token`: what Meta shows when the webhook is set up; made of the secret unless set.
    - `waba_id`: of the WhatsApp Business Account: for templates, and for `set_webhook`.
    - `app_id`: the app's: with it `set_webhook` works.
    - `tokens`: other tokens, by the ids of the numbers that need one.
    - `identify_by`: what a session goes by: "user_id", which Meta tells of everybody, or "phone",
      which it does not tell of everybody; who has none then goes by the other.
    - `fields`: what `set_webhook` asks for, by Meta's names: "messages" unless set.
    - `name`: the channel's, "whatsapp" unless set: the first part of its sessions' ids.
    - `path`: of the webhook, the name after a slash unless set.
    - `version`, `proof`, `server`, `http`, `timeout`, `retry_within`: see `GraphClient`.
    """

    # 80 of each number, says Meta, with what comes in. (Of one that is in the app as well, 20.)
    sends_per_second = 60.0
    subject = "whatsapp_business_account"
    variables = "WHATSAPP"
    client: WhatsAppClient

    def __init__(  # noqa: PLR0913 - each may be left out
        self,
        token: str,
        *,
        phone_number_id: str,
        app_secret: str,
        verify_token: str | None = None,
        waba_id: str | None = None,
        app_id: str | None = None,
        tokens: Mapping[str, str] | None = None,
        identify_by: IdentifyBy = "user_id",
        fields: Sequence[str] = FIELDS,
        name: str = "whatsapp",
        path: str | None = None,
        version: str = VERSION,
        proof: bool = True,
        server: str = OFFICIAL,
        http: Any = None,
        timeout: float | timedelta = 30.0,
        retry_within: float | timedelta = 30.0,
    ) -> None:
        if not isinstance(phone_number_id, str) or not phone_number_id.isdecimal():
            message = "The id of a phone number is a text of digits: not the number itself."
            raise ConfigurationError(message)
        if identify_by not in {"user_id", "phone"}:
            message = f"identify_by must be 'user_id' or 'phone', not {identify_by!r}."
            raise ConfigurationError(message)
        ids = {"phone_number_id": phone_number_id, "waba_id": waba_id}
        client = WhatsAppClient(
            token,
            channel=name,
            tokens=tokens,
            ids={key: value for key, value in ids.items() if value is not None},
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
        self._number = phone_number_id
        self._waba_id = waba_id
        self._identify_by: IdentifyBy = identify_by

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> WhatsAppChannel:
        """By WHATSAPP_TOKEN, WHATSAPP_PHONE_NUMBER_ID, WHATSAPP_APP_SECRET, and some more.

        Those that may be left out are WHATSAPP_VERIFY_TOKEN, WHATSAPP_WABA_ID, WHATSAPP_APP_ID and
        WHATSAPP_SERVER.

        Raises `ConfigurationError`.
        """
        number = "the id of the phone number, as the app's dashboard shows it"
        return cls(
            variable(environ, "WHATSAPP_TOKEN", "the access token of a system user"),
            phone_number_id=variable(environ, "WHATSAPP_PHONE_NUMBER_ID", number),
            app_secret=variable(environ, "WHATSAPP_APP_SECRET", "the secret of the app"),
            verify_token=environ.get("WHATSAPP_VERIFY_TOKEN") or None,
            waba_id=environ.get("WHATSAPP_WABA_ID") or None,
            app_id=environ.get("WHATSAPP_APP_ID") or None,
            server=environ.get("WHATSAPP_SERVER") or OFFICIAL,
        )

    def events_of(self, entry: Json) -> Sequence[Event]:
        """See `MetaChannel.events_of`."""
        return list(events_of(entry, channel=self.name, identify_by=self._identify_by))

    async def set_webhook(self, url: str, **params: Any) -> None:
        """See `MetaChannel.set_webhook`. It needs a `waba_id` as well."""
        # Or else Meta would know where, and never send anything.
        self.needed(self._waba_id, "waba_id", "the id of the WhatsApp Business Account")
        await super().set_webhook(url, **params)

    async def subscribe(self) -> None:
        """Let Meta send what happens to the account."""
        await self.client.subscribe_app()

    # What the bot says.

    async def send_text(self, context: Context[Any], text: str) -> None:
        """Say `text`, in several messages if it is longer than one of WhatsApp may be."""
        for part in parts_of(text, LONGEST):
            await self.send_message(context, type="text", text={"body": part})

    async def typing(self, context: Context[Any]) -> None:
        """Show for 25 seconds, or until the bot says something, that it is typing.

        This marks the message as read. Where the turn is not about a message, nothing is shown.
        """
        raw = context.event.raw
        said = objects_in(raw, "messages") if isinstance(raw, dict) else []
        message_id = text_in(said[0], "id") if said else None
        if message_id is not None:
            number = self._place(context).number or None
            indicator = {"type": "text"}
            await self.client.mark_as_read(
                message_id, phone_number_id=number, typing_indicator=indicator
            )

    async def send_message(self, context: Context[Any], /, **params: Any) -> Any:
        """Send a message as the Cloud API has it: `send_message(type="text", text={…})`.

        To answer a certain message, `context={"message_id": …}` is one of the parameters.
        """
        place = self._place(context)
        told = {"phone_number_id": place.number or None, **place.params}
        return await self.client.send_message(**{**told, **params})

    async def send_template(
        self, context: Context[Any], name: str, /, *, language: str = "en_US", **template: Any
    ) -> Any:
        """Send a template, as may be done at any time: `components=[…]` fills it in."""
        told = {"name": name, "language": {"code": language}, **template}
        return await self.send_message(context, type="template", template=told)

    def sender(self, name: str) -> Callable[..., Awaitable[Any]] | None:
        """`send_image` and the like, one for each type of message, beside the class's methods.

        Their parameters are the fields of the type. Of media the first may be an address, the id of
        what was uploaded, or an `InputFile`, which is uploaded then; of contacts it is the list.
        """
        kind = name.removeprefix("send_")
        if kind in TYPES:
            return partial(self._send, kind)
        return super().sender(name)

    def address_of(self, key: str) -> str | None:
        """A person, by phone number or user id, or a group, from the channel's own number."""
        place = Place.of_key(key, self._number)
        return None if place is None else str(place)

    async def _send(
        self, kind: str, context: Context[Any], what: Any = None, /, **fields: Any
    ) -> Any:
        content: Any = fields
        if isinstance(what, InputFile):
            number = self._place(context).number or None
            content = {"id": await self.client.upload_media(what, phone_number_id=number), **fields}
        elif kind in MEDIA and isinstance(what, str):
            is_link = what.startswith(("https://", "http://"))
            content = {"link" if is_link else "id": what, **fields}
        elif what is not None:
            content = what
        return await self.send_message(context, **{"type": kind, kind: content})

    def _place(self, context: Context[Any]) -> Place:
        return Place.of(self.address_in(context, "to=…"))
