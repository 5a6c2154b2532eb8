"""A flow to a Dagster job: one op a step, one edge a dependency."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import dagster as dg
from dagster import DependencyDefinition, GraphDefinition, NodeInvocation, OpDefinition

from flowtoy_dagster.engine.io import RecordIOManager, record_io_manager
from flowtoy_dagster.engine.names import dagster_name, step_keys
from flowtoy_dagster.engine.records import StepRecord
from flowtoy_dagster.flow.graph import Flow, Step
from flowtoy_dagster.providers.registry import describe
from flowtoy_dagster.scope import RunInfo
from flowtoy_dagster.step import StepOutcome, run_step

IO_MANAGER = "io_manager"
RESULT = "result"
STEP_TAG = "flowtoy/step"
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
        ops = {step.name: self._op(flow, step, job_name) for step in flow.steps}
        graph = GraphDefinition(
            name=job_name,
            description=flow.description,
            node_defs=list(ops.values()),
            dependencies={
                NodeInvocation(ops[step.name].name, alias=keys[step.name]): {
                    _input_name(flow.step(upstream)): DependencyDefinition(keys[upstream], RESULT)
                    for upstream in step.upstream
                }
                for step in flow.steps
            },
        )
        return graph.to_job(
            name=job_name,
            resource_defs={IO_MANAGER: record_io_manager},
            executor_def=executor,
            tags={**flow.tags, **(tags or {})},
            metadata={FLOW_TAG: flow.name},
        )

    def _op(self, flow: Flow, step: Step, job_name: str) -> OpDefinition:
        spec = self.step_spec(flow, step)
        return OpDefinition(
            # Op names are unique in a whole code location, so the flow's name is part of them.
            name=f"{job_name}__{step.index}_{dagster_name(step.name)}",
            compute_fn=_compute(flow, step),
            ins={_input_name(flow.step(name)): dg.In(dg.Any) for name in step.upstream},
            outs={RESULT: dg.Out(dg.Any, is_required=False, io_manager_key=IO_MANAGER)},
            description=spec.description,
            tags=dict(spec.tags),
            config_schema={},
            required_resource_keys={IO_MANAGER},
        )


def _input_name(step: Step) -> str:
    return f"step_{step.index}"


def _compute(flow: Flow, step: Step) -> Any:
    def compute(context: dg.OpExecutionContext, inputs: Mapping[str, StepRecord]) -> Iterator[Any]:
        upstream = {name: inputs[_input_name(flow.step(name))] for name in step.upstream}
        run = RunInfo(context.run_id, flow.name, lambda: _started_at(context))
        outcome = run_step(step, flow.sources, upstream, run)
        manager: RecordIOManager = getattr(context.resources, IO_MANAGER)
        key = context.op_handle.name
        summaries = manager.store.write(context.run_id, key, outcome, step.keep_result)
        if outcome.error is not None:
            raise _failure(step, outcome)
        shown = {name: summary.as_json() for name, summary in summaries.items()}
        yield dg.Output(key, RESULT, metadata={"outputs": dg.MetadataValue.json(shown)})

    return compute


def _started_at(context: dg.OpExecutionContext) -> float:
    stats = context.instance.get_run_record_by_id(context.run_id)
    started = stats.start_time if stats else None
    return started if started is not None else time.time()


def _failure(step: Step, outcome: StepOutcome) -> dg.Failure:
    facts: dict[str, Any] = {"step": step.name, "reason": outcome.error or ""}
    if outcome.result is not None and outcome.result.code is not None:
        facts["code"] = outcome.result.code
    if outcome.stderr:
        facts["stderr"] = dg.MetadataValue.md(f"```\n{outcome.stderr}\n```")
    return dg.Failure(f"Step '{step.name}' failed: {outcome.error}", metadata=facts,
                      allow_retries=False)
