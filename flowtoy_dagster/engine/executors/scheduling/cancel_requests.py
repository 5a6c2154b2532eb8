"""Requests to end a run, from wherever its history can be written.

A process that carries a run can't be sent a signal from another machine or container. So the
request is a tag of the run, and who executes the run looks for it.
"""

import contextlib
import logging
import os
import signal
import threading
import time
import uuid
from collections.abc import Iterator

from dagster import DagsterInstance, DagsterRun, DagsterRunStatus

CANCEL_TAG = "flowtoy/cancel"
"""The tag of a run that somebody wants to end: an id of the request, and the run's, because a
re-execution inherits the tags of its parent."""
INTERVAL = 1.0
"""Seconds between two looks."""
logger = logging.getLogger("flowtoy")


def request_cancel(instance: DagsterInstance, run_id: str) -> None:
    """Ask who carries a run to end it; each request counts as one interrupt."""
    instance.add_run_tags(run_id, {CANCEL_TAG: f"{uuid.uuid4().hex}/{run_id}"})


def request_of(run: DagsterRun) -> str | None:
    """The latest request to end a run; None where there is none, or only one of its parent."""
    found = run.tags.get(CANCEL_TAG)
    return found if found is not None and found.endswith(f"/{run.run_id}") else None


def note_cancel(instance: DagsterInstance, run: DagsterRun) -> None:
    """Store that somebody wants the end of a run: else Dagster does not call it canceled.

    Args:
        instance: where the run is.
        run: the run as it is now.
    """
    if run.status != DagsterRunStatus.CANCELING:
        instance.report_run_canceling(run)


class CancelRequests:
    """The requests to end a run, for who executes it.

    Args:
        instance: where the run is.
        run: the run.
    """

    def __init__(self, instance: DagsterInstance, run: DagsterRun) -> None:
        self._instance = instance
        self._run = run
        self._seen: str | None = None
        self._due = time.monotonic() + INTERVAL

    def heard(self) -> bool:
        """Whether there is a new one; looks once in a second."""
        if time.monotonic() < self._due:
            return False
        try:
            run = self._instance.get_run_by_id(self._run.run_id)
            found = request_of(run) if run is not None else None
            if run is None or found in (None, self._seen):
                return False
            self._seen = found
            if not run.is_finished:
                note_cancel(self._instance, run)
        except Exception as error:  # noqa: BLE001 - the run goes on where its history does not answer
            logger.debug("can't look for requests to cancel: %s", type(error).__name__)
            return False
        finally:
            self._due = time.monotonic() + INTERVAL
        return True

    @contextlib.contextmanager
    def as_signals(self) -> Iterator[None]:
        """While a block runs in the main thread, a request is a SIGTERM to this process."""
        if threading.current_thread() is not threading.main_thread():
            yield  # there is nothing that could interrupt this thread
            return
        ended = threading.Event()

        def watch() -> None:
            while not ended.wait(INTERVAL):
                if self.heard():
                    os.kill(os.getpid(), signal.SIGTERM)

        watcher = threading.Thread(target=watch, name="flowtoy-cancel", daemon=True)
        watcher.start()
        try:
            yield
        finally:
            ended.set()
            watcher.join()
