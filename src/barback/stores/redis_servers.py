"""Servers: which Redis or Valkey server keeps a key, and how to ask it.

A `Server` is a single one, or the primary that Sentinels name; a `Cluster` is many. They look the
same from outside.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any, Final

from barback.extras import needs_extra
from barback.stores.redis_link import Link, LinkDown

with needs_extra("redis"):
    from hiredis import ReplyError, pack_command
    from redis.crc import key_slot

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from barback.stores.redis_target import Address, Target

__all__ = ["Servers", "open_servers", "pack"]

_pack: Any = pack_command  # its own type hints know commands of one word only

SLOTS: Final = 16384
PAUSE: Final = 0.02  # seconds, before a cluster that is moving a slot is asked again
ASKING: Final[bytes] = _pack(("ASKING",))
SHARDS: Final[bytes] = _pack(("CLUSTER", "SLOTS"))
REDIRECTIONS: Final = frozenset({"MOVED", "ASK", "TRYAGAIN"})
AT_ONCE: Final = (0.0, 0.0)  # redirections in a row that are followed without a pause
UNKNOWN: Final = (None, b"", b"?")  # the host of a server that does not know its own address
NO_ERROR: Final = ("", "", "")


def pack(*arguments: bytes | str | int) -> bytes:
    """A command as it goes over the wire."""
    packed: bytes = _pack(arguments)
    return packed


def open_servers(target: Target, timeout: float) -> Servers:
    """The servers of a target; nothing is connected yet."""
    return (Cluster if target.kind == "cluster" else Server)(target, timeout)


class Servers(ABC):
    """Whoever keeps the records, one server or many."""

    def __init__(self, target: Target, timeout: float) -> None:
        self.where = target.where
        self._target = target
        self._timeout = timeout

    @abstractmethod
    async def prepare(self, *commands: bytes) -> None:
        """Connect, and give every server these commands. Raises `LinkDown` or `ReplyError`."""

    @abstractmethod
    async def ask(self, key: bytes, *commands: bytes) -> Any:
        """The reply to the last of `commands`, all about `key`; it may be a `ReplyError`.

        Raises `LinkDown`.
        """

    @abstractmethod
    async def listed(self) -> list[Link]:
        """A link for listing, apart from that for turns, to each server that keeps records."""

    @abstractmethod
    async def close(self) -> None:
        """Wait for what is under way, and disconnect."""

    def _link(self, where: str, connect: Callable[[], Awaitable[Any]]) -> Link:
        limit = self._target.connect_timeout
        return Link(connect, where=where, timeout=self._timeout, connect_timeout=limit)


class Server(Servers):
    """One server, over a connection for turns and another for listing."""

    def __init__(self, target: Target, timeout: float) -> None:
        super().__init__(target, timeout)
        self._turns = self._link(self.where, target.connect_to_primary)
        self._listing = self._link(self.where, target.connect_to_primary)

    async def prepare(self, *commands: bytes) -> None:
        """See `Servers.prepare`."""
        _raise_error(await self._turns.ask(*commands))

    async def ask(self, key: bytes, *commands: bytes) -> Any:  # noqa: ARG002 - it has all keys
        """See `Servers.ask`."""
        reply = await self._turns.ask(*commands)
        if isinstance(reply, ReplyError) and "READONLY" in str(reply):
            self._turns.retire()  # it is a primary no more: the Sentinels name another
            self._listing.retire()
        return reply

    async def listed(self) -> list[Link]:
        """See `Servers.listed`."""
        return [self._listing]

    async def close(self) -> None:
        """See `Servers.close`."""
        await asyncio.gather(self._turns.close(), self._listing.close())


class Cluster(Servers):
    """The primaries of a cluster, each over a connection of its own.

    Redirections are followed: a command that is answered by MOVED or ASK has not been carried out.
    """

    def __init__(self, target: Target, timeout: float) -> None:
        super().__init__(target, timeout)
        self._links: dict[tuple[Address, bool], Link] = {}
        self._slots: list[Address | None] = [None] * SLOTS
        self._outdated = True
        self._mapping: asyncio.Task[None] | None = None
        self._retired: set[asyncio.Task[None]] = set()

    async def prepare(self, *commands: bytes) -> None:
        """See `Servers.prepare`."""
        await self._map()
        links = [self._to(address) for address in self._addresses()]
        for reply in await asyncio.gather(*(link.ask(*commands) for link in links)):
            _raise_error(reply)

    async def ask(self, key: bytes, *commands: bytes) -> Any:
        """See `Servers.ask`."""
        if self._outdated:
            await self._map()
        slot = key_slot(key)
        address = self._slots[slot]
        if address is None:
            raise LinkDown("is a cluster in which nobody keeps a part of the keys", sent=False)
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + self._timeout
        *first, last = commands
        asking: tuple[bytes, ...] = ()
        for pause in chain(AT_ONCE, repeat(PAUSE)):
            reply = await self._ask_one(address, *first, *asking, last)
            code, _, rest = str(reply).partition(" ") if isinstance(reply, ReplyError) else NO_ERROR
            if code not in REDIRECTIONS or loop.time() > give_up_at:
                break
            await asyncio.sleep(PAUSE if code == "TRYAGAIN" else pause)
            if code == "TRYAGAIN":
                continue
            address = self._redirected(rest, address)
            asking = (ASKING,) if code == "ASK" else ()
            if code == "MOVED":
                self._slots[slot] = address
        return reply

    async def listed(self) -> list[Link]:
        """See `Servers.listed`."""
        await self._map()
        return [self._to(address, listing=True) for address in self._addresses()]

    async def close(self) -> None:
        """See `Servers.close`."""
        if self._mapping is not None:
            await asyncio.wait([self._mapping])
        await asyncio.gather(*(link.close() for link in self._links.values()), *self._retired)

    async def _ask_one(self, address: Address, *commands: bytes) -> Any:
        """The reply of one server. Where it has none, or no cluster, learn anew who keeps what."""
        try:
            reply = await self._to(address).ask(*commands)
        except LinkDown:
            self._outdated = True
            raise
        if isinstance(reply, ReplyError) and str(reply).startswith("CLUSTERDOWN"):
            self._outdated = True
        return reply

    def _addresses(self) -> list[Address]:
        return [address for address in dict.fromkeys(self._slots) if address is not None]

    def _to(self, address: Address, *, listing: bool = False) -> Link:
        link = self._links.get((address, listing))
        if link is None:
            host, port = address

            def connect() -> Coroutine[Any, Any, Any]:
                return self._target.connect(host, port)

            link = self._links[address, listing] = self._link(f"{host}:{port}", connect)
        return link

    async def _map(self) -> None:
        """Learn who keeps which slot; all who need to know share one question."""
        if self._mapping is None:
            self._mapping = asyncio.ensure_future(self._learn())
            self._mapping.add_done_callback(self._learned)
        await asyncio.shield(self._mapping)

    def _learned(self, mapping: asyncio.Task[None]) -> None:
        self._mapping = None
        if not mapping.cancelled():
            mapping.exception()  # who asked has heard of it, unless they have all gone

    async def _learn(self) -> None:
        """Ask the servers, one after another, those that are connected first."""
        known = dict.fromkeys([*self._addresses(), *self._target.addresses])
        failed: Exception | None = None
        for address in sorted(known, key=lambda each: not self._to(each).connected):
            try:
                reply = await self._to(address).ask(SHARDS)
                _raise_error(reply)
            except (LinkDown, ReplyError) as error:
                failed = error
                continue
            slots: list[Address | None] = [None] * SLOTS
            for start, end, (host, port, *_), *_ in reply:
                known_as = address[0] if host in UNKNOWN else host.decode()
                primary = self._mapped(known_as, int(port))
                slots[start : end + 1] = [primary] * (end + 1 - start)
            if reply:
                self._slots = slots
                self._outdated = False
                self._retire_links()
                return
        what = f"is a cluster that could not be reached at {self.where}"
        if isinstance(failed, ReplyError):
            what = f"is no cluster, or one that does not work, at {self.where}"
        cause = failed.__cause__ if isinstance(failed, LinkDown) else failed
        raise LinkDown(what, sent=False, cause=cause)

    def _retire_links(self) -> None:
        """Close the links to servers that keep nothing any more."""
        kept = set(self._addresses())
        for address, listing in list(self._links):
            if address not in kept:
                closing = asyncio.ensure_future(self._links.pop((address, listing)).close())
                self._retired.add(closing)
                closing.add_done_callback(self._retired.discard)

    def _redirected(self, rest: str, asked: Address) -> Address:
        """The address in `SLOT HOST:PORT`; without a host it is the host that was asked."""
        host, _, port = rest.split(" ")[1].rpartition(":")
        return self._mapped(host or asked[0], int(port))

    def _mapped(self, host: str, port: int) -> Address:
        remap = self._target.remap
        return (host, port) if remap is None else remap((host, port))


def _raise_error(reply: object) -> None:
    if isinstance(reply, ReplyError):
        raise reply
