"""`barback doctor`: what is as it should be, what is not, and what to do about it."""

from __future__ import annotations

import asyncio
import json
import re
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import PackageNotFoundError
from typing import TYPE_CHECKING, Any

import pytest
import redis

from barback import Keys
from barback.cli import main
from barback.cli.doctor import installation, servers
from barback.cli.doctor.findings import Findings
from barback.testing.telegram import FakeTelegram
from tests.every_store import SHARED, own_url
from tests.sessions_command import Sessions

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Doctor = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def doctor(capsys: pytest.CaptureFixture[str]) -> Doctor:
    """Asks it, for its status and what it found, by what was looked at: level, what it says."""

    def ask(*arguments: str) -> tuple[int, dict[str, Any]]:
        capsys.readouterr()
        status = main(["doctor", *arguments, "--json"])
        told = json.loads(capsys.readouterr().out)
        assert told["ok"] is (status == 0)
        return status, {
            each["what"]: (each["level"], f"{each['says']} -> {each['advice']}")
            for each in told["findings"]
        }

    return ask


def test_what_is_installed_is_told_and_what_is_to_be_done(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["doctor"]) == 0
    told = capsys.readouterr().out
    assert re.search(r"^ok {4}python +3\.\d+\.\d+ on ", told)
    assert "ok    cli           click " in told
    assert re.search(r"\n\d+ ok, 0 to think about, 0 to be put right\.\n$", told)


def test_what_is_missing_or_too_old_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    there = {"barback": "1.0", "msgspec": "0.19.9", "click": "8.2.0"}

    def version(name: str) -> str:
        try:
            return there[name]
        except KeyError:
            raise PackageNotFoundError(name) from None

    monkeypatch.setattr(installation, "version", version)
    found = Findings(as_json=True)
    installation.look_at_installation(found, {"cli", "redis"})
    told = {each.what: each for each in found._found}
    assert (told["packages"].level, told["packages"].says) == (
        "fail",
        "msgspec 0.19.9 is older than 0.20.",
    )
    assert told["cli"].level == "ok"
    assert (told["redis"].level, told["redis"].says) == ("fail", "There is no redis.")
    assert told["redis"].advice == "python -m pip install -U 'barback[redis]'"
    assert "mongo" not in told  # nobody needs it


# The store.


@pytest.mark.parametrize("store", SHARED)
def test_every_store_is_looked_at_and_left_as_it_was(
    store: str,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    doctor: Doctor,
) -> None:
    sessions = Sessions(own_url(store, request, tmp_path), capsys)
    sessions.put("test:tim", {"n": 1})
    before = sessions.content()
    status, found = doctor("--store", sessions.url)
    assert status == 0, found
    assert found["store"][0] == found["turns"][0] == "ok"
    assert sessions.content() == before
    if store not in {"file", "sqlite"}:
        assert found["clock"][0] == "ok"
        assert "version" in found["server"][1] or "PostgreSQL" in found["server"][1]
        assert found["durability"][0] in {"ok", "warn"}
    else:
        assert found["disk"][0] in {"ok", "warn"}


def test_what_a_server_may_lose_is_told(redis_url: str, doctor: Doctor) -> None:
    with redis.Redis.from_url(redis_url) as client:
        before = {
            each: client.config_get(each)[each] for each in ("appendonly", "maxmemory-policy")
        }
        client.config_set("appendonly", "no")
        client.config_set("maxmemory", "1gb")
        client.config_set("maxmemory-policy", "allkeys-lru")
        try:
            status, found = doctor("--store", redis_url)
        finally:
            client.config_set("maxmemory", "0")
            for name, value in before.items():
                client.config_set(name, value)
    assert status == 1
    assert found["durability"][0] == "warn"
    assert found["eviction"][0] == "fail"
    assert found["eviction"][1].startswith("maxmemory-policy is allkeys-lru: the server may forget")


@pytest.mark.parametrize(("away", "level"), [(-90.0, "warn"), (0.0, "ok"), (90.0, "warn")])
def test_a_clock_that_is_wrong_is_told(away: float, level: str) -> None:
    found = Findings(as_json=True)
    servers._clock(found, time.time(), time.time() + away)
    assert [each.level for each in found._found] == [level]


def test_files_that_others_may_read_are_told(tmp_path: Path, doctor: Doctor) -> None:
    url = f"sqlite:///{tmp_path}/sessions.db"
    status, found = doctor("--store", url)
    assert (status, found["store"][0]) == (0, "warn")  # not there yet
    assert not (tmp_path / "sessions.db").exists()
    with closing(sqlite3.connect(tmp_path / "sessions.db")):
        pass
    (tmp_path / "sessions.db").chmod(0o644)
    status, found = doctor("--store", url)
    assert (status, found["file"][0]) == (0, "warn")
    assert "chmod 600" in found["file"][1]
    (tmp_path / "sessions.db").chmod(0o600)
    assert doctor("--store", url)[1]["file"][0] == "ok"
    (tmp_path / "files").mkdir(mode=0o755)
    assert "chmod 700" in doctor("--store", f"file:{tmp_path}/files")[1]["folder"][1]


def test_a_place_that_is_none_for_a_store_is_told_and_not_the_network(
    tmp_path: Path, doctor: Doctor
) -> None:
    (tmp_path / "file").write_bytes(b"no database")
    status, found = doctor("--store", f"sqlite:///{tmp_path}/file")
    assert (status, found["store"][0]) == (1, "fail")
    assert "no SQLite database" in found["store"][1]
    assert "server" not in found["store"][1]
    status, found = doctor("--store", f"file:{tmp_path}/file/sessions")
    assert (status, found["store"][0]) == (1, "fail")
    assert "could not make it there" in found["store"][1]
    status, found = doctor("--store", f"file:{tmp_path}/new/sessions")
    assert (status, found["store"][0]) == (0, "warn")


def test_a_store_that_is_away_is_told_and_no_password(doctor: Doctor) -> None:
    for url in ("redis://:S3cret@127.0.0.1:1", "postgresql://tim:S3cret@127.0.0.1:1/shop"):
        status, found = doctor("--store", url)
        assert (status, found["store"][0]) == (1, "fail")
        assert "S3cret" not in str(found)
    assert doctor("--store", "nonsense://")[1]["store"][0] == "fail"
    assert doctor("--store", "memory://")[1]["store"][0] == "warn"


# The bot, where it is served, and its platform.


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The module of a bot, whose name no other test's module has."""
    name = f"shop_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(
        "from barback import Bot\n"
        "bot = Bot(session_store='sqlite:///sessions.db')\n"
        "gap = Bot(schema_version=3)\n"
        "gap.migrate(1)(dict)\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return name


def test_a_bot_is_looked_at(shop: str, doctor: Doctor) -> None:
    status, found = doctor(f"{shop}:bot")
    assert status == 0
    assert found["bot"] == ("ok", f"{shop}:bot: no channel of its own -> ")
    status, found = doctor(f"{shop}:gap")
    assert (status, found["bot"][0]) == (1, "fail")
    assert "There is no migration from version 2 to 3" in found["bot"][1]
    assert "has no 'nobody'" in doctor(f"{shop}:nobody")[1]["bot"][1]


def test_the_environment_is_looked_at(
    shop: str, doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TELEGRAM_TOKEN", raising=False)
    monkeypatch.setenv("BARBACK_KEYS", f"2026={Keys.generate()}")
    status, found = doctor(f"{shop}:bot", "--channel", "telegram", "--offline")
    assert status == 1
    assert found["telegram"][1].startswith("The environment has no TELEGRAM_TOKEN. Set it")
    assert found["keys"] == ("ok", "BARBACK_KEYS has 2026; 2026 is current -> ")
    monkeypatch.setenv("BARBACK_KEYS", "nonsense")
    assert doctor()[1]["keys"][0] == "fail"


class _Served(BaseHTTPRequestHandler):
    answers: dict[str, tuple[int, bytes]]

    def do_GET(self) -> None:
        status, body = self.answers.get(self.path, (404, b"Not Found"))
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def served(**answers: tuple[int, bytes]) -> Iterator[str]:
    handler = type("Served", (_Served,), {"answers": {f"/{k}": v for k, v in answers.items()}})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_where_a_bot_is_served_is_asked(doctor: Doctor) -> None:
    with served(healthz=(200, b"ok"), readyz=(503, b"The store does not answer.")) as url:
        status, found = doctor("--url", url)
        assert status == 1
        assert (found["/healthz"][0], found["url"][0]) == ("ok", "warn")
        assert found["/readyz"][1].startswith("503: The store does not answer.")
    with served(healthz=(200, b"ok"), readyz=(200, b"ok")) as url:
        assert doctor("--url", f"{url}/")[0] == 0
    with served() as url:
        assert doctor("--url", url)[1]["/healthz"][1].startswith("404: Not Found")
    status, found = doctor("--url", "http://127.0.0.1:1")
    assert (status, "/readyz" in found) == (1, False)
    assert found["/healthz"][1].startswith("no answer: ")
    assert main(["doctor", "--url", "bot.example"]) == 2


async def test_a_platform_is_asked_what_it_knows_of_the_webhook(
    shop: str, doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with FakeTelegram() as telegram:
        for name, value in telegram.environment().items():
            monkeypatch.setenv(name, value)
        asked = [f"{shop}:bot", "--channel", "telegram"]
        status, found = await asyncio.to_thread(doctor, *asked)
        assert status == 0
        assert "The platform has no webhook set." in found["telegram"][1]
        telegram.webhook = "https://other.example/telegram"
        with served(healthz=(200, b"ok"), readyz=(200, b"ok")) as url:
            status, found = await asyncio.to_thread(doctor, *asked, "--url", url)
            assert (status, found["telegram"][0]) == (1, "fail")
            assert "calls https://other.example/telegram, and not " in found["telegram"][1]
            telegram.webhook = f"{url}/telegram"
            assert (await asyncio.to_thread(doctor, *asked, "--url", url))[0] == 0
        monkeypatch.setenv("TELEGRAM_TOKEN", "654321:wrong")
        status, found = await asyncio.to_thread(doctor, *asked)
        assert (status, found["telegram"][0]) == (1, "fail")
        assert "654321:wrong" not in str(found)
