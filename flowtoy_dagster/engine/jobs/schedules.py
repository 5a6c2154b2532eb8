"""A flow's schedules in Dagster, whose daemon makes a run of the flow's job at each time."""

import datetime as dt
import zoneinfo
from functools import partial
from typing import Any

import dagster as dg

from flowtoy_dagster.engine.jobs.params import params_config
from flowtoy_dagster.flow.graph import Flow
from flowtoy_dagster.flow.param_values import bind
from flowtoy_dagster.flow.schema.models import ScheduleConfig

_FORMAT = "%Y-%m-%dT%H:%M:%S%z"


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


_SPANS = (1 / 24, 1, 31, 366, 366 * 9, 366 * 40)
"""Days within which the next times are looked for, one span after the other."""


def next_times(schedule: ScheduleConfig, count: int, after: dt.datetime) -> list[dt.datetime]:
    """The next times at which Dagster makes a run, in the schedule's time zone.

    Args:
        schedule: of a flow.
        count: how many.
        after: the moment from which they are counted, with a time zone.
    """
    start = after.astimezone(zoneinfo.ZoneInfo(schedule.timezone))
    windows = dg.TimeWindowPartitionsDefinition(
        start=start, fmt=_FORMAT, cron_schedule=schedule.cron, timezone=schedule.timezone
    )
    found: list[dt.datetime] = []
    for days in _SPANS:
        # A window counts when it has ended: the last one has not.
        keys = windows.get_partition_keys(current_time=start + dt.timedelta(days=days))
        found = [dt.datetime.strptime(key, _FORMAT) for key in keys]
        found = [moment for moment in found if moment > after]
        if len(found) >= count:
            break
    return found[:count]


def _run_config(
    flow: Flow, schedule: ScheduleConfig, _: dg.ScheduleEvaluationContext
) -> dict[str, Any]:
    """What a run is made with: the values are those of the moment."""
    return params_config(bind(flow, schedule.params, elsewhere=True))
