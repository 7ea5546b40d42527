"""What the MongoDB store asks for: whose a document is, and how it is taken, written and renewed.

Updates are pipelines of expressions, the only ones that know the server's clock. Whatever came
from elsewhere is a literal in them: text that begins with `$` would be an expression.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from barback.extras import needs_extra
from barback.stores.base import GRACE, Lease
from barback.stores.mongo.document import document_of

with needs_extra("mongo"):
    from bson.int64 import Int64

if TYPE_CHECKING:
    from barback.record import Record

__all__ = ["NOTHING_YET", "held", "renewing", "replacing", "taking"]

Document = dict[str, Any]

LAST_DATE: Final = 253_402_300_799_000  # the year 9999, after which few clients know of dates

NOTHING_YET: Final[Document] = {"version": {"$exists": False}, "state": {"$exists": False}}
"""What is true of a document that has only ever been leased."""

# Milliseconds by the server's clock. Numbers, unlike dates, are compared alike by every server
# that speaks MongoDB's protocol.
NOW: Final = {"$toLong": "$$NOW"}

_NEVER_EXPIRES: Final = {
    "$and": [
        {"$ne": [{"$type": "$state"}, "missing"]},
        {"$eq": [{"$type": "$sweep_at"}, "missing"]},
    ]
}
_AFTER_THE_LEASE: Final = {
    "$max": [{"$toLong": "$sweep_at"}, {"$add": ["$lease.until", Int64(GRACE)]}]
}
# A session is not swept while it is held, nor soon after.
_SWEPT_LATER: Final[Document] = {
    "$set": {"sweep_at": {"$cond": [_NEVER_EXPIRES, "$$REMOVE", {"$toDate": _AFTER_THE_LEASE}]}}
}


def held(session_id: str, lease: Lease) -> Document:
    """The query for the session's document, if it is this lease's."""
    return {"_id": session_id, "lease.token": lease.token}


def taking(lease: Lease) -> list[Document]:
    """Give the session to `lease` if it is free, or its own; leave it as it is otherwise."""
    own = {"$eq": ["$lease.token", {"$literal": lease.token}]}
    over = {"$lte": [{"$ifNull": ["$lease.until", Int64(0)]}, NOW]}
    taken = {"$cond": [{"$or": [own, over]}, _leased(lease), "$lease"]}
    return [{"$set": {"lease": taken}}, _SWEPT_LATER]


def replacing(record: Record, keep: Lease | None) -> list[Document]:
    """Put the record in the document's place, with the lease that is kept."""
    added: Document = {}
    if record.expires_at is not None:
        expires_at = Int64(min(record.expires_at, LAST_DATE - GRACE))
        added["sweep_at"] = {"$toDate": {"$add": [{"$max": [NOW, expires_at]}, Int64(GRACE)]}}
    if keep is not None:
        added["lease"] = _leased(keep)
    replaced: Document = {"$replaceWith": {"$literal": document_of(record)}}
    return [replaced, {"$set": added}] if added else [replaced]


def renewing(lease: Lease) -> list[Document]:
    """Start the lease's term anew."""
    return [{"$set": {"lease.until": _until(lease)}}, _SWEPT_LATER]


def _leased(lease: Lease) -> Document:
    return {"token": {"$literal": lease.token}, "until": _until(lease)}


def _until(lease: Lease) -> Document:
    return {"$add": [NOW, Int64(lease.term * 1000)]}
