"""The floor in memory: a dict, and a JSON copy of one's own for each event."""

from __future__ import annotations

from benchmarks.subjects.floor import Floor
from benchmarks.workload import Events, Job, main


class MemoryFloor(Floor):
    """Decodes what rests, and encodes what is to rest."""

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self.records: dict[int, bytes] = {}

    async def work(self, events: Events) -> None:
        """See `Subject.work`."""
        records, answer = self.records, self.answer
        for n, person in events:
            records[person] = answer(records.get(person), n)

    async def read(self, person: int) -> bytes | None:
        """See `Floor.read`."""
        return self.records.get(person)


if __name__ == "__main__":
    main(MemoryFloor)
