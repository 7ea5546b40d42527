"""The answers of a store that are errors, in the same words from every driver."""

from __future__ import annotations

from typing import Final

from barback.errors import CommitUnknown, LeaseLost, SessionBusy, SessionStoreUnavailable

__all__ = ["ELSEWHERE", "busy", "lost", "unavailable", "unknown"]

ELSEWHERE: Final = "was opened on another event loop, or before a fork: open one on each, after it"
"""What is `unavailable` with a store whose connections are not this loop's, or this process's."""


def busy(store: str, session_id: str) -> SessionBusy:
    """Another lease holds the session."""
    message = f"Session {session_id!r} is in another turn."
    return SessionBusy(message, session_id=session_id, store=store)


def lost(store: str, session_id: str) -> LeaseLost:
    """The lease is not the session's any more, or the record is not the one that was read."""
    message = (
        f"The turn on session {session_id!r} lost its lease: another turn took the session over, "
        f"or it was destroyed. Nothing was written."
    )
    return LeaseLost(message, session_id=session_id, store=store)


def unavailable(store: str, what: str, session_id: str | None = None) -> SessionStoreUnavailable:
    """The store did surely not do what was asked; `what` goes on from "The … store"."""
    about = "" if session_id is None else f" Session {session_id!r} is as it was."
    message = f"The {store} store {what}.{about}"
    return SessionStoreUnavailable(message, session_id=session_id, store=store)


def unknown(store: str, session_id: str) -> CommitUnknown:
    """The store was asked to write or destroy, and its answer was lost."""
    message = (
        f"The {store} store's answer about session {session_id!r} was lost: it may have been "
        f"written, or not."
    )
    return CommitUnknown(message, session_id=session_id, store=store)
