"""Servers: which Redis or Valkey server keeps a key, and how to ask it.

A `Server` is a single one, or the primary that Sentinels name; `cluster` has those that are many.
They look the same from outside.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from contextvars import Context
from functools import partial
from typing import TYPE_CHECKING, Any

from barback.extras import needs_extra
from barback.stores import answers
from barback.stores.forks import tell_when_forked
from barback.stores.redis.link import Link
from barback.stores.redis.wire import Call, LinkDown

with needs_extra("redis"):
    from hiredis import ReplyError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from barback.stores.redis.target import Target

__all__ = ["Request", "Server", "Servers", "raise_error"]


class Request(Call, ABC):
    """A call about one key, or about two of one slot."""

    __slots__ = ("key",)

    key: bytes

    @abstractmethod
    async def follow(self) -> Any:
        """The answer, where one reply was none: the long way, by redirections and scripts anew."""


class Servers(ABC):
    """Whoever keeps the records, one server or many. They take no requests until `prepare`.

    They belong to the event loop that they were prepared on. On another, which may be that of a
    forked child, nothing is written to their connections: both would read each other's replies.
    """

    def __init__(self, target: Target, timeout: float) -> None:
        self.where = target.where
        self._target = target
        self._timeout = timeout
        self._under_way = 0
        self._following: set[asyncio.Task[Any]] = set()
        self._settled = asyncio.Event()
        self._closing = True
        self._inherited = False
        tell_when_forked(self)
        self.loop: asyncio.AbstractEventLoop | None = None
        """The event loop it was prepared on."""

    async def prepare(self, *commands: bytes) -> None:
        """Connect, and give every server these commands. Raises `LinkDown` or `ReplyError`."""
        self.loop = asyncio.get_running_loop()
        for reply in await asyncio.gather(*await self._tell_all(commands)):
            raise_error(reply)
        self._closing = False

    def send(self, request: Request, *, plainly: bool = True) -> None:
        """Have it answered within `timeout`, over the connection to the server that keeps its key.

        No task is made for it, unless it has to `follow`, or is not to go `plainly`.
        """
        if self._closing or request.answer.get_loop() is not self.loop:
            request.down(self._refusal())
        elif plainly and (link := self._link_for(request.key)) is not None:
            link.send(request)
        else:
            request.deadline = request.answer.get_loop().time() + self._timeout
            self.follow(request)

    def follow(self, request: Request) -> None:
        """Have it answered by its `follow`, in a task; `close` waits for it."""
        following = request.follow()
        task = asyncio.get_running_loop().create_task(following, context=Context())
        self._following.add(task)
        task.add_done_callback(partial(self._followed, request))

    async def ask(self, key: bytes, command: bytes) -> Any:
        """The reply to a command about `key`, within `timeout`; it may be a `ReplyError`.

        Raises `LinkDown`.
        """
        if not self.open:
            raise self._refusal()
        before = asyncio.get_running_loop().time() + self._timeout
        self._under_way += 1
        try:
            return await self._ask(before, key, command)
        finally:
            self._under_way -= 1
            self._settled.set()

    async def ask_further(
        self, before: float, key: bytes, *commands: bytes, load: bytes | None = None
    ) -> Any:
        """As `ask`, for what is under way already, and must be over by then.

        `load` is what comes first, on a second try, where the server has forgotten a script.
        """
        reply = await self._ask(before, key, *commands)
        if load is not None and isinstance(reply, ReplyError) and str(reply).startswith("NOSCRIPT"):
            reply = await self._ask(before, key, load, *commands)
        return reply

    @abstractmethod
    def learn(self, key: bytes, failure: LinkDown | ReplyError) -> None:
        """What was sent to the server that keeps `key` failed so: do better next time."""

    async def listed(self) -> dict[Link, list[bytes]]:
        """For each server that keeps records a link for listing, and the slots that it keeps.

        The links are to be listed in this order, and who has done so asks again: if it is not the
        same then, sessions may have moved past the list. Raises `LinkDown` or `ReplyError`.
        """
        if not self.open:
            raise self._refusal()
        return await self._listed()

    @property
    def here(self) -> bool:
        """Whether they were prepared on the running event loop, by this process, or not at all."""
        return not self._inherited and self.loop in {None, asyncio.get_running_loop()}

    @property
    def open(self) -> bool:
        """Whether they take requests, from the running event loop."""
        return not self._closing and self.here

    async def close(self) -> None:
        """Wait for what is under way, and disconnect. It is done `here`."""
        self._closing = True
        try:
            await self._settle()
            await self._disconnect()
        finally:
            self._abort()

    def forked(self) -> None:
        """In a child: be closed. The loop may be the parent's as well."""
        self._closing = self._inherited = True

    def _refusal(self) -> LinkDown:
        return LinkDown("is closed" if self.here else answers.ELSEWHERE, sent=False)

    async def _settle(self) -> None:
        """Wait until all is answered; what a link has answered may have to follow."""
        while True:
            await asyncio.gather(*(link.drained() for link in self._all_links()))
            if not (self._under_way or self._following):
                return
            self._settled.clear()
            await self._settled.wait()

    def _followed(self, request: Request, task: asyncio.Task[Any]) -> None:
        self._following.discard(task)
        self._settled.set()
        if task.cancelled():  # the event loop is ending
            request.give_up()
        elif (error := task.exception()) is not None:
            request.fail(error)
        else:
            request.succeed(task.result())

    @abstractmethod
    def _link_for(self, key: bytes) -> Link | None:
        """The link to the server that keeps `key`, if that is known."""

    @abstractmethod
    def _all_links(self) -> Iterable[Link]:
        """Every link there is."""

    @abstractmethod
    async def _tell_all(self, commands: tuple[bytes, ...]) -> list[asyncio.Future[Any]]:
        """The replies of every server to each of the commands."""

    @abstractmethod
    async def _listed(self) -> dict[Link, list[bytes]]:
        """See `listed`."""

    @abstractmethod
    async def _ask(self, before: float, key: bytes, *commands: bytes) -> Any:
        """The reply to the last of `commands`, all about `key`."""

    @abstractmethod
    async def _disconnect(self) -> None:
        """Close every link."""

    @abstractmethod
    def _abort(self) -> None:
        """Close every link at once."""

    def _link(self, where: str, connect: Callable[[], Awaitable[Any]]) -> Link:
        limit = self._target.connect_timeout
        return Link(connect, where=where, timeout=self._timeout, connect_timeout=limit)


class Server(Servers):
    """One server, over a connection for turns and another for listing."""

    def __init__(self, target: Target, timeout: float) -> None:
        super().__init__(target, timeout)
        self._turns = self._link(self.where, target.connect_to_primary)
        self._listing = self._link(self.where, target.connect_to_primary)

    def learn(self, key: bytes, failure: LinkDown | ReplyError) -> None:  # noqa: ARG002 - it has all keys
        """See `Servers.learn`. A primary that is one no more is left: Sentinels name another."""
        if isinstance(failure, ReplyError) and "READONLY" in str(failure):
            self._turns.retire()
            self._listing.retire()

    async def _listed(self) -> dict[Link, list[bytes]]:
        return {self._listing: []}

    async def _ask(self, before: float, key: bytes, *commands: bytes) -> Any:
        reply = await self._turns.ask(*commands, before=before)
        if isinstance(reply, ReplyError):
            self.learn(key, reply)
        return reply

    def _link_for(self, key: bytes) -> Link:  # noqa: ARG002 - it has all keys
        return self._turns

    def _all_links(self) -> Iterable[Link]:
        return (self._turns, self._listing)

    async def _tell_all(self, commands: tuple[bytes, ...]) -> list[asyncio.Future[Any]]:
        return [self._turns.ask(command) for command in commands]

    async def _disconnect(self) -> None:
        await asyncio.gather(self._turns.close(), self._listing.close())

    def _abort(self) -> None:
        self._turns.abort()
        self._listing.abort()


def raise_error(reply: object) -> None:
    """Raise a reply that is an error."""
    if isinstance(reply, ReplyError):
        raise reply
