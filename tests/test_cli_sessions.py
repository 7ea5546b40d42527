"""`barback sessions`, run as a person would run it."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from barback import FileSessionStore, Keys, Record, SQLiteSessionStore
from barback.stores.local import leased
from barback.stores.url import open_store
from barback.testing.contract_tools import put
from tests.histories import keeping, say
from tests.test_cli import driver, environment

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["driver"]  # a fixture

BOT = """
from barback import Bot

bot = Bot(initial_state={"n": 0}, schema_version=2, session_store="sqlite:///sessions.db")
in_memory = Bot(schema_version=2)
wrong = Bot(schema_version=4, session_store="sqlite:///sessions.db")
wrong.migrate(1)(dict)

class Bots:
    shop = Bot(schema_version=2, session_store="sqlite:///sessions.db", namespace="shop")
    shop.migrate(1)(dict)

@bot.migrate(1)
def rename(state):
    return {"n": state["number"]}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where a bot's module is, and its sessions: five of version 1, one of which is odd."""
    (tmp_path / "shop.py").write_text(BOT)

    async def fill() -> None:
        async with leased(SQLiteSessionStore(tmp_path / "sessions.db")) as store:
            for name in ("tim", "ann", "g/tim", "bob"):
                await put(store, f"test:{name}", {"number": 1}, schema=1, users=(name[-3:],))
            await put(store, "test:od\x1bd", {"\x1b": 1}, schema=1, users=("tim", "ann"))
            await put(store, "shop/test:tim", {"number": 1}, schema=1, users=("tim",))

    asyncio.run(fill())
    return tmp_path


def sessions(folder: Path, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return barback(folder, "sessions", *arguments, **options)


def barback(
    folder: Path, *arguments: str, driver: Path | None = None, **options: Any
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "barback", *arguments],
        **{"capture_output": True, "stdin": subprocess.DEVNULL, **options},
        text=True,
        check=False,
        timeout=60,
        cwd=folder,
        env=environment(driver),
    )


def content(folder: Path, name: str = "sessions.db") -> dict[str, Record]:
    async def read() -> dict[str, Record]:
        async with leased(SQLiteSessionStore(folder / name)) as store:
            return {record.id: record async for record in store.all()}

    return asyncio.run(read())


def table(text: str) -> dict[str, str]:
    return {line[:20].strip(): line[20:].strip() for line in text.splitlines()}


def test_the_group_tells_its_commands(folder: Path) -> None:
    told = sessions(folder, "--help")
    assert told.returncode == 0
    for command in ("list", "edit", "delete", "import", "migrate", "forget", "export-user"):
        assert command in told.stdout
    assert sessions(folder, "forget", "--help").returncode == 0


# Migrating.


def test_a_store_is_migrated_and_what_failed_is_told(folder: Path) -> None:
    before = content(folder)
    dry = sessions(folder, "migrate", "shop:bot", "--dry-run")
    assert dry.returncode == 1
    assert table(dry.stdout)["would be migrated"] == "4"
    assert content(folder) == before
    told = sessions(folder, "migrate", "shop:bot")
    assert told.returncode == 1
    counts = table(told.stdout)
    assert (counts["migrated"], counts["failed"], counts["current already"]) == ("4", "1", "0")
    assert told.stderr.startswith(r"'test:od\x1bd': The migration of session 'test:od\x1bd'")
    assert {record.schema for record in content(folder).values()} == {1, 2}
    assert content(folder)["shop/test:tim"].schema == 1
    silent = sessions(folder, "migrate", "shop:bot", "--limit-failures", "0")
    assert (table(silent.stdout)["current already"], silent.stderr) == ("4", "1 more failed.\n")


def test_a_bot_may_be_inside_something_and_have_a_namespace(folder: Path) -> None:
    told = sessions(folder, "migrate", "shop:Bots.shop")
    assert told.returncode == 0
    assert table(told.stdout)["migrated"] == "1"
    assert content(folder)["shop/test:tim"].schema == 2


def test_another_store_may_be_named(folder: Path) -> None:
    async def fill() -> None:
        async with leased(FileSessionStore(folder / "files")) as store:
            await put(store, "test:tim", {"number": 1}, schema=1)
            await put(store, "test:ann", {"n": 1}, schema=3)

    asyncio.run(fill())
    for bot in ("shop:bot", "shop:in_memory"):
        told = sessions(folder, "migrate", bot, "--store", "file:files")
        assert told.returncode == 1
        assert "1 sessions are newer than this code" in told.stderr
        assert table(told.stdout)["newer than the code"] == "1"
    told = sessions(folder, "migrate", "shop:bot", "--store", "file:nowhere")
    assert (told.returncode, told.stdout) == (1, "")
    assert "finds no folder" in told.stderr
    assert not (folder / "nowhere").exists()


@pytest.mark.parametrize(
    ("bot", "said"),
    [
        ("shop", "'shop' names no bot: write its module and its name there, as in 'shop:bot'."),
        (":bot", "':bot' names no bot"),
        ("nowhere:bot", "There is no module 'nowhere', neither in "),
        ("shop.more:bot", "There is no module 'shop.more', neither in "),
        ("shop:nobody", "The module 'shop' has no 'nobody'."),
        ("shop:rename", "'shop:rename' is of type function, and must be a barback.Bot."),
        ("torn:bot", "The module 'torn' could not be imported: ZeroDivisionError: division"),
        ("needy:bot", "The module 'needy' could not be imported: ModuleNotFoundError"),
        ("refused:bot", "dedupe must be 'changes' or 'always'"),
        ("shop:in_memory", "The bot's sessions are in memory"),
        ("shop:wrong", "There is no migration from version 2 to 3."),
    ],
)
def test_a_bot_that_is_none_is_told(folder: Path, bot: str, said: str) -> None:
    (folder / "torn.py").write_text("1 / 0")
    (folder / "needy.py").write_text("import nowhere")
    (folder / "refused.py").write_text("import barback\nbarback.Bot(dedupe='no')")
    told = sessions(folder, "migrate", bot)
    assert told.returncode == 2
    assert said in told.stderr
    assert "Traceback" not in told.stderr
    assert told.stdout == ""


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_it_is_stopped_in_good_order_and_gone_on_with(
    folder: Path, driver: Path, number: signal.Signals, status: int
) -> None:
    async def fill() -> None:
        async with leased(FileSessionStore(folder / "host")) as store:
            await asyncio.gather(
                *(put(store, f"test:{n}", {"number": n}, schema=1) for n in range(150))
            )

    asyncio.run(fill())
    url = f"slow://tim:secret@host/{folder}/host?after=80"

    def listen_to_ctrl_c() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    process = subprocess.Popen(
        [sys.executable, "-m", "barback", "sessions", "migrate", "shop:bot", "--store", url],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env=environment(driver),
        preexec_fn=listen_to_ctrl_c,  # noqa: PLW1509 - the test has no threads at work
    )
    assert process.stderr is not None
    assert process.stderr.readline() == "slow now\n"
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert process.returncode == status
    assert "Interrupted. Run it again" in err
    assert "Traceback" not in err
    assert "secret" not in out + err
    assert 0 < int(table(out)["migrated"]) < 150
    rest = sessions(folder, "migrate", "shop:bot", "--store", "file:host")
    assert rest.returncode == 0
    counts = table(rest.stdout)
    assert int(counts["current already"]) + int(counts["migrated"]) == 150


def test_a_store_that_fails_is_told(folder: Path, driver: Path) -> None:
    (folder / "host").mkdir()

    async def fill() -> None:
        async with leased(FileSessionStore(folder / "host")) as store:
            for n in range(20):
                await put(store, f"test:{n}", {"number": n}, schema=1)

    asyncio.run(fill())
    url = f"slow://host/{folder}/host?after=5&fails"
    told = sessions(folder, "migrate", "shop:bot", "--store", url, driver=driver)
    assert told.returncode == 1
    assert table(told.stdout)["migrated"] == "5"
    assert told.stderr == (
        "The slow store is down.\nRun it again to go on with what is not done yet.\n"
    )


# Forgetting.


def test_a_person_is_forgotten(folder: Path) -> None:
    before = content(folder)
    store = ("--store", "sqlite:///sessions.db")
    would = sessions(folder, "forget", "test:tim", *store, "--dry-run")
    assert would.returncode == 0
    assert "would be destroyed            'test:g/tim'\n" in would.stdout
    assert r"shared, would be left out of  'test:od\x1bd'" in would.stdout
    assert "6 looked at: 3 would be destroyed" in would.stdout
    assert content(folder) == before
    asked = sessions(folder, "forget", "test:tim", *store)
    assert asked.returncode == 2
    assert "say --yes, or --dry-run" in asked.stderr
    assert content(folder) == before
    told = sessions(folder, "forget", "test:tim", *store, "--yes")
    assert told.returncode == 0
    after = content(folder)
    assert set(after) == {"test:ann", "test:bob", "test:od\x1bd"}
    assert after["test:od\x1bd"].users == ("ann",)
    told = sessions(folder, "forget", "tim", *store, "--yes")
    assert (told.returncode, told.stdout) == (0, "3 looked at: 0 destroyed.\n")


@pytest.mark.parametrize(
    ("namespace", "gone"), [("shop", {"shop/test:tim"}), ("", {"test:tim", "test:g/tim"})]
)
def test_one_bots_sessions_may_be_meant(folder: Path, namespace: str, gone: set[str]) -> None:
    before = set(content(folder))
    told = sessions(
        folder,
        *("forget", "test:tim", "--store", "sqlite:///sessions.db", "--yes", "--shared", "keep"),
        *("--namespace", namespace),
    )
    assert told.returncode == 0
    assert set(content(folder)) == before - gone


@pytest.mark.parametrize(("answer", "left"), [("n\n", 6), ("y\n", 3)])
def test_who_is_there_is_asked(folder: Path, answer: str, left: int) -> None:
    ours, theirs = pty.openpty()
    try:
        os.write(ours, answer.encode())
        told = sessions(
            folder, "forget", "test:tim", "--store", "sqlite:///sessions.db", stdin=theirs
        )
    finally:
        os.close(ours)
        os.close(theirs)
    assert told.returncode == (0 if left == 3 else 1)
    assert "Do so in sqlite:///sessions.db? [y/N]" in told.stderr
    assert len(content(folder)) == left


def test_what_may_be_left_is_told(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "sessions.db")) as database, database:
        database.execute("UPDATE sessions SET record = '{' WHERE id = 'test:bob'")
    told = sessions(folder, "forget", "tim", "--store", "sqlite:///sessions.db", "--yes")
    assert told.returncode == 1
    assert told.stderr.startswith("1 sessions in ")
    assert "the first is 'test:bob'" in told.stderr
    assert "3 destroyed" in told.stdout


@pytest.mark.parametrize("command", ["forget", "export-user"])
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([" ", "--store", "memory://"], "A person is named by their channel and id"),
        (["tim"], "Missing option '--store'"),
        (["tim", "--store", "nonsense://"], "nonsense"),
        (
            ["tim", "--store", "memory://", "--namespace", "a/b", "--dry-run"],
            "namespace is 1 to 64",
        ),
        (["tim", "--store", "memory://", "--scope", "all"], "'all' is not one of"),
    ],
)
def test_a_command_line_that_is_wrong_is_told(
    folder: Path, command: str, arguments: list[str], said: str
) -> None:
    if command == "export-user":
        arguments = [each for each in arguments if each != "--dry-run"]
    told = sessions(folder, command, *arguments)
    assert told.returncode == 2
    assert said in told.stderr
    assert "Traceback" not in told.stderr


# Exporting.


def test_what_is_kept_of_a_person_is_printed(folder: Path) -> None:
    store = ("--store", "sqlite:///sessions.db")
    told = sessions(folder, "export-user", "test:tim", *store)
    assert told.returncode == 0
    found = json.loads(told.stdout)
    assert (found["user"], found["channel"], found["unreadable"]) == ("tim", "test", [])
    kept = {each["id"]: each["state"] for each in found["sessions"]}
    assert kept == {
        "shop/test:tim": {"number": 1},
        "test:g/tim": {"number": 1},
        "test:od\x1bd": None,
        "test:tim": {"number": 1},
    }
    assert "\x1b" not in told.stdout
    more = sessions(folder, "export-user", "tim", *store, "--include-shared", "--namespace", "")
    assert {"\x1b": 1} in [each["state"] for each in json.loads(more.stdout)["sessions"]]
    nowhere = sessions(folder, "export-user", "tim", "--store", "sqlite:///nowhere.db")
    assert (nowhere.returncode, nowhere.stdout) == (1, "")
    assert "finds no file" in nowhere.stderr


def test_a_history_is_printed_copied_and_forgotten_with_its_session(folder: Path) -> None:
    url = f"sqlite:///{folder}/sessions.db"

    async def fill() -> None:
        async with keeping(open_store(url), namespace="shop") as bot:
            await say(bot, "eve", range(100))

    asyncio.run(fill())
    copied = barback(folder, "store", "copy", "sqlite:///sessions.db", "sqlite:///copy.db")
    assert copied.returncode == 0
    for name in ("copy", "sessions"):
        store = ("--store", f"sqlite:///{name}.db")
        told = sessions(folder, "export-user", "test:eve", *store)
        (session,) = json.loads(told.stdout)["sessions"]
        assert [each["value"]["said"] for each in session["history"]] == [*map(str, range(100))]
        assert sessions(folder, "forget", "test:eve", "--yes", *store).returncode == 0
    assert not [each for each in content(folder) if each.endswith("eve")]


def test_what_is_encrypted_is_printed_with_the_bots_keys(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, other = Keys.generate(), Keys.generate()
    for name, text in (("bot.keys", f"new={other}\nold={key}"), ("wrong.keys", f"new={other}")):
        (folder / name).write_text(text)
        (folder / name).chmod(0o600)

    async def fill() -> None:
        store = open_store(f"sqlite:///{folder}/sessions.db")
        async with keeping(store, encryption=Keys({"old": key})) as bot:
            await say(bot, "eve", range(100))

    asyncio.run(fill())
    command = ("export-user", "eve", "--store", "sqlite:///sessions.db")

    def told_with(*options: str) -> tuple[int, Any]:
        told = sessions(folder, *command, *options)
        return told.returncode, json.loads(told.stdout)["sessions"][0]

    for more, why in (((), "has no keys"), (("--keys", "wrong.keys"), "there are only 'new'")):
        status, session = told_with(*more)
        assert (status, session["state"]) == (1, None)
        assert why in session["error"]
    nowhere = sessions(folder, *command, "--keys", "no.keys")
    assert (nowhere.returncode, nowhere.stdout) == (2, "")
    found = told_with("--keys", "bot.keys")
    monkeypatch.setenv("BARBACK_KEYS", f"old={key}")
    assert found == told_with()
    status, session = found
    assert (status, session["state"]) == (0, {})
    assert [each["value"]["said"] for each in session["history"]] == [*map(str, range(100))]
