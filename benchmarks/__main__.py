"""Measure: everything in turn, or one case."""

from __future__ import annotations

import argparse
import sys
from itertools import product

from benchmarks.contenders import CONTENDERS, find
from benchmarks.node_peers import NoNode
from benchmarks.places import Places
from benchmarks.processes import Failed, run
from benchmarks.workload import Job


def main(arguments: list[str]) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python3 dev.py bench", description=__doc__)
    parser.add_argument(
        "--case", nargs="+", default=[], metavar="STORE/NAME", help="measure these alone, in turn"
    )
    parser.add_argument(
        "--in-flight", type=int, nargs="+", default=[1, 64], metavar="N", help="events at once"
    )
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, help="how often each is measured")
    parser.add_argument("--profile", action="store_true", help="tell what takes the time")
    parser.add_argument("--list", action="store_true", help="the names of the cases")
    options = parser.parse_args(arguments)
    if options.list:
        for contender in CONTENDERS:
            for store in contender.stores:
                print(f"{store}/{contender.name}")
        return 0
    try:
        return some_cases(options)
    except (Failed, NoNode, LookupError) as error:
        print(error, file=sys.stderr)
        return 1


def some_cases(options: argparse.Namespace) -> int:
    """Measure cases by themselves, and print what came of each round."""
    cases = [(case, *find(case)) for case in options.case]
    with Places() as places:
        for _ in range(options.rounds or 1):
            for (case, store, contender), in_flight in product(cases, options.in_flight):
                extra = contender.options | {"profile": options.profile}
                with places.fresh(store) as url:
                    job = Job(
                        store=store,
                        url=url,
                        in_flight=in_flight,
                        seconds=options.seconds,
                        options=extra,
                    )
                    (result,) = run(contender, [job])
                rate = result["events"] / result["seconds"]
                each = result["cpu"] / result["events"] * 1e6
                print(f"{case:24} {in_flight:3} in flight: {rate:9,.0f} events/s, ", end="")
                print(f"{each:6.1f} µs CPU each", flush=True)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
