"""The console, in real processes: behind a pipe and at a pseudo-terminal."""

from __future__ import annotations

import inspect
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barback import Bot, ConsoleBot
from barback.bot import BotOptions
from barback.channels.console_input import LONGEST, PipedLines

if sys.platform != "win32":
    import pty
    import termios

if TYPE_CHECKING:
    from collections.abc import Iterator

BOT = Path(__file__).with_name("console_bot.py")

# As at home: with a buffer on standard output, which Python empties once more when it ends.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}

posix = pytest.mark.skipif(os.name == "nt", reason="Windows has other signals and terminals")
editing = pytest.mark.skipif(find_spec("readline") is None, reason="this Python has no readline")


class Talk(NamedTuple):
    """What a bot left behind: its exit status, and what it wrote."""

    status: int
    out: str
    err: str


def talk(told: str | bytes, *arguments: str) -> Talk:
    """Tell the bot all of it through a pipe, and wait for its end."""
    done = subprocess.run(
        [sys.executable, str(BOT), *arguments],
        env=ENVIRONMENT,
        input=told.encode() if isinstance(told, str) else told,
        capture_output=True,
        check=False,
        timeout=60,
    )
    return Talk(done.returncode, done.stdout.decode(), done.stderr.decode())


class Partner:
    """A bot that runs, and is told one thing after the other."""

    def __init__(self, process: subprocess.Popen[bytes], tell: int, hear: int) -> None:
        self.process = process
        self.seen = ""
        self._tell = tell
        self._hear = hear
        self._read = 0

    def tell(self, text: str | bytes) -> None:
        os.write(self._tell, text.encode() if isinstance(text, str) else text)

    def see(self, awaited: str) -> None:
        """Read on until `awaited` stands there, after what was awaited before."""
        while (at := self.seen.find(awaited, self._read)) < 0:
            more = self._more()
            assert more, f"it ended after {self.seen!r}"
            self.seen += more
        self._read = at + len(awaited)

    def end(self) -> Talk:
        """Wait for its end, and for all that it wrote."""
        status = self.process.wait(30)
        assert self.process.stderr is not None
        while more := self._more():
            self.seen += more
        return Talk(status, self.seen, self.process.stderr.read().decode())

    def _more(self) -> str:
        return os.read(self._hear, 4096).decode(errors="replace").replace("\r\n", "\n")


class Sitter(Partner):
    """A partner at a terminal, which is held open to be looked at."""

    def __init__(self, process: subprocess.Popen[bytes], keyboard: int, terminal: int) -> None:
        super().__init__(process, keyboard, keyboard)
        self._terminal = terminal

    def attributes(self) -> list[object]:
        return [*termios.tcgetattr(self._terminal)]

    def end(self) -> Talk:
        """Wait for its end; the terminal says that this is all once nobody has it open."""
        self.process.wait(30)
        self.attributes_left = self.attributes()
        self.close()
        return super().end()

    def close(self) -> None:
        if self._terminal >= 0:
            os.close(self._terminal)
        self._terminal = -1

    def _more(self) -> str:
        try:
            return super()._more()
        except OSError:  # so Linux says that nobody has it open
            return ""


def fd(stream: IO[bytes] | None) -> int:
    assert stream is not None
    return stream.fileno()


@contextmanager
def running(*arguments: str) -> Iterator[Partner]:
    """A bot behind pipes that stay open."""
    with subprocess.Popen(
        [sys.executable, str(BOT), *arguments],
        env=ENVIRONMENT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        try:
            yield Partner(process, fd(process.stdin), fd(process.stdout))
        finally:
            process.kill()


@contextmanager
def at_terminal() -> Iterator[Sitter]:
    """A bot at a terminal of its own."""
    keyboard, terminal = pty.openpty()
    with subprocess.Popen(
        [sys.executable, str(BOT), "--own-terminal"],
        stdin=terminal,
        stdout=terminal,
        stderr=subprocess.PIPE,
        start_new_session=True,
        env={**ENVIRONMENT, "TERM": "xterm", "INPUTRC": os.devnull},
    ) as process:
        bot = Sitter(process, keyboard, terminal)
        try:
            yield bot
        finally:
            process.kill()
            bot.close()
            os.close(keyboard)


# What is said.


def test_each_line_is_repeated_and_answered() -> None:
    out = "You > a\nBot > heard a\nYou > b\nBot > heard b\n"
    assert talk("a\nb\n") == Talk(0, out, "")


def test_a_last_line_needs_no_end() -> None:
    assert talk("a\nb").out == "You > a\nBot > heard a\nYou > b\nBot > heard b\n"


def test_windows_line_ends_are_line_ends() -> None:
    assert talk(b"a\r\n").out == "You > a\nBot > heard a\n"


@pytest.mark.parametrize("told", ["", "\n", "\n  \n\t\n"])
def test_an_empty_line_is_ignored(told: str) -> None:
    assert talk(told) == Talk(0, "", "")


def test_the_further_lines_of_a_reply_stand_below_its_first() -> None:
    assert talk("lines\n").out == "You > lines\nBot > one\n      two\n\n      four\n"


def test_what_is_not_utf_8_is_replaced() -> None:
    assert talk(b"a\xff\n").out == "You > a\ufffd\nBot > heard a\ufffd\n"


def test_a_reply_that_is_no_text_does_not_hinder_the_talk() -> None:
    assert talk("surrogate\na\n") == Talk(
        0, "You > surrogate\nBot > half ? a sign\nYou > a\nBot > heard a\n", ""
    )


def test_a_line_that_is_too_long_is_cut_with_a_hint() -> None:
    status, out, err = talk("x" * (LONGEST + 10) + "\nb\n")
    assert status == 0
    assert out.endswith(f"\nBot > heard {LONGEST}\nYou > b\nBot > heard b\n")
    assert err == "The line is too long: what is beyond 1,048,576 bytes was left out.\n"


def lines_of(pieces: list[bytes]) -> tuple[list[str], int]:
    """The lines of input that comes in these pieces, and how many of them were cut."""
    cuts: list[None] = []
    left = iter([*pieces, b""])
    lines = PipedLines(lambda _: next(left), lambda: cuts.append(None))
    return list(iter(lines.read, None)), len(cuts)


@given(st.lists(st.binary(min_size=1) | st.sampled_from([b"\n", b"\r", b"\xc3", b"\xa9"])))
def test_lines_are_the_same_in_whatever_pieces_they_come(pieces: list[bytes]) -> None:
    *lines, last = b"".join(pieces).split(b"\n")
    expected = [line.decode(errors="replace").removesuffix("\r") for line in lines]
    if last:
        expected.append(last.decode(errors="replace").removesuffix("\r"))
    assert lines_of(pieces) == (expected, 0)


def test_a_character_that_comes_in_two_pieces_is_one() -> None:
    assert lines_of([b"\xc3", b"\xa9\n"]) == (["é"], 0)


def test_a_cut_leaves_no_half_of_a_character() -> None:
    long = b"x" * (LONGEST - 1)
    assert lines_of([long, "é…\nb".encode()]) == ([long.decode(), "b"], 1)


def test_a_line_of_the_greatest_length_is_not_cut() -> None:
    assert lines_of([b"x" * LONGEST, b"\n"]) == (["x" * LONGEST], 0)


# Commands.


def test_payload_presses_a_button() -> None:
    assert talk("/payload RED 1\n").out == "You > /payload RED 1\nBot > pressed RED 1\n"


def test_payload_without_one_is_explained() -> None:
    assert talk("/payload\n") == Talk(0, "You > /payload\n", "Say what it carries: /payload TEXT\n")


def test_state_is_shown_as_json() -> None:
    out = 'You > a\nBot > heard a\nYou > /state\n{\n  "last": "a"\n}\n'
    assert talk("a\n/state\n").out == out


def test_reset_brings_the_initial_state_back() -> None:
    assert talk("a\n/reset\n/state\n").out.endswith(
        "You > /reset\nThe state is the initial state again.\nYou > /state\n{}\n"
    )


def rows(shown: str) -> dict[str, str]:
    """What `/session` shows, by the names of the rows."""
    return {line[:15].strip(): line[15:] for line in shown.splitlines()}


def test_session_shows_a_new_one() -> None:
    shown = rows(talk("/session\n", "--store", "memory://?expires_in=never").out)
    assert shown["id"] == "console:you"
    assert shown["expires"] == "never"
    assert shown["version"] == "none yet: nothing is kept of it"


def test_session_shows_one_that_is_kept() -> None:
    shown = rows(talk("a\n/session\n", "--store", "memory://?expires_in=10").out)
    assert shown["id"] == "console:you"
    assert shown["created"] == shown["last activity"] < shown["expires"]
    assert shown["version"].isdigit()


def test_help_is_given_on_standard_error() -> None:
    status, out, err = talk("/help\n")
    assert (status, out) == (0, "You > /help\n")
    assert "/payload TEXT" in err


@pytest.mark.parametrize("command", ["/quit", "/exit"])
def test_quit_leaves_what_follows_unsaid(command: str) -> None:
    assert talk(f"a\n{command}\nb\n") == Talk(0, f"You > a\nBot > heard a\nYou > {command}\n", "")


def test_an_unknown_command_is_for_the_bot() -> None:
    assert talk("/start\n").out == "You > /start\nBot > heard /start\n"


def test_two_slashes_say_a_command_to_the_bot() -> None:
    assert talk("//help\n") == Talk(0, "You > //help\nBot > heard /help\n", "")


# What goes wrong.


def test_a_handlers_error_is_shown_with_its_place_and_the_talk_goes_on() -> None:
    status, out, err = talk("a\nfail\n/state\n")
    assert status == 0
    assert out == 'You > a\nBot > heard a\nYou > fail\nYou > /state\n{\n  "last": "a"\n}\n'
    first, second = err.splitlines()
    assert first == "Error > ValueError: no such thing"
    assert second.startswith(f"        {BOT}, line ")
    assert second.endswith(", in handle")


def test_a_bot_with_an_on_error_shows_its_errors_itself() -> None:
    assert talk("fail\n", "--own-errors") == Talk(0, "You > fail\nBot > sorry: no such thing\n", "")


def test_an_event_that_was_not_done_is_shown_and_the_talk_goes_on() -> None:
    status, out, err = talk("not now\na\n")
    assert (status, out) == (0, "You > not now\nYou > a\nBot > heard a\n")
    assert err.startswith("Error > Redeliver: come again\n")


def test_a_bot_without_a_handler_says_so() -> None:
    status, out, err = talk("a\n", "--without-handler")
    assert (status, out) == (0, "You > a\n")
    assert "The bot has no handler" in err


def test_what_the_console_cannot_send_is_an_error_with_a_remedy() -> None:
    status, out, err = talk("image\nattributes\n")
    assert (status, out) == (0, "You > image\nYou > attributes\nBot > False\n")
    assert err.startswith("Error > AttributeError: The console channel has no send_image. ")
    assert "fallback_methods=True" in err


def test_with_fallback_methods_it_is_printed_as_text() -> None:
    sent = "[send_image] https://example.org/a.png [1, 2] alt='an a' width=3"
    assert talk("image\n", "--fallback") == Talk(0, f"You > image\nBot > {sent}\n", "")


# The command line.


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("nonsense", "A store's URL starts with its kind"),
        ("nobody://me:secret@here", "No store serves URLs of the kind 'nobody'."),
        ("memory://?size=3", "A memory store has no option 'size'"),
        (f"file:{BOT}/sessions", f"The folder {BOT}/sessions cannot hold sessions"),
    ],
)
def test_a_store_that_cannot_be_had_is_one_sentence(url: str, reason: str) -> None:
    status, out, err = talk("a\n", "--store", url)
    assert (status, out) == (2, "")
    assert err.startswith(reason)
    assert err.count("\n") == 1
    assert "secret" not in err


@pytest.mark.parametrize(
    "store",
    [
        "file:{}/a-file/sessions",
        "sqlite:///{}/a-file",
        "redis://127.0.0.1:1?connect_timeout=1",
        "mongodb://127.0.0.1:1/?w=0",
    ],
)
def test_a_store_that_cannot_be_opened_is_one_sentence(store: str, tmp_path: Path) -> None:
    (tmp_path / "a-file").write_text("of somebody else")
    status, out, err = talk("b\n", "--store", store.format(tmp_path))
    assert (status, out) == (2, "")
    assert err.count("\n") == 1


def test_two_bots_may_share_a_store(tmp_path: Path) -> None:
    store = f"file:{tmp_path}/sessions"
    with running("--store", store) as first:
        first.tell("a\n")
        first.see("Bot > heard a\n")
        status, out, err = talk("b\n", "--store", store)
    assert (status, err) == (0, "")
    assert "Bot > heard b\n" in out


def test_help_tells_of_the_options_and_of_the_commands() -> None:
    status, out, err = talk("", "--help")
    assert (status, err) == (0, "")
    assert "--store URL" in out
    assert "/payload TEXT" in out


def test_an_unknown_option_is_refused() -> None:
    status, out, err = talk("a\n", "--shop", "x")
    assert (status, out) == (2, "")
    assert "unrecognized arguments: --shop x" in err


def test_another_store_is_for_one_run_only() -> None:
    told = "from barback import ConsoleBot; bot = ConsoleBot(session_store='memory://')\n"
    told += "own = bot._store; bot.run(['--store', 'memory://']); print(bot._store is own)"
    done = subprocess.run(
        [sys.executable, "-c", told], stdin=subprocess.DEVNULL, capture_output=True, check=True
    )
    assert done.stdout.strip() == b"True"


def test_a_program_may_keep_its_command_line_to_itself() -> None:
    told = "from barback import ConsoleBot; ConsoleBot().run(argv=[])"
    done = subprocess.run(
        [sys.executable, "-c", told, "--mine"], stdin=subprocess.DEVNULL, check=False
    )
    assert done.returncode == 0


# How it ends.


@posix
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_bot_that_waits_for_input(number: int, tmp_path: Path) -> None:
    store = f"file:{tmp_path}/sessions"
    with running("--store", store) as bot:
        bot.tell("a\n")
        bot.see("heard a\n")
        bot.process.send_signal(number)
        assert bot.end() == Talk(0, "You > a\nBot > heard a\n", "")
    assert talk("/state\n", "--store", store).out == 'You > /state\n{\n  "last": "a"\n}\n'


@posix
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_cancels_a_handler_and_keeps_nothing_of_it(number: int, tmp_path: Path) -> None:
    store = f"file:{tmp_path}/sessions"
    with running("--store", store) as bot:
        bot.tell("a\nwait\n")
        bot.see("waiting\n")
        bot.process.send_signal(number)
        status, _, err = bot.end()
    assert (status, err) == (0, "cancelled\n")
    assert talk("/state\n", "--store", store).out == 'You > /state\n{\n  "last": "a"\n}\n'


@posix
def test_it_leaves_when_nobody_reads_what_it_says() -> None:
    with running() as bot:
        bot.tell("a\n")
        bot.see("heard a\n")
        assert bot.process.stdout is not None
        bot.process.stdout.close()
        bot.tell("b\nc\n")
        assert bot.process.wait(30) == 0
        assert bot.process.stderr is not None
        assert bot.process.stderr.read() == b""


@posix
def test_an_event_whose_reply_nobody_reads_is_not_done(tmp_path: Path) -> None:
    store = f"file:{tmp_path}/sessions"
    with running("--store", store, "--own-errors") as bot:
        bot.tell("answer late\n")
        bot.see("thinking\n")
        assert bot.process.stdout is not None
        bot.process.stdout.close()
        bot.process.send_signal(signal.SIGUSR1)
        assert bot.process.wait(30) == 0
        assert bot.process.stderr is not None
        assert bot.process.stderr.read() == b""
    assert talk("/state\n", "--store", store).out == "You > /state\n{}\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full device here")
def test_output_that_fails_is_a_failure() -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, str(BOT)],
            env=ENVIRONMENT,
            input=b"a\nb\n",
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
            timeout=60,
        )
    assert done.returncode == 1
    assert done.stderr == b"Standard output cannot be written to: No space left on device.\n"


@posix
def test_without_standard_input_it_ends_at_once() -> None:
    done = subprocess.run(
        ["/bin/sh", "-c", '"$@" <&-', "sh", sys.executable, str(BOT)],
        env=ENVIRONMENT,
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


@posix
def test_input_that_cannot_be_read_is_said() -> None:
    done = subprocess.run(
        ["/bin/sh", "-c", '"$@" 0>/dev/null', "sh", sys.executable, str(BOT)],
        env=ENVIRONMENT,
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (0, b"")
    assert done.stderr == b"Standard input cannot be read: Bad file descriptor.\n"


# At a terminal.

BANNER = "/help lists the commands, /quit leaves.\n"


@posix
@editing
def test_at_a_terminal_the_text_stands_behind_the_prompt() -> None:
    with at_terminal() as bot:
        bot.see("You > ")
        bot.tell("ab\x7fc\n")
        bot.see("Bot > heard ac\nYou > ")
        bot.tell("/quit\n")
        status, _, err = bot.end()
    assert (status, err) == (0, BANNER)


@posix
@editing
def test_arrow_up_brings_back_what_was_said() -> None:
    with at_terminal() as bot:
        bot.see("You > ")
        bot.tell("again\n")
        bot.see("Bot > heard again\nYou > ")
        bot.tell("\x1b[A\n")
        bot.see("Bot > heard again\nYou > ")


@posix
@editing
@pytest.mark.parametrize("key", ["\x03", "\x04"], ids=["Ctrl-C", "Ctrl-D"])
def test_leaving_a_terminal_restores_it_and_ends_the_line(key: str) -> None:
    with at_terminal() as bot:
        before = bot.attributes()
        bot.see("You > ")
        assert bot.attributes() != before
        bot.tell(key)
        bot.see("\n")
        assert bot.end() == Talk(0, "You > \n", BANNER)
        assert bot.attributes_left == before


@posix
def test_a_paste_of_several_lines_is_several_lines() -> None:
    with at_terminal() as bot:
        bot.see("You > ")
        bot.tell("a\nb\n/quit\n")
        bot.see("Bot > heard a\n")
        bot.see("Bot > heard b\n")
        assert "\x1b" not in bot.end().out  # and the terminal is put into no mode of its own


@posix
def test_ctrl_c_at_a_terminal_cancels_a_handler() -> None:
    with at_terminal() as bot:
        before = bot.attributes()
        bot.see("You > ")
        bot.tell("wait\n")
        bot.see("Bot > waiting\n")
        bot.tell("\x03")
        bot.see("\n")
        status, _, err = bot.end()
        assert (status, err) == (0, f"{BANNER}cancelled\n")
        assert bot.attributes_left == before


@posix
@editing
def test_what_the_bot_says_unasked_leaves_the_prompt_and_what_is_typed() -> None:
    with at_terminal() as bot:
        bot.see("You > ")
        bot.tell("remind\n")
        bot.see("Bot > I will\nYou > ")
        bot.tell("half")
        bot.see("half")
        bot.process.send_signal(signal.SIGUSR1)
        bot.see("\r\x1b[KBot > do not forget\nYou > half")
        bot.tell(" a line\n")
        bot.see("Bot > heard half a line\n")
        bot.tell("/quit\n")
        assert bot.end().status == 0


@posix
def test_bytes_typed_that_are_not_utf_8_are_replaced() -> None:
    with at_terminal() as bot:
        bot.see("You > ")
        bot.tell(b"a\xffb\n")
        bot.see("Bot > heard a\ufffdb\n")
        bot.tell("/quit\n")
        assert bot.end().status == 0


@posix
def test_typed_with_the_output_elsewhere_it_reads_as_through_a_pipe() -> None:
    keyboard, terminal = pty.openpty()
    try:
        with subprocess.Popen(
            [sys.executable, str(BOT)],
            env=ENVIRONMENT,
            stdin=terminal,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:
            os.write(keyboard, b"a\n\x04")
            out, err = process.communicate(timeout=30)
    finally:
        os.close(keyboard)
        os.close(terminal)
    assert (process.returncode, out, err) == (0, b"You > a\nBot > heard a\n", b"")


# As a bot among bots.


def test_it_takes_every_option_that_a_bot_takes() -> None:
    options = set(inspect.signature(Bot.__init__).parameters) - {"self"}
    assert options == set(BotOptions.__annotations__) | {"initial_state", "state_type"}


def test_its_options_come_to_the_bot() -> None:
    bot = ConsoleBot(namespace="shop", handler_timeout=None, dedupe_limit=3)
    assert bot._prefix == "shop/"
    assert bot._rules.handler_timeout is None
    assert bot._rules.seen_limit == 3


def test_importing_barback_loads_nothing_that_only_a_console_needs() -> None:
    told = "import sys; before = set(sys.modules); import barback; "
    told += "print(*(set(sys.modules) - before) & {'argparse', 'json', 'readline', 'termios'})"
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, check=True)
    assert done.stdout.strip() == b""
