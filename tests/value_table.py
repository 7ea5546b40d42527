"""The table in docs/state.md: kinds of value, stores, and what is refused.

`python3 dev.py values` sends every kind through every store, and renews the table if all was as
kinds_of_values.py says; test_values.py fails if the document says anything else.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.kinds_of_values import FAMILIES, KINDS, PLAIN, Kind

__all__ = ["DOCUMENT", "table", "with_table"]

ROOT: Final = Path(__file__).parent.parent
DOCUMENT: Final = ROOT / "docs" / "state.md"
MARKS: Final = ("<!-- the values begin -->", "<!-- the values end -->")
STORES: Final = (
    "memory",
    "files",
    "SQLite",
    "Redis",
    "Cluster",
    "Sentinel",
    "MongoDB",
    "PostgreSQL",
)
DECLARED: Final = {FAMILIES: "any", PLAIN: "not pydantic", ("pydantic",): "pydantic"}


def table() -> str:
    """What the tests show, each column of stores being a test of each family of types."""
    head = ("Kind", "Declared in", *STORES, "Refused, with its path")
    lines = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    return "\n".join([*lines, *map(_row, KINDS)])


def with_table(text: str, renewed: str) -> str:
    """A document with the table in it."""
    before, rest = text.split(MARKS[0])
    after = rest.split(MARKS[1])[1]
    return f"{before}{MARKS[0]}\n\n{renewed}\n\n{MARKS[1]}{after}"


def _row(kind: Kind) -> str:
    name = f"{kind.name.strip()} ({kind.note})" if kind.note else kind.name.strip()
    kept = "=" if kind.kept else "refused"
    cells = (name, DECLARED[tuple(kind.families)], *([kept] * len(STORES)), kind.why or "nothing")
    return f"| {' | '.join(cells)} |"


def main() -> int:
    """Run the tests; renew the table if they pass."""
    tests = ("tests/test_values.py", "-k", "every_kind")
    failed = subprocess.call([sys.executable, "-m", "pytest", "-q", *tests], cwd=ROOT)
    if not failed:
        DOCUMENT.write_text(with_table(DOCUMENT.read_text(), table()))
    return failed


if __name__ == "__main__":
    sys.exit(main())
