"""The executors that a flow may name, without Dagster."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from flowtoy_dagster.engine.executors.kind import ExecutorKind, executor_kind_of
from flowtoy_dagster.entry_points import Kinds, KindUnusable
from flowtoy_dagster.errors import RunError, UsageError
from flowtoy_dagster.flow.compile.catalog import Finding
from flowtoy_dagster.flow.compile.model_check import model_findings
from flowtoy_dagster.flow.files.suggestions import nearest, show
from flowtoy_dagster.flow.graph import Flow
from flowtoy_dagster.flow.schema.models import RunnerConfig

if TYPE_CHECKING:
    import dagster as dg

EXECUTORS: Kinds[ExecutorKind] = Kinds(
    "flowtoy.executors",
    "executor",
    {
        "warm": "flowtoy_dagster.engine.executors.warm.kind:WarmKind",
        "multiprocess": "flowtoy_dagster.engine.executors.multiprocess:MultiprocessKind",
        "in_process": "flowtoy_dagster.engine.executors.in_process:InProcessKind",
        "workers": "flowtoy_dagster.engine.executors.remote.workers:WorkersKind",
        "celery": "flowtoy_dagster.engine.executors.brokers.celery.kind:CeleryKind",
        "dask": "flowtoy_dagster.engine.executors.brokers.dask.kind:DaskKind",
    },
    executor_kind_of,
)
DEFAULT_EXECUTOR = next(iter(EXECUTORS.builtin))


EXECUTOR_VARIABLE = "FLOWTOY_EXECUTOR"
"""Names the executor of flows that name none."""


def executor_named(name: str) -> ExecutorKind:
    """The executor of that name.

    Raises:
        UsageError: there is none, or it can't be used here.
    """
    for finding in _check_name(name):
        hint = f"\n    {finding.hint}" if finding.hint else ""
        raise UsageError(f"executor: {finding.message}{hint}")
    return EXECUTORS[name]


_ALSO_CALLED = {
    "threads": "in_process", "thread": "in_process", "threading": "in_process",
    "sequential": "in_process", "local": "warm", "processes": "multiprocess",
    "process": "multiprocess", "multiprocessing": "multiprocess", "remote": "workers",
}
"""Words of other tools for what an executor does."""


def _check_name(name: str) -> list[Finding]:
    """What is wrong with the name of an executor, as findings within `runner`."""
    if name not in EXECUTORS.names():
        listed = ", ".join(f"'{known}'" for known in EXECUTORS.names())
        hint = nearest(_ALSO_CALLED.get(name, name), EXECUTORS.names()).question
        return [Finding(("executor",), f"{show(name)} is not one of {listed}", hint)]
    reason = EXECUTORS.why_unusable(name)
    return [] if reason is None else [Finding(("executor",), reason)]


def executor_of(runner: RunnerConfig) -> ExecutorKind:
    """The executor that a flow names, else the one that `FLOWTOY_EXECUTOR` names.

    Raises:
        RunError: it can't be used here.
    """
    name = runner.executor or _default()
    try:
        return EXECUTORS[name]
    except KeyError:
        raise RunError(f"there is no executor '{name}' here") from None
    except KindUnusable as error:
        raise RunError(str(error)) from None


def check_executor(flow: Flow) -> None:
    """See that a flow's executor can run its steps with the home that the environment names.

    Raises:
        RunError: the executor can't be used here.
        UsageError: a step names a queue, and the executor has none.
        HomeError: it can't work with this home.
    """
    kind = executor_of(flow.runner)
    queued = next((step for step in flow.steps if step.queue is not None), None)
    if queued is not None and not kind.has_queues:
        listed = " or ".join(
            name for name in EXECUTORS.names()
            if EXECUTORS.why_unusable(name) is None and EXECUTORS[name].has_queues
        )
        raise UsageError(
            f"step '{queued.name}' names the queue '{queued.queue}', and the executor "
            f"'{kind.name}' has no queues\n    choose an executor that has: {listed}"
        )
    kind.check_home()


def build_executor(
    runner: RunnerConfig, max_workers: int, limits: list[dict[str, Any]]
) -> dg.ExecutorDefinition:
    """The executor that a flow names, for Dagster.

    Args:
        runner: the flow's settings.
        max_workers: how many steps may run at once, unless the run's configuration says else.
        limits: how many steps with a tag may.

    Raises:
        RunError: it can't be used here, or fails to be built.
    """
    kind = executor_of(runner)
    try:
        options = kind.options_model.model_validate(runner.executor_options)
        return kind.build(options, max_workers, limits)
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise RunError(f"the executor '{kind.name}' can't be built: {reason}") from error


class InstalledExecutors:
    """The executors of this Python, as `flow.compile.catalog` asks for them."""

    def check(self, name: str | None, options: Mapping[str, Any]) -> list[Finding]:
        """What is wrong with the name or the options, as findings within `runner`."""
        by_variable = name is None and bool(os.environ.get(EXECUTOR_VARIABLE))
        name = _default() if name is None else name
        wrong = _check_name(name)
        if wrong:
            return [_of_variable(finding) for finding in wrong] if by_variable else wrong
        found = model_findings(EXECUTORS[name].options_model, options)
        return [_in_options(finding) for finding in found]

    def has_queues(self, name: str) -> bool:
        """Whether a step may name the queue whose workers run it; so too where it is unknown."""
        return bool(_check_name(name)) or EXECUTORS[name].has_queues


def _default() -> str:
    return os.environ.get(EXECUTOR_VARIABLE) or DEFAULT_EXECUTOR


def _of_variable(finding: Finding) -> Finding:
    """What is wrong with the executor that the environment names: the flow is not to blame."""
    return finding._replace(message=f"{EXECUTOR_VARIABLE}: {finding.message}")


def _in_options(finding: Finding) -> Finding:
    # Where there are no options at all, the error is at the runner.
    hint = finding.hint or (None if finding.path else "under 'executor_options'")
    return finding._replace(path=("executor_options", *finding.path), hint=hint)
