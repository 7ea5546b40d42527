"""TelegramClient: the Bot API. See https://core.telegram.org/bots/api#making-requests."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import msgspec

from barback.channels.client import MOST_BYTES, PlatformClient
from barback.channels.http import HttpAnswer, HttpRequest, is_address
from barback.channels.multipart import InputFile, multipart
from barback.channels.texts import shown
from barback.errors import ChannelError, ConfigurationError

if TYPE_CHECKING:
    from datetime import timedelta

__all__ = ["LONGEST", "OFFICIAL", "TelegramClient"]

OFFICIAL: Final = "https://api.telegram.org"
LONGEST: Final = 4096
"""UTF-16 code units of a message: https://core.telegram.org/bots/api#sendmessage."""
FILE: Final = "GET file"
"""What is asked for by a path, rather than by a method's name."""
TOKEN: Final = re.compile(r"\d{1,20}:[A-Za-z0-9_-]{1,128}")


class Refusal(msgspec.Struct):
    """What Telegram says of a call, done or not."""

    ok: bool = False
    result: Any = None
    error_code: int | None = None
    description: str = ""
    parameters: dict[str, Any] = {}


class TelegramClient(PlatformClient):
    """Every method of the Bot API by its name: `await client.send_photo(chat_id=…, photo=…)`.

    Names may be written in Python's way or in Telegram's; the Bot API's own `close` has to be asked
    for with `call("close")`. Parameters are what JSON has; None is
    left out. A file to upload is an `InputFile`, also inside of a list of media. What comes back
    is the `result`, as JSON has it.

    `token` is of BotFather; `server` is Telegram's own unless set. The other options are those of
    `PlatformClient`. A call that fails is a `ChannelError` with Telegram's `error_code` as `code`,
    and its `parameters`.
    """

    def __init__(  # noqa: PLR0913 - each may be left out
        self,
        token: str,
        *,
        channel: str = "telegram",
        server: str = OFFICIAL,
        http: Any = None,
        timeout: float | timedelta = 30.0,
        retry_within: float | timedelta = 30.0,
    ) -> None:
        if not isinstance(token, str) or TOKEN.fullmatch(token) is None:
            message = (
                "A Telegram bot's token is as BotFather tells it: digits, a colon and letters."
            )
            raise ConfigurationError(message)
        if not is_address(server):
            message = "A server of the Bot API is an address that begins with https:// or http://."
            raise ConfigurationError(message)
        super().__init__(channel, http=http, timeout=timeout, retry_within=retry_within)
        self._secret = token.partition(":")[2]
        self._base = f"{server.rstrip('/')}/bot{token}/"
        self._files = f"{server.rstrip('/')}/file/bot{token}/"

    async def download(self, file: str, /, *, most: int = MOST_BYTES) -> bytes:
        """What is in a file that somebody has sent.

        `file`: its `file_id`; or the `file_path` that `get_file` has told, which has a slash.
        `most`: bytes that it may have, 20 MiB unless set; Telegram's own server gives out no more
        than 20 MB. See https://core.telegram.org/bots/api#getfile.

        Raises `ChannelError`; and `ConfigurationError` where a server in local mode tells a path on
        its own disk.
        """
        path = file
        if "/" not in file:
            told = await self.call("getFile", file_id=file)
            path = str(told.get("file_path"))
        content: bytes = await self.call(FILE, path=path, most=most)
        return content

    async def request(self, method: str, params: dict[str, Any]) -> HttpRequest:
        """See `PlatformClient.request`."""
        if method == FILE:
            return self._asking_for(params["path"], params["most"])
        files: dict[str, InputFile] = {}
        given = {
            name: _taken_out(value, name, files)
            for name, value in params.items()
            if value is not None
        }
        url = self._base + method
        if not files:
            json = msgspec.json.encode(given)
            return self.new_request(url, json, {"content-type": "application/json"})
        fields = {
            name: value if isinstance(value, str) else msgspec.json.encode(value).decode()
            for name, value in given.items()
            if not isinstance(value, InputFile)
        }
        body, kind = await multipart(fields, files)
        return self.new_request(url, body, {"content-type": kind})

    def result(self, method: str, answer: HttpAnswer) -> Any:
        """See `PlatformClient.result`."""
        if method == FILE and answer.status == 200:  # noqa: PLR2004 - as HTTP has it
            return answer.body
        try:
            told = msgspec.json.decode(answer.body, type=Refusal)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            told = Refusal(description="The answer is not Telegram's.")
        if told.ok:
            return told.result
        raise self._refusal(method, answer, told)

    def is_harmless(self, method: str) -> bool:
        """What begins with "get" only reads; but to get updates confirms those before."""
        return method.lower().startswith("get") and method.lower() != "getupdates"

    def _asking_for(self, path: str, most: int) -> HttpRequest:
        if path.startswith("/") or ".." in path.split("/"):
            message = "A file is where Telegram says, and not on a disk: fetch it by its file_id."
            raise ConfigurationError(message)
        return self.new_request(self._files + quote(path), b"", {}, method="GET", longest=most)

    def _refusal(self, method: str, answer: HttpAnswer, told: Refusal) -> ChannelError:
        wait = told.parameters.get("retry_after")
        return self.failure(
            method,
            answer,
            code=told.error_code,
            description=shown(told.description, self._secret),
            retry_after=wait if isinstance(wait, (int, float)) else None,
            parameters=told.parameters,
        )


def _taken_out(value: Any, name: str, files: dict[str, InputFile]) -> Any:
    """A parameter, with its files moved to `files`: the whole of it, or such as are in a list."""
    if isinstance(value, InputFile):
        files[name] = value
        return value
    return _with_links(value, files)


def _with_links(value: Any, files: dict[str, InputFile]) -> Any:
    if isinstance(value, InputFile):
        link = f"file{len(files)}"
        files[link] = value
        return f"attach://{link}"
    if isinstance(value, dict):
        return {key: _with_links(each, files) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_with_links(each, files) for each in value]
    return value
