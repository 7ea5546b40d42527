"""Seen: the ids of the turns a session has committed, as one text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Seen"]


NO_TIME: Final = "A seen id has no time."


class Seen(Mapping[str, int]):
    """The ids of turns, oldest first, each with its time in milliseconds since the Unix epoch.

    `text` has an entry `id time` for each, with ", " between them; a space, a comma and a percent
    sign of an id are percent-encoded. As one text it is read and written with a record at a
    fraction of what a dict of so many would cost, and an id is looked for, or added, in that.

    Raises `ValueError` where the text is none of ours and that comes to light.
    """

    __slots__ = ("text",)

    def __init__(self, text: str = "") -> None:
        self.text = text

    @classmethod
    def of(cls, times: Mapping[str, int]) -> Seen:
        """The same ids and times as in any mapping."""
        if isinstance(times, Seen):
            return times
        return cls(", ".join([f"{_escaped(turn_id)} {at}" for turn_id, at in times.items()]))

    def is_sound(self) -> bool:
        """Whether each id seems to have its time: a look at every record, and so a quick one.

        Who adds to them looks closer.
        """
        text = self.text
        return not text or (text.count(" ") % 2 == 1 and "0" <= text[-1] <= "9")

    def adding(self, turn_id: str, at: int, *, limit: int, too_old: int) -> Seen:
        """With one more, and without the oldest, while they are too many or too old."""
        text = self.text
        count = text.count(", ") + 1 if text else 0
        if count and text.count(" ") != 2 * count - 1:
            raise ValueError(NO_TIME)
        while count:
            entry_end = text.find(", ")
            if entry_end < 0:
                entry_end = len(text)
            if count < limit and int(text[text.index(" ") + 1 : entry_end]) > too_old:
                break
            text = text[entry_end + 2 :]
            count -= 1
        entry = f"{_escaped(turn_id)} {at}"
        return Seen(f"{text}, {entry}" if count else entry)

    def __contains__(self, turn_id: object) -> bool:
        if not isinstance(turn_id, str):
            return False
        start = f"{_escaped(turn_id)} "
        return f", {start}" in self.text or self.text.startswith(start)

    def __getitem__(self, turn_id: str) -> int:
        return self._times()[turn_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self._times())

    def __len__(self) -> int:
        return len(self._times())

    def __repr__(self) -> str:
        return f"Seen({self.text!r})"

    def _times(self) -> dict[str, int]:
        times = {}
        for entry in self.text.split(", ") if self.text else ():
            turn_id, space, at = entry.rpartition(" ")
            if not space or " " in turn_id:
                raise ValueError(NO_TIME)
            times[_unescaped(turn_id)] = int(at)
        return times


def _escaped(turn_id: str) -> str:
    if " " in turn_id or "," in turn_id or "%" in turn_id:
        return turn_id.replace("%", "%25").replace(" ", "%20").replace(",", "%2C")
    return turn_id


def _unescaped(turn_id: str) -> str:
    if "%" in turn_id:
        return turn_id.replace("%2C", ",").replace("%20", " ").replace("%25", "%")
    return turn_id
