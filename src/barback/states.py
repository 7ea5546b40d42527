"""States: what the states of a bot begin as, and how those that rest become what they are now."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

from barback.errors import (
    BarbackError,
    ConfigurationError,
    KeyMissing,
    MigrationFailed,
    SessionTooNew,
    StateValueError,
)
from barback.record import FORMAT_JSON, FORMAT_OVER, FORMAT_SEALED
from barback.state import decode_state, encode_state

if TYPE_CHECKING:
    from barback.encryption import Keys
    from barback.record import Record
    from barback.state import Draft, InitialState, State

__all__ = ["Migration", "States"]

Migration = Callable[[dict[str, Any]], Mapping[str, Any]]
"""What makes a state of one version one of the next. It may change the dict it is given."""

ALWAYS_LOOK: Final = 0  # no record has this format


class States:
    """A bot's states: the first of each session, the version of their shape, and its migrations.

    - `keys`: with which they are encrypted where they rest; None: they rest as they are.
    """

    def __init__(self, initial: InitialState, schema: int = 0, keys: Keys | None = None) -> None:
        self.initial = initial
        self.schema = schema
        self.keys = keys
        self.migrations: dict[int, Migration] = {}
        self.plain_format = FORMAT_JSON if initial.plain and keys is None else ALWAYS_LOOK
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

    def readable(self, record: Record) -> State:
        """A record's state for people to read: as it was kept, whatever its version."""
        return decode_state(self.plain(record), record.id)

    def draft(self, record: Record | None, session_id: str, now: int) -> Draft:
        """What a turn may change of a record, which is None for a new session, at a time (ms).

        Raises `SessionUnreadable`, and whatever derives from it.
        """
        initial = self.initial
        if record is None:
            return initial.draft(None, initial, session_id, None)
        if record.schema > self.schema:  # whose keys may be newer too
            message = (
                f"Session {session_id!r} is of version {record.schema}, and this code knows "
                f"{self.schema}. It is left as it is: let newer code handle its events."
            )
            raise SessionTooNew(message, session_id=session_id)
        plain = self.plain(record)
        draft = initial.draft(plain, initial, session_id, record.lifetime)
        draft.step = record.step
        if record.schema == self.schema:
            draft.read()
        else:
            draft.take(self._migrated(record, plain))
        if record.fades:
            draft.fades = record.fades
            draft.fade(now)
        return draft

    def plain(self, record: Record) -> bytes:
        """The state of a record as JSON, whatever it rests as. Raises `SessionUnreadable`."""
        if self.keys is not None:
            return self.keys.open(record)
        if record.format == FORMAT_SEALED:
            message = (
                f"The state of session {record.id!r} is encrypted, and this bot has no keys. It is "
                f"left as it is: give the bot encryption=Keys(...)."
            )
            raise KeyMissing(message, session_id=record.id)
        return record.state

    def sealed(self, record: Record) -> Record:
        """A record whose state is plain JSON, as it is to rest."""
        return record if self.keys is None else self.keys.seal(record)

    def is_current(self, record: Record) -> bool:
        """Whether a record's state rests as it would if it were written now.

        So it is of this version of the shape, and encrypted with the current key, or not at all if
        there are no keys. It is not found out whether it can be read.
        """
        if record.format == FORMAT_OVER:
            return True  # there is none
        if record.schema != self.schema:
            return False
        if self.keys is not None:
            return self.keys.is_current(record)
        return record.format == FORMAT_JSON

    def renewed(self, record: Record) -> Record:
        """The record with its state as it would rest if it were written now; the rest as it is.

        Raises as `draft` does, and `StateValueError`.
        """
        draft = self.draft(record, record.id, 0)  # no key ends by this
        state = draft.changed()
        return self.sealed(
            msgspec.structs.replace(
                record,
                state=draft.base if state is None else state,
                format=FORMAT_JSON,
                schema=self.schema,
            )
        )

    def _migrated(self, record: Record, plain: bytes) -> bytes:
        """The state of an older record as it is now."""
        state: State = decode_state(plain, record.id)
        for version in range(record.schema, self.schema):
            migrate = self.migrations.get(version)
            if migrate is None:
                message = (
                    f"Session {record.id!r} is of version {version}, and the bot has no "
                    f"migration from there. It is left as it is."
                )
                raise MigrationFailed(message, session_id=record.id)
            try:
                state = decode_state(encode_state(_returned(migrate(state))), record.id)
            except Exception as error:
                told = f": {str(error).rstrip('.')}" if isinstance(error, BarbackError) else ""
                message = (
                    f"The migration of session {record.id!r} from version {version} failed with "
                    f"{type(error).__name__}{told}. It is left as it is."
                )
                raise MigrationFailed(message, session_id=record.id) from error
        return encode_state(state)


def _returned(migrated: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a migration returned, if that is a state. Raises `StateValueError`."""
    if not isinstance(migrated, Mapping):
        message = f"It returned {type(migrated).__name__}, not the newer state, a dict."
        raise StateValueError(message)
    return migrated
