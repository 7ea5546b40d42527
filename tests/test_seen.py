"""The ids a session has seen, as one text: it must behave as a dict of them would."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barback.seen import Seen

IDS = st.text(alphabet=st.sampled_from(["a", "b", " ", ",", "%", "2", "0", "C", "\0", "é", ":"]))
TIMES = st.integers(-5, 5)


@given(st.dictionaries(IDS | st.text(), st.integers()))
def test_it_equals_the_dict_it_was_made_of_order_and_all(times: dict[str, int]) -> None:
    seen = Seen.of(times)
    assert times == seen
    assert list(times.items()) == list(Seen(seen.text).items())
    assert all(turn_id in seen for turn_id in times)


@given(st.dictionaries(IDS, TIMES), IDS)
def test_it_knows_no_id_that_only_looks_like_one(times: dict[str, int], turn_id: str) -> None:
    assert (turn_id in times) == (turn_id in Seen.of(times))


@given(st.dictionaries(IDS, TIMES), IDS, TIMES, st.integers(1, 4))
def test_adding_lets_the_oldest_go(
    times: dict[str, int], turn_id: str, too_old: int, limit: int
) -> None:
    times.pop(turn_id, None)
    expected = dict(times)
    for known, at in times.items():
        if len(expected) < limit and at > too_old:
            break
        del expected[known]
    expected[turn_id] = 9
    seen = Seen.of(times).adding(turn_id, 9, limit=limit, too_old=too_old)
    assert list(expected.items()) == list(seen.items())


@pytest.mark.parametrize("text", ["a", "a b", "a 1,b 2", "a 1, b"])
def test_a_text_that_is_none_of_ours_is_found_out(text: str) -> None:
    with pytest.raises(ValueError, match=r"time|int"):
        dict(Seen(text))


def test_nothing_but_text_is_ever_seen() -> None:
    nothing: object = 1
    assert nothing not in Seen("1 1")


@given(st.dictionaries(IDS | st.text(), TIMES))
def test_what_was_written_is_sound(times: dict[str, int]) -> None:
    assert Seen.of(times).is_sound()


@pytest.mark.parametrize(
    "text", [" ", "a", "1", "a b", "a 1,b 2", "a 1, b", "a 1, b, c 3", "a 1 2"]
)
def test_what_was_cut_or_mended_badly_is_not_sound(text: str) -> None:
    assert not Seen(text).is_sound()


@pytest.mark.parametrize("text", ["a 1,b 2", "a, b 1", "a, b, c 3", "a 1 2"])
def test_to_what_is_not_sound_nothing_is_added(text: str) -> None:
    with pytest.raises(ValueError, match="time"):
        Seen(text).adding("d", 4, limit=9, too_old=0)


def test_it_is_no_key_as_a_dict_is_none() -> None:
    with pytest.raises(TypeError):
        hash(Seen())
