"""A store's URL: what is barback's own in it, and what is the client's."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint, EntryPoints, entry_points

import pytest

from barback import FileSessionStore, SQLiteSessionStore
from barback.errors import ConfigurationError, MissingExtra
from barback.extras import needs_extra
from barback.stores.url import open_store, take_options

ALLOWED = {"expires_in": float, "prefix": str}


@pytest.mark.parametrize(
    ("url", "rest", "options"),
    [
        ("x://host", "x://host", {}),
        ("x://host/4?expires_in=30", "x://host/4", {"expires_in": 30.0}),
        ("x://host?expires_in=never", "x://host", {"expires_in": None}),
        ("x://host?prefix=never", "x://host", {"prefix": "never"}),
        ("x://host?a=1&prefix=p%3A&b=%20", "x://host?a=1&b=%20", {"prefix": "p:"}),
        ("x://host?prefix=a+b", "x://host", {"prefix": "a b"}),
        ("x://host?prefix=", "x://host", {"prefix": ""}),
        ("x://h?a=1&a=2", "x://h?a=1&a=2", {}),
        ("x://h?", "x://h", {}),
        ("x://h?a&b=", "x://h?a&b=", {}),
        ("x://tim:a?b@h", "x://tim:a?b@h", {}),
    ],
)
def test_barbacks_own_options_are_taken_out_and_the_rest_is_left_as_it_was(
    url: str, rest: str, options: dict[str, object]
) -> None:
    assert take_options(url, allowed=ALLOWED) == (rest, options)


def test_a_value_that_cannot_be_is_refused_without_the_rest_of_the_url() -> None:
    with pytest.raises(ConfigurationError, match="expires_in cannot be 'soon'") as refused:
        take_options("x://tim:hunter2@host?expires_in=soon", allowed=ALLOWED)
    assert "hunter2" not in str(refused.value)


def test_every_store_of_ours_is_found_by_the_entry_points_that_others_use_too() -> None:
    ours = {
        entry.name for entry in entry_points(group="barback.stores") if "barback." in entry.value
    }
    assert {
        *("memory", "file", "sqlite", "mongodb", "mongodb+srv", "postgresql", "postgres"),
        *("redis", "rediss", "valkey", "valkeys", "unix", "redis+unix", "valkey+unix"),
        *(f"{kind}+cluster" for kind in ("redis", "rediss", "valkey", "valkeys")),
        *(f"{kind}+sentinel" for kind in ("redis", "rediss", "valkey", "valkeys")),
    } == ours


@pytest.mark.parametrize(
    ("url", "store", "where"),
    [
        ("file:.sessions", "FileSessionStore", ".sessions"),
        ("sqlite:///sessions.db", "SQLiteSessionStore", "sessions.db"),
        ("redis://localhost:6379/4?prefix=shop%3A", "RedisSessionStore", "localhost:6379"),
        ("rediss://tim:hunter2@localhost", "RedisSessionStore", "localhost:6379"),
        ("valkey://localhost", "RedisSessionStore", "localhost:6379"),
        ("unix:///run/redis.sock?db=2", "RedisSessionStore", "/run/redis.sock"),
        ("redis+cluster://one:7000,two:7001", "RedisSessionStore", "one:7000, two:7001"),
        (
            "redis+sentinel://one:26379,two:26379/mymaster",
            "RedisSessionStore",
            "mymaster by one:26379, two:26379",
        ),
        (
            "mongodb://tim:hunter2@localhost/shop?collection_name=talks",
            "MongoSessionStore",
            "localhost:27017",
        ),
        (
            "postgresql://tim:hunter2@localhost/shop?table=talks",
            "PostgresSessionStore",
            "localhost:5432, table talks",
        ),
    ],
)
def test_a_url_opens_its_store_before_there_is_a_server(url: str, store: str, where: str) -> None:
    opened = open_store(f"{url}{'&' if '?' in url else '?'}expires_in=90")
    assert type(opened).__name__ == store
    assert opened.expires_in is not None
    assert opened.expires_in.total_seconds() == 90 * 60
    assert repr(opened) == f"<{store} {where}>"


@pytest.mark.parametrize(
    "url",
    [
        "file:.sessions?colour=red",
        "sqlite:///sessions.db?colour=red",
        "redis://tim:hunter2@localhost?colour=red",
        "redis+cluster://tim:hunter2@localhost?colour=red",
        "redis+sentinel://tim:hunter2@localhost/mymaster?colour=red",
        "mongodb://tim:hunter2@localhost?colour=red",
        "postgresql://tim:hunter2@localhost?colour=red",
    ],
)
def test_an_option_nobody_knows_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="colour") as refused:
        open_store(url)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "package", "extra"),
    [
        ("redis://localhost", "redis", "redis"),
        ("mongodb://localhost", "pymongo", "mongo"),
        ("postgresql://localhost", "psycopg", "postgres"),
    ],
)
def test_a_driver_that_is_not_installed_says_what_installs_it(
    url: str, package: str, extra: str
) -> None:
    program = f"""
import sys
sys.modules[{package!r}] = None  # Python's own way to say that there is none
from barback import open_store
from barback.errors import MissingExtra
try:
    open_store({url!r})
except MissingExtra as error:
    print(error)
"""
    said = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    assert f"python -m pip install 'barback[{extra}]'" in said


class Unmade:
    """What an entry point names that has no `from_url`."""


@pytest.mark.parametrize(
    ("value", "match"),
    [
        ("no.such.module:Store", "cannot be loaded"),
        ("barback.stores.memory:NoSuchStore", "cannot be loaded"),
        (f"{__name__}:Unmade", "no `from_url`"),
    ],
)
def test_a_driver_that_was_packaged_wrongly_is_named(
    value: str, match: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = EntryPoints([EntryPoint("mystery", value, "barback.stores")])
    monkeypatch.setattr("importlib.metadata.entry_points", lambda **_: broken)
    with pytest.raises(ConfigurationError, match=match) as refused:
        open_store("mystery://tim:hunter2@host")
    assert value in str(refused.value)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("url", ["Memory://", "MEMORY://"])
def test_a_scheme_may_be_in_capitals(url: str) -> None:
    assert type(open_store(url)).__name__ == "MemorySessionStore"


@pytest.mark.parametrize(
    ("store", "url"), [(FileSessionStore, "file:x"), (SQLiteSessionStore, "sqlite:///x.db")]
)
def test_a_store_that_is_made_of_a_name_takes_no_url_for_one(store: type, url: str) -> None:
    with pytest.raises(ConfigurationError, match="open_store opens a URL"):
        store(url)


def test_an_import_error_inside_an_installed_package_is_not_taken_for_a_missing_one() -> None:
    with pytest.raises(ImportError) as raised, needs_extra("redis"):
        from barback import (  # type: ignore[attr-defined]  # noqa: PLC0415
            no_such_name,  # noqa: F401
        )
    assert not isinstance(raised.value, MissingExtra)
