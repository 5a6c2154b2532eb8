"""What the terminal page shows: a run that is carried here, or one that is watched elsewhere."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from flowtoy_dagster.json_text import loads_checked
from flowtoy_dagster.runs.status.models import RunStatus

if TYPE_CHECKING:
    from flowtoy_dagster.runs.history import History
    from flowtoy_dagster.runs.processes.background_run import BackgroundRun
    from flowtoy_dagster.runs.status.remote import RemoteRun

LARGE = 4 << 20
"""Bytes of one step's outputs above which they are not read to be shown."""


@dataclass(frozen=True)
class Printed:
    """What a step has printed to one stream."""

    stream: str
    text: str


class RunSource(Protocol):
    """A run to show. Called by one thread at a time; any call may wait, and raise FlowtoyError."""

    @property
    def is_ours(self) -> bool:
        """Whether the run is carried here: it can be cancelled and retried, and ends with us."""

    def status(self) -> RunStatus:
        """The state of the run; secrets are hidden in all that a source gives."""

    def outputs(self, step: str) -> str | None:
        """The outputs of a step that has ended as JSON, or why they are not shown."""

    def printed(self, step: str) -> list[Printed] | None:
        """What a step has printed so far; None where that can't be known."""

    def cancel(self) -> None:
        """Ask the run to end; a second call ends it at once."""

    def retry(self) -> None:
        """Run again what failed or was skipped; `status` is of the new run from then on."""

    def close(self) -> None:
        """End the run, if it is ours and goes on still, and wait for it; from any thread."""


class RunElsewhere:
    """A run that is watched by its status API."""

    is_ours = False

    def __init__(self, remote: RemoteRun) -> None:
        self._remote = remote

    def status(self) -> RunStatus:
        """The state of the run."""
        return self._remote.status()

    def outputs(self, step: str) -> str | None:
        """The outputs of a step as JSON."""
        found = self._remote.outputs(step).get(step)
        return None if found is None else laid_out(found)

    def printed(self, step: str) -> None:
        """Nothing: a status API does not have what steps print."""

    def cancel(self) -> None:
        """Nothing: who watches does not decide."""

    def retry(self) -> None:
        """Nothing: who watches does not decide."""

    def close(self) -> None:
        """Nothing: the run goes on."""


class RunHere:
    """A run that a process of ours carries in the background.

    Args:
        history: the home that it is in.
        run: the run, as it was started.
        start_retry: starts a run of what failed in another; gives it.
    """

    is_ours = True

    def __init__(
        self,
        history: History,
        run: BackgroundRun,
        start_retry: Callable[[str], BackgroundRun],
    ) -> None:
        from flowtoy_dagster.runs.live_view import RunView

        self._history = history
        self._run = run
        self._start_retry = start_retry
        self._view = RunView(history, lambda: self._run.run_id)

    def status(self) -> RunStatus:
        """The state of the run."""
        return self._view.status()

    def outputs(self, step: str) -> str | None:
        """The outputs of a step as JSON, or why they are not shown."""
        text = dict(self._view.outputs()).get(step)
        if text is None:
            return None
        size = text.size
        if size > LARGE:
            command = f"flowtoy runs outputs {self._run.run_id[:8]}"
            return f"{size / 1e6:.1f} MB, too much to be shown here\n{command} prints it"
        return laid_out(loads_checked(text.read()))

    def printed(self, step: str) -> list[Printed]:
        """What a step has printed so far."""
        run = self._history.find(self._run.run_id)
        return [
            Printed(stream, content.decode("utf-8", "replace"))
            for _, stream, content in self._history.captured(run, step)
        ]

    def cancel(self) -> None:
        """Ask the run to end; a second call ends it at once."""
        self._run.cancel()

    def retry(self) -> None:
        """Run again what failed or was skipped."""
        self._run = self._start_retry(self._run.run_id)

    def close(self) -> None:
        """End the run, if it goes on still, and wait for it."""
        if not self._run.ended:
            self._run.cancel()
            self._run.wait()


def laid_out(value: Any) -> str:
    """A value as JSON for reading."""
    return json.dumps(value, ensure_ascii=False, indent=2)
