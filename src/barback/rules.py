"""Rules: the policy of a bot's turns, in numbers."""

from __future__ import annotations

import msgspec

__all__ = ["Rules"]


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """The policy of a bot's turns. Times are in seconds.

    - `handler_timeout`: how long a handler may run; None: as long as it likes.
    - `lease_term`: how long a session stays locked after its holder died.
    - `lease_wait`: how long a turn waits for a session that another process holds.
    - `hand_overs`: how many turns in a row may run under one lease.
    - `concurrency`: how many turns may run at once.
    - `waiting`, `waiting_for_one`: how many more events may wait, in all and for one session.
    - `seen_limit`, `seen_for`: how many event ids a session remembers, and for how long.
    - `dedupe_always`: remember an event's id even if its turn changed nothing.
    - `handled_limit`: how many ids of such events the process remembers otherwise.
    - `state_warning`, `state_limit`: bytes of a state from which on a warning is logged, and more
      than which are refused.
    - `patience`: how long a cancellation waits for a store operation that is on its way.
    """

    handler_timeout: float | None = 120.0
    lease_term: float = 30.0
    lease_wait: float = 30.0
    hand_overs: int = 16
    concurrency: int = 1000
    waiting: int = 10_000
    waiting_for_one: int = 1000
    seen_limit: int = 32
    seen_for: float = 24 * 3600.0
    dedupe_always: bool = False
    handled_limit: int = 4096
    state_warning: int = 256 * 1024
    state_limit: int = 8 * 1024 * 1024
    patience: float = 10.0
