"""The example of a talk in steps, run as a person would run it; and killed between its steps."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from barback.testing import Simulator
from examples.booking import bot

if TYPE_CHECKING:
    from typing import Self

BOOKING: Final = Path(__file__).parent.parent / "examples" / "booking.py"

TALK: Final = """\
You > Hello
Bot > Hello to you! /book books a table.
You > /book
Bot > In what name?
You > Tim
Bot > Good day, Tim. For which day? As in 2027-05-31, please.
You > tomorrow
Bot > That is no day. As in 2027-05-31, please.
You > 2027-05-31
Bot > A table for Tim on Monday, 31 May 2027? /payload yes, or /payload no
You > yes
Bot > Please press yes or no; /cancel books nothing.
You > /payload no
Bot > For which other day?
You > 2027-06-01
Bot > A table for Tim on Tuesday, 01 June 2027? /payload yes, or /payload no
You > /payload yes
Bot > It is booked. /list tells what is.
You > /list
Bot > 2027-06-01: Tim
You > /payload yes
Bot > /book books a table, /list tells what is booked.
"""


class Running:
    """The example as a process, on a store."""

    def __init__(self, url: str) -> None:
        self._url = url

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, str(BOOKING), "--store", self._url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        return self

    def say(self, line: str) -> str:
        """Say a line, and return what stands there of it and of the answer: a line each."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        return self._process.stdout.readline() + self._process.stdout.readline()

    def kill(self) -> None:
        """Kill it between two turns: it takes the next line when it has committed the last."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("/help\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == "You > /help\n"
        self._process.send_signal(signal.SIGKILL)

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate(timeout=30)


def talk(lines: list[str]) -> str:
    """What the example writes on standard output when it is told these lines."""
    done = subprocess.run(
        [sys.executable, str(BOOKING)],
        input="".join(f"{line}\n" for line in lines),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return done.stdout


def test_the_talk_is_held_letter_for_letter() -> None:
    lines = TALK.splitlines()[::2]
    assert talk([line.removeprefix("You > ") for line in lines]) == TALK


def test_the_console_shows_the_step() -> None:
    rows = talk(["/book", "Tim", "/session"]).splitlines()
    assert "step           ask_day" in rows
    assert "step" not in talk(["Hello", "/session"])


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_killed_between_any_two_steps_it_goes_on_where_it_was(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/booking.db"
    lines = TALK.splitlines(keepends=True)
    for asked, answered in zip(lines[::2], lines[1::2], strict=True):
        with Running(url) as process:  # a new one for each line
            assert process.say(asked.removeprefix("You > ").rstrip("\n")) == asked + answered
            process.kill()


async def test_it_can_be_left_at_every_step() -> None:
    for before in ([], ["Tim"], ["Tim", "2027-05-31"]):
        async with Simulator(bot) as chat:
            for line in ["/book", *before]:
                await chat.say(line)
            assert await chat.step() is not None
            assert await chat.say("/cancel") == ["Nothing is booked. /book begins anew."]
            assert await chat.step() is None
            assert await chat.press("yes") == ["/book books a table, /list tells what is booked."]
            assert (await chat.state())["bookings"] == []


async def test_who_talks_at_once_is_each_at_a_step_of_their_own() -> None:
    async with Simulator(bot) as chat:
        await chat.say("/book", user="tim")
        await chat.say("/book", user="ann")
        await chat.say("Tim", user="tim")
        assert (await chat.step(user="tim"), await chat.step(user="ann")) == ("ask_day", "ask_name")
        assert await chat.say("Ann", user="ann") != await chat.say("Ann", user="tim")
