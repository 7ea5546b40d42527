"""FaultProxy: a TCP proxy between a store and its server, which fails when a test says so."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

__all__ = ["FaultProxy"]

CHUNK: Final = 65_536
CONNECTING: Final = 5.0  # seconds the server is given to take a connection


class FaultProxy:
    """Hands on what it is sent, both ways, until it is told to do otherwise.

        async with FaultProxy("127.0.0.1", 6379) as proxy:
            store = RedisSessionStore(f"redis://127.0.0.1:{proxy.port}")

    - `host`, `port`: where the server is; a path as `host`, and None as `port`, for a Unix socket.
    - `delay`: seconds by which everything comes later, in each direction. It may be changed.

    A fault strikes all connections there are. Each is counted in `struck`, and in `hit` if it had
    been asked something that was not answered: a fault that hits nothing shows nothing. It is
    counted so where each question has one answer; what an answer is, the proxy does not know.
    """

    def __init__(self, host: str, port: int | None, *, delay: float = 0.0) -> None:
        self.delay = delay
        self.port = 0
        """Where it listens, on 127.0.0.1, once it is entered."""
        self.struck = 0
        self.hit = 0
        self._server = host, port
        self._listening: asyncio.Server | None = None
        self._connections: set[_Connection] = set()
        self._refusing = False
        self._passing = asyncio.Event()
        self._passing.set()
        self._swallowing = False

    def cut(self) -> int:
        """Reset every connection; how many had a question under way."""
        return self._strike(_Connection.cut)

    def half_open(self) -> int:
        """Leave every connection as it looks when the other side has lost its power.

        Nothing comes on it any more, and nobody says so. New ones work.
        """
        return self._strike(_Connection.forget)

    def stall(self) -> int:
        """Hand on nothing, neither what is under way nor what comes, until `go_on`."""
        self._passing.clear()
        return self._strike(lambda _: None)

    def drop_answers(self) -> None:
        """Let questions through, but no answer: the first that comes on a connection resets it.

        So what was asked has been done, and nobody hears of it. Until `go_on`.
        """
        self._swallowing = True

    def refuse(self) -> None:
        """Close new connections as soon as they are made, until `go_on`."""
        self._refusing = True

    def go_on(self) -> None:
        """The end of `stall`, `drop_answers` and `refuse`."""
        self._refusing = self._swallowing = False
        self._passing.set()

    async def __aenter__(self) -> Self:
        self._listening = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._listening.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._listening is not None
        self._listening.close()
        self._refusing = True
        ending = [connection.end() for connection in self._connections]
        if ending:
            await asyncio.wait(ending)

    def _strike(self, fault: Callable[[_Connection], None]) -> int:
        hit = 0
        for connection in list(self._connections):
            self.struck += 1
            hit += connection.asked
            fault(connection)
        self.hit += hit
        return hit

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._refusing:
            _reset(writer)
            return
        connection = _Connection(self, reader, writer)
        self._connections.add(connection)
        try:
            await connection.run(*self._server)
        finally:
            self._connections.discard(connection)

    async def _passed(self) -> None:
        """Wait as long as what is sent is to wait."""
        if self.delay:
            await asyncio.sleep(self.delay)
        await self._passing.wait()


class _Connection:
    """One connection of a client's, and the one to the server that belongs to it."""

    def __init__(
        self, proxy: FaultProxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.asked = False
        """Whether something has been sent to the server since its last answer."""
        self._proxy = proxy
        self._near = reader, writer
        self._far: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._forgotten = False
        task = asyncio.current_task()
        assert task is not None
        self._task = task

    async def run(self, host: str, port: int | None) -> None:
        """Hand on, until one side ends it."""
        try:
            async with asyncio.timeout(CONNECTING):
                if port is None:
                    self._far = await asyncio.open_unix_connection(host)
                else:
                    self._far = await asyncio.open_connection(host, port)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._questions())
                group.create_task(self._answers())
        except* (OSError, _Ended):
            pass
        except* asyncio.CancelledError:
            pass  # by `end`; nobody else has this task
        finally:
            self.cut()

    def cut(self) -> None:
        """Reset both sides."""
        for _, writer in filter(None, (self._near, self._far)):
            _reset(writer)

    def forget(self) -> None:
        """Be silent from now on; the server sees its side reset."""
        self._forgotten = True
        if self._far is not None:
            _reset(self._far[1])

    def end(self) -> asyncio.Task[object]:
        """Cut it, and stop."""
        self.cut()
        self._task.cancel()
        return self._task

    async def _questions(self) -> None:
        assert self._far is not None
        reader, writer = self._near[0], self._far[1]
        while data := await reader.read(CHUNK):
            self.asked = True
            await self._proxy._passed()  # noqa: SLF001 - a module may know its own
            if not self._forgotten:
                writer.write(data)
                await writer.drain()
        raise _Ended

    async def _answers(self) -> None:
        assert self._far is not None
        reader, writer = self._far[0], self._near[1]
        while data := await self._answer(reader):
            await self._proxy._passed()  # noqa: SLF001
            if self._proxy._swallowing:  # noqa: SLF001
                self._proxy.struck += 1
                self._proxy.hit += 1
                raise _Ended
            self.asked = False
            writer.write(data)
            await writer.drain()
        if not self._forgotten:
            raise _Ended

    async def _answer(self, reader: asyncio.StreamReader) -> bytes:
        try:
            return await reader.read(CHUNK)
        except OSError:
            if self._forgotten:
                return b""
            raise


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close it as a machine does that knows nothing of it, rather than in good order."""
    connection = writer.get_extra_info("socket")
    if connection is not None and connection.fileno() >= 0:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


class _Ended(Exception):
    """One side has closed the connection."""
