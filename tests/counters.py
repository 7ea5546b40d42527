"""Counters: what an event loop, an interpreter, a database and a wire are asked to do."""

from __future__ import annotations

import asyncio
import struct
import sys
import threading
from collections import Counter, deque
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from socket import socket
from typing import TYPE_CHECKING, Any

import hiredis
import msgspec

import barback
from barback import Record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import CodeType, FrameType

    from tests.relay import Relay

__all__ = ["CountingLoop", "Profile", "Statements", "instructions", "on_the_wire"]

OURS = str(Path(barback.__file__).parent)
TESTS = Path(__file__).parent
NOBODYS = (str(TESTS), str(TESTS.parent / "benchmarks"))  # the bot, and who counts

TOOL = 3  # of those that sys.monitoring has for nobody in particular

RECORDS = {
    Record.encode.__code__: "record_encodes",
    Record.decode.__code__: "record_decodes",
}
JSON: dict[object, str] = {
    msgspec.json.Encoder: "json_encodes",
    msgspec.json.Decoder: "json_decodes",
}


class CountingLoop(asyncio.SelectorEventLoop):
    """An event loop that keeps count of what it is asked for."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        super().__init__()

    def create_future(self) -> asyncio.Future[Any]:
        self.counts["futures"] += 1
        return super().create_future()

    def create_task(self, *args: Any, **options: Any) -> asyncio.Task[Any]:
        self.counts["tasks"] += 1
        return super().create_task(*args, **options)

    def call_at(self, *args: Any, **options: Any) -> asyncio.TimerHandle:  # type: ignore[override]
        self.counts["timers"] += 1
        return super().call_at(*args, **options)

    def call_soon(self, *args: Any, **options: Any) -> asyncio.Handle:  # type: ignore[override]
        self.counts["callbacks"] += 1
        return super().call_soon(*args, **options)

    def call_soon_threadsafe(self, *args: Any, **options: Any) -> asyncio.Handle:  # type: ignore[override]
        self.counts["from_threads"] += 1
        return super().call_soon_threadsafe(*args, **options)


class Profile:
    """What is called while inside, in this thread and in those started inside `threads`.

    - `functions`: Python functions of barback's that are entered, coroutines also when they go on;
      `builtins`: what these call that is not written in Python; `library_functions`: Python
      functions of anybody else's, but for the bot and the tests.
    - `record_encodes`, `record_decodes`, `json_encodes`, `json_decodes`, `fsyncs`.
    - `writes`: to sockets, and `to_threads`: messages, both from this thread alone.
    """

    def __init__(self) -> None:
        self._noted: deque[str] = deque()  # which threads may add to at once
        self._thread = threading.get_ident()

    @contextmanager
    def threads(self) -> Iterator[None]:
        threading.setprofile(self._note)
        try:
            yield
        finally:
            threading.setprofile(None)

    def __enter__(self) -> None:
        self._noted.clear()
        sys.setprofile(self._note)

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)

    @property
    def counts(self) -> Counter[str]:
        return Counter(self._noted.copy())

    def _note(self, frame: FrameType, event: str, argument: Any) -> None:
        file = frame.f_code.co_filename
        if event == "c_call":
            self._called(argument, ours=file.startswith(OURS))
        elif event == "call" and file.startswith(OURS):
            self._noted.append("functions")
            if frame.f_code in RECORDS:
                self._noted.append(RECORDS[frame.f_code])
        elif event == "call" and not file.startswith(NOBODYS):
            self._noted.append("library_functions")

    def _called(self, builtin: Any, *, ours: bool) -> None:
        owner, name = builtin.__self__, builtin.__name__
        if ours:
            self._noted.append("builtins")
        if ours and type(owner) in JSON:
            self._noted.append(JSON[type(owner)])
        elif name == "fsync":
            self._noted.append("fsyncs")
        elif threading.get_ident() == self._thread:
            if isinstance(owner, SimpleQueue) and name == "put":
                self._noted.append("to_threads")
            elif isinstance(owner, socket) and name.startswith("send"):
                self._noted.append("writes")


class Statements:
    """What a SQLite connection executes, given to its `set_trace_callback`.

    `transactions`, and those of them that are `durable`: committed with a wait for the disk.
    """

    def __init__(self) -> None:
        self._full = True
        self.counts: Counter[str] = Counter()

    def __call__(self, statement: str) -> None:
        self.counts["statements"] += 1
        if statement.startswith("PRAGMA synchronous"):
            self._full = statement.endswith("FULL")
        elif statement == "COMMIT":
            self.counts["transactions"] += 1
            self.counts["durable"] += self._full


def on_the_wire(store: str, relay: Relay) -> Counter[str]:
    """What a server was asked: `commands`, and of PostgreSQL `statements` and `transactions`."""
    counts = Counter(trips=relay.trips, sent=0, received=relay.answered)
    for said in map(bytes, relay.asked.values()):
        counts["sent"] += len(said)
        counts.update(PROTOCOLS[store](said))
    return counts


def _resp(said: bytes) -> Iterator[str]:
    reader = hiredis.Reader(notEnoughData=Ellipsis)
    reader.feed(said)
    while reader.gets() is not Ellipsis:
        yield "commands"


def _mongodb(said: bytes) -> Iterator[str]:
    while said:
        yield "commands"
        (length,) = struct.unpack("<i", said[:4])
        said = said[length:]


def _postgresql(said: bytes) -> Iterator[str]:
    """Each Execute is a statement; each Sync ends a transaction."""
    names = {b"E": "statements", b"S": "transactions"}
    while said:
        if said[:1] in names:
            yield names[said[:1]]
        (length,) = struct.unpack("!i", said[1:5])
        said = said[1 + length :]


PROTOCOLS: dict[str, Callable[[bytes], Iterator[str]]] = {
    "redis": _resp,
    "mongo": _mongodb,
    "postgres": _postgresql,
}


@contextmanager
def instructions() -> Iterator[Counter[str]]:
    """The bytecode instructions of barback's functions, by the function, while inside."""
    counts: Counter[str] = Counter()
    if sys.version_info >= (3, 12):
        watched = _monitored(counts)
    else:
        watched = _traced(counts)
    with watched:
        yield counts


@contextmanager
def _traced(counts: Counter[str]) -> Iterator[None]:
    def entered(frame: FrameType, _: str, __: Any) -> Any:
        if not frame.f_code.co_filename.startswith(OURS):
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        name = frame.f_code.co_qualname

        def executed(_: FrameType, event: str, __: Any) -> Any:
            if event == "opcode":
                counts[name] += 1
            return executed

        return executed

    before = sys.gettrace()  # it may be who measures what the tests cover
    sys.settrace(entered)
    try:
        yield
    finally:
        sys.settrace(before)


@contextmanager
def _monitored(counts: Counter[str]) -> Iterator[None]:
    """The same on Python 3.12 and later, where tracing misses some."""
    monitoring: Any = sys.monitoring  # type: ignore[attr-defined,unused-ignore]

    def executed(code: CodeType, _: int) -> Any:
        if not code.co_filename.startswith(OURS):
            return monitoring.DISABLE
        counts[code.co_qualname] += 1
        return None

    monitoring.use_tool_id(TOOL, "barback's tests")
    monitoring.register_callback(TOOL, monitoring.events.INSTRUCTION, executed)
    monitoring.set_events(TOOL, monitoring.events.INSTRUCTION)
    try:
        yield
    finally:
        monitoring.set_events(TOOL, 0)
        monitoring.free_tool_id(TOOL)
