"""`required: true` on an output (language 19.7)."""

from __future__ import annotations

from typing import Any

import pytest

from flowtoy_dagster.flow.graph import Source, Step
from flowtoy_dagster.flow.schema.models import OutputConfig, RetryConfig
from flowtoy_dagster.steps.attempts import StepOutcome, run_step
from flowtoy_dagster.steps.context import StepContext
from flowtoy_dagster.steps.scope import RunInfo
from flowtoy_dagster.steps.state.mask import StepMask


def run(
    text: str, *outputs: dict[str, Any], mask: StepMask | None = None, **fields: Any
) -> StepOutcome:
    source = Source("process", {"command": ["echo", text]})
    listed = tuple(map(OutputConfig.model_validate, outputs))
    step = Step(0, "it", source, outputs=listed, **fields)
    run = RunInfo("r1", "f", lambda: 0.0)
    return run_step(StepContext(step, run, mask=mask or StepMask()), {}, {})


@pytest.mark.parametrize(
    ("text", "found"), [('{"x": null}', "null"), ("{}", "null"), ('{"x": ""}', "an empty text")]
)
def test_the_reason_names_the_output_and_what_it_is(text: str, found: str) -> None:
    needed = {"name": "it", "value": "x", "required": True}
    done = run(text, {"name": "other", "value": "y"}, needed)
    assert done.error == f"output 'it' is required, and is {found}"
    assert done.outputs == {}


@pytest.mark.parametrize("value", ["0", "false", "[]", "{}", '" "'])
def test_what_is_neither_null_nor_an_empty_text_is_there(value: str) -> None:
    assert run(f'{{"x": {value}}}', {"name": "it", "value": "x", "required": True}).succeeded


def test_the_failure_is_tried_again_as_one_of_the_provider() -> None:
    output = {"name": "it", "value": "x", "required": True}
    assert run("{}", output, retry=RetryConfig(max=1, delay=0, on=["provider"])).retry_in == 0
    assert run("{}", output, retry=RetryConfig(max=1, delay=0, on=["timeout"])).retry_in is None


def test_a_required_secret_that_is_missing_lets_nothing_out() -> None:
    done = run('{"password": null, "hint": "hunter-2"}',
               {"name": "password", "value": "password", "required": True},
               mask=StepMask(holding=True))
    assert done.error == "output 'password' is required, and is null"
    assert "hunter-2" not in str(done)
