"""What a session can keep, made up by hypothesis."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

__all__ = ["values_of"]


def values_of(texts: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    """Any value of a state, whose texts and keys are of these."""
    return st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**63), 2**63 - 1)
        | st.floats(allow_nan=False, allow_infinity=False)
        | texts,
        lambda inner: st.lists(inner) | st.dictionaries(texts, inner),
        max_leaves=20,
    )
