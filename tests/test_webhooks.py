"""The web app of a bot, in this process: what a platform is answered, and what comes again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import msgspec
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from barback import (
    Bot,
    BotOverloaded,
    CannotSend,
    CommitUnknown,
    ConfigurationError,
    Context,
    Event,
    MemorySessionStore,
    Redeliver,
    SessionStoreUnavailable,
    User,
)
from barback.channels.httpx2_http import Httpx2Http
from barback.channels.telegram import TelegramClient
from tests.postbox import BATCH, Postbox, World, failing, greeter, serving
from tests.scripted import ScriptedStore, state_of

# What is answered.


async def test_an_event_is_answered_when_its_turn_is_committed() -> None:
    bot = Bot(initial_state={"ids": []})

    @bot.on_event
    async def note(context: Context[Any]) -> None:
        context.state["ids"].append(context.event.id)

    async with serving(bot) as world:
        answer = await world.post({"id": "1", "who": "tim"})
        assert (answer.status_code, answer.content) == (200, b"")
        assert await state_of(bot, "postbox:tim") == {"ids": ["1"]}


async def test_a_request_that_is_not_the_platforms_is_401_and_nothing_is_handled() -> None:
    async with serving(greeter()) as world:
        answer = await world.post({"id": "1", "who": "tim"}, signed="wrong")
        assert answer.status_code == 401
        assert world.box.sent == []


async def test_whoever_sends_such_requests_does_not_fill_the_log(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(greeter()) as world:
        for _ in range(50):
            await world.post(signed="wrong")
        assert caplog.text.count("was refused") == 1
        monkeypatch.setattr("barback.complaints.EVERY", 0.0)
        await world.post(signed="wrong")
        assert "So it was with 49 others" in caplog.text


async def test_what_is_not_understood_is_400() -> None:
    async with serving(greeter()) as world:
        answer = await world.client.post("/postbox", content=b"{", headers={"secret": "right"})
        assert answer.status_code == 400


async def test_an_event_that_no_session_could_remember_is_400() -> None:
    async with serving(greeter()) as world:
        assert (await world.post({"id": "1" * 3000, "who": "tim"})).status_code == 400


async def test_nothing_done_is_200() -> None:
    async with serving(greeter()) as world:
        assert (await world.post()).status_code == 200


async def test_a_handshake_by_get_is_answered_without_a_signature() -> None:
    async with serving(greeter()) as world:
        path = "/postbox?token=right&challenge=4%202"
        answer = await world.client.get(path)
        assert (answer.status_code, answer.text) == (200, "4 2")
        assert (await world.client.get("/postbox?token=wrong")).status_code == 405


async def test_a_handshake_by_post_is_answered_once_it_is_verified() -> None:
    async with serving(greeter()) as world:
        refused = await world.client.post("/postbox", content=b"hello?")
        assert refused.status_code == 401
        answer = await world.client.post("/postbox", content=b"hello?", headers={"secret": "right"})
        assert (answer.status_code, answer.text) == (200, "yes")
        assert answer.headers["content-type"].startswith("text/x-greeting")


async def test_a_channel_is_given_the_request_as_it_came() -> None:
    bot = greeter(clock=lambda: 1234.5)
    async with serving(bot) as world:
        await world.client.post(
            "/postbox?a=1&a=2",
            content=b"[]",
            headers=[("Secret", "right"), ("X-One", "1"), ("x-one", "2")],
        )
        (seen,) = world.box.seen
        assert seen.method == "POST"
        assert seen.query == {"a": "2"}
        assert seen.headers["x-one"] == "1, 2"
        assert seen.body == b"[]"
        assert seen.received_at == 1234.5
        assert "right" not in repr(seen)


@pytest.mark.parametrize("method", ["PUT", "DELETE", "HEAD", "PATCH"])
async def test_other_methods_are_405(method: str) -> None:
    async with serving(greeter()) as world:
        assert (await world.client.request(method, "/postbox")).status_code == 405


# Limits.


async def test_a_body_that_is_said_to_be_too_long_is_413_and_not_read() -> None:
    async with serving(greeter(), max_body=10) as world:
        answer = await world.client.post("/postbox", content=b"x" * 11)
        assert answer.status_code == 413
        assert world.box.seen == []


async def test_a_body_that_turns_out_to_be_too_long_is_413_and_no_more_of_it_is_read() -> None:
    read = 0

    async def endless() -> AsyncGenerator[bytes]:
        nonlocal read
        while read < 1000:
            read += 1
            yield b"x"

    stream = endless()

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": await anext(stream), "more_body": True}

    assert await called_with(greeter().asgi(Postbox(), max_body=10), receive) == 413
    await stream.aclose()
    assert read == 11


async def called_with(app: Any, receive: Any) -> int:
    """The status that the app answers to a request whose body comes by `receive`."""
    answered: list[Any] = []

    async def send(message: Any) -> None:
        answered.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/postbox",
        "headers": [],
        "query_string": b"",
    }
    await app(scope, receive, send)
    status: int = answered[0]["status"]
    assert (b"connection", b"close") in answered[0]["headers"]
    return status


async def test_a_body_that_does_not_come_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("barback.web.app.READ_WITHIN", 0.01)

    async def receive() -> dict[str, Any]:
        return await asyncio.Future()

    assert await called_with(greeter().asgi(Postbox()), receive) == 408


async def test_who_hangs_up_in_the_middle_of_it_has_said_nothing() -> None:
    parts: list[dict[str, Any]] = [
        {"type": "http.request", "body": b"[", "more_body": True},
        {"type": "http.disconnect"},
    ]

    async def receive() -> dict[str, Any]:
        return parts.pop(0)

    box = Postbox()
    assert await called_with(greeter().asgi(box), receive) == 400
    assert box.seen == []


async def test_a_body_of_just_the_limit_is_read() -> None:
    async with serving(greeter(), max_body=2) as world:
        answer = await world.client.post("/postbox", content=b"[]", headers={"secret": "right"})
        assert answer.status_code == 200


# What is delivered again.


@pytest.mark.parametrize("step", ["unavailable", "busy"])
async def test_what_was_not_done_is_503_and_comes_again(step: str) -> None:
    store = ScriptedStore()
    bot = Bot(session_store=store, initial_state={"n": 0})

    @bot.on_event
    async def add(context: Context[Any]) -> None:
        context.set_state(n=context.state["n"] + 1)

    bot._rules = msgspec.structs.replace(bot._rules, lease_wait=0.01)
    async with serving(bot) as world:
        store.script("checkout", *[step] * 50)
        answer = await world.post({"id": "1", "who": "tim"})
        assert answer.status_code == 503
        assert 1 <= int(answer.headers["retry-after"]) <= 5
        store._script.clear()
        assert (await world.post({"id": "1", "who": "tim"})).status_code == 200
        assert (await world.post({"id": "1", "who": "tim"})).status_code == 200
        assert await state_of(bot, "postbox:tim") == {"n": 1}


@pytest.mark.parametrize("error", [Redeliver("later"), CommitUnknown("?")], ids=repr)
async def test_a_bot_that_asks_for_it_gets_the_event_again(error: Exception) -> None:
    bot = Bot()
    calls = []

    @bot.on_event
    async def later(context: Context[Any]) -> None:
        calls.append(context.event.id)
        if isinstance(error, Redeliver):
            raise error

    async with serving(bot) as world:
        if not isinstance(error, Redeliver):
            world.bot.handle = failing(error)  # type: ignore[method-assign]
        assert (await world.post({"id": "1", "who": "tim"})).status_code == 503


async def test_a_bot_that_is_full_says_after_how_long_to_come_again() -> None:
    bot = greeter()
    async with serving(bot) as world:
        error = BotOverloaded("full")
        bot.handle = failing(error)  # type: ignore[method-assign]
        answer = await world.post({"id": "1", "who": "tim"})
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


async def test_a_bot_that_does_not_run_answers_503() -> None:
    async with serving(greeter(), running=False) as world:
        assert (await world.post({"id": "1", "who": "tim"})).status_code == 503


async def test_a_handlers_own_error_is_200_after_on_error() -> None:
    bot, errors = Bot(), []

    @bot.on_event
    async def fail(context: Context[Any]) -> None:
        raise ValueError("a bug")

    @bot.on_error
    async def note(context: Context[Any], error: Exception) -> None:
        errors.append(str(error))

    async with serving(bot) as world:
        assert (await world.post({"id": "1", "who": "tim"})).status_code == 200
        assert errors == ["a bug"]


async def test_a_mistake_in_the_bots_make_is_500_and_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bot = greeter(scope=lambda _: "")
    async with serving(bot) as world:
        assert (await world.post({"id": "1", "who": "tim"})).status_code == 500
    assert "could not be given to the bot" in caplog.text


# Batches.


async def test_events_of_one_request_are_handled_in_order_and_sessions_side_by_side() -> None:
    bot, both = Bot(), asyncio.Barrier(2)
    order: list[str | None] = []

    @bot.on_event
    async def note(context: Context[Any]) -> None:
        if context.event.id in {"1", "3"}:
            await both.wait()  # tim's first and ann's run at once
        order.append(context.event.id)

    async with serving(bot) as world:
        assert (await world.post(*BATCH)).status_code == 200
    assert order.index("1") < order.index("2")
    assert {"1", "2", "3"} == set(order)


async def test_of_a_batch_that_comes_again_what_was_done_is_not_done_again() -> None:
    """Even by another process, and where a turn changed nothing, or failed."""
    store = MemorySessionStore()
    down = True

    def made() -> Bot[Any]:
        bot = Bot(session_store=store)

        @bot.on_event
        async def reply(context: Context[Any]) -> None:
            if context.event.user == User("ann") and down:
                raise SessionStoreUnavailable("down")
            await context.send_text(str(context.event.id))
            if context.event.id == "2":
                raise ValueError("after its reply")

        return bot

    async with store:  # it outlives the first bot
        async with serving(made()) as world:
            assert (await world.post(*BATCH)).status_code == 503
            assert world.box.sent == ["1", "2"]
        down = False
        async with serving(made()) as world:
            assert (await world.post(*BATCH)).status_code == 200
            assert world.box.sent == ["3"]


# What a platform says twice.


class Twice(Postbox):
    """It tells of some things twice."""

    def comes_twice(self, event: Event) -> bool:
        return event.id == "1"


async def test_what_comes_twice_is_done_once_by_all_processes_together() -> None:
    """Even where its turn changed nothing."""
    sent = []
    async with MemorySessionStore() as store:
        for _ in range(2):
            bot, box = greeter(session_store=store), Twice()
            transport = httpx2.ASGITransport(app=bot.asgi(box))
            async with bot, httpx2.AsyncClient(transport=transport, base_url="http://bot") as own:
                for number in ("1", "2"):
                    body = msgspec.json.encode([{"id": number, "who": "tim"}])
                    await own.post("/postbox", content=body, headers={"secret": "right"})
            sent += box.sent
    assert sent == ["1", "2", "2"]


async def test_so_it_is_where_it_was_answered_before_it_was_done() -> None:
    """And its turn had to be run again, here; the second time it comes to another process."""
    tries = []

    async def note(context: Context[Any]) -> None:
        tries.append(context.event.id)
        if len(tries) == 1:
            await asyncio.sleep(0.2)
            raise Redeliver("not yet")

    async with MemorySessionStore() as store:
        for _ in range(2):
            bot, box = Bot(session_store=store), Twice()
            bot.on_event(note)
            box.ack_within = 0.05
            transport = httpx2.ASGITransport(app=bot.asgi(box))
            async with bot, httpx2.AsyncClient(transport=transport, base_url="http://bot") as own:
                assert (await World(bot, box, own).post({"id": "1", "who": "tim"})).is_success
                async with asyncio.timeout(10):
                    while len(tries) < 2:
                        await asyncio.sleep(0.01)
    assert tries == ["1", "1"]


# Putting it together.


def test_a_bot_without_a_webhook_has_no_web_app() -> None:
    with pytest.raises(ConfigurationError, match="no channel with a webhook"):
        Bot().asgi()


@pytest.mark.parametrize(
    ("attribute", "value"), [("ack_within", 0), ("ack_within", "5"), ("path", 5)]
)
def test_what_a_channel_says_of_itself_is_looked_at(attribute: str, value: object) -> None:
    box = Postbox()
    setattr(box, attribute, value)
    with pytest.raises(ConfigurationError, match=attribute):
        Bot().asgi(box)


def test_two_channels_may_not_be_at_one_path() -> None:
    other = Postbox()
    other.name, other.path = "other", "/postbox"
    with pytest.raises(ConfigurationError, match="another path"):
        Bot().asgi(Postbox(), other)


async def test_the_app_may_be_part_of_another_whose_lifespan_starts_the_bot() -> None:
    bot = greeter()
    outer = Starlette(
        routes=[Mount("/bots", bot.asgi(Postbox()))], lifespan=lambda _: as_lifespan(bot)
    )
    transport = httpx2.ASGITransport(app=outer)
    async with httpx2.AsyncClient(transport=transport, base_url="http://bot") as client:
        headers = {"secret": "right"}
        body = msgspec.json.encode([{"id": "1", "who": "tim"}])
        answer = await client.post("/bots/postbox", content=body, headers=headers)
        assert answer.status_code == 503
        async with outer.router.lifespan_context(outer):
            answer = await client.post("/bots/postbox", content=body, headers=headers)
            assert answer.status_code == 200


@asynccontextmanager
async def as_lifespan(bot: Bot[Any]) -> AsyncIterator[None]:
    async with bot:
        yield


async def test_no_text_of_people_and_no_secret_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    bot = Bot()

    @bot.on_event
    async def fail(context: Context[Any]) -> None:
        raise Redeliver("later")

    async with serving(bot) as world:
        await world.post({"id": "1", "who": "tim", "text": "my pin is 1234"})
        await world.post({"id": "1", "who": "tim"}, signed="sesame")
    assert "1234" not in caplog.text
    assert "sesame" not in caplog.text


async def test_a_channels_client_is_opened_and_closed_with_the_bot() -> None:
    class Asked(Httpx2Http):
        closed = False

        async def close(self) -> None:
            self.closed = True
            await super().close()

    box, http = Postbox(), Asked()
    box.client = TelegramClient("1:a")
    box.client._opened = lambda: http
    async with Bot(channels=[box]):
        assert box.client._http is http
        assert not http.closed
    assert http.closed


async def test_a_channel_can_say_that_nothing_tells_where_a_session_is() -> None:
    box = Postbox()
    async with Bot(channels=[box]) as bot, bot.conversation("postbox:tim") as context:
        with pytest.raises(CannotSend, match=r"'postbox:tim' is: .* context.client, and a box\."):
            box.address_in(context, "a box")
