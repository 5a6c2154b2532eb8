"""Running some steps of a flow and nothing else, with what other steps left in an earlier run."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import dagster as dg

from flowtoy_dagster.engine.jobs.dagster_names import step_keys
from flowtoy_dagster.errors import UsageError
from flowtoy_dagster.flow.files.suggestions import nearest
from flowtoy_dagster.flow.graph import Dependency, Flow, Step, rule_between
from flowtoy_dagster.flow.param_values import bind
from flowtoy_dagster.flow.secrets_of_flow import FlowSecrets
from flowtoy_dagster.runs.create import Reuse
from flowtoy_dagster.runs.history import History
from flowtoy_dagster.runs.retry import differences, ended, why_gone
from flowtoy_dagster.runs.status.models import RunStatus


@dataclass(frozen=True)
class Selection:
    """Some steps of a flow, and the run that has what they need.

    Attributes:
        parent: the run.
        flow: what is run, with the values of its parameters.
        names: the steps that run.
        needed: the steps whose outputs are taken from the run.
        changed: those of them that are written otherwise now.
    """

    parent: dg.DagsterRun
    flow: Flow
    names: frozenset[str]
    needed: frozenset[str]
    changed: frozenset[str]

    @property
    def reuse(self) -> Reuse:
        """What the new run takes over from the run before."""
        return Reuse(self.parent, self.names)

    def lines(self) -> list[str]:
        """What happens to each step that runs or is needed, in file order."""
        told, shown = [], self.names | self.needed
        width = min(40, max(map(len, shown)))
        for step in self.flow.steps:
            if step.name in self.names:
                told.append(f"{step.name:<{width}}  runs")
            elif step.name in self.needed:
                other = ", although it differs from what ran" if step.name in self.changed else ""
                told.append(
                    f"{step.name:<{width}}  taken from run {self.parent.run_id[:8]}{other}"
                )
        return told


def select(
    history: History,
    parent: dg.DagsterRun,
    flow: Flow,
    names: Sequence[str],
    params: Sequence[str] = (),
    params_files: Sequence[str | Path] = (),
) -> Selection:
    """Check that some steps can run with what a run has left of the others.

    Args:
        history: the home of the run.
        parent: the run that has what the steps need.
        flow: what is run; parameters are as they were in the run, unless they are given.
        names: the steps that run.
        params: `name=value`.
        params_files: files with parameters.

    Raises:
        ConfigError: a parameter's value is missing or wrong.
        UsageError: there is no such step, or something that a step needs is not in the run.
        RunError: the configuration of the run is not in this home.
    """
    parent = ended(history, parent, only_look=False)
    before = history.flow(parent)
    _check_names(flow, names)
    if before.name != flow.name:
        raise UsageError(
            f"run {parent.run_id[:8]} is of the flow '{before.name}', not of '{flow.name}'\n"
            f"    --with last:{flow.name} names the latest run of this one"
        )
    flow = bind(flow, texts=params, files=params_files, before=before.values)
    chosen = frozenset(names)
    needed = _needed(flow, chosen, _Look(history, parent, flow, history.status(parent, before)))
    changed = needed & differences(before, flow).keys()
    return Selection(parent, flow, chosen, needed, frozenset(changed))


def _needed(flow: Flow, chosen: frozenset[str], look: _Look) -> frozenset[str]:
    """The steps that do not run, and that those that do depend on.

    Raises:
        UsageError: something that a step needs is not in the run.
    """
    needed, problems = set[str](), []
    for step in flow.steps:
        for dependency in step.dependencies if step.name in chosen else ():
            if dependency.step not in chosen:
                needed.add(dependency.step)
                problem = look.missing(step, dependency)
                if problem is not None:
                    problems.append(f"step '{step.name}' needs {problem}")
    if problems:
        raise UsageError("\n".join([
            *problems, "    name these steps with --only too, or another run with --with",
        ]))
    return frozenset(needed)


def _check_names(flow: Flow, names: Sequence[str]) -> None:
    unknown = [name for name in names if name not in flow.by_name]
    if unknown:
        raise UsageError("\n".join(
            f"there is no step '{name}'\n    {nearest(name, flow.by_name).hint}" for name in unknown
        ))


class _Look:
    """Looks for what a step needs in a run."""

    def __init__(
        self, history: History, parent: dg.DagsterRun, flow: Flow, status: RunStatus
    ) -> None:
        self._history = history
        self._parent = parent
        self._origins = history.origins(parent)
        self._flow = flow
        self._status = status
        self._keys = step_keys(step.name for step in flow.steps)

    def missing(self, step: Step, dependency: Dependency) -> str | None:
        """What of a dependency is not in the run, with the reason; None where all is."""
        name, run = dependency.step, f"run {self._parent.run_id[:8]}"
        before = self._status.steps.get(name)
        if before is None:
            return f"'{name}', which {run} does not have"
        if before.state == "skipped" and before.by_condition:
            return None
        if before.state == "failed" and rule_between(self._flow.step(name), step) == "continue":
            return None
        if before.state != "succeeded":
            reason = f": {before.error}" if before.error else ""
            how = {"failed": "failed", "skipped": "was skipped"}.get(before.state, "did not end")
            return f"'{name}', which {how} in {run}{reason}"
        record = self._history.record(self._origins, self._keys[name])
        gone = why_gone(record, self._flow, self._flow.step(name))
        if record is None or gone is not None:
            return f"'{name}' of {run}, but {gone}"
        for output in self._flow.step(name).outputs:
            wanted = any(need.endswith(f".{output.name}") for need in dependency.needs)
            if wanted and output.name not in record.outputs:
                text = f"the output '{output.name}' of '{name}', which {run} does not have"
                return FlowSecrets(self._flow).mask(os.environ).text(text)
        return None
