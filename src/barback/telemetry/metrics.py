"""Metrics: what is counted and measured of all turns."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING, Final

from barback.errors import LeaseLost, SessionBusy
from barback.extras import needs_extra
from barback.telemetry.names import Attributes, Value, of_channel, of_error, of_store

with needs_extra("telemetry"):
    from opentelemetry.metrics import CallbackOptions, Meter, Observation

if TYPE_CHECKING:
    from collections.abc import Iterable

    from barback.observing import Step, StoreCall, TurnSeen

__all__ = ["Metrics"]

# As the conventions advise for each.
TURN_BUCKETS: Final = (
    *(0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75),
    *(1.0, 2.5, 5.0, 7.5, 10.0),
)
STORE_BUCKETS: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0)


class Counts:
    """What is counted, by attributes, until somebody collects it.

    An addition here takes a tenth of what one to an instrument of the SDK does. Bots may run in
    loops of several threads.
    """

    def __init__(self) -> None:
        self._counts: dict[tuple[tuple[str, Value], ...], float] = {}
        self._lock = Lock()

    def add(self, count: float, attributes: Attributes) -> None:
        """Count so many more."""
        counts, key = self._counts, tuple(attributes.items())
        with self._lock:
            counts[key] = counts.get(key, 0) + count

    def collect(self, _: CallbackOptions) -> Iterable[Observation]:
        """All of them; called in whichever thread exports."""
        with self._lock:
            counts = list(self._counts.items())
        return [Observation(count, dict(key)) for key, count in counts]


class Metrics:
    """The instruments of a meter, and what is recorded with each.

    Attributes have few values: channels, stores, outcomes, classes of errors; never an id.
    """

    def __init__(self, meter: Meter) -> None:
        histogram = meter.create_histogram

        def counter(name: str, unit: str, description: str) -> Counts:
            counts = Counts()
            meter.create_observable_counter(name, [counts.collect], unit, description)
            return counts

        self._turns = counter("barback.turns", "{turn}", "Turns that have ended.")
        self._active = Counts()
        meter.create_observable_up_down_counter(
            "barback.active_turns", [self._active.collect], "{turn}", "Turns that run or wait."
        )
        self._consumed = counter(
            "messaging.client.consumed.messages", "{message}", "Events given to the bot."
        )
        self._process = histogram(
            "messaging.process.duration",
            "s",
            "How long the turn of an event took, its waiting included.",
            explicit_bucket_boundaries_advisory=TURN_BUCKETS,
        )
        self._sent = counter(
            "messaging.client.sent.messages", "{message}", "Messages that were to be sent."
        )
        self._send = histogram(
            "messaging.client.operation.duration",
            "s",
            "How long it took to send a message.",
            explicit_bucket_boundaries_advisory=TURN_BUCKETS,
        )
        self._wait = histogram(
            "barback.wait.duration",
            "s",
            "How long turns waited: for others of this process, or for a lease held by another.",
            explicit_bucket_boundaries_advisory=TURN_BUCKETS,
        )
        self._store = histogram(
            "db.client.operation.duration",
            "s",
            "How long the store took to answer.",
            explicit_bucket_boundaries_advisory=STORE_BUCKETS,
        )
        self._store_errors = counter(
            "barback.store.errors", "{error}", "What the store could not do, or not answer."
        )
        self._read = counter("barback.store.read", "By", "State and history that were read.")
        self._written = counter(
            "barback.store.written", "By", "State and history that were written."
        )
        self._deduplicated = counter(
            "barback.deduplicated_events", "{event}", "Events that had been handled before."
        )
        self._conflicts = counter(
            "barback.conflicts",
            "{conflict}",
            "Sessions that another process held (busy), or took over (lease_lost).",
        )
        self._evictions = counter(
            "barback.evictions", "{session}", "Sessions that the store forgot to make room."
        )
        self._early = counter(
            "barback.early_answers", "{event}", "Events answered while their turn still ran."
        )
        self._lost = counter(
            "barback.lost_events", "{event}", "Events answered early whose turn was not done."
        )
        self._channels: set[str] = set()
        self._begin_at_nothing()

    def began(self, turn: TurnSeen) -> None:
        """A turn begins."""
        self._active.add(1, _origin(turn))
        if turn.event.channel not in self._channels:
            self._channels.add(turn.event.channel)
            for counts in (self._deduplicated, self._early, self._lost):
                counts.add(0, {"messaging.system": turn.event.channel})

    def ended(self, turn: TurnSeen, error: BaseException | None) -> None:
        """A turn is over, and has failed or was not done because of `error`."""
        self._active.add(-1, _origin(turn))
        settled: Attributes = {"barback.outcome": turn.settled or ""}
        self._turns.add(1, {**_origin(turn), **settled, **of_error(error)})
        if turn.origin != "event":
            return
        message = of_channel(turn.event.channel, "process", "process")
        # It was delivered, whatever came of it.
        self._consumed.add(1, message)
        self._process.record(turn.seconds or 0, {**message, **settled, **of_error(error)})
        if turn.settled == "duplicate":
            self._deduplicated.add(1, {"messaging.system": turn.event.channel})

    def step(self, turn: TurnSeen, step: Step) -> None:
        """A step has ended."""
        seconds = step.seconds or 0
        if step.name == "wait":
            self._wait.record(seconds, {"barback.wait.reason": "queue"})
        elif step.name == "checkout" and step.tries > 1:
            self._wait.record(seconds, {"barback.wait.reason": "lease"})
        elif step.name == "send":
            kind = "send" if step.method.startswith("send_") else None
            about = of_channel(turn.event.channel, step.method, kind) | of_error(step.error)
            self._send.record(seconds, about)
            if kind is not None:
                self._sent.add(1, about)

    def store(self, call: StoreCall) -> None:
        """The store has answered."""
        about = of_store(call.store, call.operation)
        failed = about | of_error(call.error)
        self._store.record(call.seconds, failed)
        if isinstance(call.error, SessionBusy):
            self._conflicts.add(1, {"barback.conflict": "busy"})
        elif call.error is not None and not isinstance(call.error, LeaseLost):
            self._store_errors.add(1, failed)
        if call.size and call.error is None:
            size = self._written if call.operation == "commit" else self._read
            size.add(call.size, {"db.system.name": about["db.system.name"]})

    def lease_lost(self) -> None:
        """A session passed to another turn."""
        self._conflicts.add(1, {"barback.conflict": "lease_lost"})

    def _begin_at_nothing(self) -> None:
        """Count nothing before there is something: a rise from no number at all is not seen."""
        self._evictions.add(0, {})
        for conflict in ("busy", "lease_lost"):
            self._conflicts.add(0, {"barback.conflict": conflict})

    def evicted(self, count: int) -> None:
        """The store has forgotten sessions."""
        self._evictions.add(count, {})

    def answered_early(self, channel: str) -> None:
        """A platform was told of an event that was not done yet."""
        self._early.add(1, {"messaging.system": channel})

    def event_lost(self, channel: str) -> None:
        """Such an event could not be done."""
        self._lost.add(1, {"messaging.system": channel})


def _origin(turn: TurnSeen) -> Attributes:
    return {"messaging.system": turn.event.channel, "barback.turn.origin": turn.origin}
