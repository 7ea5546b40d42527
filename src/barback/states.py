"""States: what the states of a bot begin as, and how older ones become what they are now."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

from barback.errors import (
    BarbackError,
    ConfigurationError,
    MigrationFailed,
    SessionTooNew,
)
from barback.record import FORMAT_JSON, FORMAT_OVER
from barback.state import decode_state, encode_state

if TYPE_CHECKING:
    from barback.record import Record
    from barback.state import Draft, InitialState, State

__all__ = ["Migration", "States"]

Migration = Callable[[dict[str, Any]], Mapping[str, Any]]
"""What makes a state of one version one of the next. It may change the dict it is given."""

ALWAYS_LOOK: Final = 0  # no record has this format


class States:
    """A bot's states: the first of each session, the version of their shape, and its migrations."""

    def __init__(self, initial: InitialState, schema: int = 0) -> None:
        self.initial = initial
        self.schema = schema
        self.migrations: dict[int, Migration] = {}
        self.plain_format = FORMAT_JSON if initial.plain else ALWAYS_LOOK
        """The format of records of which a draft can be made without another look at them."""

    def check(self) -> None:
        """Raise `ConfigurationError` if a migration is missing, or of a version that never was."""
        if not self.migrations:
            return
        oldest = min(self.migrations)
        missing = [each for each in range(oldest, self.schema) if each not in self.migrations]
        if missing:
            message = f"There is no migration from version {missing[0]} to {missing[0] + 1}."
            raise ConfigurationError(message)
        if max(self.migrations) >= self.schema:
            message = (
                f"There is a migration from version {max(self.migrations)}, and the bot's "
                f"schema_version is {self.schema}. Set it to {max(self.migrations) + 1}."
            )
            raise ConfigurationError(message)

    def is_current(self, record: Record) -> bool:
        """Whether a record is as this code would write it, or nothing is left of its state."""
        return record.schema == self.schema or record.format == FORMAT_OVER

    def renewed(self, record: Record) -> Record:
        """An older record as this code would write it. Raises what `draft` does."""
        state = self.draft(record, record.id, 0).changed()
        return msgspec.structs.replace(
            record, schema=self.schema, state=record.state if state is None else state
        )

    def readable(self, record: Record) -> State:
        """A record's state for people to read: as it was kept, whatever its version."""
        return decode_state(record.state, record.id)

    def draft(self, record: Record | None, session_id: str, now: int) -> Draft:
        """What a turn may change of a record, which is None for a new session, at a time (ms).

        Raises `SessionUnreadable`; `SessionTooNew` and `MigrationFailed` are such.
        """
        initial = self.initial
        if record is None:
            return initial.draft(None, initial, session_id, None)
        draft = initial.draft(record.state, initial, session_id, record.lifetime)
        if record.schema == self.schema:
            draft.read()
        elif record.schema > self.schema:
            message = (
                f"Session {session_id!r} is of version {record.schema}, and this code knows "
                f"{self.schema}. It is left as it is: let newer code handle its events."
            )
            raise SessionTooNew(message, session_id=session_id)
        else:
            draft.take(self._migrated(record))
        if record.fades:
            draft.fades = record.fades
            draft.fade(now)
        return draft

    def _migrated(self, record: Record) -> bytes:
        """The state of an older record as it is now."""
        state: State = decode_state(record.state, record.id)
        for version in range(record.schema, self.schema):
            migrate = self.migrations.get(version)
            if migrate is None:
                message = (
                    f"Session {record.id!r} is of version {version}, and the bot has no "
                    f"migration from there. It is left as it is."
                )
                raise MigrationFailed(message, session_id=record.id)
            try:
                state = decode_state(encode_state(migrate(state)), record.id)
            except Exception as error:
                told = f": {error}" if isinstance(error, BarbackError) else ""
                message = (
                    f"The migration of session {record.id!r} from version {version} failed with "
                    f"{type(error).__name__}{told}. It is left as it is."
                )
                raise MigrationFailed(message, session_id=record.id) from error
        return encode_state(state)
