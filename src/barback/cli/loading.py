"""A bot that is named on the command line: `module:bot`."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from barback.bot import Bot
from barback.channels.opening import open_channel
from barback.errors import BarbackError, ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import ModuleType

__all__ = ["load_bot", "split_name", "with_channels"]


def load_bot(name: str) -> Bot[Any]:
    """The bot that `name` says: a module in the current directory, or one that is installed.

    After the colon stands the bot's name in the module. Raises `ConfigurationError`.
    """
    module_name, path = split_name(name)
    found: object = _module(module_name)
    for step in path.split("."):
        try:
            found = getattr(found, step)
        except AttributeError:
            message = f"The module {module_name!r} has no {path!r}."
            raise ConfigurationError(message) from None
    if not isinstance(found, Bot):
        message = f"{name!r} is of type {type(found).__name__}, and must be a barback.Bot."
        raise ConfigurationError(message)
    return found


def split_name(name: str) -> tuple[str, str]:
    """The module, and the bot's name there. Raises `ConfigurationError` for what names no bot."""
    module_name, _, path = name.partition(":")
    if not (module_name and path):
        message = f"{name!r} names no bot: write its module and its name there, as in 'shop:bot'."
        raise ConfigurationError(message)
    return module_name, path


def with_channels(bot: Bot[Any], names: Iterable[str]) -> Bot[Any]:
    """The bot, with channels that the environment tells of, unless it has them already."""
    for name in names:
        if all(channel.name != name for channel in bot.channels):
            bot.add_channel(open_channel(name))
    return bot


def _module(name: str) -> ModuleType:
    here = str(Path.cwd())
    if here not in sys.path:  # it is not, where the command was installed as a script
        sys.path.insert(0, here)
    try:
        return import_module(name)
    except BarbackError:
        raise
    except (Exception, SystemExit) as error:
        if isinstance(error, ModuleNotFoundError) and _is_part(error.name, name):
            message = f"There is no module {name!r}, neither in {here!r} nor installed."
        elif isinstance(error, SystemExit):
            message = (
                f"The module {name!r} ends the process when it is imported ({error!r}): what runs "
                'the bot belongs below `if __name__ == "__main__":`.'
            )
        else:
            told = f"{type(error).__name__}: {error}"
            message = f"The module {name!r} could not be imported: {told}"
        raise ConfigurationError(message) from error


def _is_part(missing: str | None, name: str) -> bool:
    """Whether what is missing is the module itself, or a package that it is in."""
    return missing is not None and (name == missing or name.startswith(f"{missing}."))
