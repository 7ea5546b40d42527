"""Opening a channel by its name, with what the environment tells of it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from barback.channels.base import Channel
from barback.errors import ConfigurationError, MissingExtra

if TYPE_CHECKING:
    from collections.abc import Mapping
    from importlib.metadata import EntryPoint

__all__ = ["ENTRY_POINTS", "open_channel", "variable"]

ENTRY_POINTS = "barback.channels"


def open_channel(name: str, environ: Mapping[str, str] | None = None) -> Channel:
    """The channel called `name`, as the environment says it is to be.

    Channels come from the entry point group `barback.channels`: the name there is the one asked
    for, the value a class that has `from_environment(environ)`. `environ` is read in place of the
    process's environment.

    Raises `ConfigurationError` for a name that nobody has, or a variable that is missing, and
    `MissingExtra` where what the channel needs is not installed.
    """
    from importlib.metadata import entry_points  # noqa: PLC0415 - slow to load, seldom wanted

    found = {entry.name: entry for entry in entry_points(group=ENTRY_POINTS)}
    if name not in found:
        known = ", ".join(sorted(found))
        message = f"There is no channel {name!r}. Installed are: {known}."
        raise ConfigurationError(message)
    channel = _loaded(found[name]).from_environment(os.environ if environ is None else environ)
    if not isinstance(channel, Channel):
        message = f"The channel {name!r} is no barback.Channel."
        raise ConfigurationError(message)
    return channel


def variable(environ: Mapping[str, str], name: str, what: str) -> str:
    """A variable that a channel needs, and what to set it to. Raises `ConfigurationError`."""
    found = environ.get(name)
    if not found:
        # No colon behind the name: the command takes what stands there for a secret.
        message = f"The environment has no {name}. Set it to {what}."
        raise ConfigurationError(message)
    return found


def _loaded(entry: EntryPoint) -> Any:
    """The class that an entry point names."""
    try:
        kind = entry.load()
    except MissingExtra:
        raise
    except (ImportError, AttributeError) as error:
        message = f"The channel {entry.name!r} cannot be loaded: its entry point is {entry.value}."
        raise ConfigurationError(message) from error
    if not callable(getattr(kind, "from_environment", None)):
        message = (
            f"The channel {entry.name!r} cannot be made from the environment: make it in the "
            f"bot's module."
        )
        raise ConfigurationError(message)
    return kind
