"""Hand: what reads a session's state for a person to change, and writes it back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from barback.cli.loading import load_bot
from barback.cli.sessions.contents import with_state
from barback.cli.sessions.opening import tending
from barback.cli.sessions.selection import is_over
from barback.cli.sessions.telling import carried_out, read_status
from barback.cli.words import named, note, tell
from barback.differences import differences
from barback.record import check_session_id
from barback.state import encode_state

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from barback.record import Record
    from barback.state import State
    from barback.states import States
    from barback.turn import Turn

__all__ = ["Hand"]


class Hand:
    """Reads a session's state, and writes another in its place.

    - `bot`: whose states it is to fit; `whole`: keys that are set anew, and end no more by
      themselves, as with `context.set_state`.
    - `status`: the exit status, once something has been told.
    """

    def __init__(
        self,
        session_id: str,
        url: str,
        states: States,
        bot: str | None,
        whole: Iterable[str] = (),
    ) -> None:
        self._id = check_session_id(session_id)
        self._url = url
        self._states = states
        self._types = None if bot is None else load_bot(bot)._states  # noqa: SLF001
        self._whole = frozenset(whole)
        self._record: Record | None = None
        self.status = 0

    def read(self) -> State | None:
        """The state; None if that was told already."""
        states: list[State] = []

        async def work() -> None:
            async with tending(self._url, self._states) as tender:
                record = self._there(await tender.look(self._id), tender.now())
                if record is not None:
                    states.append(self._states.readable(record))

        self._end(carried_out(work()))
        return states[0] if states and not self.status else None

    def checked(self, state: State) -> State:
        """The same, if it can be written. Raises `StateValueError` and `SessionUnreadable`."""
        encode_state(state)
        if self._types is not None and self._record is not None:
            self._types.draft(self._with(self._record, state), self._id, 0)
        return state

    def write(self, wish: Callable[[State], State], *, base: State | None = None) -> State | None:
        """Write what `wish` makes of the state.

        Where it is not what it was, `base`, nothing is written; what it is now is returned.
        """
        meanwhile: list[State] = []

        async def act(turn: Turn) -> None:
            record = self._there(turn.record, turn.now)
            if record is None:
                return
            state = self._states.readable(record)
            if base is not None and any(differences(base, state)):
                meanwhile.append(state)
                return
            before = encode_state(state)
            after = self.checked(wish(state))
            if encode_state(after) != before:
                turn.tended = self._with(record, after)

        async def work() -> None:
            async with tending(self._url, self._states) as tender:
                await tender.change(self._id, act)

        self._end(carried_out(work()))
        if meanwhile:
            return meanwhile[-1]
        if not self.status:
            tell(f"Written to {named(self._id)}.")
        return None

    def _with(self, record: Record, state: State) -> Record:
        fades = {key: at for key, at in record.fades.items() if key not in self._whole}
        return with_state(self._states, msgspec.structs.replace(record, fades=fades), state)

    def _there(self, record: Record | None, now: int) -> Record | None:
        if record is not None and not is_over(record, now):
            self._record = record
            return record
        what = "is not there" if record is None else "is over, and the next event begins it anew"
        note(f"Session {self._id!a} {what}.")
        self.status = 1
        return None

    def _end(self, failure: BaseException | None) -> None:
        if failure is not None:
            self.status = read_status(failure)
