"""What takes the records of a call as they come, page by page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from json_api import served

from flowtoy_dagster.errors import StepError
from flowtoy_dagster.flow.graph import Source, Step
from flowtoy_dagster.flow.schema.models import OutputConfig, RetryConfig
from flowtoy_dagster.steps.attempts import StepOutcome, run_step
from flowtoy_dagster.steps.context import StepContext
from flowtoy_dagster.steps.scope import RunInfo

PAGES = [[{"id": 1}, {"id": 2}], [{"id": 3}], [{"id": 4}]]


class _Taker:
    def __init__(self, most: int = 99) -> None:
        self.pages: list[list[Any]] = []
        self._most = most

    def take(self, records: list[Any]) -> None:
        if len(self.pages) == self._most:
            raise StepError("the disk is full")
        self.pages.append(records)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """An API of three pages, which fails once for each page but the first."""
    failed: set[str] = set()

    def answer(query: Mapping[str, str]) -> tuple[int, Any]:
        number = query.get("page", "0")
        fails = number != "0" and number not in failed
        failed.add(number)
        return 503 if fails else 200, PAGES[int(number)]

    with served(answer) as address:
        yield address


def run(url: str, taker: _Taker, paged: bool = True, **fields: Any) -> StepOutcome:
    """The outcome of a step that reads the API."""
    paginator = {"paginator": {"type": "page_number", "maximum_page": 2}} if paged else {}
    source = Source("rest", {"timeout": 20, "url": url, **paginator})
    outputs = (OutputConfig.model_validate({"name": "rows", "type": "raw"}),)
    step = Step(0, "it", source, outputs=outputs, retry=RetryConfig(max=1, delay=0))
    context = StepContext(step, RunInfo("r1", "f", lambda: 0.0), takers=(taker,), **fields)
    return run_step(context, {}, {})


def test_each_page_is_taken_once_although_it_was_read_again(url: str) -> None:
    taker = _Taker()
    outcome = run(url, taker)
    assert outcome.error is None
    assert taker.pages == PAGES
    assert outcome.outputs["rows"] == [record for page in PAGES for record in page]


def test_records_that_nothing_needs_as_a_whole_are_not_kept(url: str) -> None:
    taker = _Taker()
    outcome = run(url, taker, keeps_records=False)
    assert (outcome.error, taker.pages, outcome.outputs["rows"]) == (None, PAGES, [])
    assert outcome.result is not None
    assert outcome.result.meta["records"] == 4


def test_what_can_not_be_taken_is_the_failure_of_the_step(url: str) -> None:
    outcome = run(url, _Taker(most=1))
    assert outcome.error == "the disk is full"


def test_a_call_of_one_page_hands_over_its_list(url: str) -> None:
    taker = _Taker()
    assert run(url, taker, paged=False).error is None
    assert taker.pages == PAGES[:1]
