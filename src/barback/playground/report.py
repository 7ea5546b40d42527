"""Report: a turn, as the page shows it."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from barback.differences import MISSING, differences, written

if TYPE_CHECKING:
    from collections.abc import Collection

    from barback.events import Event
    from barback.observing.turn_seen import Step, TurnSeen

__all__ = ["report_of"]

MOST: Final = 64 * 1024  # bytes of a state that are shown with a turn; a session shows all
MOST_CHANGES: Final = 200


def report_of(seen: TurnSeen, number: int, *, hidden: Collection[str] = ()) -> dict[str, Any]:
    """A turn that is over, as values that JSON has; without the steps that are `hidden`."""
    before, after = seen.before, seen.after
    changes = [] if before is None else list(differences(before, after))
    return {
        "number": number,
        "session": seen.session_id,
        "origin": seen.origin,
        "settled": seen.settled,
        "event": _event(seen.event),
        "at": seen.began_at // 1_000_000,
        "ms": _ms(seen.seconds),
        "found": seen.found,
        "steps": [_step(step, seen.began_at) for step in seen.steps if step.name not in hidden],
        "before": _unless_large(before),
        "changes": [
            {"path": written(each.path), "before": _shown(each.before), "after": _shown(each.after)}
            for each in changes[:MOST_CHANGES]
        ],
        "more_changes": max(0, len(changes) - MOST_CHANGES),
        "error": _error(seen.failure or seen.error),
    }


def _event(event: Event) -> dict[str, Any]:
    return {
        "id": event.id,
        "kind": event.kind,
        "text": event.text,
        "payload": event.payload,
        "user": None if event.user is None else event.user.id,
        "conversation": event.conversation,
    }


def _step(step: Step, began_at: int) -> dict[str, Any]:
    return {
        "name": step.name,
        "method": step.method,
        "after": (step.began_at - began_at) / 1e6,
        "ms": _ms(step.seconds),
        "tries": step.tries,
        "size": step.size,
        "failed": step.error is not None,
    }


def _error(error: BaseException | None) -> dict[str, Any] | None:
    if error is None:
        return None
    from barback.observing.turn_seen import place_of  # noqa: PLC0415 - only for who fails

    place = place_of(error)
    return {
        "type": type(error).__name__,
        "message": str(error),
        "place": None if place is None else str(place._replace(file=_from_here(place.file))),
        "traceback": "".join(traceback.format_exception(error)),
    }


def _from_here(file: str) -> str:
    """A file, as it is called in the current folder."""
    path = Path(file)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else file


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 3)


def _unless_large(value: Any) -> Any:
    return None if len(msgspec.json.encode(value)) > MOST else value


def _shown(value: Any) -> dict[str, Any]:
    """A value, or that there is none: JSON has no word for that."""
    return {} if value is MISSING else {"value": _unless_large(value)}
