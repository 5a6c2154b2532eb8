"""How a web server of ours starts and ends the runs that are asked for on its pages."""

import threading
from collections.abc import Mapping
from typing import Any

from dagster import DagsterInstance, DagsterRun
from dagster._core.launcher import LaunchRunContext, RunLauncher
from dagster._serdes import ConfigurableClass, ConfigurableClassData
from typing_extensions import Self

from flowtoy_dagster.engine.storage.instances import instance_facts
from flowtoy_dagster.engine.storage.run_clock import CLOCK_TAG, clock_tag
from flowtoy_dagster.engine.tags import CONFIG_TAG, GRACE_TAG
from flowtoy_dagster.runs.cancel import Asked, ask_to_end
from flowtoy_dagster.runs.processes.background_run import BackgroundRun
from flowtoy_dagster.runs.processes.run_process import RunProcess
from flowtoy_dagster.runs.sessions.carriers import SESSION_TAG, session_tag

LAUNCHER = (__name__, "FlowtoyRunLauncher")
"""The address by which an instance finds it."""


class FlowtoyRunLauncher(RunLauncher[DagsterInstance], ConfigurableClass):
    """Has each run carried by a process of its own, which ends when this one does."""

    def __init__(self, inst_data: ConfigurableClassData | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._inst_data = inst_data
        self._lock = threading.Lock()
        self._runs: dict[str, BackgroundRun] = {}
        self._latest: str | None = None
        self._closed = False

    @property
    def inst_data(self) -> ConfigurableClassData | None:  # noqa: D102 - Dagster's
        return self._inst_data

    @classmethod
    def config_type(cls) -> dict[str, Any]:  # noqa: D102 - Dagster's
        return {}

    @classmethod
    def from_config_value(  # noqa: D102 - Dagster's
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> Self:
        return cls(inst_data=inst_data)

    @property
    def latest(self) -> str | None:
        """The run that was started last; None where none was."""
        return self._latest

    def add(self, run: BackgroundRun) -> None:
        """Take a run that was started otherwise into care."""
        with self._lock:
            self._runs = {key: each for key, each in self._runs.items() if not each.ended}
            self._runs[run.run_id] = run
            self._latest = run.run_id
            closed = self._closed
        if closed:
            run.cancel()

    def launch_run(self, context: LaunchRunContext) -> None:
        """Start a run that was asked for on a page."""
        run = context.dagster_run
        process = RunProcess()
        # It has its parent's tags: that one's process, and perhaps an older configuration.
        tags = {
            **self._config_tag(run),
            SESSION_TAG: session_tag(run.run_id, process.pid),
            CLOCK_TAG: clock_tag(run.run_id),
        }
        self._instance.add_run_tags(run.run_id, tags)
        process.carry(run.run_id, run.run_config, instance_facts(self._instance))
        self.add(BackgroundRun(self._instance, run.run_id, process, self._grace(run)))

    def _config_tag(self, run: DagsterRun) -> dict[str, str]:
        """The tag of the configuration that the run's job was made of."""
        if run.job_snapshot_id is None:
            return {}
        tags = self._instance.get_job_snapshot(run.job_snapshot_id).tags
        return {CONFIG_TAG: tags[CONFIG_TAG]} if CONFIG_TAG in tags else {}

    def _grace(self, run: DagsterRun) -> float:
        """Seconds that the steps that run after failures have when the run is ended."""
        if run.job_snapshot_id is None:
            return 0.0
        ops = self._instance.get_job_snapshot(run.job_snapshot_id).node_defs_snapshot.op_def_snaps
        return max((float(op.tags[GRACE_TAG]) for op in ops if GRACE_TAG in op.tags), default=0.0)

    def terminate(self, run_id: str) -> bool:
        """Ask the process that carries a run to end it; whether there was one."""
        with self._lock:
            own = self._runs.get(run_id)
        if own is not None:
            own.cancel()
            return True
        run = self._instance.get_run_by_id(run_id)
        return run is not None and ask_to_end(self._instance, run) is not Asked.NOBODY

    @property
    def is_idle(self) -> bool:
        """Whether no run that was started here is active."""
        with self._lock:
            return all(run.ended for run in self._runs.values())

    @property
    def patience(self) -> float:
        """The most seconds that the active runs here have after they were asked to end."""
        with self._lock:
            return max((run.patience for run in self._runs.values() if not run.ended), default=0.0)

    def cancel_all(self) -> list[str]:
        """Ask the active runs here, and those that still come, to end; gives their ids."""
        with self._lock:
            self._closed = True
            going_on = [run for run in self._runs.values() if not run.ended]
        for run in going_on:
            run.cancel()
        return [run.run_id for run in going_on]

    def kill_all(self) -> None:
        """End at once what has not ended."""
        with self._lock:
            runs = list(self._runs.values())
        for run in runs:
            run.kill()
        for run in runs:
            run.wait()
