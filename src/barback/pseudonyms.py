"""Pseudonyms: how a session is called where people look who need not know whose it is."""

from __future__ import annotations

from hashlib import blake2b
from typing import Final, Literal, get_args

from barback.errors import ConfigurationError

__all__ = ["Pseudonyms", "SessionIds"]

SessionIds = Literal["hashed", "plain", "none"]
"""How ids of sessions and of events are told: as a hash, as they are, or not at all."""

LENGTH: Final = 8  # bytes: a hash is to tell sessions apart, and to be read by people
LONGEST_KEY: Final = 64


class Pseudonyms:
    """Makes of each id what is told of it.

    `key`: a secret of which the hash is made too. Without one, whoever knows how ids look may try
    all of them until a hash is found; with one, only who has it can.
    """

    def __init__(self, session_ids: SessionIds, key: str | bytes | None = None) -> None:
        if session_ids not in get_args(SessionIds):
            message = f"session_ids must be 'hashed', 'plain' or 'none', not {session_ids!r}."
            raise ConfigurationError(message)
        secret = key.encode() if isinstance(key, str) else key or b""
        if len(secret) > LONGEST_KEY:
            message = f"A key for hashes has at most {LONGEST_KEY} bytes."
            raise ConfigurationError(message)
        self._way = session_ids
        self._key = secret
        self.plain = session_ids == "plain"

    def of(self, own: str | None) -> str | None:
        """What is told of an id; None if nothing is."""
        if own is None or self._way == "none":
            return None
        if self.plain:
            return own
        return blake2b(own.encode(), digest_size=LENGTH, key=self._key).hexdigest()

    def __repr__(self) -> str:
        return f"<Pseudonyms {self._way}>"  # and no key
