"""Crashes: a process killed at one point after another of what it does, by SIGKILL.

What is left of a process that died between two steps shows whether the two are one.
"""

from __future__ import annotations

import asyncio
import inspect
import itertools
import os
import select
import signal
import sys
import threading
import time
import traceback
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, NoReturn, get_args

import msgspec

import barback
from barback.errors import ConfigurationError
from barback.stores.base import LeasedStore, SessionStore

if TYPE_CHECKING:
    from types import CodeType, FrameType, TracebackType
    from typing import Self

__all__ = ["Crash", "CrashPoints", "CrashRunError", "crash_at", "crashes"]

Kind = Literal["awaits", "calls", "lines"]
Run = Callable[["CrashPoints"], Awaitable[object] | None]

COROUTINES: Final = inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR
HALF_A_MINUTE: Final = 30.0
CALLERS: Final = 3


class Crash(NamedTuple):
    """What became of one run in a process of its own.

    - `nth`: the point at which it was to die; 0: at none.
    - `died`: whether it did; or else it ended first.
    - `points`: how many it came to.
    - `where`: where it died, in words; "" if it did not.
    """

    nth: int
    died: bool
    points: int
    where: str


class CrashRunError(AssertionError):
    """The run failed, hung, or ended of something else than its crash: it shows nothing."""


class CrashPoints:
    """What a run is given: inside `with points:` it may die, and nowhere else.

    `nth` is the point at which it is to die, counted from 1; 0 where it is not to. It also tells
    one run from another: a run that writes to a session of its own waits for no dead one's lease.
    `inside`: whether it may die now.
    """

    def __init__(self, nth: int) -> None:
        self.nth = nth
        self.inside = False

    def __enter__(self) -> Self:
        self.inside = True
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.inside = False


def crashes(
    run: Run,
    *,
    at: Collection[Kind] = ("awaits", "calls"),
    of: Iterable[ModuleType | str | Path] = (),
    every: int = 1,
    within: float = HALF_A_MINUTE,
) -> Iterator[Crash]:
    """Run again and again, killed at the first point, at the second… until a run outlives them all.

        for crash in crashes(run):
            ...  # look at what is left, which nobody is writing any more

    - `run`: a function, `async def` or not, that is given its `CrashPoints` and does the thing. It
      opens what it needs: it is called in a process of its own each time, on its own event loop.
    - `at`: which points there are. "awaits": each beginning and each resumption of a coroutine,
      anyone's. "calls": a method of a store is entered or left, or waits, or goes on. "lines": each
      line of barback's code and of what is named by `of`, in whichever thread it runs.
    - `of`: modules, packages, or paths of them.
    - `every`: 7, for example, dies at each seventh point only; a turn has some hundred lines.
    - `within`: seconds that a run may take.

    The processes are forked. So call it where no event loop runs, such as in a test that is not
    `async def`, and where no thread and no connection of this process are needed in the run.
    Raises `CrashRunError` if a run fails by itself, or if there is no point in it;
    `ConfigurationError` where that cannot be done: there is no fork, or an event loop runs.
    """
    if every < 1:
        message = f"every must be at least 1, not {every}."
        raise ConfigurationError(message)
    for nth in itertools.count(1, every):
        crash = crash_at(run, nth, at=at, of=of, within=within)
        if not crash.died:
            if crash.points == 0:
                message = "There was no point at which to die: is anything inside `with points:`?"
                raise CrashRunError(message)
            return
        yield crash


def crash_at(
    run: Run,
    nth: int,
    *,
    at: Collection[Kind] = ("awaits", "calls"),
    of: Iterable[ModuleType | str | Path] = (),
    within: float = HALF_A_MINUTE,
) -> Crash:
    """Run once, to be killed at the `nth` point; at none, if it is 0, so that they are counted.

    Everything else is as in `crashes`.
    """
    _check(nth, at)
    files = tuple(map(_prefix, (barback, *of)))
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _live(run, _Death(CrashPoints(nth), at, files, writer))
    os.close(writer)
    told: bytes | None = None
    try:
        told = _hear(reader, within)
    finally:
        os.close(reader)
        if told is None:  # it hangs, or who waits for it was interrupted
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
    return _judge(nth, told, status, within)


def _check(nth: int, at: Collection[Kind]) -> None:
    if not hasattr(os, "fork"):
        message = "Crashes need a system that can fork a process, and this one cannot."
        raise ConfigurationError(message)
    if nth < 0 or not at or not {*at} <= {*get_args(Kind)}:
        message = f"There is no point {nth} of {at!r}: at names some of {get_args(Kind)}."
        raise ConfigurationError(message)
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    message = (
        "An event loop runs here, and a child cannot be forked from it: "
        "call it in a function that is not `async def`."
    )
    raise ConfigurationError(message)


def _judge(nth: int, told: bytes | None, status: int, within: float) -> Crash:
    """What a run was, by what it told and by how it ended; or raise what was wrong with it."""
    if told is None:
        message = f"The run that was to die at point {nth} had not ended after {within:g} seconds."
        raise CrashRunError(message)
    if not told:
        message = f"The run that was to die at point {nth} ended of something else: {status=}."
        raise CrashRunError(message)
    end = msgspec.json.decode(told, type=_Told)
    if end.error:
        message = f"The run that was to die at point {nth} failed by itself:\n{end.error}"
        raise CrashRunError(message)
    return Crash(nth, end.died, end.points, end.where)


def _hear(reader: int, within: float) -> bytes | None:
    """The line that the child writes as it ends; b"" if it ends without, None if it does not."""
    until = time.monotonic() + within
    line = b""
    while not line.endswith(b"\n"):
        ready, _, _ = select.select([reader], [], [], max(0.0, until - time.monotonic()))
        if not ready:
            return None
        some = os.read(reader, 65_536)
        if not some:
            return b""
        line += some
    return line


class _Told(msgspec.Struct):
    """What a child tells of its end, as it comes."""

    died: bool
    points: int
    where: str = ""
    error: str = ""


# In the child.


def _live(run: Run, death: _Death) -> NoReturn:
    """Run, die or tell how it went, and end without whatever the parent does at its end."""
    error = ""
    try:
        threading.settrace(death.watch)
        sys.settrace(death.watch)
        try:
            done = run(death.points)
            if done is not None:
                asyncio.run(_awaited(done))
        finally:
            sys.settrace(None)
    except BaseException:  # noqa: BLE001 - the parent raises it
        error = traceback.format_exc()
    try:
        death.tell(_Told(died=False, points=death.met, error=error))
    finally:
        os._exit(0)


class _Death:
    """Counts the points of a run, and kills the process at the nth; `report` is told where."""

    def __init__(
        self, points: CrashPoints, at: Collection[Kind], of: tuple[str, ...], report: int
    ) -> None:
        self.points = points
        self.met = 0
        self._counter = itertools.count(1)  # of all threads: each number comes once
        self._awaits, self._calls, self._lines = (kind in at for kind in get_args(Kind))
        self._of = of
        self._report = report

    def watch(self, frame: FrameType, _event: str, _: Any) -> Any:
        """Python calls it whenever a function begins, and whenever a coroutine goes on."""
        code = frame.f_code
        if self._awaits and code.co_flags & COROUTINES:
            self._meet("a coroutine begins or goes on", frame)
        called = self._calls and _is_of_a_store(code, frame)
        if called:
            self._meet("a store's method begins or goes on", frame)
        lines = self._lines and code.co_filename.startswith(self._of)
        if not (called or lines):
            return None
        frame.f_trace_lines = lines
        return self._see_end if called else self._see

    def tell(self, told: _Told) -> None:
        line = msgspec.json.encode(told) + b"\n"
        while line:
            line = line[os.write(self._report, line) :]

    def _see(self, frame: FrameType, event: str, _: Any) -> Any:
        if event == "line":
            self._meet("a line", frame)
        return self._see

    def _see_end(self, frame: FrameType, event: str, _: Any) -> Any:
        self._see(frame, event, _)
        if event == "return":
            self._meet("a store's method ends or waits", frame)
        return self._see_end

    def _meet(self, what: str, frame: FrameType) -> None:
        if not self.points.inside:
            return
        self.met = met = next(self._counter)
        if met == self.points.nth:
            self.tell(_Told(died=True, points=met, where=f"{what}: {_described(frame)}"))
            os.kill(os.getpid(), signal.SIGKILL)


def _described(frame: FrameType) -> str:
    """Where it is, and what called that, and that: a coroutine of asyncio's alone tells little."""
    callers: list[str] = []
    caller = frame.f_back
    while caller is not None and len(callers) < CALLERS:
        callers.append(f", in {caller.f_code.co_qualname}")
        caller = caller.f_back
    code = frame.f_code
    return f"{code.co_qualname}, {code.co_filename}:{frame.f_lineno}{''.join(callers)}"


async def _awaited(done: Awaitable[object]) -> None:
    await done


def _is_of_a_store(code: CodeType, frame: FrameType) -> bool:
    """Whether it is a method of a store that others call."""
    return (
        code.co_argcount > 0
        and code.co_varnames[0] == "self"
        and not code.co_name.startswith("_")
        and isinstance(frame.f_locals.get("self"), (LeasedStore, SessionStore))
    )


def _prefix(code: ModuleType | str | Path) -> str:
    """How the names of the files of a module or package begin."""
    if isinstance(code, ModuleType):
        if code.__file__ is None:
            message = f"{code.__name__} has no file: name its parts in `of`."
            raise ConfigurationError(message)
        path = Path(code.__file__)
        path = path.parent if hasattr(code, "__path__") else path
    else:
        path = Path(code).absolute()
    return f"{path}{os.sep}" if path.is_dir() else str(path)
