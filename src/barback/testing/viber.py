"""FakeViber: Viber's side of a bot, for tests."""

from __future__ import annotations

import hmac
import itertools
import time
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

import msgspec

from barback.channels.http import HttpAnswer, HttpRequest
from barback.channels.httpx2_http import past_proxies
from barback.channels.texts import units
from barback.channels.viber import ViberChannel
from barback.channels.viber.client import LONGEST, NAME
from barback.testing.platform import Call, Delivery, FakePlatform

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

__all__ = ["FakeViber", "viber_error"]

TOKEN: Final = "a-token-that-is-no-secret"  # noqa: S105 - it opens nothing
PERSON: Final = "01234567890A="
LARGEST: Final = 30 * 1024  # bytes of a request
MOST_AT_ONCE: Final = 300  # people of a broadcast
NEEDED: Final[dict[Any, tuple[str, ...]]] = {
    "text": (),
    "picture": ("media",),
    "video": ("media", "size"),
    "file": ("media", "size", "file_name"),
    "location": ("location",),
    "contact": ("contact",),
    "sticker": ("sticker_id",),
    "url": ("media",),
    "rich_media": ("rich_media",),
}
"""Types of messages, and what each must have."""
BAD_DATA: Final = (3, "badData")
MISSING_DATA: Final = (4, "missingData")
NOT_SUBSCRIBED: Final = (6, "receiverNotSubscribed")

tokens = itertools.count(4912661846655238145)  # of callbacks and messages, of all fakes


def viber_error(status: int, status_message: str = "an error") -> HttpAnswer:
    """An answer as Viber gives it to what it does not do: 200, and a status of its own."""
    return _told({"status": status, "status_message": status_message})


class FakeViber(FakePlatform):
    """Viber on 127.0.0.1: it posts signed callbacks, and is called as its REST API is.

    - `token`: the bot's; `channel()` makes a channel that knows it, and where this is.
    - `webhook`: as `set_webhook` sets it. A bot may do that itself: it is called meanwhile.

    People are ids, as Viber has them: "01234567890A=". A bot may send to those who have said
    something, or subscribed (`subscribers`), and to who has only started a conversation what it
    answers to that.
    """

    def __init__(self, *, token: str = TOKEN, webhook: str | None = None) -> None:
        super().__init__(webhook)
        self.token = token
        self.subscribers: set[str] = set()
        """Whom the bot may send to."""
        self.wanted: dict[str, Any] = {}
        """What else `set_webhook` was told."""
        self._said: list[tuple[str, str]] = []

    def channel(self, **options: Any) -> ViberChannel:
        """A channel that calls this instead of Viber."""
        options = {"sender_name": "Bot", "http": past_proxies, **options}
        return ViberChannel(self.token, server=self.url, **options)

    def environment(self) -> dict[str, str]:
        """See `FakePlatform.environment`."""
        return {
            "VIBER_TOKEN": self.token,
            "VIBER_SENDER_NAME": "Bot",
            "VIBER_SERVER": self.url,
        }

    # What people do.

    async def say(self, text: str, *, user: str = PERSON, times: int = 1, **more: Any) -> Delivery:
        """Somebody says something; see `deliver` for `times`. `more`: of the callback."""
        message = {"type": "text", "text": text}
        return await self.send(message, user=user, times=times, **more)

    async def send(
        self, message: dict[str, Any], *, user: str = PERSON, times: int = 1, **more: Any
    ) -> Delivery:
        """Somebody sends a message of any type: `{"type": "picture", "media": "https://…"}`."""
        self.subscribers.add(user)
        callback = self.callback("message", sender=self.person(user), message=message, **more)
        return await self.deliver(callback, times=times)

    async def press(self, body: str, *, user: str = PERSON, times: int = 1) -> Delivery:
        """Somebody presses a button that has `Silent`; one that has not is as if they said it.

        See `deliver` for `times`.
        """
        return await self.say(body, user=user, times=times, silent=True)

    async def start(self, *, user: str = PERSON, context: str | None = None) -> Delivery:
        """Somebody opens the conversation, perhaps by a link with a context.

        What the bot says in its answer is among its `texts`. Raises `AssertionError` if Viber
        would not take it.
        """
        more = {} if context is None else {"context": context}
        subscribed = user in self.subscribers
        delivery = await self.deliver(
            self.callback(
                "conversation_started",
                type="open",
                user=self.person(user),
                subscribed=subscribed,
                **more,
            )
        )
        if delivery.body:
            welcome = msgspec.json.decode(delivery.body)
            assert not subscribed, "who has subscribed is sent messages"
            assert _fault(welcome, delivery.body) is None, "the welcome is no message"
            self._said.append((user, welcome.get("text", "")))
        return delivery

    async def subscribe(self, *, user: str = PERSON) -> Delivery:
        """Somebody subscribes, without a word."""
        self.subscribers.add(user)
        return await self.deliver(self.callback("subscribed", user=self.person(user)))

    async def unsubscribe(self, *, user: str = PERSON) -> Delivery:
        """Somebody wants to hear no more."""
        self.subscribers.discard(user)
        return await self.deliver(self.callback("unsubscribed", user_id=user))

    def callback(self, event: str, **fields: Any) -> dict[str, Any]:
        """A callback of one kind, with a token of its own: `callback("seen", user_id="…")`."""
        return {
            "event": event,
            "timestamp": int(time.time() * 1000),
            "chat_hostname": "SN-CHAT-05_",
            "message_token": next(tokens),
            **fields,
        }

    def person(self, user: str) -> dict[str, Any]:
        """A user, as callbacks have them."""
        return {"id": user, "name": f"Person {user}", "language": "en", "api_version": 10}

    # What the bot has said.

    def texts(self, chat: str) -> list[str]:
        """What the bot has said to a person, in order."""
        return [text for person, text in self._said if person == chat]

    # Its side of the API.

    def read(self, request: HttpRequest) -> Call:
        """See `FakePlatform.read`."""
        method = request.url.rpartition("/")[2]
        return Call(method=method, params=msgspec.json.decode(request.body or b"{}"))

    async def answer(self, call: Call, request: HttpRequest) -> HttpAnswer:
        """See `FakePlatform.answer`."""
        if request.headers.get("x-viber-auth-token") != self.token:
            return viber_error(2, "invalidAuthToken")
        method = self._methods().get(call.method)
        if method is None:
            return HttpAnswer(404, {"content-type": "text/html"}, b"<html>Not Found</html>")
        if len(request.body) > LARGEST:
            return viber_error(*BAD_DATA)
        return await method(call.params)

    def signed(self, body: bytes) -> dict[str, str]:
        """See `FakePlatform.signed`."""
        signature = hmac.new(self.token.encode(), body, sha256).hexdigest()
        return {"content-type": "application/json", "X-Viber-Content-Signature": signature}

    def _methods(self) -> dict[str, Callable[[dict[str, Any]], Awaitable[HttpAnswer]]]:
        return {
            "send_message": self._send_message,
            "broadcast_message": self._broadcast_message,
            "set_webhook": self._set_webhook,
            "get_account_info": self._get_account_info,
            "get_user_details": self._get_user_details,
            "get_online": self._get_online,
        }

    async def _send_message(self, params: dict[str, Any]) -> HttpAnswer:
        receiver = params.get("receiver")
        if not receiver:
            return viber_error(*MISSING_DATA)
        if (fault := _fault(params, b"")) is not None:
            return viber_error(*fault)
        if receiver not in self.subscribers:
            return viber_error(*NOT_SUBSCRIBED)
        self._said.append((receiver, params.get("text", "")))
        return _done(message_token=next(tokens), chat_hostname="SN-CHAT-05_", billing_status=1)

    async def _broadcast_message(self, params: dict[str, Any]) -> HttpAnswer:
        people = params.get("broadcast_list") or []
        if not people:
            return viber_error(*MISSING_DATA)
        fault = BAD_DATA if len(people) > MOST_AT_ONCE else _fault(params, b"")
        if fault is not None:
            return viber_error(*fault)
        reached = [person for person in people if person in self.subscribers]
        self._said += [(person, params.get("text", "")) for person in reached]
        status, status_message = NOT_SUBSCRIBED
        failed = [
            {"receiver": person, "status": status, "status_message": status_message}
            for person in people
            if person not in self.subscribers
        ]
        return _done(message_token=next(tokens), failed_list=failed)

    async def _set_webhook(self, params: dict[str, Any]) -> HttpAnswer:
        before, url = self.webhook, params.get("url")
        if url is None:
            return viber_error(*MISSING_DATA)
        self.webhook = url or None
        if url:
            delivery = await self.post(msgspec.json.encode(self.callback("webhook")))
            if delivery.status != 200:
                self.webhook = before
                return viber_error(1, f"Result: failed request, code {delivery.status}")
        self.wanted = {name: value for name, value in params.items() if name != "url"}
        return _done(event_types=self.wanted.get("event_types", []))

    async def _get_account_info(self, _: dict[str, Any]) -> HttpAnswer:
        return _done(
            id="pa:75346594275468546724",
            name="Bot",
            uri="bot",
            webhook=self.webhook or "",
            event_types=self.wanted.get("event_types", []),
            subscribers_count=len(self.subscribers),
            members=[{"id": PERSON, "name": "Owner", "role": "admin"}],
        )

    async def _get_user_details(self, params: dict[str, Any]) -> HttpAnswer:
        user = params.get("id")
        if not user:
            return viber_error(*MISSING_DATA)
        if user not in self.subscribers:
            return viber_error(*NOT_SUBSCRIBED)
        return _done(message_token=next(tokens), user=self.person(user))

    async def _get_online(self, params: dict[str, Any]) -> HttpAnswer:
        people: Iterable[str] = params.get("ids") or []
        users = [
            {"id": person, "online_status": 0, "online_status_message": "online"}
            if person in self.subscribers
            else {"id": person, "online_status": 4, "online_status_message": "unavailable"}
            for person in people
        ]
        return _done(users=users)


def _fault(message: dict[str, Any], body: bytes) -> tuple[int, str] | None:
    """What Viber does not take of a message; None if it takes it."""
    name = message.get("sender", {}).get("name")
    is_text = message.get("type") == "text"
    text = message.get("text", "")
    kind = message.get("type")
    if not name or not (kind or message.get("keyboard")) or (is_text and not text):
        return MISSING_DATA
    if kind is not None and kind not in NEEDED:
        return BAD_DATA
    if any(not message.get(field) for field in NEEDED.get(kind, ())):
        return MISSING_DATA
    if len(name) > NAME or (is_text and units(text) > LONGEST) or len(body) > LARGEST:
        return BAD_DATA
    return None


def _done(**fields: Any) -> HttpAnswer:
    return _told({"status": 0, "status_message": "ok", **fields})


def _told(told: dict[str, Any]) -> HttpAnswer:
    return HttpAnswer(200, {"content-type": "application/json"}, msgspec.json.encode(told))
