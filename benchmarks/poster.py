"""Poster: Telegram's side of a webhook: signed updates, over connections that stay open."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from itertools import count, cycle
from typing import Any

from benchmarks.served import SECRET
from benchmarks.workload import update

__all__ = ["Poster"]


class Poster:
    """Posts the events of so many people in turn, as many at once as there are connections."""

    def __init__(self, port: int, *, in_flight: int, people: int) -> None:
        self._port = port
        self._in_flight = in_flight
        self._people = people
        self._events: Iterator[tuple[int, int]] = zip(count(), cycle(range(people)), strict=False)
        self.done = 0

    async def post_for(self, seconds: float) -> float:
        """Post for so long, and then until nobody waits; the rate, in events a second."""
        loop = asyncio.get_running_loop()
        began, before = time.perf_counter(), self.done
        ends = loop.time() + seconds
        lines = [
            (await loop.create_connection(lambda: Line(self, ends), "127.0.0.1", self._port))[1]
            for _ in range(self._in_flight)
        ]
        await asyncio.gather(*(line.over for line in lines))
        return (self.done - before) / (time.perf_counter() - began)

    def next(self) -> bytes:
        """The next request."""
        n, person = next(self._events)
        body = json.dumps(update(n, person)).encode()
        head = (
            f"POST /telegram HTTP/1.1\r\nhost: 127.0.0.1:{self._port}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n"
            f"x-telegram-bot-api-secret-token: {SECRET}\r\n\r\n"
        )
        return head.encode() + body

    def states(self) -> list[dict[str, Any]]:
        """What the nickname bot makes of all that was posted: a state for each person."""
        found: list[dict[str, Any]] = [
            {"asking": False, "nickname": None} for _ in range(self._people)
        ]
        for n in range(self.done):
            state = found[n % self._people]
            if state["asking"]:
                state["nickname"] = f"name{n}"
            state["asking"] = not state["asking"]
        return found


class Line(asyncio.Protocol):
    """One connection: the next request when the last is answered."""

    def __init__(self, poster: Poster, ends: float) -> None:
        self._poster = poster
        self._ends = ends
        self._answer = b""
        self._loop = asyncio.get_running_loop()
        self.over: asyncio.Future[None] = self._loop.create_future()

    def connection_made(self, transport: Any) -> None:
        """See `asyncio.Protocol`."""
        self._transport = transport
        transport.write(self._poster.next())

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        self._answer += data
        head, blank, body = self._answer.partition(b"\r\n\r\n")
        if not blank or len(body) < _length(head):
            return
        if not self._answer.startswith(b"HTTP/1.1 200 "):
            self._end(RuntimeError(f"it answered {head[:60]!r}"))
            return
        self._answer = b""
        self._poster.done += 1
        if self._loop.time() >= self._ends:
            self._end()
        else:
            self._transport.write(self._poster.next())

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        if not self.over.done():
            self.over.set_exception(exc or RuntimeError("it hung up"))

    def _end(self, error: Exception | None = None) -> None:
        if error is None:
            self.over.set_result(None)
        elif not self.over.done():
            self.over.set_exception(error)
        self._transport.close()


def _length(head: bytes) -> int:
    """What the head of an answer says of its body."""
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    return 0
