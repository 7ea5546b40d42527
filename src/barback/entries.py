"""Entries: a session's history, as handlers add to it and read it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec

from barback.errors import ConfigurationError
from barback.history import Entry, History, Kept, Log, Ref
from barback.options import count

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

    __slots__ = ("_chunks", "_draft", "_log", "_turn")

    def __init__(self, turn: Turn, draft: Draft, chunks: Chunks) -> None:
        self._turn = turn
        self._draft = draft
        self._chunks = chunks
        self._log: Log | None = None

    def append(self, value: Any) -> None:
        """Add an entry, of this moment.

        A copy is kept: what is changed in `value` afterwards is not seen. Raises `StateValueError`
        for what a session cannot keep, with its path.
        """
        draft = self._open()
        encoded = self._chunks.history.encode(value, self._turn.session_id)
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
        """How many entries there are: of those read, the ones that are kept, and those added."""
        draft, log = self._open(), self._read()
        kept = 0 if draft.cleared else log.next - log.first
        return min(kept + len(draft.appended), self._chunks.history.keep)

    async def page(self, limit: int = PAGE, *, before: int | None = None) -> list[Entry]:
        """The newest `limit` entries, in the order they were added.

        `before`: only such as have a smaller `Entry.number`, which goes on from an earlier page.
        Raises `SessionUnreadable` if a part of the history is not there any more.
        """
        self._open()
        count(limit, "limit")
        if before is not None and type(before) is not int:
            message = f"before must be the number of an entry, not {before!r}."
            raise ConfigurationError(message)
        found: list[Entry] = []
        async for entry in self._newest_first(before):
            found.append(entry)
            if len(found) == limit:
                break
        found.reverse()
        return found

    async def __aiter__(self) -> AsyncIterator[Entry]:
        """Every entry, the newest first; older ones are read when one comes to them."""
        async for entry in self._newest_first(None):
            yield entry

    async def _newest_first(self, before: int | None) -> AsyncIterator[Entry]:
        draft, log = self._open(), self._read()
        window = self._window(log, before)
        new = [(self._turn.now, msgspec.Raw(value)) for value in draft.appended]
        for entry in window.of(new, log.next):
            yield entry
        if draft.cleared:
            return
        for entry in window.of(log.tail, log.next - len(log.tail)):
            yield entry
        for ref in reversed(log.chunks):
            if window.touches(ref):
                self._open()
                entries = await self._chunks.read(self._turn.session_id, ref)
                for entry in window.of(entries, ref.first):
                    yield entry

    def _window(self, log: Log, before: int | None) -> _Window:
        history, turn = self._chunks.history, self._turn
        end = log.next + len(self._draft.appended)
        return _Window(
            history,
            turn.session_id,
            first=max(log.first, end - history.keep),
            next=end if before is None else before,
            since=history.since(turn.now),
        )

    def _open(self) -> Draft:
        self._draft.ensure_open(self._turn.session_id)
        return self._draft

    def _read(self) -> Log:
        if self._log is None:
            self._log = self._chunks.log(self._turn.kept)
        return self._log


class _Window(msgspec.Struct):
    """Which entries are to be seen: of numbers from `first` to before `next`, and not too old."""

    history: History
    session_id: str
    first: int
    next: int
    since: int

    def touches(self, ref: Ref) -> bool:
        """Whether a chunk has any of them."""
        return ref.first < self.next and ref.next > self.first and ref.last_at >= self.since

    def of(self, entries: list[Kept], begins: int) -> Iterator[Entry]:
        """Those of some entries, the newest first; the oldest of these has the number `begins`."""
        for number in range(min(self.next, begins + len(entries)) - 1, begins - 1, -1):
            at, value = entries[number - begins]
            if number < self.first or at < self.since:
                return
            moment = datetime.fromtimestamp(at / 1000, UTC)
            yield Entry(number, moment, self.history.decode(bytes(value), self.session_id))
