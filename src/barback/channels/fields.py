"""Fields: parts of what a platform sends, also where it is not of the form that was expected.

Strangers may send anything, and platforms change: a part that is missing, or of another type, is
empty here, and no error.
"""

from __future__ import annotations

from typing import Any

__all__ = ["Json", "camel", "number_in", "object_in", "objects_in", "text_in"]

Json = dict[str, Any]


def camel(name: str) -> str:
    """A name in Python's way of writing as most platforms write it: `send_photo` is `sendPhoto`."""
    first, *others = name.split("_")
    return "".join([first, *(word[:1].upper() + word[1:] for word in others)])


def object_in(of: Json, name: str) -> Json:
    """The object of that name, or an empty one."""
    found = of.get(name)
    return found if isinstance(found, dict) else {}


def objects_in(of: Json, name: str) -> list[Json]:
    """The objects in the list of that name; none where there is no list."""
    found = of.get(name)
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def text_in(of: Json, *names: str) -> str | None:
    """The first of these that is text."""
    return next((of[name] for name in names if isinstance(of.get(name), str)), None)


def number_in(of: Json, name: str) -> str:
    """A whole number, as text; empty where there is none."""
    found = of.get(name)
    return str(found) if type(found) is int else ""
