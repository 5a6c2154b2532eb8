"""Starting a run and following it to its end."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
from dagster import DagsterEvent

from flowtoy_dagster.engine.dagster_private.execution import ReconstructableJob
from flowtoy_dagster.engine.executors.kinds import executor_of
from flowtoy_dagster.engine.executors.scheduling.cancel_requests import (
    note_cancel,
    request_cancel,
)
from flowtoy_dagster.engine.executors.warm.executor import STOP_MESSAGE, iterate_run
from flowtoy_dagster.engine.jobs.limits import free_slots, has_pools
from flowtoy_dagster.engine.storage.logs.console_log import dagster_level
from flowtoy_dagster.errors import RunInterrupted
from flowtoy_dagster.flow.graph import Flow, worker_count
from flowtoy_dagster.flow.param_values import bind, bound
from flowtoy_dagster.flow.places import shown_place
from flowtoy_dagster.flow.secrets_of_flow import FlowSecrets, secret_outputs
from flowtoy_dagster.json_text import loads_checked
from flowtoy_dagster.loader import Config, load_flow
from flowtoy_dagster.machine.steady import steady_time
from flowtoy_dagster.masking.mask import Mask
from flowtoy_dagster.runs.create import Reuse, create_run
from flowtoy_dagster.runs.given.arguments import folder, run_tags
from flowtoy_dagster.runs.history import History
from flowtoy_dagster.runs.notify import notify_of_end
from flowtoy_dagster.runs.recorded import begun, end_recording, recording_for
from flowtoy_dagster.runs.sessions.carriers import close_run
from flowtoy_dagster.runs.status.event_reader import run_state_of
from flowtoy_dagster.runs.status.models import Change, RunState, RunStatus
from flowtoy_dagster.runs.status.stored_waits import stored_waits
from flowtoy_dagster.store.outputs import OutputText
from flowtoy_dagster.store.record import StepRecord
from flowtoy_dagster.store.recordings.recording import Recording
from flowtoy_dagster.store.recordings.unrecorded import UnrecordedCall

logger = logging.getLogger("flowtoy")

Listener = Callable[[Change], None]
_INTERRUPT_MESSAGES = (STOP_MESSAGE, "received termination signal")


@dataclass
class FlowRun:
    """A run that has ended.

    Attributes:
        status: how the run and each step ended.
        home: the home folder that holds its history.
        mask: hides the run's secrets.
        unrecorded_calls: of a replay, those that are not as they were recorded.
    """

    status: RunStatus
    home: Path
    mask: Mask
    _records: list[tuple[str, StepRecord | None]] = field(repr=False)
    unrecorded_calls: tuple[UnrecordedCall, ...] = ()

    @property
    def run_id(self) -> str:
        """Dagster's id of the run."""
        return self.status.run_id

    @property
    def success(self) -> bool:
        """Whether the run succeeded, and as a replay called only what was recorded."""
        return self.status.success and not self.unrecorded_calls

    @property
    def unrecorded(self) -> tuple[str, ...]:
        """Of a replay, the calls that are not as they were recorded, in words."""
        return tuple(map(str, self.unrecorded_calls))

    @property
    def outputs(self) -> dict[str, dict[str, Any] | None]:
        """`{step: {output: value}}` in file order; null for failed and skipped steps.

        The values are as the steps gave them, secrets too.
        """
        return {
            name: loads_checked(text.read()) if text is not None else None
            for name, text in self.output_texts(show_secrets=True)
        }

    def output_texts(
        self, *, show_secrets: bool = False
    ) -> Iterator[tuple[str, OutputText | None]]:
        """Each step's name and its outputs as stored JSON text; None where it has none."""
        for name, record in self._records:
            text = None if record is None else OutputText(record, self.mask, show_secrets)
            yield name, text


def run_flow(
    config: Config | Flow,
    max_workers: int | None = None,
    *,
    home: str | Path | None = None,
    tags: Mapping[str, str] | None = None,
    on_change: Listener | None = None,
    on_created: Callable[[str], None] | None = None,
    params: Mapping[str, Any] | None = None,
    record: str | Path | None = None,
    replay: str | Path | None = None,
) -> FlowRun:
    """Run a flow to its end on Dagster's engine, with its history in the home folder.

    A failed step is no exception: look at `.success` and `.status`.

    Args:
        config: a path, several paths, a mapping, or a flow that was loaded before.
        max_workers: how many steps may run at once.
        home: the home folder; by default what the environment says.
        tags: tags of the run in Dagster.
        on_change: called at each change of a step's state, one call after another; perhaps in
            another thread.
        on_created: called with Dagster's id of the run before anything of it is executed.
        params: values of the flow's parameters; those that it has already are kept.
        record: a new folder in which each call and its answer are written down.
        replay: such a folder; its answers are taken instead of calling anything.

    Raises:
        ConfigError: the configuration can't run, or a parameter's value is missing or wrong.
        UsageError: an argument or a recording can't be used.
        HomeError: the home folder can't be used.
        RunError: the run's history can't be written, or its workers can't start.
        RunInterrupted: Ctrl-C or SIGTERM; carries the run as it ended.
    """
    flow = _flow(config, params)
    workers = worker_count(flow, max_workers)
    tags = run_tags(tags)
    recording = recording_for(flow, folder("record", record), folder("replay", replay))
    with History(folder("home", home)) as history:
        executor_of(flow.runner).settle_workers(history.instance)
        return start(history, flow, workers, tags=tags, on_change=on_change,
                     on_created=on_created, recording=recording)


def _flow(config: Config | Flow, params: Mapping[str, Any] | None) -> Flow:
    flow = config if isinstance(config, Flow) else load_flow(config)
    return flow if params is None else bind(flow, params, before=flow.values)


def start(
    history: History,
    flow: Flow,
    workers: int,
    *,
    tags: Mapping[str, str] | None = None,
    on_change: Listener | None = None,
    on_created: Callable[[str], None] | None = None,
    reuse: Reuse | None = None,
    recording: Recording | None = None,
) -> FlowRun:
    """Create a run and carry it out.

    Args:
        history: the home that it becomes part of.
        flow: what to run.
        workers: how many steps may run at once.
        tags: tags of the run in Dagster.
        on_change: called at each change of a step's state.
        on_created: called with Dagster's id of the run before anything of it is executed.
        reuse: what it takes over from a run before it; by default all steps are executed.
        recording: what its calls are recorded to or answered from.
    """
    flow = bound(flow)
    with begun(recording, flow):
        job, run = create_run(
            history, flow, workers, tags=tags, reuse=reuse, recording=recording
        )
    if on_created is not None:
        _tell_of(history, run, on_created)
    status, interrupted = _follow(history, flow, job, run, on_change or log_warnings)
    finished = finished_run(history, run, flow, status, FlowSecrets(flow).mask(os.environ))
    if recording is not None:
        if recording.replays:
            finished.unrecorded_calls = tuple(history.store.unrecorded(run.run_id))
        else:
            end_recording(history, recording, flow, finished.status, finished.mask)
    notify_of_end(history, run, flow, finished.status)
    if interrupted and finished.status.state == "cancelled":
        raise RunInterrupted(f"interrupted: run {run.run_id[:8]} is cancelled", finished)
    return finished


def _tell_of(history: History, run: dg.DagsterRun, on_created: Callable[[str], None]) -> None:
    """Tell the program of its run, which has ended where that fails."""
    try:
        on_created(run.run_id)
    except BaseException:
        close_run(history.instance, run, "its program failed before it began", cancelled=True)
        raise


def _follow(
    history: History, flow: Flow, job: ReconstructableJob, run: dg.DagsterRun, notify: Listener
) -> tuple[RunStatus, bool]:
    """Execute a run, and tell of each change; gives how it ended, and whether by an interrupt."""
    builder = history.builder(run, flow)
    one_at_a_time = threading.RLock()

    def take_in(event: DagsterEvent) -> None:
        with one_at_a_time:
            change = builder.add(event, steady_time())
            if change is not None:
                notify(change)

    with history.remaining(), _waits_of(history, flow, run, take_in):
        interrupted = follow(history.instance, job, run, take_in)
    if interrupted:
        builder.status.state = _end_of_interrupted(history.instance, run)
    for change in builder.finish(steady_time()):
        notify(change)
    return builder.status, interrupted


def log_warnings(change: Change) -> None:
    """Log what a step warns of, where nothing else shows the run."""
    if change.warning is not None:
        place = f"{shown_place(change.warning.place)}: " if change.warning.place else ""
        logger.warning("%sstep '%s': %s", place, change.step.name, change.warning.message)


def _waits_of(
    history: History, flow: Flow, run: dg.DagsterRun, take_in: Callable[[DagsterEvent], None]
) -> contextlib.AbstractContextManager[None]:
    """What its steps wait for, in case the executor does not give it with their other events."""
    if executor_of(flow.runner).gives_waits:
        return contextlib.nullcontext()
    return stored_waits(history.instance, run.run_id, take_in)


def _end_of_interrupted(instance: dg.DagsterInstance, run: dg.DagsterRun) -> RunState:
    """How a run ended that was interrupted: the history decides, for everybody who looks later.

    The interrupt may have come too late: then the run ended as it does.
    """
    current = instance.get_run_by_id(run.run_id)
    if current is None or not current.is_finished:
        instance.report_run_canceled(run)
        return "cancelled"
    return run_state_of(current.status)


def follow(
    instance: dg.DagsterInstance,
    job: ReconstructableJob,
    run: dg.DagsterRun,
    take_in: Callable[[DagsterEvent], None],
) -> bool:
    """Carry a run out; whether it was interrupted.

    What `take_in` raises ends the run, as a cancel does, and is raised then.

    Args:
        instance: where the run is.
        job: what is run.
        run: a run that was created.
        take_in: called with each event when it has been stored.
    """
    interrupted, failure = False, None
    with _signals_as_interrupts(), dagster_level.kept(), warnings.catch_warnings():
        # Checks are deprecated in favour of asset checks, which ops without assets can't have;
        # those of workers are made again where they arrive.
        warnings.filterwarnings("ignore", message="Class `ExpectationResult` is deprecated")
        try:
            for event in iterate_run(job, run, instance):
                if _tells_of_interrupt(event) and not interrupted:
                    interrupted = True
                    note_cancel(instance, instance.get_run_by_id(run.run_id) or run)
                if failure is None:
                    failure = _failure_of(take_in, event)
                    if failure is not None:
                        request_cancel(instance, run.run_id)
        except KeyboardInterrupt:
            interrupted = True
    if has_pools(job.get_definition()):
        free_slots(instance, run.run_id)
    if failure is not None:
        raise failure
    return interrupted


def _failure_of(
    take_in: Callable[[DagsterEvent], None], event: DagsterEvent
) -> Exception | None:
    """What a program's own function raised that is told of changes: nobody follows the run then."""
    try:
        take_in(event)
    except Exception as error:  # noqa: BLE001 - the program's; it is raised when the run has ended
        return error
    return None


def finished_run(
    history: History, run: dg.DagsterRun, flow: Flow, status: RunStatus, base: Mask
) -> FlowRun:
    """A run with its outputs, and a mask that knows what its steps have learned to be secret."""
    known: set[str] = set()
    records: list[tuple[str, StepRecord | None]] = []
    for name, record in history.records(run, status):
        records.append((name, record))
        if record is not None:
            known |= record.secrets_with(secret_outputs(flow, name))
    return FlowRun(status, history.home, base.including(known), records)


def _tells_of_interrupt(event: DagsterEvent) -> bool:
    if event.is_step_failure:
        source = event.step_failure_data.error_source
        return source is not None and source.name == "INTERRUPT"
    return event.is_engine_event and any(m in (event.message or "") for m in _INTERRUPT_MESSAGES)


@contextlib.contextmanager
def _signals_as_interrupts() -> Iterator[None]:
    """Let SIGTERM and SIGHUP do what Ctrl-C does, where signals are ours to handle.

    SIGHUP only where it would end the process: `nohup` has it ignored, and a program with a
    handler of its own means something else by it.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(*_: object) -> None:
        handler = signal.getsignal(signal.SIGINT)
        if callable(handler):
            handler(signal.SIGINT, None)
        else:
            raise KeyboardInterrupt

    previous = {
        number: handler
        for number in (signal.SIGTERM, signal.SIGHUP)
        # None: set by something other than Python, which could not be set back.
        if (handler := signal.getsignal(number)) is not None
        and (number == signal.SIGTERM or handler == signal.SIG_DFL)
    }
    for number in previous:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
