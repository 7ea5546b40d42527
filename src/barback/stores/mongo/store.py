"""The MongoDB store: one document per session, for any number of processes and machines."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, ClassVar, Final

from barback.errors import ConfigurationError, SessionUnreadable
from barback.extras import needs_extra
from barback.options import count
from barback.options import seconds as in_seconds
from barback.stores import answers
from barback.stores.base import ONE_YEAR, Lease, LeasedStore, duration
from barback.stores.mongo.asking import Asking
from barback.stores.mongo.document import record_of
from barback.stores.mongo.together import Together
from barback.stores.mongo.updates import NOTHING_YET, held, renewing
from barback.stores.operation import Operation
from barback.stores.url import may_hold_password, take_options

with needs_extra("mongo"):
    from bson.codec_options import CodecOptions, DatetimeConversion
    from pymongo import AsyncMongoClient, IndexModel, ReadPreference, UpdateOne
    from pymongo import errors as mongo_errors
    from pymongo.read_concern import ReadConcern
    from pymongo.uri_parser import parse_uri, split_options
    from pymongo.write_concern import WriteConcern

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
    from datetime import timedelta
    from typing import Self

    from pymongo.asynchronous.collection import AsyncCollection

    from barback.record import Record
    from barback.stores.mongo.updates import Document

__all__ = ["MongoSessionStore"]

PAGE: Final = 100
LAST_CHARACTERS: Final = "\U0010ffff" * 129  # as text, after whatever else an id can end with
NOT_OPEN: Final = "is not open"
LASTING: Final = WriteConcern("majority", j=True)
INDEXES: Final = [
    IndexModel([("sweep_at", 1)], expireAfterSeconds=0),
    IndexModel([("expires_at", 1)], sparse=True),
]


class MongoSessionStore(LeasedStore):
    """Sessions in a MongoDB (5.0 or later): one document each, with the state as its fields.

        db.sessions.find({"state.nickname": "Tim"})

    - `url`: `mongodb://…` or `mongodb+srv://…`, with PyMongo's own options as parameters; or an
      `AsyncMongoClient`, which is left open. `timeout` stands for the URL's timeoutMS,
      socketTimeoutMS and waitQueueTimeoutMS.
    - `database`: unless given, the one in the URL's path; "barback" if there is none.
    - `collection_name`: "sessions" unless set. `init` makes it, with its indexes.
    - `expires_in`: minutes or a timedelta after a session's last activity; None is never.
    - `timeout`: seconds within which an operation must be answered, waiting for a server and a
      connection included. 5 unless set.
    - `connect_timeout`: seconds within which `init` must reach a server. 5 unless set.
    - `max_connections`: to each server at once, 100 unless set; of a client that was given it is
      the client's own.

    Durability: a commit is answered when a majority of the replica set has it in its journal, and
    survives a failover then. A write concern of the URL, or of the client, is kept instead: with
    `w=1` a failover may lose what was committed. No commit is retried by the client.

    Leases go by the clock of the server (the router, in a sharded cluster). Expired sessions are
    removed by a TTL index, a day after their time. A key of the state that begins with `$`, or
    holds a dot, a NUL or a percent sign, has these as `%24`, `%2E`, `%00` and `%25`; an empty one
    is `%`. A document may have 16 MB. A commit replaces the document as a whole. What sessions ask
    for in one step of the event loop leaves in one command.
    """

    name: ClassVar[str] = "mongodb"
    sweeps_itself: ClassVar[bool] = True

    def __init__(  # noqa: PLR0913 - each is an option, and all but one are keywords
        self,
        url: str | AsyncMongoClient[Any] = "mongodb://localhost:27017",
        *,
        collection_name: str = "sessions",
        database: str | None = None,
        expires_in: float | timedelta | None = ONE_YEAR,
        max_age: float | timedelta | None = None,
        timeout: float = 5.0,
        connect_timeout: float = 5.0,
        max_connections: int = 100,
    ) -> None:
        if not isinstance(url, (str, AsyncMongoClient)):
            message = f"url must be a URL or an AsyncMongoClient, not {type(url).__name__}."
            raise ConfigurationError(message)
        self.collection_name = collection_name
        self.database = database
        self.expires_in = duration(expires_in)
        self.max_age = duration(max_age, "max_age")
        self.timeout = in_seconds(timeout, "timeout")
        self.connect_timeout = in_seconds(connect_timeout, "connect_timeout")
        self._max_connections = count(max_connections, "max_connections")
        settings: dict[str, Any] = {
            "serverSelectionTimeoutMS": self.connect_timeout * 1000,
            "connectTimeoutMS": self.connect_timeout * 1000,
            "maxPoolSize": self._max_connections,
        }
        self._url = url
        self.where, given = _read(url) if isinstance(url, str) else ("its client's servers", set())
        self._settings = {name: settings[name] for name in settings if name.lower() not in given}
        self._client: AsyncMongoClient[Document] | None = None
        self._asking: Asking | None = None
        self._together: Together | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @classmethod
    def from_url(cls, url: str) -> MongoSessionStore:
        """Open `mongodb://…`, with the options of this class among PyMongo's as parameters."""
        address, options = take_options(
            url,
            allowed={
                "collection_name": str,
                "database": str,
                "expires_in": float,
                "max_age": float,
                "timeout": float,
                "connect_timeout": float,
                "max_connections": int,
            },
        )
        return cls(address, **options)

    async def init(self) -> Self:
        """Connect, and make the collection's indexes.

        On another event loop it connects anew, and leaves the client of the first to it.
        """
        if self._here():
            return self
        client = self._connect()
        try:
            sessions = self._collection(client)
            asking = Asking(sessions, store=self.name, where=self.where, timeout=self.timeout)
            with asking.once(seconds=self.connect_timeout):
                await sessions.database.command("ping")
            with asking.once():
                await sessions.create_indexes(INDEXES)
        except BaseException:
            await self._close(client)
            raise
        if self._here():  # somebody else has opened it meanwhile
            await self._close(client)
            return self
        self._client, self._asking = client, asking
        self._together = Together(asking, connections=self._max_connections)
        self._loop = asyncio.get_running_loop()
        return self

    async def close(self) -> None:
        """Wait for what is under way, and close the client if it was made here.

        On another event loop it lets go of the client, which is the first one's.
        """
        here = self._here()
        client, asking, together = self._client, self._asking, self._together
        self._client = self._asking = self._together = self._loop = None
        if not here:
            return
        try:
            if together is not None:
                await together.close()
            if asking is not None:
                await asking.wait()
        finally:
            await self._close(client)

    def _here(self) -> bool:
        """Whether it is open, and on this event loop."""
        return self._loop is asyncio.get_running_loop()

    async def _close(self, client: AsyncMongoClient[Document] | None) -> None:
        if client is not None and client is not self._url:
            await client.close()

    def checkout(self, session_id: str, lease: Lease) -> Operation[Record | None]:
        """See `LeasedStore.checkout`."""
        if self._together is None:
            return self._closed(session_id)
        return self._together.checkout(session_id, lease)

    def commit(self, record: Record, lease: Lease, *, keep: bool = False) -> Operation[None]:
        """See `LeasedStore.commit`."""
        if self._together is None:
            return self._closed(record.id)
        return self._together.commit(record, lease, keep=keep)

    def release(self, session_id: str, lease: Lease) -> Operation[None]:
        """See `LeasedStore.release`. One trip, if `lease.version` is that of what was read."""
        if self._together is None:
            return self._closed(session_id)
        return self._together.release(session_id, lease)

    async def renew(self, leases: Sequence[Lease]) -> list[Lease]:
        """See `LeasedStore.renew`. One trip, unless some were lost."""
        if not leases:
            return []
        with self._asked() as sessions:
            renewed = await sessions.bulk_write(
                [UpdateOne(held(each.session_id, each), renewing(each)) for each in leases],
                ordered=False,
            )
            if renewed.matched_count == len(leases):
                return []
            found = await sessions.find(
                {"_id": {"$in": [lease.session_id for lease in leases]}}, {"lease.token": 1}
            ).to_list()
        tokens = {each["_id"]: each.get("lease", {}).get("token") for each in found}
        return [lease for lease in leases if tokens.get(lease.session_id) != lease.token]

    async def destroy(self, session_id: str, lease: Lease | None) -> None:
        """See `LeasedStore.destroy`."""
        which = {"_id": session_id} if lease is None else held(session_id, lease)
        with self._asked(session_id, writing=True) as sessions:
            removed = await sessions.delete_many(which)  # as in `commit`
        if lease is not None and removed.deleted_count == 0:
            raise answers.lost(self.name, session_id)

    async def all(self, prefix: str = "") -> AsyncIterator[Record]:
        """See `LeasedStore.all`. Sorted by id; a page at a time, with nothing open in between."""
        if not _is_text(prefix):
            return  # no id starts with half a character
        unreadable: SessionUnreadable | None = None
        beginning = {"$gte": prefix}
        while True:
            ids = {**beginning, "$lt": prefix + LAST_CHARACTERS}
            page = await self._page({"_id": ids}, "_id", PAGE)
            for document in page:
                try:
                    record = record_of(document, store=self.name)
                except SessionUnreadable as error:
                    unreadable = error
                else:
                    yield record
            if len(page) < PAGE:
                break
            beginning = {"$gt": page[-1]["_id"]}
        if unreadable is not None:
            raise unreadable

    async def due(self, before: int, limit: int) -> list[Record]:
        """See `LeasedStore.due`. The longest expired first; without those that are unreadable."""
        due: list[Record] = []
        seen: list[str] = []
        while (left := limit - len(due)) > 0:
            which = {"expires_at": {"$lte": before}, "_id": {"$nin": seen}}
            page = await self._page(which, "expires_at", left)
            for document in page:
                seen.append(document["_id"])
                with suppress(SessionUnreadable):
                    due.append(record_of(document, store=self.name))
            if len(page) < left:
                break
        return due

    async def _page(self, query: Mapping[str, Any], order: str, limit: int) -> list[Document]:
        with self._asked() as sessions:
            found = sessions.find({**query, "$nor": [NOTHING_YET]}, {"lease": 0, "sweep_at": 0})
            return await found.sort(order, 1).limit(limit).batch_size(limit).to_list()

    def _connect(self) -> AsyncMongoClient[Document]:
        if not isinstance(self._url, str):
            return self._url
        try:
            return AsyncMongoClient(
                self._url, **self._settings, retryWrites=False, retryReads=False
            )
        except (mongo_errors.PyMongoError, ValueError, TypeError):
            # The cause would repeat the URL's options, of which some are secret.
            message = "The MongoDB URL's options cannot be used together."
            raise ConfigurationError(message) from None

    def _collection(self, client: AsyncMongoClient[Document]) -> AsyncCollection[Document]:
        concern = client.write_concern
        concern = LASTING if concern.is_server_default else concern
        if not concern.acknowledged:
            message = "A write concern of w=0 tells nobody what was written: leave it out."
            raise ConfigurationError(message)
        majority = concern.document.get("w") == "majority"
        try:
            if self.database is None:
                database = client.get_default_database("barback")
            else:
                database = client.get_database(self.database)
            return database.get_collection(
                self.collection_name,
                # A date that is no datetime of Python's is nothing to fail over.
                codec_options=CodecOptions(datetime_conversion=DatetimeConversion.DATETIME_MS),
                read_preference=ReadPreference.PRIMARY,
                # What was written is read: what waited for no majority may not be on one yet.
                read_concern=ReadConcern("majority" if majority else "local"),
                write_concern=concern,
            )
        except (mongo_errors.InvalidName, TypeError) as error:
            message = "That cannot be the name of a MongoDB database, or of a collection."
            raise ConfigurationError(message) from error

    @contextmanager
    def _asked(
        self, session_id: str | None = None, *, writing: bool = False
    ) -> Iterator[AsyncCollection[Document]]:
        if self._asking is None:
            raise answers.unavailable(self.name, NOT_OPEN, session_id)
        with self._asking.once(session_id, writing=writing) as sessions:
            yield sessions

    def _closed(self, session_id: str) -> Operation[Any]:
        closed = Operation[Any](asyncio.get_running_loop().create_future())
        closed.fail(answers.unavailable(self.name, NOT_OPEN, session_id))
        return closed


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _read(url: str) -> tuple[str, set[str]]:
    """Where a URL's servers are, and the names of its options in lower case.

    Nothing of PyMongo's own words is used, nor chained: they may repeat a part of a password.
    """
    scheme, _, rest = url.partition("://")
    address, _, query = rest.partition("?")
    if scheme not in {"mongodb", "mongodb+srv"}:
        message = "A MongoDB URL starts with mongodb:// or mongodb+srv://."
        raise ConfigurationError(message)
    try:
        nodes = parse_uri(f"mongodb://{address}")["nodelist"]
    except (mongo_errors.PyMongoError, ValueError, TypeError):
        message = (
            "The hosts, the user or the database in the MongoDB URL cannot be read. What is "
            "special in a user or a password is percent-encoded: see urllib.parse.quote_plus."
        )
        raise ConfigurationError(message) from None
    names = set()
    for option in filter(None, query.replace(";", "&").split("&")):
        name = option.partition("=")[0]
        names.add(name.lower())
        try:
            split_options(option)
        except (mongo_errors.PyMongoError, ValueError, TypeError):
            which = "an option" if may_hold_password(query) else f"the option {name!r}"
            message = f"MongoDB has no use for {which} in the URL, or not with such a value."
            raise ConfigurationError(message) from None
    if scheme == "mongodb+srv":
        return str(nodes[0][0]), names
    return ", ".join(host if port is None else f"{host}:{port}" for host, port in nodes), names
