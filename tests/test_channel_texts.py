"""Long texts, in parts that a platform takes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barback.channels.texts import parts_of, units

LONGEST = 4096


@pytest.mark.parametrize("text", ["", " ", "Hi", "x" * LONGEST, "😀" * (LONGEST // 2)])
def test_what_fits_is_one_part(text: str) -> None:
    assert [text] == parts_of(text, LONGEST)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("one two three\n\nfour five", ["one two three", "four five"]),
        ("one two three\nfour five", ["one two three", "four five"]),
        ("One, two. Three four five", ["One, two.", "Three four five"]),
        ("one two three four five six", ["one two three", "four five six"]),
        ("x" * 30, ["x" * 16, "x" * 14]),
        ("a " + "x" * 20, ["a xxxxxxxxxxxxxx", "xxxxxx"]),
    ],
)
def test_a_text_is_divided_where_it_reads_best(text: str, expected: list[str]) -> None:
    assert expected == parts_of(text, 16)


def test_an_emoji_counts_as_two_as_it_does_for_telegram() -> None:
    assert units("😀a") == 3
    assert parts_of("😀" * 9, 16) == ["😀" * 8, "😀"]


@pytest.mark.parametrize("together", ["e\u0301", "👍🏽", "👩\u200d🚀", "❤\ufe0f"])
def test_what_is_one_sign_stays_one(together: str) -> None:
    for before in range(20):
        parts = parts_of("x" * before + together + "y" * 20, 16)
        assert any(together in part for part in parts)


def test_what_never_ends_is_cut_all_the_same() -> None:
    endless = "e" + "\u0301" * 60
    assert [len(part) for part in parts_of(endless, 20)] == [20, 20, 20, 1]


def test_blank_space_between_parts_is_no_part() -> None:
    assert parts_of("one" + " " * 40 + "two", 16) == ["one", "two"]


@given(st.text(max_size=200), st.integers(min_value=2, max_value=20))
def test_no_part_is_too_long_and_nothing_but_white_space_is_lost(text: str, longest: int) -> None:
    parts = parts_of(text, longest)
    assert all(units(part) <= longest for part in parts)
    assert "".join(text.split()) == "".join("".join(parts).split())
