"""Log records tell of which turn they are, as text and as JSON, and no more than they are to."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import pickle
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from barback import Bot, ConfigurationError, Context, LeaseLost
from barback.logs import JSONFormatter, SessionFilter
from barback.pseudonyms import Pseudonyms
from tests.scripted import ScriptedStore, counting_bot, event

if TYPE_CHECKING:
    from collections.abc import Callable

own = logging.getLogger("shop")


@pytest.fixture
def logged(request: pytest.FixtureRequest) -> Iterator[Callable[..., list[dict[str, Any]]]]:
    """Call it with a filter's options; from then on what it returns are the lines of the log."""
    root = logging.getLogger()
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JSONFormatter())

    def lines(**options: Any) -> list[dict[str, Any]]:
        if not handler.filters:
            handler.addFilter(SessionFilter(**options))
            root.addHandler(handler)
        return [json.loads(line) for line in stream.getvalue().splitlines()]

    yield lines
    root.removeHandler(handler)


def failing_bot(**options: Any) -> Bot[Any]:
    bot = Bot(**options)

    @bot.on_event
    async def fail(context: Context[Any]) -> None:
        own.warning("looking at %s", context.session.id)
        raise ValueError(f"cannot do {context.session.id}")

    return bot


async def test_records_in_a_turn_tell_of_which(
    logged: Callable[..., list[dict[str, Any]]],
) -> None:
    logged()
    async with failing_bot() as bot:
        await bot.handle(event(event_id="7"))
    looking, failed = logged()
    for line in (looking, failed):
        assert line["session_id"] == "test:tim"
        assert (line["channel"], line["event_id"]) == ("test", "7")
        assert line["turn"] == looking["turn"]
    assert (looking["logger"], looking["level"]) == ("shop", "warning")
    assert looking["message"] == "looking at test:tim"
    assert (failed["logger"], failed["level"]) == ("barback", "error")
    assert "ValueError: cannot do test:tim" in failed["exception"]
    assert looking["time"].endswith("+00:00")


async def test_two_turns_have_two_names(logged: Callable[..., list[dict[str, Any]]]) -> None:
    logged()
    async with failing_bot() as bot:
        await asyncio.gather(bot.handle(event()), bot.handle(event()))  # the lease is handed on
    assert len({line["turn"] for line in logged()}) == 2


async def test_ids_are_hashed_wherever_they_stand(
    logged: Callable[..., list[dict[str, Any]]],
) -> None:
    logged(session_ids="hashed", key="a secret")
    async with failing_bot() as bot:
        await bot.handle(event(event_id="7"))
    hashed = Pseudonyms("hashed", "a secret").of("test:tim")
    looking, failed = logged()
    assert looking["message"] == f"looking at {hashed}"
    assert looking["session_id"] == failed["session_id"] == hashed
    assert f"ValueError: cannot do {hashed}" in failed["exception"]
    assert "test:tim" not in json.dumps([looking, failed])
    assert looking["event_id"] != "7"


async def test_a_namespace_hides_no_id(logged: Callable[..., list[dict[str, Any]]]) -> None:
    logged(session_ids="hashed")
    async with failing_bot(namespace="shop") as bot:
        await bot.handle(event())
    looking, failed = logged()
    hashed = Pseudonyms("hashed").of("test:tim")  # as telemetry has it
    assert looking["message"] == f"looking at {hashed}"
    assert failed["message"].startswith(f"The handler of session 'shop/{hashed}'")
    assert failed["session_id"] == hashed


async def test_ids_can_be_left_out(logged: Callable[..., list[dict[str, Any]]]) -> None:
    logged(session_ids="none")
    async with failing_bot() as bot:
        await bot.handle(event(event_id="7"))
    looking, _ = logged()
    assert "session_id" not in looking
    assert "event_id" not in looking
    assert looking["message"] == "looking at (session)"
    assert "test:tim" not in json.dumps(logged())


async def test_what_is_logged_beside_handlers_is_told_as_well(
    logged: Callable[..., list[dict[str, Any]]],
) -> None:
    logged()
    store = ScriptedStore()
    store.script("release", "unavailable")
    bot = Bot(session_store=store)

    @bot.on_event
    async def nothing(context: Context[Any]) -> None:
        pass

    async with bot:
        await bot.handle(event())
    (line,) = logged()
    assert "could not be given back" in line["message"]
    assert line["session_id"] == "test:tim"
    assert line["turn"]


async def test_outside_of_turns_there_is_nothing_to_tell(
    logged: Callable[..., list[dict[str, Any]]],
) -> None:
    logged()
    async with counting_bot() as bot:
        await bot.handle(event())
        own.warning("outside", extra={"shelf": 3, "where": {1, 2}})
    (line,) = logged()
    assert set(line) == {"time", "level", "logger", "message", "shelf", "where"}
    assert line["shelf"] == 3


def test_a_plain_format_has_the_fields_too() -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(session_id)s %(channel)s %(message)s"))
    handler.addFilter(SessionFilter())
    handler.handle(logging.makeLogRecord({"msg": "hello"}))
    assert stream.getvalue() == "None None hello\n"


async def test_records_can_travel(caplog: pytest.LogCaptureFixture) -> None:
    async with failing_bot() as bot:
        await bot.handle(event())
    for record in caplog.records:
        record.exc_info = None  # as a handler that sends them does
        pickle.dumps(record)


async def test_a_second_handler_hides_nothing_twice() -> None:
    record = logging.makeLogRecord(
        {"msg": "of %s", "args": ("test:tim",), "session_id": "test:tim"}
    )
    hashing = SessionFilter(session_ids="hashed")
    assert hashing.filter(record)
    once = vars(record)["session_id"]
    assert hashing.filter(record)
    assert vars(record)["session_id"] == once
    assert record.getMessage() == f"of {once}"


async def test_what_a_plain_handler_had_before_is_hidden_for_the_next() -> None:
    record = logging.makeLogRecord(
        {"msg": "of %s", "args": ("test:tim",), "session_id": "test:tim"}
    )
    assert SessionFilter().filter(record)
    assert record.getMessage() == "of test:tim"
    assert SessionFilter(session_ids="hashed").filter(record)
    hashed = Pseudonyms("hashed").of("test:tim")
    assert vars(record)["session_id"] == hashed
    assert record.getMessage() == f"of {hashed}"


async def test_ids_are_hidden_in_what_is_logged_beside_the_message(
    logged: Callable[..., list[dict[str, Any]]],
) -> None:
    logged(session_ids="none")
    bot = Bot()

    @bot.on_event
    async def tell(context: Context[Any]) -> None:
        own.warning("look", extra={"about": f"cart of {context.session.id}", "shelf": 3})

    async with bot:
        await bot.handle(event())
    (line,) = logged()
    assert (line["about"], line["shelf"]) == ("cart of (session)", 3)


def test_a_message_that_cannot_be_made_is_no_error_of_whoever_logs_it() -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.addFilter(SessionFilter(session_ids="hashed"))
    record = logging.makeLogRecord(
        {"msg": "%s has %d", "args": ("test:tim",), "session_id": "test:tim"}
    )
    handler.handle(record)
    assert stream.getvalue() == "%s has %d (its arguments do not fit)\n"


# Pseudonyms.


def test_a_hash_is_always_the_same_and_depends_on_the_key() -> None:
    plain, keyed = Pseudonyms("hashed"), Pseudonyms("hashed", b"key")
    assert plain.of("telegram:42") == plain.of("telegram:42")
    assert plain.of("telegram:42") != plain.of("telegram:43")
    assert plain.of("telegram:42") != keyed.of("telegram:42")
    assert plain.of(None) is None
    assert "key" not in repr(keyed)


@pytest.mark.parametrize("wrong", [{"session_ids": "secret"}, {"key": "x" * 65}])
def test_what_is_no_way_to_tell_ids_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        SessionFilter(**wrong)


async def test_a_lost_lease_tells_no_id_where_it_is_hashed(
    logged: Callable[..., list[dict[str, Any]]],
) -> None:
    logged(session_ids="hashed")
    store = ScriptedStore()
    store.script("commit", "lost")
    async with counting_bot(session_store=store) as bot:
        with pytest.raises(LeaseLost):
            await bot.handle(event())
    assert "test:tim" not in json.dumps(logged())
