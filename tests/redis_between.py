"""A proxy between a store and a Redis or Valkey server, which takes one command after another.

A test sets its `rule`, which sees each command before it goes on, and may do something first,
answer it in the server's place, or cut the connection.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import hiredis

from barback.stores.redis.commands import pack

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Rule = Callable[[list[bytes]], Awaitable[bytes | None]]

__all__ = ["Between", "CutOff", "between"]


class CutOff(Exception):
    """What a rule raises to cut the connection instead of answering."""


class Between:
    """The proxy: `asked` is every command since it was last cleared, `port` where it listens."""

    def __init__(self, server: int) -> None:
        self.server = server
        self.port = 0
        self.asked: list[list[bytes]] = []
        self.rule: Rule = go_on

    def names(self) -> list[bytes]:
        """The commands that were asked, by their names."""
        return [command[0] for command in self.asked]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.server)
        commands = hiredis.Reader()
        try:
            while data := await reader.read(65_536):
                commands.feed(data)
                while command := commands.gets():
                    self.asked.append(command)
                    answer = await self.rule(command)
                    if answer is None:
                        far_writer.write(pack(*command))
                        answer = await reply_of(far_reader)
                    writer.write(answer)
                    await writer.drain()
        except (CutOff, OSError, EOFError):
            pass
        finally:
            far_writer.close()
            writer.close()


async def go_on(command: list[bytes]) -> bytes | None:
    return None


async def reply_of(reader: asyncio.StreamReader) -> bytes:
    """One reply, as it came; there is none behind it."""
    replies, raw, missing = hiredis.Reader(notEnoughData=Ellipsis), b"", True
    while missing:
        if not (data := await reader.read(65_536)):
            raise EOFError
        raw += data
        replies.feed(data)
        missing = replies.gets() is Ellipsis
    return raw


@asynccontextmanager
async def between(server: int) -> AsyncIterator[Between]:
    """A proxy to the server on this port of this machine."""
    proxy = Between(server)
    running: set[asyncio.Task[Any]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        running.add(task)
        with suppress(OSError, asyncio.CancelledError):
            await proxy.serve(reader, writer)

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    proxy.port = listening.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        listening.close()
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running)
