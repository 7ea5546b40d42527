"""What an observer sees: a turn, the steps it is made of, and what the store was asked."""

from __future__ import annotations

import asyncio
import sysconfig
import time
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

import msgspec

from barback.errors import CommitUnknown, SessionBusy

if TYPE_CHECKING:
    from barback.events import Event
    from barback.observing.observer import Observers
    from barback.record import Record
    from barback.turn import Outcome, Turn

__all__ = ["Place", "Settled", "Step", "StepName", "StoreCall", "TurnSeen", "current", "place_of"]

StepName = Literal[
    "wait", "checkout", "handle", "on_error", "on_expired", "commit", "release", "destroy", "send"
]
"""What a turn does: each is told when it begins and when it has ended.

- `wait`: behind others of its session, or because the bot has enough to do.
- `checkout`: the lease is taken and the record read; while others hold it, again and again.
- `handle`: middleware and handler, or the caller's own code of a conversation; `on_error`;
  `on_expired`, of a session that had expired.
- `commit`: until it is known what became of it. `release`: the lease is given back without one.
  `destroy`: the session is removed.
- `send`: something was sent through the context.
"""

Settled = Literal[
    "committed", "unchanged", "duplicate", "failed", "not_done", "unknown", "cancelled"
]
"""How a turn ended: the four outcomes that `Bot.handle` returns, or what it raised."""

OWN: Final = str(Path(__file__).parent.parent)
LIBRARIES: Final = tuple({OWN, *(sysconfig.get_path(n) for n in ("stdlib", "purelib", "platlib"))})


class Place(NamedTuple):
    """A place in the code."""

    file: str
    line: int
    function: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line} in {self.function}"


class StoreCall(msgspec.Struct, frozen=True):
    """Something that a store was asked, and has answered.

    - `operation`: "checkout", "commit", "release", "renew" or "destroy".
    - `store`: the store's name; `session_id`: as the store knows it, "" of several.
    - `seconds`: how long it took; `size`: bytes of state and history that it gave or took.
    """

    operation: str
    store: str
    session_id: str
    seconds: float
    error: BaseException | None = None
    size: int = 0


class Step:
    """Something that a turn does, and that takes its time.

    - `name`: see `StepName`; `method`: of a "send", what was called: "send_text", "typing"…
    - `began_at`: nanoseconds since the Unix epoch, by the machine's clock.
    - `seconds`: how long it took; None while it goes on.
    - `error`: what it ended with, if it went wrong.
    - `tries`: how often the store was asked: more than once while others held the session, or if
      the answer to a commit was lost (`unanswered`).
    - `found`: of a checkout, whether there was a record; `size`: bytes of state and history that
      were read or written.
    """

    __slots__ = (
        "_since",
        "began_at",
        "error",
        "found",
        "method",
        "name",
        "seconds",
        "size",
        "tries",
        "unanswered",
    )

    def __init__(self, name: StepName, method: str = "") -> None:
        self.name = name
        self.method = method
        self.seconds: float | None = None
        self.error: BaseException | None = None
        self.tries = 1
        self.unanswered = False
        self.found = False
        self.size = 0
        self.began_at = time.time_ns()
        self._since = time.perf_counter()

    @property
    def ended_at(self) -> int:
        """When it ended, as `began_at`; the same while it goes on."""
        return self.began_at + int((self.seconds or 0) * 1e9)

    @property
    def place(self) -> Place | None:
        """Where in the code `error` comes from: in the bot's own, rather than a library's."""
        return None if self.error is None else place_of(self.error)

    def end(self, error: BaseException | None) -> None:
        """It has ended."""
        self.seconds = time.perf_counter() - self._since
        self.error = error

    def __repr__(self) -> str:
        took = "going on" if self.seconds is None else f"{self.seconds * 1000:.3f} ms"
        return f"<Step {self.name}, {took}>"


class TurnSeen:
    """One turn, as observers see it: while it goes on, and when it is over.

    - `session_id`: as the bot knows it; `event`: with all that was said. Keep them to yourself.
    - `origin`: what it is for: an "event", a "conversation" or a "broadcast", a session that has
      "expired", or "upkeep", such as migrations.
    - `store`: the store's name.
    - `began_at`: nanoseconds since the Unix epoch; `seconds`: how long it took, None as long as it
      goes on.
    - `steps`: what it has done until now, in the order in which that began.
    - `outcome`: what `Bot.handle` returns; `error`: what it raises instead; `settled`: either.
    - `failure`: what the handler ended with, if it went wrong.
    - `handed_on`: it has got lease and record from the turn before, without asking the store.
    """

    def __init__(self, turn: Turn, session_id: str, observers: Observers) -> None:
        self.session_id = session_id
        self.event: Event = turn.event
        self.origin = turn.origin
        self.store = turn.turns.store.name
        self.steps: list[Step] = []
        self.outcome: Outcome | None = None
        self.error: BaseException | None = None
        self.settled: Settled | None = None
        self.failure: BaseException | None = None
        self.handed_on = False
        self.seconds: float | None = None
        self.turn = turn
        self._observers = observers
        self._asking: Step | None = None  # what the store is about
        self._handling: list[Step] = []
        self.began_at = time.time_ns()
        self._since = time.perf_counter()

    @property
    def ended_at(self) -> int:
        """When it ended, as `began_at`; the same while it goes on."""
        return self.began_at + int((self.seconds or 0) * 1e9)

    @property
    def id(self) -> str:
        """A name of its own, which log records have as well; "" before it has a lease."""
        return self.turn.name

    @property
    def found(self) -> bool:
        """Whether there was a session, and not one that had expired."""
        return self.turn.kept is not None

    @property
    def before(self) -> dict[str, Any] | None:
        """The state as it was read, or as a new session begins; decoded when it is asked for.

        None as long as nothing was read, and where it cannot be decoded.
        """
        draft = getattr(self.turn, "draft", None)
        return None if draft is None else _decoded(draft.base)

    @property
    def after(self) -> dict[str, Any] | None:
        """The state as the turn leaves it, once its handler has ended: equal to `before`, or not.

        It is in the store only if the turn is `committed`, or `failed` with an `on_error` that set
        something.
        """
        state = self.turn.state
        return self.before if state is None else _decoded(state)

    # Told by what runs the turn.

    def begin(self, name: StepName, method: str = "") -> Step:
        """A step begins."""
        step = Step(name, method)
        self.steps.append(step)
        self._observers.tell("step_began", self, step)
        return step

    def end(self, step: Step, error: BaseException | None = None) -> None:
        """A step has ended."""
        step.end(error)
        self._observers.tell("step_ended", self, step)

    def handling(self, name: StepName) -> None:
        """Code of the bot begins."""
        self._handling.append(self.begin(name))

    def handled(self, error: BaseException | None) -> None:
        """Code of the bot has ended."""
        step = self._handling.pop()
        if step.name == "handle":
            self.failure = error
        self.end(step, error)

    def asking(self, name: StepName, size: int = 0) -> None:
        """The store is asked; again, as long as it is the same step."""
        if self.settled is not None:
            return
        step = self._asking
        if step is None:
            step = self._asking = self.begin(name)
        elif step.name == name:
            step.tries += 1
        step.size = max(step.size, size)

    def answered(
        self, name: StepName, error: BaseException | None, record: Record | None = None
    ) -> None:
        """The store has answered. The step is not over while it is to be asked again."""
        step = self._asking
        if step is None or step.name != name:
            return  # a look at what became of a commit is a part of that
        if isinstance(error, SessionBusy) and not self.turn.impatient:
            return
        if isinstance(error, CommitUnknown):
            step.unanswered = True
            return
        if record is not None:
            step.found, step.size = True, size_of(record)
        self._asking = None
        self.end(step, error)

    def over(self, outcome: Outcome | None, error: BaseException | None = None) -> None:
        """The turn is over."""
        self.outcome, self.error = outcome, error
        step, self._asking = self._asking, None
        if step is not None:
            self.end(step, error)
        self.settled = self._settled(step)
        self.seconds = time.perf_counter() - self._since
        self._observers.tell("turn_ended", self)

    def _settled(self, asking: Step | None) -> Settled:
        if self.outcome is not None:
            settled: Settled = self.outcome.value
            return settled
        if isinstance(self.error, asyncio.CancelledError):
            return "cancelled"
        # What comes out of a conversation's own code says nothing of its commit.
        if isinstance(self.error, CommitUnknown) and asking is not None and asking.unanswered:
            return "unknown"
        return "not_done"

    def __repr__(self) -> str:
        return f"<TurnSeen of {self.session_id!r}, {self.settled or 'going on'}>"


current: ContextVar[TurnSeen | None] = ContextVar("barback_turn_seen", default=None)
"""The turn for which the store is asked."""


def size_of(record: Record) -> int:
    """The bytes of a session's state and history."""
    return len(record.state) + len(record.history)


def place_of(error: BaseException) -> Place | None:
    """The innermost place of an error's traceback that is in no library; else the innermost."""
    innermost = own = None
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        innermost = Place(code.co_filename, trace.tb_lineno, code.co_qualname)
        if not code.co_filename.startswith((*LIBRARIES, "<")):
            own = innermost
        trace = trace.tb_next
    return own or innermost


def _decoded(state: bytes) -> dict[str, Any] | None:
    try:
        decoded: dict[str, Any] = msgspec.json.decode(state)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return decoded
