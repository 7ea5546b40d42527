"""Unfit: what somebody did of which no event can be made, among what others did."""

from __future__ import annotations

from typing import TYPE_CHECKING, ParamSpec, TypeVar

from barback.errors import InvalidEvent
from barback.events import Event

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["UnfitEvent", "made"]

P = ParamSpec("P")
Made = TypeVar("Made")


class UnfitEvent(Event, kw_only=True, frozen=True):
    """Stands for an event that no session could remember, such as one of an endless id.

    Delivered again it would be the same, so it is left out (`Bot.leave_out`), and the others of its
    batch are handled. `error` says what is wrong with it.
    """

    error: InvalidEvent


def made(
    channel: str, make: Callable[P, Made], /, *args: P.args, **options: P.kwargs
) -> Made | UnfitEvent:
    """What `make` makes; or an `UnfitEvent` of this channel, where it raises `InvalidEvent`."""
    try:
        return make(*args, **options)
    except InvalidEvent as error:
        return UnfitEvent(channel=channel, error=error)
