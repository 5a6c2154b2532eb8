"""The official compliance suite of JMESPath (language 7.2).

`tests/data/jmespath_suite.json` is the copy of it in jmespath.py, under the MIT licence of that
package, which is in the file. For another edition, set JMESPATH_SUITE to the folder `tests` of a
clone of https://github.com/jmespath/jmespath.test, which has no licence of its own.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flowtoy_dagster.errors import TemplateError
from flowtoy_dagster.flow.templates.jinja import search

DIFFERENCES: dict[tuple[str, str], str] = {}
"""File and expression of each case in which we differ on purpose, and why: none."""

# Every function of the specification.
FUNCTIONS = (
    "abs avg ceil contains ends_with floor join keys length map max max_by merge min "
    "min_by not_null reverse sort sort_by starts_with sum to_array to_number to_string type "
    "values"
)


SUITE = Path(__file__).parents[1] / "data" / "jmespath_suite.json"


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def cases() -> Iterator[tuple[str, Any, dict[str, Any]]]:
    folder = os.environ.get("JMESPATH_SUITE")
    if folder is None:
        files = read(SUITE)["files"]
    else:
        files = {path.name: read(path) for path in sorted(Path(folder).glob("*.json"))}
    for name, groups in files.items():
        for group in groups:
            for case in group["cases"]:
                yield name, group["given"], case


def is_as_expected(given: Any, case: dict[str, Any]) -> bool:
    try:
        found = search(case["expression"], given)
    except TemplateError:
        return "error" in case
    if "bench" in case:
        return True
    # JSON's text tells true from 1.
    return "error" not in case and json.dumps(found, sort_keys=True) == json.dumps(
        case["result"], sort_keys=True
    )


# Literals without quotes, which jmespath.py deprecates.
@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
def test_the_official_suite_gives_what_it_says() -> None:
    everything = list(cases())
    differ = {(f, case["expression"]) for f, given, case in everything
              if not is_as_expected(given, case)}
    assert len(everything) > 850
    assert differ == set(DIFFERENCES)


@pytest.mark.parametrize("name", FUNCTIONS.split())
def test_every_function_of_the_specification_is_there(name: str) -> None:
    with pytest.raises(TemplateError) as error:
        search(f"{name}()", None)
    assert "there is no function" not in str(error.value)
