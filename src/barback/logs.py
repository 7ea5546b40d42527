"""Logs that tell of which session and turn they are, as text or as JSON."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from barback.pseudonyms import Pseudonyms
from barback.turn import innermost

if TYPE_CHECKING:
    from barback.pseudonyms import SessionIds

__all__ = ["JSONFormatter", "SessionFilter"]

FIELDS: Final = ("session_id", "channel", "event_id", "turn")
STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
LEFT_OUT: Final = "(session)"  # what stands for an id that is not to be told
HIDDEN: Final = "barback_hidden"  # whether ids of a record are hidden; there once it has its fields


class SessionFilter(logging.Filter):
    """Gives each log record `session_id`, `channel`, `event_id` and `turn`: for a handler.

    A record made in a turn has those of the turn, whoever made it: barback, the bot's own code, or
    a library that it calls. Others have None in each.

    - `session_ids`: "plain" unless set: ids are told as they are. "hashed": ids of sessions and
      events become hashes, in these fields, and the session's in the message, in texts given as
      `extra` and in tracebacks as well; "none": they are left out there.
    - `key`: a secret for the hashes; the same for `Telemetry` gives the same hashes.

    It lets every record through. Add it to handlers rather than to loggers, whose filters do not
    see what comes from other loggers: `handler.addFilter(SessionFilter())`. Handlers share their
    records: what one of them has hidden stays so for those that have the record after it.
    """

    def __init__(
        self, *, session_ids: SessionIds = "plain", key: str | bytes | None = None
    ) -> None:
        super().__init__()
        self._pseudonyms = Pseudonyms(session_ids, key)

    def filter(self, record: logging.LogRecord) -> bool:
        """Add the fields. It may be asked of a record that another handler has had before."""
        told = vars(record)
        if HIDDEN not in told:
            turn = innermost()
            if turn is not None and "turn" not in told:
                told.update(turn.told())
            for field in FIELDS:
                told.setdefault(field, None)
            told[HIDDEN] = False
        if not (self._pseudonyms.plain or told[HIDDEN]):
            told[HIDDEN] = True
            self._hide(record, told)
        return True

    def _hide(self, record: logging.LogRecord, told: dict[str, Any]) -> None:
        session_id = told["session_id"]
        told["session_id"] = self._pseudonyms.of(session_id)
        told["event_id"] = self._pseudonyms.of(told["event_id"])
        if session_id is None:
            return
        instead = told["session_id"] or LEFT_OUT
        for name, value in told.items():
            if name not in STANDARD and isinstance(value, str):
                told[name] = value.replace(session_id, instead)
        record.msg, record.args = _message(record).replace(session_id, instead), None
        if record.exc_info and record.exc_info[0] is not None:
            text = record.exc_text or _plain.formatException(record.exc_info)
            record.exc_text, record.exc_info = text.replace(session_id, instead), None


class JSONFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, and what else a record has.

    Fields are `time` (ISO 8601, UTC), `level`, `logger`, `message`, those of `SessionFilter` that
    are known, what was given as `extra`, and `exception`, a traceback. Values that JSON does not
    have are told as text.
    """

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter.format`."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        for name, value in vars(record).items():
            if name not in STANDARD and name != HIDDEN and value is not None:
                line.setdefault(name, value)
        if record.exc_info and record.exc_info[0] is not None and not record.exc_text:
            record.exc_text = self.formatException(record.exc_info)
        if record.exc_text:
            line["exception"] = record.exc_text
        return json.dumps(line, ensure_ascii=False, default=str)


def _message(record: logging.LogRecord) -> str:
    """The message. What cannot be made is no error here: whoever logs it would get that."""
    try:
        return record.getMessage()
    except Exception:  # noqa: BLE001 - it comes from anybody's code
        return f"{record.msg} (its arguments do not fit)"


_plain = logging.Formatter()
