"""A plan whose execution can halt."""

from typing import Any

from flowtoy_dagster.engine.dagster_private.execution import ActiveExecution, ExecutionPlan
from flowtoy_dagster.engine.executors.scheduling.halting import HaltingExecution


class HaltingPlan(ExecutionPlan):
    """A plan whose execution can halt.

    Attributes:
        started: whether it has been started in the one way that keeps the rules of the language.
    """

    started = False

    def start(self, *args: Any, **kwargs: Any) -> ActiveExecution:
        """The state of the plan while it is executed."""
        self.started = True
        return HaltingExecution(self, *args, **kwargs)
