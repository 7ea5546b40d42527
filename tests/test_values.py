"""What goes into a typed state comes out equal, from every store, or is refused with its path."""

from __future__ import annotations

from collections import OrderedDict
from datetime import datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from barback import Bot, StateValueError
from tests.every_store import EVERY, own_url
from tests.kinds_of_values import FAMILIES, KINDS, Kind, field_name, type_with
from tests.value_table import DOCUMENT, table, with_table

STORES = [*EVERY]


def exactly(value: Any) -> Any:
    """A value and its type in plain words, which are the same for the same only."""
    if isinstance(value, dict):
        items = [(exactly(key), exactly(part)) for key, part in value.items()]
        told: Any = items if isinstance(value, OrderedDict) else sorted(items, key=repr)
    elif isinstance(value, (set, frozenset)):
        told = sorted(map(exactly, value), key=repr)
    elif isinstance(value, (list, tuple)):
        told = [exactly(part) for part in value]
    elif isinstance(value, (datetime, time)):
        told = (value.replace(tzinfo=None, fold=0).isoformat(), value.utcoffset())
    elif isinstance(value, (str, bytes, bytearray, int, float, Decimal)):
        told = repr(value)
    elif hasattr(value, "__dict__") and not isinstance(value, type):
        names = getattr(value, "__dataclass_fields__", vars(value))
        told = exactly({name: getattr(value, name) for name in {*names, *vars(value)}})
        if hasattr(value, "__pydantic_extra__"):
            told = (told, exactly(value.__pydantic_extra__), exactly(value.__pydantic_private__))
    else:
        names = getattr(value, "__slots__", ()) or getattr(value, "__struct_fields__", ())
        told = [exactly(getattr(value, name)) for name in names] if names else repr(value)
    return type(value).__qualname__, told


def put(state: Any, name: str, value: Any) -> None:
    if isinstance(state, dict):
        state[name] = value
    else:
        setattr(state, name, value)


def got(state: Any, name: str) -> Any:
    return state[name] if isinstance(state, dict) else getattr(state, name)


def paths(name: str, rest: str) -> tuple[str, str]:
    """How the path begins of what stands in a field; in a dict, it may be told in two ways."""
    return f"state.{name}{rest}", f"state[{name!r}]{rest}"


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("store", STORES)
async def test_every_kind_of_value_comes_back_equal_or_is_refused(
    store: str, family: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    kinds = [kind for kind in KINDS if family in kind.families]
    state = type_with(family, {field_name(kind): kind.type for kind in kinds})
    url = own_url(store, request, tmp_path)
    async with Bot(initial_state=state, session_store=url) as bot:
        for kind in kinds:
            await comes_back(bot, kind)
            await is_refused(bot, kind)


async def comes_back(bot: Bot[Any], kind: Kind) -> None:
    name = field_name(kind)
    for number, value in enumerate(kind.kept):
        session_id = f"test:{name}-{number}"
        before = exactly(value)
        async with bot.conversation(session_id) as context:
            put(context.state, name, value)
        async with bot.conversation(session_id) as context:
            assert exactly(got(context.state, name)) == before, kind.name
            version = context.session.version
            put(context.state, name, value)  # which is no change
        async with bot.conversation(session_id) as context:
            assert context.session.version == version, f"{kind.name}: it was written anew"


async def is_refused(bot: Bot[Any], kind: Kind) -> None:
    name = field_name(kind)
    for number, (value, rest) in enumerate(kind.refused):
        session_id = f"test:{name}-not-{number}"
        told = f"{kind.name}: {value!r:.50}"
        with pytest.raises(StateValueError) as refused:
            async with bot.conversation(session_id) as context:
                put(context.state, name, value)
        assert (refused.value.path or "").startswith(paths(name, rest)), told
        async with bot.conversation(session_id) as context:
            assert context.session.version is None


def test_the_table_in_the_document_is_that_of_the_kinds() -> None:
    text = DOCUMENT.read_text()
    assert text == with_table(text, table()), "renew it: python3 dev.py values"
