#!/usr/bin/env python3
"""The project's commands. They need Python 3.11 or later and nothing else.

python3 dev.py chat [ARGS]   talk to the example bot (examples/nickname.py ARGS)
python3 dev.py test [ARGS]   run the tests (pytest ARGS); without ARGS, check the coverage too
python3 dev.py lint          check style, spelling and imports
python3 dev.py types         check types
python3 dev.py docs          build the documentation site, and check its links
python3 dev.py check         test, lint, types and docs
python3 dev.py bench [webhooks] [ARGS]
                             measure barback beside its peers (benchmarks/README.md)
python3 dev.py costs [ARGS]  count what a turn costs (docs/performance.md)
python3 dev.py guarantees [--quick] [--disk=FOLDER] [STORE or FAULT...]
                             let faults strike every store (docs/guarantees.md)
python3 dev.py soak [STORE...]
                             what memory a million turns leave in use
python3 dev.py values        send every kind of value through every store (docs/state.md)
python3 dev.py pictures      take the pictures of the playground (docs/playground.md)
python3 dev.py mutate [NAME...]
                             break the turn, and see the guarantees' tests fail
"""

import hashlib
import importlib.util
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import NoReturn

VERSION = f"{sys.version_info[0]}.{sys.version_info[1]}"
if sys.version_info < (3, 11):
    sys.exit(f"barback needs Python 3.11 or later; this is Python {VERSION}.")

ROOT = Path(__file__).resolve().parent
PINNED = ROOT / "requirements" / "dev.txt"
BENCH = ROOT / "requirements" / "bench.txt"  # beside those above
SIDE_BY_SIDE = ("-n", "logical", "--maxprocesses", "4", "--dist", "worksteal")
DOCS = ROOT / "requirements" / "docs.txt"
PEERS = ROOT / "requirements" / "peers.txt"

# What shows something that the documents tell, and renews it there.
SHOWING = {
    "costs": ("-m", "benchmarks.costs"),
    "guarantees": ("-m", "tests.fault_matrix"),
    "soak": ("-m", "tests.soak"),
    "mutate": ("tests/mutations.py",),
    "pictures": ("-m", "tests.pictures"),
}


def main(arguments: list[str]) -> int:
    """Run the command that the arguments name."""
    command, *rest = arguments or ["help"]
    if command == "chat":
        chat(rest)
    if command == "test":
        return test(rest)
    if command == "bench":
        bench(rest)
    if command in SHOWING:
        return run("python", *SHOWING[command], *rest)
    plain = {"lint": lint, "types": types, "docs": docs, "check": check, "values": values}
    if command in plain and not rest:
        return plain[command]()
    print(__doc__, file=sys.stderr)
    return 0 if command in {"help", "-h", "--help"} else 2


def chat(arguments: list[str]) -> NoReturn:
    """Become the example bot, so that the terminal and Ctrl-C are its own."""
    python = environment(".venv", ["-e", "."])
    become([str(python), str(ROOT / "examples" / "nickname.py"), *arguments])


def test(arguments: list[str]) -> int:
    """Run pytest under coverage, which has to start before barback's own pytest plugin."""
    if failed := run("python", "-m", "tests.browser"):
        return failed
    run("coverage", "erase")
    failed = run("coverage", "run", "-m", "pytest", *(arguments or SIDE_BY_SIDE))
    if failed or arguments:  # part of the tests says nothing about the coverage of the whole
        return failed
    return run("coverage", "combine", "--quiet") or run("coverage", "report")


def lint() -> int:
    """Check style, spelling and which module imports which."""
    codes = [
        run("ruff", "check"),
        run("ruff", "format", "--check"),
        run("codespell"),
        run("lint-imports", "--no-logo"),
    ]
    return max(codes)


def types() -> int:
    """Check types, and with pyright what editors know of a bot (tests/typed)."""
    return max([run("mypy"), run("basedpyright", "--pythonpath", str(tools()))])


def values() -> int:
    """See what comes back of the values that a state may hold, and renew the table of them."""
    return run("python", "-m", "tests.value_table")


def docs() -> int:
    """Build the documentation site, into build/docs/site."""
    python = environment(".venv-docs", ["-r", str(DOCS)])
    return abs(subprocess.call([str(python), "-m", "docsite"], cwd=ROOT))


def check() -> int:
    """Run every check, so that one run shows all there is to mend."""
    codes = [test([]), lint(), types(), docs()]
    return max(codes)


def bench(arguments: list[str]) -> NoReturn:
    """Become the benchmarks, so that it is they whom Ctrl-C ends."""
    pins = [["-r", str(PINNED)], ["-r", str(BENCH)]]
    python = environment(".venv-bench", *pins, ["--no-deps", "-e", "."])
    os.chdir(ROOT)
    module = "benchmarks"
    if arguments[:1] == ["webhooks"]:
        module, arguments = "benchmarks.webhooks", arguments[1:]
    become([str(python), "-m", module, *arguments])


def become(command: list[str]) -> NoReturn:
    """Replace this process by another, where that can be done."""
    if os.name != "nt":
        os.execv(command[0], command)
    # Windows cannot replace a process: wait for the other and leave Ctrl-C to it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.exit(subprocess.call(command))


def run(tool: str, *arguments: str) -> int:
    """Run a development tool at the root of the project and return its exit code."""
    return abs(subprocess.call([tools().with_name(tool), *arguments], cwd=ROOT))


def tools() -> Path:
    """Return the Python beside which the development tools are."""
    return environment(".venv-dev", ["-r", str(PINNED)], ["--no-deps", "-e", "."])


def environment(name: str, *installs: list[str]) -> Path:
    """Return the Python of a virtual environment, made anew when what it was made of changed.

    All it has to say goes to standard error: standard output is for the command.
    """
    folder = ROOT / name
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    stamp = folder / "made-of"
    made_of = fingerprint(installs)
    if python.exists() and stamp.exists() and stamp.read_text() == made_of:
        return python

    if importlib.util.find_spec("ensurepip") is None:
        sys.exit(
            "This Python cannot make virtual environments: its ensurepip module is missing. "
            f"On Debian or Ubuntu, install the package python{VERSION}-venv."
        )
    print(f"Preparing {name} ...", file=sys.stderr)
    stamp.unlink(missing_ok=True)
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "-qq"]
    steps = [[sys.executable, "-m", "venv", "--clear", str(folder)]]
    steps += [[*pip, *arguments] for arguments in installs]
    for step in steps:
        if subprocess.call(step, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=sys.stderr):
            sys.exit(f"Could not prepare {name}; the lines above say why.")
    stamp.write_text(made_of)
    return python


def fingerprint(installs: Sequence[list[str]]) -> str:
    """Sum up what an environment depends on: the Python, this folder, and what is in some files."""
    arguments = [argument for install in installs for argument in install]
    files = [Path(name).read_text() for option, name in pairwise(arguments) if option == "-r"]
    parts = [sys.version, str(ROOT), *arguments, *files, (ROOT / "pyproject.toml").read_text()]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
