"""What an op does: run its step, keep the record, and report to Dagster how it went."""

import logging
import os
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import dagster as dg
from dagster import DagsterExecutionInterruptedError

from flowtoy_dagster.engine.executors.hosted import HostedCompute
from flowtoy_dagster.engine.fence import wait_to_be_killed
from flowtoy_dagster.engine.jobs.events.event_text import large_outputs
from flowtoy_dagster.engine.jobs.events.loops import Watched, told_counts, workers_of
from flowtoy_dagster.engine.jobs.events.output_repeater import OutputRepeater
from flowtoy_dagster.engine.jobs.events.run_facts import RunFacts
from flowtoy_dagster.engine.jobs.events.step_end import StepEnd
from flowtoy_dagster.engine.jobs.events.step_warning import warning_event
from flowtoy_dagster.engine.jobs.events.waiting import waiting_event
from flowtoy_dagster.engine.jobs.incremental.step_end import store_with_step
from flowtoy_dagster.engine.jobs.io_manager import IO_MANAGER, RecordIOManager
from flowtoy_dagster.engine.jobs.limits import calls_at_once, counts_calls
from flowtoy_dagster.engine.jobs.params import PARAMS
from flowtoy_dagster.engine.jobs.recordings.of_run import RunRecording, closed, is_replay
from flowtoy_dagster.engine.jobs.reuse import reusable_runs
from flowtoy_dagster.engine.storage.address import hidden_addresses
from flowtoy_dagster.engine.storage.instances import limiter_of
from flowtoy_dagster.engine.storage.logs.compute_logs import DirectComputeLogManager
from flowtoy_dagster.engine.storage.logs.console_log import log_masked_by
from flowtoy_dagster.engine.storage.run_clock import run_time
from flowtoy_dagster.flow.graph import Flow, Step, worker_count
from flowtoy_dagster.flow.param_values import SeenParams, see_params
from flowtoy_dagster.flow.secrets_of_flow import FlowSecrets, secret_outputs
from flowtoy_dagster.masking.mask import Mask
from flowtoy_dagster.steps.attempts import StepOutcome, fail_step, run_step
from flowtoy_dagster.steps.chain import Failed
from flowtoy_dagster.steps.context import Host, StepContext
from flowtoy_dagster.steps.scope import RunInfo, build_scope
from flowtoy_dagster.steps.state.deadline import RUN_OUT_OF_TIME
from flowtoy_dagster.steps.state.flow_folder import FlowFolder
from flowtoy_dagster.steps.state.items import Loop
from flowtoy_dagster.steps.state.mask import StepMask
from flowtoy_dagster.steps.state.waits import Waits
from flowtoy_dagster.steps.state.warnings import Warned, Warnings
from flowtoy_dagster.steps.words import one_line
from flowtoy_dagster.store.cursors import CursorsOfAttempt, cursors_of
from flowtoy_dagster.store.limits.slots import SourceSlots
from flowtoy_dagster.store.places import RunPlaces
from flowtoy_dagster.store.record import StepRecord
from flowtoy_dagster.store.records import RecordStore
from flowtoy_dagster.store.tokens import tokens_of

logger = logging.getLogger("flowtoy.step")

_END_GRACE = 2.5
"""Seconds between TERM and KILL for the commands of a loop that is interrupted."""
_GRACE_IS_OVER = "the run is being ended, and its grace is over"


class StepCompute(HostedCompute):
    """The compute function of a step's op.

    Failure semantics live here, so that they hold on every executor: a failed step that the flow
    does not tolerate raises, one that it tolerates ends without `result`.
    """

    def __init__(
        self, flow: Flow, step: Step, secrets: FlowSecrets, has_done: bool, claims_places: bool
    ) -> None:
        self.flow = flow
        self.step = step
        self._end = StepEnd(step, has_done)
        self._secrets = secrets
        self._claims_places = claims_places

    def events(  # noqa: D102 - what Dagster asks for
        self, context: dg.OpExecutionContext, inputs: Mapping[str, Callable[[], StepRecord]]
    ) -> Iterator[Any]:
        flow, step = self.flow, self.step
        started = _RunStart(context)
        attempt = self._bare(context, started)
        try:
            attempt = attempt.having(deadline=self._deadline(context, started))
            upstream = {name: inputs[input_name(flow.step(name))]() for name in step.upstream}
            if step.is_closing:
                upstream = self._run_facts(context).ended(upstream)
            attempt = self._attempt(context, attempt, upstream)
            if step.for_each is None:
                outcome = self._run(context, attempt, upstream)
            else:
                outcome = yield from self._repeat(context, attempt, upstream)
        except Exception as error:  # noqa: BLE001 - whatever it is, the step has failed
            outcome = _failed(attempt, "the step could not be started", error)
        self._stop_if_unwanted()
        outcome = self._in_its_words(context, outcome)
        self._try_again(outcome)
        outcome, summaries = self._write(context, attempt, outcome)
        for path, warning in large_outputs(self.step, summaries):
            attempt.warn_at(warning, path)
        self._try_again(outcome)
        self._stop_if_unwanted()
        if not is_replay(context.run):
            yield from store_with_step(context, attempt, outcome)
        # The record is in place before anything is yielded: dependents may start on the event.
        yield from self._end.events(context, attempt, outcome, summaries)

    def _in_its_words(
        self, context: dg.OpExecutionContext, outcome: StepOutcome
    ) -> StepOutcome:
        """An outcome that says what has passed: of a run that is being ended, its grace."""
        error = outcome.error or ""
        if RUN_OUT_OF_TIME in error and self._has_grace_alone(context):
            return replace(outcome, error=error.replace(RUN_OUT_OF_TIME, _GRACE_IS_OVER))
        return outcome

    def _has_grace_alone(self, context: dg.OpExecutionContext) -> bool:
        return self.step.is_closing and self._run_facts(context).is_cancelled()

    def _try_again(self, outcome: StepOutcome) -> None:
        """End this attempt where another one is to follow."""
        if outcome.retry_in is not None:
            raise dg.RetryRequested(
                outcome.max_retries, outcome.retry_in
            ) from self._end.failure(outcome)

    def _stop_if_unwanted(self) -> None:
        """Do nothing more where the run was killed, or another process has the step.

        We are about to be killed: this is no failure of the step's.
        """
        if self.host is not None and (self.host.cancelled.is_set() or not self.host.is_wanted()):
            wait_to_be_killed()

    def _write(
        self, context: dg.OpExecutionContext, attempt: StepContext, outcome: StepOutcome
    ) -> tuple[StepOutcome, Mapping[str, Any]]:
        """Keep the record; where it can't be kept, the step has failed, and that is kept."""
        store = _records(context)
        place = context.run_id, context.op_handle.name
        keep = self.step.keep_result
        try:
            return outcome, store.write(*place, outcome, keep)
        except Exception as error:  # noqa: BLE001 - whatever it is, the step has failed
            # Nothing that a retry could trust was left behind.
            attempt.work.result = None
            failed = _failed(attempt, "its outputs could not be written", error)
        if failed.retry_in is None and self.step.on_error != "fail":
            try:
                return failed, store.write(*place, failed, keep)
            except Exception:  # noqa: BLE001 - the reason is known; nobody can go on from here
                raise self._end.failure(failed) from None
        if failed.retry_in is None:
            raise self._end.failure(failed)
        return failed, {}

    def _bare(self, context: dg.OpExecutionContext, started: "_RunStart") -> StepContext:
        """The context of an attempt of which nothing is known but the step."""
        facts = self._run_facts(context)
        return StepContext(
            step=self.step,
            run=RunInfo(
                context.run_id, self.flow.name, started,
                root_id=context.run.root_run_id or context.run_id,
                failed=facts.failed,
                state=facts.state,
                folder=FlowFolder.of(self.flow),
            ),
            attempt=context.retry_number + 1,
            mask=StepMask(self._secrets.mask(os.environ)),
            host=self.host or Host(),
            interrupts=(KeyboardInterrupt, DagsterExecutionInterruptedError),
        )

    def _run_facts(self, context: dg.OpExecutionContext) -> RunFacts:
        return RunFacts(context, self.flow, _records(context))

    def _attempt(
        self,
        context: dg.OpExecutionContext,
        bare: StepContext,
        upstream: Mapping[str, StepRecord],
    ) -> StepContext:
        """The same with what was looked up."""
        params = self._params(context)
        loop = self._loop(context) if self.step.for_each is not None else bare.loop
        mask = StepMask(
            self._mask(bare.mask.current, upstream).including(params.secrets),
            holding=self.step.prints_secrets,
        )
        recording = RunRecording.of(context.run, _records(context))
        run = recording.run_info(replace(bare.run, params=params))
        made = bare.having(
            run=run,
            scope=build_scope(upstream, self.flow.sources, run),
            mask=mask,
            limiter=limiter_of(context.instance),
            slots=self._slots(context),
            places=self._places(context),
            tokens=tokens_of(context.instance.root_directory),
            cursors=CursorsOfAttempt(cursors_of(context.instance.root_directory)),
            waits=Waits(self._teller(context, mask)),
            warnings=Warnings(partial(self._warn, context)),
            files=partial(_records(context).files_folder, context.run_id, context.op_handle.name),
            files_url=partial(_records(context).files_url, context.run_id, context.op_handle.name),
            loop=loop,
        )
        return recording.attempt(made)

    def _loop(self, context: dg.OpExecutionContext) -> Loop:
        """What a repeated step is given in addition."""
        key = context.op_handle.name
        before = reusable_runs(context.run, key, context.instance.get_run_by_id)
        told = partial(told_counts, context.instance)
        log = _records(context).item_log(context.run_id, key, before, told)
        workers = workers_of(context.run.run_config, worker_count(self.flow))
        most = calls_at_once(self.flow, self.step, context.run.run_config)
        return Loop(log, workers, most, runs=frozenset({context.run_id, *before}))

    def _slots(self, context: dg.OpExecutionContext) -> SourceSlots | None:
        """What a call of the step's source must hold; None where Dagster's limits will do."""
        most = calls_at_once(self.flow, self.step, context.run.run_config)
        if most is None or not counts_calls(self.flow, self.step):
            return None
        return _records(context).slots(context.run_id, self.step.source.name or "", most)

    def _places(self, context: dg.OpExecutionContext) -> RunPlaces | None:
        """Where the run's steps write files; None where no two say where they do."""
        return _records(context).places(context.run_id) if self._claims_places else None

    def _repeat(
        self,
        context: dg.OpExecutionContext,
        attempt: StepContext,
        upstream: Mapping[str, StepRecord],
    ) -> Generator[Any, None, StepOutcome]:
        """Run a repeated step, and report how far it is; returns its outcome."""
        mask = attempt.mask.current
        watched = Watched(
            lambda: self._run(context, attempt, upstream),
            attempt.loop,
            mask,
            lambda: attempt.processes.end_all(_END_GRACE),
        )
        yield from watched.events()
        return watched.outcome

    def _run(
        self,
        context: dg.OpExecutionContext,
        attempt: StepContext,
        upstream: Mapping[str, StepRecord],
    ) -> StepOutcome:
        mask = attempt.mask
        repeater = OutputRepeater(mask)
        logs = context.instance.compute_log_manager
        if isinstance(logs, DirectComputeLogManager):
            logs.mask_with(mask)
        try:
            with hidden_addresses(), log_masked_by(mask):
                outcome = run_step(attempt.having(output=repeater), self.flow.sources, upstream)
        finally:
            repeater.close()
            mask.release()
        return closed(attempt, outcome)

    def _deadline(
        self, context: dg.OpExecutionContext, started: "_RunStart"
    ) -> float | None:
        """When the run's timeout passes, by `time.monotonic`; None where it has none."""
        left = self._seconds_left(context, started)
        return None if left is None else time.monotonic() + left

    def _seconds_left(
        self, context: dg.OpExecutionContext, started: "_RunStart"
    ) -> float | None:
        """Seconds until the run's timeout passes; None where it has none."""
        limit, grace = self.flow.runner.timeout, self.flow.runner.grace
        if self._has_grace_alone(context):
            return grace
        if limit is None:
            return None
        if self.step.is_closing:
            limit += grace
        if self.began is not None:
            return limit - (time.monotonic() - self.began)
        # The worker is Dagster's: only the history says when the run began.
        now = run_time(context.run.tags, context.run_id)
        return min(limit, limit - (now - started()))

    def _teller(
        self, context: dg.OpExecutionContext, mask: StepMask
    ) -> Callable[[str], None]:
        """What reports in the run's history what the step waits for."""
        step_context = context.get_step_execution_context()

        def tell(text: str) -> None:
            event = waiting_event(step_context, mask.text(text))
            if self.tell is not None:
                self.tell(event)

        return tell

    def _warn(self, context: dg.OpExecutionContext, warned: Warned) -> None:
        """Put a warning into the run's history, where those that show the run find it."""
        event = warning_event(context.get_step_execution_context(), warned)
        if self.tell is not None:
            self.tell(event)

    def _params(self, context: dg.OpExecutionContext) -> SeenParams:
        if not self.flow.params:
            return SeenParams()
        load: Callable[[], Flow] = getattr(context.resources, PARAMS)
        return see_params(load(), os.environ)

    def _mask(self, own: Mask, upstream: Mapping[str, StepRecord]) -> Mask:
        """What hides the flow's own secrets, and those of the steps before."""
        known: set[str] = set()
        for name, record in upstream.items():
            known |= record.secrets_with(secret_outputs(self.flow, name))
        return own.including(known)


def _records(context: dg.OpExecutionContext) -> RecordStore:
    """Where the records of the run's steps are."""
    manager: RecordIOManager = getattr(context.resources, IO_MANAGER)
    return manager.store


def _failed(attempt: StepContext, what: str, error: Exception) -> StepOutcome:
    """The outcome of an attempt that was broken by something outside of it."""
    logger.debug("step '%s': %s", attempt.step.name, what, exc_info=error)
    reason = one_line(error)
    if isinstance(error, OSError) and error.strerror:
        reason = error.strerror.lower()
    return fail_step(attempt, Failed(f"{what}: {reason}", "raised"))


class _RunStart:
    """When the run started, in seconds since 1970; asked of the instance once, when needed."""

    def __init__(self, context: dg.OpExecutionContext) -> None:
        self._context = context
        self._value: float | None = None

    def __call__(self) -> float:
        if self._value is None:
            record = self._context.instance.get_run_record_by_id(self._context.run_id)
            started = record.start_time if record else None
            self._value = started if started is not None else time.time()
        return self._value


def input_name(step: Step) -> str:
    """The input by which a step's dependents get its record."""
    return f"step_{step.index}"
