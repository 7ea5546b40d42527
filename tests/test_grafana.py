"""The dashboard asks for metrics, labels and values that there are."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from prometheus_client import REGISTRY
from prometheus_client.samples import Sample

from barback import Bot, Context, LeaseLost, Redeliver, SessionStoreUnavailable
from barback.observing import Settled
from barback.telemetry import Telemetry
from tests.postbox import serving
from tests.scripted import ScriptedStore, event

DASHBOARD = Path(__file__).parent.parent / "docs" / "grafana" / "barback.json"
METRIC = re.compile(r"\b((?:barback|messaging|db)_\w+)(?:\{([^}]*)\})?(?=\[|\))")
LABEL = re.compile(r"(\w+)\s*(?:=~|!=|=)")
GROUPED = re.compile(r"\b(?:by|ignoring) \(([^)]*)\)")
VALUES = re.compile(r"label_values\((\w+), (\w+)\)")


@pytest.fixture
def meters() -> Iterator[MeterProvider]:
    reader = PrometheusMetricReader()
    meters = MeterProvider([reader], shutdown_on_exit=False)
    yield meters
    meters.shutdown()


async def everything(meters: MeterProvider) -> dict[str, list[Sample]]:
    """All that Prometheus finds where everything has happened once, by name."""
    store = ScriptedStore()
    bot = Bot(observers=[Telemetry(meter_provider=meters)], session_store=store)
    forgetful = Bot(
        observers=[Telemetry(meter_provider=meters)], session_store="memory://?max_size=1"
    )
    go = asyncio.Event()

    @forgetful.on_event
    @bot.on_event
    async def handle(context: Context[Any]) -> None:
        context.set_state(text=context.event.text)
        if context.event.channel == "postbox":
            await context.send_text("hello")
            await go.wait()
            raise Redeliver

    async with forgetful:
        await forgetful.handle(event("tim"))
        await forgetful.handle(event("kim"))
    async with serving(bot, ack_within=0.01) as world:
        await world.post({"id": "1", "who": "tim"})
        store.script("checkout", "busy")
        await asyncio.gather(bot.handle(event(event_id="1")), bot.handle(event(event_id="1")))
        store.script("commit", "lost")
        with pytest.raises(LeaseLost):
            await bot.handle(event(text="hi"))
        store.script("checkout", "unavailable")
        with pytest.raises(SessionStoreUnavailable):
            await bot.handle(event())
        go.set()
        world.box.send_text = fail  # type: ignore[assignment,method-assign]
        await world.post({"id": "2", "who": "ann"})
    found: dict[str, list[Sample]] = {}
    for metric in REGISTRY.collect():
        for sample in metric.samples:
            found.setdefault(sample.name, []).append(sample)
    return found


async def fail(*_: object) -> None:
    raise ConnectionError


def queries(dashboard: dict[str, Any]) -> list[str]:
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
    (listed,) = VALUES.findall(dashboard["templating"]["list"][1]["query"]["query"])
    return [*asked, "sum by ({1}) ({0})".format(*listed)]


async def test_each_metric_of_the_dashboard_exists(meters: MeterProvider) -> None:
    found = await everything(meters)
    asked = set()
    for query in queries(json.loads(DASHBOARD.read_text())):
        metrics = METRIC.findall(GROUPED.sub("", query))
        assert metrics, query
        for name, selector in metrics:
            assert name in found, query
            asked.add(name)
            labels = {label for sample in found[name] for label in sample.labels}
            grouped = {each.strip() for by in GROUPED.findall(query) for each in by.split(",")}
            assert {*LABEL.findall(selector), *grouped} - {"le"} <= labels, query
    ours = {name for name in found if name.startswith(("barback_", "messaging_", "db_"))}
    shown = {re.sub("_(bucket|count|sum)$", "", name) for name in asked}
    left_out = {re.sub("_(bucket|count|sum)$", "", name) for name in ours} - shown
    assert left_out == set()


async def test_values_that_the_dashboard_names_are_those_there_are() -> None:
    named = re.findall(r'barback_outcome=~"([^"]*)"', DASHBOARD.read_text().replace('\\"', '"'))
    assert named
    for values in named:
        assert set(values.split("|")) <= set(get_args(Settled))


def test_the_picture_is_of_this_dashboard() -> None:
    picture = DASHBOARD.parents[1].joinpath("dashboard.svg").read_text()
    shown = re.findall(r'class="(?:title|row)"[^>]*>([^<]*)<', picture)
    titles = [panel["title"] for panel in json.loads(DASHBOARD.read_text())["panels"]]
    assert sorted(shown) == sorted(["barback", *titles])


def test_panels_have_places_of_their_own_and_say_what_they_show() -> None:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken
        taken |= cells
        assert panel["type"] == "row" or panel["description"]
