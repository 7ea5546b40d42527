"""Real servers, each started when the first test asks for it and stopped after the last.

Where a server of one's own is to be tested on, its URL goes into the environment:
BARBACK_TEST_REDIS_URL, BARBACK_TEST_REDIS_CLUSTER_URL, BARBACK_TEST_REDIS_SENTINEL_URL,
BARBACK_TEST_MONGODB_URL, BARBACK_TEST_POSTGRES_URL. Tests share a server: each uses a key prefix,
a collection or a table of its own.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.mongo_servers import MongoServer
from tests.postgres_servers import PostgresServer
from tests.valkey_servers import ValkeyCluster, ValkeySentinel, ValkeyServer


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


@pytest.fixture(scope="session")
def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if (url := os.environ.get("BARBACK_TEST_POSTGRES_URL")) is not None:
        yield url
        return
    with PostgresServer(tmp_path_factory.mktemp("postgres")) as server:
        yield server.url
