"""Every rule of the language, and of how it runs on Dagster, has a test that names it.

A test names them in a comment: `# language 9.2, 9.3; runtime 6`. The rules of the language are in
docs/reference/language.md.
"""

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
    *("9.1", "9.2", "9.3", "9.4", "9.5", "9.6", "9.7"),
    *("10.1", "10.2", "10.3", "10.4", "10.5", "10.6"),
    *("11", "11.1", "11.2", "11.3"),
    "12",
    *("13.1", "13.2", "13.3"),
    *("15.1", "15.2", "15.3", "15.4", "15.5"),
    *("16.1", "16.2", "16.3"),
    *("17.1", "17.2", "17.3", "17.4"),
    *(f"18.{rule}" for rule in range(1, 14)),
    *("19.1", "19.2", "19.3", "19.4", "19.5", "19.6", "19.7"),
    *("20.1", "20.2", "20.3", "20.4", "20.5", "20.6"),
    *("21.1", "21.2", "21.3", "21.4", "21.5", "21.6", "21.7"),
    *("22.1", "22.2", "22.3", "22.4", "22.5", "22.6", "22.7"),
]
RULES_OF_RUNNING = {
    "1": "a flow is a job and a step an op, under names that Dagster takes",
    "2": "the edges are the flow's dependencies",
    "3": "an op's output is the step's outputs; events have masked previews",
    "4": "max_workers is the executor's limit; the executor can be chosen",
    "5": "the configuration is fixed when the run is made",
    "6": "Dagster's states and flowtoy's agree",
    "7": "retries are Dagster's",
    "8": "a worker that dies fails its step alone, and it is told why",
    "9": "an interrupt ends everything and cancels the run",
    "10": "a killed run leaves no process, and is told of as interrupted",
    "11": "a retry reuses what succeeded",
    "12": "the home: made once, and used by many at once",
    "13": "a disk or a home that can't be used is told of, and nothing half written is trusted",
    "14": "large values pass without growing the parent or the event log",
}
_COMMENT = re.compile(r"(?:# |\(|[,;] )(language|runtime) ((?:\d[\d.a-d]*(?:, )?)+)")
_FIELD = re.compile(r"^  rule: \[(.*)\]$", re.MULTILINE)


def _named_in(text: str) -> set[str]:
    named = _COMMENT.findall(text)
    named += [("language", field.replace('"', "")) for field in _FIELD.findall(text)]
    return {f"{word} {rule.strip().rstrip('.:')}" for word, rules in named
            for rule in rules.split(",")}


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


@pytest.mark.parametrize(
    "rule",
    [*(f"language {rule}" for rule in RULES), *(f"runtime {rule}" for rule in RULES_OF_RUNNING)],
)
def test_some_test_names_the_rule(rule: str, named: set[str]) -> None:
    assert rule in named
