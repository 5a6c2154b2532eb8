"""`flowtoy plan`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from flowtoy_dagster.cli.completion.words import complete_flows, complete_runs, complete_steps
from flowtoy_dagster.cli.shared.coloured import print_parts
from flowtoy_dagster.cli.shared.options import (
    Debug,
    EnvFile,
    Json,
    MaxWorkers,
    Param,
    ParamsFile,
    Timeout,
    flow_of,
    load_env_files,
    show_warnings,
)
from flowtoy_dagster.errors import UsageError
from flowtoy_dagster.terminal import print_json, say

if TYPE_CHECKING:
    from flowtoy_dagster.flow.graph import Flow
    from flowtoy_dagster.runs.retry import RetryPlan


class Format(str, Enum):
    """How a plan is printed."""

    text = "text"
    json = "json"


PlannedConfig = Annotated[
    Optional[list[str]],  # noqa: UP045 - Typer reads these at run time
    typer.Argument(metavar="CONFIG", autocompletion=complete_flows,
                   help="YAML files, merged left to right; - is standard input. With --retry,"
                        " the default is the flow that ran."),
]
Retry = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--retry", metavar="RUN", autocompletion=complete_runs,
                 help="Show what a retry of this run would run, and what it would reuse."),
]
FromStep = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--from", metavar="STEP", autocompletion=complete_steps,
                 help="With --retry: also run this step and all after it."),
]
Origin = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--origin", metavar="KEY",
                 help="Show which file set a value, such as runner.max_workers."),
]
PlanFormat = Annotated[Format, typer.Option("--format", help="Print text for people, or JSON.")]


def plan(
    config: PlannedConfig = None,
    param: Param = None,
    params_file: ParamsFile = None,
    max_workers: MaxWorkers = None,
    timeout: Timeout = None,
    retry: Retry = None,
    from_step: FromStep = None,
    origin: Origin = None,
    output: PlanFormat = Format.text,
    as_json: Json = False,
    env_file: EnvFile = None,
    debug: Debug = False,
) -> None:
    """Show what a run would do, without calling anything.

    The steps are in the order of their levels: steps of one level do not wait for each other.
    Below each step is why it waits for others, with the place in the file, and what limits it.
    `needs`: the step is skipped if that output is skipped. `is optional`: it runs anyway.
    """
    load_env_files(env_file or ())
    wants_json = as_json or output is Format.json
    if from_step is not None and retry is None:
        raise UsageError("--from goes with --retry RUN")
    if origin is not None:
        _print_origin(config, origin, as_json=wants_json)
        return
    told: Mapping[str, str] = {}
    if retry is not None:
        planned = _planned_retry(retry, config, from_step, param, params_file)
        flow, told = planned.flow, _fates(planned)
        show_warnings(flow)
        for problem in planned.all_problems():
            say(f"warning: {problem}")
    elif config:
        flow = flow_of(config, param, params_file, timeout)
    else:
        raise UsageError("give the files of a flow, or --retry RUN\n    flowtoy plan flow.yaml")
    _print_plan(flow, max_workers, told, as_json=wants_json)


def _print_plan(
    flow: Flow, max_workers: int | None, told: Mapping[str, str], *, as_json: bool
) -> None:
    from flowtoy_dagster.plan.build import plan_of
    from flowtoy_dagster.plan.model import as_json as plain_data
    from flowtoy_dagster.plan.words import plan_lines

    found = plan_of(flow, max_workers, told)
    if as_json:
        print_json(plain_data(found))
    else:
        print_parts(plan_lines(found))


def _planned_retry(
    run: str,
    config: list[str] | None,
    from_step: str | None,
    param: list[str] | None,
    params_file: list[Path] | None,
) -> RetryPlan:
    """What a retry would do; the run is left as it is."""
    from flowtoy_dagster.loader import load_flow
    from flowtoy_dagster.runs.history import History
    from flowtoy_dagster.runs.retry import plan_retry

    flow: Flow | None = load_flow(config) if config else None
    with History() as history:
        return plan_retry(
            history, history.find(run), flow=flow, from_step=from_step, params=param or (),
            params_files=params_file or (), only_look=True,
        )


def _fates(planned: RetryPlan) -> dict[str, str]:
    return {
        name: f"{what}: {why}" if why else what for name, (what, why) in planned.fates().items()
    }


def _print_origin(config: list[str] | None, key: str, *, as_json: bool) -> None:
    from flowtoy_dagster.plan.origins import as_plain_data, origin_lines, origins_of

    if not config:
        raise UsageError("--origin needs the files of a flow")
    found = origins_of(config, key)
    if as_json:
        print_json(as_plain_data(found))
        return
    for line in origin_lines(found):
        say(line, sys.stdout)
