"""Spans and metrics of turns, in each of their endings, by the SDK's own exporters in memory."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import trace
from opentelemetry.metrics import CallbackOptions, NoOpMeterProvider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import NoOpTracerProvider, SpanKind, StatusCode

from barback import (
    Bot,
    CommitUnknown,
    Context,
    LeaseLost,
    MemorySessionStore,
    Observer,
    Outcome,
    Redeliver,
    SessionStoreUnavailable,
)
from barback.observing import turns as observed_turns
from barback.pseudonyms import Pseudonyms
from barback.telemetry import Telemetry
from barback.telemetry.metrics import Counts
from barback.testing import Simulator
from barback.turn import Turns
from tests.postbox import greeter, serving
from tests.scripted import ScriptedStore, counting_bot, event, until
from tests.unmeasured import unmeasured

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

UNSAID = "nobody is to read this"


class Watched:
    """Telemetry, and what comes of it."""

    def __init__(self, **options: Any) -> None:
        self.exporter = InMemorySpanExporter()
        self.tracers = TracerProvider(shutdown_on_exit=False)
        self.tracers.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.reader = InMemoryMetricReader()
        self.meters = MeterProvider([self.reader], shutdown_on_exit=False)
        self.telemetry = Telemetry(
            tracer_provider=self.tracers, meter_provider=self.meters, **options
        )

    def spans(self) -> list[ReadableSpan]:
        """In the order in which they began."""
        return sorted(self.exporter.get_finished_spans(), key=lambda span: span.start_time or 0)

    def names(self) -> list[str]:
        return [span.name for span in self.spans()]

    def span(self, name: str) -> ReadableSpan:
        (found,) = [span for span in self.spans() if span.name == name]
        return found

    def below(self, name: str) -> list[str]:
        above = self.span(name).context
        assert above is not None
        return [
            span.name
            for span in self.spans()
            if span.parent is not None and span.parent.span_id == above.span_id
        ]

    def metrics(self) -> dict[str, list[tuple[dict[str, Any], float]]]:
        """Of each its points: attributes, and the value, or how many values there were."""
        found: dict[str, list[tuple[dict[str, Any], float]]] = {}
        data = self.reader.get_metrics_data()
        for resource in data.resource_metrics if data is not None else ():
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    found[metric.name] = [
                        (dict(point.attributes or {}), getattr(point, "count", None) or point.value)
                        if hasattr(point, "value")
                        else (dict(point.attributes or {}), point.count)
                        for point in metric.data.data_points
                    ]
        return found

    def total(self, name: str, **attributes: str) -> float:
        """The sum of the points that have these attributes, `_` for `.`."""
        wanted = {key.replace("__", "."): value for key, value in attributes.items()}
        points = self.metrics().get(name, [])
        return sum(value for told, value in points if wanted.items() <= told.items())


@pytest.fixture
def watched() -> Watched:
    return Watched()


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


async def test_a_committed_turn(watched: Watched) -> None:
    async with counting_bot(observers=[watched.telemetry]) as bot:
        await bot.handle(event(event_id="7"))
    assert watched.names() == ["process test", "checkout", "handle", "commit"]
    assert watched.below("process test") == ["checkout", "handle", "commit"]
    root = watched.span("process test")
    assert (root.kind, root.parent, root.status.status_code) == (
        SpanKind.CONSUMER,
        None,
        StatusCode.UNSET,
    )
    hashed = Pseudonyms("hashed")
    told = attributes(root)
    assert told.pop("barback.turn.id")
    assert told == {
        "messaging.system": "test",
        "messaging.destination.name": "test",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.message.id": hashed.of("7"),
        "messaging.message.conversation_id": hashed.of("test:tim"),
        "barback.event.kind": "message",
        "barback.turn.origin": "event",
        "barback.turn.handed_on": False,
        "barback.session.found": False,
        "barback.outcome": "committed",
    }
    assert attributes(watched.span("checkout")) == {
        "db.system.name": "memory",
        "db.operation.name": "checkout",
        "barback.session.found": False,
        "barback.session.size": 0,
        "barback.store.tries": 1,
    }
    assert watched.span("commit").kind is SpanKind.INTERNAL  # it is in memory
    scope = root.instrumentation_scope
    assert scope is not None
    assert (scope.name, scope.schema_url) == ("barback", "https://opentelemetry.io/schemas/1.44.0")


async def test_metrics_of_a_committed_turn(watched: Watched) -> None:
    async with counting_bot(observers=[watched.telemetry]) as bot:
        await bot.handle(event())
        await bot.handle(event())
    message = {
        "messaging.system": "test",
        "messaging.destination.name": "test",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
    }
    found = watched.metrics()
    assert found["messaging.process.duration"] == [({**message, "barback.outcome": "committed"}, 2)]
    assert found["messaging.client.consumed.messages"] == [(message, 2)]
    origin = {"messaging.system": "test", "barback.turn.origin": "event"}
    assert found["barback.turns"] == [({**origin, "barback.outcome": "committed"}, 2)]
    assert found["barback.active_turns"] == [(origin, 0)]
    memory = {"db.system.name": "memory"}
    assert found["barback.store.read"] == [(memory, len(b'{"n":1}'))]
    assert found["barback.store.written"] == [(memory, 2 * len(b'{"n":1}'))]
    assert watched.total("db.client.operation.duration", db__operation__name="checkout") == 2
    assert watched.total("db.client.operation.duration", db__operation__name="commit") == 2


async def test_a_turn_that_changes_nothing_and_one_that_comes_again(watched: Watched) -> None:
    bot = Bot(observers=[watched.telemetry])

    @bot.on_event
    async def nothing(context: Context[Any]) -> None:
        pass

    async with bot:
        await bot.handle(event(event_id="1"))
        assert watched.names() == ["process test", "checkout", "handle", "release"]
        watched.exporter.clear()
        await bot.handle(event(event_id="1"))
    assert watched.names() == ["process test", "checkout", "release"]
    root = watched.span("process test")
    assert attributes(root)["barback.outcome"] == "duplicate"
    assert root.status.status_code is StatusCode.UNSET
    assert watched.total("barback.deduplicated_events", messaging__system="test") == 1
    assert watched.total("barback.turns", barback__outcome="unchanged") == 1
    assert watched.total("barback.turns", barback__outcome="duplicate") == 1


async def test_a_turn_whose_handler_fails(watched: Watched) -> None:
    bot = Bot(observers=[watched.telemetry])

    @bot.on_event
    async def fail(context: Context[Any]) -> None:
        raise ValueError(UNSAID)

    async with bot:
        assert await bot.handle(event()) is Outcome.FAILED
    assert watched.below("process test") == ["checkout", "handle", "release"]
    for name in ("process test", "handle"):
        span = watched.span(name)
        assert span.status.status_code is StatusCode.ERROR
        assert attributes(span)["error.type"] == "ValueError"
        assert span.events == ()
    handle = attributes(watched.span("handle"))
    assert handle["code.file.path"] == __file__
    assert handle["code.function.name"].endswith("fail")
    assert handle["code.line.number"] > 0
    assert watched.total("barback.turns", barback__outcome="failed", error__type="ValueError") == 1


async def test_a_turn_that_on_error_mends(watched: Watched) -> None:
    bot = Bot(observers=[watched.telemetry])

    @bot.on_event
    async def fail(context: Context[Any]) -> None:
        raise ValueError

    @bot.on_error
    async def mend(context: Context[Any], error: Exception) -> None:
        context.set_state(sorry=True)

    async with bot:
        await bot.handle(event())
    assert watched.below("process test") == ["checkout", "handle", "on_error", "commit"]
    assert watched.span("on_error").status.status_code is StatusCode.UNSET


async def test_a_turn_that_is_not_done(watched: Watched) -> None:
    bot = Bot(observers=[watched.telemetry])

    @bot.on_event
    async def again(context: Context[Any]) -> None:
        raise Redeliver

    async with bot:
        with pytest.raises(Redeliver):
            await bot.handle(event())
    told = attributes(watched.span("process test"))
    assert told["barback.outcome"] == "not_done"
    assert told["error.type"] == "barback.errors.Redeliver"
    assert watched.total("barback.turns", barback__outcome="not_done") == 1
    assert watched.total("barback.active_turns") == 0


async def test_a_turn_that_is_cancelled(watched: Watched) -> None:
    bot = Bot(observers=[watched.telemetry])
    begun = asyncio.Event()

    @bot.on_event
    async def wait(context: Context[Any]) -> None:
        begun.set()
        await asyncio.sleep(60)

    async with bot:
        task = asyncio.ensure_future(bot.handle(event()))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    told = attributes(watched.span("process test"))
    assert (told["barback.outcome"], told["error.type"]) == ("cancelled", "asyncio.CancelledError")


async def test_a_turn_of_which_nobody_knows(watched: Watched) -> None:
    store = ScriptedStore()
    store.script("commit", "unknown")
    store.script("checkout", "ok", "unreadable")
    async with counting_bot(observers=[watched.telemetry], session_store=store) as bot:
        with pytest.raises(CommitUnknown):
            await bot.handle(event())
    commit = watched.span("commit")
    assert commit.kind is SpanKind.CLIENT
    assert attributes(commit)["barback.commit.unanswered"] is True
    assert attributes(commit)["error.type"] == "barback.errors.CommitUnknown"
    assert attributes(watched.span("process test"))["barback.outcome"] == "unknown"
    assert watched.total("barback.store.errors", db__operation__name="commit") == 1


async def test_a_turn_that_loses_its_lease(watched: Watched) -> None:
    store = ScriptedStore()
    store.script("commit", "lost")
    async with counting_bot(observers=[watched.telemetry], session_store=store) as bot:
        with pytest.raises(LeaseLost):
            await bot.handle(event())
    assert attributes(watched.span("commit"))["error.type"] == "barback.errors.LeaseLost"
    assert watched.total("barback.conflicts", barback__conflict="lease_lost") == 1
    assert watched.total("barback.store.errors") == 0


async def test_a_session_that_is_busy_elsewhere(watched: Watched) -> None:
    store = ScriptedStore()
    store.script("checkout", "busy", "busy")
    async with counting_bot(observers=[watched.telemetry], session_store=store) as bot:
        await bot.handle(event())
    assert attributes(watched.span("checkout"))["barback.store.tries"] == 3
    assert watched.total("barback.conflicts", barback__conflict="busy") == 2
    assert watched.total("barback.wait.duration", barback__wait__reason="lease") == 1
    assert watched.total("barback.store.errors") == 0


async def test_a_store_that_is_away(watched: Watched) -> None:
    store = ScriptedStore()
    store.script("checkout", "unavailable")
    async with counting_bot(observers=[watched.telemetry], session_store=store) as bot:
        with pytest.raises(SessionStoreUnavailable):
            await bot.handle(event())
    error = {"error__type": "barback.errors.SessionStoreUnavailable"}
    assert watched.total("barback.store.errors", db__system__name="scripted", **error) == 1
    assert watched.total("db.client.operation.duration", **error) == 1


async def test_a_turn_that_waits_and_gets_what_the_other_had(watched: Watched) -> None:
    async with counting_bot(observers=[watched.telemetry]) as bot:
        await asyncio.gather(bot.handle(event()), bot.handle(event()))
    _, second = [span for span in watched.spans() if span.name == "process test"]
    assert attributes(second)["barback.turn.handed_on"] is True
    assert watched.names().count("wait") == watched.names().count("checkout") == 1
    assert watched.total("barback.wait.duration", barback__wait__reason="queue") == 1


async def test_messages_are_sent_below_the_handler(watched: Watched) -> None:
    bot = Bot(observers=[watched.telemetry])

    @bot.on_event
    async def say(context: Context[Any]) -> None:
        await context.typing()
        await context.send_text(UNSAID)
        await context.send_photo("cat.png", caption=UNSAID)

    async with Simulator(bot) as simulator:
        await simulator.say(UNSAID)
    assert watched.below("handle") == (
        ["typing simulator", "send_text simulator", "send_photo simulator"]
    )
    send = watched.span("send_text simulator")
    assert send.kind is SpanKind.CLIENT
    assert attributes(send) == {
        "messaging.system": "simulator",
        "messaging.destination.name": "simulator",
        "messaging.operation.name": "send_text",
        "messaging.operation.type": "send",
    }
    assert watched.total("messaging.client.sent.messages") == 2  # to type is to send nothing
    assert watched.total("messaging.client.operation.duration") == 3


async def test_a_message_that_could_not_be_sent(watched: Watched) -> None:
    bot = greeter(observers=[watched.telemetry])
    async with serving(bot) as world:

        async def fail(*_: object) -> None:
            raise ConnectionError(UNSAID)

        world.box.send_text = fail  # type: ignore[assignment,method-assign]
        await world.post({"id": "1", "who": "tim"})
    assert attributes(watched.span("send_text postbox"))["error.type"] == "ConnectionError"
    assert watched.total("messaging.client.sent.messages", error__type="ConnectionError") == 1


async def test_conversations_are_no_messages(watched: Watched) -> None:
    async with counting_bot(observers=[watched.telemetry]) as bot:
        async with bot.conversation("test:tim") as context:
            context.set_state(n=9)
    root = watched.span("conversation test")
    assert root.kind is SpanKind.INTERNAL
    assert "messaging.operation.name" not in attributes(root)
    assert watched.below("conversation test") == ["checkout", "handle", "commit"]
    assert watched.total("barback.turns", barback__turn__origin="conversation") == 1
    assert "messaging.process.duration" not in watched.metrics()


async def test_a_turn_whose_beginning_it_did_not_hear_is_not_counted(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Late(Telemetry):
        heard = False

        def listening(self) -> bool:
            self.heard = begun.is_set() and super().listening()
            return self.heard

    monkeypatch.setattr(observed_turns, "LOOK_EVERY", 0.01)
    begun = asyncio.Event()
    late = Late(tracer_provider=watched.tracers, meter_provider=watched.meters)
    bot = Bot(observers=[Observer(), late])  # the first of them listens from the start

    @bot.on_event
    async def wait(context: Context[Any]) -> None:
        begun.set()
        await until(lambda: late.heard)

    async with bot:
        await bot.handle(event())
        assert watched.total("barback.active_turns") == 0
        assert watched.total("barback.turns") == 0
        await bot.handle(event())
    assert watched.total("barback.active_turns") == 0
    assert watched.total("barback.turns") == 1


def test_threads_count_together_and_lose_nothing() -> None:
    counts = Counts()

    def add() -> None:
        for _ in range(20_000):
            counts.add(1, {"a": "b"})

    threads = [threading.Thread(target=add) for _ in range(4)]
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(usual)
    (told,) = counts.collect(CallbackOptions())
    assert told.value == 80_000


async def test_bots_of_one_process_count_together(watched: Watched) -> None:
    other = Telemetry(tracer_provider=watched.tracers, meter_provider=watched.meters)
    for telemetry in (watched.telemetry, other):
        async with counting_bot(observers=[telemetry]) as bot:
            await bot.handle(event())
    assert watched.total("barback.turns") == 2


async def test_evictions_are_counted(watched: Watched) -> None:
    store = MemorySessionStore(max_size=1)
    async with counting_bot(observers=[watched.telemetry], session_store=store) as bot:
        for user in ("tim", "kim", "jim"):
            await bot.handle(event(user))
    assert watched.total("barback.evictions") == store.evictions == 2


async def test_what_is_rare_is_counted_from_nothing(watched: Watched) -> None:
    async with counting_bot(observers=[watched.telemetry]) as bot:
        await bot.handle(event())
    found = watched.metrics()
    assert found["barback.evictions"] == [({}, 0)]
    for conflict in ("busy", "lease_lost"):
        assert ({"barback.conflict": conflict}, 0) in found["barback.conflicts"]
    for name in ("deduplicated_events", "early_answers", "lost_events"):
        assert found[f"barback.{name}"] == [({"messaging.system": "test"}, 0)]


async def test_early_answers_and_lost_events_are_counted(watched: Watched) -> None:
    bot = Bot(observers=[watched.telemetry])
    go = asyncio.Event()

    @bot.on_event
    async def wait(context: Context[Any]) -> None:
        await go.wait()
        raise Redeliver

    async with serving(bot, ack_within=0.01) as world:
        await world.post({"id": "1", "who": "tim"})
        go.set()
        await asyncio.sleep(0)
    assert watched.total("barback.early_answers", messaging__system="postbox") == 1
    assert watched.total("barback.lost_events", messaging__system="postbox") == bot.lost_events == 1


# Context.


async def test_spans_of_a_handler_are_below_its_own(watched: Watched) -> None:
    bot = Bot(observers=[watched.telemetry])
    tracer = watched.tracers.get_tracer("shop")

    @bot.on_event
    async def look(context: Context[Any]) -> None:
        with tracer.start_as_current_span("look up"):
            await asyncio.create_task(later())

    async def later() -> None:
        with tracer.start_as_current_span("later"):
            pass

    async with bot:
        await bot.handle(event())
        assert not trace.get_current_span().get_span_context().is_valid
    assert watched.below("handle") == ["look up"]
    assert watched.below("look up") == ["later"]


async def test_a_turn_is_below_what_is_current_and_leaves_it_so(watched: Watched) -> None:
    tracer = watched.tracers.get_tracer("shop")
    async with counting_bot(observers=[watched.telemetry]) as bot:
        with tracer.start_as_current_span("outside") as outside:
            await bot.handle(event())
            async with bot.conversation("test:tim"):
                with tracer.start_as_current_span("inside"):
                    pass
            assert trace.get_current_span() is outside
    assert watched.below("outside") == ["process test", "conversation test"]
    (handle,) = [
        span
        for span in watched.spans()
        if span.name == "handle"
        and span.parent is not None
        and span.parent.span_id == context_of(watched.span("conversation test")).span_id
    ]
    inside = watched.span("inside").parent
    assert inside is not None
    assert inside.span_id == context_of(handle).span_id


def context_of(span: ReadableSpan) -> trace.SpanContext:
    found: trace.SpanContext | None = span.context
    assert found is not None
    return found


async def test_a_turn_inside_of_another_is_below_its_handler(watched: Watched) -> None:
    bot = Bot(observers=[watched.telemetry])

    @bot.on_event
    async def other(context: Context[Any]) -> None:
        async with bot.conversation("test:kim"):
            pass

    async with bot:
        await bot.handle(event())
    parent = watched.span("conversation test").parent
    assert parent is not None
    handles = [context_of(span).span_id for span in watched.spans() if span.name == "handle"]
    assert parent.span_id == handles[0]


async def test_the_trace_of_a_request_goes_on(watched: Watched) -> None:
    sent = "0af7651916cd43dd8448eb211c80319c"
    async with serving(greeter(observers=[watched.telemetry])) as world:
        answer = await world.client.post(
            "/postbox",
            content=b'[{"id":"1","who":"tim"},{"id":"2","who":"ann"}]',
            headers={"secret": "right", "traceparent": f"00-{sent}-b7ad6b7169203331-01"},
        )
        assert answer.status_code == 200
        assert not trace.get_current_span().get_span_context().is_valid
    roots = [span for span in watched.spans() if span.name == "process postbox"]
    assert len(roots) == 2
    for root in roots:
        assert f"{context_of(root).trace_id:032x}" == sent
        assert root.parent is not None
        assert f"{root.parent.span_id:016x}" == "b7ad6b7169203331"


async def test_a_turn_that_is_done_again_after_an_early_answer_is_in_the_same_trace(
    watched: Watched,
) -> None:
    sent = "0af7651916cd43dd8448eb211c80319c"
    bot = Bot(observers=[watched.telemetry])
    answered = asyncio.Event()

    @bot.on_event
    async def fail_once(context: Context[Any]) -> None:
        if not answered.is_set():
            await answered.wait()
            raise Redeliver

    async with serving(bot, ack_within=0.01) as world:
        await world.client.post(
            "/postbox",
            content=b'[{"id":"1","who":"tim"}]',
            headers={"secret": "right", "traceparent": f"00-{sent}-b7ad6b7169203331-01"},
        )
        answered.set()
        await until(lambda: watched.names().count("process postbox") == 2)
    roots = [span for span in watched.spans() if span.name == "process postbox"]
    assert [f"{context_of(root).trace_id:032x}" for root in roots] == [sent, sent]


async def test_a_server_that_traces_requests_itself_goes_before(watched: Watched) -> None:
    tracer = watched.tracers.get_tracer("server")
    async with serving(greeter(observers=[watched.telemetry])) as world:
        with tracer.start_as_current_span("POST /postbox"):
            await world.client.post(
                "/postbox",
                content=b'[{"id":"1","who":"tim"}]',
                headers={
                    "secret": "right",
                    "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
                },
            )
    assert watched.below("POST /postbox") == ["process postbox"]


async def test_what_is_not_sampled_is_not_made() -> None:
    watched = Watched()
    watched.tracers.sampler = ALWAYS_OFF
    bot = Bot(observers=[watched.telemetry])
    tracer = watched.tracers.get_tracer("shop")

    @bot.on_event
    async def look(context: Context[Any]) -> None:
        with tracer.start_as_current_span("look up"):
            pass

    async with bot:
        assert await bot.handle(event()) is Outcome.UNCHANGED
    assert watched.names() == []
    assert watched.total("barback.turns") == 1
    assert watched.telemetry._spans is not None
    assert watched.telemetry._spans._open == {}


# What is told, and what is not.


@pytest.mark.parametrize("way", ["hashed", "plain", "none"])
async def test_ids_are_told_as_was_asked(way: Any) -> None:
    watched = Watched(session_ids=way, key="key")
    async with counting_bot(observers=[watched.telemetry]) as bot:
        await bot.handle(event(event_id="7"))
    told = attributes(watched.span("process test"))
    expected = Pseudonyms(way, "key")
    assert told.get("messaging.message.conversation_id") == expected.of("test:tim")
    assert told.get("messaging.message.id") == expected.of("7")


async def test_nothing_that_is_said_or_kept_is_in_spans_or_metrics(watched: Watched) -> None:
    bot = Bot(observers=[watched.telemetry], initial_state={"kept": UNSAID})

    @bot.on_event
    async def keep(context: Context[Any]) -> None:
        await context.send_text(UNSAID)
        context.set_state(kept=f"more of {UNSAID}")
        if context.event.payload is not None:
            raise ValueError(UNSAID)

    async with Simulator(bot) as simulator:
        await simulator.say(UNSAID)
        with pytest.raises(ValueError, match=UNSAID):
            await simulator.press(UNSAID)
    told = "".join(span.to_json() for span in watched.spans()) + json.dumps(watched.metrics())
    assert "simulator" in told
    assert UNSAID not in told
    assert "you" not in {*attributes(watched.spans()[0]).values()}


async def test_spans_of_a_turn_that_ended_are_kept_nowhere(watched: Watched) -> None:
    bot = greeter(observers=[watched.telemetry])
    async with serving(bot) as world:
        await world.post({"id": "1", "who": "tim"}, {"id": "1", "who": "tim"})
    assert watched.telemetry._spans is not None
    assert watched.telemetry._spans._open == {}


# Without a provider.


async def test_without_a_provider_turns_are_plain() -> None:
    for telemetry in (
        Telemetry(),
        Telemetry(tracer_provider=NoOpTracerProvider(), meter_provider=NoOpMeterProvider()),
    ):
        async with counting_bot(observers=[telemetry]) as bot:
            assert type(bot._turns) is Turns


@pytest.mark.parametrize("provider", ["tracer_provider", "meter_provider"])
async def test_one_provider_is_enough(provider: str) -> None:
    watched = Watched()
    tracers = watched.tracers if provider == "tracer_provider" else None
    meters = watched.meters if provider == "meter_provider" else None
    telemetry = Telemetry(tracer_provider=tracers, meter_provider=meters)
    async with counting_bot(observers=[telemetry]) as bot:
        assert await bot.handle(event()) is Outcome.COMMITTED
    assert bool(watched.names()) is (provider == "tracer_provider")
    assert bool(watched.total("barback.turns")) is (provider == "meter_provider")


LATER = """
import asyncio
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from barback.observing import turns
from barback.telemetry import Telemetry
from tests.scripted import counting_bot, event, until

turns.LOOK_EVERY = 0.01
exporter, reader = InMemorySpanExporter(), InMemoryMetricReader()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))

async def main():
    async with counting_bot(observers=[Telemetry()]) as bot:
        await bot.handle(event())
        assert type(bot._turns) is turns.Turns
        trace.set_tracer_provider(provider)
        metrics.set_meter_provider(MeterProvider([reader]))
        await until(lambda: type(bot._turns) is turns.ObservedTurns)
        await bot.handle(event())
    print([span.name for span in exporter.get_finished_spans()])
    print(len(reader.get_metrics_data().resource_metrics[0].scope_metrics))

asyncio.run(main())
"""


def test_a_provider_that_is_set_while_the_bot_runs_is_found() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LATER],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env=unmeasured(),
    )
    assert done.stdout.split("\n") == (
        ["['checkout', 'handle', 'commit', 'process test']", "1", ""]
    )
