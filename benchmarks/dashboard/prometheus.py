"""A Prometheus of our own: the real one, on 127.0.0.1, for as long as it is asked."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import urlopen

from tests.ports import free_port

__all__ = ["SCRAPES_EVERY", "Prometheus", "prometheus"]

SCRAPES_EVERY = 2  # seconds; mostly it is 15, and people look at hours
START_WITHIN = 20.0
WANTED = "Prometheus is needed: apt-get install prometheus, or see https://prometheus.io/download."
CONFIGURATION = """\
global: {{scrape_interval: {every}s}}
scrape_configs:
  - {{job_name: barback, static_configs: [{{targets: ["127.0.0.1:{port}"]}}]}}
"""


class Prometheus:
    """What it has found, by its HTTP API."""

    def __init__(self, url: str) -> None:
        self._url = url

    def range(self, query: str, start: float, end: float, step: float) -> list[dict[str, Any]]:
        """The series that a query gives: each a `metric`, its labels, and `values`."""
        asked = {"query": query, "start": start, "end": end, "step": step}
        found: list[dict[str, Any]] = self.ask("query_range", asked)["result"]
        return found

    def label_values(self, label: str, metric: str) -> list[str]:
        """The values that a label has in the series of a metric."""
        found: list[str] = self.ask(f"label/{label}/values", {"match[]": metric})
        return found

    def ask(self, what: str, asked: dict[str, Any]) -> Any:
        """What it answers. Raises `URLError` if it is not there, or does not understand."""
        with urlopen(f"{self._url}/api/v1/{what}?{urlencode(asked)}", timeout=30) as answer:  # noqa: S310
            return json.load(answer)["data"]


@contextmanager
def prometheus(folder: Path, scraped: int) -> Iterator[Prometheus]:
    """One that asks for metrics at a port; what it keeps is in `folder`."""
    program = shutil.which("prometheus")
    if program is None:
        raise SystemExit(WANTED)
    configuration = folder / "prometheus.yml"
    configuration.write_text(CONFIGURATION.format(every=SCRAPES_EVERY, port=scraped))
    address = f"127.0.0.1:{free_port()}"
    process = subprocess.Popen(
        [
            program,
            f"--config.file={configuration}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address={address}",
            "--log.level=error",
        ]
    )
    try:
        found = Prometheus(f"http://{address}")
        _wait_for(found, process)
        yield found
    finally:
        process.terminate()
        process.wait()


def _wait_for(found: Prometheus, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + START_WITHIN
    while True:
        try:
            found.ask("status/buildinfo", {})
        except (URLError, ConnectionError):
            if process.poll() is not None or time.monotonic() > until:
                raise
            time.sleep(0.1)
        else:
            return
