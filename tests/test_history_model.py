"""Whatever is added to a history, and whatever happens meanwhile: it is what a list would be."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from barback import Bot, Entry, History, Keys, LeasedStore, MemorySessionStore, SQLiteSessionStore
from barback.stores.local import leased
from barback.sweeper import sweep
from barback.testing import Clock
from barback.testing.contract_tools import peek
from tests.histories import TIM, orphans, settled

if TYPE_CHECKING:
    from collections.abc import Coroutine

EXPIRES_IN = timedelta(days=10)
RUNS = st.lists(
    st.one_of(
        st.tuples(st.integers(1, 70), st.integers(0, 200)),
        st.tuples(st.integers(1, 3), st.integers(1000, 100_000)),
    ),
    max_size=3,
)
"""How many entries of how many bytes, one after another: most are short, as messages are."""


def sizes(runs: list[tuple[int, int]]) -> list[int]:
    """Of each entry."""
    return [size for count, size in runs for _ in range(count)]


class Machine(RuleBasedStateMachine):
    """One session, its bot, the store and the clock; and a list."""

    kind: str

    @initialize(
        keep=st.integers(1, 300),
        hours=st.one_of(st.none(), st.integers(1, 48)),
        sealed=st.booleans(),
    )
    def begin(self, keep: int, hours: int | None, *, sealed: bool) -> None:
        self.folder = tempfile.mkdtemp()
        self.runner = asyncio.Runner()
        self.clock = Clock()
        self.keep, self.keep_for = keep, None if hours is None else timedelta(hours=hours)
        self.keys = Keys({"one": Keys.generate()}) if sealed else None
        self.store: LeasedStore = leased(
            MemorySessionStore(expires_in=EXPIRES_IN)
            if self.kind == "memory"
            else SQLiteSessionStore(f"{self.folder}/sessions.db", expires_in=EXPIRES_IN)
        )
        self.run(self.store.acquire())
        self.model: list[tuple[int, float, str]] = []
        self.next = 0
        self.start()

    def start(self) -> None:
        self.bot: Bot[Any] = Bot(
            session_store=self.store,
            history=History(keep=self.keep, keep_for=self.keep_for),
            encryption=self.keys,
            clock=self.clock,
        )
        self.run(self._start())

    async def _start(self) -> None:
        await sweep(self.store, int(self.clock() * 1000))
        await self.bot.__aenter__()
        await asyncio.sleep(0)  # what it sweeps by itself has been swept: it is in nobody's way

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(work)

    def teardown(self) -> None:
        if hasattr(self, "runner"):
            self.run(self.bot.__aexit__(None, None, None))
            self.run(self.store.relinquish())
            self.runner.close()
            shutil.rmtree(self.folder)

    # What is true.

    def forget_if_expired(self) -> None:
        record = self.run(peek(self.store, TIM))
        if record is None or record.expired(int(self.clock() * 1000)):
            self.model, self.next = [], 0

    def seen(self) -> list[tuple[int, float, str]]:
        """What is to be seen of the list now."""
        oldest = 0.0 if self.keep_for is None else self.clock() - self.keep_for.total_seconds()
        return [entry for entry in self.model[-self.keep :] if entry[1] >= oldest]

    # What happens.

    @rule(runs=RUNS, clear=st.sampled_from([False] * 9 + [True]))
    def add(self, runs: list[tuple[int, int]], *, clear: bool) -> None:
        self.forget_if_expired()
        if clear:
            self.model = []
        added = [f"{self.next + n} {'x' * size}" for n, size in enumerate(sizes(runs))]
        self.model += [(self.next + n, self.clock(), value) for n, value in enumerate(added)]
        self.next += len(added)
        self.run(self._add(added, clear=clear, fails=False))

    @rule(runs=RUNS, clear=st.booleans())
    def fail(self, runs: list[tuple[int, int]], *, clear: bool) -> None:
        with suppress(ZeroDivisionError):
            self.run(self._add(["x" * size for size in sizes(runs)], clear=clear, fails=True))

    async def _add(self, values: list[str], *, clear: bool, fails: bool) -> None:
        async with self.bot.conversation(TIM) as context:
            if clear:
                context.history.append("gone as well")
                context.history.clear()
            for value in values:
                context.history.append(value)
            if values:
                (newest,) = await context.history.page(1)
                assert newest.value == values[-1]
            if fails:
                raise ZeroDivisionError

    @rule(limit=st.integers(1, 120), back=st.integers(0, 300))
    def page(self, limit: int, back: int) -> None:
        self.forget_if_expired()
        before = self.next - back
        seen = [entry for entry in self.seen() if entry[0] < before]
        self.check(self.run(self._page(limit, before)), seen[-limit:])

    async def _page(self, limit: int, before: int) -> list[Entry]:
        async with self.bot.conversation(TIM) as context:
            page: list[Entry] = await context.history.page(limit, before=before)
            return page

    @rule()
    def all(self) -> None:
        self.forget_if_expired()
        entries, count = self.run(self._all())
        self.check(entries, self.seen())
        if self.keep_for is None:
            assert count == len(entries)

    async def _all(self) -> tuple[list[Entry], int]:
        async with self.bot.conversation(TIM) as context:
            newest_first = [entry async for entry in context.history]
            return newest_first[::-1], context.history.count

    def check(self, entries: list[Entry], expected: list[tuple[int, float, str]]) -> None:
        found = [(entry.number, entry.at.timestamp(), entry.value) for entry in entries]
        assert [entry[::2] for entry in found] == [entry[::2] for entry in expected]
        assert all(
            abs(one[1] - other[1]) < 0.002 for one, other in zip(found, expected, strict=True)
        )

    @rule(hours=st.integers(1, 30))
    def wait(self, hours: int) -> None:
        self.clock.advance(hours=hours)

    @rule()
    def wait_until_it_is_over(self) -> None:
        self.clock.advance(days=11)

    @rule()
    def start_anew(self) -> None:
        self.run(self.bot.__aexit__(None, None, None))
        self.start()

    @invariant()
    def nobody_has_left_a_part_behind(self) -> None:
        if hasattr(self, "runner"):
            self.run(self._no_orphans())

    async def _no_orphans(self) -> None:
        await settled(self.bot)
        assert await orphans(self.store) == set()


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_a_history_is_what_a_list_would_be(kind: str) -> None:
    machine = type("Machine", (Machine,), {"kind": kind})
    settings = hypothesis.settings(
        max_examples=150 if kind == "memory" else 40, stateful_step_count=25, deadline=None
    )
    run_state_machine_as_test(machine, settings=settings)
