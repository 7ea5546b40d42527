"""Node's peers: installed beside their programs, by the lock file and nothing else."""

from __future__ import annotations

import functools
import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

__all__ = ["NoNode", "prepared"]

FOLDER = Path(__file__).resolve().parent / "node"


class NoNode(Exception):
    """Node or npm is missing on this machine, or npm could not install the peers."""


@functools.cache
def prepared() -> str:
    """The path of Node, with the peers installed anew if their lock file changed.

    Raises `NoNode`.
    """
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        message = "Node.js and npm are needed for grammY and Bottender, and are not installed."
        raise NoNode(message)
    stamp = FOLDER / "node_modules" / "made-of"
    made_of = hashlib.sha256((FOLDER / "package-lock.json").read_bytes()).hexdigest()
    if not (stamp.exists() and stamp.read_text() == made_of):
        print("Preparing benchmarks/node ...", file=sys.stderr)
        # Without their scripts: none of what is measured needs to be built.
        steps = [npm, "ci", "--ignore-scripts", "--loglevel=error"]
        if subprocess.call(steps, cwd=FOLDER, stdin=subprocess.DEVNULL, stdout=sys.stderr):
            message = "npm could not install grammY and Bottender; the lines above say why."
            raise NoNode(message)
        stamp.write_text(made_of)
    return node
