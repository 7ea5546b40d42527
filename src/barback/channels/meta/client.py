"""GraphClient: Meta's Graph API.

Sources: https://developers.facebook.com/docs/graph-api/overview/versioning,
https://developers.facebook.com/docs/graph-api/guides/error-handling,
https://developers.facebook.com/docs/graph-api/guides/secure-requests (`appsecret_proof`),
https://developers.facebook.com/docs/graph-api/overview/rate-limiting.
"""

from __future__ import annotations

import hmac
import re
from hashlib import sha256
from typing import TYPE_CHECKING, Any, ClassVar, Final
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from barback.channels.client import PlatformClient
from barback.channels.fields import Json, object_in, objects_in, text_in
from barback.channels.http import LONGEST_FILE, HttpAnswer, HttpRequest, is_address
from barback.channels.multipart import InputFile, multipart
from barback.channels.texts import shown
from barback.errors import ChannelError, ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta

__all__ = ["DOWNLOAD", "OFFICIAL", "VERSION", "GraphClient"]

OFFICIAL: Final = "https://graph.facebook.com"
VERSION: Final = "v26.0"
"""Of the Graph API, of July 2026. Meta keeps each for two years at least:
https://developers.facebook.com/docs/graph-api/changelog."""

DOWNLOAD: Final = "GET {url}"
"""A call that fetches a file from an address that Meta has told, instead of the Graph API."""

METHOD: Final = re.compile(r"(GET|POST|DELETE) (/[^\s?#]*)")
HOLE: Final = re.compile(r"\{(\w+)\}")
TOKEN: Final = re.compile(r"[!-~]{1,4096}")
NUMBER: Final = re.compile(r"v\d{1,3}\.\d")
OF_META: Final = ("facebook.com", "fbsbx.com", "fbcdn.net", "whatsapp.net")
"""Where files rest that people have sent. No other host is shown the token."""

LONGEST_DESCRIPTION: Final = 300


class GraphClient(PlatformClient):
    """Any call of the Graph API: `await client.call("POST /{page}/messages", recipient=…)`.

    A call is written as Meta writes it: a verb and a path. What stands in braces is filled with the
    parameter of that name, or with what the channel knows of it; the other parameters are sent
    along, as JSON, or in the address where the verb is not POST. None is left out. A file to upload
    is an `InputFile`. What comes back is what Meta answers, as JSON has it.

    `operations` names those calls that are needed often: `await client.send_message(…)`.

    - `token`: an access token, sent in a header and nowhere else.
    - `tokens`: other tokens, by the id that the path of a call begins with.
    - `ids`: what braces in paths are filled with that a call says nothing of.
    - `app_id`, `app_secret`: the app's. By both of them the app's own webhook may be set. By the
      secret each call proves that its token was not stolen (`appsecret_proof`), unless `proof` is
      False: the token must be one of the same app.
    - `version`: of the Graph API, "v26.0" unless set; `server`: Meta's own unless set.

    The other options are those of `PlatformClient`. A call that fails is a `ChannelError` with
    Meta's `code`, and in its `parameters` the `error_subcode`, `fbtrace_id`, `type` and
    `is_transient`, where Meta tells them.
    """

    operations: ClassVar[Mapping[str, str]] = {}
    growth = 4.0  # as Meta asks for where one number writes to one person too often
    throttled: ClassVar[frozenset[int]] = frozenset({4, 17, 32, 613})
    """Codes of calls that were too many, whatever the status of the answer."""
    hints: ClassVar[Mapping[tuple[int, int], str]] = {}
    """What to do about an error, by its code and subcode, or 0."""

    def __init__(  # noqa: PLR0913 - each may be left out
        self,
        token: str,
        *,
        channel: str,
        tokens: Mapping[str, str] | None = None,
        ids: Mapping[str, str] | None = None,
        app_id: str | None = None,
        app_secret: str | None = None,
        proof: bool = True,
        version: str = VERSION,
        server: str = OFFICIAL,
        http: Any = None,
        timeout: float | timedelta = 30.0,
        retry_within: float | timedelta = 30.0,
    ) -> None:
        self._token = _checked(token)
        self._tokens = {str(own): _checked(other) for own, other in (tokens or {}).items()}
        self._ids = dict(ids or {})
        self._app_secret = app_secret
        self._proves = proof and app_secret is not None
        if app_id is not None and app_secret is not None:
            # https://developers.facebook.com/docs/facebook-login/guides/access-tokens
            self._tokens[app_id] = f"{app_id}|{app_secret}"
        if not isinstance(version, str) or NUMBER.fullmatch(version) is None:
            message = f"A version of the Graph API is written {VERSION!r}."
            raise ConfigurationError(message)
        if not is_address(server):
            message = (
                "A server of the Graph API is an address that begins with https:// or http://."
            )
            raise ConfigurationError(message)
        super().__init__(channel, http=http, timeout=timeout, retry_within=retry_within)
        self._server = server.rstrip("/")
        self._base = f"{self._server}/{version}"

    def method_of(self, name: str) -> str:
        """The call that an operation is. Raises `AttributeError` for a name that is none."""
        try:
            return self.operations[name]
        except KeyError:
            message = (
                f"{type(self).__name__} has no operation {name!r}. Any call can be made by "
                f'call("POST /…").'
            )
            raise AttributeError(message, name=name, obj=self) from None

    async def request(self, method: str, params: dict[str, Any]) -> HttpRequest:
        """See `PlatformClient.request`."""
        left = {name: value for name, value in params.items() if value is not None}
        if method == DOWNLOAD:
            return self._download(str(left.get("url", "")))
        parts = METHOD.fullmatch(method)
        if parts is None:
            message = f"A call of the Graph API is written 'POST /{{id}}/messages', not {method!r}."
            raise ConfigurationError(message)
        verb, path = parts[1], self._filled(method, parts[2], left)
        token = self._token_of(path)
        headers = {"authorization": f"Bearer {token}"}
        query = {} if not self._proves else {"appsecret_proof": self._proof_of(token)}
        body = b""
        files = {name: value for name, value in left.items() if isinstance(value, InputFile)}
        if files:
            fields = {name: _as_text(left[name]) for name in left if name not in files}
            body, headers["content-type"] = await multipart(fields, files)
        elif verb == "POST":
            body, headers["content-type"] = msgspec.json.encode(left), "application/json"
        else:
            query |= {name: _as_text(value) for name, value in left.items()}
        url = self._base + path + (f"?{urlencode(query)}" if query else "")
        return self.new_request(url, body, headers, method=verb)

    def result(self, method: str, answer: HttpAnswer) -> Any:
        """See `PlatformClient.result`."""
        done = 200 <= answer.status < 300  # noqa: PLR2004 - what HTTP calls success
        if done and method == DOWNLOAD:
            return answer.body
        try:
            told = msgspec.json.decode(answer.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            told = None
        error = told.get("error") if isinstance(told, dict) else None
        if done and told is not None and error is None:
            return told
        raise self._refusal(method, answer, error if isinstance(error, dict) else None)

    def is_harmless(self, method: str) -> bool:
        """What is called with GET only reads."""
        return method.startswith("GET ")

    def is_throttled(self, error: ChannelError) -> bool:
        """As `PlatformClient` says, and by Meta's codes: their answers have other statuses."""
        return error.code in self.throttled or super().is_throttled(error)

    def _filled(self, method: str, path: str, params: dict[str, Any]) -> str:
        """A path without braces. What has filled one is taken out of the parameters."""

        def fill(hole: re.Match[str]) -> str:
            name = hole[1]
            value = params.pop(name) if name in params else self._ids.get(name)
            text = "" if value is None else str(value)
            if not text.strip("."):  # neither nothing nor a step up
                message = f"{method} needs an id: {name}=…"
                raise ConfigurationError(message)
            return quote(text, safe="")

        return HOLE.sub(fill, path)

    def _download(self, url: str) -> HttpRequest:
        parts = urlsplit(url)
        host = parts.hostname or ""
        ours = any(host == one or host.endswith(f".{one}") for one in OF_META)
        if not (ours and parts.scheme == "https") and not url.startswith(f"{self._server}/"):
            message = "Only files that rest with Meta can be fetched: no other host gets the token."
            raise ConfigurationError(message)
        headers = {"authorization": f"Bearer {self._token}"}
        return self.new_request(url, b"", headers, method="GET", longest=LONGEST_FILE)

    def _token_of(self, path: str) -> str:
        return self._tokens.get(path.split("/", 2)[1], self._token)

    def _proof_of(self, token: str) -> str:
        assert self._app_secret is not None  # noqa: S101 - or nothing is proved
        return hmac.new(self._app_secret.encode(), token.encode(), sha256).hexdigest()

    def _refusal(self, method: str, answer: HttpAnswer, error: Json | None) -> ChannelError:
        told = {} if error is None else error
        code, subcode = _int_in(told, "code"), _int_in(told, "error_subcode")
        names = ("error_subcode", "fbtrace_id", "type", "is_transient")
        return self.failure(
            method,
            answer,
            code=code,
            description=self._description(told, code, subcode)
            if error is not None
            else "The answer is not Meta's.",
            retry_after=_wait_told(answer),
            parameters={name: told[name] for name in names if name in told},
        )

    def _description(self, error: Json, code: int | None, subcode: int | None) -> str:
        words = [
            text_in(error, "message"),
            text_in(object_in(error, "error_data"), "details") or text_in(error, "error_data"),
        ]
        text = ". ".join(word.rstrip(". ") for word in words if word)
        secrets = (self._token, *self._tokens.values(), self._app_secret)
        text = f"{shown(text, *secrets, longest=LONGEST_DESCRIPTION)}." if text else ""
        known = (code or 0, subcode or 0)
        hint = self.hints.get(known) or self.hints.get((known[0], 0))
        return f"{text} {hint}".strip() if hint else text


def _checked(token: str) -> str:
    if not isinstance(token, str) or TOKEN.fullmatch(token) is None:
        message = "A token of Meta's is a text of letters, digits and signs, without spaces."
        raise ConfigurationError(message)
    return token


def _as_text(value: Any) -> str:
    """A parameter, where it cannot be JSON: lists, such as of fields, with commas."""
    if isinstance(value, str):
        return value
    if isinstance(value, (list, tuple)) and all(isinstance(each, str) for each in value):
        return ",".join(value)
    return msgspec.json.encode(value).decode()


def _int_in(of: Json, name: str) -> int | None:
    found = of.get(name)
    return found if type(found) is int else None


def _wait_told(answer: HttpAnswer) -> float | None:
    """Seconds until calls are taken again, where Meta says so, which it does in minutes."""
    try:
        told = msgspec.json.decode(answer.headers.get("x-business-use-case-usage", ""))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    uses = [use for own in told for use in objects_in(told, own)] if isinstance(told, dict) else []
    minutes = [use.get("estimated_time_to_regain_access") for use in uses]
    longest = max((each for each in minutes if type(each) is int), default=0)
    return longest * 60.0 if longest > 0 else None
