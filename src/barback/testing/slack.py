"""FakeSlack: Slack's side of a bot, for tests."""

from __future__ import annotations

import asyncio
import hmac
import itertools
import re
import time
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, urlencode

import msgspec

from barback.channels.http import HttpAnswer, HttpRequest
from barback.channels.httpx2_http import past_proxies
from barback.channels.slack import SlackChannel, escaped
from barback.channels.slack.client import DOWNLOAD, RESPONSE, UPLOAD
from barback.channels.slack.markup import unescaped
from barback.testing.forms import parts_of_form
from barback.testing.methods import SLACK
from barback.testing.platform import Call, Delivery, FakePlatform

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = ["FakeSlack", "slack_error"]

TOKEN: Final = "xoxb-a-token-that-is-no-secret"  # noqa: S105 - it opens nothing
SECRET: Final = "a-signing-secret-of-no-worth"  # noqa: S105 - the same
LONGEST: Final = 40_000
RESPONSES: Final = 5
CHANNEL: Final = re.compile(r"[CDGUW][A-Z0-9]+")
TS: Final = re.compile(r"[0-9]+\.[0-9]{6}")
JSON: Final = {"content-type": "application/json"}
FORM: Final = {"content-type": "application/x-www-form-urlencoded"}

numbers = itertools.count(1)  # of messages, events and the like, for all fakes of a process


def slack_error(
    code: str, status: int = 200, *, retry_after: float | None = None, **more: Any
) -> HttpAnswer:
    """An answer as Slack gives it to what it does not do: `slack_error("ratelimited", 429)`."""
    headers = dict(JSON) if retry_after is None else {**JSON, "retry-after": str(retry_after)}
    return HttpAnswer(status, headers, msgspec.json.encode({"ok": False, "error": code, **more}))


class FakeSlack(FakePlatform):
    """Slack on 127.0.0.1: it posts signed requests, and is called as the Web API is.

    - `token`, `signing_secret`: the bot's; `channel()` makes a channel that knows them, and where
      this is.
    - `team`, `app`, `bot`: the ids of the workspace, the app and the bot's user.
    - `also`: names of methods that this does not know yet: they are answered as done.
    - `absent`: ids of channels that the bot is not in.

    People are U…, channels C…, and the private talk with U42 is D42. A thread is one where somebody
    has said something, or the bot has; or `thread` makes it.
    """

    team = "T1"
    app = "A1"
    bot = "UBOT"
    bot_id = "BBOT"

    def __init__(
        self,
        *,
        token: str = TOKEN,
        signing_secret: str = SECRET,
        webhook: str | None = None,
        also: Iterable[str] = (),
    ) -> None:
        super().__init__(webhook)
        self._methods = frozenset({*SLACK, *also})
        self.token = token
        self.signing_secret = signing_secret
        self.absent: set[str] = set()
        self._triggers: dict[str, bool] = {}  # whether they are used up
        self._responses: dict[str, tuple[str, int]] = {}  # where they go, and how many are left
        self._uploads: dict[str, int] = {}
        self._messages: set[tuple[str, str]] = set()  # where, and when: a thread may be under each
        self._files: dict[str, bytes] = {}  # by their addresses

    def channel(self, **options: Any) -> SlackChannel:
        """A channel that calls this instead of Slack."""
        options = {"token": self.token, "http": past_proxies, **options}
        return SlackChannel(signing_secret=self.signing_secret, server=f"{self.url}/api", **options)

    def environment(self) -> dict[str, str]:
        """See `FakePlatform.environment`."""
        return {
            "SLACK_BOT_TOKEN": self.token,
            "SLACK_SIGNING_SECRET": self.signing_secret,
            "SLACK_SERVER": f"{self.url}/api",
        }

    # What people do.

    async def say(
        self,
        text: str,
        *,
        user: str = "U42",
        channel: str | None = None,
        thread: str | None = None,
        times: int = 1,
        **more: Any,
    ) -> Delivery:
        """Somebody says something, in private or in a channel; see `deliver` for `times`."""
        message = self.message(text, user=user, channel=channel, thread=thread, **more)
        return await self.deliver(self.event(**message), times=times)

    async def mention(
        self, text: str, *, user: str = "U42", channel: str = "C1", thread: str | None = None
    ) -> Delivery:
        """Somebody mentions the bot in a channel: of that Slack tells twice, in two ways."""
        message = self.message("", user=user, channel=channel, thread=thread)
        message["text"] = f"<@{self.bot}> {escaped(text)}"
        await self.deliver(self.event(**message))
        del message["channel_type"]
        return await self.deliver(self.event(**{**message, "type": "app_mention"}))

    async def press(  # noqa: PLR0913 - each may be left out
        self,
        value: str,
        *,
        user: str = "U42",
        channel: str | None = None,
        thread: str | None = None,
        action_id: str = "button",
        times: int = 1,
    ) -> Delivery:
        """Somebody presses a button under a message of the bot's, which carries `value`.

        `times`: see `interact`.
        """
        where = self.talk(user) if channel is None else channel
        message = self.message("", user=self.bot, channel=where, thread=thread)
        action = {"type": "button", "action_id": action_id, "block_id": "b", "value": value}
        return await self.interact(
            "block_actions",
            user=user,
            channel=where,
            container={"type": "message", "message_ts": message["ts"], "channel_id": where},
            message=message,
            actions=[{**action, "action_ts": self.ts()}],
            times=times,
        )

    async def interact(
        self,
        kind: str,
        *,
        user: str = "U42",
        channel: str | None = None,
        times: int = 1,
        **fields: Any,
    ) -> Delivery:
        """Somebody uses a shortcut, a view or a menu. Slack delivers that once, and never again.

        `kind` and `fields` as Slack has them; the user, the workspace and the like are added.
        `times`: how often it comes all the same, at the same time, as whatever is on the way to the
        bot may repeat it.
        """
        where = {} if channel is None else {"channel": {"id": channel, "name": "somewhere"}}
        if channel is not None:
            where["response_url"] = self._response_url(channel)  # type: ignore[assignment]
        payload = {
            "type": kind,
            "team": {"id": self.team, "domain": "bar"},
            "user": {"id": user, "username": user.lower(), "team_id": self.team},
            "api_app_id": self.app,
            "trigger_id": self._trigger(),
            **where,
            **fields,
        }
        body = urlencode({"payload": msgspec.json.encode(payload)}).encode()
        return (await asyncio.gather(*(self.post(body) for _ in range(times))))[0]

    async def command(
        self, text: str, *, user: str = "U42", channel: str | None = None
    ) -> Delivery:
        """Somebody uses a slash command: `command("/weather 94070")`. It is delivered once."""
        command, _, rest = text.partition(" ")
        where = self.talk(user) if channel is None else channel
        form = {
            "team_id": self.team,
            "channel_id": where,
            "user_id": user,
            "user_name": user.lower(),
            "command": command,
            "text": rest,
            "api_app_id": self.app,
            "response_url": self._response_url(where),
            "trigger_id": self._trigger(),
        }
        return await self.post(urlencode(form).encode())

    def event(self, **inner: Any) -> dict[str, Any]:
        """A request of the Events API, with an id of its own: `event(type="team_rename", …)`."""
        authorization = {"team_id": self.team, "user_id": self.bot, "is_bot": True}
        return {
            "team_id": self.team,
            "api_app_id": self.app,
            "event": inner,
            "type": "event_callback",
            "event_id": f"Ev{next(numbers)}",
            "event_time": int(time.time()),
            "authorizations": [{**authorization, "is_enterprise_install": False}],
            "is_ext_shared_channel": False,
        }

    def message(
        self,
        text: str,
        *,
        user: str = "U42",
        channel: str | None = None,
        thread: str | None = None,
        **more: Any,
    ) -> dict[str, Any]:
        """A message: of a person, in private or in a channel, with further fields."""
        where = self.talk(user) if channel is None else channel
        ts = self.ts()
        self._messages |= {(where, ts), (where, thread or ts)}
        return {
            "type": "message",
            "user": user,
            "text": escaped(text),
            "ts": ts,
            "channel": where,
            "channel_type": "im" if where.startswith("D") else "channel",
            "event_ts": ts,
            "team": self.team,
            **({} if thread is None else {"thread_ts": thread}),
            **more,
        }

    def file(self, content: bytes, name: str = "cat.png") -> dict[str, Any]:
        """A file of somebody's: `say("Tom", subtype="file_share", files=[fake.file(b"…")])`."""
        own = f"F{next(numbers)}"
        path = f"/files-pri/{self.team}-{own}/{name}"
        self._files[path] = content
        return {"id": own, "name": name, "size": len(content), "url_private": self.url + path}

    def thread(self, channel: str, ts: str | None = None) -> str:
        """A thread that somebody has begun in a channel, or in private ("D42"): its `ts`."""
        begun = ts or self.ts()
        self._messages.add((channel, begun))
        return begun

    def talk(self, user: str) -> str:
        """The private talk with a person."""
        return f"D{user[1:]}"

    def ts(self) -> str:
        """A time of a message, which is its id in the channel."""
        return f"{int(time.time())}.{next(numbers):06d}"

    # What the bot has said.

    def texts(self, chat: str) -> list[str]:
        """What the bot has said in a channel, or to a person, in order and as it is shown."""
        where = {chat, self.talk(chat)} if chat.startswith(("U", "W")) else {chat}
        return [
            unescaped(call.params["text"])
            for call in self.calls
            if call.done and call.params.get("text") and self._said_in(call) in where
        ]

    def _said_in(self, call: Call) -> str | None:
        if call.method == RESPONSE:
            return self._responses[call.params["url"]][0]
        return call.params.get("channel") if call.method == "chat.postMessage" else None

    # Its side of the Web API.

    def read(self, request: HttpRequest) -> Call:
        """See `FakePlatform.read`."""
        kind = request.headers.get("content-type", "")
        if request.url.startswith("/files-pri/"):
            return Call(method=DOWNLOAD, params={"url": request.url})
        if not request.url.startswith("/api/"):
            method = UPLOAD if request.url.startswith("/upload/") else RESPONSE
            given = msgspec.json.decode(request.body) if kind == JSON["content-type"] else {}
            return Call(method=method, params={**given, "url": request.url})
        method = request.url.removeprefix("/api/")
        if kind.startswith("multipart/form-data"):
            params, files = parts_of_form(kind, request.body)
            return Call(method=method, params=params, files=files)
        if kind.startswith(JSON["content-type"]):
            return Call(method=method, params=msgspec.json.decode(request.body))
        return Call(method=method, params=_form(request.body))

    async def answer(self, call: Call, request: HttpRequest) -> HttpAnswer:
        """See `FakePlatform.answer`."""
        if call.method == RESPONSE:
            return self._respond(call.params)
        if call.method == UPLOAD:
            wanted = self._uploads.get(request.url.rpartition("/")[2])
            return HttpAnswer(200 if wanted == len(request.body) else 400, {}, b"OK")
        if call.method == DOWNLOAD:
            return self._download(request)
        if call.method not in self._methods:
            return slack_error("unknown_method", req_method=call.method)
        given = request.headers.get("authorization")
        if given != f"Bearer {self.token}":
            return slack_error("not_authed" if given is None else "invalid_auth")
        special = self._specials().get(call.method)
        result = {} if special is None else special(call.params)
        return _done(**result) if isinstance(result, dict) else result

    def is_done(self, answer: HttpAnswer) -> bool:
        """See `FakePlatform.is_done`. Slack refuses with status 200, and says so in the answer."""
        return super().is_done(answer) and not answer.body.startswith(b'{"ok":false')

    def signed(self, body: bytes) -> dict[str, str]:
        """See `FakePlatform.signed`."""
        now = str(int(time.time()))
        text = b"v0:%s:%s" % (now.encode(), body)
        signature = hmac.new(self.signing_secret.encode(), text, sha256).hexdigest()
        return {
            **(JSON if body.startswith(b"{") else FORM),
            "X-Slack-Request-Timestamp": now,
            "X-Slack-Signature": f"v0={signature}",
        }

    def _specials(self) -> Mapping[str, Callable[[dict[str, Any]], Any]]:
        """What does more, or says more, than that it is done."""
        return {
            "auth.test": lambda _: {"team_id": self.team, "user_id": self.bot},
            "chat.postMessage": self._post_message,
            "chat.postEphemeral": self._post_ephemeral,
            "conversations.open": lambda p: {"channel": {"id": self.talk(p["users"])}},
            "files.getUploadURLExternal": self._upload_url,
            "files.completeUploadExternal": self._upload_done,
            "views.open": self._open_view,
        }

    def _post_message(self, params: dict[str, Any]) -> Any:
        where, thread = params.get("channel", ""), params.get("thread_ts")
        if CHANNEL.fullmatch(where) is None:
            return slack_error("channel_not_found")
        if where in self.absent:
            return slack_error("not_in_channel")
        talk = self.talk(where) if where.startswith(("U", "W")) else where
        if thread is not None and (talk, thread) not in self._messages:
            return slack_error("thread_not_found" if TS.fullmatch(thread) else "invalid_thread_ts")
        text = params.get("text", "")
        if not (text.strip() or params.get("blocks") or params.get("attachments")):
            return slack_error("no_text")
        if len(text) > LONGEST:  # Slack would cut it off
            return slack_error("msg_too_long")
        return {"channel": where, "ts": self.thread(talk)}

    def _post_ephemeral(self, params: dict[str, Any]) -> Any:
        if not params.get("user"):
            return slack_error("invalid_arguments")
        return self._post_message(params)

    def _respond(self, params: dict[str, Any]) -> HttpAnswer:
        where, left = self._responses.get(params["url"], ("", -1))
        if left < 0:
            return HttpAnswer(404, {}, b"no_service")
        if not left:
            return HttpAnswer(404, {}, b"used_url")
        self._responses[params["url"]] = (where, left - 1)
        return HttpAnswer(200, {}, b"ok")

    def _download(self, request: HttpRequest) -> HttpAnswer:
        if request.headers.get("authorization") != f"Bearer {self.token}":
            return HttpAnswer(200, {"content-type": "text/html; charset=utf-8"}, b"<html>Sign in")
        if request.url not in self._files:
            return HttpAnswer(404, {"content-type": "text/html; charset=utf-8"}, b"<html>")
        return HttpAnswer(200, {"content-type": "image/png"}, self._files[request.url])

    def _upload_url(self, params: dict[str, Any]) -> Any:
        if not params.get("filename") or not params.get("length", "").isdecimal():
            return slack_error("invalid_arguments")
        own = f"F{next(numbers)}"
        self._uploads[own] = int(params["length"])
        return {"file_id": own, "upload_url": f"{self.url}/upload/{own}"}

    def _upload_done(self, params: dict[str, Any]) -> Any:
        files = msgspec.json.decode(params.get("files", "[]"))
        if not files or any(one.get("id") not in self._uploads for one in files):
            return slack_error("file_not_found")
        if not params.get("channel_id", "C").startswith(("C", "D", "G")):
            return slack_error("channel_not_found")
        return {"files": files}

    def _open_view(self, params: dict[str, Any]) -> Any:
        trigger = params.get("trigger_id", "")
        if trigger not in self._triggers:
            return slack_error("invalid_trigger_id")
        if self._triggers[trigger]:
            return slack_error("exchanged_trigger_id")
        self._triggers[trigger] = True
        return {"view": {"id": f"V{next(numbers)}"}}

    def _trigger(self) -> str:
        trigger = f"{next(numbers)}.1.trigger"
        self._triggers[trigger] = False
        return trigger

    def _response_url(self, channel: str) -> str:
        path = f"/response/{next(numbers)}"
        self._responses[path] = (channel, RESPONSES)
        return self.url + path


def _done(**result: Any) -> HttpAnswer:
    return HttpAnswer(200, JSON, msgspec.json.encode({"ok": True, **result}))


def _form(body: bytes) -> dict[str, str]:
    return dict(parse_qsl(body.decode(), keep_blank_values=True))
