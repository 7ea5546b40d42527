"""How long it takes until a bot is there: importing barback, and the nickname bot's first reply."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time

from benchmarks.places import CLIENT_CORES, ROOT, SCRATCH, on_cores
from benchmarks.processes import Failed

__all__ = ["bare_python", "first_reply", "import_barback"]

IMPORT = """\
import time
began = time.perf_counter()
import barback
print(time.perf_counter() - began)
"""
PATIENCE = 30.0  # seconds


def import_barback() -> float:
    """Seconds that `import barback` takes in a Python that has just started."""
    with on_cores(CLIENT_CORES):
        told = subprocess.run(
            [sys.executable, "-c", IMPORT],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=True,
        )
    return float(told.stdout)


def bare_python() -> float:
    """Seconds that Python itself takes from its start to its end."""
    began = time.perf_counter()
    with on_cores(CLIENT_CORES):
        subprocess.run([sys.executable, "-c", "pass"], cwd=ROOT, timeout=PATIENCE, check=True)
    return time.perf_counter() - began


def first_reply() -> float:
    """Seconds from the start of the nickname bot's process to its first reply."""
    with tempfile.TemporaryDirectory(dir=SCRATCH) as folder, on_cores(CLIENT_CORES):
        began = time.perf_counter()
        with subprocess.Popen(
            [sys.executable, str(ROOT / "examples" / "nickname.py")],
            cwd=folder,
            env=os.environ | {"PYTHONIOENCODING": "utf-8"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        ) as bot:
            try:
                assert bot.stdin is not None
                assert bot.stdout is not None
                bot.stdin.write(b"Hi\n")
                bot.stdin.flush()
                heard = b""
                while b"nickname?" not in heard:
                    more = os.read(bot.stdout.fileno(), 4096)
                    if not more:
                        message = f"The nickname bot ended without a reply: {heard!r}"
                        raise Failed(message)
                    heard += more
                return time.perf_counter() - began
            finally:
                bot.kill()
