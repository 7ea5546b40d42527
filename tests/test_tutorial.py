"""docs/tutorial.md, followed from its top to its end: its files written, its commands run.

The talks are compared with what is there, line by line. Telegram is `FakeTelegram`. What installs
something is not run, and neither is what needs a machine that others can reach.
"""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import httpx2
import pytest

from barback.testing import FakeTelegram
from tests.ports import free_port

TUTORIAL = Path(__file__).parent.parent / "docs" / "tutorial.md"
BLOCK = re.compile(
    r'^```(?P<language>\w+)(?: title="(?P<file>[^"]+)")?\n(?P<body>.*?)^```$',
    re.MULTILINE | re.DOTALL,
)
NOT_HERE = (
    "mkdir",
    "cd",
    "python3 -m venv",
    ". .venv",
    "python -m pip",
    "caddy",
    "export SESSIONS",
)
# A reader's environment has pytest and barback in it, and none of the other plugins of this one.
PLAIN_PYTEST = {
    "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    "PYTEST_ADDOPTS": "-p barback.testing.plugin",
}
PATIENCE = 60.0


class Step(NamedTuple):
    """A command, and the lines below it: what it says, or what is said to it."""

    command: str
    lines: list[str]


def steps_of(block: str) -> Iterator[Step]:
    """The commands of a block; lines above the first belong to one that runs already."""
    step = Step("", [])
    for line in block.splitlines():
        if not line.startswith("$ "):
            step.lines.append(line)
            continue
        if step.lines or step.command:
            yield step
        step = Step(line[2:], [])
    yield step


class Terminal:
    """Somebody who reads the tutorial, in a folder of their own."""

    def __init__(self, folder: Path, telegram: FakeTelegram) -> None:
        self.folder = folder
        self.telegram = telegram
        self.done: list[str] = []
        self.variables: dict[str, str] = {}
        self.talks: list[asyncio.subprocess.Process] = []
        self.port = free_port()
        self.later = AsyncExitStack()

    async def do(self, step: Step) -> None:
        """Run a command, or go on with the talk of before."""
        command = step.command
        self.done.append(command)
        if command.startswith(NOT_HERE):
            assert not step.lines
        elif command.startswith("export TELEGRAM_TOKEN="):
            self.variables = self.telegram.environment()
        elif command == "python shop.py" and self.variables:
            await self.poll()
        elif command.startswith("python shop.py"):
            self.talks.append(await self.start(command))
            await self.talk(step.lines)
        elif not command:
            await self.talk(step.lines)
        elif command.startswith("python -m pytest"):
            await self.test(command, step.lines)
        elif command.startswith("barback run"):
            await self.later.enter_async_context(self.serving(command))
        elif command.startswith("curl "):
            assert [await self.get(command.split()[1])] == step.lines
        elif command.startswith("barback webhook"):
            await self.webhook(command, step.lines)
        else:
            raise AssertionError(f"The tutorial has a command that is not tried: {command}")

    async def start(self, command: str) -> asyncio.subprocess.Process:
        """Start a command; what it says on either output comes in one stream."""
        program, *arguments = shlex.split(command)
        module = ["-m", "barback"] if program == "barback" else []
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *module,
            *arguments,
            cwd=self.folder,
            env={**os.environ, **PLAIN_PYTEST, **self.variables},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        self.later.push_async_callback(end, process)
        return process

    async def talk(self, lines: list[str]) -> None:
        """Say what is said in the tutorial, and hear what is heard there."""
        process = self.talks[-1]
        assert process.stdin is not None
        assert process.stdout is not None
        for line in lines:
            if line.startswith("You > "):
                process.stdin.write(f"{line[6:]}\n".encode())
            async with asyncio.timeout(PATIENCE):
                heard = (await process.stdout.readline()).decode().rstrip("\n")
            assert heard.replace(str(self.folder), "/home/tim/shop") == line
        if lines[-1] == "You > /quit":
            assert await process.wait() == 0
            self.talks.pop()

    async def test(self, command: str, lines: list[str]) -> None:
        """Run the tests: as many pass as it says."""
        told = await self.heard(command)
        counted = re.search(r"\d+ passed", told)
        assert counted is not None, told
        if lines:
            assert counted[0] in lines[-1]

    async def heard(self, command: str) -> str:
        """What a command says that goes well."""
        process = await self.start(command)
        async with asyncio.timeout(PATIENCE):
            told, _ = await process.communicate()
        assert process.returncode == 0, told.decode()
        return told.decode()

    async def poll(self) -> None:
        """Talk to the bot that polls, and stop it with Ctrl-C."""
        process = await self.start("python shop.py")
        for text in ("/start", "tea"):
            message = self.telegram.message(text=text)
            self.telegram.waiting.append(self.telegram.update(message=message))
        said = ["What would you like? Say “done” when that is all.", "In your cart: tea."]
        async with asyncio.timeout(PATIENCE):
            while self.telegram.texts(42) != said or self.telegram.waiting:
                await asyncio.sleep(0.01)
        process.send_signal(signal.SIGINT)
        assert await process.wait() in {0, 130, -signal.SIGINT}

    @asynccontextmanager
    async def serving(self, command: str) -> AsyncIterator[None]:
        """Serve the webhook for as long as the tutorial goes on."""
        process = await self.start(f"{command} --port {self.port}")
        assert process.stdout is not None
        output = asyncio.ensure_future(process.stdout.read())
        try:
            async with asyncio.timeout(PATIENCE):
                while await self.get("http://127.0.0.1:8000/readyz") != "ok":
                    await asyncio.sleep(0.05)
            yield
        finally:
            await end(process)
            await output

    async def get(self, url: str) -> str:
        """What is served at an address; "" if nobody is there."""
        with suppress(httpx2.TransportError):
            async with httpx2.AsyncClient() as client:
                return (await client.get(url.replace(":8000", f":{self.port}"))).text
        return ""

    async def webhook(self, command: str, lines: list[str]) -> None:
        """Tell Telegram of the webhook; when it is set, somebody writes there."""
        told = await self.heard(command)
        if lines:
            assert told.splitlines() == lines
        if " set " in command:
            assert self.telegram.webhook == "https://bot.example/telegram"
            self.telegram.webhook = f"http://127.0.0.1:{self.port}/telegram"
            await self.telegram.say("milk", user=42, times=2)
            assert self.telegram.texts(42)[-1] == "In your cart: tea, milk."


async def end(process: asyncio.subprocess.Process) -> None:
    """Nothing of the tutorial goes on when it is over, and when it fails neither."""
    if process.returncode is None:
        process.terminate()
        await process.wait()


@pytest.mark.timeout(300)  # it starts some twenty processes, one after another
async def test_the_tutorial_is_as_it_says(tmp_path: Path) -> None:
    async with FakeTelegram() as telegram:
        terminal = Terminal(tmp_path, telegram)
        async with terminal.later:
            for block in BLOCK.finditer(TUTORIAL.read_text()):
                if block["file"]:
                    (tmp_path / block["file"]).write_text(block["body"])
                    continue
                assert block["language"] == "console"
                for step in steps_of(block["body"]):
                    await terminal.do(step)
        assert terminal.done[-1].startswith("export SESSIONS=")
        assert not terminal.talks
