"""Turns in which something is done to a typed state, and what becomes of it."""

from __future__ import annotations

from typing import Any

import pytest

from barback import Bot, Context, StateValueError

__all__ = ["SECRET", "after", "assign", "refusal", "set_to"]

SECRET = "hunter2"  # noqa: S105 - nobody's
"""What a message must not tell."""


async def after(kind: Any, act: Any, **options: Any) -> Any:
    """The state after a turn in which `act` was done to it."""
    async with Bot(initial_state=kind, **options) as bot:
        async with bot.conversation("test:tim") as context:
            act(context)
        async with bot.conversation("test:tim") as context:
            return context.state


async def refusal(kind: Any, act: Any) -> StateValueError:
    with pytest.raises(StateValueError) as refused:
        await after(kind, act)
    assert SECRET not in str(refused.value)
    return refused.value


def assign(**changes: Any) -> Any:
    def act(context: Context[Any]) -> None:
        for name, value in changes.items():
            setattr(context.state, name, value)

    return act


def set_to(**changes: Any) -> Any:
    return lambda context: context.set_state(changes)
