"""Paths: places inside of a state, as they are written and shown."""

from __future__ import annotations

import json
import re
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from barback.cli.sessions.contents import line_of
from barback.cli.words import printable
from barback.errors import StateValueError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["MISSING", "Difference", "Path", "differences", "parsed", "put", "removed", "written"]

Path = tuple[str | int, ...]

MISSING: Final[Any] = object()
"""Where nothing is."""

PLAIN: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


class Difference(NamedTuple):
    """Where two states differ, and what they have there; one may have nothing, `MISSING`."""

    path: Path
    before: Any
    after: Any

    def __str__(self) -> str:
        where = written(self.path)
        lines = []
        if self.before is not MISSING:
            lines.append(f"- {where}: {_shown(self.before)}")
        if self.after is not MISSING:
            lines.append(f"+ {where}: {_shown(self.after)}")
        return "\n".join(lines)

    @property
    def json(self) -> str:
        """As one line of JSON; what one of them does not have is left out."""
        sides = {"before": self.before, "after": self.after}
        return line_of(
            {"path": list(self.path)}
            | {side: value for side, value in sides.items() if value is not MISSING}
        )


def differences(before: Any, after: Any, path: Path = ()) -> Iterator[Difference]:
    """Every place where two values differ, the innermost there is."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted({*before, *after}):
            yield from _between(before.get(key, MISSING), after.get(key, MISSING), (*path, key))
    elif isinstance(before, list) and isinstance(after, list):
        yield from _in_lists(before, after, path)
    elif _spelt(before) != _spelt(after):
        yield Difference(path, before, after)


def parsed(text: str) -> Path:
    r"""A path as one writes it: names with dots between, `\.` for one that is of a name."""
    steps = [re.sub(r"\\(.)", r"\1", each) for each in re.split(r"(?<!\\)\.", text)]
    if not all(steps):
        raise StateValueError("A path is names with dots between, such as cart.0.price.")
    return tuple(steps)


def written(path: Path) -> str:
    """A path as it is shown."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        elif PLAIN.fullmatch(step):
            text += f".{step}" if text else step
        else:
            text += f"[{_shown(step)}]"
    return text or "state"


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


def _between(before: Any, after: Any, path: Path) -> Iterator[Difference]:
    if before is MISSING or after is MISSING:
        yield Difference(path, before, after)
    else:
        yield from differences(before, after, path)


def _in_lists(before: list[Any], after: list[Any], path: Path) -> Iterator[Difference]:
    """What was put in and taken out, rather than all that has moved by that."""
    if len(before) == len(after):
        for place, (old, new) in enumerate(zip(before, after, strict=True)):
            yield from differences(old, new, (*path, place))
        return
    matcher = SequenceMatcher(None, list(map(_spelt, before)), list(map(_spelt, after)), False)  # noqa: FBT003
    for kind, b0, b1, a0, a1 in matcher.get_opcodes():
        if kind == "equal":
            continue
        for step in range(max(b1 - b0, a1 - a0)):
            old = before[b0 + step] if b0 + step < b1 else MISSING
            new = after[a0 + step] if a0 + step < a1 else MISSING
            place = b0 + step if new is MISSING else a0 + step
            yield from _between(old, new, (*path, place))


def _place(inside: list[Any], step: str | int, path: Path) -> int:
    if not str(step).isdecimal() or int(step) >= len(inside):
        raise StateValueError(f"{written(path)} is a list: its places are 0 to {len(inside) - 1}.")
    return int(step)


def _see_inside(inside: Any, path: Path) -> None:
    if not isinstance(inside, (dict, list)):
        raise StateValueError(f"{written(path)} is neither a dict nor a list: nothing is inside.")


def _spelt(value: Any) -> str:
    """Equal for equal values of equal types: 1 is neither true nor 1.0."""
    return json.dumps(value, sort_keys=True)


def _shown(value: Any) -> str:
    return printable(json.dumps(value, ensure_ascii=False))
