"""Tables: what is counted and measured, as a page has it between two words of its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

__all__ = ["TITLES", "table", "write_tables"]

TITLES = {
    "memory": "memory",
    "file": "file",
    "sqlite": "SQLite",
    "redis": "Redis",
    "postgres": "PostgreSQL",
    "mongo": "MongoDB",
}
"""How stores are called."""


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table, of which the first column are words and the others figures."""
    lines = [heads, ["---", *("---:" for _ in heads[1:])], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def write_tables(page: Path, tables: Mapping[str, str]) -> None:
    """Put each table where the page has its name, in place of what is there."""
    text = page.read_text()
    for name, each in tables.items():
        start, end = f"<!-- {name} -->\n\n", f"\n<!-- end of {name} -->\n"
        before, _, rest = text.partition(start)
        _, _, after = rest.partition(end)
        text = f"{before}{start}{each}{end}{after}"
    page.write_text(text)
