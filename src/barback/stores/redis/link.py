"""Link: one connection to a Redis or Valkey server, shared by all that is asked of the server.

Where nothing is under way, what is asked leaves at once; else all that is asked in one step of the
event loop leaves in one write, at the end of it. Replies come in the order of the commands.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import deque
from contextvars import Context
from typing import TYPE_CHECKING, Any, Final

from barback.stores.redis.wire import Call, LinkDown, Wire

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["Link"]

MOST_WAITING: Final = 10_000
"""Commands that may wait for their replies, or for a connection; more are refused."""

MOMENT: Final = 0.05  # seconds a late reply is given to be read, if it is here already
MOMENTS: Final = 20  # of them in a row at most, as long as something comes in each
SLACK: Final = 0.01  # seconds by which an operation of several calls may be late

REASONS: Final[tuple[tuple[type[BaseException], str], ...]] = (
    (ssl.SSLError, "TLS could not be agreed on"),
    (socket.gaierror, "no such host is known"),
    (ConnectionRefusedError, "the connection was refused"),
    (FileNotFoundError, "there is no such socket"),
    (PermissionError, "this user may not"),
    (TimeoutError, "there was no answer in time"),
)


class Link:
    """Asks one server, over one connection at a time.

    - `connect` opens a connection of redis-py's, and has `connect_timeout` seconds for it. All
      that is asked meanwhile waits for the same attempt, and fails with it.
    - `timeout`: seconds within which a command must be answered, its wait for a connection
      included. A server that does not answer in time loses the connection: every command that was
      sent over it fails, and the next one opens another. What came while the event loop stood
      still is read first: nothing fails that was answered. A server that is late, but
      answers, has a second more, for all that waits and not for each.
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

    def send(self, call: Call) -> None:
        """Have it answered within `timeout`, whether or not anybody awaits it."""
        call.deadline = call.answer.get_loop().time() + self._timeout
        wire = self._wire
        if self._closed:
            call.down(LinkDown("is closed", sent=False))
            return
        if wire is not None and not (wire.sent or self._leaving) and wire.ready:
            wire.send(call)  # it has nobody to wait for
        elif self._waiting() < MOST_WAITING:
            self._unsent.append(call)
            if not self._leaving:
                self._leave_soon()
        else:
            what = f"has {MOST_WAITING} operations waiting for {self.where}, and takes no more"
            call.down(LinkDown(what, sent=False))
            return
        if self._timer is None:
            self._watch()

    def ask(self, *commands: bytes, before: float | None = None) -> asyncio.Future[Any]:
        """The reply to the last of `commands`, which reach the server one right after another.

        An error that the server answers with is a result, a `hiredis.ReplyError`. The future fails
        with `LinkDown` alone. The commands are sent even if nobody awaits it.

        `before`: when the operation that asks must be over, by the event loop's clock. If that is
        sooner than `timeout` allows, they fail then, and the connection stays.
        """
        loop = asyncio.get_running_loop()
        call = Call(b"".join(commands), len(commands))
        if before is not None and before <= loop.time():
            call.down(self._late(sent=False))
            return call.answer
        self.send(call)
        if before is not None and before < call.deadline - SLACK and not call.answer.done():
            timer = loop.call_at(before, self._give_up, call, context=Context())
            call.answer.add_done_callback(lambda _: timer.cancel())
        return call.answer

    def retire(self) -> None:
        """Let what was sent be answered, and open another connection for what is asked next."""
        self._retiring = self._wire is not None
        self._go_on()

    async def drained(self) -> None:
        """Wait until everything that was asked is answered, which it is in time."""
        while self._waiting():
            self._change.clear()
            await self._change.wait()

    async def close(self) -> None:
        """Take no more; when all is answered that was asked, close."""
        self._closed = True
        try:
            await self.drained()
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

    def _leave_soon(self) -> None:
        """At the end of this step of the event loop; not to be called when it is on its way."""
        self._leaving = True
        asyncio.get_running_loop().call_soon(self._leave)

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
            wire.send_all(calls)

    def _answered(self, calls: int) -> None:
        """Replies have come. What those who are told of them ask next is to leave together.

        They ask in the event loop's next step, and this is put behind them in it.
        """
        self._go_on()
        if not self._leaving and self._wire is not None and (calls > 1 or self._wire.sent):
            self._leave_soon()

    async def _open(self) -> None:
        try:
            async with asyncio.timeout(self._connect_timeout):
                connection = await self._connect()
        except Exception as error:  # noqa: BLE001 - of whatever client; it is the cause
            self._fail_unsent(f"could not connect to {self.where}: {_reason(error)}", error)
        else:
            self._wire = Wire(
                connection, lost=self._lost, freed=self._go_on, answered=self._answered
            )
            self.connections += 1
            if not self._wire.ready:  # the server took it, and closed it at once: once is enough
                self._fail_unsent(f"lost its connection to {self.where}", ConnectionResetError())
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
                call.down(LinkDown(what, sent=True, cause=cause))
        if self._closed:
            self._fail_unsent(what, cause)
        elif not self._leaving:
            self._leave()
        self._go_on()

    def _fail_unsent(self, what: str, cause: BaseException | None) -> None:
        calls, self._unsent = self._unsent, deque()
        for call in calls:
            call.down(LinkDown(what, sent=False, cause=cause))

    # Deadlines come in the order of the calls, and so one timer, for the first, is enough.

    def _watch(self) -> None:
        first = self._wire.sent[0] if self._wire and self._wire.sent else self._unsent[0]
        self._look_at(first.deadline)

    def _look_at(self, when: float) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_at(when, self._look, context=Context())

    def _look(self) -> None:
        """Give up what is overdue, and set the timer for what is not.

        Before it cuts a connection it looks once more, a moment later, and goes on so while there
        is something to read: the event loop may have stood still while the server answered. But a
        server that is always late has no more than so many moments for all that waits.
        """
        self._timer = None
        self._drop_overdue()
        now = asyncio.get_running_loop().time()
        wire = self._wire
        if wire is not None and wire.sent and wire.sent[0].deadline <= now:
            if wire.moments == 0 or (wire.heard and wire.moments < MOMENTS):
                wire.moments += 1
                wire.heard = False
                self._look_at(now + MOMENT)
                return
            late = self._late(sent=True)
            self._cut(late.what, late.__cause__)
        elif wire is not None:
            wire.moments = 0
        self._go_on()
        if self._waiting() and self._timer is None:
            self._watch()

    def _drop_overdue(self) -> None:
        """What has waited for too long is not sent any more."""
        now = asyncio.get_running_loop().time()
        while self._unsent and self._unsent[0].deadline <= now:
            self._unsent.popleft().down(self._late(sent=False))

    def _give_up(self, call: Call) -> None:
        """The operation's time is over, but not that of the connection."""
        sent = call not in self._unsent
        if not sent:
            self._unsent.remove(call)
        call.down(self._late(sent=sent))
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
