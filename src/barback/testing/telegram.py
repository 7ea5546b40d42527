"""FakeTelegram: Telegram's side of a bot, for tests."""

from __future__ import annotations

import asyncio
import itertools
import re
import time
from typing import TYPE_CHECKING, Any, Final

import msgspec

from barback.channels.http import HttpAnswer, HttpRequest
from barback.channels.httpx2_http import past_proxies
from barback.channels.telegram import TelegramChannel
from barback.channels.telegram.client import FILE, LONGEST
from barback.channels.texts import units
from barback.testing.forms import parts_of_form
from barback.testing.methods import TELEGRAM
from barback.testing.platform import Call, Delivery, FakePlatform

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["FakeTelegram", "telegram_error"]

TOKEN: Final = "123456:a-token-that-is-no-secret"  # noqa: S105 - it opens nothing
CHAT: Final = re.compile(r"-?\d{1,20}|@[A-Za-z]\w{3,31}", re.ASCII)
"""What a chat is called: its number, or its public name."""
PUBLIC: Final = -1000000000001  # of all that are called by a name
LONGEST_CAPTION: Final = 1024
"""UTF-16 code units: https://core.telegram.org/bots/api#sendphoto."""
MEDIA: Final = {
    f"send{kind}": name
    for kind, name in {
        "Animation": "animation",
        "Audio": "audio",
        "Document": "document",
        "Photo": "photo",
        "Sticker": "sticker",
        "Video": "video",
        "VideoNote": "video_note",
        "Voice": "voice",
    }.items()
}
"""Methods that send a file, and the parameter that it is."""
LARGEST_FILE: Final = 20 * 1024 * 1024
"""Bytes of a file that may be fetched: https://core.telegram.org/bots/api#getfile."""
LONGEST_POLL: Final = 0.05  # seconds that a test waits for updates, whatever it is asked for

numbers = itertools.count(1)  # of updates and messages, for all fakes of a process


def telegram_error(status: int, description: str = "an error", **parameters: Any) -> HttpAnswer:
    """An answer as Telegram gives it to what it does not do: `retry_after=3` for one."""
    told = {"ok": False, "error_code": status, "description": description}
    if parameters:
        told["parameters"] = parameters
    return HttpAnswer(status, {"content-type": "application/json"}, msgspec.json.encode(told))


class FakeTelegram(FakePlatform):
    """Telegram on 127.0.0.1: it posts signed updates, and is called as the Bot API is.

    - `token`: the bot's; `channel()` makes a channel that knows it, and where this is.
    - `webhook`, `secret`: as `setWebhook` sets them. A bot may do that itself.
    - `also`: names of methods that this does not know yet: they are answered as done.

    `files` are what people have sent, by file_id: put some there, and into a message of theirs.

    People and chats are numbers, as Telegram has them: a person's are above zero, a group's below.
    """

    def __init__(
        self,
        *,
        token: str = TOKEN,
        webhook: str | None = None,
        secret: str | None = None,
        also: Iterable[str] = (),
    ) -> None:
        super().__init__(webhook)
        self._methods = {name.lower(): name for name in (*TELEGRAM, *also)}
        self.token = token
        self.secret = secret
        self.files: dict[str, bytes] = {}
        self.waiting: list[dict[str, Any]] = []
        """Updates for a bot that polls, which it has not confirmed yet."""

    def channel(self, **options: Any) -> TelegramChannel:
        """A channel that calls this instead of Telegram. Its secret is taken over."""
        channel = TelegramChannel(self.token, server=self.url, **{"http": past_proxies, **options})
        self.secret = channel._secret  # noqa: SLF001 - as Telegram is told it
        return channel

    def environment(self) -> dict[str, str]:
        """See `FakePlatform.environment`."""
        self.channel()  # whose secret it is
        return {"TELEGRAM_TOKEN": self.token, "TELEGRAM_SERVER": self.url}

    # What people do.

    async def say(
        self,
        text: str,
        *,
        user: int = 42,
        chat: int | None = None,
        thread: int | None = None,
        times: int = 1,
        **more: Any,
    ) -> Delivery:
        """Somebody says something, in private or in a group; see `deliver` for `times`."""
        body = self.message(user=user, chat=chat, thread=thread, text=text, **more)
        return await self.deliver(self.update(message=body), times=times)

    async def press(
        self, data: str, *, user: int = 42, chat: int | None = None, times: int = 1
    ) -> Delivery:
        """Somebody presses a button under a message of the bot's, which carries `data`.

        See `deliver` for `times`.
        """
        pressed = {
            "id": str(next(numbers)),
            "from": self.person(user),
            "message": self.message(user=int(self.token.partition(":")[0]), chat=chat or user),
            "chat_instance": "1",
            "data": data,
        }
        return await self.deliver(self.update(callback_query=pressed), times=times)

    def update(self, **kind: Any) -> dict[str, Any]:
        """An update of one kind, with a number of its own: `update(poll={...})`."""
        return {"update_id": next(numbers), **kind}

    def message(
        self, *, user: int = 42, chat: int | None = None, thread: int | None = None, **fields: Any
    ) -> dict[str, Any]:
        """A Message: of a person, in their private chat or in a group, with further fields."""
        where = user if chat is None else chat
        topic = {} if thread is None else {"message_thread_id": thread, "is_topic_message": True}
        return {
            "message_id": next(numbers),
            "from": self.person(user),
            "chat": self.chat(where),
            "date": int(time.time()),
            **topic,
            **fields,
        }

    def person(self, user: int) -> dict[str, Any]:
        """A User."""
        return {"id": user, "is_bot": False, "first_name": f"Person {user}"}

    def chat(self, chat: int) -> dict[str, Any]:
        """A Chat: private if its number is above zero, and else a supergroup."""
        if chat > 0:
            return {"id": chat, "type": "private", "first_name": f"Person {chat}"}
        return {"id": chat, "type": "supergroup", "title": f"Group {chat}"}

    # What the bot has said.

    def texts(self, chat: int) -> list[str]:
        """What the bot has said in a chat, in order."""
        sent = self.called("sendMessage")
        return [call.params["text"] for call in sent if call.params["chat_id"] == chat]

    # Its side of the Bot API.

    def read(self, request: HttpRequest) -> Call:
        """See `FakePlatform.read`."""
        if request.url.startswith("/file/"):
            return Call(method=FILE, params={"path": request.url.split("/", 3)[-1]})
        asked = request.url.rpartition("/")[2]
        method = self._methods.get(asked.lower(), asked)  # Telegram takes them in any case
        kind = request.headers.get("content-type", "")
        if not kind.startswith("multipart/form-data"):
            return Call(method=method, params=msgspec.json.decode(request.body or b"{}"))
        params, files = parts_of_form(kind, request.body)
        return Call(method=method, params=params, files=files)

    async def answer(self, call: Call, request: HttpRequest) -> HttpAnswer:
        """See `FakePlatform.answer`."""
        if call.method == FILE:
            return self._file(call.params["path"], request.url)
        if not request.url.startswith(f"/bot{self.token}/"):
            return telegram_error(401, "Unauthorized")
        if call.method.lower() not in self._methods:
            return telegram_error(404, "Not Found")
        special = self._specials().get(call.method)
        result = True if special is None else special(call.params)
        if call.method in MEDIA:
            result = self._send_file(call, MEDIA[call.method])
        if call.method == "getUpdates" and self.webhook is None:
            result = await self._updates(call.params)
        return result if isinstance(result, HttpAnswer) else _done(result)

    def signed(self, body: bytes) -> dict[str, str]:  # noqa: ARG002 - Telegram signs no body
        """See `FakePlatform.signed`."""
        headers = {"content-type": "application/json"}
        if self.secret is not None:
            headers["X-Telegram-Bot-Api-Secret-Token"] = self.secret
        return headers

    def _specials(self) -> dict[str, Callable[[dict[str, Any]], Any]]:
        """What does more, or says more, than that it is done."""
        return {
            "sendMessage": self._send_message,
            "getMe": lambda _: {**self.person(int(self.token.partition(":")[0])), "is_bot": True},
            "getFile": self._get_file,
            "setWebhook": self._set_webhook,
            "deleteWebhook": self._delete_webhook,
            "getWebhookInfo": lambda _: {
                "url": self.webhook or "",
                "has_custom_certificate": False,
                "pending_update_count": len(self.waiting),
            },
            "getUpdates": lambda _: telegram_error(
                409, "Conflict: can't use getUpdates method while webhook is active"
            ),
        }

    def _send_message(self, params: dict[str, Any]) -> Any:
        text = params.get("text", "")
        if (lost := _refused_chat(params)) is not None:
            return lost
        if not isinstance(text, str) or not text.strip():
            return telegram_error(400, "Bad Request: message text is empty")
        if units(text) > LONGEST:
            return telegram_error(400, "Bad Request: message is too long")
        return self._sent(params)

    def _send_file(self, call: Call, name: str) -> Any:
        if (lost := _refused_chat(call.params)) is not None:
            return lost
        if not call.params.get(name) and name not in call.files:
            words = name.replace("_", " ")
            return telegram_error(400, f"Bad Request: there is no {words} in the request")
        if units(str(call.params.get("caption") or "")) > LONGEST_CAPTION:
            return telegram_error(400, "Bad Request: message caption is too long")
        return self._sent(call.params)

    def _sent(self, params: dict[str, Any]) -> dict[str, Any]:
        chat = str(params["chat_id"])
        where = PUBLIC if chat.startswith("@") else int(chat)
        return self.message(user=int(self.token.partition(":")[0]), chat=where)

    def _get_file(self, params: dict[str, Any]) -> Any:
        own = str(params.get("file_id", ""))
        if own not in self.files:
            return telegram_error(400, "Bad Request: invalid file_id")
        size = len(self.files[own])
        if size > LARGEST_FILE:
            return telegram_error(400, "Bad Request: file is too big")
        path = {"file_size": size, "file_path": f"documents/{own}"}
        return {"file_id": own, "file_unique_id": own, **path}

    def _file(self, path: str, url: str) -> HttpAnswer:
        own = path.rpartition("/")[2]
        if url != f"/file/bot{self.token}/documents/{own}" or own not in self.files:
            return telegram_error(404, "Not Found")
        return HttpAnswer(200, {"content-type": "application/octet-stream"}, self.files[own])

    def _set_webhook(self, params: dict[str, Any]) -> bool:
        self.webhook, self.secret = params["url"] or None, params.get("secret_token")
        return True

    def _delete_webhook(self, _: dict[str, Any]) -> bool:
        self.webhook = None
        return True

    async def _updates(self, params: dict[str, Any]) -> list[dict[str, Any]]:
        """Those from `offset` on; the others are forgotten."""
        offset = params.get("offset") or 0
        self.waiting = [one for one in self.waiting if one["update_id"] >= offset]
        if not self.waiting:
            await asyncio.sleep(min(params.get("timeout", 0), LONGEST_POLL))
        return self.waiting[: params.get("limit", 100)]


def _refused_chat(params: dict[str, Any]) -> HttpAnswer | None:
    """What is said of a chat that there is not; None if there is one."""
    chat = params.get("chat_id", "")
    if chat == "":
        return telegram_error(400, "Bad Request: chat_id is empty")
    if CHAT.fullmatch(str(chat)) is None:
        return telegram_error(400, "Bad Request: chat not found")
    return None


def _done(result: Any) -> HttpAnswer:
    told = msgspec.json.encode({"ok": True, "result": result})
    return HttpAnswer(200, {"content-type": "application/json"}, told)
