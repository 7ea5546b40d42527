"""The proxy that fails: what each fault looks like from the side of a store, and what it counts."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import pytest

from barback.testing.proxy import FaultProxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Echo:
    """A server that answers a line with the same in capitals, and notes what it heard."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.port = 0
        self.answers = asyncio.Event()
        self.answers.set()
        self.lost = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.CancelledError):
            while line := await reader.readline():
                self.heard.append(line)
                await self.answers.wait()
                writer.write(line.upper())
                await writer.drain()
        self.lost += 1
        writer.close()


@asynccontextmanager
async def proxied(delay: float = 0.0) -> AsyncIterator[tuple[Echo, FaultProxy]]:
    echo = Echo()
    server = await asyncio.start_server(echo.serve, "127.0.0.1", 0)
    async with server:
        echo.port = server.sockets[0].getsockname()[1]
        async with FaultProxy("127.0.0.1", echo.port, delay=delay) as proxy:
            yield echo, proxy
        await asyncio.sleep(0.01)  # the echo hears of its end


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def ask(self, line: bytes) -> bytes:
        self.writer.write(line)
        async with asyncio.timeout(20):
            return await self.reader.readline()


@asynccontextmanager
async def client(proxy: FaultProxy) -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    try:
        yield Client(reader, writer)
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def until_heard(echo: Echo, *lines: bytes) -> None:
    async with asyncio.timeout(20):
        while echo.heard != list(lines):
            await asyncio.sleep(0.001)


async def test_what_is_sent_comes_through_whatever_its_size() -> None:
    async with proxied() as (_, proxy), client(proxy) as one, client(proxy) as other:
        told = await asyncio.gather(one.ask(b"a\n"), other.ask(b"b\n"))
        assert list(told) == [b"A\n", b"B\n"]
        assert await one.ask(b"x" * 60_000 + b"\n") == b"X" * 60_000 + b"\n"
        assert (proxy.struck, proxy.hit) == (0, 0)


async def test_a_cut_is_a_reset_and_new_connections_work() -> None:
    async with proxied() as (echo, proxy):
        async with client(proxy) as idle, client(proxy) as busy:
            await idle.ask(b"a\n")
            echo.answers.clear()
            asking = asyncio.create_task(busy.ask(b"b\n"))
            await until_heard(echo, b"a\n", b"b\n")
            assert proxy.cut() == 1
            with pytest.raises(OSError):  # noqa: PT011 - reset, of one kind or another
                await asking
            assert (proxy.struck, proxy.hit) == (2, 1)
        echo.answers.set()
        async with client(proxy) as anew:
            assert await anew.ask(b"c\n") == b"C\n"


async def test_half_open_is_silence_that_the_server_knows_of() -> None:
    async with proxied() as (echo, proxy), client(proxy) as one:
        await one.ask(b"a\n")
        proxy.half_open()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await one.ask(b"b\n")
        assert echo.heard == [b"a\n"]
        assert echo.lost == 1
        async with client(proxy) as other:
            assert await other.ask(b"c\n") == b"C\n"


async def test_what_is_stalled_comes_later() -> None:
    async with proxied() as (echo, proxy), client(proxy) as one:
        proxy.stall()
        asking = asyncio.create_task(one.ask(b"a\n"))
        await asyncio.sleep(0.05)
        assert echo.heard == []
        proxy.go_on()
        assert await asking == b"A\n"
        echo.answers.clear()
        asking = asyncio.create_task(one.ask(b"b\n"))
        await until_heard(echo, b"a\n", b"b\n")
        assert proxy.stall() == 1  # it is done, and its answer does not come
        echo.answers.set()
        await asyncio.sleep(0.05)
        assert not asking.done()
        proxy.go_on()
        assert await asking == b"B\n"


async def test_a_dropped_answer_is_of_what_was_done() -> None:
    async with proxied() as (echo, proxy):
        async with client(proxy) as one:
            proxy.drop_answers()
            with suppress(OSError):
                assert await one.ask(b"a\n") == b""
            assert echo.heard == [b"a\n"]
            assert proxy.hit == 1
        proxy.go_on()
        async with client(proxy) as other:
            assert await other.ask(b"b\n") == b"B\n"


async def test_who_is_refused_is_told_at_once() -> None:
    async with proxied() as (_, proxy), client(proxy) as one:
        await one.ask(b"a\n")
        proxy.refuse()
        async with client(proxy) as other:
            with suppress(OSError):
                assert await other.ask(b"b\n") == b""
        assert await one.ask(b"c\n") == b"C\n"
        proxy.go_on()
        async with client(proxy) as other:
            assert await other.ask(b"d\n") == b"D\n"


async def test_a_server_that_is_not_there_is_an_end() -> None:
    async with FaultProxy("127.0.0.1", 1) as proxy, client(proxy) as one:
        with suppress(OSError):
            assert await one.ask(b"a\n") == b""


async def test_everything_comes_later_by_the_delay() -> None:
    async with proxied(delay=0.05) as (_, proxy), client(proxy) as one:
        started = asyncio.get_running_loop().time()
        await one.ask(b"a\n")
        assert asyncio.get_running_loop().time() - started >= 0.1
