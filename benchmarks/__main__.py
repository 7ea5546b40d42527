"""Measure barback beside its peers: everything in turn, or some cases alone."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from itertools import product
from pathlib import Path

from benchmarks.chart import svg
from benchmarks.commands import as_command
from benchmarks.contenders import CONTENDERS, STORES, find
from benchmarks.facts import facts
from benchmarks.node_peers import NoNode
from benchmarks.places import ROOT, Places
from benchmarks.processes import Failed
from benchmarks.report import markdown
from benchmarks.results import Kind
from benchmarks.suite import FULL, QUICK, Task, measure, perform
from benchmarks.workload import Job


def main(arguments: list[str]) -> int:
    """Run the command line."""
    options = _parser().parse_args(arguments)
    if options.list:
        cases = [f"{store}/{each.name}" for each in CONTENDERS for store in each.stores]
        print("\n".join(sorted(cases)))
        return 0
    try:
        return some_cases(options) if options.case else everything(options)
    except (Failed, NoNode, LookupError) as error:
        print(error, file=sys.stderr)
        return 1


def everything(options: argparse.Namespace) -> int:
    """Measure all, and write the report and its picture; 1 if anything went wrong."""
    plan = QUICK if options.quick else FULL
    plan = replace(
        plan,
        rounds=options.rounds or plan.rounds,
        seconds=options.seconds or plan.seconds,
        stores=tuple(options.store or STORES),
    )
    results = measure(plan)
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "benchmarks.md").write_text(markdown(results, plan, facts()))
    (options.output / "benchmarks.svg").write_text(svg(results))
    for line in (*results.failures, *set(results.missing.values())):
        print(line, file=sys.stderr)
    return 1 if results.failures else 0


def some_cases(options: argparse.Namespace) -> int:
    """Measure cases by themselves, in turn, and print what came of each."""
    job = Job(seconds=options.seconds or FULL.seconds, options={"profile": options.profile})
    cases = [(case, find(case)) for case in options.case]
    with Places() as places:
        for _ in range(options.rounds or 1):
            for (case, contender), in_flight in product(cases, options.in_flight):
                sample = perform(places, Task(Kind(case, in_flight), contender, job))
                print(f"{case:24} {in_flight:3} in flight: {sample.rate:9,.0f} events/s, ", end="")
                print(f"{sample.cpu:6.1f} µs CPU each", flush=True)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python3 dev.py bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a round of some minutes")
    parser.add_argument("--rounds", type=int, metavar="N", help="how often each is measured")
    parser.add_argument("--seconds", type=float, metavar="S", help="of each measurement")
    parser.add_argument("--store", nargs="+", choices=STORES, help="only these")
    parser.add_argument(
        "--output",
        type=Path,
        default=ROOT / "docs",
        metavar="FOLDER",
        help="where the report goes; docs unless given",
    )
    alone = parser.add_argument_group("some cases alone")
    alone.add_argument(
        "--case", nargs="+", default=[], metavar="STORE/NAME", help="measure these, in turn"
    )
    alone.add_argument(
        "--in-flight", type=int, nargs="+", default=[1, 64], metavar="N", help="events at once"
    )
    alone.add_argument("--profile", action="store_true", help="tell what takes the time")
    alone.add_argument("--list", action="store_true", help="print the names of the cases")
    return parser


if __name__ == "__main__":
    as_command(main)
