"""HTTP by httpx2, which the extra `http` installs."""

from __future__ import annotations

import asyncio
import logging
import re
from typing import Any, Final

from barback.channels.http import HttpAnswer, HttpFailed, HttpRequest, HttpTooLong
from barback.extras import needs_extra

with needs_extra("http"):
    import httpx2

__all__ = ["Httpx2Http", "past_proxies"]

NOT_SENT: Final = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)
MOST_AT_ONCE: Final = 100
TOKEN: Final = re.compile(
    r"(?<=/bot)[^/]+(?=/)|(?<=[?&]access_token=)[^&]+|(?<=[?&]client_assertion=)[^&]+"
    r"|(?<=//hooks\.slack\.com/).+|(?<=//files\.slack\.com/upload/).+"
)
"""What in an address lets whoever has it do something."""


class Httpx2Http:
    """Requests by an `httpx2.AsyncClient`, one of its own unless given.

    One that is given is left open, and keeps its proxies and certificates; its timeout gives way to
    that of a request, and redirects are not followed. httpx2 logs every address: once this is used,
    tokens in them are left out.

    - `by_environment`: whether one of its own goes by the environment, which may name proxies. What
      is on this machine is beyond them: see `past_proxies`.
    """

    def __init__(
        self, client: httpx2.AsyncClient | None = None, *, by_environment: bool = True
    ) -> None:
        self._own = client is None
        self._client = client or httpx2.AsyncClient(
            limits=httpx2.Limits(
                max_connections=MOST_AT_ONCE,
                max_keepalive_connections=MOST_AT_ONCE,
                keepalive_expiry=60.0,
            ),
            trust_env=by_environment,
        )
        logging.getLogger("httpx2").addFilter(_hide_tokens)

    async def fetch(self, request: HttpRequest) -> HttpAnswer:
        """See `Http.fetch`."""
        try:
            async with asyncio.timeout(request.timeout):
                return await self._fetch(request)
        except TimeoutError:
            sent, told = True, f"no answer within {request.timeout:g} s"
        except httpx2.HTTPError as error:
            sent = not isinstance(error, NOT_SENT)
            # The error itself holds the request, and so the address. It says no more than this.
            told = f"{type(error).__name__}: {error}".rstrip(": ")
        except httpx2.InvalidURL:  # whose words may be a part of the address
            sent, told = False, "the address is none"
        raise HttpFailed(told, sent=sent)

    async def _fetch(self, request: HttpRequest) -> HttpAnswer:
        asked = self._client.stream(
            request.method,
            request.url,
            headers=dict(request.headers),
            content=request.body,
            timeout=request.timeout,
            follow_redirects=False,
        )
        async with asked as answer:
            body = bytearray()
            async for part in answer.aiter_bytes():
                body += part
                if len(body) > request.longest:
                    told = f"the answer is longer than {request.longest:,} bytes"
                    raise HttpTooLong(told, sent=True)
            return HttpAnswer(answer.status_code, dict(answer.headers), bytes(body))

    async def close(self) -> None:
        """See `Http.close`. A client that was given stays open."""
        if self._own:
            await self._client.aclose()

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


def past_proxies() -> Httpx2Http:
    """Requests that no proxy of the environment gets, as to a fake platform on this machine."""
    return Httpx2Http(by_environment=False)


def _hide_tokens(record: logging.LogRecord) -> bool:
    args: Any = record.args
    if isinstance(args, tuple):
        record.args = tuple(_without_token(value) for value in args)
    return True


def _without_token(value: object) -> object:
    text = str(value) if isinstance(value, httpx2.URL) else value
    return TOKEN.sub("***", text) if isinstance(text, str) else value
