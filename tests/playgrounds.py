"""A playground as `barback dev` runs it, and a bot to be tried in it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

__all__ = ["SHOP", "playground"]

ROOT = Path(__file__).parent.parent
SHOP = """
import asyncio

from barback import Bot

bot = Bot(initial_state={"asking": False, "nickname": None, "cart": [], "n": 0})


@bot.on_event
async def greet(context):
    event = context.event
    if event.is_payload:
        context.state["cart"].append(event.payload)
        await context.send_text(f"In your cart: {', '.join(context.state['cart'])}")
    elif event.text == "crash":
        raise ZeroDivisionError("of no use")
    elif event.text == "+1":
        n = context.state["n"]
        await asyncio.sleep(0.01)
        context.set_state(n=n + 1)
        await context.send_text(str(n + 1))
    elif context.state["asking"]:
        context.set_state(nickname=event.text, asking=False)
        await context.send_text(f"Hello {context.state['nickname']}")
    else:
        context.set_state(asking=True)
        await context.send_text("Hi, what's your nickname?")
"""


@asynccontextmanager
async def playground(folder: Path, *options: str, code: str = SHOP) -> AsyncIterator[str]:
    """`barback dev shop:bot` in a folder; the address that it tells."""
    (folder / "shop.py").write_text(code)
    process = await asyncio.create_subprocess_exec(
        *[sys.executable, "-m", "barback", "dev", "shop:bot", "--port", "0", *options],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(60):
            await process.stdout.readline()
            address = (await process.stdout.readline()).decode().strip()
        assert address, "it ended by itself"
        yield address
        process.send_signal(signal.SIGINT)
        async with asyncio.timeout(20):
            assert await process.wait() in {0, 130, -signal.SIGINT}
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
