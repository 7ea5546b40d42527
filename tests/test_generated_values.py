"""Any value of the plain kinds, made up by hypothesis, comes back equal from its JSON."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from barback.shapes import shape_of
from tests.kinds_of_values import Color, Level, Point, Rights, Size


class Rich(msgspec.Struct):
    day: date | None
    moment: datetime
    clock: time
    span: timedelta
    price: Decimal
    key: UUID
    data: bytes
    color: Color
    size: Size
    level: Level
    rights: Rights
    point: Point
    pair: tuple[int, str]
    many: tuple[float, ...]
    words: set[str]
    numbers: frozenset[int]
    by_day: dict[date, list[int]]
    by_number: dict[int, str]


class RichModel(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")
    day: date | None
    moment: datetime
    clock: time
    span: timedelta
    price: Decimal
    key: UUID
    data: bytes
    color: Color
    size: Size
    level: Level
    rights: Rights
    point: Point
    pair: tuple[int, str]
    many: tuple[float, ...]
    words: set[str]
    numbers: frozenset[int]
    by_day: dict[date, list[int]]
    by_number: dict[int, str]


NUMBERS = st.integers(-(2**63), 2**63 - 1)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
OFFSETS = st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "day": st.none() | st.dates(),
    "moment": st.datetimes(timezones=st.none() | OFFSETS),
    "clock": st.times(timezones=st.none() | OFFSETS),
    "span": st.timedeltas(),
    "price": st.decimals(allow_nan=False, allow_infinity=False),
    "key": st.uuids(),
    "data": st.binary(max_size=50),
    "color": st.sampled_from(Color),
    "size": st.sampled_from(Size),
    "level": st.sampled_from(Level),
    "rights": st.sampled_from([Rights(0), Rights.READ, Rights.WRITE, Rights.READ | Rights.WRITE]),
    "point": st.builds(Point, NUMBERS, TEXTS),
    "pair": st.tuples(NUMBERS, TEXTS),
    "many": st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=5).map(tuple),
    "words": st.sets(TEXTS, max_size=5),
    "numbers": st.frozensets(NUMBERS, max_size=5),
    "by_day": st.dictionaries(st.dates(), st.lists(NUMBERS, max_size=3), max_size=3),
    "by_number": st.dictionaries(NUMBERS, TEXTS, max_size=3),
}


@pytest.mark.parametrize("kind", [Rich, RichModel])
@given(fields=st.fixed_dictionaries(FIELDS))
def test_any_value_comes_back_equal_and_is_written_the_same(
    kind: Any, fields: dict[str, Any]
) -> None:
    shape = shape_of(kind)
    value = kind(**fields)
    kept = shape.encode(value)
    back = shape.decode(kept)
    assert {name: getattr(back, name) for name in fields} == fields
    assert back.moment.utcoffset() == fields["moment"].utcoffset()
    assert shape.same(shape.encode(back), kept)
