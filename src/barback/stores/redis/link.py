"""Link: one connection to a Redis or Valkey server, shared by all that is asked of the server.

What is asked in one step of the event loop leaves in one write; replies come in the order of the
commands. redis-py opens connections (TLS, authentication, the choice of the database); from there
on the transport belongs to a `Wire`, which reads replies with hiredis.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import deque
from contextvars import Context
from typing import TYPE_CHECKING, Any, Final

from barback.extras import needs_extra

with needs_extra("redis"):
    import hiredis

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

__all__ = ["Link", "LinkDown", "Wire"]

MOST_WAITING: Final = 10_000
"""Commands that may wait for their replies, or for a connection; more are refused."""

MOMENT: Final = 0.05  # seconds a late reply is given to be read, if it is here already
MOMENTS: Final = 20  # of them in a row, as long as something comes in each
SLACK: Final = 0.01  # seconds by which an operation of several calls may be late

REASONS: Final[tuple[tuple[type[BaseException], str], ...]] = (
    (ssl.SSLError, "TLS could not be agreed on"),
    (socket.gaierror, "no such host is known"),
    (ConnectionRefusedError, "the connection was refused"),
    (FileNotFoundError, "there is no such socket"),
    (PermissionError, "this user may not"),
    (TimeoutError, "there was no answer in time"),
)

_INCOMPLETE: Final = object()


class LinkDown(Exception):
    """The server could not be asked, or did not answer; `what` goes on from "The … store".

    `sent`: whether the command may have reached the server. The `__cause__` is the client's error.
    """

    def __init__(self, what: str, *, sent: bool, cause: BaseException | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.sent = sent
        self.__cause__ = cause


class Call:
    """Commands that go together; the reply to the last of them is the answer."""

    __slots__ = ("answer", "data", "deadline", "moments", "replies")

    def __init__(
        self, commands: tuple[bytes, ...], answer: asyncio.Future[Any], deadline: float
    ) -> None:
        self.data = b"".join(commands)
        self.replies = len(commands)
        self.answer = answer
        self.deadline = deadline
        self.moments = 0  # given to it after its deadline

    def fail(self, error: LinkDown) -> None:
        """Answer it with an error, unless who asked has gone."""
        if not self.answer.done():
            self.answer.set_exception(error)


class Wire(asyncio.Protocol):
    """One connection, from when it stands until it is lost.

    `connection` is one of redis-py's (or valkey-py's), connected, in RESP2 and with nothing under
    way. It gives up its transport. `lost` is called once, unless `cut` was called before;
    `changed` whenever writing may go on, and when a reply has come.
    """

    def __init__(
        self,
        connection: Any,
        *,
        lost: Callable[[Exception | None], None],
        changed: Callable[[], None],
    ) -> None:
        # A StreamWriter that is thrown away closes its transport, and so it is kept.
        self._writer: Any = connection._writer  # noqa: SLF001 - there is no public way to it
        connection._writer = connection._reader = None  # noqa: SLF001 - and it is not to use it
        self._transport = self._writer.transport
        self._transport.set_protocol(self)
        self._replies = hiredis.Reader(notEnoughData=_INCOMPLETE)
        self._lost: Callable[[Exception | None], None] | None = lost
        self._changed = changed
        self.sent: deque[Call] = deque()
        self.heard = False  # anything, since it was last set to False
        self.paused = False
        self.gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def ready(self) -> bool:
        """Whether it may be written to."""
        return not (self.paused or self._transport.is_closing())

    def send(self, calls: Iterable[Call]) -> None:
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
        sent = self.sent
        try:
            self._replies.feed(data)
            while (reply := self._replies.gets()) is not _INCOMPLETE:
                call = sent[0]
                call.replies -= 1
                if call.replies == 0:
                    sent.popleft()
                    if not call.answer.done():
                        call.answer.set_result(reply)
        except (hiredis.ProtocolError, IndexError) as error:  # or a reply that nobody asked for
            self._end(error)
        else:
            self._changed()

    def pause_writing(self) -> None:
        """The server does not read as fast as it is written to."""
        self.paused = True

    def resume_writing(self) -> None:
        """It has caught up."""
        self.paused = False
        self._changed()

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


class Link:
    """Asks one server, over one connection at a time.

    - `connect` opens a connection of redis-py's, and has `connect_timeout` seconds for it. All
      that is asked meanwhile waits for the same attempt, and fails with it.
    - `timeout`: seconds within which a command must be answered, its wait for a connection
      included. A server that does not answer in time loses the connection: every command that was
      sent over it fails, and the next one opens another. What came while the event loop stood
      still is read first: nothing fails that was answered.
    - `where` is how errors call the server.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[Any]],
        *,
        where: str,
        timeout: float,
        connect_timeout: float,
    ) -> None:
        self.where = where
        self.connections = 0
        """How many there have been; the last of them gives the replies."""
        self._connect = connect
        self._timeout = timeout
        self._connect_timeout = connect_timeout
        self._unsent: deque[Call] = deque()
        self._wire: Wire | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._leaving = False
        self._retiring = False
        self._closed = False
        self._change = asyncio.Event()

    @property
    def connected(self) -> bool:
        """Whether a connection stands."""
        return self._wire is not None

    def ask(self, *commands: bytes, before: float | None = None) -> asyncio.Future[Any]:
        """The reply to the last of `commands`, which reach the server one right after another.

        An error that the server answers with is a result, a `hiredis.ReplyError`. The future fails
        with `LinkDown` alone. The commands are sent even if nobody awaits it.

        `before`: when the operation that asks must be over, by the event loop's clock. If that is
        sooner than `timeout` allows, they fail then, and the connection stays.
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Any] = loop.create_future()
        now = loop.time()
        call = Call(commands, answer, now + self._timeout)
        if self._closed:
            call.fail(LinkDown("is closed", sent=False))
        elif self._waiting() >= MOST_WAITING:
            what = f"has {MOST_WAITING} operations waiting for {self.where}, and takes no more"
            call.fail(LinkDown(what, sent=False))
        elif before is not None and before <= now:
            call.fail(self._late(sent=False))
        else:
            self._unsent.append(call)
            if before is not None and before < call.deadline - SLACK:
                timer = loop.call_at(before, self._give_up, call, context=Context())
                answer.add_done_callback(lambda _: timer.cancel())
            if not self._leaving:
                self._leaving = True
                loop.call_soon(self._leave)
            self._watch()
        return answer

    def retire(self) -> None:
        """Let what was sent be answered, and open another connection for what is asked next."""
        self._retiring = self._wire is not None
        self._go_on()

    async def close(self) -> None:
        """Wait until everything that was asked is answered, which it is in time; then close."""
        self._closed = True
        try:
            while self._waiting():
                self._change.clear()
                await self._change.wait()
        finally:
            wire, connecting = self._wire, self._connecting
            self.abort()
            if connecting is not None:
                await asyncio.wait([connecting])
            if wire is not None:
                await wire.gone

    def abort(self) -> None:
        """Close it at once; what is under way fails."""
        self._closed = True
        self._cut("is closed", None)
        if self._connecting is not None:
            self._connecting.cancel()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _waiting(self) -> int:
        return len(self._unsent) + (0 if self._wire is None else len(self._wire.sent))

    def _leave(self) -> None:
        """The end of a step: send what was asked in it, or open the connection it waits for."""
        self._leaving = False
        if self._wire is not None:
            self._go_on()
        elif self._unsent and self._connecting is None:
            # The context of who asks first would live as long as the connection.
            loop = asyncio.get_running_loop()
            self._connecting = loop.create_task(self._open(), context=Context())

    def _go_on(self) -> None:
        wire = self._wire
        self._change.set()
        if wire is None:
            return
        if self._retiring:
            if not wire.sent:
                self._cut("is on its way to another server", None)
        elif self._unsent and wire.ready and not self._leaving:
            self._drop_overdue()
            calls, self._unsent = self._unsent, deque()
            wire.send(calls)

    async def _open(self) -> None:
        try:
            async with asyncio.timeout(self._connect_timeout):
                connection = await self._connect()
        except Exception as error:  # noqa: BLE001 - of whatever client; it is the cause
            self._fail_unsent(f"could not connect to {self.where}: {_reason(error)}", error)
        else:
            self._wire = Wire(connection, lost=self._lost, changed=self._go_on)
            self.connections += 1
        finally:
            self._connecting = None
        self._go_on()

    def _lost(self, error: Exception | None) -> None:
        cause = error or ConnectionResetError("The server closed the connection.")
        self._cut(f"lost its connection to {self.where}", cause)

    def _cut(self, what: str, cause: BaseException | None) -> None:
        """Close the connection. What was sent fails; what was not goes by the next one."""
        wire, self._wire = self._wire, None
        self._retiring = False
        if wire is not None:
            wire.cut()
            for call in wire.sent:
                call.fail(LinkDown(what, sent=True, cause=cause))
        if self._closed:
            self._fail_unsent(what, cause)
        elif not self._leaving:
            self._leave()
        self._go_on()

    def _fail_unsent(self, what: str, cause: BaseException | None) -> None:
        calls, self._unsent = self._unsent, deque()
        for call in calls:
            call.fail(LinkDown(what, sent=False, cause=cause))

    # Deadlines come in the order of the calls, and so one timer, for the first, is enough.

    def _watch(self) -> None:
        if self._timer is None:
            first = self._wire.sent[0] if self._wire and self._wire.sent else self._unsent[0]
            self._look_at(first.deadline)

    def _look_at(self, when: float) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_at(when, self._look, context=Context())

    def _look(self) -> None:
        """Give up what is overdue, and set the timer for what is not.

        Before it cuts a connection it looks once more, a moment later, and goes on so while there
        is something to read: the event loop may have stood still while the server answered.
        """
        self._timer = None
        self._drop_overdue()
        now = asyncio.get_running_loop().time()
        wire = self._wire
        if wire is not None and wire.sent and wire.sent[0].deadline <= now:
            first = wire.sent[0]
            if first.moments == 0 or (wire.heard and first.moments < MOMENTS):
                first.moments += 1
                wire.heard = False
                self._look_at(now + MOMENT)
                return
            late = self._late(sent=True)
            self._cut(late.what, late.__cause__)
        self._go_on()
        if self._waiting():
            self._watch()

    def _drop_overdue(self) -> None:
        """What has waited for too long is not sent any more."""
        now = asyncio.get_running_loop().time()
        while self._unsent and self._unsent[0].deadline <= now:
            self._unsent.popleft().fail(self._late(sent=False))

    def _give_up(self, call: Call) -> None:
        """The operation's time is over, but not that of the connection."""
        sent = call not in self._unsent
        if not sent:
            self._unsent.remove(call)
        call.fail(self._late(sent=sent))
        self._change.set()

    def _late(self, *, sent: bool) -> LinkDown:
        what = f"got no answer from {self.where} within {self._timeout:g} seconds"
        return LinkDown(what, sent=sent, cause=TimeoutError())


def _reason(error: BaseException) -> str:
    """Why there is no connection, by the kinds of errors: their words may hold more than is wanted.

    A client's own error has the system's behind it.
    """
    chain = [error]
    while (behind := chain[-1].__cause__ or chain[-1].__context__) is not None:
        chain.append(behind)
    for each in chain:
        if type(each).__name__.startswith("Authentication"):
            return "it does not accept the user or the password, or wants one"
        if "DB index" in str(each) or str(each) == "Invalid Database":
            return "it has no database of that number"
        for kind, words in REASONS:
            if isinstance(each, kind):
                return words
    return type(error).__name__
