"""Real servers, each started when the first test asks for it and stopped after the last.

Where a server of one's own is to be tested on, its URL goes into the environment:
BARBACK_TEST_REDIS_URL, BARBACK_TEST_REDIS_CLUSTER_URL, BARBACK_TEST_REDIS_SENTINEL_URL,
BARBACK_TEST_MONGODB_URL, BARBACK_TEST_POSTGRES_URL. Tests share a server: each uses a key prefix,
a collection or a table of its own.
"""

from __future__ import annotations

import gc
import os
import secrets
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pymongo
import pytest
from hypothesis import HealthCheck, settings

from tests.mongo_servers import Document, Documents, MongoServer
from tests.postgres_servers import PostgresServer
from tests.postgres_tables import Table
from tests.valkey_servers import ValkeyCluster, ValkeySentinel, ValkeyServer

# No test is one of speed: a machine that is busy with something else fails none.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")

OPEN = Path("/proc/self/fd")
KINDS = ("socket:", "anon_inode:[event")  # of what a connection, or an event loop, has open
PATIENCE = 30.0  # seconds for what is on its way to its end


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """No test leaves a connection, an event loop or a thread behind; of tasks the plugin sees."""
    threads, handles = set(threading.enumerate()), open_handles()
    yield
    give_up_at = time.monotonic() + PATIENCE
    while left := [*remaining(threads), *(open_handles() - handles).elements()]:
        gc.collect()
        if time.monotonic() > give_up_at:
            pytest.fail(f"The test left behind: {', '.join(left)}", pytrace=False)
        time.sleep(0.01)


def remaining(threads: set[threading.Thread]) -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread not in threads]


def open_handles() -> Counter[str]:
    """How many there are of each kind; where nobody can tell, none."""
    found: Counter[str] = Counter()
    for handle in OPEN.iterdir() if OPEN.is_dir() else ():
        try:
            what = str(handle.readlink())
        except OSError:  # it is closed by now, as the one for this very list
            continue
        found.update(kind for kind in KINDS if what.startswith(kind))
    return found


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if (url := os.environ.get("BARBACK_TEST_REDIS_URL")) is not None:
        yield url
        return
    with ValkeyServer(tmp_path_factory.mktemp("valkey")) as server:
        yield server.url


@pytest.fixture(scope="session")
def redis_cluster_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if (url := os.environ.get("BARBACK_TEST_REDIS_CLUSTER_URL")) is not None:
        yield url
        return
    with ValkeyCluster(tmp_path_factory.mktemp("valkey-cluster")) as cluster:
        yield cluster.url


@pytest.fixture(scope="session")
def redis_sentinel_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if (url := os.environ.get("BARBACK_TEST_REDIS_SENTINEL_URL")) is not None:
        yield url
        return
    with ValkeySentinel(tmp_path_factory.mktemp("valkey-sentinel")) as sentinel:
        yield sentinel.url


@pytest.fixture(scope="session")
def mongodb_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if (url := os.environ.get("BARBACK_TEST_MONGODB_URL")) is not None:
        yield url
        return
    with MongoServer(tmp_path_factory.mktemp("mongo")) as server:
        yield server.url


@pytest.fixture
def mongo_database(mongodb_url: str) -> Iterator[str]:
    """The name of a database that is the test's own."""
    name = f"barback_test_{secrets.token_hex(6)}"
    yield name
    with pymongo.MongoClient[Document](mongodb_url) as client:
        client.drop_database(name)


@pytest.fixture
def documents(mongodb_url: str, mongo_database: str) -> Iterator[Documents]:
    """The sessions in `mongo_database`, as somebody in MongoDB's shell sees them."""
    with pymongo.MongoClient[Document](mongodb_url) as client:
        yield client[mongo_database]["sessions"]


@pytest.fixture(scope="module")
def faulty_mongo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MongoServer]:
    """A server that does wrong when it is told to."""
    with MongoServer(tmp_path_factory.mktemp("mongo"), "--enable-test-commands") as server:
        yield server


@pytest.fixture(scope="session")
def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if (url := os.environ.get("BARBACK_TEST_POSTGRES_URL")) is not None:
        yield url
        return
    with PostgresServer(tmp_path_factory.mktemp("postgres")) as server:
        yield server.url


@pytest.fixture(scope="module")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """One of the module's own: its tests may kill it, and nothing runs on it but what they ask.

    It asks for no password, as what stands in front of it knows none.
    """
    with PostgresServer(tmp_path_factory.mktemp("postgres"), autovacuum="off") as server:
        yield server


@pytest.fixture
def table(postgres_server: PostgresServer) -> Iterator[Table]:
    """A table of the test's own on it; a server that was killed runs again, before and after."""
    if postgres_server.process is None:
        postgres_server.start()
    table = Table(postgres_server.url)
    yield table
    if postgres_server.process is None:
        postgres_server.start()
    table.drop()
