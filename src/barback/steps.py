"""Steps: where in a talk of several messages a session may be, and what handles each."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final

from barback.errors import ConfigurationError, HandlerRefused

__all__ = ["Steps", "check_step"]

logger = logging.getLogger("barback")

LONGEST: Final = 200
TOLD: Final = 100  # of names: those in a store may be anybody's


class Steps:
    """A bot's steps, by name. A session's record has the name of the one it is at."""

    def __init__(self) -> None:
        self.handlers: dict[str, Callable[..., Any]] = {}
        self._told: set[str] = set()

    def add(self, name: str, handler: Callable[..., Any]) -> None:
        """One more. Raises `HandlerRefused` for a second of its name."""
        if name in self.handlers:
            message = f"The bot has a step {name!r} already."
            raise HandlerRefused(message)
        self.handlers[name] = handler

    def name_of(self, step: str | Callable[..., Any]) -> str:
        """The name of a step, which may be told by its handler.

        Raises `ConfigurationError` for none of these steps, and for a handler of several.
        """
        if isinstance(step, str):
            if step in self.handlers:
                return step
            message = f"The bot has no step {step!r}: give it one, with @bot.step({step!r})."
            raise ConfigurationError(message)
        names = [name for name, handler in self.handlers.items() if handler == step]
        if len(names) == 1:
            return names[0]
        shown = getattr(step, "__name__", type(step).__name__)
        if names:
            message = f"{shown} handles the steps {', '.join(map(repr, names))}: name the one."
        else:
            message = f"{shown} handles no step: put @bot.step(...) above it."
        raise ConfigurationError(message)

    def meet(self, name: str, session_id: str) -> None:
        """Warn, once for each name, of a session at a step that is none of these.

        The session is taken all the same. Whether the step was removed, or is of newer code, cannot
        be told: to refuse it would shut out for ever who stands at one that was removed.
        """
        if name in self.handlers or name in self._told:
            return
        if len(self._told) >= TOLD:
            self._told.clear()
        self._told.add(name)
        logger.warning(
            "Session %r is at step %r, which this bot does not know: what is said there goes to "
            "its other handlers. If the step has a new name, give its handler the old one as well.",
            session_id,
            name,
        )


def check_step(name: object) -> str:
    """A step's name. Raises `ConfigurationError` for what is none."""
    if isinstance(name, str) and 0 < len(name) <= LONGEST and name.isprintable():
        return name
    message = (
        f"A step has a name of 1 to {LONGEST} printable characters, as in "
        f'@bot.step("ask_name"), not {name!r}.'
    )
    raise ConfigurationError(message)
