"""Arguments: what is called by its platform's names takes its parameters by theirs."""

from __future__ import annotations

from inspect import Parameter, signature
from typing import TYPE_CHECKING, Any

from barback.errors import ArgumentsNeedNames

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["check_positions", "need_names"]

BY_POSITION = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)


def check_positions(name: str, sender: Callable[..., Any], args: tuple[object, ...]) -> None:
    """See that a channel's sender, called `name`, takes so many arguments without their names.

    The context before them is not counted. Raises `ArgumentsNeedNames` where it would take them by
    name; what is wrong otherwise, Python says itself.
    """
    kinds = [parameter.kind for parameter in signature(sender).parameters.values()]
    taken = sum(kind in BY_POSITION for kind in kinds) - 1
    is_open = Parameter.VAR_KEYWORD in kinds and Parameter.VAR_POSITIONAL not in kinds
    if is_open and len(args) > taken:
        raise need_names(name, taken)


def need_names(name: str, taken: int = 0) -> ArgumentsNeedNames:
    """The error for a call of `name`, which takes so many arguments without their names."""
    which = f"all but the first {taken} of its parameters" if taken > 0 else "its parameters"
    return ArgumentsNeedNames(
        f"{name} takes {which} by the names that the platform has for them, as in "
        f"{name}({'…, ' * max(taken, 0)}name=value)."
    )
