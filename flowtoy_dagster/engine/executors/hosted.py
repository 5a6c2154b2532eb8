"""What the op of a step knows of the process that runs it."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from inspect import Parameter, Signature
from typing import Any, ClassVar

from dagster import DagsterEvent, OpExecutionContext

from flowtoy_dagster.steps.context import Host


class HostedCompute:
    """A compute function of an op; what runs it sets the attributes.

    Attributes:
        host: the worker; None where another executor runs the op.
        began: when the run began, in seconds of the monotonic clock; set with `host`.
        tell: takes events of the step while it runs, which are stored already.
        sparing: a block in which the step is spared the first interrupt of its run.
        begin: stores and reports what was held back until the step's own work begins.
    """

    # Dagster asks for it twice in each step, and to find it out takes long.
    __signature__: ClassVar[Signature] = Signature(
        [Parameter(name, Parameter.POSITIONAL_OR_KEYWORD) for name in ("context", "inputs")]
    )
    host: Host | None = None
    began: float | None = None
    tell: Callable[[DagsterEvent], None] | None = None
    sparing: Callable[[], AbstractContextManager[None]] = nullcontext
    begin: Callable[[], None] | None = None

    def events(self, context: OpExecutionContext, inputs: Any) -> Iterator[Any]:
        """Run the step: what its op yields."""
        raise NotImplementedError

    def __call__(self, context: OpExecutionContext, inputs: Any) -> Iterator[Any]:
        """The same, each event made in a block of `sparing`."""
        if self.begin is not None:
            self.begin()
        events = self.events(context, inputs)
        while True:
            with self.sparing():
                try:
                    event = next(events)
                except StopIteration:
                    return
            yield event
