"""The checker of histories: it takes what can have been, and refuses what cannot.

Where it says yes or no by the one order there can be, a search through all orders must agree.
"""

from __future__ import annotations

import random
from itertools import permutations
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from barback.testing.history import Effect, HistoryError, TurnHistory, TurnRecord, check_history

if TYPE_CHECKING:
    from pathlib import Path

TIM = "test:tim"


def turn(mark: str, read: str | None, *times: float, **fields: Any) -> TurnRecord:
    """A turn that was done, and wrote `mark` where it had read `read`."""
    began, ended = times
    usual = {"session": TIM, "event": f"of {mark}", "ran": True, "effect": Effect.DONE}
    return TurnRecord(mark=mark, read=read, began=began, ended=ended, **{**usual, **fields})


def check(*turns: TurnRecord, last: str | None = None, **options: Any) -> None:
    check_history(turns, {TIM: last}, **options)


ALIVE = {"effect": Effect.UNKNOWN}
REFUSED = {"effect": Effect.NONE}
ONLY_LOOKED = {"wrote": False}

POSSIBLE: dict[str, tuple[str | None, list[TurnRecord]]] = {
    "nothing": (None, []),
    "one": ("a", [turn("a", None, 1, 2)]),
    "one after another": ("b", [turn("a", None, 1, 2), turn("b", "a", 3, 4)]),
    "side by side, the later one first": ("a", [turn("a", "b", 1, 9), turn("b", None, 2, 8)]),
    "one that was refused": ("a", [turn("a", None, 1, 2), turn("b", "a", 3, 4, **REFUSED)]),
    "refused, and it had read what nobody kept": (
        "a",
        [turn("a", None, 1, 2), turn("b", "x", 1, 4, **REFUSED)],
    ),
    "unknown, and done": ("b", [turn("a", None, 1, 2), turn("b", "a", 3, 4, **ALIVE)]),
    "unknown, and not done": ("a", [turn("a", None, 1, 2), turn("b", "a", 3, 4, **ALIVE)]),
    "unknown, and done late": (
        "b",
        [turn("b", "a", 1, float("inf"), **ALIVE), turn("a", None, 5, 6)],
    ),
    "one that looked": (
        "b",
        [turn("a", None, 1, 2), turn("l", "a", 3, 4, **ONLY_LOOKED), turn("b", "a", 3, 6)],
    ),
    "a copy that was known": (
        "a",
        [turn("a", None, 1, 5), turn("c", "-", 2, 6, event="of a", effect=Effect.SEEN, ran=False)],
    ),
}
IMPOSSIBLE: dict[str, tuple[str | None, list[TurnRecord], str]] = {
    "lost update": ("b", [turn("a", None, 1, 9), turn("b", None, 2, 8)], "is lost"),
    "lost at the end": ("a", [turn("a", None, 1, 2), turn("b", "a", 3, 4)], "is lost"),
    "reset": ("c", [turn("a", None, 1, 2), turn("c", None, 3, 4)], "is lost"),
    "forgotten altogether": (None, [turn("a", None, 1, 2)], "is lost"),
    "done though refused": ("a", [turn("a", None, 1, 2, **REFUSED)], "was not done, and took"),
    "done though it never ran": ("a", [turn("a", None, 1, 2, ran=False)], "was not done, and took"),
    "out of nothing": ("x", [turn("a", None, 1, 2)], "no turn has written"),
    "in a ring": ("a", [turn("a", "b", 1, 9), turn("b", "a", 1, 9)], "before itself"),
    "out of its time": ("a", [turn("a", "b", 1, 2), turn("b", None, 3, 4)], "had ended before"),
    "an old view": (
        "b",
        [turn("a", None, 1, 2), turn("b", "a", 3, 4), turn("l", "a", 5, 6, **ONLY_LOOKED)],
        "had ended before",
    ),
    "a view of what was to come": (
        "b",
        [turn("a", None, 1, 2), turn("l", "b", 3, 4, **ONLY_LOOKED), turn("b", "a", 5, 6)],
        "had ended before",
    ),
    "a view of what never was": (
        "a",
        [turn("a", None, 1, 2), turn("l", "x", 3, 4, **ONLY_LOOKED)],
        "never took effect",
    ),
    "an event twice": (
        "b",
        [turn("a", None, 1, 2, event="e"), turn("b", "a", 3, 4, event="e")],
        "took effect, and",
    ),
    "twice, and one of them unknown": (
        "b",
        [turn("a", None, 1, 2, event="e", **ALIVE), turn("b", "a", 3, 4, event="e")],
        "took effect, and",
    ),
    "called handled, and never was": (
        None,
        [turn("a", None, 1, 2, effect=Effect.SEEN, ran=False)],
        "never was",
    ),
    "called handled too soon": (
        "a",
        [turn("c", None, 1, 2, event="of a", effect=Effect.SEEN), turn("a", None, 3, 4)],
        "called handled before",
    ),
    "called handled while it was being handled": (
        "a",
        [
            turn("a", None, 1, 5, ran_at=4),
            turn("c", None, 2, 3, event="of a", effect=Effect.SEEN, ran=False),
        ],
        "called handled before",
    ),
    "built on what had not ended yet": (
        "b",
        [turn("a", None, 1, 5, ran_at=4), turn("b", "a", 2, 3)],
        "had ended before",
    ),
    "the same mark": ("a", [turn("a", None, 1, 2), turn("a", None, 3, 4)], "same mark"),
}


@pytest.mark.parametrize("name", POSSIBLE)
def test_what_can_have_been_is_taken(name: str) -> None:
    last, turns = POSSIBLE[name]
    for order in permutations(turns):  # in whatever order it was noted
        check(*order, last=last)


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_what_cannot_have_been_is_refused(name: str) -> None:
    last, turns, why = IMPOSSIBLE[name]
    for order in permutations(turns):
        with pytest.raises(HistoryError, match=why):
            check(*order, last=last)


def test_beyond_the_window_an_event_may_take_effect_twice() -> None:
    turns = turn("a", None, 1, 2, event="e"), turn("b", "a", 3, 4, event="e")
    check(*turns, last="b", window=False)


def test_a_session_that_nobody_looked_at_is_no_proof() -> None:
    with pytest.raises(HistoryError, match="nobody looked"):
        check_history([turn("a", None, 1, 2)], {})


def test_sessions_are_looked_at_one_by_one() -> None:
    turns = [turn("a", None, 1, 2), turn("b", None, 1, 2, session="test:ann")]
    check_history(turns, {TIM: "a", "test:ann": "b"})
    with pytest.raises(HistoryError, match="test:ann: turn 'b' of event 'of b' was done"):
        check_history(turns, {TIM: "a", "test:ann": None})


# Against a search through all orders.


def by_search(turns: list[TurnRecord], last: str | None) -> bool:
    """Whether any order of any choice of the turns explains what was read and what was left."""
    certain = [each for each in turns if each.effect is Effect.DONE]
    open_ended = [each for each in turns if each.effect is Effect.UNKNOWN and each.ran]
    for chosen in range(2 ** len(open_ended)):
        taken = certain + [each for n, each in enumerate(open_ended) if chosen >> n & 1]
        if any(explains(order, last) for order in permutations(taken)):
            return True
    return False


def explains(order: tuple[TurnRecord, ...], last: str | None) -> bool:
    mark, moment = None, float("-inf")
    for each in order:
        moment = max(moment, each.began, each.ran_at)
        if each.read != mark or moment > each.ended:
            return False
        mark = each.mark if each.wrote else mark
    return mark == last


EFFECTS = st.sampled_from([Effect.DONE, Effect.DONE, Effect.UNKNOWN, Effect.NONE])


@given(st.integers(), st.data())
def test_a_search_through_all_orders_agrees(seed: int, data: st.DataObject) -> None:
    """Histories that were, with something in them changed now and then."""
    chance, marks = random.Random(seed), "abcde"
    mark, turns, now = None, [], 0.0
    for own in marks[: data.draw(st.integers(1, 5))]:
        effect, wrote = data.draw(EFFECTS), data.draw(st.booleans())
        now += 1
        began, ended = now - chance.choice([0, 1.5, 3]), now + chance.choice([0, 1.5, 3])
        ran_at = now - chance.choice([0, 0.5, float("inf")])
        fields: dict[str, Any] = {"effect": effect, "wrote": wrote, "ran_at": ran_at}
        turns.append(turn(own, mark, began, ended, **fields))
        if wrote and (
            effect is Effect.DONE or (effect is Effect.UNKNOWN and chance.random() < 0.5)
        ):
            mark = own
    if data.draw(st.booleans()):
        number = chance.randrange(len(turns))
        change: dict[str, Any] = chance.choice(
            [
                {"read": chance.choice([None, *marks])},
                {"began": now + 5, "ended": now + 6},
                {"began": -6.0, "ended": -5.0},
                {"wrote": not turns[number].wrote},
            ]
        )
        turns[number] = msgspec.structs.replace(turns[number], **change)
        mark = chance.choice([mark, None, *marks])
    try:
        check(*turns, last=mark)
    except HistoryError:
        assert not by_search(turns, mark)
    else:
        assert by_search(turns, mark)


# Notes.


def test_what_a_killed_process_has_noted_is_there(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    history = TurnHistory(one)
    history.begin(TIM, "a", "1")
    history.ran("a", None)
    history.end("a", Effect.DONE)
    history.begin(TIM, "b", "2")
    history.ran("b", "a")
    history.close()
    with one.open("ab") as file:
        file.write(b'{"mark":"b","effe')  # it was killed here
    other = TurnHistory(two)
    other.begin("test:ann", "c", "3")
    other.ran("c", None, wrote=False)
    other.end("c", Effect.DONE)
    other.close()
    first, second, third = TurnHistory.load(one, two)
    assert (first.effect, first.read, first.wrote, first.event) == (Effect.DONE, None, True, "1")
    assert first.began <= first.ran_at <= first.ended < float("inf") == second.ended
    assert (second.effect, second.read, second.ran) == (Effect.UNKNOWN, "a", True)
    assert not third.wrote
    for last in "a", "b":
        check_history([first, second, third], {TIM: last, "test:ann": None})
