"""`barback new`: the project of a new bot, which runs and passes its tests."""

from __future__ import annotations

import keyword
import re
import sys
from importlib.metadata import EntryPoint, entry_points, version
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from barback.channels.base import ServingChannel
from barback.channels.opening import ENTRY_POINTS
from barback.cli.words import tell
from barback.errors import ConfigurationError
from barback.extras import needs_extra

with needs_extra("cli"):
    import click

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["new"]

NAME: Final = re.compile(r"[a-z][a-z0-9]*([_-][a-z0-9]+)*")


@click.command()
@click.argument("name")
@click.option(
    "--channel",
    metavar="NAME",
    help="The platform it is on, such as telegram; a bot in the terminal unless given.",
)
def new(name: str, channel: str | None) -> None:
    """Make the project of a new bot in a folder called NAME.

    It has a bot that asks for a nickname and remembers it, a test of that, and a README that tells
    how to run both. Nothing is installed, and nothing that is there is written over.
    """
    project = _Project(name, _module_of(name), None if channel is None else _entry(channel))
    folder = Path(name)
    if folder.exists():
        raise ConfigurationError(f"There is a {name} already. Take another name.")
    for path, text in project.files():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    tell(f"{name} is there: README.md tells how to go on.")


def _module_of(name: str) -> str:
    module = name.replace("-", "_")
    if not NAME.fullmatch(name):
        raise ConfigurationError("A name is small letters, digits, and '-' or '_' between them.")
    taken = {"barback", "tests", "pytest", *sys.stdlib_module_names}
    if module in taken or keyword.iskeyword(module):
        raise ConfigurationError(f"A module called {module} would hide another. Take another name.")
    return module


def _entry(channel: str) -> EntryPoint:
    found = {entry.name: entry for entry in entry_points(group=ENTRY_POINTS)}
    if channel not in found:
        known = ", ".join(sorted(found))
        raise ConfigurationError(f"There is no channel {channel!r}. Installed are: {known}.")
    return found[channel]


class _Project(NamedTuple):
    """What the files are made of; `channel`: what makes its channel."""

    name: str
    module: str
    channel: EntryPoint | None

    def files(self) -> Iterator[tuple[str, str]]:
        """Each with its place in the folder."""
        yield "pyproject.toml", self._filled(PYPROJECT)
        yield ".gitignore", IGNORED
        yield f"{self.module}.py", self._bot()
        yield f"tests/test_{self.module}.py", self._filled(TEST)
        yield "README.md", self._filled(README + (TERMINAL if self.channel is None else SERVED))

    def _bot(self) -> str:
        if self.channel is None:
            return self._filled(CONSOLE_BOT + HANDLER + CONSOLE_MAIN)
        polls = issubclass(self.channel.load(), ServingChannel)
        text = self._filled(BOT + HANDLER + (POLLING_MAIN if polls else ""))
        return text if polls else text.replace("import os\n\n", "", 1)

    def _filled(self, text: str) -> str:
        value = "" if self.channel is None else self.channel.value
        package, _, class_name = value.partition(":")
        values = {
            "NAME": self.name,
            "MODULE": self.module,
            "CHANNEL": "" if self.channel is None else self.channel.name,
            "EXTRA": "cli" if self.channel is None else "serve",
            "VERSION": version("barback"),
            "PACKAGE": package,
            "CLASS": class_name,
        }
        for key, value in values.items():
            text = text.replace(f"@{key}@", value)
        return text


PYPROJECT: Final = """\
[project]
name = "@NAME@"
version = "0.1.0"
description = "A chat bot"
requires-python = ">=3.11"
dependencies = ["barback[@EXTRA@]>=@VERSION@"]

[dependency-groups]
dev = ["pytest>=9"]

[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[tool.setuptools]
py-modules = ["@MODULE@"]

[tool.pytest.ini_options]
pythonpath = ["."]
testpaths = ["tests"]
"""

IGNORED: Final = """\
.venv/
__pycache__/
.pytest_cache/
*.egg-info/
# What the bot remembers of people, its keys, and its tokens:
sessions.db*
*.keys
.env
"""

CONSOLE_BOT: Final = """\
\"\"\"A bot that asks for your nickname, and remembers it.\"\"\"

from barback import ConsoleBot

bot = ConsoleBot(
    initial_state={"asking": False, "nickname": None},
    session_store="sqlite:///sessions.db",
)
"""

BOT: Final = """\
\"\"\"A bot that asks for your nickname, and remembers it.\"\"\"

import os

from barback import Bot

bot = Bot(
    initial_state={"asking": False, "nickname": None},
    session_store="sqlite:///sessions.db",
)
"""

HANDLER: Final = """\


@bot.on_event
async def greet(context):
    text = context.event.text
    if text is None:  # a picture, a button, somebody who joins
        return
    if context.state["asking"]:
        context.set_state(nickname=text, asking=False)
        await context.send_text(f"Hello {text}")
    elif context.state["nickname"]:
        await context.send_text(f"Welcome back, {context.state['nickname']}")
    else:
        context.set_state(asking=True)
        await context.send_text("Hi, what's your nickname?")
"""

CONSOLE_MAIN: Final = """\


if __name__ == "__main__":
    bot.run()
"""

POLLING_MAIN: Final = """\


if __name__ == "__main__":  # fetches what people write: for a server, see README.md
    from @PACKAGE@ import @CLASS@

    bot.add_channel(@CLASS@.from_environment(os.environ))
    bot.run()
"""

TEST: Final = """\
\"\"\"What the bot says to people, with no platform and no store.\"\"\"

from datetime import timedelta

from barback.testing import Simulator

from @MODULE@ import bot


async def test_the_bot_asks_for_a_nickname_and_remembers_it():
    async with Simulator(bot) as chat:
        assert await chat.say("Hi") == ["Hi, what's your nickname?"]
        assert await chat.say("Tim") == ["Hello Tim"]
        chat.clock.advance(timedelta(days=30))
        assert await chat.say("It is me") == ["Welcome back, Tim"]


async def test_each_person_has_a_session_of_their_own():
    async with Simulator(bot) as chat:
        await chat.say("Hi", user="tim")
        assert await chat.say("Hi", user="ann") == ["Hi, what's your nickname?"]
"""

README: Final = """\
# @NAME@

A chat bot, made with barback. `@MODULE@.py` is the bot.

```console
$ python -m venv .venv
$ . .venv/bin/activate
$ python -m pip install -e . 'pytest>=9'
$ python -m pytest
```

"""

TERMINAL: Final = """\
Talk to it:

```console
$ python @MODULE@.py
```

What it remembers is in `sessions.db`: see `barback sessions list --store sqlite:///sessions.db`.
`barback doctor @MODULE@:bot` finds out what is not as it should be, and `barback dev @MODULE@:bot`
is a web page on which you see what the bot does; it needs `python -m pip install 'barback[serve]'`.
"""

SERVED: Final = """\
Tell the environment of @CHANNEL@, and see what is missing:

```console
$ barback doctor @MODULE@:bot --channel @CHANNEL@
```

Try it without the platform, on a web page on which you see what it does:

```console
$ barback dev @MODULE@:bot
```

Serve its webhook, behind https, and tell the platform where that is:

```console
$ barback run @MODULE@:bot --channel @CHANNEL@
$ barback webhook set @MODULE@:bot https://bot.example --channel @CHANNEL@
```

What it remembers is in `sessions.db`: see `barback sessions list --store sqlite:///sessions.db`.
"""
