"""The right to be forgotten, and to know what is kept."""

from __future__ import annotations

import asyncio
import contextvars
import json
from typing import TYPE_CHECKING, Any

import pytest

from barback import (
    Bot,
    ConfigurationError,
    Context,
    Event,
    MemorySessionStore,
    Outcome,
    SessionStoreUnavailable,
    SessionUnreadable,
    User,
    open_store,
)
from barback.people import Person
from barback.record import Record
from barback.tending import place_of
from barback.testing import Clock
from barback.testing.contract_tools import lease_on, leased, put
from tests.every_store import EVERY, own_url
from tests.scripted import ScriptedStore, counting_bot, nothing_left, state_of, until

if TYPE_CHECKING:
    from pathlib import Path

    from barback.people import Forgotten

OUTSIDE = contextvars.Context()
"""Where a task is in no turn, though a turn starts it."""


def said(user: str, channel: str = "test", **fields: Any) -> Event:
    return Event(channel=channel, user=User(user), **fields)


async def ids(store: Any, prefix: str = "") -> set[str]:
    return {record.id async for record in leased(store).all(prefix)}


async def told(bot: Bot[Any], *events: Event) -> None:
    for each in events:
        assert await bot.handle(each) == Outcome.COMMITTED


@pytest.mark.parametrize("store", EVERY)
async def test_a_person_is_forgotten_in_every_store(
    store: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    url = own_url(store, request, tmp_path)
    async with leased(open_store(url)) as opened:
        bot = counting_bot(session_store=opened)
        async with bot:
            await told(bot, said("tim"), said("tim", conversation="g"), said("ann"))
            await told(bot, said("ann", conversation="g"), said("tim", "line"), said("timo"))
            exported = await bot.export("test:tim")
            done = await bot.forget("test:tim")
            assert nothing_left(bot)
            assert [each["id"] for each in exported["sessions"]] == ["test:g/tim", "test:tim"]
            assert sorted(done.destroyed) == ["test:g/tim", "test:tim"]
            assert (done.left, done.kept, done.failed, done.looked_at) == ([], [], [], 6)
            assert await ids(opened) == {"test:ann", "test:g/ann", "line:tim", "test:timo"}
            again = await bot.forget("test:tim")
            assert (again.destroyed, again.complete) == ([], True)
            await told(bot, said("tim"))
            assert await state_of(bot, "test:tim") == {"n": 1}


async def test_an_id_alone_is_whoever_has_it_on_any_channel() -> None:
    store = MemorySessionStore()
    async with counting_bot(session_store=store) as bot:
        await told(bot, said("tim"), said("tim", "line"), said("@tim:home", "matrix"))
        done = await bot.forget("tim")
        assert sorted(done.destroyed) == ["line:tim", "test:tim"]
        assert (await bot.forget("@tim:home")).destroyed == ["matrix:@tim:home"]
        await told(bot, said("@tim:home", "matrix"))
        assert (await bot.forget("matrix:@tim:home")).destroyed == ["matrix:@tim:home"]


async def test_a_shared_session_is_left_or_destroyed_or_kept() -> None:
    store = MemorySessionStore()
    async with counting_bot(session_store=store, scope="conversation") as bot:
        await told(bot, said("tim", conversation="g"), said("ann", conversation="g"), said("tim"))
        before = store._records["test:g/"]
        for shared in ("leave_out", "destroy", "keep"):
            would = await bot.forget("test:tim", shared=shared, dry_run=True)
            assert sorted(would.destroyed) == ["test:g/"] * (shared == "destroy") + ["test:tim"]
            assert await ids(store) == {"test:g/", "test:tim"}
        done = await bot.forget("test:tim", shared="keep")
        assert (done.destroyed, done.kept) == (["test:tim"], ["test:g/"])
        assert store._records["test:g/"] == before
        done = await bot.forget("test:tim")
        assert (done.destroyed, done.left) == ([], ["test:g/"])
        after = store._records["test:g/"]
        assert after.users == ("ann",)
        assert (after.state, after.last_activity, after.expires_at, after.address) == (
            before.state,
            before.last_activity,
            before.expires_at,
            before.address,
        )
        assert (await bot.forget("test:tim")).looked_at == 1
        await told(bot, said("tim", conversation="g"))
        assert (await bot.forget("test:tim", shared="destroy")).destroyed == ["test:g/"]
        assert await ids(store) == set()


async def test_a_group_in_which_nobody_else_wrote_is_the_persons_own() -> None:
    store = MemorySessionStore()
    async with counting_bot(session_store=store, scope="conversation") as bot:
        await told(bot, said("tim", conversation="g"))
        assert (await bot.forget("test:tim")).destroyed == ["test:g/"]


HOSTILE = ["a/b", "a%2Fb", "g/", "%", "tim:ann", "x" * 300, "ü", "*", "a/b:c", "\n"]


@pytest.mark.parametrize("user", HOSTILE)
@pytest.mark.parametrize("scope", ["member", "user", "thread", "conversation"])
async def test_whose_a_session_is_that_no_event_has_changed_its_key_tells(
    scope: Any, user: str
) -> None:
    """As one that only a reminder has written: users are not known there."""
    store = MemorySessionStore()
    bot = counting_bot(session_store=store, scope=scope)
    others = [said("ann"), said("ann", conversation=user), said("ann", conversation="g")]
    others.append(said("ann", conversation=user, thread="7"))
    own = [said(user), said(user, thread="7")]
    if scope == "member":
        own.append(said(user, conversation="g"))
    async with bot:
        for each in (*others, *own):
            async with bot.conversation(bot.session_id(each)) as context:
                context.set_state(n=1)
        done = await bot.forget(f"test:{user}")
        assert set(done.destroyed) == {bot.session_id(each) for each in own}
        assert await ids(store) == {bot.session_id(each) for each in others}


async def test_whose_keys_a_function_makes_the_users_tell() -> None:
    store = MemorySessionStore()
    async with counting_bot(session_store=store, scope=lambda event: event.text or "") as bot:
        await told(bot, said("tim", text="a"), said("tim", "line", text="b"), said("ann", text="c"))
        async with bot.conversation("test:tim") as context:
            context.set_state(n=1)
        assert sorted((await bot.forget("tim")).destroyed) == ["line:b", "test:a"]
        assert await ids(store) == {"test:c", "test:tim"}


async def test_what_expired_and_what_is_kept_aside_is_forgotten_too() -> None:
    store, clock = MemorySessionStore(expires_in=1), Clock()
    bot = counting_bot(session_store=store, clock=clock)
    async with bot:
        await told(bot, said("tim"), said("ann"))
        for name in ("tim", "ann"):
            await put(store, f"unreadable:1f:test:{name}", {})
            await put(store, f"unreadable:2f:test:g/{name}", {}, users=(name,))
            await put(store, f"unreadable:3f:line:{name}", {})
        clock.advance(120)
        done = await bot.forget("test:tim")
    assert len(done.destroyed) == 3
    assert len(await ids(store)) == 5
    assert not any(each.endswith("tim") for each in await ids(store) if "line" not in each)


@pytest.mark.parametrize(("own", "other"), [("", "shop"), ("shop", ""), ("shop", "shop2")])
async def test_the_sessions_of_other_bots_are_left(own: str, other: str) -> None:
    store = MemorySessionStore()
    async with (
        counting_bot(session_store=store, namespace=own) as bot,
        counting_bot(session_store=store, namespace=other) as another,
    ):
        await told(bot, said("tim"))
        await told(another, said("tim"))
        done = await bot.forget("test:tim")
        assert (done.destroyed, done.looked_at) == (["test:tim"], 1)
        assert await state_of(another) == {"n": 1}


async def test_a_turn_that_runs_is_waited_for_and_nothing_of_it_comes_back() -> None:
    store = MemorySessionStore()
    async with counting_bot(session_store=store) as bot:
        await told(bot, said("tim"))
        async with bot.conversation("test:tim") as context:
            task = asyncio.create_task(bot.forget("test:tim"), context=OUTSIDE)
            await until(lambda: bot._turns.queue.waiting("test:tim"))  # type: ignore[union-attr]
            context.set_state(n=100)
        assert (await task).destroyed == ["test:tim"]
        assert await ids(store) == set()


async def test_who_waits_in_line_begins_anew() -> None:
    """Also where the lease would be handed on with what was read."""
    store = ScriptedStore()
    async with counting_bot(session_store=store) as bot:
        await told(bot, said("tim"), said("tim"))
        wait = asyncio.Event()
        store.script("destroy", wait)
        task = asyncio.create_task(bot.forget("test:tim"))
        await until(lambda: "destroy" in store.calls)
        waiting = [asyncio.create_task(bot.handle(said("tim"))) for _ in range(3)]
        await until(lambda: bot._turns.queue.waiting("test:tim"))  # type: ignore[union-attr]
        wait.set()
        await asyncio.gather(task, *waiting)
        assert await state_of(bot) == {"n": 3}


async def test_a_session_that_is_somebody_elses_by_now_is_left() -> None:
    store, wait = ScriptedStore(), asyncio.Event()
    async with counting_bot(session_store=store, scope="conversation") as bot:
        await told(bot, said("tim", conversation="g"))
        store.script("checkout", wait)
        task = asyncio.create_task(bot.forget("test:tim"))
        await until(lambda: store.calls.count("checkout") == 2)
        await store.inner.destroy("test:g/", None)
        async with counting_bot(session_store=store.inner, scope="conversation") as another:
            await told(another, said("ann", conversation="g"))
        wait.set()
        done = await task
        assert (done.destroyed, done.left, done.failed) == ([], [], [])
        assert await ids(store.inner) == {"test:g/"}


async def test_other_processes_are_waited_for() -> None:
    store = ScriptedStore()
    async with counting_bot(session_store=store) as bot:
        await told(bot, said("tim"))
        lease = lease_on("test:tim")
        await store.inner.checkout("test:tim", lease)
        task = asyncio.create_task(bot.forget("test:tim"))
        await until(lambda: store.calls.count("checkout") > 2)
        assert not task.done()
        await store.inner.release("test:tim", lease)
        assert (await task).destroyed == ["test:tim"]


async def test_a_handler_starts_it_outside_of_its_own_turn() -> None:
    store = MemorySessionStore()
    bot = Bot(initial_state={"n": 0}, session_store=store)
    tasks: list[asyncio.Task[Forgotten]] = []
    inside: list[Forgotten] = []

    @bot.on_event
    async def handle(context: Context) -> None:
        context.set_state(n=context.state["n"] + 1)
        if context.event.text == "forget me":
            inside.append(await bot.forget("test:tim"))
            tasks.append(asyncio.create_task(bot.forget("test:tim"), context=contextvars.Context()))

    async with bot:
        await told(bot, said("tim"), said("tim", conversation="g"), said("tim", text="forget me"))
        done = await tasks[0]
    assert inside[0].destroyed == ["test:g/tim"]
    assert [failure.session_id for failure in inside[0].failed] == ["test:tim"]
    assert not inside[0].complete
    assert (done.destroyed, done.complete) == (["test:tim"], True)
    assert await ids(store) == set()


async def test_sessions_that_the_code_cannot_read_are_forgotten() -> None:
    store = MemorySessionStore()
    await put(store, "test:tim", {"n": 1}, schema=9)
    await put(store, "test:g/tim", {"n": 1}, schema=1)
    bot = counting_bot(session_store=store, schema_version=2)
    async with bot:
        assert len((await bot.forget("test:tim")).destroyed) == 2


async def test_what_is_lost_on_the_way_is_tried_again() -> None:
    for steps in (["lost"], ["unknown"], ["applied"], ["lost", "applied"]):
        store = ScriptedStore()
        async with counting_bot(session_store=store) as bot:
            await told(bot, said("tim"))
            store.script("destroy", *steps)
            done = await bot.forget("test:tim")
            assert (done.destroyed, done.failed) == (["test:tim"], [])
            assert await ids(store.inner) == set()
            assert nothing_left(bot)


async def test_what_may_still_be_there_is_told() -> None:
    class Damaged(ScriptedStore):
        async def all(self, prefix: str = "") -> Any:
            async for record in self.inner.all(prefix):
                yield record
            raise SessionUnreadable("It is torn.", session_id="test:torn")

    store = Damaged()
    async with counting_bot(session_store=store) as bot:
        await told(bot, said("tim"))
        store.script("destroy", "unknown", "unknown", "unknown")
        done = await bot.forget("test:tim")
        assert not done.complete
        assert [each.session_id for each in done.failed] == ["test:tim", "test:torn"]
        assert (await bot.export("test:tim"))["unreadable"] == ["It is torn."]


async def test_a_store_that_fails_ends_it() -> None:
    store = ScriptedStore()
    async with counting_bot(session_store=store) as bot:
        await told(bot, said("tim"), said("tim", conversation="g"))
        store.script("destroy", "ok", "unavailable")
        with pytest.raises(SessionStoreUnavailable) as failed:
            await bot.forget("test:tim")
        assert "1 destroyed" in failed.value.__notes__[0]
        assert len((await bot.forget("test:tim")).destroyed) == 1


async def test_a_bot_that_does_not_run_forgets_and_exports() -> None:
    store = MemorySessionStore()
    async with counting_bot(session_store=store) as bot:
        await told(bot, said("tim"))
    reports: list[Forgotten] = []
    assert len((await bot.export("test:tim"))["sessions"]) == 1
    assert (await bot.forget("test:tim", on_progress=reports.append)).destroyed == ["test:tim"]
    assert str(reports[-1]) == "1 looked at: 1 destroyed"


@pytest.mark.parametrize("nobody", ["", " ", None, 42])
async def test_nobody_is_refused(nobody: Any) -> None:
    bot = counting_bot()
    with pytest.raises(ConfigurationError, match="named by their channel"):
        await bot.forget(nobody)
    with pytest.raises(ConfigurationError, match="named by their channel"):
        await bot.export(nobody)
    with pytest.raises(ConfigurationError, match="shared must be"):
        await bot.forget("test:tim", shared="burn")  # type: ignore[arg-type]


# What is kept.


async def test_what_is_kept_of_a_person_is_told_as_json() -> None:
    store = MemorySessionStore(expires_in=1)
    async with counting_bot(session_store=store, clock=Clock(1_000_000.5), namespace="shop") as bot:
        await told(bot, said("tim", address="chat 7"), said("ann"))
        found = await bot.export("test:tim")
    assert json.loads(json.dumps(found)) == {
        "user": "tim",
        "channel": "test",
        "exported_at": "1970-01-12T13:46:40.500+00:00",
        "sessions": [
            {
                "id": "test:tim",
                "created_at": "1970-01-12T13:46:40.500+00:00",
                "last_activity": "1970-01-12T13:46:40.500+00:00",
                "expires_at": "1970-01-12T13:47:41.100+00:00",
                "schema": 0,
                "shared": False,
                "users": ["tim"],
                "address": "chat 7",
                "step": None,
                "state": {"n": 1},
                "history": [],
            }
        ],
        "unreadable": [],
    }


async def test_of_a_shared_session_nothing_is_told_that_may_be_of_others() -> None:
    store = MemorySessionStore()
    async with counting_bot(session_store=store, scope="conversation") as bot:
        await told(bot, said("ann", conversation="g"), said("tim", conversation="g", address="a"))
        for _ in range(2):
            (session,) = (await bot.export("test:tim"))["sessions"]
            assert (session["shared"], session["users"]) == (True, ["tim"])
            assert (session["state"], session["address"]) == (None, None)
            await bot.forget("test:ann")  # who has left something of hers there all the same
        await told(bot, said("ann", conversation="g"))
        (session,) = (await bot.export("test:tim", include_shared=True))["sessions"]
        assert (session["users"], session["state"]) == (["tim", "ann"], {"n": 3})


async def test_a_state_that_cannot_be_read_hides_nothing_else() -> None:
    store = MemorySessionStore()
    store._records["test:tim"] = Record(
        id="test:tim", version=1, state=b'{"n":', created_at=0, last_activity=0
    )
    await put(store, "test:g/tim", {"n": 1}, schema=7)
    sessions = (await counting_bot(session_store=store).export("test:tim"))["sessions"]
    assert [each["state"] for each in sessions] == [{"n": 1}, None]
    assert "cannot be read" in sessions[1]["error"]


# Who is meant, and where.


def test_who_is_meant() -> None:
    for text, person in {
        "telegram:42": ("42", "telegram"),
        "42": ("42", None),
        "matrix:@tim:home": ("@tim:home", "matrix"),
        "@tim:home": ("@tim:home", None),
        "tim:": ("tim:", None),
        ":tim": (":tim", None),
    }.items():
        found = Person.of(text, "member")
        assert (found.id, found.channel) == person


def test_what_an_id_tells() -> None:
    for record_id, place in {
        "test:tim": ("", "test", "tim", ""),
        "shop/test:g/tim": ("shop", "test", "g/tim", ""),
        "shop/unreadable:1f:test:g/tim": ("shop", "test", "g/tim", "unreadable"),
        "unreadable:1f:test:@tim:home": ("", "test", "@tim:home", "unreadable"),
        "shop/history:1f:test:g/tim": ("shop", "test", "g/tim", "history"),
        "test:a/b:c": ("", "test", "a/b:c", ""),
    }.items():
        assert place_of(record_id) == place
