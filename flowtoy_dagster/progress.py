"""What `flowtoy run` shows on stderr while it runs."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, TextIO

from flowtoy_dagster.flow.graph import Flow
from flowtoy_dagster.providers.registry import describe

if TYPE_CHECKING:
    from flowtoy_dagster.runs.status import Change, RunStatus


class ProgressLines:
    """A line for each change of a step's state."""

    def __init__(self, flow: Flow, stream: TextIO | None = None) -> None:
        self._flow = flow
        self._stream = stream or sys.stderr
        self._width = min(40, max(len(step.name) for step in flow.steps))
        self._started = time.monotonic()

    def show(self, change: Change) -> None:
        """Print one change."""
        step = change.step
        moment = time.localtime(change.timestamp)
        milliseconds = int(change.timestamp * 1000) % 1000
        stamp = f"{time.strftime('%H:%M:%S', moment)}.{milliseconds:03d}"
        text = f"{stamp}  {step.name:<{self._width}}  {step.state}"
        if step.elapsed is not None and step.state in ("succeeded", "failed"):
            text += f" {'in' if step.state == 'succeeded' else 'after'} {seconds(step.elapsed)}"
        if step.error and step.state == "skipped":
            text += f": {step.error}"
        self._print(text)
        if step.state == "failed":
            self._print(f"    called: {describe(self._flow.step(step.name).source)}")
            self._print(f"    reason: {step.error}")
            for line in step.stderr.splitlines():
                self._print(f"    stderr: {line}")

    def summarize(self, status: RunStatus) -> None:
        """Print the last line: the counts, the time, and the run's id."""
        counts = [
            f"{status.count(state)} {state}"
            for state in ("succeeded", "failed", "skipped")
            if status.count(state) or state == "succeeded"
        ]
        elapsed = seconds(time.monotonic() - self._started)
        self._print(f"{status.state}: {', '.join(counts)} in {elapsed}, run {status.run_id[:8]}")

    def _print(self, text: str) -> None:
        print(text, file=self._stream, flush=True)


def seconds(value: float) -> str:
    """A time span for people."""
    if value < 60:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"
