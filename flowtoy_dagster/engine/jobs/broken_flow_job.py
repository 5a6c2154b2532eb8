"""The job that stands for a flow that can't be loaded, so that the others can."""

import dagster as dg

from flowtoy_dagster.engine.jobs.events.event_text import bounded, code_block
from flowtoy_dagster.engine.tags import FLOW_TAG

BROKEN_TAG = "flowtoy/broken"
STEP = "broken"


def placeholder_job(job_name: str, flow_name: str, error: str) -> dg.JobDefinition:
    """A job that reports what is wrong, and fails with it.

    Args:
        job_name: the name that the flow's job would have.
        flow_name: the flow's name, for people.
        error: what is wrong, in plain lines.
    """

    @dg.op(
        name=f"{job_name}___{STEP}", description=error, config_schema={}, tags={BROKEN_TAG: "true"}
    )
    def fail() -> None:
        raise dg.Failure(error, allow_retries=False)

    graph = dg.GraphDefinition(
        name=job_name,
        description=_as_markdown(error),
        node_defs=[fail],
        dependencies={dg.NodeInvocation(fail.name, alias=STEP): {}},
    )
    return graph.to_job(
        name=job_name,
        executor_def=dg.in_process_executor.configured({}),
        tags={BROKEN_TAG: "true", FLOW_TAG: flow_name},
    )


def what_is_wrong(instance: dg.DagsterInstance, run: dg.DagsterRun) -> str | None:
    """What the job of a run reports of its flow; None where it is the job of a flow that loads."""
    if BROKEN_TAG not in run.tags or run.job_snapshot_id is None:
        return None
    (op,) = instance.get_job_snapshot(run.job_snapshot_id).node_defs_snapshot.op_def_snaps
    return op.description


def _as_markdown(error: str) -> str:
    # The first line is what Dagster shows of a description where there is little room.
    return f"This flow can't be loaded.\n\n{code_block(bounded(error), 'text')}\n"
