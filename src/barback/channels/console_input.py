"""ConsoleInput: lines that a person types, or that come through a pipe."""

from __future__ import annotations

import asyncio
import codecs
import os
import sys
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["LONGEST", "ConsoleInput", "PipedLines"]

LONGEST: Final = 1024 * 1024
"""Bytes of one piped line that are kept."""

CHUNK: Final = 64 * 1024


class ConsoleInput:
    """Standard input, line by line, without the event loop ever waiting for it.

    At a terminal each line is asked for with `prompt` and can be edited, with the earlier ones
    under the arrow keys where Python has its `readline`. `typed` says whether it is so: it needs
    standard output to be the terminal too. `asking` is true while the prompt stands there and
    `readline` waits behind it.

    A thread reads one line each time one is asked for, and none ahead. It may still be waiting
    when the program ends, and so must not hold a lock that Python's shutdown needs: piped input
    is read past `sys.stdin`, and `input()` at a terminal does not lock it either.
    """

    def __init__(self, prompt: str, on_cut: Callable[[], None]) -> None:
        self.typed = _is_terminal(sys.stdin) and _is_terminal(sys.stdout)
        self.asking = False
        self._read = partial(_typed_line, prompt) if self.typed else _piped(on_cut).read
        self._wanted: SimpleQueue[asyncio.Future[str | None] | None] = SimpleQueue()

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Read while inside; afterwards the terminal is as it was."""
        Thread(target=self._run, name="barback-console", daemon=True).start()
        try:
            with _terminal_kept(self._prompted) if self.typed else nullcontext():
                yield
        finally:
            self._wanted.put(None)

    async def next(self) -> str | None:
        """The next line, without its end; None at the end of input. Raises `OSError`."""
        line: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        self._wanted.put(line)
        text = await line
        self.asking = False
        return text

    def _run(self) -> None:
        while (line := self._wanted.get()) is not None:
            text = error = None
            try:
                text = self._read()
            except EOFError:
                pass
            except Exception as raised:  # noqa: BLE001 - raised where the line is awaited
                error = raised
            with suppress(RuntimeError):  # nobody waits any more: the loop is closed
                line.get_loop().call_soon_threadsafe(_settle, line, text, error)

    def _prompted(self) -> None:
        self.asking = True


def _settle(line: asyncio.Future[str | None], text: str | None, error: Exception | None) -> None:
    if line.done():
        return
    if error is None:
        line.set_result(text)
    else:
        line.set_exception(error)


def _typed_line(prompt: str) -> str:
    try:
        text = input(prompt)
    except UnicodeDecodeError as error:
        return error.object.decode(errors="replace")
    # What the terminal's encoding could not make sense of may have become lone surrogates.
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _piped(on_cut: Callable[[], None]) -> PipedLines:
    if sys.stdin is None:  # closed before Python started
        return PipedLines(lambda _: b"", on_cut)
    return PipedLines(partial(os.read, sys.stdin.fileno()), on_cut)


class PipedLines:
    """UTF-8 lines of what `read` returns piece by piece; what is not UTF-8 is replaced.

    A line longer than `LONGEST` is cut there, after a call of `on_cut`.
    """

    def __init__(self, read: Callable[[int], bytes], on_cut: Callable[[], None]) -> None:
        self._more = read
        self._on_cut = on_cut
        self._rest = b""
        self._ended = False

    def read(self) -> str | None:
        """The next line, or None. The last one needs no end, and CR LF is an end as well."""
        line = bytearray()
        cut = False
        while not self._ended:
            part, newline, self._rest = self._rest.partition(b"\n")
            room = LONGEST - len(line)
            cut = cut or len(part) > room
            line += part[:room]
            if newline:
                return self._text(line, cut=cut)
            self._rest = self._more(CHUNK)
            self._ended = not self._rest
        return self._text(line, cut=cut) if line else None

    def _text(self, line: bytearray, *, cut: bool) -> str:
        if cut:
            self._on_cut()
        # A character that was cut in two is left out.
        text, _ = codecs.utf_8_decode(line, "replace", not cut)
        return text.removesuffix("\r")


def _is_terminal(stream: object) -> bool:
    isatty = getattr(stream, "isatty", None)
    return isatty is not None and bool(isatty())


@contextmanager
def _terminal_kept(on_prompt: Callable[[], None]) -> Iterator[None]:
    """Put the terminal's attributes back: `readline` leaves them changed if we stop it waiting.

    `on_prompt` is called each time `readline` has shown the prompt.
    """
    with suppress(ImportError):
        import readline  # noqa: PLC0415 - it changes how input() works, so not before it must

        # Off, whatever ~/.inputrc says: a paste of several lines is several lines, as it is through
        # a pipe, and the terminal is not left in a mode that nobody ends.
        readline.parse_and_bind("set enable-bracketed-paste off")
        readline.set_pre_input_hook(on_prompt)
    try:
        import termios  # noqa: PLC0415 - Windows has none
    except ImportError:
        yield
        return
    terminal = sys.stdin.fileno()
    attributes = termios.tcgetattr(terminal)
    try:
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, attributes)
