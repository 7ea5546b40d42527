"""The faults of the matrix, and to which stores which of them do not apply."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import msgspec

from barback import Lease, LeasedStore, open_store
from barback.record import new_version
from tests.matrix_places import Clocked, DiskPlace, FailingOver, Place, Restarting
from tests.matrix_run import TERM, USERS, Run, Struck, now, refused
from tests.matrix_worker import BeNobody, SetClock, SetRoom, taken

__all__ = ["FAULTS", "NOT_APPLICABLE", "Fault"]

LONGER = 1.6 * TERM  # than a lease
ROOM = 2_000_000  # bytes to which files may grow on a disk that is full
AMPLE = 1 << 40  # bytes, more than any disk has here
HOUR = 3600.0
LADEN = 5.0  # seconds more for a machine that has much to do


class Fault(NamedTuple):
    """A kind of fault.

    - `strike`: lets it come and go, None where the bots themselves do; `hits`: how many it hit.
    - `networked`: there is a network to fail. `clocked`: there is a clock to set, of its servers.
      `timeout`: seconds of the store's patience.
    - `pause`: seconds that handlers, and people between their events, take at most: where turns
      are to be hit, they are mostly in their handlers, and else mostly in the store.
    """

    name: str
    strike: Callable[[Any, Run], Awaitable[Struck]] | None
    hits: Callable[[Run, Struck], int]
    networked: bool = False
    failing_over: bool = False
    clocked: bool = False
    timeout: str = "2"
    pause: float = 0.02


# The faults.


async def kill_server(place: Restarting, _: Run) -> Struck:
    since = now()
    await place.kill_and_restart()
    return Struck(since, now())


async def cut_before(place: Place, _: Run) -> Struck:
    """Hold back what is asked, so that it has not arrived when the connections are reset."""
    proxies = {proxy for each in place.proxies for proxy in each}
    for proxy in proxies:
        proxy.stall()
    await asyncio.sleep(0.02)
    since = now()
    for proxy in proxies:
        proxy.cut()
        proxy.go_on()
    await asyncio.sleep(0.05)
    return Struck(since, now())


async def cut_after(place: Place, _: Run) -> Struck:
    """Let through what is asked, and reset the connections when the first answers come."""
    proxies = {proxy for each in place.proxies for proxy in each}
    since = now()
    for proxy in proxies:
        proxy.drop_answers()
    await asyncio.sleep(0.05)
    for proxy in proxies:
        proxy.go_on()
    await asyncio.sleep(0.05)
    return Struck(since, now())


async def hold(place: DiskPlace, _: Run) -> Struck:
    """Another process keeps the disk for longer than a lease."""
    since = now()
    await asyncio.to_thread(place.hold, LONGER)
    return Struck(since, now())


async def silence(place: Place, _: Run) -> Struck:
    """Nothing comes through for longer than a lease, for the first bot if it has a way of its own.

    What it has asked meanwhile arrives then, from one that has given it up.
    """
    since = now()
    for proxy in place.proxies[0]:
        proxy.stall()
    await asyncio.sleep(LONGER)
    until = now()
    for proxy in place.proxies[0]:
        proxy.go_on()
    await asyncio.sleep(0.05)
    return Struck(since, until)


async def stall(place: Any, run: Run) -> Struck:
    """Of the network, or of the disk where there is none."""
    return await (silence if place.proxies[0] else hold)(place, run)


async def stop_client(_: Place, run: Run) -> Struck:
    """SIGSTOP one of the bots, in turn, for longer than its leases."""
    worker = run.workers[len(run.struck) % len(run.workers)]
    since = now()
    worker.stop()
    await asyncio.sleep(LONGER)
    until = now()
    worker.go_on()
    return Struck(since, until)


async def fill_disk(place: DiskPlace, run: Run) -> Struck:
    """Let files grow no more, while states are big, until that has been felt.

    On a disk of its own they may, but there is no room.
    """
    real = place.disk != place.folder
    for worker in run.workers:
        await worker.ask(SetRoom(AMPLE if real else ROOM), float)
    since = now()
    for _ in range(6):
        if real:  # again, since who finds no room leaves what was taken before
            await asyncio.to_thread(place.fill)
        await asyncio.sleep(0.05)
    if real:
        place.make_room()
    for worker in run.workers:
        await worker.ask(SetRoom(None), float)
    return Struck(since, now())


async def forbid(place: DiskPlace, run: Run) -> Struck:
    """Let nobody write to the folder, nor to what is in it; a bot that starts then is refused.

    What a bot has open it may still write, which is all that one on SQLite needs.
    """
    since = now()
    place.give_away()
    for worker in run.workers:
        await worker.ask(BeNobody(nobody=True), float)
    place.give_away()  # what was made meanwhile
    place.forbid(forbidden=True)
    name = f"late{len(run.struck)}"
    late = msgspec.structs.replace(run.workers[0].setup, name=name, unprivileged=True)
    count = int(await refused(late))
    place.forbid(forbidden=False)
    for worker in run.workers:
        await worker.ask(BeNobody(nobody=False), float)
    return Struck(since, now(), count)


async def fail_over(place: FailingOver, _: Run) -> Struck:
    since = now()
    await place.fail_over()
    return Struck(since, now())


async def jump_clock(_: Place, run: Run) -> Struck:
    """The bots' clocks jump, one forth and one back, or both back to where they belong."""
    forth = len(run.struck) % 2 == 0
    back_first = len(run.struck) % 4 < 2
    since = now()
    for number, worker in enumerate(run.workers):
        ahead = HOUR if (number == 0) == back_first else -HOUR
        await worker.ask(SetClock(ahead if forth else 0.0), float)
    return Struck(since, since)


async def jump_servers_clock(place: Clocked, run: Run) -> Struck:
    """The server's clock jumps, while a bot that holds a session is dead.

    It goes forth and back, and back and forth. The session must be free within the lease's term.
    """
    ahead = (HOUR, 0.0, -HOUR, 0.0)[len(run.struck) % 4]
    user = USERS[len(run.struck) % len(USERS)]
    dead, next_one = (
        Lease(session_id=f"test:{user}", token=f"{new_version():x}", term=TERM, closely=True)
        for _ in range(2)
    )
    store = open_store(place.url(0))
    assert isinstance(store, LeasedStore)
    async with store:
        async with asyncio.timeout(TERM + LADEN):
            await taken(store, dead)
        since = now()
        await asyncio.to_thread(place.clock.set, ahead)
        until = now()
        async with asyncio.timeout(TERM + LADEN):
            await taken(store, next_one)
        await store.release(next_one.session_id, next_one)
    return Struck(since, until)


FAULTS = {
    "server": Fault("server SIGKILL and restart", kill_server, Run.failed_under_way, pause=0.004),
    "before": Fault("cut before apply", cut_before, Run.failed_under_way, networked=True),
    "after": Fault("cut after apply", cut_after, Run.commits_unheard, networked=True),
    "stall": Fault(
        "stall longer than the lease", stall, Run.failed_or_outlasted, networked=True, timeout="1"
    ),
    "killed": Fault("client SIGKILL at every step", None, Run.turns_under_way),
    "stopped": Fault("client SIGSTOP past the lease", stop_client, Run.turns_overtaken, pause=0.05),
    "disk": Fault("full disk", fill_disk, Run.failed_meanwhile),
    "readonly": Fault("read-only folder", forbid, Run.failed_or_refused),
    "failover": Fault(
        "primary failover", fail_over, Run.failed_under_way, failing_over=True, pause=0.01
    ),
    "clock": Fault("clock jump of an hour, both ways", jump_clock, Run.turns_under_way, pause=0.05),
    "servers": Fault(
        "the server's clock jumps by an hour, both ways",
        jump_servers_clock,
        Run.turns_under_way,
        clocked=True,
        pause=0.05,
    ),
}

IN_PROCESS = "it is in the bot's own process, and ends with it"
NO_SERVER = "it has no server and no network"
SERVERS_DISK = "the disk is the server's: what barback sees of it is a server that refuses or ends"
ONE_COPY = "there is no other copy to fail over to"
OUTSIDE = "who takes a primary's place is decided outside the server, by tools not at hand here"
NO_CLOCK = "its leases go by the machine's clock that nobody sets"
NO_REPLICAS = "the server that stands for MongoDB has no replica sets"

NOT_APPLICABLE = {
    **{("memory", fault): NO_SERVER for fault in ("server", "before", "after")},
    ("memory", "stall"): IN_PROCESS,
    ("memory", "killed"): IN_PROCESS,
    **{("memory", fault): "it has no disk" for fault in ("disk", "readonly")},
    ("memory", "failover"): ONE_COPY,
    **{
        (store, fault): NO_SERVER
        for store in ("file", "SQLite")
        for fault in ("server", "before", "after")
    },
    **{(store, "failover"): ONE_COPY for store in ("file", "SQLite")},
    **{
        (store, fault): SERVERS_DISK
        for store in ("Redis", "Redis Cluster", "MongoDB", "PostgreSQL")
        for fault in ("disk", "readonly")
    },
    **{(store, "servers"): NO_CLOCK for store in ("memory", "file", "SQLite")},
    ("MongoDB", "failover"): NO_REPLICAS,
    ("PostgreSQL", "failover"): OUTSIDE,
}
