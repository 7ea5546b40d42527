"""Cluster: Redis or Valkey servers that share the keys, each with a part of the 16,384 slots."""

from __future__ import annotations

import asyncio
import math
from graphlib import CycleError, TopologicalSorter
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any, Final

from barback.extras import needs_extra
from barback.stores.redis.commands import pack
from barback.stores.redis.servers import Servers, raise_error
from barback.stores.redis.wire import LinkDown

with needs_extra("redis"):
    from hiredis import ReplyError
    from redis.crc import key_slot

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable

    from barback.stores.redis.link import Link
    from barback.stores.redis.target import Address, Target

__all__ = ["Cluster"]

SLOTS: Final = 16384
PAUSE: Final = 0.02  # seconds, before a cluster that is moving a slot is asked again
TOO_LATE: Final = 0.1  # seconds, of which a question and its answer may need more
ASKING: Final = pack("ASKING")
SHARDS: Final = pack("CLUSTER", "SLOTS")
NODES: Final = pack("CLUSTER", "NODES")
REDIRECTIONS: Final = frozenset({"MOVED", "ASK", "TRYAGAIN"})
AT_ONCE: Final = (0.0, 0.0)  # redirections in a row that are followed without a pause
UNKNOWN: Final = (None, b"", b"?")  # the host of a server that does not know its own address
NO_ERROR: Final = ("", "", "")


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
        self._retired: dict[asyncio.Task[None], Link] = {}
        self._closed = False

    def learn(self, key: bytes, failure: LinkDown | ReplyError) -> None:
        """See `Servers.learn`. Where there was no answer, or no cluster, ask who keeps what."""
        code, _, rest = str(failure).partition(" ")
        if isinstance(failure, LinkDown) or code == "CLUSTERDOWN":
            self._outdated = True
        elif code == "MOVED":
            slot = key_slot(key)
            if (asked := self._slots[slot]) is not None:
                self._slots[slot] = self._redirected(rest, asked)

    async def _listed(self) -> dict[Link, list[bytes]]:
        """A server comes before those that it is moving a slot to."""
        await self._map()
        links = [self._to(address, listing=True) for address in self._addresses()]
        told = {}
        order: TopologicalSorter[bytes] = TopologicalSorter()
        for link, reply in zip(
            links, await asyncio.gather(*(link.ask(NODES) for link in links)), strict=True
        ):
            raise_error(reply)
            name, slots = _own(reply)
            told[name] = link, slots
            order.add(name, *_others(slots, b"-<-"))
            for other in _others(slots, b"->-"):
                order.add(other, name)
        try:
            return dict(told[name] for name in order.static_order() if name in told)
        except CycleError as error:
            what = "is a cluster of which two servers move slots to each other"
            raise LinkDown(what, sent=False, cause=error) from None

    async def _ask(self, before: float, key: bytes, *commands: bytes) -> Any:
        slot = key_slot(key)
        if self._outdated or self._slots[slot] is None:
            await self._map(before)
        address = self._slots[slot]
        if address is None:
            raise LinkDown("is a cluster in which nobody keeps a part of the keys", sent=False)
        loop = asyncio.get_running_loop()
        *first, last = commands
        asking: tuple[bytes, ...] = ()
        for pause in chain(AT_ONCE, repeat(PAUSE)):
            reply = await self._ask_one(before, key, address, *first, *asking, last)
            code, _, rest = str(reply).partition(" ") if isinstance(reply, ReplyError) else NO_ERROR
            if code not in REDIRECTIONS or loop.time() + PAUSE + TOO_LATE > before:
                break
            await asyncio.sleep(PAUSE if code == "TRYAGAIN" else pause)
            if code == "TRYAGAIN":
                continue
            address = self._redirected(rest, address)
            asking = (ASKING,) if code == "ASK" else ()
            if code == "MOVED":
                self._slots[slot] = address
        return reply

    async def _ask_one(self, before: float, key: bytes, address: Address, *commands: bytes) -> Any:
        """The reply of one server."""
        try:
            reply = await self._to(address).ask(*commands, before=before)
        except LinkDown as down:
            self.learn(key, down)
            raise
        if isinstance(reply, ReplyError) and str(reply).startswith("CLUSTERDOWN"):
            self.learn(key, reply)
        return reply

    def _link_for(self, key: bytes) -> Link | None:
        address = self._slots[key_slot(key)]
        if address is None or self._outdated:
            return None
        return self._links.get((address, False))

    def _all_links(self) -> Iterable[Link]:
        return (*self._links.values(), *self._retired.values())

    async def _tell_all(self, commands: tuple[bytes, ...]) -> list[asyncio.Future[Any]]:
        await self._map()
        links = [self._to(address) for address in self._addresses()]
        return [link.ask(command) for link in links for command in commands]

    async def _disconnect(self) -> None:
        self._closed = True
        mapping = self._mapping
        if mapping is not None:
            mapping.cancel()
            await asyncio.wait([mapping])
        await asyncio.gather(*(link.close() for link in self._links.values()), *self._retired)

    def _abort(self) -> None:
        self._closed = True
        for task in (self._mapping, *self._retired):
            if task is not None:
                task.cancel()
        for link in self._links.values():
            link.abort()

    def _addresses(self) -> list[Address]:
        return [address for address in dict.fromkeys(self._slots) if address is not None]

    def _to(self, address: Address, *, listing: bool = False) -> Link:
        link = self._links.get((address, listing))
        if link is None:
            if self._closed:
                raise LinkDown("is closed", sent=False)
            host, port = address

            def connect() -> Coroutine[Any, Any, Any]:
                return self._target.connect(host, port)

            link = self._links[address, listing] = self._link(f"{host}:{port}", connect)
        return link

    async def _map(self, before: float = math.inf) -> None:
        """Learn who keeps which slot; all who need to know share one question."""
        if self._closed:
            raise LinkDown("is closed", sent=False)
        if self._mapping is None:
            self._mapping = asyncio.ensure_future(self._learn())
            self._mapping.add_done_callback(self._learned)
        mapping = self._mapping
        left = None if before == math.inf else before - asyncio.get_running_loop().time()
        await asyncio.wait([mapping], timeout=left)
        if not mapping.done():
            raise self._unreachable(TimeoutError())
        if mapping.cancelled():
            raise LinkDown("is closed", sent=False)
        mapping.result()

    def _learned(self, mapping: asyncio.Task[None]) -> None:
        self._mapping = None
        if not mapping.cancelled():
            mapping.exception()  # who asked has heard of it, unless they have all gone

    async def _learn(self) -> None:
        """Ask all the servers side by side; the first that knows is believed."""
        known = dict.fromkeys([*self._addresses(), *self._target.addresses])
        asked = {self._to(address).ask(SHARDS): address for address in known}
        waiting: Iterable[asyncio.Future[Any]] = set(asked)
        failed: BaseException | None = None
        try:
            while waiting:
                answered, waiting = await asyncio.wait(waiting, return_when="FIRST_COMPLETED")
                told = {future: future.exception() or future.result() for future in answered}
                for future, reply in told.items():
                    if isinstance(reply, BaseException):
                        failed = reply
                    elif reply:
                        self._take(reply, asked[future])
                        return
        finally:
            for future in waiting:
                future.cancel()
        raise self._unreachable(failed)

    def _take(self, shards: list[Any], told_by: Address) -> None:
        slots: list[Address | None] = [None] * SLOTS
        for start, end, (host, port, *_), *_ in shards:
            known_as = told_by[0] if host in UNKNOWN else host.decode()
            primary = self._mapped(known_as, int(port))
            slots[start : end + 1] = [primary] * (end + 1 - start)
        self._slots = slots
        self._outdated = False
        self._retire_links()

    def _unreachable(self, failed: BaseException | None) -> LinkDown:
        what = f"is a cluster that could not be reached at {self.where}"
        if isinstance(failed, ReplyError):
            what = f"is no cluster, or one that does not work, at {self.where}"
        cause = failed.__cause__ if isinstance(failed, LinkDown) else failed
        return LinkDown(what, sent=False, cause=cause)

    def _retire_links(self) -> None:
        """Close the links to servers that keep nothing any more."""
        kept = set(self._addresses())
        for address, listing in list(self._links):
            if address not in kept:
                link = self._links.pop((address, listing))
                closing = asyncio.ensure_future(link.close())
                self._retired[closing] = link
                closing.add_done_callback(self._retired.pop)

    def _redirected(self, rest: str, asked: Address) -> Address:
        """The address in `SLOT HOST:PORT`; without a host it is the host that was asked."""
        host, _, port = rest.split(" ")[1].rpartition(":")
        return self._mapped(host or asked[0], int(port))

    def _mapped(self, host: str, port: int) -> Address:
        remap = self._target.remap
        return (host, port) if remap is None else remap((host, port))


def _own(nodes: bytes) -> tuple[bytes, list[bytes]]:
    """What a server says of itself in CLUSTER NODES: its name and its slots, moving ones last."""
    own = next(words for words in map(bytes.split, nodes.splitlines()) if b"myself" in words[2])
    return own[0], own[8:]


def _others(slots: list[bytes], arrow: bytes) -> list[bytes]:
    """The servers to which (`->-`) or from which (`-<-`) slots are moving."""
    return [slot.partition(arrow)[2][:-1] for slot in slots if arrow in slot]
