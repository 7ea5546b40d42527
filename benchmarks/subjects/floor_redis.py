"""The floor on Redis: lock and read, then write and unlock, each a script, and nothing around them.

One connection; the commands of one turn of the loop leave in one write, and hiredis reads what
comes back. There is no reconnecting, no timeout, no retrying: it is no client.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from typing import Any, Self, cast
from urllib.parse import urlsplit

import hiredis

from benchmarks.subjects.floor import Floor
from benchmarks.workload import Events, Job, main

TAKE = """\
local holder = redis.call('GET', KEYS[2])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[2], ARGV[1], 'PX', 30000)
return redis.call('GET', KEYS[1])"""
PUT = """\
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
redis.call('DEL', KEYS[2])
return 1"""


class Wire(asyncio.Protocol):
    """A connection: what is asked in one turn of the loop is sent in one write."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader()
        self._waiting: deque[asyncio.Future[Any]] = deque()
        self._unsent: list[bytes] = []

    def ask(self, *command: bytes | str | int) -> asyncio.Future[Any]:
        """The answer to a command."""
        if not self._unsent:
            self._loop.call_soon(self._send)
        self._unsent.append(hiredis.pack_command(command))  # type: ignore[arg-type]  # of any length
        answer = self._loop.create_future()
        self._waiting.append(answer)
        return answer

    def _send(self) -> None:
        self.transport.write(b"".join(self._unsent))
        self._unsent.clear()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.BaseProtocol`."""
        self.transport = cast("asyncio.Transport", transport)  # uvloop's derives from nothing

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        self._reader.feed(data)
        while (answer := self._reader.gets()) is not False:
            self._waiting.popleft().set_result(answer)


class RedisFloor(Floor):
    """Two scripts for an event."""

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        address = urlsplit(job.url)
        self._host, self._port = address.hostname or "", address.port or 0

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        _, self.wire = await loop.create_connection(Wire, self._host, self._port)
        self._take = await self.wire.ask("SCRIPT", "LOAD", TAKE)
        self._put = await self.wire.ask("SCRIPT", "LOAD", PUT)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.wire.transport.close()

    async def work(self, events: Events) -> None:
        """See `Subject.work`."""
        ask, take, put, answer = self.wire.ask, self._take, self._put, self.answer
        for n, person in events:
            token = secrets.token_bytes(8)
            record, lease = f"record:{person}", f"lease:{person}"
            found = await ask("EVALSHA", take, 2, record, lease, token)
            done = await ask("EVALSHA", put, 2, record, lease, token, answer(found, n))
            assert done == 1

    async def read(self, person: int) -> bytes | None:
        """See `Floor.read`."""
        record: bytes | None = await self.wire.ask("GET", f"record:{person}")
        return record


if __name__ == "__main__":
    main(RedisFloor)
