"""Outputs that are hardly what was meant are warned of; what may well be meant is not."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest

from flowtoy_dagster.loader import load_flow
from flowtoy_dagster.providers.base import ProviderResult
from flowtoy_dagster.providers.rest.provider import RestKind
from flowtoy_dagster.steps.attempts import run_step
from flowtoy_dagster.steps.context import StepContext
from flowtoy_dagster.steps.outputs.extraction import doubt
from flowtoy_dagster.steps.scope import RunInfo

OBJECT = '{"xy": 1, "no": null}'


@pytest.fixture
def warned(caplog: pytest.LogCaptureFixture) -> Callable[..., list[str]]:
    """The warnings of a step with one output, whose command prints a text."""

    def run(printed: str, **output: object) -> list[str]:
        step = {
            "name": "a", "source": "process",
            "input": {"command": ["printf", "%s", printed]}, "output": [{"name": "x", **output}],
        }
        flow = load_flow({"flow": [step]})
        with caplog.at_level(logging.WARNING):
            context = StepContext(flow.step("a"), RunInfo("r1", "f", lambda: 0.0))
            run_step(context, flow.sources, {})
        return [record.getMessage() for record in caplog.records]

    return run


@pytest.mark.parametrize(
    ("printed", "output", "told"),
    [
        ("hello", {"value": "items[0].id"},
         "stdout is not JSON, so 'items[0].id' finds nothing"),
        ("hello", {"type": "json"}, "stdout is not JSON: the output is its text"),
        (OBJECT, {"value": "xx.y"}, "'xx.y' finds nothing: the data has 'xy', 'no'"),
        (OBJECT, {"value": "result.xy"},
         "'result.xy' finds nothing: 'result' is a name in templates, and JMESPath begins in the"
         " result: write 'xy'"),
    ],
)  # fmt: skip
def test_what_finds_nothing_is_warned_of(
    warned: Callable[..., list[str]], printed: str, output: dict[str, str], told: str
) -> None:
    assert warned(printed, **output) == [f"step 'a': output 'x': {told}"]


@pytest.mark.parametrize(
    ("printed", "output"),
    [
        (OBJECT, {"value": "no"}), (OBJECT, {"value": "no.more"}), (OBJECT, {"value": "xy"}),
        (OBJECT, {"value": "xx || ''"}), (OBJECT, {"type": "json"}), ('"text"', {"type": "json"}),
        ("{}", {"value": "xx"}), ("hello", {"value": "stdout"}), ("hello", {"type": "raw"}),
        (OBJECT, {"value": "xx", "required": True}),
    ],
)  # fmt: skip
def test_what_may_be_meant_is_not(
    warned: Callable[..., list[str]], printed: str, output: dict[str, str]
) -> None:
    assert warned(printed, **output) == []


def test_a_page_where_json_is_expected_is_called_by_its_media_type() -> None:
    written = {"name": "x", "value": "items[0]"}
    flow = load_flow({"flow": [
        {"name": "a", "source": "rest", "input": {"url": "http://127.0.0.1/"}, "output": [written]}
    ]})
    (output,) = flow.step("a").outputs
    html = {"headers": {"content-type": "text/html; charset=utf-8"}}
    result = ProviderResult(True, 200, data="<h1>Log in</h1>", meta=html)
    assert doubt(output, RestKind(), result, None) == (
        "output 'x': the answer (text/html) is not JSON, so 'items[0]' finds nothing"
    )
