"""Waits: which sessions the turns of other sessions wait for, so that no circle closes."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from barback.errors import TurnDeadlock

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Waits"]


class Waits:
    """Who waits for whom, among the turns inside which others were asked for."""

    def __init__(self) -> None:
        self._awaited: dict[str, list[str]] = {}

    @contextmanager
    def waiting(self, holders: list[str], session_id: str) -> Iterator[None]:
        """While inside, the turns of `holders` wait for `session_id`, the last by its own will.

        Raises `TurnDeadlock` if that session waits, at however many removes, for one of them.
        """
        if self._awaits(session_id, set(holders)):
            message = (
                f"A turn of session {holders[-1]!r} asked for session {session_id!r}, which "
                f"waits for that turn: neither would ever end. Use the context you have, or start "
                f"the conversation after the turn."
            )
            raise TurnDeadlock(message, session_id=session_id)
        for holder in holders:
            self._awaited.setdefault(holder, []).append(session_id)
        try:
            yield
        finally:
            for holder in holders:
                self._awaited[holder].remove(session_id)
                if not self._awaited[holder]:
                    del self._awaited[holder]

    def _awaits(self, session_id: str, holders: set[str]) -> bool:
        reached, frontier = set[str](), [session_id]
        while frontier:
            awaited = frontier.pop()
            if awaited in holders:
                return True
            if awaited not in reached:
                reached.add(awaited)
                frontier += self._awaited.get(awaited, ())
        return False
