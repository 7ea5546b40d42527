"""One connection to a Redis or Valkey server, shared by all that is asked of it."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import time
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Self

import hiredis
import pytest
from redis.asyncio.connection import Connection

from barback.stores.redis import link as redis_link
from barback.stores.redis.commands import pack
from barback.stores.redis.link import Link
from barback.stores.redis.wire import LinkDown
from tests.slack import SLACK
from tests.valkey_servers import ValkeyServer

PING = pack("PING")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ValkeyServer]:
    with ValkeyServer(tmp_path) as own:
        yield own


class Linked(Link):
    """A link to a server, which counts how often it connects."""

    def __init__(self, port: int, *, timeout: float = 5.0, connect_timeout: float = 5.0) -> None:
        self.port = port
        self.attempts = 0
        super().__init__(
            self.connect, where="there", timeout=timeout, connect_timeout=connect_timeout
        )

    async def connect(self) -> Any:
        self.attempts += 1
        connection: Any = Connection(
            host="127.0.0.1", port=self.port, protocol=2, socket_timeout=None
        )
        try:
            await connection.connect()
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        return connection

    def allow(self, timeout: float) -> None:
        """Another `timeout` from now on: when it stands, little is enough for it."""
        self._timeout = timeout
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


async def test_replies_come_to_who_asked_whatever_their_size(server: ValkeyServer) -> None:
    async with Linked(server.port) as link:
        sizes = [1, 100_000, 0, 1_000_000, 17, 65_536] * 3
        told = await asyncio.gather(*(link.ask(pack("ECHO", b"x" * size)) for size in sizes))
        assert sizes == [len(each) for each in told]
        assert link.attempts == 1


async def test_only_the_last_of_several_commands_is_answered(server: ValkeyServer) -> None:
    async with Linked(server.port) as link:
        first = link.ask(pack("INCR", "n"), pack("NO-SUCH-COMMAND"), pack("INCR", "n"))
        second = link.ask(pack("INCR", "n"))
        assert (await first, await second) == (2, 3)


async def test_an_error_of_the_servers_is_a_reply(server: ValkeyServer) -> None:
    async with Linked(server.port) as link:
        replies = await asyncio.gather(link.ask(pack("NO-SUCH-COMMAND")), link.ask(PING))
        assert isinstance(replies[0], hiredis.ReplyError)
        assert replies[1] == b"PONG"


async def test_who_stops_waiting_disturbs_nobody(server: ValkeyServer) -> None:
    async with Linked(server.port) as link:
        asked = [link.ask(pack("INCR", "n")) for _ in range(9)]
        for future in asked[::2]:
            future.cancel()
        assert await asyncio.gather(*asked[1::2]) == [2, 4, 6, 8]
        assert await link.ask(pack("GET", "n")) == b"9"


async def test_all_that_is_asked_meanwhile_shares_one_attempt_to_connect() -> None:
    async with Linked(1) as link:
        asked = [link.ask(PING) for _ in range(50)]
        outcomes = await asyncio.gather(*asked, return_exceptions=True)
        assert link.attempts == 1
        for outcome in outcomes:
            assert isinstance(outcome, LinkDown)
            assert not outcome.sent
            assert isinstance(outcome.__cause__, Exception)
        with pytest.raises(LinkDown, match="could not connect to there"):
            await link.ask(PING)
        assert link.attempts == 2


async def test_a_server_that_closes_what_it_took_is_asked_once(server: ValkeyServer) -> None:
    class Ended(Linked):
        async def connect(self) -> Any:
            connection = await super().connect()
            connection._writer.close()  # as TLS does where the end comes with the handshake
            return connection

    async with Ended(server.port) as link:
        for attempts in 1, 2:
            with pytest.raises(LinkDown, match="lost its connection") as caught:
                await link.ask(PING)
            assert not caught.value.sent
            assert link.attempts == attempts


async def test_connecting_takes_no_longer_than_it_may(server: ValkeyServer) -> None:
    os.kill(server.pid, signal.SIGSTOP)
    loop = asyncio.get_running_loop()
    for limits in (
        {"timeout": 60, "connect_timeout": 0.2},
        {"timeout": 0.2, "connect_timeout": 60},
    ):
        async with Linked(server.port, **limits) as link:
            started = loop.time()
            with pytest.raises(LinkDown) as caught:
                await link.ask(PING)
            assert 0.15 < loop.time() - started < SLACK
            assert not caught.value.sent
    os.kill(server.pid, signal.SIGCONT)


async def test_a_late_answer_costs_the_connection_and_the_next_has_another(
    server: ValkeyServer,
) -> None:
    async with Linked(server.port) as link:
        assert await link.ask(PING) == b"PONG"
        link.allow(0.3)
        os.kill(server.pid, signal.SIGSTOP)
        outcomes = await asyncio.gather(*(link.ask(PING) for _ in range(3)), return_exceptions=True)
        for outcome in outcomes:
            assert isinstance(outcome, LinkDown)
            assert outcome.sent
            assert isinstance(outcome.__cause__, TimeoutError)
        assert not link.connected
        os.kill(server.pid, signal.SIGCONT)
        link.allow(5.0)
        assert await link.ask(pack("ECHO", "mine")) == b"mine"
        assert link.attempts == 2


async def test_time_without_questions_is_no_lateness(server: ValkeyServer) -> None:
    async with Linked(server.port, timeout=1) as link:
        for _ in range(3):
            assert await link.ask(PING) == b"PONG"
            await asyncio.sleep(0.6)
        assert link.attempts == 1


async def test_a_server_that_went_away_unasked_is_connected_to_again(server: ValkeyServer) -> None:
    async with Linked(server.port) as link:
        assert await link.ask(PING) == b"PONG"
        await asyncio.to_thread(server.kill)
        async with asyncio.timeout(10):
            while link.connected:
                await asyncio.sleep(0.01)
        server.start()
        assert await link.ask(PING) == b"PONG"
        assert link.attempts == 2


async def test_what_may_wait_is_bounded(
    server: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_link, "MOST_WAITING", 10)
    async with Linked(server.port) as link:
        outcomes = await asyncio.gather(
            *(link.ask(PING) for _ in range(15)), return_exceptions=True
        )
        assert outcomes[:10] == [b"PONG"] * 10
        assert [type(outcome) for outcome in outcomes[10:]] == [LinkDown] * 5
        assert await link.ask(PING) == b"PONG"


async def test_a_server_that_does_not_read_is_not_written_to_without_end(
    server: ValkeyServer,
) -> None:
    async with Linked(server.port, timeout=1) as link:
        assert await link.ask(PING) == b"PONG"
        os.kill(server.pid, signal.SIGSTOP)
        asked = []
        for _ in range(40):
            asked.append(link.ask(pack("ECHO", b"x" * 1_000_000)))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        outcomes = await asyncio.gather(*asked, return_exceptions=True)
        sent = [outcome.sent for outcome in outcomes if isinstance(outcome, LinkDown)]
        assert len(sent) == 40
        assert sent == sorted(sent, reverse=True)
        assert 0 < sum(sent) < 40  # the rest never left, and surely did nothing
        os.kill(server.pid, signal.SIGCONT)
        assert await link.ask(PING) == b"PONG"


async def test_a_connection_that_retires_lets_what_was_sent_be_answered(
    server: ValkeyServer,
) -> None:
    async with Linked(server.port) as link:
        before = await link.ask(pack("CLIENT", "ID"))
        link.retire()
        after = await link.ask(pack("CLIENT", "ID"))
        assert before != after
        sent = link.ask(pack("CLIENT", "ID"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        link.retire()
        assert await link.ask(pack("CLIENT", "ID")) not in {before, after}
        assert await sent == after


async def test_closing_waits_for_answers_and_then_refuses(server: ValkeyServer) -> None:
    link = Linked(server.port)
    asked = [link.ask(pack("INCR", "n")) for _ in range(20)]
    asked[3].cancel()
    await link.close()
    assert [future.result() for future in asked if not future.cancelled()][-1] == 20
    with pytest.raises(LinkDown, match="closed"):
        await link.ask(PING)
    await link.close()


async def test_closing_twice_at_once_waits_twice(server: ValkeyServer) -> None:
    link = Linked(server.port)
    assert await link.ask(PING) == b"PONG"
    link.allow(0.3)
    os.kill(server.pid, signal.SIGSTOP)
    asked = link.ask(PING)
    async with asyncio.timeout(10):
        await asyncio.gather(link.close(), link.close())
    assert isinstance(asked.exception(), LinkDown)
    os.kill(server.pid, signal.SIGCONT)


async def test_answers_that_came_while_the_event_loop_stood_still_are_read(
    server: ValkeyServer,
) -> None:
    async with Linked(server.port) as link:
        await link.ask(pack("SET", "long", b"x" * 100_000))
        link.allow(0.2)
        asked = [link.ask(pack("GET", "long")) for _ in range(64)]
        await asyncio.sleep(0)  # it has left
        time.sleep(0.4)  # noqa: ASYNC251 - as a handler does that knows no better
        assert [len(reply) for reply in await asyncio.gather(*asked)] == [100_000] * 64
        assert link.attempts == 1


async def test_what_could_not_leave_in_time_does_not_leave(server: ValkeyServer) -> None:
    async with Linked(server.port) as link:
        assert await link.ask(PING) == b"PONG"
        link.allow(0.2)
        sent = link.ask(PING)
        late = link.ask(pack("INCR", "n"))  # at the end of this step
        time.sleep(0.4)  # noqa: ASYNC251 - see above
        with pytest.raises(LinkDown) as caught:
            await late
        assert not caught.value.sent
        assert await sent == b"PONG"
        link.allow(5.0)
        assert await link.ask(pack("INCR", "n")) == 1
        assert link.attempts == 1


async def test_a_reply_that_comes_without_end_is_given_up() -> None:
    started = time.monotonic()
    async with dribbling() as port, Linked(port, timeout=0.2) as link:
        with pytest.raises(LinkDown, match="no answer") as caught:
            await link.ask(PING)
        assert caught.value.sent
    assert time.monotonic() - started < SLACK


async def test_a_server_that_is_always_late_keeps_no_queue_waiting() -> None:
    loop = asyncio.get_running_loop()
    async with plodding(0.04) as port, Linked(port) as link:
        assert await link.ask(PING) == b"PONG"
        link.allow(0.2)
        started = loop.time()
        outcomes = await asyncio.gather(
            *(link.ask(PING) for _ in range(1000)), return_exceptions=True
        )
        assert loop.time() - started < SLACK  # and not the 40 seconds that it would take
        assert outcomes[0] == b"PONG"
        assert isinstance(outcomes[-1], LinkDown)
        assert outcomes[-1].sent
        assert not link.connected


async def test_a_server_that_is_late_at_times_keeps_its_connection() -> None:
    async with plodding(0.01) as port, Linked(port) as link:
        assert await link.ask(PING) == b"PONG"
        link.allow(0.05)
        for _ in range(12):
            replies = await asyncio.gather(*(link.ask(PING) for _ in range(6)))
            assert replies == [b"PONG"] * 6
        assert link.attempts == 1


async def test_what_is_asked_of_an_idle_server_is_there_before_the_next_step(
    server: ValkeyServer,
) -> None:
    async with Linked(server.port) as link:
        assert await link.ask(PING) == b"PONG"
        asked = [link.ask(pack("INCR", "n")) for _ in range(3)]
        give_up_at = time.monotonic() + 10
        while server.ask("GET", "n") is None:
            assert time.monotonic() < give_up_at
        assert server.ask("GET", "n") == "1"  # the others wait for the end of this step
        assert await asyncio.gather(*asked) == [1, 2, 3]


async def test_what_those_who_were_answered_together_ask_next_leaves_together() -> None:
    many = 16
    async with together(many) as port, Linked(port) as link:
        await asyncio.gather(*(link.ask(PING) for _ in range(many)))
        assert link._wire is not None
        link._wire._transport = writes = Writes(link._wire._transport)

        async def ask_twice() -> None:
            await link.ask(PING)
            await link.ask(PING)

        await asyncio.gather(*(ask_twice() for _ in range(many)))
        assert [each.count(b"PING") for each in writes.seen] == [1, many - 1, many]


async def test_an_operation_whose_time_is_over_leaves_the_connection_to_others(
    server: ValkeyServer,
) -> None:
    loop = asyncio.get_running_loop()
    async with Linked(server.port) as link:
        assert await link.ask(PING) == b"PONG"
        os.kill(server.pid, signal.SIGSTOP)
        others = link.ask(pack("ECHO", "others"))
        with pytest.raises(LinkDown) as caught:
            await link.ask(pack("INCR", "n"), before=loop.time() + 0.1)
        assert caught.value.sent
        with pytest.raises(LinkDown) as caught:
            await link.ask(pack("INCR", "n"), before=loop.time())
        assert not caught.value.sent
        os.kill(server.pid, signal.SIGCONT)
        assert await others == b"others"
        assert await link.ask(pack("GET", "n")) == b"1"
        assert link.attempts == 1


async def test_a_connection_keeps_nothing_of_who_asked_first(server: ValkeyServer) -> None:
    current: ContextVar[Linked] = ContextVar("current")
    async with Linked(server.port) as link:

        async def ask() -> weakref.ref[Linked]:
            own = Linked(server.port)
            current.set(own)
            await link.ask(PING)
            return weakref.ref(own)

        kept = await asyncio.create_task(ask())
        assert await link.ask(PING) == b"PONG"
        gc.collect()
        assert link.connected
        assert kept() is None


async def test_a_reply_that_nobody_asked_for_ends_the_connection() -> None:
    async with answering(b"+PONG\r\n+EXTRA\r\n") as port, Linked(port) as link:
        assert await link.ask(PING) == b"PONG"
        async with asyncio.timeout(10):
            while link.connected:
                await asyncio.sleep(0.01)
        assert await link.ask(PING) == b"PONG"
        assert link.attempts == 2


async def test_what_is_not_the_protocol_ends_the_connection() -> None:
    async with answering(b"HTTP/1.1 400\r\n") as port, Linked(port) as link:
        with pytest.raises(LinkDown, match="lost its connection") as caught:
            await link.ask(PING)
        assert caught.value.sent
        assert isinstance(caught.value.__cause__, hiredis.ProtocolError)


class Writes:
    """A transport of which it is seen what is written."""

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        self.seen: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.seen.append(data)
        self._transport.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


@asynccontextmanager
async def answering(answer: bytes) -> AsyncIterator[int]:
    """A port where something that is no such server answers PING; the rest with OK."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1000):
            writer.write(answer if b"PING" in data else b"+OK\r\n" * data.count(b"*"))

    async with serving(serve) as port:
        yield port


@asynccontextmanager
async def plodding(pause: float) -> AsyncIterator[int]:
    """A port where one PING after another is answered, each after a pause."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(100_000):
            writer.write(b"+OK\r\n" * (data.count(b"*") - data.count(b"PING")))
            for _ in range(data.count(b"PING")):
                await asyncio.sleep(pause)
                writer.write(b"+PONG\r\n")
                await writer.drain()

    async with serving(serve) as port:
        yield port


@asynccontextmanager
async def together(many: int) -> AsyncIterator[int]:
    """A port where so many PINGs at a time are answered together."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = 0
        while data := await reader.read(100_000):
            asked += data.count(b"PING")
            writer.write(b"+OK\r\n" * (data.count(b"*") - data.count(b"PING")))
            if asked == many:
                asked = 0
                writer.write(b"+PONG\r\n" * many)

    async with serving(serve) as port:
        yield port


@asynccontextmanager
async def dribbling() -> AsyncIterator[int]:
    """A port where the answer to PING comes byte by byte, and is very long."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while b"PING" not in (data := await reader.read(1000)):
            writer.write(b"+OK\r\n" * data.count(b"*"))
        writer.write(b"$1000000\r\n")
        while not writer.is_closing():
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.01)

    async with serving(serve) as port:
        yield port


@asynccontextmanager
async def serving(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[int]:
    running: set[asyncio.Task[Any] | None] = set()

    async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        running.add(asyncio.current_task())
        with suppress(OSError):
            await serve(reader, writer)
        writer.close()

    server = await asyncio.start_server(serve_one, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await asyncio.wait([task for task in running if task is not None], timeout=10)
