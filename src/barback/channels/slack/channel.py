"""SlackChannel: a bot on Slack, over HTTP.

Sources: https://docs.slack.dev/authentication/verifying-requests-from-slack (signatures),
https://docs.slack.dev/apis/events-api (the challenge, and that whatever is not answered with 2xx
within three seconds comes again, three times), https://docs.slack.dev/apis/web-api/rate-limits,
https://docs.slack.dev/reference/interaction-payloads/view-interactions-payload (responses),
https://docs.slack.dev/reference/methods/assistant.threads.setStatus (typing, in any thread).
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl

import msgspec

from barback.channels.fields import Json, object_in, text_in
from barback.channels.multipart import InputFile
from barback.channels.opening import variable
from barback.channels.signing import refuse_unless_equal
from barback.channels.slack.client import LONGEST, OFFICIAL, SlackClient, Tokens
from barback.channels.slack.event import SlackEvent
from barback.channels.slack.events import event_of
from barback.channels.slack.interactions import command_of, interaction_of
from barback.channels.slack.markup import escaped
from barback.channels.slack.place import Place
from barback.channels.texts import parts_of
from barback.channels.unfit import made
from barback.channels.webhook import WebhookAnswer, WebhookChannel, WebhookRequest
from barback.errors import (
    CannotSend,
    ChannelError,
    ChannelUnreachable,
    ConfigurationError,
    WebhookMalformed,
    WebhookRefused,
)
from barback.events import Event

if TYPE_CHECKING:
    from datetime import timedelta

    from barback.context import Context

__all__ = ["SlackChannel"]

SIGNATURE: Final = "x-slack-signature"
TIMESTAMP: Final = "x-slack-request-timestamp"
WINDOW: Final = 300.0
"""Seconds that a request may be old, or from the future where clocks differ."""

FORM: Final = "application/x-www-form-urlencoded"
MOST_FIELDS: Final = 100
CHALLENGE: Final = b"url_verification"
ELSEWHERE: Final = frozenset({"not_in_channel", "channel_not_found"})
"""Codes for a channel that the bot is not in. Commands and shortcuts may come from there too."""


class SlackChannel(WebhookChannel):
    """Slack: events, interactions and slash commands, all of them at one webhook.

    - `token`: the bot's (xoxb-…). Or, for a bot in many workspaces, a mapping of their ids to
      tokens, or a function that returns one, which may be `async def`: then ids of people and
      channels carry the workspace, "U42@T1".
    - `signing_secret`: of the app, with which Slack signs what it sends.
    - `name`: the channel's, "slack" unless set: the first part of its sessions' ids. Two bots of
      Slack on one store need different names, or namespaces.
    - `path`: of the webhook, the name after a slash unless set.
    - `own_ids`: more ids (U…, B…, A…) whose doings are the bot's own. Unless a classic app, or an
      older webhook of its own, posts in its place, Slack tells all that are.
    - `server`, `http`, `timeout`, `retry_within`: see `SlackClient`, which `client` is.
    """

    # https://docs.slack.dev/apis/events-api: three seconds, less what the way takes.
    ack_within = 2.5
    # https://docs.slack.dev/apis/web-api/rate-limits: one a second in a channel, and one limit
    # more, untold, for all of a workspace.
    sends_per_second = 1.0

    def __init__(  # noqa: PLR0913 - each may be left out
        self,
        token: str | Tokens,
        signing_secret: str,
        *,
        name: str = "slack",
        path: str | None = None,
        own_ids: Iterable[str] = (),
        server: str = OFFICIAL,
        http: Any = None,
        timeout: float | timedelta = 30.0,
        retry_within: float | timedelta = 30.0,
    ) -> None:
        self.client: SlackClient = SlackClient(
            token,
            channel=name,
            server=server,
            http=http,
            timeout=timeout,
            retry_within=retry_within,
        )
        self.name = name
        self.path = f"/{name}" if path is None else path
        self._secret = _checked(signing_secret)
        self._own_ids = frozenset(own_ids)
        self._by_team = not isinstance(token, str)

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> SlackChannel:
        """By the variables SLACK_BOT_TOKEN, SLACK_SIGNING_SECRET and, where it is set, _SERVER.

        Raises `ConfigurationError`.
        """
        token = variable(environ, "SLACK_BOT_TOKEN", "what Slack shows at Install App")
        secret = variable(environ, "SLACK_SIGNING_SECRET", "what Slack shows at Basic Information")
        return cls(token, secret, server=environ.get("SLACK_SERVER") or OFFICIAL)

    # The webhook.

    def verify(self, request: WebhookRequest) -> None:
        """See that the signature is Slack's, and no older than five minutes."""
        timestamp = request.headers.get(TIMESTAMP, "")
        if re.fullmatch(r"[0-9]{1,12}", timestamp) is None:
            message = "The request does not tell when it was signed."
            raise WebhookRefused(message)
        signed = b"v0:%s:%s" % (timestamp.encode(), request.body)
        expected = f"v0={hmac.new(self._secret, signed, sha256).hexdigest()}"
        what = "The request does not have the signature that Slack would give it."
        refuse_unless_equal(request.headers.get(SIGNATURE, ""), expected, what)
        if abs(request.received_at - int(timestamp)) > WINDOW:
            message = "The request was signed more than five minutes from now."
            raise WebhookRefused(message)

    def handshake(self, request: WebhookRequest) -> WebhookAnswer | None:
        """The challenge, when the webhook is told to Slack; and nothing, where TLS is looked at."""
        if request.method == "GET":
            return WebhookAnswer() if request.query.get("ssl_check") == "1" else None
        if CHALLENGE not in request.body or _is_form(request):
            return None
        told = _object(request)
        if told.get("type") != CHALLENGE.decode():
            return None
        challenge = text_in(told, "challenge")
        if challenge is None:
            message = "Slack asks for a challenge to be repeated, and has given none."
            raise WebhookMalformed(message)
        return WebhookAnswer(200, challenge.encode("utf-8", "replace"))

    def events(self, request: WebhookRequest) -> Sequence[Event]:
        """The one event of a request; nothing, if the bot did that itself."""
        event = made(self.name, self._event_of, request)
        return () if event is None else (event,)

    def _event_of(self, request: WebhookRequest) -> Event | None:
        if not _is_form(request):
            return event_of(
                _object(request), channel=self.name, own_ids=self._own_ids, by_team=self._by_team
            )
        form = _form(request)
        if "payload" in form:
            inside = msgspec.structs.replace(request, body=form["payload"].encode())
            return interaction_of(_object(inside), channel=self.name, by_team=self._by_team)
        if "command" in form:
            return command_of(form, channel=self.name, by_team=self._by_team)
        if form.get("ssl_check") == "1":
            return None
        message = "What came is a form that is neither an interaction nor a command."
        raise WebhookMalformed(message)

    def comes_twice(self, event: Event) -> bool:
        """A message that mentions the bot may come as two events, which have one id here."""
        return isinstance(event, SlackEvent) and event.comes_twice

    # What the bot says.

    async def send_text(self, context: Context[Any], text: str) -> None:
        """Say `text` as it stands, without Slack's markup, in parts of at most 4,000 characters."""
        for part in parts_of(text, LONGEST):
            await self.send_message(context, text=escaped(part), mrkdwn=False)

    async def send_message(self, context: Context[Any], /, **message: Any) -> Any:
        """`chat.postMessage` where the context is, in the thread that it is in.

        Where the bot is not in the channel, a command or a shortcut is answered by its
        `response_url`: who used it sees that, and nobody else.
        """
        params = self._place(context).params
        try:
            return await self.client.call("chat.postMessage", **{**params, **message})
        except ChannelError as error:
            url = _response_url(context.event)
            if error.code not in ELSEWHERE or url is None:
                raise
        return await self.client.respond(url, **message)

    async def send_ephemeral(self, context: Context[Any], /, **message: Any) -> Any:
        """`chat.postEphemeral` to whoever the event is of: nobody else in the channel sees it."""
        user = context.event.user
        if user is None:
            error = "There is nobody to whom a message could be shown alone: the event has no user."
            raise CannotSend(error, session_id=context.session.id)
        place = self._place(context)
        own = Place.of_person(user.id, None, place.team).channel
        given = {**place.params, "user": own, **message}
        return await self.client.call("chat.postEphemeral", **given)

    async def send_response(self, context: Context[Any], /, **message: Any) -> Any:
        """A message by the event's `response_url`: see `SlackClient.respond`."""
        url = _response_url(context.event)
        if url is None:
            error = "Slack has given no response_url: only commands and interactions have one."
            raise CannotSend(error, session_id=context.session.id)
        return await self.client.respond(url, **message)

    async def send_file(
        self, context: Context[Any], file: InputFile, *, text: str | None = None, **more: Any
    ) -> Any:
        """Upload a file to where the context is, and say `text` with it: `SlackClient.upload`."""
        place = self._place(context)
        channel = place.channel
        if place.is_person:  # files go to channels alone
            talk = await self.client.call("conversations.open", users=channel, workspace=place.team)
            channel = text_in(object_in(talk, "channel"), "id") or channel
        to = {"workspace": place.team, "channel_id": channel, "thread_ts": place.thread, **more}
        comment = None if text is None else escaped(text)
        return await self.client.upload(file, initial_comment=comment, **to)

    async def send_answer(self, context: Context[Any], /, **answer: Any) -> None:
        """What Slack is told in the response to its request, once the turn is committed.

        `options` for a menu that asks for them, `response_action` and `errors` for a view, `text`
        and `response_type` for a command. Raises `CannotSend` where Slack waits for none, has been
        given one in this turn, or waits no more: it does for two and a half seconds (`ack_within`).
        """
        event = context.event
        given = WebhookAnswer(200, msgspec.json.encode(answer), "application/json")
        if not isinstance(event, SlackEvent) or not event.answer.say(given):
            error = "Slack has had the response to its request, or waits for none."
            raise CannotSend(error, session_id=context.session.id)

    async def typing(self, context: Context[Any]) -> None:
        """Show in a thread that the bot is typing, for two minutes or until it says something.

        Slack has this for threads, and for bots that it shows as assistants. Elsewhere it is
        nothing.
        """
        place = self._place(context)
        if place.thread is None or place.is_person:
            return
        try:
            await self.client.call(
                "assistant.threads.setStatus",
                channel_id=place.channel,
                thread_ts=place.thread,
                status="is typing...",
                workspace=place.team,
            )
        except ChannelUnreachable:
            raise
        except ChannelError:
            return  # a thread of another kind, and no reason to fail

    def address_of(self, key: str) -> str | None:
        """A person's private talk, a channel, or a thread in it."""
        place = Place.of_key(key)
        return None if place is None else str(place)

    def _place(self, context: Context[Any]) -> Place:
        return Place.of(self.address_in(context, "a channel"))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}>"


def _checked(secret: str) -> bytes:
    if not isinstance(secret, str) or re.fullmatch(r"[!-~]{8,200}", secret) is None:
        message = "A signing secret is as Slack shows it: letters and digits, 32 of them."
        raise ConfigurationError(message)
    return secret.encode()


def _is_form(request: WebhookRequest) -> bool:
    return request.headers.get("content-type", "").lower().startswith(FORM)


def _form(request: WebhookRequest) -> dict[str, str]:
    text = request.body.decode("utf-8", "replace")
    try:
        return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=MOST_FIELDS))
    except ValueError:
        message = "A form has more fields than Slack gives one."
        raise WebhookMalformed(message) from None


def _object(request: WebhookRequest) -> Json:
    told = request.json()
    if not isinstance(told, dict):
        message = "What came from Slack is no object."
        raise WebhookMalformed(message)
    return told


def _response_url(event: Event) -> str | None:
    return text_in(event.raw, "response_url") if isinstance(event.raw, dict) else None
