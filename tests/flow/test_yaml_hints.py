"""A hint on YAML that can't be read fits what is written there."""

from __future__ import annotations

import pytest

from flowtoy_dagster.errors import ConfigError
from flowtoy_dagster.flow.files.yaml_reader import read_document


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("a:\n  - name: x\n    value: [0].id\n", "begins with '[' must be quoted"),
        ("a:\n  - name: x\n    value: {a: 1}.id\n", "begins with '{' must be quoted"),
        ("a:\n  - name: x\n    value: {{ b }}/c\n", "begins with '{{' must be quoted"),
        ("a:\n  - name: x\n    value: 'b'/c\n", "begins with ''' must be quoted"),
        ('a:\n  - name: x\n    value: "b"/c\n', "begins with '\"' must be quoted"),
        ("a:\n  b: 1\n\u00a0 c: d: 2\n", "non-breaking space (U+00A0)"),
    ],
)
def test_the_hint_names_what_is_there(text: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_document(text, "f")
    (problem,) = caught.value.problems
    assert hint in (problem.hint or "")
