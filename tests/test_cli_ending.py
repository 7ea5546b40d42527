"""`barback sessions expire` and `delete`: by ids, or by what sessions are like; under the lease."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from barback import Bot, open_store
from barback.testing.contract_tools import lease_on, now
from tests.histories import keeping, say
from tests.sessions_command import Sessions, filled, no_terminal

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["no_terminal"]  # a fixture

TIM = "telegram:tim"


@pytest.fixture
def sessions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Sessions:
    return filled(Sessions(f"sqlite:///{tmp_path}/sessions.db", capsys))


@pytest.mark.parametrize("command", ["delete", "expire"])
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "Say which sessions"),
        ([TIM, "--channel", "telegram"], "Say either which ids"),
        ([TIM, "--all"], "Say either which ids"),
        (["--all", "--prefix", "x"], "--all is every session"),
        (["nonsense"], "is not of the form 'channel:key'"),
        ([TIM], "say --yes, or --dry-run"),
    ],
)
def test_who_is_meant_must_be_clear(
    sessions: Sessions, command: str, arguments: list[str], said: str, no_terminal: None
) -> None:
    before = sessions.content()
    told = sessions(command, *arguments)
    assert (told.status, told.out) == (2, "")
    assert said in told.err
    assert sessions.content() == before


def test_sessions_are_ended_as_if_their_time_were_over(sessions: Sessions) -> None:
    before = sessions.content()
    would = sessions("expire", "--channel", "telegram", "--dry-run")
    assert would.status == 0
    assert "would be ended       telegram:ann\nwould be ended       telegram:tim\n" in would.out
    assert sessions.content() == before
    told = sessions("expire", "--channel", "telegram", "--yes")
    assert told.status == 0
    assert told.out.startswith("2 ended; 7 looked at, in ")
    after = sessions.content()
    changed = {each for each in after if after[each] != before[each]}
    assert changed == {TIM, "telegram:ann"}
    assert all(after[each].expired(now()) for each in changed)
    assert after[TIM].state == before[TIM].state
    assert after[TIM].last_activity == before[TIM].last_activity
    assert sessions("expire", TIM, "--yes").out.startswith("0 ended, 1 not there any more")


def test_on_expired_has_the_last_state_of_who_was_ended(sessions: Sessions) -> None:
    assert sessions("expire", "telegram:ann", "--yes").status == 0
    ended: list[Any] = []

    async def run() -> None:
        bot = Bot(session_store=open_store(sessions.url), schema_version=2)

        @bot.on_expired
        async def note(context: Any) -> None:
            ended.append(context.state)

        bot.migrate(0)(dict)
        bot.migrate(1)(dict)
        async with bot, asyncio.timeout(20):
            while {"n": 1} not in ended:
                await asyncio.sleep(0.01)

    asyncio.run(run())


def test_sessions_are_deleted(sessions: Sessions) -> None:
    before = sessions.content()
    assert sessions("delete", "--older-than", "30d", "--dry-run").status == 0
    assert sessions.content() == before
    told = sessions("delete", "--older-than", "30d", "--yes")
    assert told.status == 0
    assert told.out.startswith("1 deleted; 7 looked at, in ")
    del before["telegram:ann"]
    assert sessions.content() == before
    told = sessions("delete", TIM, "telegram:nobody", "line:od\x1bd", "--yes")
    assert told.out.startswith("2 deleted, 1 not there any more; 3 looked at, in ")
    assert sessions("delete", "--aside", "--yes").out.startswith("1 deleted; ")
    assert sessions("delete", "--all", "--yes").out.startswith("3 deleted; ")
    assert sessions.content() == {}


def test_a_session_goes_with_its_history(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sessions = Sessions(f"sqlite:///{tmp_path}/sessions.db", capsys)

    async def fill() -> None:
        async with keeping(open_store(sessions.url)) as bot:
            await say(bot, "eve", range(200))

    asyncio.run(fill())
    assert len(sessions.content()) > 1
    told = sessions("delete", "--all", "--yes")
    assert told.out.startswith("1 deleted; ")
    assert sessions.content() == {}


def test_whoever_is_there_is_asked(sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def ask(question: str, **_: Any) -> bool:
        asked.append(question)
        return len(asked) > 1

    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("click.confirm", ask)
    assert sessions("delete", "--channel", "line").status == 1
    assert len(sessions.content()) == 7
    assert sessions("delete", "--channel", "line").status == 0
    assert len(sessions.content()) == 4
    assert asked == [f"Delete 3 in {sessions.url}?"] * 2


def test_an_event_that_came_meanwhile_saves_a_session(sessions: Sessions) -> None:
    """What the session is like is looked at again under its lease."""
    held = lease_on("telegram:ann")
    began = threading.Event()
    told: list[Any] = []

    async def turn(store: Any) -> None:
        record = await store.checkout("telegram:ann", held)
        held.version = record.version
        began.set()
        await asyncio.sleep(0.5)
        await store.commit(_active(record), held)

    holder = threading.Thread(target=sessions.run, args=(turn,))
    holder.start()
    try:
        assert began.wait(20)
        told.append(sessions("delete", "--older-than", "30d", "--yes"))
    finally:
        holder.join()
    assert told[0].status == 0
    assert told[0].out.startswith("0 deleted, 1 not there any more; ")
    assert "telegram:ann" in sessions.content()


def test_what_cannot_be_read_is_deleted_by_force_alone(sessions: Sessions, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "sessions.db")) as database, database:
        database.execute(f"UPDATE sessions SET record = '{{' WHERE id = '{TIM}'")  # noqa: S608
    told = sessions("delete", TIM, "line:big", "--yes")
    assert told.status == 1
    assert told.out.startswith("1 deleted, 1 failed; 2 looked at, in ")
    assert told.err.startswith(
        "'telegram:tim': The record of session 'telegram:tim' cannot be read"
    )
    assert sessions("delete", "--channel", "telegram", "--force", "--yes").status == 2
    would = sessions("delete", TIM, "--force", "--dry-run")
    assert would == (0, "would be deleted by force  telegram:tim\n", "")
    assert sessions("delete", TIM, "--force", "--yes") == (0, "1 deleted by force.\n", "")
    assert TIM not in sessions.content()


def _active(record: Any) -> Any:
    import msgspec  # noqa: PLC0415

    return msgspec.structs.replace(record, version=record.version + 1, last_activity=now())
