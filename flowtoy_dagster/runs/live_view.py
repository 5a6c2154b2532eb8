"""One active run for many readers: its events are read once, whatever the number of readers."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from dagster import RunRecord

from flowtoy_dagster.engine.jobs.dagster_names import step_keys
from flowtoy_dagster.errors import NoRunError
from flowtoy_dagster.flow.graph import Flow
from flowtoy_dagster.flow.secrets_of_flow import FlowSecrets, secret_outputs
from flowtoy_dagster.json_text import dumps_checked
from flowtoy_dagster.runs.history import History
from flowtoy_dagster.runs.items import RunItems
from flowtoy_dagster.runs.shown.printed import PrintedPart, printed_since
from flowtoy_dagster.runs.status.event_reader import FOLLOWED, read_log
from flowtoy_dagster.runs.status.models import RunStatus
from flowtoy_dagster.runs.status.status_document import outputs_document, status_document
from flowtoy_dagster.store.outputs import OutputText
from flowtoy_dagster.store.record import StepRecord

PAUSE = 0.15
"""Seconds for which all readers get what was read last."""
_BATCH = 1000
_KEPT = 4 << 20
"""Bytes of outputs up to which their document is kept between readers."""


class RunView:
    """The state of a run, and the outputs that it has so far.

    Safe to use from several threads. What is read is at most `PAUSE` seconds old.

    Args:
        history: the home that the run is in.
        run_id: gives the run to look at; it may be another one later.
    """

    def __init__(self, history: History, run_id: Callable[[], str]) -> None:
        self._history = history
        self._run_id = run_id
        self._lock = threading.Lock()
        self._read_at = float("-inf")
        self._run: _FollowedRun | None = None
        self._status_json = b""
        self._outputs_json: tuple[object, bytes] | None = None

    @property
    def is_current(self) -> bool:
        """Whether what was read last is good enough still."""
        return time.monotonic() - self._read_at < PAUSE

    def refresh(self) -> None:
        """Read what has happened, unless another reader has just done so.

        Raises:
            NoRunError: there is no such run.
        """
        with self._lock:
            self._refresh()

    def status(self) -> RunStatus:
        """The state of the run; a copy, which stays as it is."""
        with self._lock:
            status = self._refresh().status
            steps = {
                name: replace(step, timeline=[replace(span) for span in step.timeline])
                for name, step in status.steps.items()
            }
            return replace(status, steps=steps)

    @property
    def status_json(self) -> bytes:
        """The status document as it was read last."""
        return self._status_json

    def outputs(self) -> list[tuple[str, OutputText | None]]:
        """The outputs of the steps that have finished, secrets hidden; None for those without."""
        with self._lock:
            return self._refresh().outputs()

    def outputs_json(self, step: str | None = None) -> Iterator[bytes]:
        """The document of all outputs, or of one step's, in parts."""
        with self._lock:
            run = self._refresh()
            outputs = run.outputs()
            if step is not None:
                outputs = [(name, text) for name, text in outputs if name == step]
            elif run.recorded_bytes <= _KEPT:
                # Masking costs more than reading; a burst of readers shall not pay it each.
                known = (run.status.run_id, len(outputs), run.mask)
                if self._outputs_json is None or self._outputs_json[0] != known:
                    self._outputs_json = known, b"".join(outputs_document(outputs))
                return iter([self._outputs_json[1]])
        return outputs_document(outputs)

    def has_step(self, name: str) -> bool:
        """Whether the run has a step of that name."""
        with self._lock:
            return name in self._refresh().status.steps

    def printed(self, step: str, position: str = "") -> tuple[list[PrintedPart], str]:
        """What a step has printed since `position`, and the new position.

        Raises:
            UsageError: `position` is none.
        """
        with self._lock:
            run = self._refresh()
        return printed_since(self._history.instance, *run.place_of(step), position)

    def items(self, step: str) -> RunItems | None:
        """The items of a step; None where it is not repeated."""
        with self._lock:
            run = self._refresh()
        if run.flow.by_name[step].for_each is None:
            return None
        return RunItems(self._history, run.run, step)

    def _refresh(self) -> _FollowedRun:
        if self._run is not None and self.is_current:
            return self._run
        wanted = self._run_id()
        if self._run is None or self._run.status.run_id != wanted:
            self._run, self._status_json = _FollowedRun(self._history, wanted), b""
        if self._run.read() or not self._status_json:
            self._status_json = dumps_checked(status_document(self._run.status))
        self._read_at = time.monotonic()
        return self._run


class _FollowedRun:
    """What has been read of one run."""

    def __init__(self, history: History, run_id: str) -> None:
        run = history.instance.get_run_by_id(run_id)
        if run is None:
            raise NoRunError(f"there is no run '{run_id}'")
        self._history = history
        self.run = run
        self.flow: Flow = history.flow(run)
        self._keys = step_keys(step.name for step in self.flow.steps)
        self._origins = history.origins(run)
        self._builder = history.builder(run, self.flow)
        self._cursor: str | None = None
        self._ended = False
        self._records: dict[str, StepRecord | None] = {}
        self.mask = FlowSecrets(self.flow).mask(os.environ)
        self.recorded_bytes = 0

    @property
    def status(self) -> RunStatus:
        return self._builder.status

    def place_of(self, step: str) -> tuple[str, str]:
        """The run that executed a step, and the step's key."""
        key = self._keys[step]
        return self._origins.of(key), key

    def read(self) -> bool:
        """Read on; whether there was anything new."""
        if self._ended:
            return False
        record = self._record_of_run()
        before = self.status.state
        self._ended = record.dagster_run.is_finished
        if self._ended:
            # Once more from the start: a database may store events in another order than it
            # numbers them, and then some were passed by.
            self._builder = self._history.builder(self.run, self.flow)
            self._cursor = None
        found = self._read_events()
        self._history.settle(self._builder, record)
        return found > 0 or self.status.state != before

    def _record_of_run(self) -> RunRecord:
        record = self._history.instance.get_run_record_by_id(self.run.run_id)
        if record is None:
            raise NoRunError(f"run '{self.run.run_id}' has been deleted")
        return record

    def _read_events(self) -> int:
        count, has_more = 0, True
        while has_more:
            page = self._history.instance.get_records_for_run(
                self.run.run_id, self._cursor, set(FOLLOWED), _BATCH
            )
            read_log(self._builder, (record.event_log_entry for record in page.records))
            count += len(page.records)
            self._cursor, has_more = page.cursor, page.has_more
        return count

    def outputs(self) -> list[tuple[str, OutputText | None]]:
        """The outputs of the steps that have finished, in file order."""
        if self._ended:
            self._record_of_run()  # with the run, its outputs are gone
        found = []
        for name, step in self.status.steps.items():
            if step.state == "succeeded" and name not in self._records:
                self._records[name] = self._record(name)
            if step.state in ("succeeded", "failed", "skipped"):
                found.append((name, self._records.get(name)))
        return [
            (name, OutputText(record, self.mask) if record else None) for name, record in found
        ]

    def _record(self, name: str) -> StepRecord | None:
        record = self._history.record(self._origins, self._keys[name], is_due=True)
        if record is None:
            return None
        self.mask = self.mask.including(record.secrets_with(secret_outputs(self.flow, name)))
        self.recorded_bytes += sum(record.header["sizes"].values())
        return record
