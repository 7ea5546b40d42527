"""Telemetry: an observer that makes spans and metrics of what a bot does."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Final
from weakref import WeakKeyDictionary

from barback.extras import needs_extra
from barback.observing import Observer
from barback.pseudonyms import Pseudonyms
from barback.telemetry.metrics import Metrics
from barback.telemetry.names import SCHEMA
from barback.telemetry.spans import Spans

with needs_extra("telemetry"):
    from opentelemetry import context as contexts
    from opentelemetry import metrics, propagate, trace

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

    from barback.channels.webhook import WebhookRequest
    from barback.events import Event
    from barback.observing import Step, StoreCall, TurnSeen
    from barback.pseudonyms import SessionIds

__all__ = ["Telemetry"]

SCOPE: Final = "barback"
SETTLED_WELL: Final = frozenset({"committed", "unchanged", "duplicate"})
IDLE: Final = ("opentelemetry.trace", "opentelemetry.metrics")
"""Where providers come from that do nothing: the API's own."""


class Telemetry(Observer):
    """Spans and metrics of a bot: `Bot(observers=[Telemetry()])`. See docs/telemetry.md.

    - `session_ids`: how ids of sessions and events are told in spans: "hashed" unless set, "plain",
      or "none". Metrics have none in any case.
    - `key`: a secret for the hashes. Without one, whoever knows how ids look can find them out.
    - `tracer_provider`, `meter_provider`: the global ones unless set.

    As long as there is no provider but those of the API, which do nothing, turns cost nothing more:
    it is looked for one when the bot starts, and then once a second.
    """

    def __init__(
        self,
        *,
        session_ids: SessionIds = "hashed",
        key: str | bytes | None = None,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
    ) -> None:
        self._pseudonyms = Pseudonyms(session_ids, key)
        self._tracers = tracer_provider
        self._meters = meter_provider
        self._spans: Spans | None = None  # made when there is somebody to make them for
        self._metrics: Metrics

    def listening(self) -> bool:
        """Whether anybody has set a provider that does something."""
        tracers = self._tracers or trace.get_tracer_provider()
        meters = self._meters or metrics.get_meter_provider()
        if not (_does_something(tracers) or _does_something(meters)):
            return False
        if self._spans is None:
            own = version(SCOPE)
            self._spans = Spans(tracers.get_tracer(SCOPE, own, SCHEMA), self._pseudonyms)
            if meters not in _metrics:
                _metrics[meters] = Metrics(meters.get_meter(SCOPE, own, SCHEMA))
            self._metrics = _metrics[meters]
        return True

    def turn_began(self, turn: TurnSeen) -> None:
        """See `Observer.turn_began`."""
        self._metrics.began(turn)
        self._made().turn_began(turn)

    def turn_ended(self, turn: TurnSeen) -> None:
        """See `Observer.turn_ended`."""
        error = None if turn.settled in SETTLED_WELL else turn.error or turn.failure
        if self._made().turn_ended(turn, error):
            self._metrics.ended(turn, error)

    def step_began(self, turn: TurnSeen, step: Step) -> None:
        """See `Observer.step_began`."""
        self._made().step_began(turn, step)

    def step_ended(self, turn: TurnSeen, step: Step) -> None:
        """See `Observer.step_ended`."""
        self._made().step_ended(step)
        self._metrics.step(turn, step)

    def store_answered(self, call: StoreCall) -> None:
        """See `Observer.store_answered`."""
        self._metrics.store(call)

    def lease_lost(self, session_id: str) -> None:  # noqa: ARG002 - metrics have no ids
        """See `Observer.lease_lost`."""
        self._metrics.lease_lost()

    def evicted(self, count: int) -> None:
        """See `Observer.evicted`."""
        self._metrics.evicted(count)

    def answered_early(self, event: Event) -> None:
        """See `Observer.answered_early`."""
        self._metrics.answered_early(event.channel)

    def event_lost(self, event: Event) -> None:
        """See `Observer.event_lost`."""
        self._metrics.event_lost(event.channel)

    def request_arrived(self, request: WebhookRequest) -> None:
        """Go on with the trace of whoever sent it, unless the server has begun one already."""
        if not trace.get_current_span().get_span_context().is_valid:
            contexts.attach(propagate.extract(request.headers))

    def _made(self) -> Spans:
        assert self._spans is not None  # noqa: S101 - it listens
        return self._spans


_metrics: WeakKeyDictionary[MeterProvider, Metrics] = WeakKeyDictionary()
"""Several bots of a process count together: a meter takes each of its instruments once."""


def _does_something(provider: TracerProvider | MeterProvider) -> bool:
    return not type(provider).__module__.startswith(IDLE)
