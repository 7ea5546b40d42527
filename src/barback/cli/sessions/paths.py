"""Paths: places inside of a state, as they are written and shown."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from barback.cli.sessions.contents import line_of
from barback.cli.words import printable
from barback.differences import MISSING
from barback.differences import written as _written
from barback.errors import StateValueError

if TYPE_CHECKING:
    from barback.differences import Difference, Path

__all__ = ["json_of", "lines_of", "parsed", "put", "removed", "written"]


def lines_of(difference: Difference) -> str:
    """A difference as it is shown, in a line or two."""
    where = written(difference.path)
    lines = []
    if difference.before is not MISSING:
        lines.append(f"- {where}: {_shown(difference.before)}")
    if difference.after is not MISSING:
        lines.append(f"+ {where}: {_shown(difference.after)}")
    return "\n".join(lines)


def json_of(difference: Difference) -> str:
    """The same as one line of JSON; what one of the two does not have is left out."""
    sides = {"before": difference.before, "after": difference.after}
    return line_of(
        {"path": list(difference.path)}
        | {side: value for side, value in sides.items() if value is not MISSING}
    )


def written(path: Path) -> str:
    """A place as a terminal may show it."""
    return printable(_written(path))


def parsed(text: str) -> Path:
    r"""A path as one writes it: names with dots between, `\.` for one that is of a name."""
    steps = [re.sub(r"\\(.)", r"\1", each) for each in re.split(r"(?<!\\)\.", text)]
    if not all(steps):
        raise StateValueError("A path is names with dots between, such as cart.0.price.")
    return tuple(steps)


def put(state: dict[str, Any], path: Path, value: Any) -> None:
    """Set what is there. Dicts on the way are made; in a list a number is a place that there is."""
    inside: Any = state
    for number, step in enumerate(path[:-1], 1):
        if isinstance(inside, dict):
            inside = inside.setdefault(step, {})
        else:
            inside = inside[_place(inside, step, path[: number - 1])]
        _see_inside(inside, path[:number])
    if isinstance(inside, list):
        inside[_place(inside, path[-1], path[:-1])] = value
    else:
        inside[path[-1]] = value


def removed(state: dict[str, Any], path: Path) -> None:
    """Take away what is there. Raises `StateValueError` if nothing is."""
    inside: Any = state
    for number, step in enumerate(path):
        _see_inside(inside, path[:number])
        at: Any = _place(inside, step, path[:number]) if isinstance(inside, list) else step
        if isinstance(inside, dict) and at not in inside:
            raise StateValueError(f"There is no {written(path[: number + 1])} in the state.")
        if number == len(path) - 1:
            del inside[at]
        else:
            inside = inside[at]


def _place(inside: list[Any], step: str | int, path: Path) -> int:
    if not str(step).isdecimal() or int(step) >= len(inside):
        raise StateValueError(f"{written(path)} is a list: its places are 0 to {len(inside) - 1}.")
    return int(step)


def _see_inside(inside: Any, path: Path) -> None:
    if not isinstance(inside, (dict, list)):
        raise StateValueError(f"{written(path)} is neither a dict nor a list: nothing is inside.")


def _shown(value: Any) -> str:
    return printable(json.dumps(value, ensure_ascii=False))
