"""The little that clients need of HTTP, so that any library for it can be plugged in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol, runtime_checkable
from urllib.parse import urlsplit

import msgspec

__all__ = [
    "LONGEST_ANSWER",
    "LONGEST_FILE",
    "Http",
    "HttpAnswer",
    "HttpFailed",
    "HttpRequest",
    "HttpTooLong",
    "is_address",
]


LONGEST_ANSWER: Final = 16 * 1024 * 1024  # bytes of an answer that tells something
LONGEST_FILE: Final = 512 * 1024 * 1024  # bytes of one that is what people have sent


class HttpRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request to a platform.

    `timeout` is in seconds, for the whole of it; `longest` the bytes that the answer may have: who
    sends more is not to fill the memory.
    """

    method: str
    url: str
    headers: Mapping[str, str] = {}
    body: bytes = b""
    timeout: float = 30.0
    longest: int = LONGEST_ANSWER

    def __repr__(self) -> str:
        # A platform's token may stand in the path, or in a header.
        return f"<HttpRequest {self.method} to {urlsplit(self.url).hostname}>"


class HttpAnswer(msgspec.Struct, frozen=True):
    """A platform's answer. Names of headers are in lower case."""

    status: int
    headers: Mapping[str, str] = {}
    body: bytes = b""


class HttpFailed(Exception):
    """There is no answer. `sent`: whether the request may have arrived all the same.

    The message is shown to people: it has no address, since a token may stand in it.
    """

    def __init__(self, message: str, *, sent: bool) -> None:
        super().__init__(message)
        self.sent = sent


class HttpTooLong(HttpFailed):
    """There is an answer, of more bytes than were asked for. Asking again makes it no shorter."""


@runtime_checkable
class Http(Protocol):
    """What a client makes its requests with. Connections are kept open between them."""

    async def fetch(self, request: HttpRequest) -> HttpAnswer:
        """Make one request, once, and give the answer back whatever its status is.

        To no other address either, whatever the answer says: a token would go there as well.
        Raises `HttpFailed`.
        """

    async def close(self) -> None:
        """Close what was opened."""


def is_address(server: object) -> bool:
    """Whether requests can be made to a server of this address: http or https, and a host."""
    if not isinstance(server, str):
        return False
    try:
        parts = urlsplit(server)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is none, or a host with half a bracket
        return False
