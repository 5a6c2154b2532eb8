"""Running again what failed or was skipped, with the outputs that succeeded steps already have."""

from __future__ import annotations

import contextlib
import difflib
import math
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg
import yaml

from flowtoy_dagster.engine.jobs.dagster_names import step_keys
from flowtoy_dagster.engine.jobs.events.loops import told_counts
from flowtoy_dagster.engine.jobs.recordings.of_run import is_replay
from flowtoy_dagster.engine.jobs.reuse import Origins, reusable_runs
from flowtoy_dagster.errors import RunError, UsageError
from flowtoy_dagster.flow.files.suggestions import nearest
from flowtoy_dagster.flow.graph import Flow, Step, Values, steps_after
from flowtoy_dagster.flow.param_values import bind
from flowtoy_dagster.flow.secrets_of_flow import FlowSecrets
from flowtoy_dagster.runs.create import Reuse
from flowtoy_dagster.runs.history import History
from flowtoy_dagster.runs.run import FlowRun, Listener, start
from flowtoy_dagster.runs.sessions.carriers import (
    LAUNCHED,
    carrier,
    close_run,
    is_interrupted,
    last_sign_of_life,
    unseen,
)
from flowtoy_dagster.runs.sessions.sessions import Carrier
from flowtoy_dagster.runs.status.models import RunStatus
from flowtoy_dagster.steps.outputs.stale import may_be_stale, why_stale
from flowtoy_dagster.store.item_log import Reusable
from flowtoy_dagster.store.record import StepRecord


@dataclass(frozen=True)
class RetryPlan:
    """What a retry will do.

    Attributes:
        parent: the run that is retried.
        flow: what is run; the parent's, or another that was given.
        reasons: for each step that runs, why; the others are reused.
        differences: for each step that differs from the parent's, the lines that do.
        skipped: the steps that a condition skipped in the parent.
        reusing: the repeated steps that go on from what was done of them: what of their items may
            be reused.
    """

    parent: dg.DagsterRun
    flow: Flow
    reasons: Mapping[str, str]
    differences: Mapping[str, tuple[str, ...]]
    skipped: frozenset[str] = frozenset()
    reusing: Mapping[str, Reusable] = field(default_factory=dict)

    @property
    def reuse(self) -> Reuse:
        """What the new run takes over from the parent."""
        return Reuse(self.parent, frozenset(self.reasons), frozenset(self.reusing))

    def lines(self) -> list[str]:
        """The plan for people: a line a step, in file order."""
        width = min(40, max(len(step.name) for step in self.flow.steps))
        told: list[str] = []
        for name, lines in self.differences.items():
            told += [f"{name} differs from what ran:", *(f"    {line}" for line in lines)]
        for name, (what, why) in self.fates().items():
            told.append(f"{name:<{width}}  " + (f"{what:<6}  {why}" if why else what))
            told += [f"    {problem}" for problem in self.problems(name)]
        return told

    def fates(self) -> dict[str, tuple[str, str]]:
        """What becomes of each step, in file order: `runs` or `reused`, and why.

        Of a repeated step some of whose items are reused: how many, and nothing more.
        """
        found: dict[str, tuple[str, str]] = {}
        for step in self.flow.steps:
            reason = self.reasons.get(step.name)
            is_skipped = step.name in self.skipped
            before = "a condition skipped it" if is_skipped else "it succeeded before"
            found[step.name] = ("runs", reason) if reason else ("reused", before)
            items = self.reusing.get(step.name)
            if items is not None and items.count and step.name not in self.differences:
                runs = items.total - items.count
                found[step.name] = f"{items.count:,} of {items.total:,} reused, {runs:,} run", ""
        return found

    def problems(self, name: str) -> Sequence[str]:
        """Why items of a step are run again that may have succeeded."""
        items = self.reusing.get(name)
        return items.problems if items is not None else ()

    def all_problems(self) -> list[str]:
        """The same of all steps."""
        return [problem for step in self.flow.steps for problem in self.problems(step.name)]


def plan_retry(
    history: History,
    parent: dg.DagsterRun,
    *,
    flow: Flow | None = None,
    from_step: str | None = None,
    params: Sequence[str] = (),
    params_files: Sequence[str | Path] = (),
    only_look: bool = False,
) -> RetryPlan:
    """Decide which steps of a run are run again.

    Args:
        history: the home of the run.
        parent: the run to retry.
        flow: a configuration that differs from the one that ran; changed steps are run again.
        from_step: run this step and all after it, whatever became of them.
        params: `name=value`: parameters to change; the others are as they were.
        params_files: files with parameters to change.
        only_look: leave a run open whose process is gone; a retry closes it.

    Raises:
        ConfigError: a parameter's value is missing or wrong.
        UsageError: the run has not ended, there is no such step, or nothing is left to run.
        RunError: its configuration is not in this home.
    """
    parent = ended(history, parent, only_look=only_look)
    before = history.flow(parent, to_run=flow is None)
    chosen = bind(flow or before, texts=params, files=params_files, before=before.values)
    changed = differences(before, chosen)
    origins = history.origins(parent)
    changed |= _earlier_differences(history, parent, origins, chosen, changed)
    status = history.status(parent, before)
    reasons = _first_reasons(history, origins, chosen, status, changed)
    first = _first_step(chosen, from_step)
    reasons |= dict.fromkeys(first, "you asked to start from it")
    begun = {*changed, *first}
    fresh = steps_after(chosen, begun) | first
    _spread(chosen, reasons, begun)
    skipped = {name for name, step in status.steps.items() if step.by_condition}
    _run_what_follows(chosen, reasons, skipped)
    _check_reasons(reasons, parent, skipped)
    reusing = _reusable_items(history, parent, chosen, set(reasons) - fresh)
    return RetryPlan(parent, chosen, reasons, changed, frozenset(skipped), reusing)


def _earlier_differences(
    history: History, parent: dg.DagsterRun, origins: Origins, flow: Flow, known: Collection[str]
) -> dict[str, tuple[str, ...]]:
    """The differences to an earlier run, of the steps that the parent took from it.

    `flowtoy run --only` takes them although they differ.

    Args:
        history: the home of the runs.
        parent: the run that is retried.
        origins: of the parent.
        flow: what is run.
        known: steps whose differences are known.
    """
    keys = step_keys(step.name for step in flow.steps)
    taken: dict[str, list[str]] = {}
    for step in flow.steps:
        run_id = origins.of(keys[step.name])
        if step.name not in known and run_id != parent.run_id:
            taken.setdefault(run_id, []).append(step.name)
    found: dict[str, tuple[str, ...]] = {}
    for run_id, names in taken.items():
        run = history.instance.get_run_by_id(run_id)
        if run is not None:
            with contextlib.suppress(RunError):  # its configuration is gone
                then = differences(history.flow(run), flow)
                found |= {name: then[name] for name in names if name in then}
    return found


def _first_step(flow: Flow, name: str | None) -> set[str]:
    """The step to start from, where one is named."""
    if name is None:
        return set()
    if name not in flow.by_name:
        raise UsageError(f"there is no step '{name}'\n    {nearest(name, flow.by_name).hint}")
    return {name}


def _reusable_items(
    history: History, parent: dg.DagsterRun, flow: Flow, names: set[str]
) -> dict[str, Reusable]:
    """For the repeated ones of some steps, what of their items may be reused."""
    keys = step_keys(step.name for step in flow.steps)
    told = partial(told_counts, history.instance)
    found: dict[str, Reusable] = {}
    for step in flow.steps:
        if step.name in names and step.for_each is not None:
            key = keys[step.name]
            before = reusable_runs(parent, key, history.instance.get_run_by_id)
            found[step.name] = history.store.reusable_items([*before, parent.run_id], key, told)
    return found


def ended(history: History, parent: dg.DagsterRun, *, only_look: bool) -> dg.DagsterRun:
    """A run that has ended and whose outputs can be reused; one whose process is gone is closed.

    Raises:
        UsageError: it has not ended, or it is a replay.
    """
    if is_replay(parent):
        raise UsageError(
            f"run {parent.run_id[:8]} is a replay: its outputs are those of a recording\n"
            "    replay the flow again: flowtoy run FLOW --replay DIR"
        )
    if parent.is_finished:
        return parent
    if is_interrupted(history.instance, parent):
        if only_look:
            return parent
        when = last_sign_of_life(history.instance, parent)
        close_run(history.instance, parent, ended_at=when)
        return history.find(parent.run_id)
    found = carrier(parent)
    if found is Carrier.UNKNOWN:
        raise UsageError(f"it is not known that it has ended: {unseen(parent)}")
    if found is None:
        raise UsageError(
            f"run {parent.run_id[:8]} has not ended; flowtoy cancel ends it while it goes on\n"
            f"    else {LAUNCHED}"
        )
    raise UsageError(f"run {parent.run_id[:8]} has not ended; flowtoy cancel ends it")


def _first_reasons(
    history: History,
    origins: Origins,
    flow: Flow,
    status: RunStatus,
    differences: Mapping[str, tuple[str, ...]],
) -> dict[str, str]:
    keys = step_keys(step.name for step in flow.steps)
    reasons: dict[str, str] = {}
    for step in flow.steps:
        before = status.steps.get(step.name)
        if step.name in differences:
            reasons[step.name] = "it differs from what ran" if before else "it is new"
        elif before is None or before.state in ("pending", "running"):
            reasons[step.name] = "it never ended"
        elif before.state == "failed":
            reasons[step.name] = f"it failed: {before.error}"
        elif before.state == "skipped" and not before.by_condition:
            if step.run_if != "failure":  # which was not wanted, and is no reason by itself
                reasons[step.name] = f"it was skipped: {before.error}"
        elif (gone := why_gone(history.record(origins, keys[step.name]), flow, step)) is not None:
            reasons[step.name] = gone
    return reasons


def why_gone(record: StepRecord | None, flow: Flow, step: Step) -> str | None:
    """Why the outputs of a step that did not fail can't be used; None where they can."""
    if record is None:
        return "its outputs are gone"
    if record.state != "succeeded" or not may_be_stale(step):
        return None
    reason = why_stale(step, record.outputs)
    return reason and FlowSecrets(flow).mask(os.environ).including(record.secrets).text(reason)


def _check_reasons(reasons: Mapping[str, str], parent: dg.DagsterRun, skipped: set[str]) -> None:
    if not reasons:
        what = "succeeded or was skipped by a condition" if skipped else "succeeded"
        raise UsageError(f"every step of run {parent.run_id[:8]} {what}: nothing to retry")


def _spread(flow: Flow, reasons: dict[str, str], origins: set[str]) -> None:
    """Run what depends on a changed step again: what it was made from is no longer so."""
    pending = list(origins)
    while pending:
        name = pending.pop()
        for dependent in flow.dependents.get(name, ()):
            if dependent not in origins:
                origins.add(dependent)
                pending.append(dependent)
                reasons.setdefault(dependent, f"it depends on '{name}', which runs again")


def _run_what_follows(flow: Flow, reasons: dict[str, str], skipped: set[str]) -> None:
    """Add what runs because others run again: first what was skipped, then the closing steps."""
    _ask_again(flow, reasons, skipped)
    _close_again(flow, reasons)


def _ask_again(flow: Flow, reasons: dict[str, str], skipped: set[str]) -> None:
    """Ask the conditions again that skipped a step, where one that it depends on runs again."""
    pending = list(reasons)
    while pending:
        name = pending.pop()
        for dependent in flow.dependents.get(name, ()):
            if dependent in skipped and dependent not in reasons:
                reasons[dependent] = f"a condition skipped it, and '{name}' runs again"
                pending.append(dependent)


def _close_again(flow: Flow, reasons: dict[str, str]) -> None:
    """Run closing steps again where a step runs again after which they run (language 19.3)."""
    for step in flow.steps if reasons else ():
        if step.is_closing and step.name not in reasons:
            again = next((name for name in step.upstream if name in reasons), None)
            if again is not None:
                reasons[step.name] = f"it runs after '{again}', which runs again"
            elif not step.upstream:
                reasons[step.name] = "it runs after the whole run"


def differences(before: Flow, after: Flow) -> dict[str, tuple[str, ...]]:
    """For each step that does something else than before, what it did and does, line by line."""
    hidden = FlowSecrets(before).mask(os.environ)
    hidden = hidden.including(FlowSecrets(after).mask(os.environ).values)
    found: dict[str, tuple[str, ...]] = {}
    for step in after.steps:
        old = before.by_name.get(step.name)
        then, now = _described(before, old) if old else [], _described(after, step)
        if then != now:
            compared = difflib.ndiff(then, now)
            found[step.name] = tuple(
                hidden.text(line) for line in compared if line.startswith(("+ ", "- "))
            )
    return found


def _described(flow: Flow, step: Step) -> list[str]:
    """What a step does, as YAML; names and notes don't matter."""
    values = flow.values or Values({})
    # A run that Dagster has started may have been given none of those that have a default.
    given = {name: param.config.default for name, param in flow.params.items()}
    given |= {**values.public, **values.secret}
    facts = {
        "type": step.source.type,
        "configuration": dict(step.source.configuration),
        "for_each": _iterated(step),
        "incremental": _cursor(step),
        "input": step.payload,
        "output": [output.model_dump(exclude_defaults=True) for output in step.outputs],
        "depends_on": list(step.upstream),
        "when": step.when,
        "run_if": step.run_if if step.is_closing else None,
        "until": step.until.condition if step.until else None,
        "params": {name: given.get(name) for name in step.params},
    }
    shown = {key: value for key, value in facts.items() if value not in (None, {}, [])}
    # On lines of any width: a secret that is broken into two would not be found.
    text: str = yaml.safe_dump(shown, allow_unicode=True, sort_keys=False, width=math.inf)
    return text.splitlines()


def _iterated(step: Step) -> dict[str, Any] | None:
    """What a step is repeated for; how its items are run does not matter."""
    if step.for_each is None:
        return None
    written = step.for_each.model_dump(by_alias=True, exclude_defaults=True, warnings=False)
    return {key: value for key, value in written.items() if key in ("in", "as", "key", "batch")}


def _cursor(step: Step) -> dict[str, Any] | None:
    """How a step reads its cursor; when the value is stored does not matter."""
    if step.incremental is None:
        return None
    written = step.incremental.model_dump(exclude_defaults=True, warnings=False)
    return {key: value for key, value in written.items() if key not in ("commit", "secret")}


def retry_run(
    history: History, plan: RetryPlan, workers: int, on_change: Listener | None = None
) -> FlowRun:
    """Carry a retry out: a new run of the same lineage."""
    return start(
        history,
        plan.flow,
        workers,
        on_change=on_change,
        reuse=plan.reuse,
    )
