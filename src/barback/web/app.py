"""The app: routes, limits on what is read, and the bot's life."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from barback.channels.webhook import WebhookAnswer, WebhookChannel, WebhookRequest
from barback.errors import ConfigurationError
from barback.extras import needs_extra
from barback.options import seconds
from barback.web.readiness import Readiness
from barback.web.reception import Reception

with needs_extra("web"):
    from starlette.applications import Starlette
    from starlette.datastructures import QueryParams
    from starlette.requests import ClientDisconnect, Request
    from starlette.responses import PlainTextResponse, Response
    from starlette.routing import Route

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

    from starlette.types import Receive, Scope, Send

    from barback.channels.base import Channel
    from barback.serving import Serving

__all__ = ["app_of"]

READ_WITHIN: Final = 10.0
"""Seconds for a request to arrive as a whole."""


def app_of(
    bot: Serving, channels: Iterable[Channel], *, max_body: int, max_early: int
) -> Starlette:
    """The app of a bot, with one route for each channel that has a webhook."""
    webhooks = [channel for channel in channels if isinstance(channel, WebhookChannel)]
    if not webhooks:
        message = "The bot has no channel with a webhook: give asgi() one, or the bot."
        raise ConfigurationError(message)
    reception = Reception(bot, max_early=max_early)
    readiness = Readiness(bot)
    hooks: dict[str, Webhook] = {}
    taken = {"/healthz", "/readyz"}
    for channel in webhooks:
        path = channel.path or f"/{channel.name}"
        seconds(channel.ack_within, f"ack_within of the channel {channel.name!r}")
        if not isinstance(path, str) or not path.startswith("/") or path in taken or "{" in path:
            message = f"The channel {channel.name!r} cannot be at {path!r}: give it another path."
            raise ConfigurationError(message)
        taken.add(path)
        hooks[path] = Webhook(bot, channel, reception, max_body)

    routes = [Route(path, hook) for path, hook in hooks.items()]
    routes += [Route("/healthz", _healthz), Route("/readyz", readiness)]
    # What somebody has told a platform with a slash too many, or too few. Platforms follow no
    # redirection, which would go by a Host that anyone may claim.
    routes += [Route(_other_slash(path), hook) for path, hook in hooks.items() if path != "/"]

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with bot:
            yield

    app = Starlette(routes=routes, lifespan=lifespan)
    app.router.redirect_slashes = False
    app.state.bot = bot
    bot._receptions.append(reception)  # noqa: SLF001 - the bot closes it
    return app


def _other_slash(path: str) -> str:
    """The same path with a slash at its end, or without."""
    return path[:-1] if path.endswith("/") else f"{path}/"


async def _healthz(_: Request) -> Response:
    return PlainTextResponse("ok")


class Webhook:
    """One channel's webhook, as an app of its own."""

    def __init__(
        self, bot: Serving, channel: WebhookChannel, reception: Reception, max_body: int
    ) -> None:
        self._channel = channel
        self._reception = reception
        self._max_body = max_body
        self._now: Callable[[], float] = bot._clock  # noqa: SLF001 - the bot's own time

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request (ASGI)."""
        response = await self._answer(scope, receive)
        await response(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive) -> Response:
        if scope["method"] not in {"GET", "POST"}:
            return _response(WebhookAnswer(405), {"allow": "GET, POST"})
        headers = _headers(scope)
        length = headers.get("content-length", "")
        if length.isdecimal() and int(length[:20]) > self._max_body:
            return _refused(413)
        try:
            async with asyncio.timeout(READ_WITHIN):
                body = await self._read(receive)
        except TimeoutError:
            return _refused(408)
        except ClientDisconnect:
            return _refused(400)  # nobody is there to read it
        if body is None:
            return _refused(413)
        request = WebhookRequest(
            method=scope["method"],
            headers=headers,
            query=dict(QueryParams(scope["query_string"])),
            body=body,
            received_at=self._now(),
        )
        answer, wait = await self._reception.answer(self._channel, request)
        return _response(answer, {} if wait is None else {"retry-after": str(wait)})

    async def _read(self, receive: Receive) -> bytes | None:
        """The body; None if it is longer than it may be. No more of it is kept than that."""
        chunks: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            chunk: bytes = message.get("body", b"")
            size += len(chunk)
            if size > self._max_body:
                return None
            chunks.append(chunk)
            if not message.get("more_body", False):
                return b"".join(chunks)


def _headers(scope: Scope) -> dict[str, str]:
    found: dict[str, str] = {}
    pairs: list[tuple[bytes, bytes]] = scope["headers"]
    for name, value in pairs:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        found[key] = f"{found[key]}, {text}" if key in found else text
    return found


def _response(answer: WebhookAnswer, headers: dict[str, str]) -> Response:
    kind = answer.content_type if answer.body else None
    return Response(answer.body, answer.status, headers, kind)


def _refused(status: int) -> Response:
    """What was not read to its end leaves the connection unfit for another request."""
    return Response(status_code=status, headers={"connection": "close"})
