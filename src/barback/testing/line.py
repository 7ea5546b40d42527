"""FakeLine: LINE's side of a bot, for tests."""

from __future__ import annotations

import hmac
import itertools
import re
import time
from base64 import b64encode
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit
from uuid import UUID

import msgspec

from barback.channels.http import HttpAnswer, HttpRequest
from barback.channels.httpx2_http import past_proxies
from barback.channels.line import LineChannel
from barback.channels.line.client import LONGEST, MOST, RETRY_KEY
from barback.channels.line.operations import operation_at
from barback.channels.texts import units
from barback.testing.platform import Call, Delivery, FakePlatform

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["FakeLine", "line_error"]

TOKEN: Final = "a-token-that-is-no-secret/+="  # noqa: S105 - it opens nothing
SECRET: Final = "a-secret-that-is-none"  # noqa: S105 - it opens nothing
SOMEBODY: Final = f"U{1:032x}"
PLACE: Final = re.compile(r"[CRU][0-9a-f]{32}")
PERSON: Final = re.compile(r"U[0-9a-f]{32}")
TYPES: Final = frozenset(
    {
        "audio",
        "coupon",
        "flex",
        "image",
        "imagemap",
        "location",
        "sticker",
        "template",
        "text",
        "textV2",
        "video",
    }
)
"""Types of messages: `Message` in https://github.com/line/line-openapi, messaging-api.yml."""
MOST_TO: Final = 500

numbers = itertools.count(1)  # of events, messages and tokens, for all fakes of a process


def line_error(status: int, message: str = "an error", **details: str) -> HttpAnswer:
    """An answer as LINE gives it to what it does not do: `line_error(400, text="Too long")`."""
    told: dict[str, Any] = {"message": message}
    if details:
        told["details"] = [{"property": name, "message": text} for name, text in details.items()]
    return _answer(status, told)


class FakeLine(FakePlatform):
    """LINE on 127.0.0.1: it posts signed events, and is called as the Messaging API is.

    - `token`, `secret`: the bot's; `channel()` makes a channel that knows them, and where this is.
    - `reply_within`: seconds for which a reply token is good.
    - `contents`: what people have sent as files, by the id of their message.

    People, groups and rooms are a letter, U, C or R, and 32 digits as in `0123456789abcdef`.
    """

    def __init__(
        self, *, token: str = TOKEN, secret: str = SECRET, webhook: str | None = None
    ) -> None:
        super().__init__(webhook)
        self.token = token
        self.secret = secret
        self.reply_within = 60.0
        self.contents: dict[str, bytes] = {}
        self._tokens: dict[str, tuple[str, float]] = {}
        self._used: set[str] = set()
        self._accepted: dict[str, dict[str, Any]] = {}

    def channel(self, **options: Any) -> LineChannel:
        """A channel that calls this instead of LINE."""
        return LineChannel(
            self.token, self.secret, server=self.url, **{"http": past_proxies, **options}
        )

    def environment(self) -> dict[str, str]:
        """See `FakePlatform.environment`."""
        return {
            "LINE_CHANNEL_ACCESS_TOKEN": self.token,
            "LINE_CHANNEL_SECRET": self.secret,
            "LINE_SERVER": self.url,
        }

    # What people do.

    async def say(
        self,
        text: str,
        *,
        user: str | None = SOMEBODY,
        chat: str | None = None,
        times: int = 1,
        **more: Any,
    ) -> Delivery:
        """Somebody says something, in private or in a group or room; see `deliver` for `times`.

        LINE tells of a member of a group who it is only where they allow for it: `user` is None.
        """
        message = {"id": str(next(numbers)), "type": "text", "text": text, "quoteToken": "q"}
        told = self.event("message", user=user, chat=chat, message={**message, **more})
        return await self.deliver(self.body(told), times=times)

    async def press(
        self,
        data: str,
        *,
        user: str = SOMEBODY,
        chat: str | None = None,
        times: int = 1,
        **params: str,
    ) -> Delivery:
        """Somebody presses a button of the bot's, with this `data`; see `deliver` for `times`."""
        postback = {"data": data, **({"params": params} if params else {})}
        told = self.event("postback", user=user, chat=chat, postback=postback)
        return await self.deliver(self.body(told), times=times)

    def event(
        self,
        kind: str,
        *,
        user: str | None = SOMEBODY,
        chat: str | None = None,
        can_be_answered: bool = True,
        **fields: Any,
    ) -> dict[str, Any]:
        """An event of one kind, with an id and, unless it cannot be answered, a reply token."""
        number = next(numbers)
        told = {
            "type": kind,
            "mode": "active",
            "timestamp": int(time.time() * 1000),
            "source": self.source(user, chat),
            "webhookEventId": f"01G{number:023d}",
            "deliveryContext": {"isRedelivery": False},
            **fields,
        }
        where = chat or user
        if can_be_answered and where is not None:
            told["replyToken"] = f"{number:032x}"
            self._tokens[told["replyToken"]] = (where, time.monotonic())
        return told

    def source(self, user: str | None, chat: str | None = None) -> dict[str, str]:
        """Who did something, and where."""
        who = {} if user is None else {"userId": user}
        if chat is None:
            return {"type": "user", **who}
        kind = "group" if chat.startswith("C") else "room"
        return {"type": kind, f"{kind}Id": chat, **who}

    def body(self, *events: dict[str, Any]) -> dict[str, Any]:
        """What is posted to a webhook: events, or none."""
        return {"destination": f"U{0:032x}", "events": list(events)}

    # What the bot has said.

    def texts(self, chat: str) -> list[str]:
        """What the bot has said to a person, or in a group or room, in order."""
        said = self.messages(chat)
        return [message["text"] for message in said if message["type"] == "text"]

    def messages(self, chat: str) -> list[dict[str, Any]]:
        """The message objects that the bot has sent there, in order."""
        accepted = [call for call in self.calls if 200 <= call.status < 300]
        return [
            message
            for call in accepted
            if chat in self._recipients(call)
            for message in call.params["messages"]
        ]

    def _recipients(self, call: Call) -> list[str]:
        if call.method == "replyMessage":
            return [self._tokens[call.params["replyToken"]][0]]
        if call.method == "pushMessage":
            return [call.params["to"]]
        return list(call.params["to"]) if call.method == "multicast" else []

    # Its side of the Messaging API.

    def read(self, request: HttpRequest) -> Call:
        """See `FakePlatform.read`. A retry key is the parameter `retryKey`."""
        target = urlsplit(request.url)
        found = operation_at(request.method, target.path)
        if found is None:
            return Call(method=f"{request.method} {target.path}")
        in_path = found.values_in(target.path) or {}
        params: dict[str, Any] = {name: unquote(value) for name, value in in_path.items()}
        params.update(parse_qsl(target.query))
        if RETRY_KEY in request.headers:
            params["retryKey"] = request.headers[RETRY_KEY]
        if "json" in found.marks:
            params.update(msgspec.json.decode(request.body))
        elif "form" in found.marks:
            params.update(parse_qsl(request.body.decode()))
        files = {"file": request.body} if "file" in found.marks else {}
        return Call(method=found.name, params=params, files=files)

    async def answer(self, call: Call, request: HttpRequest) -> HttpAnswer:
        """See `FakePlatform.answer`."""
        if call.method.partition(" ")[1]:
            return line_error(404, "Not found")
        known = operation_at(request.method, urlsplit(request.url).path)
        marks = frozenset() if known is None else known.marks
        if "form" not in marks and request.headers.get("authorization") != f"Bearer {self.token}":
            return line_error(401, "Authentication failed. Confirm that the access token is valid.")
        if "retryKey" in call.params:
            if "retry" not in marks or not _is_uuid(call.params["retryKey"]):
                return line_error(400, "The retry key is invalid")
            if call.params["retryKey"] in self._accepted:
                before = self._accepted[call.params["retryKey"]]
                return _answer(409, {"message": "The retry key is already accepted", **before})
        if call.method == "testWebhookEndpoint":
            return await self._test_webhook()
        return self._done(call)

    def signed(self, body: bytes) -> dict[str, str]:
        """See `FakePlatform.signed`."""
        digest = hmac.digest(self.secret.encode(), body, "sha256")
        return {
            "content-type": "application/json; charset=utf-8",
            "x-line-signature": b64encode(digest).decode(),
        }

    def _done(self, call: Call) -> HttpAnswer:
        special = self._specials().get(call.method)
        result = {} if special is None else special(call.params)
        if isinstance(result, HttpAnswer):
            return result
        if "retryKey" in call.params:
            self._accepted[call.params["retryKey"]] = result
        return _answer(200, result)

    def _specials(self) -> dict[str, Callable[[dict[str, Any]], Any]]:
        """What does more, or says more, than that it is done."""
        return {
            "replyMessage": self._reply,
            "pushMessage": self._push,
            "multicast": self._multicast,
            "broadcast": partial(self._refused_or_sent, told=False),
            "showLoadingAnimation": _show_loading,
            "setWebhookEndpoint": self._set_webhook,
            "getWebhookEndpoint": self._webhook_info,
            "getMessageContent": self._content,
            "getBotInfo": lambda _: {"userId": f"U{0:032x}", "displayName": "Bot"},
            "getProfile": lambda params: {
                "userId": params["userId"],
                "displayName": f"Person {params['userId']}",
            },
        }

    def _reply(self, params: dict[str, Any]) -> Any:
        token = params.get("replyToken", "")
        _, since = self._tokens.get(token, ("", float("-inf")))
        if token in self._used or time.monotonic() - since > self.reply_within:
            return line_error(400, "Invalid reply token")
        result = self._refused_or_sent(params)
        if not isinstance(result, HttpAnswer):
            self._used.add(token)
        return result

    def _push(self, params: dict[str, Any]) -> Any:
        if PLACE.fullmatch(str(params.get("to"))) is None:
            return line_error(400, "The property, 'to', in the request body is invalid")
        return self._refused_or_sent(params)

    def _multicast(self, params: dict[str, Any]) -> Any:
        to = params.get("to")
        people = to if isinstance(to, list) else []
        if not 0 < len(people) <= MOST_TO or not all(PERSON.fullmatch(one) for one in people):
            return line_error(400, "The property, 'to', in the request body is invalid")
        return self._refused_or_sent(params, told=False)

    def _refused_or_sent(self, params: dict[str, Any], *, told: bool = True) -> Any:
        messages = params.get("messages")
        if not isinstance(messages, list) or not 0 < len(messages) <= MOST:
            return line_error(
                400, "The request body has 1 error(s)", messages="Size must be 1 to 5"
            )
        for place, message in enumerate(messages):
            if not isinstance(message, dict) or message.get("type") not in TYPES:
                return _wrong(f"messages[{place}].type", "Must be one of the types of messages")
            text = message.get("text") if message.get("type") == "text" else "-"
            if not isinstance(text, str) or not text:
                return _wrong(f"messages[{place}].text", "May not be empty")
            if units(text) > LONGEST:
                return _wrong(f"messages[{place}].text", f"Length must be 0 to {LONGEST}")
        sent = [{"id": str(next(numbers)), "quoteToken": "q"} for _ in messages]
        return {"sentMessages": sent} if told else {}

    def _set_webhook(self, params: dict[str, Any]) -> Any:
        self.webhook = params["endpoint"]
        return {}

    def _webhook_info(self, _: dict[str, Any]) -> Any:
        if self.webhook is None:
            return line_error(404, "Webhook endpoint not found")
        return {"endpoint": self.webhook, "active": True}

    async def _test_webhook(self) -> HttpAnswer:
        if self.webhook is None:
            return line_error(404, "Webhook endpoint not found")
        delivery = await self.post(msgspec.json.encode(self.body()))
        reason = "OK" if delivery.accepted else "ERROR_STATUS_CODE"
        told = {"success": delivery.accepted, "statusCode": delivery.status, "reason": reason}
        return _answer(200, {**told, "timestamp": "", "detail": str(delivery.status)})

    def _content(self, params: dict[str, Any]) -> HttpAnswer:
        content = self.contents.get(params["messageId"])
        if content is None:
            return line_error(404, "not found")
        return HttpAnswer(200, {"content-type": "image/jpeg"}, content)


def _show_loading(params: dict[str, Any]) -> Any:
    seconds = params.get("loadingSeconds", 20)
    if PERSON.fullmatch(str(params.get("chatId"))) is None:
        return line_error(400, "The property, 'chatId', in the request body is invalid")
    if seconds not in range(5, 61, 5):
        return _wrong("loadingSeconds", "Must be a multiple of 5, from 5 to 60")
    return _answer(202, {})


def _wrong(name: str, message: str) -> HttpAnswer:
    return line_error(400, "The request body has 1 error(s)", **{name: message})


def _answer(status: int, told: dict[str, Any]) -> HttpAnswer:
    headers = {"content-type": "application/json", "x-line-request-id": f"request-{next(numbers)}"}
    return HttpAnswer(status, headers, msgspec.json.encode(told))


def _is_uuid(text: str) -> bool:
    try:
        return str(UUID(text)) == text.lower()
    except ValueError:
        return False
