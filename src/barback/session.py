"""Session: what is remembered about one conversation, as handlers see it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from barback.record import NEVER
from barback.stores.base import duration, milliseconds

if TYPE_CHECKING:
    from barback.record import Record
    from barback.state import Draft

__all__ = ["Session"]


class Session:
    """One conversation's session, for the length of a turn. Times are aware datetimes, in UTC."""

    __slots__ = ("_default_lifetime", "_draft", "_max_age", "_now", "_record", "channel", "id")

    def __init__(  # noqa: PLR0913 - what it tells, by keyword
        self,
        session_id: str,
        *,
        record: Record | None,
        draft: Draft,
        now: int,
        default_lifetime: int | None,
        max_age: int | None,
    ) -> None:
        self.id = session_id
        self.channel = session_id.partition(":")[0]
        self._record = record
        self._draft = draft
        self._now = now
        self._default_lifetime = default_lifetime
        self._max_age = max_age

    @property
    def created_at(self) -> datetime:
        """When it was first written; now, for a new one."""
        return _moment(self._now if self._record is None else self._record.created_at)

    @property
    def last_activity(self) -> datetime:
        """When it was last written. An event that changes nothing moves it only now and then."""
        return _moment(self._now if self._record is None else self._record.last_activity)

    @property
    def expires_at(self) -> datetime | None:
        """When it ends unless something happens; None: never."""
        own = self._draft.lifetime
        if self._record is not None and own == self._record.lifetime:
            at = self._record.expires_at
            return None if at is None else _moment(at)
        lifetime = self._default_lifetime if own is None else own
        began = self._now if self._record is None else self._record.created_at
        ends = [] if lifetime is None or lifetime == NEVER else [self._now + lifetime]
        if self._max_age is not None:
            ends.append(began + self._max_age)
        return _moment(min(ends)) if ends else None

    @property
    def version(self) -> int | None:
        """Changed by every commit, never used twice; None for a session not yet written."""
        return None if self._record is None else self._record.version

    @property
    def is_new(self) -> bool:
        """Whether nothing is kept of it yet."""
        return self._record is None

    def expire_in(self, span: float | timedelta | None) -> None:
        """Let this session, from now on, live so long after its last activity.

        `span` is minutes or a timedelta; None is for ever. It is kept with the session, in place of
        the store's `expires_in`. Raises `TurnEnded` after the turn.
        """
        self._draft.ensure_open(self.id)
        own = milliseconds(duration(span, "the session's lifetime"))
        self._draft.lifetime = NEVER if own is None else own

    def __repr__(self) -> str:
        return f"<Session {self.id!r}>"


def _moment(at: int) -> datetime:
    return datetime.fromtimestamp(at / 1000, UTC)
