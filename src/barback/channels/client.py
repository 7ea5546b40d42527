"""PlatformClient: all of a platform's methods, by name."""

from __future__ import annotations

import asyncio
import math
import random
from abc import ABC, abstractmethod
from functools import partial
from types import FunctionType
from typing import TYPE_CHECKING, Any, Final

from barback.channels.arguments import need_names
from barback.channels.fields import camel
from barback.channels.http import (
    LONGEST_ANSWER,
    Http,
    HttpAnswer,
    HttpFailed,
    HttpRequest,
    HttpTooLong,
)
from barback.errors import ChannelError, ChannelUnreachable, ConfigurationError
from barback.options import seconds

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import timedelta

__all__ = ["MOST_BYTES", "PAUSE", "PlatformClient"]

TOO_MANY: Final = 429
PAUSE: Final = 0.5  # seconds, about, before a platform that could not be asked is asked again
LEAST: Final = 0.05  # seconds, where a platform asks for less again and again
MOST_BYTES: Final = 20 * 1024 * 1024  # of a file that is fetched, unless more are asked for
TRIES: Final = 3  # of a request that has surely not arrived


class PlatformClient(ABC):
    """A platform's methods: `await client.send_photo(...)`, or `await client.call("sendPhoto", …)`.

    - `channel`: the name of the channel, for errors.
    - `http`: what to make requests with: an `httpx2.AsyncClient`, or anything that has the two
      methods of `barback.channels.http.Http`, which stay open when the channel is closed; or a
      function that makes such an `Http`, which is closed with the channel. Unless set, an httpx2
      client of its own, with the extra `http`.
    - `timeout`: seconds that one request may take, 30 unless set.
    - `retry_within`: seconds that a call may wait in all, 30 unless set, where the platform asks to
      wait (status 429), or could not be asked at all. A longer wait is left to the caller.

    Nothing else is asked again: what was sent, and not answered or answered with a failure of the
    platform's (5xx), may have been done. Only calls that change nothing are made anew
    (`is_harmless`), and those that the platform knows again and does once (`may_repeat`).

    Every failure is a `ChannelError`.
    """

    def __init__(
        self,
        channel: str,
        *,
        http: Any = None,
        timeout: float | timedelta = 30.0,
        retry_within: float | timedelta = 30.0,
    ) -> None:
        self._channel = channel
        self._given = http
        self._http: Http | None = None
        self.timeout = seconds(timeout, "timeout")
        """How long one request may take, in seconds."""
        self._retry_within = seconds(retry_within, "retry_within")

    async def call(self, method: str, /, *unnamed: Any, **params: Any) -> Any:
        """Call a method of the platform, and return what it answers.

        Raises `ChannelError`; and `ArgumentsNeedNames`, a `TypeError`, for what has no name.
        """
        if unnamed:
            raise need_names(method)
        request = await self.request(method, params)
        left = self._retry_within
        tries = 0
        while True:
            tries += 1
            try:
                return self.result(method, await self._fetch(method, request))
            except ChannelError as error:
                pause = self._pause(method, error, tries)
                if pause is None or pause > left:
                    raise
            left -= pause
            await asyncio.sleep(pause)

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        """Any method of the platform, by its name or by that in Python's way of writing."""
        if name.startswith("_"):
            message = f"{type(self).__name__!r} object has no attribute {name!r}"
            raise AttributeError(message, name=name, obj=self)
        return partial(self.call, self.method_of(name))

    def open(self) -> None:
        """Make ready for calls, which otherwise the first one does.

        Raises `ConfigurationError` for an `http` that makes no requests, and `MissingExtra`.
        """
        if self._http is None:
            self._http = self._opened()

    async def close(self) -> None:
        """Close the connections. The next call opens others."""
        if self._http is not None:
            http, self._http = self._http, None
            if http is not self._given:
                await http.close()

    # What a platform says of itself.

    def method_of(self, name: str) -> str:
        """The platform's method for a name in Python: `send_photo` is `sendPhoto`, unless set."""
        return camel(name)

    @abstractmethod
    async def request(self, method: str, params: dict[str, Any]) -> HttpRequest:
        """The request for a call."""

    @abstractmethod
    def result(self, method: str, answer: HttpAnswer) -> Any:
        """What a call comes to. Raises `ChannelError` for what was not done: see `failure`."""

    def is_harmless(self, method: str) -> bool:  # noqa: ARG002 - it depends on the platform
        """Whether a call only reads, so that it may be made again where nobody knows of the first.

        None is, unless set.
        """
        return False

    growth: float = 2.0
    """How many times as long as the one before each pause is, where a platform says no time."""

    def is_throttled(self, error: ChannelError) -> bool:
        """Whether the platform has refused a call because there were too many of them.

        Status 429, unless set.
        """
        return error.status == TOO_MANY

    def may_repeat(self, method: str, error: ChannelError) -> bool:
        """Whether a call that failed so may be made again: a few times, or after the wait it takes.

        Unless set: what surely was not done, and what only reads where there was no answer.
        """
        if isinstance(error, ChannelUnreachable):
            return not error.sent or self.is_harmless(method)
        return self.is_throttled(error)

    # Their tools.

    def new_request(
        self,
        url: str,
        body: bytes,
        headers: dict[str, str],
        *,
        method: str = "POST",
        longest: int = LONGEST_ANSWER,
    ) -> HttpRequest:
        """A request with the client's time limit, whose answer may have so many bytes."""
        return HttpRequest(
            method=method,
            url=url,
            headers=headers,
            body=body,
            timeout=self.timeout,
            longest=longest,
        )

    def failure(  # noqa: PLR0913 - the parts of the error
        self,
        method: str,
        answer: HttpAnswer,
        *,
        code: int | str | None = None,
        description: str = "",
        retry_after: float | str | None = None,
        parameters: dict[str, Any] | None = None,
    ) -> ChannelError:
        """The error that an answer is. Its status is the code where the platform gives none.

        `retry_after` is as the platform tells it, and its header's unless given. `description` must
        be free of tokens and of what people said.
        """
        code = answer.status if code is None else code
        if retry_after is None:
            retry_after = answer.headers.get("retry-after")
        message = f"{self._channel} refused {method}, with {code}"
        return ChannelError(
            f"{message}: {description}" if description else f"{message}.",
            channel=self._channel,
            call=method,
            status=answer.status,
            code=code,
            description=description,
            retry_after=_wait(retry_after),
            parameters=parameters,
        )

    # How calls are made.

    async def _fetch(self, method: str, request: HttpRequest) -> HttpAnswer:
        self.open()
        assert self._http is not None  # noqa: S101 - it is open
        try:
            return await self._http.fetch(request)
        except HttpFailed as error:
            failed = error
        done = "It may have been done all the same." if failed.sent else "Nothing was done."
        message = f"{self._channel} did not answer {method} ({failed}). {done}"
        raise ChannelUnreachable(
            message, sent=failed.sent, channel=self._channel, call=method
        ) from failed

    def _opened(self) -> Http:
        given = self._given
        if isinstance(given, Http):
            return given
        if isinstance(given, FunctionType):
            made = given()
            if isinstance(made, Http):
                return made
            message = f"The function given as http must make an Http, not {type(made).__name__}."
            raise ConfigurationError(message)
        from barback.channels.httpx2_http import Httpx2Http  # noqa: PLC0415 - it needs an extra

        if given is not None and not callable(getattr(given, "stream", None)):
            message = f"http must be an httpx2.AsyncClient, not {type(given).__name__}."
            raise ConfigurationError(message)
        return Httpx2Http(given)

    def _pause(self, method: str, error: ChannelError, tries: int) -> float | None:
        """After how many seconds a call may be made again; None if it may not."""
        if not self.may_repeat(method, error) or isinstance(error.__cause__, HttpTooLong):
            return None
        throttled = self.is_throttled(error)
        if throttled and error.retry_after is not None:
            return max(error.retry_after, LEAST)
        if not throttled and tries == TRIES:
            return None
        # Longer each time; to refuse it costs a platform something, too.
        return PAUSE * self.growth ** (tries - 1) * random.uniform(0.5, 1)  # noqa: S311 - no secret

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._channel}>"


def _wait(told: float | str | None) -> float | None:
    """Seconds to wait, as a platform tells them; None for what is no time that could be waited for.

    None of the platforms uses the header's other form, a date. Without a time, each wait is longer
    than the one before; so it is for a wait of nothing, which would be over again and again.
    """
    try:
        wait = 0.0 if told is None else float(told)
    except (ValueError, OverflowError):
        return None
    return wait if 0 < wait < math.inf else None
