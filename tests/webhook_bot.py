"""Bots as `barback run` serves them, each on the channel that it is told of."""

from __future__ import annotations

import os
from typing import Any

from barback import Bot, Context

STORE = os.environ["BARBACK_TEST_STORE"]

nickname = Bot(session_store=STORE, initial_state={"asking": False, "nickname": None, "pid": 0})


@nickname.on_event
async def greet(context: Context[Any]) -> None:
    if context.event.text is None:  # such as a note that something was delivered
        return
    if context.state["asking"]:
        context.set_state(nickname=context.event.text, asking=False, pid=os.getpid())
        await context.send_text(f"Hello {context.state['nickname']}")
    else:
        context.set_state(asking=True)
        await context.send_text("Hi, what's your nickname?")


counting = Bot(session_store=STORE, initial_state={"texts": [], "pids": []}, dedupe_limit=1000)


@counting.on_event
async def count(context: Context[Any]) -> None:
    context.state["texts"].append(context.event.text)
    if os.getpid() not in context.state["pids"]:
        context.state["pids"].append(os.getpid())
