"""A flow to a Dagster job: one op a step, one edge a dependency."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

import dagster as dg
from dagster import DependencyDefinition, GraphDefinition, NodeInvocation, OpDefinition

from flowtoy_dagster.engine.io import IO_MANAGER, record_io_manager
from flowtoy_dagster.engine.names import STEP_TAG, dagster_name, step_keys
from flowtoy_dagster.engine.ops import DONE, RESULT, StepCompute, input_name
from flowtoy_dagster.engine.scheduling import HALT_TAG, ORDER_TAG
from flowtoy_dagster.flow.graph import Flow, Step
from flowtoy_dagster.flow.policies import halts_run, has_tolerant_dependents, rule_between
from flowtoy_dagster.flow.sensitive import FlowSecrets
from flowtoy_dagster.providers.registry import describe

FLOW_TAG = "flowtoy/flow"
KIND_TAG = "kind"


@dataclass(frozen=True)
class StepSpec:
    """How a step appears in Dagster: what `FlowTranslator.step_spec` returns.

    Attributes:
        description: shown beside the op; its first line in the graph.
        tags: the op's tags.
    """

    description: str
    tags: Mapping[str, str] = field(default_factory=dict)


class FlowTranslator:
    """Makes jobs of flows. Override `step_spec` to change how steps appear."""

    def step_spec(self, flow: Flow, step: Step) -> StepSpec:
        """How a step appears in Dagster."""
        tags = {STEP_TAG: step.name, KIND_TAG: step.source.type, **step.tags}
        return StepSpec(step.description or describe(step.source), tags)

    def job(
        self,
        flow: Flow,
        *,
        executor: dg.ExecutorDefinition,
        name: str | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> dg.JobDefinition:
        """The job of a flow.

        Args:
            flow: what to translate.
            executor: what runs its steps.
            name: the job's name; by default the flow's, made a Dagster name.
            tags: added to the flow's own.
        """
        job_name = name or dagster_name(flow.name)
        keys = step_keys(step.name for step in flow.steps)
        # What a snapshot of the job would show for ever must not hold a secret.
        secrets = FlowSecrets(flow)
        mask = secrets.mask(os.environ)
        ops = {step.name: self._op(flow, step, job_name, secrets) for step in flow.steps}
        graph = GraphDefinition(
            name=job_name,
            description=mask.text(flow.description) if flow.description else None,
            node_defs=list(ops.values()),
            dependencies={
                NodeInvocation(ops[step.name].name, alias=keys[step.name]): {
                    input_name(flow.step(upstream)): DependencyDefinition(
                        keys[upstream], awaited_output(flow.step(upstream), step)
                    )
                    for upstream in step.upstream
                }
                for step in flow.steps
            },
        )
        return graph.to_job(
            name=job_name,
            resource_defs={IO_MANAGER: record_io_manager},
            executor_def=executor,
            tags=mask.data({**flow.tags, **(tags or {})}),
            metadata={FLOW_TAG: mask.text(flow.name)},
        )

    def _op(self, flow: Flow, step: Step, job_name: str, secrets: FlowSecrets) -> OpDefinition:
        spec = self.step_spec(flow, step)
        mask = secrets.mask(os.environ)
        tags = dict(mask.data(dict(spec.tags)))
        tags[ORDER_TAG] = str(step.index)
        if halts_run(flow, step):
            tags[HALT_TAG] = "true"
        outs = {RESULT: _out()}
        if has_tolerant_dependents(flow, step):
            outs = {DONE: _out(), RESULT: _out()}
        return OpDefinition(
            # Op names are unique in a whole code location, so the flow's name is part of them.
            name=f"{job_name}__{step.index}_{dagster_name(step.name)}",
            compute_fn=StepCompute(flow, step, secrets, DONE in outs),
            ins={input_name(flow.step(name)): dg.In(dg.Any) for name in step.upstream},
            outs=outs,
            description=mask.text(spec.description),
            tags=tags,
            config_schema={},
            required_resource_keys={IO_MANAGER},
        )


def awaited_output(upstream: Step, step: Step) -> str:
    """Which output of the step before it a step waits for."""
    return DONE if rule_between(upstream, step) == "continue" else RESULT


def _out() -> dg.Out:
    return dg.Out(dg.Any, is_required=False, io_manager_key=IO_MANAGER)
