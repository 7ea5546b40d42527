"""The contract's part about sessions: whose is whose, and the answers never confused."""

from __future__ import annotations

from datetime import timedelta

import pytest

from barback.bot import Bot
from barback.errors import LeaseLost, SessionBusy, SessionStoreUnavailable, SessionUnreadable
from barback.record import MAX_ID_BYTES
from barback.stores.base import LeasedStore
from barback.testing.clock import Clock
from barback.testing.contract_tools import (
    TIM,
    AnyStore,
    Contract,
    lease_on,
    leased,
    now,
    peek,
    put,
    record_of,
)

__all__ = ["HOSTILE_IDS", "FourMethodsContract", "SessionsContract"]

_ROOM = MAX_ID_BYTES - len("test:")

HOSTILE_IDS = [
    f"test:{key}"
    for key in [
        *(
            "a/b",
            "a\\b",
            "a",
            "b",
            "a/",
            "/a",
            "a//b",
            "/etc/passwd",
            "../../etc/passwd",
            "..",
            ".",
        ),
        *("C:\\a", "CON", "nul", "aux.json", "a.", "a.json", "~", "-rf", "--", "$HOME", "`id`"),
        *("\0", "a\0", "a\0b", "\n", "a\r\nb", " ", " a", "a ", "\t", "\x1b[31m", "\x7f"),
        *(
            "tim",
            "Tim",
            "TIM",
            "straße",
            "strasse",
            "STRASSE",
            "é",
            "e\u0301",
            "E",
            "İ",
            "i",
            "\u0131",
        ),
        *("👋", "👋🏽", "\u202eabc", "\u2028", "\ufeffa", "\u200ba", "\uff41", "\U0010ffff"),
        *("*", "?", "%", "_", "a%", "a_", "[a]", "[ab]", "^a", "a|b", "(a)", "a+", "\\", "\\*"),
        *("{x}", "{", "}", "{}", "{a}b", "a{b", "a}b", "%s", "{0}", "%2F", "a%2Fb", "%00", "&#0;"),
        *("'", '"', "''", "'; DROP TABLE sessions; --", '" OR 1=1', "--", "/*", ";"),
        *(
            "$where",
            "a.b",
            "{'$gt': ''}",
            "[]",
            "null",
            "None",
            "0",
            "00",
            "1e0",
            "true",
            ":",
            "a:b",
        ),
        *("x" * _ROOM, "x" * (_ROOM - 1) + "y", "x" * (_ROOM - 1), "X" * _ROOM),
        *("👋" * (_ROOM // 4), "/" * _ROOM, "\0" * _ROOM, "../" * (_ROOM // 3)),
    ]
]
HOSTILE_IDS = list(dict.fromkeys(HOSTILE_IDS))
"""Ids that are all different, and all allowed; they come from strangers."""


class SessionsContract(Contract):
    """Each session is itself, and each answer means one thing."""

    # Isolation.

    async def test_every_id_is_a_session_of_its_own(self, store: AnyStore) -> None:
        """No two ids share a session: not by case, path, pattern, quoting, length or form."""
        async with leased(store) as opened:
            for session_id in HOSTILE_IDS:
                assert await peek(opened, session_id) is None, session_id
                await put(opened, session_id, {"mine": session_id})
            for session_id in HOSTILE_IDS:
                record = await peek(opened, session_id)
                expected = record_of(session_id, {"mine": session_id})
                assert record is not None, session_id
                assert (expected.id, expected.state) == (record.id, record.state)

    async def test_destroying_a_session_destroys_no_other(self, store: AnyStore) -> None:
        """`destroy` takes the id as it is, and never for a pattern, a path or a prefix."""
        async with leased(store) as opened:
            for session_id in HOSTILE_IDS:
                await put(opened, session_id)
            kept, destroyed = HOSTILE_IDS[::2], HOSTILE_IDS[1::2]
            for session_id in destroyed:
                await opened.destroy(session_id, None)
            assert kept == [each for each in HOSTILE_IDS if await peek(opened, each) is not None]

    async def test_every_id_has_a_lease_of_its_own(self, store: AnyStore) -> None:
        """Whoever holds one session stands in nobody else's way."""
        async with leased(store) as opened:
            leases = [lease_on(session_id) for session_id in HOSTILE_IDS]
            for lease in leases:
                await opened.checkout(lease.session_id, lease)
            for lease in leases:
                with pytest.raises(SessionBusy):
                    await opened.checkout(lease.session_id, lease_on(lease.session_id))
            for lease in leases:
                await opened.release(lease.session_id, lease)

    async def test_a_record_that_was_read_changes_no_more(self, store: AnyStore) -> None:
        """What a turn has read is a copy, not a window: later commits do not show in it."""
        async with leased(store) as opened:
            written = await put(opened, state={"n": 1}, seen={"test:message:1": 1}, version=1)
            read = await peek(opened)
            await put(opened, state={"n": 2}, seen={"test:message:2": 2}, version=2)
            assert record_of(state={"n": 1}).state == written.state
            assert (written.version, written.seen) == (1, {"test:message:1": 1})
            assert read is not None
            assert record_of(state={"n": 1}).state == read.state
            assert (read.version, read.seen) == (1, {"test:message:1": 1})

    async def test_what_a_handler_holds_on_to_is_not_the_session(self, store: AnyStore) -> None:
        """A list that was set, or read, can be changed after its turn without any effect."""
        async with leased(store) as opened, Bot(session_store=opened) as bot:
            given = ["tea"]
            async with bot.conversation(TIM) as context:
                context.set_state(cart=given)
            given.append("set before")
            async with bot.conversation(TIM) as context:
                read = context.state["cart"]
            read.append("read before")
            async with bot.conversation(TIM) as context:
                assert context.state["cart"] == ["tea"]

    # Missing, expired, unreadable, busy, lost, unavailable.

    async def test_a_missing_session_is_none(self, store: AnyStore) -> None:
        """There is no record until one is written; a bot then starts from the initial state."""
        async with leased(store) as opened:
            assert await peek(opened) is None
            async with Bot(session_store=opened, initial_state={"n": 7}) as bot:
                async with bot.conversation(TIM) as context:
                    assert context.session.is_new
                    assert context.state == {"n": 7}

    async def test_an_expired_record_is_still_returned(self, store: AnyStore) -> None:
        """Expiry is decided above the store: the store's own only sweeps, with grace."""
        async with leased(store) as opened:
            written = await put(opened, state={"n": 1}, expires_at=now() - 1_000)
            assert written == await peek(opened)

    async def test_an_expired_record_can_be_written_over(self, store: AnyStore) -> None:
        """A session that starts anew takes the place of the one that expired."""
        async with leased(store) as opened:
            await put(opened, state={"n": 1}, expires_at=now() - 1_000)
            written = await put(opened, state={"n": 2})
            assert written == await peek(opened)

    async def test_a_session_starts_anew_when_its_time_is_over(self, store: AnyStore) -> None:
        """A session lives `expires_in` after its last activity by the bot's clock, not longer."""
        store.expires_in = timedelta(minutes=10)
        clock = Clock(now() // 1000)  # the true time: a store may sweep by its own
        async with leased(store) as opened:
            async with Bot(session_store=opened, initial_state={"n": 0}, clock=clock) as bot:
                async with bot.conversation(TIM) as context:
                    context.set_state(n=1)
                clock.advance(minutes=11)
                async with bot.conversation(TIM) as context:
                    assert context.session.is_new
                    assert context.state == {"n": 0}

    async def test_activity_keeps_a_session_alive(self, store: AnyStore) -> None:
        """Expiry slides: also a turn that changes nothing moves it on."""
        store.expires_in = timedelta(minutes=10)
        clock = Clock(now() // 1000)  # the true time: a store may sweep by its own
        async with leased(store) as opened, Bot(session_store=opened, clock=clock) as bot:
            async with bot.conversation(TIM) as context:
                context.set_state(n=1)
            for _ in range(3):
                clock.advance(minutes=6)
                async with bot.conversation(TIM) as context:
                    assert context.state == {"n": 1}

    @pytest.mark.parametrize(
        "expires_in", [timedelta(minutes=1), timedelta(days=365), None], ids=str
    )
    async def test_records_expire_as_the_store_says(
        self, store: AnyStore, expires_in: timedelta | None
    ) -> None:
        """`expires_in`, a timedelta or None, becomes the `expires_at` of what is written."""
        assert store.expires_in is None or isinstance(store.expires_in, timedelta)
        store.expires_in = expires_in
        clock = Clock(now() // 1000)  # the true time: a store may sweep by its own
        async with leased(store) as opened:
            async with Bot(session_store=opened, clock=clock) as bot:
                async with bot.conversation(TIM) as context:
                    context.set_state(n=1)
            record = await peek(opened)
            assert record is not None
            if expires_in is None:
                assert record.expires_at is None
            else:
                assert record.expires_at is not None
                lifetime = timedelta(milliseconds=record.expires_at - int(clock() * 1000))
                assert expires_in <= lifetime <= expires_in * 1.02

    async def test_an_unreadable_session_is_never_a_new_user(self, store: AnyStore) -> None:
        """`SessionUnreadable` on every try: a record exists, and what it says is not known."""
        async with leased(store) as opened, Bot(session_store=opened) as bot:
            await put(opened, state={"n": 1})
            await self.damage(store, TIM)
            for _ in range(3):
                with pytest.raises(SessionUnreadable):
                    async with bot.conversation(TIM) as context:
                        context.set_state(n=2)

    async def test_an_unreadable_session_hurts_no_other(self, store: AnyStore) -> None:
        """One bad record is one bad record."""
        async with leased(store) as opened, Bot(session_store=opened) as bot:
            await put(opened, TIM, {"n": 1})
            await put(opened, "test:zoe", {"n": 1})
            await self.damage(store, TIM)
            async with bot.conversation("test:zoe") as context:
                context.set_state(n=context.state["n"] + 1)
            async with bot.conversation("test:zoe") as context:
                assert context.state == {"n": 2}

    async def test_an_unreadable_session_can_be_destroyed(self, store: AnyStore) -> None:
        """`destroy` by force need not understand a record; afterwards the session is missing."""
        async with leased(store) as opened:
            await put(opened, state={"n": 1})
            await self.damage(store, TIM)
            await opened.destroy(TIM, None)
            assert await peek(opened) is None

    async def test_a_checkout_that_failed_holds_no_lease(self, store: AnyStore) -> None:
        """A checkout that raises `SessionUnreadable` has not taken the lease."""
        async with leased(store) as opened:
            await put(opened, state={"n": 1})
            await self.damage(store, TIM)
            for _ in range(3):
                lease = lease_on()
                try:
                    record = await opened.checkout(TIM, lease)
                except SessionUnreadable:
                    continue  # and the next must be told the same, not that it is busy
                assert record is not None, "an unreadable record was taken for a missing one"
                await opened.release(TIM, lease)

    async def test_a_session_that_is_held_is_busy(self, store: AnyStore) -> None:
        """`SessionBusy`, whether or not there is a record yet."""
        async with leased(store) as opened:
            await put(opened, "test:written")
            for session_id in ("test:new", "test:written"):
                await opened.checkout(session_id, lease_on(session_id))
                with pytest.raises(SessionBusy):
                    await opened.checkout(session_id, lease_on(session_id))

    async def test_a_commit_without_a_lease_is_refused(self, store: AnyStore) -> None:
        """`LeaseLost` for a lease that was never taken; nothing is written."""
        async with leased(store) as opened:
            with pytest.raises(LeaseLost):
                await opened.commit(record_of(), lease_on())
            assert await peek(opened) is None

    # Opening and closing.

    async def test_a_store_that_was_closed_can_be_opened_again(self, store: AnyStore) -> None:
        """`init` works after `close`; a durable store still has what it was given."""
        async with leased(store) as opened:
            written = await put(opened, state={"n": 1})
        async with leased(store) as opened:
            if self.durable:
                assert written == await peek(opened)
            await put(opened, "test:zoe", {"n": 2})
            assert await peek(opened, "test:zoe") is not None

    async def test_a_closed_store_never_says_missing(self, store: AnyStore) -> None:
        """A closed store answers `SessionStoreUnavailable`, if it cannot answer rightly."""
        async with leased(store) as opened:
            written = await put(opened, state={"n": 1})
        try:
            record = await opened.checkout(TIM, lease_on())
        except SessionStoreUnavailable:
            return
        assert written == record or not self.durable


class FourMethodsContract(Contract):
    """The four methods of a `SessionStore`; for a `LeasedStore` there is nothing here to check."""

    async def test_read_answers_what_was_last_written(self, store: AnyStore) -> None:
        """`read` is None until something is written, and then the record."""
        if isinstance(store, LeasedStore):
            return
        async with store:
            assert await store.read(TIM) is None
            first, second = record_of(state={"n": 1}), record_of(state={"n": 2})
            await store.write(TIM, first)
            assert first == await store.read(TIM)
            await store.write(TIM, second)
            assert second == await store.read(TIM)

    async def test_destroy_removes_and_may_be_repeated(self, store: AnyStore) -> None:
        """`destroy` of what is not there is not an error."""
        if isinstance(store, LeasedStore):
            return
        async with store:
            await store.destroy(TIM)
            await store.write(TIM, record_of())
            await store.destroy(TIM)
            await store.destroy(TIM)
            assert await store.read(TIM) is None

    async def test_init_gives_the_store_itself(self, store: AnyStore) -> None:
        """`store = await MyStore().init()` is a way to open one."""
        try:
            assert store is await store.init()
        finally:
            await store.close()
