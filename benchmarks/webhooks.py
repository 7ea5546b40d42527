"""Webhooks over HTTP: barback on uvicorn and aiogram on its own server, on one Redis, in turn."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import dev
from benchmarks.commands import as_command
from benchmarks.facts import facts
from benchmarks.places import ROOT, Places
from benchmarks.poster import Poster
from benchmarks.processes import Failed
from benchmarks.served import URL
from benchmarks.tables import table, write_tables
from tests.ports import free_port

PAGE = ROOT / "docs" / "web.md"
HEADS = ("Event loop", "Workers", "barback", "aiogram", "barback is", "Goal")
PEOPLE = 1000
IN_FLIGHT = 64
WORKERS = (1, 2)
GOAL = 2.0

OURS, THEIRS = "barback_webhook", "aiogram_webhook"
LOOPS = {"asyncio": [], "uvloop": ["uvloop"]}


def main(arguments: list[str]) -> int:
    """Measure, print a table, and put it into the page if asked to."""
    parser = argparse.ArgumentParser(prog="python3 dev.py bench webhooks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--write", action="store_true", help=f"renew the table in {PAGE.name}")
    options = parser.parse_args(arguments)
    rates: dict[tuple[str, str, int], list[float]] = {}
    with Places() as places:
        for number in range(options.rounds):
            for loop in LOOPS:
                for workers in WORKERS:
                    for subject in (OURS, THEIRS):
                        rate = measured(places, subject, loop, workers, options.seconds)
                        rates.setdefault((subject, loop, workers), []).append(rate)
                        told = f"{subject:16} {loop:8} {workers} workers: {rate:7,.0f} events/s"
                        print(f"{number + 1}/{options.rounds} {told}", file=sys.stderr)
    text = table(HEADS, rows(rates))
    print(text)
    if options.write:
        write_tables(PAGE, {"webhooks": text + _where()})
    return 0


def measured(places: Places, subject: str, loop: str, workers: int, seconds: float) -> float:
    """The rate of one subject, whose states are looked at afterwards. Raises `Failed`."""
    with places.fresh("redis") as url:
        environment = {**os.environ, URL: url}
        with served(subject, loop, workers, environment) as port:
            poster = Poster(port, in_flight=IN_FLIGHT, people=PEOPLE)

            async def post() -> float:
                await poster.post_for(1.0)  # to warm up
                return await poster.post_for(seconds)

            rate = asyncio.run(post())
        looked = subprocess.run(
            [*command(subject), "look", str(PEOPLE)],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            check=True,
            timeout=60,
        )
    if json.loads(looked.stdout) != poster.states():
        message = f"{subject}: states are wrong"
        raise Failed(message)
    return rate


@contextmanager
def served(subject: str, loop: str, workers: int, environment: dict[str, str]) -> Iterator[int]:
    """A subject's server, in so many processes; its port."""
    port = free_port()
    process = subprocess.Popen(
        [*command(subject), "serve", str(port), str(workers), *LOOPS[loop]],
        cwd=ROOT,
        env=environment,
        start_new_session=True,
    )
    try:
        _wait_for(port, process)
        time.sleep(1.0)  # until every worker listens
        yield port
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(20)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def command(subject: str) -> list[str]:
    """What starts a subject, in its environment."""
    if subject == OURS:
        return [sys.executable, "-m", f"benchmarks.subjects.{subject}"]
    peers = dev.environment(".venv-peers", ["-r", str(dev.PEERS)])
    return [str(peers), "-m", f"benchmarks.subjects.{subject}"]


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(200):
        if process.poll() is not None:
            message = "The server ended by itself."
            raise Failed(message)
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    message = "The server never listened."
    raise Failed(message)


def rows(rates: dict[tuple[str, str, int], list[float]]) -> list[list[str]]:
    """Medians, with the least and the greatest; ratios are taken round by round."""
    found = []
    for loop in LOOPS:
        for workers in WORKERS:
            ours, theirs = rates[OURS, loop, workers], rates[THEIRS, loop, workers]
            ratios = [our / their for our, their in zip(ours, theirs, strict=True)]
            ratio = statistics.median(ratios)
            found.append(
                [
                    loop,
                    str(workers),
                    _spread(ours),
                    _spread(theirs),
                    f"{ratio:.2f} ({min(ratios):.2f}–{max(ratios):.2f}) ×",
                    f"≥ {GOAL:.0f} ×: {'met' if ratio >= GOAL else '**not met**'}",
                ]
            )
    return found


def _spread(rates: list[float]) -> str:
    return f"{statistics.median(rates):,.0f} ({min(rates):,.0f}–{max(rates):,.0f})"


def _where() -> str:
    told = dict(facts())
    cores = told["Processor"].partition(";")[0]
    return f"\n{cores}; Python {told['Python']}; {told['Date']}.\n"


if __name__ == "__main__":
    as_command(main)
