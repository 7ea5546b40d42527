"""The Redis store: sessions in Redis or Valkey, for any number of processes."""

from __future__ import annotations

import asyncio
import re
import time
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Any, ClassVar, Final

from barback.errors import (
    BarbackError,
    ConfigurationError,
    SessionStoreUnavailable,
    SessionUnreadable,
)
from barback.extras import needs_extra
from barback.options import seconds
from barback.record import Record
from barback.stores import answers
from barback.stores.base import GRACE, ONE_YEAR, Lease, LeasedStore, duration
from barback.stores.redis.link import LinkDown
from barback.stores.redis.scripts import CHECKOUT, COMMIT, DESTROY, RELEASE, RENEW, Script, setup
from barback.stores.redis.servers import Servers, open_servers, pack
from barback.stores.redis.target import Target
from barback.stores.url import take_options

with needs_extra("redis"):
    from hiredis import ReplyError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Sequence
    from datetime import timedelta
    from typing import Self

    from barback.stores.redis.link import Link

__all__ = ["RedisSessionStore"]

PAGE: Final = 50  # records read at a time when listing
SCANNED: Final = 500  # keys the server looks at for one page of a list
LONGEST: Final = 2**52  # milliseconds a server is told to keep a key for


REFUSALS: Final = {
    "LOADING": "is still loading its data",
    "READONLY": "is a replica, which takes no writes",
    "MASTERDOWN": "is a replica without its primary",
    "OOM": "is out of memory, and refuses to write",
    "MISCONF": "cannot save to its disk, and refuses to write",
    "NOREPLICAS": "has too few replicas, and refuses to write",
    "CLUSTERDOWN": "is a cluster that is down",
    "TRYAGAIN": "is a cluster that is moving the session",
    "BUSY": "is busy with somebody's script",
    "NOAUTH": "wants a password",
    "WRONGPASS": "does not accept the password",
    "NOPERM": "does not permit its user to do this",
}
KNOWN: Final = frozenset({*REFUSALS, "WRONGTYPE", "NOSCRIPT", "MOVED", "ASK"})
"""Errors that a server answers with before it has written anything."""


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
    after its expiry. An ACL user needs `evalsha`, `script|load`, `get`, `getrange`, `set`, `del`
    and `pexpire`, `scan` to list, in a Cluster `cluster|slots`, `cluster|nodes` and `asking`, by
    Sentinel `role`, and `select` for a database other than 0.

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
        timeout: float = 5.0,
        connect_timeout: float = 5.0,
    ) -> None:
        if not isinstance(prefix, str) or "{" in prefix or "}" in prefix:
            message = "A redis store's prefix is a text without braces, which tell the hash slot."
            raise ConfigurationError(message)
        self.prefix = prefix
        self.expires_in = duration(expires_in)
        self._timeout = seconds(timeout, "timeout")
        given = {"host": host, "port": port, "db": db, "username": username, "password": password}
        self._target = Target(target, given, seconds(connect_timeout, "connect_timeout"))
        self._servers: Servers | None = None

    @classmethod
    def from_url(cls, url: str) -> RedisSessionStore:
        """Open a URL, with the options of the class as parameters (`expires_in` in minutes)."""
        allowed = {"prefix": str, "expires_in": float, "timeout": float, "connect_timeout": float}
        rest, options = take_options(url, allowed=allowed)
        return cls(rest, **options)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._target.where}>"

    async def init(self) -> Self:
        """Connect, load the scripts, and see whether the user may do what they do."""
        servers = open_servers(self._target, self._timeout)
        try:
            await servers.prepare(*setup(self._keys("any")))
        except BaseException as error:
            await servers.close()
            if isinstance(error, (LinkDown, ReplyError)):
                raise self._error(error) from _cause(error)
            raise
        self._servers = servers
        return self

    async def close(self) -> None:
        """Wait for the operations that are under way, and disconnect."""
        servers, self._servers = self._servers, None
        if servers is not None:
            await servers.close()

    async def checkout(self, session_id: str, lease: Lease) -> Record | None:
        """See `LeasedStore.checkout`."""
        keys = self._keys(session_id)
        value = await self._run(session_id, CHECKOUT, *keys, lease.token, _term(lease))
        if value == 0:
            raise answers.busy(self.name, session_id)
        try:
            return None if value is None else self._record(value, session_id)
        except SessionUnreadable:
            with suppress(SessionStoreUnavailable):
                await self.release(session_id, lease)
            raise

    async def commit(self, record: Record, lease: Lease, *, keep: bool = False) -> None:
        """See `LeasedStore.commit`."""
        keys = self._keys(record.id)
        read = b"" if lease.version is None else b"%016x" % lease.version
        value = b"%016x" % record.version + record.encode()
        term = _term(lease) if keep else b""
        arguments = (*keys, lease.token, read, value, _time_to_live(record), term)
        if not await self._run(record.id, COMMIT, *arguments, writes=True):
            raise answers.lost(self.name, record.id)

    async def release(self, session_id: str, lease: Lease) -> None:
        """See `LeasedStore.release`."""
        _, key = self._keys(session_id)
        await self._run(session_id, RELEASE, key, lease.token)

    async def renew(self, leases: Sequence[Lease]) -> list[Lease]:
        """See `LeasedStore.renew`."""
        renewed = await asyncio.gather(*map(self._renew, leases), return_exceptions=True)
        for outcome in renewed:
            if isinstance(outcome, BaseException):
                raise outcome
        return [lease for lease, held in zip(leases, renewed, strict=True) if not held]

    async def destroy(self, session_id: str, lease: Lease | None) -> None:
        """See `LeasedStore.destroy`."""
        keys = self._keys(session_id)
        if lease is None:
            await self._ask(session_id, keys[0], pack("DEL", *keys), writes=True)
        elif not await self._run(session_id, DESTROY, *keys, lease.token, writes=True):
            raise answers.lost(self.name, session_id)

    async def all(self, prefix: str = "") -> AsyncIterator[Record]:
        """See `LeasedStore.all`."""
        unreadable: SessionUnreadable | None = None
        async with aclosing(self._listed(prefix)) as found:
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
        async with aclosing(self._listed("")) as found:
            async for record in found:
                if len(due) >= limit:
                    break
                if isinstance(record, Record) and record.expired(before):
                    due.append(record)
        return due

    # Asking.

    async def _renew(self, lease: Lease) -> int:
        _, key = self._keys(lease.session_id)
        renewed: int = await self._run(lease.session_id, RENEW, key, lease.token, _term(lease))
        return renewed

    async def _run(
        self,
        session_id: str,
        script: Script,
        key: bytes,
        *arguments: bytes | str | int,
        writes: bool = False,
    ) -> Any:
        """What a script answers."""
        command = script.call(key, *arguments)
        return await self._ask(session_id, key, command, load=script.load, writes=writes)

    async def _ask(
        self,
        session_id: str,
        key: bytes,
        command: bytes,
        *,
        load: bytes | None = None,
        writes: bool = False,
    ) -> Any:
        """The server's answer; `writes`: without one, it may have been written or not."""
        try:
            reply = await self._opened().ask(key, command, load=load)
        except LinkDown as down:
            if writes and down.sent:
                raise answers.unknown(self.name, session_id) from _cause(down)
            raise self._error(down, session_id) from _cause(down)
        if isinstance(reply, ReplyError):
            if writes and _code(reply) not in KNOWN:  # a proxy's, say, that lost its server
                raise answers.unknown(self.name, session_id) from reply
            raise self._error(reply, session_id) from reply
        return reply

    def _opened(self) -> Servers:
        if self._servers is None:
            raise LinkDown("is closed", sent=False)
        return self._servers

    def _error(self, error: LinkDown | ReplyError, session_id: str | None = None) -> BarbackError:
        """What to raise for an answer that is none, or an error; nothing was written."""
        if isinstance(error, LinkDown):
            return answers.unavailable(self.name, error.what, session_id)
        code = _code(error)
        if code == "WRONGTYPE" and session_id is not None:
            message = f"Under the key of session {session_id!r} there is something else."
            return SessionUnreadable(message, session_id=session_id, store=self.name)
        what = f"at {self._target.where} {REFUSALS.get(code, f'refused to work ({code})')}"
        return answers.unavailable(self.name, what, session_id)

    # Keys and values.

    def _keys(self, session_id: str) -> tuple[bytes, bytes]:
        """The keys of a session's record and lease: what is between the braces tells the slot."""
        key = f"{self.prefix}{{{_encoded(session_id)}}}".encode()
        return key, key + b":lease"

    def _record(self, value: bytes, session_id: str) -> Record:
        record = Record.decode(value[16:], session_id=session_id, store=self.name)
        if value[:16] != b"%016x" % record.version:
            message = f"The record of session {session_id!r} is not of the version before it."
            raise SessionUnreadable(message, session_id=session_id, store=self.name)
        return record

    # Listing.

    async def _listed(self, prefix: str) -> AsyncGenerator[Record | SessionUnreadable]:
        """Each record once, though the server may name a key several times."""
        start = f"{self.prefix}{{{_encoded(prefix)}"
        pattern = re.sub(r"([*?\[\]\\])", r"\\\1", start) + "*}"
        seen: set[bytes] = set()
        try:
            servers = self._opened()
            listed = await servers.listed()
            for link in listed:
                async with aclosing(_scanned(link, pattern)) as found:
                    async for keys in found:
                        new = [key for key in dict.fromkeys(keys) if key not in seen]
                        seen.update(new)
                        for page in range(0, len(new), PAGE):
                            for record in await self._read(link, new[page : page + PAGE]):
                                yield record
            _check_unmoved(listed, await servers.listed())
        except (LinkDown, ReplyError) as error:
            raise self._error(error) from _cause(error)

    async def _read(self, link: Link, keys: list[bytes]) -> list[Record | SessionUnreadable]:
        """Records by their keys, as the server that named them has them, or who took them over."""
        replies = await asyncio.gather(*(link.ask(pack("GET", key)) for key in keys))
        found: list[Record | SessionUnreadable] = []
        for key, answer in zip(keys, replies, strict=True):
            reply = answer
            if _code(reply) in {"MOVED", "ASK"}:
                reply = await self._opened().ask(key, pack("GET", key))
            if reply is None:
                continue
            start = len(self.prefix.encode()) + 1
            session_id = _decoded(key[start:-1].decode(errors="backslashreplace"))
            try:
                if _code(reply) == "WRONGTYPE":
                    raise self._error(reply, session_id) from reply
                found.append(self._record(_checked(reply), session_id))
            except SessionUnreadable as unreadable:
                found.append(unreadable)
        return found


def _check_unmoved(before: dict[Link, list[bytes]], after: dict[Link, list[bytes]]) -> None:
    if before != after:
        what = "is a cluster that moved sessions between its servers while they were listed"
        raise LinkDown(what, sent=False)


async def _scanned(link: Link, pattern: str) -> AsyncGenerator[list[bytes]]:
    """Every key, at least once. What has been listed already is known to one connection only."""
    cursor, connection = b"0", 0
    while True:
        scan = pack("SCAN", cursor, "MATCH", pattern, "COUNT", SCANNED)
        cursor, keys = _checked(await link.ask(scan))
        connection = connection or link.connections
        if link.connections != connection:
            raise LinkDown(f"lost its connection to {link.where} while it listed", sent=False)
        yield keys
        if cursor == b"0":
            break


def _encoded(session_id: str) -> str:
    return session_id.replace("%", "%25").replace("{", "%7B").replace("}", "%7D")


def _decoded(text: str) -> str:
    return text.replace("%7B", "{").replace("%7D", "}").replace("%25", "%")


def _term(lease: Lease) -> int:
    return max(round(lease.term * 1000), 1)


def _time_to_live(record: Record) -> int | bytes:
    """Milliseconds after which the server removes the record: a day after its expiry."""
    if record.expires_at is None:
        return b""
    left = record.expires_at - time.time_ns() // 1_000_000
    return min(max(left, 0) + GRACE, LONGEST)


def _code(reply: object) -> str:
    """The kind of error the server answered with; a script's may have it inside, from Redis 6."""
    if not isinstance(reply, ReplyError):
        return ""
    words = str(reply).replace("-", " ").split()
    known = (word for word in words if word in REFUSALS or word == "WRONGTYPE")
    return next(known, words[0]) if words and words[0] == "ERR" else (words or [""])[0]


def _checked(reply: Any) -> Any:
    if isinstance(reply, ReplyError):
        raise reply
    return reply


def _cause(error: LinkDown | ReplyError) -> BaseException:
    """The client's own error, which is what is of use to who reads the trace."""
    return error.__cause__ or error
