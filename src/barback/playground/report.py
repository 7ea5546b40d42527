"""Report: a turn, as the page shows it."""

from __future__ import annotations

import json
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from barback.differences import MISSING, differences, written

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from barback.events import Event
    from barback.observing.turn_seen import Step, TurnSeen

__all__ = ["in_json", "report_of"]

MOST: Final = 64 * 1024  # bytes of a state that are shown with a turn; a session shows all
MOST_OF_ONE: Final = 2000  # characters of a part that was changed, or of a text that was sent
MOST_CHANGES: Final = 200


def report_of(
    seen: TurnSeen, number: int, *, sent: Sequence[str] = (), hidden: Collection[str] = ()
) -> dict[str, Any]:
    """A turn that is over, as values that JSON has; without the steps that are `hidden`.

    States are JSON as text: a page's numbers are not a state's, whose 1.0 is not 1.
    """
    # Of a large state that stays as it is nothing is decoded: the bot stands still meanwhile.
    same = seen.turn.state is None
    changes = [] if same else list(differences(seen.before or {}, seen.after))
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
        "sent": [_cut(text) for text in sent],
        "before": _before(seen),
        "changes": [
            *_beside_the_state(seen),
            *(
                _change(written(each.path), _shown(each.before), _shown(each.after))
                for each in changes[:MOST_CHANGES]
            ),
        ],
        "more_changes": max(0, len(changes) - MOST_CHANGES),
        "error": _error(seen.failure or seen.error),
    }


def in_json(value: Any) -> str:
    """A value as JSON, for people to read."""
    return json.dumps(value, ensure_ascii=False, indent=2)


def _beside_the_state(seen: TurnSeen) -> Iterator[dict[str, Any]]:
    """What a turn changed of its session that is no part of the state."""
    draft, kept = getattr(seen.turn, "draft", None), seen.turn.kept
    if draft is None or seen.settled == "duplicate":
        return
    step = None if kept is None else kept.step
    if draft.step != step:
        yield _change("(step)", step, draft.step)
    if draft.cleared:
        yield _change("(history)", "all until now", None)
    if draft.appended:
        yield _change("(history)", None, f"{len(draft.appended)} more")


def _change(path: str, before: str | None, after: str | None) -> dict[str, Any]:
    """One row; None is where there is nothing."""
    return {"path": path, "before": before, "after": after}


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


def _before(seen: TurnSeen) -> str | None:
    """The state that a turn has read, as JSON; None where it has read none."""
    draft = getattr(seen.turn, "draft", None)
    size = 0 if draft is None else len(draft.base)
    if size > MOST:
        return f"{size:,} bytes: open the session to see them."
    return None if seen.before is None else in_json(seen.before)


def _shown(value: Any) -> str | None:
    """A part of a state as JSON; None where there is none."""
    return None if value is MISSING else _cut(json.dumps(value, ensure_ascii=False))


def _cut(text: str) -> str:
    if len(text) <= MOST_OF_ONE:
        return text
    return f"{text[:MOST_OF_ONE]}… ({len(text):,} characters)"
