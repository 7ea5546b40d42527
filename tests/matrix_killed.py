"""Bots that kill themselves in the middle of a turn, at every line of it in its time.

`python matrix_killed.py SETUP` makes a bot for each line it reads, as a process of its own that
handles one event and dies at the given line of barback's code, whichever of its threads runs it.
It says "killed" or, of one that ended its turn sooner, "over" and how many lines there were.
"""

from __future__ import annotations

import asyncio
import random
import sys
from collections import Counter
from functools import partial
from pathlib import Path
from typing import NamedTuple

import msgspec

from barback.stores.url import open_store
from barback.testing.crashing import CrashPoints, crash_at
from barback.testing.history import TurnHistory, TurnRecord
from tests.matrix_run import TERM, check_left, process
from tests.matrix_worker import Deliver, Left, Look, Report, Setup, Worker

COUNTED = 8  # turns in which nobody dies, to see how long one is
WITHIN = 60.0  # seconds for one of them


class Killed(NamedTuple):
    """What came of it: how many lines a turn had, how many died, and how they left the session."""

    lines: int
    killed: int
    before: int
    after: int


async def kill_at_every_step(url: str, folder: Path, *, steps: int, seed: int) -> Killed:
    """Kill so many bots, each in a turn on a session of its own, and check every session.

    Every other session is known already. Each is at its value before the turn or after it, can be
    read, and is free when the dead turn's lease has ended; and the event can be delivered again.
    """
    setup = Setup(url, str(folder), "last", seed, TERM, pause=0.0)
    async with process(setup) as last:
        counting = [f"counted{number}" for number in range(COUNTED)]
        known = [f"user{number}" for number in range(1, steps, 2)]
        first = [(user, "0") for user in [*known, *counting[1::2]]]
        assert not (await last.ask(Deliver(first), Report)).wrong
        nursery = await start_nursery(url, folder, seed)
        try:
            counted = [await bear(nursery, 0, user) for user in counting]
            lines = min(counted[0::2]), min(counted[1::2])  # waiting for a thread takes lines too
            chance = random.Random(seed)
            users = {}
            for number in range(steps):
                nth = drawn((number + chance.random()) / steps, lines[number % 2])
                user = f"user{number}"
                users[user] = await bear(nursery, nth, user) == 0
        finally:
            nursery.kill()
            await nursery.wait()
        left = await last.ask(Look([*users]), list[Left])
        for each in left:
            assert each.n - int(each.user in known) in {0, 1}, each
        after = {each.user for each in left if each.n > int(each.user in known)}
        again = [(user, event) for user in users for event in ("0", "1")]
        assert not (await last.ask(Deliver(again), Report)).wrong
        ended = await last.ask(Look([*users]), list[Left])
    turns = [turn for turn in noted_in(folder) if turn.session[5:] in users]
    check_left(turns, ended, Counter(dict.fromkeys(users, 2)))
    dead = {user for user, died in users.items() if died}
    before = len(dead - after)
    assert before, "none died before its commit: that shows nothing"
    assert dead & after, "none died after its commit: that shows nothing"
    return Killed(max(lines), len(dead), before, len(dead & after))


def noted_in(folder: Path) -> list[TurnRecord]:
    """The turns of all that were born, and of the last."""
    return TurnHistory.load(*folder.glob("*.turns"))


def drawn(part: float, lines: int) -> int:
    """The line at which to die: half of them die in the last fifth, where a turn is committed."""
    part = part * 1.6 if part < 0.5 else 0.8 + (part - 0.5) * 0.4
    return 1 + int(part * lines)


async def start_nursery(url: str, folder: Path, seed: int) -> asyncio.subprocess.Process:
    setup = Setup(url, str(folder), "killed", seed, TERM, pause=0.0)
    with (folder / "killed.log").open("ab") as log:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.matrix_killed", msgspec.json.encode(setup).decode()),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
            cwd=Path(__file__).parent.parent,
        )


async def bear(nursery: asyncio.subprocess.Process, nth: int, user: str) -> int:
    """Have a bot handle an event and die at the nth line, 0: at none; 0 if it did, or its lines."""
    assert nursery.stdin is not None
    assert nursery.stdout is not None
    nursery.stdin.write(f"{nth} {user}\n".encode())
    await nursery.stdin.drain()
    async with asyncio.timeout(WITHIN + 5):
        word, _, lines = (await nursery.stdout.readline()).decode().strip().partition(" ")
    assert word in {"killed", "over"}, f"the nursery said {word!r}"
    return 0 if word == "killed" else int(lines)


# In the nursery.


async def live(setup: Setup, user: str, points: CrashPoints) -> None:
    worker = Worker(setup)
    async with worker.bot:
        with points:
            await worker.deliver(user, "1")
    assert not worker.wrong, worker.wrong


def main(text: str) -> None:
    setup = msgspec.json.decode(text, type=Setup)
    open_store(setup.url)  # imports its driver, once for all of them
    for number, line in enumerate(sys.stdin):
        nth, user = line.split()
        own = msgspec.structs.replace(setup, name=f"{setup.name}{number}")
        # Here is neither a loop nor a thread yet, so that a fork is a whole process.
        crash = crash_at(partial(live, own, user), int(nth), at=["lines"], within=WITHIN)
        sys.stdout.write("killed\n" if crash.died else f"over {crash.points}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
