"""FakePlatform: the other side of a channel, for tests: it posts webhooks and is called."""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections import deque
from typing import TYPE_CHECKING, Any, Final

import msgspec

from barback.channels.http import HttpAnswer, HttpFailed, HttpRequest
from barback.channels.httpx2_http import Httpx2Http, past_proxies
from barback.testing.local_http import LocalServer

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType
    from typing import Self

    from barback.channels.webhook import WebhookChannel

__all__ = ["Call", "Delivery", "FakePlatform"]

MOST_TRIES: Final = 200
LONGEST_WAIT: Final = 0.5  # seconds; a test does not wait as long as it is asked to


class Call(msgspec.Struct, kw_only=True):
    """What a bot has called the platform with.

    - `method`: which of the platform's methods; `params`: its parameters.
    - `files`: what was uploaded, by the names of its parts.
    - `at`: when, by `time.monotonic`; `status`: of the answer it got, 0 if it got none.
    - `done`: whether that was no refusal.
    """

    method: str
    params: dict[str, Any] = {}
    files: dict[str, bytes] = {}
    at: float = 0.0
    status: int = 200
    done: bool = False


class Delivery(msgspec.Struct, frozen=True):
    """What a bot has answered to a webhook; status 0: nothing."""

    status: int
    headers: Mapping[str, str] = {}
    body: bytes = b""

    @property
    def accepted(self) -> bool:
        """Whether the platform need not deliver it again."""
        return 200 <= self.status < 300


class FakePlatform(ABC):
    """A platform on 127.0.0.1, over real sockets: `async with` it.

    It is the base of a fake for each platform, which says how calls are read and answered
    (`read`, `answer`), what a webhook is signed with (`signed`), what somebody says looks like
    (`say`), and what the bot has said (`texts`).

    - `webhook`: where the bot's webhook is, as a whole URL. It may be set later.

    `calls` are all that the bot has called, in order.
    """

    def __init__(self, webhook: str | None = None) -> None:
        self.webhook = webhook
        self.calls: list[Call] = []
        self._server = LocalServer(self._called)
        self._planned: deque[HttpAnswer | None] = deque()
        self._http: Httpx2Http | None = None

    @property
    def url(self) -> str:
        """Where it is called, once it is entered."""
        return self._server.url

    # What each platform says of itself.

    @abstractmethod
    def read(self, request: HttpRequest) -> Call:
        """What a request calls."""

    @abstractmethod
    async def answer(self, call: Call, request: HttpRequest) -> HttpAnswer:
        """What the platform answers to a call."""

    @abstractmethod
    def signed(self, body: bytes) -> dict[str, str]:
        """The headers of a webhook with this body: its signature or secret, and content type."""

    @abstractmethod
    def channel(self, **options: Any) -> WebhookChannel:
        """A channel of the bot's that calls this instead of the platform.

        With `http=past_proxies`, unless `options` say otherwise: a proxy of the environment could
        not reach it.
        """

    @abstractmethod
    def environment(self) -> dict[str, str]:
        """The variables of which `open_channel` makes such a channel, in another process."""

    @abstractmethod
    async def say(self, text: str, *, user: Any, times: int = 1) -> Delivery:
        """Somebody says something, in private; see `deliver` for `times`."""

    @abstractmethod
    def texts(self, chat: Any) -> list[str]:
        """What the bot has said to a person, or in a group, in order."""

    # What a test does with it.

    def answer_next(self, *answers: HttpAnswer | None) -> None:
        """Answer the next calls so, whatever they are; None: hang up without an answer."""
        self._planned.extend(answers)

    def reach_by(self, client: Any) -> None:
        """Post webhooks by this `httpx2.AsyncClient`, such as one that has an app inside."""
        self._http = Httpx2Http(client)

    async def post(self, body: bytes, headers: Mapping[str, str] | None = None) -> Delivery:
        """Post a body to the webhook, once; signed, unless `headers` are given in place of that."""
        assert self.webhook is not None, "the fake platform knows no webhook"
        if self._http is None:
            self._http = past_proxies()
        request = HttpRequest(
            method="POST",
            url=self.webhook,
            headers=self.signed(body) if headers is None else headers,
            body=body,
        )
        try:
            answer = await self._http.fetch(request)
        except HttpFailed:
            return Delivery(0)
        return Delivery(answer.status, answer.headers, answer.body)

    async def deliver(self, payload: Any, *, times: int = 1) -> Delivery:
        """Deliver a payload as platforms do: again, until it is accepted.

        `times`: that often even if it is accepted at once, all at the same time. Raises
        `AssertionError` if it never is.
        """
        body = msgspec.json.encode(payload)
        if times > 1:
            copies = [self.deliver(payload) for _ in range(times)]
            return (await asyncio.gather(*copies))[0]
        for _ in range(MOST_TRIES):
            delivery = await self.post(body)
            if delivery.accepted:
                return delivery
            wait = float(delivery.headers.get("retry-after", "0.05"))
            await asyncio.sleep(min(wait, LONGEST_WAIT))
        message = f"The webhook never accepted it; at last it answered {delivery.status}."
        raise AssertionError(message)

    def called(self, method: str) -> list[Call]:
        """The calls of one method that were not refused."""
        return [call for call in self.calls if call.method == method and call.done]

    def is_done(self, answer: HttpAnswer) -> bool:
        """Whether an answer is no refusal: by its status, unless that tells nothing."""
        return 200 <= answer.status < 300

    async def __aenter__(self) -> Self:
        """Listen, on a port of its own."""
        await self._server.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close all connections."""
        if self._http is not None:
            await self._http.close()
            self._http = None
        await self._server.__aexit__(kind, error, trace)

    async def _called(self, request: HttpRequest) -> HttpAnswer | None:
        call = self.read(request)
        call.at = time.monotonic()
        self.calls.append(call)
        if self._planned:
            answer = self._planned.popleft()
        else:
            answer = await self.answer(call, request)
        call.status = 0 if answer is None else answer.status
        call.done = answer is not None and self.is_done(answer)
        return answer
