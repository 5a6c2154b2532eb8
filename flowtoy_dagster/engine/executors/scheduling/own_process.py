"""Interrupts of a run whose steps run in the run's own process (language 19.3).

Dagster lets an interrupt break off whatever step runs in the main thread. Here the first one leaves
a closing step alone: it goes on, and no other step starts but those with `run_if: always`. A second
one breaks it off, and so does the end of the run's grace.
"""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from dagster import DagsterEvent, DagsterExecutionInterruptedError

from flowtoy_dagster.engine.dagster_private.execution import (
    ActiveExecution,
    dagster_event_sequence_for_step,
    execute_plan,
    inner_plan_execution_iterator,
)
from flowtoy_dagster.engine.executors.hosted import HostedCompute
from flowtoy_dagster.engine.executors.scheduling.closing import grace_of, run_if, steps_of
from flowtoy_dagster.engine.executors.scheduling.halting import HaltingExecution
from flowtoy_dagster.engine.executors.scheduling.plan import HaltingPlan
from flowtoy_dagster.engine.executors.scheduling.rebound import rebound

_LOOK = 0.25
"""Seconds after which a run that waits for a retry looks whether it was interrupted."""


class Interrupts:
    """What became of the interrupts of a run.

    Args:
        plan: what is executed.

    Attributes:
        closing: the keys of the closing steps.
        has_begun: whether the run is being ended.
        is_over: whether nothing may start or go on any more.
    """

    def __init__(self, plan: Any) -> None:
        steps = steps_of(plan)
        self.closing = frozenset(key for key, step in steps.items() if run_if(step) != "success")
        self.has_begun = False
        self.is_over = False
        self._is_new = False
        self._grace = grace_of(plan)
        self._lock = threading.Lock()
        self._is_sparing = False
        self._timer: threading.Timer | None = None

    def begin_end(self) -> bool:
        """The run is being ended from now on; whether it was not before."""
        if self.has_begun:
            return False
        self.has_begun = self._is_new = True
        self._timer = threading.Timer(self._grace, self._end_grace)
        self._timer.daemon = True
        self._timer.start()
        return True

    def take_new(self) -> bool:
        """Whether the run is being ended since this was asked for the last time."""
        is_new, self._is_new = self._is_new, False
        return is_new

    def close(self) -> None:
        """The run has ended."""
        if self._timer is not None:
            self._timer.cancel()

    @contextmanager
    def sparing(self) -> Iterator[None]:
        """Leave the block alone at the first interrupt of the run; the next goes its way."""
        if threading.current_thread() is not threading.main_thread():
            yield  # signals are not ours to handle
            return
        # Dagster handles SIGTERM as it does SIGINT.
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

        def hear(number: int, frame: Any) -> None:
            if self.begin_end():
                return
            self.is_over = True
            handler = before[signal.Signals(number)]
            if callable(handler):
                handler(number, frame)
            else:
                raise DagsterExecutionInterruptedError

        for number in before:
            signal.signal(number, hear)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler if handler is not None else signal.SIG_DFL)

    @contextmanager
    def sparing_step(self) -> Iterator[None]:
        """The same for all that is done with a closing step, until the run's grace is over."""
        with self.sparing():
            with self._lock:
                self._is_sparing = True
            try:
                yield
            finally:
                with self._lock:
                    self._is_sparing = False

    def _end_grace(self) -> None:
        with self._lock:
            self.is_over = True
            if self._is_sparing:
                os.kill(os.getpid(), signal.SIGINT)


class OwnProcessPlan(HaltingPlan):
    """A plan whose steps run in this process.

    Attributes:
        interrupts: those of the run; set before it starts.
    """

    interrupts: Interrupts

    def start(self, *args: Any, **kwargs: Any) -> ActiveExecution:
        """The state of the plan while it is executed."""
        self.started = True
        return _Execution(self.interrupts, self, *args, **kwargs)


class _Execution(HaltingExecution):
    def __init__(self, interrupts: Interrupts, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._interrupts = interrupts

    def get_next_step(self) -> Any:
        if self.check_for_interrupts() and not self._interrupts.begin_end():
            self._interrupts.is_over = True
        if self._interrupts.take_new() or self._interrupts.is_over:
            raise DagsterExecutionInterruptedError
        return super().get_next_step()

    def sleep_til_ready(self) -> None:
        time.sleep(max(0.0, min(_LOOK, self.sleep_interval())))


def iterate_steps(interrupts: Interrupts, *args: Any) -> Iterator[DagsterEvent]:
    """Dagster's loop over the steps of a plan, which spares closing steps.

    Args:
        interrupts: those of the run.
        args: as Dagster's own function takes them.
    """
    # The loop calls what gives the events of a step by its name, and has no hook around a step.
    loop = rebound(
        inner_plan_execution_iterator,
        dagster_event_sequence_for_step=partial(_events_of_step, interrupts),
    )
    yield from loop(*args)


assert "dagster_event_sequence_for_step" in vars(execute_plan)


def _events_of_step(interrupts: Interrupts, step_context: Any) -> Iterator[DagsterEvent]:
    events = dagster_event_sequence_for_step(step_context)
    compute = getattr(step_context.op_def, "compute_fn", None)
    if step_context.step.key not in interrupts.closing or not isinstance(compute, HostedCompute):
        yield from events
        return
    # Dagster sets a handler of its own each time that it enters the op, so the op sets ours again.
    compute.sparing = interrupts.sparing
    try:
        with interrupts.sparing_step():
            yield from events
    finally:
        del compute.sparing
