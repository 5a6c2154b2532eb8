"""Dagster's instance of a home folder: opened here, for a web server, or in other processes."""

import contextlib
import logging
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
from sqlalchemy.exc import DBAPIError

from flowtoy_dagster.engine.dagster_private.storage import (
    ConfigurableClassData,
    InstanceRef,
    ReconstructableJob,
    recon_job_from_origin,
)
from flowtoy_dagster.engine.storage.address import PATIENCE, NoConnectionError
from flowtoy_dagster.engine.storage.logs.console_log import build_handlers
from flowtoy_dagster.engine.storage.run_clock import offset_of
from flowtoy_dagster.engine.storage.step_events import STEP_EVENTS, kind_of
from flowtoy_dagster.errors import RunError
from flowtoy_dagster.store.limits.database_rates import DatabaseRates, Rows
from flowtoy_dagster.store.limits.rates import RateStore, rates_of

_PAUSE = 0.5
_QUIET = {"telemetry": {"enabled": False}, "nux": {"enabled": False}}
_COORDINATOR = ConfigurableClassData("dagster._core.run_coordinator", "DefaultRunCoordinator", "{}")
_CLASS = ConfigurableClassData(__name__, "QuietInstance", "{}")


class QuietInstance(dg.DagsterInstance):
    """Dagster's instance, which leaves the logging of its process alone, with the clocks of runs.

    Dagster's own calls `logging.config.dictConfig` at the start of each run, also where
    `dagster.yaml` has no `python_logs`. That closes every handler of the process, and it waits for
    the lock of each one while it holds the lock of the module: with runs in two threads, for ever.
    """

    _handlers: Sequence[logging.Handler] | None = None
    _building = threading.Lock()
    _latest: tuple[str, float | None] = "", None
    _is_heard = False

    def get_yaml_python_handlers(self) -> Sequence[logging.Handler]:
        """The handlers of `python_logs` in `dagster.yaml`; built once."""
        config = (self.get_settings("python_logs") or {}).get("dagster_handler_config")
        if not config or not config.get("handlers"):
            return []
        with self._building:
            if self._handlers is None:
                self._handlers = build_handlers(config)
            return self._handlers

    def handle_new_event(self, event: dg.EventLogEntry, **options: Any) -> None:
        """Store an event, with the time that its run's clock shows."""
        offset = self._offset(event.run_id)
        if offset is not None:
            event = event._replace(timestamp=offset + time.monotonic())
        if kind_of(event) in STEP_EVENTS and not self._is_heard:
            self.event_log_storage.store_event(event)
        else:
            super().handle_new_event(event, **options)

    def report_dagster_event(
        self,
        dagster_event: dg.DagsterEvent,
        run_id: str,
        log_level: str | int = logging.INFO,
        batch_metadata: Any = None,
        timestamp: float | None = None,
    ) -> None:
        """Store an event; where its time is given, it is not that of its run's clock now."""
        if timestamp is None:
            super().report_dagster_event(dagster_event, run_id, log_level, batch_metadata)
            return
        entry = dg.EventLogEntry(
            error_info=None,
            level=log_level,
            user_message="",
            run_id=run_id,
            timestamp=timestamp,
            step_key=dagster_event.step_key,
            job_name=dagster_event.job_name,
            dagster_event=dagster_event,
        )
        super().handle_new_event(entry, batch_metadata=batch_metadata)

    def add_event_listener(self, run_id: str, cb: Any) -> None:
        """Call a function for each event of a run that this process stores."""
        self._is_heard = True
        super().add_event_listener(run_id, cb)

    def remember_clock(self, run: dg.DagsterRun) -> None:
        """Take the clock of a run from here: it need not be looked up at its first event."""
        self._latest = run.run_id, offset_of(run.tags, run.run_id)

    def _offset(self, run_id: str) -> float | None:
        """From the monotonic clock to a run's; that of the latest run is remembered."""
        if self._latest[0] != run_id:
            run = self.get_run_by_id(run_id) if run_id else None
            if run is None:
                return None
            self.remember_clock(run)
        return self._latest[1]

    def get_ref(self) -> InstanceRef:
        """What other processes open the instance by."""
        return InstanceRef._make(super().get_ref())

    def dispose(self) -> None:
        """Close the instance, and its handlers."""
        super().dispose()
        for handler in self._handlers or ():
            handler.close()
        self._handlers = None


class _StatelessReference(InstanceRef):
    """Describes an instance without a store of definitions' state, for which fsspec is imported.

    Flows have no such state; code locations of others do.
    """

    @property
    def defs_state_storage(self) -> None:
        """None is made."""


def open_instance(home: Path) -> dg.DagsterInstance:
    """The instance of a home folder, as its `dagster.yaml` says."""
    return instance_of(InstanceRef.from_dir(str(home)))


def instance_of(ref: InstanceRef) -> dg.DagsterInstance:
    """The instance that a reference describes; of our class, unless it names another one."""
    if ref.custom_instance_class_data in (None, _CLASS):
        ref = _StatelessReference._make(ref._replace(custom_instance_class_data=_CLASS))
    return dg.DagsterInstance.from_ref(ref)


def steady_instance(ref: InstanceRef) -> dg.DagsterInstance:
    """As `instance_of`; waits for a database that takes no connection.

    For processes of a run that has begun: the run waits for its database as long.

    Raises:
        HomeError: the instance can't be opened; or not for 30 seconds.
    """
    give_up_at, told = time.monotonic() + PATIENCE, False
    while True:
        try:
            return instance_of(ref)
        except NoConnectionError as error:
            if time.monotonic() > give_up_at:
                raise
            if not told:
                logging.getLogger("flowtoy.storage").warning("waiting: %s", error)
            told = True
        time.sleep(_PAUSE)


def serving_instance(home: Path, launcher: tuple[str, str]) -> dg.DagsterInstance:
    """The instance for a web server that starts the runs that are asked for there itself.

    What the home's `dagster.yaml` says of storage and logs is kept. Runs start at once, since no
    daemon is there to take them out of a queue, and nothing is sent to anybody.

    Args:
        home: a home folder.
        launcher: module and name of the class that starts runs.
    """
    ref = InstanceRef.from_dir(str(home))
    ref = ref._replace(
        run_coordinator_data=_COORDINATOR,
        run_launcher_data=ConfigurableClassData(*launcher, "{}"),
        settings={**ref.settings, **_QUIET},
        custom_instance_class_data=ref.custom_instance_class_data or _CLASS,
    )
    return dg.DagsterInstance.from_ref(ref)


def instance_facts(instance: dg.DagsterInstance) -> Mapping[str, Any]:
    """What another process opens the same instance by, as JSON data. It may hold passwords."""
    return instance.get_ref().to_dict()


def same_instance(facts: Mapping[str, Any]) -> dg.DagsterInstance:
    """The instance that `instance_facts` describes, opened in this process."""
    return instance_of(InstanceRef.from_dict(facts))


def event_log_of(instance: dg.DagsterInstance) -> Any:
    """The storage of events that an instance uses, below what Dagster wraps it in."""
    found: Any = instance.event_log_storage
    while hasattr(found, "_storage"):
        found = found._storage.event_log_storage
    return found


def limiter_of(instance: dg.DagsterInstance) -> RateStore | DatabaseRates:
    """The calls of sources: of all machines where runs are in a database, else of the home."""
    rows: Rows | None = getattr(event_log_of(instance), "rows", None)
    return rates_of(instance.root_directory) if rows is None else DatabaseRates(rows)


def saved_job(arguments: Sequence[str]) -> ReconstructableJob:
    """The job of a saved configuration, as every process of a run builds it.

    Args:
        arguments: of `definitions.rebuild_job`.
    """
    return dg.build_reconstructable_job(
        "flowtoy_dagster.definitions",
        "rebuild_job",
        tuple(arguments),  # type: ignore[arg-type] # Dagster's annotation allows one argument only
    )


def job_of(run: dg.DagsterRun) -> ReconstructableJob:
    """The job of a run, as every process of it builds it."""
    assert run.job_code_origin is not None, f"run {run.run_id} has no job"
    return recon_job_from_origin(run.job_code_origin)


@contextlib.contextmanager
def writing_history() -> Iterator[None]:
    """Something that writes to a run's history.

    Raises:
        RunError: the database can't be written.
    """
    try:
        yield
    except (DBAPIError, sqlite3.Error) as error:
        reason = error.orig if isinstance(error, DBAPIError) else error
        raise RunError(f"the run's history can't be written: {reason}") from None
