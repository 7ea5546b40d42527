"""Entries: a session's history, as handlers add to it and read it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec

from barback.errors import ConfigurationError, StateTooLarge
from barback.history import Entry, History, Kept, Log, Ref
from barback.options import count
from barback.tails import open_log

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from barback.chunks import Chunks
    from barback.state import Draft
    from barback.turn import Turn

__all__ = ["Entries"]

PAGE: Final = 50


class Entries:
    """The history of a turn's session: `context.history`.

    What is added is committed with the turn, or not at all. Older entries are read from the store
    when they are asked for. It ends with the turn: using it afterwards raises `TurnEnded`.
    """

    __slots__ = ("_chunks", "_draft", "_history", "_log", "_turn")

    def __init__(self, turn: Turn, draft: Draft, chunks: Chunks, history: History) -> None:
        self._turn = turn
        self._draft = draft
        self._chunks = chunks
        self._history = history
        self._log: Log | None = None

    def append(self, value: Any) -> None:
        """Add an entry, of this moment.

        A copy is kept: what is changed in `value` afterwards is not seen. Raises `StateValueError`
        for what a session cannot keep, with its path; `StateTooLarge` for one entry that is larger
        than a state may be.
        """
        draft, session_id = self._open(), self._turn.session_id
        encoded = self._history.encode(value, session_id)
        limit = self._turn.turns.rules.state_limit
        if len(encoded) > limit:
            message = (
                f"An entry for the history of session {session_id!r} is of {len(encoded):,} bytes, "
                f"and may have {limit:,}. Keep less in it, or raise the bot's max_state_size."
            )
            raise StateTooLarge(message, session_id=session_id)
        if draft.appended:
            cast("list[bytes]", draft.appended).append(encoded)
        else:
            draft.appended = [encoded]
        draft.grows = True

    def clear(self) -> None:
        """Forget all entries, those added in this turn as well."""
        draft = self._open()
        draft.appended = ()
        draft.cleared = draft.grows = True

    @property
    def count(self) -> int:
        """How many entries there are, with those added in this turn.

        Entries that have become too old count until the next one is added.
        """
        draft, log = self._open(), self._read()
        kept = 0 if draft.cleared else log.next - log.first
        return min(kept + len(draft.appended), self._history.keep)

    async def page(self, limit: int = PAGE, *, before: int | None = None) -> list[Entry]:
        """The newest `limit` entries, in the order they were added.

        `before`: only such as have a smaller `Entry.number`, which goes on from an earlier page.
        All parts of the history that are needed are asked for at once, and no other. Raises
        `SessionUnreadable` if one is not there any more.
        """
        draft, log = self._open(), self._read()
        count(limit, "limit")
        if before is not None and type(before) is not int:
            message = f"before must be the number of an entry, not {before!r}."
            raise ConfigurationError(message)
        window = self._window(draft, log)
        if before is not None:
            window.next = min(window.next, before)
        window.first = max(window.first, window.next - limit)
        found = [*self._near(draft, log, window)]
        chunks = [] if draft.cleared else reversed(log.chunks)
        refs = [ref for ref in chunks if window.touches(ref)]
        parts = await self._chunks.read(self._turn.session_id, refs)
        for ref, entries in zip(refs, parts, strict=True):
            found += window.of(entries, ref.first)
        found.reverse()
        return found

    async def __aiter__(self) -> AsyncIterator[Entry]:
        """Every entry, the newest first; older ones are read when one comes to them."""
        draft, log = self._open(), self._read()
        window = self._window(draft, log)
        for entry in self._near(draft, log, window):
            yield entry
        for ref in [] if draft.cleared else reversed(log.chunks):
            if window.touches(ref):
                self._open()
                (entries,) = await self._chunks.read(self._turn.session_id, [ref])
                for entry in window.of(entries, ref.first):
                    yield entry

    def _near(self, draft: Draft, log: Log, window: _Window) -> Iterator[Entry]:
        """The entries that need not be read from the store, the newest first."""
        new = [(self._turn.now, msgspec.Raw(value)) for value in draft.appended]
        yield from window.of(new, log.next)
        if not draft.cleared:
            yield from window.of(log.tail, log.next - len(log.tail))

    def _window(self, draft: Draft, log: Log) -> _Window:
        """All that is to be seen."""
        history, turn = self._history, self._turn
        end = log.next + len(draft.appended)
        return _Window(
            history,
            turn.session_id,
            first=max(log.first, end - history.keep),
            next=end,
            since=history.since(turn.now),
        )

    def _open(self) -> Draft:
        self._draft.ensure_open(self._turn.session_id)
        return self._draft

    def _read(self) -> Log:
        if self._log is None:
            self._log = open_log(self._turn.turns.states, self._turn.kept)
        return self._log


class _Window(msgspec.Struct):
    """Which entries are to be seen: of numbers from `first` to before `next`, and not too old.

    The first that is too old, on the way back, ends it: so there are no gaps, whatever the clock
    did.
    """

    history: History
    session_id: str
    first: int
    next: int
    since: int

    def touches(self, ref: Ref) -> bool:
        """Whether a chunk has any of them."""
        if ref.last_at < self.since:
            self.first = max(self.first, ref.next)
        return ref.first < self.next and ref.next > self.first

    def of(self, entries: list[Kept], begins: int) -> Iterator[Entry]:
        """Those of some entries, the newest first; the oldest of these has the number `begins`."""
        for number in range(min(self.next, begins + len(entries)) - 1, begins - 1, -1):
            at, value = entries[number - begins]
            if at < self.since:
                self.first = max(self.first, number + 1)
            if number < self.first:
                return
            moment = datetime.fromtimestamp(at / 1000, UTC)
            yield Entry(number, moment, self.history.decode(bytes(value), self.session_id))
