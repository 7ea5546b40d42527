"""What the MongoDB store asks for: whose a document is, and how it is taken, written and renewed.

Updates are pipelines of expressions, the only ones that know the server's clock. Whatever came
from elsewhere is a literal in them: text that begins with `$` would be an expression.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from barback.extras import needs_extra
from barback.stores.base import GRACE, SKEW, Lease
from barback.stores.mongo.document import document_of

with needs_extra("mongo"):
    from bson.int64 import Int64

if TYPE_CHECKING:
    from barback.record import Record

__all__ = ["NOTHING_LEFT", "NOTHING_YET", "Document", "held", "renewing", "replacing", "taking"]

Document = dict[str, Any]

LAST_DATE: Final = 253_402_300_799_000  # the year 9999, after which few clients know of dates

NOTHING_YET: Final[Document] = {"version": {"$exists": False}, "state": {"$exists": False}}
"""What is true of a document that has only ever been leased."""

NOTHING_LEFT: Final[Document] = {**NOTHING_YET, "lease": {"$exists": False}}
"""What is true of a document that is no session, and nobody's."""

# What a session that is leased has, and a document that a commit is about to make has not.
_HELD: Final = "lease.until"
_GONE: Final = {"$eq": [{"$type": f"${_HELD}"}, "missing"]}

# Milliseconds by the server's clock. Numbers, unlike dates, are compared alike by every server
# that speaks MongoDB's protocol.
NOW: Final = {"$toLong": "$$NOW"}

# With more time left than its whole term it was taken before the clock was set back.
_LAST_END: Final = {"$add": [NOW, {"$ifNull": ["$lease.term", Int64(LAST_DATE)]}, Int64(SKEW)]}
_OVER: Final = {
    "$or": [
        {"$lte": [{"$ifNull": ["$lease.until", Int64(0)]}, NOW]},
        {"$gt": ["$lease.until", _LAST_END]},
    ]
}

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


def taking(session_id: str, lease: Lease) -> Document:
    """Give the session to `lease` if it is free, or its own; leave it as it is otherwise."""
    own = {"$eq": ["$lease.token", {"$literal": lease.token}]}
    taken = {"$cond": [{"$or": [own, _OVER]}, _leased(lease), "$lease"]}
    update = [{"$set": {"lease": taken}}, _SWEPT_LATER]
    return {"q": {"_id": session_id}, "u": update, "upsert": True}


def replacing(record: Record, lease: Lease, *, keep: bool) -> Document:
    """Put the record in the place of the one that was read under `lease`.

    Where the lease is not the session's any more, or the record another, the update would make a
    document, which the one that is there does not let it. Where none is there any more, it makes
    one in which nothing is, and tells of it: `NOTHING_LEFT` finds it.
    """
    unchanged = NOTHING_YET if lease.version is None else {"version": Int64(lease.version)}
    added: Document = {}
    if record.expires_at is not None:
        expires_at = Int64(min(record.expires_at, LAST_DATE - GRACE))
        added["sweep_at"] = {"$toDate": {"$add": [{"$max": [NOW, expires_at]}, Int64(GRACE)]}}
    if keep:
        added["lease"] = _leased(lease)
    document: Document = {"$literal": document_of(record)}
    if added:
        document = {"$mergeObjects": [document, added]}
    nothing = {"_id": {"$literal": record.id}, "sweep_at": "$$NOW"}
    return {
        "q": {**held(record.id, lease), _HELD: {"$exists": True}, **unchanged},
        "u": [{"$replaceWith": {"$cond": [_GONE, nothing, document]}}],
        "upsert": True,
    }


def renewing(lease: Lease) -> list[Document]:
    """Start the lease's term anew."""
    return [{"$set": {"lease": _leased(lease)}}, _SWEPT_LATER]


def _leased(lease: Lease) -> Document:
    term = Int64(lease.term * 1000)
    return {
        "token": {"$literal": lease.token},
        "until": {"$add": [NOW, term]},
        "term": term,
    }
