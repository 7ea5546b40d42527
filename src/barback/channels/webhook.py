"""WebhookChannel: a platform that calls the bot, over HTTP, with what people do.

What a channel has to say of a request is in a few methods, none of which waits for anything. What
becomes of it (limits, answers, what is delivered again) is the web app's, and the same for all.

    GET or POST  ->  handshake, for a GET    what the platform asks once, to see whose webhook it is
                     verify                  did the platform send it?
                     handshake, for a POST   the same, where it is asked for in a signed request
                     events                  what people did: one, many, or nothing
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from barback.channels.base import Channel
from barback.channels.client import PlatformClient
from barback.errors import CannotSend, WebhookMalformed
from barback.events import Event

if TYPE_CHECKING:
    from barback.context import Context

__all__ = ["WebhookAnswer", "WebhookChannel", "WebhookRequest"]


class WebhookRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What has come to a webhook.

    - `method`: "GET" or "POST".
    - `headers`: by their names in lower case; those that came more than once joined by ", ".
    - `query`: the parameters in the address, decoded; of those that came more than once the last.
    - `body`: every byte of it, as it came: signatures are over this.
    - `received_at`: when it came, in seconds since the Unix epoch, by the bot's clock.
    """

    method: str
    headers: Mapping[str, str] = {}
    query: Mapping[str, str] = {}
    body: bytes = b""
    received_at: float = 0.0

    def json(self) -> Any:
        """The body as JSON. Raises `WebhookMalformed`."""
        try:
            return msgspec.json.decode(self.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            # Not the decoder's own words, which may quote what people say.
            message = "A request is not JSON."
            raise WebhookMalformed(message) from None

    def __repr__(self) -> str:
        # Neither a secret nor what people say belongs in a log.
        return f"<WebhookRequest {self.method}, {len(self.body)} bytes>"


class WebhookAnswer(msgspec.Struct, frozen=True):
    """What a platform is answered; nothing but the status, unless there is a `body`."""

    status: int = 200
    body: bytes = b""
    content_type: str = "text/plain; charset=utf-8"


class WebhookChannel(Channel):
    """A channel whose events come to a webhook: `bot.asgi(channel)` makes a web app of it.

    - `path`: where the webhook is, below the app's own: "/telegram". The channel's name, unless a
      class or an instance sets another.
    - `ack_within`: seconds within which the platform wants its answer, less a margin for the way.
      Past it the answer goes out while a turn still runs, so let it be as long as the platform
      bears. 10 unless a class or an instance sets another.
    """

    path: str = ""
    ack_within: float = 10.0

    async def start(self) -> None:
        """Make the client ready, if it is a `PlatformClient`. Raises `MissingExtra`."""
        if isinstance(self.client, PlatformClient):
            self.client.open()

    async def stop(self) -> None:
        """Close the connections of such a client."""
        if isinstance(self.client, PlatformClient):
            await self.client.close()

    def handshake(self, request: WebhookRequest) -> WebhookAnswer | None:  # noqa: ARG002
        """What the platform wants to hear when the webhook is set up; None for any other request.

        A POST has been verified when it comes here; a GET has not: see here that it is in order.
        Raises `WebhookRefused`.
        """
        return None

    @abstractmethod
    def verify(self, request: WebhookRequest) -> None:
        """See that the platform has sent a request, by its signature or secret.

        Over the raw body, in constant time (`hmac.compare_digest`), and not too long ago where the
        platform signs the time as well. Raises `WebhookRefused`.
        """

    @abstractmethod
    def events(self, request: WebhookRequest) -> Sequence[Event]:
        """What people did, in order. A request may hold many events, or none.

        An event of a kind that the channel does not know has `raw`, and `kind` as the platform
        calls it; it is no error. Each event has a user or a conversation, so that every scope finds
        a session for it: what is about neither gets a conversation of the channel's own. What the
        bot itself has done is left out. Each has the platform's own id of it, by which a redelivery
        is known, where it has one.

        Raises `WebhookMalformed` for what the platform never sends.
        """

    def comes_twice(self, event: Event) -> bool:  # noqa: ARG002 - it depends on the platform
        """Whether the platform may tell of it again, with the same id, though all went well.

        Its id is then kept with the session whatever comes of its turn. Of no event, unless set.
        """
        return False

    # A tool.

    def address_in(self, context: Context[Any], needed: str = "") -> str:
        """Where a context is. Raises `CannotSend`, which says that a call needs `needed` then."""
        if context.address is not None:
            return context.address
        more = f", and {needed}" if needed else ""
        message = (
            f"Nothing tells where on {self.name} session {context.session.id!r} is: it keeps no "
            f"address, and its key tells none. Send with context.client{more}."
        )
        raise CannotSend(message, session_id=context.session.id)
