"""What PyMongo's errors say: what went wrong, and whether a write may have been applied."""

from __future__ import annotations

from typing import Final

from barback.extras import needs_extra

with needs_extra("mongo"):
    from bson.errors import BSONError
    from pymongo import errors

__all__ = ["discreet", "may_be_applied", "words_for"]

# By the server's categories: it was interrupted, or could not hear of another that did the work.
UNSURE: Final = frozenset(
    {
        *(6, 7, 9001, 317, 384),  # the network between servers
        *(89, 202, 50, 262),  # time limits
        *(90, 91, 189),  # cancelled, shutting down, stepped down
        *(279, 355, 453, 11600, 11601, 11602, 46841, 91331, 10045600),  # interrupted
        *(64, 65),  # no majority in time, several errors at once
    }
)
TOO_LARGE: Final = frozenset({10334, 17419, 17420})
WORDS: Final[tuple[tuple[type[Exception], str], ...]] = (
    (errors.DocumentTooLarge, "takes no document of more than 16 MB"),
    (errors.WaitQueueTimeoutError, "had no connection free within {seconds:g} seconds"),
    (errors.ServerSelectionTimeoutError, "cannot be reached at {where}"),
    (errors.NotPrimaryError, "at {where} has no primary at the moment"),
    (errors.NetworkTimeout, "at {where} did not answer within {seconds:g} seconds"),
    (errors.ExecutionTimeout, "at {where} did not answer within {seconds:g} seconds"),
    (errors.ConnectionFailure, "lost its connection to {where}"),
)


def words_for(error: Exception, *, where: str, seconds: float) -> str:
    """What went wrong, for a sentence that begins with the store."""
    for kind, words in WORDS:
        if isinstance(error, kind):
            return words.format(where=where, seconds=seconds)
    reason = type(error).__name__
    if isinstance(error, errors.OperationFailure):
        if error.code in TOO_LARGE:
            return WORDS[0][1]
        reason = _code_name(error)
    return f"at {where} refused what was asked of it ({reason})"


def may_be_applied(error: Exception) -> bool:
    """Whether a write, sent once at most, may have been carried out although it ended so."""
    if isinstance(error, (errors.ServerSelectionTimeoutError, errors.WaitQueueTimeoutError)):
        return False  # never sent
    if isinstance(error, errors.NotPrimaryError):
        return not isinstance(error.details, dict) or error.details.get("code") in UNSURE
    if isinstance(error, errors.OperationFailure):
        return isinstance(error, errors.WriteConcernError) or error.code in UNSURE
    lost = (errors.ConnectionFailure, errors.ProtocolError)
    return isinstance(error, lost) and not error.has_error_label("SystemOverloadedError")


def discreet(error: Exception) -> Exception:
    """The error without what may be of a document: what broke a rule or an index is quoted there.

    Of what the server refused are left the code and its name.
    """
    if isinstance(error, errors.OperationFailure):
        bulk = isinstance(error, (errors.BulkWriteError, errors.ClientBulkWriteException))
        kind = errors.OperationFailure if bulk else type(error)
        return kind(_code_name(error), error.code).with_traceback(error.__traceback__)
    if isinstance(error, BSONError) and not isinstance(error, errors.DocumentTooLarge):
        return type(error)("This cannot be a document.").with_traceback(error.__traceback__)
    return error


def _code_name(error: errors.OperationFailure) -> str:
    return str((error.details or {}).get("codeName") or f"error {error.code}")
