"""ViberClient: the REST API for bots. See https://creators.viber.com/docs/bots-api/."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import msgspec

from barback.channels.client import TOO_MANY, PlatformClient
from barback.channels.http import HttpAnswer, HttpRequest, is_address
from barback.channels.texts import shown
from barback.errors import ChannelError, ConfigurationError

if TYPE_CHECKING:
    from datetime import timedelta

__all__ = ["INVALID_URL", "LONGEST", "NAME", "OFFICIAL", "ViberClient"]

OFFICIAL: Final = "https://chatapi.viber.com/pa"
LONGEST: Final = 7000
"""Characters of a text: https://creators.viber.com/docs/bots-api/data-models/message."""
NAME: Final = 28
"""Characters of a sender's name: the same."""
INVALID_URL: Final = 1
RATE: Final = 12
"""Statuses of answers: https://creators.viber.com/docs/bots-api/errors."""
RATE_WINDOW = 10.0
"""Seconds in which Viber counts requests: .../bots-api/resources/messaging/broadcast-message."""

TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{1,256}")


class Told(msgspec.Struct):
    """What Viber says of a call in every answer, done or not."""

    status: int
    status_message: Any = ""


class ViberClient(PlatformClient):
    """Every method of Viber's API by its name: `await client.get_user_details(id="…")`.

    Parameters are what JSON has; None is left out. What comes back is all of the answer, as JSON
    has it: of `broadcast_message` look at its `failed_list`.

    `token` is of the bot's settings; `server` is Viber's own unless set. The other options are
    those of `PlatformClient`. Viber answers 200 to everything: a call that fails is a
    `ChannelError` with Viber's `status` as `code`. Its 12, too many requests, is taken for a 429
    that wants ten seconds.
    """

    def __init__(  # noqa: PLR0913 - each may be left out
        self,
        token: str,
        *,
        channel: str = "viber",
        server: str = OFFICIAL,
        http: Any = None,
        timeout: float | timedelta = 30.0,
        retry_within: float | timedelta = 30.0,
    ) -> None:
        if not isinstance(token, str) or TOKEN.fullmatch(token) is None:
            message = "A Viber bot's token is as its settings tell it: letters, digits and '-'."
            raise ConfigurationError(message)
        if not is_address(server):
            message = "A server of Viber's API is an address that begins with https:// or http://."
            raise ConfigurationError(message)
        super().__init__(channel, http=http, timeout=timeout, retry_within=retry_within)
        self._token = token
        self._base = server.rstrip("/") + "/"

    def method_of(self, name: str) -> str:
        """See `PlatformClient.method_of`: Viber writes its methods as Python does."""
        return name

    async def request(self, method: str, params: dict[str, Any]) -> HttpRequest:
        """See `PlatformClient.request`."""
        given = {name: value for name, value in params.items() if value is not None}
        headers = {"content-type": "application/json", "x-viber-auth-token": self._token}
        return self.new_request(self._base + method, msgspec.json.encode(given), headers)

    def result(self, method: str, answer: HttpAnswer) -> Any:
        """See `PlatformClient.result`."""
        try:
            told = msgspec.json.decode(answer.body, type=Told)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise self.failure(method, answer, description="The answer is not Viber's.") from None
        if told.status == 0 and answer.status < 300:  # noqa: PLR2004 - of HTTP
            return msgspec.json.decode(answer.body)
        raise self._refusal(method, answer, told)

    def is_harmless(self, method: str) -> bool:
        """What begins with "get" only reads."""
        return method.startswith("get_")

    def _refusal(self, method: str, answer: HttpAnswer, told: Told) -> ChannelError:
        said = told.status_message if isinstance(told.status_message, str) else ""
        wait = None
        if told.status == RATE:
            answer, wait = msgspec.structs.replace(answer, status=TOO_MANY), RATE_WINDOW
        return self.failure(
            method,
            answer,
            code=told.status or None,
            description=shown(said, self._token),
            retry_after=wait,
        )
