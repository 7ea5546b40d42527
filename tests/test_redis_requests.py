"""How operations travel to Redis and Valkey servers, and what becomes of those that go astray."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import redis.asyncio

from barback import Outcome
from barback.errors import (
    CommitUnknown,
    LeaseLost,
    SessionBusy,
    SessionStoreUnavailable,
    SessionUnreadable,
)
from barback.stores.redis import RedisSessionStore
from barback.testing.contract_tools import TIM, lease_on, peek, put, record_of
from tests.redis_between import Between, CutOff, between
from tests.scripted import counting_bot, event
from tests.slack import ended_within
from tests.valkey_servers import ValkeyCluster, ValkeyServer

if TYPE_CHECKING:
    from barback.record import Record
    from barback.stores.base import Lease

KEY = "barback:{test:tim}"
LEASE = f"{KEY}:lease"

SET_AND_GET = [b"SET", b"GET"]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ValkeyServer]:
    """A server of the test's own."""
    with ValkeyServer(tmp_path) as own:
        yield own


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[ValkeyCluster]:
    """A cluster of the test's own."""
    with ValkeyCluster(tmp_path) as own:
        yield own


@asynccontextmanager
async def proxied(
    server: ValkeyServer, within: float = 5.0
) -> AsyncIterator[tuple[RedisSessionStore, Between]]:
    """A store that reaches the server through a proxy, and is open."""
    async with between(server.port) as proxy:
        async with RedisSessionStore(proxy.port, host="127.0.0.1", timeout=within) as store:
            proxy.asked.clear()
            yield store, proxy


# The plain way.


async def test_a_checkout_is_two_commands_in_one_write_and_a_commit_is_one(
    server: ValkeyServer,
) -> None:
    async with proxied(server) as (store, proxy):
        lease = lease_on()
        assert await store.checkout(TIM, lease) is None
        assert proxy.names() == SET_AND_GET
        written = record_of()
        await store.commit(written, lease)
        assert proxy.names() == [*SET_AND_GET, b"EVALSHA"]
        proxy.asked.clear()
        lease = lease_on()
        assert written == await store.checkout(TIM, lease)
        await store.release(TIM, lease)
        assert proxy.names() == [*SET_AND_GET, b"EVALSHA"]


async def test_a_busy_session_is_known_by_the_same_trip(server: ValkeyServer) -> None:
    async with proxied(server) as (store, proxy):
        await store.checkout(TIM, lease_on())
        proxy.asked.clear()
        for _ in range(2):
            with pytest.raises(SessionBusy):
                await store.checkout(TIM, lease_on())
        assert proxy.names() == SET_AND_GET * 2


async def test_who_asks_again_for_a_busy_session_asks_by_the_script_alone(
    server: ValkeyServer,
) -> None:
    async with proxied(server) as (store, proxy):
        held, mine = lease_on(), lease_on()
        await store.checkout(TIM, held)
        mine.closely = True
        proxy.asked.clear()
        with pytest.raises(SessionBusy):
            await store.checkout(TIM, mine)
        server.ask("SET", LEASE, held.token, "PX", 3_600_000)  # of which nobody knows the term
        with pytest.raises(SessionBusy):
            await store.checkout(TIM, mine)
        server.ask("SET", LEASE, resting(held), "PX", 3_600_000)
        assert await store.checkout(TIM, mine) is None
        assert server.ask("GET", LEASE) == resting(mine)
        assert proxy.names() == [b"EVALSHA"] * 3


async def test_a_lease_that_is_ours_is_renewed_by_the_script(server: ValkeyServer) -> None:
    async with proxied(server) as (store, proxy):
        written = await put(store)
        lease = lease_on(term=20)
        await store.checkout(TIM, lease)
        lease.term = 40
        proxy.asked.clear()
        assert written == await store.checkout(TIM, lease)
        assert proxy.names() == [*SET_AND_GET, b"EVALSHA"]
        assert 30_000 < server.ask("PTTL", LEASE) <= 40_000


async def test_operations_make_no_task(server: ValkeyServer) -> None:
    made: list[str] = []

    def count(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
        made.append(coroutine.__qualname__)
        return asyncio.Task(coroutine, loop=loop, **options)

    async with RedisSessionStore(server.url) as store:
        asyncio.get_running_loop().set_task_factory(count)
        for _ in range(3):
            lease = lease_on()
            record = await store.checkout(TIM, lease)
            lease.version = None if record is None else record.version
            with pytest.raises(SessionBusy):
                await store.checkout(TIM, lease_on())
            assert await store.renew([lease]) == []
            last = record_of()
            await store.commit(last, lease, keep=True)
            lease.version = last.version
            await store.commit(record_of(), lease)
            with pytest.raises(LeaseLost):
                await store.commit(record_of(), lease)
            await store.release(TIM, lease)
        await store.destroy(TIM, None)
        assert made == []


async def test_operations_of_a_cluster_make_no_task(redis_cluster_url: str) -> None:
    async with RedisSessionStore(redis_cluster_url, prefix="no-task:") as store:
        await store.destroy(TIM, None)
        before = asyncio.all_tasks()
        lease = lease_on()
        checkout = store.checkout(TIM, lease)
        assert asyncio.all_tasks() == before
        assert await checkout is None
        commit = store.commit(record_of(), lease)
        assert asyncio.all_tasks() == before
        await commit
        await store.destroy(TIM, None)


async def test_an_operation_that_is_alone_is_sent_at_once(server: ValkeyServer) -> None:
    async with RedisSessionStore(server.url) as store:
        lease = lease_on()
        checkout = store.checkout(TIM, lease)
        blocked_until(lambda: server.ask("GET", LEASE) == resting(lease))
        assert await checkout is None
        written = record_of()
        commit = store.commit(written, lease)
        blocked_until(lambda: server.ask("EXISTS", KEY) == 1)
        await commit


# Replies that are no answer.


async def test_a_server_that_cannot_tell_the_holder_is_asked_by_script_from_then_on(
    server: ValkeyServer,
) -> None:
    async def old(command: list[bytes]) -> bytes | None:
        """As Redis 6.2 does."""
        return b"-ERR syntax error\r\n" if {b"NX", b"GET"} <= {*command} else None

    async with proxied(server) as (store, proxy):
        proxy.rule = old
        written = await put(store)
        assert proxy.names() == [*SET_AND_GET, b"EVALSHA", b"EVALSHA"]
        proxy.asked.clear()
        lease = lease_on()
        assert written == await store.checkout(TIM, lease)
        assert written == await store.checkout(TIM, lease)
        with pytest.raises(SessionBusy):
            await store.checkout(TIM, lease_on())
        await store.release(TIM, lease)
        assert set(proxy.names()) == {b"EVALSHA"}
        await store.close()
        with pytest.raises(SessionStoreUnavailable, match="closed"):
            await store.checkout(TIM, lease)


async def test_a_lease_that_cannot_be_taken_is_no_lease(server: ValkeyServer) -> None:
    async with proxied(server) as (store, proxy):
        written = await put(store)
        server.ask("CONFIG", "SET", "maxmemory", 1)
        proxy.asked.clear()
        with pytest.raises(SessionStoreUnavailable, match="out of memory"):
            await store.checkout(TIM, lease_on())
        assert proxy.names() == SET_AND_GET  # the record was there to be read
        server.ask("CONFIG", "SET", "maxmemory", 0)
        assert server.ask("EXISTS", LEASE) == 0
        assert written == await peek(store)


async def test_a_lease_taken_for_what_cannot_be_read_goes_back(server: ValkeyServer) -> None:
    async with proxied(server) as (store, _):
        server.ask("HSET", KEY, "a", "b")
        with pytest.raises(SessionUnreadable):
            await store.checkout(TIM, lease_on())
        assert server.ask("EXISTS", LEASE) == 0
        server.ask("DEL", KEY)
        server.ask("SET", KEY, "0" * 16 + "{}")
        with pytest.raises(SessionUnreadable):
            await store.checkout(TIM, lease_on())
        assert server.ask("EXISTS", LEASE) == 0


async def test_a_key_of_a_lease_that_is_something_else_is_said(server: ValkeyServer) -> None:
    async with proxied(server) as (store, _):
        server.ask("HSET", LEASE, "a", "b")
        with pytest.raises(SessionUnreadable, match="something else"):
            await store.checkout(TIM, lease_on())


@pytest.mark.parametrize("answer", [b"-ERR upstream failure\r\n", b":17\r\n", b"*0\r\n"])
@pytest.mark.parametrize("strange", [b"SET", b"GET"])
async def test_a_strange_reply_is_followed_by_the_script(
    server: ValkeyServer, strange: bytes, answer: bytes
) -> None:
    async with proxied(server) as (store, proxy):
        written = await put(store)
        proxy.asked.clear()
        proxy.rule = once(strange, answer)
        lease = lease_on()
        assert written == await store.checkout(TIM, lease)
        assert proxy.names() == [*SET_AND_GET, b"EVALSHA"]
        assert server.ask("GET", LEASE) == resting(lease)


async def test_a_plain_ok_tells_no_holder(server: ValkeyServer) -> None:
    async with proxied(server) as (store, proxy):
        proxy.rule = once(b"SET", b"+OK\r\n")
        assert await store.checkout(TIM, lease_on()) is None


async def test_a_lease_taken_goes_back_if_the_record_cannot_be_had(server: ValkeyServer) -> None:
    async def fail(command: list[bytes]) -> bytes | None:
        if command[0] == b"GET" or command[:4:2] == [b"EVALSHA", b"2"]:
            return b"-ERR upstream failure\r\n"
        return None

    async with proxied(server) as (store, proxy):
        proxy.rule = fail
        with pytest.raises(SessionStoreUnavailable, match="ERR"):
            await store.checkout(TIM, lease_on())
        assert proxy.names() == [*SET_AND_GET, b"EVALSHA", b"EVALSHA"]
        assert server.ask("EXISTS", LEASE) == 0


async def test_a_lease_that_was_ours_before_does_not_go_back(server: ValkeyServer) -> None:
    async def fail(command: list[bytes]) -> bytes | None:
        checkout = command[:4:2] == [b"EVALSHA", b"2"]
        return b"-ERR upstream failure\r\n" if checkout else None

    async with proxied(server) as (store, proxy):
        lease = lease_on()
        await store.checkout(TIM, lease)
        proxy.rule = fail
        with pytest.raises(SessionStoreUnavailable):
            await store.checkout(TIM, lease)
        assert server.ask("GET", LEASE) == resting(lease)


async def test_a_commit_that_a_proxy_answers_with_an_error_is_unknown_and_not_repeated(
    server: ValkeyServer,
) -> None:
    async with proxied(server) as (store, proxy):
        lease = lease_on()
        await store.checkout(TIM, lease)
        proxy.asked.clear()
        proxy.rule = once(b"EVALSHA", b"-ERR upstream failure\r\n")
        with pytest.raises(CommitUnknown):
            await store.commit(record_of(), lease)
        assert proxy.names() == [b"EVALSHA"]


# The server dies.


async def test_a_server_that_dies_between_the_two_replies_leaves_a_lease_known_by_its_token(
    server: ValkeyServer,
) -> None:
    async with proxied(server) as (store, proxy):
        written = await put(store)
        lease = lease_on()
        proxy.rule = cut(b"GET")
        with pytest.raises(SessionStoreUnavailable, match="lost its connection"):
            await store.checkout(TIM, lease)
        assert server.ask("GET", LEASE) == resting(lease)
        assert written == await store.checkout(TIM, lease)


async def test_a_server_that_dies_before_it_is_asked_anew_is_an_error(
    server: ValkeyServer,
) -> None:
    async with proxied(server) as (store, proxy):
        lease = lease_on()
        await store.checkout(TIM, lease)
        server.ask("SCRIPT", "FLUSH")
        proxy.rule = cut(b"SCRIPT")
        with pytest.raises(CommitUnknown):
            await store.commit(record_of(), lease)
        written = record_of()
        await store.commit(written, lease)
        assert written == await peek(store)


async def test_following_takes_no_longer_than_the_operation_may(server: ValkeyServer) -> None:
    async def slow(command: list[bytes]) -> bytes | None:
        if command[0] == b"EVALSHA":
            await asyncio.get_running_loop().create_future()
        if command[0] != b"SET":
            return None
        await asyncio.sleep(3)
        return b"-ERR upstream failure\r\n"

    async with proxied(server, within=4) as (store, proxy):
        proxy.rule = slow
        started = time.monotonic()
        with pytest.raises(SessionStoreUnavailable, match="within 4 seconds"):
            await ended_within(5.5, store.checkout(TIM, lease_on()))  # not 4 more for what followed
        assert time.monotonic() - started > 3.9
        assert b"EVALSHA" in proxy.names()


# Who asked is cancelled.


@pytest.mark.parametrize("step", [b"SET", b"GET"])
async def test_a_checkout_whose_asker_has_gone_gives_its_lease_back(
    server: ValkeyServer, step: bytes
) -> None:
    async with proxied(server) as (store, proxy), counting_bot(session_store=store) as bot:
        turn = asyncio.ensure_future(bot.handle(event("tim", event_id="1")))

        async def cancel(command: list[bytes]) -> bytes | None:
            if command[0] == step:
                turn.cancel()
            return None

        proxy.rule = cancel
        with pytest.raises(asyncio.CancelledError):
            await turn
        await until(lambda: b"EVALSHA" in proxy.names())
        await until(lambda: server.ask("EXISTS", LEASE) == 0)


@pytest.mark.parametrize("steps", range(6))
async def test_a_turn_cancelled_at_any_step_leaves_no_lease(
    server: ValkeyServer, steps: int
) -> None:
    async with RedisSessionStore(server.url) as store, counting_bot(session_store=store) as bot:
        for number in range(20):
            turn = asyncio.ensure_future(bot.handle(event("tim", event_id=f"{number}")))
            for _ in range(steps):
                await asyncio.sleep(0)
            turn.cancel()
            await asyncio.wait([turn])
        assert await bot.handle(event("tim", event_id="last")) in Outcome
        await until(lambda: server.ask("EXISTS", LEASE) == 0)


async def test_what_follows_goes_on_when_who_asked_has_gone(server: ValkeyServer) -> None:
    async with proxied(server) as (store, proxy):
        lease = lease_on()
        await store.checkout(TIM, lease)
        server.ask("SCRIPT", "FLUSH")
        commit = store.commit(written := record_of(), lease)
        asker = asyncio.ensure_future(finish(commit))

        async def cancel(command: list[bytes]) -> bytes | None:
            if command[0] == b"SCRIPT":
                asker.cancel()
            return None

        proxy.rule = cancel
        with pytest.raises(asyncio.CancelledError):
            await asker
        await commit.rejoin()
        assert written == await peek(store)


# The store is closed meanwhile.


async def test_closing_lets_a_commit_load_its_script_again(server: ValkeyServer) -> None:
    async with proxied(server) as (store, proxy):
        lease = lease_on()
        await store.checkout(TIM, lease)
        server.ask("SCRIPT", "FLUSH")
        proxy.asked.clear()
        commit = store.commit(written := record_of(), lease)
        await store.close()
        await commit
        assert proxy.names() == [b"EVALSHA", b"SCRIPT", b"EVALSHA"]
        await store.init()
        assert written == await peek(store)


async def test_closing_lets_a_checkout_take_its_long_way(server: ValkeyServer) -> None:
    async with proxied(server) as (store, proxy):
        written = await put(store)
        lease = lease_on()
        await store.checkout(TIM, lease)
        server.ask("SCRIPT", "FLUSH")
        proxy.asked.clear()
        again = store.checkout(TIM, lease)
        await store.close()
        assert written == await again
        assert proxy.names() == [*SET_AND_GET, b"EVALSHA", b"SCRIPT", b"EVALSHA"]


async def test_closing_cut_short_answers_what_follows(server: ValkeyServer) -> None:
    async def hang(command: list[bytes]) -> bytes | None:
        if command[0] == b"SCRIPT":
            await asyncio.get_running_loop().create_future()
        return None

    async with proxied(server) as (store, proxy):
        lease = lease_on()
        await store.checkout(TIM, lease)
        server.ask("SCRIPT", "FLUSH")
        proxy.rule = hang
        commit = asyncio.ensure_future(finish(store.commit(record_of(), lease)))
        await until(lambda: b"SCRIPT" in proxy.names())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await store.close()
        with pytest.raises(CommitUnknown):
            await commit


# A slot moves.


async def test_a_slot_that_moves_between_the_two_commands_leaves_the_lease_ours(
    cluster: ValkeyCluster,
) -> None:
    source = cluster.keeper_of(KEY)
    target = next(each for each in cluster.servers if each is not source)

    async def move(command: list[bytes]) -> bytes | None:
        if command[0] == b"GET" and command[1] == KEY.encode() and not moved:
            moved.append(source.ask("GET", LEASE))
            cluster.move(KEY, target)
        return None

    moved: list[str] = []
    async with in_cluster(cluster, source) as (store, proxy):
        written = await put(store)
        proxy.rule = move
        lease = lease_on(version=written.version)
        assert written == await store.checkout(TIM, lease)
        assert moved == [resting(lease)]
        assert target.ask("GET", LEASE) == resting(lease)
        last = record_of()
        await store.commit(last, lease)
        assert last == await peek(store)
        assert target.ask("EXISTS", LEASE) == 0


@pytest.mark.parametrize("moving", [KEY, LEASE])
async def test_a_session_half_moved_between_the_two_commands_is_waited_for(
    cluster: ValkeyCluster, moving: str
) -> None:
    source = cluster.keeper_of(KEY)
    target = next(each for each in cluster.servers if each is not source)
    slot = source.ask("CLUSTER", "KEYSLOT", KEY)
    begun: list[str] = []

    async def begin(command: list[bytes]) -> bytes | None:
        if command[0] == b"GET" and command[1] == KEY.encode() and not begun:
            begun.append(source.ask("GET", LEASE))
            cluster.begin_move(KEY, target)
            source.ask("MIGRATE", "127.0.0.1", target.port, moving, 0, 5000)
        return None

    def finish_move() -> None:
        for name in source.ask("CLUSTER", "GETKEYSINSLOT", slot, 10):
            source.ask("MIGRATE", "127.0.0.1", target.port, name, 0, 5000)
        for server in (target, source):
            server.ask("CLUSTER", "SETSLOT", slot, "NODE", target.ask("CLUSTER", "MYID"))

    async with in_cluster(cluster, source) as (store, proxy):
        written = await put(store)
        proxy.rule = begin
        lease = lease_on(version=written.version)
        reading = asyncio.ensure_future(finish(store.checkout(TIM, lease)))
        if moving == KEY:  # the record is away, the lease is here
            await until(lambda: proxy.names().count(b"EVALSHA") > 3)
            assert not reading.done()
            await asyncio.to_thread(finish_move)
        assert written == await reading  # which was here when the lease had been taken
        if moving == LEASE:
            finish_move()
        assert begun == [resting(lease)]
        assert target.ask("GET", LEASE) == resting(lease)
        await store.commit(record_of(), lease)


async def test_closing_waits_for_a_session_that_is_half_moved(cluster: ValkeyCluster) -> None:
    source = cluster.keeper_of(KEY)
    target = next(each for each in cluster.servers if each is not source)
    async with RedisSessionStore(cluster.url) as store:
        written = await put(store)
        cluster.begin_move(KEY, target)
        reading = asyncio.ensure_future(finish(store.checkout(TIM, lease_on())))
        await until(lambda: source.refusals("TRYAGAIN") > 1)
        closing = asyncio.ensure_future(store.close())
        tried = source.refusals("TRYAGAIN")
        await until(lambda: source.refusals("TRYAGAIN") > tried + 1)
        assert not reading.done()
        assert not closing.done()
        await asyncio.to_thread(cluster.move, KEY, target)
        assert written == await reading
        await closing


async def test_what_could_not_be_answered_in_time_any_more_is_not_asked_again(
    cluster: ValkeyCluster,
) -> None:
    """It was surely not applied, and would be unknown if it were sent just before its end."""

    async def moving(command: list[bytes]) -> bytes | None:
        if command[0] != b"EVALSHA":
            return None
        if proxy.names().count(b"EVALSHA") > 1:
            await asyncio.sleep(1.95)
        return b"-TRYAGAIN Multiple keys request during rehashing of slot\r\n"

    async with in_cluster(cluster, cluster.keeper_of(KEY), within=2) as (store, proxy):
        lease = lease_on()
        await store.checkout(TIM, lease)
        proxy.rule = moving
        with pytest.raises((SessionStoreUnavailable, CommitUnknown)):
            await store.commit(record_of(), lease)
        assert proxy.names().count(b"EVALSHA") == 2


async def test_a_session_that_stays_half_moved_leaves_a_lease_known_by_its_token(
    cluster: ValkeyCluster,
) -> None:
    source = cluster.keeper_of(KEY)
    target = next(each for each in cluster.servers if each is not source)

    async def begin(command: list[bytes]) -> bytes | None:
        if command[0] == b"GET" and command[1] == KEY.encode() and not begun:
            begun.append("now")
            cluster.begin_move(KEY, target)
            source.ask("MIGRATE", "127.0.0.1", target.port, KEY, 0, 5000)
        return None

    begun: list[str] = []
    async with in_cluster(cluster, source, within=1.5) as (store, proxy):
        written = await put(store)
        proxy.rule = begin
        lease = lease_on(version=written.version)
        with pytest.raises(SessionStoreUnavailable, match="moving"):
            await store.checkout(TIM, lease)
        slot = source.ask("CLUSTER", "KEYSLOT", KEY)
        for name in source.ask("CLUSTER", "GETKEYSINSLOT", slot, 10):
            source.ask("MIGRATE", "127.0.0.1", target.port, name, 0, 5000)
        for server in (target, source):
            server.ask("CLUSTER", "SETSLOT", slot, "NODE", target.ask("CLUSTER", "MYID"))
        assert written == await store.checkout(TIM, lease)


async def test_many_sessions_are_counted_right_while_their_slots_move(
    cluster: ValkeyCluster,
) -> None:
    people, events = [f"user{number}" for number in range(12)], 30
    async with counting_bot(session_store=cluster.url) as bot:
        over = False

        async def talk(person: str) -> None:
            for number in range(events):
                assert await bot.handle(event(person, event_id=f"{number}")) is Outcome.COMMITTED

        async def move() -> int:
            moved = 0
            while not over:
                for person in people:
                    key = f"barback:{{test:{person}}}"
                    source = await asyncio.to_thread(cluster.keeper_of, key)
                    target = next(each for each in cluster.servers if each is not source)
                    await asyncio.to_thread(cluster.move, key, target)
                    moved += 1
            return moved

        moving = asyncio.ensure_future(move())
        await asyncio.gather(*map(talk, people))
        over = True
        assert await moving > 0
        for person in people:
            async with bot.conversation(f"test:{person}") as context:
                assert context.state["n"] == events


# Helpers.


@asynccontextmanager
async def in_cluster(
    cluster: ValkeyCluster, through: ValkeyServer, within: float = 5.0
) -> AsyncIterator[tuple[RedisSessionStore, Between]]:
    """A store on a cluster of which one server is reached through a proxy."""
    async with between(through.port) as proxy:

        def remap(address: tuple[str, int]) -> tuple[str, int]:
            host, port = address
            return host, proxy.port if port == through.port else port

        first = cluster.servers[0]
        async with redis.asyncio.RedisCluster(
            host="127.0.0.1", port=first.port, address_remap=remap
        ) as client:
            async with RedisSessionStore(client, timeout=within) as store:
                proxy.asked.clear()
                yield store, proxy


def once(name: bytes, answer: bytes) -> Callable[[list[bytes]], Awaitable[bytes | None]]:
    """The first command of this name is answered so, and does not go on."""
    answered: list[bytes] = []

    async def rule(command: list[bytes]) -> bytes | None:
        if command[0] != name or answered:
            return None
        answered.append(name)
        return answer

    return rule


def cut(name: bytes) -> Callable[[list[bytes]], Awaitable[bytes | None]]:
    """The connection is cut at the first command of this name."""
    done: list[bytes] = []

    async def rule(command: list[bytes]) -> bytes | None:
        if command[0] == name and not done:
            done.append(name)
            raise CutOff
        return None

    return rule


async def finish(operation: Awaitable[Record | None]) -> Record | None:
    return await operation


def resting(lease: Lease) -> str:
    """The value of a lease's key."""
    return f"{lease.token}:{lease.term * 1000:.0f}"


def blocked_until(ready: Callable[[], bool]) -> None:
    """Wait while the event loop stands still."""
    give_up_at = time.monotonic() + 10
    while not ready():
        assert time.monotonic() < give_up_at


async def until(ready: Callable[[], Any]) -> None:
    async with asyncio.timeout(20):
        while not ready():
            await asyncio.sleep(0.01)
