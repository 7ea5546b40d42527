"""ConsoleChannel: a conversation in a terminal, or through a pipe."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from barback.channels.base import ServingChannel
from barback.channels.console_input import LONGEST, ConsoleInput
from barback.errors import BarbackError, Redeliver
from barback.events import Event, User

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime

    from barback.bot import Bot
    from barback.context import Context

__all__ = ["COMMANDS", "ConsoleChannel"]

YOU: Final = "You > "
BOT: Final = "Bot > "
ERROR: Final = "Error > "

COMMANDS: Final = """\
While you talk:
  /payload TEXT  press a button that carries TEXT
  /session       show the session: its id, times and version
  /state         show its state
  /reset         set the state back to the initial state
  /help          show this
  /quit, /exit   leave, as do the end of input (Ctrl-D) and Ctrl-C
  //WORD         say /WORD to the bot, where /WORD is one of these
Every other line that is not empty goes to the bot."""


class ConsoleChannel(ServingChannel):
    """One person, at the terminal or behind a pipe.

    Standard output holds the talk and nothing else, each line with who said it; the further lines
    of a reply are indented to stand below its first. Banner, hints and errors go to standard
    error. Piped lines are repeated when they are read, so that the talk reads as at a terminal.

    - `user`: the id of the person.
    - `fallback_methods`: print a call of any other `context.send_…` as text.
    """

    name = "console"

    def __init__(self, *, user: str = "you", fallback_methods: bool = False) -> None:
        self._user = User(user)
        self._fallback_methods = fallback_methods
        self._input: ConsoleInput | None = None
        self._lost: OSError | None = None

    async def serve(self, bot: Bot[Any]) -> None:
        """Talk until the input ends, or somebody says `/quit`, or nobody listens any more."""
        self._lost = None
        self._input = lines = ConsoleInput(YOU, _hint_at_cut)
        try:
            with lines.opened():
                if lines.typed:
                    _hint("/help lists the commands, /quit leaves.")
                await self._talk(bot, lines)
        except asyncio.CancelledError:
            self._end_line()
            raise
        finally:
            self._input = None

    @property
    def output_failed(self) -> bool:
        """Whether standard output could not be written to, other than by its reader's leaving."""
        return self._lost is not None and not isinstance(self._lost, BrokenPipeError)

    async def send_text(self, context: Context[Any], text: str) -> None:  # noqa: ARG002 - one listener
        """Print `text`. Raises `Redeliver` if nobody can read it any more."""
        self._write(_labelled(BOT, text))

    def sender(self, name: str) -> Callable[..., Awaitable[Any]] | None:
        """See `Channel.sender`. Raises `AttributeError`, with a remedy, for what it cannot send."""
        method = super().sender(name)
        if method is not None:
            return method
        if self._fallback_methods:
            return self.as_text(name)
        message = (
            f"The console channel has no {name}. Make it ConsoleBot(fallback_methods=True) to "
            f"print such calls as text."
        )
        raise AttributeError(message, name=name, obj=self)

    async def show_failure(self, context: Context[Any], error: Exception) -> None:  # noqa: ARG002
        """An `on_error` that shows what a handler raised, and where."""
        self._show(error)

    # The talk.

    async def _talk(self, bot: Bot[Any], lines: ConsoleInput) -> None:
        while self._lost is None:
            try:
                line = await lines.next()
            except OSError as error:
                _hint(f"Standard input cannot be read: {error.strerror}.")
                line = None
            if line is None:
                self._end_line()
                return
            if not line.strip():
                continue
            try:
                if not lines.typed:
                    self._write(_labelled(YOU, line))
                if not await self._answer(bot, line):
                    return
            except BarbackError as error:  # not done, or unknown: the next line may fare better
                self._show(error)

    async def _answer(self, bot: Bot[Any], line: str) -> bool:
        """Carry out a command, or hand the line to the bot; whether to go on."""
        command, _, rest = line.partition(" ")
        match command:
            case "/quit" | "/exit":
                return False
            case "/help":
                _hint(COMMANDS)
            case "/payload" if not rest:
                _hint("Say what it carries: /payload TEXT")
            case "/payload":
                await bot.handle(self._event("payload", payload=rest, raw=line))
            case "/session":
                await self._show_session(bot)
            case "/state":
                await self._show_state(bot)
            case "/reset":
                await self._reset(bot)
            case _:
                text = line[1:] if line.startswith("//") else line
                await bot.handle(self._event(text=text, raw=line))
        return True

    def _event(
        self,
        kind: str = "message",
        *,
        text: str | None = None,
        payload: str | None = None,
        raw: str | None = None,
    ) -> Event:
        return Event(
            channel=self.name, kind=kind, text=text, payload=payload, user=self._user, raw=raw
        )

    async def _show_session(self, bot: Bot[Any]) -> None:
        async with bot.conversation(bot.session_id(self._event())) as context:
            session = context.session
            rows = {
                "id": session.id,
                "created": _time(session.created_at),
                "last activity": _time(session.last_activity),
                "expires": "never" if session.expires_at is None else _time(session.expires_at),
                "version": "none yet: nothing is kept of it" if session.is_new else session.version,
            }
            if context.step is not None:
                rows["step"] = context.step
        self._write("".join(f"{name:<14} {value}\n" for name, value in rows.items()))

    async def _show_state(self, bot: Bot[Any]) -> None:
        async with bot.conversation(bot.session_id(self._event())) as context:
            state = msgspec.json.encode(context.state, order="deterministic")
        self._write(f"{msgspec.json.format(state).decode()}\n")

    async def _reset(self, bot: Bot[Any]) -> None:
        async with bot.conversation(bot.session_id(self._event())) as context:
            context.reset_state()
        self._write("The state is the initial state again.\n")

    # What is seen of it.

    def _write(self, text: str) -> None:
        """Write to standard output, at once. What the encoding has no sign for becomes a `?`."""
        if self._input is not None and self._input.asking:
            text = f"\r\x1b[K{text}{YOU}{_half_typed()}"
        encoding = sys.stdout.encoding or "utf-8"
        try:
            sys.stdout.write(text.encode(encoding, "replace").decode(encoding))
            sys.stdout.flush()
        except OSError as error:
            self._lose(error)
            message = "Standard output takes no more text."
            raise Redeliver(message) from error

    def _lose(self, error: OSError) -> None:
        """Nobody listens: remember it, and keep Python from trying once more when it ends."""
        if self._lost is None and not isinstance(error, BrokenPipeError):
            _hint(f"Standard output cannot be written to: {error.strerror}.")
        self._lost = error
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)

    def _end_line(self) -> None:
        """At a terminal, let what comes after the talk start on a line of its own."""
        if self._input is not None and self._input.typed:
            self._input.asking = False
            with suppress(Redeliver):
                self._write("\n")

    def _show(self, error: Exception) -> None:
        if self._lost is not None:
            return  # whatever it is, it comes of that
        what = ": ".join(filter(None, [type(error).__name__, str(error)]))
        _hint(_labelled(ERROR, "\n".join(filter(None, [what, _place(error)]))).removesuffix("\n"))


def _labelled(label: str, text: str) -> str:
    """`text` behind its label, the lines after the first below it."""
    first, *others = text.split("\n")
    indent = " " * len(label)
    return "\n".join([label + first, *(f"{indent}{line}".rstrip(" ") for line in others), ""])


def _place(error: Exception) -> str | None:
    """Where the bot's own code raised it: the last step outside barback."""
    import traceback  # noqa: PLC0415 - only an error needs it

    barback = Path(__file__).parent.parent
    for step in reversed(traceback.extract_tb(error.__traceback__)):
        if barback not in Path(step.filename).parents:
            return f"{step.filename}, line {step.lineno}, in {step.name}"
    return None


def _half_typed() -> str:
    """What stands behind the prompt so far, as far as can be known."""
    readline = sys.modules.get("readline")
    return "" if readline is None else str(readline.get_line_buffer())


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def _hint_at_cut() -> None:
    _hint(f"The line is too long: what is beyond {LONGEST:,} bytes was left out.")


def _hint(text: str) -> None:
    with suppress(OSError):  # nobody reads it, and nothing depends on it
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()
