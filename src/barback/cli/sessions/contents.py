"""Contents: what a record holds, for people to read and to change."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec

from barback.cli.words import printable
from barback.errors import SessionUnreadable
from barback.history import Log
from barback.people import iso_time
from barback.record import FORMAT_JSON, FORMAT_SEALED
from barback.state import encode_state
from barback.tending import place_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from barback.record import Record
    from barback.states import States

__all__ = ["facts_of", "line_of", "pretty", "with_state"]


def line_of(value: Any) -> str:
    """In one line, and in ASCII, which says nothing to a terminal."""
    return json.dumps(value, separators=(",", ":"))


def pretty(value: Any) -> str:
    """In many lines, as people like to read it, and with nothing that talks to a terminal."""
    return printable(json.dumps(value, indent=2, ensure_ascii=False))


def facts_of(record: Record) -> dict[str, Any]:
    """All but the content: who, when, and how much."""
    place = place_of(record.id)
    return {
        "id": record.id,
        "namespace": place.namespace,
        "channel": place.channel,
        "key": place.key,
        "created_at": iso_time(record.created_at),
        "last_activity": iso_time(record.last_activity),
        "expires_at": iso_time(record.expires_at),
        "schema": record.schema,
        "users": list(record.users),
        "address": record.address,
        "encrypted": record.format == FORMAT_SEALED,
        "state_bytes": len(record.state),
        **_facts_of_history(record),
    }


def with_state(states: States, record: Record, state: Mapping[str, Any]) -> Record:
    """The record with another state, as it is to rest. Raises `StateValueError`."""
    return states.sealed(
        msgspec.structs.replace(record, state=encode_state(state), format=FORMAT_JSON)
    )


def _facts_of_history(record: Record) -> dict[str, Any]:
    """How many entries there are, and how many records beside the session's have older ones."""
    if not record.history:
        return {"history_entries": 0, "history_parts": 0, "history_bytes": 0}
    try:
        log = Log.of(record)
    except SessionUnreadable:
        return {"history_entries": None, "history_parts": None, "history_bytes": None}
    size = len(record.history) + sum(ref.weight for ref in log.chunks)
    return {
        "history_entries": log.next - log.first,
        "history_parts": len(log.chunks),
        "history_bytes": size,
    }
