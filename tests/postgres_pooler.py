"""What may stand between a PostgreSQL store and its server: a pooler, and a bad line."""

from __future__ import annotations

import asyncio
import struct
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self

from psycopg.conninfo import conninfo_to_dict

SSL_REQUEST, GSS_REQUEST, CANCEL = 80877103, 80877104, 80877102
PARAMETERS = {
    b"client_encoding": b"UTF8",
    b"server_encoding": b"UTF8",
    b"server_version": b"18.0",
    b"standard_conforming_strings": b"on",
}


class Pooler:
    """A pooler in transaction mode, as strict as can be.

    Each transaction goes to another of its connections than the one before, and each connection
    forgets all of its session in between. It runs in a thread of its own. `url` is the pooler's,
    `transactions` counts. `last_words`: once set, it takes its server for lost in the midst of the
    next transaction, tells its client this error, and closes its connection.
    """

    def __init__(self, url: str, connections: int = 3) -> None:
        where = conninfo_to_dict(url)
        self._server = str(where["host"]), int(str(where["port"]))
        self._user = str(where["user"]), str(where["dbname"])
        self._connections = connections
        self._started = threading.Event()
        self.port = 0
        self.transactions = 0
        self.last_words: dict[str, str] | None = None

    @property
    def url(self) -> str:
        user, database = self._user
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=asyncio.run, args=(self._run(),))
        self._thread.start()
        assert self._started.wait(30)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(30)
        assert not self._thread.is_alive()

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._free: asyncio.Queue[Link] = asyncio.Queue()  # the longest unused is taken first
        links = [await self._connect() for _ in range(self._connections)]
        for link in links:
            self._free.put_nowait(link)
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._started.set()
        await self._stop.wait()
        server.close()
        for link in links:
            link.writer.close()

    async def _connect(self) -> Link:
        link = Link(*await asyncio.open_connection(*self._server))
        user, database = self._user
        words = b"\0".join([b"user", user.encode(), b"database", database.encode(), b"", b""])
        link.writer.write(struct.pack("!ii", len(words) + 8, 196608) + words)
        await link.until_ready()
        return link

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = Link(reader, writer)
        try:
            with suppress(asyncio.IncompleteReadError, ConnectionError):
                await self._greet(client)
                while True:
                    await self._transaction(client)
        finally:
            writer.close()

    async def _greet(self, client: Link) -> None:
        while (code := await client.startup()) in {SSL_REQUEST, GSS_REQUEST}:
            client.writer.write(b"N")
        if code == CANCEL:
            raise ConnectionError
        client.send(b"R", struct.pack("!i", 0))
        for name, value in PARAMETERS.items():
            client.send(b"S", name + b"\0" + value + b"\0")
        client.send(b"Z", b"I")

    async def _transaction(self, client: Link) -> None:
        """Take from the client up to a Sync or a query, and until its transaction is over."""
        request = await client.until(b"SQX")
        if request.endswith(b"X\0\0\0\x04"):
            raise ConnectionError
        link = await self._free.get()
        try:
            while True:
                link.writer.write(request)
                answer = await link.until_ready()
                if self.last_words is not None:
                    fields, self.last_words = self.last_words, None
                    text = "".join(f"{field}{value}\0" for field, value in fields.items())
                    client.send(b"E", text.encode() + b"\0")
                    raise ConnectionError
                over = answer.endswith(b"I")
                self.transactions += over  # before anybody hears of it
                client.writer.write(answer)
                if over:
                    break
                request = await client.until(b"SQX")
            link.send(b"Q", b"DISCARD ALL\0")
            await link.until_ready()
        finally:
            self._free.put_nowait(link)


class Link:
    """One connection that speaks the server's protocol: messages of a letter, a length, a body."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, letter: bytes, body: bytes) -> None:
        self.writer.write(letter + struct.pack("!i", len(body) + 4) + body)

    async def startup(self) -> int:
        (length,) = struct.unpack("!i", await self.reader.readexactly(4))
        code: int
        (code,) = struct.unpack("!i", (await self.reader.readexactly(length - 4))[:4])
        return code

    async def until(self, letters: bytes) -> bytes:
        """All messages up to one of these letters."""
        messages = b""
        while True:
            head = await self.reader.readexactly(5)
            body = await self.reader.readexactly(struct.unpack("!i", head[1:])[0] - 4)
            messages += head + body
            if head[:1] in letters:
                return messages

    async def until_ready(self) -> bytes:
        return await self.until(b"Z")


class Proxy:
    """A line to a server that a test can disturb. Enter it with `async with`.

    `delay`: seconds that either direction takes. `mute`: what the server says is lost from now on;
    `lost` is set when it has been. `trips` counts how often the client spoke after hearing.
    """

    def __init__(self, url: str, delay: float = 0.0) -> None:
        where = conninfo_to_dict(url)
        self._server = str(where["host"]), int(str(where["port"]))
        self._user, self._database = where["user"], where["dbname"]
        self.delay = delay
        self.mute = False
        self.trips = 0
        self.lost = asyncio.Event()
        self.pairs: list[tuple[Side, Side]] = []
        self._opening: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"postgresql://{self._user}@127.0.0.1:{self.port}/{self._database}"

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(self._accepted, "127.0.0.1", 0)
        self.port = self._listener.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._listener.close()
        self.cut()
        while self._opening:
            await asyncio.wait(self._opening)

    def cut(self) -> None:
        """End every connection at once."""
        pairs, self.pairs = self.pairs, []
        for side in [side for pair in pairs for side in pair]:
            side.transport.abort()

    def _accepted(self) -> Side:
        client, server = Side(self), Side(self)
        client.other, server.other = server, client
        client.is_client = True
        return client

    def connect(self, client: Side) -> None:
        client.transport.pause_reading()
        task = asyncio.ensure_future(self._connect(client))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def _connect(self, client: Side) -> None:
        server = client.other
        try:
            await asyncio.get_running_loop().create_connection(lambda: server, *self._server)
        except OSError:
            client.transport.abort()
            return
        self.pairs.append((client, server))
        client.transport.resume_reading()


class Side(asyncio.Protocol):
    """One side of a connection through a `Proxy`."""

    transport: asyncio.Transport
    other: Side

    def __init__(self, proxy: Proxy) -> None:
        self.proxy = proxy
        self.is_client = False
        self.was_told = True
        self.early = b""  # Pythons before 3.11.5 read on though reading is paused at the beginning

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        if self.is_client:
            self.proxy.connect(self)
        transport.write(self.early)

    def data_received(self, data: bytes) -> None:
        proxy = self.proxy
        if self.is_client:
            proxy.trips += self.was_told
            self.was_told = False
        elif proxy.mute:
            proxy.lost.set()
            return
        asyncio.get_running_loop().call_later(proxy.delay, self.other.deliver, data)

    def deliver(self, data: bytes) -> None:
        self.was_told = True
        if not hasattr(self, "transport"):
            self.early += data
        elif not self.transport.is_closing():
            self.transport.write(data)

    def connection_lost(self, error: Exception | None) -> None:
        other = self.other
        if hasattr(other, "transport"):
            asyncio.get_running_loop().call_later(self.proxy.delay, other.transport.close)
