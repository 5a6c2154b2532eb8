"""What a home remembers of its runs: listing, finding and reading them."""

from __future__ import annotations

import contextlib
import logging
import shutil
import sqlite3
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import NamedTuple

import dagster as dg
from dagster import DagsterRunStatus
from sqlalchemy.exc import DBAPIError
from typing_extensions import Self

from flowtoy_dagster.engine.jobs.broken_flow_job import what_is_wrong
from flowtoy_dagster.engine.jobs.dagster_names import step_keys
from flowtoy_dagster.engine.jobs.params import with_values_of
from flowtoy_dagster.engine.jobs.reuse import Origins
from flowtoy_dagster.engine.storage.address import reason_of
from flowtoy_dagster.engine.storage.home import CONFIG_FILE, open_home
from flowtoy_dagster.engine.storage.instances import open_instance as open_as_configured
from flowtoy_dagster.engine.tags import CONFIG_TAG, FAILURES_TAG, FLOW_TAG
from flowtoy_dagster.errors import HomeError, RunError, system_reason
from flowtoy_dagster.flow.graph import Flow, halts_run, tolerated_by
from flowtoy_dagster.flow.places import failure_place, warning_place
from flowtoy_dagster.loader import load_old_flow, load_saved_flow
from flowtoy_dagster.machine.interrupts import uninterrupted
from flowtoy_dagster.runs.sessions.carriers import INTERRUPTED, is_interrupted, session_of
from flowtoy_dagster.runs.status.event_reader import (
    FOLLOWED,
    StatusBuilder,
    read_log,
    run_state_of,
    settle,
)
from flowtoy_dagster.runs.status.models import WITH_FAILURES, RunStatus, StepStatus
from flowtoy_dagster.runs.wanted.filters import WantedRuns
from flowtoy_dagster.runs.wanted.names import named_run
from flowtoy_dagster.store.configs import configs_of
from flowtoy_dagster.store.files import is_still, opened_folder
from flowtoy_dagster.store.record import StepRecord
from flowtoy_dagster.store.records import RECORDS_FOLDER, records_of

_LOG = logging.getLogger("flowtoy.store")
_A_PAGE = 4096
"""Bytes, without which nothing can be written."""
ALL_STEPS = "(all steps)"


class RunSummary(NamedTuple):
    """A line of the list of runs; times in seconds since 1970.

    Attributes:
        verdict: the state in words for people, as `RunStatus.verdict` has them.
    """

    run_id: str
    name: str
    state: str
    verdict: str
    started_at: float | None
    ended_at: float | None
    retry_of: str | None


class History:
    """The runs of one home. Use it as a context manager.

    Args:
        home: the home folder; by default what the environment says.
        open_instance: opens Dagster's instance of it; by default as `dagster.yaml` says.
    """

    def __init__(
        self,
        home: Path | None = None,
        open_instance: Callable[[Path], dg.DagsterInstance] | None = None,
    ) -> None:
        self.home = open_home(home)
        self.configs = configs_of(self.home)
        self._stack = ExitStack()
        try:
            opened = (open_instance or open_as_configured)(self.home)
            self.instance = self._stack.enter_context(opened)
        except DBAPIError as error:
            reason = _reason_of_database(error.orig, self.home)
            raise HomeError(f"the history in {self.home} can't be used: {reason}") from None
        except HomeError:
            raise
        except (OSError, sqlite3.Error) as error:
            reason = (
                system_reason(error) if isinstance(error, OSError)
                else _reason_of_database(error, self.home)
            )
            which = getattr(error, "filename", None) or self.home / "history"
            raise HomeError(f"the history in {which} can't be used: {reason}") from None
        except Exception as error:
            reason = reason_of(error)
            raise HomeError(f"{self.home / CONFIG_FILE} can't be used: {reason}") from error
        self.store = records_of(self.instance.storage_directory())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # Where a connection's end is broken off, its library prints a traceback.
        with uninterrupted():
            self._stack.close()

    @contextlib.contextmanager
    def remaining(self) -> Iterator[None]:
        """While the block runs, the home must stay what it is.

        Raises:
            RunError: it was deleted or replaced, and with it what the block has written.
        """
        folders = [each for each in (self.home, self.home / "history") if each.is_dir()]
        with ExitStack() as stack:
            # What is open keeps its number: nothing new can be taken for it.
            before = [(folder, stack.enter_context(opened_folder(folder))) for folder in folders]
            lost = RunError(
                f"the home folder {self.home} was deleted while the run went on: "
                "its history and outputs are lost"
            )
            try:
                yield
            except Exception as error:
                if not all(is_still(*each) for each in before):
                    raise lost from error
                raise
            if not all(is_still(*each) for each in before):
                raise lost

    def runs(
        self, limit: int | None = None, wanted: WantedRuns | None = None
    ) -> list[RunSummary]:
        """The latest runs of flows, the newest first."""
        wanted = wanted or WantedRuns()
        records = self._records(wanted=wanted, limit=limit if wanted.state is None else None)
        found = (_summary(self.as_it_stands(record)) for record in records)
        return [run for run in found if wanted.state in (None, run.state)][:limit]

    def has_lost_runs(self) -> bool:
        """Whether the home has outputs of runs, none of which the database knows."""
        folder = self.home / RECORDS_FOLDER
        left = folder.is_dir() and any(not path.name.startswith(".") for path in folder.iterdir())
        return left and not self._flow_names()

    def own_runs(self, statuses: Sequence[DagsterRunStatus] = ()) -> list[dg.DagsterRun]:
        """The runs of flows, the newest first; a home may have those of other jobs too."""
        return [record.dagster_run for record in self._records(statuses)]

    def _records(
        self,
        statuses: Sequence[DagsterRunStatus] = (),
        limit: int | None = None,
        wanted: WantedRuns | None = None,
    ) -> Sequence[dg.RunRecord]:
        """The records of runs of flows, the newest first; `wanted.state` is left to others."""
        flows = self._flow_names()
        if not flows:
            return []
        chosen = (wanted or WantedRuns()).filter(FLOW_TAG, flows, statuses)
        return self.instance.get_run_records(chosen, limit=limit)

    def _flow_names(self) -> list[str]:
        tags = self.instance.get_run_tags(tag_keys=[FLOW_TAG])
        return sorted({name for _, values in tags for name in values})

    def as_it_stands(self, record: dg.RunRecord) -> dg.RunRecord:
        """A record as it is shown: that of a run whose process is gone has an end.

        Nothing is stored. `flowtoy runs repair` does that, and so does whatever continues the run.
        """
        run = record.dagster_run
        if not is_interrupted(self.instance, run):
            return record
        ending = run.status == DagsterRunStatus.CANCELING
        status = DagsterRunStatus.CANCELED if ending else DagsterRunStatus.FAILURE
        return record._replace(dagster_run=run.with_status(status))

    def find(self, wanted: str) -> dg.DagsterRun:
        """The run of an id, of a unique beginning of one, `last`, `failed`, or `last:FLOW`.

        Raises:
            UsageError: there is none, or several begin so, or it is a run of something else.
        """
        return named_run(self, wanted)

    def by_id(self, run_id: str) -> dg.DagsterRun | None:
        """The run of an id, of a flow or not; None where there is none."""
        return self.instance.get_run_by_id(run_id)

    def latest(self, wanted: WantedRuns) -> dg.DagsterRun | None:
        """The newest run of a flow that is wanted, as it is stored; None where there is none."""
        found = self.runs(1, wanted)
        return self.by_id(found[0].run_id) if found else None

    def flow(self, run: dg.DagsterRun, *, to_run: bool = False) -> Flow:
        """The flow as it was when the run was made.

        Args:
            run: a run of this home.
            to_run: whether it is to be run again, for which its providers must be installed.

        Raises:
            RunError: its configuration is not in this home, or could not be loaded.
        """
        reference = self.reference(run)
        saved = self.configs.read(reference, with_places=True) if reference else None
        if saved is None:
            wrong = what_is_wrong(self.instance, run)
            if wrong is not None:
                raise RunError(f"the flow of run {run.run_id} could not be loaded: {wrong}")
            raise RunError(f"the configuration of run {run.run_id} is not in {self.home}")
        load = load_saved_flow if to_run else load_old_flow
        flow = load(saved.config, saved.name, folder=saved.folder, places=saved.places)
        return with_values_of(flow, run, self.instance)

    def reference(self, run: dg.DagsterRun) -> str | None:
        """The hash of the configuration that a run executes."""
        if run.parent_run_id and run.job_snapshot_id and session_of(run) is None:
            # Dagster's re-execution takes over its parent's tags, but executes the current job.
            tags: Mapping[str, str] = self.instance.get_job_snapshot(run.job_snapshot_id).tags
            if CONFIG_TAG in tags:
                return tags[CONFIG_TAG]
        return run.tags.get(CONFIG_TAG)

    def status(self, run: dg.DagsterRun, flow: Flow | None = None) -> RunStatus:
        """The state of the run and of each of its steps, from its events.

        Where these are gone, that is said: nothing is known of the steps then.
        """
        builder = self.builder(run, flow or self.flow(run))
        record = self.instance.get_run_record_by_id(run.run_id)
        events = self.instance.all_logs(run.run_id, set(FOLLOWED))
        if not events and run.is_finished:
            _LOG.warning("the events of run %s are gone: how its steps ended is not known",
                         run.run_id)
        read_log(builder, events)
        if record is not None:
            self.settle(builder, record)
        return builder.status

    def settle(self, builder: StatusBuilder, record: dg.RunRecord) -> None:
        """Bring the status from events in line with the run's record, read before them."""
        shown = self.as_it_stands(record)
        if shown is not record:
            builder.status.error = INTERRUPTED
        settle(builder, shown)

    def builder(self, run: dg.DagsterRun, flow: Flow) -> StatusBuilder:
        """A builder for a run of which no event has been read."""
        halting = {step.name for step in flow.steps if halts_run(flow, step)}
        tolerated = {step.name: tolerated_by(flow, step) for step in flow.steps}
        status = self._blank_status(run, flow)
        closing = {step.name for step in flow.steps if step.is_closing}
        moved = {
            step.name for step in flow.steps
            if step.incremental is not None and step.incremental.commit == "run"
        }
        return StatusBuilder(
            status, names_by_key(flow), halting, tolerated, closing, moved, _left_out(run, flow),
            place=partial(failure_place, flow), warning_place=partial(warning_place, flow),
        )

    def _blank_status(self, run: dg.DagsterRun, flow: Flow) -> RunStatus:
        steps = {
            step.name: StepStatus(
                step.name, step.upstream, tuple(output.name for output in step.outputs)
            )
            for step in flow.steps
        }
        if run.parent_run_id and run.step_keys_to_execute is not None:
            steps.update(self._reused(run, flow))
        return RunStatus(run.run_id, flow.name, steps=steps)

    def _reused(self, run: dg.DagsterRun, flow: Flow) -> dict[str, StepStatus]:
        """The steps that a retry took over from the run before it."""
        parent = self.instance.get_run_by_id(run.parent_run_id or "")
        executed = set(run.step_keys_to_execute or ())
        keys = step_keys(step.name for step in flow.steps)
        if parent is None:
            return {}
        before = self.status(parent, flow).steps
        for step in before.values():
            step.reused = True
            if step.state not in ("succeeded", "skipped"):
                end = f"failed: {step.error}" if step.state == "failed" else "did not end"
                step.state = "skipped"
                step.error = f"it was left out; in run {parent.run_id[:8]} it {end}"
                step.cursor = None
        return {name: before[name] for name, key in keys.items() if key not in executed}

    def record(
        self, origins: Origins, step_key: str, *, is_due: bool = False
    ) -> StepRecord | None:
        """The record of a step, from the run that executed it.

        Args:
            origins: of a run.
            step_key: the step.
            is_due: whether to warn where there is none.
        """
        return self.store.read(origins.of(step_key), step_key, is_due=is_due)

    def origins(self, run: dg.DagsterRun) -> Origins:
        """Which runs executed a run's steps."""
        return Origins(run, self.instance.get_run_by_id)

    def records(
        self, run: dg.DagsterRun, status: RunStatus
    ) -> Iterator[tuple[str, StepRecord | None]]:
        """Each step's written name and its record; None where it did not succeed."""
        keys, origins = step_keys(status.steps), self.origins(run)
        for name, step in status.steps.items():
            has_one = step.state == "succeeded"
            yield name, self.record(origins, keys[name], is_due=True) if has_one else None

    def captured(self, run: dg.DagsterRun, step: str | None) -> Iterator[tuple[str, str, bytes]]:
        """What steps printed: step, `stdout` or `stderr`, and the bytes."""
        flow = self.flow(run)
        names = names_by_key(flow)
        manager = self.instance.compute_log_manager
        for entry in self.instance.all_logs(run.run_id, dg.DagsterEventType.LOGS_CAPTURED):
            event = entry.dagster_event
            assert event is not None
            data = event.event_specific_data
            captured = [names[key] for key in data.step_keys or () if key in names]  # type: ignore[union-attr]
            if not captured or (step is not None and step not in captured):
                continue
            # Steps that ran in one process share what was captured of it.
            name = captured[0] if len(captured) == 1 else ALL_STEPS
            log_key = manager.build_log_key_for_run(run.run_id, data.file_key)  # type: ignore[union-attr]
            try:
                found = manager.get_log_data(log_key)
            except (OSError, RuntimeError) as error:  # so pathlib calls a link to itself
                _LOG.warning("what '%s' has printed can't be read: %s", name, error)
                continue
            for stream, content in (("stdout", found.stdout), ("stderr", found.stderr)):
                if content:
                    yield name, stream, content


def names_by_key(flow: Flow) -> dict[str, str]:
    """Written names by step key."""
    return {key: name for name, key in step_keys(step.name for step in flow.steps).items()}


def _summary(record: dg.RunRecord) -> RunSummary:
    run = record.dagster_run
    state = run_state_of(run.status)
    has_failures = state == "succeeded" and run.tags.get(FAILURES_TAG) == run.run_id
    return RunSummary(
        run.run_id,
        run.tags.get(FLOW_TAG, run.job_name),
        state,
        WITH_FAILURES if has_failures else state,
        record.start_time,
        record.end_time,
        run.parent_run_id,
    )


def _left_out(run: dg.DagsterRun, flow: Flow) -> frozenset[str]:
    """The steps that were not chosen when somebody started a part of a flow on Dagster's page."""
    chosen: Collection[str] | None = run.resolved_op_selection
    if chosen is None and not run.parent_run_id:
        chosen = run.step_keys_to_execute
    if chosen is None:
        return frozenset()
    keys = step_keys(step.name for step in flow.steps)
    return frozenset(name for name, key in keys.items() if key not in chosen)


def _reason_of_database(error: BaseException | None, home: Path) -> str:
    """What a database says, which has no word of its own for a disk that is full."""
    if str(error) == "disk I/O error" and shutil.disk_usage(home).free < _A_PAGE:
        return "no space left on device"
    return str(error)
