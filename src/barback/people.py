"""People: all that a store keeps of one person, to be forgotten or to be handed out."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from barback.errors import (
    BarbackError,
    BotNotRunning,
    ConfigurationError,
    SessionStoreUnavailable,
    SessionUnreadable,
)
from barback.history import chunk_ids
from barback.orphans import kept_aside, named
from barback.record import HISTORY, parted
from barback.scope import Scope, is_key_of, is_key_of_group, is_name
from barback.state import decode_state
from barback.tails import open_log
from barback.tending import Failure, failure_of, place_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from barback.record import Record
    from barback.states import States
    from barback.tending import Tender
    from barback.turn import Turn

__all__ = ["Forgotten", "Person", "Shared", "export", "forget", "iso_time"]

Shared = Literal["leave_out", "destroy", "keep"]
"""What becomes of a session that is other people's too."""

Outcome = Literal["destroyed", "left", "kept"]


class Person(msgspec.Struct, frozen=True):
    """A person, as records know them.

    - `id`: of their `User`; `channel`: the only one on which they are meant, None: any.
    - `scope`: how keys of sessions are made, which tells whose a session is that nobody wrote in.
    """

    id: str
    channel: str | None = None
    scope: Scope = "member"

    @classmethod
    def of(cls, user: str, scope: Scope) -> Person:
        """Who is meant by "telegram:42", or by "42". Raises `ConfigurationError` for nobody."""
        if not isinstance(user, str) or not user.strip():
            message = (
                f"A person is named by their channel and id, as in 'telegram:42', or by an id "
                f"that is theirs on every channel, not {user!r}."
            )
            raise ConfigurationError(message)
        channel, colon, own = user.partition(":")
        if colon and own and is_name(channel):
            return cls(own, channel, scope)
        return cls(user, None, scope)

    def has(self, record: Record) -> bool:
        """Whether a record is of a session of theirs, or one they take part in."""
        part = place_of(record.id)
        place = place_of(record.address or record.id) if part.part == HISTORY else part
        if self.channel is not None and place.channel != self.channel:
            return False
        if record.users:
            return self.id in record.users
        return is_key_of(self.scope, self.id, place.key)

    def shares(self, record: Record) -> bool:
        """Whether a session of theirs is other people's too."""
        return any(user != self.id for user in record.users)


class Forgotten(msgspec.Struct, kw_only=True):
    """What was done, or would be done, to forget a person.

    - `destroyed`: sessions that were theirs alone, and are gone.
    - `left`: sessions of which others are too: they were taken out of their `users`.
    - `kept`: the same, where the session was to be kept as it is.
    - `failed`: what may still be there, with the reasons: also records that cannot be read, of
      which nobody knows whose they are.
    - `looked_at`: how many sessions were looked at.

    Sessions are named by their ids.
    """

    dry_run: bool = False
    looked_at: int = 0
    destroyed: list[str] = msgspec.field(default_factory=list)
    left: list[str] = msgspec.field(default_factory=list)
    kept: list[str] = msgspec.field(default_factory=list)
    failed: list[Failure] = msgspec.field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether nothing of the person is left, but in sessions that others share."""
        return not self.failed

    def __str__(self) -> str:
        would = "would be " if self.dry_run else ""
        parts = [f"{len(self.destroyed):,} {would}destroyed"]
        if self.left:
            parts.append(f"{len(self.left):,} shared, which they {would or 'were '}taken out of")
        if self.kept:
            parts.append(f"{len(self.kept):,} shared, and kept")
        if self.failed:
            parts.append(f"{len(self.failed):,} failed")
        return f"{self.looked_at:,} looked at: {', '.join(parts)}"


async def forget(
    tender: Tender,
    person: Person,
    done: Forgotten,
    *,
    shared: Shared,
    on_progress: Callable[[Forgotten], object] | None,
) -> None:
    """Destroy what is of the person alone, and take them out of the rest, telling in `done`."""
    if shared not in ("leave_out", "destroy", "keep"):
        message = f"shared must be 'leave_out', 'destroy' or 'keep', not {shared!r}."
        raise ConfigurationError(message)

    parts: dict[str, list[str]] = {}

    async def one(record: Record) -> None:
        if place_of(record.id).part == HISTORY:
            if record.address is not None and person.has(record):
                parts.setdefault(record.address, []).append(record.id)
            return
        done.looked_at += 1
        if person.has(record):
            await _forget_in(tender, person, done, record, shared)
        if on_progress is not None:
            on_progress(done)

    try:
        unreadable = await tender.each(one)
        if parts and not done.dry_run:
            await _forget_parts(tender, person, done, parts)
    except Exception as error:
        error.add_note(f"Until then: {done}.")
        raise
    if unreadable is not None:
        done.failed.append(failure_of(tender.shown(unreadable.session_id or ""), unreadable))


async def _forget_in(
    tender: Tender, person: Person, done: Forgotten, record: Record, shared: Shared
) -> None:
    """Forget the person in one session; what comes of it is told in `done`."""
    session_id = tender.shown(record.id)
    outcome: Outcome | None
    try:
        if done.dry_run:
            outcome = _outcome(person, record, shared)
        else:
            outcome = await _out_of(tender, person, record.id, shared)
    except (SessionStoreUnavailable, BotNotRunning):
        raise
    except BarbackError as error:
        done.failed.append(failure_of(session_id, error))
        return
    if outcome is not None:
        told: list[str] = getattr(done, outcome)
        told.append(session_id)


async def _out_of(tender: Tender, person: Person, record_id: str, shared: Shared) -> Outcome | None:
    """Take the person out of one session, in a turn of it; None if they are not in it any more."""
    tried: Outcome | None = None

    async def once(turn: Turn) -> Outcome | None:
        nonlocal tried
        found = turn.record
        if found is None or not person.has(found):
            return tried  # gone meanwhile, or by a try whose answer was lost
        tried = _outcome(person, found, shared)
        await _carry_out(turn, found, person, tried)
        return tried

    return await tender.change(record_id, once)


async def _carry_out(turn: Turn, found: Record, person: Person, outcome: Outcome) -> None:
    if outcome == "destroyed":
        await turn.turns.destroy(turn)
    elif outcome == "left":
        others = tuple(user for user in found.users if user != person.id)
        turn.tended = msgspec.structs.replace(found, users=others)


def _outcome(person: Person, record: Record, shared: Shared) -> Outcome:
    if shared == "destroy" or not person.shares(record):
        return "destroyed"
    return "left" if shared == "leave_out" else "kept"


async def _forget_parts(
    tender: Tender, person: Person, done: Forgotten, parts: Mapping[str, Sequence[str]]
) -> None:
    """See to parts of histories that are the person's, after the sessions that had them.

    Most are gone with these. Others are nobody's: a process was killed before they were. And others
    are of a session in which more people are, and which the person was taken out of.
    """
    try:
        aside = await kept_aside(tender.turns.store, tender.prefix)
    except SessionUnreadable as error:  # what it names, nobody knows, and may not be removed
        done.failed.append(failure_of(tender.shown(error.session_id or ""), error))
        return
    for session_id, of_person in parts.items():
        try:
            async with tender.turns.tend(session_id) as turn:
                found, of_session = turn.record, named(turn.record)
                for chunk_id in of_person:
                    users = aside.get(parted(chunk_id)[1])
                    if found is not None and chunk_id in of_session:
                        users = found.users
                    await _out_of_part(turn, person, chunk_id, users)
        except (SessionStoreUnavailable, BotNotRunning):
            raise
        except BarbackError as error:
            done.failed.append(failure_of(tender.shown(session_id), error))


async def _out_of_part(
    turn: Turn, person: Person, chunk_id: str, users: Sequence[str] | None
) -> None:
    """`users`: of the session that has the part; None, if none has."""

    def left(record: Record) -> Record:
        others = tuple(user for user in record.users if user != person.id)
        return msgspec.structs.replace(record, users=others)

    chunks = turn.turns.chunks
    if users is None:
        await chunks.remove([chunk_id])
    elif person.id not in users:
        await chunks.rewrite(chunk_id, left)


async def export(
    tender: Tender, person: Person, states: States, *, include_shared: bool
) -> dict[str, Any]:
    """All that is kept of a person, as values that JSON has."""
    sessions: list[dict[str, Any]] = []

    async def one(record: Record) -> None:
        if place_of(record.id).part != HISTORY and person.has(record):
            told = await _exported(tender, person, record, states, include_shared=include_shared)
            sessions.append({"id": tender.shown(record.id), **told})

    unreadable = await tender.each(one)
    return {
        "user": person.id,
        "channel": person.channel,
        "exported_at": iso_time(tender.now()),
        "sessions": sorted(sessions, key=lambda session: str(session["id"])),
        "unreadable": [] if unreadable is None else [str(unreadable)],
    }


async def _exported(
    tender: Tender, person: Person, record: Record, states: States, *, include_shared: bool
) -> dict[str, Any]:
    """One session; of a shared one, unless it is asked for, nothing that may be of others.

    In a group's, others may have written who have been left out of its users since.
    """
    shared = person.shares(record) or is_key_of_group(place_of(record.id).key)
    told: dict[str, Any] = {
        "created_at": iso_time(record.created_at),
        "last_activity": iso_time(record.last_activity),
        "expires_at": iso_time(record.expires_at),
        "schema": record.schema,
        "shared": shared,
    }
    if shared and not include_shared:
        nothing: dict[str, Any] = {"address": None, "step": None, "state": None, "history": []}
        return {**told, "users": [person.id], **nothing}
    told |= {"users": list(record.users), "address": record.address, "step": record.step}
    return {**told, **await _content(tender, record, states)}


async def _content(tender: Tender, record: Record, states: States) -> dict[str, Any]:
    """The state and the history of a session, or what of them can be read, and what is wrong."""
    content: dict[str, Any] = {"state": None, "history": []}
    try:
        content["state"] = states.readable(record)
        content["history"] = await _entries(tender, record, states)
    except (SessionStoreUnavailable, BotNotRunning):
        raise
    except BarbackError as error:
        content["error"] = str(error)
    return content


async def _entries(tender: Tender, record: Record, states: States) -> list[dict[str, Any]]:
    """The history of a session as it is kept, oldest first."""
    if not chunk_ids(record):
        return await _entries_of(tender, record, states)
    async with tender.turns.tend(record.id) as turn:  # which lets go of no part meanwhile
        return await _entries_of(tender, turn.record or record, states)


async def _entries_of(tender: Tender, record: Record, states: States) -> list[dict[str, Any]]:
    log, session_id = open_log(states, record), parted(record.id)[2]
    kept = await tender.turns.chunks.read(session_id, log.chunks)
    parts = [(ref.first, part) for ref, part in zip(log.chunks, kept, strict=True)]
    parts.append((log.next - len(log.tail), log.tail))
    return [
        {
            "number": number,
            "at": iso_time(at),
            "value": decode_state(b'{"":%s}' % value, record.id)[""],
        }
        for first, part in parts
        for number, (at, value) in enumerate(part, first)
        if number >= log.first
    ]


def iso_time(milliseconds: int | None) -> str | None:
    """A time of a record, as ISO 8601 has it, in UTC."""
    if milliseconds is None:
        return None
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds")
