"""History: what turns were asked for, what they read and wrote, and whether that can be.

A history is linearizable if every turn that took effect did so at one moment between its beginning
and its end, each reading what the one before it wrote (Herlihy and Wing, "Linearizability: A
Correctness Condition for Concurrent Objects", 1990). To find such moments is hard in general, and
easy here: each turn reads and writes in one step, and writes a mark that no other does. So the
last mark leads back, from what its turn read, to the first, and there is one order only to look
at (the "read mapping is known" of Gibbons and Korach, "Testing Shared Memories", 1997).
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from contextlib import suppress
from enum import StrEnum
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

__all__ = ["Effect", "HistoryError", "TurnHistory", "TurnRecord", "check_history"]

NEVER: Final = float("inf")


class Effect(StrEnum):
    """What the caller was told of a turn.

    - `DONE`: it took effect. - `NONE`: it did not, nor ever will. - `UNKNOWN`: either. - `SEEN`:
      its event had been handled before.
    """

    DONE = "done"
    NONE = "none"
    UNKNOWN = "unknown"
    SEEN = "seen"


class TurnRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One turn that was asked for.

    - `mark`: what it writes into the session, unlike that of every other turn.
    - `event`: the id of its event, the same for each delivery of it.
    - `began`, `ended`: seconds by a clock that all who take part share; a turn of which nobody
      learnt the end has none.
    - `ran`: whether its handler did; `read`: the mark it found then, None in a new session;
      `ran_at`: when it was about to end, so that nothing took effect before.
    - `wrote`: whether it was to change the session.
    """

    session: str
    mark: str
    event: str
    began: float
    ended: float = NEVER
    ran: bool = False
    ran_at: float = -NEVER
    read: str | None = None
    wrote: bool = True
    effect: Effect = Effect.UNKNOWN

    @property
    def earliest(self) -> float:
        """Before this it cannot have taken effect."""
        return max(self.began, self.ran_at)


class TurnHistory:
    """Turns noted in a file as they go, for all that a process knew when it was killed.

    Each process has a file of its own; all of one machine share the clock that is used.
    """

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def begin(self, session: str, mark: str, event: str) -> None:
        """It is about to be asked for."""
        self._note({"mark": mark, "session": session, "event": event, "began": time.monotonic()})

    def ran(self, mark: str, read: str | None, *, wrote: bool = True) -> None:
        """Its handler has read, and is about to end; if it says so again, that counts."""
        ran = {"mark": mark, "ran": True, "read": read, "wrote": wrote}
        self._note({**ran, "ran_at": time.monotonic()})

    def end(self, mark: str, effect: Effect) -> None:
        """The caller has heard."""
        self._note({"mark": mark, "effect": effect, "ended": time.monotonic()})

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    @staticmethod
    def load(*paths: Path) -> list[TurnRecord]:
        """The turns noted in these files; a last line that was not finished counts for nothing."""
        turns: dict[str, dict[str, object]] = defaultdict(dict)
        for path in paths:
            for line in path.read_bytes().splitlines():
                with suppress(msgspec.DecodeError):
                    note = msgspec.json.decode(line, type=dict[str, object])
                    turns[str(note["mark"])].update(note)
        return [msgspec.convert(fields, TurnRecord) for fields in turns.values()]

    def _note(self, fields: dict[str, object]) -> None:
        os.write(self._file, msgspec.json.encode(fields) + b"\n")


class HistoryError(AssertionError):
    """The history cannot be: something was lost, done twice, or seen out of its time."""


def check_history(
    turns: Iterable[TurnRecord], last: Mapping[str, str | None], *, window: bool = True
) -> None:
    """Raise `HistoryError`, with what is wrong, if the turns cannot have been one after another.

    - `last`: the mark that was found in each session when all had ended.
    - `window`: every event is within those that a session remembers, so that none takes effect
      twice.
    """
    by_session: dict[str, list[TurnRecord]] = defaultdict(list)
    for turn in turns:
        by_session[turn.session].append(turn)
    for session in by_session.keys() | last.keys():
        if session not in last:
            message = f"{session}: nobody looked what was left in it."
            raise HistoryError(message)
        _check_session(session, by_session[session], last[session], window=window)


def _check_session(
    session: str, turns: list[TurnRecord], last: str | None, *, window: bool
) -> None:
    by_mark = {turn.mark: turn for turn in turns}
    if len(by_mark) != len(turns):
        message = f"{session}: two turns have the same mark; the history tells nothing."
        raise HistoryError(message)
    order = _order(session, by_mark, last)
    effective = {turn.mark for turn in order}
    for turn in turns:
        if turn.effect is Effect.DONE and turn.wrote and turn.mark not in effective:
            message = f"{session}: {_named(turn)} was done, and its change is lost."
            raise HistoryError(message)
    if window:
        _check_once(session, turns, order)
    _check_times(session, turns, order)


def _order(session: str, by_mark: dict[str, TurnRecord], last: str | None) -> list[TurnRecord]:
    """The turns that took effect, first to last."""
    order: list[TurnRecord] = []
    met: set[str] = set()
    mark = last
    while mark is not None:
        turn = by_mark.get(mark)
        if turn is None:
            message = f"{session}: it held {mark!r}, which no turn has written."
            raise HistoryError(message)
        if mark in met:
            message = f"{session}: {_named(turn)} took effect before itself."
            raise HistoryError(message)
        if turn.effect in {Effect.NONE, Effect.SEEN} or not (turn.ran and turn.wrote):
            message = f"{session}: {_named(turn)} was not done, and took effect."
            raise HistoryError(message)
        met.add(mark)
        order.append(turn)
        mark = turn.read
    order.reverse()
    return order


def _check_once(session: str, turns: list[TurnRecord], order: list[TurnRecord]) -> None:
    """No event took effect twice, and none was called handled that was not."""
    first: dict[str, TurnRecord] = {}
    for turn in order:
        if turn.event in first:
            message = f"{session}: {_named(turn)} took effect, and {_named(first[turn.event])} had."
            raise HistoryError(message)
        first[turn.event] = turn
    unchanged = {turn.event for turn in turns if turn.effect is Effect.DONE and not turn.wrote}
    for turn in turns:
        if turn.effect is not Effect.SEEN:
            continue
        done = first.get(turn.event)
        if done is None and turn.event not in unchanged:
            message = f"{session}: {_named(turn)} was called handled, and its event never was."
            raise HistoryError(message)
        if done is not None and done.earliest > turn.ended:
            message = f"{session}: {_named(turn)} was called handled before {_named(done)} was."
            raise HistoryError(message)


def _check_times(session: str, turns: list[TurnRecord], order: list[TurnRecord]) -> None:
    """There is a moment for each, within its time, and in this order.

    The earliest that is possible is taken for each: if that does not do, none does.
    """
    looked: dict[str | None, list[TurnRecord]] = defaultdict(list)
    for turn in turns:
        if turn.effect is Effect.DONE and not turn.wrote:
            looked[turn.read].append(turn)
    marks: set[str | None] = {None, *(turn.mark for turn in order)}
    for read, lookers in looked.items():
        if read not in marks:
            message = f"{session}: {_named(lookers[0])} read what never took effect."
            raise HistoryError(message)
    moment = -NEVER
    for turn in _with_lookers(order, looked):
        moment = max(moment, turn.earliest)
        if moment > turn.ended:
            message = f"{session}: {_named(turn)} had ended before what it builds on had begun."
            raise HistoryError(message)


def _with_lookers(
    order: list[TurnRecord], looked: dict[str | None, list[TurnRecord]]
) -> Iterator[TurnRecord]:
    """Those who only looked come after the one whose mark they saw, first come, first served."""
    mark: str | None = None
    for turn in [*order, None]:
        yield from sorted(looked.get(mark, ()), key=lambda looker: looker.earliest)
        if turn is not None:
            yield turn
            mark = turn.mark


def _named(turn: TurnRecord) -> str:
    return f"turn {turn.mark!r} of event {turn.event!r}"
