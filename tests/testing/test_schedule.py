"""Steps start in a test exactly when they do in a run: by the rules of sections 9 and 19."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from module_files import load

from flowtoy_dagster.loader import load_flow
from flowtoy_dagster.testing.run import FlowRun
from flowtoy_dagster.testing.schedule import Schedule

FAILURES = Path(__file__).parents[1] / "failures"
MANY = int(os.environ.get("FLOWTOY_RANDOM_FLOWS", "60"))


model = load(FAILURES / "model.py", "failure_model")
load(FAILURES / "simulated.py", "simulated_run")
random_flows = load(FAILURES / "test_random_flows.py", "random_flows")
DRAWN = settings(random_flows.UNHURRIED)
pytestmark = pytest.mark.filterwarnings("ignore:Class `ExpectationResult`:DeprecationWarning")


# language 9.1, 9.2, 9.3, 9.4, 19.2, 19.3
@settings(DRAWN, max_examples=MANY * 2)
@given(data=st.data(), steps=random_flows.flows(), default=random_flows.DEFAULTS)
def test_steps_start_as_the_model_says_in_any_order(
    data: st.DataObject, steps: list[Any], default: str | None
) -> None:
    rules = model.Model(steps, default)
    schedule = Schedule(load_flow(model.as_flow(steps, default)))
    most = data.draw(st.integers(1, 4), "steps at once")
    states = {step.name: "skipped" for step in steps}
    happened: list[tuple[str, str]] = []
    under_way: list[str] = []
    while True:
        for name in schedule.ready()[: most - len(under_way)]:
            schedule.start(name)
            under_way.append(name)
            happened.append(("starts", name))
        if not under_way:
            break
        name = data.draw(st.sampled_from(sorted(under_way)))
        under_way.remove(name)
        states[name] = rules.end_after(rules.steps[name], states)
        happened.append(("ends", name))
        schedule.end(name, "skipped" if states[name] == "unwanted" else states[name])
    assert schedule.is_complete
    rules.check_order(states, happened)


# language 9.5, 18.4, 18.7, 19.1, 19.7
@settings(DRAWN, max_examples=MANY)
@given(steps=random_flows.flows(), default=random_flows.DEFAULTS)
def test_flows_end_in_a_test_as_the_model_says(steps: list[Any], default: str | None) -> None:
    run = FlowRun(load_flow(model.as_flow(steps, default))).carry_out()
    states = {name: ended.state for name, ended in run.steps.items()}
    model.Model(steps, default).check(states, run.state == "succeeded")
