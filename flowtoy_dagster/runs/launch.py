"""Starting a run and following it to its end."""

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg

from flowtoy_dagster.definitions import rebuild_job
from flowtoy_dagster.engine.executor import iterate_run
from flowtoy_dagster.engine.home import open_home, save_config
from flowtoy_dagster.engine.io import store_of
from flowtoy_dagster.engine.names import step_keys
from flowtoy_dagster.engine.records import RecordStore, load_json
from flowtoy_dagster.errors import RunInterrupted, UsageError
from flowtoy_dagster.flow.graph import Flow
from flowtoy_dagster.load import Config, load_flow
from flowtoy_dagster.runs.status import Change, RunStatus, StatusBuilder, StepStatus

MOST_DEFAULT_WORKERS = 4
Listener = Callable[[Change], None]


@dataclass
class FlowRun:
    """A run that has ended.

    Attributes:
        status: how the run and each step ended.
        home: the home folder that holds its history.
    """

    status: RunStatus
    home: Path
    _outputs: "RunOutputs" = field(repr=False)

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
        """`{step: {output: value}}` in file order; null for failed and skipped steps."""
        return {
            name: load_json(text) if text is not None else None
            for name, text in self.outputs_json()
        }

    def outputs_json(self) -> Iterator[tuple[str, bytes | None]]:
        """Each step's name and its outputs as JSON text, without reading them into values."""
        return self._outputs.json()


@dataclass(frozen=True)
class RunOutputs:
    """The outputs of a run's steps, on disk."""

    store: RecordStore
    status: RunStatus
    keys: Mapping[str, str]

    def json(self) -> Iterator[tuple[str, bytes | None]]:
        """Each step's written name and its outputs as JSON; None where it did not succeed."""
        for name, step in self.status.steps.items():
            record = None
            if step.state == "succeeded":
                record = self.store.read(self.status.run_id, self.keys[name])
            yield name, record.outputs_json() if record else None


def worker_count(flow: Flow, max_workers: int | None) -> int:
    """How many steps may run at once (language 10.5)."""
    if max_workers is not None:
        if max_workers < 1:
            raise UsageError(f"max-workers must be at least 1, got {max_workers}")
        return max_workers
    return flow.runner.max_workers or min(MOST_DEFAULT_WORKERS, threading.active_count() + 3)


def run_flow(
    config: Config | Flow,
    max_workers: int | None = None,
    *,
    home: str | Path | None = None,
    tags: Mapping[str, str] | None = None,
    on_change: Listener | None = None,
) -> FlowRun:
    """Run a flow to its end on Dagster's engine, with its history in the home folder.

    A failed step is no exception: look at `.success` and `.status`.

    Args:
        config: a path, several paths, a mapping, or a flow that was loaded before.
        max_workers: how many steps may run at once.
        home: the home folder; by default what the environment says.
        tags: tags of the run in Dagster.
        on_change: called at each change of a step's state.

    Raises:
        ConfigError: the configuration can't run.
        HomeError: the home folder can't be used.
        RunInterrupted: Ctrl-C.
    """
    flow = config if isinstance(config, Flow) else load_flow(config)
    workers = worker_count(flow, max_workers)
    folder = open_home(Path(home) if home is not None else None)
    saved = save_config(folder, flow.name, flow.config)
    os.environ.setdefault("DAGSTER_DISABLE_TELEMETRY", "1")
    with dg.DagsterInstance.from_config(str(folder)) as instance:
        job = dg.build_reconstructable_job(
            "flowtoy_dagster.definitions", "rebuild_job", (str(saved),)
        )
        definition = rebuild_job(str(saved))
        run = instance.create_run_for_job(
            job_def=definition,
            run_config=_run_config(workers),
            tags={**definition.run_tags, **(tags or {})},
            job_code_origin=job.get_python_origin(),
        )
        keys = step_keys(step.name for step in flow.steps)
        status = RunStatus(
            run.run_id,
            flow.name,
            steps={step.name: StepStatus(step.name, step.upstream) for step in flow.steps},
        )
        builder = StatusBuilder(status, {key: name for name, key in keys.items()})
        notify = on_change or (lambda change: None)
        try:
            for event in iterate_run(job, run, instance):
                change = builder.add(event, time.time())
                if change is not None:
                    notify(change)
        except KeyboardInterrupt:
            raise RunInterrupted(f"the run {run.run_id} was interrupted") from None
        finally:
            for change in builder.finish(time.time()):
                notify(change)
        store = store_of(instance.storage_directory())
        return FlowRun(status, folder, RunOutputs(store, status, keys))


def _run_config(workers: int) -> dict[str, Any]:
    return {"execution": {"config": {"max_concurrent": workers}}, "loggers": _QUIET}


# Dagster's own console log would bury ours; all of it is in the event log.
_QUIET = {"console": {"config": {"log_level": "CRITICAL"}}}
