"""`run --only`: some steps, with what other steps left in an earlier run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flowtoy_dagster.cli.shared.options import show_warnings
from flowtoy_dagster.errors import UsageError
from flowtoy_dagster.terminal import say

if TYPE_CHECKING:
    from flowtoy_dagster.cli.shared.printing import OutputWriter
    from flowtoy_dagster.cli.shared.serving import Door
    from flowtoy_dagster.flow.graph import Flow


@dataclass(frozen=True)
class Wanted:
    """What the command line says of the steps that run."""

    only: Sequence[str]
    run: str | None
    params: Sequence[str]
    params_files: Sequence[Path]

    def __post_init__(self) -> None:
        if not self.only:
            raise UsageError("--with names a run for --only\n    add --only STEP")
        if self.run is None:
            raise UsageError(
                "--only needs the run that has what the steps need\n"
                "    add --with RUN, such as --with last; flowtoy step runs one step by itself"
            )


def run_selected(
    flow: Flow,
    wanted: Wanted,
    max_workers: int | None,
    door: Door | None,
    writer: OutputWriter,
    *,
    show_secrets: bool,
    record: Path | None,
    replay: Path | None,
) -> None:
    """Run some steps, with progress on stderr, and serve the status where there is a door.

    Raises:
        UsageError: a step is unknown, or what it needs is not in the run.
        typer.Exit: the run failed.
    """
    from flowtoy_dagster.engine.executors.warm.pool import fork_off_server
    from flowtoy_dagster.progress import progress_on_stderr

    with progress_on_stderr() as progress:
        # Before the home is opened: what is open must not be shared with the workers' server.
        fork_off_server()

        from flowtoy_dagster.cli.shared.execute import carry_out
        from flowtoy_dagster.cli.shared.serving import served
        from flowtoy_dagster.flow.graph import worker_count
        from flowtoy_dagster.runs.history import History
        from flowtoy_dagster.runs.recorded import recording_for
        from flowtoy_dagster.runs.run import start
        from flowtoy_dagster.runs.selection.only import select

        with served(door) as show_run, History() as history:
            chosen = select(history, history.find(wanted.run or ""), flow, wanted.only,
                            wanted.params, wanted.params_files)
            recording = recording_for(chosen.flow, record, replay)
            show_warnings(chosen.flow)
            for line in chosen.lines():
                say(line)
            workers = worker_count(chosen.flow, max_workers)
            carry_out(
                chosen.flow,
                lambda show: start(
                    history, chosen.flow, workers, on_change=show, on_created=show_run,
                    reuse=chosen.reuse, recording=recording,
                ),
                writer,
                progress,
                show_secrets=show_secrets,
                reused=[step.name for step in chosen.flow.steps if step.name not in chosen.names],
            )
