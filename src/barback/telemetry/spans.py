"""Spans: one for each turn, and below it one for each of its steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from barback.extras import needs_extra
from barback.telemetry.names import (
    Attributes,
    error_type,
    of_channel,
    of_error,
    of_store,
)

with needs_extra("telemetry"):
    from opentelemetry import context as contexts
    from opentelemetry import trace
    from opentelemetry.trace import SpanKind, Status, StatusCode

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span, Tracer

    from barback.observing import Step, TurnSeen
    from barback.pseudonyms import Pseudonyms

__all__ = ["Spans"]

STORED: Final = frozenset({"checkout", "commit", "release", "destroy"})
CURRENT: Final = frozenset({"handle", "on_error", "on_expired", "send"})
"""Steps that run in the context of the turn's own task: spans that begin in them are below."""


class _Open:
    """A span that has begun, and the context that was there before."""

    __slots__ = ("before", "context", "span")

    def __init__(self, span: Span, context: Context, before: Context | None) -> None:
        self.span = span
        self.context = context
        self.before = before


class Spans:
    """Begins spans and ends them. Nothing of a state, and nothing said, is in their attributes."""

    def __init__(self, tracer: Tracer, pseudonyms: Pseudonyms) -> None:
        self._tracer = tracer
        self._pseudonyms = pseudonyms
        self._open: dict[TurnSeen | Step, _Open] = {}

    def turn_began(self, turn: TurnSeen) -> None:
        """Its span is below the one that is current, such as a server's for the request."""
        channel, event = turn.event.channel, turn.event
        if turn.origin == "event":
            name, kind = f"process {channel}", SpanKind.CONSUMER
            attributes = of_channel(channel, "process", "process")
            if (event_id := self._pseudonyms.of(event.id)) is not None:
                attributes["messaging.message.id"] = event_id
            attributes["barback.event.kind"] = event.kind
        else:
            name, kind = f"{turn.origin} {channel}", SpanKind.INTERNAL
            attributes = {"messaging.system": channel}
        if (session_id := self._pseudonyms.of(turn.session_id)) is not None:
            attributes["messaging.message.conversation_id"] = session_id
        attributes["barback.turn.origin"] = turn.origin
        before = contexts.get_current()
        span = self._tracer.start_span(name, before, kind, attributes, None, turn.began_at)
        context = trace.set_span_in_context(span, before)
        contexts.attach(context)
        self._open[turn] = _Open(span, context, before)

    def turn_ended(self, turn: TurnSeen, error: BaseException | None) -> bool:
        """It has failed, or was not done, because of `error`. False if it was not seen to begin."""
        opened = self._open.pop(turn, None)
        if opened is None:
            return False
        span = opened.span
        if span.is_recording():
            span.set_attributes(
                {
                    "barback.outcome": turn.settled or "",
                    "barback.turn.id": turn.id,
                    "barback.turn.handed_on": turn.handed_on,
                    "barback.session.found": turn.found,
                }
            )
            _mark(span, error)
        span.end(turn.ended_at)
        if opened.before is not None:
            contexts.attach(opened.before)
        return True

    def step_began(self, turn: TurnSeen, step: Step) -> None:
        """Its span is below the turn's; what is sent, below the handler's."""
        above = self._open.get(turn)
        if above is None or not above.span.is_recording():
            return  # it is not among those that are sampled
        kind, name = SpanKind.INTERNAL, str(step.name)
        attributes: Attributes = {}
        before, parent = None, above.context
        if step.name in STORED:
            # The conventions let what is in memory be no client's.
            kind = SpanKind.INTERNAL if turn.store == "memory" else SpanKind.CLIENT
            attributes = of_store(turn.store, step.name)
        elif step.name == "send":
            kind, name = SpanKind.CLIENT, f"{step.method} {turn.event.channel}"
            sends = "send" if step.method.startswith("send_") else None
            attributes = of_channel(turn.event.channel, step.method, sends)
        if step.name in CURRENT:
            before = contexts.get_current()
            parent = before if step.name == "send" else parent
        span = self._tracer.start_span(name, parent, kind, attributes, None, step.began_at)
        context = trace.set_span_in_context(span, parent)
        if before is not None:
            contexts.attach(context)
        self._open[step] = _Open(span, context, before)

    def step_ended(self, step: Step) -> None:
        """It has ended."""
        opened = self._open.pop(step, None)
        if opened is None:
            return
        attributes = _told_of(step)
        if attributes:
            opened.span.set_attributes(attributes)
        _mark(opened.span, step.error)
        opened.span.end(step.ended_at)
        if opened.before is not None:
            contexts.attach(opened.before)


def _told_of(step: Step) -> Attributes:
    """What is known of a step when it has ended."""
    attributes: Attributes = {}
    if step.name == "checkout":
        attributes["barback.session.found"] = step.found
    if step.name in {"checkout", "commit"}:
        attributes["barback.session.size"] = step.size
        attributes["barback.store.tries"] = step.tries
    if step.unanswered:
        attributes["barback.commit.unanswered"] = True
    if step.name in CURRENT and (place := step.place) is not None:
        attributes["code.file.path"] = place.file
        attributes["code.line.number"] = place.line
        attributes["code.function.name"] = place.function
    return attributes


def _mark(span: Span, error: BaseException | None) -> None:
    """Without its words: they may tell what people have said."""
    if error is not None:
        span.set_attributes(of_error(error))
        span.set_status(Status(StatusCode.ERROR, error_type(error)))
