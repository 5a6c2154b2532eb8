"""What the process that executes a run does when its steps have ended, however they did."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import dagster as dg
from dagster import DagsterEvent, DagsterEventType

from flowtoy_dagster.engine.executors.other_executors import Around
from flowtoy_dagster.engine.jobs.incremental.run_end import CursorsAtEnd
from flowtoy_dagster.flow.graph import Flow

AtEnd = Callable[[Any, Mapping[str, str]], Iterable[DagsterEvent]]
"""Is given Dagster's context of the run, and how its steps have ended, by key."""
_ENDS = {
    DagsterEventType.STEP_SUCCESS: "succeeded",
    DagsterEventType.STEP_FAILURE: "failed",
}


class EndingExecutor(dg.Executor):
    """An executor that does something when all steps have ended, before the run has.

    Args:
        executor: runs the steps.
        at_end: what is done; gives more events.
    """

    def __init__(self, executor: dg.Executor, at_end: AtEnd) -> None:
        self._executor = executor
        self._at_end = at_end

    def __getattr__(self, name: str) -> Any:
        return getattr(self._executor, name)

    @property
    def retries(self) -> Any:
        """How the executor that runs the steps tries them again."""
        return self._executor.retries

    @property
    def step_dependency_config(self) -> Any:
        """What its steps wait for."""
        return self._executor.step_dependency_config

    def execute(self, plan_context: Any, execution_plan: Any) -> Iterator[DagsterEvent]:
        """Run the steps; gives their events, and those of the end."""
        ended: dict[str, str] = {}
        try:
            for event in self._executor.execute(plan_context, execution_plan):
                end = _ENDS.get(event.event_type)
                if end is not None and event.step_key is not None:
                    ended[event.step_key] = end
                yield event
        except GeneratorExit:
            raise  # nobody takes more events
        except BaseException:
            yield from self._at_end(plan_context, ended)
            raise
        yield from self._at_end(plan_context, ended)


def storing_cursors(flow: Flow) -> Around | None:
    """What makes an executor store a flow's cursors at the end of a run; None where it has none."""
    if not any(step.incremental is not None for step in flow.steps):
        return None
    at_end = CursorsAtEnd(flow)
    return lambda executor: EndingExecutor(executor, at_end)
