"""`flowtoy runs schedules`: when the runs of flows with a `schedule` come next."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from flowtoy_dagster.cli.completion.words import complete_flows
from flowtoy_dagster.cli.shared.options import Json
from flowtoy_dagster.cli.shared.tables import print_table
from flowtoy_dagster.errors import ConfigError, Problem
from flowtoy_dagster.terminal import print_json, say

if TYPE_CHECKING:
    from flowtoy_dagster.flow.graph import Flow


def schedules(
    paths: Annotated[
        Optional[list[str]],  # noqa: UP045 - Typer reads these at run time
        typer.Argument(metavar="PATH", autocompletion=complete_flows,
                       help="Files of flows, and folders with them; by default this"
                                            " folder."),
    ] = None,
    count: Annotated[
        int, typer.Option("--count", metavar="N", min=1, max=1000,
                          help="How many times to list for each schedule.")
    ] = 3,
    as_json: Json = False,
) -> None:
    """List when flows with a `schedule` run next, as Dagster reads it.

    Only the files are read. A deployment that has the flow, and whose daemon runs, makes the runs.
    The list does not show whether a schedule was switched on or off there.
    """
    rows = [row for flow in _flows(paths or ["."]) for row in _rows(flow, count)]
    if as_json:
        print_json(rows)
        return
    if not rows:
        say("no flow has a schedule")
        return
    table = [
        (row["flow"], row["cron"], row["timezone"] + ("" if row["enabled"] else ", off"), moment)
        for row in rows for moment in row["next"] or ["never"]
    ]
    print_table(("FLOW", "CRON", "TIME ZONE", "NEXT"), table)


def _rows(flow: Flow, count: int) -> list[dict[str, Any]]:
    from flowtoy_dagster.engine.jobs.schedules import next_times

    now = dt.datetime.now(dt.timezone.utc)
    return [
        {
            "flow": flow.name, "cron": schedule.cron, "timezone": schedule.timezone,
            "enabled": schedule.enabled,
            "next": [moment.isoformat() for moment in next_times(schedule, count, now)],
        }
        for schedule in flow.schedules
    ]


def _flows(paths: list[str]) -> list[Flow]:
    """The flows in files and folders.

    Raises:
        ConfigError: with the errors of all of them.
        UsageError: a path does not exist, or a folder has no flow.
    """
    from flowtoy_dagster.deployment.discovery import files_of_flows

    problems: list[Problem] = []
    loaded = [_loaded(files, problems) for files in list(files_of_flows(paths))]
    if problems:
        raise ConfigError(problems)
    return [flow for flow in loaded if flow is not None]


def _loaded(files: tuple[str, ...], problems: list[Problem]) -> Flow | None:
    from flowtoy_dagster.loader import load_flow

    try:
        return load_flow(files)
    except ConfigError as error:
        problems += error.problems
        return None
