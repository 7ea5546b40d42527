"""Callgrind: how many instructions of the processor turns take, and how many allocations.

Both are the same however busy the machine is. What starting and ending cost is left out, as the
difference between few turns and many.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from benchmarks.places import CLIENT_CORES, ROOT, on_cores

__all__ = ["Executed", "calls", "executed", "is_there"]

FEW, MANY = 100, 500
ALLOCATING = {"malloc", "calloc", "realloc"}
PATIENCE = 300.0  # seconds


@dataclass(frozen=True)
class Executed:
    """Of one turn: instructions of the processor, and blocks of memory asked for."""

    instructions: float
    allocations: float


def is_there() -> bool:
    """Whether this machine has Valgrind."""
    return shutil.which("valgrind") is not None


def executed(part: str, url: str = "memory://") -> Executed:
    """What a turn of `benchmarks.parts` takes."""
    instructions, _ = _difference(part, url, {})
    # Python keeps blocks of its own in store, but for being told to ask the system for each.
    _, allocations = _difference(part, url, {"PYTHONMALLOC": "malloc"})
    return Executed(instructions, allocations)


def _difference(part: str, url: str, environment: dict[str, str]) -> tuple[float, float]:
    few, many = (_run(part, turns, url, environment) for turns in (FEW, MANY))
    return (many[0] - few[0]) / (MANY - FEW), (many[1] - few[1]) / (MANY - FEW)


def _run(part: str, turns: int, url: str, environment: dict[str, str]) -> tuple[int, int]:
    with tempfile.TemporaryDirectory() as folder, on_cores(CLIENT_CORES):
        found = Path(folder, "found")
        subprocess.run(
            [
                *("valgrind", "--tool=callgrind", "-q", f"--callgrind-out-file={found}"),
                *(sys.executable, "-m", "benchmarks.parts", part, str(turns), url),
            ],
            cwd=ROOT,
            env=os.environ | {"PYTHONHASHSEED": "0"} | environment,
            check=True,
            timeout=PATIENCE,
        )
        text = found.read_text(errors="replace")
    total = re.search(r"^(?:summary|totals): (\d+)", text, re.MULTILINE)
    assert total is not None
    called = calls(text)
    return int(total[1]), sum(called[name] for name in ALLOCATING)


def calls(text: str) -> Counter[str]:
    """How often each function was called, in a file of Callgrind's, which numbers names."""
    names: dict[str, str] = {}
    counts: Counter[str] = Counter()
    called = ""
    for line in text.splitlines():
        if (named := re.match(r"(c?fn)=\((\d+)\)(?: (.*))?", line)) is not None:
            kind, number, name = named.groups()
            if name is not None:
                names[number] = name
            if kind == "cfn":
                called = names[number]
        elif line.startswith("calls="):
            counts[called] += int(line.removeprefix("calls=").split()[0])
    return counts
