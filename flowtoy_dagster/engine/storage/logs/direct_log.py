"""A log of a run whose events go straight into the history.

Dagster makes a log record of each event and gives it to handlers, one of which makes the event's
entry of it: a quarter of what storing an event costs. Here nothing else listens.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import dagster as dg
from dagster import DagsterEvent, DagsterInstance, DagsterLogManager, DagsterRun

from flowtoy_dagster.engine.storage.logs.console_log import NO_CONSOLE


class DirectLog(DagsterLogManager):
    """Stores events without `logging`; what else is logged goes Dagster's way."""

    def __init__(self, dagster_handler: Any, **rest: Any) -> None:
        super().__init__(dagster_handler, **rest)
        self._handler = dagster_handler
        self._rest = rest
        self._instance: DagsterInstance | None = None

    @classmethod
    def of(cls, instance: DagsterInstance, run: DagsterRun) -> DirectLog:
        """The log of a run."""
        log = cls.create(loggers=[], instance=instance, dagster_run=run)
        assert isinstance(log, cls)
        log._instance = instance
        return log

    def with_tags(self, **new_tags: str) -> DagsterLogManager:
        """The same for one step."""
        log = DirectLog(self._handler.with_tags(**new_tags), **self._rest)
        log._instance = self._instance
        return log

    def log_dagster_event(
        self,
        level: str | int,
        msg: str,
        dagster_event: DagsterEvent,
        batch_metadata: Any = None,
    ) -> None:
        """Store an event."""
        if self._instance is None or not isinstance(level, int):
            super().log_dagster_event(level, msg, dagster_event, batch_metadata)
            return
        facts = self.metadata
        entry = dg.EventLogEntry(
            error_info=None,
            level=level,
            user_message=msg,
            run_id=facts["run_id"] or "",
            timestamp=time.time(),
            step_key=facts["step_key"] or dagster_event.step_key,
            job_name=facts["job_name"],
            dagster_event=dagster_event,
        )
        self._instance.handle_new_event(entry, batch_metadata=batch_metadata)


def is_enough(instance: DagsterInstance, run_config: Mapping[str, Any]) -> bool:
    """Whether nothing but the history takes a run's events: no handler, and no logger of a job."""
    return run_config.get("loggers") == NO_CONSOLE and not instance.get_yaml_python_handlers()


def direct_log(instance: DagsterInstance, run: DagsterRun) -> DirectLog | None:
    """A run's log whose events go straight into the history; None where others listen, too."""
    return DirectLog.of(instance, run) if is_enough(instance, run.run_config) else None
