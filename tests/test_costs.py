"""A turn costs what it cost before: counts of what it does, never seconds.

What is counted on each store is compared with `costs.toml`. Where it has become more, somebody is
to find out why; where it has become less, to write that down. `python3 dev.py costs --record` does.
"""

from __future__ import annotations

import asyncio
import gc
import sys
from contextlib import closing, contextmanager
from itertools import count, islice
from typing import TYPE_CHECKING

import pytest

from barback import Observer
from barback.observing import turns as observed_turns
from barback.telemetry import Telemetry
from benchmarks.contenders import STORES
from benchmarks.costs import PAGE, TABLES
from benchmarks.places import Places
from tests.cost_bounds import VERSION, Bounds, exceeded, undercut
from tests.costs import SHARED, alone, in_bytecode, left_behind, together
from tests.scripted import counting_bot, event
from tests.valkey_servers import ValkeyServer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

    from barback import Bot, Context

TRIES = 100
KEPT = 0.5  # of a block, or a cycle: what a turn keeps, it keeps whole

WITHIN_SCRIPTS = {"get", "getrange", "set", "del", "pttl"}

every_store = pytest.mark.parametrize("store", STORES)
every_sharing = pytest.mark.parametrize("store", SHARED)


@pytest.fixture(scope="module")
def places() -> Iterator[Places]:
    """Servers of the same making as those on which it was recorded, whoever else has some."""
    with Places() as opened:
        yield opened


@pytest.fixture
def place(store: str, places: Places) -> Iterator[str]:
    """Where nobody else is."""
    with places.fresh(store) as fresh:
        yield fresh


@pytest.fixture
def bounds() -> Bounds:
    return Bounds()


@every_store
def test_a_turn_costs_what_is_recorded(store: str, place: str, bounds: Bounds) -> None:
    costs = alone(store, place)
    assert exceeded(costs, bounds.alone[store]) == []
    assert undercut(costs, bounds.alone[store]) == []


def test_a_turn_in_memory_takes_as_many_instructions_as_are_recorded(bounds: Bounds) -> None:
    executed = sum(in_bytecode().values())
    recorded, reserve = bounds.bytecode()
    assert executed == pytest.approx(recorded, rel=reserve), "python3 dev.py costs --record"


@contextmanager
def steps_uninterrupted() -> Iterator[None]:
    """Where everything is traced, a step of the loop may take longer than a thread may run.

    What a store's own thread finds then is a part of what leaves together.
    """
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1.0)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)


@every_sharing
def test_turns_at_once_share_what_is_recorded(store: str, place: str, bounds: Bounds) -> None:
    # Who meets is chance: the best of some tries counts, and the first that will do is the last.
    with steps_uninterrupted(), closing(together(store, place)) as tries:
        for costs in islice(tries, TRIES):
            found = exceeded(costs, bounds.together[store], by_chance=True)
            if not found:
                break
    assert found == []


@every_store
def test_a_turn_leaves_nothing_behind(store: str, place: str) -> None:
    costs = left_behind(store, place)
    assert costs["blocks"] < KEPT
    assert costs["cycles"] == 0


def test_telemetry_without_a_provider_is_not_an_instruction_more(
    bounds: Bounds, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Once a second it is looked for a provider, and that is no turn's.
    monkeypatch.setattr(observed_turns, "LOOK_EVERY", 3600.0)
    assert in_bytecode(telemetry) == in_bytecode()
    assert exceeded(alone("memory", "", telemetry), bounds.alone["memory"]) == []


@every_store
def test_telemetry_without_a_provider_calls_nothing_on_any_store(
    store: str, places: Places, bounds: Bounds, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(observed_turns, "LOOK_EVERY", 3600.0)
    with places.fresh(store) as url:
        assert exceeded(alone(store, url, telemetry), bounds.alone[store]) == []


def telemetry(bot: Bot) -> None:
    bot.observe(Telemetry())


def test_an_observer_that_listens_is_seen_in_the_instructions(bounds: Bounds) -> None:
    recorded, reserve = bounds.bytecode()
    executed = sum(in_bytecode(lambda bot: bot.observe(Observer())).values())
    assert executed > recorded * (1 + reserve)


def test_the_page_tells_what_is_recorded(bounds: Bounds) -> None:
    page = PAGE.read_text()
    for table in TABLES.values():
        assert table(bounds) in page, "python3 dev.py costs --record"


# Each of these can fail.


def with_more_of_everything(bot: Bot) -> None:
    """Each turn holds another, and does what makes work for an event loop."""

    @bot.use
    async def more(context: Context, call_next: Callable[[Context], Awaitable[None]]) -> None:
        async with bot.conversation("telegram:another") as other:
            other.set_state(nickname=context.event.text)
        await asyncio.create_task(asyncio.sleep(0.0001))
        await call_next(context)


@every_store
def test_more_work_is_seen_in_every_count(store: str, place: str, bounds: Bounds) -> None:
    recorded = bounds.alone[store]
    found = exceeded(alone(store, place, with_more_of_everything), recorded)
    expected = {*recorded, "tasks", "futures", "timers", "callbacks"}
    assert {words.partition(":")[0] for words in found} == expected


def test_more_work_is_seen_in_the_instructions(bounds: Bounds) -> None:
    recorded, reserve = bounds.bytecode()

    def looking_twice(bot: Bot) -> None:
        @bot.use
        async def look(context: Context, call_next: Callable[[Context], Awaitable[None]]) -> None:
            assert context.session.id == f"telegram:{context.event.address}"
            await call_next(context)

    assert sum(in_bytecode(looking_twice).values()) > recorded * (1 + reserve)


@every_store
def test_less_work_is_seen_too(store: str, place: str, bounds: Bounds) -> None:
    def doing_nothing(bot: Bot) -> None:
        @bot.use
        async def do_nothing(context: Context, call_next: object) -> None:
            pass

    assert undercut(alone(store, place, doing_nothing), bounds.alone[store])


@every_sharing
def test_turns_that_never_meet_are_seen(store: str, place: str, bounds: Bounds) -> None:
    numbers = count()

    def one_after_the_other(bot: Bot) -> None:
        @bot.use
        async def wait(context: Context, call_next: Callable[[Context], Awaitable[None]]) -> None:
            await asyncio.sleep(0.005 * (next(numbers) % 64))
            await call_next(context)

    with closing(together(store, place, one_after_the_other)) as tries:
        costs = next(tries)
    assert exceeded(costs, bounds.together[store], by_chance=True)


def test_what_is_left_behind_is_seen() -> None:
    kept: list[object] = []

    def keeping(bot: Bot) -> None:
        @bot.use
        async def keep(context: Context, call_next: Callable[[Context], Awaitable[None]]) -> None:
            kept.append(context)
            await call_next(context)

    assert left_behind("memory", "", keeping)["blocks"] > KEPT


def test_a_cycle_is_seen() -> None:
    def entangling(bot: Bot) -> None:
        @bot.use
        async def entangle(
            context: Context, call_next: Callable[[Context], Awaitable[None]]
        ) -> None:
            entangled: list[object] = []
            entangled.append(entangled)
            await call_next(context)

    assert left_behind("memory", "", entangling)["cycles"] == 1


def test_the_collector_runs_again_afterwards() -> None:
    alone("memory", "")
    assert gc.isenabled()


def test_reserves_are_small() -> None:
    assert exceeded({"functions": 36, "tasks": 2}, {"functions": 35.5, "tasks": 2}) == []
    (words,) = exceeded({"functions": 36.5, "tasks": 2}, {"functions": 35.5, "tasks": 2})
    assert words.startswith("functions: 36.5, and 35.5 recorded.")
    (words,) = exceeded({"tasks": 3}, {"tasks": 2})
    assert words.startswith("tasks: 3, and 2 recorded.")
    assert exceeded({"timers": 1}, {})
    assert undercut({}, {"timers": 1})


def test_bytecode_recorded_on_one_python_is_expected_of_others(bounds: Bounds) -> None:
    bounds.instructions = {"3.9": 1000, VERSION: 800}
    bounds.count_bytecode(880)
    assert bounds.instructions == {"3.9": 1100, VERSION: 880}
    bounds.instructions = {"3.9": 1100, "3.10": 1200}
    executed, reserve = bounds.bytecode()  # as for the newest that is known, with more room
    assert executed == 1200
    assert reserve > 0.1


# What the servers themselves say.


@pytest.mark.parametrize("people", [1, 64])
async def test_a_turn_is_set_get_and_one_script_to_redis(people: int, tmp_path: Path) -> None:
    events = [event(f"user{n}") for n in range(people)]
    with ValkeyServer(tmp_path) as server:
        async with counting_bot(session_store=server.url) as bot:
            await asyncio.gather(*map(bot.handle, events))
            before = server.calls()
            await asyncio.gather(*map(bot.handle, events))
            after = server.calls()
    called = {name for name in after if after[name] > before.get(name, 0)}
    told = {name: after[name] - before.get(name, 0) for name in after}
    assert told["evalsha"] == people
    assert (told["set"], told["get"]) == (2 * people, 2 * people)  # one of each in the script
    assert called - WITHIN_SCRIPTS - {"info", "client|setinfo", "hello"} == {"evalsha"}
