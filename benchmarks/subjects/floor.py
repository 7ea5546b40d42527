"""The nickname bot's logic alone, on a state that is JSON: what a floor does between two trips."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import msgspec

from benchmarks.workload import Job, Subject

__all__ = ["Floor"]


class Floor(Subject):
    """The least that a bot on some store must do, with nothing around it."""

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self._decode = msgspec.json.Decoder().decode
        self._encode = msgspec.json.Encoder().encode
        self.initial = self._encode(job.initial)

    def answer(self, record: bytes | str | None, n: int) -> bytes:
        """What rests after event number `n`, where `record` rested before."""
        state = self._decode(self.initial if record is None else record)
        if state["asking"]:
            state["nickname"] = f"name{n}"
            state["asking"] = False
        else:
            state["asking"] = True
        self.replies += 1
        return self._encode(state)

    async def state(self, person: int) -> dict[str, Any]:
        """See `Subject.state`."""
        record = await self.read(person)
        return {} if record is None else dict(self._decode(record))

    @abstractmethod
    async def read(self, person: int) -> bytes | str | None:
        """What rests for a person."""
