"""Signatures of webhooks."""

from __future__ import annotations

import hmac

from barback.errors import WebhookRefused

__all__ = ["refuse_unless_equal"]


def refuse_unless_equal(given: str, expected: str, what: str) -> None:
    """Compare a signature or a secret with what it must be, in constant time.

    `what` is said of it if it is another. Raises `WebhookRefused`.
    """
    # Headers may hold any byte, which compare_digest does not take as text.
    if not hmac.compare_digest(given.encode("utf-8", "surrogatepass"), expected.encode()):
        raise WebhookRefused(what)
