"""How far a long command has come: one line that is written over, or a line now and then."""

from __future__ import annotations

import math
import shutil
import time
from typing import TYPE_CHECKING, Final, TextIO

from barback.cli.words import mute

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Progress"]

ON_A_TERMINAL: Final = 0.1  # seconds between two updates
ELSEWHERE: Final = 10.0
WIDTH: Final = 20  # of the bar
MARK: Final = "###"


class Progress:
    """Tells on `stream` what has been done and how fast; how much there is in all, nobody knows.

    On a terminal, a bar whose mark moves on while work goes on; into a file or a pipe, plain lines.
    `clock` is in seconds.
    """

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._terminal = stream.isatty()
        self._clock = clock
        self._began = clock()
        self._next = self._began + (0 if self._terminal else ELSEWHERE)
        self._drawn = 0
        self._shown = 0

    @property
    def seconds(self) -> float:
        """How long it has gone on."""
        return self._clock() - self._began

    def tell(self, done: object, number: int) -> None:
        """What has been done, and of how many things; shown if the last time is long enough ago."""
        now = self._clock()
        if now < self._next:
            return
        text = f"{done}, {number / max(now - self._began, 0.001):,.0f} a second"
        if self._terminal:
            self._next = now + ON_A_TERMINAL
            self._draw(f"[{self._bar()}] {text}")
        else:
            self._next = now + ELSEWHERE
            self._write(f"{text}\n")

    def end(self) -> None:
        """Take the bar away."""
        if self._shown:
            self._draw("")
            self._write("\r")

    def _bar(self) -> str:
        """The next picture of a mark that goes there and back."""
        room = WIDTH - len(MARK)
        place = abs((self._drawn + room) % (2 * room) - room)
        self._drawn += 1
        return f"{' ' * place}{MARK}".ljust(WIDTH)

    def _draw(self, line: str) -> None:
        line = line[: shutil.get_terminal_size().columns - 1]
        self._write(f"\r{line.ljust(self._shown)}")
        self._shown = len(line)

    def _write(self, text: str) -> None:
        """Write, or from now on be silent: that nobody can be told is no reason to stop."""
        try:
            self._stream.write(text)
            self._stream.flush()
        except OSError:
            mute(self._stream)
            self._next = math.inf
