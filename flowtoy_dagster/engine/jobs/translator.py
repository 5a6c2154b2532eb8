"""A flow to a Dagster job: one op a step, one edge a dependency."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from graphlib import TopologicalSorter
from typing import Any

import dagster as dg
from dagster import DependencyDefinition, GraphDefinition, NodeInvocation, OpDefinition

from flowtoy_dagster.engine.executors.other_executors import FlowJob, keeping_the_rules
from flowtoy_dagster.engine.jobs.dagster_names import dagster_name, step_keys
from flowtoy_dagster.engine.jobs.incremental.ending_executor import storing_cursors
from flowtoy_dagster.engine.jobs.io_manager import IO_MANAGER, record_io_manager
from flowtoy_dagster.engine.jobs.limits import limit_tags
from flowtoy_dagster.engine.jobs.ops import StepCompute, input_name
from flowtoy_dagster.engine.jobs.params import PARAMS, params_resource
from flowtoy_dagster.engine.storage.logs.event_console import event_console
from flowtoy_dagster.engine.tags import (
    CONFIG_TAG,
    DONE,
    FLOW_TAG,
    GRACE_TAG,
    HALT_TAG,
    ORDER_TAG,
    QUEUE_TAG,
    RESULT,
    RUN_IF_TAG,
    STEP_TAG,
    TIMEOUT_TAG,
)
from flowtoy_dagster.flow.graph import Flow, Step, halts_run, has_tolerant_dependents, rule_between
from flowtoy_dagster.flow.schema.retry import retry_config
from flowtoy_dagster.flow.schema.tags import check_run_tags, check_step_tags
from flowtoy_dagster.flow.secrets_of_flow import FlowSecrets
from flowtoy_dagster.masking.mask import Mask
from flowtoy_dagster.providers.kinds import describe
from flowtoy_dagster.steps.outputs.streams import has_places

KIND_TAG = "kind"
# One object for all ops: making each its own is a tenth of the time that a job takes.
_IN = dg.In(dg.Any)
_NO_CONFIG = dg.Field({}, is_required=False)
_OUT = dg.Out(dg.Any, is_required=False, io_manager_key=IO_MANAGER)


@dataclass(frozen=True)
class StepSpec:
    """How a step appears in Dagster: what `FlowTranslator.step_spec` returns.

    Attributes:
        description: shown next to the op; its first line in the graph.
        tags: the op's tags, besides those that flowtoy needs itself.
        kind: the word on the op's badge; by default the provider's type.
        pool: the concurrency pool in which the step runs.
        retry: how often a failed step is tried again, as the language writes it (10.1); by
            default as the flow says, and 0 is never.
    """

    description: str
    tags: Mapping[str, str] = field(default_factory=dict)
    kind: str | None = None
    pool: str | None = None
    retry: int | Mapping[str, Any] | None = None


class FlowTranslator:
    """Makes jobs of flows. Override `step_spec` to change how steps appear."""

    def step_spec(self, flow: Flow, step: Step) -> StepSpec:
        """How a step appears in Dagster."""
        description = step.description or describe(step.source)
        return StepSpec(description, dict(step.tags), pool=step.pool)

    def job(
        self,
        flow: Flow,
        *,
        executor: dg.ExecutorDefinition,
        name: str | None = None,
        tags: Mapping[str, str] | None = None,
        saved: str | None = None,
    ) -> dg.JobDefinition:
        """The job of a flow.

        Args:
            flow: what to translate.
            executor: what runs its steps.
            name: the job's name; by default the flow's, made a Dagster name.
            tags: added to the flow's own.
            saved: the hash under which the flow's configuration is in the home folder; a tag
                by which runs that Dagster launches are known.

        Raises:
            ValueError: a tag has a value that Dagster can't use.
        """
        job_name = name or dagster_name(flow.name)
        # What a snapshot of the job would show for ever must not hold a secret.
        secrets = FlowSecrets(flow)
        mask = secrets.mask(os.environ)
        all_tags = {**flow.tags, **check_run_tags(tags or {}), FLOW_TAG: flow.name}
        claims_places = sum(map(has_places, flow.steps)) > 1
        ops = {
            step.name: self._op(flow, step, job_name, secrets, mask, claims_places)
            for step in flow.steps
        }
        graph = _graph(flow, job_name, ops, mask)
        around = storing_cursors(flow)
        job = graph.to_job(
            name=job_name,
            resource_defs={IO_MANAGER: record_io_manager, **params_resource(flow, job_name, mask)},
            executor_def=keeping_the_rules(executor, around),
            logger_defs={"console": event_console},
            tags={**mask.data(all_tags), **({CONFIG_TAG: saved} if saved else {})},
            metadata={FLOW_TAG: mask.text(flow.name)},
        )
        return FlowJob.of(job, around)

    def _op(
        self,
        flow: Flow,
        step: Step,
        job_name: str,
        secrets: FlowSecrets,
        mask: Mask,
        claims_places: bool,
    ) -> OpDefinition:
        spec = self.step_spec(flow, step)
        if spec.retry is not None:
            step = replace(step, retry=retry_config(spec.retry))
        tags = {KIND_TAG: spec.kind or step.source.type, **check_step_tags(spec.tags)}
        tags = {**mask.data(tags), STEP_TAG: mask.text(step.name), ORDER_TAG: str(step.index)}
        tags.update(limit_tags(flow, step))
        if flow.runner.timeout is not None:
            tags[TIMEOUT_TAG] = str(flow.runner.timeout)
        if step.queue is not None:
            tags[QUEUE_TAG] = step.queue
        if halts_run(flow, step):
            tags[HALT_TAG] = "true"
        if step.is_closing:
            tags |= {RUN_IF_TAG: step.run_if, GRACE_TAG: str(flow.runner.grace)}
        outs = {RESULT: _OUT}
        if has_tolerant_dependents(flow, step):
            outs = {DONE: _OUT, RESULT: _OUT}
        return OpDefinition(
            # Op names are unique in a whole code location, so the job's name is part of them.
            # No job that a location makes of files has three underscores in its name.
            name=f"{job_name}___{step.index}_{dagster_name(step.name)}",
            compute_fn=StepCompute(flow, step, secrets, DONE in outs, claims_places),
            ins={input_name(flow.step(name)): _IN for name in step.upstream},
            outs=outs,
            description=mask.text(spec.description),
            tags=tags,
            config_schema=_NO_CONFIG,
            required_resource_keys={IO_MANAGER, PARAMS} if flow.params else {IO_MANAGER},
            pool=spec.pool,
        )


class _StepGraph(GraphDefinition):
    """A graph whose nodes have an order, each after those that it depends on.

    Dagster's own has them in that of a set, and goes from each to all before it by recursion: of
    a thousand steps in a chain, a run could be made or not as the set happened to be.
    """

    @property
    def nodes(self) -> Sequence[Any]:
        return list(self.node_dict.values())


def _graph(
    flow: Flow, name: str, ops: Mapping[str, OpDefinition], mask: Mask
) -> GraphDefinition:
    ordered = TopologicalSorter({step.name: step.upstream for step in flow.steps}).static_order()
    return _StepGraph(
        name=name,
        description=mask.text(flow.description) if flow.description else None,
        node_defs=[ops[step] for step in ordered],
        dependencies=_dependencies(flow, ops),
    )


def awaited_output(upstream: Step, step: Step) -> str:
    """Which output of the step before it a step waits for."""
    return DONE if rule_between(upstream, step) == "continue" else RESULT


def _dependencies(
    flow: Flow, ops: Mapping[str, OpDefinition]
) -> dict[NodeInvocation, dict[str, DependencyDefinition]]:
    """An edge for each step that another one needs or waits for."""
    keys = step_keys(step.name for step in flow.steps)
    return {
        NodeInvocation(ops[step.name].name, alias=keys[step.name]): {
            input_name(flow.step(upstream)): DependencyDefinition(
                keys[upstream], awaited_output(flow.step(upstream), step)
            )
            for upstream in step.upstream
        }
        for step in flow.steps
    }
