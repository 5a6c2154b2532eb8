"""Every rule of the language has a test that names it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent.parent
RULES = [
    *("1.1", "1.2", "1.3", "1.4", "1.5", "1.6", "1.7"),
    "2",
    *("3.1", "3.2", "3.3"),
    *("4.1", "4.2", "4.3"),
    *("5.1", "5.2", "5.3a", "5.3b", "5.3c", "5.3d", "5.4", "5.5"),
    *("6.1", "6.2", "6.3", "6.4", "6.5"),
    *("7.1", "7.2", "7.3", "7.4"),
    *("8.1", "8.2", "8.3", "8.4"),
    *("11", "11.1", "11.2", "11.3"),
    "12",
]
_COMMENT = re.compile(r"# language ((?:\d[\d.a-d]*(?:, )?)+)")
_FIELD = re.compile(r"^  rule: \[(.*)\]$", re.MULTILINE)


def _named_in(text: str) -> set[str]:
    found = [*_COMMENT.findall(text), *(field.replace('"', "") for field in _FIELD.findall(text))]
    return {rule.strip().rstrip(".:") for group in found for rule in group.split(",")}


@pytest.fixture(scope="module")
def named() -> set[str]:
    """The rules that some test names."""
    files = [
        path
        for pattern in ("test_*.py", "table_*.yaml")
        for path in TESTS.rglob(pattern)
        if path.name != Path(__file__).name
    ]
    return set().union(*(_named_in(path.read_text("utf-8")) for path in files))


@pytest.mark.parametrize("rule", RULES)
def test_some_test_names_the_rule(rule: str, named: set[str]) -> None:
    assert rule in named
