"""Tails: the newest entries of a history, in their session's record, encrypted with its state."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from barback.errors import SessionUnreadable
from barback.history import Kept, Log
from barback.record import FORMAT_JSON, FORMAT_OVER, FORMAT_SEALED, Record

if TYPE_CHECKING:
    from barback.states import States

__all__ = ["closed", "is_current", "open_log", "opened", "renewed", "seal_log"]


def open_log(states: States, record: Record | None) -> Log:
    """The history that a record has, its tail readable. Raises `SessionUnreadable`."""
    log = Log.of(record)
    if record is None or not (log.has_sealed() or (log.tail and states.keys is not None)):
        return log
    plain = states.plain(_as_record(record, log))  # which refuses a plain one where none may be
    try:
        log.tail = _decoder.decode(plain)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        message = f"The history in the record of session {record.id!r} cannot be read."
        raise SessionUnreadable(message, session_id=record.id) from error
    log.sealed = msgspec.UNSET  # type: ignore[assignment]
    return log


def seal_log(states: States, log: Log, record: Record) -> bytes:
    """A history whose tail is readable, as the session's record is to have it."""
    if not log.tail or states.keys is None:
        return log.encode()
    sealed = states.sealed(_as_record(record, log))
    return msgspec.structs.replace(log, tail=[], sealed=msgspec.Raw(sealed.state)).encode()


def is_current(states: States, record: Record) -> bool:
    """Whether state and tail of a record rest as they would if they were written now."""
    if not states.is_current(record):
        return False
    if not record.history or (states.keys is None and b'"sealed":' not in record.history):
        return True
    log = Log.of(record)
    if log.has_sealed() or log.tail:
        tail = _as_record(record, log)
        return tail.format == FORMAT_JSON if states.keys is None else states.keys.is_current(tail)
    return True


def renewed(states: States, record: Record) -> Record:
    """The record with its state and its tail as they would rest if they were written now.

    Raises as `States.renewed` does.
    """
    if record.history:
        history = seal_log(states, open_log(states, record), record)
        record = msgspec.structs.replace(record, history=history)
    return states.renewed(record)


def opened(states: States, record: Record) -> Record:
    """The record with its state and its tail as plain JSON. Raises `SessionUnreadable`."""
    if record.format == FORMAT_OVER:
        return record
    history = open_log(states, record).encode() if record.history else b""
    return msgspec.structs.replace(
        record, state=states.plain(record), format=FORMAT_JSON, history=history
    )


def closed(states: States, record: Record) -> Record:
    """The record with what is plain of its state and its tail encrypted, if there are keys."""
    if states.keys is None or record.format == FORMAT_OVER:
        return record
    log = Log.of(record)
    if log.tail and not log.has_sealed():
        record = msgspec.structs.replace(record, history=seal_log(states, log, record))
    return states.sealed(record) if record.format == FORMAT_JSON else record


def _as_record(record: Record, log: Log) -> Record:
    """The tail, as it is, as a record that is opened and sealed like any other.

    It is bound to the session that it is of, and is no state of that session.
    """
    sealed = log.has_sealed()
    return Record(
        id=f"{record.id}#history",
        version=record.version,
        state=bytes(log.sealed) if sealed else _encoder.encode(log.tail),
        created_at=0,
        last_activity=0,
        format=FORMAT_SEALED if sealed else FORMAT_JSON,
    )


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(list[Kept])
