"""The playground without a page: what it does with a bot, and whom it lets in."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, chdir
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest

from barback import ConfigurationError
from barback.cli.loading import load_bot
from barback.playground.app import playground_app
from barback.playground.sessions import Conflict
from barback.playground.source import Source
from barback.playground.world import Message, Playground
from tests.playgrounds import ROOT, SHOP

TYPED = """
from dataclasses import dataclass
from barback import Bot

@dataclass
class Profile:
    name: str = ""
    visits: int = 0

bot = Bot(initial_state=Profile)

@bot.on_event
async def greet(context):
    context.set_state(visits=context.state.visits + 1)
    await context.send_text(f"Visit {context.state.visits}")
"""

STEPS = """
from barback import Bot, History

bot = Bot(initial_state={"name": None}, history=History(keep=10))

@bot.command("begin")
async def begin(context):
    context.next_step(ask_name)
    await context.send_text("What is your name?")

@bot.step("ask_name")
async def ask_name(context):
    context.history.append(context.event.text)
    context.set_state(name=context.event.text)
    context.end_steps()
    await context.send_text(f"Hello {context.event.text}")
"""
HELD = """
import asyncio
from barback import Bot

bot = Bot()

@bot.on_event
async def hold(context):
    context.set_state(held=True)
    await asyncio.sleep(60)
"""


def saying(text: str, person: str = "ann", conversation: str | None = None) -> Message:
    return Message(person=person, conversation=conversation, text=text)


@asynccontextmanager
async def tried(folder: Path, code: str = SHOP, **options: Any) -> AsyncIterator[Playground]:
    """A playground of a module in a folder of its own."""
    (folder / "shop.py").write_text(code)
    sys.modules.pop("shop", None)
    try:
        with chdir(folder):
            async with Playground(Source("shop:bot", load_bot, folder), **options) as world:
                yield world
    finally:
        sys.path[:] = [path for path in sys.path if path != str(folder)]
        sys.modules.pop("shop", None)


def said(world: Playground, by: str = "bot") -> list[str]:
    return [line["text"] for line in world.lines if line["by"] == by]


async def test_each_turn_tells_what_it_read_changed_and_sent(tmp_path: Path) -> None:
    async with tried(tmp_path) as world:
        assert await world.give([saying("Hi")]) == ["committed"]
        assert await world.give([saying("Tim")]) == ["committed"]
        first, second = world.turns
        assert [step["name"] for step in first["steps"]] == ["checkout", "handle", "send", "commit"]
        assert all(step["ms"] is not None for step in first["steps"])
        assert first["changes"] == [{"path": "asking", "before": "false", "after": "true"}]
        assert (first["sent"], second["sent"]) == (["Hi, what's your nickname?"], ["Hello Tim"])
        assert (first["found"], second["found"]) == (False, True)
        assert json.loads(second["before"])["asking"] is True
        assert {change["path"] for change in second["changes"]} == {"asking", "nickname"}
        assert said(world) == ["Hi, what's your nickname?", "Hello Tim"]


async def test_an_error_is_shown_with_its_place_in_the_code(tmp_path: Path) -> None:
    async with tried(tmp_path) as world:
        assert await world.give([saying("crash")]) == ["failed"]
        (turn,) = world.turns
        line = SHOP.splitlines().index('        raise ZeroDivisionError("of no use")') + 1
        assert turn["error"]["type"] == "ZeroDivisionError"
        assert turn["error"]["place"] == f"shop.py:{line} in greet"
        assert "of no use" in turn["error"]["traceback"]
        assert turn["changes"] == []
        assert "on_error" not in [step["name"] for step in turn["steps"]]  # it has none


async def test_an_event_may_be_delivered_again_and_two_may_come_at_once(tmp_path: Path) -> None:
    async with tried(tmp_path) as world:
        assert await world.give([saying("+1")], copies=3) == ["committed", "duplicate", "duplicate"]
        assert await world.again(world.turns[0]["number"]) == ["duplicate"]
        assert await world.give([saying("+1"), saying("+1")]) == ["committed", "committed"]
        assert (await world.session("playground:ann"))["state"]["n"] == 3
        with pytest.raises(ConfigurationError, match="no event of turn 99"):
            await world.again(99)


async def test_a_turn_tells_of_steps_and_history_as_well(tmp_path: Path) -> None:
    async with tried(tmp_path, STEPS) as world:
        await world.give([saying("/begin")])
        assert world.turns[0]["changes"] == [
            {"path": "(step)", "before": None, "after": "ask_name"}
        ]
        assert (await world.session("playground:ann"))["step"] == "ask_name"
        await world.give([saying("Tim")])
        assert world.turns[1]["changes"] == [
            {"path": "(step)", "before": "ask_name", "after": None},
            {"path": "(history)", "before": None, "after": "1 more"},
            {"path": "name", "before": "null", "after": '"Tim"'},
        ]
        await world.again(world.turns[1]["number"])
        assert world.turns[2]["changes"] == []


async def test_what_is_large_is_shown_in_part(tmp_path: Path) -> None:
    async with tried(tmp_path) as world:
        await world.give([Message(person="ann", payload="x" * 100_000)])
        (change,) = world.turns[0]["changes"]
        assert change["path"] == "cart[0]"
        assert change["after"].endswith("x… (100,002 characters)")
        assert len(change["after"]) < 3000
        await world.give([saying("Hi")])
        assert world.turns[1]["before"].endswith("bytes: open the session to see them.")


async def test_a_session_ends_when_the_clock_is_moved_far_enough(tmp_path: Path) -> None:
    async with tried(
        tmp_path,
        SHOP.replace("Bot(", "Bot(session_store=store, ").replace(
            "from barback import Bot",
            "from barback import Bot, MemorySessionStore\n"
            "store = MemorySessionStore(expires_in=60)",
        ),
    ) as world:
        await world.give([saying("Hi")])
        world.advance(59)
        await world.give([saying("Tim")])
        world.advance(61)
        await world.give([saying("Hi again")])
        assert [turn["found"] for turn in world.turns] == [False, True, False]
        for wrong in (0, -1, float("nan"), 1e12):
            with pytest.raises(ConfigurationError, match="goes forward"):
                world.advance(wrong)


async def test_a_session_is_edited_under_its_lease_and_only_as_it_was_seen(tmp_path: Path) -> None:
    async with tried(tmp_path) as world:
        await world.give([saying("Hi")])
        seen = await world.session("playground:ann")
        edited = await world.edit("playground:ann", {"asking": True, "by": "hand"}, seen["version"])
        assert edited["state"] == {"asking": True, "by": "hand"}
        with pytest.raises(Conflict, match="changed meanwhile"):
            await world.edit("playground:ann", {}, seen["version"])
        await world.delete("playground:ann")
        assert (await world.session("playground:ann"))["is_new"]
        assert [turn["origin"] for turn in world.turns] == ["event"]  # looking is no news


async def test_looking_at_a_session_is_no_activity(tmp_path: Path) -> None:
    async with tried(tmp_path) as world:
        await world.give([saying("Hi")])
        first = await world.session("playground:ann")
        world.advance(24 * 60)
        assert await world.session("playground:ann") == first
        assert (await world.session("playground:nobody"))["is_new"]
        assert world.bot is not None
        assert [own async for own in world.bot.session_ids()] == ["playground:ann"]


async def test_what_a_turn_holds_for_long_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("barback.playground.sessions.WITHIN", 0.05)
    first = "    if event.is_payload:"
    slow = SHOP.replace(first, f"    await asyncio.sleep(0.5)\n{first}")
    async with tried(tmp_path, slow) as world:
        talking = asyncio.ensure_future(world.give([saying("Hi")]))
        await asyncio.sleep(0.01)
        with pytest.raises(Conflict, match="held by a turn"):
            await world.session("playground:ann")
        assert await talking == ["committed"]


async def test_typed_states_are_edited_as_such(tmp_path: Path) -> None:
    async with tried(tmp_path, TYPED) as world:
        await world.give([saying("Hi")])
        seen = await world.session("playground:ann")
        with pytest.raises(Exception, match="visits"):
            await world.edit("playground:ann", {"name": "", "visits": "many"}, seen["version"])
        edited = await world.edit("playground:ann", {"name": "A", "visits": 7}, seen["version"])
        assert edited["state"] == {"name": "A", "visits": 7}


async def test_numbers_are_the_same_when_a_page_has_edited_what_is_beside_them(
    tmp_path: Path,
) -> None:
    code = SHOP.replace('"n": 0', '"n": 9007199254740993, "price": 1.0')
    async with asked(tmp_path, code=code) as client:
        path = "/api/session?id=playground:ann"
        told = (await client.get(path)).json()
        assert isinstance(told["state"], str)  # as JSON: a browser's numbers have 53 bits
        body = f'{{"id": "playground:ann", "state": {told["state"].replace("false", "true")}}}'
        sent = {"content-type": "application/json"}
        edited = (await client.post("/api/edit", content=body, headers=sent)).json()
        assert json.loads(edited["state"]) == {**json.loads(told["state"]), "asking": True}
        assert '"n": 9007199254740993' in edited["state"]
        assert '"price": 1.0' in edited["state"]


async def test_news_that_nobody_takes_for_too_long_have_an_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("barback.playground.news.MOST_UNREAD", 4)
    async with asyncio.timeout(20), tried(tmp_path) as world:
        news = world.news.listen()
        first = asyncio.ensure_future(anext(news))
        await asyncio.sleep(0)
        for _ in range(5):
            await world.give([saying("Hi")])
        taken = [await first] + [piece async for piece in news]
        assert 4 <= len(taken) <= 5  # so that a page listens anew, and asks for all


# Turns that take long.


async def test_a_page_does_not_wait_for_turns_that_take_long(tmp_path: Path) -> None:
    async with asked(tmp_path, code=HELD) as client, asyncio.timeout(20):
        for _ in range(10):  # a browser asks for six things at a time
            answer = await client.post("/api/say", json={"messages": [{"person": "a", "text": ""}]})
            assert answer.status_code == 200
        while (await client.get("/api/world")).json()["busy"] != {"playground:a": 10}:
            await asyncio.sleep(0)


async def test_turns_that_take_long_do_not_keep_it_from_ending(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("barback.playground.world.PATIENCE", 0.05)
    async with asyncio.timeout(10), tried(tmp_path, HELD) as world:
        held = world.begin([saying("Hi")])
        await asyncio.sleep(0.05)
    (outcome,) = await held
    assert outcome == "BotNotRunning: The bot is shutting down. Deliver the event again."
    assert world.turns[0]["settled"] == "not_done"
    assert world.about()["busy"] == {}


# Code that changes.


async def changed(world: Playground, path: Path, code: str) -> None:
    """Write the code anew, and wait until it was loaded, or was not."""
    news = world.news.listen()
    waiting = asyncio.ensure_future(anext(news))
    await asyncio.sleep(0)
    path.write_text(code)  # noqa: ASYNC240 - it is short
    async with asyncio.timeout(30):
        while (await waiting)["type"] not in {"loaded", "trouble"}:
            waiting = asyncio.ensure_future(anext(news))
    await news.aclose()  # type: ignore[attr-defined]  # it is a generator


async def test_code_that_changes_is_loaded_anew_and_sessions_stay(tmp_path: Path) -> None:
    async with tried(tmp_path) as world:
        await world.give([saying("Hi")])
        await changed(world, tmp_path / "shop.py", SHOP.replace("Hello", "Good day"))
        await world.give([saying("Tim")])
        assert said(world)[-1] == "Good day Tim"
        # What cannot be loaded is told, and the bot before goes on.
        await changed(world, tmp_path / "shop.py", "def broken(:")
        assert world.trouble is not None
        assert "SyntaxError" in world.trouble
        assert await world.give([saying("Hi")]) == ["committed"]
        await changed(world, tmp_path / "shop.py", SHOP)
        assert world.trouble is None
        assert (await world.session("playground:ann"))["state"]["nickname"] == "Tim"


async def test_code_that_cannot_be_loaded_at_first_is_loaded_when_it_can_be(tmp_path: Path) -> None:
    async with tried(tmp_path, "bot = 1 / 0") as world:
        assert world.trouble is not None
        assert "ZeroDivisionError" in world.trouble
        with pytest.raises(Exception, match="could not be loaded"):
            await world.give([saying("Hi")])
        await changed(world, tmp_path / "shop.py", SHOP)
        assert await world.give([saying("Hi")]) == ["committed"]


async def test_code_that_ends_the_process_is_trouble_and_no_end(tmp_path: Path) -> None:
    async with tried(tmp_path) as world:
        await world.give([saying("Hi")])
        await changed(world, tmp_path / "shop.py", "raise SystemExit(3)")
        assert world.trouble is not None
        assert "belongs below" in world.trouble
        assert await world.give([saying("Tim")]) == ["committed"]


async def test_modules_that_the_bot_imports_are_loaded_anew_as_well(tmp_path: Path) -> None:
    (tmp_path / "words.py").write_text("GREETING = 'Hello'")
    code = SHOP.replace("import asyncio", "import asyncio\nimport words").replace(
        "Hello {", "{words.GREETING} {"
    )
    async with tried(tmp_path, code) as world:
        await world.give([saying("Hi")])
        await changed(world, tmp_path / "words.py", "GREETING = 'Good evening'")
        await world.give([saying("Tim")])
        assert said(world)[-1] == "Good evening Tim"
    sys.modules.pop("words", None)


# A test that is saved.


def run_test(folder: Path, text: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_saved.py").write_text(text)
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_saved.py"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{folder}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


async def test_what_was_done_is_saved_as_a_test_that_passes_and_can_fail(tmp_path: Path) -> None:
    async with tried(tmp_path) as world:
        await world.give([saying("Hi")])
        await world.give([saying("Tim")])
        await world.give([Message(person="bob", payload="tea")])
        await world.give([saying("+1", "bob"), saying("+1", "bob")])
        await world.again(world.turns[0]["number"])
        await world.give([saying("crash")])
        await world.give([saying("Hello all", "ann", "team")])
        seen = await world.session("playground:bob")
        await world.edit("playground:bob", {**seen["state"], "n": 40}, seen["version"])
        world.advance(30)
        await world.give([saying("+1", "bob")])
        text = world.as_test()
    passed = await asyncio.to_thread(run_test, tmp_path, text)
    assert passed.returncode == 0, passed.stdout + text
    failed = await asyncio.to_thread(run_test, tmp_path, text.replace("Hello Tim", "Hello Tom"))
    assert failed.returncode == 1
    assert "SilentClient" not in text  # no handler asked for one


async def test_a_session_that_was_there_before_begins_the_test(tmp_path: Path) -> None:
    options = f"session_store='sqlite:///{tmp_path}/sessions.db', "
    async with tried(tmp_path, SHOP.replace("Bot(", f"Bot({options}")) as world:
        await world.give([saying("Hi")])
        world.forget()
        await world.give([saying("Tim")])
        text = world.as_test()
    passed = await asyncio.to_thread(run_test, tmp_path, text)
    assert passed.returncode == 0, passed.stdout + text
    assert "The session was there before." in text


async def test_a_session_that_was_at_a_step_is_at_it_in_the_test(tmp_path: Path) -> None:
    async with tried(tmp_path, STEPS) as world:
        await world.give([saying("/begin")])
        world.forget()
        await world.give([saying("Tim")])
        text = world.as_test()
    passed = await asyncio.to_thread(run_test, tmp_path, text)
    assert passed.returncode == 0, passed.stdout + text
    assert "Hello Tim" in text


async def test_a_client_that_handlers_ask_for_is_there_in_the_test(tmp_path: Path) -> None:
    first = "    event = context.event"
    code = SHOP.replace(first, f"{first}\n    assert await context.client.get_me(1) is None")
    async with tried(tmp_path, code) as world:
        await world.give([saying("Hi")])
        text = world.as_test()
    passed = await asyncio.to_thread(run_test, tmp_path, text)
    assert passed.returncode == 0, passed.stdout + text


async def test_nothing_done_is_a_test_too(tmp_path: Path) -> None:
    async with tried(tmp_path) as world:
        text = world.as_test()
    assert (await asyncio.to_thread(run_test, tmp_path, text)).returncode == 0


async def test_a_typed_bot_is_saved_as_well(tmp_path: Path) -> None:
    async with tried(tmp_path, TYPED) as world:
        await world.give([saying("Hi")])
        seen = await world.session("playground:ann")
        await world.edit("playground:ann", {"name": "A", "visits": 7}, seen["version"])
        await world.give([saying("Hi")])
        text = world.as_test()
    passed = await asyncio.to_thread(run_test, tmp_path, text)
    assert passed.returncode == 0, passed.stdout + text


# Whom it lets in.


@asynccontextmanager
async def asked(
    folder: Path, code: str = SHOP, **options: Any
) -> AsyncIterator[httpx2.AsyncClient]:
    async with tried(folder, code) as world:
        app = playground_app(world, **options)
        transport = httpx2.ASGITransport(app=app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as client:
            yield client


async def test_only_its_own_page_may_speak_to_it(tmp_path: Path) -> None:
    async with asked(tmp_path) as client:
        body = b'{"messages": [{"person": "ann", "text": "Hi"}]}'
        sent = {"content-type": "application/json"}
        assert (await client.get("/", headers={"host": "evil.example"})).status_code == 421
        stranger = {**sent, "origin": "http://evil.example"}
        assert (await client.post("/api/say", content=body, headers=stranger)).status_code == 403
        # A page elsewhere may send this without asking first; JSON it may not.
        plain = {"content-type": "text/plain"}
        assert (await client.post("/api/say", content=body, headers=plain)).status_code == 415
        own = {**sent, "origin": "http://localhost"}
        assert (await client.post("/api/say", content=body, headers=own)).status_code == 200
        page = await client.get("/")
        assert "default-src 'self'" in page.headers["content-security-policy"]


async def test_a_token_is_asked_for_once(tmp_path: Path) -> None:
    async with asked(tmp_path, token="open-sesame") as client:  # noqa: S106 - it opens nothing
        assert (await client.get("/")).status_code == 401
        assert (await client.get("/?token=wrong")).status_code == 401
        told = await client.get("/?token=open-sesame")
        assert (told.status_code, told.headers["location"]) == (303, "/")
        assert "HttpOnly" in told.headers["set-cookie"]
        assert (await client.get("/api/world")).status_code == 200


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("say", b"{"),
        ("say", b'{"messages": [{"text": "Hi"}]}'),
        ("say", b'{"messages": [], "more": 1}'),
        ("clock", b'{"minutes": -1}'),
        ("again", b'{"turn": 7}'),
        ("edit", b'{"id": "playground:ann", "state": []}'),
        ("edit", b'{"id": "", "state": {}}'),
        ("delete", b'{"id": "no session"}'),
    ],
)
async def test_what_it_is_asked_wrongly_is_told(tmp_path: Path, path: str, body: bytes) -> None:
    async with asked(tmp_path) as client:
        sent = {"content-type": "application/json"}
        answer = await client.post(f"/api/{path}", content=body, headers=sent)
        assert answer.status_code == 400
        assert msgspec.json.decode(answer.content)["error"]


async def test_what_is_too_large_is_refused(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("barback.playground.app.MOST", 10)
    async with asked(tmp_path) as client:
        sent = {"content-type": "application/json"}
        answer = await client.post("/api/say", content=b" " * 11, headers=sent)
        assert answer.status_code == 413
