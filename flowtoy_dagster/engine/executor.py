"""How a run is carried out in this process: the seam to Dagster's execution API."""

from collections.abc import Iterator

from dagster import DagsterEvent, DagsterInstance, DagsterRun
from dagster._core.definitions.reconstruct import ReconstructableJob
from dagster._core.execution.api import execute_run_iterator


def iterate_run(
    job: ReconstructableJob, run: DagsterRun, instance: DagsterInstance
) -> Iterator[DagsterEvent]:
    """Execute a run that was created; gives each event when it has been stored."""
    yield from execute_run_iterator(job, run, instance)
