"""Which of the runs of a home are wanted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, get_args

from flowtoy_dagster.errors import UsageError
from flowtoy_dagster.flow.files.suggestions import nearest
from flowtoy_dagster.runs.status.models import RunState

if TYPE_CHECKING:
    import dagster as dg

STATES: tuple[str, ...] = get_args(RunState)


@dataclass(frozen=True)
class WantedRuns:
    """What the wanted runs have in common; None where it does not matter.

    Attributes:
        flow: the name of the flow.
        state: the state of the run, as `RunState` has it.
        since: when it was created at the earliest, in seconds since 1970.
    """

    flow: str | None = None
    state: str | None = None
    since: float | None = None

    def __post_init__(self) -> None:
        if self.state is not None and self.state not in STATES:
            hint = nearest(self.state, STATES).hint
            raise UsageError(f"there is no state '{self.state}'\n    {hint}")

    def filter(
        self, tag: str, flows: list[str], statuses: Sequence[dg.DagsterRunStatus] = ()
    ) -> dg.RunsFilter:
        """What Dagster's storage can filter by: all but the state.

        A run that was interrupted is still a running one there.

        Args:
            tag: the tag with the name of a run's flow.
            flows: the names of all flows.
            statuses: of the runs in Dagster; all by default.
        """
        import dagster as dg

        since = None if self.since is None else datetime.fromtimestamp(self.since, timezone.utc)
        names = flows if self.flow is None else [self.flow]
        return dg.RunsFilter(tags={tag: names}, statuses=list(statuses), created_after=since)
