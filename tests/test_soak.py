"""Memory does not grow with turns, however many people they are of, and however they end."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.soak import DOCUMENT, MARKS, SOAKS, Curve, soak, soaked
from tests.soak_worker import Sample


@pytest.mark.timeout(300)
def test_many_turns_of_many_people_leave_no_more_than_a_tenth_of_them_did(
    record_property: Any,
) -> None:
    """The memory store holds 10,000 sessions by then; nothing else may grow.

    `python3 dev.py soak` does the same with a million turns, for the document.
    """
    few = msgspec.structs.replace(SOAKS["memory"], url="memory://", turns=200_000, people=100_000)
    curve = soak(few, within=280)
    record_property("curve", str(curve))
    curve.check()


@pytest.mark.parametrize("store", ["SQLite", "Redis"])
def test_turns_that_fail_or_are_cancelled_leave_nothing(store: str, tmp_path: Path) -> None:
    short = msgspec.structs.replace(SOAKS[store], turns=20_000, people=2_000)
    with soaked(store, tmp_path) as url:
        soak(msgspec.structs.replace(short, url=url), within=100).check()


def test_a_curve_that_rises_is_not_flat() -> None:
    told = dict.fromkeys(("committed", "unchanged", "failed", "cancelled"), 25)
    flat = [Sample(10 * n, 100_000, None) for n in range(1, 11)]
    rising = [Sample(10 * n, 100_000 + 1_000 * n, None) for n in range(1, 11)]
    Curve(SOAKS["SQLite"], flat, Counter(told)).check()
    with pytest.raises(AssertionError):
        Curve(SOAKS["SQLite"], rising, Counter(told)).check()


def test_the_document_shows_each_curve() -> None:
    table = DOCUMENT.read_text().partition(MARKS[0])[2].partition(MARKS[1])[0]
    rows = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("|")]
    assert rows[0] == ["turns done", *SOAKS]
    assert len(rows) == 12
