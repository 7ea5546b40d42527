"""The fault matrix itself: its cells are all there, and what is left is looked at in truth."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import msgspec
import pytest

from barback.testing.history import NEVER, Effect, HistoryError, TurnRecord
from tests.fault_matrix import CELLS, DOCUMENT, MARKS, ROOT, Result, table
from tests.matrix_faults import FAULTS, NOT_APPLICABLE
from tests.matrix_places import PLACES
from tests.matrix_run import check_left
from tests.matrix_worker import Left


def test_every_store_meets_every_fault_or_it_is_said_why_not() -> None:
    every = {(store, fault) for store in PLACES for fault in FAULTS}
    assert {*CELLS} | NOT_APPLICABLE.keys() == every
    assert not {*CELLS} & NOT_APPLICABLE.keys()


def test_the_document_names_tests_that_are_there() -> None:
    named = set(re.findall(r"(?:tests|src)/[\w/]+\.py", DOCUMENT.read_text()))
    assert len(named) > 10
    assert {name for name in named if not (ROOT / name).exists()} == set()


def test_the_document_has_a_column_for_each_fault_and_a_row_for_each_store() -> None:
    text = DOCUMENT.read_text().partition(MARKS[0])[2].partition(MARKS[1])[0]
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")]
    head, _, *stores = rows[: len(PLACES) + 2]
    assert head == ["store", *(fault.name for fault in FAULTS.values())]
    assert [store for store, *_ in stores] == [*PLACES]
    for store, *cells in stores:
        for fault, cell in zip(FAULTS, cells, strict=True):
            assert cell.startswith("–" if (store, fault) in NOT_APPLICABLE else "✓ ")  # noqa: RUF001
    told = {row[0] for row in rows[len(PLACES) + 2 :]}
    assert told == {"cell", "---", *map(str, CELLS)}


def test_the_table_says_what_is_red_and_what_was_not_run() -> None:
    red, green, *_ = CELLS
    text = table({red: "HistoryError: it is lost", green: Result(3, 7, Counter(committed=5))})
    assert f"| {red} |" in text
    assert "| RED |" in text
    assert "| ✓ 7 |" in text
    assert "| not run |" in text


# What is left is checked in truth.


def turn(mark: str, read: str | None, began: float, **fields: Any) -> TurnRecord:
    usual = {"session": "test:tim", "event": mark, "ran": True, "effect": Effect.DONE}
    usual |= {"ended": began + 1}
    return TurnRecord(mark=mark, read=read, began=began, **{**usual, **fields})


TWO = [turn("a", None, 1), turn("b", "a", 3)]
EVENTS = Counter(tim=2)


def left(**fields: Any) -> list[Left]:
    usual: dict[str, Any] = {"mark": "b", "n": 2, "born": 5, "created": 5}
    return [Left("tim", **{**usual, **fields})]


def test_what_was_told_and_is_there_is_right() -> None:
    assert check_left(TWO, left(), EVENTS) == 0
    assert check_left(TWO, left(), EVENTS, may_lose=True) == 0


@pytest.mark.parametrize(
    ("found", "why"),
    [
        ({"n": 3}, "it counts 3, and had 2 events"),
        ({"born": 4}, "it was made anew"),
        ({"mark": "a"}, "its change is lost"),
    ],
)
def test_what_is_lost_doubled_or_reset_is_found(found: dict[str, Any], why: str) -> None:
    with pytest.raises(HistoryError, match=why):
        check_left(TWO, left(**found), EVENTS)


def test_what_a_failover_may_lose_is_counted_and_may_not_be_done_twice() -> None:
    again = turn("c", "a", 5, event="b")
    assert check_left([*TWO, again], left(mark="c"), EVENTS, may_lose=True) == 1
    twice = turn("c", "b", 5, event="b", effect=Effect.UNKNOWN, ended=NEVER)
    with pytest.raises(HistoryError, match="took effect, and"):
        check_left([*TWO, twice], left(mark="c", n=3), Counter(tim=3), may_lose=True)
    refused = msgspec.structs.replace(again, effect=Effect.NONE)
    with pytest.raises(HistoryError, match="was not done, and took effect"):
        check_left([*TWO, refused], left(mark="c"), EVENTS, may_lose=True)
