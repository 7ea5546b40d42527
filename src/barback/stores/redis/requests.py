"""Requests: what a store asks its servers for, a class for each operation on a session.

One is made by a plain call, leaves over the connection as it is, and is answered by the reply as
soon as that is read: no task and no coroutine is between who asks and the server. Only a reply that
is no answer (a server has forgotten a script, a cluster sends elsewhere) is followed by a task.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar, Final

from barback.errors import BarbackError, SessionStoreUnavailable, SessionUnreadable
from barback.extras import needs_extra
from barback.stores import answers
from barback.stores.base import GRACE
from barback.stores.redis.asking import AGAIN, KNOWN, Asking, code_of
from barback.stores.redis.commands import ARGUMENT, form, pack
from barback.stores.redis.scripts import CHECKOUT, COMMIT, DESTROY, RELEASE, RENEW, Script
from barback.stores.redis.servers import Request
from barback.stores.redis.wire import LinkDown

with needs_extra("redis"):
    from hiredis import ReplyError

if TYPE_CHECKING:
    from barback.record import Record
    from barback.stores.base import Lease

__all__ = ["Checkout", "Commit", "Destroy", "ForcedDestroy", "Release", "Renewal"]

LONGEST: Final = 2**52  # milliseconds a server is told to keep a key for

HELD: Final = b"$%d\r\n%b:%b\r\n"  # its length, the token, and the term
TAKE_AND_READ: Final = b"".join(
    (form("SET", ARGUMENT, HELD, "NX", "PX", ARGUMENT, "GET"), form("GET", ARGUMENT))
)
GIVE_BACK: Final = RELEASE.form(ARGUMENT, ARGUMENT)
VALUE: Final = b"$%d\r\n%016x%b\r\n"  # its length, the version, and the record
WRITE_AND_GIVE_BACK: Final = COMMIT.form(
    *(ARGUMENT, ARGUMENT), *(ARGUMENT, ARGUMENT, VALUE, ARGUMENT, ARGUMENT)
)


class _AboutSession(Request):
    """What all have in common: whose session it is, and how answers that are errors are told."""

    __slots__ = ("_asking", "_session_id")

    writes: ClassVar[bool] = False
    """Whether without an answer it is unknown what has become of the session."""

    def __init__(
        self, asking: Asking, session_id: str, key: bytes, command: bytes, replies: int = 1
    ) -> None:
        super().__init__(command, replies)
        self.key = key
        self._asking = asking
        self._session_id = session_id

    def down(self, error: LinkDown) -> None:
        """See `Call.down`."""
        self._asking.servers.learn(self.key, error)
        self.fail(self._failure(error))

    async def _further(self, *commands: bytes, load: bytes | None = None) -> Any:
        """The reply to the last of more commands, within the time that this request has."""
        servers = self._asking.servers
        try:
            reply = await servers.ask_further(self.deadline, self.key, *commands, load=load)
        except LinkDown as down:
            failure = self._failure(down)
            raise failure from failure.__cause__
        if isinstance(reply, ReplyError):
            raise self._failure(reply) from reply
        return reply

    def _failure(self, error: LinkDown | ReplyError) -> BarbackError:
        return self._asking.failure(error, self._session_id, writes=self.writes)


class Checkout(_AboutSession):
    """Takes the lease, by SET, and reads the record, by GET, in one write and without a script.

    SET answers who holds the lease: nobody did, and it is taken; or another does. If we do, or the
    replies are anything else, there is the script, which knows by its token a lease that is ours,
    and a lease that is over though the server has it. So who asks `closely` asks the script.
    Between the two commands a cluster may begin to move the slot: the lease is taken then, and GET
    sends elsewhere. A lease that is taken here goes back if the record cannot be had.
    """

    __slots__ = ("_lease",)

    def __init__(self, asking: Asking, session_id: str, lease: Lease) -> None:
        key, lease_key = asking.keys(session_id)
        token = lease.token.encode()
        term = _term(lease)
        held = len(token) + 1 + len(term), token, term
        arguments = len(lease_key), lease_key, *held, len(term), term, len(key), key
        super().__init__(asking, session_id, key, TAKE_AND_READ % arguments, 2)
        self._lease = lease

    def heard(self, reply: Any) -> None:
        """The reply of GET; that of SET came before."""
        holder = self.earlier
        if holder is None and reply is None:
            self.succeed(None)
        elif holder is None and isinstance(reply, bytes):
            try:
                record = self._asking.record(reply, self._session_id)
            except SessionUnreadable:
                self._asking.servers.follow(self)  # to the same end, and the lease goes back
            else:
                self.succeed(record)
        elif isinstance(holder, bytes) and holder != b"OK" and not self._is_own(holder):
            self.fail(self._busy())
        else:
            self._heard_else(holder, reply)

    async def follow(self) -> Record | None:
        """See `Request.follow`."""
        taken = self.earlier is None
        try:
            return await self._by_script()
        except (SessionStoreUnavailable, SessionUnreadable) as error:
            if taken or isinstance(error, SessionUnreadable):
                await self._give_back()
            raise

    def _heard_else(self, holder: Any, reply: Any) -> None:
        for each in (holder, reply):
            if isinstance(each, ReplyError):
                self._asking.servers.learn(self.key, each)
        if code_of(holder) in KNOWN - AGAIN:
            self.fail(self._failure(holder))
            return
        if isinstance(holder, ReplyError) and "syntax" in str(holder):
            self._asking.tells_holder = False
        self._asking.servers.follow(self)

    async def _by_script(self) -> Record | None:
        keys = self._asking.keys(self._session_id)
        command = CHECKOUT.call(*keys, self._lease.token, _term(self._lease))
        value = await self._further(command, load=CHECKOUT.load)
        if value == 0:
            raise self._busy()
        return None if value is None else self._asking.record(value, self._session_id)

    async def _give_back(self) -> None:
        _, key = self._asking.keys(self._session_id)
        with suppress(SessionStoreUnavailable):
            await self._further(RELEASE.call(key, self._lease.token), load=RELEASE.load)

    def _is_own(self, held: bytes) -> bool:
        return held.rpartition(b":")[0] == self._lease.token.encode()

    def _busy(self) -> BarbackError:
        return answers.busy(self._asking.store, self._session_id)


class _Change(_AboutSession):
    """What is one command, most often a script, that is answered by a number."""

    __slots__ = ()

    script: ClassVar[Script | None] = None

    def result(self, number: int) -> Any:
        """What the number means; raises if it is an error."""

    def heard(self, reply: Any) -> None:
        """See `Call.heard`."""
        if not isinstance(reply, ReplyError):
            self.succeed(self.result(reply))
            return
        self._asking.servers.learn(self.key, reply)
        if code_of(reply) in AGAIN:
            self._asking.servers.follow(self)
        else:
            self.fail(self._failure(reply))

    async def follow(self) -> Any:
        """See `Request.follow`."""
        load = () if self.script is None else (self.script.load,)
        return self.result(await self._further(*load, self.data))


class Commit(_Change):
    """Writes the record and gives the lease back, or keeps it for another term."""

    __slots__ = ()

    script: ClassVar[Script | None] = COMMIT
    writes: ClassVar[bool] = True

    def __init__(self, asking: Asking, record: Record, lease: Lease, *, keep: bool) -> None:
        key, lease_key = asking.keys(record.id)
        token = lease.token.encode()
        read = b"" if lease.version is None else b"%016x" % lease.version
        value = record.encode()
        live = _time_to_live(record)
        term = _term(lease) if keep else b""
        lease_held = len(key), key, len(lease_key), lease_key, len(token), token, len(read), read
        written = 16 + len(value), record.version, value, len(live), live, len(term), term
        command = WRITE_AND_GIVE_BACK % (lease_held + written)
        super().__init__(asking, record.id, key, command)

    def result(self, number: int) -> None:
        """See `_Change.result`."""
        if number != 1:
            raise answers.lost(self._asking.store, self._session_id)


class Release(_Change):
    """Gives the lease back."""

    __slots__ = ()

    script: ClassVar[Script | None] = RELEASE

    def __init__(self, asking: Asking, session_id: str, lease: Lease) -> None:
        _, key = asking.keys(session_id)
        token = lease.token.encode()
        super().__init__(asking, session_id, key, GIVE_BACK % (len(key), key, len(token), token))


class Renewal(_Change):
    """Starts the lease's term anew; the answer is whether it still holds."""

    __slots__ = ()

    script: ClassVar[Script | None] = RENEW

    def __init__(self, asking: Asking, lease: Lease) -> None:
        _, key = asking.keys(lease.session_id)
        command = RENEW.call(key, lease.token, _term(lease))
        super().__init__(asking, lease.session_id, key, command)

    def result(self, number: int) -> bool:
        """See `_Change.result`."""
        return number != 0


class Destroy(_Change):
    """Removes the record and its lease, if the lease still holds."""

    __slots__ = ()

    script: ClassVar[Script | None] = DESTROY
    writes: ClassVar[bool] = True

    def __init__(self, asking: Asking, session_id: str, lease: Lease) -> None:
        keys = asking.keys(session_id)
        super().__init__(asking, session_id, keys[0], DESTROY.call(*keys, lease.token))

    def result(self, number: int) -> None:
        """See `_Change.result`."""
        if number != 1:
            raise answers.lost(self._asking.store, self._session_id)


class ForcedDestroy(_Change):
    """Removes the record and its lease, whoever holds it."""

    __slots__ = ()

    writes: ClassVar[bool] = True

    def __init__(self, asking: Asking, session_id: str) -> None:
        keys = asking.keys(session_id)
        super().__init__(asking, session_id, keys[0], pack("DEL", *keys))


def _term(lease: Lease) -> bytes:
    return b"%d" % (int(lease.term * 1000) or 1)


def _time_to_live(record: Record) -> bytes:
    """Milliseconds after which the server removes the record: a day after its expiry."""
    if record.expires_at is None:
        return b""
    left = record.expires_at - int(time.time() * 1000)
    return b"%d" % (min(left + GRACE, LONGEST) if left > 0 else GRACE)
