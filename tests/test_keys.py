"""Keys: the ring, how keys are given, and that none ever shows."""

from __future__ import annotations

import base64
import copy
import pickle
import traceback
from typing import TYPE_CHECKING, Any

import pytest

from barback import ConfigurationError, Keys, SessionTampered
from barback.envelope import CIPHERS, Key, _derived
from barback.testing.contract_tools import record_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

OLD = bytes(range(32))
NEW = bytes(range(100, 132))
OLD_TEXT = base64.b64encode(OLD).decode()
NEW_TEXT = base64.b64encode(NEW).decode()


def test_the_first_key_is_current_unless_another_is_named() -> None:
    assert Keys({"new": NEW, "old": OLD}).current == "new"
    assert Keys({"new": NEW, "old": OLD}, current="old").current == "old"


def test_a_key_is_its_bytes_or_their_base64() -> None:
    sealed = Keys({"old": OLD}).seal(record_of(state=b'{"n":1}'))
    assert Keys({"old": OLD_TEXT}).open(sealed) == b'{"n":1}'


def test_a_generated_key_is_a_new_one_each_time() -> None:
    one, other = Keys.generate(), Keys.generate()
    assert one != other
    assert len(base64.b64decode(one)) == 32
    assert Keys({"a": one, "b": other}).names == ("a", "b")


def test_the_ring_can_be_changed() -> None:
    keys = Keys({"old": OLD})
    keys.add("new", NEW_TEXT)
    keys.add("new", NEW)  # the same once more
    assert (keys.names, keys.current) == (("old", "new"), "old")
    keys.use("new")
    keys.remove("old")
    assert (keys.names, keys.current) == (("new",), "new")


def test_changes_that_would_lose_something_are_refused() -> None:
    keys = Keys({"old": OLD, "new": NEW})
    with pytest.raises(ConfigurationError, match="another key named 'new'"):
        keys.add("new", OLD)
    with pytest.raises(ConfigurationError, match="'old' is the current one"):
        keys.remove("old")
    for change in (keys.use, keys.remove):
        with pytest.raises(ConfigurationError, match="no such key among 'old', 'new'"):
            change("newest")
    assert (keys.names, keys.current) == (("old", "new"), "old")


# Keys as text.

TEXTS = {
    "lines": f"new={NEW_TEXT}\nold={OLD_TEXT}\n",
    "commas": f"new={NEW_TEXT},old={OLD_TEXT}",
    "both": f"\n# of November\n new = {NEW_TEXT} ,\r\n\n  # of May\nold={OLD_TEXT},",
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
def test_keys_come_from_the_environment_or_a_file(
    text: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("BARBACK_KEYS", text)
    file = tmp_path / "keys"
    file.write_bytes(text.encode())
    file.chmod(0o600)
    for keys in (Keys.from_environment(), Keys.from_file(file), Keys.from_file(str(file))):
        assert (keys.names, keys.current, keys.accept_plain) == (("new", "old"), "new", False)
        assert Keys({"new": NEW}).open(keys.seal(record_of())) == b"{}"
    assert Keys.from_environment("BARBACK_KEYS", accept_plain=True).accept_plain
    assert Keys.from_file(file, accept_plain=True).accept_plain


def test_a_variable_that_is_not_set_is_told() -> None:
    with pytest.raises(ConfigurationError, match=r"NO_SUCH_KEYS is not set\. .*name=key"):
        Keys.from_environment("NO_SUCH_KEYS")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o644, 0o666])
def test_a_file_that_others_may_read_or_write_is_refused(mode: int, tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"new={NEW_TEXT}")
    file.chmod(mode)
    with pytest.raises(ConfigurationError, match=r"others than its owner\. .* chmod 600 .*keys"):
        Keys.from_file(file)


def test_what_is_no_file_of_keys_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read: No such file") as refused:
        Keys.from_file(tmp_path / "none")
    assert isinstance(refused.value.__cause__, FileNotFoundError)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        Keys.from_file(tmp_path)
    file = tmp_path / "keys"
    for wrong in (b"\xff\xfe", b"a" * 100_000, b"", b"# none\n"):
        file.write_bytes(wrong)
        file.chmod(0o600)
        with pytest.raises(ConfigurationError, match="to hold name=key"):
            Keys.from_file(file)


# Nothing of a key is shown, not even where it stands in the wrong place.

SHORT = OLD_TEXT[:40]

WRONG: dict[str, Callable[[], object]] = {
    "no-mapping": lambda: Keys([NEW_TEXT]),  # type: ignore[arg-type]
    "text": lambda: Keys(NEW_TEXT),  # type: ignore[arg-type]
    "none": lambda: Keys({}),
    "too-short": lambda: Keys({"new": SHORT}),
    "too-long": lambda: Keys({"new": NEW + OLD}),
    "no-base64": lambda: Keys({"new": f"{NEW_TEXT[:20]} {NEW_TEXT[20:]}"}),
    "no-ascii": lambda: Keys({"new": f"{NEW_TEXT[:-1]}é"}),
    "no-key": lambda: Keys({"new": None}),  # type: ignore[dict-item]
    "changed-places": lambda: Keys({NEW_TEXT: "new"}),
    "no-name": lambda: Keys({"": NEW_TEXT}),
    "name-no-text": lambda: Keys({NEW: NEW}),  # type: ignore[dict-item]
    "name-with-comma": lambda: Keys({"a,b": NEW}),
    "name-too-long": lambda: Keys({"n" * 65: NEW}),
    "current-is-a-key": lambda: Keys({"new": NEW}, current=NEW_TEXT),
    "use-a-key": lambda: Keys({"new": NEW}).use(NEW_TEXT),
    "add-a-wrong-one": lambda: Keys({"new": NEW}).add("old", SHORT),
    "text-without-name": lambda: Keys.from_text(NEW_TEXT),
    "text-changed-places": lambda: Keys.from_text(f"{NEW_TEXT}=new"),
    "text-without-key": lambda: Keys.from_text("new="),
    "text-second-wrong": lambda: Keys.from_text(f"new={NEW_TEXT},old={SHORT}"),
    "text-twice": lambda: Keys.from_text(f"new={NEW_TEXT},new={OLD_TEXT}"),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG.keys())
def test_what_is_no_key_is_refused_without_being_shown(wrong: Callable[[], object]) -> None:
    with pytest.raises(ConfigurationError) as refused:
        wrong()
    assert shown_in(told(refused.value)) == []


def test_the_message_says_which_entry_is_wrong() -> None:
    with pytest.raises(ConfigurationError, match=r"^BARBACK_KEYS is to hold .* Entry 2 is not 32"):
        Keys.from_text(f"new={NEW_TEXT},old={SHORT}", source="BARBACK_KEYS")
    with pytest.raises(ConfigurationError, match=r"^Key 2 of 2 is not 32 bytes"):
        Keys({"new": NEW, "old": SHORT})


def test_a_ring_shows_names_alone() -> None:
    keys = Keys({"new": NEW, "old": OLD_TEXT})
    assert repr(keys) == str(keys) == "<Keys 'new', 'old', current 'new'>"
    assert repr(keys._ring["old"]) == "<Key 'old'>"
    assert not hasattr(keys, "__dict__")
    assert not hasattr(keys._ring["old"], "__dict__")


def test_a_ring_is_neither_pickled_nor_copied() -> None:
    keys = Keys({"new": NEW})
    out: Any
    for out in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(ConfigurationError, match="not pickled or copied"):
            out(keys)


# How keys are used.


def test_keys_are_derived_as_nist_describes_it() -> None:
    from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415
    from cryptography.hazmat.primitives.kdf.kbkdf import (  # noqa: PLC0415
        KBKDFHMAC,
        CounterLocation,
        Mode,
    )

    kdf = KBKDFHMAC(
        algorithm=SHA256(),
        mode=Mode.CounterMode,
        length=32,
        rlen=4,
        llen=4,
        location=CounterLocation.BeforeFixed,
        label=b"barback session",
        context=b"test:tim",
        fixed=None,
    )
    assert kdf.derive(OLD) == _derived(OLD, b"barback session", b"test:tim")


def test_what_was_encrypted_once_can_be_read_for_ever() -> None:
    """A record of the first version that could encrypt: its form is a promise."""
    state = (
        b'{"data":"2Epu8kLYRVzA6W52yZlBeEhXgw1OeAvQAotp58iV","key":"2026-11",'
        b'"key_check":"5oGr1Fqs3d4=","nonce":"AAECAwQFBgcICQoL","session":"test:tim"}'
    )
    record = record_of(state=state, format=2, schema=3)
    assert Keys({"2026-11": OLD}).open(record) == b'{"name":"Tim"}'


def test_no_two_envelopes_are_the_same() -> None:
    keys = Keys({"new": NEW})
    record = record_of(state=b'{"n":1}')
    assert len({keys.seal(record).state for _ in range(100)}) == 100


def test_what_a_key_remembers_of_sessions_is_bounded() -> None:
    keys = Keys({"new": NEW})
    for number in range(CIPHERS + 100):
        keys.open(keys.seal(record_of(f"test:{number}")))
    assert keys._ring["new"]._cipher.cache_info().currsize == CIPHERS


def test_the_same_key_under_another_name_does_not_open() -> None:
    sealed = Keys({"one": NEW}).seal(record_of())
    renamed = sealed.state.replace(b'"key":"one"', b'"key":"two"')
    keys = Keys({"two": NEW})
    with pytest.raises(SessionTampered):
        keys.open(record_of(sealed.id, renamed, format=2))


def test_a_key_knows_itself_under_another_name() -> None:
    assert Key("one", NEW).same(Key("two", NEW))
    assert not Key("one", NEW).same(Key("one", OLD))


def told(error: BaseException) -> str:
    """All that a log could show of an error, and of those it came from."""
    return "".join(traceback.format_exception_only(error)) + "".join(
        told(each) for each in (error.__cause__, error.__context__) if each is not None
    )


def shown_in(text: str) -> list[str]:
    """The pieces of keys that are in a text, be it only eight letters of one."""
    forms = (NEW_TEXT, OLD_TEXT, NEW.hex(), OLD.hex(), repr(NEW)[2:-1], repr(OLD)[2:-1])
    return [
        form[start : start + 8]
        for form in forms
        for start in range(len(form) - 7)
        if form[start : start + 8] in text
    ]
