"""The playground's web app: the page, what it asks for, and the news that it is sent.

Only pages of its own may speak to it. It answers for the host it was started for, so that no name
of a stranger's leads here; what changes anything is JSON, which no page of a stranger's may send;
and where it is open to others than this machine, everything needs a token.
"""

from __future__ import annotations

import asyncio
import hmac
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import urlsplit

import msgspec

from barback.errors import BarbackError, BotNotRunning
from barback.extras import needs_extra
from barback.playground.report import in_json
from barback.playground.sessions import Conflict
from barback.playground.world import Message, Playground

with needs_extra("serve"):
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import RedirectResponse, Response, StreamingResponse
    from starlette.routing import Route

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["playground_app"]

T = TypeVar("T")

KINDS: Final = {
    "index.html": "text/html; charset=utf-8",
    "page.css": "text/css; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
HEADERS: Final = {
    "content-security-policy": "default-src 'self'; frame-ancestors 'none'; base-uri 'none'",
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}
COOKIE: Final = "barback_playground"
LOCAL: Final = frozenset({"127.0.0.1", "localhost", "[::1]"})
BEAT: Final = 15.0  # seconds between signs of life
MOST: Final = 16 * 1024 * 1024  # bytes of a request: a large state may be edited


class Say(msgspec.Struct, forbid_unknown_fields=True):
    """Messages to be given to the bot at the same time, each so many times."""

    messages: list[Message]
    copies: int = 1


class Again(msgspec.Struct, forbid_unknown_fields=True):
    """The event of a turn, to be delivered once more."""

    turn: int


class Move(msgspec.Struct, forbid_unknown_fields=True):
    """Minutes by which the clock is put forward."""

    minutes: float


class Edit(msgspec.Struct, forbid_unknown_fields=True):
    """A state for a session, if that is of this version."""

    id: str
    state: dict[str, Any]
    version: str | None = None


class Named(msgspec.Struct, forbid_unknown_fields=True):
    """A session."""

    id: str


def playground_app(
    playground: Playground, *, hosts: frozenset[str] = LOCAL, token: str | None = None
) -> ASGIApp:
    """The app of a playground, which runs while the app does.

    - `hosts`: by which names it may be called.
    - `token`: what a browser has to tell, once, in the address: `/?token=…`. None: nothing.
    """
    routes = [
        Route(f"/{'' if name == 'index.html' else name}", _file(name, kind))
        for name, kind in KINDS.items()
    ]
    routes += [
        Route("/api/world", Api(playground, _world)),
        Route("/api/news", NewsStream(playground)),
        Route("/api/say", Api(playground, _say, Say), methods=["POST"]),
        Route("/api/again", Api(playground, _again, Again), methods=["POST"]),
        Route("/api/clock", Api(playground, _move, Move), methods=["POST"]),
        Route("/api/session", Api(playground, _session)),
        Route("/api/session-of", Api(playground, _session_of)),
        Route("/api/edit", Api(playground, _edit, Edit), methods=["POST"]),
        Route("/api/delete", Api(playground, _delete, Named), methods=["POST"]),
        Route("/api/clear", Api(playground, _clear, Nothing), methods=["POST"]),
        Route("/api/test.py", _test(playground)),
    ]

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with playground:
            yield

    return Guard(Starlette(routes=routes, lifespan=lifespan), hosts, token)


class Nothing(msgspec.Struct, forbid_unknown_fields=True):
    """Nothing needs to be told."""


class Guard:
    """Lets nobody in who is not the page."""

    def __init__(self, app: ASGIApp, hosts: frozenset[str], token: str | None) -> None:
        self._app = app
        self._hosts = hosts
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        app = self._app
        if scope["type"] == "http":
            app = self._refusal(Request(scope)) or app
        await app(scope, receive, send)

    def _refusal(self, request: Request) -> Response | None:
        """The answer for a request that is not let in; None if it is."""
        if _without_port(request.headers.get("host", "")) not in self._hosts:
            return Response("This is not called so.", 421)
        origin = request.headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
            return Response("Not from another page.", 403)
        if self._token is None:
            return None
        if _same(request.query_params.get("token", ""), self._token):
            answer = RedirectResponse("/", 303)
            answer.set_cookie(COOKIE, self._token, httponly=True, samesite="strict")
            return answer
        if _same(request.cookies.get(COOKIE, ""), self._token):
            return None
        return Response("Open it with the address that `barback dev` has told.", 401)


class Api:
    """One thing that the page may ask for."""

    def __init__(
        self,
        playground: Playground,
        do: Callable[..., Awaitable[Any]],
        takes: type[msgspec.Struct] | None = None,
    ) -> None:
        self._playground = playground
        self._do = do
        self._takes = takes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request (ASGI)."""
        response = await self._answer(Request(scope, receive))
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        try:
            if self._takes is None:
                found = await self._do(self._playground, request)
            else:
                if not request.headers.get("content-type", "").startswith("application/json"):
                    return _json({"error": "What is sent is JSON."}, 415)
                body = await _body(request)
                if body is None:
                    return _json({"error": "That is too much."}, 413)
                found = await self._do(
                    self._playground, msgspec.json.decode(body, type=self._takes)
                )
        except Conflict as error:
            return _json({"error": str(error)}, 409)
        except (msgspec.DecodeError, BarbackError) as error:
            # A name for what the page can put beside the right field.
            told = {"error": str(error), "path": getattr(error, "path", None)}
            return _json(told, 503 if isinstance(error, BotNotRunning) else 400)
        return _json(found)


class NewsStream:
    """What happens, as server-sent events: https://html.spec.whatwg.org/multipage/server-sent-events.html."""

    def __init__(self, playground: Playground) -> None:
        self._playground = playground

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send news until either side has enough (ASGI)."""
        stream = StreamingResponse(
            self._lines(), media_type="text/event-stream", headers={"cache-control": "no-store"}
        )
        await stream(scope, receive, send)

    async def _lines(self) -> AsyncIterator[bytes]:
        news = self._playground.news.listen()
        yield b"retry: 500\n\n"
        piece: asyncio.Task[Any] | None = None
        try:
            while True:
                piece = piece or asyncio.ensure_future(anext(news))
                done, _ = await asyncio.wait([piece], timeout=BEAT)
                if not done:
                    yield b": still there\n\n"
                    continue
                try:
                    told = piece.result()
                except StopAsyncIteration:
                    return
                piece = None
                yield b"data: " + msgspec.json.encode(told) + b"\n\n"
        finally:
            if piece is not None:
                piece.cancel()
                await asyncio.wait([piece])
            await news.aclose()  # type: ignore[attr-defined]  # it is a generator


async def _world(playground: Playground, _: Request) -> Any:
    return {**playground.about(), "turns": list(playground.turns), "lines": list(playground.lines)}


async def _say(playground: Playground, told: Say) -> Any:
    if not 1 <= len(told.messages) <= 10 or not 1 <= told.copies <= 10:  # noqa: PLR2004
        return {"error": "One to ten messages, one to ten times."}
    # Not waited for: a browser asks for six things at a time, and handlers may take long.
    playground.begin(told.messages, copies=told.copies)
    return {}


async def _again(playground: Playground, told: Again) -> Any:
    playground.begin_again(told.turn)
    return {}


async def _move(playground: Playground, told: Move) -> Any:
    playground.advance(told.minutes)
    return playground.about()


async def _session(playground: Playground, request: Request) -> Any:
    return _for_the_page(await playground.session(request.query_params.get("id", "")))


def _for_the_page(session: dict[str, Any]) -> dict[str, Any]:
    """With the state as text: a page's numbers would make 1 of 1.0, and round large ones."""
    return {**session, "state": in_json(session["state"])}


async def _session_of(playground: Playground, request: Request) -> Any:
    told = request.query_params
    return {"id": playground.session_of(told.get("person", ""), told.get("conversation") or None)}


async def _edit(playground: Playground, told: Edit) -> Any:
    return _for_the_page(await playground.edit(told.id, told.state, told.version))


async def _delete(playground: Playground, told: Named) -> Any:
    await playground.delete(told.id)
    return {}


async def _clear(playground: Playground, _: Nothing) -> Any:
    playground.forget()
    return {}


def _test(playground: Playground) -> Callable[[Request], Awaitable[Response]]:
    async def answer(_: Request) -> Response:
        name = {"content-disposition": 'attachment; filename="test_conversation.py"'}
        return Response(playground.as_test(), headers=name, media_type="text/x-python")

    return answer


def _file(name: str, kind: str) -> Callable[[Request], Awaitable[Response]]:
    async def answer(_: Request) -> Response:
        content = files("barback.playground").joinpath("static", name).read_bytes()
        return Response(content, headers=HEADERS, media_type=kind)

    return answer


async def _body(request: Request) -> bytes | None:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST:
            return None
    return body


def _json(value: Any, status: int = 200) -> Response:
    headers = {"cache-control": "no-store"}
    return Response(msgspec.json.encode(value), status, headers, "application/json")


def _same(given: str, token: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), token.encode())


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdecimal() else host
