"""A cursor sees the records of all pages, and leaves records out before others get them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from flowtoy_dagster.loader import load_flow
from flowtoy_dagster.steps.attempts import StepOutcome, run_step
from flowtoy_dagster.steps.context import StepContext
from flowtoy_dagster.steps.scope import RunInfo
from flowtoy_dagster.store.cursors import cursors_of

PAGES = [[{"at": 5}, {"x": 1}], [{"at": 9}], [{"at": 7}]]


@dataclass
class Taken:
    """Takes records as they come."""

    records: list[Any] = field(default_factory=list)

    def take(self, records: list[Any]) -> None:
        self.records += records


@pytest.fixture
def read(serve: Callable[..., str], tmp_path: Path) -> Callable[..., tuple[StepOutcome, Taken]]:
    """Runs a step that reads three pages."""

    def answer(asked: Any) -> tuple[int, dict[str, str], bytes]:
        number = int(asked.path.partition("page=")[2] or 0)
        page = PAGES[number] if number < len(PAGES) else []
        return 200, {"Content-Type": "application/json"}, json.dumps({"rows": page}).encode()

    url = serve(answer)

    def run(keeps: bool, **incremental: Any) -> tuple[StepOutcome, Taken]:
        step = {
            "name": "it",
            "source": {
                "type": "rest", "url": f"{url}/rows",
                "paginator": {"type": "page_number", "base_page": 0},
            },
            "incremental": incremental,
        }
        flow = load_flow({"name": "f", "flow": [step]})
        taken = Taken()
        context = StepContext(
            flow.step("it"), RunInfo("r1", "f", lambda: 0.0), takers=(taken,),
            keeps_records=keeps, cursors=cursors_of(tmp_path),
        )
        return run_step(context, flow.sources, {}), taken

    return run


# language 22.2
@pytest.mark.parametrize("keeps", [True, False], ids=["listed", "handed over alone"])
def test_the_new_value_is_that_of_all_pages(
    read: Callable[..., tuple[StepOutcome, Taken]], keeps: bool
) -> None:
    outcome, taken = read(keeps, cursor_path="at", on_cursor_value_missing="include")
    assert outcome.error is None
    assert outcome.cursor is not None
    assert outcome.cursor.value == 9
    assert taken.records == [row for page in PAGES for row in page]
    excluded, kept = read(keeps, cursor_path="at", on_cursor_value_missing="exclude")
    assert kept.records == [{"at": 5}, {"at": 9}, {"at": 7}]
    assert excluded.result is not None
    assert excluded.result.data == (kept.records if keeps else [])
    failed, none = read(keeps, cursor_path="at")
    assert failed.error is not None
    assert "record 2 has no value at 'at'" in failed.error
    assert none.records == []


def test_a_template_that_wants_all_records_is_an_error_where_they_are_not_kept(
    read: Callable[..., tuple[StepOutcome, Taken]]
) -> None:
    largest = "{{ records | selectattr('at', 'defined') | map(attribute='at') | max }}"
    outcome, _ = read(True, value=largest)
    assert outcome.cursor is not None
    assert outcome.cursor.value == 9
    failed, _ = read(False, value=largest)
    assert failed.error == (
        "incremental.value: 'records' is not known: they go into a file, page by page"
    )
