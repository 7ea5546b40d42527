"""Arriving: what a request may take until the app is told of it, where uvicorn sets no bounds.

uvicorn with httptools gathers a request's headers before anybody sees it, however many there are
and however slowly they come. The app bounds bodies; this bounds what is around them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from barback.extras import needs_extra

with needs_extra("serve"):
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

if TYPE_CHECKING:
    import asyncio

__all__ = ["BoundedHttp"]

LONGEST: Final = 64 * 1024  # bytes of a request before its body, and of all that is no body after
WITHIN: Final = 10.0  # seconds for the same, and for a body that was answered before it was there

TOO_LONG: Final = b"431 Request Header Fields Too Large"
TOO_SLOW: Final = b"408 Request Timeout"


class BoundedHttp(HttpToolsProtocol):
    """One connection, as uvicorn serves it, that neither fills memory nor stays for ever."""

    _unread = 0  # bytes that have come since the last of which the app will hear
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Whoever calls has something to say."""
        super().connection_made(transport)
        self._expect()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is waited for any more."""
        self._settle()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Hand on what comes, but no more than there may be before it makes a request."""
        while data and not self.transport.is_closing():
            room = LONGEST - self._unread
            part, data = data[:room], data[room:]
            self._unread += len(part)
            super().data_received(part)
            if self._unread >= LONGEST:
                self._refuse(TOO_LONG)
        if self._unread and self._deadline is None:
            self._expect()

    # What the parser finds.

    def on_headers_complete(self) -> None:
        """The app is told of the request."""
        self._unread = 0
        self._settle()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """The app reads it, and bounds it."""
        self._unread = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is there as a whole."""
        self._unread = 0
        self._settle()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Where the app has read no further, the rest has to come soon all the same."""
        super().on_response_complete()
        if self.cycle.response_complete and self.cycle.more_body:
            self._expect()

    # Its tools.

    def _expect(self) -> None:
        self._settle()
        self._deadline = self.loop.call_later(WITHIN, self._give_up)

    def _settle(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        if self._is_answering():
            self._expect()  # the app takes its time, and what follows has to wait
        else:
            self._refuse(TOO_SLOW)

    def _refuse(self, status: bytes) -> None:
        """Close; with an answer, where one has been asked for and there is none yet."""
        if self._unread and not self._is_answering():
            self.transport.write(
                b"HTTP/1.1 " + status + b"\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            )
        self.transport.close()

    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete
