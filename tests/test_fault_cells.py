"""The fault matrix in its short form: a test for each store and fault (see fault_matrix.py).

`python3 dev.py guarantees` runs it in full, and renews the tables in docs/guarantees.md.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.fault_matrix import CELLS, Cell, run_cell


def name_of(cell: Cell) -> str:
    """For pytest's -k, which takes no spaces."""
    return f"{cell.store.replace(' ', '_')}-{cell.fault}"


@pytest.mark.parametrize("cell", CELLS, ids=name_of)
async def test_a_fault_loses_nothing_does_nothing_twice_and_is_told(
    cell: Cell, tmp_path: Path, record_property: Any
) -> None:
    result = await run_cell(cell, tmp_path, quick=True)
    record_property("result", str(result))
    print(f"{cell}: {result}")  # noqa: T201 - for whoever looks: pytest -rP
