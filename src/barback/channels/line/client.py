"""LineClient: the Messaging API, and LINE's other APIs for bots.

Sources: https://developers.line.biz/en/reference/messaging-api/#common-specifications and
https://developers.line.biz/en/docs/messaging-api/retrying-api-request/
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode
from uuid import uuid4

import msgspec

from barback.channels.client import TOO_MANY, PlatformClient
from barback.channels.fields import camel, text_in
from barback.channels.http import LONGEST_ANSWER, LONGEST_FILE, HttpAnswer, HttpRequest, is_address
from barback.channels.line.operations import Operation, operation
from barback.channels.multipart import InputFile, multipart
from barback.channels.texts import shown
from barback.errors import ChannelError, ChannelUnreachable, ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import timedelta

    Token = str | Callable[[], Awaitable[str]]

__all__ = ["DATA", "LONGEST", "MOST", "OFFICIAL", "LineClient", "is_used_up"]

OFFICIAL: Final = "https://api.line.me"
DATA: Final = "https://api-data.line.me"
LONGEST: Final = 5000
"""UTF-16 code units of a text: https://developers.line.biz/en/reference/messaging-api/#text-message."""
MOST: Final = 5
"""Messages that one call may send."""

RETRY_KEY: Final = "x-line-retry-key"
HEADERS: Final = {"retryKey": RETRY_KEY, "deliveryTag": "x-line-delivery-tag"}
"""Parameters that go into headers, by the names they have here."""

TOKEN: Final = re.compile(r"[A-Za-z0-9+/=._~-]{1,4096}")
ACCEPTED: Final = 409
PREPARING: Final = 202
BROKEN: Final = 500
MONTHLY: Final = "You have reached your monthly limit."
USED_UP: Final = "Invalid reply token"


class Refusal(msgspec.Struct):
    """What LINE says of what it has not done; of tokens it says it in other words."""

    message: str = ""
    details: list[dict[str, Any]] = []
    error: str = ""
    error_description: str = ""


class LineClient(PlatformClient):
    """Every operation of LINE's OpenAPI files by its name: `await client.get_profile(user_id=…)`.

    Names, and those of parameters, may be written in Python's way or in LINE's. What is a part of
    the path goes there, and the rest into the query or the body; None is left out, and so is an
    underscore at the end (`from_`). Anything else is called by its verb and path, as in
    `await client.call("GET /v2/bot/info")`.

    What comes back is what LINE answers, as JSON has it, or the bytes of a file. A file to send is
    an `InputFile`, as `file`. What sends messages also answers with LINE's id of the request, as
    `requestId`.

    - `token`: the channel access token; or an `async` function that gives the one that is valid.
    - `server`: LINE's own unless set; `data_server`: where files are, LINE's own unless either is.

    The other options are those of `PlatformClient`. A call that fails is a `ChannelError`.

    What is pushed, or sent to many, has a retry key, a new one unless `retry_key` is given: so it
    is sent again where there was no answer, or a failure of LINE's, and arrives once. That LINE has
    accepted such a key before (409) is no error.
    """

    def __init__(  # noqa: PLR0913 - each may be left out
        self,
        token: Token,
        *,
        channel: str = "line",
        server: str = OFFICIAL,
        data_server: str | None = None,
        http: Any = None,
        timeout: float | timedelta = 30.0,
        retry_within: float | timedelta = 30.0,
    ) -> None:
        super().__init__(channel, http=http, timeout=timeout, retry_within=retry_within)
        self._ask = token if callable(token) else None
        self._secret = "" if callable(token) else _checked(token)
        self._server = _server(server)
        own = DATA if server == OFFICIAL else server
        self._data_server = _server(own if data_server is None else data_server)

    def method_of(self, name: str) -> str:
        """LINE's name of an operation. Raises `AttributeError` for what LINE does not have."""
        try:
            return operation(name).name
        except ConfigurationError as error:
            raise AttributeError(str(error), name=name, obj=self) from None

    async def request(self, method: str, params: dict[str, Any]) -> HttpRequest:
        """See `PlatformClient.request`."""
        asked = operation(method)
        form = "form" in asked.marks
        given = {
            name.rstrip("_") if form else camel(name.rstrip("_")): value
            for name, value in params.items()
            if value is not None
        }
        path = asked.path_with(given)
        headers = {} if form else {"authorization": f"Bearer {await self._valid_token()}"}
        for name, header in HEADERS.items():
            if name in given:
                headers[header] = str(given.pop(name))
        if "retry" in asked.marks:
            headers.setdefault(RETRY_KEY, str(uuid4()))
        given = {name: value for name, value in given.items() if name not in asked.parameters}
        body, query, kind = await _content(asked, given)
        if kind is not None:
            headers["content-type"] = kind
        is_file = "data" in asked.marks
        address = f"{self._data_server if is_file else self._server}{path}{query}"
        longest = LONGEST_FILE if is_file else LONGEST_ANSWER
        return self.new_request(address, body, headers, method=asked.verb, longest=longest)

    def result(self, method: str, answer: HttpAnswer) -> Any:
        """See `PlatformClient.result`."""
        asked = operation(method)
        accepted = answer.status == ACCEPTED and "retry" in asked.marks
        if not (200 <= answer.status < 300 or accepted):  # noqa: PLR2004 - as HTTP has them
            raise self._refusal(method, answer)
        if "bytes" in asked.marks:
            if answer.status == PREPARING:
                told = "The file is being prepared: ask again in a while."
                raise self.failure(method, answer, description=told)
            return answer.body
        kind = answer.headers.get("content-type", "application/json")
        if answer.body and not kind.startswith("application/json"):
            return answer.body
        return self._told(method, answer, with_id="retry" in asked.marks)

    def is_harmless(self, method: str) -> bool:
        """What is asked for by GET only reads."""
        return operation(method).verb == "GET"

    def may_repeat(self, method: str, error: ChannelError) -> bool:
        """What has a retry key may be sent again, and what LINE answers with a failure be read."""
        if error.status == TOO_MANY:
            return error.description != MONTHLY  # which is over next month
        unsure = isinstance(error, ChannelUnreachable) or (error.status or 0) >= BROKEN
        known_again = "retry" in operation(method).marks or self.is_harmless(method)
        return super().may_repeat(method, error) or (unsure and known_again)

    async def _valid_token(self) -> str:
        if self._ask is not None:
            self._secret = _checked(await self._ask())
        return self._secret

    def _told(self, method: str, answer: HttpAnswer, *, with_id: bool) -> Any:
        try:
            told = msgspec.json.decode(answer.body or b"{}", type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            description = "The answer is not LINE's."
            raise self.failure(method, answer, description=description) from None
        if with_id:
            told.pop("message", None)  # that it was accepted before
            first = answer.headers.get("x-line-accepted-request-id")
            told["requestId"] = first or answer.headers.get("x-line-request-id")
        return told

    def _refusal(self, method: str, answer: HttpAnswer) -> ChannelError:
        try:
            told = msgspec.json.decode(answer.body, type=Refusal)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            told = Refusal(message="The answer is not LINE's.")
        parts = [told.message or told.error_description or told.error]
        for one in told.details[:3]:
            parts += filter(None, [text_in(one, "property"), text_in(one, "message")])
        return self.failure(
            method,
            answer,
            code=told.error or None,
            description=shown(": ".join(parts), self._secret),
            parameters={
                "details": told.details,
                "requestId": answer.headers.get("x-line-request-id"),
            },
        )


def is_used_up(error: ChannelError) -> bool:
    """Whether a reply was refused for its token, which is used, too old, or none of LINE's."""
    return error.status == 400 and error.description == USED_UP  # noqa: PLR2004 - as HTTP has it


async def _content(asked: Operation, given: dict[str, Any]) -> tuple[bytes, str, str | None]:
    """The body, the query and the type of the body that parameters make."""
    if "json" in asked.marks:
        return msgspec.json.encode(given), "", "application/json"
    if "form" in asked.marks and asked.verb != "GET":
        return urlencode(given).encode(), "", "application/x-www-form-urlencoded"
    if "file" in asked.marks:
        file = given.pop("file", None)
        if not isinstance(file, InputFile) or given:
            message = f"{asked.name} takes a file, and nothing else: file=InputFile(…)."
            raise ConfigurationError(message)
        return await file.read(), "", file.content_type
    if "parts" in asked.marks:
        files = {name: value for name, value in given.items() if isinstance(value, InputFile)}
        fields = {name: _plain(value) for name, value in given.items() if name not in files}
        body, kind = await multipart(fields, files)
        return body, "", kind
    pairs = {name: _plain(value) for name, value in given.items()}
    return b"", f"?{urlencode(pairs)}" if pairs else "", None


def _plain(value: object) -> str:
    """A value of a query or a form."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _server(server: str) -> str:
    if not is_address(server):
        message = "A server of LINE's is an address that begins with https:// or http://."
        raise ConfigurationError(message)
    return server.rstrip("/")


def _checked(token: object) -> str:
    if not isinstance(token, str) or TOKEN.fullmatch(token) is None:
        message = "A channel access token is as the LINE Developers Console shows it."
        raise ConfigurationError(message)
    return token
