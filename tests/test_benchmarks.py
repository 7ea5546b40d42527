"""The benchmarks measure barback, look at what came of it, and report what they found."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from benchmarks import webhooks
from benchmarks.callgrind import calls
from benchmarks.chart import svg
from benchmarks.contenders import find
from benchmarks.goals import goals
from benchmarks.node_peers import FOLDER
from benchmarks.parts import PARTS, opened
from benchmarks.places import Places
from benchmarks.processes import Failed, run
from benchmarks.report import markdown, short
from benchmarks.results import Kind, Results, Sample, ratio
from benchmarks.suite import QUICK, Task, perform
from benchmarks.tables import table, write_tables
from benchmarks.workload import Job
from tests.counters import instructions

ROOT = Path(__file__).resolve().parent.parent
BRIEF = Job(people=20, seconds=0.02, warm_up=0.01)
BARBACK = find("memory/barback")


def samples(case: str, rates: list[float], in_flight: int = 1) -> list[Sample]:
    return [Sample(Kind(case, in_flight), rate=rate) for rate in rates]


def test_a_case_is_measured_in_a_process_of_its_own() -> None:
    with Places() as places:
        sample = perform(places, Task(Kind("memory/barback", 4), BARBACK, BRIEF))
    assert sample.rate > 0
    assert sample.cpu > 0


def test_webhooks_are_measured_over_http_and_looked_at_afterwards() -> None:
    with Places() as places:
        assert webhooks.measured(places, webhooks.OURS, "asyncio", 1, 0.2) > 0


def test_rates_of_webhooks_are_compared_round_by_round() -> None:
    rates = {
        (subject, loop, workers): [rate * workers, 3 * rate * workers]
        for subject, rate in ((webhooks.OURS, 300.0), (webhooks.THEIRS, 100.0))
        for loop in webhooks.LOOPS
        for workers in webhooks.WORKERS
    }
    first, *_ = webhooks.rows(rates)
    assert first[:2] == ["asyncio", "1"]
    assert [cell.split(" ")[0] for cell in first[2:5]] == ["600", "200", "3.00"]
    assert first[5].endswith("met")


def test_so_is_one_on_a_disk() -> None:
    with Places() as places:
        sample = perform(places, Task(Kind("sqlite/barback", 4), find("sqlite/barback"), BRIEF))
    assert sample.rate > 0


def test_a_run_that_ends_in_wrong_states_is_no_figure() -> None:
    forgetful = Job(people=20, seconds=0.02, warm_up=0.01, url="memory://?max_size=5")
    with pytest.raises(Failed, match="states are wrong"):
        run(BARBACK, [forgetful])


def test_a_process_that_ends_by_itself_is_no_figure() -> None:
    with pytest.raises(Failed, match="ended by itself"):
        run(BARBACK, [Job(url="memory://somewhere")])


def test_zipf_traffic_is_checked_like_any_other() -> None:
    crowd = Job(people=20, seconds=0.02, warm_up=0.01, in_flight=8, traffic="zipf")
    (result,) = run(BARBACK, [crowd])
    assert result["wrong"] == 0


def test_two_hundred_increments_are_counted() -> None:
    kind = Kind("memory/barback", variant="+1")
    with Places() as places:
        sample = perform(places, Task(kind, BARBACK, Job(work="count")))
    assert sample.value == 200


def test_a_session_is_weighed() -> None:
    kind = Kind("memory/barback", variant="20 weighed")
    with Places() as places:
        sample = perform(places, Task(kind, BARBACK, Job(work="weigh", people=20)))
    assert 100 < sample.bytes < 10_000


def test_ratios_are_taken_round_by_round_against_the_fastest_of_the_others() -> None:
    results = Results(
        [
            *samples("a/ours", [300, 60, 100]),
            *samples("a/one", [100, 10, 50]),
            *samples("a/other", [50, 20, 10]),
        ]
    )
    found = ratio(results, Kind("a/ours"), [Kind("a/one"), Kind("a/other"), Kind("a/nobody")])
    assert found is not None
    assert (found.median, found.least, found.greatest) == (3.0, 2.0, 3.0)
    assert ratio(results, Kind("a/ours"), [Kind("a/nobody")]) is None


def test_goals_are_met_missed_or_not_measured() -> None:
    results = Results(samples("memory/barback", [150_000]) + samples("memory/grammy", [100_000]))
    results.samples += samples("memory/barback", [149_000], 64)
    results.samples += samples("memory/grammy", [100_000], 64)
    met = {goal.what: goal.met for goal in goals(results)}
    assert met["Memory, 1 in flight: rate by that of grammY"] is True
    assert met["Memory, 64 in flight: rate by that of grammY"] is False
    assert met["Redis, 64 in flight: rate by that of grammY"] is None


def test_the_page_says_what_was_not_measured() -> None:
    missing = {"grammY 1.46": "Node.js is not installed."}
    results = Results(samples("memory/barback", [150_000]), missing, ["redis/x: 3 wrong\nmore"])
    page = markdown(results, QUICK, [("Date", "today")])
    assert "| Date | today |" in page
    assert "| grammY 1.46 | not measured |" in page
    assert "- Node.js is not installed." in page
    assert "- redis/x: 3 wrong\n" in page
    assert "more" not in page.partition("- redis/x")[2]


def test_the_picture_has_a_bar_for_each_figure() -> None:
    results = Results(samples("memory/barback", [90.0]) + samples("memory/barback", [100.0], 64))
    results.samples += samples("redis/grammy", [50.0], 64)
    results.samples.append(Sample(Kind("redis/grammy", variant="+1"), value=2))
    picture = ET.fromstring(svg(results))  # noqa: S314 - it is our own
    words = [each.text for each in picture.iter("{http://www.w3.org/2000/svg}text")]
    assert {"In memory", "barback", "100 / 90", "Redis", "grammY 1.46"} <= set(words)
    assert "loses updates" in words
    assert "aiogram 3.31" not in words


@pytest.mark.parametrize(
    ("rate", "words"),
    [(870.4, "870"), (999.9, "1 k"), (9_432, "9.43 k"), (145_700, "146 k"), (1_300_000, "1.3 M")],
)
def test_rates_are_short(rate: float, words: str) -> None:
    assert short(rate) == words


async def test_each_part_of_a_turn_does_more_than_the_one_before() -> None:
    executed = []
    for part in PARTS:
        async with opened(part, "memory://") as turns:
            with instructions() as counts:
                await turns.take(10)
        executed.append(sum(counts.values()))
    assert executed == sorted(set(executed))


def test_calls_are_read_as_callgrind_writes_them() -> None:
    lines = ["fn=(1) main", "cfn=(2) malloc", "calls=3 0", "fn=(2)", "cfn=(3) brk", "calls=1 0"]
    assert calls("\n".join([*lines, "fn=(4) more", "cfn=(2)", "calls=4 0"])) == {
        "malloc": 7,
        "brk": 1,
    }


def test_a_table_takes_the_place_of_the_one_before(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("Above\n\n<!-- it -->\n\nold\n\n<!-- end of it -->\n\nBelow\n")
    write_tables(page, {"it": table(["What", "How much"], [["tea", "2"]])})
    told = "| What | How much |\n| --- | ---: |\n| tea | 2 |\n"
    assert page.read_text() == f"Above\n\n<!-- it -->\n\n{told}\n<!-- end of it -->\n\nBelow\n"


def test_pins_name_no_place_to_fetch_from() -> None:
    pins = [FOLDER / "package-lock.json", *(ROOT / "requirements").iterdir()]
    assert not [pin.name for pin in pins if "://" in pin.read_text()]
