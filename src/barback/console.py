"""ConsoleBot: a bot to talk to in a terminal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, NoReturn, overload

from barback.bot import Bot, _leased
from barback.channels.console import COMMANDS, ConsoleChannel
from barback.errors import ConfigurationError, SessionStoreUnavailable
from barback.state import S

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Unpack

    from barback.bot import BotOptions
    from barback.state import Made, State
    from barback.stores.base import LeasedStore

__all__ = ["ConsoleBot"]


class ConsoleBot(Bot[S]):
    """A `Bot` on the console channel: a program that is talked to in a terminal or through a pipe.

    - `user`: the id of the person who types. Their session is `console:you` unless set.
    - `fallback_methods`: print what the console cannot send, `context.send_image(...)` for one,
      as text, instead of raising `AttributeError`.

    The other options are those of `Bot`. An exception that a handler raises is shown on standard
    error and the talk goes on, unless the bot has an `on_error` of its own.
    """

    @overload
    def __init__(
        self,
        *,
        user: str = "you",
        fallback_methods: bool = False,
        initial_state: type[S],
        **options: Unpack[BotOptions],
    ) -> None: ...
    @overload
    def __init__(
        self,
        *,
        user: str = "you",
        fallback_methods: bool = False,
        state_type: type[S],
        initial_state: S | Mapping[str, Any] | Callable[[], S | Mapping[str, Any]] | None = None,
        **options: Unpack[BotOptions],
    ) -> None: ...
    @overload
    def __init__(
        self: ConsoleBot[State],
        *,
        user: str = "you",
        fallback_methods: bool = False,
        initial_state: Mapping[str, Any] | Callable[[], Mapping[str, Any]] | None = None,
        **options: Unpack[BotOptions],
    ) -> None: ...
    @overload
    def __init__(
        self: ConsoleBot[Made],
        *,
        user: str = "you",
        fallback_methods: bool = False,
        initial_state: Made,
        **options: Unpack[BotOptions],
    ) -> None: ...
    def __init__(
        self, *, user: str = "you", fallback_methods: bool = False, **options: Any
    ) -> None:
        super().__init__(**options)
        self._console = ConsoleChannel(user=user, fallback_methods=fallback_methods)
        self.add_channel(self._console)

    def run(self, argv: Sequence[str] | None = None) -> None:
        """Talk until `/quit`, the end of input, Ctrl-C or SIGTERM.

        It reads the program's command line: `--store URL` keeps the sessions of this run in
        another store, `--help` tells of it and of the commands. `argv` is read in its place; a
        program with options of its own passes `argv=[]`.

        Raises `SystemExit`: 0 after `--help`; 2, after a sentence on standard error, for a command
        line that is not understood or a store that cannot be opened; 1 if standard output fails.
        """
        url = _store_url(argv)
        own = self._store
        try:
            if url is not None:
                self._store = _store_at(url)
            super().run()
        except (SessionStoreUnavailable, ConfigurationError) as error:
            _refuse(error)
        finally:
            self._store = own
        if self._console.output_failed:
            sys.exit(1)

    async def _serve(self) -> None:
        shown = self._on_error is None
        if shown:
            self._on_error = self._console.show_failure
        try:
            await super()._serve()
        finally:
            if shown:
                self._on_error = None


def _store_url(argv: Sequence[str] | None) -> str | None:
    """What the command line says of the store."""
    import argparse  # noqa: PLC0415 - only a program that runs needs it

    parser = argparse.ArgumentParser(
        description="Talk to the bot.",
        epilog=COMMANDS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--store", metavar="URL", help="where sessions rest, for example file:.sessions"
    )
    url: str | None = parser.parse_args(argv).store
    return url


def _store_at(url: str) -> LeasedStore:
    try:
        return _leased(url)
    except ConfigurationError as error:
        _refuse(error)


def _refuse(error: Exception) -> NoReturn:
    sys.stderr.write(f"{error}\n")
    sys.exit(2)
