"""A bot as a process of its own, whose sessions expire.

`python expiry_process.py URL LOG LEASE_TERM` writes "ready" when the bot runs, and runs until its
standard input ends. `on_expired` writes a line to LOG, as another would send a message, and has the
sessions whose number is even live on, with a mark that it was there.
"""

from __future__ import annotations

import asyncio
import os
import sys

import msgspec

from barback import Bot, Context


async def main(url: str, log: str, lease_term: str) -> None:
    bot = Bot(initial_state={"number": 0, "ended": 0}, session_store=url)
    bot._rules = msgspec.structs.replace(bot._rules, lease_term=float(lease_term))
    lines = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    @bot.on_expired
    async def end(context: Context) -> None:
        os.write(lines, f"{context.state['number']}\n".encode())
        await asyncio.sleep(0.002)
        if context.state["number"] % 2 == 0:
            context.set_state(ended=context.state["ended"] + 1)
            context.session.expire_in(None)

    async with bot:
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)
    os.close(lines)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
