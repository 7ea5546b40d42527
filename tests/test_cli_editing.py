"""`barback sessions edit`, `set` and `diff`: states, and places inside of them."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from barback import Bot, Keys, StateValueError, open_store
from barback.cli.sessions.paths import lines_of, parsed, put, removed, written
from barback.differences import differences
from barback.testing.contract_tools import now
from tests.sealed import hidden_in
from tests.sessions_command import Sessions, filled, no_terminal

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["no_terminal"]  # a fixture

TIM = "telegram:tim"


@pytest.fixture
def sessions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Sessions:
    return filled(Sessions(f"sqlite:///{tmp_path}/sessions.db", capsys))


@pytest.fixture
def editor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Sets what the person does in the editor, one after another: code that has the `text`."""

    def does(*steps: str) -> None:
        script = tmp_path / "editor.py"
        script.write_text(
            f"import os, pathlib, sys\n"
            f"file, steps = pathlib.Path(sys.argv[1]), {steps!r}\n"
            f"counter = pathlib.Path({str(tmp_path / 'edited')!r})\n"
            f"done = len(counter.read_text()) if counter.exists() else 0\n"
            f"counter.write_text('x' * (done + 1))\n"
            f"assert file.stat().st_mode & 0o77 == 0\n"
            f"text = file.read_text()\n"
            f"scope = dict(text=text)\n"
            f"exec(steps[done], scope)\n"
            f"file.write_text(scope['text'])\n"
            f"os.utime(file, (done + 1, done + 1))\n"
        )
        monkeypatch.setenv("VISUAL", f"{sys.executable} {script}")

    return does


@pytest.fixture
def says(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Somebody is there, and says yes so often, and then no."""

    def answers(yes: int) -> list[str]:
        asked: list[str] = []

        def ask(question: str, **_: Any) -> bool:
            asked.append(question)
            return len(asked) <= yes

        monkeypatch.setattr("sys.stdin.isatty", lambda: True)
        monkeypatch.setattr("click.confirm", ask)
        return asked

    return answers


# Edit.


def test_a_state_is_edited_and_nothing_else(sessions: Sessions, editor: Any) -> None:
    before = sessions.content()
    editor("text = text.replace('\"price\": 2', '\"price\": 20')")
    told = sessions("edit", TIM, "--yes")
    assert told == (0, "- cart[1].price: 2\n+ cart[1].price: 20\nWritten to telegram:tim.\n", "")
    after = sessions.content()
    assert json.loads(after[TIM].state)["cart"] == [{"price": 1}, {"price": 20}]
    assert after.pop(TIM).version != before[TIM].version
    assert _bare(sessions.content()[TIM]) == _bare(before.pop(TIM))
    assert after == before


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ("text = text[:20]", "That is no JSON: "),
        ("text = '[1]'", "A state is a JSON object"),
        ("text = '{\"n\": 1e999}'", "is a float that is not finite"),
        ("text = '{\"secret\": 123456789012345678901}'", "is an integer of more than 64 bits"),
    ],
)
def test_what_is_no_state_comes_back_to_the_editor(
    sessions: Sessions, editor: Any, says: Any, step: str, said: str
) -> None:
    editor(step, "assert text != 'x'; text = '{\"n\": 5}'")
    asked = says(1)
    told = sessions("edit", TIM, "--yes")
    assert told.status == 0
    assert said in told.err
    assert "12345678901" not in told.err
    assert asked == ["Edit again?"]
    assert sessions.state(TIM) == {"n": 5}


def test_who_gives_up_changes_nothing(
    sessions: Sessions, editor: Any, says: Any, no_terminal: None
) -> None:
    before = sessions.content()
    editor("text = '{'")
    assert sessions("edit", TIM, "--yes").status == 1  # nobody is there to edit again
    editor("", "text = ' ' + text", "text = '{}'", "text = '{}'")
    assert sessions("edit", TIM, "--yes").err == "Nothing was changed.\n"
    assert sessions("edit", TIM, "--dry-run").status == 0
    assert sessions("edit", TIM).status == 2
    says(0)
    assert sessions("edit", TIM).status == 1
    assert sessions.content() == before


def test_an_editor_holds_up_nobody_and_overwrites_nobody(
    sessions: Sessions, editor: Any, says: Any, tmp_path: Path
) -> None:
    meanwhile = (
        "import asyncio; from barback import Bot\n"
        "async def turn():\n"
        f"    async with Bot(session_store={sessions.url!r}, schema_version=2) as bot:\n"
        f"        async with bot.conversation({TIM!r}) as context:\n"
        "            context.set_state(name='Tom')\n"
        "asyncio.run(turn())\n"
    )
    mine = "text = text.replace('false', 'true')"
    editor(f"{meanwhile}{mine}", "text = text.replace('Jürgen', 'Jim')")
    asked = says(1)
    told = sessions("edit", TIM, "--yes")
    assert told.status == 0
    assert asked == ["Edit again?"]
    assert "the session has changed meanwhile, like this." in told.err
    assert '- name: "Jürgen"\n+ name: "Tom"\n' in told.out
    # What was edited once comes again, and what is written is shown beside what is there by then.
    assert '- name: "Tom"\n+ name: "Jim"\n' in told.out
    assert (sessions.state(TIM)["name"], sessions.state(TIM)["asking"]) == ("Jim", True)


def test_an_edit_may_be_seen_to_fit_a_type(
    sessions: Sessions, editor: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "typed_shop.py").write_text(
        "from dataclasses import dataclass\nfrom barback import Bot\n"
        "@dataclass\nclass State:\n    n: int = 0\n"
        "bot = Bot(initial_state=State)\n"
    )
    monkeypatch.chdir(tmp_path)
    told = sessions("set", "telegram:ann", 'n="one"', "--yes", "--bot", "typed_shop:bot")
    assert told.status == 1
    assert "does not fit its type" in told.err
    assert sessions.state("telegram:ann") == {"n": 1}
    assert sessions("set", "telegram:ann", "n=2", "--yes", "--bot", "typed_shop:bot").status == 0


# Set.


def test_values_are_set_and_taken_away(sessions: Sessions, no_terminal: None) -> None:
    changes = ('name="Tim"', "cart.1.price=null", r"a\.b.c\=d=[1]", "--unset", "asking")
    would = sessions("set", TIM, *changes, "--dry-run")
    assert would.status == 0
    assert "- asking: false\n- cart[1].price: 2\n+ cart[1].price: null\n" in would.out
    assert sessions.state(TIM)["name"] == "Jürgen"
    assert sessions("set", TIM, *changes).status == 2
    assert sessions("set", TIM, *changes, "--yes").out == "Written to telegram:tim.\n"
    assert sessions.state(TIM) == {
        "name": "Tim",
        "cart": [{"price": 1}, {"price": None}],
        "a.b": {"c=d": [1]},
    }
    version = sessions.content()[TIM].version
    assert sessions("set", TIM, 'name="Tim"', "--yes").status == 0
    assert sessions.content()[TIM].version == version
    assert sessions("set", TIM, 'name="Tim"', "--dry-run").err == "It is so already.\n"


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        ([], 2, "Say what to set"),
        (["name"], 2, "Write PATH=VALUE"),
        (["name=S3cret"], 2, "What is to be set as name is no JSON."),
        (["cart.2=1"], 1, "cart is a list: its places are 0 to 1."),
        (["cart.x.y=1"], 1, "cart is a list: its places are 0 to 1."),
        (["asking.x=1"], 1, "asking is neither a dict nor a list"),
        (["a..b=1"], 1, "A path is names with dots between"),
        (["--unset", "nobody"], 1, "There is no nobody in the state."),
        (["n=123456789012345678901"], 1, "is an integer of more than 64 bits"),
    ],
)
def test_what_cannot_be_set_is_told_without_the_value(
    sessions: Sessions, arguments: list[str], status: int, said: str
) -> None:
    before = sessions.content()
    told = sessions("set", TIM, "--yes", *arguments)
    assert told.status == status
    assert said in told.err
    assert "S3cret" not in told.err
    assert "12345678901" not in told.err
    assert sessions.content() == before


def test_a_session_that_is_over_or_not_there_is_left_alone(sessions: Sessions) -> None:
    before = sessions.content()
    for each, said in (("telegram:old", "is over"), ("telegram:nobody", "is not there")):
        told = sessions("set", each, "n=5", "--yes")
        assert told.status == 1
        assert said in told.err
    assert sessions.content() == before


def test_a_key_that_is_set_ends_by_itself_no_more(sessions: Sessions) -> None:
    soon = now() + 60_000
    sessions.put("test:fades", {"code": 1, "other": {"x": 1}}, fades={"code": soon, "other": soon})
    assert sessions("set", "test:fades", "code=2", "other.x=2", "--yes").status == 0
    assert sessions.content()["test:fades"].fades == {"other": soon}


def test_what_was_encrypted_is_encrypted_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = {"2026": Keys.generate()}
    sealed = Sessions(f"sqlite:///{tmp_path}/sealed.db", capsys)

    async def fill() -> None:
        async with Bot(session_store=open_store(sealed.url), encryption=Keys(keys)) as bot:
            async with bot.conversation(TIM) as context:
                context.set_state(n=1)

    asyncio.run(fill())
    told = sealed("set", TIM, 'name="Timotheus of Miletus"', "--yes")
    assert told.status == 1
    assert "is encrypted" in told.err
    monkeypatch.setenv("BARBACK_KEYS", f"2026={keys['2026']}")
    assert sealed("set", TIM, 'name="Timotheus of Miletus"', "--yes").status == 0
    record = sealed.content()[TIM]
    assert not hidden_in(record)
    assert json.loads(Keys(keys).open(record)) == {"n": 1, "name": "Timotheus of Miletus"}


# Diff.


def test_two_sessions_are_compared(sessions: Sessions, tmp_path: Path) -> None:
    told = sessions("diff", "telegram:ann", "shop/line:bob")
    assert told == (1, "- n: 1\n+ n: 3\n", "")
    (found,) = sessions("diff", "telegram:ann", TIM, "--json").json[:1]
    assert found == {"path": ["asking"], "after": False}
    assert sessions("diff", TIM, TIM) == (0, "", "")
    told = sessions("diff", TIM, "telegram:nobody")
    assert (told.status, told.err) == (1, "There is no session 'telegram:nobody'.\n")
    assert sessions("diff", TIM).status == 2


def test_a_session_is_compared_with_what_was_exported(sessions: Sessions, tmp_path: Path) -> None:
    file = str(tmp_path / "all.jsonl")
    assert sessions("export", "--output", file).status == 0
    assert sessions("set", TIM, "cart.0.price=10", "--yes").status == 0
    told = sessions("diff", TIM, "--file", file)
    assert told == (1, "- cart[0].price: 1\n+ cart[0].price: 10\n", "")
    assert sessions("diff", "telegram:ann", "shop/line:bob", "--file", file).status == 1
    told = sessions("diff", "telegram:nobody", "--file", file)
    assert (told.status, told.err) == (1, "There is no session 'telegram:nobody'.\n" * 2)


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": 1}, {"a": True}, ["- a: 1\n+ a: true"]),
        ({"a": 1}, {"a": 1.0}, ["- a: 1\n+ a: 1.0"]),
        ({"a": [1, 2, 3]}, {"a": [2, 3]}, ["- a[0]: 1"]),
        ({"a": [1, 3]}, {"a": [1, 2, 3]}, ["+ a[1]: 2"]),
        ({"a": [{"x": 1}]}, {"a": [{"x": 2}]}, ["- a[0].x: 1\n+ a[0].x: 2"]),
        ({"a": {}}, {"a": []}, ["- a: {}\n+ a: []"]),
        ({"a b": None}, {}, ['- ["a b"]: null']),
    ],
)
def test_differences_are_as_small_as_they_can_be(before: Any, after: Any, found: list[str]) -> None:
    assert [lines_of(each) for each in differences(before, after)] == found


def test_paths_are_read_and_written() -> None:
    assert parsed(r"a.0.b\.c\\") == ("a", "0", "b.c\\")
    assert written(("a", 0, "b c", "d")) == 'a[0]["b c"].d'
    state: dict[str, Any] = {"a": [[1]]}
    put(state, parsed("a.0.0"), 2)
    put(state, parsed("b.c"), 3)
    removed(state, parsed("a.0"))
    assert state == {"a": [], "b": {"c": 3}}
    with pytest.raises(StateValueError, match=r"There is no b\.x in the state"):
        removed(state, parsed("b.x"))


def _bare(record: Any) -> Any:
    return msgspec.structs.replace(record, version=0, seen={}, state=b"")
