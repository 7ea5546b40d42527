"""Envelope: what an encrypted state rests in.

    {"data": "…", "key": "2026-11", "key_check": "…", "nonce": "…", "session": "telegram:42"}

It is a JSON object, so that every store keeps it as it keeps any state. `data` is the state under
AES-256-GCM. Its key is not the one that has the name, but one that is derived from that for this
session alone; `nonce` is 96 random bits. So the 2^32 random nonces that NIST SP 800-38D allows for
one key are for one session: it may be written a hundred times a second for more than a year.

What is authenticated with the state: this format, the version of the state's shape, the key's name
and the session's id. `session` and `key_check`, which depends on the key, tell nothing secret; they
are there to tell apart what can go wrong.
"""

from __future__ import annotations

import hmac
import os
from functools import lru_cache
from typing import Final

import msgspec

from barback.extras import needs_extra
from barback.record import FORMAT_SEALED, Record

with needs_extra("encryption"):
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

__all__ = ["KEY_BYTES", "Envelope", "Key"]

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
CHECK_BYTES: Final = 8
CIPHERS: Final = 1024  # of sessions that a key remembers: a turn needs its own twice

# What keys are derived for. To change one is to make every session unreadable.
FOR_A_SESSION: Final = b"barback session"
FOR_A_CHECK: Final = b"barback key check"


class Envelope(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """See the module. Its fields are in the order of the alphabet, as in any state."""

    data: bytes
    key: str
    key_check: bytes
    nonce: bytes
    session: str

    def encode(self) -> bytes:
        """As it rests in a record's `state`."""
        return _encoder.encode(self)

    @classmethod
    def decode(cls, state: bytes) -> Envelope | None:
        """What `encode` made; None for anything else, if only by one bit."""
        try:
            envelope = _decoder.decode(state)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return None
        # The same could be written otherwise: with spaces, escapes, or another last letter of
        # base64. Nobody does, and so it was changed.
        return envelope if envelope.encode() == state else None


class Key:
    """One key of a ring. It never shows itself."""

    __slots__ = ("_cipher", "_secret", "check", "name")

    def __init__(self, name: str, secret: bytes) -> None:
        self.name = name
        self.check = _derived(secret, FOR_A_CHECK)[:CHECK_BYTES]
        self._secret = secret
        self._cipher = lru_cache(CIPHERS)(self._cipher_of)

    def same(self, other: Key) -> bool:
        """Whether it is the same key, whatever the names."""
        return hmac.compare_digest(self._secret, other._secret)

    def seal(self, record: Record) -> Envelope:
        """The state of a record, encrypted for the session that the record is of."""
        nonce = os.urandom(NONCE_BYTES)
        return Envelope(
            data=self._cipher(record.id).encrypt(nonce, record.state, self._bound(record)),
            key=self.name,
            key_check=self.check,
            nonce=nonce,
            session=record.id,
        )

    def open(self, envelope: Envelope, record: Record) -> bytes | None:
        """The state in the envelope; None if it is not what was sealed for this record."""
        try:
            return self._cipher(record.id).decrypt(
                envelope.nonce, envelope.data, self._bound(record)
            )
        except (InvalidTag, ValueError):  # the second is for a nonce of another length
            return None

    def _cipher_of(self, session_id: str) -> AESGCM:
        return AESGCM(_derived(self._secret, FOR_A_SESSION, session_id.encode()))

    def _bound(self, record: Record) -> bytes:
        """What must be as it was for the state to be opened. As JSON it is not ambiguous."""
        return _encoder.encode([FORMAT_SEALED, record.schema, self.name, record.id])

    def __repr__(self) -> str:
        return f"<Key {self.name!r}>"


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Envelope)


def _derived(secret: bytes, label: bytes, context: bytes = b"") -> bytes:
    """A key for one purpose: the KDF in counter mode of NIST SP 800-108, by HMAC-SHA256.

    One block of it: a counter of 32 bits, the label, a zero, the context, and the length in bits.
    """
    block = b"\0\0\0\1" + label + b"\0" + context + (8 * KEY_BYTES).to_bytes(4)
    return hmac.digest(secret, block, "sha256")
