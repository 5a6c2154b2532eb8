"""What an executor's own worker tells the op that it runs."""

from collections.abc import Callable

from dagster import DagsterEvent

from flowtoy_dagster.steps.context import Host


class HostedCompute:
    """A compute function that a worker of flowtoy's may run.

    Attributes:
        host: the worker; None where another executor runs the op.
        began: when the run began, in seconds of the monotonic clock; set with `host`.
        tell: takes events of the step while it runs, which are stored already.
    """

    host: Host | None = None
    began: float | None = None
    tell: Callable[[DagsterEvent], None] | None = None
