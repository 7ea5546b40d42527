"""The Redis store: sessions in Redis or Valkey, for any number of processes."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, ClassVar

from barback.errors import ConfigurationError, SessionUnreadable
from barback.extras import needs_extra
from barback.options import seconds
from barback.record import Record
from barback.stores.base import ONE_YEAR, Lease, LeasedStore, duration
from barback.stores.redis.asking import Asking
from barback.stores.redis.cluster import Cluster
from barback.stores.redis.listing import listed
from barback.stores.redis.requests import (
    Checkout,
    Commit,
    Destroy,
    ForcedDestroy,
    Release,
    Renewal,
)
from barback.stores.redis.scripts import setup
from barback.stores.redis.servers import Request, Server
from barback.stores.redis.target import Target
from barback.stores.redis.wire import LinkDown
from barback.stores.url import take_options

with needs_extra("redis"):
    from hiredis import ReplyError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from datetime import timedelta
    from typing import Self

    from barback.stores.operation import Operation

__all__ = ["RedisSessionStore"]


class RedisSessionStore(LeasedStore):
    """Sessions in Redis (6.2 or later) or Valkey: a single server, Sentinel or Cluster.

    - `target`: a URL, the port of a server on this machine, or a ready client of `redis.asyncio`
      or `valkey.asyncio`, of which the store takes the settings: it opens connections of its own
      with them, and closes only those. URLs are `redis://user:password@host:6379/0`, `valkey://`;
      with TLS `rediss://`, `valkeys://`; `unix:///path?db=0`;
      `redis+cluster://host:port,host:port`;
      `redis+sentinel://user:password@host:port,host:port/service/0`, of which user and password
      are the primary's, and `sentinel_username` and `sentinel_password` are parameters.
      `client_name` and the `ssl_…` options of redis-py are parameters too.
    - `host`, `port`, `username`, `password`, `db`: in place of those of the URL.
    - `prefix`: what every key begins with, `barback:` unless set; without braces.
    - `expires_in`: minutes or a timedelta after a session's last activity; None is never.
    - `timeout`: seconds within which an operation is answered, 5 unless set; `connect_timeout`:
      seconds within which a connection stands, 5 unless set.

    It opens one connection to each server for turns, on which operations of any number of sessions
    travel together, and a second when sessions are listed. Nothing is retried: a lost connection
    is opened again by the next operation. A session is two keys in one hash slot,
    `barback:{channel:key}` and `barback:{channel:key}:lease`, in which `{`, `}` and `%` of the id
    are percent-encoded. Leases end by the server's clock. The server itself removes a record a day
    after its expiry. With Redis 6.2 a checkout is a script, and takes a little longer. An ACL user
    needs `evalsha`, `script|load`, `get`, `getrange`, `set`, `del` and `pttl`, `scan` to list,
    in a Cluster `cluster|slots`, `cluster|nodes` and `asking`, by Sentinel `role`, and `select`
    for a database other than 0.

    While a Cluster moves a slot key by key, it answers for those of its sessions alone of which
    both keys are at the same server: a new session of the slot, or one that is in no turn, has to
    wait until the whole slot has moved. It does so for `timeout` at most, and fails then. A
    listing during which a slot moves, or a connection is lost, fails: it might miss sessions.

    Durability is as the server is set up. With `appendonly yes` and `appendfsync always` a commit
    is on the disk before it is answered; with `everysec` a crash may lose a second, with snapshots
    alone (the usual default) minutes, without either everything. Replication does not wait: a
    failover, by Sentinel or in a Cluster, may lose commits that were answered just before.
    `min-replicas-to-write 1` with `min-replicas-max-lag` bounds what a primary cut off from its
    replicas accepts. Set `maxmemory-policy noeviction`: any other may evict sessions and leases.
    """

    name: ClassVar[str] = "redis"
    sweeps_itself: ClassVar[bool] = True

    def __init__(  # noqa: PLR0913 - each may be left out
        self,
        target: Any = "redis://localhost:6379",
        *,
        host: str | None = None,
        port: int | None = None,
        username: str | None = None,
        password: str | None = None,
        db: int | None = None,
        prefix: str = "barback:",
        expires_in: float | timedelta | None = ONE_YEAR,
        max_age: float | timedelta | None = None,
        timeout: float = 5.0,
        connect_timeout: float = 5.0,
    ) -> None:
        if not isinstance(prefix, str) or "{" in prefix or "}" in prefix:
            message = "A redis store's prefix is a text without braces, which tell the hash slot."
            raise ConfigurationError(message)
        self.prefix = prefix
        self.expires_in = duration(expires_in)
        self.max_age = duration(max_age, "max_age")
        self._timeout = seconds(timeout, "timeout")
        given = {"host": host, "port": port, "db": db, "username": username, "password": password}
        self._target = Target(target, given, seconds(connect_timeout, "connect_timeout"))
        self._asking = self._not_opened()

    @classmethod
    def from_url(cls, url: str) -> RedisSessionStore:
        """Open a URL, with the options of the class as parameters (`expires_in` in minutes)."""
        allowed = {
            "prefix": str,
            "expires_in": float,
            "max_age": float,
            "timeout": float,
            "connect_timeout": float,
        }
        rest, options = take_options(url, allowed=allowed)
        return cls(rest, **options)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._target.where}>"

    async def init(self) -> Self:
        """Connect, load the scripts, and see whether the user may do what they do.

        On another event loop it connects anew, and leaves the connections of the first to it.
        """
        if self._asking.servers.open:
            return self
        asking = self._not_opened()
        try:
            await asking.servers.prepare(*setup(asking.keys("any")))
        except BaseException as error:
            await asking.servers.close()
            if isinstance(error, (LinkDown, ReplyError)):
                failure = asking.failure(error)
                raise failure from failure.__cause__
            raise
        if self._asking.servers.open:  # by somebody else, meanwhile
            await asking.servers.close()
        else:
            self._asking = asking
        return self

    async def close(self) -> None:
        """Wait for the operations that are under way, and disconnect.

        On another event loop, or in a forked child, it lets go of the connections as they are.
        """
        if self._asking.servers.here:
            await self._asking.servers.close()
        else:
            self._asking = self._not_opened()

    def checkout(self, session_id: str, lease: Lease) -> Operation[Record | None]:
        """See `LeasedStore.checkout`."""
        asking = self._asking
        request = Checkout(asking, session_id, lease)
        asking.servers.send(request, plainly=asking.tells_holder and not lease.closely)
        return request

    def commit(self, record: Record, lease: Lease, *, keep: bool = False) -> Operation[None]:
        """See `LeasedStore.commit`."""
        return self._sent(Commit(self._asking, record, lease, keep=keep))

    def release(self, session_id: str, lease: Lease) -> Operation[None]:
        """See `LeasedStore.release`."""
        return self._sent(Release(self._asking, session_id, lease))

    async def renew(self, leases: Sequence[Lease]) -> list[Lease]:
        """See `LeasedStore.renew`."""
        asked = [self._sent(Renewal(self._asking, lease)) for lease in leases]
        renewed = await asyncio.gather(*(each.answer for each in asked), return_exceptions=True)
        for outcome in renewed:
            if isinstance(outcome, BaseException):
                raise outcome
        return [lease for lease, held in zip(leases, renewed, strict=True) if not held]

    def destroy(self, session_id: str, lease: Lease | None) -> Operation[None]:
        """See `LeasedStore.destroy`."""
        if lease is None:
            return self._sent(ForcedDestroy(self._asking, session_id))
        return self._sent(Destroy(self._asking, session_id, lease))

    async def all(self, prefix: str = "") -> AsyncIterator[Record]:
        """See `LeasedStore.all`."""
        unreadable: SessionUnreadable | None = None
        async with aclosing(listed(self._asking, prefix)) as found:
            async for record in found:
                if isinstance(record, Record):
                    yield record
                else:
                    unreadable = unreadable or record
        if unreadable is not None:
            raise unreadable

    async def due(self, before: int, limit: int) -> list[Record]:
        """See `LeasedStore.due`. It looks at every record until it has found as many."""
        due: list[Record] = []
        async with aclosing(listed(self._asking, "")) as found:
            async for record in found:
                if len(due) >= limit:
                    break
                if isinstance(record, Record) and record.expired(before):
                    due.append(record)
        return due

    def _sent(self, request: Request) -> Request:
        self._asking.servers.send(request)
        return request

    def _not_opened(self) -> Asking:
        kind = Cluster if self._target.kind == "cluster" else Server
        return Asking(kind(self._target, self._timeout), prefix=self.prefix, store=self.name)
