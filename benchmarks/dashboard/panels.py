"""A panel of the dashboard, and the series in it: numbers in its unit, and what they are called."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

__all__ = ["Panel", "Series", "told"]


@dataclass
class Series:
    """What one line shows: of each moment, in seconds since the beginning, a number."""

    name: str
    points: list[tuple[float, float]]

    @classmethod
    def of(cls, answer: dict[str, Any], legend: str, began: float) -> Self:
        """One of the series that Prometheus answers, called as Grafana calls it."""
        labels = answer["metric"]
        name = re.sub(r"\{\{(\w+)\}\}", lambda found: labels.get(found[1], ""), legend)
        values = [(moment - began, float(value)) for moment, value in answer["values"]]
        return cls(name, [(moment, value) for moment, value in values if math.isfinite(value)])

    @property
    def most(self) -> float:
        """The largest number."""
        return max((value for _, value in self.points), default=0.0)

    def summary(self, unit: str) -> str:
        """Its name, and how far it goes."""
        return f"{self.name} up to {told(self.most, unit)}"


@dataclass
class Panel:
    """A panel: where it is, and what is in it; `silent`: queries without an answer."""

    title: str
    kind: str
    unit: str
    place: dict[str, int]
    seconds: float
    series: list[Series] = field(default_factory=list)
    silent: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, panel: dict[str, Any], seconds: float) -> Self:
        """One of the JSON file, with nothing in it yet."""
        unit = panel["fieldConfig"]["defaults"]["unit"]
        return cls(panel["title"], panel["type"], unit, panel["gridPos"], seconds)

    @property
    def most(self) -> float:
        """The largest number of all series."""
        return max((series.most for series in self.series), default=0.0)


def told(value: float, unit: str) -> str:
    """A number as Grafana tells it in a unit."""
    return UNITS[unit](value)


def _seconds(value: float) -> str:
    return f"{value:.3g} s" if value >= 1 else f"{value * 1000:.3g} ms"


def _bytes(value: float) -> str:
    return f"{value / 1000:.3g} kB/s" if value >= 1000 else f"{value:.3g} B/s"


UNITS: dict[str, Callable[[float], str]] = {
    "s": _seconds,
    "Bps": _bytes,
    "percentunit": lambda value: f"{value * 100:.3g} %",
    "short": lambda value: f"{value:.3g}",
    "cps": lambda value: f"{value:.3g} c/s",
    "eps": lambda value: f"{value:.3g} evt/s",
    "mps": lambda value: f"{value:.3g} msg/s",
}
