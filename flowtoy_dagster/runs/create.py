"""Making a run: what is saved of it, and its entry in Dagster's database. Nothing is executed."""

from __future__ import annotations

import logging
import os
import uuid
from collections.abc import Mapping
from typing import Any, NamedTuple

import dagster as dg

from flowtoy_dagster.definitions import rebuild_arguments, rebuild_job
from flowtoy_dagster.engine.dagster_private.execution import ReconstructableJob
from flowtoy_dagster.engine.executors.kinds import check_executor, executor_of
from flowtoy_dagster.engine.executors.warm.executor import retry_plan
from flowtoy_dagster.engine.executors.warm.worker import prepare, prepared_plan
from flowtoy_dagster.engine.jobs.dagster_names import step_keys
from flowtoy_dagster.engine.jobs.limits import describe_limits, free_slots, has_pools
from flowtoy_dagster.engine.jobs.params import keep_given, params_config
from flowtoy_dagster.engine.jobs.recordings.of_run import recording_tag
from flowtoy_dagster.engine.jobs.reuse import reuse_tag
from flowtoy_dagster.engine.storage.home import open_home
from flowtoy_dagster.engine.storage.instances import saved_job, writing_history
from flowtoy_dagster.engine.storage.logs.console_log import NO_CONSOLE
from flowtoy_dagster.engine.storage.run_clock import CLOCK_TAG, clock_tag
from flowtoy_dagster.engine.tags import CONFIG_TAG, FLOW_TAG, RECORDING_TAG, REUSE_TAG
from flowtoy_dagster.errors import RunError, UsageError
from flowtoy_dagster.flow.graph import Flow, worker_count
from flowtoy_dagster.flow.param_values import bound
from flowtoy_dagster.flow.schema.tags import check_run_tags
from flowtoy_dagster.flow.secrets_of_flow import FlowSecrets
from flowtoy_dagster.machine.working_directory import DELETED, working_directory
from flowtoy_dagster.runs.history import History
from flowtoy_dagster.runs.sessions.carriers import (
    SESSION_TAG,
    UNFINISHED,
    is_interrupted,
    session_tag,
)
from flowtoy_dagster.store.configs import configs_of
from flowtoy_dagster.store.recordings.recording import Recording
from flowtoy_dagster.store.records import records_of

logger = logging.getLogger("flowtoy")


class Reuse(NamedTuple):
    """What a run takes over from a run before it.

    Attributes:
        parent: the run whose outputs are reused.
        only: the written names of the steps that are executed all the same.
        loops: the written names of the repeated steps of which the items that succeeded are
            reused.
    """

    parent: dg.DagsterRun
    only: frozenset[str]
    loops: frozenset[str] = frozenset()


def create_run(
    history: History,
    flow: Flow,
    workers: int,
    *,
    tags: Mapping[str, str] | None = None,
    reuse: Reuse | None = None,
    carrier: int | None = None,
    remote_origin: Any = None,
    recording: Recording | None = None,
) -> tuple[ReconstructableJob, dg.DagsterRun]:
    """Create a run of a flow; nothing is executed.

    Args:
        history: the home that it becomes part of.
        flow: what to run.
        workers: how many steps may run at once.
        tags: tags of the run in Dagster.
        reuse: what it takes over from a run before it; by default all steps are executed.
        carrier: the process that will carry the run; this one by default.
        remote_origin: where a web server finds the job, to run it again: a `RemoteJobOrigin`.
        recording: what its calls are recorded to or answered from.

    Returns:
        the job, as every process of the run builds it from what was saved, and the run.

    Raises:
        UsageError: the working directory is deleted; Dagster and steps need one.
        HomeError: the executor can't work with this home.
        RunError: the parent has been deleted, or the history can't be written.
        ValueError: a tag has a value that Dagster can't use.
    """
    _check_place(flow)
    flow = bound(flow)
    logger.debug("%s", describe_limits(flow, workers))
    run_id = str(uuid.uuid4())
    own_tags = _own_tags(flow, run_id, check_run_tags(tags or {}), reuse, carrier)
    own_tags |= _keep_recording(history, run_id, recording)
    with writing_history(), history.configs.keeping():
        _check_parent(history, reuse)
        job, reference = _saved_job(history, flow)
        own_tags[CONFIG_TAG] = reference
        run = _store_run(history, flow, job, workers, run_id, own_tags, reuse, remote_origin)
    return job, run


def _check_place(flow: Flow) -> None:
    if working_directory() is None:
        raise UsageError(f"{DELETED}\n    change to one that exists")
    check_executor(flow)


def _keep_recording(
    history: History, run_id: str, recording: Recording | None
) -> dict[str, str]:
    """Keep what a run's calls are recorded to or answered from; gives the run's tag for it."""
    if recording is None:
        return {}
    records_of(history.instance.storage_directory()).keep_recording(run_id, recording)
    return {RECORDING_TAG: recording_tag(run_id, recording.mode)}


def _check_parent(history: History, reuse: Reuse | None) -> None:
    if reuse is not None and not history.instance.has_run(reuse.parent.run_id):
        raise RunError(f"run {reuse.parent.run_id[:8]} has been deleted meanwhile")


def _own_tags(
    flow: Flow, run_id: str, given: Mapping[str, str], reuse: Reuse | None, carrier: int | None
) -> dict[str, str]:
    tags: dict[str, str] = FlowSecrets(flow).mask(os.environ).data({**given, FLOW_TAG: flow.name})
    tags |= {SESSION_TAG: session_tag(run_id, carrier), CLOCK_TAG: clock_tag(run_id)}
    if reuse is not None and reuse.loops:
        keys = step_keys(step.name for step in flow.steps)
        tags[REUSE_TAG] = reuse_tag(run_id, (keys[name] for name in reuse.loops))
    return tags


def _saved_job(history: History, flow: Flow) -> tuple[ReconstructableJob, str]:
    """A flow's job, as it is built from what is saved now, and the reference of that."""
    reference = history.configs.save_flow(flow)
    return saved_job(rebuild_arguments(history.home, reference)), reference


def _store_run(
    history: History,
    flow: Flow,
    job: ReconstructableJob,
    workers: int,
    run_id: str,
    tags: Mapping[str, str],
    reuse: Reuse | None,
    remote_origin: Any,
) -> dg.DagsterRun:
    definition = job.get_definition()
    if has_pools(definition):
        _free_slots_of_the_dead(history)
    config = run_config(flow, workers)
    tags = {**tags, **keep_given(flow, run_id, history.instance)}
    plan, parent = prepared_plan(definition, config), None
    if reuse is not None:
        parent = reuse.parent
        keys = step_keys(step.name for step in flow.steps)
        selected = [keys[name] for name in keys if name in reuse.only]
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


def run_config(flow: Flow, workers: int) -> dict[str, Any]:
    """A run's configuration, in Dagster's sense."""
    return {
        "execution": {"config": dict(executor_of(flow.runner).run_config(workers))},
        "loggers": NO_CONSOLE,
        **params_config(flow),
    }


def prepare_run(flow: Flow, max_workers: int | None) -> None:
    """Build what all workers of a run need, in the process that their server is forked off."""
    flow, home = bound(flow), open_home()
    configs = configs_of(home)
    with configs.keeping():
        reference = configs.save(flow.name, flow.config, flow.folder)
        job = rebuild_job(*rebuild_arguments(home, reference))
    prepare(job, run_config(flow, worker_count(flow, max_workers)))
