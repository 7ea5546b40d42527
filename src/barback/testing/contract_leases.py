"""The contract's part about leases: one turn at a time, and no write by who has lost the right."""

from __future__ import annotations

import pytest

from barback.errors import LeaseLost, SessionBusy
from barback.record import new_version
from barback.stores.base import SessionStore
from barback.testing.contract_tools import (
    LONG,
    TIM,
    AnyStore,
    Contract,
    lease_on,
    leased,
    peek,
    put,
    record_of,
)

__all__ = ["LeasesContract"]


class LeasesContract(Contract):
    """A lease is the exclusive right to a session; it ends by itself, and a commit checks it."""

    # Holding.

    async def test_only_one_of_two_gets_the_session(self, store: AnyStore) -> None:
        """Mutual exclusion: until the lease is given back, the other gets `SessionBusy`."""
        async with leased(store) as opened:
            mine, other = lease_on(), lease_on()
            await opened.checkout(TIM, mine)
            with pytest.raises(SessionBusy):
                await opened.checkout(TIM, other)
            await opened.release(TIM, mine)
            assert await opened.checkout(TIM, other) is None

    async def test_a_commit_gives_the_lease_back(self, store: AnyStore) -> None:
        """Writing and giving back are one step: the next checkout reads what was written."""
        async with leased(store) as opened:
            mine = lease_on()
            await opened.checkout(TIM, mine)
            written = record_of(state={"n": 1})
            await opened.commit(written, mine)
            assert written == await opened.checkout(TIM, lease_on())

    async def test_a_lease_is_known_by_its_token(self, store: AnyStore) -> None:
        """A second checkout by the lease that holds the session succeeds and reads the record."""
        async with leased(store) as opened:
            written = await put(opened, state={"n": 1})
            mine = lease_on()
            await opened.checkout(TIM, mine)
            again = lease_on(token=mine.token)
            assert written == await opened.checkout(TIM, again)

    async def test_a_release_leaves_no_trace(self, store: AnyStore) -> None:
        """Of somebody who came and set nothing, nothing is kept."""
        async with leased(store) as opened:
            mine = lease_on()
            await opened.checkout(TIM, mine)
            await opened.release(TIM, mine)
            assert await peek(opened) is None

    async def test_a_release_writes_nothing(self, store: AnyStore) -> None:
        """The record after a turn that changed nothing is the record before."""
        async with leased(store) as opened:
            written = await put(opened, state={"n": 1})
            await peek(opened)
            assert written == await peek(opened)

    async def test_releasing_what_was_never_held_is_harmless(self, store: AnyStore) -> None:
        """`release` answers nothing and frees nobody else's session."""
        async with leased(store) as opened:
            await opened.release(TIM, lease_on())
            await opened.checkout(TIM, lease_on())
            await opened.release(TIM, lease_on())
            with pytest.raises(SessionBusy):
                await opened.checkout(TIM, lease_on())

    async def test_keep_holds_the_session_for_the_next_turn(self, store: AnyStore) -> None:
        """`commit(keep=True)` writes and stays: the next commit, of the new version, is taken."""
        async with leased(store) as opened:
            mine = lease_on()
            await opened.checkout(TIM, mine)
            first, second = record_of(state={"n": 1}), record_of(state={"n": 2})
            await opened.commit(first, mine, keep=True)
            with pytest.raises(SessionBusy):
                await opened.checkout(TIM, lease_on())
            mine.version = first.version
            await opened.commit(second, mine)
            assert second == await peek(opened)

    # Ending.

    async def test_the_lease_of_a_dead_holder_ends_by_itself(self, store: AnyStore) -> None:
        """Who died without a word holds a session for its lease's term, and no longer."""
        async with leased(store) as opened:
            written = await put(opened, state={"n": 1})
            await opened.checkout(TIM, lease_on(term=self.short_term))
            assert written == await self.taken(opened, lease_on())

    async def test_renewing_starts_the_term_anew(self, store: AnyStore) -> None:
        """A lease that was renewed in time outlives its first term."""
        async with leased(store) as opened:
            mine = lease_on(term=self.short_term)
            await opened.checkout(TIM, mine)
            mine.term = LONG
            assert await opened.renew([mine]) == []
            await self.wait_for_short_leases_to_end(opened)
            with pytest.raises(SessionBusy):
                await opened.checkout(TIM, lease_on())

    async def test_a_repeated_checkout_renews(self, store: AnyStore) -> None:
        """A checkout by the lease's own holder starts its term anew."""
        async with leased(store) as opened:
            mine = lease_on(term=self.short_term)
            await opened.checkout(TIM, mine)
            mine.term = LONG
            await opened.checkout(TIM, mine)
            await self.wait_for_short_leases_to_end(opened)
            with pytest.raises(SessionBusy):
                await opened.checkout(TIM, lease_on())

    async def test_keep_renews(self, store: AnyStore) -> None:
        """A hand-over starts the lease's term anew, for the next turn."""
        async with leased(store) as opened:
            mine = lease_on(term=self.short_term)
            await opened.checkout(TIM, mine)
            mine.term = LONG
            await opened.commit(record_of(), mine, keep=True)
            await self.wait_for_short_leases_to_end(opened)
            with pytest.raises(SessionBusy):
                await opened.checkout(TIM, lease_on())

    async def test_renew_tells_which_leases_were_lost(self, store: AnyStore) -> None:
        """Of many, `renew` returns those that hold their session no more, and takes none back."""
        async with leased(store) as opened:
            held, given_back, taken_over, destroyed = (
                lease_on(f"test:{number}") for number in range(4)
            )
            taken_over.term = self.short_term
            for lease in (held, given_back, taken_over, destroyed):
                await opened.checkout(lease.session_id, lease)
            await opened.release(given_back.session_id, given_back)
            await self.taken(opened, lease_on(taken_over.session_id))
            await opened.destroy(destroyed.session_id, None)
            lost = await opened.renew([given_back, held, taken_over, destroyed])
            expected = {given_back.token, taken_over.token, destroyed.token}
            assert expected == {lease.token for lease in lost}
            assert len(expected) == len(lost)
            assert await peek(opened, given_back.session_id) is None  # and it is not busy

    async def test_renewing_nothing_is_harmless(self, store: AnyStore) -> None:
        """`renew([])` is asked now and then, and loses nothing."""
        async with leased(store) as opened:
            assert await opened.renew([]) == []

    # Fencing.

    async def test_who_lost_the_lease_cannot_commit(self, store: AnyStore) -> None:
        """A stalled holder writes nothing while another holds the session."""
        async with leased(store) as opened:
            written = await put(opened, state={"n": 1})
            stalled, mine = lease_on(term=self.short_term), lease_on()
            stalled.version = written.version
            await opened.checkout(TIM, stalled)
            await self.taken(opened, mine)
            for keep in (False, True):
                with pytest.raises(LeaseLost):
                    await opened.commit(record_of(state={"n": "stalled"}), stalled, keep=keep)
            mine_again = lease_on(token=mine.token)
            assert written == await opened.checkout(TIM, mine_again), "it was written"
            committed = record_of(state={"n": 2})
            await opened.commit(committed, mine)
            assert committed == await peek(opened)

    async def test_who_lost_the_lease_cannot_commit_afterwards_either(
        self, store: AnyStore
    ) -> None:
        """Nor does it once the other has committed and gone: the session is as that one left it."""
        async with leased(store) as opened:
            stalled, mine = lease_on(term=self.short_term), lease_on()
            await opened.checkout(TIM, stalled)
            await self.taken(opened, mine)
            committed = record_of(state={"n": 2})
            await opened.commit(committed, mine)
            with pytest.raises(LeaseLost):
                await opened.commit(record_of(state={"n": "stalled"}), stalled)
            assert committed == await peek(opened)

    async def test_a_lease_that_was_given_back_cannot_commit(self, store: AnyStore) -> None:
        """A release, or a commit, is the end of a lease."""
        async with leased(store) as opened:
            released, spent = lease_on(), lease_on()
            await opened.checkout(TIM, released)
            await opened.release(TIM, released)
            await opened.checkout(TIM, spent)
            committed = record_of(state={"n": 1})
            await opened.commit(committed, spent)
            spent.version = released.version = committed.version
            for lease in (released, spent):
                with pytest.raises(LeaseLost):
                    await opened.commit(record_of(state={"n": "late"}), lease)
            assert committed == await peek(opened)

    async def test_releasing_a_lost_lease_frees_nobody_elses(self, store: AnyStore) -> None:
        """The late release of a stalled holder does not open the session its successor holds."""
        async with leased(store) as opened:
            stalled = lease_on(term=self.short_term)
            await opened.checkout(TIM, stalled)
            await self.taken(opened, lease_on())
            await opened.release(TIM, stalled)
            with pytest.raises(SessionBusy):
                await opened.checkout(TIM, lease_on())

    async def test_a_commit_needs_the_version_that_was_read(self, store: AnyStore) -> None:
        """The lease may look right and the record be another: `LeaseLost`, and nothing written.

        Of a `SessionStore` it is not asked: within one process, a lease still held is a version
        still read.
        """
        if isinstance(store, SessionStore):
            return
        async with store as opened:
            written = await put(opened, state={"n": 1})
            for version in (None, new_version()):
                mine = lease_on()
                await opened.checkout(TIM, mine)
                mine.version = version
                with pytest.raises(LeaseLost):
                    await opened.commit(record_of(state={"n": "wrong"}), mine)
                await opened.release(TIM, mine)
                assert written == await peek(opened)

    async def test_a_commit_to_a_record_that_is_gone_is_refused(self, store: AnyStore) -> None:
        """A record that was read, and is there no more, is not written anew."""
        if isinstance(store, SessionStore):
            return
        async with store as opened:
            mine = lease_on(version=new_version())
            await opened.checkout(TIM, mine)
            with pytest.raises(LeaseLost):
                await opened.commit(record_of(), mine)
            await opened.release(TIM, mine)
            assert await peek(opened) is None

    # Destroying.

    async def test_destroying_by_force_stops_the_turn_that_runs(self, store: AnyStore) -> None:
        """After `destroy(…, None)` the commit of a running turn is refused: it stays destroyed."""
        async with leased(store) as opened:
            written = await put(opened, "test:written")
            for session_id, version in (("test:new", None), ("test:written", written.version)):
                mine = lease_on(session_id, version=version)
                await opened.checkout(session_id, mine)
                await opened.destroy(session_id, None)
                for keep in (False, True):
                    with pytest.raises(LeaseLost):
                        await opened.commit(record_of(session_id), mine, keep=keep)
                await opened.release(session_id, mine)
                assert await peek(opened, session_id) is None

    async def test_destroying_by_force_frees_the_session(self, store: AnyStore) -> None:
        """The next may start at once, and whoever was there before cannot write over it."""
        async with leased(store) as opened:
            before = lease_on()
            await opened.checkout(TIM, before)
            await opened.destroy(TIM, None)
            written = await put(opened, state={"n": 1})
            with pytest.raises(LeaseLost):
                await opened.commit(record_of(state={"n": "late"}), before)
            assert written == await peek(opened)

    async def test_destroying_with_a_lease_gives_it_back(self, store: AnyStore) -> None:
        """The record and the lease go together."""
        async with leased(store) as opened:
            written = await put(opened)
            mine = lease_on(version=written.version)
            await opened.checkout(TIM, mine)
            await opened.destroy(TIM, mine)
            assert await opened.checkout(TIM, lease_on()) is None

    async def test_destroying_with_a_lost_lease_is_refused(self, store: AnyStore) -> None:
        """`LeaseLost`, and the record is still there: who sweeps must not hurt who came back."""
        async with leased(store) as opened:
            written = await put(opened)
            given_back = lease_on(version=written.version)
            await opened.checkout(TIM, given_back)
            await opened.release(TIM, given_back)
            with pytest.raises(LeaseLost):
                await opened.destroy(TIM, given_back)
            assert written == await peek(opened)

    async def test_destroying_what_is_not_there_is_harmless(self, store: AnyStore) -> None:
        """By force, `destroy` may be repeated."""
        async with leased(store) as opened:
            await opened.destroy(TIM, None)
            await put(opened)
            await opened.destroy(TIM, None)
            await opened.destroy(TIM, None)
            assert await peek(opened) is None
