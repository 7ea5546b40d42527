"""Sessions in Redis and Valkey: one server, a Cluster, Sentinels."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import ssl
import subprocess
import sys
import time
import traceback
import uuid
import warnings
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis.asyncio
import redis.asyncio.sentinel
import valkey.asyncio
from redis.crc import key_slot

from barback.bot import Bot
from barback.errors import (
    CommitUnknown,
    ConfigurationError,
    LeaseLost,
    NotDone,
    SessionStoreUnavailable,
    SessionUnreadable,
)
from barback.record import Record
from barback.stores.base import GRACE, LeasedStore, SessionStore
from barback.stores.redis import RedisSessionStore
from barback.stores.redis.commands import pack
from barback.stores.url import open_store
from barback.testing.contract import ListedStoreContract
from barback.testing.contract_sessions import HOSTILE_IDS
from barback.testing.contract_tools import TIM, lease_on, now, peek, put, record_of
from tests.slack import SLACK, ended_within
from tests.valkey_servers import ValkeyCluster, ValkeySentinel, ValkeyServer

PASSWORD = "s3cr3t%/#"  # noqa: S105 - of servers that live as long as a test
QUOTED = "s3cr3t%25%2F%23"


class RedisContract(ListedStoreContract):
    async def damage(self, store: SessionStore | LeasedStore, session_id: str) -> None:
        """Cut the record off in the middle."""
        assert isinstance(store, RedisSessionStore)
        key, _ = store._asking.keys(session_id)
        servers = store._asking.servers
        value = await servers.ask(key, pack("GET", key))
        await servers.ask(key, pack("SET", key, value[: len(value) // 2]))


class TestOneServer(RedisContract):
    @pytest.fixture
    def store(self, redis_url: str) -> RedisSessionStore:
        return RedisSessionStore(redis_url, prefix=fresh())


class TestCluster(RedisContract):
    @pytest.fixture
    def store(self, redis_cluster_url: str) -> RedisSessionStore:
        return RedisSessionStore(redis_cluster_url, prefix=fresh())


class TestSentinel(RedisContract):
    @pytest.fixture
    def store(self, redis_sentinel_url: str) -> RedisSessionStore:
        return RedisSessionStore(redis_sentinel_url, prefix=fresh())


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    """A server with a password; no test kills it."""
    with ValkeyServer(tmp_path_factory.mktemp("locked"), password=PASSWORD) as server:
        yield server


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ValkeyServer]:
    """A server of the test's own."""
    with ValkeyServer(tmp_path) as own:
        yield own


# Opening.


async def test_a_url_names_the_server_the_password_and_the_database(locked: ValkeyServer) -> None:
    at = f"127.0.0.1:{locked.port}"
    for url in (
        f"redis://:{QUOTED}@{at}/4",
        f"valkey://default:{QUOTED}@{at}/4",
        f"redis://:{QUOTED}@{at}?db=4",
        f"unix://:{QUOTED}@{locked.unix_socket}?db=4",
        f"redis+unix://:{QUOTED}@{locked.unix_socket}?db=4",
        f"valkey+unix://:{QUOTED}@{locked.unix_socket}?db=4&client_name=bot",
    ):
        for store in (RedisSessionStore(url, prefix=fresh()), opened_by_url(url)):
            assert await keys_of(store, locked) == (1, 4)


async def test_settings_may_be_given_one_by_one(locked: ValkeyServer) -> None:
    port, host = locked.port, "127.0.0.1"
    for store in (
        RedisSessionStore(port, password=PASSWORD, db=4, prefix=fresh()),
        RedisSessionStore(host=host, port=port, password=PASSWORD, db=4, prefix=fresh()),
        RedisSessionStore(
            "redis://nowhere/1",
            host=host,
            port=port,
            username="default",
            password=PASSWORD,
            db=4,
            prefix=fresh(),
        ),
    ):
        assert await keys_of(store, locked) == (1, 4)


def test_without_settings_it_is_the_server_of_this_machine() -> None:
    assert repr(RedisSessionStore()) == "<RedisSessionStore localhost:6379>"
    assert repr(RedisSessionStore(6380)) == "<RedisSessionStore localhost:6380>"


def test_options_are_parameters_of_the_url() -> None:
    store = open_store(
        "redis://host/2?prefix=b%3A&expires_in=30&timeout=1.5&connect_timeout=2&client_name=bot"
    )
    assert isinstance(store, RedisSessionStore)
    assert store.expires_in is not None
    assert (store.prefix, store.expires_in.total_seconds(), store._timeout) == ("b:", 1800, 1.5)
    assert store._target.settings == {"host": "host", "db": 2, "client_name": "bot"}
    assert open_store("redis://host?expires_in=never").expires_in is None


@pytest.mark.parametrize("kind", ["redis", "valkey", "rediss", "valkeys"])
@pytest.mark.parametrize("servers", ["+cluster://h1,[::1]:7001", "+sentinel://h1,[::1]:7001/bots"])
def test_a_url_may_name_several_hosts(kind: str, servers: str) -> None:
    store = open_store(kind + servers.replace("://", f"://me:{QUOTED}@"))
    assert isinstance(store, RedisSessionStore)
    port = 6379 if "cluster" in servers else 26379
    assert store._target.addresses == [("h1", port), ("::1", 7001)]
    assert store._target.settings == {"username": "me", "password": PASSWORD}
    assert store._target.connection_class.__name__.startswith("SSL") == (
        kind in {"rediss", "valkeys"}
    )


def test_sentinels_have_credentials_of_their_own() -> None:
    url = f"redis+sentinel://h/bots/3?sentinel_username=me&sentinel_password={QUOTED}"
    target = RedisSessionStore(url)._target
    assert target.sentinel_settings == {"username": "me", "password": PASSWORD}
    assert (target.service, target.settings) == ("bots", {"db": 3})


@pytest.mark.parametrize(
    "target",
    [
        f"redis://:{PASSWORD}@host/0",
        f"redis://:{PASSWORD}/@host",
        f"redis://:a?{PASSWORD}@host",
        "redis://host/s3cr3t",
        "redis://host/1/2",
        "redis://:123#s3cr3t@host",
        "redis://host?db=s3cr3t",
        "redis://host?shoe_size=s3cr3t",
        "redis://host?ssl_cert_reqs=none",
        "redis://host?connection_class=s3cr3t",
        "rediss://host?ssl_cert_reqs=sometimes",
        "redis+cluster://:s3cr3t@host:port",
        "redis+cluster://",
        "redis+sentinel://host:1",
        "redis+sentinel://host:1/",
        "redis+sentinel://host:1/bots/s3cr3t",
        "redis+carrier://host",
        "http://host",
        "me:s3cr3t@host",
        "127.0.0.1:6380",
        "unix://run/redis.sock",
        "redis+unix://:s3cr3t@run/redis.sock",
        "redis://host:99999",
        0,
        99_999,
        True,
        None,
        4.5,
        object,
    ],
    ids=str,
)
def test_a_target_that_makes_no_sense_is_refused_without_telling_secrets(target: object) -> None:
    with pytest.raises(ConfigurationError) as caught:
        RedisSessionStore(target)
    assert "s3cr3t" not in shown(caught.value)


@pytest.mark.parametrize(
    "options",
    [
        {"prefix": "a{b"},
        {"prefix": "a}b"},
        {"prefix": None},
        {"timeout": 0},
        {"timeout": "5"},
        {"connect_timeout": -1},
        {"connect_timeout": float("inf")},
        {"expires_in": 0},
        {"target": "redis+cluster://h", "host": "other"},
    ],
    ids=str,
)
def test_an_option_that_makes_no_sense_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        RedisSessionStore(**options)


async def test_tls_is_spoken_and_certificates_are_checked(redis_url: str, tmp_path: Path) -> None:
    certificate, key = certificate_for_localhost(tmp_path)
    async with tls_in_front_of(redis_url, certificate, key) as port:
        url = f"rediss://localhost:{port}"
        async with RedisSessionStore(f"{url}?ssl_ca_certs={certificate}", prefix=fresh()) as store:
            written = await put(store, state={"a": "é" * 100_000})
            assert written == await peek(store)
        with pytest.raises(SessionStoreUnavailable):
            await RedisSessionStore(url, connect_timeout=5).init()
        with pytest.raises(SessionStoreUnavailable):  # without TLS
            await RedisSessionStore(url.replace("rediss", "redis"), connect_timeout=0.3).init()


async def test_a_server_that_is_not_there_is_named_at_once() -> None:
    for url in ("redis://me:s3cr3t@127.0.0.1:1", "redis+cluster://me:s3cr3t@127.0.0.1:1"):
        with pytest.raises(SessionStoreUnavailable, match=r"127\.0\.0\.1:1") as caught:
            await RedisSessionStore(url).init()
        assert caught.value.__cause__ is not None
        assert "s3cr3t" not in shown(caught.value)
    sentinel = "redis+sentinel://me:s3cr3t@127.0.0.1:1/bots"
    with pytest.raises(SessionStoreUnavailable, match=r"bots by 127\.0\.0\.1:1") as caught:
        await RedisSessionStore(sentinel).init()
    assert "s3cr3t" not in shown(caught.value)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("redis://127.0.0.1:1", "the connection was refused"),
        ("redis://no.such.host.invalid", "no such host is known"),
        ("unix:///no/such/redis.sock", "there is no such socket"),
        ("redis://127.0.0.1:{port}/99", "it has no database of that number"),
    ],
)
async def test_why_there_is_no_connection_is_said(url: str, why: str, redis_url: str) -> None:
    port = urlsplit(redis_url).port
    with pytest.raises(SessionStoreUnavailable, match=why):
        await RedisSessionStore(url.format(port=port)).init()


async def test_a_wrong_password_is_said_and_not_shown(locked: ValkeyServer) -> None:
    for password in ("wr0ng", None):
        store = RedisSessionStore(locked.port, host="127.0.0.1", password=password)
        with pytest.raises(
            SessionStoreUnavailable, match=f"{locked.port}: it does not accept the user"
        ) as caught:
            await store.init()
        assert "wr0ng" not in shown(caught.value) + repr(store)


async def test_a_server_that_is_no_cluster_is_refused_as_one(redis_url: str) -> None:
    with pytest.raises(SessionStoreUnavailable, match="no cluster"):
        await RedisSessionStore(redis_url.replace("redis:", "redis+cluster:")).init()


async def test_sentinels_that_do_not_know_the_service_are_no_help(redis_sentinel_url: str) -> None:
    with pytest.raises(SessionStoreUnavailable, match="other by"):
        await RedisSessionStore(redis_sentinel_url.replace("/bots", "/other")).init()


async def test_what_sentinels_call_primary_must_be_one(tmp_path: Path) -> None:
    with ValkeySentinel(tmp_path) as sentinel:
        sentinel.sentinel.ask("SENTINEL", "MONITOR", "wrong", "127.0.0.1", sentinel.replica.port, 1)
        url = sentinel.url.replace("/bots", "/wrong")
        with pytest.raises(SessionStoreUnavailable, match="wrong by"):
            await RedisSessionStore(url).init()


async def test_a_server_that_permits_no_scripts_is_refused_when_opened(
    server: ValkeyServer,
) -> None:
    server.ask("ACL", "SETUSER", "default", "-script")
    with pytest.raises(SessionStoreUnavailable, match=f"{server.port} does not permit"):
        await RedisSessionStore(server.port).init()


@pytest.mark.parametrize("command", ["get", "getrange", "set", "del", "pttl"])
async def test_a_user_that_lacks_a_command_of_the_scripts_is_refused_when_opened(
    server: ValkeyServer, command: str
) -> None:
    server.ask("ACL", "SETUSER", "default", f"-{command}")
    with pytest.raises(SessionStoreUnavailable, match="does not permit") as caught:
        await RedisSessionStore(server.port).init()
    assert command.upper() in str(caught.value.__cause__)


COMMANDS = ["evalsha", "script|load", "get", "getrange", "set", "del", "pttl", "scan"]
IN_A_CLUSTER = ["cluster|slots", "cluster|nodes", "asking"]


@pytest.mark.parametrize("commands", [COMMANDS, COMMANDS + IN_A_CLUSTER], ids=["one", "cluster"])
async def test_a_user_needs_no_commands_but_those_that_are_told(
    tmp_path: Path, commands: list[str]
) -> None:
    assert all(f"`{command}`" in (RedisSessionStore.__doc__ or "") for command in commands)
    user = ["me", "on", f">{PASSWORD}", "~bots:*", *(f"+{command}" for command in commands)]
    opened = ValkeyServer(tmp_path) if commands is COMMANDS else ValkeyCluster(tmp_path)
    with opened as kept:
        for server in kept.servers if isinstance(kept, ValkeyCluster) else [kept]:
            server.ask("ACL", "SETUSER", *user)
        url = kept.url.replace("://", f"://me:{QUOTED}@")
        async with RedisSessionStore(url, prefix="bots:") as store:
            written = await put(store)
            assert [written] == [record async for record in store.all()]
            lease = lease_on(version=written.version)
            assert written == await store.checkout(TIM, lease)
            assert await store.renew([lease]) == []
            await store.commit(record_of(), lease, keep=True)
            await store.destroy(TIM, lease)
            await store.destroy(TIM, None)
            assert await peek(store) is None
        with pytest.raises(SessionStoreUnavailable, match="does not permit"):
            await RedisSessionStore(url, prefix="barback:").init()


async def test_a_sentinel_that_is_away_is_passed_over(redis_sentinel_url: str) -> None:
    url = redis_sentinel_url.replace("://", "://127.0.0.1:1,")
    async with RedisSessionStore(url, prefix=fresh()) as store:
        assert await peek(store) is None


async def test_a_cluster_is_found_by_any_of_its_hosts(redis_cluster_url: str) -> None:
    url = redis_cluster_url.replace("://", "://127.0.0.1:1,")
    async with RedisSessionStore(url, prefix=fresh()) as store:
        assert await peek(store) is None


def test_a_store_serves_one_event_loop_after_another(redis_url: str) -> None:
    store = RedisSessionStore(redis_url, prefix=fresh())

    async def read_and_write() -> Record | None:
        async with store:
            before = await peek(store)
            await put(store)
            return before

    assert asyncio.run(read_and_write()) is None
    assert asyncio.run(read_and_write()) is not None


@pytest.mark.parametrize("kind", ["redis_url", "redis_cluster_url"])
def test_on_another_event_loop_it_is_refused_until_it_is_opened_there(
    kind: str, request: pytest.FixtureRequest
) -> None:
    store = RedisSessionStore(request.getfixturevalue(kind), prefix=fresh())

    async def leave_open() -> None:
        await store.init()
        await put(store)
        store.release("test:tim", lease_on("test:tim"))  # under way when the loop ends

    async def refused() -> None:
        lease = lease_on("test:tim")
        for ask in (
            lambda: store.checkout("test:tim", lease),
            lambda: store.commit(record_of("test:tim"), lease),
            lambda: store.release("test:tim", lease),
            lambda: store.renew([lease]),
            lambda: store.destroy("test:tim", None),
            lambda: store.due(0, 1),
        ):
            with pytest.raises(SessionStoreUnavailable, match="another event loop"):
                await ask()

    async def used() -> None:
        assert await store.init() is store
        assert await peek(store) is not None

    async def closed() -> None:
        async with asyncio.timeout(10):
            await store.close()
        with pytest.raises(SessionStoreUnavailable, match="is closed"):
            await store.due(0, 1)

    asyncio.run(leave_open())
    for step in (refused, used, closed):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)  # connections of loops that ended
            asyncio.run(step())
            gc.collect()


async def test_to_open_what_is_open_changes_nothing(server: ValkeyServer) -> None:
    async with RedisSessionStore(server.url) as store:
        await store.init()
        assert await peek(store) is None
        with redis.Redis(port=server.port) as client:
            assert client.info("clients")["connected_clients"] == 2  # the store's, and this one


def test_a_forked_child_writes_nothing_to_its_parents_connection(server: ValkeyServer) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORKED, server.url],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines() == ["child: refused", "child: counted", "parent: 101"]


FORKED = """\
import asyncio, os, sys

from barback import Bot, Event
from barback.errors import SessionStoreUnavailable
from barback.stores.redis import RedisSessionStore
from barback.testing.contract_tools import peek, put

store = RedisSessionStore(sys.argv[1])


async def in_child():
    try:
        await peek(store)
    except SessionStoreUnavailable as error:
        assert "fork" in str(error), error
        print("child: refused", flush=True)
    await store.close()
    async with store:
        await put(store, "test:child")
        assert (await peek(store, "test:child")) is not None
    print("child: counted", flush=True)


async def in_parent():
    async with store:
        await put(store)
        child = os.fork()
        if child == 0:  # it leaves by `_exit`, as multiprocessing does: the loop is its parent's
            try:
                asyncio.run(in_child())
            except BaseException as error:
                print("child:", repr(error), flush=True)
                os._exit(1)
            os._exit(0)
        answers = [await peek(store) for _ in range(100)]
        _, status = await asyncio.to_thread(os.waitpid, child, 0)
        answers.append(await peek(store))
        print("parent:", sum(answer is not None for answer in answers), flush=True)
        assert status == 0, status


asyncio.run(in_parent())
"""


# A ready client.


@pytest.mark.parametrize("decode", [True, False])
async def test_a_ready_client_is_used_and_left_open(redis_url: str, decode: bool) -> None:  # noqa: FBT001
    async with (
        redis.asyncio.Redis.from_url(redis_url, decode_responses=decode) as of_redis,
        valkey.asyncio.Valkey.from_url(redis_url, decode_responses=decode) as of_valkey,
    ):
        for client in (of_redis, of_valkey):
            assert await client.ping()
            async with RedisSessionStore(client, prefix=fresh()) as store:
                written = await put(store)
                assert [written] == [record async for record in store.all()]
                assert await client.ping()
            assert len(client.connection_pool._available_connections) == 1
            assert await client.ping()


async def test_a_ready_client_keeps_its_settings(locked: ValkeyServer) -> None:
    async with redis.asyncio.Redis(
        unix_socket_path=str(locked.unix_socket), password=PASSWORD, db=4, protocol=3
    ) as client:
        store = RedisSessionStore(client, prefix=fresh())
        assert await keys_of(store, locked) == (1, 4)
        assert PASSWORD not in repr(store)
        with pytest.raises(ConfigurationError):
            RedisSessionStore(client, db=5)


async def test_a_ready_client_of_a_cluster_is_used_and_left_open(redis_cluster_url: str) -> None:
    host, _, port = redis_cluster_url.rpartition("/")[2].partition(",")[0].partition(":")
    remapped = set()

    def remap(address: tuple[str, int]) -> tuple[str, int]:
        remapped.add(address)
        return address

    async with (
        redis.asyncio.RedisCluster(host=host, port=int(port), address_remap=remap) as of_redis,
        valkey.asyncio.ValkeyCluster(host=host, port=int(port)) as of_valkey,
    ):
        for client in (of_redis, of_valkey):
            remapped.clear()
            async with RedisSessionStore(client, prefix=fresh()) as store:
                assert len(remapped) == (3 if client is of_redis else 0)
                written = [await put(store, f"test:{n}") for n in range(20)]
                listed = [record async for record in store.all()]
            assert {record.id for record in written} == {record.id for record in listed}
            assert await client.ping()


async def test_a_ready_client_of_sentinels_is_used_and_left_open(redis_sentinel_url: str) -> None:
    port = int(redis_sentinel_url.rpartition(":")[2].partition("/")[0])
    async with redis.asyncio.sentinel.Sentinel(  # type: ignore[no-untyped-call]
        [("127.0.0.1", port)]
    ) as sentinels:
        async with sentinels.master_for("bots") as client:
            async with RedisSessionStore(client, prefix=fresh()) as store:
                written = await put(store)
                assert written == await peek(store)
            assert await client.ping()


def test_a_blocking_client_is_refused(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        with pytest.raises(ConfigurationError, match="blocking"):
            RedisSessionStore(client)


# Keys.


def test_the_keys_of_a_session_are_readable_distinct_and_in_one_slot() -> None:
    store = RedisSessionStore(prefix="bots:")
    assert store._asking.keys("line:U4af") == (b"bots:{line:U4af}", b"bots:{line:U4af}:lease")
    assert store._asking.keys("test:a}b{%")[0] == b"bots:{test:a%7Db%7B%25}"
    keys = [store._asking.keys(session_id) for session_id in HOSTILE_IDS]
    assert len({key for pair in keys for key in pair}) == 2 * len(HOSTILE_IDS)
    for record, lease in keys:
        tag = record[record.index(b"{") + 1 : -1]
        assert {key_slot(record), key_slot(lease)} == {key_slot(tag)}
    slots = {key_slot(record) for record, _ in keys}
    assert len(slots) > len(HOSTILE_IDS) * 0.9  # and a stranger does not choose it


async def test_stores_of_different_prefixes_never_meet(redis_url: str) -> None:
    own = fresh()
    prefixes = [own, f"{own}*", f"{own}?", f"{own}[a]", f"{own}a", f"{own}\\", f"{own}é:"]
    stores = [RedisSessionStore(redis_url, prefix=prefix) for prefix in prefixes]
    for number, store in enumerate(stores):
        async with store:
            await put(store, state={"n": number})
    for number, store in enumerate(stores):
        async with store:
            listed = [record async for record in store.all()]
            assert [record_of(state={"n": number}).state] == [record.state for record in listed]


async def test_a_foreign_value_under_our_key_is_unreadable(server: ValkeyServer) -> None:
    async with RedisSessionStore(server.url) as store:
        await put(store, "test:other")
        server.ask("HSET", "barback:{test:tim}", "a", "b")
        server.ask("SET", "barback:{test:zoe}", "")
        server.ask("SET", "barback:{test:%%}", "0" * 16 + "{}")
        for session_id in (TIM, "test:zoe"):
            for _ in range(2):  # and the first time left no lease behind
                with pytest.raises(SessionUnreadable):
                    await peek(store, session_id)
        listed = []
        with pytest.raises(SessionUnreadable):
            listed.extend([record.id async for record in store.all()])
        listed.extend([record.id async for record in store.all("test:o")])
        assert listed == ["test:other"]
        await store.destroy(TIM, None)
        assert await peek(store, TIM) is None


async def test_a_value_whose_version_was_changed_by_hand_is_unreadable(
    server: ValkeyServer,
) -> None:
    async with RedisSessionStore(server.url) as store:
        await put(store)
        server.ask("SETRANGE", "barback:{test:tim}", 0, "f" * 16)
        with pytest.raises(SessionUnreadable):
            await peek(store)


# Trips.


async def test_a_turn_is_two_commands(server: ValkeyServer) -> None:
    async with RedisSessionStore(server.url) as store, Bot(session_store=store) as bot:
        before = server.calls()
        async with reads_of(server) as reads, bot.conversation(TIM) as context:
            context.set_state(n=1)
        after = server.calls()
        assert reads == [2]
        told = {name: calls - before.get(name, 0) for name, calls in after.items()}
        assert (told["evalsha"], told["set"], told["get"]) == (1, 2, 2)  # one of each in the script
        assert "eval" not in after


async def test_turns_of_one_step_travel_together(server: ValkeyServer) -> None:
    async with RedisSessionStore(server.url) as store, Bot(session_store=store) as bot:
        all_here = asyncio.Barrier(64)

        async def turn(number: int) -> None:
            async with bot.conversation(f"test:{number}") as context:
                context.set_state(n=number)
                await all_here.wait()

        before = server.calls()
        async with reads_of(server) as reads:
            await asyncio.gather(*map(turn, range(64)))
        assert server.calls()["evalsha"] - before.get("evalsha", 0) == 64
        # Two writes each for 64 checkouts and for 64 commits, of which the first leaves at once;
        # the server reads 16 kB at a time.
        assert reads[0] <= 8


async def test_renewals_travel_together(server: ValkeyServer) -> None:
    async with RedisSessionStore(server.url) as store:
        leases = [lease_on(f"test:{number}") for number in range(64)]
        for lease in leases:
            await store.checkout(lease.session_id, lease)
        async with reads_of(server) as reads:
            assert await store.renew(leases) == []
        # The first finds the connection idle, the rest goes together. A late server reads both.
        assert reads[0] <= 2


async def test_connections_are_two_whatever_is_asked(server: ValkeyServer) -> None:
    async with RedisSessionStore(f"{server.url}?client_name=ours") as store:
        assert ours(server) == 1
        await asyncio.gather(*(put(store, f"test:{number}") for number in range(500)))
        assert len([record async for record in store.all()]) == 500
        assert ours(server) == 2
        listed = server.ask("CLIENT", "LIST")  # RESP2 has no messages that nobody asked for
        assert all(" resp=2" in line for line in listed.splitlines() if "name=ours" in line)
    assert ours(server) == 0


async def test_scripts_that_the_server_has_forgotten_are_loaded_again(server: ValkeyServer) -> None:
    async with RedisSessionStore(server.url) as store:
        lease = lease_on()
        server.ask("SCRIPT", "FLUSH")
        assert await store.checkout(TIM, lease) is None
        server.ask("SCRIPT", "FLUSH")
        assert await store.renew([lease]) == []
        server.ask("SCRIPT", "FLUSH")
        written = record_of()
        await store.commit(written, lease, keep=True)
        server.ask("SCRIPT", "FLUSH")
        await store.release(TIM, lease)
        assert written == await peek(store)
        await store.checkout(TIM, lease)
        server.ask("SCRIPT", "FLUSH")
        await store.destroy(TIM, lease)
        assert await peek(store) is None


# Listing.


async def test_a_listing_that_loses_its_connection_between_two_pages_says_so(
    server: ValkeyServer,
) -> None:
    async with RedisSessionStore(server.url) as store:
        await asyncio.gather(*(put(store, f"test:{number}") for number in range(1200)))
        listing = store.all()
        listed = [await anext(listing)]
        await asyncio.to_thread(server.kill)
        link = next(iter(await store._asking.servers.listed()))
        await until(lambda: not link.connected)
        server.start()
        with pytest.raises(SessionStoreUnavailable, match="lost its connection"):
            listed.extend([record async for record in listing])
        assert len(listed) < 1200
        assert len([record async for record in store.all()]) == 1200


# Time to live.


async def test_records_outlive_their_expiry_by_a_day(server: ValkeyServer) -> None:
    async with RedisSessionStore(server.url) as store:
        for name, expires_at, expected in (
            ("later", now() + 60_000, 60_000 + GRACE),
            ("expired", now() - 60_000, GRACE),
            ("long-ago", 1, GRACE),
        ):
            await put(store, f"test:{name}", expires_at=expires_at)
            left = server.ask("PTTL", f"barback:{{test:{name}}}")
            assert expected - 10_000 < left <= expected
        await put(store, "test:never", expires_at=None)
        await put(store, "test:farthest", expires_at=2**63 - 1)
        assert server.ask("PTTL", "barback:{test:never}") == -1
        assert server.ask("PTTL", "barback:{test:farthest}") > 10**15
        await put(store, "test:later", expires_at=None)
        assert server.ask("PTTL", "barback:{test:later}") == -1


async def test_leases_end_by_the_servers_clock(server: ValkeyServer) -> None:
    async with RedisSessionStore(server.url) as store:
        lease = lease_on(term=30)
        await store.checkout(TIM, lease)
        key = "barback:{test:tim}:lease"
        assert server.ask("GET", key) == f"{lease.token}:30000"
        assert 20_000 < server.ask("PTTL", key) <= 30_000
        lease.term = 90
        await store.renew([lease])
        assert 80_000 < server.ask("PTTL", key) <= 90_000
        assert server.ask("GET", key) == f"{lease.token}:90000"
        lease.term = 120
        await store.commit(record_of(), lease, keep=True)
        assert 110_000 < server.ask("PTTL", key) <= 120_000
        assert server.ask("GET", key) == f"{lease.token}:120000"
        await store.release(TIM, lease)
        assert server.ask("EXISTS", key) == 0
        assert store.sweeps_itself


# Outages.


async def test_a_restart_between_turns_loses_nothing(server: ValkeyServer) -> None:
    async with RedisSessionStore(server.url) as store:
        written = await put(store)
        server.kill()
        for _ in range(2):
            with pytest.raises(SessionStoreUnavailable, match=str(server.port)):
                await peek(store)
            with pytest.raises(SessionStoreUnavailable):
                await store.commit(record_of(), lease_on())
            with pytest.raises(SessionStoreUnavailable):
                [record async for record in store.all()]
        server.start()
        assert written == await peek(store)
        assert [written] == [record async for record in store.all()]


async def test_a_restart_within_a_turn_loses_nothing(server: ValkeyServer) -> None:
    async with RedisSessionStore(server.url) as store:
        lease = lease_on()
        await store.checkout(TIM, lease)
        await asyncio.to_thread(server.kill)
        server.start()
        written = record_of()
        await store.commit(written, lease)  # the lease was in the append-only file too
        assert written == await peek(store)


async def test_a_bot_goes_on_after_a_restart(server: ValkeyServer) -> None:
    async with RedisSessionStore(server.url) as store, Bot(session_store=store) as bot:
        for expected in range(3):
            async with bot.conversation(TIM) as context:
                assert context.state.get("n", 0) == expected
                context.set_state(n=expected + 1)
            server.kill()
            with pytest.raises(NotDone):
                async with bot.conversation(TIM):
                    pass
            server.start()


async def test_a_server_that_does_not_answer_is_given_up_in_time(server: ValkeyServer) -> None:
    async with RedisSessionStore(server.url, timeout=1, connect_timeout=1) as store:
        written = await put(store)
        lease = lease_on("test:other")
        await store.checkout("test:other", lease)
        os.kill(server.pid, signal.SIGSTOP)
        started = time.monotonic()
        outcomes = await asyncio.gather(
            peek(store, "test:third"),
            store.commit(record_of("test:other"), lease),
            store.destroy("test:fourth", None),
            store.release("test:fifth", lease),
            store.renew([lease]),
            return_exceptions=True,
        )
        assert time.monotonic() - started < SLACK
        unavailable = SessionStoreUnavailable
        expected = [unavailable, CommitUnknown, CommitUnknown, unavailable, unavailable]
        assert expected == [type(outcome) for outcome in outcomes]
        causes = [outcome.__cause__ for outcome in outcomes if isinstance(outcome, Exception)]
        assert all(isinstance(cause, TimeoutError) for cause in causes)
        with pytest.raises(SessionStoreUnavailable):  # the kernel accepts, but nobody answers
            await peek(store)
        os.kill(server.pid, signal.SIGCONT)
        assert written == await recovered(store)


async def test_a_commit_without_an_answer_is_not_sent_again(server: ValkeyServer) -> None:
    async with RedisSessionStore(server.url, timeout=1) as store:
        lease = lease_on()
        await store.checkout(TIM, lease)
        before = server.calls()["evalsha"]
        server.ask("CLIENT", "PAUSE", 3000, "ALL")
        with pytest.raises(CommitUnknown):
            await store.commit(record_of(), lease)
        await asyncio.to_thread(server.ask, "PING")  # it answers when the pause is over
        assert server.calls()["evalsha"] - before <= 1
        lease.version = None
        record = await seen(store, TIM)
        if record is None:  # the server threw away what came over a connection that was closed
            await store.commit(record_of(), lease)
        assert server.calls()["evalsha"] - before <= 3


async def test_a_connection_that_is_cut_fails_what_was_sent_and_no_more(
    server: ValkeyServer,
) -> None:
    async with RedisSessionStore(server.url) as store:
        lease = lease_on()
        await store.checkout(TIM, lease)
        os.kill(server.pid, signal.SIGSTOP)
        commit = asyncio.ensure_future(store.commit(record_of(), lease))
        read = asyncio.ensure_future(peek(store, "test:other"))
        await until(lambda: bool(store._asking.servers._turns._wire.sent))  # type: ignore[attr-defined]
        server.kill()
        with pytest.raises(CommitUnknown):
            await commit
        with pytest.raises(SessionStoreUnavailable):
            await read
        server.start()
        assert await peek(store, "test:other") is None


async def test_closing_answers_what_is_under_way(server: ValkeyServer) -> None:
    store = await RedisSessionStore(server.url, timeout=2).init()
    checkouts = [
        asyncio.ensure_future(store.checkout(f"test:{number}", lease_on(f"test:{number}")))
        for number in range(100)
    ]
    await asyncio.sleep(0)
    await store.close()
    assert await asyncio.gather(*checkouts) == [None] * 100
    with pytest.raises(SessionStoreUnavailable, match="closed"):
        await peek(store)
    await store.close()  # once more is harmless
    await store.init()
    os.kill(server.pid, signal.SIGSTOP)
    commit = asyncio.ensure_future(store.commit(record_of(), lease_on()))
    await asyncio.sleep(0)
    await store.close()
    with pytest.raises(CommitUnknown):
        await commit
    os.kill(server.pid, signal.SIGCONT)


async def test_closing_lets_an_operation_load_its_script_again(server: ValkeyServer) -> None:
    store = await RedisSessionStore(server.url).init()
    server.ask("SCRIPT", "FLUSH")
    checkout = asyncio.ensure_future(store.checkout(TIM, lease_on()))
    await asyncio.sleep(0)
    await store.close()
    assert await checkout is None


@pytest.mark.parametrize(("denied", "keep"), [("-del", False), ("-del", True)])
async def test_a_commit_that_was_written_is_never_called_refused(
    server: ValkeyServer,
    denied: str,
    keep: bool,  # noqa: FBT001
) -> None:
    async with RedisSessionStore(server.url) as store:
        lease = lease_on(term=30)
        await store.checkout(TIM, lease)
        server.ask("ACL", "SETUSER", "default", denied)
        written = record_of()
        lease.term = 90
        await store.commit(written, lease, keep=keep)
        assert written == await seen(store, TIM)
        left = server.ask("PTTL", "barback:{test:tim}:lease")
        assert (80_000 < left <= 90_000) if keep else (0 < left <= 30_000)  # it ends by itself


async def test_a_server_that_refuses_has_surely_written_nothing(server: ValkeyServer) -> None:
    async with RedisSessionStore(server.url) as store:
        lease = lease_on()
        await store.checkout(TIM, lease)
        server.ask("CONFIG", "SET", "maxmemory", 1)
        with pytest.raises(SessionStoreUnavailable, match="out of memory") as caught:
            await store.commit(record_of(), lease)
        assert "OOM" in str(caught.value.__cause__)
        server.ask("CONFIG", "SET", "maxmemory", 0)
        server.ask("CONFIG", "SET", "min-replicas-to-write", 1)
        with pytest.raises(SessionStoreUnavailable, match="too few replicas"):
            await store.commit(record_of(), lease)
        server.ask("CONFIG", "SET", "min-replicas-to-write", 0)
        server.ask("ACL", "SETUSER", "default", "-evalsha", "-del")
        with pytest.raises(SessionStoreUnavailable, match="permit"):
            await store.commit(record_of(), lease)
        with pytest.raises(SessionStoreUnavailable, match="permit"):
            await store.destroy(TIM, None)
        server.ask("ACL", "SETUSER", "default", "+evalsha", "+del")
        server.ask("REPLICAOF", "127.0.0.1", 1)
        with pytest.raises(SessionStoreUnavailable, match="replica"):
            await store.commit(record_of(), lease)
        server.ask("REPLICAOF", "NO", "ONE")
        written = record_of()
        await store.commit(written, lease)
        assert written == await peek(store)


async def test_a_server_that_loads_its_data_is_waited_for_by_nobody(tmp_path: Path) -> None:
    with ValkeyServer(tmp_path, "--enable-debug-command", "yes") as server:
        async with RedisSessionStore(server.url) as store:
            written = await put(store)
            await asyncio.gather(*(put(store, f"test:{number}") for number in range(300)))
            server.ask("CONFIG", "SET", "key-load-delay", 2000)  # microseconds
            server.ask("CONFIG", "SET", "loading-process-events-interval-bytes", 1024)
            loading = asyncio.ensure_future(asyncio.to_thread(server.ask, "DEBUG", "LOADAOF"))
            with pytest.raises(SessionStoreUnavailable, match="loading"):  # noqa: PT012 - in time
                while not loading.done():
                    await store.release("test:nobody", lease_on())
            await loading
            assert written == await peek(store)


# A cluster.


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[ValkeyCluster]:
    """A cluster of the test's own."""
    with ValkeyCluster(tmp_path) as own:
        yield own


async def test_a_cluster_keeps_sessions_everywhere(cluster: ValkeyCluster) -> None:
    async with RedisSessionStore(f"{cluster.url}?client_name=ours") as store:
        await asyncio.gather(*(put(store, f"test:{number}") for number in range(300)))
        assert all(server.ask("DBSIZE") > 50 for server in cluster.servers)
        assert len([record async for record in store.all()]) == 300
        assert all(ours(server) == 2 for server in cluster.servers)
        for server in cluster.servers:
            server.ask("SCRIPT", "FLUSH")
        await asyncio.gather(*(put(store, f"test:{number}") for number in range(300)))
    assert all(ours(server) == 0 for server in cluster.servers)


async def test_a_slot_that_has_moved_is_found(cluster: ValkeyCluster) -> None:
    key = "barback:{test:tim}"
    async with RedisSessionStore(cluster.url) as store:
        lease = lease_on()
        await store.checkout(TIM, lease)
        target = next(each for each in cluster.servers if each is not cluster.keeper_of(key))
        cluster.move(key, target)
        written = record_of()
        await store.commit(written, lease)
        assert target is cluster.keeper_of(key)
        assert target.ask("EXISTS", key) == 1
        assert written == await peek(store)
        redirected = sum(server.refusals("MOVED") for server in cluster.servers)
        assert redirected == 1  # and from then on it is known
        assert [written] == [record async for record in store.all()]


async def test_a_session_that_has_moved_before_its_slot_is_found(cluster: ValkeyCluster) -> None:
    key = "barback:{test:tim}"
    async with RedisSessionStore(cluster.url) as store:
        lease = lease_on()
        lease.version = (await put(store)).version
        await store.checkout(TIM, lease)
        source = cluster.keeper_of(key)
        target = next(each for each in cluster.servers if each is not source)
        cluster.begin_move(key, target)
        for name in (key, f"{key}:lease"):
            source.ask("MIGRATE", "127.0.0.1", target.port, name, 0, 5000)
        target.ask("SCRIPT", "FLUSH")
        written = record_of()
        await store.commit(written, lease, keep=True)
        assert (source.ask("DBSIZE"), target.ask("DBSIZE")) == (0, 2)
        assert [written] == [record async for record in store.all()]
        await store.destroy(TIM, lease)
        assert target.ask("DBSIZE") == 0


async def test_a_session_half_moved_is_waited_for(cluster: ValkeyCluster) -> None:
    key = "barback:{test:tim}"
    source = cluster.keeper_of(key)
    target = next(each for each in cluster.servers if each is not source)
    async with RedisSessionStore(cluster.url) as store:
        written = await put(store)
        cluster.begin_move(key, target)
        reading = asyncio.ensure_future(peek(store))  # of two keys one is there: try again
        await until(lambda: source.refusals("TRYAGAIN") > 1)
        assert not reading.done()
        slot = source.ask("CLUSTER", "KEYSLOT", key)
        source.ask("MIGRATE", "127.0.0.1", target.port, key, 0, 5000)
        for server in (target, source):
            server.ask("CLUSTER", "SETSLOT", slot, "NODE", target.ask("CLUSTER", "MYID"))
        assert written == await reading


async def test_a_session_half_moved_is_not_waited_for_for_ever(cluster: ValkeyCluster) -> None:
    key = "barback:{test:tim}"
    async with RedisSessionStore(cluster.url, timeout=1) as store:
        await put(store)
        source = cluster.keeper_of(key)
        cluster.begin_move(key, next(each for each in cluster.servers if each is not source))
        with pytest.raises(SessionStoreUnavailable, match="moving"):
            await peek(store)


async def test_a_session_that_two_servers_have_is_listed_once(cluster: ValkeyCluster) -> None:
    key = "barback:{test:tim}"
    async with RedisSessionStore(cluster.url) as store:
        written = await put(store)
        source = cluster.keeper_of(key)
        target = next(each for each in cluster.servers if each is not source)
        cluster.begin_move(key, target)
        source.ask("MIGRATE", "127.0.0.1", target.port, key, 0, 5000, "COPY")
        assert (source.ask("DBSIZE"), target.ask("DBSIZE")) == (1, 1)
        assert [written] == [record async for record in store.all()]


async def test_a_slot_that_moves_while_sessions_are_listed_fails_the_listing(
    cluster: ValkeyCluster,
) -> None:
    async with RedisSessionStore(cluster.url) as store:
        await asyncio.gather(*(put(store, f"test:{number}") for number in range(100)))
        listing = store.all()
        listed = [await anext(listing)]
        key = "barback:{test:tim}"
        source = cluster.keeper_of(key)
        cluster.move(key, next(each for each in cluster.servers if each is not source))
        with pytest.raises(SessionStoreUnavailable, match="moved sessions"):
            listed.extend([record async for record in listing])
        assert len([record async for record in store.all()]) == 100


async def test_a_session_that_moves_to_where_others_were_listed_is_not_missed(
    cluster: ValkeyCluster,
) -> None:
    async with RedisSessionStore(cluster.url) as store:
        await asyncio.gather(*(put(store, f"test:{number}") for number in range(100)))
        for source in cluster.servers:
            for target in cluster.servers:
                if source is target:
                    continue
                key = source.ask("RANDOMKEY")
                slot = source.ask("CLUSTER", "KEYSLOT", key)
                cluster.begin_move(key, target)
                listing = store.all()
                listed = [(await anext(listing)).id]
                source.ask("MIGRATE", "127.0.0.1", target.port, key, 0, 5000)
                listed.extend([record.id async for record in listing])
                assert sorted(listed) == sorted(f"test:{number}" for number in range(100))
                for server in (target, source):
                    server.ask("CLUSTER", "SETSLOT", slot, "NODE", target.ask("CLUSTER", "MYID"))


async def test_slots_that_move_both_ways_fail_the_listing(cluster: ValkeyCluster) -> None:
    first, second, _ = cluster.servers
    async with RedisSessionStore(cluster.url) as store:
        await asyncio.gather(*(put(store, f"test:{number}") for number in range(100)))
        cluster.begin_move(first.ask("RANDOMKEY"), second)
        cluster.begin_move(second.ask("RANDOMKEY"), first)
        with pytest.raises(SessionStoreUnavailable, match="to each other"):
            [record async for record in store.all()]


async def test_a_slot_that_has_a_keeper_again_is_served(tmp_path: Path) -> None:
    key = "barback:{test:tim}"
    with ValkeyCluster(tmp_path, "--cluster-require-full-coverage", "no") as cluster:
        async with RedisSessionStore(cluster.url) as store:
            keeper = cluster.keeper_of(key)
            slot = keeper.ask("CLUSTER", "KEYSLOT", key)
            for server in cluster.servers:
                server.ask("CLUSTER", "DELSLOTS", slot)
            for expected in ("cluster that is down", "nobody keeps"):
                with pytest.raises(SessionStoreUnavailable, match=expected):
                    await peek(store)
            keeper.ask("CLUSTER", "ADDSLOTS", slot)
            await until(lambda: all(keeps(server, slot) for server in cluster.servers))
            assert await peek(store) is None


async def test_a_cluster_that_does_not_answer_is_given_up_in_time(cluster: ValkeyCluster) -> None:
    async with RedisSessionStore(cluster.url, timeout=2) as store:
        written = await put(store)
        for server in cluster.servers:
            os.kill(server.pid, signal.SIGSTOP)
        for _ in range(3):
            with pytest.raises(SessionStoreUnavailable):
                await ended_within(4, store.release(TIM, lease_on()))  # and not 2 for each server
        for server in cluster.servers:
            os.kill(server.pid, signal.SIGCONT)
        assert written == await recovered(store)


async def test_who_keeps_what_is_learnt_from_any_server_that_answers(
    cluster: ValkeyCluster,
) -> None:
    async with RedisSessionStore(cluster.url, timeout=1) as store:
        keeper = cluster.keeper_of("barback:{test:tim}")
        others = [server for server in cluster.servers if server is not keeper]
        for server in others:
            os.kill(server.pid, signal.SIGSTOP)
        store._asking.servers._outdated = True  # type: ignore[attr-defined]
        assert await peek(store) is None
        for server in others:
            os.kill(server.pid, signal.SIGCONT)


async def test_closing_a_cluster_lets_an_operation_follow_its_slot(
    cluster: ValkeyCluster, tmp_path: Path
) -> None:
    keeper = cluster.keeper_of("barback:{test:tim}")
    with cluster.replica_of(keeper, tmp_path / "replica") as replica:
        store = await RedisSessionStore(f"{cluster.url}?client_name=ours").init()
        written = await put(store)
        await until(lambda: replica.ask("DBSIZE") == 1)
        replica.ask("CLUSTER", "FAILOVER")
        await until(lambda: (replica.ask("ROLE")[0], keeper.ask("ROLE")[0]) == ("master", "slave"))
        checkout = asyncio.ensure_future(store.checkout(TIM, lease_on()))
        await asyncio.sleep(0)
        await store.close()
        assert written == await checkout
        await until(lambda: not any(ours(server) for server in (*cluster.servers, replica)))


async def test_closing_a_cluster_that_is_cut_short_leaves_nothing_open(
    cluster: ValkeyCluster,
) -> None:
    store = await RedisSessionStore(f"{cluster.url}?client_name=ours", timeout=60).init()
    for server in cluster.servers:
        os.kill(server.pid, signal.SIGSTOP)
    commit = asyncio.ensure_future(store.commit(record_of(), lease_on()))
    await until(lambda: any(link._waiting() for link in store._asking.servers._links.values()))  # type: ignore[attr-defined]
    store._asking.servers._outdated = True  # type: ignore[attr-defined]
    read = asyncio.ensure_future(peek(store))
    await until(lambda: store._asking.servers._mapping is not None)  # type: ignore[attr-defined]
    started = time.monotonic()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await store.close()
    with pytest.raises(CommitUnknown):
        await commit
    with pytest.raises(SessionStoreUnavailable, match="closed"):
        await read
    assert time.monotonic() - started < SLACK
    for server in cluster.servers:
        os.kill(server.pid, signal.SIGCONT)
    await until(lambda: not any(ours(server) for server in cluster.servers))


async def test_a_server_of_a_cluster_comes_back(cluster: ValkeyCluster) -> None:
    async with RedisSessionStore(cluster.url) as store:
        written = await put(store)
        keeper = cluster.keeper_of("barback:{test:tim}")
        lease = lease_on()
        lease.version = written.version
        await store.checkout(TIM, lease)
        os.kill(keeper.pid, signal.SIGSTOP)
        commit = asyncio.ensure_future(store.commit(record_of(), lease))
        other = next(
            f"test:{number}"
            for number in range(100)
            if cluster.servers[0].ask("CLUSTER", "KEYSLOT", f"{{test:{number}}}")
            and key_slot(f"test:{number}".encode()) // 5462 != key_slot(TIM.encode()) // 5462
        )
        assert await peek(store, other) is None  # the others serve on
        keeper.kill()
        with pytest.raises(CommitUnknown):
            await commit
        with pytest.raises(SessionStoreUnavailable):
            await peek(store)
        keeper.start()
        async with asyncio.timeout(20):
            while True:
                try:
                    record = await store.checkout(TIM, lease)
                    break
                except SessionStoreUnavailable:
                    await asyncio.sleep(0.05)
        assert written == record
        last = record_of()
        await store.commit(last, lease)
        assert last == await peek(store)


async def test_a_replica_that_takes_over_in_a_cluster_is_found(
    cluster: ValkeyCluster, tmp_path: Path
) -> None:
    key = "barback:{test:tim}"
    keeper = cluster.keeper_of(key)
    with cluster.replica_of(keeper, tmp_path / "replica") as replica:
        async with RedisSessionStore(cluster.url) as store:
            written = await put(store)
            await until(lambda: replica.ask("DBSIZE") == 1)
            await asyncio.to_thread(keeper.kill)
            assert written == await recovered(store)
            assert replica.ask("ROLE")[0] == "master"
            lease = lease_on(version=written.version)
            await store.checkout(TIM, lease)
            last = record_of()
            await store.commit(last, lease)
            assert [last] == [record async for record in store.all()]


async def test_a_cluster_that_is_down_says_so_and_comes_back(cluster: ValkeyCluster) -> None:
    async with RedisSessionStore(cluster.url) as store:
        keeper = cluster.keeper_of("barback:{test:tim}")
        written = await put(store)
        for server in cluster.servers:
            if server is not keeper:
                server.kill()
        async with asyncio.timeout(20):
            with pytest.raises(SessionStoreUnavailable, match="is a cluster that is down"):  # noqa: PT012
                while True:
                    await store.release(TIM, lease_on())
                    await asyncio.sleep(0.05)
        with pytest.raises(SessionStoreUnavailable):
            await peek(store)
        for server in cluster.servers:
            if server is not keeper:
                server.start()
        assert written == await recovered(store)


# Sentinels.


@pytest.mark.parametrize("password", [None, PASSWORD])
async def test_a_failover_is_followed(tmp_path: Path, password: str | None) -> None:
    with ValkeySentinel(tmp_path, password) as sentinel:
        async with RedisSessionStore(sentinel.url.replace(PASSWORD, QUOTED)) as store:
            written = await put(store)
            await until(lambda: sentinel.replica.ask("EXISTS", "barback:{test:tim}") == 1)
            await asyncio.to_thread(sentinel.fail_over)
            assert written == await recovered(store)
            lease = lease_on(version=written.version)
            await store.checkout(TIM, lease)
            last = record_of()
            await store.commit(last, lease)
            assert sentinel.replica.ask("EXISTS", "barback:{test:tim}") == 1
            assert last == await peek(store)


async def test_a_primary_that_died_is_replaced(tmp_path: Path) -> None:
    with ValkeySentinel(tmp_path) as sentinel:
        async with RedisSessionStore(sentinel.url, timeout=1, connect_timeout=1) as store:
            written = await put(store)
            await until(lambda: sentinel.replica.ask("EXISTS", "barback:{test:tim}") == 1)
            sentinel.primary.kill()
            with pytest.raises(SessionStoreUnavailable):
                await peek(store)
            await asyncio.to_thread(sentinel.wait_for_primary, sentinel.replica)
            assert written == await recovered(store)


async def test_a_demoted_primary_is_left(tmp_path: Path) -> None:
    with ValkeySentinel(tmp_path) as sentinel:
        async with RedisSessionStore(sentinel.url) as store:
            lease = lease_on()
            await store.checkout(TIM, lease)
            await until(lambda: sentinel.replica.ask("EXISTS", "barback:{test:tim}:lease") == 1)
            store_port = sentinel.primary.port
            sentinel.replica.ask("REPLICAOF", "NO", "ONE")
            sentinel.primary.ask("REPLICAOF", "127.0.0.1", sentinel.replica.port)
            with pytest.raises(SessionStoreUnavailable, match="replica"):
                await store.commit(record_of(), lease)
            assert store_port == sentinel.primary.port
            await until(lambda: store._asking.servers._turns._wire is None)  # type: ignore[attr-defined]


async def test_a_commit_lost_by_a_takeover_is_refused(server: ValkeyServer) -> None:
    async with RedisSessionStore(server.url) as store:
        lease = lease_on()
        await store.checkout(TIM, lease)
        server.ask("DEL", "barback:{test:tim}:lease")
        with pytest.raises(LeaseLost):
            await store.commit(record_of(), lease)
        assert server.ask("EXISTS", "barback:{test:tim}") == 0


# The servers of these tests.


@pytest.mark.parametrize("interruption", [TimeoutError, KeyboardInterrupt])
def test_a_server_that_does_not_come_up_is_not_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, interruption: type[BaseException]
) -> None:
    server = ValkeyServer(tmp_path)
    started = []

    def answers() -> bool:
        started.append(server.process)
        raise interruption

    monkeypatch.setattr(server, "_answers", answers)
    with pytest.raises(interruption):
        server.start()
    assert started[0] is not None
    assert started[0].poll() is not None


# Helpers.


def fresh() -> str:
    """A prefix that no other test has."""
    return f"test-{uuid.uuid4().hex}:"


def opened_by_url(url: str) -> RedisSessionStore:
    mark = "&" if "?" in url else "?"
    store = open_store(f"{url}{mark}prefix={fresh()}")
    assert isinstance(store, RedisSessionStore)
    return store


async def keys_of(store: RedisSessionStore, server: ValkeyServer) -> tuple[int, int]:
    """How many keys the store writes for a session, and into which database."""
    async with store:
        await put(store)
        assert await peek(store) is not None
    for db in range(16):
        with redis.Redis(port=server.port, password=server.password, db=db) as client:
            keys = list(client.scan_iter(f"{store.prefix}*"))
        if keys:
            return len(keys), db
    raise LookupError(store.prefix)


def shown(error: BaseException) -> str:
    """Everything a log would tell about an error."""
    return "".join(traceback.format_exception(error, limit=0)) + repr(error)


@asynccontextmanager
async def reads_of(server: ValkeyServer) -> AsyncIterator[list[int]]:
    """How often the server reads from a connection while inside, by its own count."""
    told: list[int] = []
    with redis.Redis(port=server.port) as client:

        def count() -> int:
            reads: int = client.info("stats")["total_reads_processed"]
            return reads

        count()
        before = count()
        yield told
        told.append(count() - before - 1)


def ours(server: ValkeyServer) -> int:
    """How many connections of a store's there are."""
    listed: str = server.ask("CLIENT", "LIST")
    return listed.count("name=ours ")


def keeps(server: ValkeyServer, slot: int) -> bool:
    """Whether somebody keeps the slot, as far as the server knows."""
    return any(start <= slot <= end for start, end, *_ in server.ask("CLUSTER", "SLOTS"))


async def until(ready: Any) -> None:
    async with asyncio.timeout(20):
        while not ready():
            await asyncio.sleep(0.01)


async def recovered(store: RedisSessionStore) -> Record | None:
    """The record, as soon as the store works again; nobody else may hold its session."""
    lease = lease_on()  # it is known again if it was taken and the answer lost
    async with asyncio.timeout(20):
        while True:
            try:
                record = await store.checkout(TIM, lease)
                await store.release(TIM, lease)
            except SessionStoreUnavailable:
                await asyncio.sleep(0.02)
            else:
                return record


async def seen(store: RedisSessionStore, session_id: str) -> Record | None:
    """The record, whoever holds the session."""
    key, _ = store._asking.keys(session_id)
    value = await store._asking.servers.ask(key, pack("GET", key))
    return None if value is None else store._asking.record(value, session_id)


def certificate_for_localhost(folder: Path) -> tuple[Path, Path]:
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    command += ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return certificate, key


@asynccontextmanager
async def tls_in_front_of(url: str, certificate: Path, key: Path) -> AsyncIterator[int]:
    """A port that speaks TLS, and passes all it hears on to a server that does not."""
    host, _, port = url.rpartition("@")[2].removeprefix("redis://").partition("/")[0].partition(":")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    running: set[asyncio.Task[None]] = set()

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behind_reader, behind_writer = await asyncio.open_connection(host, int(port))
        for each in (copy(reader, behind_writer), copy(behind_reader, writer)):
            running.add(asyncio.ensure_future(each))

    server = await asyncio.start_server(serve, "localhost", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        while left := {task for task in running if not task.done()}:
            await asyncio.wait(left)
