"""Outcomes: many updates in one command, and what became of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from barback.extras import needs_extra

with needs_extra("mongo"):
    import bson
    from bson.errors import BSONError
    from bson.raw_bson import RawBSONDocument
    from pymongo import errors

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pymongo.asynchronous.collection import AsyncCollection

__all__ = ["Outcome", "is_taken", "update_each"]

Outcome = bool | Exception
"""Whether an update found its document, or made one; or what it ended with instead."""

LARGE: Final = 2**22  # bytes in one command: what is larger goes alone, and fails alone
DUPLICATE_KEY: Final = 11000


async def update_each(
    sessions: AsyncCollection[dict[str, Any]], updates: Sequence[dict[str, Any]]
) -> list[Outcome]:
    """Send `updates`, each for one document, in one command, which no client sends twice."""
    outcomes: list[Outcome] = [True] * len(updates)
    encoded: list[tuple[int, RawBSONDocument]] = []
    for number, update in enumerate(updates):
        # By itself: one that cannot be encoded does not keep the others from their command.
        try:
            encoded.append((number, RawBSONDocument(bson.encode(update))))
        except (BSONError, ValueError, OverflowError) as error:
            outcomes[number] = error
    for part in _parts(encoded):
        told = await _update_part(sessions, [update for _, update in part])
        for (number, _), outcome in zip(part, told, strict=True):
            outcomes[number] = outcome
    return outcomes


def is_taken(outcome: Outcome) -> bool:
    """Whether an update found no document that fitted, but one of that id."""
    return (
        isinstance(outcome, errors.DuplicateKeyError)
        and isinstance(outcome.details, dict)
        and list(outcome.details.get("keyPattern", ())) == ["_id"]
    )


def _parts(
    encoded: list[tuple[int, RawBSONDocument]],
) -> Iterator[list[tuple[int, RawBSONDocument]]]:
    part: list[tuple[int, RawBSONDocument]] = []
    size = 0
    for number, update in encoded:
        size += len(update.raw)
        if part and size > LARGE:
            yield part
            part, size = [], len(update.raw)
        part.append((number, update))
    if part:
        yield part


async def _update_part(
    sessions: AsyncCollection[dict[str, Any]], updates: list[RawBSONDocument]
) -> list[Outcome]:
    command = {
        "update": sessions.name,
        "updates": updates,
        "ordered": False,
        "writeConcern": sessions.write_concern.document,
    }
    try:
        return _read(await sessions.database.command(command), len(updates))
    except errors.OperationFailure as error:
        if len(updates) == 1:
            return [error]
        # What stops the whole may have stopped it half way: nobody knows of any.
        several = errors.BulkWriteError(dict(error.details or {}))
        several.__cause__ = error
        return [several] * len(updates)
    except (errors.PyMongoError, BSONError) as error:
        return [error] * len(updates)


def _read(reply: dict[str, Any], count: int) -> list[Outcome]:
    refused = reply.get("writeErrors", ())
    if reply.get("n") != count - len(refused):
        message = "The server did not tell what became of some of the updates."
        raise errors.ProtocolError(message)
    outcome: Outcome = True
    if (concern := reply.get("writeConcernError")) is not None:
        outcome = errors.WriteConcernError(concern.get("errmsg", ""), concern.get("code"), concern)
    outcomes = [outcome] * count
    if outcome is True:
        for upserted in reply.get("upserted", ()):
            outcomes[upserted["index"]] = False
    for failed in refused:
        code = failed.get("code")
        kind = errors.DuplicateKeyError if code == DUPLICATE_KEY else errors.WriteError
        outcomes[failed["index"]] = kind(failed.get("errmsg", ""), code, failed)
    return outcomes
