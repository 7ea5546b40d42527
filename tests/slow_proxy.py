"""A TCP proxy that takes its time: what it is sent arrives so many seconds later, in order.

`python slow_proxy.py DELAY HOST PORT`, or a path for HOST and "" for PORT where the server listens
on a Unix socket, writes the port it listens on itself. It ends at the end of its input. It is a
process of its own, so that what it has to do takes no time from those who are measured.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def slow_proxy(delay: float, host: str, port: int | None) -> Iterator[int]:
    """The port of a proxy to the server that delays each direction by `delay` seconds."""
    command = [sys.executable, __file__, str(delay), host, "" if port is None else str(port)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline())
        finally:
            process.kill()


class Half(asyncio.Protocol):
    """One side of a connection: what it receives, the other side sends `delay` seconds later."""

    transport: asyncio.Transport
    other: Half | None = None

    def __init__(self, delay: float) -> None:
        self.loop = asyncio.get_running_loop()
        self.delay = delay
        self.on_its_way = deque[bytes]()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport  # which asyncio has told not to wait for more to send

    def data_received(self, data: bytes) -> None:
        self.on_its_way.append(data)
        self.loop.call_later(self.delay, self.arrive)

    def connection_lost(self, error: Exception | None) -> None:
        if self.other is not None:
            self.loop.call_later(self.delay, self.other.transport.close)

    def arrive(self) -> None:
        data = self.on_its_way.popleft()
        if self.other is not None and not self.other.transport.is_closing():
            self.other.transport.write(data)


class Client(Half):
    """The side of whoever connects to the proxy."""

    def __init__(self, delay: float, host: str, port: str) -> None:
        super().__init__(delay)
        self.address = host, port

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.transport.pause_reading()
        self.connecting = self.loop.create_task(self.connect())

    async def connect(self) -> None:
        host, port = self.address
        far = Half(self.delay)
        far.other = self
        try:
            if port:
                await self.loop.create_connection(lambda: far, host, int(port))
            else:
                await self.loop.create_unix_connection(lambda: far, host)
        except OSError:
            self.transport.abort()
            return
        self.other = far
        self.transport.resume_reading()


async def serve(delay: float, host: str, port: str) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Client(delay, host, port), "127.0.0.1", 0)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(serve(float(sys.argv[1]), sys.argv[2], sys.argv[3]))
