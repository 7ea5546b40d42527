"""Whose session an event belongs to, and what it is called."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barback import (
    Bot,
    ConfigurationError,
    Context,
    Event,
    InvalidEvent,
    InvalidSessionId,
    MemorySessionStore,
    Scope,
    User,
)
from tests.scripted import counting_bot, event, state_of

LONGEST_KEY = 512 - len("test:")

PRIVATE = event("tim")
GROUP = event("tim", conversation="bar")
THREAD = event("tim", conversation="bar", thread="7")
PRIVATE_THREAD = event("tim", thread="7")
NOBODY = Event(channel="test", conversation="bar")
NOBODYS_THREAD = Event(channel="test", conversation="bar", thread="7")


def key(scope: Scope, something: Event) -> str:
    return Bot(scope=scope).session_id(something)


async def stored_ids(store: MemorySessionStore) -> list[str]:
    return sorted([record.id async for record in store.all()])


# The scopes.


@pytest.mark.parametrize(
    ("scope", "something", "expected"),
    [
        ("member", PRIVATE, "test:tim"),
        ("member", GROUP, "test:bar/tim"),
        ("member", THREAD, "test:bar/tim"),
        ("member", PRIVATE_THREAD, "test:tim"),
        ("member", NOBODY, "test:bar/"),
        ("conversation", PRIVATE, "test:tim"),
        ("conversation", GROUP, "test:bar/"),
        ("conversation", THREAD, "test:bar/"),
        ("conversation", PRIVATE_THREAD, "test:tim"),
        ("conversation", NOBODY, "test:bar/"),
        ("user", PRIVATE, "test:tim"),
        ("user", GROUP, "test:tim"),
        ("user", THREAD, "test:tim"),
        ("user", PRIVATE_THREAD, "test:tim"),
        ("user", NOBODY, "test:bar/"),
        ("thread", PRIVATE, "test:tim"),
        ("thread", GROUP, "test:bar/"),
        ("thread", THREAD, "test:bar//7"),
        ("thread", PRIVATE_THREAD, "test:tim/7"),
        ("thread", NOBODYS_THREAD, "test:bar//7"),
    ],
)
def test_each_scope_makes_its_keys(scope: Scope, something: Event, expected: str) -> None:
    assert expected == key(scope, something)


def test_the_scope_is_the_member_of_a_conversation_unless_set() -> None:
    assert Bot().session_id(THREAD) == "test:bar/tim"


def test_the_same_person_on_two_channels_has_two_sessions() -> None:
    other = Event(channel="other", user=User("tim"))
    assert Bot(scope="user").session_id(other) == "other:tim"
    assert Bot(scope="user").session_id(PRIVATE) == "test:tim"


def test_a_name_that_changes_is_still_the_same_person() -> None:
    renamed = Event(channel="test", user=User("tim", "Timothy"))
    assert Bot().session_id(PRIVATE) == Bot().session_id(renamed)


@pytest.mark.parametrize(
    ("scope", "something"),
    [
        ("member", Event(channel="test")),
        ("conversation", Event(channel="test")),
        ("thread", Event(channel="test", thread="7")),
        ("user", Event(channel="test")),
    ],
)
async def test_an_event_that_is_nobodys_is_refused(scope: Scope, something: Event) -> None:
    async with counting_bot(scope=scope) as bot:
        with pytest.raises(InvalidSessionId, match="says not whose session it belongs to"):
            await bot.handle(something)


@pytest.mark.parametrize("bad", ["person", "", "Member", 5, None, ["member"], {}])
def test_an_unknown_scope_is_refused_with_the_known_ones_named(bad: Any) -> None:
    known = "'member', 'conversation', 'user', 'thread', or a function of the event"
    with pytest.raises(ConfigurationError, match=known):
        Bot(scope=bad)


# A function as the scope.


async def test_a_function_makes_the_key_of_what_it_likes() -> None:
    async with counting_bot(scope=lambda something: f"table-{something.payload}") as bot:
        await bot.handle(event("tim", payload="4"))
        await bot.handle(event("anna", payload="4"))
        await bot.handle(event("anna", payload="5"))
        assert await state_of(bot, "test:table-4") == {"n": 2}
        assert await state_of(bot, "test:table-5") == {"n": 1}


@pytest.mark.parametrize("made", ["", None, 5, ("a",)], ids=repr)
async def test_a_function_that_makes_no_key_is_refused_and_nothing_is_stored(made: Any) -> None:
    store = MemorySessionStore()
    async with counting_bot(scope=lambda _: made, session_store=store) as bot:
        with pytest.raises(InvalidSessionId, match="a key is text, and not empty"):
            await bot.handle(event())
    assert await stored_ids(store) == []


def test_a_scope_that_would_have_to_be_awaited_is_refused() -> None:
    async def scope(something: Event) -> str:
        return "never"

    unawaitable: Any = scope
    with pytest.raises(ConfigurationError, match="a plain function of the event, not `async def`"):
        Bot(scope=unawaitable)


async def test_what_a_function_raises_is_its_callers() -> None:
    def scope(something: Event) -> str:
        return {"known": "key"}[str(something.text)]

    async with counting_bot(scope=scope) as bot:
        with pytest.raises(KeyError, match="unheard of"):
            await bot.handle(event(text="unheard of"))
        await bot.handle(event(text="known"))
        assert await state_of(bot, "test:key") == {"n": 1}


# Keys never run into one another.


@pytest.mark.parametrize(
    ("something", "expected"),
    [
        (event("a/b"), "test:a%2Fb"),
        (event("a%2Fb"), "test:a%252Fb"),
        (event("b", conversation="a"), "test:a/b"),
        (event("c", conversation="a/b"), "test:a%2Fb/c"),
        (event("b/c", conversation="a"), "test:a/b%2Fc"),
        (event("a:b"), "test:a:b"),
        (event("é 漢\x00"), "test:é 漢\x00"),
    ],
)
def test_a_slash_in_an_id_is_not_the_border_of_two(something: Event, expected: str) -> None:
    assert expected == key("member", something)


# The pieces that keys are made of, one or two to an id: whatever could be confused is among them.
PIECES = ["a", "/", "%", "%2F", "%25"]
CONFUSING = [*PIECES, *(first + second for first in PIECES for second in PIECES)]

ids = st.sampled_from(CONFUSING) | st.text(min_size=1, max_size=4)
events = st.builds(
    Event,
    channel=st.just("test"),
    user=st.builds(User, ids),
    conversation=st.none() | ids,
    thread=st.none() | ids,
) | st.builds(Event, channel=st.just("test"), conversation=ids, thread=st.none() | ids)


def place(something: Event) -> tuple[str | None, str | None]:
    """The group, or the person of a private talk."""
    if something.conversation is not None:
        return something.conversation, None
    return None, something.user.id if something.user else None


WHOSE: dict[Scope, Callable[[Event], object]] = {
    "member": lambda e: (e.conversation, e.user.id if e.user else None),
    "conversation": place,
    "thread": lambda e: (place(e), e.thread),
}


@pytest.mark.parametrize("scope", WHOSE)
@given(one=events, other=events)
def test_two_events_have_one_key_only_if_the_scope_says_so(
    scope: Scope, one: Event, other: Event
) -> None:
    same = WHOSE[scope](one) == WHOSE[scope](other)
    assert same == (key(scope, one) == key(scope, other))


@pytest.mark.parametrize("scope", WHOSE)
def test_no_ids_can_be_chosen_so_that_two_keys_are_the_same(scope: Scope) -> None:
    owners: dict[str, set[object]] = {}
    for user in (None, *CONFUSING):
        for conversation in CONFUSING if user is None else (None, *CONFUSING):
            for thread in (None, *PIECES) if scope == "thread" else (None,):
                something = Event(
                    channel="test",
                    user=None if user is None else User(user),
                    conversation=conversation,
                    thread=thread,
                )
                owners.setdefault(key(scope, something), set()).add(WHOSE[scope](something))
    assert [confused for confused in owners.items() if len(confused[1]) > 1] == []


@given(one=ids, other=ids, conversation=st.none() | ids)
def test_two_people_never_have_one_key_under_the_scope_of_the_user(
    one: str, other: str, conversation: str | None
) -> None:
    keys = key("user", event(one)), key("user", event(other, conversation=conversation))
    assert (one == other) == (keys[0] == keys[1])


# A group, as people see it.


def nickname_bot(**options: Any) -> Bot:
    """A bot that asks for a nickname first, and takes what is said next for the answer."""
    bot = Bot(initial_state={"asked": False, "nickname": None}, **options)

    @bot.on_event
    async def handler(context: Context) -> None:
        if context.state["asked"]:
            context.set_state(asked=False, nickname=context.event.text)
        else:
            context.set_state(asked=True)

    return bot


async def test_each_member_of_a_group_is_asked_and_answers_for_themselves() -> None:
    async with nickname_bot() as bot:
        for user, text in [("tim", "hi"), ("anna", "hi"), ("anna", "Queen"), ("tim", "King")]:
            await bot.handle(event(user, conversation="bar", text=text))
        assert (await state_of(bot, "test:bar/tim"))["nickname"] == "King"
        assert (await state_of(bot, "test:bar/anna"))["nickname"] == "Queen"


async def test_a_group_with_the_scope_of_the_conversation_has_one_session() -> None:
    async with nickname_bot(scope="conversation") as bot:
        for user, text in [("tim", "hi"), ("anna", "Queen")]:
            await bot.handle(event(user, conversation="bar", text=text))
        assert (await state_of(bot, "test:bar/"))["nickname"] == "Queen"
        assert (await state_of(bot, "test:bar/tim"))["nickname"] is None


# Namespaces.


async def test_the_namespace_is_part_of_the_stores_ids_and_of_no_others() -> None:
    store = MemorySessionStore()
    seen: list[str] = []
    bot = Bot(session_store=store, namespace="shop")

    @bot.on_event
    async def handler(context: Context) -> None:
        seen.append(context.session.id)
        context.set_state(visits=1)

    async with bot:
        await bot.handle(event())
        assert bot.session_id(event()) == "test:tim"
        async with bot.conversation("test:tim") as context:
            seen.append(context.session.id)
            assert context.state == {"visits": 1}
    assert seen == ["test:tim", "test:tim"]
    assert await stored_ids(store) == ["shop/test:tim"]


async def test_bots_with_namespaces_share_a_store_and_no_sessions() -> None:
    store = MemorySessionStore()
    for namespace in ("", "a", "b.c_d-E"):
        async with counting_bot(session_store=store, namespace=namespace) as bot:
            await bot.handle(event())
            assert await state_of(bot) == {"n": 1}
    assert await stored_ids(store) == ["a/test:tim", "b.c_d-E/test:tim", "test:tim"]


BAD_NAMES = ["a/b", "a:b", " ", "a b", "test\n", "tést", "\u0661", "x" * 65, "\x00", "*"]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_namespace_that_could_run_into_an_id_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="A namespace is 1 to 64 letters"):
        Bot(namespace=name)


@pytest.mark.parametrize("name", [*BAD_NAMES, ""])
async def test_a_channel_whose_name_could_run_into_an_id_is_refused(name: str) -> None:
    async with counting_bot() as bot:
        with pytest.raises(ConfigurationError, match="A channel's name is 1 to 64 letters"):
            await bot.handle(Event(channel=name, user=User("tim")))


@pytest.mark.parametrize("name", ["t", "x" * 64, "my.channel_2-B"])
async def test_a_channel_with_a_good_name_needs_no_further_ado(name: str) -> None:
    async with counting_bot() as bot:
        await bot.handle(Event(channel=name, user=User("tim")))
        assert await state_of(bot, f"{name}:tim") == {"n": 1}


# How long an id may be, and what it may hold.


@pytest.mark.parametrize(
    ("user", "namespace"),
    [
        pytest.param("x" * LONGEST_KEY, "", id="ascii"),
        pytest.param("é" * (LONGEST_KEY // 2) + "x", "", id="two bytes each"),
        pytest.param("/" * (LONGEST_KEY // 3), "", id="escaped"),
        pytest.param("x" * (LONGEST_KEY - len("shop/")), "shop", id="with a namespace"),
    ],
)
async def test_an_id_of_512_bytes_is_accepted_and_a_longer_one_refused(
    user: str, namespace: str
) -> None:
    store = MemorySessionStore()
    async with counting_bot(session_store=store, namespace=namespace) as bot:
        await bot.handle(event(user))
        (stored,) = await stored_ids(store)
        assert len(stored.encode()) == 512
        with pytest.raises(InvalidSessionId, match="longer than 512 bytes"):
            await bot.handle(event(f"{user}x"))
        with pytest.raises(InvalidSessionId, match="longer than 512 bytes"):
            await state_of(bot, f"{bot.session_id(event(user))}x")
    assert await stored_ids(store) == [stored]


async def test_an_id_with_a_lone_surrogate_is_refused() -> None:
    store = MemorySessionStore()
    async with counting_bot(session_store=store, scope=lambda _: "a\ud800") as bot:
        with pytest.raises(InvalidSessionId, match="holds a lone surrogate") as caught:
            await bot.handle(event())
        assert str(caught.value).isascii()  # a log can be written
        with pytest.raises(InvalidSessionId, match="holds a lone surrogate"):
            await state_of(bot, "test:\udfff")
    assert await stored_ids(store) == []


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: event("\ud800"), id="user"),
        pytest.param(lambda: event("tim", conversation="a\udfff"), id="conversation"),
        pytest.param(lambda: event("tim", thread="\ud83d"), id="thread"),
    ],
)
def test_an_event_that_would_make_such_an_id_cannot_be_made(make: Callable[[], Event]) -> None:
    with pytest.raises(InvalidEvent, match="has a lone surrogate, which is not text"):
        make()


@pytest.mark.parametrize("session_id", ["", "test", "test:", ":tim", ":"])
async def test_a_conversation_needs_an_id_of_channel_and_key(session_id: str) -> None:
    async with Bot() as bot:
        with pytest.raises(InvalidSessionId, match="is not of the form 'channel:key'"):
            await state_of(bot, session_id)
