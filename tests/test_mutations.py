"""The mutations themselves: each finds what it breaks, and stands in the table of the document."""

from __future__ import annotations

import pytest

from tests.mutations import DOCUMENT, MARKS, MUTATIONS, NOTHING, SOURCE, Mutation


@pytest.mark.parametrize("mutation", [NOTHING, *MUTATIONS], ids=lambda mutation: mutation.name)
def test_what_it_breaks_is_there_once(mutation: Mutation) -> None:
    text = (SOURCE / "barback" / mutation.file).read_text()
    assert text.count(mutation.old) == 1


def test_the_document_tells_of_each() -> None:
    table = DOCUMENT.read_text().partition(MARKS[0])[2].partition(MARKS[1])[0]
    rows = [line.split(" | ")[0].removeprefix("| ") for line in table.splitlines() if line]
    assert rows[2:] == [mutation.name for mutation in (NOTHING, *MUTATIONS)]
