"""Flows of any shape with any policies, conditions, loops and closing steps end as sections 9, 18
and 19 say.

`FLOWTOY_RANDOM_FLOWS` says how many are tried.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from failure_model import GUARDS, Items, Model, Planned, Reads, as_flow
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from simulated_run import SimulatedRun

from flowtoy_dagster.loader import load_flow

# Dagster calls the class of a failed check deprecated, also when an event is unpickled.
pytestmark = pytest.mark.filterwarnings("ignore:Class `ExpectationResult`:DeprecationWarning")

SIMULATED = int(os.environ.get("FLOWTOY_RANDOM_FLOWS", "500"))
SAYS = st.sampled_from([None, None, "fail", "skip", "skip", "continue", "continue"])
DEFAULTS = st.sampled_from([None, "fail", "skip", "continue"])
CLOSING = [None, None, "success", None, "failure", "always", "failure", "always"]
STATES = st.sampled_from(["succeeded", "failed", "skipped"])
ITEM_ENDS = st.sampled_from(["ok", "fails", "unwanted"])
ITEMS = st.builds(
    Items,
    st.sampled_from([0, 1, 3, 4]).flatmap(lambda length: st.tuples(*[ITEM_ENDS] * length)),
    max_failures=st.sampled_from([0, 1, 3]),
    stop_after=st.sampled_from([0, 2, 2, 20]),
)
UNHURRIED = settings(
    deadline=None, suppress_health_check=list(HealthCheck), print_blob=True, database=None,
    phases=[Phase.generate, Phase.shrink],
)


@st.composite
def flows(draw: st.DrawFn, most: int = 9) -> list[Planned]:
    """Up to so many steps; each may depend on any before it."""
    steps: list[Planned] = []
    closing = draw(st.sampled_from([CLOSING, CLOSING[:4]]))
    for index in range(draw(st.integers(2, most))):
        before = st.lists(st.sampled_from(steps), max_size=3, unique=True) if steps else st.just([])
        depends_on = tuple(sorted(step.name for step in draw(before)))
        items = draw(st.sampled_from([None, None, ITEMS]).flatmap(_drawn))
        when: Any = draw(st.sampled_from([None, None, None, True, False]))
        if depends_on and draw(st.integers(0, 4)) == 0:
            when = (draw(st.sampled_from(depends_on)), draw(STATES))
        places = ["output", "vars", "in" if items else "when" if when is None else "output"]
        reads = tuple(
            Reads(name, draw(st.sampled_from(places)), draw(st.sampled_from(["", *GUARDS])))
            for name in depends_on if draw(st.booleans())
        )
        steps.append(
            Planned(
                f"s{index}", fails=draw(st.sampled_from([False, False, True])),
                on_error=draw(SAYS), depends_on=depends_on, when=when, reads=reads, items=items,
                quietly=draw(st.sampled_from(["computed", "required"])),
                # The first is a step that closing ones can wait for.
                run_if=draw(st.sampled_from(closing)) if index else None,
            )
        )
    return steps


def _drawn(some: Any) -> Any:
    return st.none() if some is None else some


# language 9.1, 9.2, 9.3, 9.4, 9.6, 18.4, 18.7, 18.8, 19.1, 19.2, 19.3, 19.7
@settings(UNHURRIED, max_examples=SIMULATED)
@given(data=st.data(), steps=flows(), default=DEFAULTS)
@pytest.mark.timeout(0)
def test_flows_end_as_the_model_says_in_any_order(
    data: st.DataObject,
    steps: list[Planned],
    default: str | None,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    def choose(under_way: Sequence[str]) -> str:
        return data.draw(st.sampled_from(sorted(under_way)))

    run = SimulatedRun(
        load_flow(as_flow(steps, default)),
        tmp_path_factory.mktemp("run"),
        data.draw(st.integers(1, 4), "steps at once"),
        choose,
        data.draw(st.none() | st.none() | st.integers(0, 5), "interrupted after"),
    )
    run.carry_out()
    model = Model(steps, default)
    model.check_order(run.states, run.happened)
    failed: set[str] = set()
    is_cancelled = False
    for what, name in run.happened:
        is_cancelled = is_cancelled or what == "interrupted"
        if what == "ends" and name in run.facts and model.steps[name].items is None:
            listed, state = run.facts[name]
            assert set(listed) == failed
            is_failed = any(model.policy(each) == "fail" for each in failed)
            assert state == (
                "cancelled" if is_cancelled else "failed" if is_failed else "succeeded"
            )
        if what == "ends" and run.states[name] == "failed":
            failed.add(name)


# language 19.3
@pytest.mark.parametrize("condition", [None, ("lost", "succeeded")])
@pytest.mark.parametrize("fails", [True, False])
def test_a_step_for_failures_waits_for_what_decides_whether_a_lost_step_was_lost_to_a_failure(
    fails: bool, condition: tuple[str, str] | None, tmp_path: Path
) -> None:
    steps = [
        Planned("first", fails=fails),
        Planned("lost", depends_on=("first",)),
        Planned("told", depends_on=("lost",), when=condition, run_if="failure"),
        Planned("halts", fails=True),
    ]
    ends = iter(["halts", "first", "told"])
    run = SimulatedRun(load_flow(as_flow(steps)), tmp_path, 2, lambda under_way: next(ends))
    run.carry_out()
    Model(steps).check_order(run.states, run.happened)
    end = "unwanted" if condition else "succeeded"
    assert run.states["told"] == (end if fails else "skipped")


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
    assert ran <= set(started)
    assert len(started) == len(set(started))
    if executor == "in_process":
        # language 9.4: one at a time, so little can start after a failure that halts
        halting = [name for name in started if states[name] == "failed" and model.halts(name)]
        for name in started[started.index(halting[0]) + 1 :] if halting else ():
            assert model.steps[name].closes or model.tolerates(model.steps[name], states)


# language 9.1, 9.2, 9.3, 9.4, 9.5, 9.6, 9.7
@settings(UNHURRIED, max_examples=8)
@given(steps=flows(), default=DEFAULTS)
def test_flows_end_as_the_model_says(
    steps: list[Planned],
    default: str | None,
    run_on: Callable[..., Any],
    stored: Callable[[str], Any],
) -> None:
    check(steps, default, "in_process", run_on, stored)


@settings(UNHURRIED, max_examples=4)
@given(steps=flows(), default=DEFAULTS)
@pytest.mark.timeout(600)
def test_flows_end_as_the_model_says_on_workers(
    steps: list[Planned],
    default: str | None,
    run_on: Callable[..., Any],
    stored: Callable[[str], Any],
) -> None:
    check(steps, default, "warm", run_on, stored)
