"""Runs that a process of their own carries, while this one does something else."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from typing import IO, Any

import dagster as dg
from sqlalchemy.exc import DBAPIError

from flowtoy_dagster.definitions import rebuild_arguments
from flowtoy_dagster.engine.storage.instances import instance_facts
from flowtoy_dagster.engine.tags import CONFIG_TAG
from flowtoy_dagster.flow.graph import Flow, worker_count
from flowtoy_dagster.providers.subprocesses import signal_name
from flowtoy_dagster.runs.create import Reuse, create_run
from flowtoy_dagster.runs.history import History
from flowtoy_dagster.runs.processes.run_process import RunProcess
from flowtoy_dagster.runs.sessions.carriers import close_run

PATIENCE = 7.0
"""Seconds that a run has to end once it was asked to; its commands get 5 of them."""


class BackgroundRun:
    """A run that a `RunProcess` carries.

    Args:
        instance: where the run is; open until the run has ended.
        run_id: the run.
        process: what carries it.
        grace: seconds that its closing steps have when it is ended.
    """

    def __init__(
        self, instance: dg.DagsterInstance, run_id: str, process: RunProcess, grace: float = 0.0
    ) -> None:
        self.run_id = run_id
        self.patience = PATIENCE + grace
        """Seconds from a cancel until it is killed."""
        self._instance = instance
        self._process = process
        self._ended = threading.Event()
        self._killer: threading.Timer | None = None
        threading.Thread(target=self._reap, name=f"run {run_id[:8]}", daemon=True).start()

    @property
    def ended(self) -> bool:
        """Whether its process has ended, and the history says how."""
        return self._ended.is_set()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the run has ended; whether it has."""
        return self._ended.wait(timeout)

    def cancel(self) -> None:
        """Ask the run to end. It has `PATIENCE` seconds and its grace; a second call ends it."""
        if self.ended:
            return
        if self._killer is not None:
            self.kill()
            return
        self._killer = threading.Timer(self.patience, self.kill)
        self._killer.daemon = True
        self._killer.start()
        # Nothing is stored here: a run that is ending ends as it does.
        self._process.interrupt()

    def kill(self) -> None:
        """End the run's process at once, and with it the run."""
        self._process.kill()

    def _reap(self) -> None:
        status = self._process.wait()
        if self._killer is not None:
            self._killer.cancel()
        try:
            self._close_books(status)
        except DBAPIError as error:
            logging.getLogger("flowtoy").error(
                "how run %s ended can't be written: %s", self.run_id[:8], error.orig
            )
        self._ended.set()

    def _close_books(self, status: int) -> None:
        """Tell how the run ended, where its process had no time for that."""
        run = self._instance.get_run_by_id(self.run_id)
        if run is None or run.is_finished:
            return
        close_run(
            self._instance,
            run,
            f"the process that carried this run {_how_it_ended(status)}",
            cancelled=self._killer is not None,
        )


def _how_it_ended(status: int) -> str:
    if status >= 0:
        return f"ended with exit code {status}"
    return f"was killed by {signal_name(-status)}"


def launch_background(
    history: History,
    flow: Flow,
    max_workers: int | None = None,
    *,
    tags: Mapping[str, str] | None = None,
    process: RunProcess | None = None,
    output: int | IO[Any] | None = None,
    remote_origin: Any = None,
    reuse: Reuse | None = None,
) -> BackgroundRun:
    """Create a run of a flow and have a process of its own carry it.

    Args:
        history: the home that it becomes part of; open until the run has ended.
        flow: what to run.
        max_workers: how many steps may run at once.
        tags: tags of the run in Dagster.
        process: one that was started before, to win time; by default one is started now.
        output: where a process that is started now prints; by default on our stderr.
        remote_origin: where a web server finds the job, to run it again: a `RemoteJobOrigin`.
        reuse: what it takes over from a run before it; by default all steps are executed.

    Raises:
        UsageError: `max_workers` is below 1.
        HomeError: the configuration can't be saved.
    """
    workers = worker_count(flow, max_workers)
    chosen = process or RunProcess(output)
    try:
        _, run = create_run(
            history, flow, workers, tags=tags, carrier=chosen.pid, remote_origin=remote_origin,
            reuse=reuse,
        )
    except BaseException:
        chosen.kill()
        chosen.wait()
        raise
    saved = rebuild_arguments(history.home, run.tags[CONFIG_TAG])
    chosen.carry(run.run_id, run.run_config, instance_facts(history.instance), saved)
    return BackgroundRun(history.instance, run.run_id, chosen, flow.grace)
