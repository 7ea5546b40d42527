"""SlackClient: the Web API. See https://docs.slack.dev/apis/web-api."""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode, urlsplit

import msgspec

from barback.channels.client import MOST_BYTES, PlatformClient
from barback.channels.http import HttpAnswer, HttpRequest, is_address
from barback.channels.multipart import InputFile, multipart
from barback.channels.slack.methods import method_of
from barback.errors import CannotSend, ConfigurationError

if TYPE_CHECKING:
    from datetime import timedelta

__all__ = ["LONGEST", "OFFICIAL", "SlackClient", "Tokens"]

OFFICIAL: Final = "https://slack.com/api"
LONGEST: Final = 4000
"""Characters of a text; Slack cuts off what is beyond 40,000, which escaped ones do not reach.

See https://docs.slack.dev/reference/methods/chat.postMessage.
"""
TOKEN: Final = re.compile(r"xox[!-~]{1,4096}")
CODE: Final = re.compile(r"[A-Za-z0-9_.:-]{1,100}")
READING: Final = re.compile(
    r"search\.|.*\.(?:get(?!Upload)|list|lookup|info|history|replies|members|test|identity)"
)

RESPONSE: Final = "response_url"
UPLOAD: Final = "upload_url"
DOWNLOAD: Final = "url_private"
ADDRESSES: Final = frozenset({RESPONSE, UPLOAD})
"""What is called by an address that Slack has told, rather than by a method's name."""
FILES: Final = "files.slack.com"
"""Where files rest that people have sent. No other host is shown the token."""

FOREIGN: Final = "The answer is not Slack's."

Tokens = Mapping[str, str] | Callable[[str], str | Awaitable[str]]
"""A token for each workspace: by its id, or by a function of that."""


class SlackClient(PlatformClient):
    """Every method of the Web API: `await client.chat_post_message(channel=…, text=…)`.

    The first part of a name is the method's family, and the rest what it does; or ask for it in
    Slack's own way, with `call("chat.postMessage", …)`. None is left out of parameters; lists and
    objects are sent as JSON, where Slack wants a list separated by commas give it as text. A file
    to upload is an `InputFile`, for the methods that take one; for all others see `upload`. What
    comes back is the whole answer, as JSON has it.

    Parameters go out as a form, which all methods take; of JSON that is not so.

    - `token`: a bot's (xoxb-…), or `Tokens` of a bot in many workspaces: calls then need
      `workspace`, the id of one. With a single token that is left out.
    - `server`: where the Web API is, Slack's own unless set.

    The other options are those of `PlatformClient`. A call that fails is a `ChannelError` with
    Slack's `error` as `code`, and all else that Slack tells of it as `parameters`.
    """

    def __init__(  # noqa: PLR0913 - each may be left out
        self,
        token: str | Tokens,
        *,
        channel: str = "slack",
        server: str = OFFICIAL,
        http: Any = None,
        timeout: float | timedelta = 30.0,
        retry_within: float | timedelta = 30.0,
    ) -> None:
        if not (isinstance(token, Mapping) or callable(token)):
            _check_token(token)
        if not is_address(server):
            message = "Where Slack's Web API is begins with https:// or http://."
            raise ConfigurationError(message)
        super().__init__(channel, http=http, timeout=timeout, retry_within=retry_within)
        self._token = token
        self._base = server.rstrip("/") + "/"

    async def respond(self, response_url: str, /, **message: Any) -> Any:
        """Post a message to the `response_url` of an interaction or a command.

        Slack takes five of them, within half an hour. Only who did it sees the message, unless
        `response_type` is "in_channel"; `replace_original` and `delete_original` are for messages
        that a button is under. See https://docs.slack.dev/interactivity/handling-user-interaction.
        Raises `ChannelError`.
        """
        body = msgspec.json.encode({name: v for name, v in message.items() if v is not None})
        return await self.call(RESPONSE, url=response_url, body=body, kind="application/json")

    async def upload(
        self, file: InputFile, *, workspace: str | None = None, title: str | None = None, **to: Any
    ) -> Any:
        """Upload a file, in the three steps that it takes, and return the last one's answer.

        `to`: where it goes, as `files.completeUploadExternal` has it: `channel_id`, `thread_ts`,
        `initial_comment`. Raises `ChannelError`, and `OSError` for a file that cannot be read.
        """
        content = await file.read()
        name = file.shown_name
        place = await self.call(
            "files.getUploadURLExternal", filename=name, length=len(content), workspace=workspace
        )
        url, own = str(place.get("upload_url")), place.get("file_id")
        await self.call(UPLOAD, url=url, body=content, kind="application/octet-stream")
        files = [{"id": own, "title": name if title is None else title}]
        return await self.call(
            "files.completeUploadExternal", files=files, workspace=workspace, **to
        )

    async def download(
        self, url: str, /, *, workspace: str | None = None, most: int = MOST_BYTES
    ) -> bytes:
        """What is in a file that somebody has sent, by its `url_private` or `url_private_download`.

        The token needs the scope `files:read`. `most`: bytes that it may have, 20 MiB unless set.
        See https://docs.slack.dev/reference/objects/file-object#authentication.

        Raises `ChannelError`; and `ConfigurationError` for an address that is not Slack's.
        """
        content: bytes = await self.call(DOWNLOAD, url=url, workspace=workspace, most=most)
        return content

    def method_of(self, name: str) -> str:
        """See `PlatformClient.method_of`, and `barback.channels.slack.methods`."""
        return method_of(name)

    async def request(self, method: str, params: dict[str, Any]) -> HttpRequest:
        """See `PlatformClient.request`."""
        if method in ADDRESSES:  # whose secret is in the address: they get no token
            return self.new_request(params["url"], params["body"], {"content-type": params["kind"]})
        if method == DOWNLOAD:
            return await self._asking_for(params["url"], params["workspace"], params["most"])
        params = dict(params)
        token = await self._token_of(method, params.pop("workspace", None))
        given = {name: value for name, value in params.items() if value is not None}
        files = {name: value for name, value in given.items() if isinstance(value, InputFile)}
        fields = {name: _as_text(value) for name, value in given.items() if name not in files}
        if files:
            body, kind = await multipart(fields, files)
        else:
            body, kind = urlencode(fields).encode(), "application/x-www-form-urlencoded"
        headers = {"authorization": f"Bearer {token}", "content-type": kind}
        return self.new_request(self._base + method, body, headers)

    def result(self, method: str, answer: HttpAnswer) -> Any:
        """See `PlatformClient.result`."""
        if method == DOWNLOAD:
            return self._content(answer)
        told = _object(answer.body)
        if told.get("ok") is True:
            return told
        is_done = answer.status == 200  # noqa: PLR2004 - HTTP's
        if method in ADDRESSES and is_done and not told:
            return {"ok": True}  # they answer in words, such as "ok"
        code = told.get("error")
        if code is None and method in ADDRESSES:
            code = answer.body[:101].decode("ascii", "replace")  # such as "used_url"
        is_foreign = "ok" not in told and method not in ADDRESSES
        raise self.failure(
            method,
            answer,
            code=code if isinstance(code, str) and CODE.fullmatch(code) else None,
            description=_missing(told) or (FOREIGN if is_foreign else ""),
            parameters={name: v for name, v in told.items() if name not in {"ok", "error"}},
        )

    def is_harmless(self, method: str) -> bool:
        """What only reads, by the last part of its name."""
        return method == DOWNLOAD or READING.match(method) is not None

    async def _asking_for(self, url: str, workspace: str | None, most: int) -> HttpRequest:
        """The request for a file, with the token, which nobody but Slack is to see."""
        parts = urlsplit(url)
        ours = parts.scheme == "https" and parts.netloc == FILES
        is_beside = (
            parts[:2] == urlsplit(self._base)[:2] != urlsplit(OFFICIAL)[:2]
        )  # such as a fake
        if not (ours or is_beside):
            message = f"Only files at {FILES} can be fetched: no other host gets the token."
            raise ConfigurationError(message)
        token = await self._token_of(DOWNLOAD, workspace)
        headers = {"authorization": f"Bearer {token}"}
        return self.new_request(url, b"", headers, method="GET", longest=most)

    def _content(self, answer: HttpAnswer) -> bytes:
        """A file. Who may not have it is sent to where one signs in, or shown that as the file."""
        is_page = answer.headers.get("content-type", "").startswith("text/html")
        if answer.status == 200 and not is_page:  # noqa: PLR2004 - HTTP's
            return answer.body
        is_closed = answer.status < 400  # noqa: PLR2004 - the same
        why = "the token may not read it: it needs the scope files:read." if is_closed else ""
        raise self.failure(DOWNLOAD, answer, description=why)

    async def _token_of(self, method: str, workspace: str | None) -> str:
        if isinstance(self._token, str):
            return self._token
        if not workspace:
            message = f"Say which workspace {method} is for: workspace='T…'."
            raise ConfigurationError(message)
        if isinstance(self._token, Mapping):
            token = self._token.get(workspace)
        else:
            found = self._token(workspace)
            token = await found if inspect.isawaitable(found) else found
        if token is None:
            message = f"The bot has no token for the workspace {workspace}."
            raise CannotSend(message)
        return _check_token(token)


def _check_token(token: object) -> str:
    if not isinstance(token, str) or TOKEN.fullmatch(token) is None:
        message = "A token of Slack's begins with xox, such as that of a bot with xoxb-."
        raise ConfigurationError(message)
    return token


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _object(body: bytes) -> dict[str, Any]:
    try:
        told = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}


def _missing(told: dict[str, Any]) -> str:
    """The scope that the token lacks, if that is why: Slack's other words may quote a message."""
    needed = told.get("needed")
    is_scope = isinstance(needed, str) and re.fullmatch(r"[A-Za-z0-9_.:, -]{1,200}", needed)
    return f"the token lacks the scope {needed}." if is_scope else ""
