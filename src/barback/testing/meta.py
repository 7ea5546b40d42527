"""FakeMeta: Meta's side of a bot, for tests; and the Graph API, as much of it as bots need."""

from __future__ import annotations

import hmac
import itertools
import re
import time
from abc import abstractmethod
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, urlencode, urlsplit

import msgspec

from barback.channels.http import HttpAnswer, HttpFailed, HttpRequest
from barback.channels.httpx2_http import Httpx2Http
from barback.testing.forms import parts_of_form
from barback.testing.platform import Call, Delivery, FakePlatform

if TYPE_CHECKING:
    from collections.abc import Iterable

    from barback.channels.meta import MetaChannel
    from barback.testing.methods import Edges

__all__ = ["APP_ID", "APP_SECRET", "FakeMeta", "graph_done", "graph_error", "now"]

TOKEN: Final = "a-token-that-is-no-secret"  # noqa: S105 - it opens nothing
APP_SECRET: Final = "an-app-secret-that-is-none"  # noqa: S105 - the same
APP_ID: Final = "188559381496048"
VERSIONED: Final = re.compile(r"/v\d+\.\d(/.*)")

numbers = itertools.count(1)  # of messages, for all fakes of a process


def graph_error(
    status: int, code: int, message: str = "An error", subcode: int | None = None, **more: Any
) -> HttpAnswer:
    """An answer as the Graph API gives it to what it does not do."""
    error = {
        "message": message,
        "type": "OAuthException",
        "code": code,
        "fbtrace_id": "A1b2",
        **more,
    }
    if subcode is not None:
        error["error_subcode"] = subcode
    return graph_done({"error": error}, status)


def graph_done(told: Any, status: int = 200) -> HttpAnswer:
    """An answer of the Graph API."""
    headers = {"content-type": "application/json; charset=UTF-8"}
    return HttpAnswer(status, headers, msgspec.json.encode(told))


def now() -> int:
    """The time, in milliseconds."""
    return int(time.time() * 1000)


class FakeMeta(FakePlatform):
    """Meta on 127.0.0.1: it posts signed webhooks, and is called as the Graph API is.

    - `token`: the bot's; `channel()` makes a channel that knows it, and where this is.
    - `app_id`, `app_secret`: the app's, which webhooks are signed with.
    - `also`: calls that this does not know yet: `also=["POST /{page}/things"]`. They are
      answered as done, whatever stands for the braces.
    - `subscriptions`: the webhooks that were set, by the objects they are for.

    A call's `method` is its verb and path, without the version: "POST /me/messages".
    """

    def __init__(
        self,
        *,
        token: str = TOKEN,
        app_id: str = APP_ID,
        app_secret: str = APP_SECRET,
        webhook: str | None = None,
        also: Iterable[str] = (),
    ) -> None:
        super().__init__(webhook)
        self._also = [
            (call.split(" /")[0], call.partition("/")[2].partition("/")[2]) for call in also
        ]
        self.token = token
        self.app_id = app_id
        self.app_secret = app_secret
        self.subscriptions: dict[str, dict[str, Any]] = {}

    @abstractmethod
    def channel(self, **options: Any) -> MetaChannel:
        """See `FakePlatform.channel`."""

    async def shake_hands(self, verify_token: str, challenge: str = "1158201444") -> Delivery:
        """Ask the webhook, as Meta does when it is set up, whether it knows the verify token."""
        asked = {
            "hub.mode": "subscribe",
            "hub.challenge": challenge,
            "hub.verify_token": verify_token,
        }
        return await self._get(f"{self.webhook}?{urlencode(asked)}")

    # Its side of the Graph API.

    def read(self, request: HttpRequest) -> Call:
        """See `FakePlatform.read`."""
        parts = urlsplit(request.url)
        path = VERSIONED.fullmatch(parts.path)
        method = f"{request.method} {parts.path if path is None else path[1]}"
        params: dict[str, Any] = dict(parse_qsl(parts.query))
        params.pop("appsecret_proof", None)
        kind = request.headers.get("content-type", "")
        files: dict[str, bytes] = {}
        if kind.startswith("multipart/form-data"):
            fields, files = _parts(kind, request.body)
            params |= fields
        elif request.body:
            params |= msgspec.json.decode(request.body)
        return Call(method=method, params=params, files=files)

    async def answer(self, call: Call, request: HttpRequest) -> HttpAnswer:
        """See `FakePlatform.answer`."""
        verb, _, path = call.method.partition(" ")
        own, _, edge = path.strip("/").partition("/")
        expected = f"{self.app_id}|{self.app_secret}" if own == self.app_id else self.token
        if request.headers.get("authorization") != f"Bearer {expected}":
            return graph_error(401, 190, "Invalid OAuth access token - Cannot parse access token")
        proof = dict(parse_qsl(urlsplit(request.url).query)).get("appsecret_proof")
        if proof not in {None, _hmac(self.app_secret, expected.encode())}:
            return graph_error(400, 100, "Invalid appsecret_proof provided in the API argument")
        if own == self.app_id and edge == "subscriptions":
            return await self._subscriptions(verb, call.params)
        if (verb, edge) in self._also:
            return graph_done({"success": True})
        return await self.called_with(verb, own, edge, call)

    def done_if(self, edges: Edges, verb: str, own: str, edge: str) -> HttpAnswer:
        """That it is done, or that there is no such edge, or none to be called so."""
        if edges.take(verb, edge):
            return graph_done({"success": True})
        if not edges.have(edge):
            return graph_error(400, 2500, f"Unknown path components: /{edge}")
        words = f"Unsupported {verb.lower()} request. Object with ID {own!r} does not support it"
        return graph_error(400, 100, words, subcode=33)

    @abstractmethod
    async def called_with(self, verb: str, own: str, edge: str, call: Call) -> HttpAnswer:
        """What the platform answers to a call of what `own` is the id of."""

    def signed(self, body: bytes) -> dict[str, str]:
        """See `FakePlatform.signed`."""
        signature = f"sha256={_hmac(self.app_secret, body)}"
        return {"content-type": "application/json", "X-Hub-Signature-256": signature}

    async def _subscriptions(self, verb: str, params: dict[str, Any]) -> HttpAnswer:
        if verb == "GET":
            return graph_done({"data": list(self.subscriptions.values())})
        if verb == "DELETE":
            self.subscriptions.pop(params.get("object", ""), None)
            self.webhook = None
            return graph_done({"success": True})
        self.webhook = params["callback_url"]
        shaken = await self.shake_hands(params["verify_token"])
        if shaken.body != b"1158201444":
            self.webhook = None
            return graph_error(400, 2200, "Callback verification failed", subcode=1349126)
        self.subscriptions[params["object"]] = {
            "object": params["object"],
            "callback_url": params["callback_url"],
            "active": True,
            "fields": [{"name": each} for each in params["fields"].split(",")],
        }
        return graph_done({"success": True})

    async def _get(self, url: str) -> Delivery:
        if self._http is None:
            self._http = Httpx2Http()
        try:
            answer = await self._http.fetch(HttpRequest(method="GET", url=url))
        except HttpFailed:
            return Delivery(0)
        return Delivery(answer.status, answer.headers, answer.body)


def _hmac(secret: str, told: bytes) -> str:
    return hmac.new(secret.encode(), told, sha256).hexdigest()


def _parts(kind: str, body: bytes) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The fields and the files of a form. Fields that are JSON are read."""
    fields, files = parts_of_form(kind, body)
    params = {
        name: msgspec.json.decode(value) if value[:1] in {"{", "["} else value
        for name, value in fields.items()
    }
    return params, files
