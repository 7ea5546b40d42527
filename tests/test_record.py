"""What rests in a store: records as JSON, versions that never come back, ids."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from barback.errors import InvalidSessionId, SessionTooNew, SessionUnreadable
from barback.record import FORMATS, MAX_ID_BYTES, NEVER, Record, check_session_id, new_version
from barback.state import encode_state
from tests.values import values_of

TIM = "test:tim"

texts = st.text(st.characters(exclude_categories=["Cs"]))
moments = st.integers(0, 2**53)
values = values_of(texts)
states = st.dictionaries(texts, values).map(encode_state)
records = st.builds(
    Record,
    id=texts,
    version=st.integers(0, 2**63 - 1),
    state=states,
    created_at=moments,
    last_activity=moments,
    expires_at=st.none() | moments,
    schema=st.integers(0, 2**31),
    lifetime=st.none() | st.just(NEVER) | moments,
    seen=st.dictionaries(texts, moments),
    users=st.lists(texts).map(tuple),
    address=st.none() | texts,
)


def record_of(state: bytes = b"{}", **fields: Any) -> Record:
    return Record(
        **{"id": TIM, "version": 1, "created_at": 1_000, "last_activity": 2_000, **fields},
        state=state,
    )


def fields_of(record: Record, **changes: Any) -> bytes:
    return json.dumps({**json.loads(record.encode()), **changes}).encode()


# Encoding and decoding.


@given(records)
def test_a_record_comes_back_as_it_was(record: Record) -> None:
    read = Record.decode(record.encode(), session_id=record.id)
    assert record == read
    assert list(record.seen.items()) == list(read.seen.items())


@given(records, st.sampled_from([1, 2, 4]))
def test_a_record_that_was_pretty_printed_comes_back_with_its_states_bytes(
    record: Record, indent: int
) -> None:
    pretty = msgspec.json.format(record.encode(), indent=indent)
    assert record == Record.decode(pretty, session_id=record.id)


@pytest.mark.parametrize(
    "state",
    [
        {"text": "two\nlines\r\n\t  and spaces  "},
        {"a\nkey": ["\n", "\n\n"]},
        {"text": "é \u2028 👋 \x00 \x7f", "ключ": "значение"},
        {"like-json": '{\n  "a": [1, 2]\n}'},
        {"quotes": '"\\"', "path": "C:\\new\\table"},
        {"floats": [1.0, -0.0, 1e300, 5e-324], "ints": [2**63 - 1, -(2**63)]},
        {"empties": [[], {}, ""]},
    ],
)
def test_white_space_inside_text_is_no_white_space_of_the_file(state: dict[str, Any]) -> None:
    record = record_of(encode_state(state))
    pretty = msgspec.json.format(record.encode(), indent=2)
    assert b"\n" in pretty
    assert record.state == Record.decode(pretty, session_id=TIM).state


def test_a_record_can_be_read_as_text_too() -> None:
    record = record_of('{"name":"é"}'.encode())
    assert record == Record.decode(record.encode().decode(), session_id=TIM)


def test_the_state_is_readable_in_the_record() -> None:
    record = record_of(b'{"nickname":"Tim"}')
    assert json.loads(record.encode())["state"] == {"nickname": "Tim"}


def test_a_record_edited_by_hand_keeps_what_the_hand_wrote() -> None:
    edited = fields_of(record_of(b'{"n":1}'), state={"n": 2}, comment="mended by Zoe")
    assert Record.decode(edited, session_id=TIM).state == b'{"n": 2}'


def test_the_record_of_another_session_is_unreadable() -> None:
    with pytest.raises(SessionUnreadable, match="belongs to another session") as raised:
        Record.decode(record_of().encode(), session_id="test:zoe", store="file")
    assert (raised.value.session_id, raised.value.store) == ("test:zoe", "file")


def test_a_format_of_a_newer_barback_is_refused_as_too_new() -> None:
    with pytest.raises(SessionTooNew, match="Update barback"):
        Record.decode(fields_of(record_of(), format=max(FORMATS) + 1), session_id=TIM)


GARBAGE = {
    "empty": b"",
    "nuls": b"\0" * 512,
    "null": b"null",
    "list": b"[]",
    "empty-object": b"{}",
    "text": b'"test:tim"',
    "utf-16": b"\xff\xfe{}",
    "cut-off": record_of().encode()[:-1],
    "not-utf-8": record_of(b'{"name":"\xff"}').encode(),
    "broken-state": record_of(b'{"n":').encode(),
    "two-records": record_of().encode() + b"{}",
    "bottomless": b"[" * 100_000,
    "version-of-text": fields_of(record_of(), version="1"),
    "version-of-null": fields_of(record_of(), version=None),
    "users-of-text": fields_of(record_of(), users="tim"),
    "seen-of-a-list": fields_of(record_of(), seen=["a"]),
    "seen-without-times": fields_of(record_of(), seen="test:message:a"),
    "seen-without-one-of-the-times": fields_of(record_of(), seen="a 1, b, c 3"),
    "time-of-a-float": fields_of(record_of(), created_at=1.5),
}


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE.keys())
def test_what_is_no_record_is_unreadable(garbage: bytes) -> None:
    with pytest.raises(SessionUnreadable, match="cannot be read") as raised:
        Record.decode(garbage, session_id=TIM, store="file")
    assert type(raised.value) is SessionUnreadable
    assert (raised.value.session_id, raised.value.store) == ("test:tim", "file")


def test_an_unreadable_record_tells_no_secret() -> None:
    secret = fields_of(record_of(b'{"password":"hunter2"}'), version="hunter2")
    for data in (secret, b'{"id":"hunter2\xff"}', b'{"state":{"password":"hunter2\xff"}}'):
        with pytest.raises(SessionUnreadable) as raised:
            Record.decode(data, session_id=TIM)
        error, cause = raised.value, raised.value.__cause__
        assert "hunter2" not in f"{error!r} {error} {cause!r} {cause}"


@given(st.binary())
def test_no_bytes_at_all_do_anything_else_than_be_unreadable(data: bytes) -> None:
    with pytest.raises(SessionUnreadable):
        Record.decode(data, session_id=TIM)


def test_a_record_cannot_be_changed() -> None:
    with pytest.raises(AttributeError, match="immutable"):
        record_of().version = 2  # type: ignore[misc]  # that is the point


# Expiry.


@pytest.mark.parametrize(
    ("expires_at", "expired"), [(None, False), (999, True), (1_000, True), (1_001, False)]
)
def test_a_record_has_expired_from_the_moment_itself(
    expires_at: int | None, *, expired: bool
) -> None:
    assert expired == record_of(expires_at=expires_at).expired(1_000)


# Versions.


def test_versions_fit_in_63_bits_and_never_repeat() -> None:
    versions = [new_version() for _ in range(10_000)]
    assert len(versions) == len(set(versions))
    assert all(0 <= version < 2**63 for version in versions)


VERSIONS_OF_TWO_PROCESSES = """
import os, random
random.seed(1)
from barback.record import FORMATS, new_version
new_version()
child = os.fork()
random.seed(1)
os.write(1, "".join(f"{new_version()}\\n" for _ in range(1000)).encode())
if child:
    os.waitpid(child, 0)
else:
    os._exit(0)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no process forks there")
def test_versions_repeat_neither_in_a_forked_child_nor_under_the_same_seed() -> None:
    versions: list[str] = []
    for _ in range(2):
        command = [sys.executable, "-c", VERSIONS_OF_TWO_PROCESSES]
        versions += subprocess.run(
            command, check=True, capture_output=True, text=True
        ).stdout.split()
    assert len(versions) == 4_000
    assert len(set(versions)) == 4_000


# Ids.


@pytest.mark.parametrize(
    "session_id",
    [
        "telegram:164230",
        "line:U4af4980629",
        "bots/test:tim",
        "test:a:b",
        "test: ",
        "test:\0",
        "test:" + "x" * (MAX_ID_BYTES - 5),
        "test:" + "é" * ((MAX_ID_BYTES - 5) // 2),
        "test:../../etc/passwd",
    ],
)
def test_an_id_that_names_a_channel_and_a_key_is_good(session_id: str) -> None:
    assert session_id == check_session_id(session_id)


@pytest.mark.parametrize(
    ("session_id", "words"),
    [
        ("", "'channel:key'"),
        ("tim", "'channel:key'"),
        (":tim", "'channel:key'"),
        ("test:", "'channel:key'"),
        ("test:" + "x" * (MAX_ID_BYTES - 4), "513 bytes"),
        ("test:" + "é" * 254, "513 bytes"),
        ("test:" + "👋" * 100_000, "400005 bytes"),
        ("test:\ud800", "lone surrogate"),
    ],
    ids=["empty", "no-colon", "no-channel", "no-key", "long", "long-in-bytes", "huge", "surrogate"],
)
def test_an_id_that_is_not_is_refused_with_a_short_sentence(session_id: str, words: str) -> None:
    with pytest.raises(InvalidSessionId, match=words) as raised:
        check_session_id(session_id)
    assert len(str(raised.value)) < 300
    str(raised.value).encode()
