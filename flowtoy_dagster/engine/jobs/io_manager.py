"""The IO manager: hands a step the records of the steps before it."""

from collections.abc import Callable
from functools import partial

from dagster import (
    DagsterInvariantViolationError,
    InitResourceContext,
    InputContext,
    IOManager,
    OutputContext,
    io_manager,
)

from flowtoy_dagster.store.record import StepRecord
from flowtoy_dagster.store.records import RecordStore, records_of

IO_MANAGER = "io_manager"


class RecordIOManager(IOManager):
    """Loads upstream steps' records. Ops write theirs before they yield, so that a dependent
    that starts on the output's event finds the value in place.
    """

    def __init__(self, store: RecordStore) -> None:
        self.store = store

    def handle_output(self, context: OutputContext, obj: object) -> None:
        """Nothing: what passes along an edge is in the store already."""

    def load_input(self, context: InputContext) -> Callable[[], StepRecord]:
        """What opens a record: the op calls it, so that a record that can't be read is a failure
        of the step, with a reason and under its policy.
        """
        upstream = context.upstream_output
        assert upstream is not None
        assert upstream.step_key is not None
        return partial(self.store.step, _run_of(upstream, context), upstream.step_key)


def _run_of(upstream: OutputContext, context: InputContext) -> str:
    """The run that executed the step before, or was to.

    Where steps are executed again, a closing step may come after one that no run has executed:
    then Dagster knows none, and there is no record in this one either.
    """
    try:
        return upstream.run_id
    except DagsterInvariantViolationError:
        return context.step_context.run_id


@io_manager(config_schema={})
def record_io_manager(context: InitResourceContext) -> RecordIOManager:
    """The IO manager of every flow's job; takes no configuration, so nothing can redirect it."""
    assert context.instance is not None
    return RecordIOManager(records_of(context.instance.storage_directory()))
