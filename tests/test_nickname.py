"""The example of the README, run as a person would run it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.every_store import SHARED, own_url

if os.name != "nt":
    import pty

NICKNAME = Path(__file__).parent.parent / "examples" / "nickname.py"

TALK = """\
You > Hi
Bot > Hi, what's your nickname?
You > Tim
Bot > Hello Tim
"""


def talk(lines: str, *arguments: str) -> str:
    """What the example writes on standard output when it is told `lines`."""
    done = subprocess.run(
        [sys.executable, str(NICKNAME), *arguments],
        input=lines,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return done.stdout


@pytest.mark.parametrize("store", ["memory://", "file:{}/sessions", None])
def test_the_talk_is_held_letter_for_letter(store: str | None, tmp_path: Path) -> None:
    arguments = [] if store is None else ["--store", store.format(tmp_path)]
    assert talk("Hi\nTim\n", *arguments) == TALK


@pytest.mark.parametrize("store", SHARED)
def test_after_a_restart_it_still_knows_what_it_was_told(
    store: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    url = own_url(store, request, tmp_path)
    first = talk("Hi\n", "--store", url)
    second = talk("Tim\n", "--store", url)
    assert first + second == TALK


def test_in_memory_it_starts_over_after_a_restart() -> None:
    assert talk("Hi\n") + talk("Hi\n") == "You > Hi\nBot > Hi, what's your nickname?\n" * 2


@pytest.mark.skipif(os.name == "nt", reason="Windows has no pseudo-terminals of this kind")
def test_typed_at_a_terminal_it_is_the_same_talk() -> None:
    keyboard, terminal = pty.openpty()
    with subprocess.Popen(
        [sys.executable, str(NICKNAME)],
        stdin=terminal,
        stdout=terminal,
        stderr=subprocess.PIPE,
        env={**os.environ, "TERM": "dumb"},
    ) as process:
        os.close(terminal)
        screen = b""

        def see(awaited: bytes) -> None:
            nonlocal screen
            while awaited not in screen:
                screen += os.read(keyboard, 1024)

        see(b"You > ")
        os.write(keyboard, b"Hi\n")
        see(b"nickname?\r\nYou > ")
        os.write(keyboard, b"Tim\n")
        see(b"Hello Tim\r\nYou > ")
        os.write(keyboard, b"/quit\n")
        assert process.wait(timeout=30) == 0
        os.close(keyboard)
    assert screen.decode().replace("\r\n", "\n").startswith(TALK)
