"""`barback sessions list`, `show`, `stats` and `watch`: nothing is changed by them."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from barback import Keys
from barback.cli.sessions.figures import Sizes
from barback.testing.contract_tools import lease_on
from tests.histories import keeping, say
from tests.sessions_command import Sessions, filled
from tests.test_cli import environment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

EVERYONE = {
    "telegram:tim",
    "telegram:ann",
    "telegram:old",
    "line:big",
    "shop/line:bob",
    "line:od\x1bd",
}


@pytest.fixture
def sessions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Sessions]:
    made = filled(Sessions(f"sqlite:///{tmp_path}/sessions.db", capsys))
    before = made.content()
    yield made
    assert made.content() == before  # none of these commands changes anything


# List.


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ([], EVERYONE),
        (["--channel", "telegram"], {"telegram:tim", "telegram:ann", "telegram:old"}),
        (
            ["--channel", "telegram", "--channel", "line", "--namespace", "shop"],
            {"shop/line:bob"},
        ),
        (["--namespace", ""], EVERYONE - {"shop/line:bob"}),
        (["--prefix", "line:"], {"line:big", "line:od\x1bd"}),
        (["--match", "*:b?[gb]"], {"line:big", "shop/line:bob"}),
        (["--match", "telegram:t*"], {"telegram:tim"}),
        (["--older-than", "1d"], {"telegram:ann", "line:big"}),
        (["--older-than", "1.5d", "--younger-than", "2w"], {"line:big"}),
        (["--larger-than", "4k"], {"line:big"}),
        (["--expired"], {"telegram:old"}),
        (["--live", "--channel", "telegram"], {"telegram:tim", "telegram:ann"}),
        (["--aside"], {"unreadable:7f:line:eve"}),
        (["--prefix", "nobody"], set()),
    ],
)
def test_sessions_are_chosen_by_what_they_are_like(
    sessions: Sessions, options: list[str], found: set[str]
) -> None:
    told = sessions("list", "--json", *options)
    assert (told.status, told.err) == (0, "")
    assert {each["id"] for each in told.json} == found
    assert len(sessions("list", *options).out.splitlines()) == len(found) + 1


def test_a_row_tells_times_and_sizes_and_no_state(sessions: Sessions) -> None:
    rows = {line.split()[-1]: line for line in sessions("list").out.splitlines()}
    assert rows["ID"].split() == ["ACTIVE", "ENDS", "BYTES", "SCHEMA", "ID"]
    assert rows["telegram:tim"].split()[3:6] == ["in", "2", "d"]
    assert rows["telegram:ann"].split()[:4] == ["40", "d", "ago", "never"]
    assert "over" in rows["telegram:old"]
    assert r"$'line:od\u001bd'" in rows
    told = sessions("list", "--json")
    (tim,) = (each for each in told.json if each["key"] == "tim")
    assert (tim["users"], tim["schema"], tim["over"], tim["encrypted"]) == (
        ["tim"],
        2,
        False,
        False,
    )
    assert "Jürgen" not in told.out
    assert told.out.isascii()
    assert "\x1b" not in told.out + sessions("list").out


def test_only_so_many_may_be_asked_for(sessions: Sessions) -> None:
    assert len(sessions("list", "--json", "--limit", "2").json) == 2


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--older-than", "soon"], "as in 30d"),
        (["--older-than", "3"], "as in 30d"),
        (["--larger-than", "4q"], "as in 64k"),
        (["--match", ""], "looks like no id"),
        (["--namespace", "a/b"], "namespace is 1 to 64"),
        (["--limit", "0"], "--limit"),
    ],
)
def test_a_filter_that_is_none_is_told(sessions: Sessions, options: list[str], said: str) -> None:
    told = sessions("list", *options)
    assert (told.status, told.out) == (2, "")
    assert said in told.err


@pytest.mark.parametrize("command", ["list", "stats", "export"])
def test_what_cannot_be_read_is_told_and_hides_nothing(
    sessions: Sessions, tmp_path: Path, command: str
) -> None:
    with closing(sqlite3.connect(tmp_path / "sessions.db")) as database, database:
        before = database.execute("SELECT record FROM sessions WHERE id = 'line:big'").fetchone()
        database.execute("UPDATE sessions SET record = '{' WHERE id = 'line:big'")
    told = sessions(command, *([] if command == "export" else ["--json"]))
    with closing(sqlite3.connect(tmp_path / "sessions.db")) as database, database:
        database.execute("UPDATE sessions SET record = ? WHERE id = 'line:big'", before)
    assert told.status == 1
    assert "the first is 'line:big'" in told.err
    if command == "stats":
        assert told.json[0]["sessions"] == len(EVERYONE) - 1
    else:
        assert {each["id"] for each in told.json} == EVERYONE - {"line:big"}


def test_the_store_may_be_named_by_the_environment(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from barback.cli import main  # noqa: PLC0415 - where it is used as a person would

    monkeypatch.setenv("BARBACK_STORE", sessions.url)
    assert main(["sessions", "list", "--json", "--limit", "1"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_a_store_that_is_not_there_is_not_made(sessions: Sessions, tmp_path: Path) -> None:
    told = sessions("list", url=f"sqlite:///{tmp_path}/nowhere.db")
    assert (told.status, told.out) == (1, "")
    assert "finds no file" in told.err
    assert not (tmp_path / "nowhere.db").exists()


# Show.


def test_a_session_is_shown_with_its_state(sessions: Sessions) -> None:
    told = sessions("show", "telegram:tim")
    assert told.status == 0
    facts, _, state = told.out.partition("\n\n")
    assert json.loads(state)["name"] == "Jürgen"
    lines = {line[:12].strip(): line[13:] for line in facts.splitlines()}
    assert (lines["people"], lines["schema"], lines["id"]) == ("tim", "2", "telegram:tim")
    assert lines["ends"].endswith("(in 2 d)")
    (found,) = sessions("show", "telegram:tim", "--json").json
    assert found["state"] == {
        "name": "Jürgen",
        "cart": [{"price": 1}, {"price": 2}],
        "asking": False,
    }


def test_what_strangers_wrote_does_not_talk_to_the_terminal(sessions: Sessions) -> None:
    told = sessions("show", "line:od\x1bd")
    assert not set(told.out) & set("\x1b\x07\x9b\u202e")
    assert r"\u202e\u009b" in told.out


@pytest.mark.parametrize("key", ["od\x1b\u202e d", "Jürgen's", r"a\b", "😀", "two words"])
def test_an_id_is_listed_as_a_shell_takes_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], key: str
) -> None:
    sessions = Sessions(f"sqlite:///{tmp_path}/sessions.db", capsys)
    sessions.put(f"line:{key}", {"n": 1})
    head, *rows = sessions("list", "--channel", "line").out.splitlines()
    typed = " ".join(row[head.index("ID") :] for row in rows)
    heard = subprocess.check_output(
        ["/bin/bash", "-c", f"printf '%s\\0' {typed}"], env={**os.environ, "LC_ALL": "C.UTF-8"}
    )
    assert f"line:{key}" in heard.decode().split("\0")


def test_one_that_is_over_or_not_there_says_so(sessions: Sessions) -> None:
    assert "over since" in sessions("show", "telegram:old").out
    told = sessions("show", "telegram:nobody")
    assert (told.status, told.out) == (1, "")
    assert told.err == "There is no session 'telegram:nobody'.\n"
    assert sessions("show", "nonsense").status == 2


def test_a_session_in_a_turn_is_shown_at_once(sessions: Sessions) -> None:
    held = lease_on("telegram:tim")
    sessions.run(lambda store: store.checkout("telegram:tim", held))
    assert sessions("show", "telegram:tim").status == 0
    sessions.run(lambda store: store.release("telegram:tim", held))


# Stats.


def test_sessions_are_counted(sessions: Sessions) -> None:
    (found,) = sessions("stats", "--json").json
    assert found["sessions"] == len(EVERYONE)
    assert found["channels"] == {"line": 2, "shop/line": 1, "telegram": 3}
    assert found["schemas"] == {"0": 5, "2": 1}
    assert found["bytes"]["largest"] > 5000 > found["bytes"]["p50"] > 100
    assert {label: number for label, number in found["ends"].items() if number} == {
        "over already": 1,
        "within a week": 1,
        "later": 1,
        "never": 3,
    }
    lines = sessions("stats").out.splitlines()
    (never,) = (line for line in lines if line.split()[:1] == ["never"])
    assert never.endswith("█" * 40)
    assert sessions("stats", "--prefix", "nobody").status == 0


def test_percentiles_are_within_a_hundredth() -> None:
    sizes = Sizes()
    for size in range(1, 10_001):
        sizes.add(size)
    for percent in (1, 50, 90, 99, 100):
        assert sizes.percentile(percent) == pytest.approx(percent * 100, rel=0.01)
    assert (sizes.number, sizes.sum, sizes.largest) == (10_000, 50_005_000, 10_000)
    assert Sizes().percentile(50) == 0


# Watch.


def test_what_comes_changes_and_goes_is_told(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/watched.db"
    watched = Sessions(url, None)  # type: ignore[arg-type]  # it is not asked for what it said
    watched.put("test:tim", {"n": 1})
    watched.put("test:ann", {"n": 1})
    watched.put("other:eve", {"n": 1})
    command = [sys.executable, "-m", "barback", "sessions", "watch", "--json", "--every", "0.1"]
    process = subprocess.Popen(
        [*command, "--channel", "test", "--store", url],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(None),
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    )
    assert process.stderr is not None
    assert process.stdout is not None
    assert process.stderr.readline() == "Watching 2 sessions.\n"

    async def destroy(store: Any) -> None:
        await store.destroy("test:ann", None)

    watched.put("other:eve", {"n": 2})
    watched.put("test:tim", {"n": 2})
    assert _news(process.stdout.readline()) == ("changed", "test:tim")
    watched.put("test:bob", {"n": 2})
    assert _news(process.stdout.readline()) == ("new", "test:bob")
    watched.run(destroy)
    assert _news(process.stdout.readline()) == ("gone", "test:ann")

    # What cannot be read any more is not gone.
    with closing(sqlite3.connect(tmp_path / "watched.db")) as database, database:
        database.execute("UPDATE sessions SET record = '{' WHERE id = 'test:tim'")
    assert "the first is 'test:tim'" in process.stderr.readline()
    watched.put("test:zoe", {"n": 2})
    assert _news(process.stdout.readline()) == ("new", "test:zoe")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (130, "", "")


def _news(line: str) -> tuple[str, str]:
    told = json.loads(line)
    return told["what"], told["id"]


# Encryption, and histories.


def test_what_is_encrypted_is_shown_with_its_keys(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    key = Keys.generate()
    (tmp_path / "bot.keys").write_text(f"2026={key}")
    (tmp_path / "bot.keys").chmod(0o600)
    sealed = Sessions(f"file:{tmp_path}/sealed", capsys)

    async def fill(store: Any) -> None:
        async with keeping(store, encryption=Keys({"2026": key})) as bot:
            await say(bot, "eve", range(100))
            async with bot.conversation("test:eve") as context:
                context.set_state(likes="tea")

    (tmp_path / "sealed").mkdir()
    sealed.run(fill)
    told = sealed("show", "test:eve")
    assert told.status == 1
    assert "is encrypted" in told.err
    assert ", encrypted" in told.out
    assert "100 entries" in told.out
    told = sealed("show", "test:eve", "--keys", str(tmp_path / "bot.keys"))
    assert (told.status, told.err) == (0, "")
    assert told.out.endswith('{\n  "likes": "tea"\n}\n')
    monkeypatch.setenv("BARBACK_KEYS", f"2026={key}")
    assert sealed("show", "test:eve", "--json").json[0]["state"] == {"likes": "tea"}
    assert [each["id"] for each in sealed("list", "--json").json] == ["test:eve"]  # and no part
    assert sealed("stats", "--json").json[0]["history_parts"] > 0
