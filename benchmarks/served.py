"""What subjects behind a webhook have in common; peers run it in an environment of their own."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from typing import Any, Protocol

from benchmarks.workload import Job, Subject

__all__ = ["SECRET", "TOKEN", "URL", "serve_or_look"]

URL = "BARBACK_BENCH_STORE"
TOKEN = "1:token"  # noqa: S105 - it opens nothing
SECRET = "open-sesame"  # noqa: S105 - likewise


class Serve(Protocol):
    """What serves a subject's webhook until SIGTERM comes."""

    def __call__(self, port: int, workers: int, *, uvloop: bool) -> None: ...


def serve_or_look(arguments: list[str], serve: Serve, subject: Callable[[Job], Subject]) -> None:
    """`serve PORT WORKERS [uvloop]`, or `look PEOPLE`, which prints the states that rest."""
    match arguments:
        case ["serve", port, workers, *options]:
            serve(int(port), int(workers), uvloop="uvloop" in options)
        case ["look", people]:
            print(json.dumps(asyncio.run(_states(subject, int(people)))))
        case _:
            raise SystemExit(serve_or_look.__doc__)


async def _states(subject: Callable[[Job], Subject], people: int) -> list[dict[str, Any]]:
    job = Job(store="redis", url=os.environ[URL])
    async with subject(job) as opened:
        return [await opened.state(person) for person in range(people)]
