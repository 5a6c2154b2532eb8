"""The rules after a failure hold on executors that are not flowtoy's own (language 9.7)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.executor.step_delegating import StepDelegatingExecutor, StepHandler
from dagster._core.executor.step_delegating.step_handler.base import (
    CheckStepHealthResult,
    StepHandlerContext,
)

from flowtoy_dagster import build_definitions, build_job, load_flow
from flowtoy_dagster.runs.history import History

FAILS = {"type": "process", "command": ["false"]}
WORKS = {"type": "process", "command": ["echo", "x"]}
GOES_ON: dict[str, Any] = {
    "name": "goes on",
    "runner": {"on_error": "fail"},
    "flow": [
        {"name": "fails", "source": FAILS},
        {"name": "anyway", "source": "process", "on_error": "continue", "depends_on": "fails",
         "input": {"command": ["echo", "{{ steps.fails.state }}"]},
         "output": [{"name": "x", "value": "stdout"}]},
        {"name": "after", "source": WORKS, "depends_on": "anyway"},
        {"name": "skipping", "source": WORKS, "on_error": "skip", "depends_on": "fails"},
    ],
}  # fmt: skip
HALTS: dict[str, Any] = {
    "name": "halts",
    "flow": [
        {"name": "first", "source": WORKS},
        {"name": "fails", "source": FAILS, "depends_on": "first"},
        {"name": "dependent", "source": WORKS, "depends_on": "fails"},
        {"name": "beside", "source": WORKS, "depends_on": "slow"},
        {"name": "slow", "source": WORKS, "depends_on": "first"},
        {"name": "last", "source": WORKS, "depends_on": "beside"},
    ],
}
TOLD = {"goes on": GOES_ON, "halts": HALTS}


class InThisProcess(StepHandler):
    """A step handler like those of Kubernetes and Docker, whose container is this process."""

    name = "InThisProcess"

    def launch_step(self, context: StepHandlerContext) -> Iterator[dg.DagsterEvent]:
        from dagster._core.execution.api import create_execution_plan, execute_plan

        args = context.execute_step_args
        instance, run = context.instance, context.dagster_run
        plan = create_execution_plan(
            RECONSTRUCTABLE[run.job_name],
            run.run_config,
            step_keys_to_execute=args.step_keys_to_execute,
            known_state=args.known_state,
        )
        execute_plan(plan, RECONSTRUCTABLE[run.job_name], instance, run, run.run_config)
        yield from ()

    def check_step_health(self, context: StepHandlerContext) -> CheckStepHealthResult:
        return CheckStepHealthResult.healthy()

    def terminate_step(self, context: StepHandlerContext) -> Iterator[dg.DagsterEvent]:
        yield from ()


RECONSTRUCTABLE: dict[str, Any] = {}


@dg.executor(name="elsewhere")
def elsewhere(context: dg.InitExecutorContext) -> dg.Executor:
    """An executor that hands steps to something else, as Kubernetes' and Docker's do."""
    from dagster._core.execution.retries import RetryMode

    return StepDelegatingExecutor(
        InThisProcess(), RetryMode.ENABLED, sleep_seconds=0.05, max_concurrent=1
    )


class Headstrong(dg.Executor):
    """An executor that starts every step, whatever has become of the others."""

    @property
    def retries(self) -> Any:
        from dagster._core.execution.retries import RetryMode

        return RetryMode.DISABLED

    def execute(self, plan_context: Any, execution_plan: Any) -> Iterator[dg.DagsterEvent]:
        for step in execution_plan.get_all_steps_in_topo_order():
            yield dg.DagsterEvent.step_start_event(plan_context.for_step(step))


ONE_AT_A_TIME = dg.multiprocess_executor.configured({"max_concurrent": 1})


def multiprocess_goes_on() -> dg.JobDefinition:
    return build_job(GOES_ON, executor=ONE_AT_A_TIME)


def multiprocess_halts() -> dg.JobDefinition:
    return build_job(HALTS, executor=ONE_AT_A_TIME)


def elsewhere_goes_on() -> dg.JobDefinition:
    return build_job(GOES_ON, executor=elsewhere)


def elsewhere_halts() -> dg.JobDefinition:
    return build_job(HALTS, executor=elsewhere)


def in_process_goes_on() -> dg.JobDefinition:
    return build_job(GOES_ON, executor=dg.in_process_executor)


def in_process_halts() -> dg.JobDefinition:
    return build_job(HALTS, executor=dg.in_process_executor)


def states(history: History, run_id: str, config: Any) -> dict[str, tuple[str, str | None]]:
    """The state of each step and its reason, as flowtoy shows them."""
    found = history.status(history.find(run_id), load_flow(config))
    return {name: (step.state, step.error) for name, step in found.steps.items()}


def check(name: str, found: dict[str, tuple[str, str | None]], success: bool) -> None:
    assert not success
    assert found["fails"] == ("failed", "false exited with code 1")
    if name == "goes on":
        assert found["anyway"] == found["after"] == ("succeeded", None)
        assert found["skipping"] == ("skipped", "'fails' failed")
        return
    assert found["first"] == ("succeeded", None)
    assert found["dependent"] == ("skipped", "'fails' failed")
    assert found["beside"][0] == found["last"][0] == "skipped"
    assert found["slow"] == ("skipped", "the run was halted when 'fails' failed")


# language 9.2, 9.4, 9.7
@pytest.mark.parametrize("name", TOLD)
@pytest.mark.parametrize("executor", [None, dg.multiprocess_executor], ids=["own", "multiprocess"])
def test_execute_in_process_keeps_the_rules_whatever_the_executor(name: str, executor: Any) -> None:
    job = build_job(TOLD[name], executor=executor)
    for made in (job, dg.Definitions(jobs=[job]).resolve_job_def(job.name)):
        with History() as history:
            result = made.execute_in_process(instance=history.instance, raise_on_error=False)
            check(name, states(history, result.run_id, TOLD[name]), result.success)


@pytest.mark.parametrize(
    "make",
    [
        multiprocess_goes_on, multiprocess_halts, elsewhere_goes_on, elsewhere_halts,
        in_process_goes_on, in_process_halts,
    ],
)  # fmt: skip
def test_a_run_on_an_executor_of_dagster_keeps_the_rules(
    make: Callable[[], dg.JobDefinition], monkeypatch: pytest.MonkeyPatch
) -> None:
    job = dg.reconstructable(make)
    name = "halts" if "halts" in make.__name__ else "goes on"
    monkeypatch.setitem(RECONSTRUCTABLE, job.get_definition().name, job)
    with History() as history:
        result = _execute(job, history.instance)
        check(name, states(history, result.run_id, TOLD[name]), result.success)


def _execute(job: Any, instance: dg.DagsterInstance) -> Any:
    from dagster._core.execution.api import execute_run

    definition = job.get_definition()
    run = instance.create_run_for_job(job_def=definition, tags=definition.run_tags)
    return execute_run(job, run, instance)


def _InMemory(job: dg.JobDefinition) -> Any:  # noqa: N802 - as Dagster calls it
    from dagster._core.definitions.job_base import InMemoryJob

    return InMemoryJob(job)


def test_an_executor_that_asks_no_plan_runs_nothing() -> None:
    definition = dg.ExecutorDefinition("headstrong", executor_creation_fn=lambda _: Headstrong())
    job = _InMemory(build_job(HALTS, executor=definition))
    with History() as history:
        result = _execute(job, history.instance)
        assert not result.success
        status = history.status(history.find(result.run_id), load_flow(HALTS))
    assert "the executor Headstrong can't run flows" in (status.error or "")
    assert {step.state for step in status.steps.values()} <= {"skipped", "failed"}


@pytest.mark.parametrize("wrong", ["in_process", dg.in_process_executor.executor_creation_fn])
def test_what_is_no_executor_is_an_error(wrong: Any) -> None:
    with pytest.raises(TypeError, match="'executor' must be an executor of Dagster"):
        build_job(HALTS, executor=wrong)


def test_definitions_keep_the_rules_on_a_deployments_executor(tmp_path: Path) -> None:
    (tmp_path / "goes.yaml").write_text(
        "flow:\n"
        "  - {name: fails, source: {type: process, command: ['false']}}\n"
        "  - {name: anyway, source: {type: process, command: [echo, x]}, depends_on: fails,\n"
        "     on_error: continue}\n"
    )
    flows = build_definitions(tmp_path / "goes.yaml")
    defs = dg.Definitions.merge(flows, dg.Definitions(executor=dg.in_process_executor))
    job = _InMemory(defs.resolve_job_def("goes"))
    with History() as history:
        assert job.get_definition().executor_def.name == "warm"
        result = job.get_definition().execute_in_process(
            instance=history.instance, raise_on_error=False
        )
        found = states(history, result.run_id, tmp_path / "goes.yaml")
    assert found["anyway"] == ("succeeded", None)
