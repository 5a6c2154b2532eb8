"""JSON data for property tests, in one place.

The strategies have named functions where others have lambdas: hypothesis parses a lambda's source
to describe it, and Python 3.11 can end that in a `SystemError` where the stack is nearly full.
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8"))
)
KEYS = st.text(st.characters(codec="utf-8"))


def json_values(
    scalars: st.SearchStrategy[Any] = SCALARS,
    keys: st.SearchStrategy[str] = KEYS,
    max_size: int | None = 3,
    max_leaves: int = 8,
) -> st.SearchStrategy[Any]:
    """`scalars`, and lists and mappings of them with at most `max_size` items each."""

    def nested(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
        return st.lists(inner, max_size=max_size) | st.dictionaries(keys, inner, max_size=max_size)

    return st.recursive(scalars, nested, max_leaves=max_leaves)
