"""`flowtoy runs …`: what the home remembers."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from flowtoy_dagster.cli.completion.words import complete_runs, complete_steps
from flowtoy_dagster.cli.shared.options import (
    AddressFile,
    Json,
    RunArgument,
    ShowSecrets,
    Token,
    examples,
)
from flowtoy_dagster.cli.shared.tables import print_table
from flowtoy_dagster.terminal import print_json, say

if TYPE_CHECKING:
    from pathlib import Path

    from flowtoy_dagster.runs.history import RunSummary
    from flowtoy_dagster.runs.status.models import RunStatus, StepStatus

_MOST = 1_000_000
"""The largest number of runs that can be asked for."""

runs = typer.Typer(
    help="List, show and prune the runs of the home folder.",
    epilog=examples("runs", "runs --flow shop --state failed --since 1d", "runs --limit 5 -j",
                    "runs show last"),
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@runs.callback()
def list_runs(
    context: typer.Context,
    limit: Annotated[
        int, typer.Option("--limit", metavar="N", min=1, max=_MOST, help="List at most N runs.")
    ] = 20,
    flow: Annotated[
        Optional[str],  # noqa: UP045 - Typer reads these at run time
        typer.Option("--flow", metavar="NAME", help="List only runs of this flow."),
    ] = None,
    state: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--state", metavar="STATE",
                     help="List only runs in this state: pending, running, succeeded, failed or"
                          " cancelled."),
    ] = None,
    since: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--since", metavar="DURATION",
                     help="List only runs that began within this time: 30m, 12h, 3d, 2w."),
    ] = None,
    as_json: Json = False,
) -> None:
    """List the latest runs, the newest first."""
    if context.invoked_subcommand is not None:
        return
    from flowtoy_dagster.runs.history import History
    from flowtoy_dagster.runs.wanted.filters import WantedRuns

    wanted = WantedRuns(flow, state, _moment_before(since))
    with History() as history:
        found = history.runs(limit, wanted)
        is_lost = not found and history.has_lost_runs()
        if is_lost:
            _tell_of_lost_runs(history.home)
    if as_json:
        print_json([run._asdict() for run in found])
        return
    if not found and not is_lost:
        print("no runs yet" if wanted == WantedRuns() else "no such runs", file=sys.stderr)
    _print_runs(found)


def _print_runs(found: Iterable[RunSummary]) -> None:
    rows = [
        (run.run_id[:8], run.name, run.verdict, _moment(run.started_at),
         _span(run.started_at, run.ended_at),
         f"retry of {run.retry_of[:8]}" if run.retry_of else "")
        for run in found
    ]
    print_table(("RUN", "FLOW", "STATE", "STARTED", "TOOK", ""), rows)


def _tell_of_lost_runs(home: Path) -> None:
    say(
        "the database knows no run of a flow, but this home has outputs of such runs: the database "
        "was replaced, or the runs were deleted with other tools\n"
        f"    restore the database, or delete {home / 'flowtoy-records'}"
    )


def _moment_before(since: str | None) -> float | None:
    from flowtoy_dagster.errors import UsageError
    from flowtoy_dagster.flow.schema.durations import DurationError, seconds_of_span

    if since is None:
        return None
    try:
        return max(0.0, time.time() - seconds_of_span(since))
    except DurationError:
        hint = "write such as 30m, 12h, 3d or 2w"
        raise UsageError(f"--since: '{since}' is not a span of time\n    {hint}") from None


@runs.command(
    "show",
    epilog=examples("runs show last", "runs show last:shop --json",
                    "runs show last details --state failed"),
)
def show_run(
    run: RunArgument,
    step: Annotated[
        Optional[str],  # noqa: UP045 - Typer reads this at run time
        typer.Argument(metavar="STEP", autocompletion=complete_steps,
                       help="Show the items of this step, which has 'for_each'."),
    ] = None,
    state: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--state", metavar="STATE",
                     help="With STEP: show only items that are succeeded, failed or skipped."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show the state of a run and its steps; with STEP, the items of that step."""
    import os

    if step is not None or state is not None:
        from flowtoy_dagster.cli.shared.items import print_items

        print_items(run, step, state, as_json=as_json)
        return

    from flowtoy_dagster.flow.param_values import shown_params
    from flowtoy_dagster.flow.secrets_of_flow import FlowSecrets
    from flowtoy_dagster.runs.history import History
    from flowtoy_dagster.runs.status.status_document import status_document

    with History() as history:
        found = history.find(run)
        flow = history.flow(found)
        status = history.status(found, flow)
    params = FlowSecrets(flow).mask(os.environ).data(shown_params(flow))
    if as_json:
        more = {"error": status.error, "retry_of": found.parent_run_id, "params": params}
        print_json({**status_document(status), **more})
        return
    _print_status(status, found.parent_run_id, params)


@runs.command(
    "outputs", epilog=examples("runs outputs last", "runs outputs last -j | jq .fetch_users")
)
def show_outputs(
    run: RunArgument,
    as_json: Annotated[bool, typer.Option("--json", "-j", help="Print complete JSON.")] = False,
    show_secrets: ShowSecrets = False,
) -> None:
    """Print the outputs of a run's steps."""
    import os

    from flowtoy_dagster.cli.shared.printing import OutputWriter, claim_stdout
    from flowtoy_dagster.flow.secrets_of_flow import FlowSecrets
    from flowtoy_dagster.runs.history import History
    from flowtoy_dagster.runs.run import finished_run

    writer = OutputWriter(claim_stdout(), as_json=as_json, quiet=False, file=None)
    with History() as history:
        found = history.find(run)
        flow = history.flow(found)
        status = history.status(found, flow)
        mask = FlowSecrets(flow).mask(os.environ)
        finished = finished_run(history, found, flow, status, mask)
        writer.write(lambda: finished.output_texts(show_secrets=show_secrets))


@runs.command("logs", epilog=examples("runs logs last", "runs logs last fetch_users"))
def show_logs(
    run: RunArgument,
    step: Annotated[
        Optional[str],  # noqa: UP045 - Typer reads this at run time
        typer.Argument(metavar="STEP", autocompletion=complete_steps,
                       help="Print only what this step printed."),
    ] = None,
    item: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--item", metavar="KEY", help="With STEP: print only what this item printed."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Print what the steps of a run have printed, also while the run goes on."""
    from flowtoy_dagster.errors import UsageError
    from flowtoy_dagster.flow.files.suggestions import nearest
    from flowtoy_dagster.runs.history import History

    if item is not None:
        from flowtoy_dagster.cli.shared.items import print_item_log

        print_item_log(run, step, item, as_json=as_json)
        return
    with History() as history:
        found = history.find(run)
        known = history.flow(found).by_name
        if step is not None and step not in known:
            raise UsageError(f"there is no step '{step}'\n    {nearest(step, known).hint}")
        printed = [
            {"step": name, "stream": stream, "text": content.decode("utf-8", "replace")}
            for name, stream, content in history.captured(found, step)
        ]
    if as_json:
        print_json(printed)
        return
    for part in printed:
        target = sys.stdout if part["stream"] == "stdout" else sys.stderr
        for line in part["text"].splitlines():
            say(line if step is not None else f"{part['step']} | {line}", target)


@runs.command("open", epilog=examples("runs open last", "runs open failed:shop --port 8000"))
def open_run(
    run: RunArgument,
    port: Annotated[
        int, typer.Option("--port", metavar="PORT", min=0, max=65535, show_default=False,
                          help="The port; the default is a free one.")
    ] = 0,
    read_only: Annotated[
        bool, typer.Option("--read-only",
                           help="Only show the run: nothing can be started or ended there.")
    ] = False,
    token: Token = None,
    address_file: AddressFile = None,
) -> None:
    """Show a run of the history in a browser, until Ctrl-C."""
    from flowtoy_dagster.cli.shared.pages import show_old_run
    from flowtoy_dagster.cli.shared.serving import LOCAL, Door
    from flowtoy_dagster.server.webui import WebOptions

    door = Door.take(LOCAL, port, token)
    options = WebOptions(token=door.token, read_only=read_only)
    if not show_old_run(run, door, options, address_file, open_browser=True):
        raise typer.Exit(1)


@runs.command("prune", epilog=examples("runs prune --keep 100", "runs prune --keep 0 -j"))
def prune_runs(
    keep: Annotated[
        int, typer.Option("--keep", metavar="N", min=0, max=_MOST, help="Keep the N latest runs.")
    ],
    as_json: Json = False,
) -> None:
    """Delete old runs: their events, outputs and logs. Unfinished runs are kept,
    and so are the runs of other jobs in the same home.
    """
    from flowtoy_dagster.runs import prune
    from flowtoy_dagster.runs.history import History

    with History() as history:
        deleted = prune.prune_runs(history, keep)
    if as_json:
        print_json({"deleted": deleted})
    else:
        print(f"deleted {len(deleted)} run{'' if len(deleted) == 1 else 's'}", file=sys.stderr)


@runs.command("repair", epilog=examples("runs repair", "runs repair 5f0c2a1b"))
def repair_runs(
    run: Annotated[
        Optional[str],  # noqa: UP045 - Typer reads this at run time
        typer.Argument(metavar="RUN", autocompletion=complete_runs,
                       help="The run; the default is all runs."),
    ] = None,
) -> None:
    """Close runs whose process is gone: store them as failed, and free their pools' slots.

    Without RUN, this closes the runs whose process is certainly gone, and lists the others.
    The process of a run on another machine or in another container can't be seen from here. The
    id of such a run closes it, even if it still goes on.
    """
    from flowtoy_dagster.runs.history import History
    from flowtoy_dagster.runs.repair import repair_all, repair_run
    from flowtoy_dagster.runs.wanted.names import LAST

    with History() as history:
        if run is not None:
            is_named = not run.startswith(LAST)
            lines = [repair_run(history, history.find(run), is_named=is_named)]
        else:
            lines = list(repair_all(history)) or ["nothing to repair"]
    for line in lines:
        print(line, file=sys.stderr)


def _print_status(status: RunStatus, parent: str | None, params: Mapping[str, Any]) -> None:
    from flowtoy_dagster.flow.places import shown_place
    from flowtoy_dagster.progress.words import cursor_words

    print(f"run      {status.run_id}")
    say(f"flow     {status.name}", sys.stdout)
    print(f"state    {status.verdict}")
    print(f"started  {_moment(status.started_at)}")
    print(f"took     {_span(status.started_at, status.ended_at)}")
    reasons = {step.error for step in status.steps.values() if step.error}
    if status.error and not any(map(status.error.endswith, reasons)):
        # The reason of the step that failed the run is in the table.
        say(f"reason   {status.error}", sys.stdout)
    if parent:
        print(f"retry of {parent}")
    if params:
        shown = {name: json.dumps(value, ensure_ascii=False) for name, value in params.items()}
        told = " ".join(f"{name}={value}" for name, value in shown.items())
        say(f"params   {told}", sys.stdout)
    print()
    rows = [
        (step.name, step.state + (" (reused)" if step.reused else ""),
         str(step.attempt or ""), _span(step.started_at, step.ended_at), _told_of(step))
        for step in status.steps.values()
    ]
    print_table(("STEP", "STATE", "ATTEMPTS", "TOOK", "REASON"), rows)
    for step in status.steps.values():
        if step.cursor is not None:
            say(f"\n{cursor_words(step.name, step.cursor)}", sys.stdout)
            if step.cursor.start_value is not None:
                say(f"    it began at {step.cursor.start_value}", sys.stdout)
    for step in status.steps.values():
        for warning in step.warnings:
            say(f"\n{step.name}, warning: {warning.message}", sys.stdout)
            if warning.place:
                say(f"    place: {shown_place(warning.place)}", sys.stdout)
    _print_failures([step for step in status.steps.values() if step.state == "failed"])


def _print_failures(failed: list[StepStatus]) -> None:
    """Where to look for why steps failed, and what they printed last."""
    from flowtoy_dagster.flow.places import shown_place

    for step in failed:
        if step.place:
            say(f"\n{step.name}, place: {shown_place(step.place)}", sys.stdout)
        if step.stderr:
            say(f"\n{step.name}, the last lines of stderr:", sys.stdout)
            for line in step.stderr.splitlines():
                say(f"    {line}", sys.stdout)


def _told_of(step: StepStatus) -> str:
    """Why a step failed or was skipped, or what became of its items."""
    from flowtoy_dagster.progress.words import items_words

    return step.error or (items_words(step.items) if step.items is not None else "")


def _moment(value: float | None) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(value)) if value else "-"


def _span(start: float | None, end: float | None) -> str:
    from flowtoy_dagster.progress.words import seconds

    return seconds(end - start) if start is not None and end is not None else "-"
