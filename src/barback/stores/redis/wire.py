"""Wire: one connection to a Redis or Valkey server, while it stands, and the calls that go over it.

redis-py opens connections (TLS, authentication, the choice of the database); from there on the
transport belongs to a `Wire`, which reads replies with hiredis.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from barback.extras import needs_extra
from barback.stores.operation import Operation

with needs_extra("redis"):
    import hiredis

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["Call", "LinkDown", "Wire"]

_INCOMPLETE: Final = object()
_NONE_YET: Final = object()


class LinkDown(Exception):
    """The server could not be asked, or did not answer; `what` goes on from "The … store".

    `sent`: whether the command may have reached the server. The `__cause__` is the client's error.
    """

    def __init__(self, what: str, *, sent: bool, cause: BaseException | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.sent = sent
        self.__cause__ = cause


class Call(Operation[Any]):
    """Commands that go together, and what is awaited by who asks: one object, and one future.

    `data` is the commands, `replies` how many of them have not been replied to. The reply to the
    last is the answer, or what `heard` makes of it. It must come before `deadline`, by the event
    loop's clock.
    """

    __slots__ = ("data", "deadline", "earlier", "replies")

    def __init__(self, data: bytes, replies: int = 1) -> None:
        self.answer = asyncio.get_running_loop().create_future()
        self._late = None
        self.data = data
        self.replies = replies
        self.deadline = 0.0
        self.earlier: Any = _NONE_YET  # the reply before the last

    def heard(self, reply: Any) -> None:
        """The last reply has come; it may be a `hiredis.ReplyError`."""
        self.succeed(reply)

    def down(self, error: LinkDown) -> None:
        """No reply will come."""
        self.fail(error)


class Wire(asyncio.Protocol):
    """One connection, from when it stands until it is lost.

    `connection` is one of redis-py's (or valkey-py's), connected, in RESP2 and with nothing under
    way. It gives up its transport. `lost` is called once, unless `cut` was called before; `freed`
    when writing may go on; `answered` when replies have come, with how many calls they answered.
    """

    def __init__(
        self,
        connection: Any,
        *,
        lost: Callable[[Exception | None], None],
        freed: Callable[[], None],
        answered: Callable[[int], None],
    ) -> None:
        # A StreamWriter that is thrown away closes its transport, and so it is kept.
        self._writer: Any = connection._writer  # noqa: SLF001 - there is no public way to it
        connection._writer = connection._reader = None  # noqa: SLF001 - and it is not to use it
        self._transport = self._writer.transport
        self._transport.set_protocol(self)
        self._replies = hiredis.Reader(notEnoughData=_INCOMPLETE)
        self._lost: Callable[[Exception | None], None] | None = lost
        self._freed = freed
        self._answered = answered
        self.sent: deque[Call] = deque()
        self.heard = False  # anything, since it was last set to False
        self.moments = 0  # given, one after another, to replies that are late
        self.paused = False
        self.gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def ready(self) -> bool:
        """Whether it may be written to."""
        return not (self.paused or self._transport.is_closing())

    def send(self, call: Call) -> None:
        """Write one."""
        self.sent.append(call)
        self._transport.write(call.data)

    def send_all(self, calls: Iterable[Call]) -> None:
        """Write all of them at once."""
        self.sent.extend(calls)
        self._transport.write(b"".join([call.data for call in calls]))

    def cut(self) -> None:
        """Close it, whatever is under way."""
        self._lost = None
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Match replies with what was sent: first in, first out."""
        self.heard = True
        sent, gets, answered = self.sent, self._replies.gets, 0
        try:
            self._replies.feed(data)
            while (reply := gets()) is not _INCOMPLETE:
                call = sent[0]
                call.replies -= 1
                if call.replies:
                    call.earlier = reply
                    continue
                sent.popleft()
                answered += 1
                try:
                    call.heard(reply)
                except Exception as error:  # noqa: BLE001 - it is the answer
                    call.fail(error)
        except (hiredis.ProtocolError, IndexError) as error:  # or a reply that nobody asked for
            self._end(error)
        else:
            self._answered(answered)

    def pause_writing(self) -> None:
        """The server does not read as fast as it is written to."""
        self.paused = True

    def resume_writing(self) -> None:
        """It has caught up."""
        self.paused = False
        self._freed()

    def connection_lost(self, error: Exception | None) -> None:
        """The server, or the network between, has ended it; or `cut` has."""
        if not self.gone.done():
            self.gone.set_result(None)
        self._end(error)

    def _end(self, error: Exception | None) -> None:
        lost = self._lost
        self.cut()
        if lost is not None:
            lost(error)
