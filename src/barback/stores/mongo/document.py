"""Records as MongoDB documents: every field one that can be queried, the state's own included.

    {_id: "telegram:42", version: 8, format: 1, schema: 0, created_at: …, last_activity: …,
     expires_at: …, seen: "telegram:message:7 1767225600000", users: ["…"],
     state: {nickname: "Tim"}}

Times are milliseconds. What is None, or empty, is left out. A state rests as fields where they
give back the very bytes it was given as, which is so for whatever a bot writes; it rests as binary
where they would not: unusual spacing or escapes, a key twice, integers of more than 64 bits, more
levels than MongoDB takes, and every format that is not known here. There is never both, so that
what somebody changes in the shell is what the next turn reads.
"""

from __future__ import annotations

import math
import re
from types import NoneType
from typing import Any, Final

import msgspec

from barback.errors import SessionUnreadable
from barback.extras import needs_extra
from barback.record import FORMATS, Record
from barback.seen import Seen

with needs_extra("mongo"):
    from bson.int64 import Int64

__all__ = ["document_of", "record_of"]

MAX_LEVELS: Final = 80  # MongoDB takes 100, and a document on its way is inside of others
MAX_INT: Final = 2**63 - 1
MIN_INT: Final = -(2**63)

# What a key may not be or hold in MongoDB, and the sign that escapes it.
_SPECIAL: Final = re.compile(r"\A\$|[.\0%]")
_ESCAPED: Final = re.compile("%(24|2E|00|25)")
_EMPTY: Final = "%"

_encoder = msgspec.json.Encoder()  # keys in the order in which they stand
_decoder = msgspec.json.Decoder(dict[str, Any])


def document_of(record: Record) -> dict[str, Any]:
    """The document in which `record` rests."""
    document: dict[str, Any] = {
        "_id": record.id,
        "version": Int64(record.version),
        "format": record.format,
        "schema": record.schema,
        "created_at": Int64(record.created_at),
        "last_activity": Int64(record.last_activity),
    }
    if record.expires_at is not None:
        document["expires_at"] = Int64(record.expires_at)
    if record.lifetime is not None:
        document["lifetime"] = Int64(record.lifetime)
    if record.history:
        document["history"] = record.history
    if record.fades:
        document["fades"] = {_escaped(key): Int64(at) for key, at in record.fades.items()}
    if record.step is not None:
        document["step"] = record.step
    if seen := Seen.of(record.seen).text:
        document["seen"] = seen
    if record.users:
        document["users"] = list(record.users)
    if record.address is not None:
        document["address"] = record.address
    document["state"] = _resting(record)
    return document


def record_of(document: dict[str, Any], *, store: str) -> Record:
    """Read what `document_of` made. Raises `SessionUnreadable` and `SessionTooNew`."""
    session_id = document["_id"]
    try:
        envelope = {name: _plain(document[name]) for name in _FIELDS if name in document}
        envelope["id"] = session_id
        # A state of another format may be no JSON; that format is what decoding then stops at.
        state = _bytes(document["state"])
        readable = document.get("format") in FORMATS
        if "history" in document:
            envelope["history"] = msgspec.Raw(_bytes(document["history"]))
        envelope["state"] = msgspec.Raw(state) if readable else None
        data = _encoder.encode(envelope)
    except (TypeError, ValueError, LookupError, AttributeError, RecursionError) as error:
        message = (
            f"The document of session {session_id!r} cannot be read. It is left as it is: "
            f"restore it from a copy, or destroy the session to let it start anew."
        )
        raise SessionUnreadable(message, session_id=session_id, store=store) from error
    record = Record.decode(data, session_id=session_id, store=store)
    return msgspec.structs.replace(record, state=state)


_FIELDS = (
    *("version", "format", "schema", "created_at", "last_activity", "expires_at", "lifetime"),
    *("fades", "step", "seen", "users", "address"),
)


def _resting(record: Record) -> dict[str, Any] | bytes:
    """The state as fields, or as it is where fields would not give the same bytes back."""
    if record.format in FORMATS:
        try:
            state = _decoder.decode(record.state)
            if _encoder.encode(state) == record.state:
                return {_escaped(key): _fields(value, 2) for key, value in state.items()}
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, OverflowError):
            pass  # whether it can be read is for who reads it to say
    return record.state


def _fields(value: Any, level: int) -> Any:
    """A value of the state as one of MongoDB's; `OverflowError` for what those cannot be."""
    kind = type(value)
    if kind is dict or kind is list:
        if level > MAX_LEVELS:
            raise OverflowError
        if kind is list:
            return [_fields(item, level + 1) for item in value]
        return {_escaped(key): _fields(item, level + 1) for key, item in value.items()}
    if kind is int and not MIN_INT <= value <= MAX_INT:
        raise OverflowError
    return value


def _bytes(resting: Any) -> bytes:
    if isinstance(resting, bytes):
        return bytes(resting)
    if type(resting) is not dict:
        raise TypeError
    return _encoder.encode(_plain(resting))


def _plain(value: Any) -> Any:
    """A value of MongoDB's as one of JSON's; `TypeError` for one that no record has."""
    kind = type(value)
    if kind is dict:
        return {_unescaped(key): _plain(item) for key, item in value.items()}
    if kind is list:
        return [_plain(item) for item in value]
    if kind is Int64:
        return int(value)
    if kind in (str, int, bool, NoneType) or (kind is float and math.isfinite(value)):
        return value
    raise TypeError(kind.__name__)


def _escaped(key: str) -> str:
    return _SPECIAL.sub(lambda found: f"%{ord(found[0]):02X}", key) or _EMPTY


def _unescaped(key: str) -> str:
    if key == _EMPTY:
        return ""
    return _ESCAPED.sub(lambda found: chr(int(found[1], 16)), key) if "%" in key else key
