"""Draw docs/dashboard.svg: `python -m benchmarks.dashboard`, in about two minutes.

Bots work, the SDK's exporter tells the real Prometheus of it, and that is asked every question of
every panel of docs/grafana/barback.json, as Grafana would ask it. The picture is drawn of the
answers. A question that Prometheus does not understand, or has no answer to, is an error.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from prometheus_client import start_http_server

from benchmarks.dashboard.load import SECONDS, work
from benchmarks.dashboard.panels import Panel, Series
from benchmarks.dashboard.picture import svg
from benchmarks.dashboard.prometheus import SCRAPES_EVERY, Prometheus, prometheus
from benchmarks.places import ROOT
from tests.ports import free_port
from tests.valkey_servers import ValkeyServer

DASHBOARD = ROOT / "docs" / "grafana" / "barback.json"
PICTURE = ROOT / "docs" / "dashboard.svg"


def main() -> None:
    """Work, ask, and draw."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.dashboard", description=__doc__)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="how long the bots work")
    parser.add_argument("--output", type=Path, default=PICTURE)
    options = parser.parse_args()
    dashboard = json.loads(DASHBOARD.read_text())
    meters, port = MeterProvider([PrometheusMetricReader()]), free_port()
    start_http_server(port, "127.0.0.1")
    with tempfile.TemporaryDirectory() as folder, prometheus(Path(folder), port) as asked:
        with ValkeyServer(Path(folder) / "valkey", "--appendonly", "no") as server:
            began = time.time()
            asyncio.run(work(meters, server, options.seconds))
        time.sleep(2 * SCRAPES_EVERY)  # until the last of it was asked for
        panels = [
            _answered(panel, asked, began, began + options.seconds)
            for panel in dashboard["panels"]
            if panel["type"] != "row"
        ]
        channels = _channels(dashboard, asked)
    for panel in panels:
        print(f"{panel.title}: {', '.join(one.summary(panel.unit) for one in panel.series)}")
    rows = [panel for panel in dashboard["panels"] if panel["type"] == "row"]
    options.output.write_text(svg(panels, rows, options.seconds, channels))
    silent = [query for panel in panels for query in panel.silent]
    if silent:
        sys.exit("\n".join(["These queries give nothing:", *silent]))


def _answered(panel: dict[str, Any], asked: Prometheus, began: float, ended: float) -> Panel:
    """A panel with what Prometheus answers to its queries."""
    found = Panel.of(panel, ended - began)
    for target in panel["targets"]:
        query = _as_grafana_asks(target["expr"], ended - began)
        answers = asked.range(query, began, ended, SCRAPES_EVERY)
        series = [Series.of(one, target["legendFormat"], began) for one in answers]
        found.series += (told := [one for one in series if one.points])
        if not told:
            found.silent.append(target["expr"])
    return found


def _as_grafana_asks(query: str, seconds: float) -> str:
    """A query with its variables in place: all channels, and intervals as Grafana makes them."""
    known = {
        "$__rate_interval": f"{4 * SCRAPES_EVERY}s",  # points are as close as scrapes
        "$__range": f"{round(seconds)}s",
        "$channel": ".*",
    }
    for variable, value in known.items():
        query = query.replace(variable, value)
    assert "$" not in query, query
    return query


def _channels(dashboard: dict[str, Any], asked: Prometheus) -> list[str]:
    """What there is to choose from at the top."""
    (query,) = [
        variable["query"]["query"]
        for variable in dashboard["templating"]["list"]
        if variable["name"] == "channel"
    ]
    found = re.fullmatch(r"label_values\((\w+), (\w+)\)", query)
    assert found is not None
    return asked.label_values(found[2], found[1])


if __name__ == "__main__":
    main()
