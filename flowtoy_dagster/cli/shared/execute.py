"""What `run` and `retry` share: a run carried out, shown, and turned into an exit code."""

from __future__ import annotations

import signal
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any

import typer
from typing_extensions import Self

from flowtoy_dagster.cli.shared import collect_garbage_again, import_quickly
from flowtoy_dagster.cli.shared.options import RunOptions
from flowtoy_dagster.cli.shared.printing import OutputWriter
from flowtoy_dagster.cli.shared.serving import Door, served
from flowtoy_dagster.engine.executors.kinds import executor_of
from flowtoy_dagster.engine.executors.warm.forked_off import PRELOAD, workers_end_last
from flowtoy_dagster.errors import RunError, RunInterrupted
from flowtoy_dagster.flow.graph import Flow, worker_count
from flowtoy_dagster.machine.ctrl_c import raise_interrupts
from flowtoy_dagster.progress import Progress, progress_on_stderr
from flowtoy_dagster.providers.kinds import modules_for_calls
from flowtoy_dagster.terminal import say

if TYPE_CHECKING:
    from flowtoy_dagster.runs.run import FlowRun
    from flowtoy_dagster.runs.status.models import Change, StepStatus
    from flowtoy_dagster.store.recordings.unrecorded import UnrecordedCall

_ENDING: Mapping[int, tuple[Any, str]] = {
    signal.SIGTERM: (signal.SIG_DFL, "SIGTERM"),
    signal.SIGINT: (signal.default_int_handler, "Ctrl-C"),
}
"""What ends a command: how it does when it comes alone, and its name."""


def prepare_process(flow: Flow, max_workers: int | None) -> None:
    """Import and build what the flow's run needs, and fork its workers' server off."""
    executor = executor_of(flow.runner)
    if not executor.keeps_workers:
        return
    # The first of them defers what Dagster would import besides, and a run never uses.
    import_quickly(PRELOAD, "flowtoy_dagster.runs.run")

    from flowtoy_dagster.runs.create import prepare_run
    from flowtoy_dagster.store.shared.shared_files import shared_url

    # A client of an object store has threads, and a process with threads can't be forked safely:
    # then workers build the run's job.
    if shared_url() is None:
        prepare_run(flow, max_workers)
    modules = modules_for_calls(step.source for step in flow.steps)
    executor.prepare(modules, worker_count(flow, max_workers))


def run_and_serve(
    flow: Flow, options: RunOptions, door: Door | None, writer: OutputWriter
) -> None:
    """Run a flow, with its progress on stderr, and serve its status where there is a door.

    Args:
        flow: what is run.
        options: how it is carried out.
        door: where the status is served, until Ctrl-C.
        writer: prints the outputs.

    Raises:
        typer.Exit: the run failed.
    """
    with progress_on_stderr() as progress:
        prepare_process(flow, options.max_workers)
        with served(door) as show_run:
            from flowtoy_dagster.runs.run import run_flow

            carry_out(
                flow,
                lambda show: run_flow(
                    flow, options.max_workers, on_change=show, on_created=show_run,
                    record=options.record, replay=options.replay,
                ),
                writer,
                progress,
                show_secrets=options.show_secrets,
            )


def carry_out(
    flow: Flow,
    run: Callable[[Callable[[Change], None]], FlowRun],
    writer: OutputWriter,
    progress: Progress,
    *,
    show_secrets: bool,
    reused: Collection[str] = (),
) -> None:
    """Run, print what comes, and exit with 1 where the run failed.

    Args:
        flow: what is run.
        run: carries it out; gets what is to be called at each change.
        writer: prints the outputs.
        progress: shows how it goes on.
        show_secrets: whether outputs are printed as they are.
        reused: the steps that are not executed, because they succeeded before.

    Raises:
        RunInterrupted: after the outputs that there are were printed.
    """
    raise_interrupts()
    with _LateSignals() as late, workers_end_last():
        _carry_out(flow, lambda show: run(late.after(show)), writer, progress,
                   show_secrets=show_secrets, reused=reused)


class _LateSignals:
    """SIGTERM or Ctrl-C that comes when the run has ended and its outputs are printed.

    It can't cancel the run any more. So the first is only reported, for the outputs to be whole and
    the exit code to say how the run ended; another one ends the process.
    """

    def __init__(self) -> None:
        self._has_run = False
        self._previous: dict[int, Any] = {}

    def after(self, show: Callable[[Change], None]) -> Callable[[Change], None]:
        """The same function, which notes that the run has begun."""

        def noting(change: Change) -> None:
            self._has_run = True
            show(change)

        return noting

    def __enter__(self) -> Self:
        # While the run goes on it has handlers of its own; these are put back at its end.
        for number in _ENDING:
            before = signal.getsignal(number)
            if number == signal.SIGTERM or before != signal.SIG_IGN:
                self._previous[number] = before
                signal.signal(number, self._hear)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler or signal.SIG_DFL)

    def _hear(self, number: int, _: Any) -> None:
        handler, name = _ENDING[number]
        signal.signal(number, handler)
        if self._has_run:
            say(f"the run has ended before {name} came; its outputs are being printed")
        else:
            signal.raise_signal(number)


def _carry_out(
    flow: Flow,
    run: Callable[[Callable[[Change], None]], FlowRun],
    writer: OutputWriter,
    progress: Progress,
    *,
    show_secrets: bool,
    reused: Collection[str],
) -> None:
    interrupt = None
    collect_garbage_again()
    progress.start(flow, reused)
    try:
        finished = run(progress.show)
    except RunInterrupted as error:
        interrupt, finished = error, error.run
    finally:
        progress.stop()
    try:
        writer.write(lambda: finished.output_texts(show_secrets=show_secrets))
    except RunError as error:
        if interrupt is None:
            raise
        say(str(error))
    finally:
        progress.summarize(finished.status)
    for call in finished.unrecorded_calls:
        if not _is_reason(call, finished.status.steps.get(call.step)):
            say(str(call))
    if interrupt is not None:
        raise interrupt
    if not finished.success:
        raise typer.Exit(1)


def _is_reason(call: UnrecordedCall, step: StepStatus | None) -> bool:
    """Whether a call is why its step failed, which was shown as that."""
    if step is None or step.state != "failed":
        return False
    if call.item is None:
        return call.attempt == step.attempt
    failures = step.items.failures if step.items is not None else ()
    return failures[:1] == ((call.item, call.reason),)
