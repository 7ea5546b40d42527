"""Together: checkouts, commits and releases of many sessions, each kind in one command."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from barback.errors import BarbackError, SessionStoreUnavailable, SessionUnreadable
from barback.extras import needs_extra
from barback.stores import answers
from barback.stores.mongo.asking import FAILURES, Asking
from barback.stores.mongo.document import record_of
from barback.stores.mongo.failures import discreet
from barback.stores.mongo.outcomes import is_taken, update_each
from barback.stores.mongo.updates import NOTHING_LEFT, NOTHING_YET, held, replacing, taking
from barback.stores.trips import Asked, Trips

with needs_extra("mongo"):
    from pymongo import DeleteOne, ReturnDocument, UpdateOne
    from pymongo import errors as mongo_errors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pymongo.asynchronous.collection import AsyncCollection

    from barback.record import Record
    from barback.stores.base import Lease
    from barback.stores.mongo.updates import Document
    from barback.stores.operation import Operation

__all__ = ["Together"]

SIDE_BY_SIDE: Final = 8  # trips of each kind: what is asked for while so many are out shares one
AN_INSTANT: Final = 0.001  # seconds
SIZE: Final = 64  # operations in one: a server carries them out one after another

Found = dict[str, Any] | Exception | None
"""The session's document after a checkout, whoever has it; or why there is none."""


@dataclass(slots=True)
class _Request:
    """What is asked for a session: by which lease, what is to be updated, and until when."""

    session_id: str
    lease: Lease
    deadline: float
    update: Document = field(default_factory=dict)


class Together:
    """Takes what sessions ask for in one step of the event loop to the server in one command.

    What meets no other is a command of its own, and waits for nobody.
    """

    def __init__(self, asking: Asking, *, connections: int) -> None:
        self._asking = asking
        self._store = asking.store
        at_once = min(SIDE_BY_SIDE, connections)
        self._checkouts = Trips[_Request](self._check_out, side_by_side=at_once, size=SIZE)
        self._commits = Trips[_Request](self._commit, side_by_side=at_once, size=SIZE)
        self._releases = Trips[_Request](self._release, side_by_side=at_once, size=SIZE)

    def checkout(self, session_id: str, lease: Lease) -> Operation[Record | None]:
        """See `LeasedStore.checkout`."""
        update = taking(session_id, lease)
        return self._checkouts.ask(_Request(session_id, lease, self._deadline(), update))

    def commit(self, record: Record, lease: Lease, *, keep: bool) -> Operation[None]:
        """See `LeasedStore.commit`."""
        update = replacing(record, lease, keep=keep)
        return self._commits.ask(_Request(record.id, lease, self._deadline(), update))

    def release(self, session_id: str, lease: Lease) -> Operation[None]:
        """See `LeasedStore.release`."""
        return self._releases.ask(_Request(session_id, lease, self._deadline()))

    async def close(self) -> None:
        """Wait for what is under way."""
        await self._checkouts.close()
        await self._commits.close()
        await self._releases.close()

    def _deadline(self) -> float:
        return asyncio.get_running_loop().time() + self._asking.timeout

    async def _check_out(self, trip: list[Asked[_Request]]) -> None:
        trip, seconds = self._in_time(trip)
        if not trip:
            return
        requests = [operation.request for operation in trip]
        try:
            with self._asking.within(seconds) as sessions:
                found = await (_take_one if len(trip) == 1 else _take_each)(sessions, requests)
        except FAILURES as error:
            found = [error] * len(trip)
        unreadable: list[tuple[Asked[_Request], SessionUnreadable]] = []
        for operation, document in zip(trip, found, strict=True):
            try:
                operation.succeed(self._taken(operation.request, document))
            except SessionUnreadable as error:
                unreadable.append((operation, error))
            except BarbackError as error:
                operation.fail(error)
        if unreadable:
            await self._give_back([operation.request for operation, _ in unreadable], trip)
        for operation, unread in unreadable:
            operation.fail(unread)

    def _taken(self, request: _Request, found: Found) -> Record | None:
        session_id = request.session_id
        if isinstance(found, mongo_errors.DuplicateKeyError):  # two made the document at once
            raise answers.busy(self._store, session_id) from discreet(found)
        if isinstance(found, Exception):
            raise self._asking.failure(found, session_id)
        # There is always a document; servers of MongoDB's protocol, met by two at once, may differ.
        if found is None or not _is_of(found, request.lease):
            raise answers.busy(self._store, session_id)
        if found.keys().isdisjoint(NOTHING_YET):
            return None
        return record_of(found, store=self._store)

    async def _give_back(self, requests: list[_Request], trip: list[Asked[_Request]]) -> None:
        """The leases of what cannot be read; else they end by themselves."""
        seconds = _seconds_left(trip)
        with suppress(SessionStoreUnavailable), self._asking.once(seconds=seconds) as sessions:
            await _unlease(sessions, requests)

    async def _commit(self, trip: list[Asked[_Request]]) -> None:
        trip, seconds = self._in_time(trip)
        if not trip:
            return
        with self._asking.within(seconds) as sessions:
            outcomes = await update_each(sessions, [operation.request.update for operation in trip])
        ended = list(zip(trip, outcomes, strict=True))
        made = [operation.request.session_id for operation, outcome in ended if outcome is False]
        if made:
            await self._clear_away(made, trip)
        for operation, outcome in ended:
            session_id = operation.request.session_id
            if outcome is True:
                operation.succeed(None)
            elif isinstance(outcome, bool) or is_taken(outcome):
                operation.fail(answers.lost(self._store, session_id))
            else:
                operation.fail(self._asking.failure(outcome, session_id, writing=True))

    async def _release(self, trip: list[Asked[_Request]]) -> None:
        trip, seconds = self._in_time(trip)
        if not trip:
            return
        try:
            with self._asking.within(seconds) as sessions:
                await _release_each(sessions, [operation.request for operation in trip])
        except FAILURES as error:
            for operation in trip:
                operation.fail(self._asking.failure(error, operation.request.session_id))
            return
        for operation in trip:
            operation.succeed(None)

    async def _clear_away(self, session_ids: list[str], trip: list[Asked[_Request]]) -> None:
        """What commits have left where their sessions were destroyed; else it is swept."""
        seconds = _seconds_left(trip)
        with suppress(SessionStoreUnavailable), self._asking.once(seconds=seconds) as sessions:
            await sessions.delete_many({"_id": {"$in": session_ids}, **NOTHING_LEFT})

    def _in_time(self, trip: list[Asked[_Request]]) -> tuple[list[Asked[_Request]], float]:
        """Those whose time is not over yet, and the seconds left to the first of them."""
        now = asyncio.get_running_loop().time()
        going = []
        for operation in trip:
            request = operation.request
            if request.deadline > now:
                going.append(operation)
            else:
                never_sent = mongo_errors.WaitQueueTimeoutError("All connections were in use.")
                operation.fail(self._asking.failure(never_sent, request.session_id))
        return going, min((each.request.deadline for each in going), default=now) - now


async def _take_one(
    sessions: AsyncCollection[Document], requests: list[_Request]
) -> Sequence[Found]:
    (request,) = requests
    document = await sessions.find_one_and_update(
        request.update["q"],
        request.update["u"],
        {"sweep_at": 0},
        upsert=True,
        return_document=ReturnDocument.AFTER,
    )
    return [document]


async def _take_each(
    sessions: AsyncCollection[Document], requests: list[_Request]
) -> Sequence[Found]:
    """Two commands for all of them: what holds a lease is not changed between the two."""
    outcomes = await update_each(sessions, [request.update for request in requests])
    ended = list(zip(requests, outcomes, strict=True))
    taken = [request.session_id for request, outcome in ended if isinstance(outcome, bool)]
    documents: dict[str, Document] = {}
    if taken:
        found = sessions.find({"_id": {"$in": taken}}, {"sweep_at": 0}).batch_size(SIZE)
        documents = {document["_id"]: document for document in await found.to_list()}
    return [
        documents.get(request.session_id) if isinstance(outcome, bool) else outcome
        for request, outcome in ended
    ]


async def _release_each(sessions: AsyncCollection[Document], requests: list[_Request]) -> None:
    """What only the lease has made is removed, where nothing else has been written since."""
    made = [request for request in requests if request.lease.version is None]
    kept = [request for request in requests if request.lease.version is not None]
    if made:
        empty = [
            DeleteOne({**held(request.session_id, request.lease), **NOTHING_YET})
            for request in made
        ]
        removed = await sessions.bulk_write(empty, ordered=False)
        if removed.deleted_count < len(made):
            kept += made
    if kept:
        await _unlease(sessions, kept)


async def _unlease(sessions: AsyncCollection[Document], requests: list[_Request]) -> None:
    updates = [
        UpdateOne(held(request.session_id, request.lease), {"$unset": {"lease": ""}})
        for request in requests
    ]
    await sessions.bulk_write(updates, ordered=False)


def _seconds_left(trip: list[Asked[_Request]]) -> float:
    """Until the first of them must be answered; never none, which PyMongo takes for no limit."""
    now = asyncio.get_running_loop().time()
    return max(min((each.request.deadline for each in trip), default=now) - now, AN_INSTANT)


def _is_of(document: Document, lease: Lease) -> bool:
    holder = document.get("lease")
    return isinstance(holder, dict) and holder.get("token") == lease.token
