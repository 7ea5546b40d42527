"""The floor on MongoDB: PyMongo's find_one_and_update and replace_one, and nothing around them."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import Any, Self
from urllib.parse import urlsplit

from pymongo import AsyncMongoClient, ReturnDocument
from pymongo.write_concern import WriteConcern

from benchmarks.subjects.floor import Floor
from benchmarks.workload import Events, Job, main


class MongoFloor(Floor):
    """Two calls for an event: one leases and reads, one writes and gives the lease back.

    Nobody looks at the lease: one person's events wait for each other in this process alone. What
    is written is as safe as barback's is.
    """

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        url = urlsplit(job.url)
        self.client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(
            url._replace(query="").geturl()
        )
        # With so slow a server a person's next event may well come while the last is under way.
        self.locks: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)
        self.floor = self.client.get_default_database().get_collection(
            url.query.partition("=")[2], write_concern=WriteConcern("majority", j=True)
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.close()

    async def work(self, events: Events) -> None:
        """See `Subject.work`."""
        floor, answer = self.floor, self.answer
        for n, person in events:
            async with self.locks[person]:
                found = await floor.find_one_and_update(
                    {"_id": person},
                    {"$set": {"lease": n}},
                    upsert=True,
                    return_document=ReturnDocument.AFTER,
                )
                record = answer((found or {}).get("record"), n)
                await floor.replace_one({"_id": person, "lease": n}, {"record": record})

    async def read(self, person: int) -> bytes | None:
        """See `Floor.read`."""
        found = await self.floor.find_one({"_id": person})
        return None if found is None else bytes(found["record"])


if __name__ == "__main__":
    main(MongoFloor)
