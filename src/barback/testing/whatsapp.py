"""FakeWhatsApp: WhatsApp's side of a bot, for tests."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from barback.channels.http import HttpAnswer
from barback.channels.httpx2_http import past_proxies
from barback.channels.texts import units
from barback.channels.whatsapp import WhatsAppChannel
from barback.channels.whatsapp.channel import MEDIA
from barback.channels.whatsapp.channel import TYPES as CONTENTS
from barback.channels.whatsapp.client import LONGEST
from barback.testing.meta import FakeMeta, graph_done, graph_error, now, numbers
from barback.testing.methods import NUMBER as NUMBERS
from barback.testing.methods import WABA

if TYPE_CHECKING:
    from collections.abc import Sequence

    from barback.testing.platform import Call, Delivery

__all__ = ["FakeWhatsApp"]

ACCOUNT: Final = "102290129340398"
NUMBER: Final = "106540352242922"
DISPLAYED: Final = "15550783881"
TYPES: Final = CONTENTS | {"text", "template"}
PHONE: Final = re.compile(r"\+?[\d ()-]{6,32}")
BY_ID: Final = ("to", "recipient")


class FakeWhatsApp(FakeMeta):
    """WhatsApp on 127.0.0.1: it posts signed webhooks, and is called as the Cloud API is.

    - `number`, `account`: the ids of the business's phone number and account. `token`, `app_id`,
      `app_secret`: see `FakeMeta`.
    - `silent`: people who have not written for 24 hours: they get templates only.
    - `media`: files that were uploaded, or that people have sent, by their ids.

    People are phone numbers, as texts of digits. WhatsApp calls each by an id of the business's own
    as well, which `user_id` makes of the number: sessions go by that.
    """

    def __init__(self, *, number: str = NUMBER, account: str = ACCOUNT, **options: Any) -> None:
        super().__init__(**options)
        self.number = number
        self.account = account
        self.silent: set[str] = set()
        self.media: dict[str, bytes] = {}

    def channel(self, **options: Any) -> WhatsAppChannel:
        """A channel that calls this instead of WhatsApp."""
        own = {"phone_number_id": self.number, "waba_id": self.account, "http": past_proxies}
        told = {**own, "app_secret": self.app_secret, "server": self.url, **options}
        return WhatsAppChannel(self.token, **told)

    def environment(self) -> dict[str, str]:
        """See `FakePlatform.environment`."""
        return {
            "WHATSAPP_TOKEN": self.token,
            "WHATSAPP_PHONE_NUMBER_ID": self.number,
            "WHATSAPP_WABA_ID": self.account,
            "WHATSAPP_APP_SECRET": self.app_secret,
            "WHATSAPP_SERVER": self.url,
        }

    def user_id(self, user: str) -> str:
        """What WhatsApp calls somebody, for this business alone."""
        return f"US.9{user}"

    # What people do.

    async def say(
        self,
        text: str,
        *,
        user: str = "16505551234",
        group: str | None = None,
        times: int = 1,
        **more: Any,
    ) -> Delivery:
        """Somebody says something, in private or in a group; see `deliver` for `times`."""
        said = self.message(user, group=group, type="text", text={"body": text}, **more)
        return await self.deliver(self.entry(user, messages=[said]), times=times)

    async def press(
        self, payload: str, *, user: str = "16505551234", title: str = "Yes", times: int = 1
    ) -> Delivery:
        """Somebody presses a button under a message of the bot's, which carries `payload`.

        See `deliver` for `times`.
        """
        reply = {"type": "button_reply", "button_reply": {"id": payload, "title": title}}
        pressed = self.message(user, type="interactive", interactive=reply)
        return await self.deliver(self.entry(user, messages=[pressed]), times=times)

    async def report(self, message_id: str, status: str, *, user: str, **more: Any) -> Delivery:
        """WhatsApp tells what became of a message of the bot's: `report(id, "read", user=…)`."""
        told = {
            "id": message_id,
            "status": status,
            "timestamp": str(now() // 1000),
            "recipient_id": user,
            "recipient_user_id": self.user_id(user),
            **more,
        }
        return await self.deliver(self.entry(user, statuses=[told]))

    def entry(
        self, user: str | None = None, *, field: str = "messages", **value: Sequence[Any]
    ) -> dict[str, Any]:
        """A webhook of one change: `entry(user, messages=[…])`; of nobody where no user is told."""
        told: dict[str, Any] = {
            "messaging_product": "whatsapp",
            "metadata": {"display_phone_number": DISPLAYED, "phone_number_id": self.number},
        }
        if user is not None:
            profile = {"name": f"Person {user}"}
            own = {"wa_id": user, "user_id": self.user_id(user)}
            told["contacts"] = [{"profile": profile, **own}]
        change = {"field": field, "value": {**told, **value}}
        return {
            "object": "whatsapp_business_account",
            "entry": [{"id": self.account, "changes": [change]}],
        }

    def message(
        self, user: str = "16505551234", *, group: str | None = None, **fields: Any
    ) -> dict[str, Any]:
        """A message of somebody's: `message(type="image", image={…})`."""
        return {
            "from": user,
            "from_user_id": self.user_id(user),
            "id": f"wamid.{next(numbers)}",
            "timestamp": str(now() // 1000),
            **({} if group is None else {"group_id": group}),
            **fields,
        }

    # What the bot has said.

    def texts(self, chat: str) -> list[str]:
        """What the bot has said to somebody, or in a group, in order."""
        known = {chat, self.user_id(chat)}
        return [
            call.params["text"]["body"]
            for call in self.called(f"POST /{self.number}/messages")
            if "text" in call.params and known & {call.params.get(each) for each in BY_ID}
        ]

    async def called_with(self, verb: str, own: str, edge: str, call: Call) -> HttpAnswer:
        """See `FakeMeta.called_with`."""
        if (verb, own) == ("GET", "files"):
            return HttpAnswer(200, {"content-type": "image/png"}, self.media[edge])
        if own == self.number and (verb, edge) == ("POST", "media"):
            return self._upload(call)
        if own == self.number and (verb, edge) == ("POST", "messages"):
            return self._send(call.params)
        if own in self.media and verb == "GET":
            where = {"url": f"{self.url}/files/{own}", "mime_type": "image/png"}
            return graph_done({"messaging_product": "whatsapp", "id": own, **where})
        if own in {self.number, self.account}:
            return self.done_if(NUMBERS if own == self.number else WABA, verb, own, edge)
        words = f"Unsupported {verb} request. Object with ID {own!r} does not exist"
        return graph_error(400, 100, words, subcode=33)

    def _upload(self, call: Call) -> HttpAnswer:
        if call.params.get("messaging_product") != "whatsapp" or "type" not in call.params:
            return graph_error(400, 100, "(#100) The parameter messaging_product is required.")
        own = str(next(numbers))
        self.media[own] = call.files["file"]
        return graph_done({"id": own})

    def _send(self, params: dict[str, Any]) -> HttpAnswer:
        if params.get("messaging_product") != "whatsapp":
            return graph_error(400, 100, "(#100) The parameter messaging_product is required.")
        if params.get("status") == "read":
            known = str(params.get("message_id", "")).startswith("wamid.")
            return graph_done({"success": True}) if known else graph_error(400, 100, "(#100)")
        told = params.get("to") or params.get("recipient")
        kind = params.get("type", "text")
        if words := _complaint_of_place(params) or _complaint(kind, params.get(kind)):
            return graph_error(400, 100, f"(#100) {words}")
        if told in self.silent and kind != "template":
            details = "More than 24 hours have passed since the recipient last replied"
            data = {"messaging_product": "whatsapp", "details": details}
            return graph_error(400, 131047, "(#131047) Re-engagement message", error_data=data)
        return graph_done(
            {
                "messaging_product": "whatsapp",
                "contacts": [{"input": told, "wa_id": told}],
                "messages": [{"id": f"wamid.{next(numbers)}"}],
            }
        )


def _complaint_of_place(params: dict[str, Any]) -> str | None:
    """What is wrong with where a message is to go; nothing, if it is None."""
    to = params.get("to")
    if not to:
        return None if params.get("recipient") else "The parameter to is required."
    is_known = params.get("recipient_type") == "group" or PHONE.fullmatch(str(to))
    return None if is_known else "Param to must be a phone number"


def _complaint(kind: str, content: Any) -> str | None:
    """What is wrong with a message; nothing, if it is None."""
    if kind not in TYPES:
        return "Param type must be one of its types"
    if not content or (kind in MEDIA and not (content.get("id") or content.get("link"))):
        return f"The parameter {kind} is required."
    if kind == "text":
        body = content.get("body", "")
        if not body.strip():
            return "The parameter text['body'] is required."
        if units(body) > LONGEST:
            return "Param text['body'] must be at most 4096 characters long."
    if kind == "template" and not (content.get("name") and content.get("language", {}).get("code")):
        return "The parameter template['name'] is required."
    return None
