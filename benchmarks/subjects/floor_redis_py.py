"""redis-py's asyncio client: GET, then SET. It protects nothing."""

from __future__ import annotations

from typing import Self

from redis.asyncio import Redis

from benchmarks.subjects.floor import Floor
from benchmarks.workload import Events, Job, main


class RedisPyFloor(Floor):
    """Two commands for an event, over the client's own pool."""

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self.client: Redis = Redis.from_url(job.url)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.aclose()

    async def work(self, events: Events) -> None:
        """See `Subject.work`."""
        client, answer = self.client, self.answer
        for n, person in events:
            key = f"record:{person}"
            await client.set(key, answer(await client.get(key), n))

    async def read(self, person: int) -> bytes | str | None:
        """See `Floor.read`."""
        return await self.client.get(f"record:{person}")


if __name__ == "__main__":
    main(RedisPyFloor)
