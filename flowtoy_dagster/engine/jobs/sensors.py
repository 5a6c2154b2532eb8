"""Notifications of a flow in Dagster: sensors for the runs of its job (language 19.6)."""

import importlib
from collections.abc import Callable
from pathlib import Path

import dagster as dg

from flowtoy_dagster.flow.graph import Flow
from flowtoy_dagster.flow.schema.models import RunEnd

NOTIFY = "flowtoy_dagster.runs.notify"
"""What sends notifications; a name, because it stands on a floor below this one."""
_STATUSES: dict[str, tuple[dg.DagsterRunStatus, frozenset[RunEnd]]] = {
    "success": (dg.DagsterRunStatus.SUCCESS, frozenset({"success", "recovered"})),
    "failure": (dg.DagsterRunStatus.FAILURE, frozenset({"failure"})),
    "cancelled": (dg.DagsterRunStatus.CANCELED, frozenset({"cancelled"})),
}


def sensors_of(flow: Flow, job: dg.JobDefinition) -> list[dg.SensorDefinition]:
    """The sensors that send what a flow's notifications want and nobody has sent.

    Args:
        flow: what has the notifications.
        job: the flow's job, whose runs they look at.
    """
    wanted = frozenset[RunEnd]().union(*(each.on for each in flow.notifications))
    return [
        dg.RunStatusSensorDefinition(
            name=f"{job.name}_notify_{name}",
            run_status=status,
            run_status_sensor_fn=_send,
            monitored_jobs=[job],
            default_status=dg.DefaultSensorStatus.RUNNING,
            description=f"Sends the flow's notifications of runs that ended with {name}.",
        )
        for name, (status, ends) in _STATUSES.items()
        if wanted & ends
    ]


def _send(context: dg.RunStatusSensorContext) -> None:
    notify: Callable[[Path, str], None] = importlib.import_module(NOTIFY).notify_from
    notify(Path(context.instance.root_directory), context.dagster_run.run_id)
