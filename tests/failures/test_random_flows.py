"""Flows of any shape with any policies end as section 9 says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from failure_model import Model, Planned, as_flow
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

# Dagster calls the class of a failed check deprecated, also when an event is unpickled.
pytestmark = pytest.mark.filterwarnings("ignore:Class `ExpectationResult`:DeprecationWarning")

SAYS = st.sampled_from([None, None, "fail", "skip", "skip", "continue", "continue"])
UNHURRIED = settings(
    deadline=None, suppress_health_check=list(HealthCheck), print_blob=True, database=None
)


@st.composite
def flows(draw: st.DrawFn) -> list[Planned]:
    """Up to eight steps; each may depend on any before it."""
    steps: list[Planned] = []
    for index in range(draw(st.integers(1, 8))):
        before = st.lists(st.sampled_from(steps), max_size=3, unique=True) if steps else st.just([])
        needed = tuple(sorted(step.name for step in draw(before)))
        reads = {name: draw(st.sampled_from(["", "needs", "may_use"])) for name in needed}
        steps.append(
            Planned(
                f"s{index}", fails=draw(st.booleans()), on_error=draw(SAYS), depends_on=needed,
                when=draw(st.sampled_from([None, None, True, False])),
                needs=tuple(name for name, how in reads.items() if how == "needs"),
                may_use=tuple(name for name, how in reads.items() if how == "may_use"),
                # The first is a step that closing ones can wait for.
                run_if=draw(st.sampled_from([None, None, None, "success", "failure", "always"]))
                if index else None,
            )
        )
    return steps


def check(
    steps: list[Planned],
    default: str | None,
    executor: str,
    run_on: Callable[..., Any],
    stored: Callable[[str], Any],
) -> None:
    run = run_on(as_flow(steps, default, executor=executor), 3)
    model = Model(steps, default)
    states = {name: step.state for name, step in run.status.steps.items()}
    model.check(states, run.success)
    assert {name for name, value in run.outputs.items() if value is None} == {
        name for name, state in states.items() if state != "succeeded"
    }
    kept = stored(run.run_id)
    assert kept.status == ("SUCCESS" if run.success else "FAILURE")
    started = kept.steps_with("STEP_START")
    ran = {name for name, state in states.items() if state != "skipped"}
    unwanted = {name for name, end in model.ends().items() if end == "unwanted"}
    assert ran <= set(started) <= ran | unwanted
    assert len(started) == len(set(started))
    if executor == "in_process":
        # language 9.4: one at a time, so little can start after a failure that halts
        halting = [name for name in started if states[name] == "failed" and model.halts(name)]
        for name in started[started.index(halting[0]) + 1 :] if halting else ():
            if model.steps[name].closes:
                continue  # language 19.3
            assert "failed" in {states[before] for before in model.steps[name].depends_on}


# language 9.1, 9.2, 9.3, 9.4, 9.5, 9.6, 9.7
@settings(UNHURRIED, max_examples=25)
@given(steps=flows(), default=st.sampled_from([None, "fail", "skip", "continue"]))
def test_flows_end_as_the_model_says(
    steps: list[Planned],
    default: str | None,
    run_on: Callable[..., Any],
    stored: Callable[[str], Any],
) -> None:
    check(steps, default, "in_process", run_on, stored)


@settings(UNHURRIED, max_examples=8)
@given(steps=flows(), default=st.sampled_from([None, "skip", "continue"]))
@pytest.mark.timeout(300)
def test_flows_end_as_the_model_says_on_workers(
    steps: list[Planned],
    default: str | None,
    run_on: Callable[..., Any],
    stored: Callable[[str], Any],
) -> None:
    check(steps, default, "warm", run_on, stored)
