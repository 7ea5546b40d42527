"""`barback sessions export` and `import`: whole sessions leave a store, and come back."""

from __future__ import annotations

import asyncio
import json
import os
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from barback import Keys, Record, open_store
from tests.every_store import SHARED, own_url
from tests.histories import keeping, say, values
from tests.sessions_command import Sessions, filled, no_terminal

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["no_terminal"]  # a fixture

EVE = "test:eve"


@pytest.fixture
def sessions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Sessions:
    return filled(Sessions(f"sqlite:///{tmp_path}/sessions.db", capsys))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "all.jsonl"


def talk(url: str, keys: Keys | None = None) -> None:
    """Eve has said so much that some of it is in records of its own."""

    async def fill() -> None:
        async with keeping(open_store(url), encryption=keys) as bot:
            for begin in range(0, 300, 100):
                await say(bot, "eve", range(begin, begin + 100))

    asyncio.run(fill())


def said(url: str, keys: Keys | None = None) -> list[str]:
    async def read() -> list[str]:
        async with keeping(open_store(url), encryption=keys) as bot:
            return [each["said"] for each in await values(bot, EVE)]

    return asyncio.run(read())


def bare(records: dict[str, Record]) -> dict[str, Record]:
    """But for what a turn writes of itself."""
    return {each.id: msgspec.structs.replace(each, version=0, seen={}) for each in records.values()}


@pytest.mark.parametrize("store", SHARED)
def test_sessions_are_looked_at_changed_and_come_back_on_every_store(
    store: str,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    file: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    sessions = filled(Sessions(own_url(store, request, tmp_path), capsys))
    talk(sessions.url)
    before = sessions.content()
    assert len(sessions("list", "--json").json) == 7
    assert sessions("stats", "--json").json[0]["sessions"] == 7
    assert sessions("show", EVE, "--json").json[0]["history_entries"] == 300
    assert sessions("export", "--output", str(file)).status == 0
    assert sessions("set", "telegram:tim", 'name="Tom"', "--yes").status == 0
    assert sessions("expire", "telegram:tim", "--yes").status == 0
    assert sessions("diff", "telegram:tim", "--file", str(file)).status == 1
    assert sessions("delete", "--all", "--yes").status == 0
    assert set(sessions.content()) == {"unreadable:7f:line:eve"}
    told = sessions("import", str(file), "--yes")
    assert (told.status, told.err) == (0, "")
    assert told.out.startswith("7 imported, in ")
    assert bare(sessions.content()) == bare(before)
    assert said(sessions.url) == [*map(str, range(300))]
    assert sessions("import", str(file), "--yes").out.startswith("0 imported, 7 there already, in ")


def test_lines_are_records_and_say_all(sessions: Sessions) -> None:
    talk(sessions.url)
    told = sessions("export")
    assert told.status == 0
    lines = {each["id"]: each for each in told.json}
    assert lines["telegram:tim"]["state"]["name"] == "Jürgen"
    assert len(lines[EVE]["parts"]) == sessions("show", EVE, "--json").json[0]["history_parts"]
    assert sessions("export", "--channel", "line", "--live").json[0]["id"].startswith("line:")
    assert [each["id"] for each in sessions("export", "--aside").json] == ["unreadable:7f:line:eve"]


def test_a_file_is_there_when_all_is_in_it_and_for_its_owner(
    sessions: Sessions, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sessions("export", "--output", str(file)).status == 0
    assert file.stat().st_mode & 0o777 == 0o600
    whole = file.read_bytes()
    told = sessions("export", "--output", str(file), url="sqlite:///nowhere.db")
    assert told.status == 1
    assert file.read_bytes() == whole
    assert {each.name for each in file.parent.iterdir() if "jsonl" in each.name} == {"all.jsonl"}


# What is there already.


def test_another_session_is_left_alone_unless_it_is_said(sessions: Sessions, file: Path) -> None:
    sessions("export", "--output", str(file), "--channel", "telegram")
    before = sessions.content()
    assert sessions("set", "telegram:tim", "n=5", "--yes").status == 0
    assert sessions("delete", "telegram:old", "--yes").status == 0
    changed = sessions.content()
    would = sessions("import", str(file), "--dry-run")
    assert would.out.startswith("1 would be imported, 1 there already, 1 in conflict, in ")
    assert sessions.content() == changed
    told = sessions("import", str(file), "--yes")
    assert told.status == 1
    assert told.err == (
        "The store has another session of telegram:tim: say --overwrite or --skip.\n"
    )
    assert sessions.state("telegram:tim")["n"] == 5
    told = sessions("import", str(file), "--yes", "--skip")
    assert (told.status, told.err) == (0, "")
    assert told.out.startswith("0 imported, 2 there already, 1 skipped, in ")
    told = sessions("import", str(file), "--yes", "--overwrite")
    assert told.out.startswith("0 imported, 1 put in place of another, 2 there already, in ")
    assert bare(sessions.content()) == bare(before)


def test_parts_of_a_history_that_nobody_names_any_more_go(
    tmp_path: Path, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sessions = Sessions(f"sqlite:///{tmp_path}/sessions.db", capsys)
    talk(sessions.url)
    before = sessions.content()
    sessions("export", "--output", str(file))
    talk(sessions.url)  # more, for which parts are merged
    assert len(said(sessions.url)) == 600
    assert sessions("import", str(file), "--yes", "--overwrite").status == 0
    assert bare(sessions.content()) == bare(before)
    assert said(sessions.url) == [*map(str, range(300))]


def test_a_line_that_was_laid_out_anew_is_the_same_session(sessions: Sessions, file: Path) -> None:
    before = sessions.content()
    lines = [json.dumps(each, indent=None) for each in sessions("export").json]
    file.write_text("\n\n".join(lines))
    assert sessions("delete", "--all", "--yes").status == 0
    assert sessions("import", str(file), "--yes").status == 0
    assert bare(sessions.content()) == bare(before)


# What is wrong.


def test_lines_that_are_no_sessions_are_told_and_hide_no_other(
    sessions: Sessions, file: Path
) -> None:
    talk(sessions.url)
    lines = {each["id"]: each for each in sessions("export").json}
    torn = dict(lines[EVE], parts=lines[EVE]["parts"][1:])
    other = dict(lines[EVE], id="test:ann")
    wrong: list[Any] = [
        b'{"state": {"secret": "S3cret',
        b"[1]",
        b'{"id": "nonsense"}',
        b'{"id": "test:tim", "state": "S3cret"}',
        json.dumps(torn).encode(),
        json.dumps(other).encode(),
        json.dumps(dict(lines["telegram:tim"], format=9)).encode(),
        b"\xff\xfe",
    ]
    sound = json.dumps(lines["line:big"]).encode()
    file.write_bytes(b"\n".join([*wrong, sound]))
    assert sessions("delete", "--all", "--yes").status == 0
    told = sessions("import", str(file), "--yes")
    assert told.status == 1
    assert told.out.startswith("1 imported, 8 failed, in ")
    assert "S3cret" not in told.err
    for number in range(1, 9):
        assert f"Line {number}: " in told.err
    assert "not all there" in told.err
    assert "Update barback" in told.err
    assert set(sessions.content()) == {"line:big", "unreadable:7f:line:eve"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere.jsonl", "--yes"], "does not exist"),
        (["-"], "--yes"),
        (["FILE"], "There is nobody to be asked"),
    ],
)
def test_a_command_line_that_is_wrong_is_told(
    sessions: Sessions, file: Path, arguments: list[str], said: str, no_terminal: None
) -> None:
    file.write_text("")
    told = sessions("import", *(str(file) if each == "FILE" else each for each in arguments))
    assert told.status == 2
    assert said in told.err


# Encryption.


def test_what_is_encrypted_travels_as_it_is_or_is_opened_and_closed_again(
    tmp_path: Path,
    file: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    old_key, key = Keys.generate(), Keys.generate()
    old, new = Keys({"old": old_key}), Keys({"new": key})
    source = Sessions(f"sqlite:///{tmp_path}/sealed.db", capsys)
    target = Sessions(f"sqlite:///{tmp_path}/other.db", capsys)
    talk(source.url, old)
    target.content()  # made
    told = source("export", "--output", str(file))
    assert told.status == 0
    assert '"said"' not in file.read_text()
    assert target("import", str(file), "--yes").status == 0
    assert said(target.url, old) == [*map(str, range(300))]

    told = source("export", "--decrypt")
    assert (told.status, told.err) == (2, "--decrypt needs --keys FILE, or BARBACK_KEYS.\n")
    monkeypatch.setenv("BARBACK_KEYS", f"old={old_key}")
    assert source("export", "--decrypt", "--output", str(file)).status == 0
    line = json.loads(file.read_bytes())
    assert line["format"] == 1
    assert sum(len(part["state"]["entries"]) for part in line["parts"]) > 100

    monkeypatch.setenv("BARBACK_KEYS", f"new={key},old={old_key}")
    # The same by what it says, whichever key it is under.
    assert target("import", str(file), "--yes").out.startswith("0 imported, 1 there already")
    assert target("delete", "--all", "--yes").status == 0
    assert target("import", str(file), "--yes").status == 0
    assert said(target.url, new) == [*map(str, range(300))]
    assert b'"said"' not in (tmp_path / "other.db").read_bytes()
    monkeypatch.delenv("BARBACK_KEYS")
    assert target("delete", "--all", "--yes").status == 0
    assert target("import", str(file), "--yes").status == 0
    assert said(target.url) == [*map(str, range(300))]


def test_standard_input_and_output_may_be_joined(
    sessions: Sessions, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = Sessions(f"sqlite:///{tmp_path}/other.db", capsys)
    target.content()
    there, back = os.pipe()
    with os.fdopen(back, "w") as pipe:
        pipe.write(sessions("export", "--namespace", "shop").out)
    with os.fdopen(there, "r") as pipe, pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdin", pipe)
        assert target("import", "-", "--yes").status == 0
    assert set(target.content()) == {"shop/line:bob"}
