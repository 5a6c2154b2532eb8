"""Dagster's scheduling with two rules of the language: a run can halt, and a step waits for the
end of the steps before it, not only for their outputs.

`HaltingExecution` is Dagster's `ActiveExecution` with these rules; where no op is tagged with
`HALT_TAG`, it decides as its parent does.
"""

import logging
import os
import time
from collections.abc import Iterator, Sequence
from typing import Any

from dagster import DagsterEvent, DagsterEventType, DagsterLogManager

from flowtoy_dagster.engine.dagster_private.execution import (
    ExecutionPlan,
    ExecutionStep,
    IStepContext,
    PlanExecutionContext,
    PlanOrchestrationContext,
    RetryMode,
    StepDependencyConfig,
    StepOutputHandle,
    _pool_key_for_step,
)
from flowtoy_dagster.engine.executors.scheduling.closing import (
    ClosingSteps,
    limit_of,
)
from flowtoy_dagster.engine.executors.scheduling.open_waits import OpenWaits
from flowtoy_dagster.engine.executors.scheduling.steady_waits import (
    SteadyExecution,
    give_up_claims,
    waiting_for_pools,
)
from flowtoy_dagster.engine.storage.event_groups import stored_together
from flowtoy_dagster.engine.storage.instances import event_log_of
from flowtoy_dagster.engine.storage.logs.direct_log import direct_log
from flowtoy_dagster.engine.tags import DONE, HALT_TAG, ORDER_TAG, RESULT, STEP_TAG
from flowtoy_dagster.errors import RunError

# A step whose `continue` edges alone lead to a failed one must start.
_OUTPUTS_ALONE = StepDependencyConfig(require_upstream_step_success=False)
_SKIPPED = frozenset({DagsterEventType.STEP_SKIPPED.value})
_CLEARLY_LATE = 0.2
"""Seconds after the run's timeout in which a step is sure to find that it has passed."""
_NOT_WANTED = "no step that it depends on has failed"
FLOW_EXECUTION: dict[str, Any] = {
    "retries": RetryMode.ENABLED,
    "step_dependency_config": _OUTPUTS_ALONE,
}


class HaltingExecution(SteadyExecution):
    """The state of a plan that is being executed; a failed step tagged `HALT_TAG` halts it."""

    halted_by: str | None = None
    _is_seen = False
    _closing: ClosingSteps | None = None
    _waits: OpenWaits | None = None

    def __init__(self, execution_plan: ExecutionPlan, *args: Any, **kwargs: Any) -> None:
        if is_of_flow(execution_plan):
            kwargs["step_dependency_config"] = _OUTPUTS_ALONE
        self._began = time.monotonic()
        self._held_back: dict[str, str] = {}  # steps that will not start, and why
        self._just_ended: list[str] = []
        super().__init__(execution_plan, *args, **kwargs)
        # Limits by tag or pool may pass over a step that is ready for one behind it.
        self._chooses_among_ready = bool(self._tag_concurrency_limits) or any(
            _pool_key_for_step(step)
            for step in self._plan.step_dict.values()
            if isinstance(step, ExecutionStep)
        )
        by_priority = self._sort_key_fn
        # Of steps that may start, the one that is written first does.
        self._sort_key_fn: Any = lambda step: (by_priority(step), _place_of(step))
        self._executable.sort(key=self._order)

    def get_steps_to_execute(self, limit: int | None = None) -> Sequence[ExecutionStep]:
        if late := self._late_for_pools(limit):
            return late
        if limit is None or self._chooses_among_ready:
            return super().get_steps_to_execute(limit)
        if limit <= 0:
            return []
        self._update()
        # Dagster looks at every step that is ready; no more than `limit` of them matter.
        later = self._executable[limit:]
        self._executable = self._executable[:limit]
        steps = super().get_steps_to_execute(limit)
        self._executable += later
        return steps

    def _late_for_pools(self, limit: int | None) -> list[ExecutionStep]:
        """Steps that still wait for slots of pools when the run's timeout has passed.

        They start without one, to fail for that reason, as their policies say; they call nothing.
        """
        claims = self._instance_concurrency_context
        waiting = waiting_for_pools(claims)
        if claims is None or not waiting:
            return []
        spent = time.monotonic() - self._began - _CLEARLY_LATE
        found = [
            step for step in map(self.get_step_by_key, self._executable)
            if step.key in waiting and spent > (limit_of(step) or spent)
        ]
        if limit is not None:
            found = found[: max(0, limit)]
        if self._max_concurrent is not None:
            found = found[: max(0, self._max_concurrent - len(self._in_flight))]
        keys = {step.key for step in found}
        give_up_claims(claims, keys)
        self._executable = [key for key in self._executable if key not in keys]
        self._in_flight |= keys
        return found

    def mark_failed(self, step_key: str) -> None:
        if self.halted_by is None and HALT_TAG in (self.get_step_by_key(step_key).tags or {}):
            self.halted_by = step_key
        super().mark_failed(step_key)
        self._note_end(step_key)

    def mark_success(self, step_key: str) -> None:
        super().mark_success(step_key)
        self._note_end(step_key)

    def mark_skipped(self, step_key: str) -> None:
        super().mark_skipped(step_key)
        self._note_end(step_key)

    def mark_abandoned(self, step_key: str) -> None:
        super().mark_abandoned(step_key)
        self._note_end(step_key)

    def mark_up_for_retry(self, step_key: str, at_time: float | None = None) -> None:
        super().mark_up_for_retry(step_key, at_time)
        self._is_seen = False  # without a delay it is pending again, though nothing has ended

    def _note_end(self, *step_keys: str) -> None:
        self._just_ended += step_keys
        self._is_seen = False

    def _update(self) -> None:
        if self._is_seen and not self._waiting_to_retry and not self._new_dynamic_mappings:
            return  # nothing has ended since: what could start has been found
        self._is_seen = True
        closing = self._take_closing_steps()
        waits = self._take_waiting_steps()
        self._pending.update(waits.end(self._just_ended))
        self._just_ended.clear()
        ready = len(self._executable)
        if self._pending or self._waiting_to_retry or self._new_dynamic_mappings:
            super()._update()
        if closing.waiting:
            start, leave = closing.ready(waits.ended, self._has_failed, self._is_lost)
            self._executable += start
            self._held_back |= dict.fromkeys(leave, _NOT_WANTED)
        if len(self._executable) > ready:
            self._executable.sort(key=self._order)
        if self.halted_by is not None:
            self._hold_back_what_has_not_started()

    def _take_closing_steps(self) -> ClosingSteps:
        """The closing steps, which are not left to Dagster."""
        if self._closing is None:
            self._closing = ClosingSteps(self._plan, self._pending)
            for key in self._closing.keys:
                del self._pending[key]
        return self._closing

    def _take_waiting_steps(self) -> OpenWaits:
        """The steps that wait: Dagster would look at each of them whenever one has ended."""
        if self._waits is None:
            self._check_inputs()
            self._waits = OpenWaits(self._pending)
            for key in self._waits.waiting:
                del self._pending[key]
        return self._waits

    def _check_inputs(self) -> None:
        """Make sure that what is not executed here has given its outputs before.

        Dagster lets any steps of a run be executed again, and would wait for ever.

        Raises:
            RunError: it has not.
        """
        executed = set(self._plan.step_keys_to_execute)
        if len(executed) == len(self._plan.step_dict) or not is_of_flow(self._plan):
            return  # nothing is left out, as in nearly all runs
        for key in self._pending:
            for step_input in self.get_step_by_key(key).step_inputs:
                for source in step_input.get_step_output_handle_dependencies():
                    if source.step_key not in executed and not self._has_produced_output(source):
                        raise RunError(
                            f"step '{self._name_of(key)}' needs '{self._name_of(source.step_key)}',"
                            " which is not executed in this run and has given no result before"
                        )

    def _name_of(self, step_key: str) -> str:
        step = self._plan.step_dict_by_key.get(step_key)
        return str((getattr(step, "tags", None) or {}).get(STEP_TAG, step_key))

    def _not_ready(self) -> dict[str, set[str]]:
        """The steps that wait for others, and these."""
        return {**self._take_waiting_steps().waiting, **self._pending}

    def _is_lost(self, step_key: str) -> bool:
        """Whether a step never started, because of a failure before it or a halt."""
        return any(step_key in lost for lost in (self._abandoned, self._skipped, self._held_back))

    def end_early(self) -> None:
        """The run was interrupted: of what has not started, only `always` steps are left."""
        closing = self._take_closing_steps()
        attempts = self._retry_state.snapshot_attempts()
        kept = {key for key in closing.always if key in self._executable or attempts.get(key)}
        dropped = closing.keep_always() | {
            key for key in [
                *self._executable, *self._not_ready(), *self._pending_skip, *self._pending_retry,
                *self._pending_abandon, *self._waiting_to_retry, *self._held_back,
            ]
            if key not in kept
        }
        # Nothing is stored of them: how the run ended says why they did not run.
        self._skipped |= dropped
        self._note_end(*dropped)
        for listed in (
            self._executable, self._pending_skip, self._pending_retry, self._pending_abandon,
        ):
            listed[:] = [key for key in listed if key not in dropped]
        waiting: dict[str, Any] = self._take_waiting_steps().waiting
        for mapped in (self._pending, waiting, self._waiting_to_retry, self._held_back):
            for key in dropped & mapped.keys():
                del mapped[key]
        if self._instance_concurrency_context is not None:
            give_up_claims(self._instance_concurrency_context, dropped)

    @property
    def closing_keys(self) -> frozenset[str]:
        """The keys of the closing steps."""
        return self._closing.keys if self._closing is not None else frozenset()

    def _order(self, step_key: str) -> Any:
        return self._sort_key_fn(self.get_step_by_key(step_key))

    def _hold_back_what_has_not_started(self) -> None:
        not_ready = self._not_ready()
        if not (self._executable or not_ready or self._pending_abandon):
            return
        attempts = self._retry_state.snapshot_attempts()
        # A step between two attempts has started; it may finish.
        started = self.closing_keys | {key for key, count in attempts.items() if count}
        spared = self._spared({*self._executable, *not_ready} - started) | self.closing_keys
        reason = f'the run was halted when "{self.halted_by}" failed'
        held = {
            key: reason for key in [*self._executable, *not_ready, *self._pending_abandon]
            if not attempts.get(key) and key not in spared
        }
        self._held_back.update(held)
        self._executable = [key for key in self._executable if key not in held]
        self._pending_abandon = [key for key in self._pending_abandon if key not in held]
        waiting = self._take_waiting_steps().waiting
        for key in held:
            self._pending.pop(key, None)
            waiting.pop(key, None)
        if self._instance_concurrency_context is not None:
            give_up_claims(self._instance_concurrency_context, set(held))

    def _spared(self, waiting: set[str]) -> set[str]:
        """Of steps that have not started, those that a halt leaves alone (language 9.4).

        They tolerate the failure of a step that they depend on, or of one that may fail still, and
        wait for nothing that the halt keeps from starting.
        """
        ended = self._take_waiting_steps().ended
        tried = self._retry_state.snapshot_attempts().keys()
        going_on = (self._in_flight | self.closing_keys | tried) - ended
        not_ready = self._not_ready()
        spared: set[str] = set()
        while more := {
            key for key in waiting - spared if self._tolerates_a_failure(key, going_on | spared)
        }:
            spared |= more  # it may fail in turn
        while True:
            barred = waiting - spared
            stuck = {key for key in spared if not_ready.get(key, set()) & barred}
            if not stuck:
                return spared
            spared -= stuck

    def _tolerates_a_failure(self, step_key: str, going_on: set[str]) -> bool:
        return any(
            handle.output_name == DONE
            and (self._has_failed(handle.step_key) or handle.step_key in going_on)
            for step_input in self.get_step_by_key(step_key).step_inputs
            for handle in step_input.get_step_output_handle_dependencies()
        )

    def _has_failed(self, step_key: str) -> bool:
        """Whether the step of an op failed; where that is tolerated, the op itself succeeded."""
        if step_key in self._failed:
            return True
        has_result = StepOutputHandle(step_key, RESULT) in self._step_outputs
        return step_key in self._success and not has_result

    @property
    def is_complete(self) -> bool:
        waiting = (
            self._held_back, self._take_closing_steps().waiting, self._take_waiting_steps().waiting,
        )
        return super().is_complete and not any(waiting)

    def plan_events_iterator(
        self, job_context: PlanExecutionContext | PlanOrchestrationContext
    ) -> Iterator[DagsterEvent]:
        self._update()
        while True:
            yield from self._events_of_held_back(job_context)
            yield from super().plan_events_iterator(job_context)
            # A closing step may have waited for what was skipped now, and will not start either.
            self._update()
            if not self._held_back:
                return

    def _events_of_held_back(
        self, job_context: PlanExecutionContext | PlanOrchestrationContext
    ) -> Iterator[DagsterEvent]:
        while self._held_back:
            found = dict(self._held_back)
            log = direct_log(job_context.instance, job_context.dagster_run)
            with stored_together(event_log_of(job_context.instance), _SKIPPED):
                events = [
                    _held_back_event(job_context.for_step(self.get_step_by_key(key)), log, reason)
                    for key, reason in found.items()
                ]
            for key, event in zip(found, events, strict=True):
                del self._held_back[key]
                self._in_flight.add(key)
                yield event
                self.mark_skipped(key)
            self._update()


def _held_back_event(
    step_context: IStepContext, direct: DagsterLogManager | None, reason: str
) -> DagsterEvent:
    """The event of a step that was not started, for a reason that is not in what it depends on.

    It names its step by the key alone. Where an event has the step's handle, Dagster's
    re-execution from failure takes the step for one that decided to be skipped, and leaves it
    out; a step that was held back must be run then.
    """
    key = step_context.step.key
    event = DagsterEvent(
        event_type_value=DagsterEventType.STEP_SKIPPED.value,
        job_name=step_context.job_name,
        step_kind_value=step_context.step.kind.value,
        logging_tags=step_context.event_tags,
        message=f'Skipped step "{key}": {reason}.',
        pid=os.getpid(),
        step_key=key,
    )
    log = step_context.log if direct is None else direct
    log.log_dagster_event(logging.INFO, event.message or "", event)
    return event


def _place_of(step: ExecutionStep) -> int:
    return int((step.tags or {}).get(ORDER_TAG, 0))


def is_of_flow(plan: ExecutionPlan) -> bool:
    """Whether a plan's steps are those of a flow."""
    return any(
        ORDER_TAG in (step.tags or {})
        for step in plan.step_dict.values()
        if isinstance(step, ExecutionStep)
    )
