"""What was measured: samples, and medians, spreads and ratios of them."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass, field

__all__ = ["Kind", "Ratio", "Results", "Sample", "ratio", "with_spread"]


@dataclass(frozen=True)
class Kind:
    """What a figure is of: a case under some conditions.

    - `case`: "redis/grammy"; `variant`: what is not as usual, such as "zipf" or "100 KB".
    """

    case: str
    in_flight: int = 1
    variant: str = ""


@dataclass(frozen=True)
class Sample:
    """One measurement. What does not apply to it is 0.

    - `rate`: events a second; `cpu`: microseconds of the client's CPU for each event.
    - `value`: what 200 times "+1" came to; `seconds`: the time they took, or a start-up took.
    - `bytes`: what each session takes in memory.
    """

    kind: Kind
    rate: float = 0.0
    cpu: float = 0.0
    value: int = 0
    seconds: float = 0.0
    bytes: float = 0.0


@dataclass
class Results:
    """Every sample, in the order of the rounds; `missing`: why there is none of a contender."""

    samples: list[Sample] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def of(self, kind: Kind) -> list[Sample]:
        """The samples of a kind, one of each round."""
        return [sample for sample in self.samples if sample.kind == kind]

    def median(self, kind: Kind, figure: str = "rate") -> float | None:
        """The median of a figure; None if it was not measured."""
        figures = [float(getattr(sample, figure)) for sample in self.of(kind)]
        return statistics.median(figures) if figures else None

    def spread(self, kind: Kind, figure: str = "rate") -> tuple[float, float] | None:
        """The least and the greatest of a figure."""
        figures = [float(getattr(sample, figure)) for sample in self.of(kind)]
        return (min(figures), max(figures)) if figures else None


@dataclass(frozen=True)
class Ratio:
    """How many times as much one is as another, round by round."""

    median: float
    least: float
    greatest: float


def ratio(
    results: Results, ours: Kind, theirs: Iterable[Kind], figure: str = "rate"
) -> Ratio | None:
    """Ours by theirs, by the greatest of theirs if there are several; None if not measured.

    Each round's figures are compared with each other: what slows a machine slows both.
    """
    above = [float(getattr(sample, figure)) for sample in results.of(ours)]
    columns = [[float(getattr(s, figure)) for s in results.of(kind)] for kind in theirs]
    below = [max(row) for row in zip(*(column for column in columns if column), strict=False)]
    each = [one / other for one, other in zip(above, below, strict=False) if other]
    return Ratio(statistics.median(each), min(each), max(each)) if each else None


def with_spread(median: str, least: str, greatest: str) -> str:
    """A median with its spread in brackets, if it has any."""
    return median if least == greatest else f"{median} ({least}–{greatest})"
