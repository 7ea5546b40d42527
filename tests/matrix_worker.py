"""A bot as a process of its own, which the fault matrix makes work, stops, hinders and asks.

`python matrix_worker.py SETUP`, which is a `Setup` as JSON, writes "ready" when the bot runs. Then
each line it reads is an order, as JSON, and each but `Talk` is answered with a line of JSON.
What it asks for and hears it notes at once, in two files: turns in `NAME.turns` (a `TurnHistory`),
and what its store was asked in `NAME.asked`.
"""

from __future__ import annotations

import asyncio
import os
import random
import resource
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from barback import (
    BarbackError,
    Bot,
    CommitUnknown,
    Context,
    Event,
    InstantStore,
    Lease,
    LeasedStore,
    NotDone,
    Outcome,
    Record,
    SessionBusy,
    SessionStoreUnavailable,
    User,
    open_store,
)
from barback.operations import asked_of
from barback.record import new_version
from barback.stores.local import leased
from barback.testing.history import NEVER, Effect, TurnHistory

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE = 30.0  # seconds within which a bot has said what became of an event
REMEMBERED = 5000  # ids of events, more than a person has in a run
AT_ONCE = 200  # events, which is fewer than may wait for one session
NOBODY = 65534  # the user without rights
HURRY = 0.1  # seconds after which at most one who hangs up has done so
FAILS = "fails"  # what an event carries whose handler is to fail
BIG = 2_500_000  # bytes of a state for which there is no room

INITIAL = {"mark": None, "n": 0, "born": None, "padding": ""}


class Setup(msgspec.Struct):
    """What the process is to be.

    - `term`: seconds of a lease. - `pause`: seconds between two events of a person, at most.
    - `remembered`: how many ids of events a session keeps. - `unprivileged`: as `BeNobody`.
    - `cancelled`: how likely a delivery is to be cancelled, within `HURRY` seconds, from 0 to 1.
    """

    url: str
    folder: str
    name: str
    seed: int
    term: float = 1.0
    pause: float = 0.02
    remembered: int = REMEMBERED
    unprivileged: bool = False
    cancelled: float = 0.0


class Talk(msgspec.Struct, tag=True):
    """Deliver events of each of the users, one after another, until `End`.

    Every other one, "0", "2", …, is delivered by all bots that talk; the rest are each its own.
    """

    users: list[str]


class End(msgspec.Struct, tag=True):
    """Begin no more events; when those there are have been done: a `Report`."""


class SetClock(msgspec.Struct, tag=True):
    """Let the bot's clock be so many seconds ahead; the answer is the moment."""

    ahead: float


class SetRoom(msgspec.Struct, tag=True):
    """Let no file grow beyond so many bytes, and write big states; None: as before."""

    room: int | None


class BeNobody(msgspec.Struct, tag=True):
    """Have no more rights than files give to anybody, if one is root; or have them again."""

    nobody: bool


class Deliver(msgspec.Struct, tag=True):
    """Deliver these events, each until it is done, so many at once as may wait: a `Report`."""

    events: list[tuple[str, str]]


class Hand(msgspec.Struct, tag=True):
    """Deliver this event once; when that has ended, whatever else goes on, a `Heard`.

    - `fails`: the handler is to fail, after all it does.
    """

    number: int
    user: str
    event: str
    fails: bool = False


class Look(msgspec.Struct, tag=True):
    """Read the users' sessions, each as soon as it is free: a list of `Left`."""

    users: list[str]


Order = Talk | End | SetClock | SetRoom | BeNobody | Deliver | Hand | Look


class Report(msgspec.Struct):
    """The events of each user; what was heard of them, by what it was; and what is wrong."""

    events: dict[str, list[str]]
    told: dict[str, int]
    wrong: list[str]


class Heard(msgspec.Struct, tag=True):
    """What was heard of what was handed over: whether it need not come again; and what is wrong."""

    number: int
    done: bool
    wrong: list[str]


class Left(msgspec.Struct):
    """What was found in a session; of one that is missing, only the user."""

    user: str
    mark: str | None = None
    n: int = 0
    born: int | None = None
    created: int | None = None


class Asked(msgspec.Struct, omit_defaults=True):
    """What the store was asked: when, until when, and the error it gave, if any."""

    number: int
    asked: float
    what: str = ""
    ended: float = NEVER
    error: str = ""


class Worker:
    """The bot, and what is noted of it."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.chance = random.Random(setup.seed)
        self.ahead = 0.0
        self.padding = 0
        self.marks = 0
        self.told: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.events: dict[str, list[str]] = {}
        self.over = False
        self.talking: list[asyncio.Task[None]] = []
        self.handed: set[asyncio.Task[None]] = set()
        folder = Path(setup.folder)
        self.history = TurnHistory(folder / f"{setup.name}.turns")
        self.store = leased(open_store(setup.url))
        if not isinstance(self.store, InstantStore):  # of which nothing is ever on its way
            watch(self.store, folder / f"{setup.name}.asked")
        self.bot = Bot(
            initial_state=INITIAL,
            session_store=self.store,
            dedupe_limit=setup.remembered,
            clock=lambda: time.time() + self.ahead,
        )
        rules = msgspec.structs.replace(self.bot._rules, lease_term=setup.term)
        self.bot._rules = rules
        self.bot.on_event(self.handle)

    async def handle(self, context: Context) -> None:
        mark, state = context.event.text, context.state
        assert mark is not None
        created = int(context.session.created_at.timestamp() * 1000)
        born = state["born"]
        if born not in {None, created}:
            self.wrong.append(f"{context.session.id} was made anew, before turn {mark}")
        read = state["mark"]
        self.history.ran(mark, read)
        await asyncio.sleep(self.chance.uniform(0, self.setup.pause))
        context.set_state(
            mark=mark,
            n=state["n"] + 1,
            born=created if state["n"] else None,
            padding="x" * self.padding,
        )
        self.history.ran(mark, read)
        if context.event.payload == FAILS:
            message = "It fails on purpose."
            raise RuntimeError(message)

    async def deliver(self, user: str, event_id: str, *, fails: bool = False) -> bool:
        """Hand an event to the bot, and note what is heard of it; whether it need not come again.

        Of a turn that nobody knows the end of no end is noted.
        """
        self.marks += 1
        mark = f"{self.setup.name}-{self.marks}"
        payload = FAILS if fails else None
        event = Event(channel="test", user=User(user), id=event_id, text=mark, payload=payload)
        self.history.begin(f"test:{user}", mark, event_id)
        try:
            async with asyncio.timeout(PATIENCE):
                outcome = await self.bot.handle(event)
        except NotDone as error:
            self.history.end(mark, Effect.NONE)
            self.told[type(error).__name__] += 1
            return False
        except CommitUnknown:
            self.told["CommitUnknown"] += 1
            return False
        except Exception as error:  # noqa: BLE001 - it is told, and the run is red
            self.wrong.append(f"{mark}: {type(error).__name__}: {error}")
            return True
        self.told[outcome] += 1
        if fails and outcome is Outcome.FAILED:
            self.history.end(mark, Effect.NONE)
            return False
        if outcome not in {Outcome.COMMITTED, Outcome.DUPLICATE}:
            self.wrong.append(f"{mark} ended as {outcome}")
        self.history.end(mark, Effect.DONE if outcome is Outcome.COMMITTED else Effect.SEEN)
        return True

    async def redeliver(self, user: str, event_id: str) -> None:
        """As a platform does: until it is answered, and now and then once more."""
        while not await self.deliver_or_hang_up(user, event_id):
            await asyncio.sleep(self.chance.uniform(0, 0.05))

    async def deliver_or_hang_up(self, user: str, event_id: str) -> bool:
        """Deliver, or cancel that in its middle; whether it need not come again."""
        if self.chance.random() >= self.setup.cancelled:
            return await self.deliver(user, event_id)
        delivery = asyncio.create_task(self.deliver(user, event_id))
        await asyncio.wait([delivery], timeout=self.chance.uniform(0, HURRY))
        delivery.cancel()
        await asyncio.wait([delivery])
        if delivery.cancelled():
            self.told["cancelled"] += 1
            return False
        return delivery.result()

    async def hand(self, order: Hand) -> None:
        done = await self.deliver(order.user, order.event, fails=order.fails)
        say(msgspec.json.encode(Heard(order.number, done, self.wrong)).decode())

    async def talk(self, user: str) -> None:
        events = self.events.setdefault(user, [])
        while not self.over:
            own = "" if len(events) % 2 == 0 else f"-{self.setup.name}"
            event_id = f"{len(events)}{own}"
            events.append(event_id)
            copies = self.chance.randint(1, 2)
            await asyncio.gather(*(self.redeliver(user, event_id) for _ in range(copies)))
            await asyncio.sleep(self.chance.uniform(0, self.setup.pause))

    async def look(self, user: str) -> Left:
        """What is in a session, which is free at once or when a dead turn's lease has ended."""
        token = f"{new_version():x}"
        lease = Lease(session_id=f"test:{user}", token=token, term=self.setup.term, closely=True)
        async with asyncio.timeout(self.setup.term + 5):  # and what a laden machine needs
            record = await taken(self.store, lease)
        await self.store.release(lease.session_id, lease)
        if record is None:
            return Left(user)
        state = msgspec.json.decode(record.state)
        return Left(user, state["mark"], state["n"], state["born"], record.created_at)

    # Orders.

    async def serve(self) -> None:
        async with self.bot:
            say("ready")
            while line := await asyncio.to_thread(sys.stdin.readline):
                answer = await self.obey(msgspec.json.decode(line, type=Order))
                if answer is not None:
                    say(msgspec.json.encode(answer).decode())

    async def obey(self, order: Order) -> Any:
        if isinstance(order, Talk):
            self.talking = [asyncio.create_task(self.talk(user)) for user in order.users]
            return None
        if isinstance(order, Hand):
            task = asyncio.create_task(self.hand(order))
            self.handed.add(task)
            task.add_done_callback(self.handed.discard)
            return None
        if isinstance(order, End):
            self.over = True
            await asyncio.gather(*self.talking)
        if isinstance(order, Deliver):
            for start in range(0, len(order.events), AT_ONCE):
                some = order.events[start : start + AT_ONCE]
                await asyncio.gather(*(self.redeliver(*event) for event in some))
        if isinstance(order, Look):
            return await asyncio.gather(*map(self.look, order.users))
        if isinstance(order, SetClock | SetRoom | BeNobody):
            self.set(order)
            return time.monotonic()
        return Report(self.events, self.told, self.wrong)

    def set(self, order: SetClock | SetRoom | BeNobody) -> None:
        if isinstance(order, SetClock):
            self.ahead = order.ahead
        elif isinstance(order, BeNobody):
            be_nobody(order.nobody)
        else:
            self.padding = 0 if order.room is None else BIG
            _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
            room = most if order.room is None else order.room
            resource.setrlimit(resource.RLIMIT_FSIZE, (room, most))


def be_nobody(nobody: bool) -> None:  # noqa: FBT001 - it is what the order says
    if os.getuid() == 0:
        os.seteuid(NOBODY if nobody else 0)


async def taken(store: LeasedStore, lease: Lease) -> Record | None:
    """Take a lease as soon as the session is free."""
    while True:
        try:
            return await store.checkout(lease.session_id, lease)
        except SessionBusy:
            await asyncio.sleep(0.01)


def watch(store: LeasedStore, path: Path) -> None:
    """Note what a store is asked, and its answers."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    number = 0

    def note(asked: Asked) -> None:
        os.write(file, msgspec.json.encode(asked) + b"\n")

    def watched(what: str, ask: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            nonlocal number
            number += 1
            asked = Asked(number, time.monotonic(), what)
            note(asked)
            operation = asked_of(ask(*args, **options))

            def answered(answer: asyncio.Future[Any]) -> None:
                asked.ended = time.monotonic()
                error = None if answer.cancelled() else answer.exception()
                asked.error = "" if error is None else type(error).__name__
                note(asked)

            operation.answer.add_done_callback(answered)
            return operation

        return call

    for what in "checkout", "commit", "release":
        setattr(store, what, watched(what, getattr(store, what)))


OUTAGES = {SessionStoreUnavailable.__name__, CommitUnknown.__name__}


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main(text: str) -> None:
    setup = msgspec.json.decode(text, type=Setup)
    try:
        worker = Worker(setup)
        be_nobody(setup.unprivileged)
        asyncio.run(worker.serve())
    except BarbackError as error:
        sys.exit(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main(*sys.argv[1:])
