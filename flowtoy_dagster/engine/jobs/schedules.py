"""A flow's schedules in Dagster, whose daemon makes a run of the flow's job at each time."""

from functools import partial
from typing import Any

import dagster as dg

from flowtoy_dagster.engine.jobs.params import params_config
from flowtoy_dagster.flow.graph import Flow
from flowtoy_dagster.flow.param_values import bind
from flowtoy_dagster.flow.schema.models import ScheduleConfig


def schedules_of(flow: Flow, job: dg.JobDefinition) -> list[dg.ScheduleDefinition]:
    """The schedules that a flow declares (language 16).

    Args:
        flow: what declares them.
        job: the flow's job, of which they make runs.
    """
    return [
        dg.ScheduleDefinition(
            name=f"{job.name}_schedule" + (f"_{number}" if number > 1 else ""),
            job=job,
            cron_schedule=schedule.cron,
            execution_timezone=schedule.timezone,
            run_config_fn=partial(_run_config, flow, schedule),
            default_status=(
                dg.DefaultScheduleStatus.RUNNING
                if schedule.enabled
                else dg.DefaultScheduleStatus.STOPPED
            ),
            description=schedule.description,
        )
        for number, schedule in enumerate(flow.schedules, start=1)
    ]


def _run_config(
    flow: Flow, schedule: ScheduleConfig, _: dg.ScheduleEvaluationContext
) -> dict[str, Any]:
    """What a run is made with: the values are those of the moment."""
    return params_config(bind(flow, schedule.params, elsewhere=True))
