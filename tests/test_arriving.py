"""What strangers send to `barback run` before any of it is a request: over a bare socket."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from barback.cli import arriving
from tests.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

MODULE = """
import asyncio
from barback import Bot, Event, User, WebhookChannel

class Pigeon(WebhookChannel):
    name = "pigeon"

    def verify(self, request):
        pass

    def events(self, request):
        return [Event(channel="pigeon", user=User("1"), text=request.body.decode()[:9])]

    async def send_text(self, context, text):
        pass

bot = Bot(channels=[Pigeon()])

@bot.on_event
async def take(context):
    if context.event.text == "sleep":
        await asyncio.sleep(1.5)
"""
QUICKLY = "import barback.cli.arriving as it; it.WITHIN = 0.5; from barback.cli import main; main()"
"""`barback`, with less patience than it has; the time itself is looked at below."""

START = b"POST /pigeon HTTP/1.1\r\nHost: bot.example\r\n"
HELLO = START + b"Content-Length: 5\r\n\r\nHello"
NOWHERE = b"POST /nowhere HTTP/1.1\r\nHost: bot.example\r\nContent-Length: 5\r\n\r\n"
CHUNKED = START + b"Transfer-Encoding: chunked\r\n\r\n"
LINE = b"X-Filler: " + b"x" * 1000 + b"\r\n"

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Where `barback run` listens."""
    folder = tmp_path_factory.mktemp("coop")
    (folder / "coop.py").write_text(MODULE)
    log = folder / "log"
    port = free_port()
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", QUICKLY, "run", "coop:bot", "--port", str(port)],
            cwd=folder,
            stderr=output,
        )
    try:
        while "running on" not in log.read_text():
            assert process.poll() is None, log.read_text()
            time.sleep(0.05)
        yield port
        assert process.poll() is None, "it ended by itself"
    finally:
        process.terminate()
        process.wait(60)
    assert "Traceback" not in log.read_text()


async def sent(port: int, *parts: bytes, more: bytes = b"", most: int = 0) -> tuple[bytes, int]:
    """What is answered until the connection is closed; and how much of `more` went out till then.

    `most`: how often `more` is sent at most, one after another.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answer = asyncio.ensure_future(reader.read())
    times = 0
    with suppress(ConnectionError):
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0.1)  # so that it comes alone
        while times < most and not answer.done():
            writer.write(more)
            await writer.drain()
            times += 1
    told = b""
    with suppress(ConnectionError):
        async with asyncio.timeout(20):
            told = await answer
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()
    return told, times * len(more)


def statuses_in(answer: bytes) -> list[bytes]:
    return re.findall(rb"HTTP/1\.1 (\d+)", answer)


async def test_headers_without_end_are_refused_before_they_fill_memory(port: int) -> None:
    for before in (b"GET /", START, START + b"X-Filler: ", CHUNKED + b"0\r\n", CHUNKED + b"5;"):
        more = LINE if before in (START, CHUNKED + b"0\r\n") else b"x" * 1000
        _, size = await sent(port, before, more=more, most=100_000)
        assert size < 20_000_000  # what the sockets hold among it


async def test_headers_have_64_kib_and_no_more(port: int) -> None:
    end = b"Connection: close\r\nContent-Length: 5\r\n\r\n"
    for size, status in ((64 * 1024, b"200"), (64 * 1024 + 1, b"431")):
        filler = b"X-Filler: " + b"x" * (size - len(START) - len(end) - 12) + b"\r\n"
        head = START + filler + end
        assert len(head) == size
        for parts in ([head + b"Hello"], [head[:1000], head[1000:], b"Hello"]):
            told, _ = await sent(port, *parts)
            assert told.startswith(b"HTTP/1.1 " + status)


async def test_a_long_body_is_no_header(port: int) -> None:
    body = b"x" * 900_000
    head = START + b"Connection: close\r\nContent-Length: 900000\r\n\r\n"
    told, _ = await sent(port, head + body)
    assert told.startswith(b"HTTP/1.1 200")
    chunks = b"".join(b"a\r\n" + body[:10] + b"\r\n" for _ in range(20_000)) + b"0\r\n\r\n"
    told, _ = await sent(port, CHUNKED.replace(b"Host", b"Connection: close\r\nHost") + chunks)
    assert told.startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    ("parts", "statuses"),
    [
        ([], []),
        ([START], [b"408"]),
        ([HELLO, START], [b"200", b"408"]),
        ([HELLO + START, b"X"], [b"200", b"408"]),
        ([HELLO + b"\r\n", b"\r\n"], [b"200", b"408"]),
        ([NOWHERE, b"H", b"e"], [b"404"]),
        ([NOWHERE + b"Hello", START], [b"404", b"408"]),
    ],
    ids=[
        "nothing",
        "half a head",
        "half a second",
        "the same at once",
        "empty lines",
        "half a body that nobody reads",
        "half a head after one",
    ],
)
async def test_what_does_not_come_is_not_waited_for(
    parts: list[bytes], statuses: list[bytes], port: int
) -> None:
    began = time.monotonic()
    answer, _ = await sent(port, *parts)
    assert time.monotonic() - began < 4  # less than idle connections have
    assert statuses_in(answer) == statuses


async def test_a_turn_may_take_longer_than_headers_may(port: int) -> None:
    slow = HELLO.replace(b"Hello", b"sleep").replace(b"Host", b"Connection: close\r\nHost")
    for parts in ([slow], [slow[:10], slow[10:-1], slow[-1:]], [slow, b"\r\n"], [slow, START]):
        answer, _ = await sent(port, *parts)
        assert statuses_in(answer) == [b"200"]


async def test_a_connection_that_is_kept_serves_many_requests(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for part in (HELLO, HELLO[:20], HELLO[20:], HELLO[:-1], HELLO[-1:] + HELLO, HELLO):
        writer.write(part)
        await writer.drain()
        await asyncio.sleep(0.3)
    writer.write_eof()
    answers = await reader.read(16 * 1024)
    assert answers.count(b"HTTP/1.1 200") == 5
    writer.close()
    await writer.wait_closed()


def test_headers_have_ten_seconds() -> None:
    assert arriving.WITHIN == 10.0
