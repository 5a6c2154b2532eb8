"""Starting a run and following it to its end."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
from dagster import DagsterEvent

from flowtoy_dagster.definitions import rebuild_arguments, rebuild_job
from flowtoy_dagster.engine.executors.kinds import executor_of
from flowtoy_dagster.engine.executors.warm.executor import (
    STOP_MESSAGE,
    ReconstructableJob,
    iterate_run,
    retry_plan,
)
from flowtoy_dagster.engine.executors.warm.process_reset import working_directory
from flowtoy_dagster.engine.executors.warm.worker import prepare
from flowtoy_dagster.engine.jobs.dagster_names import step_keys
from flowtoy_dagster.engine.jobs.limits import describe_limits, free_slots, has_pools
from flowtoy_dagster.engine.jobs.params import keep_given_secrets, params_config
from flowtoy_dagster.engine.storage.console_log import dagster_level
from flowtoy_dagster.engine.storage.home import open_home
from flowtoy_dagster.engine.storage.run_clock import CLOCK_TAG, clock_tag
from flowtoy_dagster.engine.tags import CONFIG_TAG, FLOW_TAG
from flowtoy_dagster.errors import RunError, RunInterrupted, UsageError
from flowtoy_dagster.flow.graph import Flow
from flowtoy_dagster.flow.param_values import bind, bound
from flowtoy_dagster.flow.schema.tags import check_run_tags
from flowtoy_dagster.flow.secrets_of_flow import FlowSecrets, secret_outputs
from flowtoy_dagster.json_text import loads_checked
from flowtoy_dagster.loader import Config, load_flow
from flowtoy_dagster.masking.mask import Mask
from flowtoy_dagster.runs.history import History
from flowtoy_dagster.runs.sessions.carriers import (
    SESSION_TAG,
    UNFINISHED,
    is_interrupted,
    session_tag,
)
from flowtoy_dagster.runs.status.event_reader import run_state_of
from flowtoy_dagster.runs.status.models import Change, RunState, RunStatus
from flowtoy_dagster.steady import steady_time
from flowtoy_dagster.store.configs import configs_of
from flowtoy_dagster.store.outputs import OutputText
from flowtoy_dagster.store.records import StepRecord

logger = logging.getLogger("flowtoy")

DEFAULT_WORKERS = 4
Listener = Callable[[Change], None]
# Dagster's own console log would bury ours; all of it is in the event log.
QUIET = {"console": {"config": {"log_level": "CRITICAL"}}}
_INTERRUPT_MESSAGES = (STOP_MESSAGE, "received termination signal")


@dataclass
class FlowRun:
    """A run that has ended.

    Attributes:
        status: how the run and each step ended.
        home: the home folder that holds its history.
        mask: hides the run's secrets.
    """

    status: RunStatus
    home: Path
    mask: Mask
    _records: list[tuple[str, StepRecord | None]] = field(repr=False)

    @property
    def run_id(self) -> str:
        """Dagster's id of the run."""
        return self.status.run_id

    @property
    def success(self) -> bool:
        """Whether the run succeeded."""
        return self.status.success

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


def worker_count(flow: Flow, max_workers: int | None) -> int:
    """How many steps may run at once (language 10.5)."""
    if max_workers is not None:
        if max_workers < 1:
            raise UsageError(f"max-workers must be at least 1, got {max_workers}")
        return max_workers
    return flow.runner.max_workers or DEFAULT_WORKERS


def run_flow(
    config: Config | Flow,
    max_workers: int | None = None,
    *,
    home: str | Path | None = None,
    tags: Mapping[str, str] | None = None,
    on_change: Listener | None = None,
    on_created: Callable[[str], None] | None = None,
    params: Mapping[str, Any] | None = None,
) -> FlowRun:
    """Run a flow to its end on Dagster's engine, with its history in the home folder.

    A failed step is no exception: look at `.success` and `.status`.

    Args:
        config: a path, several paths, a mapping, or a flow that was loaded before.
        max_workers: how many steps may run at once.
        home: the home folder; by default what the environment says.
        tags: tags of the run in Dagster.
        on_change: called at each change of a step's state.
        on_created: called with Dagster's id of the run before anything of it is executed.
        params: values of the flow's parameters; those that it has already are kept.

    Raises:
        ConfigError: the configuration can't run, or a parameter's value is missing or wrong.
        HomeError: the home folder can't be used.
        RunInterrupted: Ctrl-C or SIGTERM; carries the run as it ended.
    """
    flow = config if isinstance(config, Flow) else load_flow(config)
    if params:
        flow = bind(flow, params, before=flow.values)
    workers = worker_count(flow, max_workers)
    with History(Path(home) if home is not None else None) as history:
        return start(
            history, flow, workers, tags=tags, on_change=on_change, on_created=on_created
        )


def start(
    history: History,
    flow: Flow,
    workers: int,
    *,
    tags: Mapping[str, str] | None = None,
    on_change: Listener | None = None,
    on_created: Callable[[str], None] | None = None,
    parent: dg.DagsterRun | None = None,
    only: frozenset[str] | None = None,
) -> FlowRun:
    """Create a run and carry it out.

    Args:
        history: the home that it becomes part of.
        flow: what to run.
        workers: how many steps may run at once.
        tags: tags of the run in Dagster.
        on_change: called at each change of a step's state.
        on_created: called with Dagster's id of the run before anything of it is executed.
        parent: the run whose outputs are reused.
        only: the written names of the steps to execute; all by default.
    """
    flow = bound(flow)
    job, run = create_run(history, flow, workers, tags=tags, parent=parent, only=only)
    if on_created is not None:
        on_created(run.run_id)
    builder = history.builder(run, flow)
    notify = on_change or (lambda change: None)

    def take_in(event: DagsterEvent) -> None:
        change = builder.add(event, steady_time())
        if change is not None:
            notify(change)

    with history.remaining():
        interrupted = follow(history.instance, job, run, take_in)
    if interrupted:
        builder.status.state = _end_of_interrupted(history.instance, run)
    for change in builder.finish(steady_time()):
        notify(change)
    finished = finished_run(
        history, run, flow, builder.status, FlowSecrets(flow).mask(os.environ)
    )
    if interrupted and finished.status.state == "cancelled":
        raise RunInterrupted(f"interrupted: run {run.run_id[:8]} is cancelled", finished)
    return finished


def _end_of_interrupted(instance: dg.DagsterInstance, run: dg.DagsterRun) -> RunState:
    """How a run ended that was interrupted: the history decides, for everybody who looks later.

    The interrupt may have come too late: then the run ended as it does.
    """
    current = instance.get_run_by_id(run.run_id)
    if current is None or not current.is_finished:
        instance.report_run_canceled(run)
        return "cancelled"
    return run_state_of(current.status)


def create_run(
    history: History,
    flow: Flow,
    workers: int,
    *,
    tags: Mapping[str, str] | None = None,
    parent: dg.DagsterRun | None = None,
    only: frozenset[str] | None = None,
    carrier: int | None = None,
    remote_origin: Any = None,
) -> tuple[ReconstructableJob, dg.DagsterRun]:
    """Create a run of a flow; nothing is executed.

    Args:
        history: the home that it becomes part of.
        flow: what to run.
        workers: how many steps may run at once.
        tags: tags of the run in Dagster.
        parent: the run whose outputs are reused.
        only: the written names of the steps to execute; all by default.
        carrier: the process that will carry the run; this one by default.
        remote_origin: where a web server finds the job, to run it again: a `RemoteJobOrigin`.

    Returns:
        the job, as every process of the run builds it from what was saved, and the run.

    Raises:
        UsageError: the working directory is deleted; Dagster and steps need one.
        RunError: the parent has been deleted.
        ValueError: a tag has a value that Dagster can't use.
    """
    if working_directory() is None:
        raise UsageError("the working directory is deleted\n    change to one that exists")
    given = check_run_tags(tags or {})
    flow = bound(flow)
    logger.debug("%s", describe_limits(flow, workers))
    run_id = str(uuid.uuid4())
    own_tags = FlowSecrets(flow).mask(os.environ).data({**given, FLOW_TAG: flow.name})
    own_tags |= {SESSION_TAG: session_tag(run_id, carrier), CLOCK_TAG: clock_tag(run_id)}
    with history.configs.keeping():
        if parent is not None and not history.instance.has_run(parent.run_id):
            raise RunError(f"run {parent.run_id[:8]} has been deleted meanwhile")
        job, reference = _saved_job(history, flow)
        own_tags[CONFIG_TAG] = reference
        run = _store_run(
            history, flow, job, workers, run_id, own_tags, parent, only, remote_origin
        )
    return job, run


def _saved_job(history: History, flow: Flow) -> tuple[ReconstructableJob, str]:
    """A flow's job, as it is built from what is saved now, and the reference of that."""
    reference = history.configs.save(flow.name, flow.config)
    arguments = rebuild_arguments(history.home, reference)
    job = dg.build_reconstructable_job(
        "flowtoy_dagster.definitions",
        "rebuild_job",
        arguments,  # type: ignore[arg-type] # Dagster's annotation allows one argument only
    )
    return job, reference


def _store_run(
    history: History,
    flow: Flow,
    job: ReconstructableJob,
    workers: int,
    run_id: str,
    tags: Mapping[str, str],
    parent: dg.DagsterRun | None,
    only: frozenset[str] | None,
    remote_origin: Any,
) -> dg.DagsterRun:
    definition = job.get_definition()
    if has_pools(definition):
        _free_slots_of_the_dead(history)
    keys = step_keys(step.name for step in flow.steps)
    selected = [keys[name] for name in keys if only is None or name in only]
    config = run_config(flow, workers)
    keep_given_secrets(flow, run_id, history.instance)
    plan = None
    if parent is not None:
        plan = retry_plan(job, parent, selected, history.instance, config)
    return history.instance.create_run_for_job(
        job_def=definition,
        execution_plan=plan,
        run_config=config,
        tags={**definition.run_tags, **tags},
        run_id=run_id,
        parent_run_id=parent.run_id if parent else None,
        root_run_id=(parent.root_run_id or parent.run_id) if parent else None,
        job_code_origin=job.get_python_origin(),
        remote_job_origin=remote_origin,
    )


def _free_slots_of_the_dead(history: History) -> None:
    """Give back the slots of pools that runs hold whose process is certainly gone."""
    for run in history.own_runs(UNFINISHED):
        if is_interrupted(history.instance, run):
            free_slots(history.instance, run.run_id)


def follow(
    instance: dg.DagsterInstance,
    job: ReconstructableJob,
    run: dg.DagsterRun,
    take_in: Callable[[DagsterEvent], None],
) -> bool:
    """Carry a run out; whether somebody interrupted it.

    Args:
        instance: where the run is.
        job: what is run.
        run: a run that was created.
        take_in: called with each event when it has been stored.
    """
    interrupted = False
    with _signals_as_interrupts(), dagster_level.kept():
        try:
            for event in iterate_run(job, run, instance):
                if _tells_of_interrupt(event) and not interrupted:
                    interrupted = True
                    # Dagster calls a run canceled only if somebody has asked for it.
                    instance.report_run_canceling(run)
                take_in(event)
        except KeyboardInterrupt:
            interrupted = True
    if has_pools(job.get_definition()):
        free_slots(instance, run.run_id)
    return interrupted


def run_config(flow: Flow, workers: int) -> dict[str, Any]:
    """A run's configuration, in Dagster's sense."""
    return {
        "execution": {"config": dict(executor_of(flow.runner).run_config(workers))},
        "loggers": QUIET,
        **params_config(flow),
    }


def prepare_run(flow: Flow, max_workers: int | None) -> None:
    """Build what all workers of a run need, in the process that their server is forked off."""
    flow, home = bound(flow), open_home()
    configs = configs_of(home)
    with configs.keeping():
        job = rebuild_job(*rebuild_arguments(home, configs.save(flow.name, flow.config)))
    prepare(job, run_config(flow, worker_count(flow, max_workers)))


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
