"""FakeMessenger: Messenger's side of a bot, for tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from barback.channels.httpx2_http import past_proxies
from barback.channels.messenger import MessengerChannel
from barback.channels.messenger.client import LONGEST
from barback.channels.texts import units
from barback.testing.meta import FakeMeta, graph_done, graph_error, now, numbers
from barback.testing.methods import PAGE as EDGES

if TYPE_CHECKING:
    from barback.channels.http import HttpAnswer
    from barback.testing.platform import Call, Delivery

__all__ = ["FakeMessenger"]

PAGE: Final = "682498302938465"
ATTACHMENTS: Final = {"image", "audio", "video", "file", "template"}
TYPES: Final = {"RESPONSE", "UPDATE", "MESSAGE_TAG"}


class FakeMessenger(FakeMeta):
    """Messenger on 127.0.0.1: it posts signed webhooks, and is called as the Send API is.

    - `page`: the page that people talk to. `token`, `app_id`, `app_secret`: see `FakeMeta`.
    - `silent`: people who have not written for so long that nothing can be said to them without a
      tag: Meta's policy says how long that is, mostly 24 hours.

    People are texts of digits, as Messenger has them.
    """

    def __init__(self, *, page: str = PAGE, **options: Any) -> None:
        super().__init__(**options)
        self.page = page
        self.silent: set[str] = set()

    def channel(self, **options: Any) -> MessengerChannel:
        """A channel that calls this instead of Messenger."""
        told = {"app_secret": self.app_secret, "server": self.url, "http": past_proxies}
        return MessengerChannel(self.token, **{**told, **options})

    def environment(self) -> dict[str, str]:
        """See `FakePlatform.environment`."""
        return {
            "MESSENGER_TOKEN": self.token,
            "MESSENGER_APP_SECRET": self.app_secret,
            "MESSENGER_SERVER": self.url,
        }

    # What people do.

    async def say(self, text: str, *, user: str = "42", times: int = 1, **more: Any) -> Delivery:
        """Somebody says something to the page; see `deliver` for `times`."""
        return await self.deliver(self.entry(self.message(user, text=text, **more)), times=times)

    async def press(
        self, payload: str, *, user: str = "42", title: str = "Yes", times: int = 1
    ) -> Delivery:
        """Somebody presses a button that carries `payload`; see `deliver` for `times`."""
        pressed = {"mid": f"m_{next(numbers)}", "title": title, "payload": payload}
        return await self.deliver(self.entry(self.event(user, postback=pressed)), times=times)

    def entry(self, *events: dict[str, Any], part: str = "messaging") -> dict[str, Any]:
        """A webhook of these events, or of what stands in another part: `part="standby"`."""
        return {
            "object": "page",
            "entry": [{"id": self.page, "time": now(), part: list(events)}],
        }

    def message(self, user: str = "42", **fields: Any) -> dict[str, Any]:
        """A message of somebody's: `message(text="Hi")`."""
        return self.event(user, message={"mid": f"m_{next(numbers)}", **fields})

    def event(self, user: str = "42", **kind: Any) -> dict[str, Any]:
        """Something that somebody did: `event(read={"watermark": 1458668856253})`."""
        people = {"sender": {"id": user}, "recipient": {"id": self.page}}
        return {**people, "timestamp": now(), **kind}

    # What the bot has said.

    def texts(self, chat: str) -> list[str]:
        """What the bot has said to somebody, in order."""
        sent = [
            call for page in ("me", self.page) for call in self.called(f"POST /{page}/messages")
        ]
        return [
            call.params["message"]["text"]
            for call in sorted(sent, key=lambda call: call.at)
            if call.params["recipient"] == {"id": chat} and "text" in call.params.get("message", {})
        ]

    async def called_with(self, verb: str, own: str, edge: str, call: Call) -> HttpAnswer:
        """See `FakeMeta.called_with`."""
        if own not in {"me", self.page}:
            if verb == "GET" and not edge:
                return graph_done({"id": own, "first_name": f"Person {own}"})
            return graph_error(400, 100, f"Object with ID {own!r} does not exist", subcode=33)
        if verb == "POST" and edge == "messages":
            return self._send(call.params, has_file="filedata" in call.files)
        return self.done_if(EDGES, verb, own, edge)

    def _send(self, params: dict[str, Any], *, has_file: bool) -> HttpAnswer:
        recipient = params.get("recipient")
        person = recipient.get("id", "") if isinstance(recipient, dict) else ""
        if not isinstance(person, str) or not person.isdecimal():
            return graph_error(400, 100, "(#100) Param recipient[id] must be a valid ID string")
        if "sender_action" in params:
            return graph_done({"recipient_id": person})
        if params.get("messaging_type") not in TYPES:
            return graph_error(400, 100, "(#100) Param messaging_type must be one of its kinds")
        if person in self.silent and params["messaging_type"] != "MESSAGE_TAG":
            words = "(#10) This message is sent outside of allowed window."
            return graph_error(400, 10, words, subcode=2018278)
        complaint = _complaint(params.get("message"), has_file=has_file)
        if complaint is not None:
            return graph_error(400, 100, f"(#100) {complaint}")
        return graph_done({"recipient_id": person, "message_id": f"m_{next(numbers)}"})


def _complaint(message: Any, *, has_file: bool) -> str | None:
    """What is wrong with a message; nothing, if it is None."""
    if not isinstance(message, dict) or not message:
        return "The parameter message is required"
    text = message.get("text")
    if text is not None and (not isinstance(text, str) or not text.strip()):
        return "Message cannot be empty, must provide valid attachment or text"
    if text is not None and units(text) > LONGEST:
        return "Length of param message[text] must be less than or equal to 2000"
    if "attachment" in message:
        return _complaint_of(message["attachment"], has_file=has_file)
    if text is None:
        return "Message cannot be empty, must provide valid attachment or text"
    return None


def _complaint_of(attachment: Any, *, has_file: bool) -> str | None:
    kind = attachment.get("type") if isinstance(attachment, dict) else None
    payload = attachment.get("payload") if kind in ATTACHMENTS else None
    if not isinstance(payload, dict):
        return "An attachment has a type, which is one of its kinds, and a payload"
    is_there = has_file or payload.get("url") or payload.get("attachment_id")
    return (
        None
        if is_there or kind == "template"
        else "An attachment needs an address, an id or a file"
    )
